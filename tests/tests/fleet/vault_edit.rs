//! `vault edit` that is killed: the plain text that lay beside the editor is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use rustle_tests::{Run, eventually};

/// Says where the text is that it is to edit, and edits it for as long as it is there.
const EDITOR: &str = "#!/bin/sh\necho \"$1\" > started\nmv started copy\nwhile [ -e \"$1\" ]; do sleep 0.05; done\n";

#[test]
fn no_plain_text_is_left_when_an_edit_is_killed() {
    for signal in [Signal::KILL, Signal::TERM] {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str| home.path().join(name);
        fs::write(file("editor"), EDITOR).unwrap();
        fs::set_permissions(file("editor"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(file("password"), "pw").unwrap();
        fs::write(file("secret.yml"), "word: plain\n").unwrap();
        let vault =
            |what: &str| Run::new(home.path()).args(["vault", what, "--vault-password-file", "password", "secret.yml"]);
        vault("encrypt").ends(0);
        let editing = vault("edit").env("EDITOR", file("editor")).start();
        let copy: PathBuf =
            eventually("the editor has begun", || fs::read_to_string(file("copy")).ok().map(|name| name.trim().into()));
        assert_eq!(fs::read_to_string(&copy).unwrap(), "word: plain\n");
        editing.signal(signal);
        let folder: &Path = copy.parent().unwrap();
        eventually("the plain text is gone", || (!folder.exists()).then_some(()));
        assert!(editing.finish().code < 0);
        assert!(fs::read_to_string(file("secret.yml")).unwrap().starts_with("$ANSIBLE_VAULT;"));
    }
}
