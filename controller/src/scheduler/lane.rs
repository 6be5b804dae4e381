//! One host in one batch: its place in the play, its notified handlers, and what it is doing.

use crate::event::HostState;
use crate::plan::TaskId;

use super::blocks::Fall;
use super::cursor::{Cursor, Stop};
use super::handlers::Notified;
use super::message::Work;
use super::play::Play;
use super::program::HostIx;
use super::splice::Room;

/// What a host in a batch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Between two stops, until its strategy lets it go on.
    Resting,
    /// Let go on, until there is a slot.
    Ready,
    InFlight,
    /// Waits to try again.
    BackingOff,
    /// Nothing more in this batch.
    Out,
}

impl Doing {
    /// Whether the host has begun its stop, or been let to, and is not through with it.
    pub(super) fn is_busy(self) -> bool {
        match self {
            Doing::Ready | Doing::InFlight | Doing::BackingOff => true,
            Doing::Resting | Doing::Out => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) host: HostIx,
    pub(super) doing: Doing,
    /// Where the host stands: what it is doing or is to do next. `None` at the end.
    pub(super) stop: Option<Stop>,
    /// Tries made at this stop.
    pub(super) attempt: u32,
    /// How the host was lost to the play. It may still have handlers to run.
    pub(super) lost: Option<HostState>,
    /// The error budget of the batch has counted this host.
    pub(super) counted: bool,
    /// Given up by the operator: neither failed nor through.
    pub(super) given_up: bool,
    /// Others ended the batch before this host was through.
    pub(super) cut_short: bool,
    /// It has left all steps behind, and only its last handlers are before it.
    is_past_steps: bool,
    /// The last stop that it left behind, and whether it failed there.
    last: Option<Stop>,
    failed_last: bool,
    /// The failure that it carries through an `always` is another host's.
    pub(super) dragged: bool,
    /// Holds a slot until it is out.
    pub(super) has_slot: bool,
    cursor: Cursor,
    notified: Notified,
}

impl Lane {
    pub(super) fn new(host: HostIx, play: &Play) -> Lane {
        let mut lane = Lane {
            host,
            doing: Doing::Resting,
            stop: None,
            attempt: 0,
            lost: None,
            counted: false,
            given_up: false,
            cut_short: false,
            is_past_steps: false,
            last: None,
            failed_last: false,
            dragged: false,
            has_slot: false,
            cursor: Cursor::default(),
            notified: Notified::default(),
        };
        lane.settle(play);
        lane
    }

    pub(super) fn make_room(&mut self, room: Room) {
        self.cursor.make_room(room);
        self.notified.make_room(room);
        self.stop = self.stop.map(|stop| stop.moved(room));
        self.last = self.last.map(|stop| stop.moved(room));
    }

    /// The handler at place `handler` is to run at the next flush, or later in this one.
    pub(super) fn supersede(&mut self, old: usize, new: usize) {
        self.notified.supersede(old, new);
    }

    pub(super) fn notify(&mut self, handler: usize) {
        self.notified.notify(handler);
    }

    /// It did something at its stop: it did not skip it.
    pub(super) fn note_run(&mut self, play: &Play) {
        if let Some(stop) = self.stop {
            self.cursor.note_run(play, stop);
        }
    }

    /// Whether the step is of a role that the host has run and need not run again.
    pub(super) fn passes_by(&self, play: &Play, place: usize) -> bool {
        self.cursor.passes_by(play, place)
    }

    /// Leaves the stop it stands at behind, whatever came of it, and goes to the next.
    pub(super) fn pass(&mut self, play: &Play, notified: &[TaskId]) {
        if let Some(stop) = self.stop {
            self.cursor.pass(stop);
        }
        self.is_through_stop(play, notified);
    }

    /// The same, and passes by what is left of the role that the stop is in.
    pub(super) fn pass_role(&mut self, play: &Play, notified: &[TaskId]) {
        // What it is through with is the role's last stop now, not the one that it stood at.
        self.stop = self.stop.map(|stop| self.cursor.pass_role(play, self.host, stop));
        self.is_through_stop(play, notified);
    }

