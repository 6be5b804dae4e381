//! What another process of the same user may ask of a run that is under way: a socket in the run's folder, one question
//! and one answer a connection, a line of JSON each.

mod client;
mod server;

use serde::{Deserialize, Serialize};

use crate::event::Status;

pub use client::{AskError, ask};
pub use server::Server;

/// Longest question, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;

/// Longest answer, in bytes: a status names at most twenty hosts.
const REPLY_BYTES_MAX: u64 = 1024 * 1024;

/// Everything that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Status,
    /// Nothing new is dispatched; what runs goes on.
    Pause,
    Resume,
    /// Stop the run, for good.
    Cancel,
    /// Give a host up.
    Drop(rustle_protocol::HostName),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Status {
        status: Box<Status>,
        /// Seconds since the run began.
        elapsed_s: f64,
    },
    Done,
    /// Not done, and why.
    Refused(String),
}
