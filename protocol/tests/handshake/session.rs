//! What a TLS session is made of, seen in memory where quinn does not show it.

use std::sync::Arc;

use rustle_protocol::tls::{client_config, server_config};
use rustls::pki_types::ServerName;
use rustls::quic::{ClientConnection, ServerConnection, Version};
use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

use crate::host;
use crate::support::{Ca, Wish};

struct Session {
    client: ClientConnection,
    server: ServerConnection,
}

fn handshake(client: &Arc<rustls::ClientConfig>, server: &Arc<rustls::ServerConfig>) -> Session {
    let name = ServerName::try_from("agent.invalid").unwrap();
    let mut client = ClientConnection::new(client.clone(), Version::V1, name, vec![]).unwrap();
    let mut server = ServerConnection::new(server.clone(), Version::V1, vec![]).unwrap();
    loop {
        // Each piece ends where the keys change, and has to be read before the next.
        let (mut to_server, mut to_client) = (vec![], vec![]);
        let keys_changed = client.write_hs(&mut to_server).is_some() | server.write_hs(&mut to_client).is_some();
        server.read_hs(&to_server).unwrap();
        client.read_hs(&to_client).unwrap();
        if !keys_changed && to_server.is_empty() && to_client.is_empty() {
            return Session { client, server };
        }
    }
}

#[test]
fn key_exchange_is_post_quantum_and_the_version_is_1_3() {
    let ca = Ca::new();
    let server = Arc::new(server_config(&Arc::new(ca.issue(&Wish::agent("web1"))), Default::default()));
    let client =
        Arc::new(client_config(&Arc::new(ca.issue(&Wish::controller("ops"))), host("web1"), Default::default()));
    let session = handshake(&client, &server);
    assert!(!session.client.is_handshaking() && !session.server.is_handshaking());
    let group = session.client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(session.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.server.server_name(), None, "the name of the host is not sent");
}

#[test]
fn a_peer_without_post_quantum_key_exchange_is_met_with_x25519() {
    let ca = Ca::new();
    let server = Arc::new(server_config(&Arc::new(ca.issue(&Wish::agent("web1"))), Default::default()));
    let classic = rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let (chain, key) = ca.certificate_and_key(&Wish::controller("ops"));
    let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(classic))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(crate::support::Credulous))
        .with_client_auth_cert(chain, key.into())
        .unwrap();
    client.alpn_protocols = vec![b"rustle/1".to_vec()];
    let session = handshake(&Arc::new(client), &server);
    assert_eq!(session.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519);
}

#[test]
fn no_session_is_ever_resumed() {
    let ca = Ca::new();
    let server = Arc::new(server_config(&Arc::new(ca.issue(&Wish::agent("web1"))), Default::default()));
    let client =
        Arc::new(client_config(&Arc::new(ca.issue(&Wish::controller("ops"))), host("web1"), Default::default()));
    for _ in 0..3 {
        let session = handshake(&client, &server);
        assert_eq!(session.client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn even_a_client_that_wants_to_resume_gets_no_ticket() {
    let ca = Ca::new();
    let server = Arc::new(server_config(&Arc::new(ca.issue(&Wish::agent("web1"))), Default::default()));
    let mut client = client_config(&Arc::new(ca.issue(&Wish::controller("ops"))), host("web1"), Default::default());
    client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    client.enable_early_data = true;
    let client = Arc::new(client);
    for _ in 0..2 {
        let session = handshake(&client, &server);
        assert_eq!(session.server.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!session.client.is_early_data_accepted());
    }
}
