//! Who works on a run. A lock on a file in the run's folder, which the system lets go of when its holder dies, however it
//! does; what stands in the file is for people only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// How often a lock that somebody has is asked for: whoever only looks whether there is a holder has it for a moment.
const TRIES: u32 = 5;
/// A lock that is waited for cannot be given up; so it is asked for, and this long waited in between.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Longest text about a holder that is read.
const HOLDER_BYTES_MAX: u64 = 4096;

/// The right to work on a run, until it is dropped or this process dies.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

/// Who has a lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The machine's name: a folder may be on a network file system.
    pub machine: String,
    pub since: DateTime<Utc>,
}

/// Somebody else has the lease.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("process {} on {} works on it since {}", .0.pid, .0.machine, .0.since.format("%Y-%m-%d %H:%M:%S UTC"))]
pub struct Held(pub Holder);

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Held(#[from] Held),
    #[error("cannot lock {}", .path.display())]
    Lock { path: PathBuf, source: io::Error },
}

impl Lease {
    /// # Errors
    /// Somebody has it, or the file cannot be locked.
    pub fn acquire(path: &Path) -> Result<Lease, LeaseError> {
        let failed = |source| LeaseError::Lock { path: path.to_owned(), source };
        let mut file = open(path).map_err(failed)?;
        for attempt in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // A lock that waits has no time-out; its holder may be ending just now. Bounded by `TRIES`.
                Err(rustix::io::Errno::WOULDBLOCK) if attempt < TRIES => std::thread::sleep(BETWEEN_TRIES),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Held(holder(&mut file)).into()),
                Err(error) => return Err(failed(error.into())),
            }
        }
        let holder = Holder {
            pid: std::process::id(),
            machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: Utc::now(),
        };
        let text = serde_json::to_vec(&holder).map_err(|error| failed(error.into()))?;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text)).map_err(failed)?;
        Ok(Lease { _file: file })
    }

    /// Who has the lease now, if anybody does.
    ///
    /// # Errors
    /// As looking.
    pub fn holder(path: &Path) -> io::Result<Option<Holder>> {
        let mut file = match OpenOptions::new().read(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(holder(&mut file))),
            Err(error) => Err(error.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let follow_no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(follow_no_link);
    options.open(path)
}

/// What the file says; somebody without a name if it says nothing that can be read.
fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(HOLDER_BYTES_MAX).read_to_string(&mut text));
    let unknown = || Holder { pid: 0, machine: "an unknown machine".to_owned(), since: DateTime::UNIX_EPOCH };
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_else(unknown)
}
