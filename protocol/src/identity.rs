//! Who a peer is: the one URI in its certificate, `rustle://FLEET/ROLE/NAME`.
//!
//! A URI is ASCII: bytes of a name that are not stand there as `%C3%B6`, and only those.
//!
//! Nothing else in a certificate names anybody. The subject, DNS names and the address dialled prove nothing, and there
//! are no wildcards: an identity is compared whole, byte for byte.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::ids::{HOST_NAME_BYTES_MAX, HostName, HostNameError};

/// Longest fleet name, as for one label of a DNS name.
pub const FLEET_NAME_BYTES_MAX: usize = 63;

/// Longest text that can be an identity; anything longer is refused unread.
pub const IDENTITY_BYTES_MAX: usize =
    SCHEME.len() + FLEET_NAME_BYTES_MAX + "/controller/".len() + 3 * HOST_NAME_BYTES_MAX;

const SCHEME: &str = "rustle://";

/// A peer's role and name in a fleet. Its text is the URI that stands in the certificate, and there is exactly one text
/// for each identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    pub fleet: FleetName,
    pub role: Role,
    /// A host's name for an agent; for a controller whatever the operator called it.
    pub name: HostName,
}

/// What a certificate allows: to give work, or to do it. Never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Controller,
    Agent,
}

/// A fleet's name: lower-case ASCII letters, digits, `-` and `.`, beginning and ending with a letter or digit, without
/// `..`, at most [`FLEET_NAME_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FleetName(Box<str>);

/// Why a certificate or a text has no identity in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the certificate names nobody: it has no `rustle://` URI among its subject alternative names")]
    NoUri,
    #[error("the certificate has {0} URIs among its subject alternative names; exactly one is allowed")]
    SeveralUris(usize),
    #[error("`{0}` is not an identity; one looks like `rustle://FLEET/agent/NAME` or `rustle://FLEET/controller/NAME`")]
    Shape(String),
    #[error("`{0}` is neither `controller` nor `agent`")]
    Role(String),
    #[error(transparent)]
    Fleet(#[from] FleetNameError),
    #[error(transparent)]
    Name(#[from] HostNameError),
}

/// Why a text is not a fleet's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a fleet name: {reason}")]
pub struct FleetNameError {
    /// Escaped and cut, fit to print.
    name: String,
    reason: &'static str,
}

/// The identity in a certificate. Says nothing about whether the certificate can be trusted.
///
/// # Errors
/// A certificate that cannot be parsed, that has no URI or more than one, or whose URI is not an identity.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, IdentityError> {
    let certificate =
        webpki::EndEntityCert::try_from(certificate).map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let mut uris = certificate.valid_uri_names();
    match (uris.next(), uris.count()) {
        (None, _) => Err(IdentityError::NoUri),
        (Some(uri), 0) => uri.parse(),
        (Some(_), others) => Err(IdentityError::SeveralUris(others + 1)),
    }
}

impl Identity {
    pub fn agent(fleet: FleetName, name: HostName) -> Identity {
        Identity { fleet, role: Role::Agent, name }
    }

    pub fn controller(fleet: FleetName, name: HostName) -> Identity {
        Identity { fleet, role: Role::Controller, name }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Identity, IdentityError> {
        let shape = || IdentityError::Shape(printable(text));
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(shape());
        }
        let mut parts = text.strip_prefix(SCHEME).ok_or_else(shape)?.split('/');
        let (Some(fleet), Some(role), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        Ok(Identity {
            fleet: FleetName::new(fleet)?,
            role: role.parse()?,
            name: HostName::new(&decoded(name).ok_or_else(shape)?)?,
        })
    }
}

/// The name as it stands in a URI.
fn encoded(name: &HostName) -> String {
    let mut text = String::with_capacity(name.as_str().len());
    for byte in name.as_str().bytes() {
        match byte.is_ascii() {
            true => text.push(byte.into()),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// What [`encoded`] made this of; `None` if it has made no such text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| !byte.is_ascii())?;
        if !digits.bytes().all(is_digit) {
            return None;
        }
        bytes.push(byte);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok().filter(|_| text.is_ascii())
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.fleet, self.role, encoded(&self.name))
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Identity, IdentityError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> String {
        identity.to_string()
    }
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Agent => "agent",
        }
    }

