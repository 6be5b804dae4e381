//! Links that break, and what a run makes of it. The witness is a task that appends a line to a file: a host that is reported
//! ok has exactly one line of it, any other at most one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use rustle_tests::{Fleet, Proxy, Run, Weather, eventually, named, play, processes_with, shell};
use serde_json::Value;

/// Runs of the short form through each kind of weather; `NETWORK_ROUNDS=200` is the long form, and `NETWORK_SEED` repeats one.
const ROUNDS: u64 = 1;

/// A fleet behind links that can be made bad. Both ends notice within two seconds that nothing comes.
struct Scene {
    fleet: Fleet,
    links: Vec<(String, Proxy)>,
}

impl Scene {
    fn new(hosts: &[&str], config: &str) -> Scene {
        let fleet = Fleet::builder().config(&format!("idle_s = 2\n{config}")).start(hosts);
        let link = |host: &&str| ((*host).to_owned(), Proxy::new(fleet.address(host), 1, Weather::default()));
        let links: Vec<_> = hosts.iter().map(link).collect();
        let at = |(host, link): &(String, Proxy)| (host.clone(), link.address());
        fleet.reach_at(links.iter().map(at));
        fs::write(fleet.path().join("quick.toml"), "[performance]\nidle_s = 2\nkeep_alive_s = 1\n").unwrap();
        Scene { fleet, links }
    }

    fn link(&self, host: &str) -> &Proxy {
        &self.links.iter().find(|(name, _)| name == host).unwrap().1
    }

    fn file(&self, name: &str) -> PathBuf {
        self.fleet.path().join(name)
    }

    fn go(&self) {
        fs::write(self.file("go"), "").unwrap();
    }

    /// Leaves a line, says that it has begun, says a word, and another one when it may.
    fn witness(&self) -> Value {
        let dir = self.fleet.path().display();
        let host = "{{ inventory_hostname }}";
        named(
            "witness",
            shell(&format!(
                "echo line >> {dir}/lines-{host}; echo before; touch {dir}/begun-{host}; until test -e {dir}/cut-{host}; do \
                 sleep 0.02; done; echo during; touch {dir}/during-{host}; until test -e {dir}/go; do sleep 0.02; done; \
                 echo after"
            )),
        )
    }

    fn lines(&self, host: &str) -> usize {
        fs::read_to_string(self.file(&format!("lines-{host}"))).unwrap_or_default().lines().count()
    }

    fn until(&self, name: &str) {
        eventually(&format!("{name} is there"), || self.file(name).exists().then_some(()));
    }

    /// Without retries: what is tried here must not need any.
    fn run(&self, tasks: impl IntoIterator<Item = Value>, window: &str) -> Run {
        self.fleet.run(&play(tasks)).args(["--config", "quick.toml", "--reconnect-window", window])
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whatever still waits is to end with the test.
        let _ = fs::write(self.file("go"), "");
        for (host, _) in &self.links {
            let _ = fs::write(self.file(&format!("cut-{host}")), "");
        }
    }
}

#[test]
fn a_cut_that_outlasts_the_connection_costs_no_try_and_no_output() {
    let scene = Scene::new(&["web1"], "");
    let running = scene.run([scene.witness()], "60").args(["--progress", "json"]).start();
    running.wait_for("before\\n");
    scene.link("web1").cut(true);
    running.wait_for("the host is looked for, at most 60 s");
    fs::write(scene.file("cut-web1"), "").unwrap();
    scene.until("during-web1");
    scene.link("web1").cut(false);
    running.wait_for("during\\n");
    scene.go();
    let ended = running.finish().expect_code(0);
    assert!(!ended.stdout.contains("\"retrying\""), "{}", ended.stdout);
    assert_eq!(scene.lines("web1"), 1);
    let events = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let output: String = events.filter_map(|event| Some(event.get("bytes")?.as_str()?.to_owned())).collect();
    assert_eq!(output, "before\nduring\nafter\n", "output goes on where it was heard: {}", ended.stdout);
}

