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
//!
//! Where the failure was met on the way to the task's work, in a template say, each step of the way is told with its place.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustle_agent::module::short_name;
use rustle_protocol::result::CAUSE;
use rustle_protocol::{Map, Value};

use super::line::{Colour, Line};
use super::sanitize;
use crate::event::FailedIn;
use crate::fault::Cause;
use crate::origin::Origin;
use crate::template::python_text;

/// Distinct failures remembered, so that each is told once however many hosts have it. Past that one may come again.
const TOLD_MAX: usize = 1_000;
/// Characters of a line that are shown.
const COLUMNS_MAX: usize = 120;
/// Lines of the file that are shown, the task's own included.
const LINES: u32 = 3;
/// Most of a file that is read for its lines, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Stands between the places of a failure.
const CAUSED_BY: &str = "<<< caused by >>>";

/// Begins what a result says in which nothing came to its work, as Ansible words it.
const TASK_FAILED: &str = "Task failed: ";

/// What has been told above failures, each once.
#[derive(Default)]
pub(super) struct Excerpts {
    told: BTreeSet<String>,
}

impl Excerpts {
    /// The lines to print above a failure of the task, none if the same was told before.
    pub(super) fn of_failure(
        &mut self,
        origin: &Origin,
        module: &str,
        failed_in: FailedIn,
        values: &Map,
        causes: &[Cause],
    ) -> Vec<Line> {
        let headline = match short_name(module) {
            "include_tasks" | "include_role" if causes.is_empty() => match absence(values) {
                Some(said) => said,
                // What it found and cannot understand is told by its own line alone.
                None => return Vec::new(),
            },
            _ => match causes {
                [only] => only.message.clone(),
                causes if is_told_alone(causes) => said(values).into_owned(),
                _ => headline(failed_in, values),
            },
        };
        let key = format!("{origin}\n{headline}");
        if self.told.contains(&key) {
            return Vec::new();
        }
        if self.told.len() < TOLD_MAX {
            self.told.insert(key);
        }
        match short_name(module) {
            // As in Ansible, which does not say where.
            "include_tasks" if causes.is_empty() => {
                told(&headline).into_iter().chain(headline.contains('\n').then(String::new)).map(red).collect()
            }
            _ => shown(&headline, &steps(origin, causes)),
        }
    }
}

/// What Ansible says of something that an include did not find.
fn absence(values: &Map) -> Option<String> {
    let reason = values.get("reason").filter(|reason| values.get("msg") != Some(reason))?;
    Some(reason.as_str()?.to_owned())
}

/// `Module failed: …` if the host's module says so, `Action failed: …` if the controller does.
fn headline(failed_in: FailedIn, values: &Map) -> String {
    let who = match failed_in {
        FailedIn::Task => None,
        FailedIn::Action => Some("Action failed"),
        FailedIn::Module => Some("Module failed"),
    };
    match (&*said(values), who) {
        (said, _) if said.starts_with(TASK_FAILED) => said.to_owned(),
        ("", who) => format!("{TASK_FAILED}{}.", who.unwrap_or("no reason was given")),
        (said, Some(who)) => format!("{TASK_FAILED}{who}: {said}"),
        (said, None) => format!("{TASK_FAILED}{said}"),
    }
}

/// Whether a result with this in it came from the task's work, and not from words of the task that mean nothing.
pub(super) fn is_of_its_work(failed_in: Option<FailedIn>, values: &Map) -> bool {
    failed_in != Some(FailedIn::Task) && !said(values).starts_with(TASK_FAILED)
}

fn said(values: &Map) -> Cow<'_, str> {
    let cause = values.get(CAUSE).and_then(Value::as_str);
    match (values.get("msg"), cause) {
        (Some(Value::String(msg)), Some(cause)) => Cow::Owned(format!("{}: {cause}", msg.trim_end_matches('.'))),
        (Some(Value::String(msg)), None) => Cow::Borrowed(msg),
        (Some(msg), _) => Cow::Owned(python_text(msg)),
        // As Ansible says it of a result that is withheld.
        (None, _) => Cow::Borrowed("Unknown error."),
    }
}

