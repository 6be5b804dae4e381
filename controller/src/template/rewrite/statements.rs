//! Statements that mean something else to the engine than to Jinja.
//!
//! A macro gets `varargs` and `kwargs` among its parameters where it speaks of them, and is wrapped in [`MACRO`], which
//! fills them. Its defaults become assignments at the beginning of its body, for there they may speak of the parameters
//! before them. What `set` and `filter` take from their bodies begins with [`CAPTURE`] and goes through [`CAPTURED`]. `raw` keeps the line's end after it, a line that is a statement loses the colon at its end,
//! and comments that end with their line are left out.

use std::ops::Range;

use super::{Delimiters, Kind, Token, Tokens, regions};

/// The filter around each macro; its argument is how many parameters have defaults, which are the last ones.
pub(in crate::template) const MACRO: &str = "_macro";

/// The test for a parameter that a call leaves out.
pub(in crate::template) const LEFT_OUT: &str = "_left_out";

/// The function that begins what goes through [`CAPTURED`].
pub(in crate::template) const CAPTURE: &str = "_capture";

/// The filter that gives the value of a body.
pub(in crate::template) const CAPTURED: &str = "_captured";

/// What stands in a text, and what is to stand there.
type Edit = (Range<usize>, String);

/// The text with these statements in the engine's words; none where there are none.
pub(super) fn translated(source: &str, delimiters: &Delimiters) -> Option<String> {
    let has_lines = delimiters.line.is_some() || delimiters.line_comment.is_some();
    if !has_lines && !["macro", "raw", "endset", "endfilter"].iter().any(|word| source.contains(word)) {
        return None;
    }
    let mut edits: Vec<Edit> = Vec::new();
    let mut open = Vec::new();
    for (kind, region) in regions(source, delimiters) {
        let tag = Tag { source, delimiters, kind, region };
        match (kind, tag.word()) {
            (Kind::Raw, _) if tag.sign().is_empty() => edits.push((tag.delimiter()..tag.delimiter(), "+".to_owned())),
            (Kind::Line, _) if tag.text().ends_with(':') => {
                edits.push((tag.region.end - 1..tag.region.end, String::new()));
            }
            (Kind::LineComment, _) => edits.push((tag.with_blanks_before(), String::new())),
            (Kind::Block | Kind::Line, "macro") => open.push(tag),
            (Kind::Block | Kind::Line, word @ ("set" | "filter")) => {
                edits.extend(captured(&tag, word).into_iter().flatten());
            }
            (Kind::Block | Kind::Line, "endmacro") => {
                edits.extend(open.pop().and_then(|start| translated_macro(&start, &tag)).into_iter().flatten());
            }
            _ => {}
        }
    }
    edits.sort_by_key(|(place, _)| (place.start, place.end));
    (!edits.is_empty()).then(|| super::edited(source, &edits))
}

/// A statement, without its delimiters.
struct Tag<'s> {
    source: &'s str,
    delimiters: &'s Delimiters,
    kind: Kind,
    region: Range<usize>,
}

impl<'s> Tag<'s> {
    fn tokens(&self) -> Tokens<'s> {
        Tokens { source: self.source, at: self.region.start, end: self.region.end, after_dot: false }
    }

    fn text(&self) -> &'s str {
        &self.source[self.region.clone()]
    }

    /// The word that it begins with.
    fn word(&self) -> &'s str {
        let words = self.text().trim_start_matches(['-', '+']).trim_start();
        words.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
    }

    /// What it says about the white space behind it.
    fn sign(&self) -> &'s str {
        let text = self.text();
        text.strip_suffix(['-', '+']).map_or("", |rest| &text[rest.len()..])
    }

    fn with_blanks_before(&self) -> Range<usize> {
        self.source[..self.region.start].trim_end_matches([' ', '\t']).len()..self.region.end
    }

    /// Where the delimiter behind it begins.
    fn delimiter(&self) -> usize {
        let rest = &self.source[self.region.end..];
        self.region.end + (rest.len() - rest.trim_start().len())
    }

    /// Where the text behind it begins.
    fn end(&self) -> usize {
        let newline = |rest: &str| rest.find('\n').map_or(rest.len(), |at| at + 1);
        match self.kind {
            Kind::Line => self.region.end + newline(&self.source[self.region.end..]),
            _ => (self.delimiter() + self.delimiters.block.1.len()).min(self.source.len()),
        }
    }

    /// Statements behind it, such that the text behind them is trimmed as it was.
    fn followed_by(&self, statements: &[String]) -> Option<Edit> {
        let (start, end) = &self.delimiters.block;
        let (last, before) = statements.split_last()?;
        let sign = if self.kind == Kind::Line { "+" } else { self.sign() };
        let before: String = before.iter().map(|statement| format!("{start} {statement} {end}")).collect();
        Some((self.end()..self.end(), format!("{before}{start} {last} {sign}{end}")))
    }
}

/// A parameter of a macro and its default.
struct Parameter<'s> {
    name: &'s str,
    default: Option<&'s str>,
}

