//! Reading a journal back. What its end has lost (a write that was cut off) is told and does no harm: nothing can have
//! followed from it. A record that is damaged and followed by whole ones is another matter, and nothing behind it is
//! believed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::frame::{self, FrameError, HEAD_BYTES, Head, MAGIC};
use super::record::{Record, Seq};

/// How far behind damage whole records are looked for.
const SCAN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Read at first from a journal's end to find its last record.
const TAIL_BYTES: u64 = 64 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read the journal {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a journal of this program, or of a version that this one does not know", .path.display())]
    NotAJournal { path: PathBuf },
    #[error("the journal {} has no record: its run never began", .path.display())]
    Empty { path: PathBuf },
    #[error("the journal {} is damaged at byte {at} ({what}), and whole records follow: results are missing, and what follows from them cannot be known", .path.display())]
    Damaged { path: PathBuf, at: u64, what: FrameError },
    #[error("record {number} of the journal {} is of a kind that this version does not know", .path.display())]
    Unknown { path: PathBuf, number: Seq, source: serde_json::Error },
}

/// A journal whose end is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Bytes of whole records before it.
    pub good: u64,
    /// Bytes that are given up.
    pub lost: u64,
    pub what: FrameError,
}

/// The records of a journal, in order, one in memory at a time. Ends at the first that is not whole.
pub struct Records<R> {
    path: PathBuf,
    from: R,
    good: u64,
    next: Seq,
    damage: Option<Damage>,
    over: bool,
}

impl Records<BufReader<File>> {
    /// # Errors
    /// The file cannot be read, or is no journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
        Records::new(path, BufReader::with_capacity(256 * 1024, file))
    }
}

impl<R: Read> Records<R> {
    /// `path` is named in errors.
    ///
    /// # Errors
    /// As [`open`](Records::open).
    pub fn new(path: &Path, mut from: R) -> Result<Records<R>, JournalError> {
        let mut magic = [0; MAGIC.len()];
        let read =
            fill(&mut from, &mut magic).map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
        if read < MAGIC.len() && MAGIC.starts_with(&magic[..read]) {
            return Err(JournalError::Empty { path: path.to_owned() });
        }
        if magic != MAGIC {
            return Err(JournalError::NotAJournal { path: path.to_owned() });
        }
        Ok(Records { path: path.to_owned(), from, good: read as u64, next: 0, damage: None, over: false })
    }

    /// Records read so far, all of them whole.
    pub fn records_read(&self) -> Seq {
        self.next
    }

    /// Bytes of the file up to the last whole record.
    pub fn good_bytes(&self) -> u64 {
        self.good
    }

    /// What was wrong with the end, once the last record has been read.
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }

    fn read_next(&mut self) -> Result<Option<Record>, JournalError> {
        let mut head = [0; HEAD_BYTES];
        let read = self.fill(&mut head)?;
        if read == 0 {
            return Ok(None);
        }
        let mut seen = head[..read].to_vec();
        if read < HEAD_BYTES {
            return self.damaged(seen, FrameError::Torn);
        }
        let head = match Head::parse(&head) {
            Ok(head) => head,
            Err(what) => return self.damaged(seen, what),
        };
        let from = &mut self.from;
        let mut payload = Vec::new();
        let read = from.take(head.length as u64).read_to_end(&mut payload);
        read.map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        let whole = if payload.len() < head.length { Err(FrameError::Torn) } else { head.verify(&payload) };
        let numbered = if head.number == self.next { Ok(()) } else { Err(FrameError::Number) };
        if let Err(what) = whole.and(numbered) {
            seen.extend_from_slice(&payload);
            return self.damaged(seen, what);
        }
        let record = serde_json::from_slice(&payload).map_err(|source| JournalError::Unknown {
            path: self.path.clone(),
            number: self.next,
            source,
        })?;
        self.good += (HEAD_BYTES + payload.len()) as u64;
        self.next += 1;
        Ok(Some(record))
    }

    /// Looks at the rest of the file: only what nothing whole follows may be given up.
    fn damaged(&mut self, mut seen: Vec<u8>, what: FrameError) -> Result<Option<Record>, JournalError> {
        let read_error = |source| JournalError::Read { path: self.path.clone(), source };
        (&mut self.from).take(SCAN_BYTES_MAX).read_to_end(&mut seen).map_err(read_error)?;
        let follows = |(_, head, _): (usize, Head, &[u8])| head.number > self.next;
        if frame::find(&seen, 1).is_some_and(follows) {
            return Err(JournalError::Damaged { path: self.path.clone(), at: self.good, what });
        }
        let lost = seen.len() as u64 + io::copy(&mut self.from, &mut io::sink()).map_err(read_error)?;
        self.damage = Some(Damage { good: self.good, lost, what });
        Ok(None)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, JournalError> {
        fill(&mut self.from, buffer).map_err(|source| JournalError::Read { path: self.path.clone(), source })
    }
}

/// As much as there is.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl<R: Read> Iterator for Records<R> {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read_next();
        self.over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// Cuts off what is not whole, so that records can be appended; gives the file, positioned at its end.
///
/// # Errors
/// As opening and cutting.
pub fn repair(path: &Path, good: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() > good {
        file.set_len(good)?;
        file.sync_data()?;
    }
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// The last whole record, found from the end; `None` if there is none.
///
/// # Errors
/// As reading.
pub fn last_record(path: &Path) -> io::Result<Option<Record>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut window = TAIL_BYTES;
    loop {
        let from = length.saturating_sub(window);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        (&file).take(window).read_to_end(&mut bytes)?;
        let mut last = None;
        let mut at = 0;
        while let Some((found, _, payload)) = frame::find(&bytes, at) {
            at = found + HEAD_BYTES + payload.len();
            last = Some(payload);
        }
        if let Some(record) = last.and_then(|payload| serde_json::from_slice(payload).ok()) {
            return Ok(Some(record));
        }
        if from == 0 {
            return Ok(None);
        }
        window = window.saturating_mul(8);
    }
}
