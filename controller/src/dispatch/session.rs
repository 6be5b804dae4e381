//! A connection to one agent: the handshake, then a stream for each segment of calls and each blob.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use quinn::{Connection, RecvStream, SendStream};
use rustle_protocol::endpoint::Peer;
use rustle_protocol::frame::{self, FrameError, FrameReader, FrameWriter};
use rustle_protocol::message::{
    BlobHeader, BlobId, Call, CallEvent, CallOutcome, CallRequest, ControlRequest, DISCONNECT_GRACE_MS, HOLD_HOST,
    Hello, HelloReply, OnDisconnect, Refusal, RefusalCode, VERSIONS, Welcome, close,
};
use rustle_protocol::value::WireMap;
use rustle_protocol::{CallKey, HostName, RunId, Value};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::blobs::{BlobContent, Blobs};
use super::chunks::Chunks;
use super::streams::{CallStream, CallStreams};
use super::unfinished::Unfinished;
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

/// How much longer than its own time a task may take until the agent has told its end. The agent keeps the clock; this is
/// for an agent that does not: signs of life, and no answer. It covers the agent's grace and [`CANCEL_WAIT`].
const OVERDUE_WAIT: Duration = Duration::from_secs(60);

/// Blobs of one segment that may be on their way at once. A call waits for one at a time, so more is a broken agent.
const BLOBS_MAX: usize = 16;

/// Of the text by which an agent introduces itself, in bytes. More is cut.
const SOFTWARE_BYTES_MAX: usize = 200;
/// Of the sentence by which an agent refuses. More is cut.
const REFUSAL_BYTES_MAX: usize = 4 * 1024;

/// What is done about a host that another run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBusyHost {
    /// Nothing: work beside it, and hold the host from nobody.
    #[default]
    Share,
    /// Hold the host, and wait until the other run is done with it.
    Wait,
    /// Hold the host, or take it for unreachable.
    Refuse,
}

/// What a session needs to know of the run.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    pub run: RunId,
    pub epoch: u64,
    pub on_disconnect: OnDisconnect,
    /// How long this controller may take to come back after a connection broke, before the agent does what
    /// `on_disconnect` says.
    pub grace: Duration,
    pub on_busy_host: OnBusyHost,
}

