//! Playbooks: each case is run by Ansible and by `rustle-exec` on hosts that are all this machine. What every task did on
//! every host, what was said of it line by line, the files it left in `out/` and the exit code must be the same.
//!
//! A case is a file or a folder in `tests/differential/playbooks/`, or is made by [`super::generated`]. In the comments that
//! it begins with, `# args: ...` adds arguments of the command line and `# env: NAME=VALUE ...` sets variables of the
//! environment; a folder may have an `ansible.cfg`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustle_exec::event::{RunEvent, Stamped, TaskResult, TaskStatus};
use rustle_tests::{Ended, Run, ansible_python};
use serde_json::{Value, json};

use super::case::Case;
use super::{generated, told};

/// By task, host and how many of these came before.
type Results = BTreeMap<(String, String, usize), Value>;

/// How a playbook ended.
pub(crate) struct Seen {
    code: i64,
    results: Results,
    /// Standard output, as [`told`] makes it comparable.
    pub(crate) told: Vec<String>,
    files: BTreeMap<PathBuf, String>,
}

impl Seen {
    /// What became of it, whatever was told.
    pub(crate) fn outcome(&self) -> (i64, &Results, &BTreeMap<PathBuf, String>) {
        (self.code, &self.results, &self.files)
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/differential"))
}

/// Cases that are told in other words than Ansible's, and why that is so.
const TOLD_OTHERWISE: [(&str, &str); 9] = [
    ("assert_listed_conditions", "a condition that is null has its place here, and none there"),
    (
        "max_fail_percentage_100_of_3_hosts",
        "a budget of 100 % lets the run go on when all hosts have failed, and so the next play says that it has none",
    ),
    (
        "play_hosts_that_are_left",
        "the banner of a `meta` task that is skipped comes once here, and for each host there",
    ),
    ("condition_is_a_template", "text that a template made has no place here, and the template's there"),
    ("condition_unsafe", "`!unsafe` text has no place here"),
    ("debug_var", "a host's text has no place here, and there that of the template that asked for it"),
    ("keyword_of_the_wrong_type", "a value of the wrong type and the keyword are one place, and told as two there"),
    ("role_ended", "the banner of a `meta` task that is skipped comes once here, and for each host there"),
    (
        "until_attempts_in_conditions",
        "a failure's text stands above what failed, and not above what `failed_when` let pass",
    ),
];

/// Cases whose end in Ansible hangs on its own clock, and how: on a busy machine Ansible may lose its race, so such a case
/// is asked again, alone, before its difference counts.
const HANGS_ON_THE_CLOCK: [(&str, &str); 2] = [
    ("async_polled", "what takes a module in Python longer than a second is asked for once more, and that is told"),
    (
        "async_too_long",
        "the job's watcher ends it after some 11 s, and says so in its file: the play is to ask before, after 6 s",
    ),
];

/// How often a case of [`HANGS_ON_THE_CLOCK`] is asked again.
const ASKED_AGAIN: usize = 3;

/// Lines that are shown of what was told, from the first that differs.
const LINES_SHOWN: usize = 12;

/// Only cases with this in their names, if it is set: for whoever writes one.
const ONLY: &str = "RUSTLE_DIFFERENTIAL";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Case::all_in(&folder().join("playbooks"));
    cases.extend(generated::cases());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    only_wanted(cases)
}

pub(crate) fn only_wanted(mut cases: Vec<Case>) -> Vec<Case> {
    if let Ok(only) = std::env::var(ONLY) {
        cases.retain(|case| case.name.contains(&only));
    }
    cases
}

fn left_in(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = fs::read_dir(folder.join("out")).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read_to_string(&path).unwrap())).collect()
}

fn keyed(results: impl Iterator<Item = (String, String, Value)>) -> Results {
    let mut keyed = Results::new();
    for (task, host, value) in results {
        let before = (0..).find(|n| !keyed.contains_key(&(task.clone(), host.clone(), *n))).unwrap();
        keyed.insert((task, host, before), value);
    }
    keyed
}

