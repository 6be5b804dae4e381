//! Who may talk to whom: every way of being the wrong peer, over real QUIC on loopback, as seen from both ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustle_protocol::endpoint::{Dialer, Listener, Peer};
use rustle_protocol::fault::{Complaint, ConnectionFault};
use rustle_protocol::loaded_identity::LoadedIdentity;
use rustle_protocol::message::close;
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::trust::PeerRefused;
use rustle_protocol::{HostName, Role};

mod files;
mod paths;
mod revocations;
mod session;
mod support;

use support::{Ca, DAY, Wish};

/// How one attempt ended at both ends. Each side's fault, or the identity it saw.
struct Outcome {
    controller: Result<String, ConnectionFault>,
    agent: Result<String, ConnectionFault>,
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn listener(agent: LoadedIdentity) -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap(), agent, &TransportOptions::default()).unwrap()
}

fn dialer(controller: LoadedIdentity) -> Dialer {
    Dialer::bind(controller, &TransportOptions::default()).unwrap()
}

/// Connects and moves one byte each way, as the control stream would.
async fn meet(agent: LoadedIdentity, controller: LoadedIdentity, wanted: &str) -> Outcome {
    let (listener, dialer) = (listener(agent), dialer(controller));
    let address = listener.local_address().unwrap();
    let agent_side = async {
        let peer = listener.accept().await.unwrap().handshake().await?;
        let identity = peer.identity.to_string();
        let answered = async {
            let (mut send, mut receive) = peer.connection.accept_bi().await?;
            receive.read_exact(&mut [0]).await.expect("the controller sends a byte");
            send.write_all(b"!").await.expect("the controller reads");
            peer.connection.closed().await;
            Ok(identity)
        };
        answered.await.map_err(|error| peer.fault(&error))
    };
    let controller_side = async {
        let peer = dialer.connect(&host(wanted), address).await?;
        let asked = ask(&peer).await;
        peer.connection.close(close::DONE.into(), b"");
        asked.map_err(|error| peer.fault(&error))
    };
    let (agent, controller) = tokio::join!(agent_side, controller_side);
    Outcome { controller, agent }
}

async fn ask(peer: &Peer) -> Result<String, quinn::ConnectionError> {
    let (mut send, mut receive) = peer.connection.open_bi().await?;
    let lost = || async { peer.connection.closed().await };
    if send.write_all(b"?").await.is_err() {
        return Err(lost().await);
    }
    match receive.read_exact(&mut [0]).await {
        Ok(()) => Ok(peer.identity.to_string()),
        Err(_) => Err(lost().await),
    }
}

fn refused(fault: &Result<String, ConnectionFault>) -> &PeerRefused {
    match fault {
        Err(ConnectionFault::PeerRefused { refused, .. }) => refused,
        other => panic!("not a refusal of the peer: {other:?}"),
    }
}

fn complaint(fault: &Result<String, ConnectionFault>) -> &Complaint {
    match fault {
        Err(ConnectionFault::RefusedByPeer { complaint, .. }) => complaint,
        other => panic!("not a refusal by the peer: {other:?}"),
    }
}

fn sentence(fault: &Result<String, ConnectionFault>) -> String {
    fault.as_ref().unwrap_err().to_string()
}

#[tokio::test]
async fn a_controller_and_the_agent_it_means_find_each_other() {
    let ca = Ca::new();
    let outcome = meet(ca.issue(&Wish::agent("web1")), ca.issue(&Wish::controller("ops")), "web1").await;
    assert_eq!(outcome.controller.unwrap(), "rustle://demo/agent/web1");
    assert_eq!(outcome.agent.unwrap(), "rustle://demo/controller/ops");
}

#[tokio::test]
async fn names_that_are_no_dns_names_are_hosts_too() {
    let ca = Ca::new();
    let long = format!("{}.{}", "a".repeat(120), "b".repeat(132));
    for name in ["WEB_1", "_x", "10.0.0.1", "db-1.", long.as_str()] {
        let outcome = meet(ca.issue(&Wish::agent(name)), ca.issue(&Wish::controller("ops")), name).await;
        assert_eq!(outcome.controller.unwrap(), format!("rustle://demo/agent/{name}"));
    }
}

