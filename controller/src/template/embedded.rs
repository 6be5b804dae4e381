//! Templates in the string literals of a condition: `name == "{{ prefix }}-1"`.
//!
//! Ansible templates such literals before it compares them, and those among the terms of a lookup,
//! `lookup('file', '{{ name }}.txt')`, before it looks them up. The same comes out of writing what they mean: the template
//! itself for a literal that is nothing else, `((prefix)|_printed ~ '-1')` for others. The author wrote the literal, so no data
//! is ever made a template by this.

use std::borrow::Cow;

use minijinja::{Error, Value};

use super::rewrite::string_len;
use super::{convert, python};

/// The filter that makes of a value what a template prints of it.
pub(super) const FILTER: &str = "_printed";

/// # Errors
/// The value is undefined.
pub(super) fn printed(value: &Value) -> Result<String, Error> {
    match value {
        value if value.is_undefined() => Err(convert::undefined(value)),
        value if value.is_none() => Ok(String::new()),
        value => Ok(python::text(value)),
    }
}

/// The condition with the templates in its literals made expressions.
///
/// A literal with a backslash, with a statement or with a template that does not end stays what it is.
pub(super) fn unfolded(condition: &str) -> Cow<'_, str> {
    if !condition.contains("{{") {
        return Cow::Borrowed(condition);
    }
    let mut out = String::with_capacity(condition.len() + 8);
    let mut rest = condition;
    while let Some(begin) = rest.find(['\'', '"']) {
        let (before, literal) = rest.split_at(begin);
        out.push_str(before);
        let quote = if literal.starts_with('"') { '"' } else { '\'' };
        let (literal, after) = literal.split_at(string_len(literal, quote));
        match expression(literal, quote) {
            Some(expression) => out.push_str(&expression),
            None => out.push_str(literal),
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What a literal with templates in it means.
pub(super) fn expression(literal: &str, quote: char) -> Option<String> {
    let text = literal.strip_prefix(quote)?.strip_suffix(quote)?;
    if !text.contains("{{") || text.contains(['\\', '\n']) || text.contains("{%") || text.contains("{#") {
        return None;
    }
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, template)) = rest.split_once("{{") {
        let (inner, after) = template.split_once("}}")?;
        parts.extend([Part::Text(before), Part::Template(inner.trim_matches(['-', '+']).trim())]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| !matches!(part, Part::Text("")));
    if let [Part::Template(alone)] = parts.as_slice() {
        return Some(format!("({alone})"));
    }
    let parts: Vec<String> = parts.iter().map(|part| part.printed(quote)).collect();
    Some(format!("({})", parts.join(" ~ ")))
}

enum Part<'a> {
    Text(&'a str),
    Template(&'a str),
}

impl Part<'_> {
    /// An expression for the text that the part prints.
    fn printed(&self, quote: char) -> String {
        match self {
            Part::Text(text) => format!("{quote}{text}{quote}"),
            Part::Template(inner) => format!("({inner})|{FILTER}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_in_literals_become_expressions() {
        for (condition, meaning) in [
            ("a == '{{ b }}'", "a == (b)"),
            ("a == \"{{ b }}-{{c.d}}\"", "a == ((b)|_printed ~ \"-\" ~ (c.d)|_printed)"),
            ("'x{{ b }}y' in a and c == 'd'", "('x' ~ (b)|_printed ~ 'y') in a and c == 'd'"),
            ("a == '{{ b | default(\"c\") }}'", "a == (b | default(\"c\"))"),
        ] {
            assert_eq!(unfolded(condition), meaning);
        }
    }

    #[test]
    fn other_literals_stay() {
        for condition in [
            "a == '{{ b'",
            "a == '{% if b %}{{ c }}{% endif %}'",
            "a == '\\'{{ b }}'",
            "'{{' in a and a is search('}}')",
            "{'a': {'b': 1}} == c",
            "a == '",
            "é == 'ü{{'",
        ] {
            assert_eq!(unfolded(condition), condition);
        }
    }
}
