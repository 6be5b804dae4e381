//! Throw-away fleets on this machine: a CA, certificates, agents as processes of their own on loopback, gone afterwards.
//!
//! Nothing in a lab is a stand-in: its agents are the real agent with real certificates behind real QUIC. Only where
//! they run is different.

mod fleet;
mod kept;
mod leftovers;
pub mod overlay;

use std::path::PathBuf;

pub use fleet::{Lab, LabOptions, Overlay};
pub use kept::{down, host_names, up};

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab cannot make its certificates")]
    Pki(#[from] crate::pki::PkiError),
    #[error("the lab cannot {what}")]
    Io { what: String, source: std::io::Error },
    #[error("agent `{host}` of the lab did not start; its log says: {log}")]
    AgentDied { host: String, log: String },
    #[error("agent `{host}` of the lab was not ready within {seconds} s; its log is {}", .log.display())]
    NotReady { host: String, seconds: u64, log: PathBuf },
    #[error("{} is not an empty folder; a lab needs one of its own", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} is not the folder of a lab: {reason}", .dir.display())]
    NotALab { dir: PathBuf, reason: String },
    #[error("a lab with overlays needs root")]
    NotRoot,
}

/// Says what was being done when the system refused.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io { what: what(), source })
    }
}
