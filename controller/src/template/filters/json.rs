//! JSON as Python writes it.

use minijinja::value::Value as Jinja;
use minijinja::{Environment, Error};
use rustle_protocol::value::Value;

use super::json_complaint;
use super::params::{Filter, Params, add_filters, items};
use crate::template::convert::{failed, from_data, to_data};
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    const NAMES: &[&str] = &["indent", "sort_keys", "ensure_ascii", "separators"];
    add_filters(
        env,
        &[
            Filter("to_json", NAMES, |value, params| dump(value, params, None, false)),
            Filter("to_nice_json", NAMES, |value, params| dump(value, params, Some(4), true)),
            Filter("tojson", &["indent"], |value, params| {
                let indent = indent(params, None)?;
                let mut options = Style { indent, sort_keys: true, ..Style::default() };
                if indent.is_some() {
                    options.item_separator = ",".to_owned();
                }
                let text = write(&data(value)?, &options);
                Ok(Jinja::from(
                    text.replace('<', "\\u003c")
                        .replace('>', "\\u003e")
                        .replace('&', "\\u0026")
                        .replace('\'', "\\u0027"),
                ))
            }),
            Filter("from_json", &["profile"], |value, params| {
                let profile = Profile::named(&params.text("profile", "tagless"))?;
                let Some(text) = value.as_str() else {
                    let kind = super::python_type(value);
                    return Err(failed(format!("the JSON object must be str, bytes or bytearray, not {kind}")));
                };
                let parsed: Value = serde_json::from_str(text).map_err(|error| {
                    failed(json_complaint::complaint(text).unwrap_or_else(|| format!("not JSON: {error}")))
                })?;
                profile.read(parsed)
            }),
        ],
    );
}

/// What marks in JSON mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// Nothing.
    Plain,
    /// Ansible's own, as `ansible-inventory` and older versions write them.
    Legacy,
}

impl Profile {
    fn named(name: &str) -> Result<Profile, Error> {
        match name {
            "tagless" | "fallback_to_str" => Ok(Profile::Plain),
            "legacy" | "inventory_legacy" => Ok(Profile::Legacy),
            _ => Err(failed(format!("Unknown profile name '{name}'."))),
        }
    }

    /// The value behind the marks. Text that was marked as no template is data like any other here, and what is encrypted
    /// is undefined: nobody says that whoever wrote it may have it opened.
    fn read(self, value: Value) -> Result<Jinja, Error> {
        match (self, value) {
            (Profile::Legacy, Value::Map(map)) => match map.get("__ansible_unsafe") {
                Some(Value::String(text)) => Ok(Jinja::from(text.as_str())),
                Some(other) => Err(failed(format!("__ansible_unsafe is {other} and no text"))),
                None if map.contains_key("__ansible_vault") => Ok(Jinja::UNDEFINED),
                None => {
                    let entries = map.into_iter().map(|(key, value)| Ok((Jinja::from(key), self.read(value)?)));
                    Ok(Jinja::from_pairs(entries.collect::<Result<Vec<_>, Error>>()?))
                }
            },
            (Profile::Legacy, Value::List(items)) => {
                items.into_iter().map(|item| self.read(item)).collect::<Result<Vec<_>, _>>().map(Jinja::from)
            }
            (_, value) => Ok(from_data(value)),
        }
    }
}

pub(super) fn data(value: &Jinja) -> Result<Value, Error> {
    to_data(value)?.ok_or_else(|| failed("`omit` is no data"))
}

struct Style {
    indent: Option<usize>,
    sort_keys: bool,
    ensure_ascii: bool,
    item_separator: String,
    key_separator: String,
}

impl Default for Style {
    fn default() -> Style {
        let (item_separator, key_separator) = (", ".to_owned(), ": ".to_owned());
        Style { indent: None, sort_keys: false, ensure_ascii: true, item_separator, key_separator }
    }
}

/// Blanks per level; more than this only fill memory.
const INDENT_MAX: i64 = 64;

