//! Hanging up when the task is cancelled.

use std::io::{PipeWriter, pipe};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

use crate::module::{CancelToken, Doing, ModuleError};

/// Closes the agent's connections once the task is cancelled, so that no read and no write of them waits any longer.
/// Ends when it is dropped.
pub(super) struct Watch {
    /// Closed, it tells the thread to end.
    end: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// # Errors
    /// The process is out of file descriptors or threads.
    pub(super) fn new(agent: ureq::Agent, cancel: &CancelToken) -> Result<Watch, ModuleError> {
        let (ended, end) = pipe().doing(|| "watch over a request".to_owned())?;
        let cancel = cancel.clone();
        let watching = move || {
            let mut waits = [PollFd::new(&ended, PollFlags::IN), PollFd::from_borrowed_fd(cancel.fd(), PollFlags::IN)];
            while poll(&mut waits, None) == Err(rustix::io::Errno::INTR) {}
            if cancel.is_cancelled() {
                agent.shutdown();
            }
        };
        let thread = std::thread::Builder::new().name("http-watch".to_owned()).spawn(watching);
        let thread = thread.doing(|| "watch over a request".to_owned())?;
        Ok(Watch { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell, a panic included.
            let _ = thread.join();
        }
    }
}
