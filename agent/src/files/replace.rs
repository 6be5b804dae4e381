//! Putting a file in place at one stroke: whoever opens it sees the old content or the new, never half of either.
//!
//! The new content is written to a temporary file in the same directory, readable by nobody else until it has its owner
//! and mode, and then renamed. A full disk, a crash or a cancelled task leaves the old file as it was.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{
    Gid, Mode as RawMode, Uid, XattrFlags, fchmod, fchown, flistxattr, fsetxattr, fstat, fstatfs, getxattr, listxattr,
};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::attributes::{Changes, Current};
use super::node::{Kind, Node};
use super::times::times_of;
use crate::module::{CancelToken, Doing, ModuleError};
use crate::process::await_starts;

/// Copied between two looks at the cancel token.
const COPY_STEP_BYTES: u64 = 64 * 1024 * 1024;
/// All extended attributes of a file, names or one value: the kernel's limit for each.
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// A file about to take the place of another, or of nothing. Dropped without [`commit`](Self::commit), it is gone.
#[derive(Debug)]
pub(crate) struct Replacement {
    temp: NamedTempFile,
    target: PathBuf,
}

impl Replacement {
    /// An empty file beside `target`.
    ///
    /// # Errors
    /// The directory is missing or may not be written to.
    pub(crate) fn beside(target: &Path) -> Result<Replacement, ModuleError> {
        let dir = directory(target);
        let temp = beside().tempfile_in(dir).doing(|| format!("create a temporary file in {}", dir.display()))?;
        Ok(Replacement { temp, target: target.to_owned() })
    }

    /// The new file's path until it is committed, for validation.
    pub(crate) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// # Errors
    /// The disk is full, say.
    pub(crate) fn write(&mut self, content: &[u8]) -> Result<(), ModuleError> {
        let written = self.temp.write_all(content);
        self.explained(written)
    }

    /// Copies all of `source`, inside the kernel where it can. Gives back how many bytes that were.
    ///
    /// # Errors
    /// The disk is full, the source cannot be read, the task is cancelled.
    pub(crate) fn copy_from(&mut self, source: &mut File, cancel: &CancelToken) -> Result<u64, ModuleError> {
        let mut total = 0;
        loop {
            if cancel.is_cancelled() {
                return Err(ModuleError::new(format!("copying to {} was cancelled", self.target.display())));
            }
            let copied = io::copy(&mut Read::by_ref(source).take(COPY_STEP_BYTES), self.temp.as_file_mut());
            match self.explained(copied)? {
                0 => return Ok(total),
                count => total += count,
            }
        }
    }

