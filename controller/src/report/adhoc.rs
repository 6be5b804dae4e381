//! One module on many hosts: each host's answer as it comes, in Ansible's ad-hoc layouts. Output of commands is shown as
//! it is, everything else as JSON.

use std::io;

use rustle_agent::module::short_name;
use rustle_protocol::Value;

use super::layout::{self, Layout};
use super::line::{Colour, Line};
use super::plain::Console;
use super::values::Showing;
use super::{Reporter, sanitize, values};
use crate::event::{RunEvent, Stamped, TaskResult, TaskStatus};

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// On as many lines as it takes.
    Long,
    /// `--one-line`
    OneLine,
}

/// Answers, and no banners.
pub(super) struct Adhoc {
    console: Console,
    layout: Layout,
    answers: Answers,
}

impl Adhoc {
    /// `layout` has the words for what is no answer: warnings, a status.
    pub(super) fn new(console: Console, layout: Layout, answers: Answers) -> Adhoc {
        Adhoc { console, layout, answers }
    }

    fn lines(&mut self, event: &Stamped) -> Vec<Line> {
        match &event.event {
            RunEvent::HostFinished(result) if result.is_word_to_the_run() => Vec::new(),
            RunEvent::HostFinished(result) => {
                let mut lines = self.layout.warnings(&result.warnings);
                match self.answers {
                    Answers::Long => lines.extend(self.answer(result)),
                    Answers::OneLine => lines.push(short_answer(result)),
                }
                lines
            }
            RunEvent::Output { task, bytes, .. } if self.layout.is_pause(*task) => layout::lines_of_pause(bytes),
            RunEvent::Warning { .. }
            | RunEvent::Status(_)
            | RunEvent::Cancelling { .. }
            | RunEvent::Retrying { .. } => self.layout.lines(event),
            // What it is called is known from its beginning.
            _ => {
                self.layout.recall(event);
                Vec::new()
            }
        }
    }
}

impl Adhoc {
    fn answer(&self, result: &TaskResult) -> Vec<Line> {
        let diffs = match result.status {
            TaskStatus::Changed => self.layout.diffs(true, &result.diff),
            _ => Vec::new(),
        };
        diffs.into_iter().chain(answer(result, self.layout.showing())).collect()
    }
}

impl Reporter for Adhoc {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        let lines = self.lines(event);
        self.console.write(&lines)
    }

    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        drop(self.layout.lines(event));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answer(result: &TaskResult, showing: Showing) -> Vec<Line> {
    let (word, colour) = word(result.status);
    let host = &result.host;
    if result.status == TaskStatus::Skipped {
        return vec![Line::coloured(&format!("{host} | {word}"), colour)];
    }
    if is_output(result) {
        let mut lines = Vec::new();
        let word = word.trim_end_matches('!');
        lines.push(Line::coloured(&format!("{host} | {word} | rc={} >>", return_code(result)), colour));
        let output: Vec<String> = [text(result, "stdout"), text(result, "stderr"), text(result, "msg")]
            .iter()
            .filter(|text| !text.is_empty())
            .flat_map(|text| sanitize::lines(text).map(|line| line.to_string()).collect::<Vec<_>>())
            .collect();
        // Where nothing was written there is an empty line, and behind output that ends its last line, as that of `raw` does.
        let ends_its_line = text(result, "stdout").ends_with('\n') && result.status == TaskStatus::Changed;
        let output = if output.is_empty() || ends_its_line { [output, vec![String::new()]].concat() } else { output };
        lines.extend(output.iter().map(|line| Line::coloured(line, colour)));
        return lines;
    }
    let text = format!("{host} | {word} => {}", values::of_answer(&result.module, &result.values, showing));
    text.lines().map(|line| Line::coloured(line, colour)).collect()
}

fn short_answer(result: &TaskResult) -> Line {
    let (word, colour) = word(result.status);
    let host = &result.host;
    let text = match result.status {
        TaskStatus::Skipped => format!("{host} | {word}"),
        TaskStatus::Unreachable => format!("{host} | {word}: {}", result.msg()),
        _ if is_output(result) => {
            let (word, rc) = (word.trim_end_matches('!'), return_code(result));
            let mut text = format!("{host} | {word} | rc={rc} | (stdout) {}", text(result, "stdout"));
            let stderr = self::text(result, "stderr");
            if !stderr.is_empty() {
                text += &format!(" (stderr) {stderr}");
            }
            text.replace('\n', "\\n").replace('\r', "\\r")
        }
        _ => format!("{host} | {word} => {}", values::of_short_answer(&result.module, &result.values)),
    };
    Line::coloured(&sanitize::lines(&text).collect::<Vec<_>>().join("\\n"), colour)
}

/// Whether what a command wrote is all there is to say. A job in the background is more than that.
fn is_output(result: &TaskResult) -> bool {
    let says = |name| result.values.contains_key(name);
    matches!(short_name(&result.module), "command" | "shell" | "raw") && !says("ansible_job_id") && !says("censored")
}

