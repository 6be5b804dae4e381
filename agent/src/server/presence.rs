//! Which runs are connected, and what becomes of one whose connection breaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use rustle_protocol::RunId;
use rustle_protocol::message::{OnDisconnect, close};
use tracing::{info, warn};

use super::connection::Session;

/// The runs that have a connection here, or had one a moment ago.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<HashMap<RunId, Present>>);

#[derive(Debug, Default)]
struct Present {
    epoch: u64,
    connections: Vec<Connection>,
    /// Counts arrivals: whoever waited for one knows by it that there was one.
    arrivals: u64,
}

impl Presence {
    /// A controller has been welcomed. Connections of the same run with a lower epoch are ended: somebody has taken it over.
    pub(super) fn arrive(&self, session: &Session) {
        let mut runs = self.lock();
        let present = runs.entry(session.run).or_default();
        if present.epoch < session.epoch {
            for old in present.connections.drain(..) {
                old.close(close::STALE.into(), b"a higher epoch of the run has come");
            }
            present.epoch = session.epoch;
        }
        present.connections.push(session.connection.clone());
        present.arrivals += 1;
    }

    /// A connection is over. A run that has no other is given its grace to come back; then its calls end as it had said
    /// in its hello. One that said goodbye does not come back.
    pub(super) fn leave(&self, session: &Arc<Session>, reason: &ConnectionError) {
        let arrivals = {
            let mut runs = self.lock();
            let Some(present) = runs.get_mut(&session.run) else { return };
            present.connections.retain(|connection| connection.stable_id() != session.connection.stable_id());
            if !present.connections.is_empty() {
                return;
            }
            present.arrivals
        };
        let grace = match reason {
            ConnectionError::ApplicationClosed(close) if close.error_code != close::DROPPED.into() => Duration::ZERO,
            _ => session.grace,
        };
        let session = Arc::clone(session);
        drop(tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            session.shared.presence.give_up(&session, arrivals);
        }));
    }

    fn give_up(&self, session: &Session, arrivals: u64) {
        let mut runs = self.lock();
        if runs.get(&session.run).is_none_or(|present| present.arrivals != arrivals) {
            return;
        }
        runs.remove(&session.run);
        drop(runs);
        if !session.shared.running.is_any_of(session.run) {
            return;
        }
        match session.on_disconnect {
            OnDisconnect::Finish => info!(run = %session.run, "the controller is gone; its calls go on to their end"),
            OnDisconnect::Cancel => {
                warn!(run = %session.run, "the controller is gone; its calls are stopped");
                session.shared.running.cancel_run(session.run);
                session.shared.blobs.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Present>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
