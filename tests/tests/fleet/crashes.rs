//! The agent is killed at each step of a call's life, and started again. The witness is a task that appends a line to a file:
//! a host that is reported ok has exactly one line of it, any other at most one.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Ended, Fleet, Running, eventually, named, play, shell, task};
use serde_json::{Value, json};

struct Scene {
    fleet: Fleet,
}

impl Scene {
    fn new() -> Scene {
        Scene { fleet: Fleet::builder().config("idle_s = 2\n").start(&["web1"]) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.fleet.path().join(name)
    }

    /// A shell that leaves its line, says so, and goes on when told to.
    fn witness(&self) -> Value {
        let [lines, begun, go] = ["lines", "begun", "go"].map(|name| self.file(name).display().to_string());
        let wait = format!("until test -e {go}; do sleep 0.02; done");
        named("witness", shell(&format!("echo line >> {lines}; touch {begun}; {wait}; echo the-witness-ends")))
    }

    fn start(&self, tasks: impl IntoIterator<Item = Value>) -> Running {
        let quick = "[performance]\nidle_s = 2\nkeep_alive_s = 1\n[executor]\nretry_delay = 0.5\n";
        fs::write(self.file("quick.toml"), quick).unwrap();
        self.fleet.run(&play(tasks)).env("RUSTLE_MAX_RETRIES", "9").args(["--config", "quick.toml"]).start()
    }

    fn until(&self, name: &str) {
        eventually(&format!("{name} is there"), || self.file(name).exists().then_some(()));
    }

    fn lines(&self) -> usize {
        fs::read_to_string(self.file("lines")).unwrap_or_default().lines().count()
    }

    fn ledger_has(&self, text: &str) -> bool {
        let ledger = fs::read(self.file("hosts/web1/state/ledger/calls")).unwrap_or_default();
        ledger.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn go(&self) {
        fs::write(self.file("go"), "").unwrap();
    }
}

fn expect(running: Running, code: i32) -> Ended {
    running.finish().expect_code(code)
}

#[test]
fn killed_before_the_call_came_it_runs_once() {
    let mut scene = Scene::new();
    scene.go();
    scene.fleet.signal("web1", Signal::STOP);
    let running = scene.start([scene.witness()]);
    scene.fleet.kill_and_restart("web1");
    expect(running, 0);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn killed_while_the_call_ran_its_outcome_is_unknown_and_it_is_not_run_again() {
    let mut scene = Scene::new();
    let running = scene.start([scene.witness()]);
    scene.until("begun");
    scene.fleet.kill_and_restart("web1");
    let ended = expect(running, 2);
    scene.go();
    assert!(ended.stdout.contains("fatal: [web1]: FAILED!"), "{}", ended.stdout);
    assert!(ended.stdout.contains("the agent died while the task ran"), "{}", ended.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn killed_while_a_call_ran_that_describes_a_state_it_is_run_again() {
    let mut scene = Scene::new();
    let wait = task("wait_for", json!({ "path": scene.file("go"), "timeout": 120 }));
    let mark = shell(&format!("touch {}", scene.file("begun").display()));
    let running = scene.start([mark, named("wait", wait)]);
    scene.until("begun");
    eventually("the second call is recorded", || scene.ledger_has("ansible.builtin.wait_for").then_some(()));
    scene.fleet.kill_and_restart("web1");
    scene.go();
    expect(running, 0);
}

#[test]
fn killed_after_its_result_was_recorded_the_result_is_told_by_the_next_life() {
    let mut scene = Scene::new();
    let running = scene.start([scene.witness()]);
    scene.until("begun");
    // The controller hears nothing from here on.
    running.signal(Signal::STOP);
    scene.go();
    eventually("the result is recorded", || scene.ledger_has("the-witness-ends").then_some(()));
    scene.fleet.kill_and_restart("web1");
    running.signal(Signal::CONT);
    let ended = expect(running, 0);
    assert!(ended.stdout.contains("changed: [web1]"), "{}", ended.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn killed_after_the_result_was_told_it_is_not_asked_for_again() {
    let mut scene = Scene::new();
    scene.go();
    let hold = format!(
        "touch {}; until test -e {}; do sleep 0.02; done",
        scene.file("second").display(),
        scene.file("on").display()
    );
    let running = scene.start([scene.witness(), named("second", shell(&hold))]);
    scene.until("second");
    scene.fleet.kill_and_restart("web1");
    let ended = expect(running, 2);
    fs::write(scene.file("on"), "").unwrap();
    assert!(ended.stdout.contains("changed: [web1]"), "{}", ended.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn a_connection_that_breaks_under_a_call_costs_nothing() {
    let scene = Scene::new();
    let running = scene.start([scene.witness()]);
    scene.until("begun");
    // Longer than both ends wait for a sign of life; then it answers again, and knows the connection no more.
    scene.fleet.signal("web1", Signal::STOP);
    running.wait_for("FAILED - RETRYING");
    scene.fleet.signal("web1", Signal::CONT);
    scene.go();
    let ended = expect(running, 0);
    assert!(ended.stdout.contains("changed: [web1]"), "{}", ended.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn of_two_runs_that_hold_a_host_the_second_waits_or_is_refused() {
    let scene = Scene::new();
    let first = scene.fleet.run(&play([scene.witness()])).args(["--on-busy-host", "wait"]).start();
    scene.until("begun");
    let touch = || play([shell(&format!("touch {}", scene.file("second").display()))]);
    let refused = scene.fleet.run(&touch()).args(["--on-busy-host", "refuse"]).ends(4);
    assert!(refused.stdout.contains("controller `operator` holds this host for its run"), "{}", refused.stdout);
    let second = scene.fleet.run(&touch()).args(["--on-busy-host", "wait"]).start();
    second.wait_for("waiting for the host");
    assert!(!scene.file("second").exists());
    assert_eq!(scene.fleet.adhoc("ping", "").ends(0).answers(), ["web1 | SUCCESS"], "who holds nothing shares");
    scene.go();
    expect(first, 0);
    expect(second, 0);
    assert!(scene.file("second").exists());
}
