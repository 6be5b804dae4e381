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
    consumer: Mutex<Consumer>,
    failed: Cancel,
}

impl EventSink {
    /// The run's time begins now.
    pub fn new(consumer: Consumer) -> EventSink {
        EventSink(Arc::new(Inner { began: Instant::now(), consumer: Mutex::new(consumer), failed: Cancel::default() }))
    }

    pub fn emit(&self, event: RunEvent) {
        let stamped = Stamped { at: Utc::now(), elapsed: self.elapsed(), event };
        let mut consumer = self.0.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = consumer(&stamped)
            && !self.0.failed.is_cancelled()
        {
            tracing::error!(%error, "an event could not be reported");
            self.0.failed.cancel();
        }
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
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
