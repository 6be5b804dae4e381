//! The one value type that travels: arguments, variables, results and facts.
//!
//! `bincode` cannot decode self-describing values, so `serde_json::Value` never crosses the wire; this does. A
//! [`Value`] is always *data*: nothing that holds one ever evaluates the text inside it as a template.

use std::fmt;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nesting allowed in a [`Value`], checked while encoding as well as while decoding, so that no peer can make the
/// other recurse without end. Ansible's deepest facts nest 8 levels.
pub const DEPTH_MAX: usize = 64;

/// Keys in the order they were written, as in Ansible.
pub type Map = indexmap::IndexMap<String, Value>;

/// A piece of data. Equality of numbers is by representation: `Int(1) != Float(1.0)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Only for numbers above `i64::MAX`; smaller ones are [`Value::Int`].
    UInt(u64),
    Float(f64),
    String(String),
    /// Bytes that are not UTF-8 text: a program's output, a file's content.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Map),
}

impl Value {
    /// The text of a string value, and of nothing else.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            Value::UInt(n) => i64::try_from(*n).ok(),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The kind in the words an operator knows: `string`, `list`, `dict`, ...
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::UInt(_) => "int",
            Value::Float(_) => "float",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "dict",
        }
    }

    /// Text if the bytes are UTF-8, else the bytes as they are.
    pub fn from_output(bytes: Vec<u8>) -> Value {
        match String::from_utf8(bytes) {
            Ok(text) => Value::String(text),
            Err(error) => Value::Bytes(error.into_bytes()),
        }
    }

    /// Compact JSON. Bytes are shown as text with U+FFFD for what is not UTF-8; NaN and infinities as `null`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("\"<{error}>\""))
    }
}

/// Compact JSON, for messages and logs.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

macro_rules! value_from {
    ($($from:ty => |$v:ident| $make:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($v: $from) -> Value {
                $make
            }
        }
    )*};
}

value_from! {
    bool => |v| Value::Bool(v),
    i32 => |v| Value::Int(v.into()),
    u32 => |v| Value::Int(v.into()),
    i64 => |v| Value::Int(v),
    u64 => |v| i64::try_from(v).map_or(Value::UInt(v), Value::Int),
    usize => |v| Value::from(v as u64),
    f64 => |v| Value::Float(v),
    &str => |v| Value::String(v.to_owned()),
    String => |v| Value::String(v),
    Map => |v| Value::Map(v),
    Vec<Value> => |v| Value::List(v),
    Vec<String> => |v| Value::List(v.into_iter().map(Value::String).collect()),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Value {
        Value::List(items.into_iter().collect())
    }
}

// --- wire -----------------------------------------------------------------------------------------------------------

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const UINT: u8 = 4;
const FLOAT: u8 = 5;
const STRING: u8 = 6;
const BYTES: u8 = 7;
const LIST: u8 = 8;
const MAP: u8 = 9;

impl Encode for Value {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encode_at(self, encoder, 0)
    }
}

fn encode_at<E: Encoder>(value: &Value, e: &mut E, depth: usize) -> Result<(), EncodeError> {
    if depth > DEPTH_MAX {
        return Err(EncodeError::OtherString(format!("a value is nested deeper than {DEPTH_MAX} levels")));
    }
    match value {
        Value::Null => NULL.encode(e),
        Value::Bool(false) => FALSE.encode(e),
        Value::Bool(true) => TRUE.encode(e),
        Value::Int(n) => INT.encode(e).and_then(|()| n.encode(e)),
        Value::UInt(n) => UINT.encode(e).and_then(|()| n.encode(e)),
        Value::Float(n) => FLOAT.encode(e).and_then(|()| n.encode(e)),
        Value::String(text) => STRING.encode(e).and_then(|()| text.encode(e)),
        Value::Bytes(bytes) => BYTES.encode(e).and_then(|()| bytes.encode(e)),
        Value::List(items) => {
            LIST.encode(e)?;
            (items.len() as u64).encode(e)?;
            items.iter().try_for_each(|item| encode_at(item, e, depth + 1))
        }
        Value::Map(map) => {
            MAP.encode(e)?;
            encode_entries(map, e, depth)
        }
    }
}

fn encode_entries<E: Encoder>(map: &Map, e: &mut E, depth: usize) -> Result<(), EncodeError> {
    (map.len() as u64).encode(e)?;
    map.iter().try_for_each(|(key, value)| {
        key.encode(e)?;
        encode_at(value, e, depth + 1)
    })
}

impl<Context> Decode<Context> for Value {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        decode_at(decoder, 0)
    }
}