    /// The role at the other end of a connection.
    pub const fn peer(self) -> Role {
        match self {
            Role::Controller => Role::Agent,
            Role::Agent => Role::Controller,
        }
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Role, IdentityError> {
        match text {
            "controller" => Ok(Role::Controller),
            "agent" => Ok(Role::Agent),
            other => Err(IdentityError::Role(printable(other))),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FleetName {
    /// # Errors
    /// With the rule that the text breaks.
    pub fn new(name: &str) -> Result<FleetName, FleetNameError> {
        match broken_rule(name) {
            None => Ok(FleetName(name.into())),
            Some(reason) => Err(FleetNameError { name: printable(name), reason }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (name.as_bytes().first(), name.as_bytes().last()) else {
        return Some("it is empty");
    };
    if name.len() > FLEET_NAME_BYTES_MAX {
        Some("it is longer than 63 bytes")
    } else if !name.bytes().all(|b| alphanumeric(&b) || b == b'-' || b == b'.') {
        Some("only lower-case ASCII letters, digits, `-` and `.` may stand in it")
    } else if !alphanumeric(first) || !alphanumeric(last) {
        Some("it must begin and end with a letter or a digit")
    } else if name.contains("..") {
        Some("it contains `..`")
    } else {
        None
    }
}

impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for FleetName {
    type Err = FleetNameError;

    fn from_str(name: &str) -> Result<FleetName, FleetNameError> {
        FleetName::new(name)
    }
}

impl TryFrom<String> for FleetName {
    type Error = FleetNameError;

    fn try_from(name: String) -> Result<FleetName, FleetNameError> {
        FleetName::new(&name)
    }
}

impl From<FleetName> for String {
    fn from(name: FleetName) -> String {
        name.0.into()
    }
}

/// A peer's text as it may be printed: escaped, and cut if long.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Identity, IdentityError> {
        text.parse()
    }

    #[test]
    fn an_identity_is_read_from_its_uri() {
        let agent = parsed("rustle://demo/agent/web_1.example.org").unwrap();
        assert_eq!(agent.role, Role::Agent);
        assert_eq!(agent.fleet.as_str(), "demo");
        assert_eq!(agent.name.as_str(), "web_1.example.org");
        assert_eq!(parsed("rustle://demo/controller/ops").unwrap().role, Role::Controller);
    }

    #[test]
    fn a_name_that_is_not_ascii_is_encoded_in_its_uri() {
        let name = HostName::new("höst-στ.1").unwrap();
        let identity = Identity::agent(FleetName::new("demo").unwrap(), name);
        assert_eq!(identity.to_string(), "rustle://demo/agent/h%C3%B6st-%CF%83%CF%84.1");
        assert_eq!(parsed(&identity.to_string()).unwrap(), identity);
        let longest = Identity { name: HostName::new(&format!("{}a", "ö".repeat(126))).unwrap(), ..identity };
        assert_eq!(parsed(&longest.to_string()).unwrap(), longest);
    }

    #[test]
    fn texts_that_are_almost_an_identity_are_refused() {
        for text in [
            "",
            "rustle://",
            "rustle://demo/agent",
            "rustle://demo/agent/",
            "rustle://demo/agent/web1/",
            "rustle://demo/agent/web1/x",
            "rustle://demo/agent/web1?x",
            "rustle://demo/agent/web1#x",
            "rustle://demo/agent/*",
            "rustle://demo/agent/*.example.org",
            "rustle://demo/agent/../controller/ops",
            "rustle://demo//agent/web1",
            "rustle://demo/Agent/web1",
            "rustle://demo/admin/web1",
            "rustle://Demo/agent/web1",
            "rustle://user@demo/agent/web1",
            "rustle://demo:1/agent/web1",
            "RUSTLE://demo/agent/web1",
            "spiffe://demo/agent/web1",
            " rustle://demo/agent/web1",
            "rustle://demo/agent/web1\n",
            "rustle://demo/agent/web%31",
            "rustle://demo/agent/h%c3%b6st",
            "rustle://demo/agent/h%C3st",
            "rustle://demo/agent/h%C3%B",
            "rustle://demo/agent/h%+3st",
            "rustle://demo/agent/h%C3%B6%2Fst",
            "rustle://demo/agent/h%E2%88%95st",
            "rustle://demo/agent/höst",
            "rustle://-demo/agent/web1",
            "rustle:///agent/web1",
        ] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
        assert!(parsed(&format!("rustle://demo/agent/{}", "a".repeat(300))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_identity_or_an_error_and_an_identity_has_one_text(text in ".{0,80}") {
            if let Ok(identity) = parsed(&text) {
                prop_assert_eq!(identity.to_string(), text);
            }
        }

        #[test]
        fn an_identity_survives_its_text(fleet in "[a-z0-9]{1,20}", name in "[A-Za-z0-9_][A-Za-z0-9_äЖ漢-]{4,20}", agent: bool) {
            let role = if agent { Role::Agent } else { Role::Controller };
            let identity = Identity { fleet: FleetName::new(&fleet).unwrap(), role, name: HostName::new(&name).unwrap() };
            prop_assert_eq!(parsed(&identity.to_string()).unwrap(), identity);
        }

        #[test]
        fn random_bytes_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(identity_of(&CertificateDer::from(bytes)).is_err());
        }
    }
}
