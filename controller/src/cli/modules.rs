//! Where custom modules and plug-ins of a run are looked for: what was named, and the folders Ansible looks into by itself.

use std::path::{Path, PathBuf};

use super::CliError;
use super::settings::Settings;
use crate::custom::{ModuleFiles, PluginKind};
use crate::engine::Registry;
use crate::plugins::Plugins;
use crate::template::Templar;

/// Folders of every user's, after those that were named.
const SHARED_FOLDER: &str = "/usr/share/ansible";

/// Adds the folders of `settings`, those that Ansible's variables and `ansible.cfg` name among them, then those of the
/// user and the machine.
pub(super) fn add(files: &ModuleFiles, settings: &Settings) -> Result<(), CliError> {
    for folder in &settings.module_path {
        // Named for this run, so a slip is told. Ansible's variables are often set for machines that lack a folder.
        std::fs::read_dir(folder)
            .map_err(|error| CliError::input(format!("--module-path {}: {error}", folder.display())))?;
        files.add_modules(&absolute(folder));
    }
    named_by("ANSIBLE_LIBRARY").iter().for_each(|folder| files.add_modules(folder));
    settings.module_utils.iter().for_each(|folder| files.add_module_utils(&absolute(folder)));
    settings.search_paths.collections.iter().for_each(|folder| files.add_collections(&absolute(folder)));
    settings.plugins.iter().for_each(|(kind, folder)| files.add_plugins(*kind, &absolute(folder)));
    settings.other_plugins.iter().for_each(|(kind, folder)| files.add_others(*kind, &absolute(folder)));
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ansible"));
    for folder in home.into_iter().chain([PathBuf::from(SHARED_FOLDER)]) {
        files.add_modules(&folder.join("plugins/modules"));
        files.add_module_utils(&folder.join("plugins/module_utils"));
        files.add_collections(&folder.join("collections"));
        for kind in PluginKind::ALL {
            files.add_plugins(kind, &folder.join("plugins").join(kind.name()));
        }
    }
    Ok(())
}

/// Renders with the plug-ins of these folders beside the built-in ones, and the passwords of the run.
pub(super) fn templar(registry: &Registry, settings: &Settings) -> Templar {
    Templar::with(Plugins::new(Registry::files(registry).clone()), settings.vault.clone())
}

fn named_by(variable: &str) -> Vec<PathBuf> {
    let value = std::env::var_os(variable).unwrap_or_default();
    std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).map(|path| absolute(&path)).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
