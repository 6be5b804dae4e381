//! The engine's errors in Ansible's words, with places in the text as its author wrote it.

use std::error::Error as _;

use minijinja::{Error, ErrorKind};

use super::convert::cause_of;
use super::engine::{self, CONDITION_PREFIX, Mode, key_source};
use super::error::{Syntactic, TemplateError};
use super::needs_rendering;
use super::rewrite::{Delimiters, FILTER, rewrite};
use super::{filters, missed};
use crate::vars::Scope;

pub(super) fn explain(error: Error, key: &str, scope: Option<&Scope>) -> TemplateError {
    explained(&error, key, scope)
}

fn explained(error: &Error, key: &str, scope: Option<&Scope>) -> TemplateError {
    if let Some(ours) = inner(error) {
        return in_rendering(ours, key);
    }
    if let Some(cause) = of_included(error) {
        return explained(cause, key, scope);
    }
    if error.kind() == ErrorKind::SyntaxError {
        return syntax(error, key);
    }
    let detail = error.detail().unwrap_or_default();
    if let Some(expression) = undefined_expression(detail) {
        if let Some(error) = computed_key(expression) {
            return error;
        }
        if expression.contains("(...)") || expression.contains(FILTER) {
            return walked(error, key, scope);
        }
        return another_undefined(expression, error, key, scope)
            .unwrap_or_else(|| undefined(expression, error, key, scope, Origin::Exact));
    }
    let what = syntactic(key);
    match error.kind() {
        ErrorKind::UndefinedError => missed::entry().unwrap_or_else(|| walked(error, key, scope)),
        ErrorKind::UnknownFunction => TemplateError::undefined(detail.strip_suffix(" is unknown").unwrap_or(detail)),
        ErrorKind::UnknownMethod => unknown_method(detail),
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest => {
            TemplateError::failed(format!("Syntax error in {what}: No {}.", name_last(detail)))
        }
        _ => {
            let reason = if detail.is_empty() { error.kind().to_string() } else { detail.to_owned() };
            TemplateError::failed(format!("Error rendering {what}: {reason}{}", place(error, key)))
        }
    }
}

/// What cannot be opened is told of the template that is rendered, however many variables lead to it.
fn in_rendering(error: TemplateError, key: &str) -> TemplateError {
    match error {
        TemplateError::At { error, .. } | TemplateError::Within { error, .. } if error.undecryptable().is_some() => {
            in_rendering(*error, key)
        }
        TemplateError::Undecryptable { .. } => error.within(format!("Error rendering {}", syntactic(key))),
        other => other,
    }
}

/// What went wrong in a file that a template includes.
fn of_included(error: &Error) -> Option<&Error> {
    let cause = error.source().filter(|_| error.kind() == ErrorKind::BadInclude)?;
    cause.downcast_ref()
}

/// One of our own errors that travelled through the engine.
fn inner(error: &Error) -> Option<TemplateError> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(ours) = cause.downcast_ref::<TemplateError>() {
            return Some(ours.clone());
        }
        source = cause.source();
    }
    None
}

/// `string has no method named x` as Ansible says it.
fn unknown_method(detail: &str) -> TemplateError {
    let (kind, method) = detail.split_once(" has no method named ").unwrap_or(("object", detail));
    let kind = match kind {
        "string" => "str",
        "sequence" => "list",
        "map" => "dict",
        "number" => "int",
        "none" => "NoneType",
        other => other,
    };
    missing(method, kind, method)
}

/// `filter x is unknown` as `filter named 'x'`.
fn name_last(detail: &str) -> String {
    if !detail.ends_with(" is unknown") {
        return "filter or test of this name".to_owned();
    }
    let mut words = detail.split(' ');
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    format!("{kind} named '{name}'")
}

/// The expression in "`foo.bar` is undefined", also behind the engine's own words.
fn undefined_expression(detail: &str) -> Option<&str> {
    let end = detail.rfind("` is undefined")?;
    let start = detail[..end].rfind('`')?;
    Some(&detail[start + 1..end])
}

/// Of `m[k]` and the like what `k` was, for what it leads to is not there.
fn computed_key(expression: &str) -> Option<TemplateError> {
    let is_literal = |index: &str| index.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '\'' | '"' | '-'));
    let name = expression.split(['.', '[']).next().unwrap_or_default();
    if expression.split('[').skip(1).all(is_literal) { None } else { missed::key(name) }
}

