//! Names and ids that cross the wire. Each is checked once, where it enters, and trusted after.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Longest host name, as for DNS names.
pub const HOST_NAME_BYTES_MAX: usize = 253;

/// A host's name as the inventory spells it: letters and digits of any script, `.`, `-` and `_`, beginning with a letter,
/// a digit or `_`, at most [`HOST_NAME_BYTES_MAX`] bytes, with neither `..` nor a device name of Windows in it; or an IPv6
/// address, `2001:db8::1`. So a name can be shown, logged and used as a file name without a second thought. Names are compared byte for byte: an
/// accent is part of its letter, since a mark of its own is no letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

/// Why a text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a host name: {reason}", shown(.name))]
pub struct HostNameError {
    name: String,
    reason: &'static str,
}

/// The name as it may be printed: escaped, and cut if long.
fn shown(name: &str) -> String {
    name.chars().take(60).flat_map(|c| c.escape_debug()).collect()
}

impl HostName {
    /// # Errors
    /// With the rule that the text breaks.
    pub fn new(name: &str) -> Result<HostName, HostNameError> {
        match broken_rule(name) {
            None => Ok(HostName(name.into())),
            Some(reason) => Err(HostNameError { name: name.to_owned(), reason }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    match name.as_bytes() {
        _ if name.parse::<Ipv6Addr>().is_ok() => None,
        [] => Some("it is empty"),
        bytes if bytes.len() > HOST_NAME_BYTES_MAX => Some("it is longer than 253 bytes"),
        _ if !name.chars().all(is_legal) => Some("only letters, digits, `.`, `-` and `_` may stand in it"),
        [b'.' | b'-', ..] => Some("it begins with `.` or `-`"),
        _ if name.contains("..") => Some("it contains `..`"),
        _ if is_device_name(name) => Some("it is a device name on Windows"),
        _ => None,
    }
}

fn is_legal(c: char) -> bool {
    // Letters by Unicode's count, but they are blank.
    let is_filler = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
    matches!(c, '.' | '-' | '_') || c.is_alphanumeric() && !is_filler
}

fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        stem => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|n| matches!(n, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")),
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(name: &str) -> Result<HostName, HostNameError> {
        HostName::new(name)
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(name: String) -> Result<HostName, HostNameError> {
        HostName::new(&name)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> String {
        name.0.into()
    }
}

impl<Context> Decode<Context> for HostName {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let name = String::decode(decoder)?;
        HostName::new(&name).map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(HostName);

/// One run of one plan. Time-ordered (UUID version 7), so a listing sorts by start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(#[serde(with = "uuid_text")] u128);

mod uuid_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &u128, s: S) -> Result<S::Ok, S::Error> {
        Uuid::from_u128(*id).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u128, D::Error> {
        Uuid::deserialize(d).map(|id| id.as_u128())
    }
}

impl RunId {
    /// A fresh id, from the clock and the system's random numbers.
    pub fn generate() -> RunId {
        RunId(uuid::Uuid::now_v7().as_u128())
    }

    /// A fresh id that is listed behind `newest`, also when the clock has gone back since that was made.
    pub fn generate_after(newest: RunId) -> RunId {
        const TIME_SHIFT: u32 = 80;
        let fresh = RunId::generate();
        if fresh > newest {
            return fresh;
        }
        // The time is the upper 48 bits of an id of version 7 (RFC 9562, 5.7), in milliseconds.
        let time = (newest.0 >> TIME_SHIFT).saturating_add(1) << TIME_SHIFT;
        RunId(time | fresh.0 & ((1 << TIME_SHIFT) - 1))
    }

    pub const fn from_u128(id: u128) -> RunId {
        RunId(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<RunId, uuid::Error> {
        uuid::Uuid::from_str(text).map(|id| RunId(id.as_u128()))
    }
}

/// What makes a call the same call: an agent runs each key at most once. The host is the connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct CallKey {
    pub run: RunId,
    /// The task's number in the run's plan.
    pub task: u32,
    /// How often this host came to this task before: handlers run once per flush.
    pub round: u32,
    /// The loop item's number, 0 without a loop.
    pub item: u32,
    /// 1 for the first try.
    pub attempt: u32,
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}.{}#{}", self.run, self.task, self.round, self.item, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_host_names() {
        for name in [
            "web1",
            "WEB_1",
            "db-2.example.org",
            "10.0.0.1",
            "2001:db8::1",
            "_x",
            "condor",
            "com10",
            "höst-1",
            "_στυ",
            "サーバ２",
        ] {
            assert_eq!(HostName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let long = "a".repeat(300);
        for name in [
            "",
            ".",
            "..",
            "../../etc/cron.d/x",
            "a..b",
            "con",
            "NUL.txt",
            "com1",
            "-rf",
            "a/b",
            "a b",
            "a\0b",
            "a\nb",
            "\u{202e}abc",
            "ho\u{308}st",
            "\u{3164}",
            "a\u{a0}b",
            "a\u{200b}b",
            "a\u{2215}b",
            "a：b",
            "com¹",
            &"ö".repeat(127),
            &long,
        ] {
            assert!(HostName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_error_shows_no_control_characters() {
        let error = HostName::new("a\x1b]52;c;x\x07").unwrap_err().to_string();
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}
