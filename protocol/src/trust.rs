//! Whom to believe: a fleet's CA, its revocation lists, and the judgement of a peer's certificate by both.
//!
//! Path building, signatures, validity and revocation are webpki's. Added here: the peer's identity, and an answer that
//! tells the operator which of the many ways of being wrong it was. There is no way to switch a check off.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, DistinguishedName};
use webpki::{CertRevocationList, EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use crate::identity::{FleetName, Identity, IdentityError, Role, identity_of};
use crate::ids::HostName;
use crate::tls::provider;

/// The CA certificates and revocation lists of one fleet.
#[derive(Clone, Debug)]
pub struct Trust {
    fleet: FleetName,
    anchors: Vec<TrustAnchor<'static>>,
    revocations: Vec<RevocationList>,
}

/// Whom we expect at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any controller of the fleet.
    Controller,
    /// The agent of exactly this host.
    Agent(HostName),
}

/// Why we do not accept a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    #[error("its certificate is from another CA, not from that of fleet `{fleet}`")]
    OtherCa { fleet: FleetName },
    #[error("{} expired on {}: it was valid from {}, and our clock says {}", whose(.identity), utc(.validity.not_after), utc(.validity.not_before), utc(*.now))]
    Expired { identity: Option<Identity>, validity: Validity, now: UnixTime },
    #[error("{} is not valid before {} (until {}), and our clock says {}", whose(.identity), utc(.validity.not_before), utc(.validity.not_after), utc(*.now))]
    NotYetValid { identity: Option<Identity>, validity: Validity, now: UnixTime },
    #[error("{} has been revoked", whose(.identity))]
    Revoked { identity: Option<Identity> },
    #[error("whether its certificate has been revoked cannot be told: {0}")]
    RevocationUnknown(String),
    #[error("its certificate is `{found}`: that of {} where {} is wanted", article(.found.role), article(*.expected))]
    WrongRole { expected: Role, found: Identity },
    #[error("its certificate is `{found}`, and host `{expected}` is wanted")]
    WrongName { expected: HostName, found: Identity },
    #[error("its certificate is `{found}`, and fleet `{expected}` is wanted")]
    WrongFleet { expected: FleetName, found: Identity },
    #[error(transparent)]
    Unnamed(IdentityError),
    #[error("its certificate is not acceptable: {0}")]
    Unacceptable(String),
}

/// From when to when a certificate is valid, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: UnixTime,
    pub not_after: UnixTime,
}

/// Why CA certificates or a revocation list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("there is no CA certificate")]
    NoCa,
    #[error("the CA certificate cannot be read: {0}")]
    Ca(String),
    #[error("the revocation list cannot be read: {0}")]
    Unreadable(String),
    #[error("there are two revocation lists of the same CA")]
    TwoListsOfOneCa,
}

