//! The messages of protocol version 1. `docs/protocol.md` tells which stream carries which, and when.
//!
//! Every enum here is closed: there is no dispatch by name but the module's, which the agent looks up in its own list.
//! Messages of a released version are frozen. [`Hello`] and [`HelloReply`] are frozen for ever, since they are read
//! before a version is agreed on; their `extra` is there for what must be added.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::ids::{CallKey, HostName, RunId};
use crate::password::Password;
use crate::result::ModuleResult;
use crate::value::WireMap;

/// ALPN of the protocol. A breaking change of the *handshake* would be `rustle/2`; messages have [`VERSIONS`].
pub const ALPN: &[u8] = b"rustle/1";

/// Message versions this build speaks.
pub const VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

/// Versions from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VersionRange {
    pub min: u16,
    pub max: u16,
}

impl VersionRange {
    /// The highest version both ranges hold.
    pub fn agree(self, other: VersionRange) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VersionRange { min, max } if min == max => write!(f, "{min}"),
            VersionRange { min, max } => write!(f, "{min} to {max}"),
        }
    }
}

/// First message of a connection, controller to agent, on the control stream.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Hello {
    pub versions: VersionRange,
    /// Program and version, for logs.
    pub software: String,
    /// The host the controller means to talk to. The agent refuses a name that is not its own.
    pub host: HostName,
    pub run: RunId,
    /// Rises each time a run is taken over; an agent obeys only the highest it has seen of a run.
    pub epoch: u64,
    pub on_disconnect: OnDisconnect,
    pub extra: WireMap,
}

/// Key in [`Hello::extra`]: how long, in milliseconds, a run whose connection broke may take to come back. Without it the
/// agent does at once what `on_disconnect` says.
pub const DISCONNECT_GRACE_MS: &str = "disconnect_grace_ms";

/// Key in [`Hello::extra`]: `true` if the run wants this host for itself, beside no other run that does.
pub const HOLD_HOST: &str = "hold_host";

/// What an agent does with running calls when the controller goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// Let them end: half a package upgrade is worse than one too many.
    #[default]
    Finish,
    /// Stop them as a cancellation would.
    Cancel,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum HelloReply {
    Welcome(Welcome),
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Welcome {
    pub version: u16,
    pub software: String,
    /// As Rust's `std::env::consts` spells them.
    pub os: String,
    pub arch: String,
    /// Changes when the machine reboots.
    pub boot_id: String,
    /// Calls the agent runs at once, over all controllers. More are answered [`Refusal`] `Busy`.
    pub calls_max: u32,
    pub extra: WireMap,
}

/// Why an agent does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Encode, Decode, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: RefusalCode,
    /// A sentence for the operator.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RefusalCode {
    /// No version in common.
    Version,
    /// The certificate's role or name does not allow it.
    Identity,
    /// The agent's own policy does not allow it.
    Policy,
    /// A higher epoch of the same run has been seen.
    Stale,
    /// Too much is under way; try again later.
    Busy,
    /// The agent is shutting down.
    Draining,
    /// No such module here.
    UnknownModule,
    /// The module does not take these arguments.
    Arguments,
    /// The message made no sense where it came.
    Protocol,
    /// The program that was to make the call another user's neither asked nor began in time.
    BecomeWait,
}

/// Controller to agent on the control stream, after the welcome.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ControlRequest {
    /// A DER certificate revocation list newer than the agent may have.
    Revocations(Vec<u8>),
    /// These calls' results have been recorded and need not be kept.
    Acknowledge(Vec<CallKey>),
    /// Drop the blobs that this run brought.
    ForgetBlobs,
}

/// Agent to controller on the control stream, after the welcome.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ControlNotice {
    /// No new calls are taken; running ones end.
    Draining,
}

/// Controller to agent on a call stream: the calls of the segment, in order; the stream is finished when the last
/// result is in.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum CallRequest {
    Call(Box<Call>),
    /// Stop the running call and start none of the rest. Its outcome is still told.
    Cancel,
    /// A call that was sent before, on a connection that broke.
    Resume(Box<Resumed>),
}

/// What is known of a call that was sent before.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Resumed {
    pub call: Call,
    /// It was told as begun: an agent that knows nothing of it must not begin it again.
    pub begun: bool,
    /// Bytes of its output that have come.
    pub received: Received,
}

/// Bytes of a call's output on each stream, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Received {
    pub stdout: u64,
    pub stderr: u64,
}

impl Received {
    pub fn of(&self, stream: OutputStream) -> u64 {
        match stream {
            OutputStream::Stdout => self.stdout,
            OutputStream::Stderr => self.stderr,
        }
    }

    pub fn add(&mut self, stream: OutputStream, bytes: u64) {
        let count = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        *count = count.saturating_add(bytes);
    }
}

