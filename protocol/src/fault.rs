//! Why a connection could not be made or ended, in words for an operator.
//!
//! QUIC carries one number and TLS one alert. What they leave out is added from what this side knows: the verdict of our
//! own verifier, and our own certificate.

use quinn::{ConnectError, ConnectionError, VarInt};

use crate::identity::{Role, printable};
use crate::loaded_identity::LoadedIdentity;
use crate::message::close;
use crate::tls::Verdict;
use crate::trust::{PeerRefused, Validity};

/// Why there is no connection, or no longer. Its text is a clause that follows a colon; [`ConnectionFault::hint`] says
/// what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionFault {
    /// We do not accept the peer.
    #[error("we do not accept the {peer}: {refused}")]
    PeerRefused { peer: Role, refused: PeerRefused },
    /// The peer does not accept us.
    #[error("the {peer} does not accept us: {complaint}")]
    RefusedByPeer { peer: Role, complaint: Complaint },
    #[error("the {peer} showed no certificate")]
    NoCertificate { peer: Role },
    #[error("the {peer} speaks another protocol than `rustle/1`")]
    OtherProtocol { peer: Role },
    #[error("the {peer} speaks another version of QUIC")]
    OtherQuic { peer: Role },
    #[error("the {peer} did not answer in time")]
    TimedOut { peer: Role },
    #[error("the {peer} takes no more connections for now")]
    Busy { peer: Role },
    #[error("the {peer} was restarted or has forgotten the connection")]
    Reset { peer: Role },
    #[error("the {peer} ended the connection: {reason}")]
    Closed { peer: Role, code: u64, reason: String },
    #[error("the connection was ended here")]
    ClosedHere,
    #[error("no connection can be begun: {0}")]
    NotBegun(String),
    #[error("the connection to the {peer} broke: {reason}")]
    Broken { peer: Role, reason: String },
}

/// What a peer holds against us, as its TLS alert says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    #[error("our certificate is not from its CA, or it has a revocation list of another CA")]
    UnknownCa,
    #[error("by its clock our certificate has expired or is not valid yet (it is valid from {0})")]
    OutOfTime(Validity),
    #[error("our certificate has been revoked")]
    Revoked,
    #[error("our certificate `{0}` has not the fleet, role or name it wants")]
    Identity(String),
    #[error("it wants a certificate, and we showed none")]
    NoCertificate,
    #[error("it cannot read our certificate, or finds no identity in it")]
    BadCertificate,
    #[error("we have no protocol in common; it does not speak `rustle/1`")]
    OtherProtocol,
    #[error("we have no TLS version or key exchange in common")]
    NoCommonTls,
    #[error("TLS alert {0}")]
    Other(u8),
}

impl ConnectionFault {
    /// From quinn's error of a connection of ours, with the verdict of its verifier. An agent refuses a controller only
    /// after the controller's side of the handshake is done, so also errors of a connection's first streams come here.
    pub fn new(error: &ConnectionError, verdict: &Verdict, us: &LoadedIdentity) -> ConnectionFault {
        let peer = us.identity().role.peer();
        if let Some(refused) = verdict.refused() {
            return ConnectionFault::PeerRefused { peer, refused: refused.clone() };
        }
        match error {
            ConnectionError::TransportError(error) => match alert_of(error.code) {
                Some(alert::CERTIFICATE_REQUIRED) => ConnectionFault::NoCertificate { peer },
                Some(alert::NO_APPLICATION_PROTOCOL) => ConnectionFault::OtherProtocol { peer },
                _ => ConnectionFault::Broken { peer, reason: printable(&error.to_string()) },
            },
            ConnectionError::ConnectionClosed(frame) => match alert_of(frame.error_code) {
                Some(alert) => ConnectionFault::RefusedByPeer { peer, complaint: Complaint::new(alert, us) },
                None if frame.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED => {
                    ConnectionFault::Busy { peer }
                }
                None => ConnectionFault::Broken { peer, reason: printable(&frame.to_string()) },
            },
            ConnectionError::ApplicationClosed(frame) => ConnectionFault::Closed {
                peer,
                code: frame.error_code.into_inner(),
                reason: close_reason(frame.error_code, &frame.reason),
            },
            ConnectionError::VersionMismatch => ConnectionFault::OtherQuic { peer },
            ConnectionError::TimedOut => ConnectionFault::TimedOut { peer },
            ConnectionError::Reset => ConnectionFault::Reset { peer },
            ConnectionError::LocallyClosed => ConnectionFault::ClosedHere,
            ConnectionError::CidsExhausted => ConnectionFault::NotBegun("all connection ids are in use".to_owned()),
        }
    }

    /// What to do about it, or an empty text if nothing is known to help.
    pub fn hint(&self) -> &'static str {
        match self {
            ConnectionFault::PeerRefused { refused, .. } => refused.hint(),
            ConnectionFault::RefusedByPeer { complaint, .. } => complaint.hint(),
            ConnectionFault::NoCertificate { .. } => "something other than rustle-exec is calling this port",
            ConnectionFault::OtherProtocol { .. } | ConnectionFault::OtherQuic { .. } => {
                "check that the port is that of a rustle-agent, and that both sides have versions that fit"
            }
            ConnectionFault::TimedOut { .. } => {
                "check that rustle-agent runs on the host, that address and port are right, and that UDP gets through"
            }
            ConnectionFault::Busy { .. } | ConnectionFault::Reset { .. } => "try again",
            ConnectionFault::Closed { .. }
            | ConnectionFault::ClosedHere
            | ConnectionFault::NotBegun(_)
            | ConnectionFault::Broken { .. } => "",
        }
    }

    /// Whether the same attempt may go well later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectionFault::TimedOut { .. }
            | ConnectionFault::Busy { .. }
            | ConnectionFault::Reset { .. }
            | ConnectionFault::Broken { .. } => true,
            ConnectionFault::Closed { code, .. } => *code == u64::from(close::SHUTDOWN),
            ConnectionFault::PeerRefused { .. }
            | ConnectionFault::RefusedByPeer { .. }
            | ConnectionFault::NoCertificate { .. }
            | ConnectionFault::OtherProtocol { .. }
            | ConnectionFault::OtherQuic { .. }
            | ConnectionFault::ClosedHere
            | ConnectionFault::NotBegun(_) => false,
        }
    }
}

