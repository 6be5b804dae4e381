//! The operator's signals. Ctrl-C: the first shows where the run stands, a second within a second cancels it, a later one
//! starts over; with `--batch` the first one cancels. A `pause` at the terminal takes the first for itself. SIGTERM always
//! cancels.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;
use crate::engine::ExecutionEngine;
use crate::event::CancelReason;
use crate::prompt;

/// How soon a second Ctrl-C must follow the first to cancel the run.
const AGAIN_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Operator {
    interrupt: Signal,
    terminate: Signal,
    presses: Presses,
    /// What else may be done about what a status shows.
    advice: Option<String>,
}

/// What a press of Ctrl-C means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    ShowStatus,
    Cancel,
}

struct Presses {
    first_is_final: bool,
    last: Option<Instant>,
}

impl Presses {
    fn press(&mut self, now: Instant) -> Meaning {
        let is_again = self.last.is_some_and(|last| now.duration_since(last) <= AGAIN_WITHIN);
        self.last = Some(now);
        if self.first_is_final || is_again { Meaning::Cancel } else { Meaning::ShowStatus }
    }
}

impl Operator {
    /// Signals are taken from here on, instead of ending the program. `advice` goes with each status.
    pub(super) fn new(first_is_final: bool, advice: Option<String>) -> Result<Operator, CliError> {
        let take = |kind| signal(kind).map_err(|error| CliError::own(format!("cannot take signals: {error}")));
        Ok(Operator {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            presses: Presses { first_is_final, last: None },
            advice,
        })
    }

    /// Heeds signals for as long as `running` runs.
    pub(super) async fn watch<T>(mut self, engine: &ExecutionEngine, running: impl Future<Output = T>) -> T {
        let mut running = std::pin::pin!(running);
        loop {
            let meaning = tokio::select! {
                ended = &mut running => return ended,
                // A task that waits for somebody at the terminal asks what is meant.
                Some(()) = self.interrupt.recv() => match self.presses.press(Instant::now()) {
                    Meaning::ShowStatus if prompt::interrupt() => continue,
                    meaning => meaning,
                },
                Some(()) = self.terminate.recv() => Meaning::Cancel,
            };
            // A run that has just ended needs neither; one that has too much to heed gets to it.
            let said = async {
                match meaning {
                    Meaning::ShowStatus => engine.show_status(self.advice.clone()).await,
                    Meaning::Cancel => engine.cancel_execution(CancelReason::Interrupted).await,
                }
            };
            tokio::select! {
                ended = &mut running => return ended,
                _ = said => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presses(first_is_final: bool, at_ms: &[u64]) -> Vec<Meaning> {
        let start = Instant::now();
        let mut presses = Presses { first_is_final, last: None };
        at_ms.iter().map(|at| presses.press(start + Duration::from_millis(*at))).collect()
    }

    #[test]
    fn a_second_press_within_a_second_cancels() {
        assert_eq!(presses(false, &[0, 900]), [Meaning::ShowStatus, Meaning::Cancel]);
    }

    #[test]
    fn a_later_press_starts_over() {
        assert_eq!(presses(false, &[0, 1500, 2000]), [Meaning::ShowStatus, Meaning::ShowStatus, Meaning::Cancel]);
    }

    #[test]
    fn with_batch_the_first_press_is_final() {
        assert_eq!(presses(true, &[0]), [Meaning::Cancel]);
    }
}
