//! A working directory for one thread, of a process whose other threads stay where they are.

use std::io;
use std::path::Path;

use rustix::thread::UnshareFlags;

/// Runs `work` on a thread of its own that stands in `folder`, and waits for it. Threads and programs that `work`
/// starts begin there, too; the thread ends with it, so nothing has to be led back.
///
/// # Errors
/// The folder cannot be entered, or there is no thread to be had: nothing was run.
pub(crate) fn within<T: Send>(folder: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|threads| {
        let standing = move || {
            part()?;
            std::env::set_current_dir(folder)?;
            Ok(work())
        };
        let thread = std::thread::Builder::new().name("module".to_owned()).spawn_scoped(threads, standing)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// From here on this thread has its own working directory, root and umask.
#[expect(unsafe_code, reason = "unshare(2) has no safe wrapper: with FILES it would break I/O safety")]
fn part() -> io::Result<()> {
    // SAFETY: FS touches neither memory nor the table of file descriptors.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_and_programs_begin_there_and_other_threads_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let before = std::env::current_dir().unwrap();
        let printed = within(&folder, || {
            std::fs::write("here", "").unwrap();
            let elsewhere = std::thread::spawn(std::env::current_dir).join().unwrap().unwrap();
            assert_eq!(elsewhere, folder, "a thread that is started there");
            std::process::Command::new("pwd").output().unwrap().stdout
        });
        assert_eq!(String::from_utf8(printed.unwrap()).unwrap().trim_end(), folder.to_str().unwrap());
        assert!(folder.join("here").exists());
        assert_eq!(std::env::current_dir().unwrap(), before);
    }

    #[test]
    fn nothing_runs_where_there_is_no_such_folder() {
        let dir = tempfile::tempdir().unwrap();
        let error = within(&dir.path().join("gone"), || panic!("it ran")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
