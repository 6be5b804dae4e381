//! The main job without a tool: the same processes, connections, calls and program starts, and nothing else. What stands between
//! this and the floor is QUIC and the processes' waking each other; what stands between this and ours is ours.
//!
//! Each host is this program started again. It has the lab's identity of that host and our transport's settings, and starts
//! programs as an agent has to: on a thread of their own, so that a dead disk stops no other call, in their own process
//! group and with their output caught. It parses nothing, and writes nothing down.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustle_protocol::HostName;
use rustle_protocol::endpoint::{Arrival, Dialer, Listener};
use rustle_protocol::loaded_identity::{IdentityFiles, LoadedIdentity};
use rustle_protocol::transport::TransportOptions;
use tokio::sync::Barrier;

use crate::{Taken, threads_cpu};

/// The first argument of a host's process; the second is its identity's folder.
const HOST: &str = "bare-host";
/// What a call of W1 and its answer take on a stream.
const CALL_BYTES: usize = 100;
const ANSWER_BYTES: usize = 200;
/// W1 has so many steps.
const STEPS: usize = 10;
/// What hosts get to hear that a run is over.
const DRAIN: Duration = Duration::from_secs(1);

/// Hosts that run, until this is dropped.
pub(crate) struct BareFleet {
    controller: PathBuf,
    hosts: Vec<BareHost>,
}

struct BareHost {
    name: HostName,
    address: SocketAddr,
    process: Child,
}

/// If this process was started as a host, it is one until it is killed.
pub(crate) fn be_host_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == HOST) {
        let identity = args.next().expect("a host is told where its identity is");
        runtime().block_on(serve(Path::new(&identity)));
    }
}

impl BareFleet {
    /// Starts a process for each host of the lab in `lab`.
    pub(crate) fn start(lab: &Path) -> BareFleet {
        let folders = std::fs::read_dir(lab.join("hosts")).expect("the lab runs").flatten();
        let hosts = folders.map(|folder| BareHost::start(&folder.path())).collect();
        BareFleet { controller: lab.join("controller"), hosts }
    }

    /// Connects to all hosts and has each start [`STEPS`] programs, none before all have ended the one before.
    pub(crate) fn run(&self) -> Taken {
        let hosts = || self.hosts.iter().map(|host| u64::from(host.process.id()));
        let (us_before, hosts_before) = (cpu(std::iter::once(own_pid())), cpu(hosts()));
        let wall = runtime().block_on(self.call_all());
        let controller = cpu(std::iter::once(own_pid())).saturating_sub(us_before);
        Taken { wall, controller, agents: cpu(hosts()).saturating_sub(hosts_before) }
    }

    /// How long it took from the beginning to the last host's last answer.
    async fn call_all(&self) -> Duration {
        let began = Instant::now();
        let dialer = Dialer::bind(identity(&self.controller), &TransportOptions::default());
        let dialer = Rc::new(dialer.expect("a socket can be had"));
        let step = Rc::new(Barrier::new(self.hosts.len()));
        let tasks = tokio::task::LocalSet::new();
        for host in &self.hosts {
            let (name, address, dialer, step) = (host.name.clone(), host.address, Rc::clone(&dialer), Rc::clone(&step));
            tasks.spawn_local(async move { call(&dialer, &name, address, &step).await });
        }
        tasks.await;
        let took = began.elapsed();
        dialer.close(0, "", DRAIN).await;
        took
    }
}

impl Drop for BareFleet {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.process.kill();
            let _ = host.process.wait();
        }
    }
}

impl BareHost {
    fn start(folder: &Path) -> BareHost {
        let program = std::env::current_exe().expect("a running program has a path");
        let mut command = Command::new(program);
        command.arg(HOST).arg(folder.join("identity")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a host can be started");
        let mut line = String::new();
        let told = process.stdout.as_mut().expect("it is piped");
        BufReader::new(told).read_line(&mut line).expect("a host tells its address");
        let name = folder.file_name().expect("it was listed").to_string_lossy();
        BareHost {
            name: name.parse().expect("the lab's folders have hosts' names"),
            address: line.trim().parse().expect("a host tells its address"),
            process,
        }
    }
}

async fn call(dialer: &Dialer, name: &HostName, address: SocketAddr, step: &Barrier) {
    let peer = dialer.connect(name, address).await.expect("a host answers");
    let (mut send, mut receive) = peer.connection.open_bi().await.expect("a host takes streams");
    let mut answer = [0; ANSWER_BYTES];
    for _ in 0..STEPS {
        send.write_all(&[0; CALL_BYTES]).await.expect("a host takes calls");
        receive.read_exact(&mut answer).await.expect("a host answers calls");
        step.wait().await;
    }
}

async fn serve(folder: &Path) {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(address, identity(folder), &TransportOptions::default());
    let listener = listener.expect("a port can be had");
    let mut out = std::io::stdout();
    let told = writeln!(out, "{}", listener.local_address().expect("it is bound")).and_then(|()| out.flush());
    told.expect("the benchmark listens");
    while let Some(arrival) = listener.accept().await {
        answer_all(arrival).await;
    }
}

/// Answers calls until the connection is closed.
async fn answer_all(arrival: Arrival) {
    let Ok(peer) = arrival.handshake().await else { return };
    let Ok((mut send, mut receive)) = peer.connection.accept_bi().await else { return };
    let mut call = [0; CALL_BYTES];
    while receive.read_exact(&mut call).await.is_ok() {
        tokio::task::spawn_blocking(start_true).await.expect("a program can be started");
        if send.write_all(&[0; ANSWER_BYTES]).await.is_err() {
            return;
        }
    }
}

fn start_true() {
    let mut command = Command::new("/bin/true");
    let ended = command.stdin(Stdio::null()).process_group(0).output().expect("/bin/true can be started");
    assert!(ended.status.success());
}

fn identity(folder: &Path) -> LoadedIdentity {
    LoadedIdentity::load(&IdentityFiles::in_dir(folder)).expect("the lab has made it")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had")
}

fn own_pid() -> u64 {
    u64::from(std::process::id())
}

/// CPU that processes have taken, in threads that still run.
fn cpu(processes: impl Iterator<Item = u64>) -> Duration {
    processes.flat_map(|pid| threads_cpu(pid).into_values()).sum()
}
