//! Before and after as a unified diff, in Ansible's layout.

use rustle_protocol::Value;
use rustle_protocol::result::Diff;
use similar::TextDiff;

use super::json;
use super::line::{Colour, Line};

/// Lines of context around a change.
const CONTEXT_LINES: usize = 3;

/// The lines of the diff, without a line end, header first. None if nothing differs.
pub(super) fn unified(diff: &Diff) -> Vec<String> {
    let (before, after) = (side_text(&diff.before), side_text(&diff.after));
    if before == after {
        return Vec::new();
    }
    let text = TextDiff::from_lines(before.as_str(), after.as_str());
    let hunks = text.unified_diff().context_radius(CONTEXT_LINES).to_string();
    let mut lines = vec![header("--- before", &diff.before_header), header("+++ after", &diff.after_header)];
    lines.extend(hunks.split_terminator('\n').map(str::to_owned));
    lines
}

/// The diff as it is shown, and the empty line that ends it.
pub(super) fn shown(diff: &Diff) -> Vec<Line> {
    let lines = unified(diff);
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
        other => json::shown_pretty(other) + "\n",
    }
}

fn coloured(text: &str) -> Line {
    match text.as_bytes().first() {
        Some(b'+') => Line::coloured(text, Colour::Green),
        Some(b'-') => Line::coloured(text, Colour::Red),
        Some(b'@') => Line::coloured(text, Colour::Cyan),
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
        unified(&diff).join("\n")
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
        assert_eq!(unified(&Diff::default()), Vec::<String>::new());
        assert_eq!(shown(&Diff { before: "a".into(), after: "a".into(), ..Diff::default() }), Vec::<Line>::new());
    }
}
