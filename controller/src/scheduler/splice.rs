//! What hosts include: steps that join the batch's list behind the step that includes them, for these hosts only; handlers,
//! behind the handler that includes them.
//!
//! Equal splices behind one place are one, so hosts that include the same go through it together. Others stand one behind
//! the other, in the order in which hosts came with them. Places behind move on by as much.

use std::sync::Arc;

use super::batch::Batch;
use super::blocks::Blocks;
use super::cursor::Stop;
use super::in_flight::InFlight;
use super::play::Play;
use super::program::{HandlerStep, HostIx, Splice, Step};
use super::roles::Roles;
use crate::plan::TaskId;

/// Room that was made in one of a play's lists: whatever stood at its place or behind stands further back now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    list: List,
    place: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Steps,
    Handlers,
}

impl Room {
    /// Where the step is now that was at `place`.
    pub(super) fn step(self, place: usize) -> usize {
        self.moved(List::Steps, place)
    }

    /// Where the handler is now that was at `place`.
    pub(super) fn handler(self, place: usize) -> usize {
        self.moved(List::Handlers, place)
    }

    fn moved(self, list: List, place: usize) -> usize {
        if list == self.list && place >= self.place { place + self.count } else { place }
    }
}

impl Batch {
    /// Puts what the host at `rank` includes behind its stop, before it passes that.
    pub(super) fn splice(&mut self, rank: usize, included: &[Splice], in_flight: &mut InFlight) {
        let Some(stop) = self.lanes[rank].stop else { return };
        for splice in included.iter().filter(|splice| !splice.steps.is_empty()) {
            match stop.handler {
                None => self.splice_steps(rank, stop.step, splice, in_flight),
                Some(handler) => self.splice_handlers(rank, handler, splice, in_flight),
            }
        }
    }

    fn splice_steps(&mut self, rank: usize, including: usize, splice: &Splice, in_flight: &mut InFlight) {
        let host = self.lanes[rank].host;
        let play = Arc::make_mut(&mut self.play);
        if let Some(place) = play.find_splice(including, splice) {
            return play.admit(host, place..place + splice.steps.len());
        }
        let place = play.end_of_splices(including);
        play.join(place, splice, host, including);
        self.make_room(Room { list: List::Steps, place, count: splice.steps.len() }, in_flight);
        self.supersede(splice);
    }

    /// Hosts that were notified of a handler which has been taken over run the one that came in its place.
    fn supersede(&mut self, splice: &Splice) {
        let places = |(old, new): &(TaskId, TaskId)| Some((self.play.handler(*old)?, self.play.handler(*new)?));
        for (old, new) in splice.superseded.iter().filter_map(places).collect::<Vec<_>>() {
            self.lanes.iter_mut().for_each(|lane| lane.supersede(old, new));
        }
    }

    /// The host is notified of what it includes: that is how it runs it, and nobody else does.
    fn splice_handlers(&mut self, rank: usize, including: usize, splice: &Splice, in_flight: &mut InFlight) {
        let play = Arc::make_mut(&mut self.play);
        if !play.handlers.contains_key(&splice.steps[0].task) {
            let place = play.end_of_handler_splices(including);
            play.join_handlers(place, splice, including);
            self.make_room(Room { list: List::Handlers, place, count: splice.steps.len() }, in_flight);
        }
        let handlers: Vec<usize> = splice.steps.iter().filter_map(|step| self.play.handler(step.task)).collect();
        handlers.into_iter().for_each(|handler| self.lanes[rank].notify(handler));
    }

    fn make_room(&mut self, room: Room, in_flight: &mut InFlight) {
        self.lanes.iter_mut().for_each(|lane| lane.make_room(room));
        in_flight.make_room(room);
        self.announced = std::mem::take(&mut self.announced).into_iter().map(|stop| stop.moved(room)).collect();
        self.announced_last = self.announced_last.map(|stop: Stop| stop.moved(room));
        self.leads.make_room(room);
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

    /// The same among the handlers.
    fn end_of_handler_splices(&self, handler: usize) -> usize {
        let depth = self.program.handlers[handler].depth;
        let behind = self.program.handlers[handler + 1..].iter().take_while(|other| other.depth > depth);
        handler + 1 + behind.count()
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
        self.program.roles.extend(splice.roles.clone());
        (self.blocks, self.roles) = (Blocks::of(&self.program), Roles::of(&self.program));
        for handler in &splice.handlers {
            let next = self.program.handlers.len();
            if *self.handlers.entry(handler.task).or_insert(next) == next {
                self.program.handlers.push(*handler);
            }
        }
    }

    fn join_handlers(&mut self, place: usize, splice: &Splice, including: usize) {
        let depth = self.program.handlers[including].depth + 1;
        let joining = |step: &Step| {
            let Step { task, on_failure, turns, .. } = *step;
            HandlerStep { task, on_failure, turns, depth }
        };
        self.program.handlers.splice(place..place, splice.steps.iter().map(joining));
        let room = Room { list: List::Handlers, place, count: splice.steps.len() };
        self.handlers.values_mut().for_each(|handler| *handler = room.handler(*handler));
        self.handlers.extend(splice.steps.iter().map(|step| step.task).zip(place..));
    }
}
