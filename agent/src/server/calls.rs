//! One call stream: the calls of a segment one after the other, their events back as they happen.

use std::fs::File;
use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use rustle_protocol::frame::{FrameError, FrameReader, FrameWriter};
use rustle_protocol::message::{
    BlobId, Call, CallEvent, CallOutcome, CallRequest, OnDisconnect, Refusal, RefusalCode, close,
};
use tokio::sync::mpsc;
use tracing::{debug, info};

use super::connection::Session;
use crate::module::{BlobSource, CancelReason, CancelToken, ModuleError};
use crate::runner::{CallIo, EVENTS_MAX};

/// Calls of one segment that may wait for the running one. More are not read from the stream until there is room.
const WAITING_MAX: usize = 64;

/// Runs the calls of one stream.
pub(super) async fn serve(session: Arc<Session>, send: SendStream, recv: RecvStream) {
    let mut stream = CallStream { session, writer: FrameWriter::new(send), broken: false };
    if let Err(error) = stream.run(FrameReader::new(recv)).await {
        debug!(%error, "call stream");
        let _ = stream.writer.get_mut().reset(close::PROTOCOL.into());
    }
}

struct CallStream {
    session: Arc<Session>,
    writer: FrameWriter<SendStream>,
    /// Nobody reads any more; calls go on as `on_disconnect` says.
    broken: bool,
}

/// What the reading half has to say to the running call.
enum Asked {
    Call(Box<Call>),
    Cancel,
    /// The stream is over: cleanly, or with the connection.
    End,
}

impl CallStream {
    async fn run(&mut self, mut reader: FrameReader<RecvStream>) -> Result<(), FrameError> {
        let mut waiting = std::collections::VecDeque::new();
        let mut skip_rest = false;
        let mut open = true;
        loop {
            let call = match waiting.pop_front() {
                Some(call) => call,
                None if !open => break,
                None => match next(&mut reader).await? {
                    Asked::Call(call) => call,
                    Asked::Cancel => {
                        skip_rest = true;
                        continue;
                    }
                    Asked::End => break,
                },
            };
            if skip_rest {
                self.send(&CallEvent::Ended { outcome: CallOutcome::NotRun, elapsed_us: 0 }).await;
                continue;
            }
            let ignore_failure = call.ignore_failure;
            let cancel = CancelToken::new()?;
            let mut running = std::pin::pin!(run_one(&self.session, call, &cancel, &mut self.writer, &mut self.broken));
            let failed = loop {
                tokio::select! {
                    biased;
                    failed = &mut running => break failed,
                    asked = next(&mut reader), if open && waiting.len() < WAITING_MAX => match asked {
                        Ok(Asked::Call(call)) => waiting.push_back(call),
                        Ok(Asked::Cancel) => {
                            skip_rest = true;
                            stop(&self.session, &cancel);
                        }
                        Ok(Asked::End) => open = false,
                        Err(error) => {
                            debug!(%error, "call stream broke while a call ran");
                            open = false;
                            if self.session.on_disconnect == OnDisconnect::Cancel {
                                skip_rest = true;
                                stop(&self.session, &cancel);
                            }
                        }
                    },
                }
            };
            skip_rest |= failed && !ignore_failure;
        }
        // The connection may be closed once this stream is done, and a close drops what the peer has not got yet.
        if self.writer.get_mut().finish().is_ok() {
            let _ = self.writer.get_mut().stopped().await;
        }
        Ok(())
    }

    async fn send(&mut self, event: &CallEvent) {
        send(&mut self.writer, &mut self.broken, event).await;
    }
}

fn stop(session: &Session, cancel: &CancelToken) {
    cancel.cancel(CancelReason::Requested);
    session.shared.blobs.wake();
}

async fn next(reader: &mut FrameReader<RecvStream>) -> Result<Asked, FrameError> {
    Ok(match reader.next().await? {
        Some(CallRequest::Call(call)) => Asked::Call(call),
        Some(CallRequest::Cancel) => Asked::Cancel,
        None => Asked::End,
    })
}

/// Sends an event; once that fails, nothing more is sent and nothing is said of it again.
async fn send(writer: &mut FrameWriter<SendStream>, broken: &mut bool, event: &CallEvent) {
    if *broken {
        return;
    }
    if let Err(error) = writer.send(event).await {
        debug!(%error, "events cannot be sent");
        *broken = true;
        // A result too large to be sent leaves the stream whole: say that instead.
        if let (FrameError::Codec(error), CallEvent::Ended { elapsed_us, .. }) = (&error, event) {
            let message = format!("the task ended, but its result cannot be sent: {error}");
            let outcome = CallOutcome::Finished(rustle_protocol::ModuleResult::failed(message));
            *broken = writer.send(&CallEvent::Ended { outcome, elapsed_us: *elapsed_us }).await.is_err();
        }
    }
}

/// Runs one call and sends its events. True if the rest of the segment must not run.
async fn run_one(
    session: &Arc<Session>,
    call: Box<Call>,
    cancel: &CancelToken,
    writer: &mut FrameWriter<SendStream>,
    broken: &mut bool,
) -> bool {
    let (key, module, no_log) = (call.key, call.module.clone(), call.no_log);
    let admitted = match session.shared.admit(call) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            info!(%key, module, reason = %refusal, "call refused");
            send(writer, broken, &CallEvent::Ended { outcome: CallOutcome::Refused(refusal), elapsed_us: 0 }).await;
            return true;
        }
    };
    send(writer, broken, &CallEvent::Started).await;
    let (events, mut happened) = mpsc::channel(EVENTS_MAX);
    let blobs = StreamBlobs { session: Arc::clone(session), cancel: cancel.clone(), events: events.clone() };
    let io = CallIo { events, blobs: Arc::new(blobs) };
    let runner = &session.shared.runner;
    let mut running = std::pin::pin!(runner.run(admitted, io, cancel));
    let (outcome, elapsed) = loop {
        tokio::select! {
            biased;
            Some(event) = happened.recv() => send(writer, broken, &event).await,
            ended = &mut running => break ended,
        }
    };
    while let Ok(event) = happened.try_recv() {
        send(writer, broken, &event).await;
    }
    let failed = is_failure(&outcome);
    if no_log {
        info!(%key, module, failed, ?elapsed, "call ended");
    } else {
        info!(%key, module, failed, ?elapsed, msg = message_of(&outcome), "call ended");
    }
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    send(writer, broken, &CallEvent::Ended { outcome, elapsed_us }).await;
    failed
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
                && self.events.blocking_send(CallEvent::BlobWanted { blob, offset }).is_ok()
        })
    }
}

/// The refusal for calls that come after the word to shut down.
pub(super) fn draining() -> Refusal {
    Refusal { code: RefusalCode::Draining, message: "this agent is shutting down".into() }
}
