//! `lab up` and `lab down`: a lab that outlives the command that made it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustle_protocol::HostName;
use serde::{Deserialize, Serialize};

use super::fleet::{agent_config_path, controller_identity};
use super::leftovers::Leftovers;
use super::{Doing, Lab, LabError, LabOptions, Overlay};

const STATE_FILE: &str = "lab.json";

/// What an agent gets to end by itself before it is killed.
const END_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct State {
    agents: Vec<AgentState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AgentState {
    host: HostName,
    pid: u32,
}

/// Starts agents that stay, and writes `hosts.ini` and `config.toml` for them into `dir`.
///
/// # Errors
/// `dir` is in use, or an agent did not start.
pub fn up(dir: &Path, hosts: &[HostName], overlay: bool) -> Result<Lab, LabError> {
    fs::create_dir_all(dir).doing(|| format!("make {}", dir.display()))?;
    if fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?.next().is_some() {
        return Err(LabError::NotEmpty(dir.to_owned()));
    }
    let dir = &fs::canonicalize(dir).doing(|| format!("find {}", dir.display()))?;
    let overlay = if overlay { Overlay::Yes } else { Overlay::No };
    let lab = Lab::start(dir, hosts, &LabOptions { overlay, detached: true })?;
    let agents = lab.processes().map(|(host, pid)| AgentState { host: host.clone(), pid }).collect();
    let state = serde_json::to_string_pretty(&State { agents }).map_err(std::io::Error::other);
    write(dir, STATE_FILE, &state.doing(|| "write its state".into())?)?;
    write(dir, "hosts.ini", &inventory(&lab))?;
    let identity = toml::Value::from(controller_identity(dir).to_string_lossy().into_owned());
    write(dir, "config.toml", &format!("[executor]\nidentity = {identity}\n"))?;
    Ok(lab)
}

/// lab1 to labN.
pub fn host_names(count: u32) -> Vec<HostName> {
    (1..=count).map(|n| format!("lab{n}").parse().expect("lab1 is a host name")).collect()
}

/// Stops the agents of a lab and removes what `up` made.
///
/// # Errors
/// `dir` is not a lab's folder.
pub fn down(dir: &Path) -> Result<usize, LabError> {
    let not_a_lab = |reason: String| LabError::NotALab { dir: dir.to_owned(), reason };
    let text = fs::read_to_string(dir.join(STATE_FILE)).map_err(|error| not_a_lab(format!("{STATE_FILE}: {error}")))?;
    let state: State = serde_json::from_str(&text).map_err(|error| not_a_lab(format!("{STATE_FILE}: {error}")))?;
    let dir = &fs::canonicalize(dir).doing(|| format!("find {}", dir.display()))?;
    let running: Vec<_> = state.agents.iter().filter_map(|agent| Some((agent.pid, open(agent, dir)?))).collect();
    let ended = running.len();
    let leftovers = Leftovers::of(running.iter().map(|(pid, _)| *pid));
    for (_, process) in &running {
        let _ = pidfd_send_signal(process, Signal::TERM);
    }
    let until = Instant::now() + END_WAIT;
    for (_, process) in &running {
        if !ended_by(process, until) {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
    leftovers.end();
    for name in [STATE_FILE, "hosts.ini", "config.toml", "ready.sock"] {
        let _ = fs::remove_file(dir.join(name));
    }
    for name in ["pki", "controller", "hosts"] {
        let path = dir.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).doing(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    // Gone if nothing but the lab was in it.
    let _ = fs::remove_dir(dir);
    Ok(ended)
}

/// The process, if it is still that agent of the lab in `dir`: a process id may have been given to another since.
fn open(agent: &AgentState, dir: &Path) -> Option<std::os::fd::OwnedFd> {
    let process = pidfd_open(Pid::from_raw(agent.pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    let command = fs::read(format!("/proc/{}/cmdline", agent.pid)).ok()?;
    let config = agent_config_path(dir, &agent.host);
    let is_ours = command.split(|byte| *byte == 0).any(|argument| argument == config.as_os_str().as_encoded_bytes());
    is_ours.then_some(process)
}

/// Waits for the end of a process until `until`; whether it came.
pub(super) fn ended_by(process: &std::os::fd::OwnedFd, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let mut fds = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(1..))
}

fn inventory(lab: &Lab) -> String {
    let mut text = String::from("[lab]\n");
    for (host, address) in lab.addresses() {
        text.push_str(&format!("{host} rustle_host={} rustle_port={}\n", address.ip(), address.port()));
    }
    text
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), LabError> {
    let path = dir.join(name);
    fs::write(&path, text).doing(|| format!("write {}", path.display()))
}
