//! One call stream: the calls of a segment one after the other, their events back as they happen.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ReadError, RecvStream, SendStream};
use rustle_protocol::ModuleResult;
use rustle_protocol::frame::{self, FrameError, FrameReader};
use rustle_protocol::message::{
    BlobId, Call, CallEvent, CallOutcome, CallRequest, OnDisconnect, Refusal, RefusalCode, close,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};

use super::connection::{Session, until_draining};
use crate::module::{BlobSource, CancelReason, CancelToken, ModuleError};
use crate::runner::{CallIo, EVENTS_MAX, send_unless_cancelled};

/// Calls of one segment that may wait for the running one. More are not read from the stream until there is room.
const WAITING_MAX: usize = 64;
/// What those calls may take together, in bytes as they came.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long the word that a call has begun waits for the call's next event: most calls have ended by then, and then one
/// packet tells both. A little longer than QUIC waits before it acknowledges the call in a packet of its own (25 ms), so
/// that the clock need not be set for it.
const STARTED_WAIT: Duration = Duration::from_millis(30);

/// A controller that takes no byte of a task's events for so long does not listen any more.
const SEND_STALL: Duration = Duration::from_secs(30);

/// Runs the calls of one stream.
pub(super) async fn serve(session: Arc<Session>, send: SendStream, recv: RecvStream) {
    let events = Events { send, buffer: Vec::new(), broken: false };
    let requests = Requests { reader: FrameReader::new(recv), waiting: VecDeque::new(), waiting_bytes: 0, open: true };
    let draining = session.shared.draining.subscribe();
    let mut stream = CallStream { session, events, requests, draining, served: false, skip_rest: false };
    if let Err(error) = stream.run().await {
        debug!(%error, "call stream");
        let _ = stream.events.send.reset(close::PROTOCOL.into());
    }
}

struct CallStream {
    session: Arc<Session>,
    events: Events,
    requests: Requests,
    draining: watch::Receiver<bool>,
    /// A call has come.
    served: bool,
    /// The rest of the segment is not to run.
    skip_rest: bool,
}

impl CallStream {
    /// # Errors
    /// What came is no protocol; a call that ran has been let end.
    async fn run(&mut self) -> Result<(), FrameError> {
        while let Some(call) = self.next_call().await? {
            if self.skip_rest {
                self.events.send(&CallEvent::Ended { outcome: CallOutcome::NotRun, elapsed_us: 0 }).await;
            } else {
                self.run_call(call).await?;
            }
        }
        self.events.finish().await;
        Ok(())
    }

    async fn next_call(&mut self) -> Result<Option<Box<Call>>, FrameError> {
        loop {
            let asked = tokio::select! {
                biased;
                asked = self.requests.next() => asked?,
                // The controller keeps the stream for calls to come, and would be told for each that none are taken.
                () = until_draining(&mut self.draining), if self.served => Asked::End,
            };
            match asked {
                Asked::Call(call) => {
                    self.served = true;
                    return Ok(Some(call));
                }
                Asked::Cancel => self.skip_rest = true,
                Asked::End => return Ok(None),
            }
        }
    }

