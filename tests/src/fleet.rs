//! Fleets: real `rustle-agent` processes on loopback with certificates of an authority of their own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustle_exec::pki::Authority;
use rustle_protocol::{HostName, Role};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::Clock;
use crate::netns::Space;
use crate::programs::{agent_program, exec_program};
use crate::run::Run;
use crate::wait::eventually;

/// Days that the certificates of a test are good for: more than any test moves a clock.
const DAYS: u32 = 40;

/// Agents that run until this is dropped, or until this process ends, however it does: each holds the other end of a
/// pipe as its standard input.
pub struct Fleet {
    dir: TempDir,
    authority: Authority,
    agents: Vec<Agent>,
    ready: UnixDatagram,
}

/// What a fleet is to be like.
#[derive(Default)]
pub struct FleetBuilder<'a> {
    config: String,
    inventory: String,
    overlay: bool,
    space: Option<&'a Space>,
    environment: Vec<(&'static str, OsString)>,
}

struct Agent {
    name: String,
    process: Child,
    address: SocketAddr,
}

impl<'a> FleetBuilder<'a> {
    /// More lines for the agents' `agent.toml`, after `[limits]`.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config = toml.to_owned();
        self
    }

    /// More lines for the inventory.
    #[must_use]
    pub fn inventory(mut self, ini: &str) -> Self {
        self.inventory = ini.to_owned();
        self
    }

    /// Each host has an overlay of this machine's root, and its name; for root only.
    #[must_use]
    pub fn overlay(mut self) -> Self {
        self.overlay = true;
        self
    }

    /// All hosts are in a network of their own and listen at each of its addresses.
    #[must_use]
    pub fn within(mut self, space: &'a Space) -> Self {
        self.space = Some(space);
        self
    }

    /// The agents, and what they start, have this clock.
    #[must_use]
    pub fn clock(self, clock: &Clock) -> Self {
        self.environment(clock.environment())
    }

    /// The agents, and what they start, have these variables. One that is started again has them no more.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (&'static str, OsString)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Starts one agent for each host and waits until all listen.
    pub fn start(self, hosts: &[&str]) -> Fleet {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let authority =
            Authority::create(&dir.path().join("pki"), "tests".parse().expect("a fleet name"), DAYS).expect("a new CA");
        let ready = dir.path().join("ready.sock");
        let socket = UnixDatagram::bind(&ready).expect("a socket in a folder of our own");
        socket.set_nonblocking(true).expect("a socket can be");
        let mut fleet = Fleet { dir, authority, agents: Vec::new(), ready: socket };
        fleet.identity(Role::Controller, "operator", &fleet.path().join("controller"));
        let names: Vec<HostName> = hosts.iter().map(|host| host.parse().expect("a host name")).collect();
        for issued in fleet.authority.issue(Role::Agent, &names, DAYS).expect("certificates of new names") {
            let home = fleet.home(issued.identity().name.as_str());
            fs::create_dir_all(&home).expect("a folder of our own");
            fleet.authority.write_folder(&issued, &home.join("identity")).expect("a folder of our own");
        }
        let mut processes: Vec<_> =
            hosts.iter().map(|host| ((*host).to_owned(), self.spawn(&fleet.home(host), host, &ready))).collect();
        while !processes.is_empty() {
            let (name, address) = eventually("all agents are ready", || next_ready(&fleet.ready));
            let at = processes.iter().position(|(host, _)| *host == name).expect("an agent of this fleet");
            let (name, process) = processes.swap_remove(at);
            fleet.agents.push(Agent { name, process, address });
        }
        fs::write(fleet.inventory(), fleet.inventory_text() + &self.inventory).expect("a folder of our own");
        fleet
    }

    fn spawn(&self, home: &Path, host: &str, ready: &Path) -> Child {
        let quoted = |path: PathBuf| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
        let listen = match self.space {
            Some(_) => "0.0.0.0:0".to_owned(),
            None => format!("127.0.0.1:{}", unclaimed_port()),
        };
        let config = format!(
            "listen = '{listen}'\nidentity = {}\nstate = {}\n[limits]\ndrain_s = 5\n{}",
            quoted(home.join("identity")),
            quoted(home.join("state")),
            self.config,
        );
        fs::write(home.join("agent.toml"), config).expect("a folder of our own");
        self.command(home, host, ready)
    }

    fn command(&self, home: &Path, host: &str, ready: &Path) -> Child {
        let mut command = if self.overlay {
            let mut command = Command::new(exec_program());
            command.args(["lab-agent", "--hostname", host, "--overlay"]).arg(home.join("overlay"));
            command
        } else if let Some(space) = self.space {
            let mut command = space.enter(home);
            command.arg(agent_program());
            command
        } else {
            Command::new(agent_program())
        };
        let log = File::options().create(true).append(true).open(home.join("agent.log")).expect("a folder of our own");
        command.arg("--until-stdin-closes").arg("--config").arg(home.join("agent.toml"));
        // Whatever downloads ends here: tests have no network but loopback. The discard port takes nothing.
        command.envs(["http_proxy", "https_proxy"].map(|name| (name, "http://127.0.0.1:9")));
        command.env("RUSTLE_LOG_LEVEL", "rustle_agent=debug");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("NOTIFY_SOCKET", ready).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("rustle-agent starts")
    }
}

