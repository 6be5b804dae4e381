//! A running lab: its agents' processes and where they listen.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustle_protocol::{HostName, Role};

use super::leftovers::Leftovers;
use super::{Doing, LabError, overlay};
use crate::pki::Authority;

/// How long all agents together may take to be ready.
const READY_WAIT: Duration = Duration::from_secs(60);

/// How long one look at the readiness socket waits before it looks whether an agent has died.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What an agent gets to end by itself when the lab is over.
const END_WAIT: Duration = Duration::from_secs(10);

/// A lab lives for minutes; one that is kept may live for weeks.
const CERTIFICATE_DAYS: u32 = 30;

/// The longest readiness message.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Whether each host has its own overlay of this machine's root file system, and a host name of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Tasks change this machine.
    #[default]
    No,
    /// As `Yes` if it can be had; [`Lab::shares_files`] says why not.
    IfPossible,
    /// An error if it cannot be had: for root only.
    Yes,
}

#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    pub overlay: Overlay,
    /// The agents live on when this process ends.
    pub detached: bool,
}

/// Agents that run. Dropped, they are stopped, unless the lab is detached.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    agents: Vec<Agent>,
    addresses: BTreeMap<HostName, SocketAddr>,
    shares_files: Option<String>,
    detached: bool,
}

#[derive(Debug)]
struct Agent {
    host: HostName,
    process: Child,
    log: PathBuf,
}

impl Lab {
    /// Starts one agent for each host, in `dir`, which must be private to this user. Blocks until all are ready.
    ///
    /// # Errors
    /// Anything that keeps an agent from starting, with the end of its log.
    pub fn start(dir: &Path, hosts: &[HostName], options: &LabOptions) -> Result<Lab, LabError> {
        let is_root = rustix::process::geteuid().is_root();
        if options.overlay == Overlay::Yes && !is_root {
            return Err(LabError::NotRoot);
        }
        make_identities(dir, hosts)?;
        if options.overlay == Overlay::No || !is_root {
            let why = (options.overlay == Overlay::IfPossible).then(|| "only root can".to_owned());
            return Lab::start_agents(dir, hosts, false, why, options.detached);
        }
        match Lab::start_agents(dir, hosts, true, None, options.detached) {
            // In a container, say, where root may not mount. The agents tried so are gone when this is known.
            Err(LabError::AgentDied { log, .. })
                if options.overlay == Overlay::IfPossible && log.contains(overlay::CANNOT) =>
            {
                Lab::start_agents(dir, hosts, false, Some(log), options.detached)
            }
            started => started,
        }
    }

    fn start_agents(
        dir: &Path,
        hosts: &[HostName],
        overlay: bool,
        shares_files: Option<String>,
        detached: bool,
    ) -> Result<Lab, LabError> {
        let socket_path = dir.join("ready.sock");
        let _ = fs::remove_file(&socket_path);
        let socket = UnixDatagram::bind(&socket_path).doing(|| format!("listen on {}", socket_path.display()))?;
        let (agents, addresses) = (Vec::new(), BTreeMap::new());
        let mut lab = Lab { dir: dir.to_owned(), agents, addresses, shares_files, detached };
        for host in hosts {
            lab.agents.push(spawn(dir, host, &socket_path, overlay, detached)?);
        }
        lab.wait_ready(&socket)?;
        fs::remove_file(&socket_path).doing(|| format!("remove {}", socket_path.display()))?;
        Ok(lab)
    }

    /// Why the hosts have no files of their own though they should if possible: what tasks do, they do to this machine.
    pub fn shares_files(&self) -> Option<&str> {
        self.shares_files.as_deref()
    }

    /// Where each agent listens.
    pub fn addresses(&self) -> &BTreeMap<HostName, SocketAddr> {
        &self.addresses
    }

    /// The controller's certificate and key.
    pub fn identity(&self) -> PathBuf {
        controller_identity(&self.dir)
    }

    /// The agents' process ids.
    pub fn processes(&self) -> impl Iterator<Item = (&HostName, u32)> {
        self.agents.iter().map(|agent| (&agent.host, agent.process.id()))
    }

    fn wait_ready(&mut self, socket: &UnixDatagram) -> Result<(), LabError> {
        let until = Instant::now() + READY_WAIT;
        socket.set_read_timeout(Some(LOOK_EVERY)).doing(|| "wait for its agents".into())?;
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        while self.addresses.len() < self.agents.len() {
            match socket.recv(&mut buffer) {
                Ok(len) => self.addresses.extend(ready_message(&buffer[..len])),
                Err(error) if is_timeout(&error) => self.look_for_dead(until)?,
                Err(error) => return Err(error).doing(|| "wait for its agents".into()),
            }
        }
        Ok(())
    }

