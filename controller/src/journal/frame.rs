//! Records as bytes: each with its number and a checksum of its own, so that a torn or flipped one is known as such, and
//! one that follows it is still found.
//!
//! ```text
//! file    MAGIC record*
//! record  MARK  length: u32 LE  number: u64 LE  check: 16 bytes of BLAKE3(length number payload)  payload
//! ```

/// First bytes of a journal, with the version of its format.
pub const MAGIC: &[u8] = b"rustle-exec journal 1\n";

/// First bytes of a record. Not a text that JSON can hold, so that a payload never looks like one.
const MARK: [u8; 4] = [0xf5, b'r', b'x', 0xf6];

const CHECK_BYTES: usize = 16;

/// Before the payload.
pub(super) const HEAD_BYTES: usize = MARK.len() + 4 + 8 + CHECK_BYTES;

/// The largest payload. A result is at most one message of the protocol, 16 MiB, and stands in a record at most twice,
/// once as text; a loop's result holds those of its items.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a record breaks off")]
    Torn,
    #[error("no record begins here")]
    NoMark,
    #[error("a record says that it is longer than any can be")]
    TooLong,
    #[error("a record's checksum does not match")]
    Checksum,
    #[error("a record has another number than its place")]
    Number,
}

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) number: u64,
    check: [u8; CHECK_BYTES],
}

impl Head {
    pub(super) fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Head, FrameError> {
        let (mark, rest) = bytes.split_at(MARK.len());
        if mark != MARK {
            return Err(FrameError::NoMark);
        }
        let (length, rest) = rest.split_at(4);
        let (number, check) = rest.split_at(8);
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(FrameError::TooLong);
        }
        Ok(Head {
            length,
            number: u64::from_le_bytes(number.try_into().unwrap_or_default()),
            check: check.try_into().unwrap_or_default(),
        })
    }

    pub(super) fn verify(&self, payload: &[u8]) -> Result<(), FrameError> {
        if check(self.number, payload) == self.check { Ok(()) } else { Err(FrameError::Checksum) }
    }
}

fn check(number: u64, payload: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(payload.len() as u64).to_le_bytes()).update(&number.to_le_bytes()).update(payload);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_BYTES]);
    check
}

/// Appends a record to `to`.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing is appended then.
pub(super) fn push(to: &mut Vec<u8>, number: u64, payload: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length as usize <= RECORD_BYTES_MAX);
    let length = length.ok_or(FrameError::TooLong)?;
    to.reserve(HEAD_BYTES + payload.len());
    to.extend_from_slice(&MARK);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&number.to_le_bytes());
    to.extend_from_slice(&check(number, payload));
    to.extend_from_slice(payload);
    Ok(())
}

/// Where a whole record stands in `bytes`, at or after `from`, whatever stands around it; and its payload.
pub(super) fn find(bytes: &[u8], from: usize) -> Option<(usize, Head, &[u8])> {
    let mut at = from;
    while let Some(next) = bytes.get(at..)?.windows(MARK.len()).position(|window| window == MARK) {
        at += next;
        if let Some(found) = whole_at(bytes, at) {
            return Some((at, found.0, found.1));
        }
        at += 1;
    }
    None
}

fn whole_at(bytes: &[u8], at: usize) -> Option<(Head, &[u8])> {
    let head: &[u8; HEAD_BYTES] = bytes.get(at..at + HEAD_BYTES)?.try_into().ok()?;
    let head = Head::parse(head).ok()?;
    let payload = bytes.get(at + HEAD_BYTES..)?.get(..head.length)?;
    head.verify(payload).ok()?;
    Some((head, payload))
}