impl Fleet {
    pub fn start(hosts: &[&str]) -> Fleet {
        Fleet::builder().start(hosts)
    }

    pub fn builder<'a>() -> FleetBuilder<'a> {
        FleetBuilder::default()
    }

    /// A folder for whatever the test needs, and everything the fleet has.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `hosts.ini`, with the agents' addresses.
    pub fn inventory(&self) -> PathBuf {
        self.path().join("hosts.ini")
    }

    /// The folder of the controller's certificate.
    pub fn controller(&self) -> PathBuf {
        self.path().join("controller")
    }

    /// What an agent has logged.
    pub fn log(&self, host: &str) -> String {
        fs::read_to_string(self.home(host).join("agent.log")).unwrap_or_default()
    }

    /// From now on the inventory has these addresses.
    pub fn reach_at(&self, addresses: impl IntoIterator<Item = (String, SocketAddr)>) {
        let lines: String = addresses.into_iter().map(|(name, at)| line_of(&name, at)).collect();
        fs::write(self.inventory(), lines).expect("a folder of our own");
    }

    pub fn address(&self, host: &str) -> SocketAddr {
        self.agent(host).address
    }

    pub fn pid(&self, host: &str) -> u32 {
        self.agent(host).process.id()
    }

    /// Sends an agent a signal.
    pub fn signal(&self, host: &str, signal: Signal) {
        let pid = Pid::from_raw(self.pid(host).cast_signed()).expect("a process has an id");
        kill_process(pid, signal).expect("it is our child, and not yet waited for");
    }

    /// Kills an agent at once, as a crash does, and starts it again at the same address with what the first has left.
    pub fn kill_and_restart(&mut self, host: &str) {
        self.signal(host, Signal::KILL);
        self.wait_for_end(host);
        self.start_again(host);
    }

    /// Starts an agent that has ended at the same address, with what it left.
    pub fn start_again(&mut self, host: &str) {
        let home = self.home(host);
        let mut process = FleetBuilder::default().command(&home, host, &self.path().join("ready.sock"));
        let (name, address) = eventually("the agent is ready again", || {
            let ended = process.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{host} did not start again, {ended:?}: {}", self.log(host));
            next_ready(&self.ready)
        });
        let agent = self.agents.iter_mut().find(|agent| agent.name == host).expect("an agent of this fleet");
        assert_eq!((&*name, address), (host, agent.address));
        agent.process = process;
    }

    /// Waits for an agent's end; whether it ended well.
    pub fn wait_for_end(&mut self, host: &str) -> bool {
        let agent = self.agents.iter_mut().find(|agent| agent.name == host).expect("an agent of this fleet");
        agent.process.wait().expect("it is our child").success()
    }