impl Trust {
    /// # Errors
    /// No CA, or anything that cannot be parsed: trust is never built from a part.
    pub fn new(
        fleet: FleetName,
        ca: &[CertificateDer<'_>],
        revocation_lists: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Result<Trust, TrustError> {
        let anchor = |ca| webpki::anchor_from_trusted_cert(ca).map(|anchor| anchor.to_owned());
        let anchors: Vec<_> =
            ca.iter().map(anchor).collect::<Result<_, _>>().map_err(|error| TrustError::Ca(error.to_string()))?;
        if anchors.is_empty() {
            return Err(TrustError::NoCa);
        }
        let revocations = revocation_lists.into_iter().map(RevocationList::new).collect::<Result<Vec<_>, _>>()?;
        let issuers: BTreeSet<_> = revocations.iter().map(RevocationList::issuer).collect();
        if issuers.len() < revocations.len() {
            return Err(TrustError::TwoListsOfOneCa);
        }
        Ok(Trust { fleet, anchors, revocations })
    }

    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// The revocation lists held, at most one for each CA.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.revocations.iter().map(|list| &list.der)
    }

    /// Those of them that revoke anybody: the ones worth telling a peer.
    pub fn revocation_lists_in_use(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.revocations.iter().filter(|list| !list.serials.is_empty()).map(|list| &list.der)
    }

    /// Judges `chain`, the peer's certificate first, at the time `now`.
    ///
    /// # Errors
    /// The first of these that is so: another CA, out of its time, revoked, no identity, wrong fleet, role or name.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Identity, PeerRefused> {
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| PeerRefused::Unacceptable("there is none".to_owned()))?;
        self.verify_unrevoked(leaf, intermediates, expected, now)
            .map_err(|error| self.diagnose(error, leaf, intermediates, expected, now))?;
        let identity = identity_of(leaf).map_err(PeerRefused::Unnamed)?;
        self.expect(identity, expected)
    }

    fn expect(&self, found: Identity, expected: &Expected) -> Result<Identity, PeerRefused> {
        if found.fleet != self.fleet {
            return Err(PeerRefused::WrongFleet { expected: self.fleet.clone(), found });
        }
        if found.role != expected.role() {
            return Err(PeerRefused::WrongRole { expected: expected.role(), found });
        }
        match expected {
            Expected::Agent(host) if found.name != *host => {
                Err(PeerRefused::WrongName { expected: host.clone(), found })
            }
            Expected::Agent(_) | Expected::Controller => Ok(found),
        }
    }

    /// webpki checks a list's signature each time that it looks into it, a third of what judging a certificate costs. So
    /// once it has found that a CA's key signed the list, the list's serials are looked up for every certificate that is
    /// signed by that same key.
    fn verify_unrevoked(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        expected: &Expected,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let certificate = EndEntityCert::try_from(leaf)?;
        let list = self.revocations.iter().find(|list| list.issuer() == certificate.issuer());
        if let Some((list, signer)) = list.and_then(|list| Some((list, list.signer.get()?)))
            && self.verify_path(leaf, intermediates, expected.usage(), &[], now)? == *signer
            && intermediates.is_empty()
        {
            return match list.serials.contains(certificate.serial()) {
                true => Err(webpki::Error::CertRevoked),
                false => Ok(()),
            };
        }
        let key = self.verify_path(leaf, intermediates, expected.usage(), &self.revocations, now)?;
        if let Some(list) = list.filter(|list| list.is_whole && intermediates.is_empty()) {
            // Another connection may have found the same a moment ago.
            let _ = list.signer.set(key);
        }
        Ok(())
    }

    /// The public key of the CA that the path ends at.
    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: impl ExtendedKeyUsageValidator,
        revocations: &[RevocationList],
        now: UnixTime,
    ) -> Result<Vec<u8>, webpki::Error> {
        let lists: Vec<_> = revocations.iter().map(|revocations| &revocations.list).collect();
        let revocation = match lists.as_slice() {
            [] => None,
            lists => Some(
                webpki::RevocationOptionsBuilder::new(lists)
                    .expect("there is a list")
                    .with_depth(webpki::RevocationCheckDepth::EndEntity)
                    .with_status_policy(webpki::UnknownStatusPolicy::Deny)
                    // A site without a network cannot fetch a fresh list every week, and a list that has gone stale must
                    // not stop a fleet: what it revokes stays revoked, and certificates end by themselves.
                    .with_expiration_policy(webpki::ExpirationPolicy::Ignore)
                    .build(),
            ),
        };
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                provider().signature_verification_algorithms.all,
                &self.anchors,
                intermediates,
                now,
                usage,
                revocation,
                None,
            )
            .map(|path| path.anchor().subject_public_key_info.to_vec())
    }

    /// webpki stops at the first fault, and looks at dates and usage before it looks for the CA. The operator needs to
    /// know of a foreign CA first: of such a certificate nothing else can be believed.
    fn diagnose(
        &self,
        error: webpki::Error,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        expected: &Expected,
        now: UnixTime,
    ) -> PeerRefused {
        use webpki::Error as Fault;
        let when_valid = match error {
            Fault::CertExpired { not_after, .. } => not_after,
            Fault::CertNotValidYet { not_before, .. } => not_before,
            _ => now,
        };
        if let Err(Fault::UnknownIssuer | Fault::InvalidSignatureForPublicKey) =
            self.verify_path(leaf, intermediates, AnyUsage, &[], when_valid)
        {
            return PeerRefused::OtherCa { fleet: self.fleet.clone() };
        }
        let identity = identity_of(leaf).ok();
        match (error, Validity::of(leaf)) {
            (Fault::CertExpired { .. }, Some(validity)) => PeerRefused::Expired { identity, validity, now },
            (Fault::CertNotValidYet { .. }, Some(validity)) => PeerRefused::NotYetValid { identity, validity, now },
            (Fault::CertRevoked, _) => PeerRefused::Revoked { identity },
            (Fault::RequiredEkuNotFoundContext(_), _) => match identity.map(|found| self.expect(found, expected)) {
                Some(Err(refused)) => refused,
                Some(Ok(_)) | None => PeerRefused::Unacceptable("its key usage does not fit its role".to_owned()),
            },
            (Fault::UnknownRevocationStatus, _) => {
                PeerRefused::RevocationUnknown("the revocation list is from another CA".to_owned())
            }
            (Fault::InvalidCrlSignatureForPublicKey, _) => {
                PeerRefused::RevocationUnknown("the revocation list is not signed by the CA".to_owned())
            }
            (Fault::IssuerNotCrlSigner, _) => {
                PeerRefused::RevocationUnknown("the CA may not sign revocation lists".to_owned())
            }
            (other, _) => PeerRefused::Unacceptable(format!("{other:?}")),
        }
    }

    /// This trust with `newer` in place of the list of the same CA, or `None` if it revokes nothing new. The list must be
    /// signed by the CA that issued `own_chain`.
    ///
    /// # Errors
    /// A list that cannot be parsed, is not signed by that CA, or lacks something that has been revoked before:
    /// revocations are for ever, so such a list is an older one, and taking it would bring somebody back.
    pub fn with_revocations(
        &self,
        newer: CertificateRevocationListDer<'static>,
        own_chain: &[CertificateDer<'_>],
    ) -> Result<Option<Trust>, RevocationsRefused> {
        let newer = RevocationList::new(newer)?;
        let (own, intermediates) = own_chain.split_first().ok_or(RevocationsRefused::NotSigned)?;
        let validity = Validity::of(own).ok_or(RevocationsRefused::NotSigned)?;
        let newer_only = std::slice::from_ref(&newer);
        // The only signature check over a list that webpki offers is by way of a certificate. Ours will do: whether it
        // is revoked does not matter here, only that the answer came.
        match self.verify_path(own, intermediates, AnyUsage, newer_only, validity.not_before) {
            Ok(_) | Err(webpki::Error::CertRevoked) => {}
            Err(_) => return Err(RevocationsRefused::NotSigned),
        }
        let held = self.revocations.iter().position(|held| held.issuer() == newer.issuer());
        let mut revocations = self.revocations.clone();
        match held.map(|index| &mut revocations[index]) {
            None => revocations.push(newer),
            Some(held) if !held.serials.is_subset(&newer.serials) => return Err(RevocationsRefused::Older),
            Some(held) if held.serials.len() == newer.serials.len() => return Ok(None),
            Some(held) => *held = newer,
        }
        Ok(Some(Trust { revocations, ..self.clone() }))
    }

    /// Which CAs a client's certificate may come from, told to it in the handshake.
    pub(crate) fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(anchor.subject.as_ref())).collect()
    }
}