/// -1 for a command that was never begun, as in Ansible.
fn return_code(result: &TaskResult) -> i64 {
    match result.values.get("rc") {
        Some(Value::Int(rc)) => *rc,
        _ => -1,
    }
}

fn word(status: TaskStatus) -> (&'static str, Colour) {
    match status {
        TaskStatus::Ok => ("SUCCESS", Colour::Ok),
        TaskStatus::Changed => ("CHANGED", Colour::Changed),
        TaskStatus::Skipped => ("SKIPPED", Colour::Skipped),
        TaskStatus::Failed | TaskStatus::TimedOut => ("FAILED!", Colour::Error),
        TaskStatus::Cancelled => ("CANCELLED!", Colour::Error),
        TaskStatus::Unreachable => ("UNREACHABLE!", Colour::Unreachable),
    }
}

fn text(result: &TaskResult, name: &str) -> String {
    match result.values.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::script::{Script, host, map, shown};
    use super::*;

    fn answers(module: &str, status: TaskStatus, values: &[(&str, Value)]) -> String {
        shown(&answer(&finished(module, status, values), Showing::default()))
    }

    fn short(module: &str, status: TaskStatus, values: &[(&str, Value)]) -> String {
        shown(&[short_answer(&finished(module, status, values))])
    }

    fn finished(module: &str, status: TaskStatus, values: &[(&str, Value)]) -> Arc<TaskResult> {
        let mut script = Script::new(["web1"]);
        let task = script.task("adhoc", module);
        script.finish_with(task, "web1", status, |result| result.values = map(values));
        let last = script.events.last().expect("one was pushed").event.clone();
        let RunEvent::HostFinished(result) = last else { panic!("a host has finished") };
        assert_eq!(result.host, host("web1"));
        result
    }

    #[test]
    fn output_of_a_command_is_shown_as_it_is() {
        let values = [("rc", 0.into()), ("stdout", "one\ntwo".into()), ("stderr", "".into())];
        assert_eq!(answers("command", TaskStatus::Changed, &values), "web1 | CHANGED | rc=0 >>\none\ntwo");
    }

    #[test]
    fn a_failed_command_says_why() {
        let values =
            [("rc", 1.into()), ("stdout", "".into()), ("stderr", "no".into()), ("msg", "non-zero return code".into())];
        assert_eq!(
            answers("command", TaskStatus::Failed, &values),
            "web1 | FAILED | rc=1 >>\nno\nnon-zero return code"
        );
    }

    #[test]
    fn any_other_answer_is_json() {
        let values = [("changed", false.into()), ("ping", "pong".into())];
        let expected = "web1 | SUCCESS => {\n    \"changed\": false,\n    \"ping\": \"pong\"\n}";
        assert_eq!(answers("ping", TaskStatus::Ok, &values), expected);
    }

    #[test]
    fn escape_sequences_in_output_are_shown_and_not_obeyed() {
        let values = [("rc", 0.into()), ("stdout", "a\u{1b}]52;c;x\u{7}".into())];
        assert!(!answers("command", TaskStatus::Ok, &values).contains('\u{1b}'));
    }

    #[test]
    fn a_command_that_wrote_nothing_has_an_empty_line_and_one_that_was_skipped_none() {
        let values = [("rc", 0.into()), ("stdout", "".into()), ("stderr", "".into()), ("msg", "".into())];
        assert_eq!(answer(&finished("shell", TaskStatus::Changed, &values), Showing::default()).len(), 2);
        assert_eq!(answers("shell", TaskStatus::Skipped, &values), "web1 | SKIPPED");
    }

    #[test]
    fn output_of_a_script_and_a_job_in_the_background_are_json() {
        let values = [("rc", 0.into()), ("stdout", "x".into()), ("ansible_job_id", "j1.1".into())];
        assert!(answers("command", TaskStatus::Changed, &values).starts_with("web1 | CHANGED => {\n"));
        assert!(answers("script", TaskStatus::Changed, &values[..2]).starts_with("web1 | CHANGED => {\n"));
    }

    #[test]
    fn a_command_that_was_never_begun_has_no_return_code() {
        let values = [("msg", "'x' is undefined".into())];
        assert_eq!(answers("command", TaskStatus::Failed, &values), "web1 | FAILED | rc=-1 >>\n'x' is undefined");
    }

    #[test]
    fn one_line_holds_output_and_json() {
        let values = [("rc", 3.into()), ("stdout", "a\nb".into()), ("stderr", "no".into()), ("msg", "why".into())];
        let line = short("shell", TaskStatus::Failed, &values);
        assert_eq!(line, "web1 | FAILED | rc=3 | (stdout) a\\nb (stderr) no");
        let values = [("changed", false.into()), ("ping", "pong".into())];
        let line = short("ping", TaskStatus::Ok, &values);
        assert_eq!(line, "web1 | SUCCESS => {\"changed\": false,\"ping\": \"pong\"}");
        let values = [("msg", "no route".into())];
        assert_eq!(short("ping", TaskStatus::Unreachable, &values), "web1 | UNREACHABLE!: no route");
    }
}
