//! Everything that happens in a run is one enum. Terminal, report, log and journal are consumers of it and of nothing
//! else; none of them reaches into the engine.
//!
//! Secrets are gone before an event is made: a task's `no_log` result holds only what may be shown. Text from hosts is
//! raw in here; whoever writes to a terminal neutralises it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustle_protocol::message::OutputStream;
use rustle_protocol::result::Diff;
use rustle_protocol::value::Map;
use rustle_protocol::{HostName, RunId, Value};
use serde::{Deserialize, Serialize};

use crate::fault::Cause;
use crate::origin::Origin;
use crate::plan::{PlayId, TaskId};

/// Version of the event format, in [`RunEvent::RunStarted`]. Fields and variants are added, never renamed or removed.
pub const EVENT_VERSION: u32 = 1;

/// Where a failure came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedIn {
    /// In the task's own words, as a template or a keyword, or on the way to its host: what it is to do was not done.
    Task,
    /// In what the controller does for it, or in a condition that judged what came of it.
    Action,
    /// In the module, on the host.
    Module,
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Wall clock, for people.
    pub at: DateTime<Utc>,
    /// Since the run began, on a clock that never jumps.
    #[serde(with = "seconds", rename = "elapsed_s")]
    pub elapsed: Duration,
    #[serde(flatten)]
    pub event: RunEvent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted(RunStarted),
    /// A playbook, or a plan, begins; the plays of the one before, if there was one, are over.
    PlaybookStarted {
        /// As it was named.
        playbook: String,
        plays: usize,
    },
    /// Something the operator should know that stops nothing.
    Warning {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        host: Option<HostName>,
    },
    PlayStarted {
        play: PlayId,
        name: String,
        /// Hosts of the play that take part, over all batches.
        hosts: usize,
        batches: usize,
        /// The play says that nothing is to be changed, or the run does and the play nothing.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        check: bool,
    },
    BatchStarted {
        play: PlayId,
        /// From 0.
        batch: usize,
        hosts: Vec<HostName>,
    },
    /// The first host comes to this task (again, in the next batch or flush): the banner's moment.
    TaskStarted {
        play: PlayId,
        task: TaskId,
        /// As the banner shows it. Templates in it are rendered for the first host that comes to the task.
        name: String,
        module: String,
        kind: TaskKind,
        /// Hosts of this batch that are to run it.
        hosts: usize,
        /// Where a person wrote it, with the file's whole path; `None` for a plan.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        origin: Option<Origin>,
        /// The task says that nothing is to be changed, or the run does and the task nothing. Of a task that says it by a
        /// template nothing else is known here.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        check: bool,
    },
    /// The host has come to the task, whatever comes of that. Told only where somebody wants to know it
    /// (`RunOptions::tells_arrivals`).
    HostArrived {
        task: TaskId,
        host: HostName,
    },
    /// A connection to the host's agent stands.
    HostConnected {
        host: HostName,
        agent: String,
        #[serde(with = "seconds", rename = "connect_s")]
        connect: Duration,
    },
    /// The host has taken up the task.
    HostStarted {
        task: TaskId,
        host: HostName,
        /// 1 for the first try.
        attempt: u32,
    },
    /// A piece of output, as it was written. May end in the middle of a line or a character.
    Output {
        task: TaskId,
        host: HostName,
        stream: OutputStream,
        #[serde(with = "lossy")]
        bytes: Vec<u8>,
    },
    /// One item of a loop is done.
    ItemFinished {
        task: TaskId,
        host: HostName,
        item: Arc<ItemResult>,
    },
    /// A try failed and another follows.
    Retrying {
        task: TaskId,
        /// The task's name for this host, without its role.
        name: String,
        host: HostName,
        /// The try that failed, from 1.
        attempt: u32,
        attempts_max: u32,
        reason: String,
        /// What that try returned, as in [`TaskResult`]; empty if it must not be shown, or if nothing came of it.
        #[serde(skip_serializing_if = "Map::is_empty", default)]
        values: Map,
        #[serde(with = "seconds", rename = "delay_s")]
        delay: Duration,
    },
    /// A task in the background was looked at; told each `poll`, and when it is over.
    JobPolled {
        task: TaskId,
        host: HostName,
        /// `ansible_job_id`.
        job: String,
        state: JobState,
    },
    /// The host is done with the task. Exactly one for each host and task that was started or skipped.
    HostFinished(Arc<TaskResult>),
    /// A notified name that no handler of the play has.
    UnknownHandler {
        task: TaskId,
        host: HostName,
        name: String,
        /// The run ends over it.
        #[serde(default)]
        ends_run: bool,
    },
    BatchFinished {
        play: PlayId,
        batch: usize,
    },
    PlayFinished {
        play: PlayId,
        end: PlayEnd,
    },
    /// The run is being stopped: nothing new is dispatched from here on.
    Cancelling {
        reason: CancelReason,
    },
    Paused,
    Resumed,
    /// Answer to an operator's question.
    Status(Box<Status>),
    /// The last event of every run.
    RunFinished(RunFinished),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub event_version: u32,
    pub run: RunId,
    /// What the plan was made of: paths, or `-`.
    pub sources: Vec<String>,
    pub plays: usize,
    pub tasks: usize,
    /// Hosts that any play names.
    pub hosts: usize,
    pub forks: usize,
    pub check: bool,
    pub diff: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    Task,
    Handler,
}

