//! The time that a task has taken, without that in which its host was away or held by another run.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time to the next look at a clock that stands: a task that is past its time by now is told so late.
const LOOK_MIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct TaskClock(Mutex<State>);

#[derive(Debug)]
struct State {
    started: Instant,
    /// In all the waits that are over.
    waited: Duration,
    waits_since: Option<Instant>,
}

impl State {
    fn now() -> State {
        State { started: Instant::now(), waited: Duration::ZERO, waits_since: None }
    }
}

/// The time was over first.
#[derive(Debug)]
pub(super) struct Overdue;

impl TaskClock {
    pub(super) fn start() -> TaskClock {
        TaskClock(Mutex::new(State::now()))
    }

    pub(super) fn restart(&self) {
        *self.lock() = State::now();
    }

    /// Stands still, or goes on.
    pub(super) fn waits(&self, waits: bool) {
        let mut state = self.lock();
        if waits {
            state.waits_since.get_or_insert_with(Instant::now);
        } else if let Some(since) = state.waits_since.take() {
            state.waited += since.elapsed();
        }
    }

    fn elapsed(&self) -> Duration {
        let state = self.lock();
        let until = state.waits_since.unwrap_or_else(Instant::now);
        until.duration_since(state.started).saturating_sub(state.waited)
    }

    /// Lets `work` take `limit` of this clock.
    ///
    /// # Errors
    /// It took longer, and was dropped.
    pub(super) async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Overdue> {
        let mut work = std::pin::pin!(work);
        loop {
            let left = limit.saturating_sub(self.elapsed());
            if left.is_zero() {
                return Err(Overdue);
            }
            if let Ok(done) = tokio::time::timeout(left.max(LOOK_MIN), &mut work).await {
                return Ok(done);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_while_the_host_is_waited_for_does_not_count() {
        let clock = TaskClock::start();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        *clock.lock() = State { started: long_ago, waited: Duration::from_secs(40), waits_since: None };
        assert_eq!(clock.elapsed().as_secs(), 60);
        clock.lock().waits_since = long_ago.checked_add(Duration::from_secs(50));
        assert_eq!(clock.elapsed().as_secs(), 10);
        clock.waits(true);
        assert_eq!(clock.elapsed().as_secs(), 10);
        clock.waits(false);
        assert_eq!(clock.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn work_that_takes_longer_is_dropped() {
        let clock = TaskClock::start();
        assert!(clock.timeout(Duration::from_secs(600), async { 7 }).await.is_ok_and(|done| done == 7));
        assert!(clock.timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
    }
}
