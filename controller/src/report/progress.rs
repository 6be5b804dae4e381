//! How far the run is, as text that can be drawn again at any moment. Knows no terminal and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustle_protocol::HostName;

use super::line::cut;
use super::status::for_people;
use super::tally::StatusTally;
use super::{fold, sanitize};
use crate::event::{RunEvent, Stamped, TaskKind};
use crate::plan::TaskId;

/// Hosts named among those waited for: the slowest ones, as many as fit a line.
const WAITED_FOR_MAX: usize = 4;

/// Cells of the bar.
const BAR_COLUMNS: usize = 20;

/// Tasks under way and hosts waited for.
#[derive(Debug, Default)]
pub(super) struct Progress {
    tasks: BTreeMap<TaskId, TaskProgress>,
    /// By the order in which they started.
    latest: Vec<TaskId>,
    running: BTreeMap<HostName, (Duration, TaskId)>,
    /// The same hosts by the time they started.
    oldest: BTreeSet<(Duration, HostName)>,
    paused: bool,
    cancelling: bool,
}

#[derive(Debug)]
struct TaskProgress {
    banner: String,
    hosts: usize,
    tally: StatusTally,
}

impl TaskProgress {
    fn is_over(&self) -> bool {
        self.tally.total() >= self.hosts
    }
}

impl Progress {
    pub(super) fn add(&mut self, stamped: &Stamped) {
        match &stamped.event {
            RunEvent::TaskStarted { task, name, kind, hosts, .. } => self.task_started(*task, name, *kind, *hosts),
            RunEvent::HostStarted { task, host, .. } => self.host_started(*task, host, stamped.elapsed),
            RunEvent::HostFinished(result) => {
                self.forget_host(&result.host);
                if let Some(task) = self.tasks.get_mut(&result.task) {
                    task.tally.add(result);
                }
                self.drop_finished_tasks();
            }
            RunEvent::Paused => self.paused = true,
            RunEvent::Resumed => self.paused = false,
            RunEvent::Cancelling { .. } => self.cancelling = true,
            RunEvent::RunFinished(_) => *self = Progress::default(),
            _ => {}
        }
    }

    fn task_started(&mut self, task: TaskId, name: &str, kind: TaskKind, hosts: usize) {
        let word = match kind {
            TaskKind::Task => "TASK",
            TaskKind::Handler => "HANDLER",
        };
        let banner = format!("{word} [{}]", sanitize::line(name.trim()));
        self.tasks.insert(task, TaskProgress { banner, hosts, tally: StatusTally::default() });
        self.latest.retain(|other| *other != task);
        self.latest.push(task);
    }

    fn host_started(&mut self, task: TaskId, host: &HostName, elapsed: Duration) {
        self.forget_host(host);
        self.running.insert(host.clone(), (elapsed, task));
        self.oldest.insert((elapsed, host.clone()));
    }

    fn forget_host(&mut self, host: &HostName) {
        if let Some((since, _)) = self.running.remove(host) {
            self.oldest.remove(&(since, host.clone()));
        }
    }

    fn drop_finished_tasks(&mut self) {
        let tasks = &mut self.tasks;
        self.latest.retain(|task| {
            let over = tasks.get(task).is_none_or(TaskProgress::is_over);
            if over {
                tasks.remove(task);
            }
            !over
        });
    }

