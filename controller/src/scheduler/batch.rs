//! The hosts of one batch on their way through the play, and the rule each strategy has for letting them go on:
//!
//! - linear: when nobody is busy, those furthest behind go on, all to the same stop. That is the barrier.
//! - free and host_pinned: whoever comes to rest goes on at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::HostState;
use crate::plan::TaskId;

use super::blocks::Fall;
use super::budget::{Ending, Tally};
use super::cursor::Stop;
use super::in_flight::InFlight;
use super::lane::{Doing, Lane};
use super::message::Work;
use super::play::Play;
use super::program::{HostIx, StepKind};
use super::turns::Leads;

#[derive(Debug)]
pub(super) struct Batch {
    /// Its place among the play's batches.
    pub(super) place: usize,
    pub(super) play: Arc<Play>,
    pub(super) tally: Tally,
    pub(super) lanes: Vec<Lane>,
    /// Where each host is in `lanes`.
    ranks: BTreeMap<HostIx, usize>,
    /// Lanes that wait for a slot, by rank; and those that have one already (`host_pinned`).
    ready: BTreeSet<usize>,
    ready_with_slot: BTreeSet<usize>,
    /// How many lanes are busy, and how many are not out.
    busy: usize,
    open: usize,
    ending: Option<Ending>,
    pub(super) announced: BTreeSet<Stop>,
    pub(super) announced_last: Option<Stop>,
    pub(super) leads: Leads,
    /// A failure at the step that runs is everybody's; and one was at some time.
    shares_failure: bool,
    is_fatal: bool,
    /// Hosts that went out and nobody took note of yet.
    left: Vec<HostIx>,
}

impl Batch {
    pub(super) fn new(place: usize, play: Arc<Play>, hosts: &[HostIx]) -> Batch {
        let lanes: Vec<Lane> = hosts.iter().map(|host| Lane::new(*host, &play)).collect();
        let mut batch = Batch {
            place,
            tally: Tally::of(hosts.len()),
            ranks: hosts.iter().enumerate().map(|(rank, host)| (*host, rank)).collect(),
            ready: BTreeSet::new(),
            ready_with_slot: BTreeSet::new(),
            busy: 0,
            open: lanes.len(),
            ending: None,
            announced: BTreeSet::new(),
            announced_last: None,
            leads: Leads::default(),
            shares_failure: false,
            is_fatal: false,
            left: Vec::new(),
            lanes,
            play,
        };
        for rank in 0..batch.lanes.len() {
            batch.go_on(rank);
        }
        batch
    }

    pub(super) fn rank(&self, host: HostIx) -> Option<usize> {
        self.ranks.get(&host).copied()
    }

    pub(super) fn lane(&self, rank: usize) -> &Lane {
        &self.lanes[rank]
    }

    /// Every host is out.
    pub(super) fn is_over(&self) -> bool {
        self.open == 0
    }

