//! Which kind of source something is, and the order in which sources are read.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::Builder;
use super::{
    Beside, GroupId, GroupNames, Inventory, InventoryError, Limits, Rules, ini, script, toml, vars_files, yaml,
};
use crate::input::source::Place;
use crate::input::vaulted;
use crate::vault::Vault;

/// Folders within a folder of sources.
const FOLDER_DEPTH_MAX: usize = 8;

impl Inventory {
    /// Reads sources in order; where two set the same variable, the later counts. A source is a file, a folder, or a list
    /// of hosts with a comma in it: `web1,web2` or `web1,`.
    ///
    /// # Errors
    /// The first source that cannot be used, with file, line and column.
    pub fn load(sources: &[PathBuf], limits: Limits) -> Result<Inventory, InventoryError> {
        let rules = Rules { group_names: GroupNames::Ignore, ..Rules::default() };
        Inventory::load_with(sources, limits, rules, &Vault::default(), None)
    }

    /// As [`Inventory::load`], with passwords for what is encrypted, and with the variables in the folder of a playbook.
    ///
    /// # Errors
    /// As [`Inventory::load`], and what no password fits.
    pub fn load_with(
        sources: &[PathBuf],
        limits: Limits,
        rules: Rules,
        vault: &Vault,
        playbook: Option<&Path>,
    ) -> Result<Inventory, InventoryError> {
        let mut builder = Builder::new(limits);
        builder.vault = vault.clone();
        builder.rules = rules;
        for source in sources {
            all_or_nothing(&mut builder, |builder| {
                builder.sources.push(source.clone());
                match host_list(source) {
                    Some(list) => read_host_list(list, builder),
                    None => read_source(source, 0, builder),
                }
            })?;
        }
        // Groups of one source may have variables beside another.
        for (folder, beside) in folders_of_vars(sources, playbook) {
            vars_files::read_beside(&folder, beside, &mut builder)?;
        }
        Ok(builder.finish())
    }

    /// An inventory of these hosts and nothing else.
    ///
    /// # Errors
    /// A name that is not a host's name.
    pub fn of_hosts<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Inventory, InventoryError> {
        let mut builder = Builder::new(Limits::default());
        let place = Place::whole("host list");
        for name in names {
            builder.host(name, GroupId::UNGROUPED, &place)?;
        }
        Ok(builder.finish())
    }
}

/// The folders beside which variables of groups and hosts are looked for, in the order they are read.
pub(super) fn folders_of_vars(sources: &[PathBuf], playbook: Option<&Path>) -> Vec<(PathBuf, Beside)> {
    let files = sources.iter().filter(|source| host_list(source).is_none());
    let beside = files.map(|source| {
        let folder = if source.is_dir() { source.as_path() } else { source.parent().unwrap_or(Path::new("")) };
        (folder.to_owned(), Beside::Inventory)
    });
    beside.chain(playbook.map(|folder| (folder.to_owned(), Beside::Playbook))).collect()
}

/// The text of a source that is a list of hosts and not a file.
fn host_list(source: &Path) -> Option<&str> {
    source.to_str().filter(|text| text.contains(',') && !source.exists())
}

/// Reads a source or a file of one; of what cannot be read there is nothing but a warning, if the rules allow that.
fn all_or_nothing(
    builder: &mut Builder,
    read: impl FnOnce(&mut Builder) -> Result<(), InventoryError>,
) -> Result<(), InventoryError> {
    let before = builder.rules.skips_unread.then(|| builder.clone());
    match (read(builder), before) {
        (Err(error), Some(before)) if !matches!(error, InventoryError::Sealed { .. }) => {
            *builder = before;
            builder.warnings.push(error.on_one_line());
            Ok(())
        }
        (read, _) => read,
    }
}

fn read_host_list(list: &str, builder: &mut Builder) -> Result<(), InventoryError> {
    let place = Place::whole(format!("host list `{}`", crate::input::source::shown(list)));
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        builder.hosts(name, GroupId::UNGROUPED, &place)?;
    }
    Ok(())
}

fn read_source(path: &Path, depth: usize, builder: &mut Builder) -> Result<(), InventoryError> {
    if !path.is_dir() {
        return read_file(path, builder);
    }
    if depth >= FOLDER_DEPTH_MAX {
        let what = format!("folders nest deeper than {FOLDER_DEPTH_MAX} levels here");
        return Err(InventoryError::content(Place::whole(path.display().to_string()), what));
    }
    for entry in sorted_entries(path)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !builder.rules.ignored.has(&name) {
            all_or_nothing(builder, |builder| read_source(&entry, depth + 1, builder))?;
        }
    }
    Ok(())
}

