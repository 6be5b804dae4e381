//! The files of a playbook, each read once: task files, roles, variables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::call::Names;
use super::collections::Collections;
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::var_map;
use super::names::Noun;
use super::reserved;
use super::role::{Role, RoleKey};
use super::role_path::SearchPaths;
use super::tree::{Entry, Reader};
use crate::input::source::shown;
use crate::plan::VarsFile;
use crate::plan::check::ModuleCatalog;
use crate::template::{Authored, Templar};
use crate::vars::{VarMap, is_variable_name};
use crate::vault::Vault;

/// The variables in a file, for `-e @FILE`.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn vars_of_file(path: &Path, vault: &Vault) -> Result<VarMap, PlaybookError> {
    vars_of(&Document::read(path, vault)?, &format!("@{}", path.display()))
}

/// The variables in a text of YAML or JSON, which is in no file; `source` is what messages call it, `origin` what they call the
/// place of a template in it.
///
/// # Errors
/// As [`vars_of_file`].
pub fn vars_of_text(source: &str, origin: &str, text: &str, vault: &Vault) -> Result<VarMap, PlaybookError> {
    let document = Document::of_vaulted(source, text.to_owned(), vault)?;
    vars_of(&Document { path: Path::new(origin).into(), ..document }, text)
}

/// What `-e` says, which is written as `given`.
fn vars_of(document: &Document, given: &str) -> Result<VarMap, PlaybookError> {
    let Some(root) = &document.root else { return Ok(VarMap::new()) };
    let Some(entries) = root.as_map() else {
        let what = format!("Invalid extra vars data supplied. '{}' could not be made into a dictionary", shown(given));
        return Err(document.wrong(root.at, what));
    };
    Ok(Arc::unwrap_or_clone(var_map(document.variables(entries)?)))
}

/// What is needed to understand a playbook beside the playbook itself.
#[derive(Clone)]
pub struct Surroundings {
    /// Tells modules from keywords.
    pub modules: Arc<dyn ModuleCatalog + Send + Sync>,
    pub paths: SearchPaths,
    /// `-e`: names of files and roles may need them.
    pub extra: Arc<VarMap>,
    pub templar: Templar,
    pub vault: Vault,
    /// Facts that are known already are not gathered again.
    pub smart_gathering: bool,
    /// Variables of a role that does not say otherwise are its own.
    pub private_role_vars: bool,
}

/// A list of tasks in a file of its own.
#[derive(Debug)]
pub(super) struct TaskFile {
    pub(super) document: Arc<Document>,
    pub(super) entries: Vec<Entry>,
}

/// Reads files, and keeps what they hold. Shared by the unfolding of a playbook and by includes while it runs.
pub(super) struct Library {
    pub(super) around: Surroundings,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What a short name in a file means depends on who asks for it.
    task_files: HashMap<(PathBuf, Noun, Collections), Arc<TaskFile>>,
    roles: HashMap<RoleKey, Arc<Role>>,
    warnings: Vec<String>,
    hindrance: Option<PlaybookError>,
    /// The folders of playbooks and roles.
    projects: Vec<PathBuf>,
    /// Files of something else than variables that are encrypted as a whole.
    encrypted: Vec<PathBuf>,
    /// Over every file that was read, in order.
    digest: blake3::Hasher,
}

impl Library {
    pub(super) fn new(around: Surroundings) -> Library {
        Library { around, kept: Mutex::default() }
    }

