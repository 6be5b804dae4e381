//! The agent's network side: accepts controllers, several at once, and drains when told to.

mod calls;
mod connection;
mod door;
mod events;
mod incoming;
mod presence;
mod running;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustle_protocol::HostName;
use rustle_protocol::endpoint::{Arrival, Listener, Peer};
use rustle_protocol::message::close;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use connection::{HELLO_WAIT, SOFTWARE};

use self::door::{Answer, Door};
use self::presence::Presence;
use self::running::RunningCalls;
use crate::blobs::BlobStore;
use crate::ledger::Ledger;
use crate::runner::{Runner, drained};

/// Controllers connected at once, besides those whose handshake was under way when the last place was taken. A fleet has a
/// handful; more is a fault.
pub const CONNECTIONS_MAX: usize = 64;

/// How often an open connection's certificate is judged again: a revoked or expired one is cut off within a minute.
const RECHECK_EVERY: Duration = Duration::from_secs(30);

/// How often processes that tasks have left behind are collected once they end.
const REAP_EVERY: Duration = Duration::from_secs(10);

/// What results and close frames get to arrive when the agent ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What every connection works with.
pub struct Shared {
    /// The name in this agent's certificate.
    pub host: HostName,
    pub boot_id: String,
    pub runner: Runner,
    pub blobs: BlobStore,
    pub ledger: Ledger,
    pub listener: Listener,
    /// Where the newest revocation list that a controller brought is kept, so that a restart does not forget it.
    pub revocations: PathBuf,
    /// Every run holds this host for itself, whether or not its controller asks for that.
    pub one_run: bool,
    running: RunningCalls,
    presence: Presence,
    draining: watch::Sender<bool>,
}

impl Shared {
    /// `revocations`: the file for a list that a controller brings.
    pub fn new(listener: Listener, runner: Runner, blobs: BlobStore, ledger: Ledger, revocations: PathBuf) -> Shared {
        Shared {
            host: listener.identity().identity().name.clone(),
            boot_id: crate::boot::id(),
            runner,
            blobs,
            ledger,
            listener,
            revocations,
            one_run: false,
            running: RunningCalls::default(),
            presence: Presence::default(),
            draining: watch::Sender::new(false),
        }
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Serves until `shutdown` ends, then drains: no new calls, running ones get `drain` to end and are stopped after that.
pub async fn serve(shared: Arc<Shared>, shutdown: impl Future<Output = ()>, drain: Duration) {
    let (mut connections, mut handshakes, mut door) = (JoinSet::new(), JoinSet::new(), Door::default());
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            arrival = shared.listener.accept() => match arrival {
                Some(arrival) if connections.len() >= CONNECTIONS_MAX => arrival.refuse(),
                Some(arrival) => match door.knock(&arrival) {
                    Answer::Begin(place) => drop(handshakes.spawn(async move { (place, greet(arrival).await) })),
                    Answer::AskForProof => arrival.ask_for_proof(),
                    Answer::Refuse => arrival.refuse(),
                },
                None => break,
            },
            Some(Ok((place, peer))) = handshakes.join_next() => {
                door.leave(place);
                if let Some(peer) = peer {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { watch_peer(&peer, connection::serve(shared, peer.clone())).await });
                }
            }
            Some(_) = connections.join_next() => {}
            () = tokio::time::sleep(REAP_EVERY) => {
                let reaped = crate::process::reap_orphans();
                if reaped > 0 {
                    tracing::debug!(reaped, "collected what tasks had left behind");
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
    shared.listener.close(close::SHUTDOWN, "the agent is shutting down", LAST_WORDS).await;
}

async fn greet(arrival: Arrival) -> Option<Peer> {
    let address = arrival.address();
    let peer = arrival.handshake().await;
    peer.inspect_err(|fault| warn!(%address, %fault, "controller refused")).ok()
}

/// Serves `peer` and looks every now and then whether it may still be served.
async fn watch_peer(peer: &Peer, serving: impl Future<Output = ()>) {
    let mut serving = std::pin::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => return,
            () = tokio::time::sleep(RECHECK_EVERY) => if let Err(refused) = peer.recheck() {
                warn!(peer = %peer.identity, %refused, "connection cut");
                peer.connection.close(close::IDENTITY.into(), refused.to_string().as_bytes());
            },
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("host", &self.host).finish_non_exhaustive()
    }
}