#[test]
fn an_agent_that_is_started_again_is_found_and_its_result_is_fetched() {
    let mut scene = Scene::new(&["web1"], "");
    let running = scene.run([scene.witness()], "60").start();
    scene.until("begun-web1");
    // Its controller hears nothing from here on.
    scene.link("web1").cut(true);
    fs::write(scene.file("cut-web1"), "").unwrap();
    scene.go();
    let ledger = scene.file("hosts/web1/state/ledger/calls");
    eventually("the result is recorded", || {
        let bytes = fs::read(&ledger).unwrap_or_default();
        bytes.windows(5).any(|window| window == b"after").then_some(())
    });
    scene.fleet.kill_and_restart("web1");
    scene.link("web1").cut(false);
    let ended = running.finish().expect_code(0);
    assert!(ended.stdout.contains("changed: [web1]"), "{}", ended.stdout);
    assert_eq!(scene.lines("web1"), 1);
}

#[test]
fn a_controller_whose_address_changes_under_a_call_keeps_its_connection() {
    let scene = Scene::new(&["web1"], "");
    let running = scene.run([scene.witness()], "0").start();
    scene.until("begun-web1");
    scene.link("web1").rebind();
    fs::write(scene.file("cut-web1"), "").unwrap();
    scene.go();
    running.finish().expect_code(0);
    assert_eq!(scene.lines("web1"), 1);
}

#[test]
fn a_host_that_stays_away_is_unreachable_and_tells_what_became_of_its_call_when_it_comes_back() {
    let scene = Scene::new(&["web1", "web2"], "");
    let running = scene.run([scene.witness()], "1").start();
    scene.until("begun-web1");
    scene.until("begun-web2");
    scene.link("web1").cut(true);
    fs::write(scene.file("cut-web1"), "").unwrap();
    running.wait_for("fatal: [web1]: UNREACHABLE!");
    scene.link("web1").cut(false);
    // The end of the task on web1 is the end of the one on web2; the latter waits for another file still.
    scene.go();
    running.wait_for("late: the host is back, and `witness` ended well and changed it");
    fs::write(scene.file("cut-web2"), "").unwrap();
    let ended = running.finish().expect_code(4);
    assert!(ended.recap("web1").contains("unreachable=1"), "{}", ended.stdout);
    assert_eq!((scene.lines("web1"), scene.lines("web2")), (1, 1));
}

#[test]
fn a_run_that_is_cancelled_while_a_host_is_away_does_not_wait_for_it() {
    let scene = Scene::new(&["web1"], "");
    let running = scene.run([scene.witness()], "600").arg("--batch").start();
    scene.until("begun-web1");
    scene.link("web1").cut(true);
    running.wait_for("the host is looked for");
    running.signal(Signal::INT);
    running.finish().expect_code(130);
}

#[test]
fn an_agent_that_has_no_room_is_asked_again_without_costing_a_try() {
    let scene = Scene::new(&["web1"], "calls = 1\n");
    let first = scene.run([scene.witness()], "0").start();
    scene.until("begun-web1");
    let second = scene.run([shell("true")], "0").start();
    eventually("the second is refused", || scene.fleet.log("web1").contains("call refused").then_some(()));
    fs::write(scene.file("cut-web1"), "").unwrap();
    scene.go();
    first.finish().expect_code(0);
    let ended = second.finish().expect_code(0);
    assert!(!ended.stdout.contains("RETRYING"), "{}", ended.stdout);
}

