//! Filters on text: quoting, comments, replacing, splitting.

use minijinja::value::{Tuple, Value};
use minijinja::{Environment, Error};

use super::operators::class;
use super::params::{Args, Filter, Params, add_filters, defined, entries, named, plain, undefined_among};
use super::percent;
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("quote", &[], |value, _| {
                Ok(Value::from(if value.is_none() { "''".to_owned() } else { shell_quote(&python::text(value)) }))
            }),
            Filter(
                "comment",
                &[
                    "style",
                    "newline",
                    "decoration",
                    "beginning",
                    "prefix",
                    "prefix_count",
                    "postfix",
                    "postfix_count",
                    "end",
                ],
                comment,
            ),
            Filter("replace", &["old", "new", "count"], replace),
            Filter("split", &["sep", "maxsplit"], split),
            Filter("trim", &["chars"], |value, params| {
                let text = python::text(value);
                let chars: Vec<char> = params.text("chars", " \t\n\r\x0b\x0c").chars().collect();
                Ok(Value::from(text.trim_matches(&chars[..])))
            }),
            Filter("wordcount", &[], |value, _| {
                Ok(Value::from(
                    python::text(value)
                        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                        .filter(|word| !word.is_empty())
                        .count(),
                ))
            }),
            Filter("truncate", &["length", "killwords", "end", "leeway"], truncate),
            Filter("wordwrap", &["width", "break_long_words", "wrapstring", "break_on_hyphens"], word_wrap),
            Filter("indent", &["width", "first", "blank"], indent),
            Filter("center", &["width"], |value, params| {
                Ok(Value::from(center(&python::text(value), params.int("width", 80)?, " ")))
            }),
            Filter("striptags", &[], |value, _| Ok(Value::from(strip_tags(&python::text(value))))),
            Filter("escape", &[], |value, _| Ok(Value::from(escape_html(&python::text(value))))),
            Filter("e", &[], |value, _| Ok(Value::from(escape_html(&python::text(value))))),
            Filter("forceescape", &[], |value, _| Ok(Value::from(escape_html(&python::text(value))))),
            Filter("xmlattr", &["autospace"], xml_attributes),
        ],
    );
    for name in ["format", "ansible.builtin.format"] {
        env.add_filter(name, |value: &Value, args: Args| format_filter(value, &plain(args)));
    }
}

fn shell_quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn comment(value: &Value, params: &Params) -> Result<Value, Error> {
    let (beginning, decoration, end) = match params.text("style", "plain").as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(failed(format!("Invalid style '{other}'."))),
    };
    let newline = params.text("newline", "\n");
    let decoration = params.text("decoration", decoration);
    let beginning = params.text("beginning", beginning);
    let end = params.text("end", end);
    let stripped = decoration.trim_end().to_owned();
    let repeated = |name: &str, count: &str| -> Result<Vec<String>, Error> {
        let text = params.text(name, &stripped);
        let count = usize::try_from(params.int(count, 1)?).unwrap_or(0).min(1000);
        Ok(vec![text; count])
    };
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&format!("{beginning}{newline}"));
    }
    let (prefix, postfix) = (repeated("prefix", "prefix_count")?, repeated("postfix", "postfix_count")?);
    for line in prefix.iter().filter(|line| !line.is_empty()) {
        out.push_str(line);
        // Where it is a line's end, that is all of an empty line.
        if *line != newline {
            out.push_str(&newline);
        }
    }
    let text = python::text(value);
    let mut lines = text.split(newline.as_str()).peekable();
    while let Some(line) = lines.next() {
        // An empty line gets no trailing blank, but for the last one.
        out.push_str(if line.is_empty() && lines.peek().is_some() { &stripped } else { &decoration });
        out.push_str(line);
        if lines.peek().is_some() {
            out.push_str(&newline);
        }
    }
    out.push_str(&newline);
    out.push_str(&postfix.join(&newline));
    if !end.is_empty() {
        out.push_str(&format!("{newline}{end}"));
    }
    Ok(Value::from(out))
}

fn replace(value: &Value, params: &Params) -> Result<Value, Error> {
    let (text, old, new) = (python::text(value), python::text(params.need("old")?), python::text(params.need("new")?));
    Ok(Value::from(match usize::try_from(params.int("count", -1)?) {
        Ok(count) => text.replacen(&old, &new, count),
        Err(_) => text.replace(&old, &new),
    }))
}

