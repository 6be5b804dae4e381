//! Where the files that tasks name are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The folders in which a task's files are looked for, in Ansible's order. In each, its `files/`, `templates/`, `vars/`
/// or `tasks/` come first. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSearch {
    folders: Arc<[PathBuf]>,
    base: Arc<Path>,
}

/// A file that is nowhere.
#[derive(Debug, thiserror::Error)]
#[error("could not find `{name}`; looked at {}", .looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
pub struct FileNotFound {
    pub name: String,
    pub looked_at: Vec<PathBuf>,
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

    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The folders templates may include from.
    pub fn template_folders(&self) -> Vec<PathBuf> {
        self.folders.iter().flat_map(|folder| [folder.join("templates"), folder.clone()]).collect()
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
        assert_eq!(looked_at, [role.join("files/b"), role.join("b"), play.join("files/b"), play.join("b")]);
    }
}
