//! One task on one host: loop, condition, arguments, module, result.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rustle_protocol::message::{Call, OutputStream};
use rustle_protocol::value::Map;
use rustle_protocol::{CallKey, HostName, ModuleResult, Value};

use super::background::{self, InBackground};
use super::call_key::TryKey;
use super::compile::{is_known, meta_of};
use super::context::{self, CallSettings, CallWatcher, ExecutionContext};
use super::error::Stop;
use super::manner::Manner;
use super::module::ModuleExecutor;
use super::replay::Sending;
use super::result::{Tried, registered, registered_loop};
use super::run::Run;
use super::run_as::become_of;
use super::target::{Target, delegated_to, owner_of_facts};
use super::task_clock::TaskClock;
use crate::actions::Meta;
use crate::dispatch::{Cancel, LinkError};
use crate::event::{ItemResult, JobState, RunEvent, TaskResult, TaskStatus};
use crate::journal::Record;
use crate::plan::check::no_inner_arguments;
use crate::plan::{Keyword, KeywordValue, Task};
use crate::scheduler::{Effect, HostIx, Outcome, Verdict, Work};
use crate::template::{TemplateError, needs_rendering, settle};
use crate::vars::{InventoryChange, Learnt, Lesson, PlayVars, Scope, TaskVars, Variable};

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
    /// Calls made until now and not acknowledged, by the hosts that ran them.
    pub(super) calls: Mutex<Vec<(HostName, CallKey)>>,
    /// What an action of the controller has to teach, until it is known how the task came out.
    pub(super) taught: Mutex<Vec<Learnt>>,
}

/// What every try of an item is given.
struct Prepared {
    module: Arc<dyn ModuleExecutor>,
    args: Map,
    target: Target,
    /// The task's variables, with those of whom it is delegated to.
    scope: Scope,
    settings: CallSettings,
    background: Option<InBackground>,
}

/// What came of it: the public result, what the scheduler is told, and what is known now.
pub(super) struct TaskDone {
    pub(super) result: TaskResult,
    pub(super) outcome: Outcome,
    /// What it taught, and has been taken in.
    pub(super) lessons: Vec<Lesson>,
    /// The calls that it came from.
    pub(super) calls: Vec<(HostName, CallKey)>,
}

