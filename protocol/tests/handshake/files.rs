//! Identities read from files: what is refused, and that the sentence says how to mend it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use rustle_protocol::LoadedIdentity;
use rustle_protocol::loaded_identity::{IdentityFiles, LoadError};

use crate::support::{Ca, Wish};

/// A directory as `pki issue` leaves it.
fn identity_dir(ca: &Ca, wish: &Wish) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = ca.certificate_and_key(wish);
    let write = |name: &str, label: &str, der: &[u8]| {
        fs::write(dir.path().join(name), pem(label, der)).unwrap();
    };
    write("cert.pem", "CERTIFICATE", &chain[0]);
    write("key.pem", "PRIVATE KEY", key.secret_pkcs8_der());
    write("ca.pem", "CERTIFICATE", &ca.certificate);
    write("crl.pem", "X509 CRL", &ca.revoke(&[]));
    chmod(&dir.path().join("key.pem"), 0o600);
    chmod(dir.path(), 0o700);
    dir
}

fn pem(label: &str, der: &[u8]) -> String {
    use std::fmt::Write;
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, three) in der.chunks(3).enumerate() {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * digit)) as usize & 63];
            let letter = if digit > three.len() { '=' } else { char::from(letter) };
            write!(text, "{letter}").unwrap();
        }
        if index % 16 == 15 {
            text.push('\n');
        }
    }
    text + &format!("\n-----END {label}-----\n")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load(dir: &Path) -> Result<LoadedIdentity, LoadError> {
    LoadedIdentity::load(&IdentityFiles::in_dir(dir))
}

#[test]
fn an_identity_is_loaded_from_its_directory() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    let loaded = load(dir.path()).unwrap();
    assert_eq!(loaded.identity().to_string(), "rustle://demo/agent/web1");
    assert_eq!(loaded.trust().revocation_lists().count(), 1);
}

#[test]
fn a_missing_revocation_list_means_that_nothing_is_revoked() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    fs::remove_file(dir.path().join("crl.pem")).unwrap();
    assert_eq!(load(dir.path()).unwrap().trust().revocation_lists().count(), 0);
}

#[test]
fn a_revocation_list_that_is_there_and_cannot_be_read_fails_closed() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    for content in ["", "nothing", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
        fs::write(dir.path().join("crl.pem"), content).unwrap();
        assert!(load(dir.path()).is_err(), "{content:?}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    let key = dir.path().join("key.pem");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        chmod(&key, mode);
        let sentence = load(dir.path()).unwrap_err().to_string();
        assert_eq!(
            sentence,
            format!(
                "key file `{key}` has mode {mode:04o}: others can get at it; it must be 0600 or tighter \
                 (run: chmod 600 {key})",
                key = key.display()
            )
        );
    }
    for mode in [0o600, 0o400] {
        chmod(&key, mode);
        assert!(load(dir.path()).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_key_in_a_directory_where_others_can_write_is_refused() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    for mode in [0o777, 0o770, 0o1777] {
        chmod(dir.path(), mode);
        let sentence = load(dir.path()).unwrap_err().to_string();
        assert!(sentence.contains(&format!("has mode {mode:04o}")), "{sentence}");
        assert!(sentence.contains("chmod 700"), "{sentence}");
    }
    chmod(dir.path(), 0o755);
    assert!(load(dir.path()).is_ok());
}

#[test]
fn a_link_to_a_key_is_judged_by_where_the_key_is() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("key.pem");
    fs::rename(dir.path().join("key.pem"), &real).unwrap();
    std::os::unix::fs::symlink(&real, dir.path().join("key.pem")).unwrap();
    assert!(load(dir.path()).is_ok());
    chmod(elsewhere.path(), 0o777);
    assert!(matches!(load(dir.path()), Err(LoadError::DirMode { .. })));
}

#[test]
fn a_key_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    let key = dir.path().join("key.pem");
    std::os::unix::fs::chown(&key, Some(4242), None).unwrap();
    let sentence = load(dir.path()).unwrap_err().to_string();
    assert!(sentence.contains("belongs to user 4242") && sentence.contains("chown 0 "), "{sentence}");
}

#[test]
fn a_key_that_is_no_file_is_refused_at_once() {
    let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
    let key = dir.path().join("key.pem");
    fs::remove_file(&key).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &key, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::NotAFile { .. })));
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let ca = Ca::new();
    let (dir, other) = (identity_dir(&ca, &Wish::agent("web1")), identity_dir(&ca, &Wish::agent("web1")));
    fs::rename(other.path().join("key.pem"), dir.path().join("key.pem")).unwrap();
    assert!(matches!(load(dir.path()), Err(LoadError::Key(_))));
}

#[test]
fn a_missing_file_is_named() {
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
        fs::remove_file(dir.path().join(name)).unwrap();
        let sentence = load(dir.path()).unwrap_err().to_string();
        assert!(sentence.starts_with("failed to read `") && sentence.contains(name), "{sentence}");
    }
}

#[test]
fn nothing_of_a_key_is_printed() {
    let ca = Ca::new();
    let (chain, key) = ca.certificate_and_key(&Wish::agent("web1"));
    let loaded =
        LoadedIdentity::new(chain, key.clone_key().into(), std::slice::from_ref(&ca.certificate), vec![]).unwrap();
    assert_eq!(
        format!("{loaded:?}"),
        "LoadedIdentity { identity: Identity { fleet: FleetName(\"demo\"), role: Agent, name: HostName(\"web1\") }, .. }"
    );

    let dir = identity_dir(&ca, &Wish::agent("web1"));
    let secret = "MC4CAQAwBQYDK2VwBCIEI";
    fs::write(dir.path().join("key.pem"), format!("-----BEGIN PRIVATE KEY-----\n{secret}\n?")).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_full_of_anything_are_refused(file in 0usize..4, content in proptest::collection::vec(any::<u8>(), 0..300), begin: bool) {
        let dir = identity_dir(&Ca::new(), &Wish::agent("web1"));
        let (name, label) = [
            ("cert.pem", "CERTIFICATE"), ("key.pem", "PRIVATE KEY"), ("ca.pem", "CERTIFICATE"), ("crl.pem", "X509 CRL"),
        ][file];
        let content = if begin { pem(label, &content).into_bytes() } else { content };
        fs::write(dir.path().join(name), content).unwrap();
        prop_assert!(load(dir.path()).is_err());
    }
}
