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
/// never sees a child that is on its way into the list, and starts do not wait for one another.
static STARTING: RwLock<()> = RwLock::new(());

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
