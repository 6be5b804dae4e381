//! One host in one batch: its place in the play, its notified handlers, and what it is doing.

use crate::event::HostState;
use crate::plan::TaskId;

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
    pub(super) dropped: bool,
    /// Others ended the batch before this host was through.
    pub(super) cut_short: bool,
    /// A failure that it carries through an `always` ends the play for everybody, if nobody rescues it.
    pub(super) fatal: bool,
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
            dropped: false,
            cut_short: false,
            fatal: false,
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
    }

    /// The handler at place `handler` is to run at the next flush, or later in this one.
    pub(super) fn notify(&mut self, handler: usize) {
        self.notified.notify(handler);
    }

    /// Leaves the stop it stands at behind, whatever came of it, and goes to the next.
    pub(super) fn pass(&mut self, play: &Play, notified: &[TaskId]) {
        if let Some(stop) = self.stop {
            self.cursor.pass(stop);
            if let Some(handler) = stop.handler {
                self.notified.ran(handler);
            }
        }
        for handler in notified.iter().filter_map(|task| play.handler(*task)) {
            self.notified.notify(handler);
        }
        self.attempt = 0;
        self.settle(play);
    }

    /// Leaves the stop behind, where it failed, for the `rescue` or the `always` of a block around; false if there is none.
    pub(super) fn fail(&mut self, play: &Play) -> bool {
        let Some(stop) = self.stop else { return false };
        let caught = self.cursor.fail(play, stop);
        if caught {
            self.fatal = !play.rescues(stop) && play.on_failure_at(stop).any_errors_fatal;
            self.attempt = 0;
            self.settle(play);
        }
        caught
    }

    /// It failed at the end of a block, and nobody took note yet.
    pub(super) fn has_fallen(&self) -> bool {
        self.cursor.has_fallen()
    }

    /// Whether it failed at the end of a block, once.
    pub(super) fn take_fall(&mut self) -> bool {
        self.cursor.take_fall()
    }

    /// Goes to the handlers at the batch's end, if any are pending, past everything before them.
    pub(super) fn jump_to_last_flush(&mut self, play: &Play) {
        self.cursor.jump_to_last_flush(play);
        self.settle(play);
    }

    /// Whether a host that is out went through all it had to do.
    pub(super) fn is_through(&self) -> bool {
        self.doing == Doing::Out && self.lost.is_none() && !self.dropped && !self.cut_short
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