/// What a folder holds, by name.
pub(super) fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, InventoryError> {
    let failed = |source| InventoryError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path, builder: &mut Builder) -> Result<(), InventoryError> {
    let source: Arc<str> = path.display().to_string().into();
    let bytes = read_bytes(path, &builder.limits)?;
    builder.source =
        Some(std::path::absolute(path).map_or_else(|_| Arc::clone(&source), |path| path.display().to_string().into()));
    if is_program(path, &bytes) {
        return script::read(path, &source, builder);
    }
    let text = opened(path, into_text(path, bytes)?, &builder.vault)?;
    match kind(path, &text) {
        SourceKind::Ini => ini::read(&text, &source, builder),
        SourceKind::Yaml => yaml::read(&text, &source, builder),
        SourceKind::Toml => toml::read(&text, &source, builder),
        SourceKind::ScriptOutput => script::read_list(&text, &source, builder).map(drop),
        SourceKind::Unknown(what) => Err(InventoryError::hinted(
            Place::whole(source),
            what,
            "INI, YAML, TOML and JSON are read, and executables that print JSON",
        )),
    }
}

enum SourceKind {
    Ini,
    Yaml,
    Toml,
    ScriptOutput,
    Unknown(&'static str),
}

fn kind(path: &Path, text: &str) -> SourceKind {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    match extension {
        "yml" | "yaml" => SourceKind::Yaml,
        "json" => json_kind(text),
        "toml" => SourceKind::Toml,
        "ini" => SourceKind::Ini,
        _ => match first_line(text) {
            line if line.starts_with("#!") => {
                SourceKind::Unknown("begins with `#!` and is not executable: chmod +x it, or take that line out")
            }
            line if line.starts_with('{') => json_kind(text),
            line if line == "---" || line.ends_with(':') => SourceKind::Yaml,
            _ => SourceKind::Ini,
        },
    }
}

/// A script's output, saved, or the YAML shape in JSON.
fn json_kind(text: &str) -> SourceKind {
    let Ok(rustle_protocol::Value::Map(groups)) = crate::input::json::parse(text) else { return SourceKind::Yaml };
    let listed = |group: &rustle_protocol::Value| {
        group.as_list().is_some()
            || group.as_map().is_some_and(|parts| {
                ["hosts", "children"].iter().any(|p| parts.get(*p).is_some_and(|v| v.as_list().is_some()))
            })
    };
    if groups.contains_key("_meta") || groups.values().any(listed) {
        SourceKind::ScriptOutput
    } else {
        SourceKind::Yaml
    }
}

/// The first line that says something, or that says how to run the file.
fn first_line(text: &str) -> &str {
    if text.starts_with("#!") {
        return "#!";
    }
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';', '%'])).unwrap_or("")
}

/// Executable, and with the head of a program: on some file systems, a USB stick's among them, everything is executable.
fn is_program(path: &Path, bytes: &[u8]) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
    executable && (bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"))
}

/// A file's text.
pub(super) fn read_text(path: &Path, limits: &Limits, vault: &Vault) -> Result<String, InventoryError> {
    opened(path, into_text(path, read_bytes(path, limits)?)?, vault)
}

fn opened(path: &Path, text: String, vault: &Vault) -> Result<String, InventoryError> {
    vaulted::open_text(text, vault).map_err(|why| InventoryError::sealed(Place::whole(path.display().to_string()), why))
}

fn into_text(path: &Path, bytes: Vec<u8>) -> Result<String, InventoryError> {
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column =
            before.rsplit(|b| *b == b'\n').next().map_or(1, |tail| String::from_utf8_lossy(tail).chars().count() + 1);
        let source: Arc<str> = path.display().to_string().into();
        InventoryError::content(Place::at(&source, crate::input::source::Position::new(line, column)), "not UTF-8 text")
    })
}

fn read_bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>, InventoryError> {
    let failed = |source| InventoryError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limits.source_bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limits.source_bytes_max {
        let what = format!("larger than {} bytes", limits.source_bytes_max);
        return Err(InventoryError::content(Place::whole(path.display().to_string()), what));
    }
    Ok(bytes)
}
