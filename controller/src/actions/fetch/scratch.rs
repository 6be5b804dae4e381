//! The file that a fetched one is written to until it is whole. Its name follows from where it is to go, so that the next
//! fetch of the same file finds what one that was killed has left; a lock, which ends with its holder, tells a file that was
//! left from one that is being written.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha1::{Digest, Sha1};
use tempfile::{NamedTempFile, TempPath};

/// As any file the operator makes, once it is in place.
const MODE: u32 = 0o666;

/// A new file in `folder` for what goes to `below` in it, and nothing there any more of fetches of the same that died.
///
/// # Errors
/// It cannot be made.
pub(super) fn create(folder: &Path, below: &Path) -> io::Result<NamedTempFile> {
    let path = folder.join(name(below));
    take_away_if_left(&path);
    let made = File::options().read(true).write(true).create_new(true).mode(MODE).open(&path);
    match made {
        Ok(file) => {
            let file = NamedTempFile::from_parts(file, TempPath::try_from_path(&path)?);
            if is_ours(file.as_file()) {
                return Ok(file);
            }
            // Another has taken it away before it was locked, or there are no locks here.
        }
        // Another fetches the same just now, and the last one to end wins.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mode = std::fs::Permissions::from_mode(MODE);
    tempfile::Builder::new().prefix(".rustle-fetch-").permissions(mode).tempfile_in(folder)
}

fn name(below: &Path) -> PathBuf {
    let sum = Sha1::digest(below.as_os_str().as_encoded_bytes());
    format!(".rustle-fetch-{}", super::hex(&sum[..8])).into()
}

fn is_ours(file: &File) -> bool {
    file.lock().is_ok() && file.metadata().is_ok_and(|file| file.nlink() > 0)
}

/// Whoever finds it locked leaves it alone; whoever locks it holds it until it is gone.
fn take_away_if_left(path: &Path) {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let Ok(file) = File::options().read(true).write(true).custom_flags(flags).open(path) else { return };
    if file.metadata().is_ok_and(|file| file.is_file()) && file.try_lock().is_ok() {
        // What cannot be taken away stays, and another name is used.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_a_fetch_that_died_has_left_goes_with_the_next_one_of_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let below = Path::new("web1/etc/hosts");
        let (file, left) = create(dir.path(), below).unwrap().keep().unwrap();
        std::fs::write(&left, "half").unwrap();
        // As a process that is killed.
        drop(file);
        let other = create(dir.path(), Path::new("web2/etc/hosts")).unwrap();
        assert!(left.exists(), "another file's is not touched");
        let next = create(dir.path(), below).unwrap();
        assert_eq!((next.path(), next.as_file().metadata().unwrap().len()), (&*left, 0));
        drop((next, other));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let below = Path::new("hosts");
        let first = create(dir.path(), below).unwrap();
        let second = create(dir.path(), below).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(first.path().exists() && second.path().exists());
    }

    #[test]
    fn what_somebody_put_in_the_way_is_neither_followed_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let (below, target) = (Path::new("hosts"), dir.path().join("target"));
        std::fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(name(below))).unwrap();
        let file = create(dir.path(), below).unwrap();
        std::fs::write(file.path(), "ours").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
    }
}
