//! Telling a running module to stop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// Why a call is stopped. The first reason given stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The controller or the operator wants it stopped.
    Requested,
    /// Past its time.
    TimedOut,
}

const NONE: u8 = 0;
const REQUESTED: u8 = 1;
const TIMED_OUT: u8 = 2;

/// Shared between the call's owner, who cancels, and the module, who looks. Cancelling wakes every [`poll`] on
/// [`fd`](CancelToken::fd), so a module that waits for a process waits for both at once.
#[derive(Clone, Debug)]
pub struct CancelToken(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reason: AtomicU8,
    event: OwnedFd,
    waiters: tokio::sync::Notify,
}

impl CancelToken {
    /// # Errors
    /// The process is out of file descriptors.
    pub fn new() -> std::io::Result<CancelToken> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(CancelToken(Arc::new(Shared { reason: AtomicU8::new(NONE), event, waiters: tokio::sync::Notify::new() })))
    }

    pub fn cancel(&self, reason: CancelReason) {
        let code = match reason {
            CancelReason::Requested => REQUESTED,
            CancelReason::TimedOut => TIMED_OUT,
        };
        if self.0.reason.compare_exchange(NONE, code, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // A full counter is readable already, so a failed write changes nothing.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
            self.0.waiters.notify_waiters();
        }
    }

    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.reason.load(Ordering::Acquire) {
            REQUESTED => Some(CancelReason::Requested),
            TIMED_OUT => Some(CancelReason::TimedOut),
            _ => None,
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Waits until cancelled, for the call's owner; a module uses [`fd`](Self::fd) or [`sleep`](Self::sleep).
    pub async fn cancelled(&self) {
        loop {
            let notified = self.0.waiters.notified();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Readable once cancelled.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    /// Waits for `time` or until cancelled; true if cancelled.
    pub fn sleep(&self, time: std::time::Duration) -> bool {
        let until = std::time::Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if self.is_cancelled() || left.is_zero() {
                return self.is_cancelled();
            }
            let timeout = rustix::time::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            // An interrupted poll is taken up again by the loop.
            let _ = poll(&mut [PollFd::new(&self.0.event, PollFlags::IN)], Some(&timeout));
        }
    }
}
