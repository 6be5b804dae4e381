//! Whom a controller and an agent believe, and how the operator is told why not.

use std::path::{Path, PathBuf};

use rustle_exec::pki::Authority;
use rustle_protocol::Role;
use rustle_tests::{Ended, Fleet, Run};

/// One host of `fleet` under this name and address, asked by this identity, once.
fn ask(fleet: &Fleet, host: &str, address: &str, identity: &Path) -> Run {
    let (ip, port) = address.rsplit_once(':').unwrap();
    let inventory = fleet.path().join(format!("{host}-{port}.ini"));
    std::fs::write(&inventory, format!("{host} rustle_host={ip} rustle_port={port}\n")).unwrap();
    std::fs::write(fleet.path().join("quick.toml"), "[performance]\nidle_s = 2\nkeep_alive_s = 1\n").unwrap();
    let run = Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping", "--retries", "0", "--config", "quick.toml"]);
    run.arg("-i").arg(inventory).arg("--identity").arg(identity)
}

/// The sentence of an unreachable host.
fn sentence(ended: &Ended) -> String {
    let (_, rest) = ended.stdout.split_once("UNREACHABLE! => ").expect("the host is unreachable");
    let values: serde_json::Value = serde_json::from_str(rest).unwrap();
    values["msg"].as_str().unwrap().to_owned()
}

/// The sentence, with the fleet's address in it made known.
fn refusal(fleet: &Fleet, host: &str, identity: &Path) -> String {
    let address = fleet.address("web1").to_string();
    let ended = ask(fleet, host, &address, identity).ends(4);
    assert!(!ended.stdout.contains("SUCCESS"), "{}", ended.stdout);
    sentence(&ended).replace(&address, "[ADDRESS]")
}

fn another_authority(fleet: &Fleet) -> PathBuf {
    let authority = Authority::create(&fleet.path().join("other"), "tests".parse().unwrap(), 2).unwrap();
    let folder = fleet.path().join("eve");
    for issued in authority.issue(Role::Controller, &["eve".parse().unwrap()], 2).unwrap() {
        authority.write_folder(&issued, &folder).unwrap();
    }
    folder
}

#[test]
fn where_no_agent_listens_the_host_is_unreachable_within_seconds() {
    let fleet = Fleet::start(&["web1"]);
    // A bound port that nobody answers from: nobody else can be given it meanwhile.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ended = ask(&fleet, "web1", &address, &fleet.controller()).ends(4);
    insta::assert_snapshot!(sentence(&ended).replace(&address, "[ADDRESS]"), @"[ADDRESS] (UDP): the agent did not answer in time; hint: check that rustle-agent runs on the host, that address and port are right, and that UDP gets through");
    assert_eq!(ended.answers(), ["web1 | UNREACHABLE!"]);
}

#[test]
fn a_closed_port_is_unreachable_too() {
    let fleet = Fleet::start(&["web1"]);
    let ended = ask(&fleet, "web1", "127.0.0.1:1", &fleet.controller()).ends(4);
    assert!(sentence(&ended).starts_with("127.0.0.1:1 (UDP): "), "{}", ended.stdout);
}

#[test]
fn a_name_that_cannot_be_resolved_is_told() {
    let fleet = Fleet::start(&["web1"]);
    let ended = ask(&fleet, "web1", "no-such-name.invalid:7443", &fleet.controller()).ends(4);
    let said = sentence(&ended);
    assert!(said.starts_with("the name `no-such-name.invalid` cannot be resolved: "), "{said}");
    assert!(said.ends_with("; hint: set rustle_host for `web1` in the inventory, or mend the name service"), "{said}");
}

#[test]
fn one_unreachable_host_keeps_no_other_from_its_work() {
    let fleet = Fleet::start(&["web1"]);
    let inventory = std::fs::read_to_string(fleet.inventory()).unwrap() + "web2 rustle_host=no-such-name.invalid\n";
    std::fs::write(fleet.inventory(), inventory).unwrap();
    let ended = fleet.adhoc("ping", "").ends(4);
    assert_eq!(ended.answers(), ["web1 | SUCCESS", "web2 | UNREACHABLE!"]);
}

