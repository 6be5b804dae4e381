//! TLS as both ends use it: version 1.3, post-quantum key exchange first, both certificates required, no resumption.
//!
//! The peer's identity is judged during the handshake, so no byte of ours reaches a peer with a wrong one. What was found
//! is kept in a [`Verdict`], one for each connection, since an alert and rustls' error tell an operator too little.
//!
//! A controller's configuration is made for one host: the host's name is in the verifier itself. The server name of TLS
//! (SNI) is not sent and not looked at, so it need not be a DNS name, and nobody on the way learns who is talked to.

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};

use crate::ids::HostName;
use crate::loaded_identity::LoadedIdentity;
use crate::message::ALPN;
use crate::trust::{Expected, PeerRefused};

/// The one provider of cryptography, aws-lc-rs, for the sake of X25519MLKEM768. X25519 is there for peers built without.
///
/// AES-128 before AES-256: a handshake derives some thirty keys and hashes all it says, and processors have instructions
/// for SHA-256 and few for the SHA-384 that comes with AES-256. ChaCha20 is for those without AES.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
                aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
                aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        })
    });
    &PROVIDER
}

/// What our verifier found wrong with the peer of one connection, if it was asked and did.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<OnceLock<PeerRefused>>);

impl Verdict {
    pub fn refused(&self) -> Option<&PeerRefused> {
        self.0.get()
    }

    fn record(&self, refused: PeerRefused) -> Error {
        let told = refused.to_rustls();
        // A connection has one handshake and a handshake one certificate: a second verdict would be the same.
        let _ = self.0.set(refused);
        told
    }
}

/// An agent's side of one connection: any controller of the fleet may come in. One configuration for each connection,
/// so that the verdict is that connection's.
pub fn server_config(identity: &Arc<LoadedIdentity>, verdict: Verdict) -> ServerConfig {
    let verifier = ControllerVerifier { peer: PeerVerifier::new(identity, Expected::Controller, verdict) };
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key().clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the peer's certificate, and with it expiry and revocation.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// A controller's side of one connection to the agent of `host`. The server name given to TLS with it is ignored.
pub fn client_config(identity: &Arc<LoadedIdentity>, host: HostName, verdict: Verdict) -> ClientConfig {
    let verifier = AgentVerifier { peer: PeerVerifier::new(identity, Expected::Agent(host), verdict) };
    let mut config = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key().clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config
}

#[derive(Debug)]
struct PeerVerifier {
    identity: Arc<LoadedIdentity>,
    expected: Expected,
    verdict: Verdict,
    subjects: Vec<DistinguishedName>,
}

impl PeerVerifier {
    fn new(identity: &Arc<LoadedIdentity>, expected: Expected, verdict: Verdict) -> PeerVerifier {
        PeerVerifier { identity: identity.clone(), expected, verdict, subjects: identity.trust().subjects() }
    }

    fn verify(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(rest).cloned().collect();
        match self.identity.trust().verify(&chain, &self.expected, now) {
            Ok(_identity) => Ok(()),
            Err(refused) => Err(self.verdict.record(refused)),
        }
    }
}

#[derive(Debug)]
struct ControllerVerifier {
    peer: PeerVerifier,
}

impl ClientCertVerifier for ControllerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.peer.subjects
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.peer.verify(leaf, rest, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct AgentVerifier {
    peer: PeerVerifier,
}

impl ServerCertVerifier for AgentVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.peer.verify(leaf, rest, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
