//! JSON as Python's `json.dumps` writes it: a space after `,` and `:`, everything beyond ASCII escaped. A file written
//! from a dict must be the file Ansible writes, byte by byte, or every run would change it back and forth.

use rustle_protocol::Value;
use std::fmt::Write;

pub(crate) fn dumps(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::List(items) => write_between('[', ']', items, out, write_value),
        Value::Map(map) => write_between('{', '}', map, out, |(key, value), out| {
            write_text(key, out);
            out.push_str(": ");
            write_value(value, out);
        }),
        Value::String(text) => write_text(text, out),
        other => out.push_str(&other.to_json()),
    }
}

fn write_between<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    out: &mut String,
    write: impl Fn(T, &mut String),
) {
    out.push(open);
    for (nth, item) in items.into_iter().enumerate() {
        if nth > 0 {
            out.push_str(", ");
        }
        write(item, out);
    }
    out.push(close);
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            ' '..='\x7f' => out.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_pythons_dumps() {
        let value: Value = serde_json::from_str(r#"{"a": [1, true, null, 1.5], "b": "é\n\"😀", "c": {}}"#).unwrap();
        assert_eq!(dumps(&value), r#"{"a": [1, true, null, 1.5], "b": "\u00e9\n\"\ud83d\ude00", "c": {}}"#);
    }
}