#[tokio::test]
async fn an_agent_of_another_ca_is_refused() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let outcome = meet(theirs.issue(&Wish::agent("web1")), ours.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::OtherCa { .. }));
    assert_eq!(*complaint(&outcome.agent), Complaint::UnknownCa);
    assert_eq!(
        sentence(&outcome.controller),
        "we do not accept the agent: its certificate is from another CA, not from that of fleet `demo`"
    );
}

#[tokio::test]
async fn a_controller_of_another_ca_is_refused() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    // Its own trust is the agent's CA, so that it gets as far as to show its certificate.
    let (chain, key) = theirs.certificate_and_key(&Wish::controller("ops"));
    let controller = LoadedIdentity::new(chain, key.into(), std::slice::from_ref(&ours.certificate), vec![]).unwrap();
    let outcome = meet(ours.issue(&Wish::agent("web1")), controller, "web1").await;
    assert!(matches!(refused(&outcome.agent), PeerRefused::OtherCa { .. }));
    assert_eq!(*complaint(&outcome.controller), Complaint::UnknownCa);
}

#[tokio::test]
async fn a_foreign_certificate_that_has_also_expired_is_called_foreign() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let expired = Wish { valid_from: -10 * DAY, valid_until: -DAY, ..Wish::agent("web1") };
    let outcome = meet(theirs.issue(&expired), ours.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::OtherCa { .. }));
}

#[tokio::test]
async fn an_expired_agent_is_refused_with_both_dates() {
    let ca = Ca::new();
    let expired = ca.issue(&Wish { valid_from: -10 * DAY, valid_until: -DAY, ..Wish::agent("web1") });
    let validity = expired.validity();
    let outcome = meet(expired, ca.issue(&Wish::controller("ops")), "web1").await;
    let PeerRefused::Expired { identity, validity: seen, now } = refused(&outcome.controller) else {
        panic!("{:?}", outcome.controller)
    };
    assert_eq!(*seen, validity);
    assert_eq!(validity.not_after.as_secs() - validity.not_before.as_secs(), 9 * DAY as u64);
    assert!(now.as_secs() > validity.not_after.as_secs());
    assert_eq!(identity.as_ref().unwrap().to_string(), "rustle://demo/agent/web1");
    assert!(sentence(&outcome.controller).contains("`rustle://demo/agent/web1` expired on "));
    assert_eq!(*complaint(&outcome.agent), Complaint::OutOfTime(validity));
}

#[tokio::test]
async fn an_expired_controller_is_refused_and_told_its_dates() {
    let ca = Ca::new();
    let expired = ca.issue(&Wish { valid_from: -10 * DAY, valid_until: -DAY, ..Wish::controller("ops") });
    let validity = expired.validity();
    let outcome = meet(ca.issue(&Wish::agent("web1")), expired, "web1").await;
    assert!(matches!(refused(&outcome.agent), PeerRefused::Expired { .. }));
    assert_eq!(*complaint(&outcome.controller), Complaint::OutOfTime(validity));
    assert!(sentence(&outcome.controller).contains(&validity.to_string()));
}

#[tokio::test]
async fn a_certificate_that_is_not_yet_valid_is_refused_at_both_ends() {
    let ca = Ca::new();
    let early = |wish| ca.issue(&Wish { valid_from: DAY, valid_until: 2 * DAY, ..wish });
    let outcome = meet(early(Wish::agent("web1")), ca.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::NotYetValid { .. }));
    assert!(sentence(&outcome.controller).contains("is not valid before "));
    let outcome = meet(ca.issue(&Wish::agent("web1")), early(Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.agent), PeerRefused::NotYetValid { .. }));
    assert!(matches!(complaint(&outcome.controller), Complaint::OutOfTime(_)));
}

