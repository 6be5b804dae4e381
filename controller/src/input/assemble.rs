//! A plan in the making, whatever it is read from: numbers tasks, expands blocks, and refuses a plan for nobody.

use std::collections::BTreeSet;

use rustle_protocol::HostName;
use rustle_protocol::value::Map;

use super::{Context, InputError, arguments, keywords, raw_task};
use crate::event::TaskKind;
use crate::plan::{Plan, Play, PlayId, RunAs, Task, TaskId};

/// Tasks of one plan. Rolling plans repeat each task for every batch, so a real plan of this many would be gigabytes.
const TASKS_MAX: usize = 1_000_000;

pub(super) struct Assembly {
    plays: Vec<Play>,
    tasks: Vec<Task>,
    warnings: Vec<String>,
    /// What the play that was begun last says for its tasks.
    run_as: RunAs,
    pub(super) check_mode: bool,
}

impl Assembly {
    pub(super) fn new() -> Assembly {
        Assembly {
            plays: Vec::new(),
            tasks: Vec::new(),
            warnings: Vec::new(),
            run_as: RunAs::default(),
            check_mode: false,
        }
    }

    pub(super) fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Begins the next play; tasks go there from now on.
    ///
    /// # Errors
    /// A keyword that means nothing.
    pub(super) fn begin(&mut self, mut play: Play, more: &Map, cx: &Context<'_>) -> Result<(), InputError> {
        let invalid = |what: String, play: &Play| cx.invalid(format!("play `{}`: {what}", play.name), None);
        self.run_as = keywords::of_play(&mut play, more).map_err(|what| invalid(what, &play))?;
        self.plays.push(play);
        Ok(())
    }

    /// The hosts of the play that was begun last.
    pub(super) fn hosts(&self) -> &[HostName] {
        self.plays.last().map(|play| play.hosts.as_slice()).unwrap_or_default()
    }

    /// `None` if these are all hosts of the play.
    pub(super) fn narrowed(&self, hosts: &BTreeSet<&HostName>) -> Option<BTreeSet<HostName>> {
        let all = hosts.is_empty() || self.hosts().iter().all(|host| hosts.contains(host));
        (!all).then(|| hosts.iter().copied().cloned().collect())
    }

    /// An empty task of the play that was begun last, to be filled and added.
    pub(super) fn task(&self, kind: TaskKind, module: &str) -> Task {
        let play = PlayId(self.plays.len().saturating_sub(1) as u32);
        Task { kind, run_as: self.run_as.clone(), ..Task::new(TaskId(self.tasks.len() as u32), play, module) }
    }

    /// Adds a task with the arguments that the file has for it; a block is replaced by its tasks.
    pub(super) fn add(&mut self, mut task: Task, args: &Map, place: &str, cx: &Context<'_>) -> Result<(), InputError> {
        let invalid = |what: String| cx.invalid(format!("{place}: {what}"), None);
        if task.module == "block" {
            self.warn(format!("{place}: rescue and always sections of blocks are not in the plan; a failure inside just fails the host"));
            let items = args.get("_raw_params").cloned().unwrap_or_default();
            for inner in raw_task::expand(&task, &items, cx.modules).map_err(invalid)? {
                self.push(inner, cx)?;
            }
            return Ok(());
        }
        task.args = arguments::convert(&task.module, args, cx.modules).map_err(invalid)?;
        if task.looping.is_some() {
            self.warn(format!("{place}: rustle-parse has already put an empty text in the place of `item`"));
        }
        self.push(task, cx)
    }

    fn push(&mut self, mut task: Task, cx: &Context<'_>) -> Result<(), InputError> {
        if self.tasks.len() >= TASKS_MAX {
            return Err(cx.invalid(format!("more than {TASKS_MAX} tasks"), Some("cut the plan into several")));
        }
        task.id = TaskId(self.tasks.len() as u32);
        if let Some(play) = self.plays.last_mut() {
            match task.kind {
                TaskKind::Task => play.tasks.push(task.id),
                TaskKind::Handler => play.handlers.push(task.id),
            }
        }
        self.tasks.push(task);
        Ok(())
    }

    /// The plan, with a warning for each play for nobody.
    ///
    /// # Errors
    /// If that is all of them.
    pub(super) fn finish(mut self, cx: &Context<'_>) -> Result<Plan, InputError> {
        let empty: Vec<String> = self
            .plays
            .iter()
            .filter(|play| play.hosts.is_empty())
            .map(|play| {
                format!(
                    "play `{}` has no hosts: {}",
                    play.name,
                    play.empty_reason.as_deref().unwrap_or("it names none")
                )
            })
            .collect();
        if empty.len() == self.plays.len() {
            let what = format!("no play has a host; {}", empty.first().cloned().unwrap_or_default());
            let hint = "give the parsed playbook with --parsed, which names groups, or plan `hosts: all` from `rustle-parse --limit GROUP`";
            return Err(cx.invalid(what, Some(hint)));
        }
        self.warnings.splice(0..0, empty);
        if self.tasks.iter().all(|task| task.kind == TaskKind::Handler) {
            self.warnings.push("the plan holds no task".into());
        }
        if self.check_mode {
            self.warnings.push("the plan was made for a dry run, so it runs in check mode and changes nothing".into());
        }
        Ok(Plan {
            sources: vec![cx.source.to_string()],
            plays: self.plays,
            tasks: self.tasks,
            blocks: Vec::new(),
            check_mode: self.check_mode,
            diff: false,
            forks: None,
            digest: String::new(),
            warnings: self.warnings,
        })
    }
}
