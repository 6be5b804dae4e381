//! Passwords for sudo and su: typed where they ask, told to nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustle_tests::{Ended, Fleet, Run, eventually, is_root, not_tested, play, processes_with, shell, task};
use serde_json::{Value, json};

const PASSWORD: &str = "open sesame";

/// As sudo asks on a pipe, three times at most.
const SUDO: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do
    [ "$1" = -p ] && prompt=$2
    [ "$1" = -u ] && user=$2
    shift
done
shift
echo 'Think before you type. Password:' >&2
for try in 1 2 3; do
    printf %s "$prompt" >&2
    read -r password || exit 1
    [ "$password" = 'open sesame' ] && exec runuser -u "$user" -- "$@"
    printf '\nDésolé, essayez de nouveau.\n' >&2
done
"#;

/// As su asks, in French.
const SU: &str = r#"#!/bin/sh
printf 'Mot de passe : ' >&2
read -r password
[ "$password" = 'open sesame' ] || { echo 'su: Authentication failure' >&2; exit 1; }
exec su -s /bin/sh "$1" -c "$3"
"#;

fn can_switch() -> bool {
    is_root() || not_tested("becoming another user needs root")
}

/// A fleet with a program that asks, and the files that are to tell its password, outside of the fleet's folder.
struct Scene {
    fleet: Fleet,
    outside: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let fleet = Fleet::builder().start(&["web1"]);
        fs::set_permissions(fleet.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, script) in [("sudo", SUDO), ("su", SU)] {
            let path = fleet.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Scene { fleet, outside: tempfile::tempdir().unwrap() }
    }

    fn file(&self, password: &str) -> PathBuf {
        let path = self.outside.path().join("password");
        fs::write(&path, format!("{password}\n")).unwrap();
        path
    }

    /// A task that becomes nobody by a program that asks.
    fn asking(&self, method: &str, mut task: Value) -> Value {
        let program = self.fleet.path().join(method);
        task["keywords"] =
            json!({ "become": true, "become_user": "nobody", "become_method": method, "become_exe": program });
        play([task])
    }
}

fn said(ended: &Ended) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn sudo_and_su_are_given_the_password_they_ask_for() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    for method in ["sudo", "su"] {
        let plan = scene.asking(method, shell("id -un"));
        let by_file = scene.fleet.run(&plan).arg("-v").arg("--become-password-file").arg(scene.file(PASSWORD)).ends(0);
        let by_variable = scene.fleet.run(&plan).args(["-v", "-e", "ansible_become_pass='open sesame'"]).ends(0);
        // The method's own variable goes before that of all methods, and a variable before the command line.
        let own = format!("{{\"ansible_{method}_pass\": \"{PASSWORD}\", \"ansible_become_password\": \"wrong\"}}");
        let by_own = scene.fleet.run(&plan).args(["-v", "-e", &own]).arg("--become-password-file");
        let by_own = by_own.arg(scene.file("wrong too")).ends(0);
        for ended in [by_file, by_variable, by_own] {
            assert!(ended.stdout.contains("\"nobody\""), "{method}: {}", ended.stdout);
        }
    }
}

#[test]
fn ansibles_own_settings_tell_the_password_and_go_behind_the_command_line() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    let config = scene.outside.path().join("ansible.cfg");
    fs::write(&config, format!("[sudo_become_plugin]\npassword = {PASSWORD}\n[su_become_plugin]\npassword = wrong\n"))
        .unwrap();
    let run = |method: &str| scene.fleet.run(&scene.asking(method, shell("id -un"))).arg("-v");
    let by_file = run("sudo").env("ANSIBLE_CONFIG", &config).ends(0);
    let by_own_variable = run("su")
        .env("ANSIBLE_CONFIG", &config)
        .env("ANSIBLE_SU_PASS", PASSWORD)
        .env("ANSIBLE_BECOME_PASS", "wrong")
        .ends(0);
    let by_command_line = run("su").env("ANSIBLE_BECOME_PASS", "wrong").arg("--become-password-file");
    let by_command_line = by_command_line.arg(scene.file(PASSWORD)).ends(0);
    for ended in [by_file, by_own_variable, by_command_line] {
        assert!(ended.stdout.contains("\"nobody\""), "{}", ended.stdout);
    }
    let wrong = run("su").env("ANSIBLE_CONFIG", &config).ends(2);
    assert!(said(&wrong).contains("Incorrect su password"), "{}", said(&wrong));
}

#[test]
fn su_that_does_not_ask_in_the_words_that_the_host_says_is_waited_for_in_vain() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    let run = |prompts: &str| {
        let run = scene.fleet.run(&scene.asking("su", shell("id -un"))).args([
            "-v",
            "-e",
            "ansible_become_pass='open sesame'",
        ]);
        run.args(["-e", "ansible_local_become_success_timeout=1", "-e", prompts])
    };
    let right = run(r#"{"ansible_su_prompt_l10n": ["Kennwort", "mot de passe"]}"#).ends(0);
    assert!(right.stdout.contains("\"nobody\""), "{}", right.stdout);
    let in_vain = run("ansible_su_prompt_l10n=Kennwort").ends(4);
    let expected = "Timed out waiting for become success or become password prompt.";
    assert!(in_vain.stdout.contains("UNREACHABLE!") && said(&in_vain).contains(expected), "{}", said(&in_vain));
    let by_setting =
        scene.fleet.run(&scene.asking("su", shell("id -un"))).env("ANSIBLE_SU_PROMPT_L10N", "Mot de passe");
    by_setting.args(["-e", "ansible_become_pass='open sesame'"]).ends(0);
}

