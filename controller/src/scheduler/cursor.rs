//! Where a host is in its play. A cursor walks the list of steps and, at a flush, the handlers; it knows nothing of other
//! hosts. Whatever changes the way through a play (a flush, a jump to the last handlers) is a move of the cursor.

use std::collections::BTreeSet;

use super::blocks::{Fall, Trouble};
use super::handlers::Notified;
use super::play::Play;
use super::program::{HostIx, StepKind};
use super::roles::RolesRun;
use super::splice::Room;

/// A place where a host has something to do. Ordered as a play is run, so the hosts furthest behind are those with the
/// least stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stop {
    /// Place among the play's steps; one past them is the flush at the end of the batch.
    pub(super) step: usize,
    /// Which time the flush goes through the handlers. Always 0 for a task.
    pub(super) pass: u32,
    /// Place among the play's handlers; `None` for a task.
    pub(super) handler: Option<usize>,
}

impl Stop {
    pub(super) fn at_task(step: usize) -> Stop {
        Stop { step, pass: 0, handler: None }
    }

    /// The same stop once `room` was made.
    pub(super) fn moved(self, room: Room) -> Stop {
        Stop { step: room.step(self.step), handler: self.handler.map(|handler| room.handler(handler)), ..self }
    }
}

/// Moves through a play, for one host.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    step: usize,
    flush: Flush,
    trouble: Trouble,
    roles: RolesRun,
    /// It came to the end of a block with a failure that nobody rescues.
    fell: Option<Fall>,
}

/// The way through a flush.
#[derive(Debug, Default)]
struct Flush {
    pass: u32,
    /// The host answered that it wants one, where it is asked.
    is_wanted: bool,
    /// The first handler it has not come by.
    next_handler: usize,
    /// Handlers that ran since the flush began.
    ran: BTreeSet<usize>,
}

impl Cursor {
    /// Moves on to the next place where `host` has something to do, which may be where it stands. `None` at the end, and if
    /// the host fell there.
    pub(super) fn settle(&mut self, play: &Play, host: HostIx, notified: &Notified) -> Option<Stop> {
        loop {
            if let Some((last, failed)) = self.trouble.leave(&play.blocks, self.step) {
                match failed {
                    Ok(step) => self.fall(play, last, step),
                    Err(fall) => {
                        self.fell = Some(fall);
                        return None;
                    }
                }
                continue;
            }
            let Some(step) = play.steps().get(self.step) else { break };
            let concerns = self.comes_to(play, host, self.step);
            match step.kind {
                StepKind::Task if concerns => return Some(Stop::at_task(self.step)),
                StepKind::AskedFlush if concerns && !self.flush.is_wanted => return Some(Stop::at_task(self.step)),
                StepKind::FlushHandlers | StepKind::AskedFlush if concerns => {
                    if let Some(stop) = self.handler_in_pass(notified) {
                        return Some(stop);
                    }
                }
                StepKind::Task | StepKind::FlushHandlers | StepKind::AskedFlush => {}
            }
            self.move_to(self.step + 1);
        }
        if self.step > play.steps().len() {
            return None;
        }
        // A handler that was notified by one behind it runs in the next one.
        while self.flush.pass < play.program.last_flushes {
            if let Some(stop) = self.handler_in_pass(notified) {
                return Some(stop);
            }
            self.flush = Flush { pass: self.flush.pass + 1, ..Flush::default() };
        }
        self.move_to(play.steps().len() + 1);
        None
    }

    pub(super) fn make_room(&mut self, room: Room) {
        self.step = room.step(self.step);
        self.flush.next_handler = room.handler(self.flush.next_handler);
        self.flush.ran = std::mem::take(&mut self.flush.ran).into_iter().map(|handler| room.handler(handler)).collect();
    }

    /// Stays at `stop` for the handlers that the host has been notified of, if it is a flush that asks.
    pub(super) fn flush(&mut self, play: &Play, stop: Stop) {
        let asks = play.steps().get(stop.step).is_some_and(|step| step.kind == StepKind::AskedFlush);
        if asks && stop.handler.is_none() {
            self.flush = Flush { is_wanted: true, ..Flush::default() };
        } else {
            self.pass(stop);
        }
    }

