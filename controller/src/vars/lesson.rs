//! What a run learns of its hosts while it runs, as data: it can be written down and learnt again.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustle_protocol::codec;
use rustle_protocol::value::{Map, Value, WireMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::inventory::InventoryChange;

/// One thing learnt of one host. A journal keeps these: variants are added, never renamed or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesson {
    pub host: String,
    pub what: Learnt,
    /// Hosts that know it, too: `run_once` stands for all of a batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learnt {
    /// `register` and `set_fact`: values under their names. They are data: rendered before, never again.
    Set(#[serde(with = "exact")] Map),
    /// What a module returned as `ansible_facts`.
    Facts(#[serde(with = "exact")] Map),
    /// `meta: clear_facts`.
    FactsCleared,
    /// `add_host`, `group_by`, `meta: refresh_inventory`. What it is about is in the change.
    Inventory(InventoryChange),
}

impl Lesson {
    /// For one host alone.
    pub fn new(host: impl Into<String>, what: Learnt) -> Lesson {
        Lesson { host: host.into(), what, others: Vec::new() }
    }

    /// One value under a name.
    pub fn set(host: &str, name: &str, value: Value) -> Lesson {
        Lesson::new(host, Learnt::Set([(name.to_owned(), value)].into()))
    }
}

/// JSON has no bytes and no infinities, and a value that is read back must be the one that was written.
pub mod exact {
    use super::{BASE64_STANDARD, Deserialize, Deserializer, Engine, Map, Serialize, Serializer, WireMap, codec};

    /// # Errors
    /// A value nested too deep, or one that is too large for any message.
    pub fn serialize<S: Serializer>(map: &Map, s: S) -> Result<S::Ok, S::Error> {
        let bytes = codec::encode(&WireMap(map.clone())).map_err(serde::ser::Error::custom)?;
        BASE64_STANDARD.encode(bytes).serialize(s)
    }

    /// # Errors
    /// What is not written by [`serialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Map, D::Error> {
        use serde::de::Error;
        let bytes = BASE64_STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)?;
        codec::decode::<WireMap>(&bytes).map(|map| map.0).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_is_read_back_as_it_was_written() {
        let values: Map = [
            ("bytes".to_owned(), Value::Bytes(vec![0xff, 0, 1])),
            ("huge".to_owned(), Value::Float(f64::INFINITY)),
            ("one".to_owned(), Value::Float(1.0)),
            ("large".to_owned(), Value::UInt(u64::MAX)),
            ("list".to_owned(), Value::List(vec![Value::Null, Value::String("ä".into())])),
        ]
        .into();
        for what in [Learnt::Set(values.clone()), Learnt::Facts(values), Learnt::FactsCleared] {
            let lesson = Lesson::new("web1", what);
            let text = serde_json::to_string(&lesson).unwrap();
            assert_eq!(serde_json::from_str::<Lesson>(&text).unwrap(), lesson);
        }
    }

    #[test]
    fn what_is_no_lesson_is_an_error() {
        for text in [r#"{"host":"a","what":{"set":"!"}}"#, r#"{"host":"a","what":{"set":"AAAA"}}"#, "{}"] {
            assert!(serde_json::from_str::<Lesson>(text).is_err(), "{text}");
        }
    }
}
