//! Thousands of agents at once. They are real but for their processes: all are served by this one, each with a socket, a
//! certificate and a ledger of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustle_agent::blobs::BlobStore;
use rustle_agent::ledger::{Durability, Ledger, LedgerOptions};
use rustle_agent::policy::Policy;
use rustle_agent::runner::Runner;
use rustle_agent::server::{Shared, serve};
use rustle_exec::pki::{Authority, Issued};
use rustle_protocol::endpoint::Listener;
use rustle_protocol::loaded_identity::IdentityFiles;
use rustle_protocol::transport::TransportOptions;
use rustle_protocol::{HostName, LoadedIdentity, Role};
use rustle_tests::{Run, eventually, named, play, task};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::waiting::kill;

/// The short form; the long one is `SIMULATED_AGENTS=10000 cargo test -p rustle-tests --test fleet storm -- --nocapture`. It
/// needs 25,000 open files.
const AGENTS: usize = 60;

/// Calls at once on one host.
const CALLS: u32 = 4;

/// What a controller may weigh at most: by itself, and for each host it is connected to.
const OWN_MIB: f64 = 96.0;
const HOST_KIB: f64 = 256.0;

/// Agents in a thread of this process, which serve until this is dropped.
struct Agents {
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agents {
    /// Writes the inventory of agents with these identities, and serves them.
    fn serve(home: &Path, authority: &Authority, issued: Vec<Issued>) -> Agents {
        let (shutdown, is_shutdown) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let agents: Vec<Shared> = {
            let _context = runtime.enter();
            issued.iter().map(|issued| agent(home, authority, issued)).collect()
        };
        let line = |agent: &Shared| {
            let at: SocketAddr = agent.listener.local_address().unwrap();
            format!("{} rustle_host={} rustle_port={}\n", agent.host, at.ip(), at.port())
        };
        fs::write(home.join("hosts.ini"), agents.iter().map(line).collect::<String>()).unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for agent in agents {
                    tokio::spawn(serve(Arc::new(agent), std::future::pending(), Duration::ZERO));
                }
                tell.send(()).unwrap();
                drop(is_shutdown.await);
            });
        });
        told.recv().unwrap();
        Agents { shutdown: Some(shutdown), thread: Some(thread) }
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

fn agent(home: &Path, authority: &Authority, issued: &Issued) -> Shared {
    let state = home.join("agents").join(issued.identity().name.as_str());
    fs::create_dir_all(&state).unwrap();
    authority.write_folder(issued, &state.join("identity")).unwrap();
    let identity = LoadedIdentity::load(&IdentityFiles::in_dir(&state.join("identity"))).unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), identity, &TransportOptions::default()).unwrap();
    let options =
        LedgerOptions { durability: Durability::Process, bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };
    let ledger = Ledger::open(&state.join("ledger"), options).unwrap();
    let blobs = BlobStore::open(state.join("blobs"), 1 << 20).unwrap();
    Shared::new(listener, Runner::new(Policy::default(), CALLS), blobs, ledger, state.join("revocations.der"))
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
    let _agents = Agents::serve(home, &authority, authority.issue(Role::Agent, &names, 2).unwrap());
    let ping = |name: &str| named(name, task("ping", json!({})));
    fs::write(home.join("plan.json"), play([ping("first"), ping("second")]).to_string()).unwrap();
    let run = Run::new(home).arg("-i").arg(home.join("hosts.ini")).arg("--identity").arg(home.join("controller"));
    let running = run.args(["--forks", &count.to_string()]).arg(home.join("plan.json")).start();
    for share in 1..=100 {
        let done = count * 3 / 2 * share / 100;
        eventually(&format!("{done} results are in"), || {
            (running.output().matches("ok: [").count() >= done).then_some(())
        });
    }
    kill(running);
    let began = std::time::Instant::now();
    let resume = Run::new(home).args(["runs", "resume", "last", "--", "--report-file", "report.json"]);
    let ended = resume.ends(0);
    let took = began.elapsed();
    let report: Value = serde_json::from_slice(&fs::read(home.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["task_results"].as_array().unwrap().len(), 2 * count, "{}", ended.stderr);
    let peak = report["performance_metrics"]["peak_memory"].as_f64().unwrap() / f64::from(1 << 20);
    println!(
        "{count} agents; the run was taken over in {:.1} s, the controller's peak {peak:.1} MiB",
        took.as_secs_f64()
    );
    assert!(peak <= OWN_MIB + HOST_KIB * count as f64 / 1024.0, "the controller took {peak:.1} MiB");
}