/// An undefined value whose expression the engine cannot name: taken from the text.
fn walked(error: &Error, key: &str, scope: Option<&Scope>) -> TemplateError {
    let text = original_text(error, key).unwrap_or_default();
    if let Some((source, range)) = original_range(error, key)
        && source[..range.start].trim_end().ends_with('|')
        && ["first", "last", "random", "min", "max"].contains(&&source[range.clone()])
    {
        let item = match &source[range] {
            "min" | "max" => "aggregated",
            filter => filter,
        };
        let message = format!("No {item} item, sequence was empty.");
        return TemplateError::Undefined { name: text, message };
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || "_.[]'\"".contains(c))).unwrap_or(text.len());
    let path = &text[..end];
    if let Some(hint) = text.strip_prefix("undef(") {
        let quoted = hint.split(['\'', '"']).nth(1);
        let message = quoted.unwrap_or("Mandatory variable has not been overridden").to_owned();
        return TemplateError::Undefined { name: "undef".to_owned(), message };
    }
    if text.contains(" if ") && !text.contains(" else ") {
        let message = "an inline `if` without `else` gave no value".to_owned();
        return TemplateError::Undefined { name: text, message };
    }
    // A function, filter or test is there; it is what it is given, or what it gave.
    let is_function = text[end..].trim_start().starts_with('(') || names_function(error, key);
    if is_function || !path.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        if let Some(error) = scope.and_then(|scope| first_undefined(error, key, scope)) {
            return error;
        }
        if let Some(attribute) = mapped_attribute(key) {
            return missing(&text, "dict", attribute);
        }
        let message = error.detail().map_or_else(|| "a value is undefined".to_owned(), str::to_owned);
        return TemplateError::Undefined { name: text, message };
    }
    another_undefined(path, error, key, scope).unwrap_or_else(|| undefined(path, error, key, scope, Origin::Guessed))
}

/// Whether the place of an error is that of a filter, a test or an operator.
fn names_function(error: &Error, key: &str) -> bool {
    let Some((source, range)) = original_range(error, key) else { return false };
    let before = source[..range.start].trim_end();
    let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let first = source[range].split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    before.ends_with('|') || matches!(word, "is" | "not") || matches!(first, "in" | "not" | "is" | "and" | "or")
}

/// Where a variable alone is said to be undefined and is not: the first in the template that is, as `name` in `list[name]`.
fn another_undefined(expression: &str, error: &Error, key: &str, scope: Option<&Scope>) -> Option<TemplateError> {
    let scope = scope?;
    let is_defined = scope.lookup(expression).is_some_and(|value| !value.is_undefined());
    if is_defined { first_undefined(error, key, scope) } else { None }
}

/// The attribute of a `map(attribute='x')`: what one of a list's dicts lacks, where nothing else is undefined.
fn mapped_attribute(key: &str) -> Option<&str> {
    let (_, source) = Mode::split(key)?;
    let (_, rest) = source.split_once("attribute=")?;
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    rest[1..].split(quote).next().filter(|name| !name.is_empty())
}

/// What nobody defined of the variables that a template mentions: the first of the statement that failed, or else of all.
fn first_undefined(error: &Error, key: &str, scope: &Scope) -> Option<TemplateError> {
    let is_undefined = |name: &String| scope.lookup(name).is_none_or(|value| value.is_undefined());
    let names = scope.templar().undeclared_in(key).into_iter().filter(is_undefined);
    let source = key_source(key).unwrap_or_default();
    let statement = original_range(error, key).map(|(source, range)| statement_at(&source, range.start).to_owned());
    let place = |name: &String| {
        let here = statement.as_deref().and_then(|statement| find_word(statement, name));
        (here.is_none(), here.or_else(|| find_word(&source, name)))
    };
    let name = names.min_by_key(place)?;
    Some(scope.cause(&name).unwrap_or_else(|| TemplateError::undefined(&name)))
}

/// The statement or expression around an offset, from its delimiter to that of the next one.
fn statement_at(source: &str, offset: usize) -> &str {
    let start = source[..offset].rfind('{').unwrap_or(0);
    let end = source[offset..].find('}').map_or(source.len(), |len| offset + len);
    &source[start..end]
}

/// Where a name stands in a text as a word of its own.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let stands_alone = |at: &usize| {
        !text[..*at].ends_with(is_part)
            && !text[*at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    text.match_indices(word).map(|(at, _)| at).find(stands_alone)
}

/// What a variable that the template set itself was set to: it is defined, but for what is not.
fn set_to_undefined(name: &str, error: &Error, key: &str, scope: &Scope) -> Option<TemplateError> {
    let is_set = !scope.templar().undeclared_in(key).contains(name);
    if is_set { first_undefined(error, key, scope) } else { None }
}