    /// Leaves `stop` behind.
    pub(super) fn pass(&mut self, stop: Stop) {
        match stop.handler {
            None => self.move_to(stop.step + 1),
            Some(handler) => {
                self.flush.next_handler = handler + 1;
                self.flush.ran.insert(handler);
            }
        }
    }

    /// Leaves `stop` behind, and what is left of the role that it is in. A failure that is carried out of a block by that
    /// is one at the block's end. Gives the last stop left behind: another host's failure is to find this one there, and
    /// not in a block that it is out of.
    pub(super) fn pass_role(&mut self, play: &Play, host: HostIx, stop: Stop) -> Stop {
        let Some(end) = play.end_of_role(stop.step).filter(|_| stop.handler.is_none()) else {
            self.pass(stop);
            return stop;
        };
        let carried_out = self.trouble.is_left_at(&play.blocks, end);
        let is_task =
            |place: &usize| play.steps()[*place].kind != StepKind::FlushHandlers && self.comes_to(play, host, *place);
        let last = (stop.step..end).rev().find(is_task).filter(|_| !carried_out);
        self.move_to(end);
        last.map_or(stop, Stop::at_task)
    }

    /// Whether the host runs what stands there, as far as it is known where it stands now.
    fn comes_to(&self, play: &Play, host: HostIx, place: usize) -> bool {
        let step = &play.steps()[place];
        step.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
            && self.trouble.lets_in(&play.blocks, step.within)
            && !self.passes_by(play, place)
    }

    /// Whether the step is of a role that the host has run and need not run again.
    pub(super) fn passes_by(&self, play: &Play, place: usize) -> bool {
        let role = play.steps().get(place).and_then(|step| step.role);
        role.is_some_and(|role| self.roles.passes_by(&play.roles, role, place))
    }

    /// The host did something at `stop`: it did not skip it.
    pub(super) fn note_run(&mut self, play: &Play, stop: Stop) {
        let step = play.steps().get(stop.step).filter(|_| stop.handler.is_none());
        if let Some(role) = step.and_then(|step| step.role) {
            self.roles.begin(&play.roles, role);
        }
    }

    /// Leaves `stop` behind, where the host failed, for the `rescue` or the `always` of a block around. False if there is
    /// none, and then it stays.
    pub(super) fn fail(&mut self, play: &Play, stop: Stop, fatal: bool) -> bool {
        match self.trouble.fail(&play.blocks, play.within_at(stop), fatal) {
            Ok(step) => {
                self.fall(play, stop.step, step);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether a failure that the host carries through an `always` is everybody's.
    pub(super) fn carries_fatal(&self) -> bool {
        self.trouble.is_fatal()
    }

    /// Forgets the failures that the host carries through an `always`: it goes on behind the block.
    pub(super) fn forgive(&mut self) {
        self.trouble.forgive();
        self.fell = None;
    }

    pub(super) fn has_fallen(&self) -> bool {
        self.fell.is_some()
    }

    /// How the host failed at the end of a block, once.
    pub(super) fn take_fall(&mut self) -> Option<Fall> {
        self.fell.take()
    }

    /// Jumps to the flush at the end of the batch; stays if it is there or beyond. Blocks on the way are left for good.
    pub(super) fn jump_to_last_flush(&mut self, play: &Play) {
        (self.trouble, self.fell) = (Trouble::default(), None);
        if self.step < play.steps().len() {
            self.move_to(play.steps().len());
        }
    }

    /// Goes on at step `to` after a failure at step `from`.
    fn fall(&mut self, play: &Play, from: usize, to: usize) {
        self.roles.fall(&play.roles, from, to);
        self.move_to(to);
    }

    fn move_to(&mut self, step: usize) {
        (self.step, self.flush) = (step, Flush::default());
    }

    /// The next handler of this pass that has not run in this flush.
    fn handler_in_pass(&self, notified: &Notified) -> Option<Stop> {
        let handler =
            notified.pending_from(self.flush.next_handler).find(|handler| !self.flush.ran.contains(handler))?;
        Some(Stop { step: self.step, pass: self.flush.pass, handler: Some(handler) })
    }
}
