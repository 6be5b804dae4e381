//! What the authority has issued: one JSON object per line, the first of which says whose it is. Written whole each time,
//! so that it is never half a truth.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rustle_protocol::private_file::{Existing, Readers, write_whole};
use rustle_protocol::{FleetName, HostName, Identity};
use serde::{Deserialize, Serialize};

use super::error::PkiError;

const FORMAT: u32 = 1;

/// A certificate's serial number: 128 bits, of which the highest two are 01 and the rest random. So it is positive, of
/// one length, and never met twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial([u8; 16]);

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub serial: Serial,
    pub identity: Identity,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    pub not_before: DateTime<Utc>,
    pub not_after: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<DateTime<Utc>>,
}

/// What a certificate is worth at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Valid,
    /// Valid, and its end is near.
    Expiring,
    Expired,
    Revoked,
}

/// All of them, in the order of issue.
pub(super) struct Index {
    path: PathBuf,
    pub(super) fleet: FleetName,
    pub(super) entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    fleet: FleetName,
}

impl Index {
    pub(super) fn new(path: PathBuf, fleet: FleetName) -> Index {
        Index { path, fleet, entries: Vec::new() }
    }

    pub(super) fn read(path: PathBuf) -> Result<Index, PkiError> {
        let text = std::fs::read_to_string(&path).map_err(|source| PkiError::Read { path: path.clone(), source })?;
        let wrong = |line: usize, reason: String| PkiError::Index { path: path.clone(), line, reason };
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let (_, header) = lines.next().ok_or_else(|| wrong(1, "the file is empty".to_owned()))?;
        let header: Header = serde_json::from_str(header).map_err(|error| wrong(1, error.to_string()))?;
        if header.format != FORMAT {
            let reason = format!("format {} is not known to this version, which writes {FORMAT}", header.format);
            return Err(wrong(1, reason));
        }
        let entry = |(number, line): (usize, &str)| {
            let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
            match entry.identity.fleet == header.fleet {
                true => Ok(entry),
                false => Err(wrong(number, format!("`{}` is not of fleet `{}`", entry.identity, header.fleet))),
            }
        };
        let entries = lines.map(entry).collect::<Result<_, _>>()?;
        Ok(Index { path, fleet: header.fleet, entries })
    }

    pub(super) fn write(&self) -> Result<(), PkiError> {
        let header = Header { format: FORMAT, fleet: self.fleet.clone() };
        let mut text = serde_json::to_string(&header).expect("names and numbers are JSON");
        for entry in &self.entries {
            text.push('\n');
            text += &serde_json::to_string(entry).expect("names, texts and times are JSON");
        }
        text.push('\n');
        Ok(write_whole(&self.path, text.as_bytes(), Readers::OwnerOnly, Existing::Replace)?)
    }

    /// The certificate of `name` that is good for longest, if there is one.
    pub(super) fn good(&self, name: &HostName, now: DateTime<Utc>) -> Option<&Entry> {
        let good = |entry: &&Entry| entry.identity.name == *name && entry.revoked.is_none() && entry.not_after >= now;
        self.entries.iter().filter(good).max_by_key(|entry| entry.not_after)
    }

    /// The last certificate issued to `name`.
    pub(super) fn last(&self, name: &HostName) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.identity.name == *name)
    }
}

impl Entry {
    /// At `now`, with the end being near from `soon` on.
    pub fn status(&self, now: DateTime<Utc>, soon: DateTime<Utc>) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.not_after < now {
            Status::Expired
        } else if self.not_after < soon {
            Status::Expiring
        } else {
            Status::Valid
        }
    }
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Valid => "valid",
            Status::Expiring => "expiring",
            Status::Expired => "expired",
            Status::Revoked => "revoked",
        }
    }
}

impl Serial {
    pub(super) fn generate() -> Result<Serial, PkiError> {
        let mut bytes = [0; 16];
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| PkiError::NoRandomNumbers)?;
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Ok(Serial(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Why a text is not a serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 32 hexadecimal digits")]
pub struct SerialError;

impl FromStr for Serial {
    type Err = SerialError;

    /// With or without colons between the bytes, as other tools print it.
    fn from_str(text: &str) -> Result<Serial, SerialError> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        match digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            true => {
                u128::from_str_radix(&digits, 16).map(|number| Serial(number.to_be_bytes())).map_err(|_| SerialError)
            }
            false => Err(SerialError),
        }
    }
}

impl TryFrom<String> for Serial {
    type Error = SerialError;

    fn try_from(text: String) -> Result<Serial, SerialError> {
        text.parse()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> String {
        serial.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_file_is_an_index_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), headed: bool) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("index.jsonl");
            let mut content = if headed { b"{\"format\":1,\"fleet\":\"demo\"}\n".to_vec() } else { vec![] };
            content.extend(bytes);
            std::fs::write(&path, content).unwrap();
            if let Ok(index) = Index::read(path) {
                prop_assert!(index.entries.is_empty());
            }
        }

        #[test]
        fn any_text_is_a_serial_number_or_an_error(text in ".{0,40}") {
            if let Ok(serial) = text.parse::<Serial>() {
                prop_assert_eq!(serial.to_string().parse(), Ok(serial));
            }
        }
    }

    #[test]
    fn serial_numbers_are_positive_and_differ() {
        let (one, other) = (Serial::generate().unwrap(), Serial::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_bytes()[0] >> 6, 1);
    }

    #[test]
    fn an_index_of_a_later_format_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.jsonl");
        std::fs::write(&path, "{\"format\":2,\"fleet\":\"demo\"}\n").unwrap();
        let error = Index::read(path).err().unwrap().to_string();
        assert!(error.contains("line 1: format 2 is not known"), "{error}");
    }
}