#[tokio::test]
async fn a_revoked_agent_is_refused() {
    let ca = Ca::new();
    let controller = ca.issue_with(&Wish::controller("ops"), vec![ca.revoke(&[66])]);
    let outcome = meet(ca.issue(&Wish { serial: 66, ..Wish::agent("web1") }), controller, "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::Revoked { identity: Some(_) }));
    assert_eq!(*complaint(&outcome.agent), Complaint::Revoked);
}

#[tokio::test]
async fn a_revoked_controller_is_refused_and_told_so() {
    let ca = Ca::new();
    let agent = ca.issue_with(&Wish::agent("web1"), vec![ca.revoke(&[65, 66])]);
    let outcome = meet(agent, ca.issue(&Wish { serial: 66, ..Wish::controller("ops") }), "web1").await;
    assert!(matches!(refused(&outcome.agent), PeerRefused::Revoked { .. }));
    assert_eq!(sentence(&outcome.controller), "the agent does not accept us: our certificate has been revoked");
}

#[tokio::test]
async fn a_revocation_list_that_revokes_others_lets_peers_in() {
    let ca = Ca::new();
    let agent = ca.issue_with(&Wish::agent("web1"), vec![ca.revoke(&[65])]);
    let controller = ca.issue_with(&Wish::controller("ops"), vec![ca.revoke(&[])]);
    assert!(meet(agent, controller, "web1").await.controller.is_ok());
}

#[tokio::test]
async fn a_revocation_list_of_another_ca_lets_nobody_in() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let agent = ours.issue_with(&Wish::agent("web1"), vec![theirs.revoke(&[])]);
    let outcome = meet(agent, ours.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.agent), PeerRefused::RevocationUnknown(_)), "{:?}", outcome.agent);
}

#[tokio::test]
async fn an_agent_cannot_act_as_a_controller() {
    let ca = Ca::new();
    // With the usage of a client, so that only the role in the URI stands in the way; and with the wrong usage too.
    for usage in [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth] {
        let agent = ca.issue(&Wish::agent("web1"));
        let outcome = as_controller(agent, ca.issue(&Wish { usage: vec![usage], ..Wish::agent("web2") })).await;
        let PeerRefused::WrongRole { expected, found } = refused(&outcome.agent) else { panic!("{:?}", outcome.agent) };
        assert_eq!((*expected, found.role), (Role::Controller, Role::Agent));
        assert!(matches!(
            complaint(&outcome.controller),
            Complaint::Identity(identity) if identity == "rustle://demo/agent/web2"
        ));
    }
}

/// As `meet`, with a peer that uses an agent's identity where our own dialer would refuse to.
async fn as_controller(agent: LoadedIdentity, impostor: LoadedIdentity) -> Outcome {
    let listener = listener(agent);
    let address = listener.local_address().unwrap();
    let verdict = rustle_protocol::tls::Verdict::default();
    let impostor = std::sync::Arc::new(impostor);
    let tls = rustle_protocol::tls::client_config(&impostor, host("web1"), verdict.clone());
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    let impostor_side = async {
        let connection = endpoint.connect_with(config, address, "x").unwrap().await.unwrap();
        let error = connection.closed().await;
        Err(ConnectionFault::new(&error, &verdict, &impostor))
    };
    let agent_side = async { listener.accept().await.unwrap().handshake().await.map(|peer| peer.identity.to_string()) };
    let (agent, controller) = tokio::join!(agent_side, impostor_side);
    Outcome { controller, agent }
}

