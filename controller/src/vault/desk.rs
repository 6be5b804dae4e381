//! A folder for plain text while somebody edits it. It goes when its owner is done, and also when this process ends before
//! that, in whatever way: a process beside it waits for that.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Waits for the end of its standard input, which this process holds open as long as it lives, and removes the folder.
const REMOVER: &str = "read _; rm -rf -- \"$1\"";

/// Its owner's alone; the editor's own copies in it go with it.
pub struct Desk {
    folder: TempDir,
    remover: Child,
}

impl Desk {
    /// # Errors
    /// There is no place for it, or nothing to remove it with.
    pub fn new() -> io::Result<Desk> {
        let folder = tempfile::Builder::new().prefix("rustle-vault-").tempdir()?;
        let remover = Command::new("/bin/sh")
            .args(["-c", REMOVER, "sh"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is typed at the terminal to end the editor or us is not for it.
            .process_group(0)
            .spawn()?;
        Ok(Desk { folder, remover })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // If it has failed, the folder's own end comes next.
        let _ = self.remover.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_a_desk_goes_with_it() {
        let desk = Desk::new().unwrap();
        let folder = desk.path().to_owned();
        std::fs::write(folder.join("plain"), "text").unwrap();
        drop(desk);
        assert!(!folder.exists());
    }
}
