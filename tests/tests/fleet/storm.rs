//! Thousands of agents at once. They are real but that some processes serve all of them (`many-agents`), each with a socket,
//! a certificate and a ledger of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustle_exec::pki::{Authority, Issued};
use rustle_protocol::{HostName, Role};
use rustle_tests::{Run, eventually, named, play, task};
use serde_json::{Value, json};

use super::waiting::kill;

/// The short form; the long one is `SIMULATED_AGENTS=10000 cargo test -p rustle-tests --test fleet storm -- --nocapture`.
const AGENTS: usize = 60;

/// Agents of one process: each takes two or three open files, of which many systems allow no more than 20,000. Two processes
/// at least, so that the short form has several, too.
const PROCESS_AGENTS_MAX: usize = 2_500;

/// What a controller may weigh at most: by itself, and for each host it is connected to.
const OWN_MIB: f64 = 96.0;
const HOST_KIB: f64 = 256.0;

/// Processes full of agents, which serve until this is dropped, or this process ends.
struct Agents(Vec<Child>);

impl Agents {
    /// Serves agents with these identities, and writes their inventory.
    fn serve(home: &Path, authority: &Authority, issued: &[Issued]) -> Agents {
        for issued in issued {
            let state = home.join("agents").join(issued.identity().name.as_str());
            fs::create_dir_all(&state).unwrap();
            authority.write_folder(issued, &state.join("identity")).unwrap();
        }
        let mut agents = Agents(Vec::new());
        let mut inventory = String::new();
        for share in issued.chunks(PROCESS_AGENTS_MAX.min(issued.len().div_ceil(2))) {
            let names = share.iter().map(|issued| issued.identity().name.as_str());
            let mut command = Command::new(env!("CARGO_BIN_EXE_many-agents"));
            command.arg(home).args(names).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = command.spawn().unwrap();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
            agents.0.push(process);
            let ready: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            assert_eq!(ready.len(), share.len(), "its agents serve");
            inventory += &(ready.join("\n") + "\n");
        }
        fs::write(home.join("hosts.ini"), inventory).unwrap();
        agents
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for process in &mut self.0 {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

#[test]
fn storm_of_connections_of_a_controller_that_takes_a_run_over() {
    let count = std::env::var("SIMULATED_AGENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(AGENTS);
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let authority = Authority::create(&home.join("pki"), "tests".parse().unwrap(), 2).unwrap();
    let names: Vec<HostName> = (0..count).map(|number| format!("h{number:05}").parse().unwrap()).collect();
    let operator = authority.issue(Role::Controller, &["operator".parse().unwrap()], 2).unwrap();
    authority.write_folder(&operator[0], &home.join("controller")).unwrap();
    let _agents = Agents::serve(home, &authority, &authority.issue(Role::Agent, &names, 2).unwrap());
    // On every tenth host a call is under way until this is there, so the run cannot be over before its controller is killed.
    let gate = home.join("gate");
    let mut waits = named("waits", task("wait_for", json!({ "path": gate })));
    waits["keywords"] = json!({ "when": "inventory_hostname is match('.*0$')" });
    let ping = |name: &str| named(name, task("ping", json!({})));
    fs::write(home.join("plan.json"), play([ping("first"), waits, ping("third")]).to_string()).unwrap();
    let run = Run::new(home).arg("-i").arg(home.join("hosts.ini")).arg("--identity").arg(home.join("controller"));
    let running = run.args(["--forks", &count.to_string()]).arg(home.join("plan.json")).start();
    for share in 1..=100 {
        // All are through the first task, and all but those who wait through the second.
        let done = (count + count - count.div_ceil(10)) * share / 100;
        eventually(&format!("{done} results are in"), || {
            let told = running.output();
            (told.matches("ok: [").count() + told.matches("skipping: [").count() >= done).then_some(())
        });
    }
    kill(running);
    fs::write(gate, "").unwrap();
    let began = std::time::Instant::now();
    let resume = Run::new(home).args(["runs", "resume", "last", "--", "--report-file", "report.json"]);
    let ended = resume.ends(0);
    let took = began.elapsed();
    let report: Value = serde_json::from_slice(&fs::read(home.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["task_results"].as_array().unwrap().len(), 3 * count, "{}", ended.stderr);
    let peak = report["performance_metrics"]["peak_memory"].as_f64().unwrap() / f64::from(1 << 20);
    println!(
        "{count} agents; the run was taken over in {:.1} s, the controller's peak {peak:.1} MiB",
        took.as_secs_f64()
    );
    assert!(peak <= OWN_MIB + HOST_KIB * count as f64 / 1024.0, "the controller took {peak:.1} MiB");
}