    /// Runs one call, and meanwhile reads what else the controller has to say.
    async fn run_call(&mut self, call: Box<Call>) -> Result<(), FrameError> {
        let ignore_failure = call.ignore_failure;
        let cancel = CancelToken::new()?;
        let mut running = std::pin::pin!(run_one(&self.session, call, &cancel, &mut self.events));
        let mut violation = None;
        let failed = loop {
            tokio::select! {
                biased;
                failed = &mut running => break failed,
                read = self.requests.read_ahead() => {
                    let stop = match read {
                        Ok(Heard::Nothing) => false,
                        Ok(Heard::Cancel) => true,
                        Err(FrameError::Codec(error)) => {
                            violation = Some(error);
                            self.requests.forget();
                            true
                        }
                        Err(error) => {
                            debug!(%error, "call stream broke while a call ran");
                            is_reset(&error) || self.session.on_disconnect == OnDisconnect::Cancel
                        }
                    };
                    if stop {
                        self.skip_rest = true;
                        cancel.cancel(CancelReason::Requested);
                        self.session.shared.blobs.wake();
                    }
                }
            }
        };
        self.skip_rest |= failed && !ignore_failure;
        violation.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// The controller gave up this stream alone; its connection stands.
fn is_reset(error: &FrameError) -> bool {
    let FrameError::Stream(error) = error else { return false };
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ReadError>());
    matches!(cause, Some(ReadError::Reset(_)))
}

/// What the controller asks on one stream.
struct Requests {
    reader: FrameReader<RecvStream>,
    /// Calls that came while another ran.
    waiting: VecDeque<(Box<Call>, usize)>,
    waiting_bytes: usize,
    open: bool,
}

enum Asked {
    Call(Box<Call>),
    Cancel,
    /// The stream is over: cleanly, or with the connection.
    End,
}

/// What was heard while a call ran, beside calls, which were put aside.
enum Heard {
    Nothing,
    Cancel,
}

impl Requests {
    async fn next(&mut self) -> Result<Asked, FrameError> {
        if let Some((call, bytes)) = self.waiting.pop_front() {
            self.waiting_bytes -= bytes;
            return Ok(Asked::Call(call));
        }
        match self.open {
            true => self.read().await,
            false => Ok(Asked::End),
        }
    }

    /// Reads one request more, once there is room for it; never returns if there is none to come.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    async fn read_ahead(&mut self) -> Result<Heard, FrameError> {
        if !self.open || self.waiting.len() >= WAITING_MAX || self.waiting_bytes >= WAITING_BYTES_MAX {
            return std::future::pending().await;
        }
        match self.read().await.inspect_err(|_| self.open = false)? {
            Asked::Call(call) => {
                let bytes = self.reader.last_bytes();
                self.waiting_bytes += bytes;
                self.waiting.push_back((call, bytes));
                Ok(Heard::Nothing)
            }
            Asked::Cancel => Ok(Heard::Cancel),
            Asked::End => {
                self.open = false;
                Ok(Heard::Nothing)
            }
        }
    }

    async fn read(&mut self) -> Result<Asked, FrameError> {
        Ok(match self.reader.next().await? {
            Some(CallRequest::Call(call)) => Asked::Call(call),
            Some(CallRequest::Cancel) => Asked::Cancel,
            None => Asked::End,
        })
    }

    /// Drops the calls that wait.
    fn forget(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }
}

/// The way back to the controller.
struct Events {
    send: SendStream,
    buffer: Vec<u8>,
    /// Nobody reads any more; calls go on as `on_disconnect` says.
    broken: bool,
}

impl Events {
    /// Sends an event, after those held back; once that fails, nothing more is sent and nothing is said of it again.
    async fn send(&mut self, event: &CallEvent) {
        self.hold(event);
        self.flush().await;
    }

    /// Holds an event back until the next one, or until [`flush`](Self::flush).
    fn hold(&mut self, event: &CallEvent) {
        if let Err(error) = frame::push(&mut self.buffer, event) {
            let substitute = unsendable(event, &error);
            if substitute.is_none_or(|event| frame::push(&mut self.buffer, &event).is_err()) {
                debug!(%error, "an event cannot be sent");
            }
        }
    }

    fn holds_back(&self) -> bool {
        !self.buffer.is_empty()
    }

    async fn flush(&mut self) {
        if !self.broken
            && let Err(error) = self.write().await
        {
            debug!(%error, "events cannot be sent");
            self.broken = true;
        }
        self.buffer.clear();
    }

    async fn write(&mut self) -> Result<(), FrameError> {
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match tokio::time::timeout(SEND_STALL, self.send.write(rest)).await {
                Ok(written) => rest = &rest[written.map_err(std::io::Error::from)?..],
                Err(_) => {
                    let _ = self.send.reset(close::PROTOCOL.into());
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
            }
        }
        Ok(())
    }

    /// The connection may be closed once this stream is done, and a close drops what the peer has not got yet.
    async fn finish(&mut self) {
        if self.send.finish().is_ok() {
            let _ = self.send.stopped().await;
        }
    }
}

