//! A long run over many hosts whose agents and links fail at random, and what both sides weigh meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::time::{Duration, Instant};

use rustle_tests::{Fleet, Proxy, Weather, named, play, shell};
use serde::Deserialize;
use serde_json::{Value, json};

use super::waiting::{runs, witnessed};

/// The short form. The long one is `SOAK_HOSTS=200 SOAK_SECONDS=3600 cargo test -p rustle-tests --test fleet soak -- --nocapture`,
/// and `SOAK_SEED` repeats the choice of what fails.
const HOSTS: u64 = 5;
const SECONDS: u64 = 12;

/// Lines about memory that are printed.
const LOOKS: u32 = 12;

/// More tasks for each second than a fleet of this size comes to.
const TASKS_PER_SECOND: u64 = 8;

/// So much later than the first look after the warm-up a process may weigh at its last one.
const GROWTH_MAX: f64 = 1.5;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Resident memory in MiB.
fn weight(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// What was weighed at one time.
struct Look {
    controller: f64,
    agents: f64,
    heaviest: f64,
}

impl Look {
    fn at(fleet: &Fleet, names: &[String], controller: u32) -> Look {
        let agents: Vec<f64> = names.iter().map(|name| weight(fleet.pid(name))).collect();
        let heaviest = agents.iter().copied().fold(0.0, f64::max);
        Look { controller: weight(controller), agents: agents.iter().sum(), heaviest }
    }
}

/// A line in the host's file for each task, and some output.
fn tasks(fleet: &Fleet, count: u64) -> Vec<Value> {
    let dir = fleet.path().display();
    let task = |number| {
        let line = format!("echo t{number} >> {dir}/witness-{{{{ inventory_hostname }}}}");
        let mut task = named(&format!("t{number}"), shell(&format!("{line}; head -c 2000 /dev/zero | tr '\\0' x")));
        task["keywords"] = json!({ "ignore_errors": true, "ignore_unreachable": true });
        task
    };
    (0..count).map(task).collect()
}

/// What is looked at of a result: in an hour there are hundreds of thousands.
#[derive(Deserialize)]
struct TaskResult {
    host: String,
    task_name: String,
    status: String,
}

fn results(fleet: &Fleet) -> Vec<TaskResult> {
    #[derive(Deserialize)]
    struct Report {
        task_results: Vec<TaskResult>,
    }
    let path = fleet.path().join("soak-report.json");
    runs(fleet, &["report", "last", "--report-file", path.to_str().unwrap()]).ends(0);
    let report: Report = serde_json::from_reader(BufReader::new(File::open(path).unwrap())).unwrap();
    report.task_results
}

/// No task ran twice on a host, and whatever is reported done ran.
fn check(fleet: &Fleet, names: &[String]) -> String {
    let mut ran: BTreeMap<(String, String), u32> = BTreeMap::new();
    for name in names {
        witnessed(fleet, name).into_iter().for_each(|task| *ran.entry((name.clone(), task)).or_default() += 1);
    }
    let twice: Vec<_> = ran.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
    let mut statuses: BTreeMap<String, u32> = BTreeMap::new();
    for result in results(fleet) {
        let is_done = result.status == "changed";
        let key = (result.host, result.task_name);
        assert!(!is_done || ran.contains_key(&key), "{key:?} did not run");
        *statuses.entry(result.status).or_default() += 1;
    }
    assert!(statuses.get("changed").is_some_and(|done| *done > 0), "{statuses:?}");
    format!("{} tasks ran; results: {statuses:?}", ran.len())
}

#[test]
fn soak() {
    let (seconds, seed) = (setting("SOAK_SECONDS", SECONDS), setting("SOAK_SEED", u64::from(std::process::id())));
    let names: Vec<String> = (1..=setting("SOAK_HOSTS", HOSTS)).map(|number| format!("h{number:03}")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fleet = Fleet::builder().config("idle_s = 4\n").start(&hosts);
    let links: Vec<Proxy> =
        hosts.iter().map(|host| Proxy::new(fleet.address(host), seed, Weather::default())).collect();
    fleet.reach_at(names.iter().cloned().zip(links.iter().map(Proxy::address)));
    let quick = "[performance]\nidle_s = 4\nkeep_alive_s = 1\n[executor]\nretry_delay = 0.5\n";
    fs::write(fleet.path().join("quick.toml"), quick).unwrap();
    let plan = play(tasks(&fleet, seconds * TASKS_PER_SECOND));
    let run = fleet.run(&plan).args(["--config", "quick.toml", "--strategy", "free", "--forks", "50"]);
    let mut running = run.args(["--reconnect-window", "60"]).env("RUSTLE_MAX_RETRIES", "9").start();
    let (mut chance, mut kills, mut cuts) = (Chance(seed), 0, 0);
    let (began, whole) = (Instant::now(), Duration::from_secs(seconds));
    let mut looks: Vec<Look> = Vec::new();
    println!(
        "SOAK_SEED={seed}\n{:>8} {:>16} {:>12} {:>14} {:>6} {:>6}",
        "seconds", "controller MiB", "agents MiB", "heaviest MiB", "kills", "cuts"
    );
    while began.elapsed() < whole && !running.is_over() {
        let which = chance.below(names.len());
        if chance.below(2) == 0 {
            fleet.kill_and_restart(&names[which]);
            kills += 1;
        } else {
            links[which].cut(true);
            // The length of a cut is what is tried here: nothing is waited for.
            std::thread::sleep(Duration::from_millis(50 + chance.below(1_500) as u64));
            links[which].cut(false);
            cuts += 1;
        }
        if began.elapsed() >= whole / LOOKS * looks.len() as u32 {
            let look = Look::at(&fleet, &names, running.pid());
            let mut line = format!("{:>8} {:>16.1} ", began.elapsed().as_secs(), look.controller);
            let _ = write!(line, "{:>12.1} {:>14.1} {kills:>6} {cuts:>6}", look.agents, look.heaviest);
            println!("{line}");
            looks.push(look);
        }
    }
    if !running.is_over() {
        runs(&fleet, &["cancel", "last"]).ends(0);
    }
    let ended = running.finish();
    println!("{}", check(&fleet, &names));
    let warm = &looks[looks.len() / 3];
    let last = looks.last().unwrap();
    for (what, before, after) in
        [("the controller", warm.controller, last.controller), ("agents", warm.agents, last.agents)]
    {
        assert!(
            after <= before * GROWTH_MAX,
            "SOAK_SEED={seed}: {what} grew from {before:.1} to {after:.1} MiB: {}",
            ended.stderr
        );
    }
}
