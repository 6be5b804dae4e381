//! The certificate authority as its users meet it: commands in, files and sentences out, and certificates that the real
//! transport takes.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Parser;
use rustle_exec::pki::{Authority, PkiCommand, PkiError, Reissue};
use rustle_protocol::endpoint::{Dialer, Listener};
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::trust::{Expected, PeerRefused};
use rustle_protocol::{FleetName, HostName, LoadedIdentity, Role, request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::FromDer;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    pki: PkiCommand,
}

struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { root: tempfile::tempdir().unwrap() }
    }

    /// With an authority for fleet `demo`.
    fn with_authority() -> Scene {
        let scene = Scene::new();
        scene.pki("init --fleet demo").unwrap();
        scene
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Runs `rustle-exec pki …`; `{}` in the words stands for the scene's directory.
    fn pki(&self, words: &str) -> Result<String, PkiError> {
        let words = words.replace("{}", self.root.path().to_str().unwrap());
        let dir = self.path("pki");
        let line = ["pki", "--dir", dir.to_str().unwrap()].into_iter().chain(words.split_whitespace());
        let mut out = Vec::new();
        CommandLine::try_parse_from(line).unwrap().pki.run(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.path("pki")).unwrap()
    }

    fn load(&self, folder: &str) -> LoadedIdentity {
        LoadedIdentity::load(&IdentityFiles::in_dir(&self.path(folder))).unwrap()
    }

    fn crl(&self) -> CertificateRevocationListDer<'static> {
        CertificateRevocationListDer::from_pem_file(self.path("pki/crl.pem")).unwrap()
    }

    fn sentence(&self, words: &str) -> String {
        self.pki(words).unwrap_err().to_string()
    }
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn demo() -> FleetName {
    "demo".parse().unwrap()
}

fn modes(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        found.push((entry.path(), metadata.mode() & 0o777));
        if metadata.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn an_issued_folder_is_an_identity_that_both_sides_accept() {
    let scene = Scene::with_authority();
    scene.pki("issue controller ops").unwrap();
    let answer = scene.pki("issue agent web1 WEB_2").unwrap();
    assert!(answer.contains("rustle://demo/agent/web1 until "), "{answer}");
    assert!(answer.contains("/etc/rustle-agent/identity"), "{answer}");

    let (ops, web1) = (scene.load("pki/issued/ops"), scene.load("pki/issued/web1"));
    let now = UnixTime::now();
    assert_eq!(ops.trust().verify(web1.chain(), &Expected::Agent(host("web1")), now).unwrap(), *web1.identity());
    assert_eq!(web1.trust().verify(ops.chain(), &Expected::Controller, now).unwrap(), *ops.identity());
    assert_eq!(scene.load("pki/issued/WEB_2").identity().name.as_str(), "WEB_2");
}

#[tokio::test]
async fn identities_of_one_authority_meet_over_the_network() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::create(&root.path().join("pki"), demo(), 30).unwrap();
    let load = |role, name| authority.load(&authority.issue(role, &[host(name)], 7).unwrap()[0]).unwrap();
    let options = TransportOptions::default();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), load(Role::Agent, "web1"), &options).unwrap();
    let dialer = Dialer::bind(load(Role::Controller, "ops"), &options).unwrap();
    let (web1, address) = (host("web1"), listener.local_address().unwrap());
    let accept = async { listener.accept().await.unwrap().handshake().await };
    let (controller, agent) = tokio::join!(accept, dialer.connect(&web1, address));
    assert_eq!(controller.unwrap().identity.to_string(), "rustle://demo/controller/ops");
    assert_eq!(agent.unwrap().identity.to_string(), "rustle://demo/agent/web1");
}

#[test]
fn a_certificate_begins_an_hour_ago_and_ends_when_asked() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1 --days 30").unwrap();
    let validity = scene.load("pki/issued/web1").validity();
    assert_eq!(validity.not_after.as_secs() - validity.not_before.as_secs(), 30 * 24 * 3600 + 3600);
}

#[test]
fn no_certificate_outlives_the_ca() {
    let scene = Scene::new();
    scene.pki("init --fleet demo --days 10").unwrap();
    scene.pki("issue agent web1 --days 365").unwrap();
    let authority = scene.authority();
    assert_eq!(authority.entries().unwrap()[0].not_after, authority.not_after());
}