fn told(headline: &str) -> Vec<String> {
    moved_in(&format!("[ERROR]: {headline}"), "")
}

/// What follows the first line is moved in, lest a host's words pass for a line of ours.
fn moved_in(said: &str, end: &str) -> Vec<String> {
    let mut lines: Vec<String> = said
        .split('\n')
        .enumerate()
        .map(|(n, line)| if n == 0 || line.is_empty() { line.to_owned() } else { format!("    {line}") })
        .collect();
    lines.last_mut().into_iter().for_each(|last| last.push_str(end));
    lines
}

/// What is told of one place.
struct Step<'a> {
    said: String,
    origin: &'a Origin,
    help: Option<&'a str>,
}

/// A failure of the task at `origin`, place by place: what was met at the same place is one step.
/// Whether a failure is told without the task that it kept from its work: its first step has a place of its own.
fn is_told_alone(causes: &[Cause]) -> bool {
    causes.first().is_some_and(|first| first.origin.is_some())
}

fn steps<'a>(origin: &'a Origin, causes: &'a [Cause]) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    if !is_told_alone(causes) {
        steps.push(Step { said: String::new(), origin, help: None });
    }
    for cause in causes {
        let is_elsewhere = |origin: &Origin| steps.last().is_none_or(|last| origin != last.origin);
        if let Some(origin) = cause.origin.as_ref().filter(|origin| is_elsewhere(origin)) {
            steps.push(Step { said: cause.message.clone(), origin, help: cause.help.as_deref() });
            continue;
        }
        let Some(last) = steps.last_mut() else { continue };
        last.said = match last.said.is_empty() {
            true => cause.message.clone(),
            false => format!("{}: {}", last.said, cause.message),
        };
        last.help = cause.help.as_deref().or(last.help);
    }
    steps
}

