//! Plug-ins of Ansible's in Python: what there is of them, and the folders they lie in.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What a plug-in of the controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    Filter,
    Test,
    Lookup,
}

impl PluginKind {
    pub const ALL: [PluginKind; 3] = [PluginKind::Filter, PluginKind::Test, PluginKind::Lookup];

    /// Its word in messages, and its folder below `plugins/` in a collection.
    pub fn name(self) -> &'static str {
        match self {
            PluginKind::Filter => "filter",
            PluginKind::Test => "test",
            PluginKind::Lookup => "lookup",
        }
    }

    /// Its folder beside a playbook and in a role.
    pub(super) fn folder(self) -> &'static str {
        match self {
            PluginKind::Filter => "filter_plugins",
            PluginKind::Test => "test_plugins",
            PluginKind::Lookup => "lookup_plugins",
        }
    }
}

/// What a plug-in is that is not run. Whoever would need it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OtherPlugin {
    Action,
    Callback,
    Connection,
}

impl OtherPlugin {
    pub(crate) const ALL: [OtherPlugin; 3] = [OtherPlugin::Action, OtherPlugin::Callback, OtherPlugin::Connection];

    /// Its word in messages, and its folder below `plugins/` in a collection.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OtherPlugin::Action => "action",
            OtherPlugin::Callback => "callback",
            OtherPlugin::Connection => "connection",
        }
    }

    /// Its folder beside a playbook and in a role.
    pub(super) fn folder(self) -> &'static str {
        match self {
            OtherPlugin::Action => "action_plugins",
            OtherPlugin::Callback => "callback_plugins",
            OtherPlugin::Connection => "connection_plugins",
        }
    }
}

/// Folders of plug-ins by their kind. An earlier folder wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PluginFolders {
    pub(super) filter: Vec<PathBuf>,
    pub(super) test: Vec<PathBuf>,
    pub(super) lookup: Vec<PathBuf>,
}

impl PluginFolders {
    pub(crate) fn of(&self, kind: PluginKind) -> &[PathBuf] {
        match kind {
            PluginKind::Filter => &self.filter,
            PluginKind::Test => &self.test,
            PluginKind::Lookup => &self.lookup,
        }
    }

    pub(super) fn of_mut(&mut self, kind: PluginKind) -> &mut Vec<PathBuf> {
        match kind {
            PluginKind::Filter => &mut self.filter,
            PluginKind::Test => &mut self.test,
            PluginKind::Lookup => &mut self.lookup,
        }
    }

    pub(super) fn extend(&mut self, others: PluginFolders) {
        self.filter.extend(others.filter);
        self.test.extend(others.test);
        self.lookup.extend(others.lookup);
    }
}

/// All that is needed to find a plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PluginPlaces {
    pub(crate) folders: PluginFolders,
    /// Folders with an `ansible_collections/` in them.
    pub(crate) collections: Vec<PathBuf>,
    /// The folder with the Python package `ansible` in it.
    pub(crate) library: Option<PathBuf>,
}

impl PluginPlaces {
    /// A file or folder that may have the plug-in: `None` if there is certainly none of this name. What a collection has,
    /// and which filters and tests a file has, is for Python to say.
    pub(crate) fn candidate(&self, kind: PluginKind, name: &str) -> Option<PathBuf> {
        let mut parts = name.splitn(3, '.');
        if let (Some(namespace), Some(collection), Some(_)) = (parts.next(), parts.next(), parts.next()) {
            if namespace == "ansible" && (matches!(collection, "builtin" | "legacy") || collection.starts_with('_')) {
                // ansible-core has more of them than rustle-exec, some of them in no folder of plug-ins.
                return self.library.as_ref().map(|root| root.join("ansible"));
            }
            let below = format!("ansible_collections/{namespace}/{collection}");
            return self.collections.iter().map(|root| root.join(&below)).find(|folder| folder.is_dir());
        }
        let folders = self.folders.of(kind);
        match kind {
            PluginKind::Lookup => {
                let own = self.own_folder(kind);
                let files = folders.iter().chain(&own).map(|folder| folder.join(format!("{name}.py")));
                // ansible-core knows in which collections its lookups of former times are.
                files.into_iter().find(|file| file.is_file()).or(own)
            }
            PluginKind::Filter | PluginKind::Test => {
                let files = || folders.iter().flat_map(|folder| python_files(folder));
                files().find(|file| mentions(file, name)).or_else(|| files().next()).or_else(|| self.own_folder(kind))
            }
        }
    }

    /// ansible-core's own folder of plug-ins.
    fn own_folder(&self, kind: PluginKind) -> Option<PathBuf> {
        self.library.as_ref().map(|root| root.join("ansible/plugins").join(kind.name()))
    }
}

pub(super) fn python_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "py")).collect();
    files.sort();
    files
}

fn mentions(file: &Path, name: &str) -> bool {
    let quoted = [format!("'{name}'"), format!("\"{name}\"")];
    std::fs::read_to_string(file).is_ok_and(|text| quoted.iter().any(|name| text.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ansible_core_can_know_a_lookup_that_no_folder_has() {
        let dir = tempfile::tempdir().unwrap();
        let places = |library: Option<&Path>| PluginPlaces {
            folders: PluginFolders::default(),
            collections: Vec::new(),
            library: library.map(Path::to_owned),
        };
        assert_eq!(places(None).candidate(PluginKind::Lookup, "flattened"), None);
        let own = dir.path().join("ansible/plugins/lookup");
        assert_eq!(places(Some(dir.path())).candidate(PluginKind::Lookup, "flattened"), Some(own));
    }
}
