//! MIME type and character set of a path, as the program `file` guesses them.
//!
//! The program reads eight megabytes of rules before it looks at anything: about ten times what else a `stat` costs. What it said
//! about a file is therefore kept for as long as the file stays as it was.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::module::CancelToken;
use crate::process::{leftovers, tool};

/// A MIME type and a character set; `unknown` both where nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mime {
    pub kind: String,
    pub charset: String,
}

impl Mime {
    fn new(kind: &str, charset: &str) -> Self {
        Mime { kind: kind.to_owned(), charset: charset.to_owned() }
    }

    fn unknown() -> Self {
        Mime::new("unknown", "unknown")
    }

    /// Of the path itself, not of what a link leads to. What is not a file, or has nothing in it, is known without a program.
    pub(crate) fn of(path: &Path, environment: &[(String, String)], cancel: &CancelToken) -> Self {
        let Ok(there) = std::fs::symlink_metadata(path) else { return Mime::unknown() };
        let inode = |kind: &str| Mime::new(&format!("inode/{kind}"), "binary");
        match there.file_type() {
            kind if kind.is_file() && there.len() > 0 => Mime::of_content(path, environment, cancel),
            kind if kind.is_file() => inode("x-empty"),
            kind if kind.is_symlink() && path.exists() => inode("symlink"),
            kind if kind.is_dir() => inode("directory"),
            kind if kind.is_fifo() => inode("fifo"),
            kind if kind.is_socket() => inode("socket"),
            kind if kind.is_char_device() => inode("chardevice"),
            kind if kind.is_block_device() => inode("blockdevice"),
            _ => Mime::unknown(),
        }
    }

    /// A task's own environment may lead to another `file`, or to other rules: then nothing is kept.
    fn of_content(path: &Path, environment: &[(String, String)], cancel: &CancelToken) -> Self {
        let ask = || Mime::asked(path, environment, cancel);
        match leads_elsewhere(environment) {
            true => ask(),
            false => KNOWN.of(path, ask),
        }
        .unwrap_or_else(Mime::unknown)
    }

    /// `None` if there is no such program, or it could not tell.
    fn asked(path: &Path, environment: &[(String, String)], cancel: &CancelToken) -> Option<Self> {
        let words = ["file", "--brief", "--mime", "--", &path.to_string_lossy()];
        let output = tool::run(&words, environment, cancel).ok().filter(|output| output.rc == 0)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (kind, charset) = text.trim().split_once(';')?;
        Some(Mime::new(kind, charset.trim().trim_start_matches("charset=")))
    }
}

/// Whether a task says anything of the environment itself; the mark that every call bears is none of it.
fn leads_elsewhere(environment: &[(String, String)]) -> bool {
    environment.iter().any(|(name, _)| name != leftovers::VARIABLE)
}

static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);

/// Files whose type was asked for, at most [`MOST_KNOWN`].
#[derive(Default)]
struct Known(Mutex<HashMap<State, Mime>>);

/// About 200 bytes each.
const MOST_KNOWN: usize = 512;

/// Two changes of a file within this time may bear the same time stamp: the kernel's clock for files ticks every 1 to 10 ms.
const TICK: Duration = Duration::from_millis(20);

impl Known {
    /// What is known of `path`, else what `ask` says. That is kept if whoever changes the file from now on also changes its time
    /// stamps: should that be while `ask` looks, what it says is kept for a state that never comes again.
    fn of(&self, path: &Path, ask: impl FnOnce() -> Option<Mime>) -> Option<Mime> {
        let before = State::of(path)?;
        if let Some(mime) = self.lock().get(&before) {
            return Some(mime.clone());
        }
        let settled = before.changed_longer_ago_than(TICK);
        let mime = ask()?;
        if settled {
            let mut known = self.lock();
            if known.len() == MOST_KNOWN {
                known.clear();
            }
            known.insert(before, mime.clone());
        }
        Some(mime)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<State, Mime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which file it is, and when it was changed last: content, owner and mode alike. Times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    device: u64,
    inode: u64,
    length: u64,
    modified: i128,
    changed: i128,
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let there = std::fs::symlink_metadata(path).ok()?;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Some(State {
            device: there.dev(),
            inode: there.ino(),
            length: there.len(),
            modified: time(there.mtime(), there.mtime_nsec()),
            changed: time(there.ctime(), there.ctime_nsec()),
        })
    }

    /// False for a time that is still to come, as another machine's clock may have it.
    fn changed_longer_ago_than(&self, time: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - self.changed;
        age > i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::Instant;

    /// Asks about `path` once its last change is long enough ago; how often the program would have been started.
    fn asked(known: &Known, path: &Path) -> u32 {
        let began = Instant::now();
        while !State::of(path).unwrap().changed_longer_ago_than(TICK) {
            assert!(began.elapsed() < Duration::from_secs(10), "the file's time does not pass");
            std::thread::yield_now();
        }
        let count = Cell::new(0);
        let mime = known.of(path, || {
            count.set(count.get() + 1);
            Some(Mime::new("text/plain", "us-ascii"))
        });
        assert_eq!(mime, Some(Mime::new("text/plain", "us-ascii")));
        count.get()
    }

    #[test]
    fn a_file_is_asked_about_once_while_it_stays_as_it_was() {
        let (known, file) = (Known::default(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(file.path(), "one").unwrap();
        assert_eq!([asked(&known, file.path()), asked(&known, file.path())], [1, 0]);
        std::fs::write(file.path(), "two").unwrap();
        assert_eq!([asked(&known, file.path()), asked(&known, file.path())], [1, 0]);
    }

    #[test]
    fn nothing_is_kept_of_a_file_whose_next_change_may_not_show() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let state = State::of(file.path()).unwrap();
        let now = i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let hour = 3600 * 1_000_000_000;
        assert!(State { changed: now - hour, ..state }.changed_longer_ago_than(TICK));
        assert!(!State { changed: now + hour, ..state }.changed_longer_ago_than(TICK));
        assert!(!State { changed: now, ..state }.changed_longer_ago_than(Duration::from_secs(3600)));
    }

    #[test]
    fn only_what_a_task_says_of_the_environment_leads_elsewhere() {
        let set = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), String::new())).collect::<Vec<_>>();
        assert!(!leads_elsewhere(&[]) && !leads_elsewhere(&set(&[leftovers::VARIABLE])));
        assert!(leads_elsewhere(&set(&["PATH", leftovers::VARIABLE])));
    }

    #[test]
    fn what_could_not_be_told_is_asked_again() {
        let (known, file) = (Known::default(), tempfile::NamedTempFile::new().unwrap());
        assert_eq!(known.of(file.path(), || None), None);
        assert_eq!(asked(&known, file.path()), 1);
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let (known, dir) = (Known::default(), tempfile::tempdir().unwrap());
        let paths: Vec<_> = (0..=MOST_KNOWN).map(|n| dir.path().join(n.to_string())).collect();
        for path in &paths {
            std::fs::write(path, "text").unwrap();
        }
        for path in &paths {
            asked(&known, path);
        }
        assert!(known.lock().len() <= MOST_KNOWN);
    }
}