bincode::impl_borrow_decode!(Value);

fn decode_at<D: Decoder>(d: &mut D, depth: usize) -> Result<Value, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::OtherString(format!("a value is nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(match u8::decode(d)? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(i64::decode(d)?),
        UINT => Value::UInt(u64::decode(d)?),
        FLOAT => Value::Float(f64::decode(d)?),
        STRING => Value::String(String::decode(d)?),
        BYTES => Value::Bytes(Vec::decode(d)?),
        LIST => {
            let len = claimed_len::<Value, D>(d)?;
            let mut items = Vec::new();
            for _ in 0..len {
                d.unclaim_bytes_read(size_of::<Value>());
                items.push(decode_at(d, depth + 1)?);
            }
            Value::List(items)
        }
        MAP => Value::Map(decode_entries(d, depth)?),
        tag => return Err(DecodeError::OtherString(format!("unknown value tag {tag}"))),
    })
}

fn decode_entries<D: Decoder>(d: &mut D, depth: usize) -> Result<Map, DecodeError> {
    let len = claimed_len::<(String, Value), D>(d)?;
    let mut map = Map::new();
    for _ in 0..len {
        d.unclaim_bytes_read(size_of::<(String, Value)>());
        let key = String::decode(d)?;
        map.insert(key, decode_at(d, depth + 1)?);
    }
    Ok(map)
}

/// Reads a length and holds it against the decoder's limit before anything is allocated for it.
fn claimed_len<T, D: Decoder>(d: &mut D) -> Result<usize, DecodeError> {
    let len = u64::decode(d)?;
    let len = usize::try_from(len).map_err(|_| DecodeError::OutsideUsizeRange(len))?;
    d.claim_container_read::<T>(len)?;
    Ok(len)
}

/// A [`Map`] as a field of a message.
pub(crate) mod wire_map {
    use super::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, Map, decode_entries, encode_entries};

    /// Newtype that gives [`Map`], a foreign type, its wire form.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct WireMap(pub Map);

    impl Encode for WireMap {
        fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
            encode_entries(&self.0, encoder, 0)
        }
    }

    impl<Context> Decode<Context> for WireMap {
        fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
            decode_entries(decoder, 0).map(WireMap)
        }
    }

    bincode::impl_borrow_decode!(WireMap);
}

pub use wire_map::WireMap;

// --- JSON and other self-describing formats ------------------------------------------------------------------------

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(n) => serializer.serialize_i64(*n),
            Value::UInt(n) => serializer.serialize_u64(*n),
            Value::Float(n) => serializer.serialize_f64(*n),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
            Value::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Value::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                map.iter().try_for_each(|(key, value)| out.serialize_entry(key, value))?;
                out.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_bytes<E>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::from_output(v.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Value::Int(n),
                (None, Some(n)) => Value::UInt(n),
                (None, None) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(items) => items.into_iter().map(Value::from).collect(),
            serde_json::Value::Object(map) => Value::Map(map.into_iter().map(|(k, v)| (k, v.into())).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (i64::MAX as u64 + 1..=u64::MAX).prop_map(Value::UInt),
            (-1e300..1e300f64).prop_map(Value::Float),
            ".*".prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
                prop::collection::vec((".{0,8}", inner), 0..8).prop_map(|kv| Value::Map(kv.into_iter().collect())),
            ]
        })
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]))
    }

    proptest! {
        #[test]
        fn a_value_survives_the_wire(value in any_value()) {
            let bytes = codec::encode(&value).unwrap();
            prop_assert_eq!(codec::decode::<Value>(&bytes).unwrap(), value);
        }

        #[test]
        fn a_value_survives_json(value in any_value()) {
            prop_assert_eq!(serde_json::from_str::<Value>(&value.to_json()).unwrap(), value);
        }

        #[test]
        fn random_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = codec::decode::<Value>(&bytes);
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_by_both_ends() {
        assert!(codec::encode(&nested(DEPTH_MAX)).is_ok());
        assert!(codec::encode(&nested(DEPTH_MAX + 1)).is_err());
        let mut bytes = [LIST, 1].repeat(DEPTH_MAX + 1);
        bytes.push(NULL);
        assert!(codec::decode::<Value>(&bytes).is_err());
    }

    #[test]
    fn a_list_that_claims_more_than_the_limit_is_refused_before_allocating() {
        let mut bytes = vec![LIST];
        bytes.push(253);
        bytes.extend(u64::MAX.to_le_bytes());
        assert!(codec::decode::<Value>(&bytes).is_err());
    }
}
