//! Who goes first at a step, and how many at once: `run_once` and `throttle`.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::batch::Batch;
use super::cursor::Stop;
use super::in_flight::InFlight;
use super::lane::{Doing, Lane};
use super::message::Outcome;
use super::program::{HostIx, Once, Turns};
use super::splice::Room;

/// The stops of a batch where a host goes first.
#[derive(Debug, Default)]
pub(super) struct Leads(BTreeMap<Stop, Lead>);

#[derive(Clone, Copy, Debug)]
enum Lead {
    /// The host at this rank is at it, alone.
    Goes { rank: usize },
    /// It has said that each of the others goes for itself, and how many at once.
    Said { throttle: Option<NonZeroU32> },
}

impl Leads {
    pub(super) fn make_room(&mut self, room: Room) {
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(stop, lead)| (stop.moved(room), lead)).collect();
    }
}

impl Batch {
    /// The first of these lanes that may begin its stop. Where nothing limits how many do, that is the first one; else each
    /// stop is looked at once.
    pub(super) fn first_with_turn(&self, ready: &BTreeSet<usize>, in_flight: &InFlight) -> Option<usize> {
        let mut full = BTreeSet::new();
        ready.iter().copied().find(|rank| {
            let Some(stop) = self.lane(*rank).stop else { return true };
            if let Some(Lead::Goes { rank: leader }) = self.leads.0.get(&stop) {
                return leader == rank;
            }
            let has_room = !full.contains(&stop) && self.has_room(stop, in_flight);
            if !has_room {
                full.insert(stop);
            }
            has_room
        })
    }

    /// Whether one more host may be at work at `stop`.
    fn has_room(&self, stop: Stop, in_flight: &InFlight) -> bool {
        let turns = self.play.turns_at(stop);
        if turns == Turns::default() {
            return true;
        }
        let said = match self.leads.0.get(&stop) {
            Some(Lead::Said { throttle }) => *throttle,
            Some(Lead::Goes { .. }) | None => None,
        };
        let most = turns.throttle.into_iter().chain(said).min();
        most.is_none_or(|most| in_flight.at(self.play.task_at(stop).0) < most.get() as usize)
    }

    /// The lane begins its stop, and goes first there if somebody has to and nobody does.
    pub(super) fn take_lead(&mut self, rank: usize) {
        let Some(stop) = self.lane(rank).stop else { return };
        if self.play.turns_at(stop).once != Once::No {
            self.leads.0.entry(stop).or_insert(Lead::Goes { rank });
        }
    }

    /// The stop of the lane, if it goes first there.
    pub(super) fn leads_at(&self, rank: usize) -> Option<Stop> {
        let stop = self.lane(rank).stop?;
        matches!(self.leads.0.get(&stop), Some(Lead::Goes { rank: leader }) if *leader == rank).then_some(stop)
    }

    /// Whether a failure of the host at its stop is everybody's.
    pub(super) fn is_fatal_at(&self, rank: usize) -> bool {
        let Some(stop) = self.lane(rank).stop else { return false };
        self.play.on_failure_at(stop).any_errors_fatal || self.play.turns_at(stop).once == Once::Yes
    }

    /// The lane that went first at `stop` is through with it. If that was for all, the others pass by; else they have their
    /// turn, and another goes first if this one had nothing to say. Gives those who passed by.
    pub(super) fn settle_lead(&mut self, stop: Stop, said: Option<&Outcome>) -> Vec<HostIx> {
        let for_all = match self.play.turns_at(stop).once {
            Once::Yes => true,
            Once::Asked => self.play.is_linear() && said.is_some_and(|outcome| outcome.for_all),
            Once::No => false,
        };
        if for_all {
            self.leads.0.remove(&stop);
            let is_here = |lane: &Lane| lane.stop == Some(stop) && matches!(lane.doing, Doing::Ready | Doing::Resting);
            let others: Vec<usize> = (0..self.lanes.len()).filter(|rank| is_here(self.lane(*rank))).collect();
            for rank in &others {
                self.pass(*rank, &[], false);
            }
            return others.into_iter().map(|rank| self.lane(rank).host).collect();
        }
        match said {
            Some(outcome) => self.leads.0.insert(stop, Lead::Said { throttle: outcome.throttle }),
            None => self.leads.0.remove(&stop),
        };
        Vec::new()
    }

    /// The lane that went first at `stop` is given up: another one does.
    pub(super) fn leaves_lead(&mut self, stop: Stop) {
        self.leads.0.remove(&stop);
    }
}
