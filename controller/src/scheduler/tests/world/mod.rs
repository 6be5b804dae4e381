//! What the commands and events so far add up to, kept apart from the scheduler, and the rules that must hold for it
//! after every command: `answers` takes note of what hosts say, `blocks`, `includes` and `roles` of where they go by that, `dispatch` has
//! the rules for what is sent to them. Works for programs in which no task is named twice.

mod answers;
mod blocks;
mod dispatch;
mod includes;
mod roles;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use crate::event::{HostState, PlayEnd};
use crate::plan::{BlockId, PlayId, TaskId, Within};
use crate::scheduler::{
    Command, Event, HostIx, Notice, OnFailure, Percent, PlayProgram, Program, RunEnd, Snapshot, StepKind, Strategy,
    Work,
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
    /// Where its last step stands, which one that is, whether it failed there, and whether it runs an `always` over another host's failure.
    last: Option<Within>,
    last_step: usize,
    failed_last: bool,
    dragged: bool,
    /// Uses of roles that it did something in, but for those that it failed out of.
    roles: BTreeSet<u32>,
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
    playbooks: BTreeSet<PlayId>,
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
            playbooks: BTreeSet::new(),
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

    fn is_linear(&self) -> bool {
        self.play().strategy == Strategy::Linear
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
            Notice::PlaybookStarted { play } => {
                assert!(self.play.is_none() && self.batch.is_empty(), "a playbook within a play");
                assert!(self.program.plays[play.index()].begins_playbook);
                assert!(!self.fails_playbooks(), "a playbook behind one that had failures");
                assert!(self.playbooks.insert(*play), "a playbook twice");
            }
            Notice::PlayStarted { play, .. } => {
                let begins = self.program.plays[play.index()].begins_playbook;
                assert!(!begins || self.playbooks.contains(play), "a play before its playbook");
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
            Notice::HostLeft { host } => assert!(self.batch[host].left, "{host:?} left without wanting to"),
            Notice::HostsForgiven { hosts } => {
                for host in hosts {
                    match self.lost.remove(host) {
                        // What its batch makes of it is known by the answer.
                        None => assert!(self.batch.contains_key(host), "{host:?} forgiven for nothing"),
                        Some(state) => assert!(
                            !self.batch.contains_key(host) && state != HostState::Cancelled,
                            "{host:?} forgiven that was {state:?}"
                        ),
                    }
                }
            }
            Notice::GivenUp { host, .. } => assert!(!self.lost.contains_key(host), "a lost host cannot be given up"),
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
            // One that a later handler notifies in the last flush is lost, as in Ansible.
            let ran_behind = |handler: &usize| seen.flushed.iter().any(|ran| ran >= handler);
            assert!(seen.pending.iter().all(ran_behind), "a lost notification");
        }
        let survivors = self.batch.iter().any(|(host, seen)| !self.lost.contains_key(host) && !seen.dropped);
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

    /// Whether a playbook that follows is not begun.
    fn fails_playbooks(&self) -> bool {
        let failed = |state: &HostState| matches!(state, HostState::Failed | HostState::Unreachable);
        !self.program.limits.continue_on_error && self.lost.values().any(failed)
    }

    fn see_run_finished(&mut self, end: &RunEnd) {
        let begin = self.program.plays.iter().filter(|play| play.begins_playbook).map(|play| play.play);
        let left: Vec<PlayId> = begin.filter(|play| !self.playbooks.contains(play)).collect();
        assert_eq!(end.not_begun, left, "playbooks that were begun are not told apart");
        let is_whole = end.cancelled.is_none() && !end.stopped_early && !self.fails_playbooks();
        assert!(!is_whole || left.is_empty(), "a playbook left out: {left:?}");
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
