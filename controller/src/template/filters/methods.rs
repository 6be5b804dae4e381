//! Python's methods of strings, lists and dicts, where the engine's own set ends.

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};

use super::params::{Params, int, items, undefined_among};
use super::text::{center, split_text};
use super::{changeable, formats};
use crate::template::convert::failed;
use crate::template::python;

pub(crate) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(undefined) = undefined_among(&[], args) {
        return Ok(undefined);
    }
    // Unsafe to Ansible, which says so where the result is used.
    if method.starts_with("__") {
        return Ok(Value::UNDEFINED);
    }
    match value.kind() {
        ValueKind::Undefined => Ok(value.clone()),
        ValueKind::String => string(state, value, method, args),
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

fn string(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let text = value.as_str().unwrap_or_default();
    match method {
        "split" | "rsplit" => {
            let params = Params::bind(method, &["sep", "maxsplit"], args)?;
            let maxsplit = params.get("maxsplit").map(|limit| int(limit, "maxsplit")).transpose()?;
            let separator = params.get("sep").and_then(Value::as_str);
            match (method, separator, maxsplit) {
                ("rsplit", Some(separator), Some(limit)) if limit >= 0 && !separator.is_empty() => {
                    let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
                    let mut parts: Vec<&str> = text.rsplitn(limit.saturating_add(1), separator).collect();
                    parts.reverse();
                    Ok(parts.into_iter().map(Value::from).collect())
                }
                ("rsplit", None, Some(limit)) if limit >= 0 => Ok(Value::from(split_back(text, limit))),
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
        "format" => {
            let (positional, named) = match args.split_last() {
                Some((last, positional)) if last.is_kwargs() => (positional, Some(last)),
                _ => (args, None),
            };
            formats::Source::new(Some(positional), named).fill(text).map(Value::from)
        }
        "format_map" => {
            let (map,): (&Value,) = from_args(args)?;
            formats::Source::new(None, Some(map)).fill(text).map(Value::from)
        }
        "startswith" | "endswith" | "find" | "rfind" | "index" | "rindex" | "count" => search(text, method, args),
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
        "expandtabs" => {
            let params = Params::bind(method, &["tabsize"], args)?;
            Ok(Value::from(expand_tabs(text, usize::try_from(params.int("tabsize", 8)?).unwrap_or(0))))
        }
        "splitlines" => {
            let params = Params::bind(method, &["keepends"], args)?;
            let keepends = Value::from(params.flag("keepends", false));
            minijinja_contrib::pycompat::unknown_method_callback(state, value, method, &[keepends])
        }
        "isidentifier" => Ok(Value::from(
            !text.is_empty()
                && !text.starts_with(|c: char| c.is_numeric())
                && text.chars().all(|c| c == '_' || c.is_alphanumeric()),
        )),
        "isdecimal" => Ok(Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()))),
        "isprintable" => Ok(Value::from(text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace())))),
        _ => unknown(),
    }
}

/// The last `limit` words, and before them what is left of the text.
fn split_back(text: &str, limit: i64) -> Vec<Value> {
    let (mut rest, mut words) = (text.trim_end(), Vec::new());
    while !rest.is_empty() {
        let all = i64::try_from(words.len()).is_ok_and(|count| count >= limit);
        let start = rest.rfind(char::is_whitespace).filter(|_| !all);
        let start = start.map_or(0, |at| at + rest[at..].chars().next().map_or(0, char::len_utf8));
        words.push(Value::from(if all { rest.trim_start() } else { &rest[start..] }));
        rest = rest[..start].trim_end();
    }
    words.reverse();
    words
}

/// The methods that look for a part of the text, in all of it or from one letter to another.
fn search(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (part, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
    let (start, slice) = slice(text, start, end);
    if matches!(method, "startswith" | "endswith") {
        let parts = if part.kind() == ValueKind::Seq { items(part)? } else { vec![part.clone()] };
        for part in &parts {
            let part = part.as_str().ok_or_else(|| {
                let kind = super::python_type(part);
                failed(format!(
                    "Error rendering template: {method} first arg must be str or a tuple of str, not {kind}"
                ))
            })?;
            let found = if method == "startswith" { slice.starts_with(part) } else { slice.ends_with(part) };
            if found {
                return Ok(Value::from(true));
            }
        }
        return Ok(Value::from(false));
    }
    let part = part
        .as_str()
        .ok_or_else(|| failed(format!("Error rendering template: must be str, not {}", super::python_type(part))))?;
    if method == "count" {
        return Ok(Value::from(slice.matches(part).count()));
    }
    let found = if method.starts_with('r') { slice.rfind(part) } else { slice.find(part) };
    match found {
        Some(at) => Ok(Value::from(start + slice[..at].chars().count())),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => Err(failed("Error rendering template: substring not found")),
    }
}

/// The letters from `start` to before `end`, which count from the text's end where they are negative; and how many
/// letters are before them.
fn slice(text: &str, start: Option<i64>, end: Option<i64>) -> (usize, &str) {
    let count = text.chars().count();
    let place = |index: i64| {
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 { count.saturating_sub(distance) } else { distance.min(count) }
    };
    let start = start.map_or(0, place);
    let end = end.map_or(count, place).max(start);
    let offset = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(offset, _)| offset);
    (start, &text[offset(start)..offset(end)])
}

/// Each tab as the spaces up to the next column that is a multiple of `size`.
fn expand_tabs(text: &str, size: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        if c == '\t' {
            let spaces = if size == 0 { 0 } else { size.min(TAB_MAX) - column % size.min(TAB_MAX) };
            out.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else {
            out.push(c);
            column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    out
}

/// The widest tab, in letters.
const TAB_MAX: usize = 1024;

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
        method if changeable::LIST_METHODS.contains(&method) => changeable::change_unnamed(value, method, args),
        _ => unknown(),
    }
}

fn map(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    match method {
        "copy" => Ok(value.clone()),
        method if changeable::DICT_METHODS.contains(&method) => changeable::change_unnamed(value, method, args),
        _ => unknown(),
    }
}