    /// Has another file moved beside the target by `take`, which is given a path where nothing is, and puts it in the place of
    /// this one. False if it cannot be: if `take` says so, or if a file made in this directory gets what one that is moved here
    /// would lack, a security label or an ACL.
    ///
    /// To a name of its own, not over this one: a file that takes the place of another is on its way to the disk before ext4
    /// lets it be renamed.
    ///
    /// # Errors
    /// As `take`, or the owner that files in this directory have cannot be had.
    pub(crate) fn take_over(
        &mut self,
        take: impl Fn(&Path) -> Result<Option<File>, ModuleError>,
    ) -> Result<bool, ModuleError> {
        let made = self.temp.as_file();
        let has_attributes = !matches!(flistxattr(made, &mut [0_u8; 1]), Ok(0) | Err(Errno::NOTSUP));
        let made = fstat(made).doing(|| format!("look at {}", self.temp.path().display()))?;
        if has_attributes {
            return Ok(false);
        }
        let mut failed = None;
        let taken = beside().make_in(directory(&self.target), |path| match take(path) {
            Ok(file) => file.ok_or_else(|| io::ErrorKind::Unsupported.into()),
            Err(error) => {
                failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        });
        let Ok(taken) = taken else { return failed.map_or(Ok(false), Err) };
        let owner = (Some(Uid::from_raw(made.st_uid)), Some(Gid::from_raw(made.st_gid)));
        fchown(taken.as_file(), owner.0, owner.1).doing(|| format!("set the owner of {}", self.target.display()))?;
        self.temp = taken;
        Ok(true)
    }

    fn explained<T>(&self, written: io::Result<T>) -> Result<T, ModuleError> {
        written.map_err(|error| {
            let kept = if self.target.exists() { "; the file there is as it was" } else { "" };
            ModuleError::new(format!("failed to write {}: {error}{kept}", self.target.display()))
        })
    }

    /// Gives the file its owner, mode and extended attributes, those of `old` with `changes`, and renames it into place.
    ///
    /// # Errors
    /// The owner or mode cannot be had, or the rename fails. The old file is untouched then, unless `unsafe_writes`
    /// allowed to write into it.
    pub(crate) fn commit(
        mut self,
        old: Option<&Node>,
        changes: &Changes,
        unsafe_writes: bool,
    ) -> Result<(), ModuleError> {
        let old = old.filter(|node| node.kind() == Kind::File);
        if let Some(old) = old {
            copy_xattrs(old, self.temp.as_file());
        }
        self.set_owner_and_mode(old, changes).doing(|| format!("set owner and mode of {}", self.target.display()))?;
        if let Some(old) = old {
            self.be_later_than(old).doing(|| format!("set the times of {}", self.target.display()))?;
            self.sync().doing(|| format!("write {} to disk", self.target.display()))?;
        }
        match self.temp.persist(&self.target) {
            Ok(file) => {
                drop(file);
                // Somebody may run it next.
                await_starts();
                Ok(())
            }
            Err(failed) if unsafe_writes && old.is_some() => {
                let mut source = failed.file.into_file();
                write_in_place(&mut source, &self.target)
                    .doing(|| format!("write into {} in place, as unsafe_writes allows", self.target.display()))
            }
            Err(failed) => {
                let hint = match failed.error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::BUSY | Errno::XDEV) => ". It seems to be a mount point: unsafe_writes writes into it",
                    Some(Errno::ISDIR) => ". It is a directory",
                    _ => "",
                };
                Err(ModuleError::new(format!("failed to replace {}: {}{hint}", self.target.display(), failed.error)))
            }
        }
    }

    fn set_owner_and_mode(&mut self, old: Option<&Node>, changes: &Changes) -> rustix::io::Result<()> {
        let file = self.temp.as_file();
        let made = fstat(file)?;
        let base = old.map_or(Current::fresh(Kind::File), |node| Current::of(node.stat()));
        let mut mode = changes.mode.unwrap_or(base.mode);
        let inherited = old.map(|_| (base.uid, base.gid));
        let uid = changes.uid.or(inherited.map(|(uid, _)| uid)).filter(|uid| *uid != made.st_uid);
        let gid = changes.gid.or(inherited.map(|(_, gid)| gid)).filter(|gid| *gid != made.st_gid);
        if uid.is_some() || gid.is_some() {
            match fchown(file, uid.map(Uid::from_raw), gid.map(Gid::from_raw)) {
                // Who may not give files away replaces another's file by one of his own, but not a setuid one.
                Err(Errno::PERM) if changes.uid.is_none() && changes.gid.is_none() => mode &= 0o777,
                owned => owned?,
            }
        }
        fchmod(file, RawMode::from_raw_mode(mode))
    }

    /// A write is dated by the clock's last tick, so a file that is replaced soon after it was written would look as old as
    /// before, to `make` or whoever else compares times. Then the exact time is set, as Ansible does for every file.
    fn be_later_than(&self, old: &Node) -> io::Result<()> {
        let (new, old) = (times_of(&fstat(self.temp.as_file())?), times_of(old.stat()));
        if new.0 > old.0 && new.1 > old.1 {
            return Ok(());
        }
        let now = SystemTime::now();
        self.temp.as_file().set_times(FileTimes::new().set_accessed(now).set_modified(now))
    }

    /// Makes sure that after a power cut the name leads to the old content or to all of the new. ext4, btrfs and tmpfs
    /// order a rename after the data on their own (or forget both), so they are spared the wait.
    fn sync(&self) -> io::Result<()> {
        const ORDERED: [u64; 3] = [0xEF53, 0x9123_683E, 0x0102_1994];
        let kind = fstatfs(self.temp.as_file())?.f_type;
        if ORDERED.contains(&u64::try_from(kind).unwrap_or(0)) {
            return Ok(());
        }
        self.temp.as_file().sync_data()
    }
}

fn directory(target: &Path) -> &Path {
    target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How temporary files are called.
fn beside() -> tempfile::Builder<'static, 'static> {
    let mut named = tempfile::Builder::new();
    named.prefix(".rustle-").suffix(".tmp");
    named
}

/// ACLs, SELinux context, user attributes. Those a file system or a user may not set are left out, and so are
/// capabilities: they were given to the old content.
fn copy_xattrs(old: &Node, new: &File) {
    let mut names = [0; 1024];
    let names = match listxattr(old.proc_path(), &mut names[..]) {
        Ok(len) => names[..len].to_vec(),
        Err(Errno::RANGE) => {
            let mut all = vec![0; XATTR_BYTES_MAX];
            let len = listxattr(old.proc_path(), &mut all[..]).unwrap_or(0);
            all.truncate(len);
            all
        }
        Err(_) => return,
    };
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty() && *name != b"security.capability") {
        let mut value = vec![0; XATTR_BYTES_MAX];
        if let Ok(len) = getxattr(old.proc_path(), name, &mut value[..]) {
            let _ = fsetxattr(new, name, &value[..len], XattrFlags::empty());
        }
    }
}