/// What is of the moment, of the tool or of its internals, at any depth.
fn without_noise(value: Value) -> Value {
    const NOISE: &[&str] = &[
        "start",
        "end",
        "delta",
        "invocation",
        "warnings",
        "deprecations",
        "exception",
        "failed_when_suppressed_exception",
        // A job's name is drawn.
        "ansible_job_id",
        "results_file",
        "erased",
        // How an include says to itself what it found.
        "include",
        "include_args",
    ];
    let is_noise = |name: &str, value: &Value| {
        name.starts_with("_ansible")
            || NOISE.contains(&name)
            || (name == "diff" && (*value == json!([]) || *value == json!({})))
            || (name == "src" && value.as_str().is_some_and(|path| path.contains("/ansible-tmp-")))
    };
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(name, value)| !is_noise(name, value))
            .map(|(name, value)| (name, without_noise(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_noise).collect(),
        other => other,
    }
}

/// Whether a task failed or was skipped is its status: Ansible tells that to its callbacks beside the values.
fn shown(status: &str, values: Value) -> Value {
    let mut values = without_noise(values);
    if let Value::Object(map) = &mut values {
        map.retain(|name, _| !matches!(name.as_str(), "failed" | "skipped"));
    }
    json!({ "status": status, "values": values })
}

fn ansible(python: &Path, root: &Path, cases: &[Case]) -> Vec<Seen> {
    let folders: Vec<PathBuf> = cases.iter().map(|case| case.write(root)).collect();
    let asked = cases.iter().zip(&folders).map(|(case, folder)| {
        let args: Vec<String> = ["-c", "local"].map(str::to_owned).into_iter().chain(case.command_line()).collect();
        let settings = case.has_settings().then(|| BTreeMap::from_iter(case.env.iter().cloned()));
        json!({ "folder": folder, "args": args, "settings": settings })
    });
    let asked = Value::from_iter(asked).to_string();
    let mut command = Command::new(python);
    command.arg(folder().join("playbooks.py")).env("HOME", root).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "the answers of Ansible ended with {}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<Seen> = answers.lines().zip(&folders).map(|(line, folder)| their_answer(line, folder)).collect();
    assert_eq!(seen.len(), cases.len());
    seen
}

pub(crate) fn their_answer(line: &str, folder: &Path) -> Seen {
    let answer: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let results = answer["results"].as_array().unwrap().iter().map(|result| {
        let shown = shown(result["status"].as_str().unwrap(), result["values"].clone());
        (text(&result["task"]), text(&result["host"]), shown)
    });
    let told = told::comparable(answer["said"].as_str().unwrap(), folder);
    Seen { code: answer["code"].as_i64().unwrap(), results: keyed(results), told, files: left_in(folder) }
}

fn ours(python: &Path, root: &Path, case: &Case) -> Seen {
    // Events have no settings of how they are told.
    let told = case.has_settings().then(|| {
        let folder = case.write(root);
        let ended = our_run(python, &folder, case).finish();
        fs::remove_dir_all(&folder).unwrap();
        told::ours_as_written(&ended.stdout, &folder)
    });
    let folder = case.write(root);
    let mut seen = seen(&our_run(python, &folder, case).args(["--progress", "json"]).finish(), &folder);
    seen.told = told.unwrap_or(seen.told);
    seen
}

fn our_run(python: &Path, folder: &Path, case: &Case) -> Run {
    let run = Run::new(folder).args(["--connection-plugin", "local"]).args(case.command_line());
    // Plug-ins in Python are run with that ansible-core, too.
    let folders = python.parent().map(Path::to_owned).into_iter();
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
    case.env.iter().fold(run.env("PATH", path), |run, (name, value)| run.env(name, value))
}

