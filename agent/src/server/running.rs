//! Calls that run, whoever listens. A call outlives the connection it came by: another stream that asks for the same key
//! takes the place of the first, and hears everything from where its controller has stopped hearing.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustle_protocol::message::{BlobId, Call, CallEvent, CallOutcome, OutputStream, Received, Refusal, RefusalCode};
use rustle_protocol::transport::CONTROLLER_STREAM_WINDOW_BYTES;
use rustle_protocol::{CallKey, RunId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};

use super::connection::Session;
use super::events::Events;
use crate::module::{BlobSource, CancelReason, CancelToken, ModuleError};
use crate::runner::{Admitted, CallIo, EVENTS_MAX, send_unless_cancelled};

/// Output of a call that is kept for a controller that comes back, in bytes. What is on its way is never more than the
/// controller's window for a stream, so nothing of that is lost; what is written while nobody is there may be.
const TAIL_BYTES_MAX: usize = CONTROLLER_STREAM_WINDOW_BYTES as usize + 256 * 1024;

/// How long the word that a call has begun waits for the call's next event: most calls have ended by then, and then one
/// packet tells both. A little longer than QUIC waits before it acknowledges the call in a packet of its own (25 ms), so
/// that the clock need not be set for it.
const STARTED_WAIT: Duration = Duration::from_millis(30);

/// Streams that may want to take over the same call at once. One controller has one.
const ADOPTIONS_MAX: usize = 4;

/// The calls under way in this agent.
#[derive(Debug, Default)]
pub(super) struct RunningCalls(DashMap<CallKey, RunningCall>);

#[derive(Clone, Debug)]
struct RunningCall {
    run: RunId,
    cancel: CancelToken,
    adopt: mpsc::Sender<Adoption>,
}

/// A stream that takes over a running call.
#[derive(Debug)]
struct Adoption {
    session: Arc<Session>,
    events: Events,
    received: Received,
    /// The stream goes back by this when the call is over.
    give_back: oneshot::Sender<Over>,
}

/// The stream on which a call's end was told, and whether the rest of its segment must not run.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) events: Events,
    pub(super) failed: bool,
}

/// A call that another stream began and that this one listens to now.
pub(super) struct Adopted {
    pub(super) cancel: CancelToken,
    pub(super) over: oneshot::Receiver<Over>,
}

impl RunningCalls {
    /// Lets a stream take over the call, if it runs; otherwise the stream comes back.
    pub(super) fn adopt(
        &self,
        key: &CallKey,
        session: &Arc<Session>,
        events: Events,
        received: Received,
    ) -> Result<Adopted, Events> {
        let Some(running) = self.0.get(key).map(|running| running.clone()) else { return Err(events) };
        let (give_back, over) = oneshot::channel();
        let adoption = Adoption { session: Arc::clone(session), events, received, give_back };
        match running.adopt.try_send(adoption) {
            Ok(()) => Ok(Adopted { cancel: running.cancel, over }),
            Err(error) => Err(error.into_inner().events),
        }
    }

    /// Stops what runs of a run whose controller is gone for good.
    pub(super) fn cancel_run(&self, run: RunId) {
        let of_run = self.0.iter().filter(|running| running.run == run);
        of_run.for_each(|running| running.cancel.cancel(CancelReason::Requested));
    }

    pub(super) fn is_any_of(&self, run: RunId) -> bool {
        self.0.iter().any(|running| running.run == run)
    }
}

/// A call's place among those under way; it leaves with this.
struct Place<'a> {
    calls: &'a RunningCalls,
    key: CallKey,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.calls.0.remove(&self.key);
    }
}

/// Runs a call that has been admitted, tells its events on `own` or on the stream that takes its place, and records both its
/// beginning and its end before they are told. True if the rest of the segment must not run.
pub(super) async fn run(
    session: &Arc<Session>,
    call: &CallNote,
    admitted: Admitted,
    cancel: &CancelToken,
    own: &mut Events,
) -> bool {
    let shared = &session.shared;
    let (adopt, adoptions) = mpsc::channel(ADOPTIONS_MAX);
    let place = match shared.running.0.entry(call.key) {
        Entry::Occupied(_) => {
            let refusal = Refusal { code: RefusalCode::Busy, message: format!("call {} is running already", call.key) };
            own.send(&CallEvent::Ended { outcome: CallOutcome::Refused(refusal), elapsed_us: 0 }).await;
            return true;
        }
        Entry::Vacant(vacant) => {
            vacant.insert(RunningCall { run: session.run, cancel: cancel.clone(), adopt });
            Place { calls: &shared.running, key: call.key }
        }
    };
    shared.ledger.begin(call.key, &call.module).await;
    own.hold(&CallEvent::Started);
    let (sender, happened) = mpsc::channel(EVENTS_MAX);
    let (sessions, current) = watch::channel(Arc::clone(session));
    let blobs = StreamBlobs { session: current, cancel: cancel.clone(), events: sender.clone() };
    let io = CallIo { events: sender, blobs: Arc::new(blobs) };
    let mut listeners = Listeners { own, adopted: None, adoptions, sessions, tail: Tail::default() };
    // Side by side: the clock of a call goes on while its controller does not read.
    let (over, is_over) = oneshot::channel::<()>();
    let running = async {
        let ended = shared.runner.run(admitted, io, cancel).await;
        drop(over);
        ended
    };
    let ((outcome, elapsed), ()) = tokio::join!(running, listeners.forward(happened, is_over));
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let failed = is_failure(&outcome);
    if call.no_log {
        info!(key = %call.key, module = call.module, failed, ?elapsed, "call ended");
    } else {
        info!(key = %call.key, module = call.module, failed, ?elapsed, msg = message_of(&outcome), "call ended");
    }
    let outcome = shared.ledger.end(call.key, outcome, elapsed_us, call.no_log).await;
    // From here on the ledger answers.
    drop(place);
    listeners.end(CallEvent::Ended { outcome, elapsed_us }, failed).await;
    failed
}