    /// Reads a document and keeps its warnings.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub(super) fn document(&self, path: &Path) -> Result<Arc<Document>, PlaybookError> {
        let document = self.read(path, reserved::in_playbook)?;
        if document.cipher.is_some() {
            self.kept().encrypted.push(path.to_owned());
        }
        Ok(document)
    }

    fn read(&self, path: &Path, odd: impl Fn(&Document) -> Vec<String>) -> Result<Arc<Document>, PlaybookError> {
        let mut document = Document::read(path, &self.around.vault)?;
        let mut kept = self.kept();
        kept.warnings.append(&mut document.warnings);
        kept.warnings.extend(odd(&document));
        kept.digest.update(document.text.as_bytes());
        Ok(Arc::new(document))
    }

    /// The tasks in the file at `path`.
    ///
    /// # Errors
    /// What is wrong with the file or a task in it.
    pub(super) fn tasks(
        &self,
        path: &Path,
        noun: Noun,
        collections: &Collections,
    ) -> Result<Arc<TaskFile>, PlaybookError> {
        let key = (path.to_owned(), noun, collections.clone());
        if let Some(file) = self.kept().task_files.get(&key) {
            return Ok(Arc::clone(file));
        }
        let document = self.document(path)?;
        let reader = Reader {
            document: &document,
            noun,
            names: Names { catalog: &*self.around.modules, collections: collections.clone() },
            in_block: false,
        };
        let entries = match &document.root {
            Some(root) if root.as_list().is_none() => {
                let what = format!("included task files must contain a list of tasks, not a {}", root.kind());
                let said = "included task files must contain a list of tasks";
                return Err(document.wrong(root.at, what).absence(said));
            }
            Some(root) => reader.entries(root, "tasks")?,
            None => Vec::new(),
        };
        let file = Arc::new(TaskFile { document, entries });
        self.kept().task_files.insert(key, Arc::clone(&file));
        Ok(file)
    }

    /// The role that `key` means, with its variables and what it depends on.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub(super) fn role(&self, key: RoleKey) -> Result<Arc<Role>, PlaybookError> {
        if let Some(role) = self.kept().roles.get(&key) {
            return Ok(Arc::clone(role));
        }
        self.add_project(&key.path);
        let role = Arc::new(Role::read(self, &key)?);
        self.kept().roles.insert(key, Arc::clone(&role));
        Ok(role)
    }

    /// The variables in the files at `paths`; a later one wins.
    ///
    /// # Errors
    /// A file that holds something else.
    pub(super) fn vars(&self, paths: &[PathBuf]) -> Result<Arc<VarMap>, PlaybookError> {
        let mut vars: IndexMap<String, Authored> = IndexMap::new();
        for path in paths {
            vars.extend(self.variables(path)?.vars);
        }
        Ok(var_map(vars))
    }

    /// The variables in the file at `path`.
    ///
    /// # Errors
    /// A file that holds something else.
    pub(super) fn variables(&self, path: &Path) -> Result<VarsFile, PlaybookError> {
        let document = self.read(path, |document| {
            let entries = document.root.as_ref().and_then(|root| root.as_map()).unwrap_or_default();
            reserved::in_variables(document, entries)
        })?;
        let is_secret = document.cipher.is_some();
        let Some(root) = &document.root else { return Ok(VarsFile { vars: IndexMap::new(), is_secret }) };
        let Some(entries) = root.as_map() else {
            let what = format!("a file of variables must hold a dictionary, not a {}", root.kind());
            return Err(document.wrong(root.at, what));
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| !is_variable_name(&key.text)) {
            let name = shown(&key.text);
            self.warn(format!("{}: '{name}' is not a valid variable name", document.place(key.at)));
        }
        Ok(VarsFile { vars: document.variables(entries)?, is_secret })
    }

    /// The folder of a playbook or a role: modules and plug-ins in it are found from now on.
    pub(super) fn add_project(&self, folder: &Path) {
        self.around.modules.add_project(folder);
        self.kept().projects.push(folder.to_owned());
    }

    pub(super) fn projects(&self) -> Vec<PathBuf> {
        self.kept().projects.clone()
    }

    /// Files of something else than variables that are encrypted as a whole.
    pub(super) fn encrypted(&self) -> Vec<PathBuf> {
        self.kept().encrypted.clone()
    }

    pub(super) fn warn(&self, what: String) {
        self.kept().warnings.push(what);
    }

    /// Odd things met so far; they are told once.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.kept().warnings)
    }

    /// Something that is no error in a playbook that is only listed, and keeps it from being run. The first one counts.
    pub(super) fn hinder(&self, why: PlaybookError) {
        self.kept().hindrance.get_or_insert(why);
    }

    /// See [`hinder`](Self::hinder).
    pub(super) fn take_hindrance(&self) -> Option<PlaybookError> {
        self.kept().hindrance.take()
    }

    /// BLAKE3, hex, over what was read so far.
    pub(super) fn digest(&self) -> String {
        self.kept().digest.finalize().to_hex().to_string()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