/// What to say in the place of a result that is too large or too deep to be sent.
fn unsendable(event: &CallEvent, error: &rustle_protocol::codec::CodecError) -> Option<CallEvent> {
    let CallEvent::Ended { elapsed_us, .. } = event else { return None };
    let message = format!("the task ended, but its result cannot be sent: {error}");
    Some(CallEvent::Ended { outcome: CallOutcome::Finished(ModuleResult::failed(message)), elapsed_us: *elapsed_us })
}

/// Runs one call and sends its events. True if the rest of the segment must not run.
async fn run_one(session: &Arc<Session>, call: Box<Call>, cancel: &CancelToken, events: &mut Events) -> bool {
    let (key, module, no_log) = (call.key, call.module.clone(), call.no_log);
    let admitted = match session.shared.admit(call) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            info!(%key, module, reason = %refusal, "call refused");
            events.send(&CallEvent::Ended { outcome: CallOutcome::Refused(refusal), elapsed_us: 0 }).await;
            return true;
        }
    };
    events.hold(&CallEvent::Started);
    let (sender, happened) = mpsc::channel(EVENTS_MAX);
    let blobs = StreamBlobs { session: Arc::clone(session), cancel: cancel.clone(), events: sender.clone() };
    let io = CallIo { events: sender, blobs: Arc::new(blobs) };
    // Side by side: the clock of a call goes on while its controller does not read.
    let (over, is_over) = oneshot::channel::<()>();
    let running = async {
        let ended = session.shared.runner.run(admitted, io, cancel).await;
        drop(over);
        ended
    };
    let ((outcome, elapsed), ()) = tokio::join!(running, forward(happened, events, is_over));
    let failed = is_failure(&outcome);
    if no_log {
        info!(%key, module, failed, ?elapsed, "call ended");
    } else {
        info!(%key, module, failed, ?elapsed, msg = message_of(&outcome), "call ended");
    }
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    events.send(&CallEvent::Ended { outcome, elapsed_us }).await;
    failed
}

/// Sends what a call has to say until it is over and all is said. A module that was given up on says no more.
async fn forward(mut happened: mpsc::Receiver<CallEvent>, events: &mut Events, mut is_over: oneshot::Receiver<()>) {
    let mut over = false;
    let mut waited = std::pin::pin!(tokio::time::sleep(STARTED_WAIT));
    loop {
        tokio::select! {
            biased;
            event = happened.recv() => match event {
                Some(event) => events.send(&event).await,
                None => return,
            },
            _ = &mut is_over, if !over => {
                over = true;
                happened.close();
            }
            () = &mut waited, if events.holds_back() => events.flush().await,
        }
    }
}

fn is_failure(outcome: &CallOutcome) -> bool {
    match outcome {
        CallOutcome::Finished(result) => result.failed,
        CallOutcome::TimedOut(_)
        | CallOutcome::Cancelled(_)
        | CallOutcome::Refused(_)
        | CallOutcome::Interrupted
        | CallOutcome::NotRun => true,
    }
}

fn message_of(outcome: &CallOutcome) -> &str {
    match outcome {
        CallOutcome::Finished(result) | CallOutcome::TimedOut(result) | CallOutcome::Cancelled(result) => result.msg(),
        CallOutcome::Refused(Refusal { message, .. }) => message,
        CallOutcome::Interrupted | CallOutcome::NotRun => "",
    }
}

/// Asks the controller at the other end of this stream for files.
struct StreamBlobs {
    session: Arc<Session>,
    cancel: CancelToken,
    events: mpsc::Sender<CallEvent>,
}

impl BlobSource for StreamBlobs {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        let connection = self.session.number();
        self.session.shared.blobs.fetch(blob, connection, &self.cancel, |offset| {
            self.session.connection.close_reason().is_none()
                && send_unless_cancelled(&self.events, CallEvent::BlobWanted { blob, offset }, &self.cancel)
        })
    }

    fn take(&self, blob: BlobId, path: &Path) -> Result<Option<File>, ModuleError> {
        drop(self.open(blob)?);
        Ok(self.session.shared.blobs.take(&blob, path))
    }
}

/// The refusal for calls that come after the word to shut down.
pub(super) fn draining() -> Refusal {
    Refusal { code: RefusalCode::Draining, message: "this agent is shutting down".into() }
}
