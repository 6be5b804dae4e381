//! The agent is killed at each step of a call's life, and started again; or the agent and the controller at once. The witness is a task that appends a line to a file:
//! a host that is reported ok has exactly one line of it, any other at most one.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Ended, Fleet, Run, Running, eventually, named, play, shell, task};
use serde_json::{Value, json};

use super::waiting::{kill, report, resume_to_the_end, runs, witness, witnessed};

/// Rounds of the short form of the random kill of both sides; `CRASH_ROUNDS=1000` is the long form, and `CRASH_SEED` repeats one.
const ROUNDS: u64 = 2;

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

    /// Agent and controller die at once; the agent is started again, and the run resumed.
    fn both_die(&mut self, running: Running) -> Run {
        self.fleet.signal("web1", Signal::KILL);
        kill(running);
        self.fleet.kill_and_restart("web1");
        runs(&self.fleet, &["resume", "last"])
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
fn both_killed_before_the_call_came_it_runs_once() {
    let mut scene = Scene::new();
    scene.go();
    scene.fleet.signal("web1", Signal::STOP);
    let running = scene.start([scene.witness()]);
    running.wait_for("TASK [witness]");
    scene.both_die(running).ends(0);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn both_killed_while_the_call_ran_its_outcome_is_unknown_and_it_is_not_run_again() {
    let mut scene = Scene::new();
    let running = scene.start([scene.witness()]);
    scene.until("begun");
    let resumed = scene.both_die(running).ends(2);
    scene.go();
    assert!(resumed.stdout.contains("the agent died while the task ran"), "{}", resumed.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn both_killed_while_a_call_ran_that_describes_a_state_it_is_run_again() {
    let mut scene = Scene::new();
    let wait = task("wait_for", json!({ "path": scene.file("go"), "timeout": 120 }));
    let running = scene.start([named("wait", wait)]);
    eventually("the call is recorded", || scene.ledger_has("ansible.builtin.wait_for").then_some(()));
    let resumed = scene.both_die(running);
    scene.go();
    resumed.ends(0);
}

#[test]
fn both_killed_after_the_result_was_recorded_it_is_told_by_the_next_life_to_the_next_controller() {
    let mut scene = Scene::new();
    let running = scene.start([scene.witness()]);
    scene.until("begun");
    // The controller hears nothing from here on.
    running.signal(Signal::STOP);
    scene.go();
    eventually("the result is recorded", || scene.ledger_has("the-witness-ends").then_some(()));
    let resumed = scene.both_die(running).ends(0);
    assert!(resumed.stdout.contains("changed: [web1]"), "{}", resumed.stdout);
    assert_eq!(scene.lines(), 1);
}

#[test]
fn both_killed_after_the_result_was_told_it_stands_in_the_journal() {
    let mut scene = Scene::new();
    scene.go();
    let [second, on] = ["second", "on"].map(|name| scene.file(name).display().to_string());
    let hold = shell(&format!("touch {second}; until test -e {on}; do sleep 0.02; done"));
    let running = scene.start([scene.witness(), named("second", hold)]);
    scene.until("second");
    let resumed = scene.both_die(running).ends(2);
    fs::write(scene.file("on"), "").unwrap();
    assert!(!resumed.stdout.contains("TASK [witness]"), "it is told already: {}", resumed.stdout);
    let whole = report(&scene.fleet)["task_results"].to_string();
    assert!(whole.contains("the-witness-ends"), "{whole}");
    assert_eq!(scene.lines(), 1);
}

#[test]
fn both_killed_at_any_point_who_is_ok_has_one_line_of_each_task_and_others_at_most_one() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let hosts = ["h1", "h2", "h3"];
    let mut fleet = Fleet::start(&hosts);
    let tasks = ["first", "second", "third"].map(|name| witness(&fleet, name));
    let plan = fleet.write_plan(&play(tasks));
    let began = std::time::Instant::now();
    fleet.exec().arg(&plan).ends(0);
    let whole = began.elapsed();
    for round in 0..number("CRASH_ROUNDS").unwrap_or(ROUNDS) {
        for host in hosts {
            drop(fs::remove_file(fleet.path().join(format!("witness-{host}"))));
        }
        // A machine that is busy enough loses connections too, which is not what is tried here.
        let patient = fleet.exec().env("RUSTLE_MAX_RETRIES", "3").env("RUSTLE_RECONNECT_WINDOW", "60");
        let running = patient.arg(&plan).start();
        // The moment is what is tried here: nothing is waited for.
        let share = (seed.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
        std::thread::sleep(whole.mul_f64(share));
        hosts.iter().for_each(|host| fleet.signal(host, Signal::KILL));
        running.signal(Signal::KILL);
        drop(running.finish());
        hosts.iter().for_each(|host| fleet.kill_and_restart(host));
        let resumed = resume_to_the_end(&fleet);
        let told = resumed.as_ref().map(|ended| format!("{}{}", ended.stdout, ended.stderr)).unwrap_or_default();
        let told = format!("CRASH_SEED={seed} round {round}: {told}");
        let Some(code) = resumed.map(|ended| ended.code) else { continue };
        assert!(code == 0 || code == 2, "{told}");
        let report = report(&fleet);
        for result in report["host_results"].as_array().unwrap() {
            let host = result["host"].as_str().unwrap();
            let ran = witnessed(&fleet, host);
            let is_ok = result["status"] == "ok";
            assert!(ran.is_sorted() && ran.windows(2).all(|two| two[0] != two[1]), "{host} ran {ran:?}, {told}");
            assert!(!is_ok || ran == ["first", "second", "third"], "{host} ran {ran:?}, {told}");
        }
    }
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
