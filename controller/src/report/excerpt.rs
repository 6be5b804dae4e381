//! What stands above a failure, as in Ansible: what went wrong in one sentence, where the task was written, and its text.
//!
//! ```text
//! [ERROR]: Task failed: Module failed: non-zero return code
//! Origin: /srv/site.yml:12:7
//!
//! 10   tasks:
//! 11     - ping:
//! 12     - command: /bin/false
//!          ^ column 7
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustle_agent::module::short_name;
use rustle_protocol::{Map, Value};

use super::line::{Colour, Line};
use super::sanitize;
use crate::event::TaskOrigin;
use crate::plan::TaskPosition;

/// Distinct failures remembered, so that each is told once however many hosts have it. Past that one may come again.
const TOLD_MAX: usize = 1_000;
/// Lines of the file that are shown, the task's own included.
const LINES: u32 = 3;
/// Most of a file that is read for its lines, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What has been told above failures, each once.
#[derive(Default)]
pub(super) struct Excerpts {
    told: BTreeSet<String>,
}

impl Excerpts {
    /// The lines to print above a failure of the task, none if the same was told before.
    pub(super) fn of_failure(&mut self, origin: &TaskOrigin, module: &str, values: &Map) -> Vec<Line> {
        // An include that finds no file is told by its own line alone.
        if matches!(short_name(module), "include_tasks" | "include_role") {
            return Vec::new();
        }
        let headline = headline(origin, values);
        let key = format!("{}\n{headline}", origin.position);
        if self.told.contains(&key) {
            return Vec::new();
        }
        if self.told.len() < TOLD_MAX {
            self.told.insert(key);
        }
        shown(&headline, &origin.position)
    }
}

/// `Module failed: …` if the host's module says so, `Action failed: …` if the controller does.
fn headline(origin: &TaskOrigin, values: &Map) -> String {
    let judged = ["failed_when_result", "changed_when_result"].iter().any(|name| values.contains_key(*name));
    let who = if origin.on_controller || judged { "Action" } else { "Module" };
    let unreachable = values.get("unreachable") == Some(&Value::Bool(true));
    match said(values).trim_end() {
        "" => format!("Task failed: {who} failed."),
        said if said.starts_with("Task failed: ") => said.to_owned(),
        said if unreachable => format!("Task failed: {said}"),
        said => format!("Task failed: {who} failed: {said}"),
    }
}

fn said(values: &Map) -> Cow<'_, str> {
    match values.get("msg") {
        Some(Value::String(msg)) => Cow::Borrowed(msg),
        Some(msg) => Cow::Owned(msg.to_string()),
        None => Cow::Borrowed(""),
    }
}

fn shown(headline: &str, position: &TaskPosition) -> Vec<Line> {
    // What follows the first line is moved in, lest a host's words pass for a line of ours.
    let said = headline.lines().enumerate().map(|(n, line)| match n {
        0 => format!("[ERROR]: {line}"),
        _ => format!("    {line}"),
    });
    let mut lines: Vec<String> = said.collect();
    lines.push(format!("Origin: {position}"));
    lines.push(String::new());
    if let Some(above) = text_at(position) {
        lines.extend(above);
        lines.push(String::new());
    }
    lines.iter().map(|line| Line::coloured(line, Colour::Red)).collect()
}

/// The task's first line and the ones above it, each with its number, and a mark below. `None` if the file is not there, or
/// has become shorter since it was read.
fn text_at(position: &TaskPosition) -> Option<Vec<String>> {
    let first = position.line.saturating_sub(LINES - 1).max(1);
    let texts = read_lines(&position.file, first, position.line)?;
    let width = position.line.to_string().len();
    let numbered = (first..).zip(&texts).map(|(number, text)| {
        let text = sanitize::line(text.trim_end());
        format!("{number:>width$} {text}").trim_end().to_owned()
    });
    let before = width + position.column as usize;
    let mark = format!("{:before$}^ column {}", "", position.column);
    Some(numbered.chain([mark]).collect())
}

fn read_lines(path: &Path, first: u32, last: u32) -> Option<Vec<String>> {
    let reader = BufReader::new(File::open(path).ok()?.take(FILE_BYTES_MAX));
    let skipped = (first as usize).checked_sub(1)?;
    let wanted = (last - first) as usize + 1;
    let lines = reader.lines().skip(skipped).take(wanted).collect::<Result<Vec<_>, _>>().ok()?;
    (lines.len() == wanted).then_some(lines)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::script::{map, shown as text};

    fn origin(file: &Path, on_controller: bool) -> TaskOrigin {
        TaskOrigin { position: TaskPosition { file: Arc::from(file), line: 10, column: 7 }, on_controller }
    }

    fn playbook() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "---\n\n\n\n\n\n\n  tasks:\n\n    - command: /bin/false\n").unwrap();
        file
    }

    fn told(origin: &TaskOrigin, values: &[(&str, Value)]) -> String {
        let lines = Excerpts::default().of_failure(origin, "command", &map(values));
        text(&lines).replace(&origin.position.file.display().to_string(), "site.yml")
    }

    #[test]
    fn a_failure_is_told_with_the_tasks_own_text() {
        let file = playbook();
        insta::assert_snapshot!(told(&origin(file.path(), false), &[("msg", "non-zero return code".into())]), @r"
        [ERROR]: Task failed: Module failed: non-zero return code
        Origin: site.yml:10:7

         8   tasks:
         9
        10     - command: /bin/false
                 ^ column 7
        ");
    }

    #[test]
    fn it_says_who_found_the_failure() {
        let file = playbook();
        let (module, action) = (origin(file.path(), false), origin(file.path(), true));
        let first = |origin: &TaskOrigin, values: &[(&str, Value)]| {
            told(origin, values).lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first(&action, &[("msg", "told so".into())]), "[ERROR]: Task failed: Action failed: told so");
        assert_eq!(
            first(&module, &[("msg", "".into()), ("failed_when_result", true.into())]),
            "[ERROR]: Task failed: Action failed."
        );
        let undefined = "Task failed: 'nope' is undefined";
        assert_eq!(first(&module, &[("msg", undefined.into())]), format!("[ERROR]: {undefined}"));
        assert_eq!(
            first(&module, &[("msg", "no answer".into()), ("unreachable", true.into())]),
            "[ERROR]: Task failed: no answer"
        );
    }

    #[test]
    fn what_all_hosts_say_is_told_once() {
        let file = playbook();
        let mut excerpts = Excerpts::default();
        let mut lines =
            |msg: &str| excerpts.of_failure(&origin(file.path(), false), "command", &map(&[("msg", msg.into())])).len();
        assert!(lines("one") > 0);
        assert_eq!(lines("one"), 0);
        assert!(lines("another") > 0);
    }

    #[test]
    fn words_of_a_host_cannot_pass_for_lines_of_ours() {
        let file = playbook();
        let told = told(&origin(file.path(), false), &[("msg", "bad\nok: [web1]\n\u{1b}[2J".into())]);
        assert!(told.contains("\n    ok: [web1]\n"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn a_file_that_has_changed_is_not_quoted() {
        let file = playbook();
        let gone = TaskOrigin {
            position: TaskPosition { file: Arc::from(file.path()), line: 99, column: 3 },
            on_controller: false,
        };
        assert!(!told(&gone, &[("msg", "x".into())]).contains("column"));
    }
}
