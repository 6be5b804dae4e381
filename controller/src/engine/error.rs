//! What can go wrong in the engine, as its callers see it.

use rustle_protocol::{HostName, ModuleResult};

use crate::dispatch::LinkError;

/// An error of the engine or of one task, typed for programs. Of a whole plan only [`InvalidPlan`](Self::InvalidPlan),
/// [`StateError`](Self::StateError) and [`ResourceLimitExceeded`](Self::ResourceLimitExceeded) come out of
/// `execute_plan`: what happens to hosts is in its outcome.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    #[error("task `{task}` failed on `{host}`: {message}")]
    TaskFailed { task: String, host: HostName, message: String },
    #[error("host `{host}` is unreachable: {source}")]
    HostUnreachable { host: HostName, source: LinkError },
    #[error("there is no module `{name}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    ModuleNotFound { name: String, nearest: Option<String> },
    #[error("invalid plan: {0}")]
    InvalidPlan(String),
    #[error("task `{task}` on `{host}` took longer than {seconds} s and was killed")]
    ExecutionTimeout { task: String, host: HostName, seconds: u64 },
    #[error("host `{host}` did not answer in {attempts} attempts: {last}")]
    MaxRetriesExceeded { host: HostName, attempts: u32, last: String },
    #[error("handler `{handler}` failed on `{host}`: {message}")]
    HandlerFailed { handler: String, host: HostName, message: String },
    /// The call does not fit what the engine is doing.
    #[error("{0}")]
    StateError(String),
    #[error("connection to `{host}`: {source}")]
    ConnectionError { host: HostName, source: LinkError },
    /// What an earlier controller wrote down of the run cannot be used.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// What the run included before it was cut off is not there any more as it was.
    #[error("what the run has included is not what it was: {what}")]
    PlanChanged {
        what: String,
        /// The places of its tasks are the same: the run can go on with it.
        acceptable: bool,
    },
    #[error("{resource}: {limit} is the limit; {advice}")]
    ResourceLimitExceeded { resource: &'static str, limit: usize, advice: &'static str },
}

/// Why a module's work did not come to its own end.
#[derive(Debug)]
pub enum Stop {
    /// The host could not be talked to.
    Unreachable(LinkError),
    /// Past its time. What it had done until then is in the result.
    TimedOut(Box<ModuleResult>),
    /// The run is being stopped.
    Cancelled(Box<ModuleResult>),
    /// The agent died over it, and it may be run again.
    Interrupted,
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Stop {
        Stop::Unreachable(error)
    }
}