    /// The same at a flush that the host wants: its handlers are next.
    pub(super) fn flush(&mut self, play: &Play) {
        if let Some(stop) = self.stop {
            self.cursor.flush(play, stop);
        }
        self.is_through_stop(play, &[]);
    }

    /// Is lost at its stop, and leaves it behind without a look at what is next: that depends on whether it is forgiven.
    pub(super) fn stay_behind(&mut self) {
        if let Some(stop) = self.stop {
            self.cursor.pass(stop);
        }
        self.leave_stop();
        self.stop = None;
    }

    /// Forgets the failures that it carries through an `always`, where it fell over one too. Tells whether it may be on its way
    /// again by that.
    pub(super) fn forgive(&mut self, play: &Play) -> bool {
        let stands_still = self.cursor.has_fallen() || self.lost == Some(HostState::Unreachable);
        self.cursor.forgive();
        self.dragged = false;
        if stands_still {
            self.settle(play);
        }
        stands_still
    }

    fn is_through_stop(&mut self, play: &Play, notified: &[TaskId]) {
        self.leave_stop();
        for handler in notified.iter().filter_map(|task| play.handler(*task)) {
            self.notified.notify(handler);
        }
        self.settle(play);
    }

    fn leave_stop(&mut self) {
        if let Some(stop) = self.stop {
            if let Some(handler) = stop.handler {
                self.notified.ran(handler);
            }
            (self.last, self.failed_last) = (Some(stop), false);
        }
        self.attempt = 0;
    }

    /// Leaves the stop behind, where it failed, for the `rescue` or the `always` of a block around; false if there is none.
    pub(super) fn fail(&mut self, play: &Play, fatal: bool) -> bool {
        let Some(stop) = self.stop else { return false };
        if !self.cursor.fail(play, stop, fatal) {
            return false;
        }
        if let Some(handler) = stop.handler {
            self.notified.ran(handler);
        }
        (self.last, self.failed_last, self.dragged) = (Some(stop), true, false);
        self.attempt = 0;
        self.settle(play);
        true
    }

    /// Whether another host's failure is this one's: it has not failed by itself at its last stop.
    pub(super) fn shares_failure(&self) -> bool {
        self.doing == Doing::Resting && self.lost.is_none() && !self.failed_last && !self.is_past_steps
    }

    /// Fails at its last stop, since another host did: goes on with the `rescue` or the `always` of a block around; false if
    /// there is none.
    pub(super) fn drag(&mut self, play: &Play) -> bool {
        let caught = self.last.is_some_and(|last| self.cursor.fail(play, last, false));
        if caught {
            self.dragged = true;
            self.settle(play);
        }
        caught
    }

    /// At rest with nothing more to do. One that fell at the end of a block is not until it is lost.
    pub(super) fn is_at_end(&self) -> bool {
        self.doing == Doing::Resting && self.stop.is_none() && !self.cursor.has_fallen()
    }

    /// Whether a failure that it carries through an `always` ends the play for everybody, if nobody rescues it.
    pub(super) fn carries_fatal(&self) -> bool {
        self.cursor.carries_fatal()
    }

    /// How it failed at the end of a block, once.
    pub(super) fn take_fall(&mut self) -> Option<Fall> {
        self.cursor.take_fall()
    }

    /// Goes to the handlers at the batch's end, if any are pending, past everything before them.
    pub(super) fn jump_to_last_flush(&mut self, play: &Play) {
        self.cursor.jump_to_last_flush(play);
        self.is_past_steps = true;
        self.settle(play);
    }

    /// Whether a host went through all it had to do.
    pub(super) fn is_through(&self) -> bool {
        (self.doing == Doing::Out || self.is_at_end()) && self.lost.is_none() && !self.given_up && !self.cut_short
    }

    /// The stop as the agent's executor knows it.
    pub(super) fn work_at(&self, stop: Stop, play: &Play) -> Work {
        let (task, kind) = play.task_at(stop);
        let round = stop.handler.map_or(0, |handler| self.notified.runs(handler));
        Work { task, kind, round, rescued: play.rescues(stop) }
    }

    fn settle(&mut self, play: &Play) {
        self.stop = self.cursor.settle(play, self.host, &self.notified);
    }
}