fn write_in_place(source: &mut File, target: &Path) -> io::Result<()> {
    source.rewind()?;
    let mut file = OpenOptions::new().write(true).truncate(true).open(target)?;
    io::copy(source, &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn dir_with(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn the_new_file_has_the_mode_and_attributes_of_the_old_one() {
        let (_dir, path) = dir_with(b"old", 0o751);
        let tagged = rustix::fs::setxattr(&path, "user.tag", b"kept", XattrFlags::empty()).is_ok();
        let node = Node::open(&path, false).unwrap().unwrap();
        let mut new = Replacement::beside(&path).unwrap();
        assert_eq!(std::fs::metadata(new.path()).unwrap().mode() & 0o077, 0, "nobody reads it before it is whole");
        new.write(b"new").unwrap();
        new.commit(Some(&node), &Changes::default(), false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o751);
        if tagged {
            let mut value = [0; 16];
            assert_eq!(getxattr(&path, "user.tag", &mut value[..]).unwrap(), 4);
        }
    }

    #[test]
    fn a_file_that_was_written_within_the_same_tick_is_replaced_by_a_later_one() {
        let (_dir, path) = dir_with(b"old", 0o644);
        let mut new = Replacement::beside(&path).unwrap();
        new.write(b"new").unwrap();
        let written = std::fs::metadata(new.path()).unwrap();
        let times =
            FileTimes::new().set_accessed(written.accessed().unwrap()).set_modified(written.modified().unwrap());
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        let node = Node::open(&path, false).unwrap().unwrap();
        new.commit(Some(&node), &Changes::default(), false).unwrap();
        let replaced = std::fs::metadata(&path).unwrap();
        assert!(replaced.accessed().unwrap() > written.accessed().unwrap());
        assert!(replaced.modified().unwrap() > written.modified().unwrap());
    }

    #[test]
    fn a_replacement_that_is_dropped_leaves_nothing_behind() {
        let (dir, path) = dir_with(b"old", 0o644);
        let mut new = Replacement::beside(&path).unwrap();
        new.write(b"new").unwrap();
        drop(new);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_taken_over_is_committed_like_one_that_was_written() {
        let (dir, path) = dir_with(b"old", 0o751);
        let node = Node::open(&path, false).unwrap().unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, "new").unwrap();
        let mut new = Replacement::beside(&path).unwrap();
        let take = |place: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(&other).unwrap();
            std::fs::rename(&other, place).unwrap();
            Ok(Some(file))
        };
        assert!(new.take_over(take).unwrap());
        new.commit(Some(&node), &Changes::default(), false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o751);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_taken_over_where_new_files_get_an_acl() {
        let (dir, path) = dir_with(b"old", 0o644);
        // A default ACL of user::rwx, group::r-x, group 4242:rwx, mask::rwx, other::r-x, as the kernel stores it.
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let entries = [entry(1, 7, none), entry(4, 5, none), entry(8, 7, 4242), entry(16, 7, none), entry(32, 5, none)];
        let acl = [&2u32.to_le_bytes()[..], &entries.concat()].concat();
        if rustix::fs::setxattr(dir.path(), "system.posix_acl_default", &acl, XattrFlags::empty()).is_err() {
            return;
        }
        let mut new = Replacement::beside(&path).unwrap();
        assert!(!new.take_over(|_| panic!("it would lack the ACL")).unwrap());
    }

    #[test]
    fn a_copy_is_stopped_by_cancelling() {
        let (dir, path) = dir_with(b"old", 0o644);
        let cancel = CancelToken::new().unwrap();
        cancel.cancel(crate::module::CancelReason::Requested);
        let mut source = File::open(&path).unwrap();
        let mut new = Replacement::beside(&dir.path().join("new")).unwrap();
        assert!(new.copy_from(&mut source, &cancel).unwrap_err().to_string().contains("was cancelled"));
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Replacement::beside(&dir.path().join("none/file")).unwrap_err().to_string();
        assert!(error.contains(&format!("{}/none", dir.path().display())), "{error}");
        std::fs::create_dir(dir.path().join("taken")).unwrap();
        let new = Replacement::beside(&dir.path().join("taken")).unwrap();
        let error = new.commit(None, &Changes::default(), false).unwrap_err().to_string();
        assert!(error.contains("/taken: ") && error.contains("directory"), "{error}");
    }
}
