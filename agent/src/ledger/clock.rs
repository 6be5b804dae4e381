//! The ledger's time.

use std::time::{Instant, SystemTime};

/// What the wall clock said when the ledger was opened, and how long ago that is: a wall clock that jumps while the agent
/// lives makes no result old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    opened_s: u64,
    opened: Instant,
}

impl Clock {
    /// From the wall clock; one before 1970 is at its beginning.
    pub(super) fn of_the_wall() -> Clock {
        Clock::at(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// It is `opened_s` seconds after the beginning of 1970 now.
    pub(super) fn at(opened_s: u64) -> Clock {
        Clock { opened_s, opened: Instant::now() }
    }

    /// Seconds since the beginning of 1970.
    pub(super) fn now_s(&self) -> u64 {
        self.opened_s.saturating_add(self.opened.elapsed().as_secs())
    }
}
