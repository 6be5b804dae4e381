//! Which runs are connected, and what becomes of one whose connection breaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use quinn::{Connection, ConnectionError};
use rustle_protocol::message::{OnDisconnect, Refusal, RefusalCode, close};
use rustle_protocol::{HostName, RunId};
use tracing::{info, warn};

use super::connection::Session;

/// How often to look whether the calls of a run that is gone have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The runs that have a connection here, or had one a moment ago.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<HashMap<RunId, Present>>);

#[derive(Debug)]
struct Present {
    controller: HostName,
    since: SystemTime,
    /// It wants the host for itself.
    holds: bool,
    epoch: u64,
    connections: Vec<Connection>,
    /// Counts arrivals: whoever waited for one knows by it that there was one.
    arrivals: u64,
}

impl Presence {
    /// A controller has been welcomed. Connections of the same run with a lower epoch are ended: somebody has taken it over.
    ///
    /// # Errors
    /// As [`check_hold`](Self::check_hold): another one came while this one was being welcomed.
    pub(super) fn arrive(&self, session: &Session) -> Result<(), Refusal> {
        let mut runs = self.lock();
        check_hold(&runs, session.run, session.holds)?;
        let present = runs.entry(session.run).or_insert_with(|| Present {
            controller: session.controller.clone(),
            since: SystemTime::now(),
            holds: session.holds,
            epoch: 0,
            connections: Vec::new(),
            arrivals: 0,
        });
        if present.epoch < session.epoch {
            for old in present.connections.drain(..) {
                old.close(close::STALE.into(), b"a higher epoch of the run has come");
            }
            present.epoch = session.epoch;
        }
        present.connections.push(session.connection.clone());
        present.arrivals += 1;
        Ok(())
    }

    /// A run that wants the host for itself does not come beside another one that does. The other's hold began with its first
    /// connection, and ends when it says goodbye or its grace is over, and none of its calls runs any more.
    ///
    /// # Errors
    /// Who holds the host, and since when.
    pub(super) fn check_hold(&self, run: RunId, holds: bool) -> Result<(), Refusal> {
        check_hold(&self.lock(), run, holds)
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
            session.shared.presence.stop_calls(&session, arrivals);
            while session.shared.running.is_any_of(session.run) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            session.shared.presence.forget(&session, arrivals);
        }));
    }

    /// The run, unless it has come back since.
    fn forget(&self, session: &Session, arrivals: u64) {
        let mut runs = self.lock();
        if runs.get(&session.run).is_some_and(|present| present.arrivals == arrivals) {
            runs.remove(&session.run);
        }
    }

    fn stop_calls(&self, session: &Session, arrivals: u64) {
        let is_gone = self.lock().get(&session.run).is_some_and(|present| present.arrivals == arrivals);
        if !is_gone || !session.shared.running.is_any_of(session.run) {
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

fn check_hold(runs: &HashMap<RunId, Present>, run: RunId, holds: bool) -> Result<(), Refusal> {
    let Some((other, present)) = runs.iter().find(|(other, present)| holds && present.holds && **other != run) else {
        return Ok(());
    };
    let since = chrono::DateTime::<chrono::Local>::from(present.since).format("%Y-%m-%d %H:%M:%S");
    let controller = &present.controller;
    let message = format!("controller `{controller}` holds this host for its run {other} since {since}");
    Err(Refusal { code: RefusalCode::Busy, message })
}