/// Why a revocation list that somebody offered is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationsRefused {
    #[error(transparent)]
    Unreadable(#[from] TrustError),
    #[error("the revocation list is not signed by our CA")]
    NotSigned,
    #[error("the revocation list is older than the one we have: certificates revoked there are missing")]
    Older,
}

impl Expected {
    pub fn role(&self) -> Role {
        match self {
            Expected::Controller => Role::Controller,
            Expected::Agent(_) => Role::Agent,
        }
    }

    /// A second wall behind the role in the URI: agents' certificates are good for TLS servers only, controllers' for
    /// clients only.
    fn usage(&self) -> KeyUsage {
        const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
        const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
        match self {
            Expected::Controller => KeyUsage::required(CLIENT_AUTH),
            Expected::Agent(_) => KeyUsage::required(SERVER_AUTH),
        }
    }
}

/// For diagnosis and for revocation lists only, never for a peer that is to be accepted.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    list: CertRevocationList<'static>,
    serials: BTreeSet<Vec<u8>>,
    /// It is about all certificates of its CA, as far as can be told without reading its extensions.
    is_whole: bool,
    /// The public key of the CA that is known to have signed it, once webpki has found that.
    signer: OnceLock<Vec<u8>>,
}

/// The extension of a list that is about a part of a CA's certificates only (RFC 5280, 5.2.5), as DER has its name.
const ISSUING_DISTRIBUTION_POINT: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x1c];

