//! One YAML file of a playbook: its text, what it holds, and complaints about it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::error::{PlaybookError, complaint, yaml_complaint};
use crate::input::source::{Place, Position};
use crate::input::vaulted::{open_nodes, open_text};
use crate::input::yaml::{self, Key, Node};
use crate::vault::{Vault, VaultError};

/// Size of one file. Playbooks are written by people; a file of variables made by a program may be large.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The path as it was named: what messages begin with.
    pub(super) source: Arc<str>,
    pub(super) path: Arc<Path>,
    pub(super) text: Arc<str>,
    /// `None` if there is nothing but comments.
    pub(super) root: Option<Node>,
    pub(super) warnings: Vec<String>,
    /// The file as a whole was encrypted.
    pub(super) is_encrypted: bool,
}

impl Document {
    /// Reads the file at `path`, and decrypts it or what is tagged `!vault` in it.
    ///
    /// # Errors
    /// A file that cannot be read or decrypted, is too large, or is not YAML.
    pub(super) fn read(path: &Path, vault: &Vault) -> Result<Document, PlaybookError> {
        let text = read_text(path)?;
        let wrong = |error: VaultError| PlaybookError::whole(path, error.to_string()).hint(Some(error.hint()));
        let is_encrypted = crate::vault::is_encrypted(&text);
        let text = open_text(text, vault).map_err(wrong)?;
        let document = Document::of_vaulted(&path.display().to_string(), text, vault)?;
        Ok(Document { is_encrypted, ..document })
    }

    /// Reads `text`, and decrypts what is tagged `!vault` in it.
    ///
    /// # Errors
    /// Text that is not YAML, or cannot be decrypted.
    pub(super) fn of_vaulted(source: &str, text: String, vault: &Vault) -> Result<Document, PlaybookError> {
        let mut document = Document::of_text(source, text)?;
        if let Some(root) = &mut document.root {
            open_nodes(root, vault)
                .map_err(|(at, error)| document.wrong(at, error.to_string()).hint(Some(error.hint())))?;
        }
        Ok(document)
    }

    /// # Errors
    /// Text that is not YAML.
    pub(super) fn of_text(source: &str, text: String) -> Result<Document, PlaybookError> {
        let source: Arc<str> = source.into();
        let document = yaml::compose(&text).map_err(|error| yaml_complaint(&source, &text, error))?;
        let warnings = document.warnings.iter().map(|w| format!("{}: {}", Place::at(&source, w.at), w.what)).collect();
        let root = document.root.filter(|root| !root.is_null());
        let path = Path::new(&*source).into();
        Ok(Document { source, path, text: text.into(), root, warnings, is_encrypted: false })
    }

    pub(super) fn place(&self, at: Position) -> Place {
        Place::at(&self.source, at)
    }

    /// What is wrong at a place of this file.
    pub(super) fn wrong(&self, at: Position, what: impl Into<String>) -> PlaybookError {
        complaint(self.place(at), &self.text, what)
    }

    /// What the YAML reader says of a node of this file.
    pub(super) fn not_yaml(&self, error: yaml::YamlError) -> PlaybookError {
        yaml_complaint(&self.source, &self.text, error)
    }

    /// The entries of a node that has to be a map; none if nothing is written.
    ///
    /// # Errors
    /// Anything else; `noun` says what it is for.
    pub(super) fn map<'n>(&self, node: &'n Node, noun: &str) -> Result<&'n [(Key, Node)], PlaybookError> {
        match node.as_map() {
            Some(entries) => Ok(entries),
            None if node.is_null() => Ok(&[]),
            None => Err(self.wrong(node.at, format!("{noun} must be a dict, not a {}", node.kind()))),
        }
    }

    /// As [`Document::map`], for a list.
    ///
    /// # Errors
    /// Anything but a list or nothing.
    pub(super) fn list<'n>(&self, node: &'n Node, noun: &str) -> Result<&'n [Node], PlaybookError> {
        match node.as_list() {
            Some(items) => Ok(items),
            None if node.is_null() => Ok(&[]),
            None => Err(self.wrong(node.at, format!("{noun} must be a list, not a {}", node.kind()))),
        }
    }
}

/// # Errors
/// A file that cannot be read, is too large, or is not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, PlaybookError> {
    let failed = |source| PlaybookError::read(path, source);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PlaybookError::whole(path, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| PlaybookError::whole(path, "not UTF-8 text"))
}
