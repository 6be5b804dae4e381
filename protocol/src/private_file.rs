//! Files and directories that hold keys: made with their final mode from the first moment, replaced whole or not at all,
//! and never through a link that somebody laid there before.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Who may read a file that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Mode 0600.
    OwnerOnly,
    /// Mode 0644, or less if the umask says so.
    Everybody,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Replace,
    /// Stays as it is, and writing fails with [`PrivateFileError::Exists`].
    Keep,
}

/// Why a private file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    #[error("failed to write `{}`", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` exists already", .path.display())]
    Exists { path: PathBuf },
    #[error("`{}` is not a directory (a link does not count as one)", .path.display())]
    NotADirectory { path: PathBuf },
    #[error("directory `{}` has mode {mode:04o}: others can get into it; it must be 0700 (run: chmod 700 {})", .path.display(), .path.display())]
    DirMode { path: PathBuf, mode: u32 },
    #[error("directory `{}` belongs to user {owner}; it must belong to the user that runs this program ({us})", .path.display())]
    DirOwner { path: PathBuf, owner: u32, us: u32 },
}

/// Makes `path`, and what is missing above it, with mode 0700; or checks that it is so if it is there.
///
/// # Errors
/// A directory of somebody else, one with a wider mode, or something that is no directory.
pub fn create_private_dir(path: &Path) -> Result<(), PrivateFileError> {
    let write_error = |source| PrivateFileError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        private_mode(fs::DirBuilder::new().recursive(true)).create(parent).map_err(write_error)?;
    }
    match private_mode(&mut fs::DirBuilder::new()).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(write_error(error)),
        // A new one is looked at too: the file systems of memory sticks often have no modes.
        Ok(()) | Err(_) => check_private_dir(path),
    }
}

/// # Errors
/// As [`create_private_dir`], and a directory that is not there.
#[cfg(unix)]
pub fn check_private_dir(path: &Path) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    let metadata =
        fs::symlink_metadata(path).map_err(|source| PrivateFileError::Write { path: path.to_owned(), source })?;
    let us = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        Err(PrivateFileError::NotADirectory { path: path.to_owned() })
    } else if metadata.uid() != us {
        Err(PrivateFileError::DirOwner { path: path.to_owned(), owner: metadata.uid(), us })
    } else if metadata.mode() & 0o077 != 0 {
        Err(PrivateFileError::DirMode { path: path.to_owned(), mode: metadata.mode() & 0o7777 })
    } else {
        Ok(())
    }
}

#[cfg(not(unix))]
pub fn check_private_dir(path: &Path) -> Result<(), PrivateFileError> {
    match path.is_dir() {
        true => Ok(()),
        false => Err(PrivateFileError::NotADirectory { path: path.to_owned() }),
    }
}

/// Writes a file whole: after a crash there is the old one or the new one, on disk. A link at `path` is replaced, not
/// followed.
///
/// # Errors
/// The directory cannot be written to, or the file is there and `existing` says to keep it.
pub fn write_whole(path: &Path, content: &[u8], readers: Readers, existing: Existing) -> Result<(), PrivateFileError> {
    let write_error = |source| PrivateFileError::Write { path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rustle-").suffix(".new");
    if let Some(permissions) = permissions(readers) {
        builder.permissions(permissions);
    }
    let mut file = builder.tempfile_in(dir).map_err(write_error)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(write_error)?;
    let persisted = match existing {
        Existing::Replace => file.persist(path),
        Existing::Keep => file.persist_noclobber(path),
    };
    match persisted {
        Ok(_) => sync_dir(dir).map_err(write_error),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(PrivateFileError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(write_error(error.error)),
    }
}

#[cfg(unix)]
fn private_mode(builder: &mut fs::DirBuilder) -> &mut fs::DirBuilder {
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700)
}

#[cfg(not(unix))]
fn private_mode(builder: &mut fs::DirBuilder) -> &mut fs::DirBuilder {
    builder
}

#[cfg(unix)]
fn permissions(readers: Readers) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(match readers {
        Readers::OwnerOnly => 0o600,
        Readers::Everybody => 0o644,
    }))
}

#[cfg(not(unix))]
fn permissions(_readers: Readers) -> Option<Permissions> {
    None
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_private_is_so_from_the_start() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("above/private");
        create_private_dir(&dir).unwrap();
        write_whole(&dir.join("key"), b"secret", Readers::OwnerOnly, Existing::Keep).unwrap();
        assert_eq!((mode(&dir), mode(&root.path().join("above")), mode(&dir.join("key"))), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_directory_open_to_others_or_a_link_to_one_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (open, link) = (root.path().join("open"), root.path().join("link"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(create_private_dir(&open), Err(PrivateFileError::DirMode { mode: 0o755, .. })));
        fs::set_permissions(&open, Permissions::from_mode(0o700)).unwrap();
        create_private_dir(&open).unwrap();
        symlink(&open, &link).unwrap();
        assert!(matches!(create_private_dir(&link), Err(PrivateFileError::NotADirectory { .. })));
    }

    #[test]
    fn a_link_laid_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("key"));
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, &path).unwrap();
        let kept = write_whole(&path, b"secret", Readers::OwnerOnly, Existing::Keep);
        assert!(matches!(kept, Err(PrivateFileError::Exists { .. })));
        write_whole(&path, b"secret", Readers::OwnerOnly, Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(mode(&path), 0o600);
    }
}
