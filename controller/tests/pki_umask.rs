//! Alone in its process, since the umask is the whole process's.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustle_exec::pki::Authority;
use rustle_protocol::{HostName, Role, request};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn a_umask_of_nothing_opens_nothing_to_others() {
    let root = tempfile::tempdir().unwrap();
    rustix::process::umask(rustix::fs::Mode::empty());
    let dir = root.path().join("pki");
    let name = HostName::new("web1").unwrap();
    let authority = Authority::create(&dir, "demo".parse().unwrap(), 30).unwrap();
    let issued = authority.issue(Role::Agent, std::slice::from_ref(&name), 7).unwrap().remove(0);
    let folder = authority.folder(&name);
    authority.write_folder(&issued, &folder).unwrap();
    request::make(&root.path().join("host"), Role::Agent, &name).unwrap();

    for private in [dir.clone(), dir.join("issued"), folder.clone(), root.path().join("host")] {
        assert_eq!(mode(&private), 0o700, "{}", private.display());
    }
    let files = ["ca-key.pem", "index.jsonl", "lock"].map(|file| dir.join(file));
    for private in files.into_iter().chain([folder.join("key.pem"), root.path().join("host/key.pem")]) {
        assert_eq!(mode(&private), 0o600, "{}", private.display());
    }
    for public in ["ca.pem", "crl.pem", "cert.pem"].map(|file| folder.join(file)) {
        assert_eq!(mode(&public), 0o644, "{}", public.display());
    }
}
