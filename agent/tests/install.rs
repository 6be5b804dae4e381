//! What `deploy/` promises: the example configuration is complete and true, the service waits for the drain, and
//! `install.sh` installs an agent that runs on a host with next to nothing on it.

#![expect(clippy::unwrap_used, reason = "a test ends where something it needs is not there")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustle_agent::config::{Config, Limits};
use rustle_agent::policy::Policy;
use rustle_agent::runner::STOP_WAIT;

/// What `test-install.sh` ends with where it cannot be root.
const SKIPPED: i32 = 77;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).unwrap()
}

/// The example with its commented defaults made real.
fn uncommented(text: &str) -> String {
    let is_key = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_default =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.trim_start_matches(is_key).starts_with(" = "));
    text.lines().map(|line| if is_default(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

fn load(text: &str) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(file.path()).map_err(|error| error.to_string())
}

#[test]
fn the_example_configuration_shows_the_defaults() {
    let example = load(&read("agent.toml")).unwrap();
    let shown = load(&uncommented(&read("agent.toml"))).unwrap();
    assert_eq!(example, load("identity = '/etc/rustle-agent/identity'").unwrap());
    assert_eq!(shown, example);
    assert_eq!((shown.limits, shown.policy), (Limits::default(), Policy::default()));
}

#[test]
fn the_example_configuration_has_every_key() {
    let shown = uncommented(&read("agent.toml"));
    for section in ["", "[limits]", "[policy]"] {
        let with_unknown = match section {
            "" => format!("no_such_key = 1\n{shown}"),
            section => shown.replace(section, &format!("{section}\nno_such_key = 1")),
        };
        let error = load(&with_unknown).unwrap_err();
        let (_, known) = error.split_once("expected one of ").expect("the error lists the keys there are");
        for key in known.split('`').skip(1).step_by(2) {
            let is_there =
                shown.lines().any(|line| line.starts_with(&format!("{key} = ")) || line == format!("[{key}]"));
            assert!(is_there, "`{key}` of {section} is missing in deploy/agent.toml");
        }
    }
}

#[test]
fn the_service_waits_longer_than_a_drain_takes() {
    let unit = read("rustle-agent.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let stop = Duration::from_secs(stop.parse().unwrap());
    assert!(stop >= Limits::default().drain() + STOP_WAIT + Duration::from_secs(5), "{stop:?}");
    for (script, key) in [("rustle-agent.openrc", "retry=TERM/"), ("rustle-agent.init", "stop_wait_s=")] {
        let wait = read(script).lines().find_map(|line| Some(line.strip_prefix(key)?.to_owned())).unwrap();
        let digits: String = wait.chars().take_while(char::is_ascii_digit).collect();
        assert_eq!(Duration::from_secs(digits.parse().unwrap()), stop, "{script}");
    }
}

#[test]
fn install_sh_installs_an_agent_that_runs_in_a_bare_root() {
    let dir = tempfile::tempdir().unwrap();
    write_identity(dir.path());
    let tried = Command::new("sh")
        .arg(deploy().join("test-install.sh"))
        .args([Path::new(env!("CARGO_BIN_EXE_rustle-agent")), dir.path()])
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&tried.stdout), String::from_utf8_lossy(&tried.stderr));
    match tried.status.code() {
        Some(SKIPPED) => eprintln!("NOT TESTED: deploy/install.sh needs root or user namespaces: {said}"),
        code => assert_eq!(code, Some(0), "{said}"),
    }
}

/// `cert.pem`, `key.pem` and `ca.pem` of agent web1, as `rustle-exec pki issue agent web1` writes them.
fn write_identity(dir: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("rustle://demo/agent/web1".try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    for (name, content) in [("cert.pem", certificate), ("key.pem", key.serialize_pem()), ("ca.pem", ca_pem)] {
        std::fs::write(dir.join(name), content).unwrap();
    }
}
