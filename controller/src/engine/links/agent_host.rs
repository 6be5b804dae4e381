//! The way to one agent. It outlives its connections: one that breaks is followed by another, over which the calls that were
//! under way are listened to again, from where their output was heard last.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::message::{Call, CallOutcome, ControlRequest, OutputStream};
use rustle_protocol::{CallKey, HostName};
use tokio::sync::Mutex;

use super::dialing::{Dial, Dialing};
use crate::dispatch::session::Session;
use crate::dispatch::unfinished::Unfinished;
use crate::dispatch::{CallListener, Cancel, HostLink, LinkError};

/// Before the first try to connect again; each later one waits twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long a call waits for an agent that has no room for it.
const NO_ROOM_WAIT: Duration = Duration::from_secs(600);

/// Results that a host keeps before it is told that it need not: a message for each would cost as much as a small task.
const ACKNOWLEDGE_AT: usize = 32;

pub(super) struct AgentHost {
    name: HostName,
    dialing: Arc<Dialing>,
    /// The connection, also one that broke; `None` before the first, and once the host has been given up.
    session: Mutex<Option<Arc<Session>>>,
    /// What the host was asked and has not answered: it outlives a connection.
    unfinished: Unfinished,
    /// Results that are kept here and that the host has not been told of.
    unacknowledged: std::sync::Mutex<Vec<CallKey>>,
}

impl AgentHost {
    pub(super) fn new(name: HostName, dialing: Arc<Dialing>) -> AgentHost {
        let (session, unfinished, unacknowledged) = Default::default();
        AgentHost { name, dialing, session, unfinished, unacknowledged }
    }

    /// The connection that stands, or a new one. A host that was connected is looked for as long as the window says.
    ///
    /// # Errors
    /// Why the host cannot be talked to.
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn reach(&self) -> Result<Arc<Session>, LinkError> {
        self.reach_by(Dial::First).await
    }

    /// `first`: in whose turn, if the host is not connected and was not.
    async fn reach_by(&self, first: Dial) -> Result<Arc<Session>, LinkError> {
        let mut place = self.session.lock().await;
        let found = match place.as_ref().map(|session| (session, session.lost())) {
            Some((session, None)) => {
                session.recheck()?;
                return Ok(Arc::clone(session));
            }
            Some((_, Some(why))) if why.transient && !self.dialing.window().is_zero() => self.find_again(why).await,
            Some(_) => self.dial(Dial::Again).await,
            None => self.dial(first).await,
        };
        let found = found.map(Arc::new);
        *place = found.as_ref().ok().cloned();
        found
    }

    async fn dial(&self, dial: Dial) -> Result<Session, LinkError> {
        self.dialing.connect(&self.name, dial, &self.unfinished).await
    }

    async fn find_again(&self, why: LinkError) -> Result<Session, LinkError> {
        let window = self.dialing.window();
        self.dialing.warn(&self.name, format!("{why}; the host is looked for, at most {} s", window.as_secs()));
        let (mut why, mut pauses) = (why, Pauses::default());
        let looking = async {
            loop {
                match self.dial(Dial::Again).await {
                    Err(error) if error.transient && !error.is_busy() => why = error,
                    found => return found,
                }
                pauses.pause().await;
            }
        };
        let found = tokio::time::timeout(window, looking).await;
        found.unwrap_or(Err(why))
    }

    /// Runs calls over as many connections as it takes.
    async fn run_calls(
        &self,
        calls: Vec<Call>,
        listener: &mut dyn CallListener,
        cancel: &Cancel,
    ) -> Result<(), LinkError> {
        let mut calls = VecDeque::from(calls);
        let mut heard = Heard { listener, before: 0, ended: 0, begun: 0, is_news: false };
        let mut trouble = Trouble::default();
        let mut session = self.reach().await?;
        loop {
            heard.before = heard.ended;
            let Err(error) = session.run_calls(&mut calls, &mut heard, cancel).await else { return Ok(()) };
            let is_news = std::mem::take(&mut heard.is_news);
            let goes_on = heard.listener.goes_on() || error.is_busy();
            if cancel.is_cancelled() || !goes_on || !trouble.is_bearable(&error, is_news, self.dialing.window()) {
                return Err(error);
            }
            heard.listener.waits(true);
            let found = tokio::select! {
                found = self.reach_after(&session, &mut trouble) => found,
                () = cancel.cancelled() => Err(error.clone()),
            };
            heard.listener.waits(false);
            session = found.map_err(|found| found.after_start(error.accepted))?;
        }
    }

    async fn reach_after(&self, last: &Session, trouble: &mut Trouble) -> Result<Arc<Session>, LinkError> {
        if last.lost().is_none() {
            trouble.pauses.pause().await;
        }
        self.reach().await
    }

