//! What an author wrote, as JSON: in printed plans. Text and data stand there as they are, and text with template marks is a
//! template, as in a playbook. What would be read as something else has a wrapper, a dict of one entry:
//!
//! | wrapper | for |
//! | --- | --- |
//! | `{"$unsafe": data}` | `!unsafe` |
//! | `{"$vault": text, "place": where}` | `!vault`, as cipher text |
//! | `{"$template": text}` | a template without the usual marks |
//! | `{"$data": data}` | data that looks like a template, or like a wrapper |
//! | `{"$map": [[key, value], ...]}` | a dict with templates in it that looks like a wrapper |
//! | `{"$exact": base64}` | data that JSON does not have: bytes, infinities |

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use indexmap::IndexMap;
use rustle_protocol::codec;
use rustle_protocol::value::{Map, Value, WireMap};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::authored::{Authored, Template, needs_rendering};
use super::sealed::Sealed;

const UNSAFE: &str = "$unsafe";
const VAULT: &str = "$vault";
const PLACE: &str = "place";
const TEMPLATE: &str = "$template";
const DATA: &str = "$data";
const MAP: &str = "$map";
const EXACT: &str = "$exact";

impl Serialize for Authored {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Authored::Data(value) => data(value, DATA, s),
            Authored::Unsafe(value) => wrapped(UNSAFE, value, s),
            Authored::Template(template) if needs_rendering(template.source()) => s.serialize_str(template.source()),
            Authored::Template(template) => wrapped(TEMPLATE, &template.source().into(), s),
            Authored::List(items) => s.collect_seq(items),
            Authored::Map(entries) if is_wrapper(entries.keys()) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry(MAP, &entries.iter().collect::<Vec<_>>())?;
                map.end()
            }
            Authored::Map(entries) => s.collect_map(entries),
            Authored::Sealed(sealed) if sealed.known().is_some() => {
                Err(S::Error::custom("a variable of an encrypted file stands where only its file could be printed"))
            }
            Authored::Sealed(sealed) => {
                let mut map = s.serialize_map(Some(2))?;
                map.serialize_entry(VAULT, &**sealed.text())?;
                map.serialize_entry(PLACE, &**sealed.place())?;
                map.end()
            }
        }
    }
}

/// Data as it is if that is read back as the same, and in the wrapper if not.
fn data<S: Serializer>(value: &Value, wrapper: &'static str, s: S) -> Result<S::Ok, S::Error> {
    match is_plain(value) {
        true => value.serialize(s),
        false => wrapped(wrapper, value, s),
    }
}

fn wrapped<S: Serializer>(wrapper: &'static str, value: &Value, s: S) -> Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(1))?;
    if has_json(value) {
        map.serialize_entry(wrapper, value)?;
    } else {
        let wire = WireMap([(wrapper.to_owned(), value.clone())].into());
        let bytes = codec::encode(&wire).map_err(S::Error::custom)?;
        map.serialize_entry(EXACT, &BASE64_STANDARD.encode(bytes))?;
    }
    map.end()
}

/// Whether JSON says all of it.
fn has_json(value: &Value) -> bool {
    match value {
        Value::Bytes(_) => false,
        Value::Float(number) => number.is_finite(),
        Value::List(items) => items.iter().all(has_json),
        Value::Map(map) => map.values().all(has_json),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::String(_) => true,
    }
}

/// Whether data, as it is, is read back as that data.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !needs_rendering(text),
        Value::List(items) => items.iter().all(is_plain),
        Value::Map(map) => !is_wrapper(map.keys()) && map.values().all(is_plain),
        Value::Bytes(_) => false,
        Value::Float(number) => number.is_finite(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) => true,
    }
}

fn is_wrapper<'k>(mut keys: impl Iterator<Item = &'k String>) -> bool {
    keys.any(|key| key.starts_with('$'))
}

impl<'de> Deserialize<'de> for Authored {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Authored, D::Error> {
        read(Value::deserialize(d)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Authored {
    fn schema_name() -> Cow<'static, str> {
        "Authored".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Any JSON: text with `{{`, `{%` or `{#` is a template, and a dict with a key that begins with `$` is \
                            `{\"$unsafe\": data}`, `{\"$vault\": cipher text, \"place\": where}`, `{\"$template\": text}`, \
                            `{\"$data\": data}`, `{\"$map\": [[key, value], ...]}` or `{\"$exact\": base64}`."
        })
    }
}

fn read(value: Value) -> Result<Authored, String> {
    match value {
        Value::List(items) => {
            let items = items.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
            Ok(joined(items.iter().map(as_data).collect::<Option<Vec<_>>>().map(Value::List), Authored::List(items)))
        }
        Value::Map(map) if is_wrapper(map.keys()) => unwrapped(map),
        Value::Map(map) => {
            let entries = map.into_iter().map(|(name, value)| Ok((name, read(value)?)));
            let entries = entries.collect::<Result<IndexMap<_, _>, String>>()?;
            let data = entries.iter().map(|(name, value)| Some((name.clone(), as_data(value)?)));
            Ok(joined(data.collect::<Option<Map>>().map(Value::Map), Authored::Map(entries)))
        }
        scalar => Ok(Authored::from_value(scalar)),
    }
}

