//! What stands in the ledger's file, and how it is found again in a file that a crash or a bad disk has damaged.
//!
//! After a line that names the format come records: a mark, the length of the body, a checksum of length and body, the body.
//! A record is whole or it is not there: whatever does not match its checksum is stepped over up to the next record that
//! does. So a torn tail costs the record that was being written, and a flipped bit the record it is in.

use bincode::{Decode, Encode};
use rustle_protocol::codec::{self, CodecError, FRAME_BYTES_MAX};
use rustle_protocol::message::CallOutcome;
use rustle_protocol::{CallKey, HostName, RunId};

/// First line of the file. A file that begins otherwise is another version's.
pub const HEADER: &[u8] = b"rustle-agent ledger 1\n";

/// Begins each record, so that the next one is found behind a damaged one.
const MARK: [u8; 4] = [0xd7, b'r', b'l', 0x1e];

/// Mark, length and checksum.
pub const FRAME_BYTES: usize = 4 + 4 + 8;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Record {
    /// A controller came with this run. Later ones about the same run replace earlier ones.
    Run(RunSeen),
    /// The call is about to start: from here on it may have had effects.
    Begun(Begun),
    /// The call is over, and this is what its controller is to be told.
    Ended(Box<Ended>),
    /// The controller has these calls' results.
    Settled(Vec<CallKey>),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RunSeen {
    pub run: RunId,
    pub epoch: u64,
    pub controller: HostName,
    /// Seconds since 1970.
    pub at_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Begun {
    pub key: CallKey,
    pub module: String,
    /// Seconds since 1970.
    pub at_s: u64,
    /// The start of the machine that it began in, as `boot::number` tells it.
    pub boot: u128,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Ended {
    pub key: CallKey,
    pub outcome: CallOutcome,
    /// Microseconds from start to end.
    pub elapsed_us: u64,
    /// Seconds since 1970.
    pub at_s: u64,
}

/// Appends one record to `out`.
///
/// # Errors
/// It is larger than a message may be; `out` is as it was.
pub fn push(out: &mut Vec<u8>, record: &Record) -> Result<(), CodecError> {
    let body = codec::encode(record)?;
    let len = u32::try_from(body.len()).expect("FRAME_BYTES_MAX fits in u32").to_le_bytes();
    out.reserve(FRAME_BYTES + body.len());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum(len, &body));
    out.extend_from_slice(&body);
    Ok(())
}

/// The record that begins at the start of `bytes`, and how many bytes it takes.
pub fn read(bytes: &[u8]) -> Option<(Record, usize)> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let size = u32::from_le_bytes(*len) as usize;
    let body = rest.get(..size).filter(|_| size <= FRAME_BYTES_MAX)?;
    if checksum(*len, body) != *sum {
        return None;
    }
    Some((codec::decode(body).ok()?, FRAME_BYTES + size))
}

fn checksum(len: [u8; 4], body: &[u8]) -> [u8; 8] {
    let hash = blake3::Hasher::new().update(&len).update(body).finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// A walk over the records of a file, header left off.
#[derive(Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes stepped over between whole records.
    damaged: usize,
}

/// A record and where it stands.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub at: usize,
    pub size: usize,
    pub record: Record,
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, at: 0, damaged: 0 }
    }

    /// Bytes between whole records that were none.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// Where the last whole record ended. What follows is a torn tail.
    pub fn end(&self) -> usize {
        self.at
    }
}

impl Iterator for Records<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let mut from = self.at;
        loop {
            let skipped = find(self.bytes.get(from..)?, &MARK)?;
            let at = from + skipped;
            if let Some((record, size)) = read(&self.bytes[at..]) {
                self.damaged += at - self.at;
                self.at = at + size;
                return Some(Found { at, size, record });
            }
            from = at + 1;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(task: u32) -> Record {
        let key = CallKey { run: RunId::from_u128(7), task, round: 0, item: 0, attempt: 1 };
        Record::Begun(Begun { key, module: "ansible.builtin.ping".into(), at_s: 1, boot: 7 })
    }

    fn file(count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        (0..count).for_each(|task| push(&mut bytes, &begun(task)).unwrap());
        bytes
    }

    fn found(bytes: &[u8]) -> (Vec<Record>, usize, usize) {
        let mut records = Records::new(bytes);
        let found = records.by_ref().map(|found| found.record).collect();
        (found, records.damaged(), records.end())
    }

    #[test]
    fn records_come_back_in_order() {
        let bytes = file(3);
        assert_eq!(found(&bytes), (vec![begun(0), begun(1), begun(2)], 0, bytes.len()));
    }

    #[test]
    fn a_tail_torn_at_any_byte_costs_the_torn_record_alone() {
        let (two, three) = (file(2), file(3));
        for cut in two.len()..three.len() {
            assert_eq!(found(&three[..cut]), (vec![begun(0), begun(1)], 0, two.len()), "cut at {cut}");
        }
    }

    #[test]
    fn a_bit_flipped_anywhere_costs_the_record_it_is_in_alone() {
        let bytes = file(3);
        let size = bytes.len() / 3;
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let damaged = u32::try_from(bit / 8 / size).unwrap();
            let left: Vec<_> = (0..3).filter(|task| *task != damaged).map(begun).collect();
            assert_eq!(found(&bad).0, left, "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_found_behind_any_rubbish() {
        let rubbish = [&MARK[..], &[0xff; 40], &MARK, &MARK[..3]].concat();
        let bytes = [&rubbish[..], &file(1)].concat();
        assert_eq!(found(&bytes), (vec![begun(0)], rubbish.len(), bytes.len()));
    }
}
