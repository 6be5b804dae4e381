//! One controller's connection: the handshake on the control stream, then calls and blobs, each on its own stream.
//!
//! What a peer may do is a matter of type: before the welcome there is only [`greet`], which reads one message and can
//! run nothing. Only the [`Session`] it returns takes calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rustle_protocol::endpoint::Peer;
use rustle_protocol::frame::{FrameBudget, FrameError, FrameReader, FrameWriter};
use rustle_protocol::message::{
    Call, ControlNotice, ControlRequest, DISCONNECT_GRACE_MS, HOLD_HOST, Hello, HelloReply, OnDisconnect, Refusal,
    RefusalCode, VERSIONS, Welcome, close,
};
use rustle_protocol::{HostName, RunId, Value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::{Shared, calls, incoming};
use crate::process::leftovers;
use crate::runner::Admitted;

/// Program and version, as both ends tell each other.
pub const SOFTWARE: &str = concat!("rustle-agent/", env!("CARGO_PKG_VERSION"));

/// How long a controller may take from the handshake to its hello. Connections are few, and a silent one takes a place.
pub const HELLO_WAIT: Duration = Duration::from_secs(5);

/// The longest grace that a controller may ask for: a day.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);

/// A connection whose controller has been welcomed.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    pub(super) controller: HostName,
    pub(super) run: RunId,
    pub(super) epoch: u64,
    pub(super) on_disconnect: OnDisconnect,
    /// The run wants the host for itself.
    pub(super) holds: bool,
    /// How long the controller may take to come back after its connection broke.
    pub(super) grace: Duration,
    /// Shared by all streams of the connection.
    pub(super) budget: FrameBudget,
    /// The blob cache is being cleared.
    clearing: AtomicBool,
}