#[test]
fn an_agent_may_say_that_each_run_has_the_host_for_itself() {
    let scene = Scene::new(&["web1"], "one_run = true\n");
    let first = scene.run([scene.witness()], "0").start();
    scene.until("begun-web1");
    let refused = scene.run([shell("true")], "0").ends(4);
    assert!(refused.stdout.contains("controller `operator` holds this host for its run"), "{}", refused.stdout);
    let second = scene.run([shell("true")], "0").args(["--on-busy-host", "wait", "--batch"]).start();
    second.wait_for("waiting for the host");
    second.signal(Signal::INT);
    second.finish().expect_code(130);
    fs::write(scene.file("cut-web1"), "").unwrap();
    scene.go();
    first.finish().expect_code(0);
}

#[test]
fn what_a_task_had_started_is_ended_when_the_agent_that_ran_it_was_killed() {
    let mut scene = Scene::new(&["web1"], "");
    let running = scene.run([scene.witness()], "60").start();
    scene.until("begun-web1");
    let mark = format!("until test -e {}/cut-web1", scene.fleet.path().display());
    assert!(!processes_with(&mark).is_empty());
    scene.fleet.kill_and_restart("web1");
    // The agent is ready only when they are gone.
    assert_eq!(processes_with(&mark), [0_u32; 0]);
    let ended = running.finish().expect_code(2);
    assert!(ended.stdout.contains("the agent died while the task ran"), "{}", ended.stdout);
    assert_eq!(scene.lines("web1"), 1);
}

/// Tasks that must not run twice, on every host, through this weather.
fn weather_is_borne(weather: &Weather, seed: u64) {
    let hosts = ["web1", "web2", "web3"];
    let fleet = Fleet::start(&hosts);
    let link = |(number, host): (usize, &&str)| {
        ((*host).to_owned(), Proxy::new(fleet.address(host), seed.wrapping_add(number as u64), weather.clone()))
    };
    let links: Vec<(String, Proxy)> = hosts.iter().enumerate().map(link).collect();
    fleet.reach_at(links.iter().map(|(host, link)| (host.clone(), link.address())));
    let dir = fleet.path().display().to_string();
    let task = |number: usize| {
        let line =
            format!("echo {number} >> {dir}/lines-{{{{ inventory_hostname }}}}; head -c 60000 /dev/zero | tr '\\0' x");
        named(&format!("task {number}"), shell(&line))
    };
    let run = fleet.run(&play((0..6).map(task))).env("RUSTLE_RECONNECT_WINDOW", "120").env("RUSTLE_MAX_RETRIES", "5");
    let ended = run.args(["--retry-delay", "0.5"]).finish();
    let told = format!("{weather:?} NETWORK_SEED={seed}: {}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, 0, "{told}");
    for host in hosts {
        let lines = fs::read_to_string(fleet.path().join(format!("lines-{host}"))).unwrap_or_default();
        assert_eq!(lines, "0\n1\n2\n3\n4\n5\n", "{host}: {told}");
    }
    let lost: u64 = links.iter().map(|(_, link)| link.counts().lost).sum();
    assert!(weather.loss == 0.0 || lost > 0, "nothing was lost: {told}");
}

#[test]
fn a_link_that_loses_doubles_damages_and_reorders_costs_no_result_and_no_second_run() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("NETWORK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    for round in 0..number("NETWORK_ROUNDS").unwrap_or(ROUNDS) {
        let seed = seed.wrapping_add(round.wrapping_mul(1000));
        let (delay, jitter) = (Duration::from_millis(5), Duration::from_millis(20));
        let weather = |loss| Weather { loss, doubled: 0.02, damaged: 0.01, delay, jitter, ..Weather::default() };
        // Beside each other: most of the time they wait.
        std::thread::scope(|scope| {
            for loss in [0.0, 0.01, 0.05, 0.2] {
                scope.spawn(move || weather_is_borne(&weather(loss), seed));
            }
        });
    }
}

#[test]
fn links_that_are_cut_again_and_again_cost_no_result_and_no_second_run() {
    let cuts = (1..20).map(|number| (Duration::from_millis(400 * number), Duration::from_millis(200))).collect();
    weather_is_borne(&Weather { cuts, ..Weather::default() }, 7);
}
