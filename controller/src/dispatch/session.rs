//! A connection to one agent: the handshake, then a stream for each segment of calls and each blob.

use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quinn::{Connection, RecvStream, SendStream};
use rustle_protocol::endpoint::Peer;
use rustle_protocol::frame::{self, FrameError, FrameReader, FrameWriter};
use rustle_protocol::message::{
    BlobHeader, BlobId, Call, CallEvent, CallOutcome, CallRequest, ControlRequest, Hello, HelloReply, OnDisconnect,
    Refusal, RefusalCode, VERSIONS, Welcome, close,
};
use rustle_protocol::{HostName, RunId};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::blobs::{BlobContent, Blobs};
use super::{CallListener, Cancel, HostLink, LinkError};

/// Program and version, as both ends tell each other.
pub const SOFTWARE: &str = concat!("rustle-exec/", env!("CARGO_PKG_VERSION"));

/// How long an agent that accepted the connection may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// How long an agent may take to end a call it was told to cancel: its own grace before SIGKILL, and some.
const CANCEL_WAIT: Duration = Duration::from_secs(20);

/// How often an open connection's certificate is judged again: one that expired or was revoked is cut off at the next
/// task.
const RECHECK_EVERY: Duration = Duration::from_secs(30);

/// Read from a file at once while sending it.
const SEND_BYTES: usize = 256 * 1024;

/// What a session needs to know of the run.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    pub run: RunId,
    pub epoch: u64,
    pub on_disconnect: OnDisconnect,
}

/// A welcomed connection to one agent.
pub struct Session {
    peer: Peer,
    control: Mutex<FrameWriter<SendStream>>,
    welcome: Welcome,
    blobs: Blobs,
    checked: std::sync::Mutex<Instant>,
}

impl Session {
    /// Says hello on a fresh connection.
    ///
    /// # Errors
    /// The agent refused, speaks another version, or fell silent.
    pub async fn greet(
        peer: Peer,
        host: &HostName,
        options: SessionOptions,
        blobs: Blobs,
    ) -> Result<Session, LinkError> {
        match timeout(HELLO_WAIT, hello(&peer, host, options)).await {
            Ok(Ok((control, welcome))) => {
                Ok(Session { peer, control: Mutex::new(control), welcome, blobs, checked: Instant::now().into() })
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LinkError::transient(format!(
                "the agent took the connection and then did not answer within {} s",
                HELLO_WAIT.as_secs()
            ))),
        }
    }

    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub fn connection(&self) -> &Connection {
        &self.peer.connection
    }

    /// Judges the agent's certificate again, if that was long enough ago.
    ///
    /// # Errors
    /// It would not be let in now; the connection is closed.
    pub fn recheck(&self) -> Result<(), LinkError> {
        let mut checked = self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if checked.elapsed() < RECHECK_EVERY {
            return Ok(());
        }
        *checked = Instant::now();
        self.peer.recheck().map_err(|refused| {
            self.close(close::IDENTITY, &refused.to_string());
            LinkError::lasting(refused.to_string())
        })
    }

    /// # Errors
    /// The connection is lost.
    pub async fn tell(&self, request: ControlRequest) -> Result<(), FrameError> {
        self.control.lock().await.send(&request).await
    }

    pub fn close(&self, code: u32, reason: &str) {
        self.peer.connection.close(code.into(), reason.as_bytes());
    }