    /// See [`Links::late`](super::Links::late).
    pub(super) async fn late(&self) -> Vec<(CallKey, CallOutcome)> {
        let keys = self.unfinished.keys();
        if keys.is_empty() {
            return std::future::pending().await;
        }
        let mut pauses = Pauses::default();
        let session = loop {
            match self.reach_by(Dial::Again).await {
                Ok(session) => break session,
                Err(error) if error.transient => pauses.pause().await,
                Err(_) => return std::future::pending().await,
            }
        };
        let mut outcomes = Vec::new();
        for key in keys {
            // A call that is said to have begun is never run: the agent tells what it has of it.
            self.unfinished.begun(&key);
            let mut answer = Answer(None);
            let asked = session.run_calls(&mut VecDeque::from([asking(key)]), &mut answer, &Cancel::default()).await;
            outcomes.extend(answer.0.filter(|_| asked.is_ok()).map(|outcome| (key, outcome)));
        }
        outcomes
    }

    pub(super) fn acknowledge(&self, calls: &[CallKey]) {
        let mut waiting = self.unacknowledged();
        waiting.extend_from_slice(calls);
        if waiting.len() < ACKNOWLEDGE_AT {
            return;
        }
        let Some(session) = self.standing() else {
            // Nobody to tell: the host forgets them by itself.
            waiting.truncate(ACKNOWLEDGE_AT);
            return;
        };
        let calls = std::mem::take(&mut *waiting);
        tokio::spawn(async move {
            let _ = session.tell(ControlRequest::Acknowledge(calls)).await;
        });
    }

    /// Tells the host what it need not keep any more.
    pub(super) async fn acknowledge_all(&self) {
        let calls = std::mem::take(&mut *self.unacknowledged());
        if let Some(session) = self.standing().filter(|_| !calls.is_empty()) {
            // A connection that is lost by now leaves it unsaid.
            let _ = session.tell(ControlRequest::Acknowledge(calls)).await;
        }
    }

    /// The connection, if nobody is busy with it.
    pub(super) fn standing(&self) -> Option<Arc<Session>> {
        self.session.try_lock().ok()?.clone()
    }

    fn unacknowledged(&self) -> MutexGuard<'_, Vec<CallKey>> {
        self.unacknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostLink for AgentHost {
    fn run<'a>(
        &'a self,
        calls: Vec<Call>,
        listener: &'a mut dyn CallListener,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<(), LinkError>> {
        self.run_calls(calls, listener, cancel).boxed()
    }
}

/// A time in which nothing is heard of calls that were sent.
#[derive(Default)]
struct Trouble {
    since: Option<Instant>,
    pauses: Pauses,
}

impl Trouble {
    /// Whether to try again after `error`. `is_news`: something was heard since the last one.
    fn is_bearable(&mut self, error: &LinkError, is_news: bool, window: Duration) -> bool {
        if is_news {
            *self = Trouble::default();
        }
        let longest = if error.is_busy() { NO_ROOM_WAIT } else { window };
        error.transient && self.since.get_or_insert_with(Instant::now).elapsed() < longest
    }
}

/// Pauses that become longer, and differ from one host to the next.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(PAUSE_FIRST)
    }
}

impl Pauses {
    async fn pause(&mut self) {
        let share = RandomState::new().hash_one(self.0) as f64 / u64::MAX as f64;
        tokio::time::sleep(self.0.mul_f64(0.5 + share / 2.0)).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// Hears calls over several connections and tells of them as if it were one.
struct Heard<'a> {
    listener: &'a mut dyn CallListener,
    /// Calls that had ended when this connection began, and until now.
    before: usize,
    ended: usize,
    /// Calls whose beginning was told.
    begun: usize,
    is_news: bool,
}

impl CallListener for Heard<'_> {
    fn started(&mut self, call: usize) {
        self.is_news = true;
        let call = self.before + call;
        if call >= self.begun {
            self.begun = call + 1;
            self.listener.started(call);
        }
    }

    fn output(&mut self, call: usize, stream: OutputStream, bytes: Vec<u8>) {
        self.is_news = true;
        self.listener.output(self.before + call, stream, bytes);
    }

    fn ended(&mut self, call: usize, outcome: CallOutcome, elapsed: Duration) {
        self.is_news = true;
        self.ended += 1;
        self.listener.ended(self.before + call, outcome, elapsed);
    }
}

/// Hears how one call came out.
struct Answer(Option<CallOutcome>);

impl CallListener for Answer {
    fn started(&mut self, _call: usize) {}

    fn output(&mut self, _call: usize, _stream: OutputStream, _bytes: Vec<u8>) {}

    fn ended(&mut self, _call: usize, outcome: CallOutcome, _elapsed: Duration) {
        self.0 = Some(outcome);
    }
}

/// A call that is not to be run, but asked about.
fn asking(key: CallKey) -> Call {
    crate::engine::context::call(key, "", Default::default(), &Default::default())
}
