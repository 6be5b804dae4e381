//! Several tasks in one round trip: their calls are made here, travel together and are run one after the other by the
//! host.

use std::time::Duration;

use rustle_protocol::ModuleResult;
use rustle_protocol::message::{Call, CallOutcome, OutputStream};

use super::conclude::TaskDone;
use super::context::{CallWatcher, ended, is_idempotent};
use super::error::Stop;
use super::replay::Sending;
use super::result::Tried;
use super::task::{TaskRun, cancelled, timed_out};
use crate::dispatch::{CallListener, LinkError};
use crate::event::{FailedIn, TaskStatus};

/// Runs the tasks. `report` is given each result as it comes, `not_run` each task that was not begun because one before
/// it failed.
///
/// # Errors
/// The place of the task over which the host was lost.
pub(super) async fn perform(
    runs: &[TaskRun<'_>],
    report: impl Fn(usize, TaskDone) + Send + Sync,
    not_run: impl Fn(usize) + Send + Sync,
) -> Result<(), (usize, LinkError)> {
    let Some(first) = runs.first() else { return Ok(()) };
    let (calls, unfit) = calls(runs);
    let count = calls.len();
    let mut listener = Listener { runs, report: &report, not_run: &not_run, at: 0, failed: false, lost: None };
    if count > 0 {
        let way = first.plain_way();
        let link = tokio::select! {
            link = first.run.environment.links.link_by(first.host, &way) => link.map_err(|error| (0, error))?,
            () = first.cancel.cancelled() => {
                let calls = 0..runs.len();
                listener.ended(0, CallOutcome::Cancelled(ModuleResult::failed("not started")), Duration::ZERO);
                calls.skip(1).for_each(not_run);
                return Ok(());
            }
        };
        if first.sending != Sending::First && link.is_local() && !calls.iter().all(|call| is_idempotent(&call.module)) {
            listener.ended(0, CallOutcome::Interrupted, Duration::ZERO);
            (1..runs.len()).for_each(not_run);
            return Ok(());
        }
        if link.is_local() {
            runs.iter().for_each(|run| run.calls().only_here = true);
        }
        let sent = link.run(calls, &mut listener, first.cancel).await;
        let at = listener.at;
        if let Some(error) = listener.lost.take() {
            return Err((at, error));
        }
        sent.map_err(|error| (at, error))?;
    }
    let failed = listener.failed;
    if let Some(tried) = unfit {
        if failed {
            not_run(count);
        } else {
            let vars = runs[count].run.task_vars(runs[count].task);
            report(count, runs[count].conclude(tried, Vec::new(), &vars));
        }
        (count + 1..runs.len()).for_each(not_run);
    }
    Ok(())
}

/// The calls up to the first task that cannot be made one, and that task's failure.
fn calls(runs: &[TaskRun<'_>]) -> (Vec<Call>, Option<Tried>) {
    let mut calls = Vec::with_capacity(runs.len());
    for run in runs {
        match run.as_call() {
            Ok(call) => calls.push(call),
            Err(tried) => return (calls, Some(*tried)),
        }
    }
    (calls, None)
}

struct Listener<'a, 'b, R, N> {
    runs: &'a [TaskRun<'b>],
    report: &'a R,
    not_run: &'a N,
    /// Results so far.
    at: usize,
    failed: bool,
    lost: Option<LinkError>,
}

impl<R: Fn(usize, TaskDone) + Send + Sync, N: Fn(usize) + Send + Sync> CallListener for Listener<'_, '_, R, N> {
    fn started(&mut self, call: usize) {
        self.runs[call].started();
    }

    fn output(&mut self, call: usize, stream: OutputStream, bytes: Vec<u8>) {
        self.runs[call].output(stream, bytes);
    }

    fn ended(&mut self, call: usize, outcome: CallOutcome, elapsed: Duration) {
        if self.lost.is_some() {
            return;
        }
        if outcome == CallOutcome::NotRun {
            self.at += 1;
            return (self.not_run)(call);
        }
        let run = &self.runs[call];
        let seconds = run.run.options.timeout.as_secs();
        let tried = match ended(outcome, run.is_repeatable()) {
            Ok(result) => Tried::finished(result).with_diffs(run.lists_diffs()).found_in(FailedIn::Module),
            Err(Stop::TimedOut(result)) => timed_out(*result, seconds),
            Err(Stop::Cancelled(result)) => Tried::of(cancelled(*result), TaskStatus::Cancelled),
            Err(Stop::Unreachable(error)) => {
                self.lost = Some(error);
                return;
            }
            Err(Stop::Interrupted) => {
                self.lost = Some(run.interrupted());
                return;
            }
        };
        let vars = run.run.task_vars(run.task);
        let mut done = run.conclude(tried, Vec::new(), &vars);
        // In a segment a task begins when the one before it has ended, not when the segment was sent.
        done.result.elapsed = elapsed;
        self.failed |= done.result.status.is_failure() && !done.result.ignored;
        self.at += 1;
        (self.report)(call, done);
    }
}
