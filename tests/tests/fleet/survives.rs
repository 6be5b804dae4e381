//! What a run has learnt and begun, and what of it the next controller, or the next life of an agent, still has.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Running, eventually};

use super::waiting::{Waiting, kill, report, runs, witnessed};

/// The words of an undisturbed and a resumed playbook: `HOME` is the fleet's folder, `WAIT` waits for the test's word.
fn playbook(scene: &Waiting, text: &str) -> PathBuf {
    let path = scene.fleet.path().join("site.yml");
    let text = text.replace("WAIT", &scene.wait_command("{{ inventory_hostname }}"));
    fs::write(&path, text.replace("HOME", &scene.fleet.path().to_string_lossy())).unwrap();
    path
}

fn kill_while_it_waits(scene: &Waiting, running: Running, host: &str) {
    scene.begun(host);
    kill(running);
    scene.may_end();
}

#[test]
fn hosts_and_groups_that_tasks_added_are_there_after_the_controller_was_killed() {
    let scene = Waiting::new(&["h1", "h2"]);
    let fleet = &scene.fleet;
    let (added, at) = ("h2", fleet.address("h2"));
    fleet.reach_at([("h1".to_owned(), fleet.address("h1"))]);
    let site = playbook(
        &scene,
        &format!(
            "- hosts: h1
  gather_facts: false
  tasks:
  - add_host: {{name: {added}, groups: found, flavour: mint, rustle_host: {}, rustle_port: {}}}
  - group_by: {{key: 'kind_of_{{{{ inventory_hostname }}}}', parents: kinds}}
  - shell: WAIT
- hosts: found:kinds
  gather_facts: false
  tasks:
  - shell: echo {{{{ flavour | default('none') }}}} {{{{ group_names | join(',') }}}} >> HOME/witness-{{{{ inventory_hostname }}}}
",
            at.ip(),
            at.port()
        ),
    );
    let running = fleet.exec().arg(&site).start();
    kill_while_it_waits(&scene, running, "h1");
    let ended = runs(fleet, &["resume", "last"]).ends(0);
    assert_eq!(witnessed(fleet, "h1"), ["none kind_of_h1,kinds"], "{}", ended.stdout);
    assert_eq!(witnessed(fleet, "h2"), ["mint found"], "{}", ended.stdout);
    assert_eq!(report(fleet)["task_results"].as_array().unwrap().len(), 5);
}

#[test]
fn a_new_run_takes_up_only_hosts_that_failed_or_were_unreachable() {
    let mut scene = Waiting::new(&["h1", "h2", "h3"]);
    let site = playbook(
        &scene,
        "- hosts: all
  gather_facts: false
  tasks:
  - shell: test -e HOME/mended || test {{ inventory_hostname }} != h2
  - shell: echo ran >> HOME/witness-{{ inventory_hostname }}
",
    );
    scene.fleet.signal("h3", Signal::KILL);
    scene.fleet.exec().arg(&site).ends(2);
    fs::write(scene.fleet.path().join("mended"), "").unwrap();
    scene.fleet.kill_and_restart("h3");
    let fleet = &scene.fleet;
    let again = fleet.exec().arg(&site).args(["--retry-failed", "last"]).ends(0);
    assert_eq!(again.results().len(), 4, "{}", again.stdout);
    for host in ["h1", "h2", "h3"] {
        assert_eq!(witnessed(fleet, host), ["ran"], "{host}: {}", again.stdout);
    }
    let nobody = fleet.exec().arg(&site).args(["--retry-failed", "last"]).ends(5);
    assert!(nobody.stderr.contains("--retry-failed last"), "{}", nobody.stderr);
}

const FETCH: &str = "- hosts: all
  gather_facts: false
  tasks:
  - fetch: {src: HOME/big, dest: HOME/fetched/, flat: true}
    register: fetched
  - shell: WAIT
  - shell: echo {{ fetched.checksum }} >> HOME/witness-{{ inventory_hostname }}
";