#[test]
fn a_password_may_be_encrypted_in_the_playbook() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    let vault = scene.outside.path().join("vault");
    fs::write(&vault, "of the vault\n").unwrap();
    let dir = scene.fleet.path();
    let sealed = Run::new(dir).args(["vault", "encrypt_string", "--vault-password-file"]).arg(&vault);
    let sealed = sealed.args(["--name", "ansible_become_password", PASSWORD]).ends(0).stdout;
    let sealed = sealed.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let playbook = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    ansible_become_exe: {}/sudo\n{sealed}  tasks:\n  - command: id \
         -un\n    become: true\n    become_user: nobody\n",
        dir.display()
    );
    fs::write(dir.join("site.yml"), playbook).unwrap();
    let ended = Run::new(dir).args(["-v", "--vault-password-file"]).arg(&vault).arg("site.yml").ends(0);
    assert!(ended.stdout.contains("\"nobody\""), "{}", ended.stdout);
}

#[test]
fn a_password_that_is_wrong_or_missing_is_told_as_ansible_tells_it() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    for method in ["sudo", "su"] {
        let plan = scene.asking(method, shell("id -un"));
        let wrong = scene.fleet.run(&plan).args(["-e", "ansible_become_password=wrong"]).ends(2);
        let expected = format!("cannot become `nobody` by {method}: Incorrect {method} password");
        assert!(said(&wrong).contains(&expected), "{}", said(&wrong));
    }
    let missing = scene.fleet.run(&scene.asking("su", shell("id -un"))).ends(2);
    let expected = "cannot become `nobody` by su: Missing su password; give it as ansible_become_password or with";
    assert!(said(&missing).contains(expected), "{}", said(&missing));
    let two_lines = scene.fleet.run(&scene.asking("su", shell("id -un")));
    let two_lines = two_lines.args(["-e", r#"{"ansible_become_password": "two\nlines"}"#]).ends(2);
    let expected = "ansible_become_password: a password is one line without control characters, and this one is not";
    assert!(said(&two_lines).contains(expected), "{}", said(&two_lines));
}

#[test]
fn a_password_is_in_no_process_list_and_in_no_file_of_the_run() {
    if !can_switch() {
        return;
    }
    let scene = Scene::new();
    // Unlike the one in the programs, which take any here: it is looked for in all files.
    let secret = format!("sesame of pid {}", std::process::id());
    for method in ["sudo", "su"] {
        let program = scene.fleet.path().join(method);
        let script = fs::read_to_string(&program).unwrap();
        fs::write(&program, script.replace("= 'open sesame'", "!= ''")).unwrap();
        let go = scene.fleet.path().join(format!("go-{method}"));
        let mark = format!("echo mark-{method}-{}", std::process::id());
        let line = format!("{mark}; until test -e {}; do sleep 0.02; done; false", go.display());
        let plan = scene.asking(method, task("shell", json!({ "_raw_params": line })));
        let log = scene.fleet.path().join(format!("log-{method}"));
        let running = scene.fleet.run(&plan).args(["-vvv", "--log-level", "trace", "--log-file"]).arg(&log);
        let running = running.arg("--become-password-file").arg(scene.file(&secret)).start();
        eventually("the task runs", || (!processes_with(&mark).is_empty()).then_some(()));
        assert!(processes_with(&secret).is_empty());
        fs::write(go, "").unwrap();
        let ended = running.finish().expect_code(2);
        assert!(!said(&ended).contains(&secret), "{}", said(&ended));
        assert!(log.exists());
    }
    let looked_at = files_with(scene.fleet.path(), &secret);
    assert_eq!(looked_at.holding, Vec::<PathBuf>::new());
    assert!(looked_at.count > 10, "the ledger, the journal and the logs are among {} files", looked_at.count);
}

struct LookedAt {
    count: usize,
    holding: Vec<PathBuf>,
}

fn files_with(folder: &Path, text: &str) -> LookedAt {
    let mut all = LookedAt { count: 0, holding: Vec::new() };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let inner = files_with(&path, text);
            all.count += inner.count;
            all.holding.extend(inner.holding);
        } else if path.is_file() {
            all.count += 1;
            let bytes = fs::read(&path).unwrap();
            all.holding.extend(bytes.windows(text.len()).any(|window| window == text.as_bytes()).then_some(path));
        }
    }
    all
}

/// The real su, asked by somebody who is not root.
#[test]
fn the_systems_own_su_is_understood() {
    if !can_switch() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hosts.ini"), "localhost\n").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = || {
        let run = Run::new(dir.path()).args(["adhoc", "all", "-i", "hosts.ini", "--connection-plugin", "local"]);
        run.args(["-m", "command", "-a", "id -un", "-b", "--become-method", "su"]).as_user(65534)
    };
    let missing = said(&run().ends(2));
    assert!(missing.contains("cannot become `root` by su: Missing su password"), "{missing}");
    let wrong = said(&run().args(["-e", "ansible_become_password=surely-not-this"]).ends(2));
    assert!(wrong.contains("cannot become `root` by su: Incorrect su password"), "{wrong}");
}
