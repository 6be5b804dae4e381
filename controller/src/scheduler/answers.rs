//! What hosts answer, and what that means for the host and for its batch.

use std::time::Duration;

use crate::event::{CancelReason, HostState};
use crate::plan::TaskId;

use super::Scheduler;
use super::batch::Batch;
use super::budget::{self, Ending, Tally};
use super::cursor::Stop;
use super::hosts::Standing;
use super::message::{Command, Effect, Notice, Outcome, TransportFault, Verdict};
use super::program::{HostIx, OnFailure};

impl Scheduler {
    pub(super) fn on_finished(&mut self, host: HostIx, task: TaskId, outcome: Outcome) {
        let Some(flight) = self.in_flight.get_mut(host).filter(|flight| flight.is_at(task)) else { return };
        let first = !flight.progressed;
        let goes_on = flight.step_on(self.now) && !ends_flight(&outcome);
        if flight.aborted {
            if !goes_on {
                self.end_aborted(host, state_after_abort(&outcome));
            }
            return;
        }
        if !goes_on {
            self.end_flight(host);
        }
        let Some((batch, rank)) = self.course.find(host) else { return };
        let lead = batch.leads_at(rank);
        if !matches!(outcome.verdict, Verdict::Skipped | Verdict::NotRun) {
            batch.note_run(rank);
        }
        if is_good(outcome.verdict) && !goes_on {
            batch.splice(rank, &outcome.included, &mut self.in_flight);
        }
        match outcome.verdict {
            Verdict::NotRun if !first => batch.send_again(rank),
            _ if fails(&outcome) => {
                let fatal = outcome.fatal || lead.is_some() && outcome.for_all;
                self.fail(host, outcome.verdict, fatal);
            }
            _ => pass(batch, rank, &outcome, goes_on),
        }
        if goes_on {
            self.announce_next(host);
        }
        match outcome.effect {
            Effect::ClearHostErrors if is_good(outcome.verdict) => self.forgive_hosts(),
            Effect::EndHost if is_good(outcome.verdict) => self.report(Notice::HostLeft { host }),
            Effect::EndRun(reason) => self.gate.cancel(reason),
            _ => {}
        }
        if let Some(stop) = lead {
            // Hosts that have just come back to this very stop pass by, too.
            self.settle_lead(stop, Some(&outcome));
        }
        self.note_fall(host);
        self.note_left();
    }

    pub(super) fn on_unreachable(&mut self, host: HostIx, task: TaskId, fault: TransportFault, on_failure: OnFailure) {
        let Some(flight) = self.in_flight.get_mut(host).filter(|flight| flight.is_at(task)) else { return };
        if flight.aborted {
            self.report(Notice::Unreachable { host, task, aborted: true });
            return self.end_aborted(host, HostState::Unreachable);
        }
        self.end_flight(host);
        let Some((batch, rank)) = self.course.find(host) else { return };
        let Some(stop) = batch.lane(rank).stop else { return };
        let attempt = batch.lane(rank).attempt;
        if fault.allows_retry() && attempt < self.limits.retry.attempts_max {
            batch.back_off(rank);
            self.retry_later(host, task, attempt);
        } else {
            self.give_up(host, task, stop, on_failure);
        }
        self.note_fall(host);
        self.note_left();
    }

    /// There is no further try.
    fn give_up(&mut self, host: HostIx, task: TaskId, stop: Stop, on_failure: OnFailure) {
        self.report(Notice::Unreachable { host, task, aborted: false });
        let Some((batch, rank)) = self.course.find(host) else { return };
        let lead = batch.leads_at(rank);
        if batch.play.on_failure_at(stop).ignore_unreachable || on_failure.ignore_unreachable {
            batch.pass(rank, &[], false);
        } else {
            self.lose(host, HostState::Unreachable, on_failure.any_errors_fatal);
        }
        if let Some(stop) = lead {
            self.settle_lead(stop, None);
        }
    }

    /// The host that went first at `stop` is through with it. What it said of the others holds for them now.
    fn settle_lead(&mut self, stop: Stop, said: Option<&Outcome>) {
        let passed = self.course.batch().map(|batch| batch.settle_lead(stop, said)).unwrap_or_default();
        // By that they may have come to the end of a block with a failure.
        passed.into_iter().for_each(|host| self.note_fall(host));
    }