#[test]
fn a_file_that_was_being_fetched_is_whole_after_the_controller_was_killed() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let big: Vec<u8> = (0..32 << 20).map(|number: u32| (number.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    fs::write(fleet.path().join("big"), &big).unwrap();
    let folder = fleet.path().join("fetched");
    let running = fleet.exec().arg(playbook(&scene, FETCH)).start();
    eventually("something of it is there", || {
        fs::read_dir(&folder)
            .ok()?
            .flatten()
            .any(|entry| entry.metadata().is_ok_and(|file| file.len() > 0))
            .then_some(())
    });
    kill(running);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "it died while it fetched, or there is nothing to see here");
    assert!(!folder.join("big").exists());
    scene.may_end();
    let ended = runs(fleet, &["resume", "last"]).ends(0);
    assert!(fs::read(folder.join("big")).unwrap() == big, "another file: {}", ended.stdout);
    let shown = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(shown.collect::<Vec<_>>(), ["big"], "what the first had by half is gone");
    assert_eq!(witnessed(fleet, "h1")[0].len(), 40);
}

#[test]
fn answers_are_kept_but_for_secret_ones_which_are_asked_again() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let site = playbook(
        &scene,
        "- hosts: all
  gather_facts: false
  vars_prompt:
  - {name: colour, prompt: Which colour, private: false}
  - {name: word, prompt: Which word}
  tasks:
  - shell: WAIT
  - shell: echo {{ colour }} {{ word }} >> HOME/witness-{{ inventory_hostname }}
",
    );
    let mut running = fleet.exec().arg(&site).at_terminal().start();
    running.answer("Which colour", "red");
    running.answer("Which word", "swordfish");
    kill_while_it_waits(&scene, running, "h1");
    let mut other = runs(fleet, &["resume", "last"]).at_terminal().start();
    other.answer("Which word", "sardine");
    let refused = other.finish().expect_code(5);
    assert!(refused.stderr.contains("--accept-changed-plan"), "{}", refused.stderr);
    let mut resumed = runs(fleet, &["resume", "last"]).at_terminal().start();
    resumed.answer("Which word", "swordfish");
    let ended = resumed.finish().expect_code(0);
    assert!(ended.stderr.contains("the answer for `word` is secret and was not kept"), "{}", ended.stderr);
    assert_eq!(witnessed(fleet, "h1"), ["red swordfish"]);
}

/// A host whose boot id and restart are files of the test's.
const REBOOT: &str = "- hosts: all
  gather_facts: false
  tasks:
  - reboot:
      boot_time_command: cat HOME/boot
      reboot_command: sh -c 'echo down >> HOME/witness-h1; until test -e HOME/go; do sleep 0.02; done'
      reboot_timeout: 60
  - shell: echo up >> HOME/witness-{{ inventory_hostname }}
";

#[test]
fn a_host_that_restarts_takes_its_agent_with_it_and_is_found_again() {
    let mut scene = Waiting::new(&["h1"]);
    let boot = scene.fleet.path().join("boot");
    fs::write(&boot, "first").unwrap();
    let running = scene.fleet.exec().arg(playbook(&scene, REBOOT)).start();
    eventually("it goes down", || (!witnessed(&scene.fleet, "h1").is_empty()).then_some(()));
    scene.fleet.restart("h1", || fs::write(&boot, "second").unwrap());
    let ended = running.finish().expect_code(0);
    assert_eq!(witnessed(&scene.fleet, "h1"), ["down", "up"], "{}", ended.stdout);
}

#[test]
fn a_restart_whose_controller_died_too_is_not_done_twice() {
    let mut scene = Waiting::new(&["h1"]);
    let boot = scene.fleet.path().join("boot");
    fs::write(&boot, "first").unwrap();
    let running = scene.fleet.exec().arg(playbook(&scene, REBOOT)).start();
    eventually("it goes down", || (!witnessed(&scene.fleet, "h1").is_empty()).then_some(()));
    kill(running);
    scene.fleet.restart("h1", || fs::write(&boot, "second").unwrap());
    let ended = runs(&scene.fleet, &["resume", "last"]).ends(0);
    assert_eq!(witnessed(&scene.fleet, "h1"), ["down", "up"], "{}", ended.stdout);
}
