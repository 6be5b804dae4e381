//! One wait for the disk for all records that were written before it began.

use std::fs::File;
use std::io;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Counts syncs. Whoever waits takes part in the next one that begins after its record was written, and starts it if
/// nobody has.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    /// Held by the one that waits for the disk.
    turn: Mutex<()>,
    /// Syncs that have begun, and the highest of them that has ended well.
    begun: AtomicU64,
    done: AtomicU64,
}

impl GroupCommit {
    /// Returns once everything written before the call is on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub(super) async fn sync(&self, file: impl Fn() -> io::Result<File>) -> io::Result<()> {
        // One that has begun already may have missed our record; the next one cannot.
        let enough = self.begun.load(Ordering::SeqCst) + 1;
        let _turn = self.turn.lock().await;
        if self.done.load(Ordering::SeqCst) >= enough {
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let file = file()?;
        tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other)??;
        self.done.store(number, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_together_share_one_wait() {
        let file = tempfile::tempfile().unwrap();
        let commit = GroupCommit::default();
        let waiting = (0..10).map(|_| commit.sync(|| file.try_clone()));
        futures::future::try_join_all(waiting).await.unwrap();
        let syncs = commit.begun.load(Ordering::SeqCst);
        assert!(syncs <= 2, "{syncs} syncs for ten that came at once");
        commit.sync(|| file.try_clone()).await.unwrap();
        assert_eq!(commit.begun.load(Ordering::SeqCst), syncs + 1, "one that comes later waits for its own");
    }
}
