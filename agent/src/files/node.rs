//! What a path names, looked at once and held by a descriptor, so that what was checked is what gets changed.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustle_protocol::{Map, ModuleResult, Value};

use super::mode::{PERMISSIONS, octal};
use crate::accounts::Users;
use crate::module::{Doing, ModuleError};

/// A file, directory, link or anything else. Opened without reading, so that neither a fifo nor a device is touched.
#[derive(Debug)]
pub(crate) struct Node {
    fd: OwnedFd,
    path: PathBuf,
    stat: Stat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    /// A device, fifo or socket.
    Other,
}

impl Node {
    /// What `path` names; with `follow`, what a link there leads to. `None` if nothing is there.
    ///
    /// # Errors
    /// The path cannot be looked at: a directory above it may not be entered, links go round in a circle.
    pub(crate) fn open(path: &Path, follow: bool) -> Result<Option<Node>, ModuleError> {
        Node::open_at(CWD, path, path, follow)
    }

    /// `name` within `dir`; `path` is for messages.
    pub(crate) fn open_at(
        dir: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        follow: bool,
    ) -> Result<Option<Node>, ModuleError> {
        let links = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        match openat(dir, name, OFlags::PATH | OFlags::CLOEXEC | links, Mode::empty()) {
            Ok(fd) => {
                let stat = fstat(&fd).doing(|| format!("look at {}", path.display()))?;
                Ok(Some(Node { fd, path: path.to_owned(), stat }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).doing(|| format!("look at {}", path.display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn kind(&self) -> Kind {
        kind_of(&self.stat)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == Kind::Directory
    }

    pub(crate) fn size(&self) -> u64 {
        field(self.stat.st_size)
    }

    /// The same file under a name that no rename can change. Follows a link if this is one.
    pub(crate) fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// Opens the very file for reading.
    ///
    /// # Errors
    /// Reading is not allowed.
    pub(crate) fn read(&self) -> Result<File, ModuleError> {
        File::open(self.proc_path()).doing(|| format!("read {}", self.path.display()))
    }

    /// Where a link leads, as written in it.
    ///
    /// # Errors
    /// It is not a link.
    pub(crate) fn link_target(&self) -> Result<PathBuf, ModuleError> {
        let target = readlinkat(&self.fd, "", Vec::new()).doing(|| format!("read the link {}", self.path.display()))?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Looks again, after a change.
    ///
    /// # Errors
    /// The file system fails.
    pub(crate) fn refresh(&mut self) -> Result<(), ModuleError> {
        self.stat = fstat(&self.fd).doing(|| format!("look at {}", self.path.display()))?;
        Ok(())
    }

    /// Ansible's word for what is here: `file`, `directory`, `link`, or `hard` for a file with several names.
    pub(crate) fn state(&self) -> &'static str {
        match self.kind() {
            Kind::Link => "link",
            Kind::Directory => "directory",
            Kind::File | Kind::Other if self.stat.st_nlink > 1 => "hard",
            Kind::File | Kind::Other => "file",
        }
    }

    /// Adds what every file module returns: owner, group, mode, size, state.
    pub(crate) fn describe(&self, result: &mut ModuleResult, users: &Users) {
        let stat = &self.stat;
        result.set("uid", stat.st_uid);
        result.set("gid", stat.st_gid);
        result.set("owner", users.user_name(stat.st_uid).unwrap_or_else(|| stat.st_uid.to_string()));
        result.set("group", users.group_name(stat.st_gid).unwrap_or_else(|| stat.st_gid.to_string()));
        result.set("mode", octal(stat.st_mode));
        result.set("size", self.size());
        result.set("state", self.state());
    }
}

pub(crate) fn kind_of(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// Adds what is at `path` now, as [`Node::describe`]; nothing if nothing is, or a link that leads nowhere.
pub(crate) fn describe(result: &mut ModuleResult, path: &Path, users: &Users) -> Result<(), ModuleError> {
    if let Some(node) = Node::open(path, false)?
        && path.exists()
    {
        node.describe(result, users);
    }
    Ok(())
}

/// What `stat` and `find` both return of a file.
pub(crate) fn stat_fields(stat: &Stat, users: &Users) -> Map {
    let mode = stat.st_mode;
    let kind = FileType::from_raw_mode(mode);
    let mut map = Map::new();
    let mut set = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
    // Four digits, where file modules return a nought and three or more.
    set("mode", format!("{:04o}", mode & PERMISSIONS).into());
    set("isdir", (kind == FileType::Directory).into());
    set("ischr", (kind == FileType::CharacterDevice).into());
    set("isblk", (kind == FileType::BlockDevice).into());
    set("isreg", (kind == FileType::RegularFile).into());
    set("isfifo", (kind == FileType::Fifo).into());
    set("islnk", (kind == FileType::Symlink).into());
    set("issock", (kind == FileType::Socket).into());
    set("uid", stat.st_uid.into());
    set("gid", stat.st_gid.into());
    set("size", field::<_, u64>(stat.st_size).into());
    set("inode", stat.st_ino.into());
    set("dev", stat.st_dev.into());
    set("nlink", field::<_, u64>(stat.st_nlink).into());
    set("atime", seconds(field(stat.st_atime), field(stat.st_atime_nsec)).into());
    set("mtime", seconds(field(stat.st_mtime), field(stat.st_mtime_nsec)).into());
    set("ctime", seconds(field(stat.st_ctime), field(stat.st_ctime_nsec)).into());
    let bits = [("usr", 0o100), ("grp", 0o010), ("oth", 0o001)];
    for (class, unit) in bits {
        for (letter, times) in [("r", 4), ("w", 2), ("x", 1)] {
            set(&format!("{letter}{class}"), (mode & (unit * times) != 0).into());
        }
    }
    set("isuid", (mode & 0o4000 != 0).into());
    set("isgid", (mode & 0o2000 != 0).into());
    if let Some(name) = users.user_name(stat.st_uid) {
        set("pw_name", name.into());
    }
    if let Some(name) = users.group_name(stat.st_gid) {
        set("gr_name", name.into());
    }
    map
}

/// A field of [`Stat`] as a number of ours: the kernel's types differ between architectures. Zero, if it cannot be.
pub(crate) fn field<T, U: TryFrom<T> + Default>(value: T) -> U {
    U::try_from(value).unwrap_or_default()
}

/// Seconds since 1970, as Python's `st_mtime`.
pub(crate) fn seconds(whole: i64, nanos: u64) -> f64 {
    whole as f64 + nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_seen_or_followed_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let node = Node::open(&link, false).unwrap().unwrap();
        assert_eq!((node.state(), node.link_target().unwrap()), ("link", "file".into()));
        let node = Node::open(&link, true).unwrap().unwrap();
        assert_eq!((node.state(), node.size()), ("file", 5));
    }

    #[test]
    fn nothing_there_is_no_error_but_a_circle_of_links_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Node::open(&dir.path().join("none/none"), false).unwrap().is_none());
        let link = dir.path().join("loop");
        std::os::unix::fs::symlink("loop", &link).unwrap();
        let error = Node::open(&link, true).unwrap_err();
        assert!(error.to_string().contains(&format!("look at {}", link.display())), "{error}");
    }

    #[test]
    fn a_file_with_two_names_is_called_hard() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_eq!(Node::open(&dir.path().join("a"), false).unwrap().unwrap().state(), "hard");
    }
}
