//! Runs whose controller dies, is joined by a second one, is paused, and goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Fleet, eventually, named, play, plays, shell, task};
use serde_json::{Value, json};

use super::waiting::{Waiting, kill, report, resume_to_the_end, runs, witness, witnessed};

/// Rounds of the random kill; `RESUME_ROUNDS=1000 cargo test -p rustle-tests resume` is the long form.
const ROUNDS: u64 = 4;

const HOSTS: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];

fn with(keywords: Value, mut task: Value) -> Value {
    task["keywords"] = keywords;
    task
}

#[test]
fn a_run_whose_controller_was_killed_goes_on_and_its_report_covers_all_of_it() {
    let scene = Waiting::new(&["h1", "h2"]);
    let fleet = &scene.fleet;
    let said = |host: &str| format!("{{{{ hostvars['{host}'].answer.stdout }}}}");
    let ask = with(json!({ "register": "answer" }), named("ask", shell("echo 42-{{ inventory_hostname }}")));
    let set = named("set", task("set_fact", json!({ "kept": "{{ answer.stdout }}!" })));
    let tell = named("tell", task("debug", json!({ "msg": format!("{{{{ kept }}}} {}", said("h2")) })));
    let plan = play([ask, set, scene.wait(), tell]);
    let running = fleet.run(&plan).start();
    scene.begun("h1");
    scene.begun("h2");
    kill(running);
    let listed = runs(fleet, &["list"]).ends(0).stdout;
    assert!(listed.contains("interrupted"), "{listed}");
    let half = report(fleet);
    assert_eq!(half["task_results"].as_array().unwrap().len(), 4, "{half}");
    scene.may_end();
    let ended = runs(fleet, &["resume", "last"]).ends(0);
    assert!(ended.stdout.contains("42-h1! 42-h2"), "registered variables and facts are known: {}", ended.stdout);
    assert_eq!(ended.banners().iter().filter(|banner| banner.contains("ask")).count(), 0, "{}", ended.stdout);
    assert_eq!(ended.banners()[..2], ["PLAY [Play]", "TASK [wait]"], "where it is, is told: {}", ended.stdout);
    assert!(ended.recap("h1").starts_with("h1 : ok=4 changed=2"), "{}", ended.recap("h1"));
    let whole = report(fleet);
    assert_eq!(whole["task_results"].as_array().unwrap().len(), 8);
    assert_eq!(whole["summary"]["total_tasks"], json!(8), "{}", whole["summary"]);
    let again = runs(fleet, &["resume", "last"]).ends(5);
    assert!(again.stderr.contains("is over: there is nothing to resume"), "{}", again.stderr);
}

#[test]
fn a_handler_that_was_notified_before_the_controller_died_runs_after_it() {
    let scene = Waiting::new(&["h1"]);
    let change = with(json!({ "notify": "restart" }), named("change", shell("true")));
    let plan = plays([json!({
        "name": "Play", "hosts": "all",
        "tasks": [change, scene.wait()],
        "handlers": [witness(&scene.fleet, "restart")],
    })]);
    let running = scene.fleet.run(&plan).start();
    scene.begun("h1");
    kill(running);
    scene.may_end();
    runs(&scene.fleet, &["resume", "last"]).ends(0);
    assert_eq!(witnessed(&scene.fleet, "h1"), ["restart"]);
}

#[test]
fn a_second_controller_of_the_same_run_is_refused_and_told_who_has_it() {
    let scene = Waiting::new(&["h1"]);
    let running = scene.fleet.run(&play([scene.wait()])).start();
    scene.begun("h1");
    let id = running_id(&scene.fleet);
    let second = scene.fleet.exec().arg(newest_plan(&scene.fleet)).arg("--resume-run").arg(&id).ends(5);
    assert!(second.stderr.contains(&format!("process {} on", running.pid())), "{}", second.stderr);
    scene.may_end();
    assert_eq!(running.finish().code, 0);
}

#[test]
fn a_plan_that_has_changed_is_refused_with_the_difference_and_accepted_when_told_so() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let running = fleet.run(&play([scene.wait(), named("last", shell("echo before"))])).start();
    scene.begun("h1");
    kill(running);
    scene.may_end();
    let plan = newest_plan(fleet);
    fs::write(&plan, play([scene.wait(), named("last", shell("echo after"))]).to_string()).unwrap();
    let refused = runs(fleet, &["resume", "last"]).ends(5);
    assert!(refused.stderr.contains("task 2 `last` says something else"), "{}", refused.stderr);
    fs::write(&plan, play([scene.wait()]).to_string()).unwrap();
    let refused = runs(fleet, &["resume", "last", "--accept-changed-plan"]).ends(5);
    assert!(refused.stderr.contains("it had 2 tasks and handlers and has 1"), "{}", refused.stderr);
    fs::write(&plan, play([scene.wait(), named("last", shell("echo after"))]).to_string()).unwrap();
    runs(fleet, &["resume", "last", "--accept-changed-plan"]).ends(0);
    let results = report(fleet)["task_results"].to_string();
    assert!(results.contains("after") && !results.contains("before"), "{results}");
}

