//! Values as Python writes them: Ansible's text is Python's, `True`, `None` and `{'a': 1}` included.

use minijinja::Value;
use minijinja::value::ValueKind;
use rustle_protocol::value::DEPTH_MAX;

/// `str(value)`.
pub(crate) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let mut out = String::new();
            write_text(&mut out, value);
            out
        }
    }
}

/// Appends `str(value)`.
pub(crate) fn write_text(out: &mut String, value: &Value) {
    match value.kind() {
        ValueKind::String => out.push_str(value.as_str().unwrap_or_default()),
        ValueKind::Bytes => out.push_str(&String::from_utf8_lossy(value.as_bytes().unwrap_or_default())),
        _ => write_repr(out, value, 0),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value, 0);
    out
}

/// What is nested deeper than [`DEPTH_MAX`] levels is cut short: a list that a template has changed may be in itself.
fn write_repr(out: &mut String, value: &Value, depth: usize) {
    match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable if depth > DEPTH_MAX => out.push_str("..."),
        ValueKind::String => string(out, value.as_str().unwrap_or_default()),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push_str(&float(number)),
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::Map => {
            let pairs = value.try_iter().into_iter().flatten().map(|key| {
                let item = value.get_item(&key).unwrap_or_default();
                (key, item)
            });
            sequence(out, "{", pairs, "}", |out, (key, item)| {
                write_repr(out, &key, depth + 1);
                out.push_str(": ");
                write_repr(out, &item, depth + 1);
            });
        }
        // Of Jinja's tuples those of `groupby` are seen as such; all others are lists by then.
        ValueKind::Seq if is_group(value) => {
            sequence(out, "(", value.try_iter().into_iter().flatten(), ")", |out, item| {
                write_repr(out, &item, depth + 1)
            });
        }
        // Ansible has no tuples: they are lists wherever they can be seen.
        ValueKind::Seq | ValueKind::Iterable => {
            sequence(out, "[", value.try_iter().into_iter().flatten(), "]", |out, item| {
                write_repr(out, &item, depth + 1)
            });
        }
        ValueKind::Undefined => {}
        _ => out.push_str(&value.to_string()),
    }
}

/// Whether `groupby` made it.
fn is_group(value: &Value) -> bool {
    value.len() == Some(2) && value.get_attr("grouper").is_ok_and(|grouper| !grouper.is_undefined())
}

fn sequence<T>(
    out: &mut String,
    open: &str,
    items: impl Iterator<Item = T>,
    close: &str,
    mut write: impl FnMut(&mut String, T),
) {
    out.push_str(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
    out.push_str(close);
}

fn string(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's shortest form: an exponent of at least two digits below 1e-4 and from 1e16 on.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let scientific = format!("{number:e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}