/// A welcomed connection to one agent.
pub struct Session {
    peer: Peer,
    control: Mutex<FrameWriter<SendStream>>,
    streams: CallStreams,
    unfinished: Unfinished,
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
        unfinished: Unfinished,
    ) -> Result<Session, LinkError> {
        match timeout(HELLO_WAIT, hello(&peer, host, options)).await {
            Ok(Ok((control, welcome))) => {
                let streams = CallStreams::of(peer.connection.clone());
                let (control, checked) = (Mutex::new(control), Instant::now().into());
                Ok(Session { peer, control, streams, unfinished, welcome, blobs, checked })
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

    /// Why the connection is no more, if it is so.
    pub fn lost(&self) -> Option<LinkError> {
        self.peer.connection.close_reason().map(|reason| lost(&self.peer, &reason))
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

    /// Says the last thing on this connection and waits, at most `limit`, until the agent has taken it and closed: a
    /// close from here would overtake it.
    pub async fn tell_last(&self, request: ControlRequest, limit: Duration) {
        // An agent closes when nothing is left to come.
        self.streams.end();
        if self.tell(request).await.is_ok() && self.control.lock().await.get_mut().finish().is_ok() {
            // Silence leaves it unsaid; there is nobody to tell that to.
            let _ = timeout(limit, self.peer.connection.closed()).await;
        }
    }

    pub fn close(&self, code: u32, reason: &str) {
        self.peer.connection.close(code.into(), reason.as_bytes());
    }

    /// As [`HostLink::run`], over this connection alone. A call that has ended is taken out of `calls`.
    ///
    /// # Errors
    /// As [`HostLink::run`], and a refusal with [`LinkError::is_busy`]: nothing of what is left was done. What is left can be
    /// sent again over another connection: the agent knows the calls by their keys.
    pub async fn run_calls(
        &self,
        calls: &mut VecDeque<Call>,
        listener: &mut dyn CallListener,
        cancel: &Cancel,
    ) -> Result<(), LinkError> {
        let CallStream { writer, reader } = self.streams.take().await.map_err(|error| lost(&self.peer, &error))?;
        let count = calls.len();
        let sent = calls.iter().map(|call| (call.key, call.timeout_ms)).collect();
        let mut segment = Segment {
            peer: &self.peer,
            writer,
            reader,
            calls: sent,
            at: 0,
            sent: false,
            begun: false,
            failed: false,
            since: Instant::now(),
            blobs: JoinSet::new(),
        };
        segment.send_calls(calls, &self.unfinished).await?;
        let mut cancel_sent = false;
        while segment.at < count {
            while segment.blobs.try_join_next().is_some() {}
            let due = segment.due();
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
                    () = expire(due) => {
                        return Err(segment.fault(LinkError::lasting(format!(
                            "the agent did not end the task in its time and {} s more", OVERDUE_WAIT.as_secs()
                        ))));
                    }
                }
            };
            match event {
                Ok(Some(event)) => {
                    let before = segment.at;
                    self.take(event, &mut segment, listener).map_err(|error| segment.fault(error))?;
                    calls.drain(..segment.at - before);
                }
                Ok(None) => return Err(segment.fault(LinkError::transient("the agent ended the stream too early"))),
                Err(error) => return Err(segment.broken(error)),
            }
        }
        if !segment.failed && !cancel_sent {
            let Segment { writer, reader, .. } = segment;
            self.streams.keep(CallStream { writer, reader });
        }
        Ok(())
    }

    /// # Errors
    /// An event where none such can come: the agent does not keep to the protocol.
    fn take(
        &self,
        event: CallEvent,
        segment: &mut Segment<'_>,
        listener: &mut dyn CallListener,
    ) -> Result<(), LinkError> {
        match event {
            CallEvent::Started if segment.begun => return Err(out_of_order("began a task twice")),
            CallEvent::Started => {
                segment.begun = true;
                self.unfinished.begun(segment.key());
                listener.started(segment.at);
            }
            CallEvent::Output { .. } | CallEvent::Cut { .. } | CallEvent::BlobWanted { .. } if !segment.begun => {
                return Err(out_of_order("told of a task that it had not begun"));
            }
            CallEvent::Output { stream, bytes } => {
                self.unfinished.received(segment.key(), stream, bytes.len() as u64);
                listener.output(segment.at, stream, bytes);
            }
            CallEvent::Cut { stream, bytes } => {
                self.unfinished.received(segment.key(), stream, bytes);
                listener.output(segment.at, stream, cut_marker(bytes));
            }
            CallEvent::BlobWanted { .. } if segment.blobs.len() >= BLOBS_MAX => {
                return Err(out_of_order("asked for one file after the other and took none"));
            }
            CallEvent::BlobWanted { blob, offset } => {
                segment.blobs.spawn(send_blob(self.peer.connection.clone(), self.blobs.clone(), blob, offset));
            }
            CallEvent::Ended { outcome, .. } if !segment.begun && needs_start(&outcome) => {
                return Err(out_of_order("ended a task that it had not begun"));
            }
            CallEvent::Ended { outcome: CallOutcome::Refused(refusal), .. } if refused(&refusal).is_busy() => {
                self.unfinished.ended(segment.key());
                // Nothing of the segment was begun from here on.
                segment.sent = false;
                return Err(refused(&refusal));
            }
            CallEvent::Ended { outcome, elapsed_us } => {
                // The agent's clock is the finer one, but nothing there can have taken longer than it did here.
                let elapsed = Duration::from_micros(elapsed_us).min(segment.since.elapsed());
                segment.failed |= !matches!(&outcome, CallOutcome::Finished(result) if !result.failed);
                self.unfinished.ended(segment.key());
                listener.ended(segment.at, outcome, elapsed);
                segment.at += 1;
                segment.begun = false;
                segment.since = Instant::now();
            }
        }
        Ok(())
    }
}

/// Stands in the place of output that is lost.
fn cut_marker(bytes: u64) -> Vec<u8> {
    format!("\n[... {bytes} bytes lost while the connection was broken ...]\n").into_bytes()
}

async fn expire(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn out_of_order(what: &str) -> LinkError {
    LinkError::lasting(format!("the agent does not keep to the protocol: it {what}"))
}

/// Whether only a call that was begun can come out so.
fn needs_start(outcome: &CallOutcome) -> bool {
    match outcome {
        CallOutcome::Finished(_)
        | CallOutcome::TimedOut(_)
        | CallOutcome::Cancelled(_)
        | CallOutcome::Interrupted
        | CallOutcome::Rebooted => true,
        CallOutcome::Refused(_) | CallOutcome::NotRun => false,
    }
}

impl HostLink for Session {
    fn run<'a>(
        &'a self,
        calls: Vec<Call>,
        listener: &'a mut dyn CallListener,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        async move { self.run_calls(&mut calls.into(), listener, cancel).await }.boxed()
    }
}

struct Segment<'a> {
    peer: &'a Peer,
    writer: FrameWriter<SendStream>,
    reader: FrameReader<RecvStream>,
    /// The calls, and what each may take in milliseconds; 0 for as long as it likes.
    calls: Vec<(CallKey, u64)>,
    /// The call whose events come now.
    at: usize,
    /// The agent has been told of them all: from here on it may have taken one up, whether it said so or not.
    sent: bool,
    /// The agent has said that it took it up.
    begun: bool,
    /// A call did not succeed.
    failed: bool,
    /// When the call before it had ended.
    since: Instant,
    /// Blobs on their way. What is left of them when the segment is over is given up.
    blobs: JoinSet<()>,
}