/// What is told and logged of a call after its arguments are gone.
pub(super) struct CallNote {
    pub(super) key: CallKey,
    pub(super) module: String,
    pub(super) no_log: bool,
}

impl CallNote {
    pub(super) fn of(call: &Call) -> CallNote {
        CallNote { key: call.key, module: call.module.clone(), no_log: call.no_log }
    }
}

/// Who hears of a call.
struct Listeners<'a> {
    /// The stream the call came by.
    own: &'a mut Events,
    /// The one that has taken its place, and the way back for it.
    adopted: Option<(Events, oneshot::Sender<Over>)>,
    adoptions: mpsc::Receiver<Adoption>,
    /// The connection that files come by.
    sessions: watch::Sender<Arc<Session>>,
    tail: Tail,
}

impl Listeners<'_> {
    /// Sends what a call has to say until it is over and all is said. A module that was given up on says no more.
    async fn forward(&mut self, mut happened: mpsc::Receiver<CallEvent>, mut is_over: oneshot::Receiver<()>) {
        let mut over = false;
        let mut waited = std::pin::pin!(tokio::time::sleep(STARTED_WAIT));
        loop {
            tokio::select! {
                biased;
                Some(adoption) = self.adoptions.recv() => self.take_over(adoption).await,
                event = happened.recv() => match event {
                    Some(event) => self.tell(event).await,
                    None => return,
                },
                _ = &mut is_over, if !over => {
                    over = true;
                    happened.close();
                }
                () = &mut waited, if self.own.holds_back() => self.own.flush().await,
            }
        }
    }

    fn current(&mut self) -> &mut Events {
        match &mut self.adopted {
            Some((events, _)) => events,
            None => self.own,
        }
    }

    /// Sends one event. A stream that does not take it gives way to the next one that wants the call.
    async fn tell(&mut self, event: CallEvent) {
        let Listeners { own, adopted, adoptions, .. } = self;
        let current = match adopted {
            Some((events, _)) => events,
            None => &mut **own,
        };
        let adoption = tokio::select! {
            biased;
            () = current.send(&event) => None,
            Some(adoption) = adoptions.recv() => Some(adoption),
        };
        // Files are asked for anew by whoever still wants them.
        if let CallEvent::Output { stream, bytes } = event {
            self.tail.push(stream, bytes);
        }
        if let Some(adoption) = adoption {
            self.take_over(adoption).await;
        }
    }

    async fn take_over(&mut self, adoption: Adoption) {
        let Adoption { session, events, received, give_back } = adoption;
        self.own.break_off();
        self.adopted = Some((events, give_back));
        self.sessions.send_replace(Arc::clone(&session));
        session.shared.blobs.wake();
        self.current().send(&CallEvent::Started).await;
        for event in self.tail.since(received) {
            self.current().send(&event).await;
        }
    }

    /// Tells the end. One that wants to take over only now finds it in the ledger.
    async fn end(mut self, ended: CallEvent, failed: bool) {
        self.adoptions.close();
        while let Ok(adoption) = self.adoptions.try_recv() {
            self.take_over(adoption).await;
        }
        self.current().send(&ended).await;
        if let Some((events, give_back)) = self.adopted {
            // Its stream may have gone away too.
            let _ = give_back.send(Over { events, failed });
        }
    }
}

/// The last output of a call, for a controller that comes back.
#[derive(Debug, Default)]
struct Tail {
    chunks: VecDeque<(OutputStream, Vec<u8>)>,
    bytes: usize,
    /// All there ever was, on each stream.
    total: Received,
}

