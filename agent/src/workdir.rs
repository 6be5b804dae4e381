//! Private directories for what must lie in a file while a call runs: scripts, arguments.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::module::{Doing, ModuleError};

/// A new directory that only this user can enter, deleted when dropped: below the service's state directory if there
/// is one, since temporary and runtime directories are often mounted without the right to execute, else in the
/// system's temporary directory.
///
/// # Errors
/// It could not be made.
pub fn private() -> Result<TempDir, ModuleError> {
    let state = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let parent = state.unwrap_or_else(std::env::temp_dir);
    // 0700 from the beginning, and under a name nobody can have made before.
    tempfile::Builder::new()
        .prefix("rustle-")
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir_in(&parent)
        .doing(|| format!("create a private directory in {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nobody_else_can_enter_it_and_it_goes_away() {
        let dir = super::private().unwrap();
        assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let path = dir.path().to_owned();
        drop(dir);
        assert!(!path.exists());
    }
}