#[test]
fn every_file_has_the_mode_it_should() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    scene.pki("issue agent web2 --out {}/carry").unwrap();
    scene.pki("request --role agent --name web3 --out {}/web3").unwrap();
    scene.pki("revoke web2").unwrap();
    let mut found = Vec::new();
    modes(scene.root.path(), &mut found);
    for (path, mode) in found {
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true => assert_eq!(mode, 0o700, "{}", path.display()),
            false if ["key.pem", "ca-key.pem", "index.jsonl", "lock"].contains(&name) => {
                assert_eq!(mode, 0o600, "{}", path.display());
            }
            false => {
                assert!(["ca.pem", "cert.pem", "crl.pem", "request.pem"].contains(&name), "what is {name}?");
                assert_eq!(mode & !0o644, 0, "{}", path.display());
            }
        }
    }
}

#[test]
fn an_authority_is_never_replaced() {
    let scene = Scene::with_authority();
    let key = fs::read(scene.path("pki/ca-key.pem")).unwrap();
    assert!(matches!(scene.pki("init --fleet other"), Err(PkiError::AuthorityExists { .. })));
    assert_eq!(fs::read(scene.path("pki/ca-key.pem")).unwrap(), key);
}

#[test]
fn an_init_that_was_cut_off_can_be_done_again() {
    let scene = Scene::with_authority();
    fs::remove_file(scene.path("pki/ca.pem")).unwrap();
    assert!(matches!(scene.pki("list"), Err(PkiError::NoAuthority { .. })));
    scene.pki("init --fleet demo").unwrap();
    scene.pki("issue agent web1").unwrap();
}

#[test]
fn without_an_authority_the_answer_says_how_to_make_one() {
    let sentence = Scene::new().sentence("issue agent web1");
    assert!(sentence.contains("rustle-exec pki init"), "{sentence}");
}

