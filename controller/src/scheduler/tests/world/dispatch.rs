//! The rules for work that is sent to a host.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::{Seen, Sent, World};
use crate::event::{HostState, TaskKind};
use crate::scheduler::{Dispatch, HostIx, Once, Percent, Step, StepKind, Strategy, Work};

impl World {
    pub(super) fn see_dispatch(&mut self, dispatch: &Dispatch) {
        let (host, first) = (dispatch.host, dispatch.work[0]);
        // A host that had no business there comes to the same task only over another one's failure.
        let is_new = self.step(first.task).is_some_and(|step| !self.comes_to(host, &self.play().steps[step]));
        self.spread(Some(first.task).filter(|_| !is_new));
        assert!(self.dragged_out.is_empty(), "hosts that should have gone with another: {:?}", self.dragged_out);
        self.check_turn(dispatch);
        assert!(!self.cancelled, "dispatch after cancel");
        assert!(!self.paused, "dispatch while paused");
        let limits = &self.program.limits;
        assert!(!limits.fail_fast || self.failed_in_run.is_empty(), "a start after fail-fast tripped");
        assert!(!self.sent.contains_key(&host), "{host:?} has work already");
        assert!(self.batch.contains_key(&host), "{host:?} is not in the batch");
        assert!(self.sent.len() < limits.forks.get(), "more than `forks` hosts at work");
        self.check_attempt(dispatch);
        self.check_lost(host, first.kind);
        self.check_ending(dispatch);
        self.check_work(host, &dispatch.work);
        if self.play().strategy == Strategy::Linear {
            self.check_barrier(host, dispatch);
        }
        self.last_task = Some(first.task);
        self.begun.insert(host);
        let sent =
            Sent { work: dispatch.work.clone().into(), attempt: dispatch.attempt, aborted: false, progressed: false };
        self.sent.insert(host, sent);
        let seen = self.batch.get_mut(&host).unwrap();
        seen.retrying = None;
        seen.begun = true;
        if self.play().strategy == Strategy::HostPinned {
            let open = self.batch.iter().filter(|(host, seen)| seen.begun && self.is_open(**host, seen));
            assert!(open.count() <= self.program.limits.forks.get(), "a pinned host lost its slot");
        }
    }

    /// No more at once than may be, and alone where a host goes first.
    fn check_turn(&mut self, dispatch: &Dispatch) {
        let (host, task) = (dispatch.host, dispatch.work[0].task);
        let turns = match self.step(task) {
            Some(step) => self.play().steps[step].turns,
            None => self.play().handlers[self.handler(task).unwrap()].turns,
        };
        let here = self.sent.values().filter(|sent| sent.work[0].task == task).count();
        let may = |most: Option<NonZeroU32>| most.is_none_or(|most| here < most.get() as usize);
        let goes_first = match turns.once {
            Once::No => false,
            Once::Yes => self.is_linear(),
            Once::Asked => !self.said.contains_key(&task),
        };
        if goes_first {
            assert_eq!(*self.leaders.entry(task).or_insert(host), host, "two hosts where one goes first");
            return;
        }
        assert!(may(turns.throttle) && self.said.get(&task).is_none_or(|most| may(*most)), "too many at once");
    }

    fn check_attempt(&self, dispatch: &Dispatch) {
        let expected = match self.batch[&dispatch.host].retrying {
            Some((task, attempt)) => {
                assert_eq!(dispatch.work[0].task, task, "a retry of something else");
                attempt + 1
            }
            None => 1,
        };
        assert_eq!(dispatch.attempt, expected);
        assert!(expected <= self.program.limits.retry.attempts_max.max(1));
    }

    fn check_lost(&self, host: HostIx, kind: TaskKind) {
        let seen = &self.batch[&host];
        match self.lost.get(&host) {
            None if kind == TaskKind::Handler && seen.left => {
                assert!(self.play().force_handlers, "a handler for a host that left");
            }
            None => assert!(!seen.left, "work for a host that left the play"),
            Some(HostState::Failed | HostState::Cancelled) => {
                assert!(self.play().force_handlers && kind == TaskKind::Handler, "work for a lost host");
            }
            Some(state) => panic!("work for a host that is {state:?}"),
        }
    }

    fn check_ending(&self, dispatch: &Dispatch) {
        let forced = dispatch.work[0].kind == TaskKind::Handler && self.play().force_handlers;
        if forced {
            return;
        }
        let linear = self.play().strategy == Strategy::Linear;
        let under_way = if linear { self.last_task == Some(dispatch.work[0].task) } else { dispatch.attempt > 1 };
        assert!(under_way || self.fatal_at.is_none(), "a new step after a fatal error");
        assert!(under_way || !self.is_over_budget(), "a new step with the budget spent");
        assert!(under_way || !self.ended_by_meta, "a new step after the batch was ended");
    }