impl From<ConnectError> for ConnectionFault {
    fn from(error: ConnectError) -> ConnectionFault {
        ConnectionFault::NotBegun(error.to_string())
    }
}

impl Complaint {
    fn new(alert: u8, us: &LoadedIdentity) -> Complaint {
        match alert {
            alert::UNKNOWN_CA => Complaint::UnknownCa,
            alert::CERTIFICATE_EXPIRED => Complaint::OutOfTime(us.validity()),
            alert::CERTIFICATE_REVOKED => Complaint::Revoked,
            alert::ACCESS_DENIED => Complaint::Identity(us.identity().to_string()),
            alert::CERTIFICATE_REQUIRED => Complaint::NoCertificate,
            alert::BAD_CERTIFICATE | alert::UNSUPPORTED_CERTIFICATE | alert::CERTIFICATE_UNKNOWN => {
                Complaint::BadCertificate
            }
            alert::NO_APPLICATION_PROTOCOL => Complaint::OtherProtocol,
            alert::HANDSHAKE_FAILURE | alert::PROTOCOL_VERSION => Complaint::NoCommonTls,
            other => Complaint::Other(other),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Complaint::UnknownCa => {
                "check that ca.pem is the same on both sides; `rustle-exec pki issue` makes identities"
            }
            Complaint::OutOfTime(_) => "renew it with `rustle-exec pki renew`, or set the clocks",
            Complaint::Revoked => "issue a new one with `rustle-exec pki issue`, if it was not revoked for a reason",
            Complaint::Identity(_) => {
                "a controller needs a certificate made by `rustle-exec pki issue controller`, an agent one by \
                 `rustle-exec pki issue agent`, of the same fleet"
            }
            Complaint::NoCertificate | Complaint::BadCertificate => {
                "use a certificate made by `rustle-exec pki issue` or `rustle-exec pki sign`"
            }
            Complaint::OtherProtocol | Complaint::NoCommonTls => {
                "check that the port is that of a rustle-agent, and that both sides have versions that fit"
            }
            Complaint::Other(_) => "the other side's log tells more",
        }
    }
}

impl PeerRefused {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            PeerRefused::OtherCa { .. } => {
                "check that ca.pem is the same on both sides; `rustle-exec pki issue` makes identities"
            }
            PeerRefused::Expired { .. } | PeerRefused::NotYetValid { .. } => {
                "renew it with `rustle-exec pki renew`, or set the clocks"
            }
            PeerRefused::Revoked { .. } => {
                "issue a new one with `rustle-exec pki issue`, if it was not revoked for a reason"
            }
            PeerRefused::RevocationUnknown(_) => "bring crl.pem from the CA of ca.pem",
            PeerRefused::WrongName { .. } => {
                "check the host's address in the inventory, and which identity is installed on that host"
            }
            PeerRefused::WrongRole { .. } => {
                "a controller needs a certificate made by `rustle-exec pki issue controller`, an agent one by \
                 `rustle-exec pki issue agent`"
            }
            PeerRefused::WrongFleet { .. } => "the address belongs to a host of another fleet",
            PeerRefused::Unnamed(_) | PeerRefused::Unacceptable(_) => {
                "use a certificate made by `rustle-exec pki issue` or `rustle-exec pki sign`"
            }
        }
    }
}

/// Alerts of RFC 8446 section 6, as far as they are told apart here.
mod alert {
    pub(super) const HANDSHAKE_FAILURE: u8 = 40;
    pub(super) const BAD_CERTIFICATE: u8 = 42;
    pub(super) const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub(super) const CERTIFICATE_REVOKED: u8 = 44;
    pub(super) const CERTIFICATE_EXPIRED: u8 = 45;
    pub(super) const CERTIFICATE_UNKNOWN: u8 = 46;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const ACCESS_DENIED: u8 = 49;
    pub(super) const PROTOCOL_VERSION: u8 = 70;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// RFC 9001 section 4.8: codes 0x100 to 0x1ff are TLS alerts.
fn alert_of(code: quinn::TransportErrorCode) -> Option<u8> {
    u64::from(code).checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok())
}

fn close_reason(code: VarInt, reason: &[u8]) -> String {
    let meaning = match u32::try_from(code.into_inner()) {
        Ok(close::DONE) => "the run is over",
        Ok(close::DROPPED) => "without a word",
        Ok(close::PROTOCOL) => "we broke the protocol",
        Ok(close::IDENTITY) => "our certificate does not allow what we asked",
        Ok(close::SHUTDOWN) => "it is shutting down",
        Ok(close::INTERRUPTED) => "its operator interrupted the run",
        Ok(close::STALE) => "somebody else has taken the run over",
        _ => "for a reason this version does not know",
    };
    match reason {
        [] => meaning.to_owned(),
        reason => format!("{meaning} ({})", printable(&String::from_utf8_lossy(reason))),
    }
}
