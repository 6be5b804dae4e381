//! Where a role is: beside the playbook, in the roles path, in a collection.

use std::path::{Path, PathBuf};

use rustle_agent::module::args::nearest;

use super::collections::Collections;

/// The folders that roles and collections are looked for in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPaths {
    /// `ANSIBLE_ROLES_PATH`.
    pub roles: Vec<PathBuf>,
    /// `ANSIBLE_COLLECTIONS_PATH`: folders that hold `ansible_collections`.
    pub collections: Vec<PathBuf>,
}

/// A role that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RoleFolder {
    /// The last part of its name: `role_name`.
    pub(super) name: String,
    /// With its collection, if it is in one: `ansible_role_name`.
    pub(super) full_name: String,
    pub(super) path: PathBuf,
    /// `ns.col`
    pub(super) collection: Option<String>,
}

impl SearchPaths {
    /// The folder of a playbook that the run was asked for: the collections in it come first, for what it imports as well.
    pub(super) fn add_project(&mut self, folder: &Path) {
        let beside = folder.join("collections");
        if !self.collections.contains(&beside) {
            self.collections.insert(0, beside);
        }
    }

    /// Where the playbook `ns.col.name` may be; nowhere if that is no such name. `beside` counts before the folders of collections.
    pub fn playbooks(&self, name: &str, beside: Option<&Path>) -> Vec<PathBuf> {
        let Some((collection, playbook)) = split_collection(name) else { return Vec::new() };
        let inside =
            format!("ansible_collections/{}/playbooks/{}", collection.replace('.', "/"), playbook.replace('.', "/"));
        let folders = beside.into_iter().chain(self.collections.iter().map(PathBuf::as_path));
        folders.flat_map(|folder| ["yml", "yaml"].map(|ending| folder.join(format!("{inside}.{ending}")))).collect()
    }
}

/// A role that is nowhere.
#[derive(Debug)]
pub(super) struct RoleNotFound {
    /// Outside of collections.
    pub(super) folders: Vec<PathBuf>,
    pub(super) looked_in: Vec<PathBuf>,
    pub(super) nearest: Option<String>,
}

/// Where one playbook's roles may be.
#[derive(Clone, Debug)]
pub(super) struct RolePath<'a> {
    pub(super) paths: &'a SearchPaths,
    /// The folder of the playbook.
    pub(super) playbook: &'a Path,
    /// The folder that holds the role which asks, for its dependencies.
    pub(super) beside: Option<&'a Path>,
}

impl RolePath<'_> {
    /// The role called `name`, in Ansible's order: in the collections named, in `roles/` beside the playbook, in the roles
    /// path, beside the role that asks, beside the playbook, and last as a path.
    ///
    /// # Errors
    /// Every folder that was looked in.
    pub(super) fn find(&self, name: &str, collections: &Collections) -> Result<RoleFolder, RoleNotFound> {
        let mut looked_in = Vec::new();
        if let Some((collection, role)) = split_collection(name)
            && let Some(found) = self.in_collection(collection, role, &mut looked_in)
        {
            return Ok(found);
        }
        for collection in collections.searched() {
            if let Some(found) = self.in_collection(collection, name, &mut looked_in) {
                return Ok(found);
            }
        }
        let beside_playbook = [self.playbook.join("roles")];
        let folders = beside_playbook.iter().map(PathBuf::as_path).chain(self.paths.roles.iter().map(PathBuf::as_path));
        let folders: Vec<&Path> = folders.chain(self.beside).chain([self.playbook]).collect();
        for folder in &folders {
            let path = folder.join(name);
            if path.is_dir() {
                return Ok(RoleFolder { name: name.to_owned(), full_name: name.to_owned(), path, collection: None });
            }
            looked_in.push((*folder).to_owned());
        }
        let as_path = Path::new(name);
        if let Some(last) = as_path.file_name().filter(|_| as_path.is_dir()) {
            let name = last.to_string_lossy().into_owned();
            let path = std::path::absolute(as_path).unwrap_or_else(|_| as_path.to_owned());
            return Ok(RoleFolder { full_name: name.clone(), name, path, collection: None });
        }
        let nearest = nearest_role(name, &folders);
        let folders = folders.into_iter().map(Path::to_owned).collect();
        Err(RoleNotFound { folders, looked_in, nearest })
    }

    fn in_collection(&self, collection: &str, role: &str, looked_in: &mut Vec<PathBuf>) -> Option<RoleFolder> {
        let inside = format!("ansible_collections/{}/roles", collection.replace('.', "/"));
        let beside_playbook = self.playbook.join("collections");
        for folder in [&beside_playbook].into_iter().chain(&self.paths.collections) {
            let folder = folder.join(&inside);
            let path = folder.join(role.replace('.', "/"));
            if path.is_dir() {
                return Some(RoleFolder {
                    name: role.rsplit('.').next().unwrap_or(role).to_owned(),
                    full_name: format!("{collection}.{role}"),
                    path,
                    collection: Some(collection.to_owned()),
                });
            }
            if !looked_in.contains(&folder) {
                looked_in.push(folder);
            }
        }
        None
    }
}

/// `ns.col.role` as collection and role.
fn split_collection(name: &str) -> Option<(&str, &str)> {
    let (namespace, rest) = name.split_once('.')?;
    let (collection, role) = rest.split_once('.')?;
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let fits = is_word(namespace) && is_word(collection) && role.split('.').all(is_word);
    fits.then(|| (&name[..namespace.len() + 1 + collection.len()], role))
}

fn nearest_role(name: &str, folders: &[&Path]) -> Option<String> {
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let names: Vec<String> = entries
        .filter(|entry| entry.path().join("tasks").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path, path: &str) {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }

    fn found(root: &Path, name: &str, collections: &[&str]) -> String {
        let paths = SearchPaths { roles: vec![root.join("shared")], collections: vec![root.join("cols")] };
        let path = RolePath { paths: &paths, playbook: &root.join("plays"), beside: None };
        let listed = collections.iter().map(|name| (*name).to_owned()).collect();
        let collections = Collections { home: None, listed };
        match path.find(name, &collections) {
            Ok(role) => format!("{} {}", role.full_name, role.path.strip_prefix(root).unwrap().display()),
            Err(error) => format!("not found, nearest {:?}", error.nearest),
        }
    }

    #[test]
    fn roles_are_found_in_ansibles_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for path in
            ["plays/roles/web/tasks", "shared/web", "shared/db", "plays/bare", "cols/ansible_collections/n/c/roles/web"]
        {
            folder(root, path);
        }
        assert_eq!(found(root, "web", &[]), "web plays/roles/web");
        assert_eq!(found(root, "db", &[]), "db shared/db");
        assert_eq!(found(root, "bare", &[]), "bare plays/bare");
        assert_eq!(found(root, "n.c.web", &[]), "n.c.web cols/ansible_collections/n/c/roles/web");
        assert_eq!(found(root, "web", &["n.c"]), "n.c.web cols/ansible_collections/n/c/roles/web");
        assert_eq!(found(root, "wep", &[]), "not found, nearest Some(\"web\")");
    }
}