    /// The latest task that is under way: bar, hosts done, counts by state. Empty if none is.
    pub(super) fn headline(&self, columns: usize) -> String {
        let Some(task) = self.latest.last().and_then(|task| self.tasks.get(task)) else { return String::new() };
        let done = task.tally.total();
        let filled = (done * BAR_COLUMNS).checked_div(task.hosts).unwrap_or(BAR_COLUMNS).min(BAR_COLUMNS);
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR_COLUMNS - filled));
        let text = format!("{bar} {}", self.account(task));
        cut(&text, columns)
    }

    fn account(&self, task: &TaskProgress) -> String {
        let mut text =
            format!("{}/{} hosts  {}", fold::count(task.tally.total()), fold::count(task.hosts), task.banner);
        let words = task.tally.words();
        if !words.is_empty() {
            text.push_str(&format!("  {words}"));
        }
        if self.latest.len() > 1 {
            text.push_str(&format!("  and {} more tasks", self.latest.len() - 1));
        }
        if self.cancelling {
            text.push_str("  CANCELLING");
        } else if self.paused {
            text.push_str("  PAUSED");
        }
        text
    }

    /// The hosts everybody waits for, the slowest first. Empty if none is.
    pub(super) fn waiting(&self, now: Duration, columns: usize) -> String {
        if self.oldest.is_empty() {
            return String::new();
        }
        let names: Vec<String> = self
            .oldest
            .iter()
            .take(WAITED_FOR_MAX)
            .map(|(since, host)| format!("{host} {}", for_people(now.saturating_sub(*since))))
            .collect();
        let mut text = format!("waiting for {}: {}", fold::hosts(self.oldest.len()), names.join(", "));
        if self.oldest.len() > WAITED_FOR_MAX {
            text.push_str(", …");
        }
        cut(&text, columns)
    }

    /// Everything on one line, for places that cannot be redrawn. None if nothing is under way.
    pub(super) fn one_line(&self, now: Duration) -> Option<String> {
        let task = self.latest.last().and_then(|task| self.tasks.get(task))?;
        let mut text = format!("PROGRESS after {}: {}", for_people(now), self.account(task));
        let waiting = self.waiting(now, usize::MAX);
        if !waiting.is_empty() {
            text.push_str(&format!("; {waiting}"));
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;
    use crate::event::CancelReason;

    fn progress(script: &Script) -> Progress {
        let mut progress = Progress::default();
        script.events.iter().for_each(|event| progress.add(event));
        progress
    }

    fn shown(progress: &Progress, seconds: u64) -> String {
        format!("{}\n{}", progress.headline(100), progress.waiting(Duration::from_secs(seconds), 100))
    }

    #[test]
    fn a_task_under_way_tells_counts_and_whom_it_waits_for() {
        let names = ["web1", "web2", "web3", "web4", "web5", "web6", "web7", "web8"];
        let mut script = Script::new(names);
        script.play("p");
        let task = script.task("install\u{202e}\nnginx", "package");
        names.iter().for_each(|name| {
            script.start(task, name);
        });
        script.ok(task, "web2").failed(task, "web5", "no");
        insta::assert_snapshot!(shown(&progress(&script), 75), @r"
        █████░░░░░░░░░░░░░░░ 2/8 hosts  TASK [install\u202e\nnginx]  ok 1  failed 1
        waiting for 6 hosts: web1 1m 14s, web3 1m 14s, web4 1m 14s, web6 1m 14s, …
        ");
        script.push(RunEvent::Cancelling { reason: CancelReason::Interrupted });
        let progress = progress(&script);
        assert!(progress.headline(200).ends_with("CANCELLING"));
        assert_eq!(progress.headline(30).chars().count(), 30, "cut to the terminal");
        insta::assert_snapshot!(progress.one_line(Duration::from_secs(3)).unwrap(), @r"PROGRESS after 3s: 2/8 hosts  TASK [install\u202e\nnginx]  ok 1  failed 1  CANCELLING; waiting for 6 hosts: web1 2s, web3 2s, web4 2s, web6 2s, …");
    }

    #[test]
    fn a_finished_task_is_gone_and_the_one_before_shows_again() {
        let mut script = Script::new(["web1", "web2"]);
        script.play("p");
        let slow = script.task("slow", "command");
        script.start(slow, "web1").ok(slow, "web2");
        let quick = script.task("quick", "command");
        script.start(quick, "web2");
        assert!(progress(&script).headline(100).contains("TASK [quick]  and 1 more tasks"));
        script.ok(quick, "web2").ok(quick, "web1");
        assert!(progress(&script).headline(100).contains("1/2 hosts  TASK [slow]  ok 1"));
        script.ok(slow, "web1");
        assert_eq!(shown(&progress(&script), 1), "\n");
    }
}
