//! What comes of a task on one host: what is learnt from it, and what the scheduler and everybody else are told.

use std::sync::Arc;

use rustle_protocol::value::Map;
use rustle_protocol::{CallKey, HostName, Value};

use super::compile::meta_of;
use super::result::{Tried, registered, registered_loop};
use super::target::{delegated_to, owner_of_facts};
use super::task::TaskRun;
use crate::actions::Meta;
use crate::event::{CancelReason, ItemResult, RunEvent, TaskResult, TaskStatus};
use crate::scheduler::{Effect, Outcome, Verdict};
use crate::vars::{FACTS_GATHERED, InventoryChange, Learnt, Lesson, TaskVars};

/// A task's calls whose results have come.
#[derive(Debug, Default)]
pub(super) struct CallsMade {
    /// By agents, which keep the results until they are acknowledged; by their hosts.
    pub(super) kept: Vec<(HostName, CallKey)>,
    /// Some call was run by no agent: only the journal keeps its result.
    pub(super) only_here: bool,
}

/// What came of it: the public result, what the scheduler is told, and what is known now.
pub(super) struct TaskDone {
    pub(super) result: TaskResult,
    pub(super) outcome: Outcome,
    /// What it taught, and has been taken in.
    pub(super) lessons: Vec<Lesson>,
    /// The calls that it came from.
    pub(super) calls: CallsMade,
}