fn split(value: &Value, params: &Params) -> Result<Value, Error> {
    if value.as_str().is_none() {
        let kind = class(value);
        return Err(failed(format!("descriptor 'split' for 'str' objects doesn't apply to a '{kind}' object")));
    }
    let text = python::text(value);
    let separator = params.get("sep").filter(|sep| !sep.is_none()).map(python::text);
    Ok(Value::from(split_text(&text, separator.as_deref(), params.int("maxsplit", -1)?)?))
}

/// As `str.split`: without a separator at runs of white space.
pub(super) fn split_text(text: &str, separator: Option<&str>, maxsplit: i64) -> Result<Vec<String>, Error> {
    let limit = usize::try_from(maxsplit).ok().map(|splits| splits + 1);
    Ok(match (separator, limit) {
        (Some(""), _) => return Err(failed("empty separator")),
        (Some(separator), None) => text.split(separator).map(str::to_owned).collect(),
        (Some(separator), Some(limit)) => text.splitn(limit, separator).map(str::to_owned).collect(),
        (None, None) => text.split_whitespace().map(str::to_owned).collect(),
        (None, Some(limit)) => {
            let mut rest = text.trim_start();
            let mut out = Vec::new();
            while !rest.is_empty() && out.len() + 1 < limit {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                out.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
            }
            if !rest.is_empty() {
                out.push(rest.to_owned());
            }
            out
        }
    })
}

fn truncate(value: &Value, params: &Params) -> Result<Value, Error> {
    let text = python::text(value);
    let length = usize::try_from(params.int("length", 255)?).unwrap_or(0);
    let leeway = usize::try_from(params.int("leeway", 5)?).unwrap_or(0);
    let end = params.text("end", "...");
    if length < end.chars().count() {
        return Err(failed(format!("expected length >= {}, got {length}", end.chars().count())));
    }
    if text.chars().count() <= length + leeway {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = if params.flag("killwords", false) {
        &kept
    } else {
        kept.rsplit_once(' ').map_or(kept.as_str(), |(head, _)| head)
    };
    Ok(Value::from(format!("{kept}{end}")))
}

fn word_wrap(value: &Value, params: &Params) -> Result<Value, Error> {
    let wrapping = Wrapping {
        width: usize::try_from(params.int("width", 79)?).unwrap_or(1).max(1),
        breaks_words: params.flag("break_long_words", true),
        breaks_at_hyphens: params.flag("break_on_hyphens", true),
    };
    let newline = params.text("wrapstring", "\n");
    let text = python::text(value);
    let lines: Vec<String> = text.lines().map(|line| wrapping.lines(line).join(&newline)).collect();
    Ok(Value::from(lines.join(&newline)))
}

/// How Python's `textwrap` breaks a line.
struct Wrapping {
    width: usize,
    breaks_words: bool,
    breaks_at_hyphens: bool,
}

impl Wrapping {
    fn lines(&self, line: &str) -> Vec<String> {
        let mut pieces = self.pieces(line);
        pieces.reverse();
        let mut lines: Vec<String> = Vec::new();
        while let Some(next) = pieces.last() {
            if !lines.is_empty() && next.trim().is_empty() {
                pieces.pop();
                continue;
            }
            let line = self.line(&mut pieces);
            if !line.is_empty() {
                lines.push(line);
            }
        }
        lines
    }

    /// The next line of what is left, the next piece last.
    fn line(&self, pieces: &mut Vec<String>) -> String {
        let (mut line, mut len) = (Vec::new(), 0);
        while let Some(piece) = pieces.pop_if(|piece| len + piece.chars().count() <= self.width) {
            len += piece.chars().count();
            line.push(piece);
        }
        if let Some(long) = pieces.pop_if(|piece| piece.chars().count() > self.width) {
            if self.breaks_words {
                let (head, rest) = self.broken(&long, self.width - len);
                line.push(head);
                pieces.push(rest);
            } else if line.is_empty() {
                line.push(long);
            } else {
                pieces.push(long);
            }
        }
        if line.last().is_some_and(|last| last.trim().is_empty()) {
            line.pop();
        }
        line.concat()
    }

    /// A long word's beginning, for which there is so much space, and its rest.
    fn broken(&self, word: &str, space: usize) -> (String, String) {
        let signs: Vec<char> = word.chars().collect();
        let hyphen = signs[..space].iter().rposition(|sign| *sign == '-');
        let at_hyphen = hyphen.filter(|at| self.breaks_at_hyphens && signs[..*at].iter().any(|sign| *sign != '-'));
        let (head, rest) = signs.split_at(at_hyphen.map_or(space, |at| at + 1));
        (head.iter().collect(), rest.iter().collect())
    }

    /// Words, blanks, and parts of words that end with a hyphen.
    fn pieces(&self, line: &str) -> Vec<String> {
        let signs: Vec<char> = line.chars().collect();
        let mut pieces: Vec<String> = Vec::new();
        for (at, sign) in signs.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| signs[before]);
            let begins = before.is_none_or(|before| {
                let is_between_letters = at >= 2 && signs[at - 2].is_alphabetic() && sign.is_alphabetic();
                before.is_whitespace() != sign.is_whitespace()
                    || (self.breaks_at_hyphens && before == '-' && is_between_letters)
            });
            match pieces.last_mut().filter(|_| !begins) {
                Some(piece) => piece.push(*sign),
                None => pieces.push(sign.to_string()),
            }
        }
        pieces
    }
}

