//! [`ExecutionEngine`]: what a program that embeds the controller works with.

use std::path::Path;
use std::sync::Arc;

use rustle_protocol::{HostName, RunId};
use tokio::sync::{Mutex, oneshot};

use super::compile::{HostTable, compile};
use super::control::{self, Control, Controls, Mouth};
use super::drive::Drive;
use super::error::ExecutionError;
use super::links::{Links, LocalLinks};
use super::module::Registry;
use super::recorder::Recorded;
use super::run::{Run, RunOptions};
use super::sink::EventSink;
use crate::dispatch::Blobs;
use crate::event::{
    CancelReason, EVENT_VERSION, HostState, RunEvent, RunFinished, RunStarted, Status, TaskKind, TaskResult, TaskStatus,
};
use crate::plan::{FileSearch, Fragments, Keyword, Plan, Task};
use crate::scheduler::Scheduler;
use crate::template::Templar;
use crate::vars::{HostEntry, InventoryVars, RunInfo, VarStore};

/// Hosts in one run. Each takes some 50 KiB of the controller's memory once it is connected.
const HOSTS_MAX: usize = 100_000;

/// What a run works with besides its plan.
#[derive(Clone)]
pub struct Environment {
    pub vars: VarStore,
    pub registry: Registry,
    pub links: Arc<dyn Links>,
    pub blobs: Blobs,
    pub files: FileSearch,
    /// Reads what tasks include; `None` for plans that include nothing.
    pub fragments: Option<Arc<dyn Fragments>>,
}

impl Environment {
    /// For `hosts` that all are this machine: modules run in this process, without agents. Files are looked for in the
    /// working directory.
    pub fn local<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> Environment {
        let hosts =
            hosts.into_iter().map(|name| HostEntry { name: name.to_string(), ..HostEntry::default() }).collect();
        let inventory = InventoryVars { hosts, groups: Default::default() };
        let vars = VarStore::new(inventory, Default::default(), RunInfo::default(), Templar::new());
        let blobs = Blobs::default();
        Environment::new(vars, Arc::new(LocalLinks::new(blobs.clone())), blobs, Path::new("plan"))
    }

    /// Files are looked for beside `plan`.
    pub fn new(vars: VarStore, links: Arc<dyn Links>, blobs: Blobs, plan: &Path) -> Environment {
        let base = plan.parent().unwrap_or(Path::new("."));
        Environment { vars, registry: Registry::native(), links, blobs, files: FileSearch::new(base), fragments: None }
    }
}

/// Runs plans, one at a time. All methods may be called while a run is under way, from other tasks.
pub struct ExecutionEngine {
    environment: Environment,
    options: RunOptions,
    mouth: Mouth,
    controls: Mutex<Controls>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    pub run: RunId,
    pub finished: RunFinished,
}

impl RunOutcome {
    /// Whether every host went through.
    pub fn is_success(&self) -> bool {
        self.finished.cancelled.is_none()
            && !self.finished.stopped_early
            && self.finished.hosts.iter().all(|(_, state)| matches!(state, HostState::Ok | HostState::NotStarted))
    }
}

impl ExecutionEngine {
    pub fn new(environment: Environment, options: RunOptions) -> ExecutionEngine {
        let (mouth, controls) = control::channel();
        ExecutionEngine { environment, options, mouth, controls: Mutex::new(controls) }
    }

