//! A private CA for tests, which makes right and wrong certificates alike.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlIssuingDistributionPoint,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustle_protocol::LoadedIdentity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

pub(crate) struct Ca {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate of the test CA says. Begin with [`Wish::agent`] or [`Wish::controller`] and bend.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) uris: Vec<String>,
    pub(crate) common_name: String,
    pub(crate) usage: Vec<ExtendedKeyUsagePurpose>,
    /// Seconds from now.
    pub(crate) valid_from: i64,
    pub(crate) valid_until: i64,
    pub(crate) serial: u64,
}

pub(crate) const DAY: i64 = 24 * 3600;

impl Wish {
    pub(crate) fn agent(name: &str) -> Wish {
        Wish::new(&format!("rustle://demo/agent/{name}"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn controller(name: &str) -> Wish {
        Wish::new(&format!("rustle://demo/controller/{name}"), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn new(uri: &str, usage: ExtendedKeyUsagePurpose) -> Wish {
        Wish {
            uris: vec![uri.to_owned()],
            common_name: uri.to_owned(),
            usage: vec![usage],
            valid_from: -3600,
            valid_until: 30 * DAY,
            serial: 7,
        }
    }
}

impl Ca {
    pub(crate) fn new() -> Ca {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named("test CA");
        (params.not_before, params.not_after) = (seconds_from_now(-DAY).into(), seconds_from_now(DAY * 3650).into());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, wish: &Wish) -> LoadedIdentity {
        self.issue_with(wish, vec![])
    }

    pub(crate) fn issue_with(
        &self,
        wish: &Wish,
        revocations: Vec<CertificateRevocationListDer<'static>>,
    ) -> LoadedIdentity {
        let (chain, key) = self.certificate_and_key(wish);
        LoadedIdentity::new(chain, key.into(), std::slice::from_ref(&self.certificate), revocations).unwrap()
    }

    pub(crate) fn certificate_and_key(
        &self,
        wish: &Wish,
    ) -> (Vec<CertificateDer<'static>>, PrivatePkcs8KeyDer<'static>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&wish.common_name);
        params.subject_alt_names = wish.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = wish.usage.clone();
        params.serial_number = Some(SerialNumber::from(wish.serial));
        params.not_before = seconds_from_now(wish.valid_from).into();
        params.not_after = seconds_from_now(wish.valid_until).into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()))
    }

    pub(crate) fn revoke(&self, serials: &[u64]) -> CertificateRevocationListDer<'static> {
        self.revoke_within(serials, None)
    }

    /// A list that says it speaks for a part of the certificates only.
    pub(crate) fn revoke_within(
        &self,
        serials: &[u64],
        issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
    ) -> CertificateRevocationListDer<'static> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: seconds_from_now(-60).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: seconds_from_now(-60).into(),
            next_update: seconds_from_now(DAY).into(),
            crl_number: SerialNumber::from(serials.len() as u64 + 1),
            issuing_distribution_point,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().clone()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn seconds_from_now(seconds: i64) -> SystemTime {
    match u64::try_from(seconds) {
        Ok(ahead) => SystemTime::now() + Duration::from_secs(ahead),
        Err(_) => SystemTime::now() - Duration::from_secs(seconds.unsigned_abs()),
    }
}

/// A caller that believes every server, for seeing what a server thinks of it.
#[derive(Debug)]
pub(crate) struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
