//! What becomes of calls on hosts that the run has given up, should they come back before it ends. It is told, and changes
//! nothing: a host that was given up stays so.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use rustle_protocol::message::CallOutcome;
use rustle_protocol::{CallKey, HostName, ModuleResult};

use super::run::Run;
use crate::event::RunEvent;
use crate::plan::TaskId;

type Outcomes = Vec<(CallKey, CallOutcome)>;

/// At most one wait for each host that was given up.
pub(super) struct LateOutcomes<'a> {
    run: &'a Run,
    waiting: FuturesUnordered<BoxFuture<'a, (HostName, Outcomes)>>,
}

impl<'a> LateOutcomes<'a> {
    pub(super) fn new(run: &'a Run) -> LateOutcomes<'a> {
        LateOutcomes { run, waiting: FuturesUnordered::new() }
    }

    pub(super) fn wait_for(&mut self, host: HostName) {
        let links = &self.run.environment.links;
        let waiting = async move {
            let outcomes = links.late(&host).await;
            (host, outcomes)
        };
        self.waiting.push(waiting.boxed());
    }

    /// What a host that is back has to tell; never, if none comes back.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Vec<RunEvent> {
        let Some((host, outcomes)) = self.waiting.next().await else { return std::future::pending().await };
        outcomes.iter().map(|(key, outcome)| self.told(&host, *key, outcome)).collect()
    }

    fn told(&self, host: &HostName, key: CallKey, outcome: &CallOutcome) -> RunEvent {
        let task = self.run.task(TaskId(key.task));
        let is_secret = task.no_log.known() != Some(&false);
        let how = match outcome {
            CallOutcome::Finished(result) => ended(result, is_secret),
            CallOutcome::TimedOut(_) => "took too long and was stopped".to_owned(),
            CallOutcome::Cancelled(_) => "was stopped".to_owned(),
            CallOutcome::Interrupted => "was cut off, or never came to the host: what it did is unknown".to_owned(),
            CallOutcome::Rebooted => "was cut off when the host was rebooted: what it did is unknown".to_owned(),
            CallOutcome::Refused(_) | CallOutcome::NotRun => "was not run".to_owned(),
        };
        let message = format!(
            "late: the host is back, and `{}` {how}. It changes nothing in this run: the host stays unreachable",
            task.title()
        );
        RunEvent::Warning { message, host: Some(host.clone()) }
    }
}

fn ended(result: &ModuleResult, is_secret: bool) -> String {
    let how = match result {
        ModuleResult { failed: true, .. } => "failed",
        ModuleResult { changed: true, .. } => "ended well and changed it",
        _ => "ended well",
    };
    match result.msg() {
        "" => how.to_owned(),
        _ if is_secret => how.to_owned(),
        msg => format!("{how} ({msg})"),
    }
}