impl TaskRun<'_> {
    /// Runs the task to its end on this host.
    ///
    /// # Errors
    /// The host could not be talked to. Items of a loop that are done stay done for the next try.
    pub(super) async fn perform(&self) -> Result<TaskDone, LinkError> {
        let vars = self.run.task_vars(self.task);
        if let Err(why) = self.render_manner(&vars) {
            return Ok(self.conclude(Tried::failed(why), Vec::new(), &vars));
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

    /// The calls made since this was asked last.
    pub(super) fn take_calls(&self) -> Vec<(HostName, CallKey)> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
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
        let reason = if self.is_secret() { "" } else { message(&tried.values) };
        self.run.sink.emit(RunEvent::Retrying {
            task: self.task.id,
            host: self.host.clone(),
            attempt,
            attempts_max,
            reason: reason.to_owned(),
            delay,
        });
    }

    fn is_reached(&self, conditions: &[String], tried: &Tried, vars: &TaskVars) -> Result<bool, String> {
        if conditions.is_empty() {
            return Ok(!tried.status.is_failure());
        }
        self.holds_of(conditions, tried, vars).map_err(|error| unresolved(&error))
    }

    /// The first `when` that does not hold.
    pub(super) fn unmet_condition(&self, scope: &Scope) -> Result<Option<&str>, Box<Tried>> {
        for condition in &self.task.when {
            match self.run.templar().condition(condition, scope, self.run.options.conditionals) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(condition)),
                Err(error) => return Err(Box::new(Tried::failed(unresolved(&error)))),
            }
        }
        Ok(None)
    }

    /// What is the same for all tries: arguments are rendered once, whatever they look up.
    fn prepared(&self, scope: &Scope) -> Result<Prepared, Box<Tried>> {
        let fail = |message: String| Box::new(Tried::failed(message));
        let name = self.module_name(scope).map_err(fail)?;
        let found = self.run.environment.registry.find(&name);
        let module = found.ok_or_else(|| fail(format!("there is no module `{name}`")))?;
        let target = self.target(scope).map_err(fail)?;
        let scope = target.seen_by_task(scope);
        let (args, settings) = self.prepare(module.as_ref(), &scope, &target).map_err(|message| {
            let mut tried = Tried::failed(message);
            target.note(&mut tried);
            Box::new(tried)
        })?;
        if settings.check && !module.supports_check_mode() {
            let name = &self.task.module;
            let msg = match module.is_action() {
                true => format!("This action ({name}) does not support check mode."),
                false => format!("remote module ({name}) does not support check mode"),
            };
            return Err(Box::new(Tried::finished(ModuleResult::skipped(msg))));
        }
        let background = self.background(&scope).map_err(fail)?;
        if background.is_some() && !module.supports_async() {
            return Err(fail(format!("This action ({}) does not support async.", self.task.module)));
        }
        Ok(Prepared { module, args, target, scope, settings, background })
    }

    fn background(&self, scope: &Scope) -> Result<Option<InBackground>, String> {
        let Some(background) = &self.task.background else { return Ok(None) };
        let limit = self.rendered(&background.limit, "async", scope)?;
        let poll = self.rendered(&background.poll, "poll", scope)?;
        Ok((!limit.is_zero()).then_some(InBackground { limit, poll }))
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
            files: self.task.search.as_ref().unwrap_or(&self.run.environment.files),
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
        };
        // What a try before this one had to teach went with it.
        self.take_taught();
        let mut tried = self.execute(module.as_ref(), args.clone(), &mut cx, *background).await?;
        target.note(&mut tried);
        Ok(tried)
    }

    /// The module that is to run: `action` may name it by a template.
    fn module_name(&self, scope: &Scope) -> Result<Cow<'_, str>, String> {
        if !needs_rendering(&self.task.module) {
            return Ok(Cow::Borrowed(&self.task.module));
        }
        let name = self.run.templar().render_text(&self.task.module, scope);
        name.map(Cow::Owned).map_err(|error| unresolved(&error))
    }

    fn take_taught(&self) -> Vec<Learnt> {
        std::mem::take(&mut *self.taught.lock().unwrap_or_else(PoisonError::into_inner))
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
        let fail = |msg: String| Box::new(Tried::failed(msg));
        let module = self.run.environment.registry.find(&self.task.module);
        let (module, name) = module
            .and_then(|module| module.as_call().map(|name| (module, name)))
            .ok_or_else(|| fail(format!("module `{}` cannot be part of a segment", self.task.module)))?;
        let scope = self.scope(&self.run.task_vars(self.task)).map_err(fail)?;
        let target = self.target(&scope).map_err(fail)?;
        let (args, settings) = self.prepare(module.as_ref(), &scope, &target).map_err(fail)?;
        let key = self.key(0, 1, self.host).call(0).expect("0 is the first");
        self.told(self.host, key);
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
            Ok(Ok(result)) => Ok(Tried::finished(result).with_diffs(module.lists_diffs())),
            Ok(Err(Stop::Unreachable(error))) => Err(error),
            Ok(Err(Stop::Interrupted)) => Err(self.interrupted()),
            Ok(Err(Stop::TimedOut(result))) => Ok(Tried::of(timed_out(*result, seconds), TaskStatus::TimedOut)),
            Ok(Err(Stop::Cancelled(result))) => Ok(Tried::of(cancelled(*result), TaskStatus::Cancelled)),
            Err(_) => {
                let result = ModuleResult::failed("").with(
                    "msg",
                    format!("the agent did not say that the task ended, {} s past its time", AGENT_GRACE.as_secs()),
                );
                Ok(Tried::of(timed_out(result, seconds), TaskStatus::TimedOut))
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

    /// Arguments and settings for this host, or the sentence that says why they cannot be had.
    fn prepare(
        &self,
        module: &dyn ModuleExecutor,
        scope: &Scope,
        target: &Target,
    ) -> Result<(Map, CallSettings), String> {
        let templar = self.run.templar();
        let args = self.args(module, scope)?;
        no_inner_arguments(module.name(), args.keys())
            .and_then(|()| module.validate_args(&args))
            .map_err(|error| error.to_string())?;
        let mut environment = Map::new();
        for part in &self.task.environment {
            match templar.render(part, scope).map_err(|error| in_keyword("environment", error))? {
                Value::Map(part) => environment.extend(part),
                other => return Err(format!("environment must be a dict, not {}", other.to_json())),
            }
        }
        Ok((args, self.settings(environment, scope, target)?))
    }

    /// What a keyword says on this host, or the sentence that says why it says nothing.
    pub(super) fn rendered<T: KeywordValue + Default>(
        &self,
        keyword: &Keyword<T>,
        name: &str,
        scope: &Scope,
    ) -> Result<T, String> {
        self.rendered_or(Some(keyword), name, T::default(), scope)
    }

    /// As [`rendered`](Self::rendered); `default` for what is not said, or omitted.
    fn rendered_or<T: KeywordValue>(
        &self,
        keyword: Option<&Keyword<T>>,
        name: &str,
        default: T,
        scope: &Scope,
    ) -> Result<T, String> {
        let Some(keyword) = keyword else { return Ok(default) };
        let rendered = keyword.render(self.run.templar(), scope).map_err(|why| in_keyword(name, why))?;
        Ok(rendered.unwrap_or(default))
    }

    fn settings(&self, environment: Map, scope: &Scope, target: &Target) -> Result<CallSettings, String> {
        let (options, task) = (&self.run.options, self.task);
        let text = |value: Value| rustle_agent::module::shown(&value);
        let flag = |keyword: &Option<Keyword<bool>>, name: &str, default: bool| {
            self.rendered_or(keyword.as_ref(), name, default, scope)
        };
        // `async` is its own time.
        let default = if task.background.is_some() { Duration::ZERO } else { options.timeout };
        let timeout = self.rendered_or(task.timeout.as_ref(), "timeout", default, scope)?;
        Ok(CallSettings {
            check: flag(&task.check_mode, "check_mode", options.check)?,
            diff: flag(&task.diff, "diff", options.diff)?,
            verbosity: options.verbosity,
            conditionals: options.conditionals,
            timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            no_log: self.is_secret(),
            live_output: options.live_output && !self.is_secret(),
            environment: environment.into_iter().map(|(name, value)| (name, text(value))).collect(),
            become_user: become_of(
                &self.task.run_as,
                options.run_as.as_ref(),
                self.run.templar(),
                scope,
                &target.scope,
            )?,
        })
    }

    /// `changed_when` and `failed_when` have the last word.
    fn judge(&self, tried: &mut Tried, vars: &TaskVars) {
        if !matches!(tried.status, TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Failed) {
            return;
        }
        for (conditions, is_failure) in [(&self.task.failed_when, true), (&self.task.changed_when, false)] {
            if conditions.is_empty() {
                continue;
            }
            match self.holds_of(conditions, tried, vars) {
                Ok(holds) if is_failure => {
                    tried.values.insert("failed_when_result".into(), holds.into());
                    if holds { tried.set_failed(true) } else { tried.excuse() }
                }
                Ok(holds) => tried.set_changed(holds),
                Err(error) => {
                    let name = if is_failure { "failed_when_result" } else { "changed_when_result" };
                    tried.values.insert(name.into(), error.to_string().into());
                    tried.set_failed(true);
                }
            }
        }
    }

    /// The task's variables and the result under its registered name.
    pub(super) fn with_result(&self, tried: &Tried, vars: &TaskVars) -> TaskVars {
        let mut locals = vars.locals.as_deref().cloned().unwrap_or_default();
        if let Some(name) = &self.task.register {
            locals.insert(name.clone(), Variable::data(Value::Map(registered(&tried.values))));
        }
        vars.with_locals(locals)
    }

    /// Whether all conditions hold, seen with the result under its registered name.
    pub(super) fn holds_of(
        &self,
        conditions: &[String],
        tried: &Tried,
        vars: &TaskVars,
    ) -> Result<bool, TemplateError> {
        let vars = self.with_result(tried, vars);
        for condition in conditions {
            let scope = self.scope(&vars).map_err(|message| TemplateError::Failed { message })?;
            if !self.run.templar().condition(condition, &scope, self.run.options.conditionals)? {
                return Ok(false);
            }
        }
        Ok(true)
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

    /// Facts and `set_fact` values of a result.
    pub(super) fn lessons(&self, tried: &Tried) -> Vec<Lesson> {
        let taught = self.take_taught();
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
                // As in Ansible what may be cached is a fact as well, and stays set if facts are cleared.
                lessons.extend((cacheable || !is_set_fact).then(|| lesson(Learnt::Facts(facts.clone()))));
            }
        }
        lessons.extend(taught.into_iter().map(lesson));
        lessons
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

    /// Registers, learns, and makes of the result what others see.
    pub(super) fn conclude(&self, mut tried: Tried, items: Vec<Arc<ItemResult>>, vars: &TaskVars) -> TaskDone {
        let notified = self.notified(&mut tried, vars);
        // What items taught is known already.
        let mut lessons = if items.is_empty() { self.lessons(&tried) } else { Vec::new() };
        let value = || if items.is_empty() { registered(&tried.values) } else { registered_loop(&tried.values) };
        lessons.extend(self.task.register.is_some().then(value).and_then(|value| self.registers(value)));
        self.learn(&lessons);
        let manner = self.manner();
        let ignored = manner.ignore_errors && matches!(tried.status, TaskStatus::Failed | TaskStatus::TimedOut);
        let outcome = Outcome {
            verdict: verdict(tried.status),
            ignored,
            notified,
            effect: self.effect(tried.status),
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
        let Tried { status, values, diff, warnings } = tried;
        let result = TaskResult {
            task: self.task.id,
            name: self.name(vars),
            module: self.task.module.clone(),
            kind: self.task.kind,
            host: self.host.clone(),
            status,
            ignored,
            rescued,
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

    /// Tells the `rescue` what it rescues, in Ansible's variables.
    fn explain_rescue(&self, tried: &Tried, vars: &TaskVars) {
        let args = self.task.args.iter().map(|(name, value)| (name.clone(), value.source()));
        let task = Map::from_iter([
            ("name".to_owned(), self.name(vars).into()),
            ("action".to_owned(), self.task.module.as_str().into()),
            ("args".to_owned(), Value::Map(args.collect())),
        ]);
        let store = &self.run.environment.vars;
        // The host is one of the run's.
        let _ = store.set_fact(self.host.as_str(), "ansible_failed_task", Value::Map(task));
        let _ = store.set_fact(self.host.as_str(), "ansible_failed_result", Value::Map(registered(&tried.values)));
    }

    /// The name for this host; as it was written if it cannot be rendered, which is no reason to fail.
    pub(super) fn name(&self, vars: &TaskVars) -> String {
        let title = self.task.title();
        if !needs_rendering(title) {
            return title.to_owned();
        }
        let rendered = self.scope(vars).ok().and_then(|scope| self.run.templar().render_text(title, &scope).ok());
        rendered.unwrap_or_else(|| title.to_owned())
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

    fn told(&self, host: &HostName, key: CallKey) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push((host.clone(), key));
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

pub(super) fn timed_out(mut result: ModuleResult, seconds: u64) -> ModuleResult {
    result.failed = true;
    result.set("msg", format!("Timed out after {seconds} second(s); the task was stopped and its processes are gone"));
    result.with("timedout", true)
}

pub(super) fn cancelled(mut result: ModuleResult) -> ModuleResult {
    result.failed = true;
    result.set("msg", "the task was stopped because the run was cancelled");
    result
}

/// A template of the task that gave no value, as Ansible says it.
pub(super) fn unresolved(error: &TemplateError) -> String {
    format!("Task failed: {error}")
}

pub(super) fn in_keyword(name: &str, error: impl std::fmt::Display) -> String {
    format!("Task failed: Error processing keyword '{name}': {error}")
}

fn message(values: &Map) -> &str {
    values.get("msg").and_then(Value::as_str).unwrap_or_default()
}