pub(crate) fn events(ended: &Ended) -> Vec<Stamped> {
    ended.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A run with `--progress json`.
pub(crate) fn seen(ended: &Ended, folder: &Path) -> Seen {
    let events = events(ended);
    let told = told::ours(&events, folder);
    let results = events.into_iter().filter_map(|stamped| match stamped.event {
        // Of `meta` Ansible tells its callbacks only that it was skipped.
        RunEvent::HostFinished(result) if result.module != "meta" || result.status == TaskStatus::Skipped => {
            Some(our_result(&result))
        }
        _ => None,
    });
    Seen { code: ended.code.into(), results: keyed(results), told, files: left_in(folder) }
}

fn our_result(result: &TaskResult) -> (String, String, Value) {
    let status = match result.status {
        _ if result.ignored => "ignored",
        TaskStatus::Ok => "ok",
        TaskStatus::Changed => "changed",
        TaskStatus::Skipped => "skipped",
        TaskStatus::Unreachable => "unreachable",
        TaskStatus::Failed | TaskStatus::TimedOut | TaskStatus::Cancelled => "failed",
    };
    let values = serde_json::to_value(&result.values).unwrap();
    (result.name.clone(), result.host.to_string(), shown(status, values))
}

#[test]
fn playbooks_do_what_they_do_in_ansible() {
    let Some(python) = ansible_python() else { return };
    let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cases = cases();
    // Two at a time, one of each.
    let (expected, given) = std::thread::scope(|scope| {
        let expected = scope.spawn(|| ansible(python, theirs.path(), &cases));
        let given: Vec<Seen> = cases.iter().map(|case| ours(python, mine.path(), case)).collect();
        (expected.join().unwrap(), given)
    });
    let pairs = cases.iter().zip(expected.iter().zip(&given));
    let wrong: Vec<String> = pairs
        .filter(|(case, (expected, given))| !is_same(case, expected, given))
        .filter(|(case, _)| !(hangs_on_the_clock(case) && is_same_alone(python, case)))
        .map(|(case, (expected, given))| format!("{}: {}", case.name, difference(expected, given)))
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn is_same(case: &Case, expected: &Seen, given: &Seen) -> bool {
    let is_told_otherwise = TOLD_OTHERWISE.iter().any(|(name, _)| *name == case.name);
    expected.outcome() == given.outcome() && (expected.told == given.told || is_told_otherwise)
}

fn hangs_on_the_clock(case: &Case) -> bool {
    HANGS_ON_THE_CLOCK.iter().any(|(name, _)| *name == case.name)
}

/// Runs a case again, first in Ansible and then here.
fn is_same_alone(python: &Path, case: &Case) -> bool {
    (0..ASKED_AGAIN).any(|_| {
        let (theirs, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = ansible(python, theirs.path(), std::slice::from_ref(case)).remove(0);
        is_same(case, &expected, &ours(python, mine.path(), case))
    })
}

pub(crate) fn difference(ansible: &Seen, ours: &Seen) -> String {
    let mut out = format!("expected was {}, we ended with {}\n", ansible.code, ours.code);
    let keys: BTreeSet<_> = ansible.results.keys().chain(ours.results.keys()).collect();
    for key in keys {
        let (theirs, mine) = (ansible.results.get(key), ours.results.get(key));
        if theirs != mine {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            out += &format!("  {key:?}\n    expected {}\n    ours    {}\n", text(theirs), text(mine));
        }
    }
    if ansible.told != ours.told {
        let same = ansible.told.iter().zip(&ours.told).take_while(|(theirs, mine)| theirs == mine).count();
        let rest =
            |lines: &[String]| lines[same..].iter().take(LINES_SHOWN).map(|line| format!("      {line}\n")).collect();
        let (theirs, mine): (String, String) = (rest(&ansible.told), rest(&ours.told));
        out += &format!("  told, from line {}\n    expected\n{theirs}    ours\n{mine}", same + 1);
    }
    if ansible.files != ours.files {
        out += &format!("  files\n    expected {:?}\n    ours    {:?}\n", ansible.files, ours.files);
    }
    out
}
