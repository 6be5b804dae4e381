//! Processes that tasks had started when the agent died. Whatever a call starts has a mark in its environment, which its
//! descendants inherit, also in a session of their own; a later agent finds those of calls that have no end by it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustle_protocol::{CallKey, HostName};

use super::group::{GONE_TIMEOUT, LOOK_INTERVAL, Process, processes};

/// The variable that holds the mark.
pub const VARIABLE: &str = "RUSTLE_CALL";

/// What they get to end by themselves.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// The mark of a call of this agent. Agents of a lab share a machine, and one run's calls of theirs have the same keys.
pub fn mark(host: &HostName, key: &CallKey) -> String {
    format!("{host} {key}")
}

/// Process ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    pub gone: Vec<i32>,
    /// Of others whom this process may not signal, or stuck in the kernel.
    pub left: Vec<i32>,
}

/// Ends every process that bears one of these marks, and waits until it is gone. Processes whose environment this one may
/// not read are not found.
pub fn end(marks: &HashSet<String>) -> Ended {
    if marks.is_empty() {
        return Ended::default();
    }
    let mut all = Vec::new();
    for (signal, patience) in [(Signal::TERM, TERM_GRACE), (Signal::KILL, GONE_TIMEOUT)] {
        // Each time anew: they may have forked since.
        let found = marked(marks);
        all.extend(found.iter().map(|process| process.pid));
        for process in found.iter().filter(|process| process.is_same_and_alive()) {
            if let Some(pid) = Pid::from_raw(process.pid) {
                // Gone already is what is wanted.
                let _ = kill_process(pid, signal);
            }
        }
        let until = Instant::now() + patience;
        while found.iter().any(Process::is_same_and_alive) && Instant::now() < until {
            // They are nobody's children here, so their end is told to nobody; bounded by `patience`.
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
    let left: Vec<i32> = marked(marks).iter().map(|process| process.pid).collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|pid| !left.contains(pid));
    Ended { gone: all, left }
}

fn marked(marks: &HashSet<String>) -> Vec<Process> {
    let me = std::process::id();
    processes()
        .into_iter()
        .filter(|process| !process.is_dead && process.pid.cast_unsigned() != me && bears(process.pid, marks))
        .collect()
}

fn bears(pid: i32, marks: &HashSet<String>) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value = |variable: &[u8]| {
        let text = std::str::from_utf8(variable).ok()?;
        text.strip_prefix(VARIABLE)?.strip_prefix('=').map(str::to_owned)
    };
    environment.split(|byte| *byte == 0).filter_map(value).any(|mark| marks.contains(&mark))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use rustle_protocol::RunId;

    use super::*;

    #[test]
    fn what_bears_the_mark_is_ended_with_its_descendants_and_nothing_else() {
        let key = |task| CallKey { run: RunId::generate(), task, round: 0, item: 0, attempt: 1 };
        let host: HostName = "web1".parse().unwrap();
        let start = |mark: &str| {
            let script = "trap '' TERM; setsid sleep 600 & echo $!; while :; do sleep 600; done";
            let mut command = Command::new("sh");
            command.args(["-c", script]).env(VARIABLE, mark).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            (child, line.trim().parse::<i32>().unwrap())
        };
        let (cut_off, ended) = (mark(&host, &key(1)), mark(&host, &key(2)));
        let (mut child, grandchild) = start(&cut_off);
        let (mut other, others_child) = start(&ended);
        let told = end(&HashSet::from([cut_off.clone()]));
        assert!(told.gone.contains(&child.id().cast_signed()) && told.gone.contains(&grandchild), "{told:?}");
        assert!(!told.gone.contains(&others_child) && told.left.is_empty(), "{told:?}");
        assert_eq!(end(&HashSet::from([cut_off])), Ended::default(), "nothing of it is left");
        assert!(other.try_wait().unwrap().is_none(), "that call has ended, and what it started is its own business");
        end(&HashSet::from([ended]));
        child.wait().unwrap();
        other.wait().unwrap();
    }
}
