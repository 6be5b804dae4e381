//! What both ends must agree on: values, ids, messages and their frames, results, identities, TLS.
//!
//! Nothing in here knows a plan, a module or a terminal, and nothing here is Unix-only but the sockets of
//! [`transport`] and [`endpoint`]. A change to a type in [`message`] or [`result`] is a change of the wire format: see `docs/protocol.md`.

pub mod codec;
pub mod endpoint;
pub mod fault;
pub mod frame;
pub mod helper;
pub mod identity;
pub mod ids;
pub mod loaded_identity;
pub mod message;
pub mod password;
pub mod private_file;
mod quiet_socket;
pub mod request;
pub mod result;
pub mod tls;
pub mod transport;
pub mod trust;
pub mod value;

pub use identity::{FleetName, Identity, Role};
pub use ids::{CallKey, HostName, RunId};
pub use loaded_identity::LoadedIdentity;
pub use password::Password;
pub use result::ModuleResult;
pub use value::{Map, Value};
