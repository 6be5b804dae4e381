//! What tasks leave running on a lab's hosts: daemons and jobs that outlive their agent. A host with files of its own has a mount
//! namespace of its own, by which they are known.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often the processes are looked through: some may be made while others are ended.
const ROUNDS_MAX: usize = 10;

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

    /// Ends what runs there, once the agents have ended. Who has moved on into a namespace of its own is not found.
    pub(super) fn end(self) {
        if self.0.is_empty() {
            return;
        }
        for _ in 0..ROUNDS_MAX {
            if self.kill_all() == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// How many there were.
    fn kill_all(&self) -> usize {
        let Ok(entries) = fs::read_dir("/proc") else { return 0 };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| self.kill(*pid))
            .count()
    }

    fn kill(&self, pid: i32) -> bool {
        let lives_there = || namespace(&pid.to_string()).is_some_and(|found| self.0.contains(&found));
        // Looked at again behind the handle: a process id may have been given to another meanwhile.
        lives_there()
            && Pid::from_raw(pid)
                .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                .is_some_and(|process| lives_there() && pidfd_send_signal(&process, Signal::KILL).is_ok())
    }
}

fn namespace(process: &str) -> Option<Namespace> {
    let found = fs::metadata(format!("/proc/{process}/ns/mnt")).ok()?;
    Some((found.dev(), found.ino()))
}