#[test]
fn another_process_asks_pauses_resumes_and_drops_a_host() {
    let scene = Waiting::new(&["h1", "h2"]);
    let fleet = &scene.fleet;
    let running = fleet.run(&play([scene.wait(), witness(fleet, "then")])).start();
    scene.begun("h1");
    scene.begun("h2");
    let status = runs(fleet, &["status", "last"]).ends(0).stdout;
    assert!(status.contains("waiting for h1: wait") && status.contains("waiting for h2: wait"), "{status}");
    let said = |did: &str, ended: rustle_tests::Ended| {
        assert!(ended.stdout.starts_with("run ") && ended.stdout.lines().count() == 1, "{}", ended.stdout);
        assert!(ended.stdout.contains(did), "{}", ended.stdout);
    };
    said("is paused: ", runs(fleet, &["pause", "last"]).ends(0));
    assert!(runs(fleet, &["status", "last"]).ends(0).stdout.contains("paused"));
    said("gives host h2 up: ", runs(fleet, &["drop", "last", "h2"]).ends(0));
    let unknown = runs(fleet, &["drop", "last", "h9"]).ends(5);
    assert!(unknown.stderr.contains("no host `h9`"), "{}", unknown.stderr);
    scene.may_end();
    eventually("the paused run has h1's result", || {
        let status = runs(fleet, &["status", "last"]).ends(0).stdout;
        (!status.contains("waiting for h1")).then_some(())
    });
    assert!(witnessed(fleet, "h1").is_empty(), "nothing new is begun in a pause");
    said("goes on, ", runs(fleet, &["resume", "last"]).ends(0));
    let ended = running.finish();
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("[WARNING]: h2: given up by the operator"), "{}", ended.stderr);
    assert_eq!((witnessed(fleet, "h1").len(), witnessed(fleet, "h2").len()), (1, 0));
}

#[test]
fn a_run_that_another_process_cancels_is_over_and_one_that_ctrl_c_stopped_goes_on() {
    let scene = Waiting::new(&["h1"]);
    let fleet = &scene.fleet;
    let running = fleet.run(&play([scene.wait()])).start();
    scene.begun("h1");
    let cancelled = runs(fleet, &["cancel", "last"]).ends(0).stdout;
    assert!(cancelled.contains("is cancelled: "), "{cancelled}");
    assert_eq!(running.finish().code, 2);
    runs(fleet, &["resume", "last"]).ends(5);
    fs::remove_file(fleet.path().join("begun-h1")).unwrap();

    let running = fleet.run(&play([scene.wait(), witness(fleet, "then")])).arg("--batch").start();
    scene.begun("h1");
    running.signal(Signal::INT);
    let ended = running.finish().expect_code(130);
    assert!(ended.stderr.contains("rustle-exec runs resume"), "{}", ended.stderr);
    let given_up = runs(fleet, &["cancel", "last"]).ends(0).stdout;
    assert!(given_up.contains("is given up: "), "{given_up}");
    let over = runs(fleet, &["resume", "last"]).ends(5);
    assert!(over.stderr.contains("is over"), "{}", over.stderr);
}

#[test]
fn an_interrupted_run_does_what_was_not_begun_when_it_is_resumed() {
    let scene = Waiting::new(&["h1", "h2"]);
    let fleet = &scene.fleet;
    let running = fleet.run(&play([scene.wait(), witness(fleet, "then")])).args(["--batch", "--forks", "1"]).start();
    scene.begun("h1");
    running.signal(Signal::INT);
    running.finish().expect_code(130);
    scene.may_end();
    let ended = runs(fleet, &["resume", "last"]).finish();
    assert_eq!(ended.code, 2, "what was stopped half-way on h1 is unknown: {}\n{}", ended.stdout, ended.stderr);
    assert_eq!((witnessed(fleet, "h1").len(), witnessed(fleet, "h2").len()), (0, 1), "{}", ended.stdout);
}