impl Session {
    /// The connection's number, unique in this process.
    pub(super) fn number(&self) -> u64 {
        self.connection.stable_id() as u64
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Whether this call may run here, now.
    ///
    /// # Errors
    /// The refusal to send: nothing was done.
    pub(super) fn admit(&self, mut call: Box<Call>) -> Result<Admitted, Refusal> {
        if self.shared.is_draining() {
            return Err(draining());
        }
        self.shared.ledger.check_epoch(self.run, self.epoch)?;
        // Whatever the call starts bears its mark, so that it is found should this agent die.
        let mark = leftovers::mark(&self.shared.host, &call.key);
        call.environment.push((leftovers::VARIABLE.to_owned(), mark));
        self.shared.runner.admit(call)
    }
}

/// Serves one connection until it is closed.
pub(super) async fn serve(shared: Arc<Shared>, peer: Peer) {
    let (connection, controller) = (peer.connection, peer.identity.name);
    let peer = connection.remote_address();
    let greeted = tokio::time::timeout(HELLO_WAIT, greet(&shared, &connection, &controller)).await;
    match greeted.unwrap_or(Err(GreetError::Slow)) {
        Ok((hello, control)) => {
            info!(%controller, %peer, run = %hello.run, "controller connected");
            let holds = shared.one_run || holds(&hello);
            let session = Arc::new(Session {
                shared,
                connection: connection.clone(),
                controller: controller.clone(),
                run: hello.run,
                epoch: hello.epoch,
                on_disconnect: hello.on_disconnect,
                holds,
                grace: grace(&hello),
                budget: FrameBudget::default(),
                clearing: AtomicBool::new(false),
            });
            if let Err(held) = session.shared.presence.arrive(&session) {
                connection.close(close::DROPPED.into(), held.message.as_bytes());
                return;
            }
            serve_streams(&session, control).await;
            session.shared.blobs.connection_closed(session.number());
            let reason = connection.closed().await;
            if is_goodbye(&reason) {
                session.shared.ledger.settle_run(session.run);
            }
            session.shared.presence.leave(&session, &reason);
            info!(%controller, %peer, run = %hello.run, %reason, "controller disconnected");
        }
        Err(error) => {
            warn!(%controller, %peer, %error, "connection refused");
            connection.close(close::PROTOCOL.into(), error.to_string().as_bytes());
        }
    }
}

type Control = (FrameReader<RecvStream>, FrameWriter<SendStream>);

#[derive(Debug, thiserror::Error)]
enum GreetError {
    #[error("control stream: {0}")]
    Frame(#[from] FrameError),
    #[error("connection: {0}")]
    Connection(#[from] ConnectionError),
    #[error("the controller closed the control stream without a hello")]
    Silent,
    #[error("the controller did not say hello within {} s", HELLO_WAIT.as_secs())]
    Slow,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Reads the hello and answers it.
async fn greet(
    shared: &Shared,
    connection: &Connection,
    controller: &HostName,
) -> Result<(Hello, Control), GreetError> {
    let (send, recv) = connection.accept_bi().await?;
    let (mut reader, mut writer) = (FrameReader::new(recv), FrameWriter::new(send));
    let hello: Hello = reader.next().await?.ok_or(GreetError::Silent)?;
    match admit(shared, &hello, controller) {
        Ok(welcome) => {
            writer.send(&HelloReply::Welcome(welcome)).await?;
            Ok((hello, (reader, writer)))
        }
        Err(refusal) => {
            writer.send(&HelloReply::Refused(refusal.clone())).await?;
            // The close frame that follows would overtake the answer.
            let mut send = writer.into_inner();
            let _ = send.finish();
            let _ = send.stopped().await;
            Err(refusal.into())
        }
    }
}

fn admit(shared: &Shared, hello: &Hello, controller: &HostName) -> Result<Welcome, Refusal> {
    let version = hello.versions.agree(VERSIONS).ok_or_else(|| Refusal {
        code: RefusalCode::Version,
        message: format!(
            "{} speaks protocol version {}, this agent ({SOFTWARE}) speaks {VERSIONS}: upgrade the older of the two",
            hello.software, hello.versions,
        ),
    })?;
    if hello.host != shared.host {
        return Err(Refusal {
            code: RefusalCode::Identity,
            message: format!("this agent is `{}`, not `{}`", shared.host, hello.host),
        });
    }
    shared.runner.policy().admit_controller(controller)?;
    if shared.is_draining() {
        return Err(draining());
    }
    shared.presence.check_hold(hello.run, shared.one_run || holds(hello))?;
    shared.ledger.see_run(hello.run, hello.epoch, controller)?;
    Ok(Welcome {
        version,
        software: SOFTWARE.to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        boot_id: shared.boot_id.clone(),
        calls_max: shared.runner.calls_max(),
        extra: Default::default(),
    })
}

/// Takes streams until the connection ends, then waits for the calls, which end as `on_disconnect` says. When the agent
/// drains, streams are still taken, for each call to be told so, until there are none.
async fn serve_streams(session: &Arc<Session>, (mut control, mut notices): Control) {
    let mut streams = JoinSet::new();
    let mut draining = session.shared.draining.subscribe();
    let mut draining_told = false;
    while !(draining_told && streams.is_empty()) {
        tokio::select! {
            stream = session.connection.accept_bi() => match stream {
                Ok((send, recv)) => drop(streams.spawn(calls::serve(Arc::clone(session), send, recv))),
                Err(_) => break,
            },
            stream = session.connection.accept_uni() => match stream {
                Ok(recv) => drop(streams.spawn(incoming::serve(Arc::clone(session), recv))),
                Err(_) => break,
            },
            request = control.next::<ControlRequest>() => match request {
                Ok(Some(request)) => obey(session, request),
                Ok(None) => break,
                Err(error) => {
                    debug!(%error, "control stream");
                    session.connection.close(close::PROTOCOL.into(), error.to_string().as_bytes());
                    break;
                }
            },
            () = until_draining(&mut draining), if !draining_told => {
                // A controller that is gone already needs no notice.
                let _ = notices.send(&ControlNotice::Draining).await;
                draining_told = true;
            }
            Some(_) = streams.join_next() => {}
        }
    }
    finish_streams(session, &mut streams).await;
}

pub(super) async fn until_draining(draining: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is as good as draining.
    drop(draining.wait_for(|draining| *draining).await);
}

/// Lets the streams of a draining agent end. Those of a connection that is lost have calls which may be listened to by
/// another one soon: they are left to themselves.
async fn finish_streams(session: &Session, streams: &mut JoinSet<()>) {
    session.shared.blobs.wake();
    if !session.is_connected() {
        return streams.detach_all();
    }
    while streams.join_next().await.is_some() {}
    session.connection.close(VarInt::from_u32(close::SHUTDOWN), b"the agent is done with this connection");
}

fn obey(session: &Arc<Session>, request: ControlRequest) {
    match request {
        // Asked again meanwhile, there is nothing more to do.
        ControlRequest::ForgetBlobs if session.clearing.swap(true, Ordering::AcqRel) => {}
        ControlRequest::ForgetBlobs => {
            let session = Arc::clone(session);
            drop(tokio::task::spawn_blocking(move || {
                if let Err(error) = session.shared.blobs.clear() {
                    warn!(%error, "blob cache cannot be cleared");
                }
                session.clearing.store(false, Ordering::Release);
            }));
        }
        ControlRequest::Revocations(list) => {
            if let Err(error) = take_revocations(session, list) {
                warn!(%error, "revocation list not taken");
            }
        }
        ControlRequest::Acknowledge(mut keys) => {
            keys.retain(|key| key.run == session.run);
            session.shared.ledger.settle(keys);
        }
    }
}

/// Whether the run wants the host for itself.
fn holds(hello: &Hello) -> bool {
    hello.extra.0.get(HOLD_HOST) == Some(&Value::Bool(true))
}

/// How long a run whose connection broke may take to come back; nothing if its controller does not say.
fn grace(hello: &Hello) -> Duration {
    let millis = match hello.extra.0.get(DISCONNECT_GRACE_MS) {
        Some(Value::Int(millis)) => u64::try_from(*millis).unwrap_or_default(),
        Some(Value::UInt(millis)) => *millis,
        _ => 0,
    };
    Duration::from_millis(millis).min(GRACE_MAX)
}

/// The run is over, and its controller has every result.
fn is_goodbye(reason: &ConnectionError) -> bool {
    matches!(reason, ConnectionError::ApplicationClosed(close) if close.error_code == close::DONE.into())
}

/// The refusal for what comes after the word to shut down.
fn draining() -> Refusal {
    Refusal { code: RefusalCode::Draining, message: "this agent is shutting down".into() }
}

/// A list that our CA signed and that is newer than ours holds from now on, also after a restart.
fn take_revocations(session: &Session, list: Vec<u8>) -> Result<(), String> {
    let shared = &session.shared;
    let updated =
        shared.listener.identity().with_revocations(list.clone().into()).map_err(|error| error.to_string())?;
    let Some(identity) = updated else { return Ok(()) };
    shared.listener.replace_identity(identity).map_err(|error| error.to_string())?;
    info!("took a newer revocation list from the controller");
    rustle_protocol::private_file::write_whole(
        &shared.revocations,
        &list,
        rustle_protocol::private_file::Readers::OwnerOnly,
        rustle_protocol::private_file::Existing::Replace,
    )
    .map_err(|error| format!("it holds until the agent restarts, for it cannot be kept: {error}"))
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("run", &self.run).finish_non_exhaustive()
    }
}
