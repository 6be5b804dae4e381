//! Carries calls to hosts and brings back what became of them.
//!
//! The engine talks to a [`HostLink`]: something that takes calls and returns events. Today that is an agent over QUIC
//! ([`session`]) or this very process ([`local`]); a relay would be one more.

pub mod blobs;
mod cancel;
mod chunks;
pub mod local;
pub mod session;
mod streams;
pub mod unfinished;

use std::time::Duration;

use futures::future::BoxFuture;
use rustle_protocol::fault::ConnectionFault;
use rustle_protocol::message::{Call, CallOutcome, OutputStream, RefusalCode};

pub use blobs::Blobs;
pub use cancel::Cancel;

/// A way to one host.
pub trait HostLink: Send + Sync {
    /// Whether the host is this machine, by no agent.
    fn is_local(&self) -> bool {
        false
    }

    /// Runs `calls` in order on the host and tells what happens to `listener`. A call that fails ends the segment unless it
    /// says `ignore_failure`; the rest are told as [`CallOutcome::NotRun`].
    ///
    /// # Errors
    /// The host could not be talked to. Every call that had ended until then has been told.
    /// # Cancel safety
    /// Dropped midway, the host goes on or stops as the connection's `on_disconnect` says. Use `cancel` to stop it.
    fn run<'a>(
        &'a self,
        calls: Vec<Call>,
        listener: &'a mut dyn CallListener,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<(), LinkError>>;
}

/// Hears what becomes of a segment's calls. `call` is the call's place in the segment.
pub trait CallListener: Send {
    fn started(&mut self, call: usize);
    fn output(&mut self, call: usize, stream: OutputStream, bytes: Vec<u8>);
    fn ended(&mut self, call: usize, outcome: CallOutcome, elapsed: Duration);
    /// Whether calls whose connection broke may be listened to from where they were heard last. If not, the break is told.
    fn goes_on(&self) -> bool {
        true
    }
    /// The host is waited for, or is there again: what passes meanwhile is not the calls' time.
    fn waits(&mut self, _waits: bool) {}
}

/// Why a host could not be talked to.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LinkError {
    /// What happened, for the operator.
    pub message: String,
    /// What to do next, if there is something.
    pub hint: Option<String>,
    /// The call in question had been taken up by the host: it may have had effects.
    pub accepted: bool,
    /// Trying again may help: false for a wrong certificate, true for silence.
    pub transient: bool,
    /// The agent's reason, if it was one.
    pub refused: Option<RefusalCode>,
}

impl LinkError {
    /// An error that trying again may mend.
    pub fn transient(message: impl Into<String>) -> LinkError {
        LinkError { message: message.into(), hint: None, accepted: false, transient: true, refused: None }
    }

    /// An error that stays until somebody mends its cause.
    pub fn lasting(message: impl Into<String>) -> LinkError {
        LinkError { transient: false, ..LinkError::transient(message) }
    }

    /// From a connection that could not be made or did not last.
    pub fn from_fault(fault: &ConnectionFault) -> LinkError {
        let hint = Some(fault.hint()).filter(|hint| !hint.is_empty()).map(str::to_owned);
        let (message, transient) = (fault.to_string(), fault.is_transient());
        LinkError { message, hint, accepted: false, transient, refused: None }
    }

    /// The agent has no room: another run holds the host, it runs as many calls as it may, or it is shutting down.
    pub fn is_busy(&self) -> bool {
        matches!(self.refused, Some(RefusalCode::Busy | RefusalCode::Draining))
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> LinkError {
        self.hint = Some(hint.into());
        self
    }

    /// The same error of a call that the host may have begun.
    #[must_use]
    pub fn after_start(mut self, accepted: bool) -> LinkError {
        self.accepted |= accepted;
        self
    }
}
