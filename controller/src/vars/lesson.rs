//! What a run learns of its hosts while it runs, as data: it can be written down and learnt again.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustle_protocol::codec;
use rustle_protocol::value::{Map, Value, WireMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::inventory::InventoryChange;
use crate::template::{Authored, Sealed, Template};

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
    /// Values of `set_fact` that are encrypted, or hold what is. No template is in them.
    Kept(#[serde(with = "authored")] Vec<(String, Authored)>),
    /// What a module returned as `ansible_facts`.
    Facts(#[serde(with = "exact")] Map),
    /// `include_vars`: what an author wrote, templates to be rendered when they are read.
    Included(#[serde(with = "authored")] Vec<(String, Authored)>),
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

/// What an author wrote keeps which of its texts are templates: `!unsafe` ones are not.
mod authored {
    use serde::{Deserializer, Serializer};

    use super::{Authored, Map, Sealed, Template, Value, exact};

    pub(super) fn serialize<S: Serializer>(vars: &[(String, Authored)], s: S) -> Result<S::Ok, S::Error> {
        let map: Map = vars.iter().map(|(name, value)| (name.clone(), tagged(value))).collect();
        exact::serialize(&map, s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(String, Authored)>, D::Error> {
        let wrong = || serde::de::Error::custom("not what an author wrote");
        let map = exact::deserialize(d)?;
        map.into_iter().map(|(name, value)| Ok((name, untagged(value).ok_or_else(wrong)?))).collect()
    }

    fn tagged(authored: &Authored) -> Value {
        let (kind, value) = match authored {
            Authored::Data(value) => ("data", value.clone()),
            Authored::Unsafe(value) => ("unsafe", value.clone()),
            Authored::Sealed(sealed) => match sealed.known() {
                Some((_, value)) => return tagged(value),
                None => ("sealed", [&**sealed.text(), &**sealed.place()].into_iter().map(Value::from).collect()),
            },
            Authored::Template(_) => ("template", authored.source()),
            Authored::List(items) => ("list", items.iter().map(tagged).collect()),
            Authored::Map(map) => {
                ("map", Value::Map(map.iter().map(|(name, item)| (name.clone(), tagged(item))).collect()))
            }
        };
        Value::Map([(kind.to_owned(), value)].into())
    }

    fn untagged(value: Value) -> Option<Authored> {
        let Value::Map(map) = value else { return None };
        let (kind, value) = map.into_iter().next()?;
        Some(match (kind.as_str(), value) {
            ("data", value) => Authored::Data(value),
            ("unsafe", value) => Authored::Unsafe(value),
            ("sealed", Value::List(parts)) => match &parts[..] {
                [Value::String(text), Value::String(place)] => Authored::Sealed(Sealed::new(&**text, &**place)),
                _ => return None,
            },
            ("template", Value::String(text)) => Authored::Template(Template::new(&text)),
            ("list", Value::List(items)) => Authored::List(items.into_iter().map(untagged).collect::<Option<_>>()?),
            ("map", Value::Map(map)) => {
                let items = map.into_iter().map(|(name, item)| Some((name, untagged(item)?)));
                Authored::Map(items.collect::<Option<_>>()?)
            }
            _ => return None,
        })
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
    fn what_an_author_wrote_stays_a_template_where_it_was_one_and_only_there() {
        let list =
            Authored::List(vec![Authored::Template(Template::new("{{ x }}")), Authored::Unsafe("{{ y }}".into())]);
        let sealed = Authored::Sealed(Sealed::new("$ANSIBLE_VAULT;1.1;AES256", "v.yml:1:4"));
        let map = Authored::Map([("a".to_owned(), list), ("b".to_owned(), sealed)].into_iter().collect());
        let vars = vec![("v".to_owned(), map)];
        for what in [Learnt::Included(vars.clone()), Learnt::Kept(vars)] {
            let lesson = Lesson { host: "web1".into(), what, others: Vec::new() };
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
