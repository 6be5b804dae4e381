//! Making directories and links.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::attributes::Wanted;
use super::node::{Kind, Node};
use crate::module::{Doing, ModuleError};

/// Makes `path` and what is missing above it, each as `wanted`, unless `check`. Gives back those that were missing,
/// topmost first.
///
/// # Errors
/// Something that is no directory is in the way, or the kernel refuses.
pub(crate) fn make(path: &Path, wanted: &Wanted, check: bool) -> Result<Vec<PathBuf>, ModuleError> {
    let mut missing: Vec<PathBuf> = Vec::new();
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        match Node::open(ancestor, true)? {
            Some(node) if node.is_dir() => break,
            Some(_) => {
                return Err(ModuleError::new(format!(
                    "failed to make the directory {}: {} is there and is no directory",
                    path.display(),
                    ancestor.display()
                )));
            }
            None => missing.push(ancestor.to_owned()),
        }
    }
    missing.reverse();
    for dir in missing.iter().filter(|_| !check) {
        make_one(dir, wanted)?;
    }
    Ok(missing)
}

fn make_one(dir: &Path, wanted: &Wanted) -> Result<(), ModuleError> {
    // With a mode still to be set, nobody else gets in before it is.
    let mode = if wanted.mode.is_some() { 0o700 } else { 0o777 };
    match std::fs::DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.doing(|| format!("make the directory {}", dir.display()))?,
    }
    let Some(mut node) = Node::open(dir, false)? else {
        return Err(ModuleError::new(format!("the directory {} was gone as soon as it was made", dir.display())));
    };
    if node.kind() != Kind::Directory {
        return Err(ModuleError::new(format!("{} became something else while it was made", dir.display())));
    }
    wanted.apply_fresh(&mut node)
}

/// Makes `path` a link to `target`, in place of what is there, at one stroke.
///
/// # Errors
/// A directory is in its place, or the kernel refuses.
pub(crate) fn link(path: &Path, target: &Path) -> Result<(), ModuleError> {
    at_one_stroke(path, |temp| std::os::unix::fs::symlink(target, temp))
        .doing(|| format!("link {} to {}", path.display(), target.display()))
}

/// Makes `path` another name of the file `target`, in place of what is there, at one stroke.
///
/// # Errors
/// They are on different file systems, or the kernel refuses.
pub(crate) fn hard_link(path: &Path, target: &Path) -> Result<(), ModuleError> {
    at_one_stroke(path, |temp| std::fs::hard_link(target, temp))
        .doing(|| format!("link {} to {}", path.display(), target.display()))
}

fn at_one_stroke(path: &Path, make: impl FnMut(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temp = tempfile::Builder::new().prefix(".rustle-").suffix(".tmp").make_in(dir, make)?;
    temp.into_temp_path().persist(path).map_err(|failed| failed.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Mode;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn missing_parents_are_made_with_the_mode_too() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted { mode: Some(Mode::Octal(0o750)), ..Wanted::default() };
        let path = dir.path().join("a/b");
        assert_eq!(make(&path, &wanted, true).unwrap().len(), 2);
        assert!(!dir.path().join("a").exists(), "check mode makes nothing");
        assert_eq!(make(&path, &wanted, false).unwrap(), [dir.path().join("a"), path.clone()]);
        assert_eq!(std::fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o7777, 0o750);
        assert!(make(&path, &wanted, false).unwrap().is_empty());
    }

    #[test]
    fn a_link_replaces_a_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "").unwrap();
        link(&path, Path::new("target")).unwrap();
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("target"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
