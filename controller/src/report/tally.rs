//! Counts, from results alone. Recap, progress, report and exit sentences all count with this.

use std::collections::BTreeMap;

use rustle_protocol::{HostName, Value};

use crate::event::{INCLUDED, TaskResult, TaskStatus};
use crate::plan::TaskId;

/// What a run came to so far. Grows with hosts and tasks, not with results.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Hosts that had at least one result.
    pub hosts: BTreeMap<HostName, HostTally>,
    pub tasks: BTreeMap<TaskId, StatusTally>,
    /// Results of all hosts and tasks.
    pub total: StatusTally,
}

/// One host's line in the recap, by Ansible's rules: an ignored failure is ok too, a rescued one is only rescued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostTally {
    /// With those that changed something.
    pub ok: usize,
    pub changed: usize,
    pub unreachable: usize,
    /// With those that ran out of time.
    pub failed: usize,
    pub skipped: usize,
    pub rescued: usize,
    pub ignored: usize,
    /// Not in Ansible: stopped, or never begun, because the run was cancelled.
    pub cancelled: usize,
}

/// Results by status. Each result is in exactly one of them; `ignored` and `rescued` are failures counted once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusTally {
    /// Without those that changed something.
    pub ok: usize,
    pub changed: usize,
    pub skipped: usize,
    pub failed: usize,
    pub timed_out: usize,
    pub cancelled: usize,
    pub unreachable: usize,
    pub ignored: usize,
    pub rescued: usize,
}

impl Tally {
    pub fn add(&mut self, result: &TaskResult) {
        self.hosts.entry(result.host.clone()).or_default().add(result);
        self.tasks.entry(result.task).or_default().add(result);
        self.total.add(result);
    }
}

impl HostTally {
    fn add(&mut self, result: &TaskResult) {
        if result.is_word_to_the_run() {
            return;
        }
        if result.is_forgiven() {
            return self.add_forgiven(result);
        }
        match result.status {
            TaskStatus::Ok => self.ok += included(result).max(1),
            TaskStatus::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            TaskStatus::Skipped => self.skipped += 1,
            TaskStatus::Failed | TaskStatus::TimedOut => self.failed += 1,
            TaskStatus::Cancelled => self.cancelled += 1,
            TaskStatus::Unreachable => self.unreachable += 1,
        }
    }

    fn add_forgiven(&mut self, result: &TaskResult) {
        if result.rescued {
            self.rescued += 1;
            return;
        }
        self.ok += 1;
        self.ignored += 1;
        self.changed += usize::from(result.values.get("changed").and_then(|c| c.as_bool()).unwrap_or_default());
    }

    /// Whether the recap of a large run may leave the host out.
    pub fn is_all_well(&self) -> bool {
        self.failed == 0 && self.unreachable == 0 && self.cancelled == 0
    }
}

/// What a task that includes has brought: Ansible's recap counts each as a task of its own.
fn included(result: &TaskResult) -> usize {
    match result.values.get(INCLUDED) {
        Some(Value::List(included)) => included.len(),
        _ => 0,
    }
}

impl StatusTally {
    pub(super) fn add(&mut self, result: &TaskResult) {
        *self.slot(result.status) += 1;
        if result.is_forgiven() {
            self.ignored += usize::from(result.ignored);
            self.rescued += usize::from(result.rescued);
        }
    }

    fn slot(&mut self, status: TaskStatus) -> &mut usize {
        match status {
            TaskStatus::Ok => &mut self.ok,
            TaskStatus::Changed => &mut self.changed,
            TaskStatus::Skipped => &mut self.skipped,
            TaskStatus::Failed => &mut self.failed,
            TaskStatus::TimedOut => &mut self.timed_out,
            TaskStatus::Cancelled => &mut self.cancelled,
            TaskStatus::Unreachable => &mut self.unreachable,
        }
    }

    pub fn successful(&self) -> usize {
        self.ok + self.changed
    }

    /// With those that were forgiven.
    pub fn failures(&self) -> usize {
        self.failed + self.timed_out + self.cancelled + self.unreachable
    }

    pub fn total(&self) -> usize {
        self.successful() + self.skipped + self.failures()
    }

    /// The states that occurred, in Ansible's words: `ok 30  changed 3  failed 1`.
    pub fn words(&self) -> String {
        let states = [
            ("ok", self.ok),
            ("changed", self.changed),
            ("skipped", self.skipped),
            ("failed", self.failed),
            ("timed out", self.timed_out),
            ("cancelled", self.cancelled),
            ("unreachable", self.unreachable),
        ];
        let present: Vec<String> = states
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(word, n)| format!("{word} {}", super::fold::count(*n)))
            .collect();
        present.join("  ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;

    #[test]
    fn each_thing_that_a_task_includes_counts() {
        let mut script = Script::new(["web1"]);
        let task = script.task("t", "include_tasks");
        let file = |item: &str| ["a.yml", item].into_iter().map(Value::from).collect::<Value>();
        script.finish_with(task, "web1", TaskStatus::Ok, |r| {
            r.values.insert(INCLUDED.to_owned(), [file("1"), file("2")].into_iter().collect());
        });
        assert_eq!(script.tally().hosts[&HostName::new("web1").unwrap()].ok, 2);
    }

    #[test]
    fn a_host_is_counted_as_ansible_counts_it() {
        let mut script = Script::new(["web1"]);
        let task = script.task("t", "command");
        script.ok(task, "web1").changed(task, "web1").skipped(task, "web1");
        script.failed(task, "web1", "no");
        script.finish_with(task, "web1", TaskStatus::Failed, |r| r.ignored = true);
        script.finish_with(task, "web1", TaskStatus::Failed, |r| {
            r.ignored = true;
            r.values.insert("changed".to_owned(), true.into());
        });
        script.finish_with(task, "web1", TaskStatus::Unreachable, |r| r.ignored = true);
        script.finish_with(task, "web1", TaskStatus::Failed, |r| r.rescued = true);
        script.finish_with(task, "web1", TaskStatus::TimedOut, |_| ());
        script.finish_with(task, "web1", TaskStatus::Cancelled, |_| ());
        script.finish_with(task, "web1", TaskStatus::Unreachable, |_| ());
        let tally = script.tally();
        assert_eq!(
            tally.hosts[&HostName::new("web1").unwrap()],
            HostTally {
                ok: 5,
                changed: 2,
                unreachable: 1,
                failed: 2,
                skipped: 1,
                rescued: 1,
                ignored: 3,
                cancelled: 1
            }
        );
        assert_eq!(tally.total.total(), 11);
        assert_eq!(
            tally.total.words(),
            "ok 1  changed 1  skipped 1  failed 4  timed out 1  cancelled 1  unreachable 2"
        );
        assert_eq!(tally.tasks[&task], tally.total);
    }
}
