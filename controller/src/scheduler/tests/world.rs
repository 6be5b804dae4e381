//! What the commands and events so far add up to, kept apart from the scheduler, and the rules that must hold for it
//! after every command. Works for programs in which no task is named twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use crate::event::{HostState, PlayEnd, TaskKind};
use crate::plan::{BlockId, PlayId, Section, TaskId, Within};
use crate::scheduler::{
    Command, Dispatch, Effect, Event, HandlerStep, HostIx, Notice, OnFailure, Once, Outcome, Percent, PlayProgram,
    Program, RunEnd, Snapshot, Splice, Step, StepKind, Strategy, TransportFault, Verdict, Work,
};

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) work: VecDeque<Work>,
    pub(super) attempt: u32,
    pub(super) aborted: bool,
    progressed: bool,
}

/// A host in the batch that runs.
#[derive(Debug, Default)]
struct Seen {
    finished: BTreeSet<usize>,
    pending: BTreeSet<usize>,
    /// It asked for a flush at the last task.
    wants_flush: bool,
    /// Handlers run since the last task.
    flushed: Vec<usize>,
    rounds: BTreeMap<TaskId, u32>,
    /// Blocks whose `rescue` it runs or ran, and those whose `always` it runs with a failure, the innermost last, and
    /// whether that is everybody's.
    rescuing: BTreeSet<BlockId>,
    failing: Vec<(BlockId, bool)>,
    /// Where its last step stands, whether it failed there, and whether it runs an `always` over another host's failure.
    last: Option<Within>,
    failed_last: bool,
    dragged: bool,
    begun: bool,
    dropped: bool,
    left: bool,
    retrying: Option<(TaskId, u32)>,
}

#[derive(Debug)]
pub(super) struct World {
    /// With what hosts of the batch that runs have included.
    program: Program,
    plays: Vec<PlayProgram>,
    pub(super) sent: BTreeMap<HostIx, Sent>,
    play: Option<usize>,
    /// The play whose hosts are asked for.
    pub(super) wanted: Option<PlayId>,
    batch: BTreeMap<HostIx, Seen>,
    batch_size: usize,
    pub(super) lost: BTreeMap<HostIx, HostState>,
    begun: BTreeSet<HostIx>,
    failed_in_batch: BTreeSet<HostIx>,
    pub(super) failed_in_run: BTreeSet<HostIx>,
    last_task: Option<TaskId>,
    /// Last tries that did not get through, until the run says so; true for those it had aborted.
    given_up: BTreeSet<(HostIx, TaskId, bool)>,
    fatal_at: Option<TaskId>,
    /// Under linear: a failure at this task is everybody's, once it is over.
    shared_at: Option<TaskId>,
    was_fatal: bool,
    /// Hosts that are to be lost over another one's failure.
    dragged_out: BTreeSet<HostIx>,
    /// Who goes first at a task alone, and what those who did have said.
    leaders: BTreeMap<TaskId, HostIx>,
    said: BTreeMap<TaskId, Option<NonZeroU32>>,
    ended_by_meta: bool,
    play_ended_by_meta: bool,
    no_more_plays: bool,
    pub(super) paused: bool,
    cancelled: bool,
    pub(super) end: Option<RunEnd>,
}

impl World {
    pub(super) fn new(program: Program) -> World {
        World {
            plays: program.plays.clone(),
            program,
            sent: BTreeMap::new(),
            play: None,
            wanted: None,
            batch: BTreeMap::new(),
            batch_size: 0,
            lost: BTreeMap::new(),
            begun: BTreeSet::new(),
            failed_in_batch: BTreeSet::new(),
            failed_in_run: BTreeSet::new(),
            last_task: None,
            fatal_at: None,
            shared_at: None,
            was_fatal: false,
            dragged_out: BTreeSet::new(),
            leaders: BTreeMap::new(),
            said: BTreeMap::new(),
            given_up: BTreeSet::new(),
            ended_by_meta: false,
            play_ended_by_meta: false,
            no_more_plays: false,
            paused: false,
            cancelled: false,
            end: None,
        }
    }

    /// Hosts of the run, and those who are in a play as it is known now.
    pub(super) fn hosts_of(&self, play: PlayId) -> (usize, &[Vec<HostIx>]) {
        (self.program.hosts, &self.program.plays[play.index()].batches)
    }

    pub(super) fn steps_named_by(&self, play: PlayId) -> Vec<TaskId> {
        self.program.plays[play.index()].steps.iter().map(|step| step.task).collect()
    }

