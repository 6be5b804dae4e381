//! The run's way through its plays and their batches.

use std::sync::Arc;

use crate::event::{CancelReason, HostState, PlayEnd};
use crate::plan::{PlayId, TaskId};

use super::Scheduler;
use super::batch::Batch;
use super::budget;
use super::hosts::Roster;
use super::message::{Command, Dispatch, Notice, RunEnd};
use super::play::Play;
use super::program::{HostIx, Percent, PlayProgram};

/// Which play and batch the run is at.
#[derive(Debug)]
pub(super) struct Course {
    plays: Vec<Arc<Play>>,
    /// The play that runs or comes next, and within it the batch that comes next.
    play: usize,
    next_batch: usize,
    begun: bool,
    hosts: LateHosts,
    batch: Option<Batch>,
    /// No further play: one has failed.
    stopped: bool,
    /// No further playbook, and so no further play.
    closed: bool,
    /// Behind the first play of the playbook that began last.
    playbooks_from: usize,
}

/// What is known of the hosts of the play that comes next, if they are looked up late.
#[derive(Debug, PartialEq, Eq)]
enum LateHosts {
    Unasked,
    Asked,
    Found,
}

impl Course {
    pub(super) fn new(plays: Vec<PlayProgram>, roster: &mut Roster) -> Course {
        let plays: Vec<_> = plays.into_iter().map(|play| Arc::new(Play::new(play, roster.len()))).collect();
        for (place, play) in plays.iter().enumerate() {
            for host in play.program.batches.iter().flatten() {
                roster.enlist(*host, place);
            }
        }
        Course {
            plays,
            play: 0,
            next_batch: 0,
            begun: false,
            hosts: LateHosts::Unasked,
            batch: None,
            stopped: false,
            closed: false,
            playbooks_from: 0,
        }
    }

    /// The batch that runs.
    pub(super) fn batch(&mut self) -> Option<&mut Batch> {
        self.batch.as_mut()
    }

    /// The batch that runs, if hosts of it wait for others to come to the end of a step.
    pub(super) fn waiting_batch(&self) -> Option<&Batch> {
        self.batch.as_ref().filter(|batch| batch.waits_for_work())
    }

    /// The batch that runs and the host's rank in it, if it is in it.
    pub(super) fn find(&mut self, host: HostIx) -> Option<(&mut Batch, usize)> {
        let batch = self.batch.as_mut()?;
        let rank = batch.rank(host)?;
        Some((batch, rank))
    }

    /// The place of the play that runs.
    pub(super) fn play_place(&self) -> usize {
        self.play
    }

    /// Whether no further play begins.
    fn is_through(&self) -> bool {
        self.closed || self.play == self.plays.len()
    }

    /// The first plays of the playbooks that the run has not come to.
    fn playbooks_left(&self) -> Vec<PlayId> {
        let left = self.plays[self.playbooks_from..].iter().filter(|play| play.program.begins_playbook);
        left.map(|play| play.program.play).collect()
    }
}

impl Scheduler {
    /// Does all that can be done before the next event.
    pub(super) fn carry_on(&mut self) {
        while !self.finished {
            self.heed_cancel();
            if self.gate.reason().is_some() || self.course.stopped {
                // What is in flight has its abort; the run waits for the answers.
                return self.finish_if_idle();
            }
            let Some(batch) = self.course.batch() else {
                if self.course.is_through() {
                    return self.finish_if_idle();
                }
                if !self.knows_hosts() {
                    return;
                }
                self.next_batch();
                continue;
            };
            if batch.is_at_barrier() && (batch.play.is_linear() || batch.is_over()) {
                self.spread_failure();
                self.check_budgets();
                if !self.pass_barrier() {
                    self.end_batch();
                }
                continue;
            }
            return self.dispatch_ready();
        }
    }

