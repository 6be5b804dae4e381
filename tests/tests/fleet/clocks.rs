//! Wall clocks that jump. Nothing that is waited for is measured by them.

use std::fs;
use std::time::SystemTime;

use rustle_tests::{Clock, Fleet, Run, play, shell};

use super::waiting::{Waiting, kill, runs, witness, witnessed};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

fn with(run: Run, clock: &Clock) -> Run {
    clock.environment().into_iter().fold(run, |run, (name, value)| run.env(name, value))
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// A task with a deadline, one that is tried again after a while, and one that tells both clocks.
const TASKS: &str = "- hosts: all
  gather_facts: false
  tasks:
  - shell: WAIT
    timeout: 600
  - shell: test -e HOME/tried || { touch HOME/tried; exit 1; }
    register: tried
    until: tried.rc == 0
    retries: 3
    delay: 1
  - shell: echo {{ now().timestamp() | int }} $(date +%s) >> HOME/witness-{{ inventory_hostname }}
";

#[test]
fn a_clock_that_jumps_at_both_ends_under_a_run_ends_nothing_early_and_nothing_late() {
    // Back by no more than certificates allow for.
    for shift in [10 * DAY, -50 * MINUTE] {
        let clock = Clock::new();
        let scene = Waiting::of(Fleet::builder().clock(&clock).start(&["h1"]));
        let fleet = &scene.fleet;
        let home = fleet.path().to_string_lossy().into_owned();
        let site = fleet.path().join("site.yml");
        fs::write(&site, TASKS.replace("WAIT", &scene.wait_command("h1")).replace("HOME", &home)).unwrap();
        let running = with(fleet.exec().arg(&site), &clock).start();
        scene.begun("h1");
        clock.shift_by(shift);
        scene.may_end();
        let ended = running.finish().expect_code(0);
        let lines = witnessed(fleet, "h1");
        assert_eq!(lines.len(), 1, "{lines:?}\n{}", ended.stdout);
        for told in lines[0].split(' ') {
            let off = told.parse::<i64>().unwrap() - now();
            assert!((off - shift).abs() < 30 * MINUTE, "a clock that is off by {off} s has not jumped by {shift} s");
        }
    }
}

#[test]
fn a_result_that_nobody_has_fetched_outlasts_a_jump_of_the_hosts_clock_by_more_than_its_age() {
    let clock = Clock::new();
    let scene = Waiting::of(Fleet::builder().config("[ledger]\ndays = 7\n").clock(&clock).start(&["h1"]));
    let fleet = &scene.fleet;
    let told = format!("{}; echo ran >> {}/witness-h1", scene.wait_command("h1"), fleet.path().display());
    let running = fleet.run(&play([shell(&told), witness(fleet, "then")])).start();
    scene.begun("h1");
    kill(running);
    let listed = runs(fleet, &["list"]).ends(0).stdout;
    let id = listed.split_whitespace().next().unwrap();
    scene.may_end();
    rustle_tests::eventually("the task is done", || (!witnessed(fleet, "h1").is_empty()).then_some(()));
    fleet.adhoc("ping", "").ends(0);
    clock.shift_by(10 * DAY);
    // With the end of a call the agent looks for what is old.
    fleet.adhoc("ping", "").ends(0);
    let ended = runs(fleet, &["resume", id]).ends(0);
    assert_eq!(witnessed(fleet, "h1"), ["ran", "then"], "{}", ended.stdout);
}
