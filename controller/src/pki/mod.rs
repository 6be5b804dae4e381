//! The fleet's own certificate authority: a directory with a CA key, the list of what it has issued, and nothing to run.
//!
//! ```text
//! ~/.config/rustle-exec/pki     0700
//!   ca.pem                      the fleet's CA certificate: goes to every host
//!   ca-key.pem                  0600; whoever has it is the fleet
//!   crl.pem                     the revocation list: goes to every host
//!   index.jsonl                 what was issued and what was revoked
//!   issued/NAME/                an identity ready to be carried: cert.pem, key.pem, ca.pem, crl.pem
//! ```
//!
//! [`Authority`] is the library, [`PkiCommand`] the command line over it.

mod authority;
mod certificate;
mod command;
mod error;
mod index;

pub use authority::{Authority, Issued, Reissue};
pub use command::PkiCommand;
pub use error::PkiError;
pub use index::{Entry, Serial, Status};
