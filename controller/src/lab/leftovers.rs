//! What tasks leave running on a lab's hosts: daemons and jobs that outlive their agent. A host with files of its own has a mount
//! namespace of its own, by which they are known.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::kept::ended_by;

/// How often the processes are looked through: some may be made while others are ended.
const ROUNDS_MAX: usize = 10;

/// How long what was killed may take to be gone: a process may hang in the kernel.
const GONE_WAIT: Duration = Duration::from_secs(5);

/// The mount namespaces of a lab's hosts.
pub(super) struct Leftovers(HashSet<Namespace>);

/// Device and inode.
type Namespace = (u64, u64);

impl Leftovers {
    /// Of hosts whose agents run still. Those that share this process's files are none.
    pub(super) fn of(agents: impl Iterator<Item = u32>) -> Leftovers {
        let ours = namespace("self");
        Leftovers(agents.filter_map(|pid| namespace(&pid.to_string())).filter(|found| Some(*found) != ours).collect())
    }

    /// Ends what runs there, once the agents have ended, and waits until it is gone. Who has moved on into a namespace of its
    /// own is not found.
    pub(super) fn end(self) {
        if self.0.is_empty() {
            return;
        }
        let until = Instant::now() + GONE_WAIT;
        for _ in 0..ROUNDS_MAX {
            let killed = self.kill_all();
            if killed.is_empty() || !killed.iter().all(|process| ended_by(process, until)) {
                return;
            }
        }
    }

    fn kill_all(&self) -> Vec<OwnedFd> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| self.kill(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// The process, if it lives there and could be killed.
    fn kill(&self, pid: i32) -> Option<OwnedFd> {
        let lives_there = || namespace(&pid.to_string()).is_some_and(|found| self.0.contains(&found));
        if !lives_there() {
            return None;
        }
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at again behind the handle: the process id may have been given to another meanwhile.
        let is_killed = lives_there() && pidfd_send_signal(&process, Signal::KILL).is_ok();
        is_killed.then_some(process)
    }
}

fn namespace(process: &str) -> Option<Namespace> {
    let found = fs::metadata(format!("/proc/{process}/ns/mnt")).ok()?;
    Some((found.dev(), found.ino()))
}
