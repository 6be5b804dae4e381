//! The copy kept of a file before it is changed.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode as RawMode, Timespec, Timestamps, Uid, fchmod, fchown, futimens};

use super::mode::PERMISSIONS;
use super::node::{Node, field};
use crate::module::{Doing, ModuleError};

/// Backups of one file within one second, at most.
const SAME_SECOND_MAX: u32 = 1000;

/// Copies `node` to a name beside it that tells process and time, as Ansible's does: `hosts.4711.2026-01-02@03:04:05~`.
/// Owner, mode and times are the original's. Gives back the backup's path.
///
/// # Errors
/// The file cannot be read or the backup not be written; what was written of it is gone again.
pub(crate) fn make(node: &Node) -> Result<PathBuf, ModuleError> {
    let (path, mut backup) = create(node.path())?;
    let copied = std::io::copy(&mut node.read()?, &mut backup)
        .and_then(|_| Ok(copy_attributes(node, &backup)?))
        .doing(|| format!("back up {} to {}", node.path().display(), path.display()));
    if copied.is_err() {
        // The first error is the one worth telling.
        let _ = std::fs::remove_file(&path);
    }
    copied.map(|()| path)
}

fn create(original: &Path) -> Result<(PathBuf, File), ModuleError> {
    let now = chrono::Local::now().format("%Y-%m-%d@%H:%M:%S");
    let pid = std::process::id();
    for attempt in 0..SAME_SECOND_MAX {
        let again = if attempt == 0 { String::new() } else { format!(".{attempt}") };
        let mut name = original.as_os_str().to_owned();
        name.push(format!(".{pid}.{now}{again}~"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Ok(file) => return Ok((name.into(), file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).doing(|| format!("create the backup {}", Path::new(&name).display()));
            }
        }
    }
    Err(ModuleError::new(format!("{} has been backed up {SAME_SECOND_MAX} times this second", original.display())))
}

fn copy_attributes(node: &Node, backup: &File) -> rustix::io::Result<()> {
    let stat = node.stat();
    let kept = fchown(backup, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    // Who may not give files away keeps the backup, but then without setuid.
    let mode = if kept.is_ok() { stat.st_mode & PERMISSIONS } else { stat.st_mode & 0o777 };
    fchmod(backup, RawMode::from_raw_mode(mode))?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: field(stat.st_atime), tv_nsec: field(stat.st_atime_nsec) },
        last_modification: Timespec { tv_sec: field(stat.st_mtime), tv_nsec: field(stat.st_mtime_nsec) },
    };
    futimens(backup, &times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_backup_has_content_mode_and_time_and_never_takes_anothers_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let node = Node::open(&path, false).unwrap().unwrap();
        let (one, two) = (make(&node).unwrap(), make(&node).unwrap());
        assert_ne!(one, two);
        for backup in [one, two] {
            assert_eq!(std::fs::read(&backup).unwrap(), b"old");
            let (kept, original) = (std::fs::metadata(&backup).unwrap(), std::fs::metadata(&path).unwrap());
            assert_eq!((kept.mode(), kept.mtime_nsec()), (original.mode(), original.mtime_nsec()));
            assert!(backup.to_string_lossy().ends_with('~'));
        }
    }
}
