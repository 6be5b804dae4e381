//! One task on one host: loop, condition, arguments, module, result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use rustle_protocol::message::{Call, OutputStream};
use rustle_protocol::value::Map;
use rustle_protocol::{CallKey, HostName, ModuleResult, Value};

use super::background::{self, InBackground};
use super::call_key::TryKey;
use super::compile::{is_known, meta_of};
use super::conclude::{CallsMade, TaskDone};
use super::context::{self, CallWatcher, ExecutionContext};
use super::error::Stop;
use super::manner::Manner;
use super::module::ModuleExecutor;
use super::prepare::Prepared;
use super::replay::Sending;
use super::result::Tried;
use super::run::Run;
use super::task_clock::TaskClock;
use crate::dispatch::{Cancel, HostLink, LinkError};
use crate::event::{FailedIn, JobState, RunEvent, TaskStatus};
use crate::fault::Fault;
use crate::journal::Record;
use crate::plan::{FileSearch, Task};
use crate::scheduler::{HostIx, Work};
use crate::template::{Authored, settle};
use crate::vars::{Learnt, PlayVars, Scope, TaskVars};

/// Beyond a task's own time: what the agent needs to end it and to say so.
const AGENT_GRACE: Duration = Duration::from_secs(30);

/// A task at work on a host.
pub(super) struct TaskRun<'a> {
    pub(super) run: &'a Run,
    pub(super) play: &'a PlayVars,
    pub(super) task: &'a Task,
    pub(super) host: &'a HostName,
    pub(super) ix: HostIx,
    pub(super) work: Work,
    pub(super) attempt: u32,
    pub(super) sending: Sending,
    pub(super) cancel: &'a Cancel,
    pub(super) started_at: DateTime<Utc>,
    pub(super) started: Instant,
    pub(super) manner: OnceLock<Manner>,
    /// Of the try that runs.
    pub(super) clock: TaskClock,
    /// Calls made until now and not acknowledged.
    pub(super) calls: Mutex<CallsMade>,
    /// What an action of the controller has to teach, until it is known how the task came out.
    pub(super) taught: Mutex<Vec<Learnt>>,
    /// The items of its loop that hold what is encrypted, by their places.
    pub(super) sealed_items: Mutex<HashMap<usize, Arc<Authored>>>,
    /// Variables that the task sets and that are encrypted, or hold what is.
    pub(super) kept: Mutex<Vec<(String, Authored)>>,
    /// The arguments of a task that a `rescue` may ask for, once they are rendered; never those of a loop's items.
    pub(super) given: OnceLock<Map>,
}

