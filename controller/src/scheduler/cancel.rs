//! Whether anything may be dispatched: not while paused, never again once cancelled.

use crate::event::CancelReason;

#[derive(Debug, Default)]
pub(super) struct Gate {
    paused: bool,
    reason: Option<CancelReason>,
    /// The reason the world was last told of.
    told: Option<CancelReason>,
}

impl Gate {
    /// Cancels, or raises the reason; a lesser reason than the one that stands changes nothing.
    pub(super) fn cancel(&mut self, reason: CancelReason) {
        self.reason = self.reason.max(Some(reason));
    }

    /// Whether that changed anything.
    pub(super) fn set_paused(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused) != paused
    }

    pub(super) fn reason(&self) -> Option<CancelReason> {
        self.reason
    }

    /// The reason, once each time it rose, and whether it is the first.
    pub(super) fn take_news(&mut self) -> Option<(CancelReason, bool)> {
        let reason = self.reason.filter(|_| self.reason > self.told)?;
        let first = self.told.replace(reason).is_none();
        Some((reason, first))
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }
}
