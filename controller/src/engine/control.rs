//! What an operator may say to a run while it runs.

use rustle_protocol::HostName;
use tokio::sync::{mpsc, oneshot};

use crate::event::{CancelReason, Status};

/// Words waiting to be heeded. An operator says one at a time; a program that says more waits.
const WAITING_MAX: usize = 16;

pub(super) enum Control {
    Pause,
    Resume,
    Cancel(CancelReason),
    /// Give a host up; answered whether the run has it.
    Drop(HostName, oneshot::Sender<bool>),
    Status(oneshot::Sender<Status>),
    /// Tell the status to the reporters.
    ShowStatus {
        advice: Option<String>,
    },
}

/// The engine's ear.
pub(super) struct Controls {
    waiting: mpsc::Receiver<Control>,
    // Keeps the channel open, so that waiting for a word just waits.
    _mouth: Mouth,
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Mouth(mpsc::Sender<Control>);

pub(super) fn channel() -> (Mouth, Controls) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    let mouth = Mouth(sender);
    (mouth.clone(), Controls { waiting, _mouth: mouth })
}

impl Mouth {
    /// False if there is nobody left to hear it.
    pub(super) async fn say(&self, control: Control) -> bool {
        self.0.send(control).await.is_ok()
    }
}

impl Controls {
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Control {
        match self.waiting.recv().await {
            Some(control) => control,
            None => std::future::pending().await,
        }
    }

    /// Forgets what was said to a run that is over.
    pub(super) fn clear(&mut self) {
        while self.waiting.try_recv().is_ok() {}
    }
}
