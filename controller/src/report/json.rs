//! JSON as it is shown and as it is recorded.

use std::borrow::Cow;
use std::io::{self, Write};

use rustle_protocol::Value;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};

use super::sanitize;

/// On one line, as Ansible shows a result: keys sorted, a space after commas and colons.
pub(super) fn shown_compact(value: &Value) -> String {
    write(Sorted(value), OneLine { between: b", " })
}

/// As [`shown_compact`], without the space after commas.
pub(super) fn shown_dense(value: &Value) -> String {
    write(Sorted(value), OneLine { between: b"," })
}

/// On many lines, as Ansible shows `debug`: keys sorted, four spaces for each level.
pub(super) fn shown_pretty(value: &Value) -> String {
    write(Sorted(value), PrettyFormatter::with_indent(b"    "))
}

/// As [`shown_pretty`], with everything beyond ASCII escaped.
pub(super) fn shown_ascii(value: &Value) -> String {
    let mut units = [0; 2];
    let mut out = String::new();
    for c in shown_pretty(value).chars() {
        match c.is_ascii() {
            true => out.push(c),
            // Outside of strings JSON is ASCII anyhow.
            false => out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// As [`shown_pretty`], one space for each level.
pub(super) fn shown_indented_by_one(value: &Value) -> String {
    write(Sorted(value), PrettyFormatter::with_indent(b" "))
}

/// For a record: exact, on one line, and harmless even to a terminal: what [`sanitize::is_hostile`] tells is escaped,
/// which JSON allows anywhere in a string.
pub(super) fn write_record(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(to, Harmless)).map_err(io::Error::from)
}

fn write(value: impl Serialize, formatter: impl Formatter) -> String {
    let mut json = Vec::new();
    match value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter)) {
        Ok(()) => String::from_utf8_lossy(&json).into_owned(),
        Err(error) => format!("\"<{error}>\""),
    }
}

/// A value whose maps are in the order of their keys.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                let mut s = s.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| s.serialize_entry(key, &Sorted(value)))?;
                s.end()
            }
            Value::List(items) => {
                let mut s = s.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| s.serialize_element(&Sorted(item)))?;
                s.end()
            }
            plain => plain.serialize(s),
        }
    }
}

/// `{"a": 1, "b": [1, 2]}`, with what stands between two.
struct OneLine {
    between: &'static [u8],
}

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { self.between })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { self.between })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        to.write_all(harmless(fragment).as_bytes())
    }
}

/// Part of a JSON string, in which control characters of ASCII, tabs too, but not DEL are escaped already.
fn harmless(fragment: &str) -> Cow<'_, str> {
    if sanitize::is_harmless(fragment) {
        return Cow::Borrowed(fragment);
    }
    let mut safe = String::with_capacity(fragment.len() + 16);
    for c in fragment.chars() {
        if sanitize::is_hostile(c) { sanitize::push_escape(&mut safe, c) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustle_protocol::Map;

    use super::*;

    #[test]
    fn a_shown_result_has_ansibles_spacing_and_order() {
        let inner = Map::from_iter([("z".to_owned(), Value::Null), ("a".to_owned(), Value::Float(1779294449.0))]);
        let map = Map::from_iter([
            ("b".to_owned(), Value::List(vec![Value::Int(1), "é\n".into()])),
            ("a".to_owned(), inner.into()),
            ("c".to_owned(), Value::List(vec![])),
        ]);
        assert_eq!(
            shown_compact(&map.clone().into()),
            r#"{"a": {"a": 1779294449.0, "z": null}, "b": [1, "é\n"], "c": []}"#
        );
        insta::assert_snapshot!(shown_pretty(&map.into()), @r#"
        {
            "a": {
                "a": 1779294449.0,
                "z": null
            },
            "b": [
                1,
                "é\n"
            ],
            "c": []
        }
        "#);
    }

    proptest! {
        #[test]
        fn a_record_is_exact_and_harmless(text in any::<String>()) {
            let mut json = Vec::new();
            write_record(&mut json, &text).unwrap();
            let json = String::from_utf8(json).unwrap();
            prop_assert!(!json.contains(sanitize::is_hostile), "{json}");
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
