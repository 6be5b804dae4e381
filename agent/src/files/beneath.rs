//! Writing beneath a directory and nowhere else. Every path is resolved by the kernel with `RESOLVE_BENEATH`: neither
//! `..`, nor an absolute link, nor a link put in while we work leads out.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, linkat, mkdirat, openat, openat2, readlinkat, renameat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;

use super::node::{Kind, Node};
use crate::module::{Doing, ModuleError};

/// A lookup that raced with a rename is tried so many times, as the kernel asks for.
const LOOKUPS_MAX: usize = 16;

/// A directory that paths do not leave.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// # Errors
    /// There is no such directory.
    pub fn open(path: &Path) -> Result<Beneath, ModuleError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).doing(|| format!("open {}", path.display()))?;
        Ok(Beneath { root, path: path.to_owned() })
    }

    /// Where `name` is, for messages.
    pub(crate) fn shown(&self, name: &Path) -> PathBuf {
        self.path.join(name)
    }

    /// The directory `name`, if it is there.
    ///
    /// # Errors
    /// The path leads out.
    pub(crate) fn directory(&self, name: &Path) -> Result<Option<OwnedFd>, ModuleError> {
        if name.as_os_str().is_empty() {
            return self.root.try_clone().map(Some).doing(|| format!("open {}", self.path.display()));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..LOOKUPS_MAX {
            match openat2(&self.root, name, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::XDEV) => {
                    return Err(ModuleError::new(format!(
                        "{} leads out of {}: nothing is written there",
                        self.shown(name).display(),
                        self.path.display()
                    )));
                }
                Err(Errno::NOSYS) => return Err(ModuleError::new("unpacking safely needs Linux 5.6 or newer")),
                Err(error) => return Err(error).doing(|| format!("open {}", self.shown(name).display())),
            }
        }
        Err(ModuleError::new(format!("{} is being renamed all the time", self.shown(name).display())))
    }

    /// What `name` names, a link itself included, if it is there.
    ///
    /// # Errors
    /// The path leads out.
    pub(crate) fn node(&self, name: &Path) -> Result<Option<Node>, ModuleError> {
        let (parent, last) = split(name);
        let Some(dir) = self.directory(parent)? else { return Ok(None) };
        Node::open_at(dir.as_fd(), Path::new(last), &self.shown(name), false)
    }

    /// The directory `name`, made with what is missing above it.
    ///
    /// # Errors
    /// Something else is in its place, or the path leads out.
    pub(crate) fn make_directory(&self, name: &Path) -> Result<OwnedFd, ModuleError> {
        if let Some(dir) = self.directory(name)? {
            return Ok(dir);
        }
        let (parent, last) = split(name);
        let dir = self.make_directory(parent)?;
        match mkdirat(&dir, Path::new(last), Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => {}
            made => made.doing(|| format!("make the directory {}", self.shown(name).display()))?,
        }
        self.directory(name)?
            .ok_or_else(|| ModuleError::new(format!("{} is a link to nowhere", self.shown(name).display())))
    }

    /// Puts `name` in place at one stroke: `make` makes it under another name in the same directory.
    ///
    /// # Errors
    /// Those of `make`, or a directory is in its place. Nothing is left behind.
    pub fn replace(
        &self,
        name: &Path,
        make: impl FnOnce(&OwnedFd, &Path) -> Result<(), ModuleError>,
    ) -> Result<(), ModuleError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (parent, last) = split(name);
        let dir = self.make_directory(parent)?;
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let temp = PathBuf::from(format!(".rustle-{}-{nth}.tmp", std::process::id()));
        let done = make(&dir, &temp).and_then(|()| {
            renameat(&dir, &temp, &dir, Path::new(last)).doing(|| format!("replace {}", self.shown(name).display()))
        });
        if done.is_err() {
            // The first error is the one worth telling.
            let _ = unlinkat(&dir, &temp, AtFlags::empty());
        }
        done
    }

    /// Makes `name` a link.
    ///
    /// # Errors
    /// The link would lead out of the directory, or cannot be made.
    pub(crate) fn link(&self, name: &Path, target: &Path) -> Result<(), ModuleError> {
        self.replace(name, |dir, temp| {
            // The directory as it really is, since links may have led to it.
            let real = |fd: &OwnedFd| readlinkat(CWD, proc_path(fd), Vec::new()).doing(|| self.linking(name));
            let (root, dir_path) = (real(&self.root)?, real(dir)?);
            let dir_path = Path::new(OsStr::from_bytes(dir_path.as_bytes()));
            let within = dir_path.strip_prefix(OsStr::from_bytes(root.as_bytes())).unwrap_or(Path::new(""));
            if !stays_inside(within, target, &self.path) {
                return Err(leads_out(&self.shown(name), target));
            }
            symlinkat(target, dir, temp).doing(|| self.linking(name))
        })
    }

    /// Makes `name` another name of the file `target`, which is beneath too.
    ///
    /// # Errors
    /// The target is not there, is no file, or leads out.
    pub(crate) fn hard_link(&self, name: &Path, target: &Path) -> Result<(), ModuleError> {
        let source = self.node(target)?.filter(|node| node.kind() == Kind::File).ok_or_else(|| {
            let (name, target) = (self.shown(name), self.shown(target));
            ModuleError::new(format!("{} is a link to {}, which is no file", name.display(), target.display()))
        })?;
        self.replace(name, |dir, temp| {
            linkat(CWD, source.proc_path(), dir, temp, AtFlags::SYMLINK_FOLLOW).doing(|| self.linking(name))
        })
    }

    fn linking(&self, name: &Path) -> String {
        format!("make the link {}", self.shown(name).display())
    }
}

