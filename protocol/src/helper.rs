//! What an agent and the copy of itself that works as another user tell each other.
//!
//! They talk over pipes, in frames, and never over a network. Both are the same build, and [`Ready`] makes sure of it, so
//! these messages may change with every version.

use bincode::{Decode, Encode};

use crate::message::{BlobId, Call, OutputStream};
use crate::result::ModuleResult;

/// The first bytes of a helper. What stands before them was printed by a program on the way to it: a greeting of PAM's,
/// say.
pub const MAGIC: &[u8; 16] = b"\0rustle-helper\0\n";

/// Bytes of one [`ToHelper::BlobPart`].
pub const BLOB_PART_BYTES: usize = 64 * 1024;

/// The helper's first message, after [`MAGIC`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ready {
    /// Program and version.
    pub software: String,
    /// The effective user id it was started with.
    pub uid: u32,
}

/// An account and all that a process of its has to have.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    pub home: String,
    pub shell: String,
}

/// Agent to helper.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum ToHelper {
    /// First and once: the work, as whom, and whether it still has to become that.
    Begin { call: Box<Call>, account: Account, switch: bool },
    /// The next bytes of the blob that is wanted, at most [`BLOB_PART_BYTES`].
    BlobPart(Vec<u8>),
    /// That was all of it.
    BlobEnd,
    /// It cannot be had, and why.
    BlobFailed(String),
    /// Stop the work; its result is still told. So does the end of the stream: the agent is gone.
    Stop { timed_out: bool },
}

/// Helper to agent, after [`Ready`].
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum FromHelper {
    Output {
        stream: OutputStream,
        bytes: Vec<u8>,
    },
    BlobWanted(BlobId),
    /// The last message.
    Ended(ModuleResult),
}
