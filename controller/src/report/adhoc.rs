//! One module on many hosts: each host's answer as it comes, in Ansible's ad-hoc layout. Output of commands is shown as
//! it is, everything else as JSON.

use std::io;

use rustle_protocol::Value;

use super::layout::Layout;
use super::line::{Colour, Line};
use super::plain::Console;
use super::{Reporter, sanitize, values};
use crate::event::{RunEvent, Stamped, TaskResult, TaskStatus};

/// Answers, and no banners.
pub(super) struct Adhoc {
    console: Console,
    layout: Layout,
    verbosity: u8,
}

impl Adhoc {
    /// `layout` has the words for what is no answer: warnings, a status.
    pub(super) fn new(console: Console, layout: Layout, verbosity: u8) -> Adhoc {
        Adhoc { console, layout, verbosity }
    }

    fn lines(&mut self, event: &Stamped) -> Vec<Line> {
        match &event.event {
            RunEvent::HostFinished(result) if result.is_word_to_the_run() => Vec::new(),
            RunEvent::HostFinished(result) => answer(result, self.verbosity),
            RunEvent::Warning { .. }
            | RunEvent::Status(_)
            | RunEvent::Cancelling { .. }
            | RunEvent::JobPolled { .. }
            | RunEvent::Retrying { .. } => self.layout.lines(event),
            // What it is called is known from its beginning.
            _ => {
                self.layout.recall(event);
                Vec::new()
            }
        }
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

fn answer(result: &TaskResult, verbosity: u8) -> Vec<Line> {
    let (word, colour) = word(result.status);
    let host = &result.host;
    if let (Some(Value::Int(rc)), true) = (result.values.get("rc"), result.values.contains_key("stdout")) {
        let word = word.trim_end_matches('!');
        let mut lines = vec![Line::coloured(&format!("{host} | {word} | rc={rc} >>"), colour)];
        lines.extend(
            output(result)
                .flat_map(|text| sanitize::lines(&text).map(|line| Line::coloured(&line, colour)).collect::<Vec<_>>()),
        );
        return lines;
    }
    let text = format!("{host} | {word} => {}", values::of_answer(&result.module, &result.values, verbosity));
    text.lines().map(|line| Line::coloured(line, colour)).collect()
}

fn word(status: TaskStatus) -> (&'static str, Colour) {
    match status {
        TaskStatus::Ok => ("SUCCESS", Colour::Green),
        TaskStatus::Changed => ("CHANGED", Colour::Yellow),
        TaskStatus::Skipped => ("SKIPPED", Colour::Cyan),
        TaskStatus::Failed | TaskStatus::TimedOut => ("FAILED!", Colour::Red),
        TaskStatus::Cancelled => ("CANCELLED!", Colour::Red),
        TaskStatus::Unreachable => ("UNREACHABLE!", Colour::BrightRed),
    }
}

/// What the command wrote, and why it failed if it did.
fn output(result: &TaskResult) -> impl Iterator<Item = String> {
    let text = |name: &str| match result.values.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let msg = if result.status.is_failure() { result.msg().to_owned() } else { String::new() };
    [text("stdout"), text("stderr"), msg].into_iter().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::script::{Script, host, map, shown};
    use super::*;

    fn answers(module: &str, status: TaskStatus, values: &[(&str, Value)]) -> String {
        let mut script = Script::new(["web1"]);
        let task = script.task("adhoc", module);
        script.finish_with(task, "web1", status, |result| result.values = map(values));
        let last = script.events.last().expect("one was pushed").event.clone();
        let RunEvent::HostFinished(result) = last else { panic!("a host has finished") };
        assert_eq!(result.host, host("web1"));
        shown(&answer(&result, 0))
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
}