fn proc_path(fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The error for a link that leads out.
pub(crate) fn leads_out(name: &Path, target: &Path) -> ModuleError {
    ModuleError::new(format!("{} is a link that leads out, to {}: it is not made", name.display(), target.display()))
}

/// Whether a link in the directory `dir`, relative to `root`, leads to something beneath `root`. `..` counts only at
/// the target's beginning: further on, nobody knows what it is relative to.
pub(crate) fn stays_inside(dir: &Path, target: &Path, root: &Path) -> bool {
    let (mut depth, mut rest) = (dir.components().count(), target);
    if target.is_absolute() {
        let Ok(inside) = target.strip_prefix(root) else { return false };
        (depth, rest) = (0, inside);
    }
    let mut going_up = true;
    for part in rest.components() {
        match part {
            Component::ParentDir if going_up && depth > 0 => depth -= 1,
            Component::CurDir => {}
            Component::Normal(_) => going_up = false,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

fn split(name: &Path) -> (&Path, &OsStr) {
    (name.parent().unwrap_or(Path::new("")), name.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_judged_by_where_they_lead() {
        let inside = |dir: &str, target: &str| stays_inside(Path::new(dir), Path::new(target), Path::new("/opt/x"));
        assert!(inside("", "a/b") && inside("a", "../b") && inside("a/b", "../../c") && inside("", "/opt/x/a"));
        assert!(!inside("", "..") && !inside("a", "../../b") && !inside("", "/etc/passwd"));
        assert!(
            !inside("a", "b/../../../c") && !inside("", "/opt/x/../y") && !inside("", "/opt/xy") && !inside("", "")
        );
    }

    #[test]
    fn a_link_that_was_there_already_leads_nowhere_outside() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), dir.path().join("out")).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let error = beneath.make_directory(Path::new("out/sub")).unwrap_err().to_string();
        assert!(error.contains("leads out of"), "{error}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_within_is_followed_and_counted_from_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("also")).unwrap();
        symlink(".", dir.path().join("here")).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        beneath.make_directory(Path::new("also/sub")).unwrap();
        assert!(dir.path().join("real/sub").is_dir());
        let error = beneath.link(Path::new("here/x"), Path::new("../etc")).unwrap_err().to_string();
        assert!(error.contains("leads out"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