    pub(super) fn is_over_budget(&self) -> bool {
        let limits = &self.program.limits;
        let over = |allowed: Option<Percent>, failed: usize, of: usize| {
            // By other arithmetic than the scheduler's: the generated percents are whole.
            let whole = |percent: Percent| percent.to_string().trim_end_matches('%').parse::<usize>().unwrap();
            allowed.is_some_and(|allowed| failed * 100 > whole(allowed) * of)
        };
        over(self.play().max_fail_percentage, self.failed_in_batch.len(), self.batch_size)
            || over(limits.run_budget, self.failed_in_run.len(), self.program.hosts)
    }

    fn check_work(&mut self, host: HostIx, work: &[Work]) {
        for (place, item) in work.iter().enumerate() {
            assert_eq!(item.kind == TaskKind::Handler, self.step(item.task).is_none());
            let seen = &self.batch[&host];
            if item.kind == TaskKind::Handler {
                assert_eq!(work.len(), 1, "handlers do not travel in segments");
                assert_eq!(item.round, seen.rounds.get(&item.task).copied().unwrap_or_default());
                self.check_handler(host, self.handler(item.task).unwrap());
                continue;
            }
            let step = self.step(item.task).unwrap();
            let steps = &self.play().steps;
            assert!(steps[step].hosts.as_ref().is_none_or(|hosts| hosts.contains(host)), "not for this host");
            assert!(!seen.finished.contains(&step), "a step twice on one host");
            assert!(place == 0 || steps[step].joins_segment, "a step that may not join");
            let behind = work[..place].iter().filter_map(|work| self.step(work.task)).collect::<BTreeSet<_>>();
            for before in self.steps_of(host).filter(|before| *before < step) {
                assert!(seen.finished.contains(&before) || behind.contains(&before), "a step left out");
            }
        }
    }

    fn check_handler(&mut self, host: HostIx, handler: usize) {
        let retried = self.batch[&host].retrying.is_some();
        let seen = &self.batch[&host];
        assert!(seen.pending.contains(&handler), "a handler nobody notified");
        if retried {
            return;
        }
        let (flushes, at_end) = self.flushes_here(host, seen);
        let times = seen.flushed.iter().filter(|ran| **ran == handler).count();
        assert!(times < flushes, "a handler more than once in a flush");
        let in_order = seen.flushed.last().is_none_or(|last| *last < handler);
        assert!(in_order || flushes > 1 || at_end, "handlers out of order");
        self.batch.get_mut(&host).unwrap().flushed.push(handler);
    }

    /// How many flushes there are between the host's last task and its next one, and whether the last is the batch's.
    fn flushes_here(&self, host: HostIx, seen: &Seen) -> (usize, bool) {
        let concerns = |step: &Step| self.comes_to(host, step);
        let from = seen.finished.last().map_or(0, |last| last + 1);
        let mut flushes = usize::from(seen.wants_flush);
        let mut at_end = true;
        for step in self.play().steps[from..].iter().filter(|step| concerns(step)) {
            match step.kind {
                StepKind::FlushHandlers => flushes += 1,
                StepKind::Task | StepKind::AskedFlush => {
                    at_end = false;
                    break;
                }
            }
        }
        let jumped = seen.left || self.lost.contains_key(&host) || self.fatal_at.is_some() || self.is_over_budget();
        let is_last = at_end || jumped;
        (flushes + if is_last { self.play().last_flushes as usize } else { 0 }, is_last)
    }

    fn check_barrier(&self, host: HostIx, dispatch: &Dispatch) {
        let task = dispatch.work[0].task;
        for (other, sent) in self.sent.iter().filter(|(other, sent)| self.batch.contains_key(other) && !sent.aborted) {
            assert_eq!(sent.work[0].task, task, "{other:?} is at another task than {host:?}");
        }
        // Hosts that come back while a step runs are behind it; they catch up before the next one begins.
        let Some(step) = self.step(task).filter(|_| self.last_task != Some(task)) else { return };
        for (other, seen) in &self.batch {
            if seen.left || self.lost.contains_key(other) {
                continue;
            }
            assert!(seen.retrying.is_none_or(|(retried, _)| retried == task), "{other:?} is still to try again");
            for before in self.steps_of(*other).filter(|before| *before < step) {
                assert!(seen.finished.contains(&before), "{other:?} has not finished the step before");
            }
        }
    }
}