impl RevocationList {
    fn new(der: CertificateRevocationListDer<'static>) -> Result<RevocationList, TrustError> {
        let unreadable = |error: webpki::Error| TrustError::Unreadable(error.to_string());
        let borrowed = webpki::BorrowedCertRevocationList::from_der(&der).map_err(unreadable)?;
        let serials = borrowed
            .into_iter()
            .map(|revoked| revoked.map(|revoked| revoked.serial_number.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        let list = borrowed.to_owned().map_err(unreadable)?.into();
        let is_whole = !der.windows(ISSUING_DISTRIBUTION_POINT.len()).any(|name| name == ISSUING_DISTRIBUTION_POINT);
        Ok(RevocationList { der, list, serials, is_whole, signer: OnceLock::new() })
    }

    fn issuer(&self) -> &[u8] {
        self.list.issuer()
    }
}

impl Clone for RevocationList {
    fn clone(&self) -> RevocationList {
        let list = RevocationList::new(self.der.clone()).expect("it was read before");
        RevocationList { signer: self.signer.clone(), ..list }
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").field("revoked", &self.serials.len()).finish_non_exhaustive()
    }
}

impl Validity {
    /// Read from a certificate, trusted or not; `None` if it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Validity> {
        // webpki tells a certificate's dates only when it refuses it for them, so it is asked at both ends of time.
        const NEVER_S: u64 = 253_402_300_800; // the first second of the year 10000, beyond what a certificate can say
        let refusal_at = |seconds| {
            EndEntityCert::try_from(certificate)
                .and_then(|certificate| {
                    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
                    certificate.verify_for_usage(&[], &[], &[], at, AnyUsage, None, None).map(|_path| ())
                })
                .err()
        };
        match (refusal_at(0), refusal_at(NEVER_S)) {
            (
                Some(webpki::Error::CertNotValidYet { not_before, .. }),
                Some(webpki::Error::CertExpired { not_after, .. }),
            ) => Some(Validity { not_before, not_after }),
            _ => None,
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", utc(self.not_before), utc(self.not_after))
    }
}

impl PeerRefused {
    /// What the peer is told, as far as a TLS alert can tell it.
    pub(crate) fn to_rustls(&self) -> rustls::Error {
        let error = match self {
            PeerRefused::OtherCa { .. } => CertificateError::UnknownIssuer,
            PeerRefused::Expired { validity, now, .. } => {
                CertificateError::ExpiredContext { time: *now, not_after: validity.not_after }
            }
            PeerRefused::NotYetValid { validity, now, .. } => {
                CertificateError::NotValidYetContext { time: *now, not_before: validity.not_before }
            }
            PeerRefused::Revoked { .. } => CertificateError::Revoked,
            PeerRefused::RevocationUnknown(_) => CertificateError::UnknownRevocationStatus,
            PeerRefused::WrongRole { .. } | PeerRefused::WrongName { .. } | PeerRefused::WrongFleet { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
            PeerRefused::Unnamed(_) | PeerRefused::Unacceptable(_) => CertificateError::BadEncoding,
        };
        error.into()
    }
}

fn whose(identity: &Option<Identity>) -> String {
    match identity {
        Some(identity) => format!("its certificate `{identity}`"),
        None => "its certificate".to_owned(),
    }
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Controller => "a controller",
        Role::Agent => "an agent",
    }
}

/// A time as operators read it, to the second.
pub fn utc(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    match time {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => "a time beyond all calendars".to_owned(),
    }
}