    fn look_for_dead(&mut self, until: Instant) -> Result<(), LabError> {
        for agent in &mut self.agents {
            if let Ok(Some(_)) = agent.process.try_wait() {
                return Err(LabError::AgentDied { host: agent.host.to_string(), log: end_of(&agent.log) });
            }
        }
        let waiting = self.agents.iter().find(|agent| !self.addresses.contains_key(&agent.host));
        match waiting {
            Some(agent) if Instant::now() >= until => Err(LabError::NotReady {
                host: agent.host.to_string(),
                seconds: READY_WAIT.as_secs(),
                log: agent.log.clone(),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        let leftovers = Leftovers::of(self.processes().map(|(_, pid)| pid));
        // The word to end is the closed standard input; all hear it before the first is waited for.
        self.agents.iter_mut().for_each(|agent| drop(agent.process.stdin.take()));
        let until = Instant::now() + END_WAIT;
        for agent in &mut self.agents {
            end(&mut agent.process, until);
        }
        leftovers.end();
    }
}

/// Waits for a process until `until`, then kills it.
fn end(process: &mut Child, until: Instant) {
    let Some(pid) = rustix::process::Pid::from_raw(process.id().cast_signed()) else { return };
    if let Ok(fd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let left = until.saturating_duration_since(Instant::now());
        let timeout =
            rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }
    if !matches!(process.try_wait(), Ok(Some(_))) {
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn make_identities(dir: &Path, hosts: &[HostName]) -> Result<(), LabError> {
    let fleet = "lab".parse().expect("`lab` is a fleet name");
    let authority = Authority::create(&dir.join("pki"), fleet, CERTIFICATE_DAYS)?;
    let controller = "lab-controller".parse().expect("`lab-controller` is a name");
    for issued in authority.issue(Role::Controller, &[controller], CERTIFICATE_DAYS)? {
        authority.write_folder(&issued, &controller_identity(dir))?;
    }
    for issued in authority.issue(Role::Agent, hosts, CERTIFICATE_DAYS)? {
        let home = host_dir(dir, &issued.identity().name);
        fs::create_dir_all(&home).doing(|| format!("make {}", home.display()))?;
        authority.write_folder(&issued, &home.join("identity"))?;
    }
    Ok(())
}

pub(super) fn controller_identity(dir: &Path) -> PathBuf {
    dir.join("controller")
}

pub(super) fn host_dir(dir: &Path, host: &HostName) -> PathBuf {
    dir.join("hosts").join(host.as_str())
}

/// Stands in the command line of a lab's agent, and of no other process.
pub(super) fn agent_config_path(dir: &Path, host: &HostName) -> PathBuf {
    host_dir(dir, host).join("agent.toml")
}

fn spawn(dir: &Path, host: &HostName, ready: &Path, overlay: bool, detached: bool) -> Result<Agent, LabError> {
    let home = host_dir(dir, host);
    let config = agent_config_path(dir, host);
    fs::write(&config, agent_config(&home)).doing(|| format!("write {}", config.display()))?;
    let log = home.join("agent.log");
    let log_file = File::create(&log).doing(|| format!("write {}", log.display()))?;
    let program = std::env::current_exe().doing(|| "find its own program".into())?;
    let mut command = Command::new(program);
    command.arg("lab-agent").arg("--config").arg(&config);
    command.env("NOTIFY_SOCKET", ready).stdout(Stdio::null()).stderr(log_file).process_group(0);
    if overlay {
        command.arg("--overlay").arg(home.join("overlay")).arg("--hostname").arg(host.as_str());
    }
    if detached {
        command.stdin(Stdio::null());
    } else {
        command.arg("--until-stdin-closes").stdin(Stdio::piped());
    }
    let process = command.spawn().doing(|| format!("start the agent of `{host}`"))?;
    Ok(Agent { host: host.clone(), process, log })
}

fn agent_config(home: &Path) -> String {
    let quoted = |path: PathBuf| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    format!(
        "listen = \"127.0.0.1:0\"\nidentity = {}\nstate = {}\n\n[limits]\ndrain_s = 5\n",
        quoted(home.join("identity")),
        quoted(home.join("state"))
    )
}

/// Host and address out of an agent's readiness message.
fn ready_message(message: &[u8]) -> Option<(HostName, SocketAddr)> {
    let text = std::str::from_utf8(message).ok()?;
    let listen = text.lines().find_map(|line| line.strip_prefix("X_RUSTLE_LISTEN="))?;
    let (host, address) = listen.split_once(' ')?;
    Some((host.parse().ok()?, address.parse().ok()?))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    /// Lines shown of a dead agent's log.
    const LINES: usize = 5;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