    /// Lets hosts go on to the next stop; tells whether there is any.
    fn pass_barrier(&mut self) -> bool {
        if let Some(batch) = self.course.batch() {
            batch.lift_barrier();
        }
        self.note_left();
        self.course.batch().is_some_and(|batch| !batch.is_over())
    }

    fn dispatch_ready(&mut self) {
        if self.gate.is_paused() {
            return;
        }
        while let Some(batch) = self.course.batch() {
            let Some(rank) = batch.next_to_begin(&self.in_flight) else { return };
            let segment = batch.begin(rank);
            let (host, attempt) = (batch.lane(rank).host, batch.lane(rank).attempt);
            if let Some((stop, _)) = segment.first() {
                self.announce(host, *stop);
            }
            let rest = segment.iter().map(|(stop, work)| (*stop, work.task)).collect();
            self.in_flight.start(host, rest, self.now);
            self.roster.begin(host);
            let work = segment.into_iter().map(|(_, work)| work).collect();
            self.commands.push_back(Command::Dispatch(Dispatch { host, work, attempt }));
        }
    }

    /// Whether the hosts of the play that comes next are known; asks for them if nobody has.
    fn knows_hosts(&mut self) -> bool {
        let program = &self.course.plays[self.course.play].program;
        if !program.late || self.course.hosts == LateHosts::Found {
            return true;
        }
        if self.course.hosts == LateHosts::Unasked && !self.gate.is_paused() {
            self.course.hosts = LateHosts::Asked;
            let play = program.play;
            self.commands.push_back(Command::FindHosts { play });
        }
        false
    }

    pub(super) fn on_hosts_found(
        &mut self,
        play: PlayId,
        joined: usize,
        batches: Vec<Vec<HostIx>>,
        exempt: &[(TaskId, Vec<HostIx>)],
    ) {
        let place = self.course.play;
        let asked = self.course.plays.get(place).filter(|asked| asked.program.play == play);
        let Some(asked) = asked.filter(|_| self.course.hosts == LateHosts::Asked) else { return };
        self.roster.grow(joined);
        let mut found = Play::new(PlayProgram { batches, ..asked.program.clone() }, self.roster.len());
        let hosts: Vec<HostIx> = found.program.batches.concat();
        for step in &mut found.program.steps {
            for (_, exempt) in exempt.iter().filter(|(task, _)| *task == step.task) {
                // Only ever fewer: a step that only some hosts have stays theirs.
                let here = step.hosts.get_or_insert_with(|| hosts.iter().copied().collect());
                exempt.iter().for_each(|host| here.remove(*host));
            }
        }
        for host in found.program.batches.iter().flatten() {
            self.roster.enlist(*host, place);
        }
        self.course.plays[place] = Arc::new(found);
        self.course.hosts = LateHosts::Found;
    }

    /// Where a playbook begins, begins it; or closes the course, if one before had failures.
    pub(super) fn enter_playbook(&mut self) {
        let Some(next) = self.course.plays.get(self.course.play) else { return };
        if !next.program.begins_playbook {
            return;
        }
        if self.roster.has_failures() && !self.limits.continue_on_error {
            self.course.closed = true;
        } else {
            let play = next.program.play;
            self.course.playbooks_from = self.course.play + 1;
            self.report(Notice::PlaybookStarted { play });
        }
    }

    /// Opens the next batch with hosts that take part, or ends the play.
    fn next_batch(&mut self) {
        let play = Arc::clone(&self.course.plays[self.course.play]);
        let id = play.program.play;
        if !std::mem::replace(&mut self.course.begun, true) {
            let sizes = play.program.batches.iter().map(|batch| self.taking_part(batch).len());
            let sizes: Vec<usize> = sizes.filter(|size| *size > 0).collect();
            self.report(Notice::PlayStarted { play: id, hosts: sizes.iter().sum(), batches: sizes.len() });
        }
        while let Some(named) = play.program.batches.get(self.course.next_batch) {
            let place = self.course.next_batch;
            self.course.next_batch += 1;
            let hosts = self.taking_part(named);
            if !hosts.is_empty() {
                self.course.batch = Some(Batch::new(place, Arc::clone(&play), &hosts));
                self.report(Notice::BatchStarted { play: id, batch: place, hosts });
                return self.note_left();
            }
        }
        self.end_play(self.natural_end(&play));
    }