    async fn run_segment(
        &self,
        calls: Vec<Call>,
        listener: &mut dyn CallListener,
        cancel: &Cancel,
    ) -> Result<(), LinkError> {
        let (send, recv) = self.peer.connection.open_bi().await.map_err(|error| lost(&self.peer, &error))?;
        let count = calls.len();
        let (writer, reader) = (FrameWriter::new(send), FrameReader::new(recv));
        let mut segment = Segment { peer: &self.peer, writer, reader, at: 0, begun: false };
        segment.send_calls(calls).await?;
        let mut cancel_sent = false;
        while segment.at < count {
            let event = if cancel_sent {
                match timeout(CANCEL_WAIT, segment.reader.next::<CallEvent>()).await {
                    Ok(event) => event,
                    Err(_) => return Err(segment.fault(LinkError::lasting("the agent did not end a cancelled task"))),
                }
            } else {
                tokio::select! {
                    event = segment.reader.next::<CallEvent>() => event,
                    () = cancel.cancelled() => {
                        cancel_sent = true;
                        segment.writer.send(&CallRequest::Cancel).await.map_err(|error| segment.broken(error))?;
                        continue;
                    }
                }
            };
            match event {
                Ok(Some(event)) => self.take(event, &mut segment, listener),
                Ok(None) => return Err(segment.fault(LinkError::transient("the agent ended the stream too early"))),
                Err(error) => return Err(segment.broken(error)),
            }
        }
        // The agent waits for this end; if the connection is gone, so is the wait.
        let _ = segment.writer.get_mut().finish();
        Ok(())
    }

    fn take(&self, event: CallEvent, segment: &mut Segment<'_>, listener: &mut dyn CallListener) {
        match event {
            CallEvent::Started => {
                segment.begun = true;
                listener.started(segment.at);
            }
            CallEvent::Output { stream, bytes } => listener.output(segment.at, stream, bytes),
            CallEvent::BlobWanted { blob, offset } => {
                drop(tokio::spawn(send_blob(self.peer.connection.clone(), self.blobs.clone(), blob, offset)));
            }
            CallEvent::Ended { outcome, elapsed_us } => {
                listener.ended(segment.at, outcome, Duration::from_micros(elapsed_us));
                segment.at += 1;
                segment.begun = false;
            }
        }
    }
}

impl HostLink for Session {
    fn run<'a>(
        &'a self,
        calls: Vec<Call>,
        listener: &'a mut dyn CallListener,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        self.run_segment(calls, listener, cancel).boxed()
    }
}

struct Segment<'a> {
    peer: &'a Peer,
    writer: FrameWriter<SendStream>,
    reader: FrameReader<RecvStream>,
    /// The call whose events come now.
    at: usize,
    /// The agent has taken it up.
    begun: bool,
}

impl Segment<'_> {
    /// All in one write, so that a segment is one packet where it fits.
    async fn send_calls(&mut self, calls: Vec<Call>) -> Result<(), LinkError> {
        let mut frames = Vec::new();
        for call in calls {
            frame::push(&mut frames, &CallRequest::Call(Box::new(call)))
                .map_err(|error| LinkError::lasting(format!("the task cannot be sent: {error}")))?;
        }
        self.writer
            .get_mut()
            .write_all(&frames)
            .await
            .map_err(|error| broken(self.peer, FrameError::Stream(error.into())))
    }

    fn fault(&self, error: LinkError) -> LinkError {
        error.after_start(self.begun)
    }

    fn broken(&self, error: FrameError) -> LinkError {
        self.fault(broken(self.peer, error))
    }
}

async fn hello(
    peer: &Peer,
    host: &HostName,
    options: SessionOptions,
) -> Result<(FrameWriter<SendStream>, Welcome), LinkError> {
    let (send, recv) = peer.connection.open_bi().await.map_err(|error| lost(peer, &error))?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
    let hello = Hello {
        versions: VERSIONS,
        software: SOFTWARE.to_owned(),
        host: host.clone(),
        run: options.run,
        epoch: options.epoch,
        on_disconnect: options.on_disconnect,
        extra: Default::default(),
    };
    writer.send(&hello).await.map_err(|error| broken(peer, error))?;
    match reader.next::<HelloReply>().await.map_err(|error| broken(peer, error))? {
        Some(HelloReply::Welcome(welcome)) => Ok((writer, welcome)),
        Some(HelloReply::Refused(refusal)) => Err(refused(&refusal)),
        None => Err(LinkError::transient("the agent closed the connection without a word")),
    }
}