    /// Nobody is at a stop: a step has ended everywhere.
    pub(super) fn is_at_barrier(&self) -> bool {
        self.busy == 0
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// The batch is to end early. What has begun comes to its end: under linear the step on every host, otherwise the
    /// work in flight or about to be tried again.
    pub(super) fn end_early(&mut self, ending: Ending) {
        if self.ending.as_ref().is_some_and(|standing| standing.weight() >= ending.weight()) {
            return;
        }
        self.ending = Some(ending);
        if !self.play.is_linear() {
            let untried = |rank: &usize| self.lanes[*rank].attempt == 0;
            let ready: Vec<usize> = self.ready.union(&self.ready_with_slot).copied().filter(untried).collect();
            for rank in ready {
                self.set(rank, Doing::Resting);
                self.go_on(rank);
            }
        }
    }

    /// Linear's barrier is lifted: those furthest behind may begin their stop. Who is at the end waits there for the others.
    pub(super) fn lift_barrier(&mut self) {
        for rank in 0..self.lanes.len() {
            self.heed_ending(rank);
        }
        let resting = |lane: &&Lane| lane.doing == Doing::Resting;
        let next = self.lanes.iter().filter(resting).filter_map(|lane| lane.stop).min();
        let doing = if next.is_some() { Doing::Ready } else { Doing::Out };
        for rank in 0..self.lanes.len() {
            if self.lanes[rank].doing == Doing::Resting && self.lanes[rank].stop == next {
                self.set(rank, doing);
            }
        }
    }

    /// Somebody is through with a step that all have begun and others are not through with.
    pub(super) fn waits_for_work(&self) -> bool {
        let waits = |lane: &Lane| lane.doing == Doing::Resting && lane.stop.is_some();
        self.play.is_linear() && self.ready.is_empty() && self.lanes.iter().any(waits)
    }

    /// The next lane to begin its stop: in the order of the batch, those that hold a slot first.
    pub(super) fn next_to_begin(&self, in_flight: &InFlight) -> Option<usize> {
        let with_slot = self.first_with_turn(&self.ready_with_slot, in_flight);
        with_slot.or_else(|| self.first_with_turn(&self.ready, in_flight).filter(|_| in_flight.has_free_slot()))
    }

    /// The lane begins its stop; gives what travels to the host.
    pub(super) fn begin(&mut self, rank: usize) -> Vec<(Stop, Work)> {
        self.set(rank, Doing::InFlight);
        self.take_lead(rank);
        let lane = &mut self.lanes[rank];
        lane.has_slot = self.play.is_pinned();
        lane.attempt += 1;
        let Some(first) = lane.stop else { return Vec::new() };
        let stops = self.play.segment(first, lane.host);
        stops.into_iter().map(|stop| (stop, lane.work_at(stop, &self.play))).collect()
    }

    /// The host did something at its stop: it did not skip it.
    pub(super) fn note_run(&mut self, rank: usize) {
        self.lanes[rank].note_run(&self.play);
    }

    /// The lane leaves its stop behind, with its work going on (a segment) or at an end.
    pub(super) fn pass(&mut self, rank: usize, notified: &[TaskId], goes_on: bool) {
        self.lanes[rank].pass(&self.play, notified);
        if goes_on {
            self.lanes[rank].attempt = 1;
        } else {
            self.rest(rank);
        }
    }

    /// The lane leaves its stop behind, and all that is left of the role that it stands in.
    pub(super) fn pass_role(&mut self, rank: usize, notified: &[TaskId]) {
        self.lanes[rank].pass_role(&self.play, notified);
        self.rest(rank);
    }

    /// The lane stays at a flush for its handlers.
    pub(super) fn flush(&mut self, rank: usize) {
        self.lanes[rank].flush(&self.play);
        self.rest(rank);
    }

    /// The host failed at its stop, and a block around it takes that up. False if there is none.
    pub(super) fn rescue(&mut self, rank: usize, fatal: bool) -> bool {
        let rescued = self.lanes[rank].fail(&self.play, fatal);
        if rescued {
            self.rest(rank);
        }
        rescued
    }

    /// A failure is everybody's. Under linear the others have their share when the step is over.
    pub(super) fn share_failure(&mut self) {
        self.shares_failure = self.play.is_linear();
    }

    /// A host is lost over a failure that is everybody's, and nobody rescued it.
    pub(super) fn note_fatal(&mut self) {
        self.is_fatal = true;
        if !self.play.is_linear() {
            self.end_early(Ending::Fatal);
        }
    }

    /// Such a failure left nobody.
    pub(super) fn died_of_one(&self) -> bool {
        self.is_fatal && self.has_no_survivors()
    }

    /// The step is over. If a failure there is everybody's, each host that has not failed there by itself does so now. Gives
    /// those who go on with a block around them, and those who are lost.
    pub(super) fn spread_failure(&mut self) -> (Vec<HostIx>, Vec<HostIx>) {
        let (mut caught, mut lost) = (Vec::new(), Vec::new());
        if !std::mem::take(&mut self.shares_failure) {
            return (caught, lost);
        }
        for rank in 0..self.lanes.len() {
            if !self.lanes[rank].shares_failure() {
                continue;
            }
            if self.lanes[rank].drag(&self.play) {
                caught.push(self.lanes[rank].host);
            } else {
                self.put_out(rank, HostState::Cancelled);
                lost.push(self.lanes[rank].host);
            }
        }
        (caught, lost)
    }

    /// How the host came to the end of a block with a failure that nobody rescues. Told once; such a host is to be lost.
    pub(super) fn take_fall(&mut self, rank: usize) -> Option<Fall> {
        let lane = &mut self.lanes[rank];
        lane.take_fall().filter(|_| lane.lost.is_none() && lane.doing != Doing::Out)
    }

    /// The lane is to do its stop as if never sent there.
    pub(super) fn send_again(&mut self, rank: usize) {
        self.lanes[rank].attempt = 0;
        self.rest(rank);
    }

    pub(super) fn back_off(&mut self, rank: usize) {
        self.set(rank, Doing::BackingOff);
    }

    /// The lane may try again.
    pub(super) fn try_again(&mut self, rank: usize) {
        if self.lanes[rank].doing == Doing::BackingOff {
            self.set(rank, Doing::Ready);
        }
    }

    /// The host failed at its stop. Tells whether the batch's budget counts it now.
    pub(super) fn lose(&mut self, rank: usize, state: HostState) -> bool {
        self.lanes[rank].stay_behind();
        self.put_out(rank, state);
        let counts = !std::mem::replace(&mut self.lanes[rank].counted, true);
        self.tally.failed += usize::from(counts);
        counts
    }

    /// The host is lost where it stands, and runs its last handlers if they are forced.
    pub(super) fn put_out(&mut self, rank: usize, state: HostState) {
        self.lanes[rank].lost.get_or_insert(state);
        if self.play.program.force_handlers && state != HostState::Unreachable {
            self.lanes[rank].jump_to_last_flush(&self.play);
            self.rest(rank);
        } else {
            self.set(rank, Doing::Out);
        }
    }

    /// The host is done with the batch before its end.
    pub(super) fn leave(&mut self, rank: usize) {
        self.set(rank, Doing::Out);
    }

    /// The operator gives the host up, for good: it has no part any more in what becomes of the others.
    pub(super) fn give_up(&mut self, rank: usize) {
        self.lanes[rank].given_up = true;
        if self.lanes[rank].doing != Doing::Out {
            self.set(rank, Doing::Out);
        }
    }

    /// Takes note of the hosts that went out: each, and whether it went through all it had to do here.
    pub(super) fn take_left(&mut self) -> Vec<(HostIx, bool)> {
        let left = std::mem::take(&mut self.left);
        let through = |host: HostIx| self.rank(host).is_some_and(|rank| self.lanes[rank].is_through());
        left.into_iter().map(|host| (host, through(host))).collect()
    }

    /// Forgives every host that the operator has not given up, what it carries through an `always` included. Those that were
    /// unreachable go on where they were lost. Gives those that were lost, in order.
    pub(super) fn forgive(&mut self) -> Vec<HostIx> {
        let mut forgiven = Vec::new();
        for rank in 0..self.lanes.len() {
            if self.lanes[rank].given_up {
                continue;
            }
            if self.lanes[rank].forgive(&self.play) {
                self.rest(rank);
            }
            if self.lanes[rank].lost.take().is_some() {
                forgiven.push(self.lanes[rank].host);
            }
        }
        forgiven
    }

    /// Hosts that were neither lost to the play nor given up, in order.
    pub(super) fn survivors(&self) -> impl Iterator<Item = HostIx> + '_ {
        self.lanes.iter().filter(|lane| lane.lost.is_none() && !lane.given_up).map(|lane| lane.host)
    }