#[test]
fn a_run_without_a_journal_leaves_none() {
    let fleet = Fleet::start(&["h1"]);
    fleet.run(&play([shell("true")])).arg("--no-journal").ends(0);
    assert_eq!(runs(&fleet, &["list"]).ends(0).stdout, "no runs\n");
    fleet.run(&play([shell("true")])).ends(0);
    assert!(runs(&fleet, &["list"]).ends(0).stdout.contains("finished"));
    runs(&fleet, &["prune", "--keep", "0"]).ends(0);
    assert_eq!(runs(&fleet, &["list"]).ends(0).stdout, "no runs\n");
}

/// What each host was left with.
fn states(fleet: &Fleet) -> BTreeMap<String, String> {
    let read = |host: &&str| fs::read_to_string(fleet.path().join(format!("state-{host}"))).unwrap_or_default();
    HOSTS.iter().map(|host| ((*host).to_owned(), read(host))).collect()
}

/// Five batches of one host: a task that describes a state and notifies, a loop, and tasks that must not run twice.
fn rollout(fleet: &Fleet) -> Value {
    let state = format!("{}/state-{{{{ inventory_hostname }}}}", fleet.path().display());
    let line = |text: &str| task("lineinfile", json!({ "path": state, "line": text, "create": true }));
    let first = with(json!({ "notify": "handled" }), named("first", line("first {{ inventory_hostname }}")));
    let looped = with(json!({ "loop": [1, 2, 3] }), named("loop", line("item {{ item }}")));
    let tasks = [first, looped, witness(fleet, "third"), witness(fleet, "fourth")];
    let handlers = [witness(fleet, "handled")];
    plays([json!({ "name": "Rollout", "hosts": "all", "serial": 1, "tasks": tasks, "handlers": handlers })])
}

#[test]
fn a_rollout_whose_controller_is_killed_at_any_point_ends_as_an_undisturbed_one() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("RESUME_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("RESUME_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let fleet = Fleet::start(&HOSTS);
    let plan = fleet.write_plan(&rollout(&fleet));
    let began = std::time::Instant::now();
    fleet.exec().arg(&plan).ends(0);
    let whole = began.elapsed();
    let undisturbed = states(&fleet);
    assert!(undisturbed["h3"].contains("first h3") && undisturbed["h5"].contains("item 3"), "{undisturbed:?}");
    for round in 0..rounds {
        for (kind, host) in HOSTS.iter().flat_map(|host| [("state", host), ("witness", host)]) {
            drop(fs::remove_file(fleet.path().join(format!("{kind}-{host}"))));
        }
        // A machine that is busy enough loses connections too, which is not what is tried here.
        let patient = fleet.exec().env("RUSTLE_MAX_RETRIES", "3").env("RUSTLE_RECONNECT_WINDOW", "60");
        let running = patient.arg(&plan).start();
        // The moment is what is tried here: nothing is waited for.
        let share = (seed.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
        std::thread::sleep(whole.mul_f64(share));
        running.signal(Signal::KILL);
        let begun = running.finish();
        let ended = resume_to_the_end(&fleet);
        let told = [Some(&begun), ended.as_ref()].into_iter().flatten();
        let told: String = told.map(|ended| format!("{}{}", ended.stdout, ended.stderr)).collect();
        let code = ended.map_or(begun.code, |ended| ended.code);
        // Without a first record there is nothing to resume, and so nothing may have been done.
        let stands = runs(&fleet, &["list"]).ends(0).stdout.lines().last().unwrap_or_default().to_owned();
        if code == -9 && states(&fleet).values().all(String::is_empty) {
            continue;
        }
        let told = format!("RESUME_SEED={seed} round {round}: {stands}\n{told}");
        assert!(code == 0 || code == -9, "{code} {told}");
        assert_eq!(states(&fleet), undisturbed, "{told}");
        for host in HOSTS {
            let ran = witnessed(&fleet, host);
            assert_eq!(ran, ["third", "fourth", "handled"], "{host} {told}");
        }
        let report = report(&fleet);
        assert_eq!(report["task_results"].as_array().unwrap().len(), 5 * 5, "{told}");
    }
}

fn running_id(fleet: &Fleet) -> String {
    let listed = runs(fleet, &["list"]).ends(0).stdout;
    listed.split_whitespace().next().unwrap().to_owned()
}

/// The plan that was written last.
fn newest_plan(fleet: &Fleet) -> PathBuf {
    let entries = fs::read_dir(fleet.path()).unwrap().map(|entry| entry.unwrap().path());
    let plans = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("plan-"));
    plans.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}
