//! How many failures a batch may have, and what ends it before its time.

use crate::event::PlayEnd;

use super::program::{Limits, Percent, PlayProgram};

/// Failures are counted alike, whether a host failed, timed out or was unreachable; each host once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) hosts: usize,
    pub(super) failed: usize,
}

impl Tally {
    pub(super) fn of(hosts: usize) -> Tally {
        Tally { hosts, failed: 0 }
    }

    fn over(self, allowed: Percent, of_what: &str) -> Option<Ending> {
        let exceeded = allowed.is_exceeded_by(self.failed, self.hosts);
        exceeded.then(|| Ending::OverBudget { tally: self, allowed: format!("{allowed} of {of_what}") })
    }
}

/// Why a batch ends before its hosts are through.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    EndBatch,
    EndPlay,
    OverBudget { tally: Tally, allowed: String },
    Fatal,
}

impl Ending {
    /// A later reason replaces an earlier one only if it weighs more.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Ending::EndBatch => 0,
            Ending::EndPlay => 1,
            Ending::OverBudget { .. } => 2,
            Ending::Fatal => 3,
        }
    }

    /// Whether it ends the run too.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Ending::EndBatch | Ending::EndPlay => false,
            Ending::OverBudget { .. } | Ending::Fatal => true,
        }
    }

    /// How the play ends; `None` if it goes on with the next batch.
    pub(super) fn play_end(&self) -> Option<PlayEnd> {
        match self {
            Ending::EndBatch => None,
            Ending::EndPlay => Some(PlayEnd::Ended),
            Ending::OverBudget { tally, allowed } => {
                Some(PlayEnd::BudgetExceeded { failed: tally.failed, hosts: tally.hosts, allowed: allowed.clone() })
            }
            Ending::Fatal => Some(PlayEnd::FatalError),
        }
    }
}

/// Whether the budgets are spent that hold at any time: the play's own for `batch`, the operator's for the `run`.
pub(super) fn exceeded(play: &PlayProgram, limits: &Limits, batch: Tally, run: Tally) -> Option<Ending> {
    let of_batch = play.max_fail_percentage.and_then(|allowed| batch.over(allowed, "the batch"));
    of_batch.or_else(|| limits.run_budget.and_then(|allowed| run.over(allowed, "all hosts")))
}

/// Whether a batch that came to its end forbids the next one, as a rolling play's does.
pub(super) fn stops_rolling(play: &PlayProgram, limits: &Limits, batch: Tally) -> Option<Ending> {
    if !play.rolling || limits.continue_on_error {
        return None;
    }
    batch.over(play.max_fail_percentage.unwrap_or(Percent::NONE), "the batch")
}
