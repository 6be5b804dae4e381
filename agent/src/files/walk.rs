//! Going through a directory by descriptors: a rename or a link put in while we are on our way leads nowhere else.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::node::Node;
use crate::module::{CancelToken, Doing, ModuleError};

/// How deep directories may nest; each level holds two descriptors.
const DEPTH_MAX: usize = 200;

/// Calls `visit` with everything below `dir`, each directory before what is in it. Links are visited, not followed.
///
/// # Errors
/// A directory cannot be read or nests too deep, the task is cancelled, or `visit` fails.
pub(crate) fn below(
    dir: &Node,
    cancel: &CancelToken,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    descend(dir, 0, cancel, visit)
}

fn descend(
    dir: &Node,
    depth: usize,
    cancel: &CancelToken,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    let shown = || format!("read the directory {}", dir.path().display());
    if depth > DEPTH_MAX {
        return Err(format!("it is nested deeper than {DEPTH_MAX} levels")).doing(shown);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(dir.fd(), ".", flags, Mode::empty()).doing(shown)?;
    for entry in Dir::read_from(&fd).doing(shown)? {
        if cancel.is_cancelled() {
            return Err(ModuleError::new(format!("cancelled while in {}", dir.path().display())));
        }
        let entry = entry.doing(shown)?;
        let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
        if name == Path::new(".") || name == Path::new("..") {
            continue;
        }
        // Gone since it was listed is as good as never there.
        let Some(mut node) = Node::open_at(dir.fd(), name, &dir.path().join(name), false)? else { continue };
        visit(&mut node)?;
        if node.is_dir() {
            descend(&node, depth + 1, cancel, visit)?;
        }
    }
    Ok(())
}
