//! One call stream: the calls of a segment one after the other, their events back as they happen.

use std::collections::VecDeque;
use std::sync::Arc;

use quinn::{ReadError, RecvStream, SendStream};
use rustle_protocol::frame::{FrameError, FrameReader};
use rustle_protocol::message::{Call, CallEvent, CallOutcome, CallRequest, Received, Refusal, RefusalCode, Resumed};
use tokio::sync::watch;
use tracing::{debug, info};

use super::connection::{Session, until_draining};
use super::events::Events;
use super::running::{self, Adopted, CallNote, Over, is_failure};
use crate::ledger::Known;
use crate::module::{CancelReason, CancelToken};

/// Calls of one segment that may wait for the running one. More are not read from the stream until there is room.
const WAITING_MAX: usize = 64;
/// What those calls may take together, in bytes as they came.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Runs the calls of one stream.
pub(super) async fn serve(session: Arc<Session>, send: SendStream, recv: RecvStream) {
    let requests = Requests {
        reader: FrameReader::within(recv, session.budget.clone()),
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        open: true,
    };
    let draining = session.shared.draining.subscribe();
    let events = Some(Events::new(send));
    let mut stream = CallStream { session, events, requests, draining, served: false, skip_rest: false };
    if let Err(error) = stream.run().await {
        debug!(%error, "call stream");
        if let Some(events) = &mut stream.events {
            events.reset();
        }
    }
}

