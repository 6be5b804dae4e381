//! Python's regular expressions: filters `regex_*` and the tests `match`, `search` and `regex`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use fancy_regex::{Captures, Regex, RegexBuilder};
use minijinja::value::Value;
use minijinja::{Environment, Error};
use rustle_agent::regex_complaint;

use super::params::{Filter, Params, REST, Test, add_filters, add_tests};
use crate::template::convert::failed;
use crate::template::python;

/// Steps of backtracking before a match is given up: a pattern that explodes must not stop a run. About a second.
const BACKTRACK_MAX: usize = 5_000_000;

/// Compiled patterns kept; beyond, all are dropped. A playbook uses a few dozen.
const CACHE_MAX: usize = 512;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter(
                "regex_replace",
                &["pattern", "replacement", "ignorecase", "multiline", "count", "mandatory_count"],
                replace,
            ),
            Filter("regex_search", &["ignorecase", "multiline", REST], search),
            Filter("regex_findall", &["regex", "multiline", "ignorecase"], find_all),
            Filter("regex_escape", &["re_type"], escape),
        ],
    );
    add_tests(
        env,
        &[
            Test("match", &["pattern", "ignorecase", "multiline"], |value, params| test(value, params, "match")),
            Test("search", &["pattern", "ignorecase", "multiline"], |value, params| test(value, params, "search")),
            Test("regex", &["pattern", "ignorecase", "multiline", "match_type"], |value, params| {
                test(value, params, &params.text("match_type", "search"))
            }),
        ],
    );
}

fn compile(pattern: &str, params: &Params) -> Result<Arc<Regex>, Error> {
    compile_flags(pattern, params.flag("ignorecase", false), params.flag("multiline", false))
}

type Cache = HashMap<(String, bool, bool), Arc<Regex>>;

fn compile_flags(pattern: &str, ignore_case: bool, multi_line: bool) -> Result<Arc<Regex>, Error> {
    static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);
    let key = (pattern.to_owned(), ignore_case, multi_line);
    if let Some(known) = CACHE.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Arc::clone(known));
    }
    let compiled = RegexBuilder::new(&translate(pattern, multi_line))
        .case_insensitive(ignore_case)
        .multi_line(multi_line)
        .backtrack_limit(BACKTRACK_MAX)
        .build()
        .map_err(|error| {
            let python = regex_complaint::complaint(pattern);
            failed(python.unwrap_or_else(|| format!("'{pattern}' is not a regular expression: {error}")))
        })?;
    let compiled = Arc::new(compiled);
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= CACHE_MAX {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&compiled));
    Ok(compiled)
}

/// Whether the text begins with what Python's pattern means: `re.match`.
pub(super) fn begins(pattern: &str, text: &str) -> Result<bool, Error> {
    let found = compile_flags(pattern, false, false)?.find(text).map_err(gave_up)?;
    Ok(found.is_some_and(|found| found.start() == 0))
}

/// Whether what Python's pattern means is in the text: `re.search`.
pub(super) fn is_in(pattern: &str, text: &str) -> Result<bool, Error> {
    compile_flags(pattern, false, false)?.is_match(text).map_err(gave_up)
}

/// Python's notation where it means something else here: `$` also before a last newline, `\Z` for the very end, and
/// `[`, `&`, `~` without meaning inside a class.
fn translate(pattern: &str, multi_line: bool) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    let mut class_at: Option<usize> = None;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if class_at.is_none() => out.push_str("\\z"),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            '[' if class_at.is_none() => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A `]` that comes first is one of the class.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
                class_at = Some(out.len());
            }
            ']' if class_at.is_some() => {
                class_at = None;
                out.push(']');
            }
            '[' | '&' | '~' if class_at.is_some() => out.extend(['\\', c]),
            '$' if class_at.is_none() && !multi_line => out.push_str("(?=\\n?\\z)"),
            other => out.push(other),
        }
    }
    out
}

fn gave_up(error: fancy_regex::Error) -> Error {
    failed(format!("the regular expression was given up: {error}"))
}

fn replace(value: &Value, params: &Params) -> Result<Value, Error> {
    let text = python::text(value);
    let regex = compile(&params.text("pattern", ""), params)?;
    let replacement = params.text("replacement", "");
    let limit = usize::try_from(params.int("count", 0)?).unwrap_or(0);
    let mut out = String::with_capacity(text.len());
    let (mut last, mut replaced) = (0, 0usize);
    for captures in regex.captures_iter(text.as_str()) {
        let captures = captures.map_err(gave_up)?;
        let whole = captures.get(0).ok_or_else(|| failed("a match without text"))?;
        if limit > 0 && replaced == limit {
            break;
        }
        out.push_str(&text[last..whole.start()]);
        expand(&mut out, &replacement, &regex, &captures)?;
        last = whole.end();
        replaced += 1;
    }
    out.push_str(&text[last..]);
    let wanted = params.int("mandatory_count", 0)?;
    if wanted > 0 && usize::try_from(wanted).unwrap_or(0) != replaced {
        return Err(failed(format!(
            "'{}' should match {wanted} times, but matches {replaced} times in '{text}'",
            params.text("pattern", "")
        )));
    }
    Ok(Value::from(out))
}

