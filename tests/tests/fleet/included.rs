//! Runs that include tasks on the way, whose controller dies at any record.

use std::fs;
use std::path::PathBuf;

use rustle_exec::journal::{Records, Runs};
use rustle_tests::{Fleet, eventually};

use super::waiting::{Waiting, kill, report, runs, witnessed};

/// Of so many records one is tried as the last one; `RESUME_EVERY=1` tries each.
const EVERY: usize = 4;

const PART: &str = "
- name: part
  shell: echo part-{{ letter }} >> {{ home }}/witness-{{ inventory_hostname }}
  register: seen
- include_tasks: inner.yml
  when: letter == 'b' and seen is changed
";

const INNER: &str = "
- name: inner
  shell: echo inner-{{ letter }} >> {{ home }}/witness-{{ inventory_hostname }}
  notify: handled
";

/// What a host that is through has run.
const ALL: [&str; 6] = ["part-a", "part-b", "inner-b", "role-h1", "last", "handled"];

/// Tasks, a role and a handler that join while the play runs; the role waits for a word between two of its tasks.
fn project(scene: &Waiting) -> PathBuf {
    let home = scene.fleet.path();
    let wait = scene.wait_command("{{ inventory_hostname }}");
    let write = |path: &str, text: String| {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("part.yml", PART.to_owned());
    write("inner.yml", INNER.to_owned());
    write("roles/web/handlers/main.yml", "- name: role handler\n  command: 'true'\n".to_owned());
    write(
        "roles/web/tasks/main.yml",
        format!(
            "- name: role\n  shell: echo role-{{{{ inventory_hostname }}}} >> {{{{ home }}}}/witness-{{{{ \
             inventory_hostname }}}}\n- name: wait\n  shell: {wait}\n"
        ),
    );
    write(
        "site.yml",
        format!(
            "- hosts: all
  gather_facts: false
  vars: {{home: '{}'}}
  tasks:
  - include_tasks: part.yml
    loop: [a, b]
    loop_control: {{loop_var: letter}}
  - include_role: {{name: web}}
  - name: last
    shell: echo last >> {{{{ home }}}}/witness-{{{{ inventory_hostname }}}}
  handlers:
  - name: handled
    shell: echo handled >> {{{{ home }}}}/witness-{{{{ inventory_hostname }}}}
",
            home.display()
        ),
    );
    home.join("site.yml")
}

fn journal(fleet: &Fleet) -> PathBuf {
    Runs::new(&fleet.path().join(".local/state/rustle-exec")).find("last").unwrap().journal()
}

#[test]
fn what_has_joined_the_plan_stands_after_its_controller_was_killed() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let running = fleet.exec().arg(project(&scene)).start();
    scene.begun("h1");
    kill(running);
    scene.may_end();
    let ended = runs(fleet, &["resume", "last"]).ends(0);
    assert_eq!(witnessed(fleet, "h1"), ALL, "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("included:").count(), 0, "it was told before: {}", ended.stdout);
    assert_eq!(report(fleet)["task_results"].as_array().unwrap().len(), 11);
    let undisturbed = fleet.exec().arg(fleet.path().join("site.yml")).ends(0);
    assert_eq!(ended.recap("h1"), undisturbed.recap("h1"));
}

#[test]
fn whichever_record_is_the_last_one_of_the_journal_nothing_runs_twice() {
    let scene = Waiting::new(&["h1", "h2"]);
    let fleet = &scene.fleet;
    let running = fleet.exec().arg(project(&scene)).start();
    scene.begun("h1");
    scene.begun("h2");
    kill(running);
    let journal = journal(fleet);
    let whole = fs::read(&journal).unwrap();
    let mut records = Records::open(&journal).unwrap();
    let mut ends = Vec::new();
    while records.next().transpose().unwrap().is_some() {
        ends.push(records.good_bytes() as usize);
    }
    let before = witnessed(fleet, "h1");
    assert_eq!(before, ALL[..4]);
    let every = std::env::var("RESUME_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(EVERY);
    // From the last to the first: what an earlier controller has asked of a host, a later one may not know.
    for (number, end) in ends.iter().enumerate().rev().step_by(every) {
        // A record that was being written is there by half.
        let torn = if number % 2 == 0 { 7 } else { 0 };
        fs::write(&journal, &whole[..(end + torn).min(whole.len())]).unwrap();
        let running = runs(fleet, &["resume", "last"]).start();
        eventually("both hosts are where they were", || {
            let status = runs(fleet, &["status", "last"]).finish().stdout;
            ["h1", "h2"].iter().all(|host| status.contains(&format!("waiting for {host}: wait"))).then_some(())
        });
        kill(running);
        assert_eq!(witnessed(fleet, "h1"), before, "after record {number} of {}", ends.len());
    }
    scene.may_end();
    runs(fleet, &["resume", "last"]).ends(0);
    assert_eq!(witnessed(fleet, "h1"), ALL);
    assert_eq!(report(fleet)["task_results"].as_array().unwrap().len(), 22);
}

#[test]
fn a_file_that_was_included_and_has_changed_is_told_and_accepted_where_places_stay_places() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let running = fleet.exec().arg(project(&scene)).start();
    scene.begun("h1");
    kill(running);
    scene.may_end();
    let inner = fleet.path().join("inner.yml");
    fs::write(&inner, format!("{INNER}- name: more\n  command: 'true'\n")).unwrap();
    for arguments in [&["resume", "last"][..], &["resume", "last", "--accept-changed-plan"]] {
        let refused = runs(fleet, arguments).ends(5);
        assert!(refused.stderr.contains("inner.yml: it had 1 tasks and handlers and has 2"), "{}", refused.stderr);
    }
    fs::write(&inner, INNER.replace("inner-", "other-")).unwrap();
    let refused = runs(fleet, &["resume", "last"]).ends(5);
    assert!(refused.stderr.contains("inner.yml: task 1 `inner` says something else"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: --accept-changed-plan"), "{}", refused.stderr);
    let ended = runs(fleet, &["resume", "last", "--accept-changed-plan"]).ends(0);
    assert!(ended.stderr.contains("what is not done yet is done as it says now"), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(witnessed(fleet, "h1"), ALL);
}
