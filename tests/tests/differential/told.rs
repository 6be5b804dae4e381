//! What a run says on its standard output, made comparable: line by line as Ansible has it, but for what is of the moment,
//! and for the order in which hosts happen to answer.

use std::path::Path;

use rustle_exec::event::{RunEvent, Stamped};
use rustle_exec::report::{Layout, Line, Stream};

/// Stands between the places of a failure.
const CAUSED_BY: &str = "<<< caused by >>>";

/// Values that are never twice the same, by the names they have in a result.
const OF_THE_MOMENT: [&str; 7] = ["start", "end", "delta", "ansible_job_id", "results_file", "invocation", "src"];

/// How lines begin that tell of a host, up to its name.
const OF_A_HOST: [&str; 13] = [
    "ok: [",
    "changed: [",
    "skipping: [",
    "fatal: [",
    "failed: [",
    "FAILED - RETRYING: [",
    "ASYNC POLL on ",
    "ASYNC OK on ",
    "ASYNC FAILED on ",
    "included: ",
    "...ignoring",
    "[ERROR]: ",
    "task path: ",
];

/// The lines that `rustle-exec` prints for these events where there is no terminal.
pub(super) fn ours(events: &[Stamped], folder: &Path) -> Vec<String> {
    let mut layout = Layout::new(0, None);
    let mut text = String::new();
    for stamped in events {
        let lines = layout.lines(stamped);
        for line in lines.iter().filter(|line| line.stream == Stream::Out && !is_word_of_ours(stamped, line)) {
            line.render(None, &mut text);
            text.push('\n');
        }
    }
    comparable(&text, folder)
}

/// The lines of a run that has told them itself.
pub(super) fn ours_as_written(said: &str, folder: &Path) -> Vec<String> {
    let is_ours = |line: &&str| !WORDS_OF_OURS.iter().any(|begin| line.starts_with(begin));
    comparable(&said.lines().filter(is_ours).map(|line| format!("{line}\n")).collect::<String>(), folder)
}

/// How lines begin that Ansible has not: it says neither why a play was stopped nor which hosts and playbooks it never
/// came to.
const WORDS_OF_OURS: [&str; 3] = ["STOPPED: ", "not started: ", "playbooks not begun: "];

fn is_word_of_ours(stamped: &Stamped, line: &Line) -> bool {
    if !matches!(stamped.event, RunEvent::PlayFinished { .. } | RunEvent::RunFinished(_)) {
        return false;
    }
    let mut text = String::new();
    line.render(None, &mut text);
    WORDS_OF_OURS.iter().any(|begin| text.starts_with(begin))
}

/// What a run has said, section by section: a banner, then what each host has to tell, by the hosts' names.
pub(super) fn comparable(said: &str, folder: &Path) -> Vec<String> {
    let said = said.replace(&folder.display().to_string(), "FOLDER");
    let lines: Vec<String> = said.lines().map(without_moment).map(in_order).collect();
    let mut out = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for line in lines {
        match (Entry::begins_with(&line), entries.last_mut()) {
            (Some(host), _) => entries.push(Entry { host, lines: vec![line] }),
            (None, Some(last)) if !is_banner(&line) => last.lines.push(line),
            (None, _) => {
                Entry::into_lines(std::mem::take(&mut entries), &mut out);
                out.push(line);
            }
        }
    }
    Entry::into_lines(entries, &mut out);
    out.retain(|line| !line.is_empty());
    out.dedup_by(|a, b| a == b && is_banner(a));
    out
}

fn is_banner(line: &str) -> bool {
    line.ends_with("***")
}

/// What was told of one host, or of a failure that may be many hosts'.
struct Entry {
    host: String,
    lines: Vec<String>,
}

impl Entry {
    /// The host that the line begins to tell of; empty for what names none: a failure's own text and place.
    fn begins_with(line: &str) -> Option<String> {
        let beginning = OF_A_HOST.iter().find(|beginning| line.starts_with(**beginning))?;
        if *beginning == "...ignoring" {
            return None;
        }
        let name = |c: &char| !matches!(c, ']' | ':' | ' ');
        let names_none = matches!(*beginning, "[ERROR]: " | "included: " | "task path: ");
        Some(if names_none { String::new() } else { line[beginning.len()..].chars().take_while(name).collect() })
    }

    fn into_lines(mut entries: Vec<Entry>, out: &mut Vec<String>) {
        entries.sort_by(|a, b| a.host.cmp(&b.host));
        out.extend(entries.into_iter().flat_map(|entry| entry.lines));
    }
}

/// How lines begin that stand below the last place of some failures.
const HELP: [&str; 2] = ["Broken conditionals can be", "Templates and expressions must be"];

/// What was told, without the places of a failure behind the first, which is the task's, and what helps against it.
pub(super) fn without_causes(told: &[String]) -> Vec<&String> {
    let (mut is_cause, mut is_headline) = (false, false);
    let is_first = |line: &&String| {
        let begins = OF_A_HOST.iter().any(|beginning| line.starts_with(beginning)) || is_banner(line);
        is_cause = (is_cause && !begins) || *line == CAUSED_BY;
        if begins {
            is_headline = line.starts_with("[ERROR]: ");
        }
        let is_repeated = is_headline && line.starts_with("Task failed");
        is_headline &= !line.starts_with("Origin: ");
        let is_help = HELP.iter().any(|beginning| line.starts_with(beginning));
        !is_cause && !is_repeated && !is_help
    };
    told.iter().filter(is_first).collect()
}

/// The hosts that something was included for, by their names.
fn in_order(line: String) -> String {
    let Some((what, hosts)) = line.strip_prefix("included: ").and_then(|_| line.split_once(" for ")) else {
        return line;
    };
    let (hosts, item) = hosts.split_once(" => ").map_or((hosts, ""), |(hosts, item)| (hosts, item));
    let mut hosts: Vec<&str> = hosts.split(", ").collect();
    hosts.sort_unstable();
    format!("{what} for {} {item}", hosts.join(", "))
}

/// The line without the values that are of the moment.
fn without_moment(line: &str) -> String {
    let mut line = line.to_owned();
    for name in OF_THE_MOMENT {
        let key = format!("\"{name}\": \"");
        let Some(at) = line.find(&key) else { continue };
        let from = at + key.len();
        let Some(length) = line[from..].find('"') else { continue };
        line.replace_range(from..from + length, "…");
    }
    match line.find("jid=") {
        Some(at) => {
            let from = at + "jid=".len();
            let length = line[from..].find(' ').unwrap_or(line.len() - from);
            line.replace_range(from..from + length, "…");
            line
        }
        None => line,
    }
}
