//! The handlers one host has been notified of, and how often each ran.

use std::collections::{BTreeMap, BTreeSet};

use super::splice::Room;

/// Handlers by their place in the play's list, which is the order they run in.
#[derive(Debug, Default)]
pub(super) struct Notified {
    pending: BTreeSet<usize>,
    runs: BTreeMap<usize, u32>,
}

impl Notified {
    /// Notes that `handler` is to run at the next flush. Once is as good as many times.
    pub(super) fn notify(&mut self, handler: usize) {
        self.pending.insert(handler);
    }

    /// `new` runs in the place of `old`, if that is still to run.
    pub(super) fn supersede(&mut self, old: usize, new: usize) {
        if self.pending.remove(&old) {
            self.pending.insert(new);
        }
    }

    /// Notes that `handler` ran, well or not: it is pending no longer.
    pub(super) fn ran(&mut self, handler: usize) {
        self.pending.remove(&handler);
        *self.runs.entry(handler).or_default() += 1;
    }

    pub(super) fn make_room(&mut self, room: Room) {
        self.pending = std::mem::take(&mut self.pending).into_iter().map(|handler| room.handler(handler)).collect();
        let runs = std::mem::take(&mut self.runs).into_iter();
        self.runs = runs.map(|(handler, runs)| (room.handler(handler), runs)).collect();
    }

    /// How often `handler` ran on this host in this play.
    pub(super) fn runs(&self, handler: usize) -> u32 {
        self.runs.get(&handler).copied().unwrap_or_default()
    }

    /// Pending handlers from the place `first` on, in order.
    pub(super) fn pending_from(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        self.pending.range(first..).copied()
    }
}
