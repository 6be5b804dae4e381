//! A task's results on many hosts as a few lines: equal ones are told once.
//!
//! `ok: 1,993 hosts` — `changed: 12 hosts: web[1-12]` — `failed alike: web[3,9,12-46]: no space left on device`. The
//! first of each kind of failure is told in full the moment it happens.

use std::collections::BTreeMap;

use rustle_protocol::HostName;

use super::line::{Colour, Line};
use super::values::Showing;
use super::{fold, layout, values};
use crate::event::{TaskResult, TaskStatus, why};

/// Kinds of results of one task that are kept apart. Past that, results of one status are told together, without what
/// they say: that many different ones tell nobody anything, and text must not pile up in memory.
pub(super) const KINDS_MAX: usize = 40;

/// Longest message in a folded line, in columns.
const MESSAGE_COLUMNS_MAX: usize = 200;

/// The results of one task so far.
#[derive(Debug, Default)]
pub(super) struct Folded {
    kinds: BTreeMap<Kind, Vec<HostName>>,
}

/// What makes results alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    status: TaskStatus,
    /// A failure that stops nothing, and why.
    forgiven: Option<&'static str>,
    /// First line of what a failure says, with the host's own name taken out.
    message: String,
    /// Diff, and what `debug` says.
    detail: Vec<Line>,
}

impl Folded {
    /// Takes in a result, and tells of it in full if it is the first failure of its kind.
    /// Differences are shown with so many lines of context.
    pub(super) fn add(&mut self, result: &TaskResult, context: usize) -> Vec<Line> {
        let mut kind = Kind::of(result, context);
        let is_new = !self.kinds.contains_key(&kind);
        if is_new && self.kinds.len() >= KINDS_MAX {
            kind = kind.without_words();
        }
        self.kinds.entry(kind).or_default().push(result.host.clone());
        if is_new && self.kinds.len() <= KINDS_MAX && result.status.is_failure() {
            layout::failure(result).lines(Showing::default())
        } else {
            Vec::new()
        }
    }

    /// The lines that the task comes to.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.kinds.iter().flat_map(|(kind, hosts)| kind.lines(hosts)).collect()
    }
}

impl Kind {
    fn of(result: &TaskResult, context: usize) -> Kind {
        let forgiven = match result.status.is_failure() {
            true if result.ignored => Some("ignored"),
            true if result.rescued => Some("rescued"),
            _ => None,
        };
        let message = if result.status.is_failure() { message(result) } else { String::new() };
        let detail = if result.status.is_failure() { Vec::new() } else { detail(result, context) };
        Kind { status: result.status, forgiven, message, detail }
    }

    fn without_words(self) -> Kind {
        Kind { message: String::new(), detail: Vec::new(), ..self }
    }

    fn lines(&self, hosts: &[HostName]) -> Vec<Line> {
        let (words, colour) = words(self.status);
        let mut lines = self.detail.clone();
        let text = if self.status.is_failure() { self.failure(words, hosts) } else { self.success(words, hosts) };
        lines.push(Line::coloured(&text, colour));
        lines
    }

    /// Hosts are named where somebody may want to look.
    fn success(&self, words: &str, hosts: &[HostName]) -> String {
        match self.status {
            TaskStatus::Changed => format!("{words}: {}: {}", fold::hosts(hosts.len()), fold::short_list(hosts)),
            _ => format!("{words}: {}", fold::hosts(hosts.len())),
        }
    }

    fn failure(&self, words: &str, hosts: &[HostName]) -> String {
        let alike = if hosts.len() > 1 && !self.message.is_empty() { " alike" } else { "" };
        let forgiven = self.forgiven.map(|why| format!(" ({why})")).unwrap_or_default();
        let names = fold::short_list(hosts);
        match self.message.as_str() {
            "" => format!("{words}{forgiven}: {}: {names}", fold::hosts(hosts.len())),
            message => format!("{words}{alike}{forgiven}: {names}: {message}"),
        }
    }
}

fn words(status: TaskStatus) -> (&'static str, Colour) {
    match status {
        TaskStatus::Ok => ("ok", Colour::Ok),
        TaskStatus::Changed => ("changed", Colour::Changed),
        TaskStatus::Skipped => ("skipping", Colour::Skipped),
        TaskStatus::Failed => ("failed", Colour::Error),
        TaskStatus::TimedOut => ("timed out", Colour::Error),
        TaskStatus::Cancelled => ("cancelled", Colour::Unreachable),
        TaskStatus::Unreachable => ("unreachable", Colour::Unreachable),
    }
}

/// What the failure says, for a loop what its first failed item does, on one line.
fn message(result: &TaskResult) -> String {
    let of_item = result.items.iter().find(|item| item.status == result.status);
    let values = of_item.map_or(&result.values, |item| &item.values);
    let first = why(values).lines().next().unwrap_or_default();
    super::line::cut(&without_name(first, result.host.as_str()), MESSAGE_COLUMNS_MAX)
}

/// Errors often say which host they are about; what is alike otherwise shall be alike. The name must stand on its own:
/// `a` is no host in `a file`, so one that could be a word of the sentence stays.
fn without_name(text: &str, host: &str) -> String {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(host).filter(|_| host.contains(|c: char| !c.is_ascii_alphabetic())) {
        let (before, after) = (&rest[..at], &rest[at + host.len()..]);
        let alone = !before.ends_with(part_of_name) && !after.starts_with(part_of_name);
        out.push_str(before);
        out.push_str(if alone { "HOST" } else { host });
        rest = after;
    }
    out + rest
}

/// What must be equal for two successes to be alike, as it is shown above their line.
fn detail(result: &TaskResult, context: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    if result.items.is_empty() {
        lines.extend(layout::diffs(result.status == TaskStatus::Changed, &result.diff, context));
        lines.extend(shown_values(&result.module, &result.values, result.status));
    }
    for item in &result.items {
        lines.extend(layout::diffs(item.status == TaskStatus::Changed, &item.diff, context));
        lines.extend(shown_values(&result.module, &item.values, item.status));
    }
    lines
}

fn shown_values(module: &str, values: &rustle_protocol::Map, status: TaskStatus) -> Vec<Line> {
    let text =
        values::of_success(module, values, status == TaskStatus::Skipped, Showing::default()).unwrap_or_default();
    text.lines().map(Line::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_own_name_does_not_make_its_failure_another() {
        assert_eq!(without_name("connect to web17:7443 timed out", "web17"), "connect to HOST:7443 timed out");
        assert_eq!(without_name("web1 and web17, web1.example", "web1"), "HOST and web17, web1.example");
        assert_eq!(without_name("a file is missing", "a"), "a file is missing");
    }
}