impl TaskRun<'_> {
    /// Registers, learns, and makes of the result what others see.
    pub(super) fn conclude(&self, tried: Tried, items: Vec<Arc<ItemResult>>, vars: &TaskVars) -> TaskDone {
        self.conclude_as(tried, items, vars, self.manner().ignore_errors, std::slice::from_ref(vars))
    }

    /// The same, with what only a loop's items know: whether a failure is ignored, and the variables of all that notify.
    pub(super) fn conclude_as(
        &self,
        mut tried: Tried,
        items: Vec<Arc<ItemResult>>,
        vars: &TaskVars,
        ignore_errors: bool,
        notifying: &[TaskVars],
    ) -> TaskDone {
        let notified = self.notified(&mut tried, notifying);
        // What items taught is known already.
        let mut lessons = if items.is_empty() { self.lessons(&tried) } else { Vec::new() };
        let value = || if items.is_empty() { registered(&tried.values) } else { registered_loop(&tried.values) };
        lessons.extend(self.task.register.is_some().then(value).and_then(|value| self.registers(value)));
        self.learn(&lessons);
        let manner = self.manner();
        let ignored = ignore_errors && matches!(tried.status, TaskStatus::Failed | TaskStatus::TimedOut);
        let outcome = Outcome {
            verdict: verdict(tried.status),
            ignored,
            notified: notified.handlers,
            effect: if notified.ends_run {
                Effect::EndRun(CancelReason::PlanBroken)
            } else {
                self.effect(tried.status)
            },
            included: Vec::new(),
            fatal: manner.on_failure.any_errors_fatal,
            for_all: manner.for_all,
            throttle: manner.throttle,
        };
        let rescued =
            self.work.rescued && !ignored && matches!(tried.status, TaskStatus::Failed | TaskStatus::TimedOut);
        if rescued {
            self.explain_rescue(&tried, vars);
        }
        let never_ran = tried.status == TaskStatus::Skipped;
        let delegated_to = delegated_to(&tried.values);
        let is_secret = self.is_secret() || tried.is_secret();
        let tried = if is_secret { tried.censored() } else { tried };
        let failed_in = tried.failed_in();
        let Tried { status, causes, values, diff, warnings, .. } = tried;
        let result = TaskResult {
            task: self.task.id,
            name: self.name(vars),
            module: self.task.module.clone(),
            kind: self.task.kind,
            host: self.host.clone(),
            status,
            ignored,
            rescued,
            failed_in,
            causes,
            values,
            diff,
            warnings,
            items,
            started_at: self.started_at,
            elapsed: self.started.elapsed(),
            attempts: if never_ran { 0 } else { self.attempt },
            delegated_to,
            no_log: is_secret,
        };
        TaskDone { result, outcome, lessons, calls: self.take_calls() }
    }

    /// Facts and `set_fact` values of a result.
    pub(super) fn lessons(&self, tried: &Tried) -> Vec<Lesson> {
        let (taught, kept) = (self.take_taught(), self.take_kept());
        if tried.status.is_failure() {
            return Vec::new();
        }
        let lesson = |what| match owner_of_facts(&tried.values) {
            Some(owner) => Lesson { host: owner.to_string(), what, others: Vec::new() },
            None => self.lesson(what),
        };
        let mut lessons = Vec::new();
        match meta_of(self.task) {
            Some(Meta::ClearFacts) => lessons.push(lesson(Learnt::FactsCleared)),
            Some(Meta::RefreshInventory) => lessons.push(lesson(Learnt::Inventory(InventoryChange::Refresh))),
            _ => {}
        }
        if let Some(Value::Map(facts)) = tried.values.get("ansible_facts") {
            let is_set_fact = rustle_agent::module::short_name(&self.task.module) == "set_fact";
            let cacheable = tried.values.get("_ansible_facts_cacheable") == Some(&Value::Bool(true));
            // An action that teaches has said itself what its facts are.
            if taught.is_empty() {
                lessons.extend(is_set_fact.then(|| lesson(Learnt::Set(facts.clone()))));
                lessons.extend((!kept.is_empty()).then(|| lesson(Learnt::Kept(kept))));
                // As in Ansible what may be cached is a fact as well, and stays set if facts are cleared.
                lessons.extend((cacheable || !is_set_fact).then(|| lesson(Learnt::Facts(self.noted(facts)))));
            }
        }
        lessons.extend(taught.into_iter().map(lesson));
        lessons
    }

    /// The facts, and that they were gathered if they were.
    fn noted(&self, facts: &Map) -> Map {
        let mut facts = facts.clone();
        if rustle_agent::module::short_name(&self.task.module) == "gather_facts" {
            facts.insert(FACTS_GATHERED.to_owned(), true.into());
        }
        facts
    }

    /// Something that the host has taught, of all of the batch if the task ran for all. The inventory is everybody's anyhow.
    fn lesson(&self, what: Learnt) -> Lesson {
        let is_other = |host: &&str| *host != self.host.as_str();
        let is_of_hosts = !matches!(what, Learnt::Inventory(_));
        let others = match self.manner().for_all && is_of_hosts {
            true => self.play.batch().filter(is_other).map(str::to_owned).collect(),
            false => Vec::new(),
        };
        Lesson { host: self.host.to_string(), what, others }
    }

    /// The result under the name that the task registers it with, if any.
    pub(super) fn registers(&self, result: Map) -> Option<Lesson> {
        let name = self.task.register.clone()?;
        Some(self.lesson(Learnt::Set([(name, Value::Map(result))].into())))
    }

    /// Takes in what the task has taught, and tells what the operator should know of it.
    pub(super) fn learn(&self, lessons: &[Lesson]) {
        for lesson in lessons {
            for message in self.run.environment.vars.learn(lesson) {
                self.run.sink.emit(RunEvent::Warning { message, host: Some(self.host.clone()) });
            }
            if matches!(lesson.what, Learnt::Facts(_) | Learnt::FactsCleared) {
                let hosts = lesson.others.iter().chain([&lesson.host]);
                hosts.filter_map(|host| HostName::new(host).ok()).for_each(|host| self.run.cache_facts(&host));
            }
        }
    }

    fn effect(&self, status: TaskStatus) -> Effect {
        if status == TaskStatus::Skipped {
            return Effect::None;
        }
        match meta_of(self.task) {
            Some(Meta::EndHost) => Effect::EndHost,
            Some(Meta::EndRole) => Effect::EndRole,
            Some(Meta::EndBatch) => Effect::EndBatch,
            Some(Meta::EndPlay) => Effect::EndPlay,
            Some(Meta::ClearHostErrors) => Effect::ClearHostErrors,
            Some(Meta::FlushHandlers) => Effect::FlushHandlers,
            Some(Meta::ClearFacts | Meta::RefreshInventory | Meta::ResetConnection | Meta::Noop) | None => Effect::None,
        }
    }
}

fn verdict(status: TaskStatus) -> Verdict {
    match status {
        TaskStatus::Ok => Verdict::Ok,
        TaskStatus::Changed => Verdict::Changed,
        TaskStatus::Skipped => Verdict::Skipped,
        TaskStatus::Failed | TaskStatus::Unreachable => Verdict::Failed,
        TaskStatus::TimedOut => Verdict::TimedOut,
        TaskStatus::Cancelled => Verdict::Cancelled,
    }
}