/// As `str.center`: an odd blank goes left when the width is odd, right otherwise.
pub(super) fn center(text: &str, width: i64, fill: &str) -> String {
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    let left = missing / 2 + (missing & usize::try_from(width).unwrap_or(0) & 1);
    format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left))
}

fn indent(value: &Value, params: &Params) -> Result<Value, Error> {
    let blanks = match params.get("width") {
        Some(width) if width.as_str().is_some() => python::text(width),
        _ => " ".repeat(usize::try_from(params.int("width", 4)?).unwrap_or(0).min(1000)),
    };
    let (first, blank) = (params.flag("first", false), params.flag("blank", false));
    let text = python::text(value);
    let indented = text.split('\n').enumerate().map(|(index, line)| {
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        if wanted { format!("{blanks}{line}") } else { line.to_owned() }
    });
    Ok(Value::from(indented.collect::<Vec<_>>().join("\n")))
}

fn strip_tags(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let Some(end) = rest[at..].find('>') else { break };
        out.push_str(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    let text = out.split_whitespace().collect::<Vec<_>>().join(" ");
    ENTITIES.iter().fold(text, |text, (entity, sign)| text.replace(entity, sign))
}

/// What text without tags has signs for; the one that all begin with is last.
const ENTITIES: &[(&str, &str)] = &[
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&nbsp;", "\u{a0}"),
    ("&amp;", "&"),
];

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// A dict as attributes of an element; what is `None` is left out.
fn xml_attributes(value: &Value, params: &Params) -> Result<Value, Error> {
    let given: Vec<_> = entries(value)?.into_iter().filter(|(_, value)| !value.is_none()).collect();
    for (key, value) in &given {
        defined(value)?;
        let key = python::text(key);
        if key.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
            return Err(failed(format!("Invalid character in attribute name: {}", python::repr(&Value::from(key)))));
        }
    }
    let attributes: Vec<String> = given
        .into_iter()
        .map(|(key, value)| format!("{}=\"{}\"", escape_html(&python::text(&key)), escape_html(&python::text(&value))))
        .collect();
    let space = if params.flag("autospace", true) && !attributes.is_empty() { " " } else { "" };
    Ok(Value::from(format!("{space}{}", attributes.join(" "))))
}

/// `%` formatting, with values by position or by name.
fn format_filter(value: &Value, args: &[Value]) -> Result<Value, Error> {
    if let Some(undefined) = undefined_among(std::slice::from_ref(value), args) {
        return Ok(undefined);
    }
    let (by_name, positional) = match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => (Some(last), positional),
        _ => (None, args),
    };
    let result = match (by_name, positional) {
        (Some(_), [_, ..]) => Err(failed("can't handle positional and keyword arguments at the same time")),
        (Some(by_name), []) => percent::format(&python::text(value), by_name),
        (None, positional) => percent::format(&python::text(value), &Value::from(Tuple::from(positional.to_vec()))),
    };
    result.map(Value::from).map_err(|error| named("filter", "format", error))
}
