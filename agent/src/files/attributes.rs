//! Owner, group, mode and the rest of what the file modules can set on a file.
//!
//! What is to change is worked out from what is there ([`Wanted::changes`]) before anything is touched, so check mode
//! and the real run cannot disagree.

use rustix::fs::{AtFlags, Gid, Mode as RawMode, Stat, Uid, chmod, chownat};
use rustle_protocol::Map;

use super::flags::{self, Context, FlagChange};
use super::mode::{self, PERMISSIONS, applied, octal, umask};
use super::node::{Kind, Node, kind_of};
use crate::accounts::Users;
use crate::arguments;
use crate::module::{Doing, Mode, ModuleError};

arguments! {
    /// What the file modules take to describe a file's owner and permissions.
    pub(crate) struct FileAttributes {
        /// Who shall own the file: a name or a number.
        owner: Option<String>,
        /// The group that shall own the file: a name or a number.
        group: Option<String>,
        /// The permissions: octal (`'0644'`) or symbolic (`u+rwX,go=rX`).
        mode: Option<Mode>,
        /// Flags as `chattr` takes them: `+i`, `-a`, `=A`.
        attributes | "attr": Option<String>,
        /// The user part of the SELinux context. The SELinux parts are ignored where SELinux is off.
        seuser: Option<String>,
        /// The role part of the SELinux context.
        serole: Option<String>,
        /// The type part of the SELinux context.
        setype: Option<String>,
        /// The level part of the SELinux context.
        selevel: Option<String>,
        /// If the file cannot be replaced at one stroke (a mount point, say), write into it in place.
        unsafe_writes: bool = false,
    }
}

impl FileAttributes {
    /// Looks up the names and reads the texts.
    ///
    /// # Errors
    /// A user or group that this host does not know; a mode `preserve`, which is only `copy`'s, or one that is no mode.
    pub(crate) fn resolve(&self, users: &Users) -> Result<Wanted, ModuleError> {
        let unknown = |verb: &str, kind: &str, name: &str| {
            ModuleError::new(format!("{verb} failed: failed to look up {kind} {name}"))
        };
        let uid = |name: &String| users.uid(name).ok_or_else(|| unknown("chown", "user", name));
        let gid = |name: &String| users.gid(name).ok_or_else(|| unknown("chgrp", "group", name));
        if self.mode == Some(Mode::Preserve) {
            return Err(mode::unreadable("preserve"));
        }
        if let Some(mode) = &self.mode {
            applied(mode, 0, false)?;
        }
        Ok(Wanted {
            uid: self.owner.as_ref().map(uid).transpose()?,
            gid: self.group.as_ref().map(gid).transpose()?,
            mode: self.mode.clone(),
            flags: self.attributes.as_deref().map(FlagChange::parse).transpose()?,
            context: Context([self.seuser.clone(), self.serole.clone(), self.setype.clone(), self.selevel.clone()]),
        })
    }
}

/// How a file's attributes shall be. `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mode: Option<Mode>,
    pub(crate) flags: Option<FlagChange>,
    pub(crate) context: Context,
}

/// How they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) kind: Kind,
}

impl Current {
    pub(crate) fn of(stat: &Stat) -> Current {
        Current { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & PERMISSIONS, kind: kind_of(stat) }
    }

    /// What a file has that is made here with nothing said about it.
    pub(crate) fn fresh(kind: Kind) -> Current {
        let all = if kind == Kind::Directory { 0o777 } else { 0o666 };
        Current {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mode: all & !umask(),
            kind,
        }
    }
}

/// What has to change, and how to tell it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mode: Option<u32>,
    /// Ansible's diff: only what differs, owner and group as numbers.
    pub(crate) before: Map,
    pub(crate) after: Map,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.before == self.after
    }

    fn note(
        &mut self,
        name: &str,
        before: impl Into<rustle_protocol::Value>,
        after: impl Into<rustle_protocol::Value>,
    ) {
        self.before.insert(name.to_owned(), before.into());
        self.after.insert(name.to_owned(), after.into());
    }
}

impl Wanted {
    /// Owner, group and mode that differ from `current`. A link has no mode of its own.
    ///
    /// # Errors
    /// The mode cannot be read.
    pub(crate) fn changes(&self, current: &Current) -> Result<Changes, ModuleError> {
        let mut changes = Changes::default();
        if let Some(uid) = self.uid.filter(|uid| *uid != current.uid) {
            changes.uid = Some(uid);
            changes.note("owner", current.uid, uid);
        }
        if let Some(gid) = self.gid.filter(|gid| *gid != current.gid) {
            changes.gid = Some(gid);
            changes.note("group", current.gid, gid);
        }
        if let Some(mode) = self.mode.as_ref().filter(|_| current.kind != Kind::Link) {
            let mode = applied(mode, current.mode, current.kind == Kind::Directory)?;
            if mode != current.mode {
                changes.mode = Some(mode);
                changes.note("mode", octal(current.mode), octal(mode));
            }
        }
        Ok(changes)
    }

