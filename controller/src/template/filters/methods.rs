//! Python's methods of strings, lists and dicts, where the engine's own set ends.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::params::items;
use super::text::{center, split_text};
use crate::template::convert::failed;
use crate::template::python;

pub(crate) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(crate::template::convert::undefined(value)),
        ValueKind::String => string(value.as_str().unwrap_or_default(), method, args),
        ValueKind::Seq => list(value, method, args),
        ValueKind::Map => map(value, method, args),
        ValueKind::Bytes if method == "decode" => {
            let text = std::str::from_utf8(value.as_bytes().unwrap_or_default());
            text.map(Value::from).map_err(|error| failed(format!("Error rendering template: {error}")))
        }
        _ => unknown(),
    }
    .or_else(|error| match error.kind() {
        ErrorKind::UnknownMethod => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
        _ => Err(error),
    })
}

fn unknown() -> Result<Value, Error> {
    Err(Error::from(ErrorKind::UnknownMethod))
}

fn string(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "split" | "rsplit" => {
            let (separator, maxsplit): (Option<Value>, Option<i64>) = from_args(args)?;
            let separator = separator.filter(|separator| !separator.is_none());
            let separator = separator.as_ref().and_then(Value::as_str);
            match (method, separator, maxsplit) {
                ("rsplit", Some(separator), Some(limit)) if limit >= 0 && !separator.is_empty() => {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
                    let mut parts: Vec<&str> = text.rsplitn(limit.saturating_add(1), separator).collect();
                    parts.reverse();
                    Ok(parts.into_iter().map(Value::from).collect())
                }
                _ => Ok(Value::from(split_text(text, separator, maxsplit.unwrap_or(-1))?)),
            }
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let first = method == "partition";
            let found = if first { text.split_once(separator) } else { text.rsplit_once(separator) };
            let whole = if first { [text, "", ""] } else { ["", "", text] };
            Ok(found.map_or(whole, |(head, tail)| [head, separator, tail]).into_iter().map(Value::from).collect())
        }
        "index" | "rindex" => {
            let (part,): (&str,) = from_args(args)?;
            let found = if method == "index" { text.find(part) } else { text.rfind(part) };
            found
                .map(|at| Value::from(text[..at].chars().count()))
                .ok_or_else(|| failed("Error rendering template: substring not found"))
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = if text.starts_with(['-', '+']) { text.split_at(1) } else { ("", text) };
            Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(width.saturating_sub(text.chars().count())))))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (i64, Option<String>) = from_args(args)?;
            let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
            let fill = fill.as_deref().unwrap_or(" ");
            let padding = fill.repeat(missing);
            Ok(Value::from(match method {
                "ljust" => format!("{text}{padding}"),
                "rjust" => format!("{padding}{text}"),
                _ => center(text, width, fill),
            }))
        }
        "swapcase" => {
            let swap =
                |c: char| if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() };
            Ok(Value::from(text.chars().map(swap).collect::<String>()))
        }
        "casefold" => Ok(Value::from(text.to_lowercase().replace('\u{df}', "ss"))),
        "istitle" => Ok(Value::from(is_title(text))),
        "join" => {
            let (list,): (&Value,) = from_args(args)?;
            let list = items(list)?;
            if let Some((at, item)) = list.iter().enumerate().find(|(_, item)| item.as_str().is_none()) {
                crate::template::filters::params::defined(item)?;
                let kind = super::python_type(item);
                return Err(failed(format!(
                    "Error rendering template: sequence item {at}: expected str instance, {kind} found"
                )));
            }
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            Ok(Value::from(texts.join(text)))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "encode" => Ok(Value::from_bytes(text.as_bytes().to_vec())),
        "expandtabs" => Ok(Value::from(text.replace('\t', "        "))),
        _ => unknown(),
    }
}

/// Whether each word begins with a capital and goes on without one, and there is a letter at all.
fn is_title(text: &str) -> bool {
    let mut in_word = false;
    let mut has_letter = false;
    for c in text.chars() {
        if c.is_uppercase() && in_word || c.is_lowercase() && !in_word {
            return false;
        }
        in_word = c.is_uppercase() || c.is_lowercase();
        has_letter |= in_word;
    }
    has_letter
}

fn list(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "index" => {
            let (wanted,): (&Value,) = from_args(args)?;
            let found = items(value)?.iter().position(|item| item == wanted);
            found
                .map(Value::from)
                .ok_or_else(|| failed(format!("Error rendering template: {} is not in list", python::repr(wanted))))
        }
        "copy" => Ok(value.clone()),
        "append" | "extend" | "insert" | "remove" | "pop" | "sort" | "reverse" | "clear" => immutable(method),
        _ => unknown(),
    }
}

fn map(value: &Value, method: &str, _: &[Value]) -> Result<Value, Error> {
    match method {
        "copy" => Ok(value.clone()),
        "update" | "pop" | "setdefault" | "popitem" | "clear" => immutable(method),
        _ => unknown(),
    }
}

/// Values are shared between hosts, so none can be changed in place.
fn immutable(method: &str) -> Result<Value, Error> {
    Err(failed(format!("'{method}' would change a value in place; build a new one with `+` or `combine`")))
}