impl Segment<'_> {
    /// All in one write, so that a segment is one packet where it fits.
    async fn send_calls(&mut self, calls: &mut VecDeque<Call>, unfinished: &Unfinished) -> Result<(), LinkError> {
        let mut frames = Vec::new();
        // Each goes into its request, and comes back behind the others: none is copied.
        for _ in 0..calls.len() {
            let Some(call) = calls.pop_front() else { break };
            let request = unfinished.request(call);
            let pushed = frame::push(&mut frames, &request);
            calls.extend(call_of(request));
            pushed.map_err(|error| LinkError::lasting(format!("the task cannot be sent: {error}")))?;
        }
        self.sent = true;
        self.writer
            .get_mut()
            .write_all(&frames)
            .await
            .map_err(|error| broken(self.peer, FrameError::Stream(error.into())))
    }

    /// When the agent should have told the end of the call long ago.
    fn due(&self) -> Option<tokio::time::Instant> {
        let time = self.calls.get(self.at).map(|(_, time)| *time).filter(|time| *time > 0)?;
        self.since.checked_add(Duration::from_millis(time).saturating_add(OVERDUE_WAIT)).map(Into::into)
    }

    fn key(&self) -> &CallKey {
        &self.calls[self.at].0
    }

    fn fault(&self, error: LinkError) -> LinkError {
        error.after_start(self.sent)
    }

    fn broken(&self, error: FrameError) -> LinkError {
        self.fault(broken(self.peer, error))
    }
}

fn call_of(request: CallRequest) -> Option<Call> {
    match request {
        CallRequest::Call(call) => Some(*call),
        CallRequest::Resume(resumed) => Some(resumed.call),
        CallRequest::Cancel => None,
    }
}

