//! What stands in the certificates and lists that the authority signs. Each is built fresh: nothing is copied from what
//! somebody asked for but the public key.

use std::time::SystemTime;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use rustle_protocol::request::subject;
use rustle_protocol::{FleetName, Identity, Role};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::error::PkiError;
use super::index::{Entry, Serial};

/// Clocks on hosts run behind; a certificate is valid from this long before it was made.
pub(super) const CLOCK_SKEW: TimeDelta = TimeDelta::hours(1);

/// A hundred years.
pub(super) const VALIDITY_DAYS_MAX: u32 = 36_500;

/// From when to when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) not_before: DateTime<Utc>,
    pub(super) not_after: DateTime<Utc>,
}

impl Period {
    /// `days` from `now`, to the second, as certificates have it.
    pub(super) fn days(days: u32, now: DateTime<Utc>) -> Result<Period, PkiError> {
        if !(1..=VALIDITY_DAYS_MAX).contains(&days) {
            return Err(PkiError::Days(days));
        }
        let now = now.duration_trunc(TimeDelta::seconds(1)).expect("a second divides every time of this age");
        Ok(Period { not_before: now - CLOCK_SKEW, not_after: now + TimeDelta::days(i64::from(days)) })
    }
}

pub(super) fn ca(fleet: &FleetName, serial: Serial, period: Period) -> CertificateParams {
    let mut params = blank(serial, period);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // With a part that no other CA has: lists and certificates find their CA by this name.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "rustle-exec");
    params.distinguished_name.push(DnType::CommonName, format!("{fleet} CA {}", &serial.to_string()[..8]));
    params
}

pub(super) fn leaf(identity: &Identity, serial: Serial, period: Period) -> Result<CertificateParams, PkiError> {
    let mut params = blank(serial, period);
    params.distinguished_name = subject(identity.role, &identity.name);
    params.subject_alt_names = vec![SanType::URI(identity.to_string().as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match identity.role {
        Role::Controller => ExtendedKeyUsagePurpose::ClientAuth,
        Role::Agent => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    Ok(params)
}

fn blank(serial: Serial, period: Period) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.not_before = SystemTime::from(period.not_before).into();
    params.not_after = SystemTime::from(period.not_after).into();
    params
}

/// The list of all of `entries` that are revoked. It only ever grows, also by certificates that have expired since:
/// agents tell a newer list by that.
pub(super) fn revocation_list(
    entries: &[Entry],
    now: DateTime<Utc>,
    ca_not_after: DateTime<Utc>,
) -> CertificateRevocationListParams {
    let revoked: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(entry.serial.as_bytes()),
                revocation_time: SystemTime::from(entry.revoked?).into(),
                reason_code: None,
                invalidity_date: None,
            })
        })
        .collect();
    CertificateRevocationListParams {
        this_update: SystemTime::from(now).into(),
        // A list has no end of its own: where there is no network, nobody brings a fresh one.
        next_update: SystemTime::from(ca_not_after.max(now + TimeDelta::days(1))).into(),
        crl_number: SerialNumber::from(revoked.len() as u64 + 1),
        issuing_distribution_point: None,
        revoked_certs: revoked,
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

/// The public key in a request, once the request has proved that its maker has the private one. Everything else that
/// the request asks for is left unread.
///
/// # Errors
/// With the reason, as a clause.
pub(super) fn requested_key(request: &[u8]) -> Result<SubjectPublicKeyInfo, String> {
    let request = CertificateSigningRequestDer::from_pem_slice(request)
        .map_err(|_| "there is no request in PEM form in it".to_owned())?;
    let (rest, request) =
        X509CertificationRequest::from_der(&request).map_err(|_| "the request is broken".to_owned())?;
    if !rest.is_empty() {
        return Err("something follows the request".to_owned());
    }
    request.verify_signature().map_err(|_| "it is not signed by the key it asks for".to_owned())?;
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| "its kind of key is not known".to_owned())?;
    let good = [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384];
    match good.contains(&key.algorithm()) {
        true => Ok(key),
        false => Err("its key is neither Ed25519 nor ECDSA on P-256 or P-384".to_owned()),
    }
}
