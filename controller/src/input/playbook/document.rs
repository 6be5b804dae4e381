//! One YAML file of a playbook: its text, what it holds, and complaints about it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::error::{PlaybookError, complaint, yaml_complaint};
use crate::input::authored::{authored, authored_entries, whole_path};
use crate::input::source::{Place, Position};
use crate::input::vaulted::open_text;
use crate::input::yaml::{self, Key, Node};
use crate::origin::Origin;
use crate::template::{Authored, Sealed};
use crate::vault::{Vault, VaultError};

/// Size of one file. Playbooks are written by people; a file of variables made by a program may be large.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The path as it was named: what messages begin with.
    pub(super) source: Arc<str>,
    /// The whole path.
    pub(super) path: Arc<Path>,
    pub(super) text: Arc<str>,
    /// `None` if there is nothing but comments.
    pub(super) root: Option<Node>,
    pub(super) warnings: Vec<String>,
    /// The file's text if it is encrypted as a whole.
    pub(super) cipher: Option<Arc<str>>,
}

impl Document {
    /// Reads the file at `path`, and decrypts it if it is encrypted as a whole. What is tagged `!vault` in it stays sealed.
    ///
    /// # Errors
    /// A file that cannot be read or decrypted, is too large, or is not YAML.
    pub(super) fn read(path: &Path, vault: &Vault) -> Result<Document, PlaybookError> {
        let text = read_text(path)?;
        Document::of_vaulted(&path.display().to_string(), text, vault)
    }

    /// As [`Document::read`], for the text of a file.
    ///
    /// # Errors
    /// Text that cannot be decrypted or is not YAML.
    pub(super) fn of_vaulted(source: &str, text: String, vault: &Vault) -> Result<Document, PlaybookError> {
        let wrong =
            |error: VaultError| PlaybookError::whole(Path::new(source), error.to_string()).hint(Some(error.hint()));
        let cipher = crate::vault::is_encrypted(&text).then(|| Arc::from(&*text));
        let text = open_text(text, vault).map_err(wrong)?;
        Ok(Document { cipher, ..Document::of_text(source, text)? })
    }

    /// # Errors
    /// Text that is not YAML.
    pub(super) fn of_text(source: &str, text: String) -> Result<Document, PlaybookError> {
        let source: Arc<str> = source.into();
        let document = yaml::compose(&text).map_err(|error| yaml_complaint(&source, &text, error))?;
        let document = document.of_file(&source, &text);
        let warnings = document.warnings.iter().map(|w| format!("{}: {}", Place::at(&source, w.at), w.what)).collect();
        let root = document.root.filter(|root| !root.is_null());
        let path = whole_path(&source);
        Ok(Document { source, path, text: text.into(), root, warnings, cipher: None })
    }

    /// A file as complaints quote it: its text, and nothing read of it. A file that cannot be read has none.
    pub(super) fn quoted(path: &Path) -> Document {
        let text = read_text(path).ok().filter(|text| !crate::vault::is_encrypted(text)).unwrap_or_default();
        let source: Arc<str> = path.display().to_string().into();
        Document {
            path: whole_path(&source),
            source,
            text: text.into(),
            root: None,
            warnings: Vec::new(),
            cipher: None,
        }
    }

    /// The entries of a map as variables: sealed, if the file is.
    ///
    /// # Errors
    /// Nesting that no value may have.
    pub(super) fn variables(&self, entries: &[(Key, Node)]) -> Result<IndexMap<String, Authored>, PlaybookError> {
        let vars = self.authored_entries(entries)?;
        let Some(cipher) = &self.cipher else { return Ok(vars) };
        let sealed = |(name, value): (String, Authored)| {
            let value = Authored::Sealed(Sealed::variable(cipher, &self.source, &name, value));
            (name, value)
        };
        Ok(vars.into_iter().map(sealed).collect())
    }

    /// The value of a node of this file.
    ///
    /// # Errors
    /// Nesting that no value may have.
    pub(super) fn authored(&self, node: &Node) -> Result<Authored, PlaybookError> {
        authored(node, &self.path).map_err(|error| self.not_yaml(error))
    }

    /// As [`authored`](Self::authored), of the entries of a map.
    ///
    /// # Errors
    /// As [`authored`](Self::authored).
    pub(super) fn authored_entries(
        &self,
        entries: &[(Key, Node)],
    ) -> Result<IndexMap<String, Authored>, PlaybookError> {
        authored_entries(entries, &self.path).map_err(|error| self.not_yaml(error))
    }

    /// A place in this file, as what is written there knows it.
    pub(super) fn origin(&self, at: Position) -> Origin {
        Origin::at(&self.path, at)
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