    /// Makes `node` as wanted, unless `check`. What comes back is what changed or would.
    ///
    /// # Errors
    /// The kernel refuses, or the mode cannot be read.
    pub(crate) fn apply(&self, node: &mut Node, check: bool) -> Result<Changes, ModuleError> {
        let mut changes = self.changes(&Current::of(node.stat()))?;
        if !check && !changes.is_empty() {
            change_node(node, &changes)?;
        }
        self.apply_rest(node, check, &mut changes)?;
        if !check && !changes.is_empty() {
            node.refresh()?;
        }
        Ok(changes)
    }

    /// Makes something just made as wanted, or gives it the mode that the umask leaves.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn apply_fresh(&self, node: &mut Node) -> Result<(), ModuleError> {
        let mut wanted = self.clone();
        if let Some(mode @ Mode::Symbolic(_)) = &self.mode {
            // Relative to what it would have had, not to the tighter mode it was made with.
            let fresh = Current::fresh(node.kind());
            wanted.mode = Some(Mode::Octal(applied(mode, fresh.mode, node.is_dir())?));
        }
        wanted.apply(node, false).map(drop)
    }

    /// Context and flags: flags last, since an immutable file takes nothing after.
    ///
    /// # Errors
    /// The kernel or the file system refuses.
    pub(crate) fn apply_rest(&self, node: &Node, check: bool, changes: &mut Changes) -> Result<(), ModuleError> {
        if let Some((before, after)) = flags::relabel(node, &self.context, check)? {
            changes.note("secontext", before, after);
        }
        if let Some(wanted) = &self.flags
            && let Some((before, after)) = flags::change(node, wanted, check)?
        {
            changes.note("attributes", before, after);
        }
        Ok(())
    }

    /// Whether there is anything that [`apply_rest`](Self::apply_rest) would look at.
    pub(crate) fn has_rest(&self) -> bool {
        self.flags.is_some() || self.context.0.iter().any(Option::is_some)
    }
}

/// Owner before mode: a change of owner takes setuid away.
fn change_node(node: &Node, changes: &Changes) -> Result<(), ModuleError> {
    let path = node.path().display();
    if changes.uid.is_some() || changes.gid.is_some() {
        let (uid, gid) = (changes.uid.map(Uid::from_raw), changes.gid.map(Gid::from_raw));
        chownat(node.fd(), "", uid, gid, AtFlags::EMPTY_PATH).doing(|| format!("change the owner of {path}"))?;
    }
    let lost = Current::of(node.stat()).mode & 0o6000;
    let mode = changes.mode.or_else(|| (changes.uid.is_some() && lost != 0).then(|| Current::of(node.stat()).mode));
    if let Some(mode) = mode.filter(|_| node.kind() != Kind::Link) {
        chmod(node.proc_path(), RawMode::from_raw_mode(mode)).doing(|| format!("change the mode of {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn wanted(mode: Mode) -> Wanted {
        Wanted { mode: Some(mode), ..Wanted::default() }
    }

    fn file_with(mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_mode_is_changed_once_and_told_in_octal() {
        let (_dir, path) = file_with(0o644);
        let mut node = Node::open(&path, false).unwrap().unwrap();
        let changes = wanted(Mode::Symbolic("u+x".into())).apply(&mut node, false).unwrap();
        assert_eq!(changes.before["mode"].as_str(), Some("0644"));
        assert_eq!(changes.after["mode"].as_str(), Some("0744"));
        assert_eq!(node.stat().st_mode & PERMISSIONS, 0o744);
        assert!(wanted(Mode::Octal(0o744)).apply(&mut node, false).unwrap().is_empty());
    }

    #[test]
    fn check_mode_tells_the_same_and_changes_nothing() {
        let (_dir, path) = file_with(0o600);
        let mut node = Node::open(&path, false).unwrap().unwrap();
        assert!(!wanted(Mode::Octal(0o755)).apply(&mut node, true).unwrap().is_empty());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & PERMISSIONS, 0o600);
    }

    #[test]
    fn a_link_keeps_its_mode_and_so_does_its_target() {
        let (dir, path) = file_with(0o600);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut node = Node::open(&link, false).unwrap().unwrap();
        assert!(wanted(Mode::Octal(0o755)).apply(&mut node, false).unwrap().is_empty());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & PERMISSIONS, 0o600);
    }

    #[test]
    fn a_change_of_owner_does_not_lose_setuid() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: only root may give files away");
        }
        let (_dir, path) = file_with(0o4755);
        let mut node = Node::open(&path, false).unwrap().unwrap();
        let changes = Wanted { uid: Some(12345), ..Wanted::default() }.apply(&mut node, false).unwrap();
        assert_eq!(changes.after["owner"].as_i64(), Some(12345));
        assert_eq!((node.stat().st_uid, node.stat().st_mode & PERMISSIONS), (12345, 0o4755));
    }
}