    fn taking_part(&self, hosts: &[HostIx]) -> Vec<HostIx> {
        hosts.iter().copied().filter(|host| self.roster.takes_part(*host)).collect()
    }

    fn natural_end(&self, play: &Play) -> PlayEnd {
        let mut hosts = play.program.batches.iter().flatten().peekable();
        let none_left = hosts.peek().is_some() && hosts.all(|host| self.roster.is_lost(*host));
        if none_left { PlayEnd::NoHostsLeft } else { PlayEnd::Completed }
    }

    /// The batch is over: on to the next one, or whatever its end means for play and run.
    fn end_batch(&mut self) {
        let Some(batch) = self.course.batch.take() else { return };
        let play = &batch.play.program;
        self.commands.push_back(Command::Report(Notice::BatchFinished { play: play.play, batch: batch.place }));
        let all_may_fail =
            self.limits.continue_on_error || play.max_fail_percentage.is_some_and(|allowed| allowed >= Percent::ALL);
        let fatal = Some(&budget::Ending::Fatal).filter(|_| batch.died_of_one());
        let ending = fatal.or(batch.ending());
        if let Some(end) = ending.and_then(budget::Ending::play_end) {
            self.course.stopped |= ending.is_some_and(budget::Ending::is_failure);
            self.end_play(end);
        } else if batch.has_no_survivors() && !all_may_fail {
            self.course.stopped = true;
            self.end_play(PlayEnd::NoHostsLeft);
        } else if let Some(end) = budget::stops_rolling(play, &self.limits, batch.tally) {
            self.course.stopped = true;
            self.end_play(end.play_end().unwrap_or(PlayEnd::FatalError));
        }
    }

    fn end_play(&mut self, end: PlayEnd) {
        let play = Arc::clone(&self.course.plays[self.course.play]);
        let goes_on = !self.course.stopped && end != PlayEnd::Cancelled;
        if goes_on {
            for host in play.program.batches.iter().flatten() {
                self.roster.finish_play(*host, self.course.play);
            }
        }
        self.report(Notice::PlayFinished { play: play.program.play, end });
        self.course.begun = false;
        self.course.hosts = LateHosts::Unasked;
        self.course.play += 1;
        self.course.next_batch = 0;
        if goes_on {
            self.enter_playbook();
        }
    }

    /// Acts on a cancel, once for each reason; aborts what is in flight, once.
    fn heed_cancel(&mut self) {
        let Some((reason, first)) = self.gate.take_news() else { return };
        self.report(Notice::Cancelling { reason });
        if first {
            self.stop_everything();
        }
    }

    fn stop_everything(&mut self) {
        self.timers.clear_all();
        self.course.batch = None;
        for host in self.in_flight.abort_all() {
            self.commands.push_back(Command::Abort { host });
        }
    }

    /// The run ends when the last answer is in.
    fn finish_if_idle(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        self.finished = true;
        let cancelled: Option<CancelReason> = self.gate.reason();
        if cancelled.is_some() && self.course.begun {
            self.end_play(PlayEnd::Cancelled);
        }
        if cancelled.is_none() && !self.course.stopped {
            self.roster.finish_all();
        }
        for host in self.roster.unfinished() {
            self.roster.lose(host, HostState::Cancelled);
            self.report(Notice::HostGone { host, state: HostState::Cancelled });
        }
        let end = RunEnd {
            hosts: self.roster.final_states(),
            cancelled,
            stopped_early: self.course.stopped,
            not_begun: self.course.playbooks_left(),
        };
        self.report(Notice::RunFinished(end));
    }
}
