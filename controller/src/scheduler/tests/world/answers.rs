//! What hosts answer, and what that makes of them.

use super::{Seen, World};
use crate::event::{HostState, TaskKind};
use crate::plan::TaskId;
use crate::scheduler::{Effect, HostIx, OnFailure, Once, Outcome, StepKind, TransportFault, Verdict, Work};

impl World {
    pub(super) fn hear_finished(&mut self, host: HostIx, task: TaskId, outcome: &Outcome) {
        let Some(sent) = self.sent.get_mut(&host).filter(|sent| sent.work[0].task == task) else { return };
        let first = !std::mem::replace(&mut sent.progressed, true);
        let again = outcome.verdict == Verdict::NotRun && !first;
        let good = matches!(outcome.verdict, Verdict::Ok | Verdict::Changed | Verdict::Skipped);
        let ignored = matches!(outcome.verdict, Verdict::Failed | Verdict::TimedOut) && outcome.ignored;
        let passes_by = Effect::EndRole == outcome.effect
            || matches!(outcome.effect, Effect::EndHost | Effect::EndBatch | Effect::EndPlay);
        let leaves = good && passes_by;
        let work = sent.work.pop_front().unwrap();
        sent.attempt = 1;
        let aborted = sent.aborted;
        let is_last = sent.work.is_empty() || !(good || ignored) || leaves;
        if is_last {
            self.sent.remove(&host);
        }
        if aborted || again {
            return;
        }
        let leads = self.leaders.get(&task) == Some(&host);
        self.through(host, work);
        if let Some(step) = self.step(task).filter(|_| !matches!(outcome.verdict, Verdict::Skipped | Verdict::NotRun)) {
            self.note_role(host, step);
        }
        if good && is_last && !outcome.included.is_empty() {
            self.join(host, task, &outcome.included);
        }
        let is_asked = self.step(task).is_some_and(|step| self.play().steps[step].kind == StepKind::AskedFlush);
        let flushes = good && is_last && outcome.effect == Effect::FlushHandlers;
        self.batch.get_mut(&host).unwrap().wants_flush |= flushes && is_asked;
        if outcome.verdict == Verdict::Changed && !flushes {
            let handlers: Vec<usize> = outcome.notified.iter().filter_map(|task| self.handler(*task)).collect();
            self.batch.get_mut(&host).unwrap().pending.extend(handlers);
        }
        let came_out = matches!(outcome.verdict, Verdict::Failed | Verdict::TimedOut);
        let fatal = self.is_fatal(work) || outcome.fatal || leads && outcome.for_all;
        let carried = self.carries_fatal(host);
        let taken_up = !good && !ignored && came_out && self.takes_up(host, work, fatal);
        assert!(!work.rescued || taken_up || good || ignored || !came_out, "a rescue was promised and there is none");
        if !good && !ignored && fatal && self.is_linear() {
            self.shared_at = Some(task);
        }
        if !good && !ignored && !taken_up {
            self.fail(host, task, fatal || carried);
        } else {
            if good {
                self.hear_effect(host, task, outcome.effect);
            }
            self.leave_blocks(host, task);
        }
        if leads {
            self.hear_leader(task, Some(outcome));
        }
    }

    /// The host that went first at the task is through with it.
    fn hear_leader(&mut self, task: TaskId, said: Option<&Outcome>) {
        self.leaders.remove(&task);
        let Some(step) = self.step(task) else { return self.pass_handler_by(task) };
        let asked = self.play().steps[step].turns.once == Once::Asked;
        if asked && !(self.is_linear() && said.is_some_and(|outcome| outcome.for_all)) {
            self.said.extend(said.map(|outcome| (task, outcome.throttle)));
            return;
        }
        let here = |host: &HostIx| {
            let seen = &self.batch[host];
            let open = !seen.left && !self.lost.contains_key(host);
            let behind = self.steps_of(*host).any(|before| before < step && !seen.finished.contains(&before));
            let is_there = open && !behind && !self.has_a_flush_before(*host, step);
            is_there && self.comes_to(*host, &self.play().steps[step]) && !seen.finished.contains(&step)
        };
        let others: Vec<HostIx> = self.batch.keys().copied().filter(here).collect();
        for other in others {
            self.through(other, Work { task, kind: TaskKind::Task, round: 0, rescued: false });
            self.leave_blocks(other, task);
        }
    }

    /// Whether handlers are still before the host on its way to `step`, as for one that has just come back.
    fn has_a_flush_before(&self, host: HostIx, step: usize) -> bool {
        let seen = &self.batch[&host];
        let from = seen.finished.range(..step).next_back().map_or(0, |last| last + 1);
        let mut between = self.play().steps[from..step].iter().filter(|step| self.comes_to(host, step));
        let has_handlers = !seen.pending.is_empty() && seen.flushed.is_empty();
        has_handlers && between.any(|step| step.kind == StepKind::FlushHandlers)
    }

    /// A handler ran once for all who had been notified of it.
    fn pass_handler_by(&mut self, task: TaskId) {
        let handler = self.handler(task).unwrap();
        let here = |(host, seen): &(&HostIx, &Seen)| {
            !self.lost.contains_key(host) && seen.pending.contains(&handler) && !seen.flushed.contains(&handler)
        };
        let others: Vec<HostIx> = self.batch.iter().filter(here).map(|(host, _)| *host).collect();
        for other in others {
            self.through(other, Work { task, kind: TaskKind::Handler, round: 0, rescued: false });
        }
    }

    /// Whether a failure there is everybody's, as the play says.
    fn is_fatal(&self, work: Work) -> bool {
        let once = self.step(work.task).map(|step| self.play().steps[step].turns.once);
        self.on_failure(work).any_errors_fatal || self.is_linear() && once == Some(Once::Yes)
    }