/// Python's replacement text: `\1`, `\g<1>`, `\g<name>`, `\\`, `\n`.
fn expand(out: &mut String, template: &str, regex: &Regex, captures: &Captures<'_, str>) -> Result<(), Error> {
    let mut rest = template;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let len = match rest.chars().next() {
            Some('g') if rest.starts_with("g<") => {
                let end = rest.find('>').ok_or_else(|| failed("missing >, unterminated name in the replacement"))?;
                let name = &rest[2..end];
                let at = template.len() - rest.len() + 2;
                let found = match name.parse::<usize>() {
                    Ok(number) => numbered_group(captures, number)
                        .ok_or_else(|| failed(format!("invalid group reference {number} at position {at}"))),
                    Err(_) => {
                        named_group(regex, captures, name).ok_or_else(|| failed(format!("unknown group name '{name}'")))
                    }
                };
                out.push_str(found?);
                end + 1
            }
            Some(c) if c.is_ascii_digit() => {
                let len = digits.min(2);
                let name = &rest[..len];
                let at = template.len() - rest.len();
                let unknown = || failed(format!("invalid group reference {name} at position {at}"));
                let number = name.parse().unwrap_or_default();
                out.push_str(numbered_group(captures, number).ok_or_else(unknown)?);
                len
            }
            Some('n') => push(out, '\n'),
            Some('t') => push(out, '\t'),
            Some('r') => push(out, '\r'),
            Some('\\') => push(out, '\\'),
            Some(c) if c.is_ascii_alphabetic() => return Err(failed(format!("bad escape \\{c} in the replacement"))),
            Some(other) => {
                out.push('\\');
                out.push(other);
                other.len_utf8()
            }
            None => return Err(failed("bad escape at the end of the replacement")),
        };
        rest = &rest[len..];
    }
    out.push_str(rest);
    Ok(())
}

fn push(out: &mut String, c: char) -> usize {
    out.push(c);
    1
}

/// The text of a group, empty where it matched nothing; none where the pattern has no such group.
fn numbered_group<'t>(captures: &Captures<'t, str>, number: usize) -> Option<&'t str> {
    (number < captures.len()).then(|| captures.get(number).map_or("", |found| found.as_str()))
}

/// As [`numbered_group`].
fn named_group<'t>(regex: &Regex, captures: &Captures<'t, str>, name: &str) -> Option<&'t str> {
    let is_known = regex.capture_names().flatten().any(|known| known == name);
    is_known.then(|| captures.name(name).map_or("", |found| found.as_str()))
}

fn search(value: &Value, params: &Params) -> Result<Value, Error> {
    let (pattern, groups) = params.rest.split_first().ok_or_else(|| failed("the pattern is missing"))?;
    let text = python::text(value);
    let regex = compile(&python::text(pattern), params)?;
    let Some(captures) = regex.captures(text.as_str()).map_err(gave_up)? else { return Ok(Value::from(())) };
    if groups.is_empty() {
        return Ok(Value::from(numbered_group(&captures, 0).unwrap_or_default()));
    }
    let wanted = groups.iter().map(|reference| {
        let reference = python::text(reference);
        let name = reference.strip_prefix("\\g<").and_then(|rest| rest.strip_suffix('>'));
        let found = match (name, reference.strip_prefix('\\').and_then(|number| number.parse::<usize>().ok())) {
            (Some(name), _) => named_group(&regex, &captures, name),
            (None, Some(number)) => numbered_group(&captures, number),
            (None, None) => return Err(failed("Unknown argument")),
        };
        found.map(Value::from).ok_or_else(|| failed("no such group"))
    });
    wanted.collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn find_all(value: &Value, params: &Params) -> Result<Value, Error> {
    let text = python::text(value);
    let regex = compile(&params.text("regex", ""), params)?;
    let mut out = Vec::new();
    for captures in regex.captures_iter(text.as_str()) {
        let captures = captures.map_err(gave_up)?;
        let of = |index: usize| Value::from(captures.get(index).map_or("", |found| found.as_str()));
        out.push(match captures.len() {
            1 => of(0),
            2 => of(1),
            count => Value::from((1..count).map(of).collect::<Vec<_>>()),
        });
    }
    Ok(Value::from(out))
}

fn escape(value: &Value, params: &Params) -> Result<Value, Error> {
    let special = match params.text("re_type", "python").as_str() {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\x0b\x0c",
        "posix_basic" => "].[^$*\\",
        "posix_extended" => return Err(failed("Regex type (posix_extended) not yet implemented")),
        other => return Err(failed(format!("Invalid regex type ({other})"))),
    };
    let mut out = String::new();
    for c in python::text(value).chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(Value::from(out))
}

fn test(value: &Value, params: &Params, kind: &str) -> Result<bool, Error> {
    let pattern = params.text("pattern", "");
    let anchored = match kind {
        "match" => format!("\\A(?:{pattern})"),
        "fullmatch" => format!("\\A(?:{pattern})\\Z"),
        _ => pattern,
    };
    compile(&anchored, params)?.is_match(&python::text(value)).map_err(gave_up)
}