#[test]
fn a_controller_of_another_ca_is_refused() {
    let fleet = Fleet::start(&["web1"]);
    let said = refusal(&fleet, "web1", &another_authority(&fleet));
    insta::assert_snapshot!(said, @"[ADDRESS] (UDP): we do not accept the agent: its certificate is from another CA, not from that of fleet `tests`; hint: check that ca.pem is the same on both sides; `rustle-exec pki issue` makes identities");
}

#[test]
fn an_agent_that_answers_for_another_host_is_refused() {
    let fleet = Fleet::start(&["web1"]);
    let said = refusal(&fleet, "web2", &fleet.controller());
    insta::assert_snapshot!(said, @"[ADDRESS] (UDP): we do not accept the agent: its certificate is `rustle://tests/agent/web1`, and host `web2` is wanted; hint: check the host's address in the inventory, and which identity is installed on that host");
}

#[test]
fn an_agents_certificate_gives_no_work() {
    let fleet = Fleet::start(&["web1"]);
    let folder = fleet.path().join("rogue");
    fleet.identity(Role::Agent, "rogue", &folder);
    let ended = ask(&fleet, "web1", &fleet.address("web1").to_string(), &folder).ends(5);
    insta::assert_snapshot!(ended.stderr, @"error: the identity `rustle://tests/agent/rogue` is that of the other side: here a controller's is wanted");
}

#[test]
fn a_revoked_controller_is_refused_by_an_agent_that_has_the_list() {
    let fleet = Fleet::start(&["web1"]);
    let folder = fleet.path().join("mallory");
    fleet.identity(Role::Controller, "mallory", &folder);
    let address = fleet.address("web1").to_string();
    ask(&fleet, "web1", &address, &folder).ends(0);
    fleet.authority().revoke("mallory").unwrap();
    // The operator's next run brings the list along.
    std::fs::write(fleet.controller().join("crl.pem"), fleet.authority().crl_pem().unwrap()).unwrap();
    fleet.adhoc("ping", "").ends(0);
    rustle_tests::eventually("the agent took the list", || fleet.log("web1").contains("revocation list").then_some(()));
    let said = refusal(&fleet, "web1", &folder);
    assert!(said.contains("revoked"), "{said}");
}

#[test]
fn a_revoked_agent_is_refused_by_a_controller_that_has_the_list() {
    let fleet = Fleet::start(&["web1"]);
    fleet.authority().revoke("web1").unwrap();
    std::fs::write(fleet.controller().join("crl.pem"), fleet.authority().crl_pem().unwrap()).unwrap();
    let said = refusal(&fleet, "web1", &fleet.controller());
    assert!(said.contains("we do not accept the agent") && said.contains("revoked"), "{said}");
}

#[test]
fn a_controller_that_knows_it_is_revoked_does_not_set_out() {
    let fleet = Fleet::start(&["web1"]);
    fleet.authority().revoke("operator").unwrap();
    std::fs::write(fleet.controller().join("crl.pem"), fleet.authority().crl_pem().unwrap()).unwrap();
    let ended = fleet.adhoc("ping", "").ends(5);
    assert!(ended.stderr.contains("would be refused") && ended.stderr.contains("revoked"), "{}", ended.stderr);
    assert!(ended.stderr.contains("\nhint: issue a new one with `rustle-exec pki issue`"), "{}", ended.stderr);
}

#[test]
fn an_expired_certificate_is_told_with_its_end() {
    let fleet = Fleet::start(&["web1"]);
    // No authority issues what is over already; one of the same keys with an older certificate stands in for time.
    let folder = fleet.path().join("old");
    fleet.identity(Role::Controller, "old", &folder);
    expire(&fleet, &folder);
    let ended = ask(&fleet, "web1", &fleet.address("web1").to_string(), &folder).ends(5);
    assert!(ended.stderr.contains("expired"), "{}", ended.stderr);
}

/// Puts a certificate of the fleet's CA into `folder` whose time is over.
fn expire(fleet: &Fleet, folder: &Path) {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read(fleet.authority().dir().join("ca-key.pem"))).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(fleet.authority().ca_pem(), ca_key).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI("rustle://tests/controller/old".try_into().unwrap())];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let key = rcgen::KeyPair::from_pem(&read(folder.join("key.pem"))).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let fleet = Fleet::start(&["web1"]);
    let key = fleet.controller().join("key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = fleet.adhoc("ping", "").ends(5);
    assert!(ended.stderr.contains("key.pem") && ended.stderr.contains("chmod"), "{}", ended.stderr);
}
