//! The way back to the controller: one stream's events.

use std::time::Duration;

use quinn::SendStream;
use rustle_protocol::ModuleResult;
use rustle_protocol::frame::{self, FrameError};
use rustle_protocol::message::{CallEvent, CallOutcome, close};
use tracing::debug;

/// A controller that takes no byte of a task's events for so long does not listen any more.
const SEND_STALL: Duration = Duration::from_secs(30);

/// Sends events until nobody reads any more, and then nothing.
#[derive(Debug)]
pub(super) struct Events {
    send: SendStream,
    buffer: Vec<u8>,
    /// Nobody reads any more; calls go on as `on_disconnect` says.
    broken: bool,
}

impl Events {
    pub(super) fn new(send: SendStream) -> Events {
        Events { send, buffer: Vec::new(), broken: false }
    }

    /// Sends an event, after those held back; once that fails, nothing more is sent and nothing is said of it again.
    pub(super) async fn send(&mut self, event: &CallEvent) {
        self.hold(event);
        self.flush().await;
    }

    /// Holds an event back until the next one, or until [`flush`](Self::flush).
    pub(super) fn hold(&mut self, event: &CallEvent) {
        if let Err(error) = frame::push(&mut self.buffer, event) {
            let substitute = unsendable(event, &error);
            if substitute.is_none_or(|event| frame::push(&mut self.buffer, &event).is_err()) {
                debug!(%error, "an event cannot be sent");
            }
        }
    }

    pub(super) fn holds_back(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub(super) async fn flush(&mut self) {
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

    /// Somebody else listens now, or nobody does.
    pub(super) fn break_off(&mut self) {
        self.buffer.clear();
        self.broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Tells the controller that this stream makes no sense.
    pub(super) fn reset(&mut self) {
        let _ = self.send.reset(close::PROTOCOL.into());
        self.broken = true;
    }

    /// The connection may be closed once this stream is done, and a close drops what the peer has not got yet.
    pub(super) async fn finish(&mut self) {
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
