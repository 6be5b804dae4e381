//! `group_vars/` and `host_vars/` beside an inventory: a file or a folder for each group and host.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::Builder;
use super::change::no_files;
use super::yaml::variables;
use super::{Beside, FileVars, GroupId, HostId, Inventory, InventoryError, Limits, Rules, load};
use crate::input::authored::whole_path;
use crate::input::playbook::{is_reserved, reserved_name};
use crate::input::source::Place;
use crate::input::yaml;
use crate::vars::VarMap;
use crate::vault::Vault;

/// Of several files for one name, the first of these counts.
const EXTENSIONS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// Folders within a folder of variables.
const FOLDER_DEPTH_MAX: usize = 8;

/// Adds the variables in `folder` for every group and host known so far.
pub(super) fn read_beside(folder: &Path, beside: Beside, builder: &mut Builder) -> Result<(), InventoryError> {
    let group_vars = Listing::of(folder.join("group_vars"))?;
    if !group_vars.names.is_empty() {
        let groups: Vec<(GroupId, Arc<str>)> = builder.group_names().map(|(id, name)| (id, Arc::clone(name))).collect();
        for (id, name) in groups {
            if let Some(vars) = group_vars.read(&name, &mut reading(builder))? {
                builder.set_group_file_vars(id, beside, vars);
            }
        }
    }
    let host_vars = Listing::of(folder.join("host_vars"))?;
    if !host_vars.names.is_empty() {
        let hosts: Vec<(HostId, String)> =
            builder.host_names().map(|(id, name)| (id, name.as_str().to_owned())).collect();
        for (id, name) in hosts {
            if let Some(vars) = host_vars.read(&name, &mut reading(builder))? {
                builder.set_host_file_vars(id, beside, vars);
            }
        }
    }
    Ok(())
}

impl Inventory {
    /// Reads the variables in the folder of a playbook for every group and host, in the place of those of another playbook.
    ///
    /// # Errors
    /// The first file that cannot be used, with line and column.
    pub(crate) fn reread_beside_playbook(
        &mut self,
        folder: Option<&Path>,
        vault: &Vault,
    ) -> Result<(), InventoryError> {
        let (groups, hosts) = match folder {
            Some(folder) => (Listing::of(folder.join("group_vars"))?, Listing::of(folder.join("host_vars"))?),
            None => Default::default(),
        };
        let (limits, rules) = (Limits::default(), self.rules.clone());
        let mut cx = Reading { limits: &limits, rules, vault, warnings: &mut self.warnings };
        for group in self.groups.values_mut() {
            group.file_vars.playbook = groups.read(&group.name, &mut cx)?.map(Arc::new).unwrap_or_default();
        }
        for (name, host) in &mut self.hosts {
            host.file_vars.playbook = hosts.read(name.as_str(), &mut cx)?.map(Arc::new).unwrap_or_default();
        }
        Ok(())
    }
}

/// What reading a file of variables takes.
struct Reading<'a> {
    limits: &'a Limits,
    rules: Rules,
    vault: &'a Vault,
    warnings: &'a mut Vec<String>,
}

fn reading(builder: &mut Builder) -> Reading<'_> {
    Reading {
        limits: &builder.limits,
        rules: builder.rules.clone(),
        vault: &builder.vault,
        warnings: &mut builder.warnings,
    }
}

/// The folders in which a run's inventory and its playbook keep variables, for groups and hosts that come later.
pub(super) struct VarsFolders {
    /// In the order in which they are read: a later one counts.
    folders: Vec<(PathBuf, Beside)>,
    limits: Limits,
    rules: Rules,
    vault: Vault,
}

impl VarsFolders {
    pub(super) fn new(folders: Vec<(PathBuf, Beside)>, limits: Limits, rules: Rules, vault: Vault) -> VarsFolders {
        VarsFolders { folders, limits, rules, vault }
    }

    /// The variables in `kind`, which is `group_vars` or `host_vars`, for this name.
    pub(super) fn of(&self, kind: &str, name: &str, warnings: &mut Vec<String>) -> Result<FileVars, InventoryError> {
        let mut found = no_files();
        for (folder, beside) in &self.folders {
            let mut cx = Reading {
                limits: &self.limits,
                rules: self.rules.clone(),
                vault: &self.vault,
                warnings: &mut *warnings,
            };
            if let Some(vars) = Listing::of(folder.join(kind))?.read(name, &mut cx)? {
                self.rules.put(Arc::make_mut(found.of(*beside)), vars);
            }
        }
        Ok(found)
    }
}

/// What a folder holds, read once: asking the disk for every host would cost four calls each.
#[derive(Default)]
struct Listing {
    folder: PathBuf,
    names: HashSet<OsString>,
}

impl Listing {
    fn of(folder: PathBuf) -> Result<Listing, InventoryError> {
        let names = match fs::read_dir(&folder) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<_, _>>()
                .map_err(|source| InventoryError::Read { path: folder.clone(), source })?,
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                HashSet::new()
            }
            Err(source) => return Err(InventoryError::Read { path: folder, source }),
        };
        Ok(Listing { folder, names })
    }

    fn read(&self, name: &str, cx: &mut Reading<'_>) -> Result<Option<VarMap>, InventoryError> {
        let found = EXTENSIONS
            .iter()
            .map(|extension| format!("{name}{extension}"))
            .find(|file| self.names.contains(std::ffi::OsStr::new(file)));
        let Some(file) = found else { return Ok(None) };
        let mut vars = VarMap::new();
        read_path(&self.folder.join(file), 0, &mut vars, cx)?;
        Ok(Some(vars))
    }
}

fn read_path(path: &Path, depth: usize, vars: &mut VarMap, cx: &mut Reading<'_>) -> Result<(), InventoryError> {
    if !path.is_dir() {
        return read_file(path, vars, cx);
    }
    if depth >= FOLDER_DEPTH_MAX {
        let what = format!("folders nest deeper than {FOLDER_DEPTH_MAX} levels here");
        return Err(InventoryError::content(Place::whole(path.display().to_string()), what));
    }
    for entry in load::sorted_entries(path)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let extension = entry.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
        let hidden = name.starts_with('.') || name.ends_with('~');
        let wanted = match extension {
            None => true,
            Some(extension) => !entry.is_dir() && EXTENSIONS.contains(&extension.as_str()),
        };
        if !hidden && wanted {
            read_path(&entry, depth + 1, vars, cx)?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, vars: &mut VarMap, cx: &mut Reading<'_>) -> Result<(), InventoryError> {
    let text = load::read_text(path, cx.limits, cx.vault)?;
    let source: Arc<str> = path.display().to_string().into();
    let document = yaml::compose(&text).map_err(|error| InventoryError::yaml(&source, error))?.of_file(&source, &text);
    for warning in &document.warnings {
        cx.warnings.push(format!("{}: {}", Place::at(&source, warning.at), warning.what));
    }
    let Some(root) = document.root.filter(|root| !root.is_null()) else { return Ok(()) };
    let Some(entries) = root.as_map() else {
        let what = format!("expected a map of variables, not a {}", root.kind());
        return Err(InventoryError::content(Place::at(&source, root.at), what));
    };
    for (key, _) in entries.iter().filter(|(key, _)| is_reserved(&key.text)) {
        cx.warnings.push(format!("{}: {}", Place::at(&source, key.at), reserved_name(&key.text)));
    }
    cx.rules.put(vars, variables(entries, &source, &whole_path(&source))?);
    Ok(())
}