/// What stands as `censored` in the place of a result that must not be shown (`no_log`), in Ansible's words.
pub const CENSORED: &str =
    "the output has been hidden due to the fact that 'no_log: true' was specified for this result";

/// Ansible's sentence about a name that no handler answers to.
pub fn unknown_handler(name: &str) -> String {
    format!(
        "The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers list"
    )
}

/// How a task in the background was found when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    Succeeded,
    /// Failed, or did not end in its time.
    Failed,
}

/// How a host came out of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Ok,
    Changed,
    Skipped,
    Failed,
    /// Killed because it took too long. Counts as failed.
    TimedOut,
    /// Stopped, or never started, because the run was cancelled. Never counts as ok.
    Cancelled,
    Unreachable,
}

impl TaskStatus {
    /// Whether the error budget counts it.
    pub fn is_failure(self) -> bool {
        match self {
            TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Skipped => false,
            TaskStatus::Failed | TaskStatus::TimedOut | TaskStatus::Cancelled | TaskStatus::Unreachable => true,
        }
    }
}

/// What came of one task on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    pub task: TaskId,
    /// The task's name as rendered for this host.
    pub name: String,
    /// As the plan spells it: `copy` or `ansible.builtin.copy`.
    pub module: String,
    pub kind: TaskKind,
    pub host: HostName,
    pub status: TaskStatus,
    /// Failed, and the play goes on for this host as if not (`ignore_errors`).
    pub ignored: bool,
    /// Failed, and the block's `rescue` takes over for this host. Never together with `ignored`.
    #[serde(default)]
    pub rescued: bool,
    /// Set for a failure that is anybody's but the operator's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed_in: Option<FailedIn>,
    /// Of a failure before its work: the steps to it, outermost first, of which `msg` in `values` is made.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub causes: Vec<Cause>,
    /// What the module returned, under Ansible's names, with `changed` and, if so, `failed` and `skipped` among them.
    pub values: Map,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub diff: Vec<Diff>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// One for each item of a loop, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub items: Vec<Arc<ItemResult>>,
    pub started_at: DateTime<Utc>,
    /// Not `elapsed_s`: in JSON the fields stand beside those of [`Stamped`].
    #[serde(with = "seconds", rename = "duration_s")]
    pub elapsed: Duration,
    /// Tries made, 1 if the first one stood; 0 if it was never tried (skipped, cancelled before it began).
    pub attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegated_to: Option<HostName>,
    /// The result was withheld: `values` holds only what may be shown.
    pub no_log: bool,
}

/// The name in a result under which stands what a task has included: for each, what it is and of which item of the loop.
pub const INCLUDED: &str = "_ansible_included";

/// Ansible's name in a result for whether it is shown whatever the verbosity.
pub const ALWAYS_SHOWN: &str = "_ansible_verbose_always";

