//! Writing a journal. Records are put in line by whoever has one; a thread of its own writes what has gathered in one
//! piece and makes it durable, so that many records share one wait for the disk: at once if somebody waits for one of
//! them, else after a while. Nobody waits for it, but for what must not happen before.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::watch;

use super::disk::Disk;
use super::frame;
use super::record::{Record, Seq};

/// How long a record may be in line that nobody waits for: about what one wait for a disk takes, so that the death of this
/// process or the loss of power takes little more with it than it would anyway.
const GATHER: Duration = Duration::from_millis(10);

/// How long to wait before a disk that failed is tried again: soon enough that a run goes on at once when there is room.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How long the end of a run waits for a disk that fails.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// Against what a record is safe once it counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of this process, however it comes: the system has the record.
    Process,
    /// Loss of power too: the disk has it.
    #[default]
    Power,
}

/// Why nothing more becomes durable at the moment. What was durable before is not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub message: String,
    /// The disk is full: making room mends it.
    pub is_full: bool,
}

/// A journal that is written. Cheap to clone; all methods may be called from any thread.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    line: Mutex<Line>,
    news: Condvar,
    /// Something was written, or could not be.
    written: Condvar,
    progress: watch::Sender<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Records in line. Bounded by what hosts at work can report: nothing new is dispatched while records wait.
struct Line {
    bytes: Vec<u8>,
    next: Seq,
    /// When the first of them came.
    since: Instant,
    /// Somebody waits for the records below this number.
    wanted: Seq,
    closing: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Records below this number are durable.
    durable: Seq,
    trouble: Option<Trouble>,
}