    /// Some host failed and no other is left. Hosts given up by the operator before that say nothing either way.
    pub(super) fn has_no_survivors(&self) -> bool {
        self.survivors().next().is_none() && self.lanes.iter().any(|lane| lane.lost.is_some())
    }

    /// A host comes to `stop`: how many hosts of the batch are to, if it is time for a banner.
    pub(super) fn announce(&mut self, stop: Stop) -> Option<usize> {
        let is_new = self.announced.insert(stop);
        let is_other = self.announced_last.replace(stop) != Some(stop);
        // Under linear a host that came back makes others see an old stop again.
        let due = if self.play.is_linear() { is_other } else { is_new };
        due.then(|| self.lanes.iter().filter(|lane| self.comes_to(lane, stop)).count())
    }

    fn comes_to(&self, lane: &Lane, stop: Stop) -> bool {
        if lane.doing == Doing::Out {
            return false;
        }
        let here = lane.stop == Some(stop);
        if self.play.is_linear() || stop.handler.is_some() {
            return here;
        }
        let step = &self.play.steps()[stop.step];
        if step.within.is_some() {
            // Who comes here depends on who fails.
            return here;
        }
        let concerned = step.kind != StepKind::FlushHandlers
            && step.hosts.as_ref().is_none_or(|h| h.contains(lane.host))
            && !lane.passes_by(&self.play, stop.step);
        here || concerned && lane.stop < Some(stop)
    }

    /// The lane is at no stop's work any more: out at its end, else as its strategy says.
    pub(super) fn rest(&mut self, rank: usize) {
        self.set(rank, Doing::Resting);
        self.go_on(rank);
    }

    /// A lane at rest goes out if it has no stop, and on if nothing holds it. Under linear it stays until the step is over:
    /// until then another host's failure may be its own.
    fn go_on(&mut self, rank: usize) {
        if self.lanes[rank].is_at_end() {
            if self.play.is_linear() {
                self.left.push(self.lanes[rank].host);
            } else {
                self.set(rank, Doing::Out);
            }
        } else if self.play.is_linear() {
            // Until the barrier.
        } else if self.lanes[rank].stop.is_some() {
            self.heed_ending(rank);
            if self.lanes[rank].doing == Doing::Resting {
                self.set(rank, Doing::Ready);
            }
        }
    }

    /// If the batch ends early, a lane at rest goes out, or to its last handlers if they are forced.
    fn heed_ending(&mut self, rank: usize) {
        let Some(ending) = &self.ending else { return };
        if self.lanes[rank].doing != Doing::Resting {
            return;
        }
        if ending.is_failure() && !self.lanes[rank].is_at_end() {
            self.lanes[rank].cut_short = true;
            if self.play.program.force_handlers {
                self.lanes[rank].jump_to_last_flush(&self.play);
                if self.lanes[rank].stop.is_some() {
                    return;
                }
            }
        }
        self.set(rank, Doing::Out);
    }

    /// The one place where a lane's doing changes, so the counts and sets over all lanes stay true.
    fn set(&mut self, rank: usize, doing: Doing) {
        let before = std::mem::replace(&mut self.lanes[rank].doing, doing);
        self.busy = self.busy + usize::from(doing.is_busy()) - usize::from(before.is_busy());
        self.open = self.open + usize::from(doing != Doing::Out) - usize::from(before != Doing::Out);
        let ready = if self.lanes[rank].has_slot { &mut self.ready_with_slot } else { &mut self.ready };
        if doing == Doing::Ready {
            ready.insert(rank);
        } else {
            ready.remove(&rank);
        }
        if doing == Doing::Out {
            self.lanes[rank].has_slot = false;
            self.left.push(self.lanes[rank].host);
        }
    }
}