struct CallStream {
    session: Arc<Session>,
    /// With the task that runs the call, while that is another stream's.
    events: Option<Events>,
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
        while let Some(asked) = self.next_call().await? {
            if self.skip_rest {
                self.tell_end(CallOutcome::NotRun, 0).await;
            } else {
                self.answer(asked).await?;
            }
        }
        if let Some(events) = &mut self.events {
            events.finish().await;
        }
        Ok(())
    }

    async fn next_call(&mut self) -> Result<Option<Resumed>, FrameError> {
        loop {
            let asked = tokio::select! {
                biased;
                asked = self.requests.next() => asked?,
                // The controller keeps the stream for calls to come, and would be told for each that none are taken.
                () = until_draining(&mut self.draining), if self.served => Asked::End,
            };
            match asked {
                Asked::Call(asked) => {
                    self.served = true;
                    return Ok(Some(*asked));
                }
                Asked::Cancel => self.skip_rest = true,
                Asked::End => return Ok(None),
            }
        }
    }

    /// A call that was here before is listened to, or answered as the ledger has it; any other is run.
    async fn answer(&mut self, asked: Resumed) -> Result<(), FrameError> {
        let Resumed { call, begun, received } = asked;
        let (key, ignore_failure) = (call.key, call.ignore_failure);
        if key.run != self.session.run {
            let message = format!("call {key} is not of run {}, whose connection this is", self.session.run);
            return self.refuse(Refusal { code: RefusalCode::Protocol, message }).await;
        }
        let Some(events) = self.events.take() else { return Ok(()) };
        let shared = Arc::clone(&self.session.shared);
        let events = match shared.running.adopt(&key, &self.session, events, received) {
            Ok(adopted) => return self.listen(adopted, ignore_failure).await,
            Err(events) => self.events.insert(events),
        };
        let failed = match shared.ledger.find(&key) {
            Some(Known::Ended { outcome, elapsed_us }) => {
                info!(%key, "call told again");
                let failed = is_failure(&outcome);
                events.send(&CallEvent::Started).await;
                events.send(&CallEvent::Ended { outcome, elapsed_us }).await;
                failed
            }
            None if !begun => return self.run_call(Box::new(call)).await,
            // Begun in the life of an agent that is no more; or so it is said, and the record is lost.
            known @ (Some(Known::Interrupted { .. } | Known::Running) | None) => {
                let rebooted = known == Some(Known::Interrupted { rebooted: true });
                info!(%key, rebooted, "call was interrupted");
                let outcome = if rebooted { CallOutcome::Rebooted } else { CallOutcome::Interrupted };
                events.send(&CallEvent::Started).await;
                events.send(&CallEvent::Ended { outcome, elapsed_us: 0 }).await;
                true
            }
        };
        self.skip_rest |= failed && !ignore_failure;
        Ok(())
    }

    /// Waits for the end of a call that another stream began, and meanwhile reads what else the controller has to say.
    async fn listen(&mut self, adopted: Adopted, ignore_failure: bool) -> Result<(), FrameError> {
        let Adopted { cancel, over } = adopted;
        let (over, heard) = self.heed(&cancel, async { over.await.ok() }).await;
        match over {
            Some(Over { events, failed }) => {
                self.events = Some(events);
                self.skip_rest |= failed && !ignore_failure;
            }
            // Yet another stream has taken it over.
            None => self.skip_rest = true,
        }
        heard
    }

    /// Runs one call, and meanwhile reads what else the controller has to say.
    async fn run_call(&mut self, call: Box<Call>) -> Result<(), FrameError> {
        let (note, ignore_failure) = (CallNote::of(&call), call.ignore_failure);
        let admitted = match self.session.admit(call) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                info!(key = %note.key, module = note.module, reason = %refusal, "call refused");
                self.skip_rest |= !ignore_failure;
                return self.refuse(refusal).await;
            }
        };
        let Some(mut events) = self.events.take() else { return Ok(()) };
        let cancel = CancelToken::new()?;
        let session = Arc::clone(&self.session);
        let running = running::run(&session, &note, admitted, &cancel, &mut events);
        let (failed, heard) = self.heed(&cancel, running).await;
        self.skip_rest |= failed && !ignore_failure || events.is_broken();
        self.events = Some(events);
        heard
    }

    /// Waits for `running` and heeds what the controller says meanwhile. Calls that come are put aside.
    ///
    /// # Errors
    /// Something came that is no request: then the call was told to stop.
    async fn heed<T>(&mut self, cancel: &CancelToken, running: impl Future<Output = T>) -> (T, Result<(), FrameError>) {
        let mut running = std::pin::pin!(running);
        let mut heard = Ok(());
        loop {
            let stop = tokio::select! {
                biased;
                ended = &mut running => return (ended, heard),
                read = self.requests.read_ahead() => match read {
                    Ok(Heard::Nothing) => false,
                    Ok(Heard::Cancel) => true,
                    Err(FrameError::Codec(error)) => {
                        heard = Err(error.into());
                        self.requests.forget();
                        true
                    }
                    Err(error) => {
                        debug!(%error, "call stream broke while a call ran");
                        // Nobody would hear of what comes after; what a lost connection means for this call is the run's.
                        self.skip_rest = true;
                        is_reset(&error)
                    }
                }
            };
            if stop {
                self.skip_rest = true;
                cancel.cancel(CancelReason::Requested);
                self.session.shared.blobs.wake();
            }
        }
    }

    /// A refusal that is not the call's fault leaves it to be sent again: nothing behind it is run before it.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), FrameError> {
        self.skip_rest |=
            !matches!(refusal.code, RefusalCode::Policy | RefusalCode::UnknownModule | RefusalCode::Arguments);
        self.tell_end(CallOutcome::Refused(refusal), 0).await;
        Ok(())
    }

    async fn tell_end(&mut self, outcome: CallOutcome, elapsed_us: u64) {
        if let Some(events) = &mut self.events {
            events.send(&CallEvent::Ended { outcome, elapsed_us }).await;
        }
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
    waiting: VecDeque<(Box<Resumed>, usize)>,
    waiting_bytes: usize,
    open: bool,
}

enum Asked {
    Call(Box<Resumed>),
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
            Some(CallRequest::Call(call)) => {
                Asked::Call(Box::new(Resumed { call: *call, begun: false, received: Received::default() }))
            }
            Some(CallRequest::Resume(resumed)) => Asked::Call(resumed),
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
