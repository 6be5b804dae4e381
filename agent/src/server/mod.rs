//! The agent's network side: accepts controllers, several at once, and drains when told to.

mod calls;
mod connection;
mod incoming;

use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use rustle_protocol::HostName;
use rustle_protocol::message::{Call, Refusal, close};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use connection::SOFTWARE;

use crate::blobs::BlobStore;
use crate::runner::{Admitted, Runner, drained};

/// Controllers connected at once. A fleet has a handful; more is a fault or an attack.
pub const CONNECTIONS_MAX: usize = 64;

/// What results and close frames get to arrive when the agent ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What every connection works with.
pub struct Shared {
    /// The name in this agent's certificate.
    pub host: HostName,
    pub boot_id: String,
    pub runner: Runner,
    pub blobs: BlobStore,
    /// Takes a revocation list from a controller.
    pub take_revocations: Option<Box<dyn Fn(Vec<u8>) + Send + Sync>>,
    draining: watch::Sender<bool>,
}

impl Shared {
    pub fn new(host: HostName, runner: Runner, blobs: BlobStore) -> Shared {
        Shared { host, boot_id: boot_id(), runner, blobs, take_revocations: None, draining: watch::Sender::new(false) }
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    fn admit(&self, call: Box<Call>) -> Result<Admitted, Refusal> {
        if self.is_draining() {
            return Err(calls::draining());
        }
        self.runner.admit(call)
    }
}

/// Changes when the machine reboots; empty where the system does not tell.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Serves until `shutdown` ends, then drains: no new calls, running ones get `drain` to end and are stopped after that.
pub async fn serve(
    endpoint: Endpoint,
    shared: Arc<Shared>,
    peer_name: impl Fn(&quinn::Connection) -> Option<HostName>,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) {
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) if connections.len() >= CONNECTIONS_MAX => incoming.refuse(),
                Some(incoming) => drop(connections.spawn(accept(incoming))),
                None => break,
            },
            Some(accepted) = connections.join_next() => {
                if let Ok(Accepted::Connected(connection)) = accepted {
                    match peer_name(&connection) {
                        Some(name) => {
                            let shared = Arc::clone(&shared);
                            drop(connections.spawn(async move {
                                connection::serve(shared, connection, name).await;
                                Accepted::Closed
                            }));
                        }
                        None => connection.close(close::IDENTITY.into(), b"no controller's identity"),
                    }
                }
            }
            () = &mut shutdown => break,
        }
    }
    info!(running = shared.runner.running(), "draining");
    shared.draining.send_replace(true);
    if !drained(&shared.runner, drain).await {
        warn!(running = shared.runner.running(), "not drained in time: stopping what runs");
        shared.runner.cancel_all();
        shared.blobs.wake();
        drained(&shared.runner, crate::runner::STOP_WAIT).await;
    }
    // The last results are on their way; a peer that does not take them is not waited for long.
    let _ = tokio::time::timeout(LAST_WORDS, async { while connections.join_next().await.is_some() {} }).await;
    endpoint.close(close::SHUTDOWN.into(), b"the agent is shutting down");
    let _ = tokio::time::timeout(LAST_WORDS, endpoint.wait_idle()).await;
}

enum Accepted {
    Connected(quinn::Connection),
    Closed,
}

async fn accept(incoming: quinn::Incoming) -> Accepted {
    let peer = incoming.remote_address();
    match incoming.await {
        Ok(connection) => Accepted::Connected(connection),
        Err(error) => {
            warn!(%peer, %error, "handshake failed");
            Accepted::Closed
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("host", &self.host).finish_non_exhaustive()
    }
}