/// A refusal as a link error: whether it may pass by itself is in its code.
pub fn refused(refusal: &Refusal) -> LinkError {
    let message = format!("the agent refused: {}", refusal.message);
    match refusal.code {
        RefusalCode::Busy | RefusalCode::Draining => LinkError::transient(message),
        RefusalCode::Version
        | RefusalCode::Identity
        | RefusalCode::Policy
        | RefusalCode::Stale
        | RefusalCode::UnknownModule
        | RefusalCode::Arguments
        | RefusalCode::Protocol => LinkError::lasting(message),
    }
}

fn lost(peer: &Peer, error: &quinn::ConnectionError) -> LinkError {
    LinkError::from_fault(&peer.fault(error))
}

/// A stream that fails mostly does so because its connection has, and that knows why.
fn broken(peer: &Peer, error: FrameError) -> LinkError {
    match (error, peer.connection.close_reason()) {
        (FrameError::Codec(error), _) => LinkError::lasting(format!("the agent's answer makes no sense: {error}")),
        (_, Some(reason)) => lost(peer, &reason),
        (FrameError::Stream(error), None) => LinkError::transient(format!("the stream to the agent broke: {error}")),
        (FrameError::Truncated, None) => LinkError::transient("the agent's answer broke off"),
    }
}

/// Sends one blob. What goes wrong is told to the agent by the stream's end; the module that wants the blob says it.
async fn send_blob(connection: Connection, blobs: Blobs, blob: BlobId, offset: u64) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    let sent = match blobs.get(&blob) {
        Some(content) => send_content(&mut stream, blob, offset, content).await,
        None => Err(io::Error::new(io::ErrorKind::NotFound, "no such blob in this run")),
    };
    match sent {
        Ok(()) => drop(stream.finish()),
        Err(error) => {
            tracing::warn!(%error, "blob not sent");
            let _ = stream.reset(close::CANCEL.into());
        }
    }
}

async fn send_content(stream: &mut SendStream, blob: BlobId, offset: u64, content: BlobContent) -> io::Result<()> {
    let mut header = Vec::new();
    frame::push(&mut header, &BlobHeader { blob, offset }).map_err(io::Error::other)?;
    stream.write_all(&header).await?;
    match content {
        BlobContent::Held(bytes) => {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            stream.write_chunk(bytes.slice(from..)).await?;
        }
        BlobContent::File(path) => {
            let mut file = std::fs::File::open(path)?;
            file.seek(io::SeekFrom::Start(offset))?;
            let file = Arc::new(file);
            loop {
                let reading = Arc::clone(&file);
                let chunk =
                    tokio::task::spawn_blocking(move || read_chunk(&reading)).await.map_err(io::Error::other)??;
                if chunk.is_empty() {
                    break;
                }
                stream.write_chunk(chunk).await?;
            }
        }
    }
    Ok(())
}

fn read_chunk(file: &std::fs::File) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(SEND_BYTES);
    file.take(SEND_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}

/// The refusal of a call that has to do with the host's agent as it is now, and so with the way to the host. What the
/// agent will not do with this very call is the task's failure.
pub fn refusal_of(outcome: &CallOutcome) -> Option<LinkError> {
    match outcome {
        CallOutcome::Refused(refusal) => match refusal.code {
            RefusalCode::Policy | RefusalCode::UnknownModule | RefusalCode::Arguments => None,
            RefusalCode::Busy
            | RefusalCode::Draining
            | RefusalCode::Version
            | RefusalCode::Identity
            | RefusalCode::Stale
            | RefusalCode::Protocol => Some(refused(refusal)),
        },
        CallOutcome::Finished(_)
        | CallOutcome::TimedOut(_)
        | CallOutcome::Cancelled(_)
        | CallOutcome::Interrupted
        | CallOutcome::NotRun => None,
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer.identity).finish_non_exhaustive()
    }
}