    /// `waited`: for how long others have waited for the host, unless the operator gives it up.
    pub(super) fn on_drop(&mut self, host: HostIx, waited: Option<Duration>) {
        if host.index() >= self.roster.len() {
            return;
        }
        let takes_part = matches!(self.roster.standing(host), Standing::Waiting | Standing::Running);
        if takes_part {
            self.report(Notice::GivenUp { host, waited });
        }
        self.timers.clear(host);
        if self.in_flight.abort(host) {
            self.commands.push_back(Command::Abort { host });
        }
        if let Some((batch, rank)) = self.course.find(host) {
            if let Some(stop) = batch.leads_at(rank) {
                batch.leaves_lead(stop);
            }
            batch.give_up(rank);
        }
        if takes_part {
            self.go(host, HostState::Cancelled);
        }
        self.note_fall(host);
        self.note_left();
    }

    fn retry_later(&mut self, host: HostIx, task: TaskId, attempt: u32) {
        let attempts_max = self.limits.retry.attempts_max;
        let delay = self.limits.retry.delay(host, attempt);
        self.timers.set(host, self.now.after(delay));
        self.report(Notice::Retrying { host, task, attempt, attempts_max, delay });
    }

    /// The host failed at its stop. What was stopped is not rescued, for nothing says how it would have come out.
    fn fail(&mut self, host: HostIx, verdict: Verdict, fatal: bool) {
        let Some((batch, rank)) = self.course.find(host) else { return };
        let fatal = fatal || batch.is_fatal_at(rank);
        let came_out = matches!(verdict, Verdict::Failed | Verdict::TimedOut);
        if came_out && batch.rescue(rank, fatal) {
            if fatal {
                batch.share_failure();
            }
        } else {
            self.lose(host, state_of(verdict), fatal);
        }
    }

    /// A host that came out of a block with a failure that nobody rescues is lost now.
    fn note_fall(&mut self, host: HostIx) {
        let Some((batch, rank)) = self.course.find(host) else { return };
        let Some(fall) = batch.take_fall(rank) else { return };
        if batch.lane(rank).dragged {
            batch.put_out(rank, HostState::Cancelled);
            return self.go(host, HostState::Cancelled);
        }
        if fall.fatal {
            // Under linear the others have had their share.
            batch.note_fatal();
        }
        self.lose_at(host, HostState::Failed);
    }

    /// A step has ended everywhere under linear: a failure there may be everybody's.
    pub(super) fn spread_failure(&mut self) {
        let Some(batch) = self.course.batch() else { return };
        let (caught, lost) = batch.spread_failure();
        for host in lost {
            self.go(host, HostState::Cancelled);
        }
        for host in caught {
            self.roster.call_back(host);
            self.note_fall(host);
        }
    }

    /// The host failed at its stop, and it counts.
    fn lose(&mut self, host: HostIx, state: HostState, fatal: bool) {
        let Some((batch, rank)) = self.course.find(host) else { return };
        if fatal || batch.is_fatal_at(rank) {
            batch.share_failure();
            batch.note_fatal();
        } else if batch.lane(rank).carries_fatal() {
            // Under linear the others have had their share.
            batch.note_fatal();
        }
        self.lose_at(host, state);
    }

    fn lose_at(&mut self, host: HostIx, state: HostState) {
        let Some((batch, rank)) = self.course.find(host) else { return };
        let news = batch.lane(rank).lost.is_none();
        if batch.lose(rank, state) {
            self.roster.count_failure(host);
        }
        if news {
            self.go(host, state);
        }
        if self.limits.fail_fast {
            self.gate.cancel(CancelReason::FailFast);
        }
        if self.course.batch().is_some_and(|batch| !batch.play.is_linear()) {
            self.check_budgets();
        }
    }

    /// Ends the batch if a budget is spent.
    pub(super) fn check_budgets(&mut self) {
        let run = Tally { hosts: self.roster.len(), failed: self.roster.failures() };
        let Some(batch) = self.course.batch() else { return };
        if let Some(ending) = budget::exceeded(&batch.play.program, &self.limits, batch.tally, run) {
            batch.end_early(ending);
        }
    }

    /// Hosts of the batch go on in it, those of the play that were lost before it in what follows.
    fn forgive_hosts(&mut self) {
        let Some(batch) = self.course.batch() else { return };
        let mut forgiven = batch.forgive();
        for host in &forgiven {
            self.roster.forgive(*host);
            if self.in_flight.get_mut(*host).is_some() {
                self.roster.begin(*host);
            }
        }
        let named: Vec<HostIx> = batch.play.program.batches.concat();
        let absent = named.into_iter().filter(|host| batch.rank(*host).is_none()).collect();
        forgiven.extend(self.roster.forgive_absent(absent));
        if !forgiven.is_empty() {
            self.report(Notice::HostsForgiven { hosts: forgiven });
        }
    }

