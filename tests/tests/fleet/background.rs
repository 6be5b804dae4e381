//! `async`: tasks that go on in the background of real agents.

use std::fs;
use std::path::PathBuf;

use rustle_tests::{Fleet, eventually, is_root, not_tested};

use super::waiting::{Waiting, kill, resume_to_the_end, runs, witnessed};

fn write(fleet: &Fleet, name: &str, playbook: &str) -> PathBuf {
    let path = fleet.path().join(name);
    fs::write(&path, playbook).unwrap();
    path
}

/// A play on all hosts whose jobs are kept in the fleet's folder, a folder for each host.
fn play(fleet: &Fleet, tasks: &str) -> String {
    let jobs = fleet.path().join("jobs").display().to_string();
    format!(
        "- hosts: all\n  gather_facts: false\n  vars:\n    ansible_async_dir: {jobs}/{{{{ inventory_hostname }}}}\n  \
         tasks:\n{tasks}"
    )
}

#[test]
fn a_job_outlives_its_run_and_its_agent_and_a_later_run_learns_what_became_of_it() {
    let mut scene = Waiting::new(&["h1"]);
    let wait = scene.wait_command("h1");
    let start = format!("    - shell: '{wait}; echo all done'\n      async: 600\n      poll: 0\n");
    let path = write(&scene.fleet, "start.yml", &play(&scene.fleet, &start));
    scene.fleet.exec().arg(path).ends(0);
    scene.begun("h1");
    scene.fleet.kill_and_restart("h1");
    let jobs = scene.fleet.path().join("jobs/h1");
    let job = fs::read_dir(&jobs).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let ask = format!("    - async_status: {{ jid: {job} }}\n      register: seen\n");
    let running = format!("{ask}    - assert: {{ that: seen is not finished }}\n");
    let path = write(&scene.fleet, "ask.yml", &play(&scene.fleet, &running));
    scene.fleet.exec().arg(path).ends(0);
    scene.may_end();
    let over = format!(
        "{ask}      until: seen is finished\n      retries: 600\n      delay: 0.1\n    - debug: var=seen.stdout\n"
    );
    let path = write(&scene.fleet, "wait.yml", &play(&scene.fleet, &over));
    let ended = scene.fleet.exec().arg(path).ends(0);
    assert!(ended.stdout.contains("\"seen.stdout\": \"all done\""), "{}", ended.stdout);
}

#[test]
fn a_run_that_is_resumed_waits_for_the_job_that_it_had_started() {
    let scene = Waiting::new(&["h1"]);
    let (witness, wait) = (scene.fleet.path().join("witness-h1"), scene.wait_command("h1"));
    let tasks = format!("    - shell: 'echo once >> {}; {wait}'\n      async: 600\n      poll: 1\n", witness.display());
    let path = write(&scene.fleet, "site.yml", &play(&scene.fleet, &tasks));
    let running = scene.fleet.exec().arg(path).start();
    scene.begun("h1");
    running.wait_for("ASYNC POLL on h1");
    kill(running);
    scene.may_end();
    let ended = resume_to_the_end(&scene.fleet).unwrap().expect_code(0);
    assert!(ended.stdout.contains("ASYNC OK on h1"), "{}", ended.stdout);
    assert_eq!(witnessed(&scene.fleet, "h1"), ["once"]);
    assert!(runs(&scene.fleet, &["list"]).ends(0).stdout.contains("ok"));
}

#[test]
fn a_job_that_takes_too_long_is_ended_with_all_it_started() {
    let scene = Waiting::new(&["h1"]);
    let pid = scene.fleet.path().join("pid");
    let tasks = format!(
        "    - shell: 'echo $$ > {0}.new; mv {0}.new {0}; sleep 600'\n      async: 1\n      poll: 0\n",
        pid.display()
    );
    let path = write(&scene.fleet, "site.yml", &play(&scene.fleet, &tasks));
    scene.fleet.exec().arg(path).ends(0);
    let pid: u32 = eventually("the job begins", || fs::read_to_string(&pid).ok()).trim().parse().unwrap();
    eventually("the job is ended", || fs::metadata(format!("/proc/{pid}")).is_err().then_some(()));
    let jobs = scene.fleet.path().join("jobs/h1");
    let job = fs::read_dir(&jobs).unwrap().next().unwrap().unwrap().path();
    let said = eventually("the job says so", || {
        let text = fs::read_to_string(&job).unwrap();
        text.contains("\"failed\":true").then_some(text)
    });
    assert!(said.contains("async task did not complete within the requested time - 1s"), "{said}");
}

#[test]
fn a_job_runs_as_the_user_that_the_task_becomes() {
    if !is_root() {
        not_tested("becoming another user needs root");
        return;
    }
    let fleet = Fleet::start(&["h1"]);
    let tasks = "    - command: id -un\n      async: 600\n      poll: 1\n      become: true\n      become_user: nobody\n      \
                 vars: { ansible_async_dir: '/tmp/rustle-jobs-{{ 999999999 | random }}' }\n      register: r\n    - debug: \
                 var=r.stdout\n    - file: { path: '{{ r.results_file | dirname }}', state: absent }\n";
    let path = write(&fleet, "site.yml", &play(&fleet, tasks));
    let ended = fleet.exec().arg(path).finish();
    assert!(ended.stdout.contains("\"r.stdout\": \"nobody\""), "{ended:?}");
    ended.expect_code(0);
}