#[tokio::test]
async fn a_controller_cannot_answer_as_an_agent() {
    let ca = Ca::new();
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let impostor = std::sync::Arc::new(ca.issue(&Wish { usage: vec![usage], ..Wish::controller("web1") }));
        let verdict = rustle_protocol::tls::Verdict::default();
        let tls = rustle_protocol::tls::server_config(&impostor, verdict);
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let dialer = dialer(ca.issue(&Wish::controller("ops")));
        let wanted = host("web1");
        let impostor_side = async { endpoint.accept().await.unwrap().await };
        let (_, outcome) = tokio::join!(impostor_side, dialer.connect(&wanted, endpoint.local_addr().unwrap()));
        let outcome = outcome.map(|peer| peer.identity.to_string());
        assert!(matches!(refused(&outcome), PeerRefused::WrongRole { expected: Role::Agent, .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_agent_cannot_answer_for_another_host() {
    let ca = Ca::new();
    let outcome = meet(ca.issue(&Wish::agent("web2")), ca.issue(&Wish::controller("ops")), "web1").await;
    assert_eq!(
        sentence(&outcome.controller),
        "we do not accept the agent: its certificate is `rustle://demo/agent/web2`, and host `web1` is wanted"
    );
    assert!(matches!(complaint(&outcome.agent), Complaint::Identity(_)));
}

#[tokio::test]
async fn hosts_that_differ_in_case_only_are_different_hosts() {
    let ca = Ca::new();
    let outcome = meet(ca.issue(&Wish::agent("WEB1")), ca.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::WrongName { .. }));
}

#[tokio::test]
async fn another_fleet_of_the_same_ca_is_refused_at_both_ends() {
    let ca = Ca::new();
    let other = |wish: Wish| {
        let uris = wish.uris.iter().map(|uri| uri.replace("demo", "other")).collect();
        ca.issue(&Wish { uris, ..wish })
    };
    let outcome = meet(other(Wish::agent("web1")), ca.issue(&Wish::controller("ops")), "web1").await;
    assert!(matches!(refused(&outcome.controller), PeerRefused::WrongFleet { .. }));

    let ca_of_agent = ca.issue(&Wish::agent("web1"));
    let outcome = meet(ca_of_agent, other(Wish::controller("ops")), "web1").await;
    // The controller of the other fleet is the first to see it; what counts is that nobody gets in.
    assert!(matches!(refused(&outcome.controller), PeerRefused::WrongFleet { .. }));
    assert!(matches!(complaint(&outcome.agent), Complaint::Identity(_)));
}

#[tokio::test]
async fn a_controller_of_another_fleet_is_refused_by_the_agent() {
    let ca = Ca::new();
    let uris = vec!["rustle://other/controller/ops".to_owned()];
    let outcome = as_stranger(
        ca.issue(&Wish::agent("web1")),
        Some(ca.certificate_and_key(&Wish { uris, ..Wish::controller("ops") })),
        b"rustle/1",
    )
    .await;
    assert!(matches!(outcome, Err(ConnectionFault::PeerRefused { refused: PeerRefused::WrongFleet { .. }, .. })));
}

#[tokio::test]
async fn the_common_name_proves_nothing_and_wildcards_are_no_names() {
    let ca = Ca::new();
    let agent = || ca.issue(&Wish::agent("web1"));
    let stranger = |uris: &[&str]| {
        let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
        Some(ca.certificate_and_key(&Wish {
            uris,
            common_name: "rustle://demo/controller/ops".to_owned(),
            ..Wish::controller("ops")
        }))
    };
    let cases: [&[&str]; 4] = [
        &[],
        &["rustle://demo/controller/*"],
        &["rustle://demo/controller/ops", "rustle://demo/agent/web1"],
        &["https://example.org/"],
    ];
    for uris in cases {
        let outcome = as_stranger(agent(), stranger(uris), b"rustle/1").await;
        assert!(
            matches!(outcome, Err(ConnectionFault::PeerRefused { refused: PeerRefused::Unnamed(_), .. })),
            "{uris:?}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let outcome = as_stranger(ca.issue(&Wish::agent("web1")), None, b"rustle/1").await;
    assert_eq!(outcome.unwrap_err(), ConnectionFault::NoCertificate { peer: Role::Controller });
}

#[tokio::test]
async fn a_caller_with_another_protocol_is_refused() {
    let ca = Ca::new();
    let controller = ca.certificate_and_key(&Wish::controller("ops"));
    let outcome = as_stranger(ca.issue(&Wish::agent("web1")), Some(controller), b"rustle/99").await;
    assert_eq!(outcome.unwrap_err(), ConnectionFault::OtherProtocol { peer: Role::Controller });
}

type ChainAndKey = (Vec<rustls::pki_types::CertificateDer<'static>>, rustls::pki_types::PrivatePkcs8KeyDer<'static>);

/// What an agent finds of a caller that checks nothing itself.
async fn as_stranger(
    agent: LoadedIdentity,
    certificate: Option<ChainAndKey>,
    alpn: &[u8],
) -> Result<String, ConnectionFault> {
    use rustls::crypto::aws_lc_rs::default_provider;
    let listener = listener(agent);
    let address = listener.local_address().unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(support::Credulous));
    let mut tls = match certificate {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key.into()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    let stranger_side = async {
        if let Ok(connection) = endpoint.connect_with(config, address, "x").unwrap().await {
            connection.closed().await;
        }
    };
    let agent_side = async { listener.accept().await.unwrap().handshake().await.map(|peer| peer.identity.to_string()) };
    let (outcome, ()) = tokio::join!(agent_side, stranger_side);
    outcome
}

#[tokio::test]
async fn a_server_with_another_protocol_is_told_apart() {
    let ca = Ca::new();
    let identity = std::sync::Arc::new(ca.issue(&Wish::agent("web1")));
    let mut tls = rustle_protocol::tls::server_config(&identity, Default::default());
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let dialer = dialer(ca.issue(&Wish::controller("ops")));
    let wanted = host("web1");
    let other_side = async { endpoint.accept().await.unwrap().await };
    let (_, outcome) = tokio::join!(other_side, dialer.connect(&wanted, endpoint.local_addr().unwrap()));
    let fault = outcome.unwrap_err();
    assert!(matches!(&fault, ConnectionFault::RefusedByPeer { complaint: Complaint::OtherProtocol, .. }), "{fault:?}");
    assert!(fault.hint().contains("port"));
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_a_timeout_with_advice() {
    let ca = Ca::new();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = TransportOptions { idle_timeout: Duration::from_millis(500), ..TransportOptions::default() };
    let dialer = Dialer::bind(ca.issue(&Wish::controller("ops")), &options).unwrap();
    let fault = dialer.connect(&host("web1"), silent.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(fault, ConnectionFault::TimedOut { peer: Role::Agent });
    assert!(fault.hint().contains("UDP"));
    assert!(fault.is_transient());
}

#[tokio::test]
async fn an_endpoint_takes_only_an_identity_of_its_own_role() {
    let ca = Ca::new();
    let options = TransportOptions::default();
    assert!(Dialer::bind(ca.issue(&Wish::agent("web1")), &options).is_err());
    let address = "127.0.0.1:0".parse().unwrap();
    assert!(Listener::bind(address, ca.issue(&Wish::controller("ops")), &options).is_err());
}

#[tokio::test]
async fn a_revocation_reaches_connections_that_are_open_and_those_to_come() {
    let ca = Ca::new();
    let listener = listener(ca.issue(&Wish::agent("web1")));
    let dialer = dialer(ca.issue(&Wish { serial: 66, ..Wish::controller("ops") }));
    let (web1, address) = (host("web1"), listener.local_address().unwrap());
    let accept = async { listener.accept().await.unwrap().handshake().await };

    let (seen_by_agent, seen_by_controller) = tokio::join!(accept, dialer.connect(&web1, address));
    let (seen_by_agent, _held) = (seen_by_agent.unwrap(), seen_by_controller.unwrap());
    assert_eq!(seen_by_agent.recheck(), Ok(()));

    let us = listener.identity().with_revocations(ca.revoke(&[66])).unwrap().expect("it revokes something new");
    listener.replace_identity(us).unwrap();
    assert!(matches!(seen_by_agent.recheck(), Err(PeerRefused::Revoked { .. })));

    let accept = async { listener.accept().await.unwrap().handshake().await };
    let (refused, _) = tokio::join!(accept, dialer.connect(&web1, address));
    assert!(matches!(refused, Err(ConnectionFault::PeerRefused { refused: PeerRefused::Revoked { .. }, .. })));
}

#[tokio::test]
async fn a_close_code_reaches_the_other_side_as_a_sentence() {
    let ca = Ca::new();
    let listener = listener(ca.issue(&Wish::agent("web1")));
    let dialer = dialer(ca.issue(&Wish::controller("ops")));
    let (web1, address) = (host("web1"), listener.local_address().unwrap());
    let accept = async { listener.accept().await.unwrap().handshake().await };
    let (_agent_side, peer) = tokio::join!(accept, dialer.connect(&web1, address));
    let peer = peer.unwrap();
    listener.close(close::SHUTDOWN, "for an upgrade\x1b[31m", Duration::from_secs(5)).await;
    let fault = peer.fault(&peer.connection.closed().await);
    assert_eq!(fault.to_string(), r"the agent ended the connection: it is shutting down (for an upgrade\u{1b}[31m)");
    assert!(fault.is_transient());
}
