//! A supervised program's process group: what is still alive in it, and ending it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Time between looks at a group that is on its way out. A process that is ending needs microseconds to milliseconds.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Time the kernel gets to take away what was killed. Only a process stuck in the kernel, on a dead disk say, needs more.
pub(super) const GONE_TIMEOUT: Duration = Duration::from_secs(2);

/// A program's group, and the descendants that have left it for a session of their own.
///
/// The leader must not be reaped before [`Group::end`] is through: as long as its process entry stands, its id is no
/// other process' id.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    strays: Vec<Process>,
}

impl Group {
    pub(crate) fn of(leader: Pid) -> Group {
        Group { leader, strays: Vec::new() }
    }

    /// SIGTERM to all, `grace` to end, then SIGKILL. `pause` waits between looks, and may do so usefully. Returns the
    /// processes that were still there after that, which is none unless the kernel itself cannot end them.
    pub(crate) fn end(mut self, grace: Duration, pause: &mut dyn FnMut(Duration)) -> Vec<i32> {
        self.find_strays();
        self.signal(Signal::TERM);
        if self.wait_gone(grace, pause) {
            return Vec::new();
        }
        // Forks since the first look.
        self.find_strays();
        self.signal(Signal::KILL);
        self.wait_gone(GONE_TIMEOUT, pause);
        self.alive().iter().map(|process| process.pid).collect()
    }

    fn find_strays(&mut self) {
        let all = processes();
        let leader = self.leader.as_raw_nonzero().get();
        let mut family = vec![leader];
        // Parents are looked up in a list without order, so the search repeats until it finds no more.
        loop {
            let more: Vec<i32> = all
                .iter()
                .filter(|process| family.contains(&process.parent) && !family.contains(&process.pid))
                .map(|process| process.pid)
                .collect();
            if more.is_empty() {
                break;
            }
            family.extend(more);
        }
        let strays = all.into_iter().filter(|process| process.group != leader && family.contains(&process.pid));
        self.strays.extend(strays);
    }

    fn signal(&self, signal: Signal) {
        // Gone already is what is wanted.
        let _ = kill_process_group(self.leader, signal);
        for stray in self.strays.iter().filter(|stray| stray.is_same_and_alive()) {
            if let Some(pid) = Pid::from_raw(stray.pid) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    fn wait_gone(&self, patience: Duration, pause: &mut dyn FnMut(Duration)) -> bool {
        let until = Instant::now() + patience;
        loop {
            if self.alive().is_empty() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            pause(left.min(LOOK_INTERVAL));
        }
    }

    fn alive(&self) -> Vec<Process> {
        let leader = self.leader.as_raw_nonzero().get();
        processes()
            .into_iter()
            .filter(|process| !process.is_dead)
            .filter(|process| process.group == leader || self.strays.iter().any(|stray| stray.is_same(process)))
            .collect()
    }
}

/// A line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    group: i32,
    /// A zombie: ended, and not yet reaped by its parent.
    pub(super) is_dead: bool,
    /// Clock ticks after boot. With the id it tells a process from a later one that was given its id.
    start: u64,
}

impl Process {
    fn is_same(&self, other: &Process) -> bool {
        (self.pid, self.start) == (other.pid, other.start)
    }

    pub(super) fn is_same_and_alive(&self) -> bool {
        read_process(self.pid).is_some_and(|now| self.is_same(&now) && !now.is_dead)
    }
}

/// Every process there is.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| read_process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read_process(pid: i32) -> Option<Process> {
    parse_stat(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name stands in brackets and may itself hold brackets and blanks: what counts follows the last one.
fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?;
    Some(Process { pid, parent, group, is_dead: matches!(state, "Z" | "X"), start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_confuse() {
        let stat = b"42 (a) S 1 (b) Z 7 40 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0";
        let expected = Process { pid: 42, parent: 7, group: 40, is_dead: true, start: 987_654 };
        assert_eq!(parse_stat(42, stat), Some(expected));
        assert_eq!(parse_stat(42, b"42 (x"), None);
    }

    #[test]
    fn this_process_is_among_the_living() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(processes().iter().any(|process| process.pid == me && !process.is_dead));
    }
}
