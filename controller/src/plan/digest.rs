//! A plan's identity: what it says, not when it was made or how its keys are ordered.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// BLAKE3, hex, over a JSON document. Keys are sorted; `metadata.created_at` does not count. Nothing of the document is
/// kept in memory: each value is reduced to its own hash.
///
/// # Errors
/// As the JSON reader.
pub fn digest(json: &str) -> Result<String, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let hash = Node { place: Place::Top }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(hash.to_hex().to_string())
}

/// How near a value is to `metadata.created_at`.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    Metadata,
    Inner,
}

struct Node {
    place: Place,
}

fn tagged(tag: u8, bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]).update(bytes);
    hasher.finalize()
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = blake3::Hash;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<blake3::Hash, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = blake3::Hash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<blake3::Hash, E> {
        Ok(tagged(b'n', b""))
    }

    fn visit_bool<E>(self, v: bool) -> Result<blake3::Hash, E> {
        Ok(tagged(b'b', &[u8::from(v)]))
    }

    fn visit_i64<E>(self, v: i64) -> Result<blake3::Hash, E> {
        Ok(tagged(b'i', &i128::from(v).to_le_bytes()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<blake3::Hash, E> {
        Ok(tagged(b'i', &i128::from(v).to_le_bytes()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<blake3::Hash, E> {
        Ok(tagged(b'f', &v.to_le_bytes()))
    }

    fn visit_str<E>(self, v: &str) -> Result<blake3::Hash, E> {
        Ok(tagged(b's', v.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<blake3::Hash, A::Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"l");
        while let Some(hash) = items.next_element_seed(Node { place: Place::Inner })? {
            hasher.update(hash.as_bytes());
        }
        Ok(hasher.finalize())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<blake3::Hash, A::Error> {
        let mut hashes: Vec<(blake3::Hash, blake3::Hash)> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = if self.place == Place::Top && key == "metadata" { Place::Metadata } else { Place::Inner };
            let hash = entries.next_value_seed(Node { place })?;
            if !(self.place == Place::Metadata && key == "created_at") {
                hashes.push((tagged(b's', key.as_bytes()), hash));
            }
        }
        hashes.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"m");
        for (key, value) in hashes {
            hasher.update(key.as_bytes()).update(value.as_bytes());
        }
        Ok(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_layout_and_time_of_making_do_not_count() {
        let a = digest(r#"{"metadata": {"created_at": "x", "v": 1}, "plays": [{"a": 1, "b": [true, null]}]}"#).unwrap();
        let b =
            digest("{\"plays\":[{\"b\":[true,null],\"a\":1}],\n \"metadata\":{\"v\":1,\"created_at\":\"y\"}}").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.len(), 64);
    }

    #[test]
    fn everything_else_counts() {
        let texts = [
            r#"{"a": 1}"#,
            r#"{"a": "1"}"#,
            r#"{"a": 1.5}"#,
            r#"{"b": 1}"#,
            r#"{"a": [1]}"#,
            r#"{"a": [[1]]}"#,
            r#"{"a": null}"#,
            r#"{"a": true}"#,
            r#"{"a": {}}"#,
            r#"{"created_at": 1}"#,
            r#"{}"#,
            r#"{"x": {"created_at": 1}}"#,
            r#"{"x": {"created_at": 2}}"#,
        ];
        let digests: std::collections::HashSet<_> = texts.iter().map(|text| digest(text).unwrap()).collect();
        assert_eq!(digests.len(), texts.len());
    }
}