impl TaskRun<'_> {
    /// Runs the task to its end on this host.
    ///
    /// # Errors
    /// The host could not be talked to. Items of a loop that are done stay done for the next try.
    pub(super) async fn perform(&self) -> Result<TaskDone, LinkError> {
        let vars = self.run.task_vars(self.task);
        if let Err(why) = self.render_manner(&vars) {
            let tried = self.skipped_instead(&vars).await.unwrap_or_else(|| Tried::failed(why));
            return Ok(self.conclude(tried, Vec::new(), &vars));
        }
        if self.task.include.is_some() {
            return Ok(self.perform_include());
        }
        if let Some(meta) = meta_of(self.task).filter(|_| self.task.looping.is_none()) {
            return Ok(self.perform_meta(meta, &vars));
        }
        let tried = match settle(|| self.items(&vars)).await {
            Ok(None) => self.perform_item(0, self.run.take_progress(self.host, self.work).tries, &vars).await?,
            Ok(Some(items)) => return self.perform_loop(items, &vars).await,
            Err(failed) => *failed,
        };
        let ended = self.conclude(tried, Vec::new(), &vars);
        Ok(ended)
    }

    /// What a task's conditions say, if they keep it from being run: they come before keywords that cannot be rendered.
    async fn skipped_instead(&self, vars: &TaskVars) -> Option<Tried> {
        let scope = self.scope(vars).ok().filter(|_| self.task.looping.is_none())?;
        match settle(|| self.unmet_condition(&scope)).await {
            Ok(unmet) => unmet.map(Tried::skipped),
            Err(failed) => Some(*failed),
        }
    }

    /// The calls made since this was asked last.
    pub(super) fn take_calls(&self) -> CallsMade {
        std::mem::take(&mut *self.calls())
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, CallsMade> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One item, with as many tries as `until` gives it, less those that were made before.
    pub(super) async fn perform_item(&self, item: u32, tries_before: u32, vars: &TaskVars) -> Result<Tried, LinkError> {
        let scope = match self.scope(vars) {
            Ok(scope) => scope,
            Err(message) => return Ok(Tried::failed(message)),
        };
        match settle(|| self.unmet_condition(&scope)).await {
            Ok(None) => {}
            Ok(Some(condition)) => return Ok(Tried::skipped(condition)),
            Err(failed) => return Ok(*failed),
        }
        let (mut tries, mut delay) = (1, Duration::ZERO);
        if let Some(until) = &self.task.until {
            match self.rendered(&until.retries, "retries", &scope) {
                Ok(retries) => tries = retries.saturating_add(1),
                Err(message) => return Ok(Tried::failed(message)),
            }
            match self.rendered(&until.delay, "delay", &scope) {
                Ok(value) => delay = value,
                Err(message) => return Ok(Tried::failed(message)),
            }
        }
        let prepared = match settle(|| self.prepared(&scope)).await {
            Ok(prepared) => prepared,
            Err(failed) => return Ok(*failed),
        };
        let mut number = tries_before.min(tries.saturating_sub(1)) + 1;
        loop {
            let mut tried = self.try_once(item, number, &prepared).await?;
            // What is tried once is not held against `until`.
            let until = self.task.until.as_ref().filter(|_| tries > 1);
            if until.is_some() {
                // Before it is judged: `changed_when` and `failed_when` may ask for it.
                tried.values.insert("attempts".into(), number.into());
            }
            self.judge(&mut tried, vars);
            let Some(until) = until else { return Ok(tried) };
            let stopped = matches!(tried.status, TaskStatus::Cancelled | TaskStatus::TimedOut | TaskStatus::Skipped);
            match self.is_reached(&until.conditions, &tried, vars) {
                Ok(true) => return Ok(tried),
                _ if stopped => return Ok(tried),
                Ok(false) if number < tries => {
                    self.report_retry(number, tries, &tried, delay);
                    self.keep_try(item, number).await;
                    tokio::select! {
                        () = tokio::time::sleep(delay) => number += 1,
                        () = self.cancel.cancelled() => return Ok(tried),
                    }
                }
                Ok(false) => {
                    tried.give_up();
                    // As Ansible counts when none of them was good enough: one too few.
                    tried.values.insert("attempts".into(), (number - 1).into());
                    return Ok(tried);
                }
                Err(message) => return Ok(Tried::failed(message)),
            }
        }
    }

    /// Whether its result must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.manner().no_log
    }

    async fn keep_try(&self, item: u32, number: u32) {
        let (host, task, round) = (self.host.clone(), self.task.id, self.work.round);
        self.run.record(Record::Tried { host, task, round, item, number }).await;
    }

    fn report_retry(&self, attempt: u32, attempts_max: u32, tried: &Tried, delay: Duration) {
        let is_secret = self.is_secret() || tried.is_secret();
        let reason = if is_secret { "" } else { message(&tried.values) };
        let mut values = if is_secret { Map::new() } else { tried.values.clone() };
        if !is_secret {
            // Ansible counts the first try among them here.
            values.insert("retries".into(), attempts_max.into());
        }
        self.run.sink.emit(RunEvent::Retrying {
            task: self.task.id,
            name: self.name(&self.run.task_vars(self.task)),
            host: self.host.clone(),
            attempt,
            attempts_max,
            reason: reason.to_owned(),
            values,
            delay,
        });
    }

    async fn try_once(&self, item: u32, number: u32, prepared: &Prepared) -> Result<Tried, LinkError> {
        let Prepared { module, args, target, scope, settings, background } = prepared;
        let key = self.key(item, number, &target.host);
        let mut cx = ExecutionContext {
            host: self.host,
            target: &target.host,
            way: &target.way,
            scope,
            target_scope: &target.scope,
            vars: &self.run.environment.vars,
            templar: self.run.templar(),
            blobs: &self.run.environment.blobs,
            files: self.files(),
            fragments: self.run.environment.fragments.as_deref(),
            role: self.task.role.as_deref(),
            settings,
            key,
            calls: 0,
            links: &*self.run.environment.links,
            registry: &self.run.environment.registry,
            is_repeated: self.sending != Sending::First,
            cancel: self.cancel,
            watcher: self,
            taught: &self.taught,
            job: None,
            failed_in: None,
            origins: self.task.call.as_deref(),
            fault: Mutex::default(),
        };
        // What a try before this one had to teach went with it.
        self.take_taught();
        let mut tried = self.execute(module.as_ref(), args.clone(), &mut cx, *background).await?;
        target.note(&mut tried);
        Ok(tried)
    }

    /// Where the task's files are looked for.
    pub(super) fn files(&self) -> &FileSearch {
        self.task.search.as_ref().unwrap_or(&self.run.environment.files)
    }

    pub(super) fn take_taught(&self) -> Vec<Learnt> {
        std::mem::take(&mut *self.taught.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers those of the values that a task sets which hold what is encrypted.
    pub(super) fn keep(&self, values: IndexMap<String, Authored>) {
        let kept = values.into_iter().filter(|(_, value)| value.holds_sealed()).collect();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    pub(super) fn take_kept(&self) -> Vec<(String, Authored)> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn key(&self, item: u32, until_try: u32, target: &HostName) -> TryKey {
        let delegated_by = (target != self.host).then_some(self.ix);
        let anew = match self.sending {
            Sending::First => 0,
            Sending::Again { redo } => redo,
        };
        let cut_off = self.run.cut_off(self.host, self.work).saturating_add(anew);
        TryKey { run: self.run.id, work: self.work, item, until_try, cut_off, delegated_by }
    }

    /// The call that is all this task is, for a segment.
    ///
    /// # Errors
    /// The task's result, if it cannot be made one.
    pub(super) fn as_call(&self) -> Result<Call, Box<Tried>> {
        let fail = |fault: Fault| Box::new(Tried::failed(fault));
        let module = self.run.environment.registry.find(&self.task.module);
        let (module, name) = module
            .and_then(|module| module.as_call().map(|name| (module, name)))
            .ok_or_else(|| fail(format!("module `{}` cannot be part of a segment", self.task.module).into()))?;
        let scope = self.scope(&self.run.task_vars(self.task)).map_err(|message| fail(message.into()))?;
        let target = self.target(&scope).map_err(fail)?;
        let (args, settings) = self.prepare(module.as_ref(), &scope, &target)?;
        let key = self.key(0, 1, self.host).call(0).expect("0 is the first");
        self.calls().kept.push((self.host.clone(), key));
        let mut call = context::call(key, name, args, &settings);
        call.ignore_failure = is_known(&self.task.failure.ignore_errors);
        Ok(call)
    }

    async fn execute(
        &self,
        module: &dyn ModuleExecutor,
        args: Map,
        cx: &mut ExecutionContext<'_>,
        background: Option<InBackground>,
    ) -> Result<Tried, LinkError> {
        let timeout = cx.settings.timeout;
        let limit = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_add(AGENT_GRACE));
        let seconds = timeout.unwrap_or_default().as_secs();
        self.clock.restart();
        let work = async {
            match background {
                Some(background) => background::run(module, args, cx, background).await,
                None => module.execute(args, cx).await,
            }
        };
        match self.clock.timeout(limit, work).await {
            Ok(Ok(result)) => {
                let tried = Tried::finished(result).with_diffs(module.lists_diffs());
                if let Some(fault) = cx.take_fault() {
                    return Ok(tried.found_in(FailedIn::Task).because(fault));
                }
                let own = if module.is_action() { FailedIn::Action } else { FailedIn::Module };
                Ok(tried.found_in(cx.failed_in.unwrap_or(own)))
            }
            Ok(Err(Stop::Unreachable(error))) => Err(error),
            Ok(Err(Stop::Interrupted)) => Err(self.interrupted()),
            Ok(Err(Stop::TimedOut(result))) => Ok(timed_out(*result, seconds)),
            Ok(Err(Stop::Cancelled(result))) => Ok(Tried::of(cancelled(*result), TaskStatus::Cancelled)),
            Err(_) => {
                let result = ModuleResult::failed("").with(
                    "msg",
                    format!("the agent did not say that the task ended, {} s past its time", AGENT_GRACE.as_secs()),
                );
                Ok(timed_out(result, seconds))
            }
        }
    }

    /// The agent died while the task ran, and it may be run again: what was done until then is done again.
    pub(super) fn interrupted(&self) -> LinkError {
        self.run.note_cut_off(self.host, self.work);
        LinkError::transient("the agent died while the task ran").after_start(true)
    }

    /// Whether a second run after a whole or half first one ends in the same state.
    pub(super) fn is_repeatable(&self) -> bool {
        self.run.environment.registry.find(&self.task.module).is_some_and(|module| module.is_idempotent())
    }

    pub(super) fn lists_diffs(&self) -> bool {
        self.run.environment.registry.find(&self.task.module).is_some_and(|module| module.lists_diffs())
    }

    pub(super) fn scope(&self, vars: &TaskVars) -> Result<Scope, String> {
        let of = |vars: &TaskVars| {
            self.run.environment.vars.scope(self.host.as_str(), self.play, vars).map_err(|error| error.to_string())
        };
        let scope = of(vars)?;
        if self.run.plan.play(self.task.play).late_vars_files.is_empty() {
            return Ok(scope);
        }
        let late = self.run.late_vars(self.task.play, self.host, &scope)?;
        let layers = late.into_iter().chain(vars.layers.iter().cloned()).collect();
        of(&TaskVars { layers, ..vars.clone() })
    }

    /// The name for this host.
    pub(super) fn name(&self, vars: &TaskVars) -> String {
        self.run.title(self.task.title(), self.host, self.play, vars)
    }
}

impl CallWatcher for TaskRun<'_> {
    fn is_not_resumed(&self) {
        self.run.note_cut_off(self.host, self.work);
    }

    fn waits(&self, waits: bool) {
        self.clock.waits(waits);
    }

    fn polled(&self, job: &str, state: JobState) {
        let (task, host) = (self.task.id, self.host.clone());
        self.run.sink.emit(RunEvent::JobPolled { task, host, job: job.to_owned(), state });
    }

    fn told(&self, host: &HostName, key: CallKey, link: &dyn HostLink) {
        match link.is_local() {
            true => self.calls().only_here = true,
            false => self.calls().kept.push((host.clone(), key)),
        }
    }

    fn started(&self) {
        self.run.sink.emit(RunEvent::HostStarted {
            task: self.task.id,
            host: self.host.clone(),
            attempt: self.attempt,
        });
    }

    fn output(&self, stream: OutputStream, bytes: Vec<u8>) {
        self.run.sink.emit(RunEvent::Output { task: self.task.id, host: self.host.clone(), stream, bytes });
    }
}

/// A result as Ansible's, which has changed nothing that is known and whose `timedout` has the `period` of seconds that the task
/// had; what it had said until then is in it, too.
pub(super) fn timed_out(mut result: ModuleResult, seconds: u64) -> Tried {
    result.failed = true;
    result.changed = false;
    result.set("msg", format!("Timed out after {seconds} second(s); the task was stopped and its processes are gone"));
    let period = Map::from_iter([("period".to_owned(), Value::from(seconds))]);
    Tried::of(result.with("timedout", period), TaskStatus::TimedOut).found_in(FailedIn::Task)
}

pub(super) fn cancelled(mut result: ModuleResult) -> ModuleResult {
    result.failed = true;
    result.set("msg", "the task was stopped, since the run was cancelled or its host given up");
    result
}

fn message(values: &Map) -> &str {
    values.get("msg").and_then(Value::as_str).unwrap_or_default()
}
