//! The word to stop, from the engine to whatever works for it.

use tokio::sync::watch;

/// A flag that is raised once and that many can wait for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Sender<bool>);

impl Default for Cancel {
    fn default() -> Self {
        Cancel(watch::Sender::new(false))
    }
}

impl Cancel {
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until cancelled.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn cancelled(&self) {
        // The sender is `self`, so the channel cannot be closed.
        drop(self.0.subscribe().wait_for(|cancelled| *cancelled).await);
    }
}
