//! What changes a machine: users, groups, services, tables of cron. Each case in `tests/differential/hosts/` is run by Ansible on
//! a host that has a root of its own, and by `rustle-exec` on another one that is just so. What every task said must be the
//! same, and so must what the machine has then: the cases end with tasks that show it.

use std::fs;
use std::path::Path;

use rustle_exec::event::RunEvent;
use rustle_tests::{Fleet, ansible_python, named, play, shell};
use serde_json::{Value, json};

use super::case::Case;
use super::playbooks::{Seen, difference, events, folder, only_wanted, seen, their_answer};

/// As Ansible calls the machine, too.
const HOST: &str = "ours";

fn cases() -> Vec<Case> {
    let inventory = format!("{HOST} ansible_connection=local\n");
    let cases = Case::all_in(&folder().join("hosts")).into_iter();
    only_wanted(cases.map(|case| case.with("inventory/hosts", inventory.clone())).collect())
}

/// Ansible, started by the agent of a host that is for it alone.
fn ansible(fleet: &Fleet, python: &Path, dir: &Path, cases: &[Case]) -> Vec<Seen> {
    let folders: Vec<_> = cases.iter().map(|case| dir.join(&case.name)).collect();
    let program = folder().join("playbooks.py");
    let command = format!("{} {} < {}", python.display(), program.display(), dir.join("asked.json").display());
    let plan = play([named("ansible", shell(&command))]);
    let ended = fleet.run(&plan).args(["--limit", "theirs", "--progress", "json"]).ends(0);
    let results = events(&ended).into_iter().filter_map(|stamped| match stamped.event {
        RunEvent::HostFinished(result) => result.values["stdout"].as_str().map(str::to_owned),
        _ => None,
    });
    let answers: String = results.collect();
    answers.lines().zip(&folders).map(|(line, folder)| their_answer(line, folder)).collect()
}

#[test]
fn what_changes_a_machine_changes_it_as_in_ansible() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED: hosts with a root of their own take root");
        return;
    }
    let Some(python) = ansible_python() else { return };
    let cases = cases();
    // Their own `/tmp` is another one; here they see what was there before them.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let asked = cases.iter().map(|case| json!({ "folder": case.write(dir.path()), "args": case.command_line() }));
    fs::write(dir.path().join("asked.json"), Value::from_iter(asked).to_string()).unwrap();
    let fleet = Fleet::builder().overlay().start(&["theirs", HOST]);
    let expected = ansible(&fleet, python, dir.path(), &cases);
    assert_eq!(expected.len(), cases.len(), "Ansible has answered for each case");
    let mut wrong = Vec::new();
    for (case, expected) in cases.iter().zip(&expected) {
        let folder = dir.path().join(&case.name);
        let run = fleet.exec().args(["--limit", HOST, "--progress", "json"]).arg(folder.join("site.yml"));
        let given = seen(&run.finish(), &folder);
        if expected.outcome() != given.outcome() {
            wrong.push(format!("{}: {}", case.name, difference(expected, &given)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