/// A record that cannot be written, whatever the disk does.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("a record cannot be encoded")]
    Encode(#[from] serde_json::Error),
    #[error("a record is too large")]
    TooLarge(#[from] frame::FrameError),
}

impl Journal {
    /// Goes on behind `length` bytes, `next` records, of what is on `disk` already.
    pub fn new(disk: Box<dyn Disk>, durability: Durability, length: u64, next: Seq) -> Journal {
        Journal::gathering(GATHER, disk, durability, length, next)
    }

    /// `gather`: how long a record may be in line that nobody waits for.
    pub(crate) fn gathering(
        gather: Duration,
        disk: Box<dyn Disk>,
        durability: Durability,
        length: u64,
        next: Seq,
    ) -> Journal {
        let line = Line { bytes: Vec::new(), next, since: Instant::now(), wanted: 0, closing: None };
        let (progress, _) = watch::channel(Progress { durable: next, trouble: None });
        let shared = Arc::new(Shared {
            line: Mutex::new(line),
            news: Condvar::new(),
            written: Condvar::new(),
            progress,
            writer: Mutex::new(None),
        });
        let writer = Writer { shared: Arc::clone(&shared), disk, durability, length, gather };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run());
        match thread {
            Ok(thread) => *lock(&shared.writer) = Some(thread),
            Err(error) => shared.tell_trouble(&error),
        }
        Journal(shared)
    }

    /// Puts a record in line. What follows from it may be done once [`settled`](Self::settled) says so.
    ///
    /// # Errors
    /// A record that no journal can hold. Nothing was put in line.
    pub fn append(&self, record: &Record) -> Result<Seq, RecordError> {
        let payload = serde_json::to_vec(record)?;
        let mut line = lock(&self.0.line);
        let (number, is_first) = (line.next, line.bytes.is_empty());
        frame::push(&mut line.bytes, number, &payload)?;
        line.next += 1;
        if is_first {
            line.since = Instant::now();
        }
        drop(line);
        if is_first {
            self.0.news.notify_one();
        }
        Ok(number)
    }

    /// Records in line or on disk.
    pub fn len(&self) -> Seq {
        lock(&self.0.line).next
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records are durable.
    pub fn durable(&self) -> Seq {
        self.0.progress.borrow().durable
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.0.progress.borrow().trouble.clone()
    }

    /// Has the first `count` records written without delay, though nobody waits for them.
    pub fn hurry(&self, count: Seq) {
        want(&mut lock(&self.0.line), &self.0.news, count);
    }

    /// Waits until the first `count` records are durable.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn settled(&self, count: Seq) {
        self.hurry(count);
        let mut progress = self.0.progress.subscribe();
        // The sender lives as long as `self`.
        let _ = progress.wait_for(|progress| progress.durable >= count).await;
    }

    /// As [`settled`](Self::settled), for whoever has nothing else to do.
    ///
    /// # Errors
    /// The disk fails.
    pub fn wait_settled(&self, count: Seq) -> Result<(), Trouble> {
        let mut line = lock(&self.0.line);
        want(&mut line, &self.0.news, count);
        loop {
            let progress = self.0.progress.borrow().clone();
            if progress.durable >= count {
                return Ok(());
            }
            if let Some(trouble) = progress.trouble {
                return Err(trouble);
            }
            line = self.0.written.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until trouble has come or gone.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn trouble_is_not(&self, known: &Option<Trouble>) -> Option<Trouble> {
        let mut progress = self.0.progress.subscribe();
        match progress.wait_for(|progress| progress.trouble.is_some() != known.is_some()).await {
            Ok(progress) => progress.trouble.clone(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Writes what is in line and ends. Waits `LAST_WAIT` for a disk that fails.
    ///
    /// # Errors
    /// Not everything became durable.
    pub fn close(&self) -> Result<(), Trouble> {
        lock(&self.0.line).closing = Some(Instant::now() + LAST_WAIT);
        self.0.news.notify_one();
        if let Some(writer) = lock(&self.0.writer).take() {
            // A writer that panicked has left records behind, which is what is looked at.
            let _ = writer.join();
        }
        if self.durable() >= self.len() {
            return Ok(());
        }
        let unknown = || Trouble { message: "its writer has ended".to_owned(), is_full: false };
        Err(self.trouble().unwrap_or_else(unknown))
    }
}

impl Shared {
    fn tell_trouble(&self, error: &std::io::Error) {
        let is_full = matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge
        );
        let trouble = Some(Trouble { message: error.to_string(), is_full });
        self.progress.send_if_modified(|progress| {
            let is_news = progress.trouble != trouble;
            progress.trouble.clone_from(&trouble);
            is_news
        });
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        // With the lock, so that nobody is between looking and waiting.
        drop(lock(&self.line));
        self.written.notify_all();
    }
}

struct Writer {
    shared: Arc<Shared>,
    disk: Box<dyn Disk>,
    durability: Durability,
    /// Of the file, all of it durable.
    length: u64,
    gather: Duration,
}

impl Writer {
    fn run(mut self) {
        while let Some((bytes, up_to)) = self.next() {
            while let Err(error) = self.write(&bytes) {
                self.shared.tell_trouble(&error);
                if !self.may_try_again() {
                    return;
                }
            }
            self.length += bytes.len() as u64;
            self.shared.progress.send_replace(Progress { durable: up_to, trouble: None });
            self.shared.tell_waiting();
        }
    }

    /// What has gathered, and up to which record, once it is time to write it; `None` when all is written and the end has
    /// come.
    fn next(&self) -> Option<(Vec<u8>, Seq)> {
        let mut line = lock(&self.shared.line);
        loop {
            let (is_empty, is_closing) = (line.bytes.is_empty(), line.closing.is_some());
            if is_empty && is_closing {
                return None;
            }
            let is_wanted = line.wanted > self.shared.progress.borrow().durable;
            let left = self.gather.saturating_sub(line.since.elapsed());
            if !is_empty && (is_closing || is_wanted || left.is_zero()) {
                return Some((std::mem::take(&mut line.bytes), line.next));
            }
            let news = &self.shared.news;
            line = match is_empty {
                true => news.wait(line).unwrap_or_else(PoisonError::into_inner),
                false => news.wait_timeout(line, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// All of it, or the file is as before: after a failed sync nobody knows what of it the disk has, so it is written
    /// again from the last byte that is known to be there.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let written = self.disk.append(bytes).and_then(|()| match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.disk.sync(),
        });
        if written.is_err() {
            // A file that cannot be cut now is cut before the next try, which fails otherwise.
            let _ = self.disk.truncate(self.length);
        }
        written
    }

    /// Waits a while; false if the end has come meanwhile and its patience is over.
    fn may_try_again(&mut self) -> bool {
        loop {
            // A disk tells nobody that it has room again.
            std::thread::sleep(TRY_AGAIN);
            if lock(&self.shared.line).closing.is_some_and(|until| Instant::now() >= until) {
                return false;
            }
            // What a failed write left behind must be gone first.
            match self.disk.truncate(self.length) {
                Ok(()) => return true,
                Err(error) => self.shared.tell_trouble(&error),
            }
        }
    }
}

/// Has the records below `count` written without delay.
fn want(line: &mut Line, news: &Condvar, count: Seq) {
    if line.wanted < count {
        line.wanted = count;
        news.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("records", &self.len()).field("durable", &self.durable()).finish()
    }
}
