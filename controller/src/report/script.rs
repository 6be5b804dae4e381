//! For tests: the events of a run, written down in a few words.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustle_protocol::result::Diff;
use rustle_protocol::{HostName, Map, RunId, Value};

use super::line::Line;
use super::tally::Tally;
use crate::event::*;
use crate::origin::Origin;
use crate::plan::{PlayId, TaskId};

/// A run that began at a round second; each event comes a tenth of a second after the one before.
pub(super) struct Script {
    pub(super) events: Vec<Stamped>,
    hosts: Vec<HostName>,
    names: Vec<(String, String, TaskKind)>,
    /// Nothing is changed.
    is_dry: bool,
}

/// Most that a script's task takes, and what each event is apart from the next.
const STEP: Duration = Duration::from_millis(100);

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn map(entries: &[(&str, Value)]) -> Map {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

impl Script {
    pub(super) fn new<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Script {
        let hosts: Vec<HostName> = hosts.into_iter().map(host).collect();
        let mut script = Script { events: Vec::new(), hosts, names: Vec::new(), is_dry: false };
        let hosts = script.hosts.len();
        script.push(RunEvent::RunStarted(RunStarted {
            event_version: EVENT_VERSION,
            run: RunId::from_u128(7),
            sources: vec!["plan.json".to_owned()],
            plays: 1,
            tasks: 1,
            hosts,
            forks: 50,
            check: false,
            diff: false,
        }));
        script
    }

    /// From here on nothing is changed.
    pub(super) fn dry_run(&mut self) -> &mut Script {
        self.is_dry = true;
        for event in &mut self.events {
            if let RunEvent::RunStarted(run) = &mut event.event {
                run.check = true;
            }
        }
        self.push(RunEvent::PlaybookStarted { playbook: "site.yml".to_owned(), plays: 1 })
    }

    pub(super) fn push(&mut self, event: RunEvent) -> &mut Script {
        let elapsed = STEP * u32::try_from(self.events.len()).unwrap();
        let start: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = start + TimeDelta::from_std(elapsed).unwrap();
        self.events.push(Stamped { at, elapsed, event });
        self
    }

    pub(super) fn play(&mut self, name: &str) -> &mut Script {
        let (play, hosts) = (PlayId(0), self.hosts.clone());
        self.push(RunEvent::PlayStarted {
            play,
            name: name.to_owned(),
            hosts: hosts.len(),
            batches: 1,
            check: self.is_dry,
        });
        self.push(RunEvent::BatchStarted { play, batch: 0, hosts })
    }

    pub(super) fn task(&mut self, name: &str, module: &str) -> TaskId {
        self.start_task(name, module, TaskKind::Task)
    }

    /// A task that a person wrote, there.
    pub(super) fn start_at(&mut self, name: &str, module: &str, file: &std::path::Path, line: u32) -> TaskId {
        let task = self.task(name, module);
        if let Some(Stamped { event: RunEvent::TaskStarted { origin, .. }, .. }) = self.events.last_mut() {
            *origin = Some(Origin { file: file.into(), line: Some(line), column: Some(1), text: None });
        }
        task
    }

    pub(super) fn handler(&mut self, name: &str, module: &str) -> TaskId {
        self.start_task(name, module, TaskKind::Handler)
    }

    fn start_task(&mut self, name: &str, module: &str, kind: TaskKind) -> TaskId {
        let task = TaskId(u32::try_from(self.names.len()).unwrap());
        self.names.push((name.to_owned(), module.to_owned(), kind));
        let (name, module, hosts, check) = (name.to_owned(), module.to_owned(), self.hosts.len(), self.is_dry);
        self.push(RunEvent::TaskStarted { play: PlayId(0), task, name, module, kind, hosts, origin: None, check });
        task
    }

    pub(super) fn start(&mut self, task: TaskId, name: &str) -> &mut Script {
        self.push(RunEvent::HostStarted { task, host: host(name), attempt: 1 })
    }

    /// The host is done with the task; `change` is what is special about its result.
    pub(super) fn finish_with(
        &mut self,
        task: TaskId,
        name: &str,
        status: TaskStatus,
        change: impl FnOnce(&mut TaskResult),
    ) -> &mut Script {
        let (task_name, module, kind) = self.names[task.index()].clone();
        let mut result = TaskResult {
            task,
            name: task_name,
            module,
            kind,
            host: host(name),
            status,
            ignored: false,
            rescued: false,
            causes: Vec::new(),
            failed_in: status.is_failure().then_some(FailedIn::Module),
            values: map(&[("changed", (status == TaskStatus::Changed).into())]),
            diff: Vec::new(),
            warnings: Vec::new(),
            items: Vec::new(),
            started_at: self.events.last().unwrap().at,
            elapsed: STEP,
            attempts: 1,
            delegated_to: None,
            no_log: false,
        };
        change(&mut result);
        self.push(RunEvent::HostFinished(Arc::new(result)))
    }

    pub(super) fn ok(&mut self, task: TaskId, name: &str) -> &mut Script {
        self.finish_with(task, name, TaskStatus::Ok, |_| ())
    }

    pub(super) fn changed(&mut self, task: TaskId, name: &str) -> &mut Script {
        self.finish_with(task, name, TaskStatus::Changed, |_| ())
    }

    pub(super) fn skipped(&mut self, task: TaskId, name: &str) -> &mut Script {
        self.finish_with(task, name, TaskStatus::Skipped, |_| ())
    }

    pub(super) fn failed(&mut self, task: TaskId, name: &str, msg: &str) -> &mut Script {
        self.finish_with(task, name, TaskStatus::Failed, |r| {
            r.values.insert("msg".to_owned(), msg.into());
        })
    }

    pub(super) fn unreachable(&mut self, task: TaskId, name: &str, msg: &str) -> &mut Script {
        self.finish_with(task, name, TaskStatus::Unreachable, |r| {
            r.values.insert("msg".to_owned(), msg.into());
            r.values.insert("unreachable".to_owned(), true.into());
        })
    }

    /// Items of a loop, each told of on its own, then the host's result.
    pub(super) fn looped(
        &mut self,
        task: TaskId,
        name: &str,
        status: TaskStatus,
        ignored: bool,
        items: Vec<ItemResult>,
    ) -> &mut Script {
        let items: Vec<Arc<ItemResult>> = items.into_iter().map(Arc::new).collect();
        for item in &items {
            self.push(RunEvent::ItemFinished { task, host: host(name), item: Arc::clone(item) });
        }
        self.finish_with(task, name, status, |r| {
            r.ignored = ignored;
            r.items = items;
        })
    }

    /// The run's end; hosts not named are ok.
    pub(super) fn finish(&mut self, cancelled: Option<CancelReason>, others: &[(&str, HostState)]) -> &mut Script {
        let state = |name: &HostName| {
            others.iter().find(|(other, _)| *other == name.as_str()).map_or(HostState::Ok, |(_, state)| *state)
        };
        let hosts = self.hosts.iter().map(|name| (name.clone(), state(name))).collect();
        let metrics =
            Metrics { bytes_sent: 1000, bytes_received: 2000, concurrency_peak: 3, memory_peak: 4 * 1024 * 1024 };
        let not_begun = Vec::new();
        self.push(RunEvent::RunFinished(RunFinished { hosts, cancelled, stopped_early: false, not_begun, metrics }))
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for stamped in &self.events {
            if let RunEvent::HostFinished(result) = &stamped.event {
                tally.add(result);
            }
        }
        tally
    }
}

pub(super) fn item(label: &str, status: TaskStatus) -> ItemResult {
    let values = map(&[("changed", (status == TaskStatus::Changed).into()), ("item", label.into())]);
    ItemResult {
        label: label.to_owned(),
        status,
        ignored: false,
        causes: Vec::new(),
        failed_in: status.is_failure().then_some(FailedIn::Module),
        values,
        diff: Vec::new(),
        warnings: Vec::new(),
        delegated_to: None,
    }
}

pub(super) fn file_diff(path: &str, before: &str, after: &str) -> Diff {
    Diff {
        before: before.into(),
        after: after.into(),
        before_header: Some(path.to_owned()),
        after_header: Some(path.to_owned()),
    }
}

/// Lines as a test shows them: standard error marked, the empty end of a line made visible, no empty first line.
pub(super) fn shown(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        if line.stream == super::line::Stream::Err {
            text.push_str("stderr: ");
        }
        line.render(None, &mut text);
        if text.ends_with(' ') {
            text.push('$');
        }
        text.push('\n');
    }
    text.trim_matches('\n').to_owned()
}