#[test]
fn an_authority_that_others_can_get_at_is_not_used() {
    let scene = Scene::with_authority();
    fs::set_permissions(scene.path("pki"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(scene.sentence("issue agent web1").contains("chmod 700"));
    fs::set_permissions(scene.path("pki"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(scene.path("pki/ca-key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(scene.sentence("issue agent web1").contains("chmod 600"));
}

#[test]
fn a_name_that_has_a_good_certificate_gets_no_second_one_by_accident() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    let sentence = scene.sentence("issue agent web2 web1");
    assert!(sentence.contains("rustle-exec pki renew web1"), "{sentence}");
    assert_eq!(scene.authority().entries().unwrap().len(), 1, "all names or none");
    scene.pki("revoke web1").unwrap();
    scene.pki("issue agent web1").unwrap();
}

#[test]
fn one_name_has_one_role() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    assert!(matches!(scene.pki("issue controller web1"), Err(PkiError::OtherRole { .. })));
}

#[test]
fn names_that_could_do_harm_issue_nothing() {
    let scene = Scene::with_authority();
    for name in ["../ca-key.pem", "a/b", "*", "con"] {
        assert!(matches!(scene.pki(&format!("issue agent good {name}")), Err(PkiError::Name(_))), "{name}");
    }
    assert!(matches!(scene.pki("issue agent web1 web1"), Err(PkiError::NamedTwice(_))));
    assert!(scene.authority().entries().unwrap().is_empty());
}

#[test]
fn a_key_outside_the_authority_is_not_overwritten() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1 --out {}/carry").unwrap();
    let key = fs::read(scene.path("carry/web1/key.pem")).unwrap();
    assert!(matches!(scene.pki("renew web1 --out {}/carry"), Err(PkiError::File(_))));
    assert_eq!(fs::read(scene.path("carry/web1/key.pem")).unwrap(), key);
}

#[test]
fn a_request_carried_to_the_authority_comes_back_as_an_identity() {
    let scene = Scene::with_authority();
    let answer = scene.pki("request --role agent --name web1 --out {}/host").unwrap();
    assert!(answer.contains("rustle-exec pki sign request.pem web1 --as agent"), "{answer}");
    scene.pki("sign {}/host/request.pem web1 --as agent --out {}/stick").unwrap();
    assert!(!scene.path("stick/web1/key.pem").exists(), "the key never travels");
    for file in ["cert.pem", "ca.pem", "crl.pem"] {
        fs::copy(scene.path("stick/web1").join(file), scene.path("host").join(file)).unwrap();
    }
    let web1 = scene.load("host");
    assert_eq!(web1.identity().to_string(), "rustle://demo/agent/web1");
    assert_eq!(web1.problem_at(UnixTime::now()), None);
}

#[test]
fn a_request_decides_nothing_but_the_key() {
    let scene = Scene::with_authority();
    // It asks to be a CA, with a controller's name and a wildcard.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["*.example.org".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names.push(rcgen::SanType::URI("rustle://demo/controller/evil".try_into().unwrap()));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let path = scene.path("request.pem");
    fs::write(&path, params.serialize_request(&key).unwrap().pem().unwrap()).unwrap();

    let issued = scene.authority().sign(&path, Role::Agent, &host("web1"), 30, Reissue::Refuse).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&issued.certificate).unwrap();
    assert!(!certificate.is_ca());
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [x509_parser::prelude::GeneralName::URI("rustle://demo/agent/web1")]);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    assert_eq!(certificate.public_key().subject_public_key.data, key.public_key_raw());
    assert!(issued.key_pem().is_none());
}

#[test]
fn a_request_that_is_not_signed_by_its_own_key_is_refused() {
    let scene = Scene::with_authority();
    let authority = scene.authority();
    let path = request::make(&scene.path("host"), Role::Agent, &host("web1")).unwrap();
    let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_file(&path).unwrap();
    // The outer SEQUENCE's header of three bytes, what is signed, the algorithm's name, and the signature of 64 bytes.
    let (_, parsed) = x509_parser::certification_request::X509CertificationRequest::from_der(&der).unwrap();
    let signed = 3..3 + parsed.certification_request_info.raw.len();
    for byte in signed.chain(der.len() - 64..der.len()) {
        let mut damaged = der.to_vec();
        damaged[byte] ^= 1;
        fs::write(&path, pem(&damaged)).unwrap();
        let refused = authority.sign(&path, Role::Agent, &host("web1"), 30, Reissue::Refuse);
        assert!(matches!(refused, Err(PkiError::Request { .. })), "byte {byte}");
    }
    fs::write(&path, "no request at all").unwrap();
    assert!(scene.sentence("sign {}/host/request.pem web1 --as agent").contains("not a certificate request"));
    assert!(authority.entries().unwrap().is_empty());
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn a_request_for_a_name_that_has_a_certificate_needs_to_say_so() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    scene.pki("request --role agent --name web1 --out {}/host").unwrap();
    let sign = "sign {}/host/request.pem web1 --as agent --out {}/stick";
    assert!(matches!(scene.pki(sign), Err(PkiError::StillValid { .. })));
    scene.pki(&format!("{sign} --renew")).unwrap();
}

#[test]
fn a_revocation_reaches_the_list_and_the_folders_of_the_authority() {
    let scene = Scene::with_authority();
    scene.pki("issue controller ops").unwrap();
    scene.pki("issue agent web1").unwrap();
    let web1 = scene.load("pki/issued/web1");
    let answer = scene.pki("revoke web1").unwrap();
    assert!(answer.contains("revoked: rustle://demo/agent/web1 serial "), "{answer}");

    let ops = scene.load("pki/issued/ops");
    let verdict = ops.trust().verify(web1.chain(), &Expected::Agent(host("web1")), UnixTime::now());
    assert!(matches!(verdict, Err(PeerRefused::Revoked { .. })), "{verdict:?}");
    assert!(scene.pki("list").unwrap().contains("revoked"));
}

#[test]
fn each_list_is_newer_than_the_one_before() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1 web2").unwrap();
    let first = scene.load("pki/issued/web1");
    scene.pki("revoke web2").unwrap();
    let older = scene.crl();
    let second = first.with_revocations(older.clone()).unwrap().expect("web2 is new in it");
    scene.pki("revoke web1").unwrap();
    let third = second.with_revocations(scene.crl()).unwrap().expect("web1 is new in it");
    assert!(third.with_revocations(older).is_err());
}

