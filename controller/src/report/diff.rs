//! Before and after as a unified diff, in Ansible's layout.

use std::ops::Range;

use rustle_protocol::Value;
use rustle_protocol::result::Diff;

use super::alignment::{Change, changes};
use super::json;
use super::line::{Colour, Line};

/// What ends a line; `\r\n` is one end.
const ENDS_OF_LINES: [char; 10] =
    ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// The lines of the diff with so many lines of context around each change, without a line end, header first. None if nothing
/// differs.
pub(super) fn unified(diff: &Diff, context: usize) -> Vec<String> {
    let (before, after) = (side_text(&diff.before), side_text(&diff.after));
    if before == after {
        return Vec::new();
    }
    let (old, new) = (split(&before), split(&after));
    let mut lines = vec![header("--- before", &diff.before_header), header("+++ after", &diff.after_header)];
    let text: String =
        hunks(&changes(&old, &new), context).into_iter().map(|hunk| shown_hunk(hunk, &old, &new, context)).collect();
    lines.extend(text.split_terminator('\n').map(str::to_owned));
    lines
}

/// The lines with their ends, where Python's `splitlines` ends them.
fn split(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(ENDS_OF_LINES) {
        let end_length =
            if rest[end..].starts_with("\r\n") { 2 } else { rest[end..].chars().next().map_or(0, char::len_utf8) };
        let (line, behind) = rest.split_at(end + end_length);
        lines.push(line);
        rest = behind;
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Changes that are shown together: between them are no more lines than the context of both.
fn hunks(changes: &[Change], context: usize) -> Vec<&[Change]> {
    changes.chunk_by(|one, next| next.old.start - one.old.end <= context.saturating_mul(2)).collect()
}

fn shown_hunk(hunk: &[Change], old: &[&str], new: &[&str], context: usize) -> String {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return String::new() };
    let before = first.old.start.min(context);
    let behind = (old.len() - last.old.end).min(context);
    let old_lines = first.old.start - before..last.old.end + behind;
    let new_lines = first.new.start - before..last.new.end + behind;
    let mut text = format!("@@ -{} +{} @@\n", numbers(&old_lines), numbers(&new_lines));
    let mut done = old_lines.start;
    for change in hunk {
        put(&mut text, ' ', &old[done..change.old.start]);
        put(&mut text, '-', &old[change.old.clone()]);
        put(&mut text, '+', &new[change.new.clone()]);
        done = change.old.end;
    }
    put(&mut text, ' ', &old[done..old_lines.end]);
    text
}

/// The first line and how many there are. Of none, the line before.
fn numbers(lines: &Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => (lines.start + 1).to_string(),
        length => format!("{},{length}", lines.start + 1),
    }
}

fn put(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with(ENDS_OF_LINES) {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// The diff as it is shown, and the empty line that ends it.
pub(super) fn shown(diff: &Diff, context: usize) -> Vec<Line> {
    let lines = unified(diff, context);
    let end = (!lines.is_empty()).then(Line::blank);
    lines.iter().map(|text| coloured(text)).chain(end).collect()
}

fn header(side: &str, name: &Option<String>) -> String {
    match name {
        Some(name) if !name.is_empty() => format!("{side}: {name}"),
        _ => side.to_owned(),
    }
}

/// Text as it is; anything else as JSON on lines of its own.
fn side_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => json::shown_ascii(other) + "\n",
    }
}

fn coloured(text: &str) -> Line {
    match text.as_bytes().first() {
        Some(b'+') => Line::coloured(text, Colour::DiffAdded),
        Some(b'-') => Line::coloured(text, Colour::DiffRemoved),
        Some(b'@') => Line::coloured(text, Colour::DiffPlace),
        _ => Line::new(text),
    }
}

#[cfg(test)]
mod tests {
    use rustle_protocol::Map;

    use super::*;

    fn text(before: impl Into<Value>, after: impl Into<Value>, name: Option<&str>) -> String {
        let name = name.map(str::to_owned);
        let diff = Diff { before: before.into(), after: after.into(), before_header: None, after_header: name };
        unified(&diff, 3).join("\n")
    }

    #[test]
    fn files_are_compared_by_lines() {
        insta::assert_snapshot!(text("one\ntwo\nthree", "one\n2\nthree\n", Some("/etc/motd")), @r"
        --- before
        +++ after: /etc/motd
        @@ -1,3 +1,3 @@
         one
        -two
        -three
        \ No newline at end of file
        +2
        +three
        ");
        insta::assert_snapshot!(text("", "a\nb", Some("/etc/new")), @r"
        --- before
        +++ after: /etc/new
        @@ -0,0 +1,2 @@
        +a
        +b
        \ No newline at end of file
        ");
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let shown = text("x\u{c}z\n", "y\r\nx\u{c}z\n", None);
        assert_eq!(shown, "--- before\n+++ after\n@@ -1,2 +1,3 @@\n+y\r\n x\u{c} z");
    }

    #[test]
    fn attributes_are_compared_as_json() {
        let side = |mode: &str| Map::from_iter([("path".to_owned(), "/x".into()), ("mode".to_owned(), mode.into())]);
        insta::assert_snapshot!(text(side("0644"), side("0600"), None), @r#"
        --- before
        +++ after
        @@ -1,4 +1,4 @@
         {
        -    "mode": "0644",
        +    "mode": "0600",
             "path": "/x"
         }
        "#);
    }

    #[test]
    fn equal_sides_have_no_diff() {
        assert_eq!(unified(&Diff::default(), 3), Vec::<String>::new());
        assert_eq!(shown(&Diff { before: "a".into(), after: "a".into(), ..Diff::default() }, 3), Vec::<Line>::new());
    }
}