/// None where it cannot be read: the engine says what is wrong with it.
fn translated_macro(start: &Tag<'_>, end: &Tag<'_>) -> Option<[Edit; 3]> {
    let (name, place, parameters) = signature(start)?;
    let body = &start.source[start.end()..end.region.start];
    let mut names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
    names.extend(["varargs", "kwargs"].into_iter().filter(|name| body.contains(name)));
    let defaults: Vec<String> = parameters
        .iter()
        .filter_map(|Parameter { name, default }| {
            Some(format!("set {name} = ({}) if {name} is {LEFT_OUT} else {name}", (*default)?))
        })
        .collect();
    let nothing = || (start.end()..start.end(), String::new());
    Some([
        (place, format!("({})", names.join(", "))),
        start.followed_by(&defaults).unwrap_or_else(nothing),
        end.followed_by(&[format!("set {name} = {name} | {MACRO}({})", defaults.len())])?,
    ])
}

/// None for a `set` without a body.
fn captured(tag: &Tag<'_>, word: &str) -> Option<[Edit; 2]> {
    let mut tokens = tag.tokens();
    tokens.find(|(_, token)| *token == Token::Name(word))?;
    let (place, text) = match word {
        "filter" => (tokens.at, format!(" {CAPTURED} |")),
        _ => {
            let rest: Vec<_> = tokens.collect();
            if rest.iter().any(|(_, token)| *token == Token::Other('=')) {
                return None;
            }
            let filter = rest.iter().find(|(_, token)| *token == Token::Other('|'));
            (filter.map_or(tag.region.end - tag.sign().len(), |(at, _)| *at), format!(" | {CAPTURED} "))
        }
    };
    Some([(place..place, text), tag.followed_by(&[format!("do {CAPTURE}()")])?])
}

/// The name of a macro, where its parameters stand, and what they are.
fn signature<'s>(tag: &Tag<'s>) -> Option<(&'s str, Range<usize>, Vec<Parameter<'s>>)> {
    let mut tokens = tag.tokens();
    tokens.find(|(_, token)| *token == Token::Name("macro"))?;
    let Token::Name(name) = tokens.next()?.1 else { return None };
    let (begin, Token::Open('(')) = tokens.next()? else { return None };
    let mut parameters = Vec::new();
    let (mut depth, mut from) = (0usize, begin + 1);
    while let Some((at, token)) = tokens.next() {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close if depth > 0 => depth -= 1,
            Token::Close | Token::Other(',') if depth == 0 => {
                let written = tag.source[from..at].trim();
                from = tokens.at;
                if !written.is_empty() {
                    parameters.push(parameter(written)?);
                }
                if token == Token::Close {
                    return Some((name, begin..tokens.at, parameters));
                }
            }
            _ => {}
        }
    }
    None
}

fn parameter(written: &str) -> Option<Parameter<'_>> {
    let (name, default) = written.split_once('=').map_or((written, None), |(name, default)| (name, Some(default)));
    let name = name.trim();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty();
    is_name.then_some(Parameter { name, default: default.map(str::trim) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_and_raw_text_are_written_in_the_engines_words() {
        for (source, expected) in [
            (
                "{% macro m(a, b=[a, 1]) -%} x{% endmacro %}",
                "{% macro m(a, b) -%}{% set b = ([a, 1]) if b is _left_out else b -%} x{% endmacro %}{% set m = m | _macro(1) %}",
            ),
            (
                "{% macro m() %}{{ varargs }}{% endmacro -%}",
                "{% macro m(varargs) %}{{ varargs }}{% endmacro -%}{% set m = m | _macro(0) -%}",
            ),
            (
                "{% set x | upper -%} a {% endset %}{% set y = 1 %}",
                "{% set x  | _captured | upper -%}{% do _capture() -%} a {% endset %}{% set y = 1 %}",
            ),
            (
                "{% filter upper %}a{% endfilter %}{% set x -%}{% endset %}",
                "{% filter _captured | upper %}{% do _capture() %}a{% endfilter %}{% set x  | _captured -%}{% do _capture() -%}{% endset %}",
            ),
            ("{% raw %}\n{% macro %}{% endraw %}", "{% raw +%}\n{% macro %}{% endraw %}"),
        ] {
            assert_eq!(translated(source, &Delimiters::default()).as_deref(), Some(expected));
        }
        for source in ["{% macro m(* %}{% endmacro %}", "{% endmacro %}", "{% raw -%}{% endraw %}", "macro"] {
            assert_eq!(translated(source, &Delimiters::default()), None, "{source}");
        }
    }

    #[test]
    fn lines_may_be_statements() {
        let delimiters = Delimiters { line: Some("#".to_owned()), ..Delimiters::default() };
        assert_eq!(
            translated("# macro m(a=1)\nx # y\n  # endmacro\nz", &delimiters).as_deref(),
            Some(
                "# macro m(a)\n{% set a = (1) if a is _left_out else a +%}x # y\n  # endmacro\n{% set m = m | _macro(1) +%}z"
            )
        );
    }
}
