//! A directory's content as a list, each directory before what is in it: sent by the controller, or found on this host.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustle_protocol::{Map, Value};

use super::mode::PERMISSIONS;
use super::node::{Kind, Node};
use super::place::Source;
use crate::module::{BlobRef, CancelToken, Doing, FromArg, ModuleError};

/// Entries copied by one task.
const ENTRIES_MAX: usize = 1_000_000;
/// How deep directories nest at most: a link that leads upwards would go on for ever.
const DEPTH_MAX: usize = 128;

#[derive(Debug)]
pub(crate) struct Entry {
    /// Relative to the destination; without `..`.
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Directory,
    Link(PathBuf),
    File(Source),
}

/// Reads the controller's list: `{path, mode}` with one of `blob`, `dir: true` and `link`.
///
/// # Errors
/// An entry that is none of these, or leads out of the destination.
pub(crate) fn from_value(value: &Value) -> Result<Vec<Entry>, ModuleError> {
    let items = value.as_list().ok_or_else(|| ModuleError::new("the tree is no list"))?;
    items.iter().map(entry).collect()
}

fn entry(item: &Value) -> Result<Entry, ModuleError> {
    let wrong = |why: &str| ModuleError::new(format!("the tree has an entry {why}: {item}"));
    let map: &Map = item.as_map().ok_or_else(|| wrong("that is no dict"))?;
    let path = PathBuf::from(map.get("path").and_then(Value::as_str).ok_or_else(|| wrong("without a path"))?);
    if !is_inside(&path) {
        return Err(wrong("that leads out of it"));
    }
    let mode = map.get("mode").and_then(Value::as_i64).and_then(|mode| u32::try_from(mode).ok());
    let mode = mode.ok_or_else(|| wrong("without a mode"))? & PERMISSIONS;
    let what = match (map.get("blob"), map.get("link").and_then(Value::as_str), map.get("dir")) {
        (Some(blob), None, None) => What::File(Source::Blob(
            BlobRef::from_arg(blob.clone()).map_err(|why| wrong(&format!("whose blob {why}")))?,
        )),
        (None, Some(target), None) => What::Link(target.into()),
        (None, None, Some(Value::Bool(true))) => What::Directory,
        _ => return Err(wrong("that is neither blob, dir nor link")),
    };
    Ok(Entry { path, mode, what })
}

/// Whether a relative path stays below where it starts.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some()
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Lists the directory `root` of this host. Links are followed, or listed as links.
///
/// # Errors
/// Something cannot be read, there is too much, or links lead in a circle.
pub(crate) fn from_directory(root: &Path, follow: bool, cancel: &CancelToken) -> Result<Vec<Entry>, ModuleError> {
    let mut entries = Vec::new();
    walk(root, Path::new(""), follow, cancel, &mut entries)?;
    Ok(entries)
}

fn walk(
    root: &Path,
    below: &Path,
    follow: bool,
    cancel: &CancelToken,
    entries: &mut Vec<Entry>,
) -> Result<(), ModuleError> {
    let dir = root.join(below);
    let reading = || format!("list {}", dir.display());
    if below.components().count() > DEPTH_MAX || entries.len() > ENTRIES_MAX {
        let why = "there is too much in it, or a link leads in a circle";
        return Err(ModuleError::new(format!("failed to {}: {why}", reading())));
    }
    if cancel.is_cancelled() {
        return Err(ModuleError::new(format!("listing {} was cancelled", dir.display())));
    }
    let mut names = std::fs::read_dir(&dir)
        .and_then(|found| found.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, std::io::Error>>())
        .doing(reading)?;
    names.sort();
    for name in names {
        let path = below.join(&name);
        // Gone since it was listed is as good as never there.
        let Some(node) = Node::open(&root.join(&path), follow)? else { continue };
        let mode = node.stat().st_mode & PERMISSIONS;
        let what = match node.kind() {
            Kind::Directory => What::Directory,
            Kind::Link => What::Link(node.link_target()?),
            Kind::File => What::File(Source::File(node)),
            Kind::Other => {
                return Err(ModuleError::new(format!(
                    "{} is a device, fifo or socket: it is not copied",
                    root.join(&path).display()
                )));
            }
        };
        let is_dir = matches!(what, What::Directory);
        entries.push(Entry { path: path.clone(), mode, what });
        if is_dir {
            walk(root, &path, follow, cancel, entries)?;
        }
    }
    Ok(())
}

/// Whether a path was written with a slash at its end.
pub(crate) fn has_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_seen() {
        assert!(is_inside(Path::new("a/b")) && is_inside(Path::new("./a")));
        for path in ["", "/etc", "..", "a/../b", "a/.."] {
            assert!(!is_inside(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_directory_comes_before_its_content_in_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("b/c"), "").unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let entries = from_directory(dir.path(), true, &CancelToken::new().unwrap()).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.path.to_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "b/c"]);
    }

    #[test]
    fn a_circle_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("again")).unwrap();
        assert!(from_directory(dir.path(), true, &CancelToken::new().unwrap()).is_err());
        assert_eq!(from_directory(dir.path(), false, &CancelToken::new().unwrap()).unwrap().len(), 1);
    }
}
