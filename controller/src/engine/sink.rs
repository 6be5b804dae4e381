//! Where the engine's events go: stamped with the time, one after the other, into one consumer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::dispatch::Cancel;
use crate::event::{RunEvent, Stamped};

/// Takes events in order. An error means that the record has a hole: the run is stopped.
pub type Consumer = Box<dyn FnMut(&Stamped) -> io::Result<()> + Send>;

/// Cheap to clone.
#[derive(Clone)]
pub struct EventSink(Arc<Inner>);

struct Inner {
    began: Instant,
    /// How long the run had been under way by then.
    before: Duration,
    consumer: Mutex<Consumer>,
    failed: Cancel,
}

impl EventSink {
    /// The run's time begins now.
    pub fn new(consumer: Consumer) -> EventSink {
        EventSink::resumed(consumer, Duration::ZERO)
    }

    /// For a run that goes on: its time does, from `before`. The time that nobody worked on it does not count.
    pub fn resumed(consumer: Consumer, before: Duration) -> EventSink {
        let (began, consumer) = (Instant::now(), Mutex::new(consumer));
        EventSink(Arc::new(Inner { began, before, consumer, failed: Cancel::default() }))
    }

    pub fn emit(&self, event: RunEvent) {
        self.tell(&self.stamp(event));
    }

    /// The event with the time it is now.
    pub fn stamp(&self, event: RunEvent) -> Stamped {
        Stamped { at: Utc::now(), elapsed: self.elapsed(), event }
    }

    pub fn tell(&self, stamped: &Stamped) {
        let mut consumer = self.0.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = consumer(stamped)
            && !self.0.failed.is_cancelled()
        {
            tracing::error!(%error, "an event could not be reported");
            self.0.failed.cancel();
        }
    }

    /// Since the run began, without the time that nobody worked on it.
    pub fn elapsed(&self) -> Duration {
        self.0.before + self.0.began.elapsed()
    }

    /// Waits until the consumer has failed.
    pub async fn failed(&self) {
        self.0.failed.cancelled().await;
    }

    pub fn has_failed(&self) -> bool {
        self.0.failed.is_cancelled()
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSink").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}