/// Whether an expression is known to be the first step that was undefined, or any step before it may have been.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Exact,
    Guessed,
}

/// Names what is missing on the way from a variable along `.name` and `['key']`.
fn undefined(expression: &str, error: &Error, key: &str, scope: Option<&Scope>, origin: Origin) -> TemplateError {
    let mut parts = path_parts(expression);
    let base = if parts.is_empty() { expression.to_owned() } else { parts.remove(0) };
    if let Some(cause) = scope.and_then(|scope| scope.cause(&base)) {
        return cause;
    }
    let Some(mut value) = scope.and_then(|scope| scope.lookup(&base)) else {
        return match parts.last() {
            // A variable the template set itself.
            Some(attribute) if origin == Origin::Exact => {
                missing(&base, if base == "omit" { "_OmitType" } else { "object" }, attribute)
            }
            _ => scope
                .and_then(|scope| set_to_undefined(&base, error, key, scope))
                .unwrap_or_else(|| TemplateError::undefined(&base)),
        };
    };
    for (depth, part) in parts.iter().enumerate() {
        let next = part
            .parse()
            .ok()
            .and_then(|index| value.get_item_by_index(index).ok())
            .or_else(|| value.get_attr(part).ok());
        match next {
            Some(next) if !next.is_undefined() => value = next,
            // A host that there is not: Ansible says what was asked for and no more.
            _ if base == "hostvars" && depth == 0 => {
                let message = format!("hostvars['{part}']");
                return TemplateError::Undefined { name: base, message };
            }
            _ => {
                // What Ansible calls a host's variables.
                let is_host = base == "hostvars" && depth == 1;
                let kind = if is_host { "HostVarsVars" } else { filters::python_type(&value) };
                return cause_of(&value, part).unwrap_or_else(|| missing(&base, kind, part));
            }
        }
    }
    TemplateError::undefined(&base)
}

fn missing(base: &str, kind: &str, attribute: &str) -> TemplateError {
    // A list is asked for a number, everything else for a name.
    let is_index = kind == "list" && attribute.parse::<u64>().is_ok();
    let quote = if is_index { "" } else { "'" };
    let message = format!("object of type '{kind}' has no attribute {quote}{attribute}{quote}");
    TemplateError::Undefined { name: base.to_owned(), message }
}

fn path_parts(expression: &str) -> Vec<String> {
    expression
        .split(['.', '['])
        .map(|part| part.trim_end_matches(']').trim_matches(['\'', '"']).to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// Offsets of an error in the author's text.
fn original_range(error: &Error, key: &str) -> Option<(String, std::ops::Range<usize>)> {
    // An error inside an included file has that file's positions.
    if error.name() != Some(key) {
        return None;
    }
    let source = key_source(key)?.into_owned();
    let range = error.range()?;
    let literals = engine::literals(key);
    let rewritten = rewrite(&source, &Delimiters::default(), literals);
    let range = rewritten.original(range.start)..rewritten.original(range.end);
    drop(rewritten);
    (source.is_char_boundary(range.start) && source.is_char_boundary(range.end) && range.start <= range.end)
        .then_some((source, range))
}

fn original_text(error: &Error, key: &str) -> Option<String> {
    let (source, range) = original_range(error, key)?;
    Some(source[range].trim_start_matches(['(', ' ', '{']).to_owned())
}

fn syntax(error: &Error, key: &str) -> TemplateError {
    let message = error.detail().unwrap_or("not a template").to_owned();
    let (line, mut column) = match original_range(error, key) {
        Some((source, range)) => position(&source, range.start),
        None => (error.line().unwrap_or(1), 1),
    };
    if line == 1 && matches!(Mode::split(key), Some((Mode::Condition, _))) {
        column = column.saturating_sub(CONDITION_PREFIX.len()).max(1);
    }
    TemplateError::Syntax { what: syntactic(key), line, column, message }
}

fn syntactic(key: &str) -> Syntactic {
    match Mode::split(key) {
        Some((Mode::Condition, source)) if needs_rendering(source) => Syntactic::EnclosingExpression,
        Some((Mode::Condition, _)) => Syntactic::Expression,
        _ => Syntactic::Template,
    }
}

fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Where in a longer template the error is.
fn place(error: &Error, key: &str) -> String {
    let lines = key_source(key).map_or(1, |source| source.lines().count());
    match error.line() {
        Some(line) if lines > 1 && error.name() == Some(key) => format!(" (line {line})"),
        _ => String::new(),
    }
}
