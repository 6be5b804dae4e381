//! Filters on text: quoting, comments, replacing, splitting.

use minijinja::value::{Tuple, Value};
use minijinja::{Environment, Error};

use super::operators::class;
use super::params::{Args, Filter, Params, add_filters, entries, named, plain, undefined_among};
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
            Filter("wordwrap", &["width", "break_long_words", "wrapstring"], word_wrap),
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
    let width = usize::try_from(params.int("width", 79)?).unwrap_or(1).max(1);
    let wrap = params.text("wrapstring", "\n");
    let text = python::text(value);
    let lines: Vec<String> =
        text.lines().map(|line| wrap_line(line, width, params.flag("break_long_words", true)).join(&wrap)).collect();
    Ok(Value::from(lines.join(&wrap)))
}

fn wrap_line(line: &str, width: usize, break_long: bool) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let mut word = word.to_owned();
        while break_long && word.chars().count() > width {
            let head: String = word.chars().take(width).collect();
            word = word.chars().skip(width).collect();
            lines.push(head);
        }
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            *last = word;
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push_str(&format!(" {word}"));
        } else {
            lines.push(word);
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
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
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// A dict as attributes of an element; what is `None` is left out.
fn xml_attributes(value: &Value, params: &Params) -> Result<Value, Error> {
    let given = entries(value)?.into_iter().filter(|(_, value)| !value.is_none());
    let attributes: Vec<String> = given
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