/// One module, to run once.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Call {
    pub key: CallKey,
    /// Fully qualified: `ansible.builtin.copy`.
    pub module: String,
    pub args: WireMap,
    pub check: bool,
    pub diff: bool,
    /// Milliseconds from start to kill; 0 for none.
    pub timeout_ms: u64,
    /// Send [`CallEvent::Output`] while the module runs.
    pub live_output: bool,
    /// Keep arguments and results out of the agent's own logs.
    pub no_log: bool,
    /// Run the rest of the segment even if this call fails.
    pub ignore_failure: bool,
    /// Added to the environment of what the module starts.
    pub environment: Vec<(String, String)>,
    pub become_user: Option<Become>,
    /// How much the operator wants to know, as `-v` repeated.
    pub verbosity: u8,
}

/// Run as another user.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Become {
    pub user: String,
    pub method: BecomeMethod,
    /// For the method's program, in the place of the ones it is given otherwise. Words as a shell splits them.
    pub flags: Option<String>,
    /// The method's program, if it is not found under its own name.
    pub exe: Option<String>,
    /// The folder to enter before anybody is become.
    pub chdir: Option<String>,
    /// For the method's program, should it ask. It goes no further than to that.
    pub password: Option<Password>,
    /// What su asks with, without the colon behind it; none for any words.
    pub prompts: Vec<String>,
    /// Milliseconds that the method's program may take to ask, and as many again to begin; 0 for the agent's own bound.
    pub wait_ms: u64,
}

/// How an agent becomes another user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum BecomeMethod {
    /// An agent that runs as root needs nobody's leave: without flags and program of the task's own it switches by itself,
    /// as `Direct`.
    #[default]
    Sudo,
    /// The agent, which must run as root, switches by itself.
    Direct,
    Su,
    Runuser,
}

impl BecomeMethod {
    pub const ALL: [BecomeMethod; 4] =
        [BecomeMethod::Sudo, BecomeMethod::Direct, BecomeMethod::Su, BecomeMethod::Runuser];

    pub fn as_str(self) -> &'static str {
        match self {
            BecomeMethod::Sudo => "sudo",
            BecomeMethod::Direct => "direct",
            BecomeMethod::Su => "su",
            BecomeMethod::Runuser => "runuser",
        }
    }
}

/// Not a method an agent knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("become_method must be sudo, direct, su or runuser, not `{0}`")]
pub struct UnknownMethod(String);

impl std::str::FromStr for BecomeMethod {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<BecomeMethod, UnknownMethod> {
        let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        BecomeMethod::ALL
            .into_iter()
            .find(|method| method.as_str() == short)
            .ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

/// A blob's identity: BLAKE3 of its bytes, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct BlobId {
    pub hash: [u8; 32],
    pub size: u64,
}

/// Agent to controller on a call stream, in order, for each call: `Started`, any `Output`, `Cut` and `BlobWanted`, `Ended`.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum CallEvent {
    /// The agent has accepted the call: from here on it may have had effects.
    Started,
    Output {
        stream: OutputStream,
        bytes: Vec<u8>,
    },
    /// Send this blob's bytes from `offset` on, by a stream that begins with a [`BlobHeader`].
    BlobWanted {
        blob: BlobId,
        offset: u64,
    },
    Ended {
        outcome: CallOutcome,
        /// Microseconds on the agent's clock from start to end.
        elapsed_us: u64,
    },
    /// These bytes of output are lost: nobody was there to take them, and there were too many to keep.
    Cut {
        stream: OutputStream,
        bytes: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    Stdout,
    Stderr,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum CallOutcome {
    /// The module came to its end, well or not.
    Finished(ModuleResult),
    /// Past its time; its processes are gone. What it had said until then is in the result.
    TimedOut(ModuleResult),
    /// Stopped because the controller said so; its processes are gone.
    Cancelled(ModuleResult),
    /// Nothing was done.
    Refused(Refusal),
    /// The agent died while the call ran: what it did is unknown.
    Interrupted,
    /// An earlier call of the segment failed, so this one was not started.
    NotRun,
    /// As `Interrupted`, and the host was started anew since: no process of the call is left.
    Rebooted,
}

/// First frame of a unidirectional stream, controller to agent; the blob's raw bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BlobHeader {
    pub blob: BlobId,
    pub offset: u64,
}

/// Application codes that close a connection or reset a stream.
pub mod close {
    /// Let go without a word, as QUIC says for a program that just drops its connection. It is as good as lost.
    pub const DROPPED: u32 = 0;
    /// The peer broke the protocol.
    pub const PROTOCOL: u32 = 1;
    /// The peer's certificate does not allow what it asked.
    pub const IDENTITY: u32 = 2;
    /// The agent is shutting down.
    pub const SHUTDOWN: u32 = 3;
    /// Cancel the work of this stream.
    pub const CANCEL: u32 = 4;
    /// The operator interrupted the run.
    pub const INTERRUPTED: u32 = 5;
    /// A higher epoch of the run has been seen.
    pub const STALE: u32 = 6;
    /// The run is over, and its controller has every result.
    pub const DONE: u32 = 7;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_agreed_on() {
        let range = |min, max| VersionRange { min, max };
        assert_eq!(range(1, 3).agree(range(2, 5)), Some(3));
        assert_eq!(range(1, 1).agree(range(1, 9)), Some(1));
        assert_eq!(range(1, 2).agree(range(3, 4)), None);
    }
}