    /// Runs `plan` to its end and tells `sink` everything that happens, but for the last event, which the caller
    /// completes with what the connections counted and emits itself: see [`RunOutcome::finished`].
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] while another run is under way, [`ExecutionError::InvalidPlan`] for one that names
    /// nobody or an unknown module, [`ExecutionError::ResourceLimitExceeded`]. What happens to hosts is no error.
    /// # Cancel safety
    /// Dropped midway, hosts go on or stop as their connections' `on_disconnect` says. Use
    /// [`cancel_execution`](Self::cancel_execution).
    pub async fn execute_plan(&self, plan: Plan, sink: EventSink) -> Result<RunOutcome, ExecutionError> {
        let mut controls = self
            .controls
            .try_lock()
            .map_err(|_| ExecutionError::StateError("a run is under way on this engine".to_owned()))?;
        controls.clear();
        self.execute(plan, sink, &mut controls, Recorded::nowhere()).await
    }

    /// As [`execute_plan`](Self::execute_plan), and writes everything down; or goes on with a run that an earlier
    /// controller wrote down, whose plan this is.
    ///
    /// # Errors
    /// As [`execute_plan`](Self::execute_plan); [`ExecutionError::Journal`] for one that cannot be read to its end,
    /// [`ExecutionError::PlanChanged`] if what was included then has changed.
    /// # Cancel safety
    /// As [`execute_plan`](Self::execute_plan); a run that is written down can go on afterwards.
    pub async fn execute_recorded(
        &self,
        plan: Plan,
        sink: EventSink,
        recorded: Recorded,
    ) -> Result<RunOutcome, ExecutionError> {
        let mut controls = self
            .controls
            .try_lock()
            .map_err(|_| ExecutionError::StateError("a run is under way on this engine".to_owned()))?;
        controls.clear();
        self.execute(plan, sink, &mut controls, recorded).await
    }

    async fn execute(
        &self,
        plan: Plan,
        sink: EventSink,
        controls: &mut Controls,
        mut recorded: Recorded,
    ) -> Result<RunOutcome, ExecutionError> {
        let hosts = HostTable::new(&plan);
        self.check(&plan, &hosts)?;
        let mut options = self.options.clone();
        options.check |= plan.check_mode;
        options.diff |= plan.diff;
        let run = Run::new(&recorded, plan, self.environment.clone(), options, sink);
        run.load_cached_facts();
        let program = compile(&run.plan, &hosts, run.options.limits.clone(), &run.environment.registry, run.templar());
        let started = started(&run, &hosts);
        let mut drive = Drive::new(&run, hosts, Scheduler::new(program));
        match &mut recorded.past {
            Some(past) => drive.replay(past, recorded.accept_changed_plan)?,
            None => drive.recorder.told(RunEvent::RunStarted(started)),
        }
        let finished = drive.drive(controls).await;
        Ok(RunOutcome { run: run.id, finished })
    }

    fn check(&self, plan: &Plan, hosts: &HostTable) -> Result<(), ExecutionError> {
        if hosts.is_empty() {
            return Err(ExecutionError::InvalidPlan("no play of the plan has any host".to_owned()));
        }
        if hosts.len() > HOSTS_MAX {
            let advice = "split the inventory with --limit";
            return Err(ExecutionError::ResourceLimitExceeded {
                resource: "hosts in one run",
                limit: HOSTS_MAX,
                advice,
            });
        }
        let has_module = |task: &&Task| task.include.is_none() && !crate::template::needs_rendering(&task.module);
        for task in plan.tasks.iter().filter(has_module) {
            if self.environment.registry.find(&task.module).is_none() {
                let nearest = rustle_agent::module::args::nearest(&task.module, self.environment.registry.names());
                let (name, nearest) = (task.module.clone(), nearest.map(str::to_owned));
                return Err(ExecutionError::ModuleNotFound { name, nearest });
            }
        }
        Ok(())
    }

    /// Runs one task on one host.
    ///
    /// # Errors
    /// The task failed, in the way the error says.
    pub async fn execute_task(&self, task: Task, host: &HostName) -> Result<TaskResult, ExecutionError> {
        let result = self.execute_single(task, host).await?;
        match result.status {
            TaskStatus::Failed | TaskStatus::Cancelled if !result.ignored => Err(ExecutionError::TaskFailed {
                task: result.name.clone(),
                host: host.clone(),
                message: result.msg().to_owned(),
            }),
            _ => Ok(result),
        }
    }

    /// Runs one handler on one host, notified or not.
    ///
    /// # Errors
    /// As [`execute_task`](Self::execute_task), with [`ExecutionError::HandlerFailed`] for a failure.
    pub async fn execute_handler(&self, handler: Task, host: &HostName) -> Result<TaskResult, ExecutionError> {
        self.execute_task(Task { kind: TaskKind::Handler, ..handler }, host).await.map_err(|error| match error {
            ExecutionError::TaskFailed { task, host, message } => {
                ExecutionError::HandlerFailed { handler: task, host, message }
            }
            other => other,
        })
    }

    /// A plan of a single task; whatever its kind, it is run at once.
    async fn execute_single(&self, task: Task, host: &HostName) -> Result<TaskResult, ExecutionError> {
        let (results, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let sink = EventSink::new(Box::new(move |stamped| {
            if let RunEvent::HostFinished(result) = &stamped.event {
                // Closed only when the caller has gone away.
                let _ = results.send(Arc::clone(result));
            }
            Ok(())
        }));
        if let Err(source) = self.environment.links.link(host).await
            && !source.transient
        {
            return Err(ExecutionError::ConnectionError { host: host.clone(), source });
        }
        let timeout = task.timeout.as_ref().and_then(Keyword::known).copied().unwrap_or(self.options.timeout);
        let attempts = self.options.limits.retry.attempts_max;
        self.execute_plan(Plan::of_task(task, vec![host.clone()]), sink).await?;
        let result = ended.recv().await.ok_or_else(|| ExecutionError::StateError("the task did not run".to_owned()))?;
        let result = Arc::unwrap_or_clone(result);
        let (task, host, last) = (result.name.clone(), host.clone(), result.msg().to_owned());
        match result.status {
            TaskStatus::TimedOut => Err(ExecutionError::ExecutionTimeout { task, host, seconds: timeout.as_secs() }),
            TaskStatus::Unreachable if result.attempts >= attempts.max(2) => {
                Err(ExecutionError::MaxRetriesExceeded { host, attempts: result.attempts, last })
            }
            TaskStatus::Unreachable => {
                Err(ExecutionError::HostUnreachable { host, source: crate::dispatch::LinkError::lasting(last) })
            }
            _ => Ok(result),
        }
    }

    /// Nothing new is dispatched; what runs goes on. Takes effect at once and lasts until
    /// [`resume_execution`](Self::resume_execution).
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn pause_execution(&self) -> Result<(), ExecutionError> {
        self.say(Control::Pause).await
    }

    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn resume_execution(&self) -> Result<(), ExecutionError> {
        self.say(Control::Resume).await
    }

    /// Stops the run: nothing new is dispatched, work on hosts is stopped. Returns at once;
    /// [`execute_plan`](Self::execute_plan) returns when the hosts have stopped.
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn cancel_execution(&self, reason: CancelReason) -> Result<(), ExecutionError> {
        self.say(Control::Cancel(reason)).await
    }

    /// Gives a host up: its work is stopped and nobody waits for it. It does not count as failed. False if the run has no
    /// such host.
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn drop_host(&self, host: &HostName) -> Result<bool, ExecutionError> {
        let (answer, answered) = oneshot::channel();
        self.say(Control::Drop(host.clone(), answer)).await?;
        answered.await.map_err(|_| not_running())
    }

    /// Where the run stands.
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn get_execution_status(&self) -> Result<Status, ExecutionError> {
        let (answer, answered) = oneshot::channel();
        self.say(Control::Status(answer)).await?;
        answered.await.map_err(|_| not_running())
    }

    /// Has the status told to the reporters, as Ctrl-C does, with `advice` on what can be done about it.
    ///
    /// # Errors
    /// [`ExecutionError::StateError`] if nothing runs.
    pub async fn show_status(&self, advice: Option<String>) -> Result<(), ExecutionError> {
        self.say(Control::ShowStatus { advice }).await
    }

    async fn say(&self, control: Control) -> Result<(), ExecutionError> {
        // The lock is held for as long as a run is under way.
        if self.controls.try_lock().is_ok() || !self.mouth.say(control).await {
            return Err(not_running());
        }
        Ok(())
    }
}

fn not_running() -> ExecutionError {
    ExecutionError::StateError("no run is under way on this engine".to_owned())
}

fn started(run: &Run, hosts: &HostTable) -> RunStarted {
    RunStarted {
        event_version: EVENT_VERSION,
        run: run.id,
        sources: run.plan.sources.clone(),
        plays: run.plan.plays.len(),
        tasks: run.plan.plays.iter().map(|play| play.tasks.len()).sum(),
        hosts: hosts.len(),
        forks: run.options.limits.forks.get(),
        check: run.options.check,
        diff: run.options.diff,
    }
}

/// Peak resident memory of this process in bytes; 0 where the system does not tell.
pub fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