    /// Takes note of an event that is about to be handled.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Finished { host, task, outcome } => self.hear_finished(*host, *task, outcome),
            Event::Unreachable { host, task, fault, on_failure } => {
                self.hear_unreachable(*host, *task, *fault, *on_failure);
            }
            Event::DropHost(host) => {
                self.leaders.retain(|_, leader| leader != host);
                if let Some(seen) = self.batch.get_mut(host) {
                    seen.retrying = None;
                    seen.left = true;
                    seen.dropped = true;
                }
            }
            Event::HostsFound { play, joined, batches, exempt } => {
                if self.wanted.take_if(|wanted| wanted == play).is_some() {
                    self.program.hosts += joined.len();
                    // Each batch of the play begins with this, before its hosts include anything.
                    let found = &mut self.plays[play.index()];
                    found.batches = batches.clone();
                    for step in &mut found.steps {
                        for (_, exempt) in exempt.iter().filter(|(task, _)| *task == step.task) {
                            let had = |host: &HostIx| step.hosts.as_ref().is_none_or(|hosts| hosts.contains(*host));
                            let all = batches.iter().flatten().copied();
                            step.hosts = Some(all.filter(|host| had(host) && !exempt.contains(host)).collect());
                        }
                    }
                    self.program.plays[play.index()] = found.clone();
                }
            }
            Event::DeadlineReached | Event::Cancel(_) | Event::Pause | Event::Resume => {}
        }
    }

    fn hear_finished(&mut self, host: HostIx, task: TaskId, outcome: &Outcome) {
        let Some(sent) = self.sent.get_mut(&host).filter(|sent| sent.work[0].task == task) else { return };
        let first = !std::mem::replace(&mut sent.progressed, true);
        let again = outcome.verdict == Verdict::NotRun && !first;
        let good = matches!(outcome.verdict, Verdict::Ok | Verdict::Changed | Verdict::Skipped);
        let ignored = matches!(outcome.verdict, Verdict::Failed | Verdict::TimedOut) && outcome.ignored;
        let leaves = good && matches!(outcome.effect, Effect::EndHost | Effect::EndBatch | Effect::EndPlay);
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
                self.hear_effect(host, outcome.effect);
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
            open && !behind && self.comes_to(*host, &self.play().steps[step]) && !seen.finished.contains(&step)
        };
        let others: Vec<HostIx> = self.batch.keys().copied().filter(here).collect();
        for other in others {
            self.through(other, Work { task, kind: TaskKind::Task, round: 0, rescued: false });
            self.leave_blocks(other, task);
        }
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

    fn is_linear(&self) -> bool {
        self.play().strategy == Strategy::Linear
    }

    /// Whether a failure there is everybody's, as the play says.
    fn is_fatal(&self, work: Work) -> bool {
        let once = self.step(work.task).map(|step| self.play().steps[step].turns.once);
        self.on_failure(work).any_errors_fatal || self.is_linear() && once == Some(Once::Yes)
    }

    /// A step that failed for everybody is over: who has not failed there by itself fails now.
    fn spread(&mut self, over: Option<TaskId>) {
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
            open.then_some((*host, seen.last))
        };
        let hosts: Vec<_> = self.batch.iter().filter_map(shares).collect();
        for (host, last) in hosts {
            if self.takes_up_at(host, last, false) {
                self.batch.get_mut(&host).unwrap().dragged = true;
                self.leave_blocks(host, task);
            } else {
                self.dragged_out.insert(host);
            }
        }
    }

    /// Whether a block around takes the host's failure up; what it does not come to then counts as done.
    fn takes_up(&mut self, host: HostIx, work: Work, fatal: bool) -> bool {
        let seen = &self.batch[&host];
        let within = match self.step(work.task) {
            Some(step) => self.play().steps[step].within,
            None if seen.wants_flush => seen.last,
            None => return false,
        };
        let taken_up = self.takes_up_at(host, within, fatal);
        let seen = self.batch.get_mut(&host).unwrap();
        (seen.failed_last, seen.dragged) = (taken_up, false);
        taken_up
    }

    fn takes_up_at(&mut self, host: HostIx, within: Option<Within>, mut fatal: bool) -> bool {
        for Within { block, section } in self.around(within) {
            let has = |section| !self.steps_in(block, section).is_empty();
            let (has_rescue, has_always) = (has(Section::Rescue), has(Section::Always));
            let tasks = self.steps_in(block, Section::Tasks);
            let rescue = self.steps_in(block, Section::Rescue);
            let seen = self.batch.get_mut(&host).unwrap();
            fatal |= seen.failing.contains(&(block, true));
            seen.failing.retain(|(failing, _)| *failing != block);
            if section == Section::Tasks && has_rescue {
                seen.rescuing.insert(block);
                seen.finished.extend(tasks);
                return true;
            }
            if section != Section::Always && has_always {
                seen.failing.push((block, fatal));
                seen.finished.extend(tasks.into_iter().chain(rescue));
                return true;
            }
        }
        false
    }

    /// A host that is through with the `always` of a block that failed has failed there.
    fn leave_blocks(&mut self, host: HostIx, task: TaskId) {
        while let Some((block, _)) = self.batch[&host].failing.last().copied() {
            let always = self.steps_in(block, Section::Always);
            let here: Vec<usize> = self.steps_of(host).filter(|step| always.contains(step)).collect();
            let seen = &self.batch[&host];
            if self.lost.contains_key(&host) || seen.left || !here.iter().all(|step| seen.finished.contains(step)) {
                return;
            }
            let fatal = self.carries_fatal(host);
            let (_, failed_for_all) = self.batch.get_mut(&host).unwrap().failing.pop().unwrap();
            let parent = self.play().blocks[&block];
            if self.takes_up_at(host, parent, failed_for_all) {
                continue;
            }
            if self.batch[&host].dragged {
                self.dragged_out.insert(host);
                return;
            }
            self.failed_in_batch.insert(host);
            self.failed_in_run.insert(host);
            if fatal {
                self.note_fatal(task);
            }
        }
    }

    /// Whether it runs an `always` with a failure that is everybody's.
    fn carries_fatal(&self, host: HostIx) -> bool {
        self.batch[&host].failing.iter().any(|(_, fatal)| *fatal)
    }

    fn around(&self, within: Option<Within>) -> Vec<Within> {
        std::iter::successors(within, |inner| self.play().blocks[&inner.block]).collect()
    }

    fn steps_in(&self, block: BlockId, section: Section) -> BTreeSet<usize> {
        let at = Within { block, section };
        let steps = self.play().steps.iter().enumerate();
        steps.filter(|(_, step)| self.around(step.within).contains(&at)).map(|(place, _)| place).collect()
    }

    /// Whether the host comes to what stands here: not to a `rescue` without a failure.
    fn comes_to(&self, host: HostIx, step: &Step) -> bool {
        let closed = |at: &Within| at.section == Section::Rescue && !self.batch[&host].rescuing.contains(&at.block);
        step.hosts.as_ref().is_none_or(|hosts| hosts.contains(host)) && !self.around(step.within).iter().any(closed)
    }

    /// The host goes through what it included next, and nobody else who does not include it as well.
    fn join(&mut self, host: HostIx, task: TaskId, included: &[Splice]) {
        let Some(step) = self.step(task) else { return self.join_handlers(host, task, included) };
        let play = self.play.unwrap();
        let depth = self.play().steps[step].depth;
        let behind = self.play().steps[step + 1..].iter().take_while(|other| other.depth > depth).count();
        let mut place = step + 1 + behind;
        for splice in included {
            let known = self.step(splice.steps[0].task);
            for (number, joining) in splice.steps.iter().enumerate() {
                let steps = &mut self.program.plays[play].steps;
                match known {
                    Some(known) => steps[known + number].hosts.get_or_insert_default().insert(host),
                    None => {
                        let only = Some([host].into_iter().collect());
                        steps.insert(place, Step { hosts: only, depth: depth + 1, ..joining.clone() });
                        self.move_on(place);
                    }
                }
                place += usize::from(known.is_none());
            }
        }
    }

    /// The host is notified of what its handler included.
    fn join_handlers(&mut self, host: HostIx, task: TaskId, included: &[Splice]) {
        let (play, including) = (self.play.unwrap(), self.handler(task).unwrap());
        let depth = self.play().handlers[including].depth + 1;
        for joining in included.iter().flat_map(|splice| &splice.steps) {
            if self.handler(joining.task).is_none() {
                let behind = self.play().handlers[including + 1..].iter().take_while(|other| other.depth >= depth);
                let place = including + 1 + behind.count();
                let handler =
                    HandlerStep { task: joining.task, on_failure: joining.on_failure, turns: joining.turns, depth };
                self.program.plays[play].handlers.insert(place, handler);
                let moved = |handler: usize| if handler >= place { handler + 1 } else { handler };
                for seen in self.batch.values_mut() {
                    seen.pending = std::mem::take(&mut seen.pending).into_iter().map(moved).collect();
                    seen.flushed = std::mem::take(&mut seen.flushed).into_iter().map(moved).collect();
                }
            }
            let handler = self.handler(joining.task).unwrap();
            self.batch.get_mut(&host).unwrap().pending.insert(handler);
        }
    }

    fn move_on(&mut self, place: usize) {
        let moved = |step: usize| if step >= place { step + 1 } else { step };
        for seen in self.batch.values_mut() {
            seen.finished = std::mem::take(&mut seen.finished).into_iter().map(moved).collect();
        }
    }

    fn hear_effect(&mut self, host: HostIx, effect: Effect) {
        match effect {
            Effect::None | Effect::FlushHandlers => {}
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

    fn hear_unreachable(&mut self, host: HostIx, task: TaskId, fault: TransportFault, on_failure: OnFailure) {
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
                seen.last = within;
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
    fn note_fatal(&mut self, task: TaskId) {
        self.was_fatal = true;
        if !self.is_linear() {
            self.fatal_at.get_or_insert(task);
        }
    }

    /// Takes note of a command, and holds the rules against it.
    pub(super) fn see(&mut self, command: &Command) {
        assert!(self.end.is_none(), "{command:?} after the run's end");
        match command {
            Command::Dispatch(dispatch) => self.see_dispatch(dispatch),
            Command::Abort { host } => {
                let sent = self.sent.get_mut(host).expect("an abort is for work in flight");
                assert!(!std::mem::replace(&mut sent.aborted, true), "aborted twice");
            }
            Command::FindHosts { play } => {
                assert!(!self.cancelled && !self.paused, "nobody is looked for any more");
                assert!(self.program.plays[play.index()].late, "the hosts are known");
                assert!(self.wanted.replace(*play).is_none(), "asked twice");
            }
            Command::Report(notice) => self.see_notice(notice),
        }
    }

    fn see_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::PlayStarted { play, .. } => {
                assert_eq!(self.wanted, None, "a play began without its hosts");
                assert!(!self.no_more_plays, "a play after one that ended the run");
                assert!(self.batch.is_empty());
                self.play = Some(play.index());
            }
            Notice::BatchStarted { hosts, .. } => {
                assert!(self.batch.is_empty(), "two batches at once");
                assert!(hosts.iter().all(|host| !self.lost.contains_key(host)), "a lost host in a batch");
                self.batch = hosts.iter().map(|host| (*host, Seen::default())).collect();
                let play = self.play.unwrap();
                self.program.plays[play] = self.plays[play].clone();
                self.batch_size = hosts.len();
                self.failed_in_batch.clear();
                (self.last_task, self.fatal_at, self.shared_at) = (None, None, None);
                self.was_fatal = false;
                (self.leaders, self.said) = Default::default();
                (self.ended_by_meta, self.play_ended_by_meta) = (false, false);
            }
            Notice::BatchFinished { .. } => self.see_batch_finished(),
            Notice::PlayFinished { end, .. } => self.see_play_finished(end),
            Notice::HostGone { host, state } => {
                let own = self.failed_in_batch.contains(host) || self.batch.get(host).is_none_or(|seen| seen.dropped);
                if *state == HostState::Cancelled && !own {
                    self.spread(None);
                }
                self.dragged_out.remove(host);
                assert!(self.lost.insert(*host, *state).is_none(), "{host:?} lost twice");
            }
            Notice::Cancelling { .. } => self.cancelled = true,
            Notice::Paused => self.paused = true,
            Notice::Resumed => self.paused = false,
            Notice::RunFinished(end) => self.see_run_finished(end),
            Notice::TaskStarted { hosts, .. } => assert!(*hosts > 0, "a banner for nobody"),
            Notice::Retrying { host, task, attempt, .. } => {
                assert_eq!(self.batch[host].retrying, Some((*task, *attempt)), "another try of what needs none");
            }
            Notice::Unreachable { host, task, aborted } => {
                assert!(self.given_up.remove(&(*host, *task, *aborted)), "{host:?} given up before its last try");
            }
        }
    }

    fn see_dispatch(&mut self, dispatch: &Dispatch) {
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

    fn is_over_budget(&self) -> bool {
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
        (flushes + usize::from(at_end || jumped), at_end || jumped)
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

    fn see_batch_finished(&mut self) {
        self.spread(None);
        assert!(self.dragged_out.is_empty(), "hosts that should have gone with another: {:?}", self.dragged_out);
        let cut = self.fatal_at.is_some() || self.ended_by_meta || self.is_over_budget();
        for (host, seen) in &self.batch {
            assert!(self.sent.get(host).is_none_or(|sent| sent.aborted), "a batch over with work in flight");
            if cut || seen.left || self.lost.contains_key(host) {
                continue;
            }
            assert!(self.steps_of(*host).all(|step| seen.finished.contains(&step)), "{host:?} is not through");
            assert!(seen.pending.iter().all(|handler| seen.flushed.contains(handler)), "a lost notification");
        }
        let survivors = self.batch.keys().any(|host| !self.lost.contains_key(host));
        let failed_all = !survivors && self.failed_in_batch.len() == self.batch_size;
        let limits = &self.program.limits;
        let budget = self.play().max_fail_percentage;
        let may_all_fail = limits.continue_on_error || budget.is_some_and(|percent| percent >= Percent::ALL);
        let rolling = self.play().rolling && !limits.continue_on_error && budget.is_none();
        let spoilt = failed_all && !may_all_fail || rolling && !self.failed_in_batch.is_empty();
        let died = self.was_fatal && !survivors;
        self.no_more_plays =
            died || self.fatal_at.is_some() || self.is_over_budget() || spoilt && !self.play_ended_by_meta;
        self.batch.clear();
    }

    fn see_play_finished(&mut self, end: &PlayEnd) {
        match end {
            PlayEnd::BudgetExceeded { failed, hosts, .. } => {
                assert!(self.no_more_plays && *failed > 0 && failed <= hosts);
            }
            PlayEnd::FatalError => assert!(self.was_fatal && self.no_more_plays),
            PlayEnd::Cancelled => assert!(self.cancelled),
            PlayEnd::Completed | PlayEnd::Ended => assert!(!self.no_more_plays),
            PlayEnd::NoHostsLeft => {}
        }
        self.play = None;
        self.batch.clear();
    }

    fn see_run_finished(&mut self, end: &RunEnd) {
        assert!(self.given_up.is_empty(), "nobody was told that these cannot be reached");
        assert!(self.sent.is_empty(), "the run is over with work in flight");
        assert_eq!(end.cancelled.is_some(), self.cancelled);
        assert_eq!(end.hosts.len(), self.program.hosts);
        for (place, state) in end.hosts.iter().enumerate() {
            let host = HostIx(place as u32);
            let begun = if self.begun.contains(&host) { HostState::Ok } else { HostState::NotStarted };
            assert_eq!(*state, self.lost.get(&host).copied().unwrap_or(begun), "{host:?}");
        }
        self.end = Some(end.clone());
    }

    /// Counts add up, and say of whom something is running what is so.
    pub(super) fn check_status(&self, status: &Snapshot) {
        assert_eq!(status.hosts.total(), self.program.hosts, "{:?}", status.hosts);
        let lost = |host: &HostIx| self.lost.contains_key(host);
        assert_eq!(status.hosts.running, self.sent.keys().filter(|host| !lost(host)).count(), "{:?}", status.hosts);
        let states = |state| self.lost.values().filter(|lost| **lost == state).count();
        assert_eq!(status.hosts.failed, states(HostState::Failed));
        assert_eq!(status.hosts.unreachable, states(HostState::Unreachable));
        assert_eq!(status.hosts.cancelled, states(HostState::Cancelled));
        assert_eq!(status.paused, self.paused);
        assert_eq!(status.waited_for.len(), self.sent.len().min(crate::event::WAITED_FOR_MAX));
    }

    fn play(&self) -> &PlayProgram {
        &self.program.plays[self.play.expect("a play runs")]
    }

    pub(super) fn current_play(&self) -> Option<&PlayProgram> {
        self.play.map(|play| &self.program.plays[play])
    }

    fn is_open(&self, host: HostIx, seen: &Seen) -> bool {
        let ending = self.ended_by_meta || self.fatal_at.is_some() || self.is_over_budget();
        let unfinished = !ending && self.steps_of(host).any(|step| !seen.finished.contains(&step));
        unfinished && !seen.left && !self.lost.contains_key(&host)
    }

    fn steps_of(&self, host: HostIx) -> impl Iterator<Item = usize> + '_ {
        let steps = self.play().steps.iter().enumerate();
        let tasks = steps.filter(|(_, step)| step.kind != StepKind::FlushHandlers);
        let here = tasks.filter(move |(_, step)| self.comes_to(host, step));
        here.map(|(place, _)| place)
    }

    fn step(&self, task: TaskId) -> Option<usize> {
        self.play().steps.iter().position(|step| step.task == task)
    }

    fn handler(&self, task: TaskId) -> Option<usize> {
        self.play().handlers.iter().position(|handler| handler.task == task)
    }

    fn on_failure(&self, work: Work) -> OnFailure {
        match self.step(work.task) {
            Some(step) => self.play().steps[step].on_failure,
            None => self.play().handlers[self.handler(work.task).unwrap()].on_failure,
        }
    }
}
