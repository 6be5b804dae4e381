//! Time as the scheduler knows it: told by the caller with each event, never asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time since the run began. It never goes back: the scheduler takes an earlier time than the last one for the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunTime(pub Duration);

impl RunTime {
    /// The moment the run began.
    pub const ZERO: RunTime = RunTime(Duration::ZERO);

    /// The time between `earlier` and this one; zero if `earlier` is later.
    pub fn since(self, earlier: RunTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This time and `delay` more; the far end of time if there is no such moment.
    pub fn after(self, delay: Duration) -> RunTime {
        RunTime(self.0.saturating_add(delay))
    }
}