fn shown(headline: &str, steps: &[Step<'_>]) -> Vec<Line> {
    let mut lines = told(headline);
    for (number, step) in steps.iter().enumerate() {
        if number > 0 {
            lines.extend([CAUSED_BY.to_owned(), String::new()]);
        }
        if steps.len() > 1 {
            let is_last = number + 1 == steps.len();
            lines.extend((number == 0).then(String::new));
            lines.extend(moved_in(&step.said, if is_last { "" } else { "." }));
        }
        lines.push(format!("Origin: {}", step.origin));
        lines.push(String::new());
        if let Some(above) = text_at(step.origin) {
            lines.extend(above);
            lines.push(String::new());
        }
        if let Some(help) = step.help {
            lines.extend([help.to_owned(), String::new()]);
        }
    }
    lines.into_iter().map(red).collect()
}

fn red(line: String) -> Line {
    Line::coloured(&line, Colour::Error)
}

/// The line of a place and the ones above it, each with its number, and a mark below. What is in no file is told itself. `None` if the place is in no line, or the
/// file is not there or has become shorter since it was read.
fn text_at(position: &Origin) -> Option<Vec<String>> {
    if let Some(text) = &position.text {
        return Some(text.lines().map(|line| cut(sanitize::line(line).into_owned())).collect());
    }
    let line = position.line?;
    let first = line.saturating_sub(LINES - 1).max(1);
    let texts = read_lines(&position.file, first, line)?;
    let width = line.to_string().len();
    let numbered = (first..).zip(&texts).map(|(number, text)| {
        let number = format!("{number:>width$}");
        if text.is_empty() { number } else { cut(format!("{number} {}", sanitize::line(text))) }
    });
    let mark = match position.column {
        Some(column) => format!("{:before$}^ column {column}", "", before = width + column as usize),
        None => under(texts.last().map_or("", String::as_str), width + 1),
    };
    Some(numbered.chain([mark]).collect())
}

/// Marks below a line, behind `before` columns, that is meant as a whole.
fn under(line: &str, before: usize) -> String {
    let width = line.chars().count().min(COLUMNS_MAX - before);
    format!("{:before$}{}", "", "^".repeat(width))
}

/// At Ansible's width.
fn cut(line: String) -> String {
    match line.char_indices().nth(COLUMNS_MAX) {
        None => line,
        Some(_) => line.chars().take(COLUMNS_MAX - 3).chain("...".chars()).collect(),
    }
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

    fn origin(file: &Path) -> Origin {
        Origin { file: Arc::from(file), line: Some(10), column: Some(7), text: None }
    }

    fn playbook() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "---\n\n\n\n\n\n\n  tasks:\n\n    - command: /bin/false\n").unwrap();
        file
    }

    fn told_of(origin: &Origin, failed_in: FailedIn, msg: &str) -> String {
        let lines = Excerpts::default().of_failure(origin, "command", failed_in, &map(&[("msg", msg.into())]), &[]);
        text(&lines).replace(&origin.file.display().to_string(), "site.yml")
    }

    #[test]
    fn a_failure_is_told_with_the_tasks_own_text() {
        let file = playbook();
        insta::assert_snapshot!(told_of(&origin(file.path()), FailedIn::Module, "non-zero return code"), @r"
        [ERROR]: Task failed: Module failed: non-zero return code
        Origin: site.yml:10:7

         8   tasks:
         9
        10     - command: /bin/false
                 ^ column 7
        ");
    }

    #[test]
    fn it_says_where_the_failure_came_about() {
        let file = playbook();
        let first = |failed_in, msg: &str| {
            told_of(&origin(file.path()), failed_in, msg).lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first(FailedIn::Action, "told so"), "[ERROR]: Task failed: Action failed: told so");
        assert_eq!(first(FailedIn::Module, ""), "[ERROR]: Task failed: Module failed.");
        assert_eq!(first(FailedIn::Task, "no answer"), "[ERROR]: Task failed: no answer");
        let undefined = "Task failed: 'nope' is undefined";
        assert_eq!(first(FailedIn::Task, undefined), format!("[ERROR]: {undefined}"));
    }

    #[test]
    fn what_a_failure_came_from_is_told_behind_it() {
        let values = map(&[("msg", "Error executing command.".into()), (CAUSE, "[Errno 2] No such file".into())]);
        let told = headline(FailedIn::Module, &values);
        assert_eq!(told, "Task failed: Module failed: Error executing command: [Errno 2] No such file");
    }

    #[test]
    fn what_is_wrong_with_one_text_is_told_with_its_place_and_what_helps() {
        let (file, task) = (playbook(), Path::new("never/read.yml"));
        for origin in [Some(origin(file.path())), None] {
            let is_known = origin.is_some();
            let cause = Cause { message: "no list".to_owned(), origin, help: Some("Write one.".to_owned()) };
            let values = map(&[("msg", "no list".into())]);
            let lines = Excerpts::default().of_failure(&self::origin(task), "ping", FailedIn::Task, &values, &[cause]);
            let lines = text(&lines).replace(&file.path().display().to_string(), "site.yml");
            let place = if is_known { "site.yml:10:7" } else { "never/read.yml:10:7" };
            assert!(lines.starts_with(&format!("[ERROR]: no list\nOrigin: {place}\n")), "{lines}");
            assert!(lines.trim_end().ends_with("\n\nWrite one.") && !lines.contains("Task failed"), "{lines}");
        }
    }

    #[test]
    fn what_all_hosts_say_is_told_once() {
        let file = playbook();
        let mut excerpts = Excerpts::default();
        let mut lines = |msg: &str| {
            excerpts
                .of_failure(&origin(file.path()), "command", FailedIn::Module, &map(&[("msg", msg.into())]), &[])
                .len()
        };
        assert!(lines("one") > 0);
        assert_eq!(lines("one"), 0);
        assert!(lines("another") > 0);
    }

    #[test]
    fn words_of_a_host_cannot_pass_for_lines_of_ours() {
        let file = playbook();
        let told = told_of(&origin(file.path()), FailedIn::Module, "bad\nok: [web1]\n\u{1b}[2J");
        assert!(told.contains("\n    ok: [web1]\n"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn a_file_that_has_changed_is_not_quoted() {
        let file = playbook();
        let gone = Origin { line: Some(99), ..origin(file.path()) };
        assert!(!told_of(&gone, FailedIn::Module, "x").contains("column"));
    }
}
