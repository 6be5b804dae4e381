//! Where a host is in its play. A cursor walks the list of steps and, at a flush, the handlers; it knows nothing of other
//! hosts. Whatever changes the way through a play (a flush, a jump to the last handlers) is a move of the cursor.

use std::collections::BTreeSet;

use super::handlers::Notified;
use super::play::Play;
use super::program::{HostIx, StepKind};

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
}

/// Moves through a play, for one host.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    step: usize,
    /// In a flush: the pass, the first handler it has not come by, and those that ran since the flush began.
    pass: u32,
    next_handler: usize,
    ran: BTreeSet<usize>,
}

impl Cursor {
    /// Moves on to the next place where `host` has something to do, which may be where it stands. `None` at the end.
    pub(super) fn settle(&mut self, play: &Play, host: HostIx, notified: &Notified) -> Option<Stop> {
        while let Some(step) = play.steps().get(self.step) {
            let concerns = step.hosts.as_ref().is_none_or(|hosts| hosts.contains(host));
            match step.kind {
                StepKind::Task if concerns => return Some(Stop::at_task(self.step)),
                StepKind::FlushHandlers if concerns => {
                    if let Some(stop) = self.handler_in_pass(notified) {
                        return Some(stop);
                    }
                }
                StepKind::Task | StepKind::FlushHandlers => {}
            }
            self.move_to(self.step + 1);
        }
        if self.step > play.steps().len() {
            return None;
        }
        if let Some(stop) = self.handler_in_pass(notified) {
            return Some(stop);
        }
        // What a handler notified behind itself would be lost with the batch, so the last flush goes round again.
        self.pass += 1;
        self.next_handler = 0;
        let stop = self.handler_in_pass(notified);
        if stop.is_none() {
            self.move_to(play.steps().len() + 1);
        }
        stop
    }

    /// Leaves `stop` behind.
    pub(super) fn pass(&mut self, stop: Stop) {
        match stop.handler {
            None => self.move_to(stop.step + 1),
            Some(handler) => {
                self.next_handler = handler + 1;
                self.ran.insert(handler);
            }
        }
    }

    /// Jumps to the flush at the end of the batch; stays if it is there or beyond.
    pub(super) fn jump_to_last_flush(&mut self, play: &Play) {
        if self.step < play.steps().len() {
            self.move_to(play.steps().len());
        }
    }

    fn move_to(&mut self, step: usize) {
        *self = Cursor { step, ..Cursor::default() };
    }

    /// The next handler of this pass that has not run in this flush.
    fn handler_in_pass(&self, notified: &Notified) -> Option<Stop> {
        let handler = notified.pending_from(self.next_handler).find(|handler| !self.ran.contains(handler))?;
        Some(Stop { step: self.step, pass: self.pass, handler: Some(handler) })
    }
}