#[test]
fn a_revocation_by_serial_number_leaves_the_others_of_that_name() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    let old = scene.load("pki/issued/web1");
    scene.pki("renew web1").unwrap();
    let renewed = scene.load("pki/issued/web1");
    assert_ne!(old.chain(), renewed.chain());

    let serial = scene.authority().entries().unwrap()[0].serial;
    scene.pki(&format!("revoke {serial}")).unwrap();
    let us = scene.load("pki/issued/web1");
    let verdict =
        |peer: &LoadedIdentity| us.trust().verify(peer.chain(), &Expected::Agent(host("web1")), UnixTime::now());
    assert!(matches!(verdict(&old), Err(PeerRefused::Revoked { .. })));
    assert!(verdict(&renewed).is_ok());
}

#[test]
fn a_renewal_does_not_cut_off_what_is_running() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    let old = scene.load("pki/issued/web1");
    let answer = scene.pki("renew web1").unwrap();
    assert!(answer.contains("the old certificate stays good"), "{answer}");
    let us = scene.load("pki/issued/web1");
    assert!(us.trust().verify(old.chain(), &Expected::Agent(host("web1")), UnixTime::now()).is_ok());
}

#[test]
fn who_was_revoked_is_not_let_in_again_by_a_renewal() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    scene.pki("revoke web1").unwrap();
    assert!(matches!(scene.pki("renew web1"), Err(PkiError::NothingToRenew(_))));
    assert!(matches!(scene.pki("renew web9"), Err(PkiError::Unknown(_))));
    assert!(matches!(scene.pki("revoke web9"), Err(PkiError::Unknown(_))));
}

#[test]
fn the_list_marks_what_ends_soon_and_is_json_on_demand() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1 --days 20").unwrap();
    scene.pki("issue agent web2 --days 200").unwrap();
    let text = scene.pki("list").unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("web1").contains(" expiring ") && line("web2").contains(" valid "), "{text}");

    let json: serde_json::Value = serde_json::from_str(&scene.pki("list --json").unwrap()).unwrap();
    assert_eq!(json[0]["status"], "expiring");
    assert_eq!(json[1]["identity"], "rustle://demo/agent/web2");
    assert_eq!(json[1]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn many_who_issue_at_once_do_not_lose_each_others_certificates() {
    let scene = Scene::with_authority();
    let (threads, each) = (8, 5);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let scene = &scene;
            scope.spawn(move || {
                for number in 0..each {
                    scene.pki(&format!("issue agent host-{thread}-{number}")).unwrap();
                }
            });
        }
    });
    let entries = scene.authority().entries().unwrap();
    let serials: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry.serial).collect();
    assert_eq!((entries.len(), serials.len()), (threads * each, threads * each));
}

#[test]
fn a_thousand_identities_are_made_in_one_go() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::create(&root.path().join("pki"), demo(), 30).unwrap();
    let names: Vec<_> = (1..=1000).map(|number| host(&format!("lab{number}"))).collect();
    let begun = std::time::Instant::now();
    let issued = authority.issue(Role::Agent, &names, 7).unwrap();
    eprintln!("1000 keys and certificates in {:?}", begun.elapsed());
    assert_eq!(issued.len(), 1000);
    assert_eq!(authority.load(&issued[999]).unwrap().identity().name, names[999]);
    assert_eq!(authority.entries().unwrap().len(), 1000);
}

#[test]
fn a_damaged_index_stops_everything_with_its_line() {
    let scene = Scene::with_authority();
    scene.pki("issue agent web1").unwrap();
    let path = scene.path("pki/index.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let sentence = scene.sentence("issue agent web2");
    assert!(sentence.contains("index.jsonl` line 2: "), "{sentence}");
}

#[test]
fn nothing_of_a_key_is_printed() {
    let root = tempfile::tempdir().unwrap();
    let authority = Authority::create(&root.path().join("pki"), demo(), 30).unwrap();
    let issued = authority.issue(Role::Agent, &[host("web1")], 7).unwrap().remove(0);
    let printed = format!("{authority:?} {issued:?}");
    let key = issued.key_pem().unwrap();
    let body: Vec<_> = key.lines().filter(|line| !line.starts_with("---")).collect();
    assert!(!body.is_empty() && body.iter().all(|line| !printed.contains(line)));
}

#[test]
fn every_command_in_the_documentation_is_one() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/identity.md")).unwrap();
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("    rustle-exec ")).collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let words = command.split_whitespace().take_while(|word| !["#", "<"].contains(word));
        assert!(CommandLine::try_parse_from(words).is_ok(), "{command}");
    }
}