fn indent(params: &Params, default: Option<usize>) -> Result<Option<usize>, Error> {
    match params.get("indent") {
        None => Ok(default),
        Some(value) if value.is_none() => Ok(None),
        Some(_) => Ok(usize::try_from(params.int("indent", 0)?.clamp(0, INDENT_MAX)).ok()),
    }
}

fn dump(value: &Jinja, params: &Params, default_indent: Option<usize>, sort_keys: bool) -> Result<Jinja, Error> {
    let indent = indent(params, default_indent)?;
    let mut style = Style {
        indent,
        sort_keys: params.flag("sort_keys", sort_keys),
        ensure_ascii: params.flag("ensure_ascii", true),
        ..Style::default()
    };
    if indent.is_some() {
        style.item_separator = ",".to_owned();
    }
    if let Some(separators) = params.get("separators").filter(|separators| !separators.is_none())
        && let [item, key] = &items(separators)?[..]
    {
        (style.item_separator, style.key_separator) = (python::text(item), python::text(key));
    }
    Ok(Jinja::from(write(&data(value)?, &style)))
}

fn write(value: &Value, style: &Style) -> String {
    let mut out = String::new();
    write_value(&mut out, value, style, 0);
    out
}

fn write_value(out: &mut String, value: &Value, style: &Style, level: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::UInt(n) => out.push_str(&n.to_string()),
        Value::Float(n) if n.is_nan() => out.push_str("NaN"),
        Value::Float(n) if n.is_infinite() => out.push_str(if *n > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Float(n) => out.push_str(&python::float(*n)),
        Value::String(text) => string(out, text, style.ensure_ascii),
        Value::Bytes(bytes) => string(out, &String::from_utf8_lossy(bytes), style.ensure_ascii),
        Value::List(items) => {
            sequence(out, ['[', ']'], items.iter(), style, level, |out, item| write_value(out, item, style, level + 1));
        }
        Value::Map(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            if style.sort_keys {
                entries.sort_by_key(|(key, _)| *key);
            }
            sequence(out, ['{', '}'], entries.into_iter(), style, level, |out, (key, item)| {
                string(out, key, style.ensure_ascii);
                out.push_str(&style.key_separator);
                write_value(out, item, style, level + 1);
            });
        }
    }
}

fn sequence<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    style: &Style,
    level: usize,
    mut write: impl FnMut(&mut String, T),
) {
    let empty = items.len() == 0;
    let newline = |out: &mut String, level: usize| {
        if let Some(indent) = style.indent.filter(|_| !empty) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * level));
        }
    };
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(&style.item_separator);
        }
        newline(out, level + 1);
        write(out, item);
    }
    newline(out, level);
    out.push(close);
}

fn string(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ensure_ascii && !(' '..='~').contains(&c)) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(profile: &str, text: &str) -> Result<String, String> {
        let value = Profile::named(profile).and_then(|profile| profile.read(serde_json::from_str(text).unwrap()));
        value.and_then(|value| data(&value)).map(|data| data.to_json().to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn marks_of_ansible_are_read_under_the_profiles_that_have_them() {
        let marked = r#"{"a":[{"__ansible_unsafe":"{{ x }}"}],"b":1}"#;
        for profile in ["legacy", "inventory_legacy"] {
            assert_eq!(read(profile, marked).unwrap(), r#"{"a":["{{ x }}"],"b":1}"#);
        }
        assert_eq!(read("tagless", marked).unwrap(), marked);
        assert!(read("legacy", r#"{"__ansible_unsafe":5}"#).unwrap_err().contains("__ansible_unsafe is 5 and no text"));
        let with_sealed: Value = serde_json::from_str(r#"[{"__ansible_vault":"$ANSIBLE"},1]"#).unwrap();
        let read_list = Profile::Legacy.read(with_sealed).unwrap();
        assert!(read_list.get_item_by_index(0).unwrap().is_undefined());
        assert_eq!(read_list.get_item_by_index(1).unwrap(), Jinja::from(1));
        assert!(read("nonsense", "1").unwrap_err().contains("Unknown profile name 'nonsense'."));
    }
}