impl TaskResult {
    /// Whether this is a failure that the play went on after as if there had been none.
    pub fn is_forgiven(&self) -> bool {
        self.status.is_failure() && (self.ignored || self.rescued)
    }

    /// A `meta` task that did not fail: nothing was done on the host, and Ansible counts it nowhere.
    pub fn is_word_to_the_run(&self) -> bool {
        rustle_agent::module::short_name(&self.module) == "meta" && !self.status.is_failure()
    }

    /// The sentence that says why, for a failure.
    pub fn msg(&self) -> &str {
        why(&self.values)
    }
}

/// The sentence in a failed result that says why: of an include that found nothing it is the `reason`.
pub(crate) fn why(values: &Map) -> &str {
    values.get("msg").or_else(|| values.get("reason")).and_then(Value::as_str).unwrap_or_default()
}

/// One item of a loop on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    /// The label a reader sees: the item, or what `loop_control.label` made of it.
    pub label: String,
    pub status: TaskStatus,
    pub ignored: bool,
    /// As in [`TaskResult`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed_in: Option<FailedIn>,
    /// As in [`TaskResult`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub causes: Vec<Cause>,
    pub values: Map,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub diff: Vec<Diff>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
    /// Each item may be delegated to another host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegated_to: Option<HostName>,
}

/// How a play ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum PlayEnd {
    /// Every batch came to its end.
    Completed,
    /// `meta: end_play`.
    Ended,
    /// No host was left to go on with.
    NoHostsLeft,
    /// More hosts failed than the budget allows.
    BudgetExceeded { failed: usize, hosts: usize, allowed: String },
    /// A failure with `any_errors_fatal`.
    FatalError,
    /// The run was cancelled.
    Cancelled,
}

/// Why a run is stopped. Ordered: a run may move to a later reason, never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// `--fail-fast` and a first failure.
    FailFast,
    /// The plan turned out to name what it does not have: a handler that is notified.
    PlanBroken,
    /// What the plan includes turned out to be no playbook.
    PlanUnreadable,
    /// A reporter could not write: the record would have holes.
    ReportFailed,
    /// The library's caller asked for it.
    Requested,
    /// Ctrl-C, SIGTERM.
    Interrupted,
}

/// Where the run stands. The counts add up to the number of hosts of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub play: Option<String>,
    pub task: Option<String>,
    pub hosts: HostCounts,
    /// Hosts whose task is running and since when, longest first, at most [`WAITED_FOR_MAX`].
    pub waited_for: Vec<WaitedFor>,
    pub paused: bool,
    /// What the operator can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Hosts named in a status: more than anybody reads.
pub const WAITED_FOR_MAX: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitedFor {
    pub host: HostName,
    pub task: String,
    #[serde(with = "seconds", rename = "for_s")]
    pub since: Duration,
}

/// Every host of the run is in exactly one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCounts {
    /// Not begun, or between two tasks.
    pub waiting: usize,
    pub running: usize,
    /// Went through all it had to do.
    pub done: usize,
    pub failed: usize,
    pub unreachable: usize,
    pub cancelled: usize,
}

impl HostCounts {
    pub fn total(self) -> usize {
        self.waiting + self.running + self.done + self.failed + self.unreachable + self.cancelled
    }
}

/// How a host stood at the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Nothing was dispatched to it: the run ended before its turn, or no play had work for it.
    NotStarted,
    Ok,
    Failed,
    Unreachable,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    /// Every host of the run and how it stood, sorted by name.
    pub hosts: Vec<(HostName, HostState)>,
    /// Set if the run was stopped before its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cancelled: Option<CancelReason>,
    /// Set if an error budget or a fatal error ended a play.
    pub stopped_early: bool,
    /// Playbooks that the run did not come to: one before them had failures, or it was stopped.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_begun: Vec<String>,
    pub metrics: Metrics,
}

/// What the engine measured that events do not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Most hosts with work in flight at once.
    pub concurrency_peak: usize,
    /// Peak resident memory of the controller, bytes; 0 where the system does not tell.
    pub memory_peak: u64,
}

/// Durations as seconds with a fraction: readable, and every tool can add them up.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// Output as text, with U+FFFD for what is not UTF-8.
mod lossy {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(d).map(String::into_bytes)
    }
}
