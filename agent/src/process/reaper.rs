//! Children nobody waits for: what a supervised program left behind becomes the agent's child and must be reaped.

use std::collections::BTreeSet;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process_group, set_child_subreaper, waitid};

use super::group::{GONE_TIMEOUT, LOOK_INTERVAL, processes};

static IS_SUBREAPER: AtomicBool = AtomicBool::new(false);

/// Children that a [`Supervised`] waits for; nobody else may take their exit status.
static SUPERVISED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Read while a child is started, until it stands in [`SUPERVISED`]; written while orphans are reaped. So the reaper
/// never sees a child that is on its way into the list, and starts do not wait for one another. Also written while files are
/// [written that are to be run](without_starts).
static STARTING: RwLock<()> = RwLock::new(());

/// Writes a file that is to be run: no program is started meanwhile. A program holds what this process had open when it was
/// started until it has begun, and a file that somebody may write to is busy (`ETXTBSY`) to whoever runs it.
pub(crate) fn without_starts<T>(write: impl FnOnce() -> T) -> T {
    let _no_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// Waits for the programs that are being started right now: for files that may be run, and take too long to be written
/// [without starts](without_starts). The kernel closes a program's inherited files a moment after it tells that it has begun, so
/// this is for what is run by another task.
pub(crate) fn await_starts() {
    without_starts(|| ());
}

/// Starts a program, as all of this process are to be started: others [wait](without_starts) for it.
///
/// # Errors
/// Those of [`Command::spawn`].
pub(crate) fn start(command: &mut Command) -> std::io::Result<Child> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// From now on, descendants whose parent has ended become children of this process instead of process 1's, and are
/// [reaped](reap_orphans). To be called once, at start, by a process that starts programs through this module alone.
///
/// # Errors
/// The kernel does not know it (before 3.4).
pub fn become_subreaper() -> std::io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    IS_SUBREAPER.store(true, Ordering::Release);
    Ok(())
}

/// Reaps ended children that nobody waits for and returns how many there were. Runs after every program; a process
/// that called [`become_subreaper`] should also call it every few seconds. One system call if there is nothing to do.
pub fn reap_orphans() -> usize {
    let nothing_ended = || !has_ended(WaitId::All);
    if !IS_SUBREAPER.load(Ordering::Acquire) || nothing_ended() {
        return 0;
    }
    let _no_starts = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let supervised = lock(&SUPERVISED);
    let me = getpid().as_raw_nonzero().get();
    processes()
        .into_iter()
        .filter(|process| process.parent == me && process.is_dead && !supervised.contains(&process.pid))
        .filter_map(|process| Pid::from_raw(process.pid))
        .filter(|pid| waitid(WaitId::Pid(*pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_ok())
        .count()
}

/// Whether a child has ended; it stays to be waited for.
pub(crate) fn has_ended(child: WaitId<'_>) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(child, look), Ok(Some(_)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child whose exit status is for its owner alone. Dropped before it was reaped, it is killed: a module that panics
/// leaves no program behind.
#[derive(Debug)]
pub(crate) struct Supervised {
    pub(crate) child: Child,
    pub(crate) pid: Pid,
    is_reaped: bool,
}

impl Supervised {
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Supervised> {
        let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        lock(&SUPERVISED).insert(pid.as_raw_nonzero().get());
        Ok(Supervised { child, pid, is_reaped: false })
    }

    /// Takes the exit status. To be called once the child has ended: others wait while this does.
    pub(crate) fn reap(&mut self) -> std::io::Result<ExitStatus> {
        // Together, since the id may be another child's as soon as this one is reaped.
        let mut supervised = lock(&SUPERVISED);
        let status = self.child.wait();
        supervised.remove(&self.pid.as_raw_nonzero().get());
        self.is_reaped = true;
        status
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let until = Instant::now() + GONE_TIMEOUT;
            while !has_ended(WaitId::Pid(self.pid)) && Instant::now() < until {
                // After SIGKILL, at most `GONE_TIMEOUT`: to wait for the end itself could last for ever in a hanging kernel.
                std::thread::sleep(LOOK_INTERVAL);
            }
            if has_ended(WaitId::Pid(self.pid)) {
                let _ = self.reap();
            } else {
                // It hangs in the kernel: the reaper's, should it ever end.
                lock(&SUPERVISED).remove(&self.pid.as_raw_nonzero().get());
            }
        }
        reap_orphans();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Enough that some start falls between a file's being opened and its being run, without the wait.
    const FILES: usize = 60;

    #[test]
    fn what_was_just_written_can_be_run_while_others_start_programs() {
        let dir = tempfile::tempdir().unwrap();
        let is_over = AtomicBool::new(false);
        let failed = std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut started = Supervised::start(&mut Command::new("/bin/true")).unwrap();
                        started.reap().unwrap();
                    }
                });
            }
            let failed = (0..FILES).filter_map(|number| {
                let path = dir.path().join(number.to_string());
                without_starts(|| {
                    let mut file = fs::File::create_new(&path).unwrap();
                    file.set_permissions(PermissionsExt::from_mode(0o700)).unwrap();
                    file.write_all(b"#!/bin/sh\n").unwrap();
                    // Open for as long as it takes that others start something.
                    (0..200).for_each(|_| file.write_all(&[b'\n'; 4096]).unwrap());
                });
                start(&mut Command::new(&path)).and_then(|mut child| child.wait()).err()
            });
            let failed: Vec<_> = failed.collect();
            is_over.store(true, Ordering::Relaxed);
            failed
        });
        assert!(failed.is_empty(), "{} of {FILES}, such as {}", failed.len(), failed[0]);
    }
}