impl Tail {
    fn push(&mut self, stream: OutputStream, bytes: Vec<u8>) {
        self.total.add(stream, bytes.len() as u64);
        self.bytes += bytes.len();
        self.chunks.push_back((stream, bytes));
        while self.bytes > TAIL_BYTES_MAX
            && let Some((_, oldest)) = self.chunks.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    /// What follows on the bytes that have been received; what is not there any more is told as cut.
    fn since(&self, received: Received) -> Vec<CallEvent> {
        let mut at = self.total;
        for (stream, bytes) in &self.chunks {
            at = less(at, *stream, bytes.len() as u64);
        }
        let lost = [OutputStream::Stdout, OutputStream::Stderr].map(|stream| {
            let bytes = at.of(stream).saturating_sub(received.of(stream));
            (bytes > 0).then_some(CallEvent::Cut { stream, bytes })
        });
        let mut events: Vec<_> = lost.into_iter().flatten().collect();
        for (stream, bytes) in &self.chunks {
            let have = received.of(*stream).saturating_sub(at.of(*stream));
            at.add(*stream, bytes.len() as u64);
            let new = usize::try_from(have).ok().and_then(|have| bytes.get(have..)).unwrap_or_default();
            if !new.is_empty() {
                events.push(CallEvent::Output { stream: *stream, bytes: new.to_vec() });
            }
        }
        events
    }
}

fn less(mut from: Received, stream: OutputStream, bytes: u64) -> Received {
    match stream {
        OutputStream::Stdout => from.stdout -= bytes,
        OutputStream::Stderr => from.stderr -= bytes,
    }
    from
}

pub(super) fn is_failure(outcome: &CallOutcome) -> bool {
    match outcome {
        CallOutcome::Finished(result) => result.failed,
        CallOutcome::TimedOut(_)
        | CallOutcome::Cancelled(_)
        | CallOutcome::Refused(_)
        | CallOutcome::Interrupted
        | CallOutcome::Rebooted
        | CallOutcome::NotRun => true,
    }
}

fn message_of(outcome: &CallOutcome) -> &str {
    match outcome {
        CallOutcome::Finished(result) | CallOutcome::TimedOut(result) | CallOutcome::Cancelled(result) => result.msg(),
        CallOutcome::Refused(Refusal { message, .. }) => message,
        CallOutcome::Interrupted | CallOutcome::Rebooted | CallOutcome::NotRun => "",
    }
}

/// Asks the controller at the other end of the call's stream for files, and the one that comes back for those that a broken
/// connection has not brought.
struct StreamBlobs {
    session: watch::Receiver<Arc<Session>>,
    cancel: CancelToken,
    events: mpsc::Sender<CallEvent>,
}

impl BlobSource for StreamBlobs {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        loop {
            let session = Arc::clone(&self.session.borrow());
            let fetched = session.shared.blobs.fetch(blob, session.number(), &self.cancel, |offset| {
                session.is_connected()
                    && send_unless_cancelled(&self.events, CallEvent::BlobWanted { blob, offset }, &self.cancel)
            });
            match fetched {
                Err(_) if !session.is_connected() && self.is_taken_over(&session) => {
                    debug!("a file that a broken connection did not bring is asked for again");
                }
                fetched => return fetched,
            }
        }
    }

    fn take(&self, blob: BlobId, path: &Path) -> Result<Option<File>, ModuleError> {
        drop(self.open(blob)?);
        Ok(self.session.borrow().shared.blobs.take(&blob, path))
    }
}

impl StreamBlobs {
    /// Waits for another connection in the place of `lost`, as long as its controller may take to come back.
    fn is_taken_over(&self, lost: &Arc<Session>) -> bool {
        let mut session = self.session.clone();
        Handle::current().block_on(async {
            tokio::select! {
                changed = session.wait_for(|session| !Arc::ptr_eq(session, lost)) => changed.is_ok(),
                () = self.cancel.cancelled() => false,
                () = tokio::time::sleep(lost.grace.max(Duration::from_millis(1))) => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: OutputStream = OutputStream::Stdout;
    const ERR: OutputStream = OutputStream::Stderr;

    fn tail(chunks: &[(OutputStream, &str)]) -> Tail {
        let mut tail = Tail::default();
        chunks.iter().for_each(|(stream, text)| tail.push(*stream, text.as_bytes().to_vec()));
        tail
    }

    fn output(stream: OutputStream, text: &str) -> CallEvent {
        CallEvent::Output { stream, bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn output_goes_on_where_it_was_received_on_each_stream() {
        let tail = tail(&[(OUT, "one"), (ERR, "oops"), (OUT, "two")]);
        let since = |stdout, stderr| tail.since(Received { stdout, stderr });
        assert_eq!(since(0, 0), [output(OUT, "one"), output(ERR, "oops"), output(OUT, "two")]);
        assert_eq!(since(2, 4), [output(OUT, "e"), output(OUT, "two")]);
        assert_eq!(since(3, 1), [output(ERR, "ops"), output(OUT, "two")]);
        assert_eq!(since(6, 4), []);
        assert_eq!(since(100, 100), [], "more than there was");
    }

    #[test]
    fn output_that_could_not_be_kept_is_told_as_cut() {
        let mut tail = tail(&[(OUT, "lost"), (ERR, "gone")]);
        tail.push(OUT, vec![b'x'; TAIL_BYTES_MAX]);
        let events = tail.since(Received { stdout: 1, stderr: 0 });
        let cut = |stream, bytes| CallEvent::Cut { stream, bytes };
        assert_eq!(events[..2], [cut(OUT, 3), cut(ERR, 4)]);
        assert!(matches!(&events[2..], [CallEvent::Output { bytes, .. }] if bytes.len() == TAIL_BYTES_MAX));
    }
}
