//! What can go wrong with the authority, each with the step that helps.

use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rustle_protocol::Identity;
use rustle_protocol::ids::HostNameError;
use rustle_protocol::loaded_identity::LoadError;
use rustle_protocol::private_file::PrivateFileError;
use rustle_protocol::request::RequestError;

/// Why a `pki` operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("there is a certificate authority in `{}` already; it is not replaced", .dir.display())]
    AuthorityExists { dir: PathBuf },
    #[error("there is no certificate authority in `{}` (run: rustle-exec pki init --fleet NAME)", .dir.display())]
    NoAuthority { dir: PathBuf },
    #[error("neither XDG_CONFIG_HOME nor HOME says where the certificate authority is (use --dir)")]
    NoHome,
    #[error("another `pki` command has held `{}` for {seconds} s", .path.display())]
    Busy { path: PathBuf, seconds: u64 },
    #[error("failed to read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` line {line}: {reason}", .path.display())]
    Index { path: PathBuf, line: usize, reason: String },
    #[error("`{identity}` has a certificate until {not_after}: renew it (rustle-exec pki renew {name}), or revoke it first", name = .identity.name)]
    StillValid { identity: Identity, not_after: DateTime<Utc> },
    #[error("the name `{name}` is that of `{identity}`; one name has one role", name = .identity.name)]
    OtherRole { identity: Identity },
    #[error("the name `{0}` is given twice")]
    NamedTwice(String),
    #[error("no certificate of the name or serial number `{0}` has been issued (see: rustle-exec pki list)")]
    Unknown(String),
    #[error("`{0}` has no certificate that could be renewed; issue one (rustle-exec pki issue)")]
    NothingToRenew(String),
    #[error("no names are given")]
    NoNames,
    #[error("{0} days of validity are not possible; choose 1 to {max}", max = super::certificate::VALIDITY_DAYS_MAX)]
    Days(u32),
    #[error("the CA certificate itself ended on {0}: make a new certificate authority in another directory")]
    CaExpired(DateTime<Utc>),
    #[error("`{}` is not a certificate request that can be signed: {reason}", .path.display())]
    Request { path: PathBuf, reason: String },
    #[error("the system gives no random numbers")]
    NoRandomNumbers,
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Name(#[from] HostNameError),
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    NewRequest(#[from] RequestError),
    #[error("the names cannot be read from standard input")]
    Input(#[source] io::Error),
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
}
