//! What hosts include: steps that join the batch's list behind the step that includes them, for these hosts only.
//!
//! Equal splices behind one step are one, so hosts that include the same go through it together. Others stand one behind
//! the other, in the order in which hosts came with them. Places behind move on by as much.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::Batch;
use super::blocks::Blocks;
use super::cursor::Stop;
use super::in_flight::InFlight;
use super::play::Play;
use super::program::{HostIx, Splice, Step};

impl Batch {
    /// Puts what the host at `rank` includes behind its stop, before it passes that.
    pub(super) fn splice(&mut self, rank: usize, included: &[Splice], in_flight: &mut InFlight) {
        let (host, Some(stop)) = (self.lanes[rank].host, self.lanes[rank].stop) else { return };
        if stop.handler.is_some() {
            return;
        }
        for splice in included.iter().filter(|splice| !splice.steps.is_empty()) {
            let play = Arc::make_mut(&mut self.play);
            if let Some(place) = play.find_splice(stop.step, splice) {
                play.admit(host, place..place + splice.steps.len());
                continue;
            }
            let place = play.end_of_splices(stop.step);
            play.join(place, splice, host, stop.step);
            self.make_room(place, splice.steps.len());
            in_flight.make_room(place, splice.steps.len());
        }
    }

    fn make_room(&mut self, place: usize, count: usize) {
        self.lanes.iter_mut().for_each(|lane| lane.make_room(place, count));
        let moved = |stop: Stop| stop.with_room(place, count);
        self.announced = std::mem::take(&mut self.announced).into_iter().map(moved).collect::<BTreeSet<_>>();
        self.announced_last = self.announced_last.map(moved);
    }
}

impl Play {
    /// Where an equal splice stands behind the step, if another host has brought it.
    fn find_splice(&self, step: usize, splice: &Splice) -> Option<usize> {
        let first = splice.steps.first()?.task;
        let end = self.end_of_splices(step);
        (step + 1..end).find(|place| self.program.steps[*place].task == first)
    }

    /// The first place behind the step and all that came of it.
    fn end_of_splices(&self, step: usize) -> usize {
        let depth = self.program.steps[step].depth;
        let behind = self.program.steps[step + 1..].iter().take_while(|other| other.depth > depth);
        step + 1 + behind.count()
    }

    /// Steps that other steps have joined in between stay theirs.
    fn admit(&mut self, host: HostIx, places: std::ops::Range<usize>) {
        let Some(first) = self.program.steps.get(places.start) else { return };
        let depth = first.depth;
        let own = self.program.steps[places.start..].iter_mut().take_while(|step| step.depth >= depth);
        for step in own.filter(|step| step.depth == depth).take(places.len()) {
            step.hosts.get_or_insert_default().insert(host);
        }
    }

    fn join(&mut self, place: usize, splice: &Splice, host: HostIx, including: usize) {
        let depth = self.program.steps[including].depth + 1;
        let only = |step: &Step| Step { hosts: Some([host].into_iter().collect()), depth, ..step.clone() };
        self.program.steps.splice(place..place, splice.steps.iter().map(only));
        self.program.blocks.extend(splice.blocks.clone());
        self.blocks = Blocks::of(&self.program);
        for handler in &splice.handlers {
            let next = self.program.handlers.len();
            if *self.handlers.entry(handler.task).or_insert(next) == next {
                self.program.handlers.push(*handler);
            }
        }
    }
}
