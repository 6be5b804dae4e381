//! Where the files that tasks name are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The folders in which a task's files are looked for, in Ansible's order. In each, its `files/`, `templates/`, `vars/`
/// or `tasks/` come first. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSearch {
    folders: Arc<[PathBuf]>,
    base: Arc<Path>,
}

/// A file that is nowhere, in Ansible's words.
#[derive(Debug, thiserror::Error)]
#[error("Could not find or access '{name}'{} on the Ansible Controller.\nIf you are using a module and expect the file to exist on the remote, see the remote_src option", searched_in(.name, .looked_at))]
pub struct FileNotFound {
    pub name: String,
    pub looked_at: Vec<PathBuf>,
}

/// The places one below the other, but for a name that says the place itself.
fn searched_in(name: &str, looked_at: &[PathBuf]) -> String {
    if Path::new(name).is_absolute() {
        return String::new();
    }
    // With one folder, the task's own and the playbook's are the same, and Ansible lists both.
    let times = if looked_at.len() == 2 { 2 } else { 1 };
    let places = std::iter::repeat_n(looked_at, times).flatten();
    places.fold("\nSearched in:".to_owned(), |said, path| format!("{said}\n\t{}", path.display()))
}

impl FileSearch {
    /// `base` is the folder the plan is in.
    pub fn new(base: &Path) -> FileSearch {
        FileSearch::in_folders(vec![base.to_owned()], base)
    }

    /// `folders` in the order they are looked at: for a task of a role the role's, its `tasks/`, then the playbook's
    /// folder, which is `base`.
    pub fn in_folders(folders: Vec<PathBuf>, base: &Path) -> FileSearch {
        FileSearch { folders: folders.into(), base: base.into() }
    }

    /// The folder the plan is in.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// [`base`](Self::base), to be kept.
    pub fn base_folder(&self) -> Arc<Path> {
        Arc::clone(&self.base)
    }

    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The folders that the template at `path` may include from: where templates are looked for, then its own.
    pub fn template_folders(&self, path: &Path) -> Vec<PathBuf> {
        let folders = self.folders.iter().map(PathBuf::as_path).chain(path.parent());
        folders.flat_map(|folder| [folder.join("templates"), folder.to_owned()]).collect()
    }

    /// `subfolder` is `files` or `templates`, say. A trailing `/` of `name` is kept.
    ///
    /// # Errors
    /// With every place that was looked at.
    pub fn find(&self, name: &str, subfolder: &str) -> Result<PathBuf, FileNotFound> {
        let looked_at: Vec<PathBuf> = match Path::new(name) {
            path if path.is_absolute() => vec![path.to_owned()],
            path => {
                let places = self.folders.iter().flat_map(|folder| [folder.join(subfolder), folder.clone()]);
                places.map(|place| place.join(path)).collect()
            }
        };
        match looked_at.iter().find(|path| path.exists()) {
            Some(path) => Ok(path.clone()),
            None => Err(FileNotFound { name: name.to_owned(), looked_at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_looked_through_subfolder_first() {
        let directory = tempfile::tempdir().unwrap();
        let (role, play) = (directory.path().join("role"), directory.path().to_owned());
        std::fs::create_dir_all(role.join("files")).unwrap();
        std::fs::create_dir_all(play.join("files")).unwrap();
        let search = FileSearch::in_folders(vec![role.clone(), play.clone()], &play);
        for path in [play.join("a"), play.join("files/a"), role.join("a"), role.join("files/a")] {
            std::fs::write(&path, "").unwrap();
            assert_eq!(search.find("a", "files").unwrap(), path);
        }
        let looked_at = search.find("b", "files").unwrap_err().looked_at;
        let said = search.find("/none", "files").unwrap_err().to_string();
        assert!(said.starts_with("Could not find or access '/none' on the Ansible Controller.\n"), "{said}");
        let said = FileSearch::new(&play).find("b", "files").unwrap_err().to_string();
        assert_eq!(said.matches("\n\t").count(), 4, "the playbook's folder is the task's, too: {said}");
        assert_eq!(looked_at, [role.join("files/b"), role.join("b"), play.join("files/b"), play.join("b")]);
    }
}