    /// A step that failed for everybody is over: who has not failed there by itself fails now.
    pub(super) fn spread(&mut self, over: Option<TaskId>) {
        if self.shared_at.is_none() || self.shared_at == over {
            return;
        }
        let task = self.shared_at.take().unwrap();
        if self.ended_by_meta || self.is_over_budget() {
            // The others may have gone before.
            return;
        }
        let shares = |(host, seen): (&HostIx, &Seen)| {
            let open = !seen.left && !seen.failed_last && !self.lost.contains_key(host);
            open.then_some((*host, seen.last, seen.last_step))
        };
        let hosts: Vec<_> = self.batch.iter().filter_map(shares).collect();
        for (host, last, last_step) in hosts {
            if self.takes_up_at(host, last, last_step, false) {
                self.batch.get_mut(&host).unwrap().dragged = true;
                self.leave_blocks(host, task);
            } else {
                self.dragged_out.insert(host);
            }
        }
    }

    /// The host passes by what is left of the role.
    fn hear_end_of_role(&mut self, host: HostIx, task: TaskId) {
        let Some(step) = self.step(task) else { return };
        let Some(role) = self.play().steps[step].role else { return };
        let last = self.steps_of_role(role).end - 1;
        // It is out of a block that it leaves by that, unless it carries a failure out of it.
        let failing = self.batch[&host].failing.last();
        let carried_out = failing.is_some_and(|(block, _)| self.last_of(*block) <= last);
        let passed_by = self.steps_of(host).filter(|passed| (step..=last).contains(passed)).last();
        let passed_by = passed_by.filter(|_| !carried_out);
        let within = passed_by.map(|passed| self.play().steps[passed].within);
        let seen = self.batch.get_mut(&host).unwrap();
        seen.finished.extend(step..=last);
        seen.last = within.unwrap_or(seen.last);
        seen.last_step = passed_by.unwrap_or(seen.last_step);
    }

    fn hear_effect(&mut self, host: HostIx, task: TaskId, effect: Effect) {
        match effect {
            Effect::None | Effect::FlushHandlers | Effect::EndRun(_) => {}
            Effect::EndRole => self.hear_end_of_role(host, task),
            Effect::EndHost => self.batch.get_mut(&host).unwrap().left = true,
            Effect::EndBatch | Effect::EndPlay => {
                self.batch.get_mut(&host).unwrap().left = true;
                self.ended_by_meta = true;
                self.play_ended_by_meta |= effect == Effect::EndPlay;
            }
            Effect::ClearHostErrors => {
                for (host, seen) in self.batch.iter_mut().filter(|(_, seen)| !seen.dropped) {
                    seen.failing.clear();
                    match self.lost.get(host) {
                        Some(HostState::Unreachable) => {
                            self.lost.remove(host);
                            // It comes back without the slot it had.
                            seen.begun = false;
                        }
                        Some(HostState::Failed | HostState::Cancelled) => {
                            self.lost.remove(host);
                            seen.left = true;
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    pub(super) fn hear_unreachable(
        &mut self,
        host: HostIx,
        task: TaskId,
        fault: TransportFault,
        on_failure: OnFailure,
    ) {
        let Some(sent) = self.sent.get(&host).filter(|sent| sent.work[0].task == task) else { return };
        let (work, attempt, aborted) = (sent.work[0], sent.attempt, sent.aborted);
        self.sent.remove(&host);
        if aborted {
            self.given_up.insert((host, task, true));
            return;
        }
        let may_retry = matches!(fault, TransportFault::NotAccepted | TransportFault::Lost { repeatable: true });
        if may_retry && attempt < self.program.limits.retry.attempts_max {
            self.batch.get_mut(&host).unwrap().retrying = Some((task, attempt));
            return;
        }
        self.given_up.insert((host, task, false));
        let leads = self.leaders.get(&task) == Some(&host);
        self.through(host, work);
        if self.on_failure(work).ignore_unreachable || on_failure.ignore_unreachable {
            self.leave_blocks(host, task);
        } else {
            let fatal = self.is_fatal(work) || on_failure.any_errors_fatal;
            if fatal && self.is_linear() {
                self.shared_at = Some(task);
            }
            self.fail(host, task, fatal || self.carries_fatal(host));
        }
        if leads {
            self.hear_leader(task, None);
        }
    }

    fn through(&mut self, host: HostIx, work: Work) {
        let (step, handler) = (self.step(work.task), self.handler(work.task));
        let within = step.and_then(|step| self.play().steps[step].within);
        let seen = self.batch.get_mut(&host).expect("work is only sent to the batch");
        *seen.rounds.entry(work.task).or_default() += 1;
        match work.kind {
            TaskKind::Task => {
                seen.finished.insert(step.unwrap());
                seen.flushed.clear();
                seen.wants_flush = false;
                (seen.last, seen.last_step) = (within, step.unwrap());
            }
            TaskKind::Handler => {
                seen.pending.remove(&handler.unwrap());
                seen.last = seen.last.filter(|_| seen.wants_flush);
            }
        }
        seen.failed_last = false;
    }

    fn fail(&mut self, host: HostIx, task: TaskId, fatal: bool) {
        if fatal {
            self.note_fatal(task);
        }
        self.failed_in_batch.insert(host);
        self.failed_in_run.insert(host);
    }

    /// A host is lost over a failure that is everybody's.
    pub(super) fn note_fatal(&mut self, task: TaskId) {
        self.was_fatal = true;
        if !self.is_linear() {
            self.fatal_at.get_or_insert(task);
        }
    }
}