async fn hello(
    peer: &Peer,
    host: &HostName,
    options: SessionOptions,
) -> Result<(FrameWriter<SendStream>, Welcome), LinkError> {
    let (send, recv) = peer.connection.open_bi().await.map_err(|error| lost(peer, &error))?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(recv));
    let grace_ms = u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX);
    let holds = options.on_busy_host != OnBusyHost::Share;
    let extra = [(DISCONNECT_GRACE_MS, Value::UInt(grace_ms)), (HOLD_HOST, Value::Bool(holds))];
    let hello = Hello {
        versions: VERSIONS,
        software: SOFTWARE.to_owned(),
        host: host.clone(),
        run: options.run,
        epoch: options.epoch,
        on_disconnect: options.on_disconnect,
        extra: WireMap(extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
    };
    writer.send(&hello).await.map_err(|error| broken(peer, error))?;
    match reader.next::<HelloReply>().await.map_err(|error| broken(peer, error))? {
        Some(HelloReply::Welcome(mut welcome)) => {
            if !(VERSIONS.min..=VERSIONS.max).contains(&welcome.version) {
                return Err(LinkError::lasting(format!(
                    "the agent chose protocol version {}, and this controller speaks {VERSIONS}",
                    welcome.version
                )));
            }
            cut(&mut welcome.software, SOFTWARE_BYTES_MAX);
            Ok((writer, welcome))
        }
        Some(HelloReply::Refused(refusal)) => {
            // A hello is busy for one reason alone.
            let is_held = refusal.code == RefusalCode::Busy;
            let error = refused(&refusal);
            let transient = error.transient && !(is_held && options.on_busy_host != OnBusyHost::Wait);
            Err(LinkError { transient, ..error })
        }
        None => Err(LinkError::transient("the agent closed the connection without a word")),
    }
}

/// A refusal as a link error: whether it may pass by itself is in its code.
pub fn refused(refusal: &Refusal) -> LinkError {
    let mut reason = refusal.message.clone();
    cut(&mut reason, REFUSAL_BYTES_MAX);
    let message = match refusal.code {
        // In Ansible's words.
        RefusalCode::BecomeWait => reason,
        _ => format!("the agent refused: {reason}"),
    };
    let error = match refusal.code {
        RefusalCode::Busy | RefusalCode::Draining => LinkError::transient(message),
        RefusalCode::Version
        | RefusalCode::Identity
        | RefusalCode::Policy
        | RefusalCode::Stale
        | RefusalCode::UnknownModule
        | RefusalCode::Arguments
        | RefusalCode::Protocol
        | RefusalCode::BecomeWait => LinkError::lasting(message),
    };
    LinkError { refused: Some(refusal.code), ..error }
}

/// Text of an agent, at most `bytes` long.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
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
        Some(content) => send_content(&mut stream, blob, offset, content, blobs.chunks()).await,
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

async fn send_content(
    stream: &mut SendStream,
    blob: BlobId,
    mut offset: u64,
    content: BlobContent,
    chunks: &Chunks,
) -> io::Result<()> {
    let mut header = Vec::new();
    frame::push(&mut header, &BlobHeader { blob, offset }).map_err(io::Error::other)?;
    stream.write_all(&header).await?;
    match content {
        BlobContent::Held(bytes) => {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            stream.write_chunk(bytes.slice(from..)).await?;
        }
        BlobContent::File(path) => {
            let file = Arc::new(std::fs::File::open(path)?);
            loop {
                let chunk = chunks.read(blob, &file, offset).await?;
                if chunk.is_empty() {
                    break;
                }
                offset += chunk.len() as u64;
                stream.write_chunk(chunk).await?;
            }
        }
    }
    Ok(())
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
            | RefusalCode::Protocol
            | RefusalCode::BecomeWait => Some(refused(refusal)),
        },
        CallOutcome::Finished(_)
        | CallOutcome::TimedOut(_)
        | CallOutcome::Cancelled(_)
        | CallOutcome::Interrupted
        | CallOutcome::Rebooted
        | CallOutcome::NotRun => None,
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer.identity).finish_non_exhaustive()
    }
}