    /// The host's work is over; its slot is free, or its own until it is through with the play.
    fn end_flight(&mut self, host: HostIx) {
        let hold = self.course.batch().is_some_and(|batch| batch.play.is_pinned());
        self.in_flight.end(host, hold);
        self.roster.rest(host);
    }

    /// The answer to an abort is complete. A host that was given up before stays so.
    fn end_aborted(&mut self, host: HostIx, state: HostState) {
        self.in_flight.end(host, false);
        if self.roster.standing(host) == Standing::Running {
            self.go(host, state);
        }
    }

    /// The host is lost, and the world is told.
    fn go(&mut self, host: HostIx, state: HostState) {
        self.roster.lose(host, state);
        self.report(Notice::HostGone { host, state });
    }

    /// Hosts that went out of the batch give their slots back, and may be done with the run.
    pub(super) fn note_left(&mut self) {
        let play = self.course.play_place();
        let Some(batch) = self.course.batch() else { return };
        for (host, through) in batch.take_left() {
            self.in_flight.release(host);
            if through {
                self.roster.finish_play(host, play);
            }
        }
    }

    /// A host in a segment comes to the segment's next step.
    fn announce_next(&mut self, host: HostIx) {
        let next = self.in_flight.get_mut(host).and_then(|flight| flight.rest.front().copied());
        if let Some((stop, _)) = next {
            self.announce(host, stop);
        }
    }

    /// Tells that `host` comes to `stop`, if it is the first.
    pub(super) fn announce(&mut self, host: HostIx, stop: Stop) {
        let Some(batch) = self.course.batch() else { return };
        let (play, (task, kind)) = (batch.play.program.play, batch.play.task_at(stop));
        let banner = batch.announce(stop);
        self.at = Some((play, task));
        if let Some(hosts) = banner {
            self.report(Notice::TaskStarted { play, task, kind, host, hosts });
        }
    }
}

/// The host is through with its stop and stays in good standing.
fn pass(batch: &mut Batch, rank: usize, outcome: &Outcome, goes_on: bool) {
    if is_good(outcome.verdict) && outcome.effect == Effect::FlushHandlers && !goes_on {
        return batch.flush(rank);
    }
    let notified = if outcome.verdict == Verdict::Changed { outcome.notified.as_slice() } else { &[] };
    if is_good(outcome.verdict) && outcome.effect == Effect::EndRole && !goes_on {
        return batch.pass_role(rank, notified);
    }
    batch.pass(rank, notified, goes_on);
    if !is_good(outcome.verdict) {
        return;
    }
    match outcome.effect {
        Effect::None | Effect::FlushHandlers | Effect::ClearHostErrors | Effect::EndRole | Effect::EndRun(_) => {}
        Effect::EndHost => batch.leave(rank),
        Effect::EndBatch => end(batch, rank, Ending::EndBatch),
        Effect::EndPlay => end(batch, rank, Ending::EndPlay),
    }
}

fn end(batch: &mut Batch, rank: usize, ending: Ending) {
    batch.leave(rank);
    batch.end_early(ending);
}

fn is_good(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Ok | Verdict::Changed | Verdict::Skipped)
}

/// Whether it costs the host its place in the play. What was not run, or stopped, cannot be ignored: nothing says how it
/// would have come out.
fn fails(outcome: &Outcome) -> bool {
    match outcome.verdict {
        Verdict::Ok | Verdict::Changed | Verdict::Skipped => false,
        Verdict::Failed | Verdict::TimedOut => !outcome.ignored,
        Verdict::Cancelled | Verdict::NotRun => true,
    }
}

/// Whether nothing more comes of this dispatch, though steps of it are left.
fn ends_flight(outcome: &Outcome) -> bool {
    let passes_by = matches!(outcome.effect, Effect::EndRole | Effect::EndHost | Effect::EndBatch | Effect::EndPlay);
    fails(outcome) || is_good(outcome.verdict) && passes_by
}

fn state_of(verdict: Verdict) -> HostState {
    if verdict == Verdict::Cancelled { HostState::Cancelled } else { HostState::Failed }
}

/// A host that failed by itself before the abort reached it did fail; any other was stopped, even if its last step came
/// to a good end, for there was more to do or nobody can tell.
fn state_after_abort(outcome: &Outcome) -> HostState {
    match outcome.verdict {
        Verdict::Failed | Verdict::TimedOut if !outcome.ignored => HostState::Failed,
        _ => HostState::Cancelled,
    }
}