    /// Ends an agent as a power cut would and starts it again at its address, after `while_down`.
    pub fn restart(&mut self, host: &str, while_down: impl FnOnce()) {
        self.signal(host, Signal::KILL);
        self.wait_for_end(host);
        while_down();
        let home = self.home(host);
        let mut command = Command::new(agent_program());
        command.arg("--until-stdin-closes").arg("--config").arg(home.join("agent.toml"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("rustle-agent starts");
        self.agents.iter_mut().find(|agent| agent.name == host).expect("an agent of this fleet").process = process;
    }

    /// Writes an identity of this fleet into `folder`.
    pub fn identity(&self, role: Role, name: &str, folder: &Path) {
        let name = name.parse().expect("a name");
        for issued in self.authority.issue(role, &[name], DAYS).expect("a certificate of a new name") {
            self.authority.write_folder(&issued, folder).expect("a folder of our own");
        }
    }

    /// `rustle-exec` as the operator of this fleet, with nothing but what it needs to reach it, and no retries.
    pub fn exec(&self) -> Run {
        let run = Run::new(self.path()).arg("-i").arg(self.inventory()).arg("--identity").arg(self.controller());
        run.env("RUSTLE_MAX_RETRIES", "0").env("RUSTLE_RECONNECT_WINDOW", "0")
    }

    /// The plan, run on this fleet.
    pub fn run(&self, plan: &Value) -> Run {
        self.exec().arg(self.write_plan(plan))
    }

    /// One module on all hosts.
    pub fn adhoc(&self, module: &str, args: &str) -> Run {
        let run = Run::new(self.path()).args(["adhoc", "all", "-m", module, "-a", args]);
        let run = run.arg("-i").arg(self.inventory()).arg("--identity").arg(self.controller());
        run.env("RUSTLE_MAX_RETRIES", "0").env("RUSTLE_RECONNECT_WINDOW", "0")
    }

    /// Writes a plan into a file of its own.
    pub fn write_plan(&self, plan: &Value) -> PathBuf {
        let file = tempfile::Builder::new().prefix("plan-").suffix(".json").tempfile_in(self.path());
        let (_, path) = file.and_then(|file| file.keep().map_err(Into::into)).expect("a folder of our own");
        fs::write(&path, plan.to_string()).expect("a file of our own");
        path
    }

    fn agent(&self, host: &str) -> &Agent {
        self.agents.iter().find(|agent| agent.name == host).expect("an agent of this fleet")
    }

    fn home(&self, host: &str) -> PathBuf {
        self.path().join("hosts").join(host)
    }

    fn inventory_text(&self) -> String {
        let mut lines: Vec<_> = self.agents.iter().map(|agent| line_of(&agent.name, agent.address)).collect();
        lines.sort();
        lines.concat()
    }
}

/// A port that the system gives to nobody by itself, so that it is still there when its agent was killed and comes back.
fn unclaimed_port() -> u16 {
    /// Linux gives out ports from 32768 on.
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::from(PORTS.end - PORTS.start);
        PORTS.start + u16::try_from(place).expect("it is less than the range is long")
    });
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.by_ref().take(PORTS.len()).find(is_free).expect("of thousands of ports one is free")
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            drop(agent.process.stdin.take());
            let _ = agent.process.kill();
        }
        for agent in &mut self.agents {
            let _ = agent.process.wait();
        }
    }
}

/// A host's line in the inventory.
fn line_of(name: &str, address: SocketAddr) -> String {
    format!("{name} rustle_host={} rustle_port={}\n", address.ip(), address.port())
}

/// Host and address out of the next readiness message, if there is one.
fn next_ready(socket: &UnixDatagram) -> Option<(String, SocketAddr)> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..len]).ok()?;
    let (host, address) = text.lines().find_map(|line| line.strip_prefix("X_RUSTLE_LISTEN="))?.split_once(' ')?;
    Some((host.to_owned(), address.parse().ok()?))
}