/// A list or dict that is nothing but data is data.
fn joined(data: Option<Value>, tree: Authored) -> Authored {
    data.map_or(tree, Authored::Data)
}

fn as_data(authored: &Authored) -> Option<Value> {
    match authored {
        Authored::Data(value) => Some(value.clone()),
        _ => None,
    }
}

fn unwrapped(map: Map) -> Result<Authored, String> {
    let mut entries = map.into_iter();
    match (entries.next(), entries.next(), entries.next()) {
        (Some((wrapper, value)), None, None) => match (wrapper.as_str(), value) {
            (UNSAFE, value) => Ok(Authored::Unsafe(value)),
            (DATA, value) => Ok(Authored::Data(value)),
            (TEMPLATE, Value::String(text)) => Ok(Authored::Template(Template::new(&text))),
            (MAP, Value::List(pairs)) => pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Authored::Map),
            (EXACT, Value::String(text)) => exact(&text),
            (other, _) => Err(format!("unknown wrapper `{}`", other.escape_debug())),
        },
        (Some((wrapper, Value::String(text))), Some((place, Value::String(at))), None)
            if wrapper == VAULT && place == PLACE =>
        {
            Ok(Authored::Sealed(Sealed::new(text, at)))
        }
        _ => Err("a dict with a key that begins with `$` is a wrapper, and this is none".to_owned()),
    }
}

fn pair(value: Value) -> Result<(String, Authored), String> {
    let Value::List(parts) = value else { return Err(format!("`{MAP}` holds pairs")) };
    match <[Value; 2]>::try_from(parts) {
        Ok([Value::String(key), value]) => Ok((key, read(value)?)),
        _ => Err(format!("`{MAP}` holds pairs of a key and a value")),
    }
}

fn exact(text: &str) -> Result<Authored, String> {
    let wrong = || format!("`{EXACT}` holds no value");
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| wrong())?;
    let WireMap(map) = codec::decode(&bytes).map_err(|_| wrong())?;
    match map.into_iter().next() {
        Some((wrapper, value)) if wrapper == UNSAFE => Ok(Authored::Unsafe(value)),
        Some((_, value)) => Ok(Authored::Data(value)),
        None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn authored(json: serde_json::Value) -> Authored {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn text_and_data_stand_as_a_playbook_has_them() {
        let text = r#"{"a":"{{ x }}","b":[1,"two",{"$unsafe":"{{ y }}"}],"c":{"$vault":"$ANSIBLE_VAULT;1.1","place":"v:1:2"}}"#;
        let Authored::Map(map) = serde_json::from_str(text).unwrap() else { panic!("a dict with templates") };
        assert!(map["a"].needs_rendering() && !map["b"].is_vouched_for());
        assert_eq!(map["c"], Authored::Sealed(Sealed::new("$ANSIBLE_VAULT;1.1", "v:1:2")));
        assert_eq!(serde_json::to_string(&Authored::Map(map)).unwrap(), text);
    }

    #[test]
    fn data_that_looks_like_something_else_is_wrapped() {
        for (data, printed) in [
            (Value::from("{{ x }}"), json!({"$data": "{{ x }}"})),
            (Value::from(json!({"$unsafe": 1})), json!({"$data": {"$unsafe": 1}})),
        ] {
            assert_eq!(serde_json::to_value(Authored::Data(data)).unwrap(), printed);
        }
    }

    #[test]
    fn a_dict_with_templates_may_have_any_keys() {
        let printed = json!({"$map": [["$schema", "{{ x }}"], ["$map", 1]]});
        let Authored::Map(map) = authored(printed.clone()) else { panic!("a dict with templates") };
        assert_eq!(map.keys().collect::<Vec<_>>(), ["$schema", "$map"]);
        assert_eq!(serde_json::to_value(Authored::Map(map)).unwrap(), printed);
    }

    #[test]
    fn what_is_no_wrapper_is_an_error() {
        for wrong in [json!({"$x": 1}), json!({"$vault": "x"}), json!({"$data": 1, "a": 2}), json!({"$exact": "!"})] {
            assert!(serde_json::from_value::<Authored>(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(authored(json!({"a": "$x"})), Authored::Data(json!({"a": "$x"}).into()));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::Float),
            "(\\{\\{ )?[a-z$]{0,6}".prop_map(Value::String),
            prop::collection::vec(128u8.., 1..4).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
                prop::collection::vec(("[$a-c]{1,2}", inner), 0..3)
                    .prop_map(|all| Value::Map(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn data_is_read_back_as_it_was_written(value in any_value()) {
            for written in [Authored::Data(value.clone()), Authored::Unsafe(value)] {
                let text = serde_json::to_string(&written).unwrap();
                prop_assert_eq!(serde_json::from_str::<Authored>(&text).unwrap(), written);
            }
        }
    }
}
