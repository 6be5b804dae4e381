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

/// Lists the directory `root` of this host. Links are followed, or listed as links; one that leads to a directory it is in
/// is a link in any case.
///
/// # Errors
/// Something cannot be read, or there is too much.
pub(crate) fn from_directory(root: &Path, follow: bool, cancel: &CancelToken) -> Result<Vec<Entry>, ModuleError> {
    let top = Node::open(root, true)?.map(|node| identity(&node));
    let mut walk = Walk { root, follow, cancel, above: top.into_iter().collect(), entries: Vec::new() };
    walk.directory(Path::new(""))?;
    Ok(walk.entries)
}

/// What makes a directory the same as another: its device and its inode.
type Identity = (u64, u64);

fn identity(node: &Node) -> Identity {
    (node.stat().st_dev, node.stat().st_ino)
}

struct Walk<'a> {
    root: &'a Path,
    follow: bool,
    cancel: &'a CancelToken,
    /// The directories that the walk is in.
    above: Vec<Identity>,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn directory(&mut self, below: &Path) -> Result<(), ModuleError> {
        let dir = self.root.join(below);
        let reading = || format!("list {}", dir.display());
        if below.components().count() > DEPTH_MAX || self.entries.len() > ENTRIES_MAX {
            return Err(ModuleError::new(format!("failed to {}: there is too much in it", reading())));
        }
        if self.cancel.is_cancelled() {
            return Err(ModuleError::new(format!("listing {} was cancelled", dir.display())));
        }
        let mut names = std::fs::read_dir(&dir)
            .and_then(|found| found.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>, std::io::Error>>())
            .doing(reading)?;
        names.sort();
        names.iter().try_for_each(|name| self.entry(below.join(name)))
    }

    fn entry(&mut self, path: PathBuf) -> Result<(), ModuleError> {
        // Gone since it was listed is as good as never there.
        let Some(node) = self.open(&self.root.join(&path))? else { return Ok(()) };
        let mode = node.stat().st_mode & PERMISSIONS;
        let inside = (node.kind() == Kind::Directory).then(|| identity(&node));
        let what = match node.kind() {
            Kind::Directory => What::Directory,
            Kind::Link => What::Link(node.link_target()?),
            Kind::File => What::File(Source::File(node)),
            Kind::Other => {
                let path = self.root.join(&path);
                return Err(ModuleError::new(format!(
                    "{} is a device, fifo or socket: it is not copied",
                    path.display()
                )));
            }
        };
        self.entries.push(Entry { path: path.clone(), mode, what });
        if let Some(identity) = inside {
            self.above.push(identity);
            self.directory(&path)?;
            self.above.pop();
        }
        Ok(())
    }

    /// What a path means to the walk: what a link leads to, or the link.
    fn open(&self, path: &Path) -> Result<Option<Node>, ModuleError> {
        // A link to itself cannot even be looked at.
        let followed = if self.follow && path.exists() { Node::open(path, true)? } else { None };
        match followed {
            Some(node) if !self.above.contains(&identity(&node)) => Ok(Some(node)),
            // Nothing is behind it, or a circle.
            _ => Node::open(path, false),
        }
    }
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
    fn a_link_that_leads_in_a_circle_or_nowhere_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("../sub", dir.path().join("sub/again")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("itself", dir.path().join("itself")).unwrap();
        for follow in [true, false] {
            let entries = from_directory(dir.path(), follow, &CancelToken::new().unwrap()).unwrap();
            let links = entries.iter().filter(|entry| matches!(entry.what, What::Link(_)));
            assert_eq!((entries.len(), links.count()), (4, 3), "follow: {follow}");
        }
    }
}
