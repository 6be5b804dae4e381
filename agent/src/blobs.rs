//! The files controllers send: one per content, verified before use, resumed after a break, bounded in total.
//!
//! A blob being received is `HASH.part`; verified, it becomes `HASH`. The cache folder is private to the agent.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustle_protocol::message::BlobId;

use crate::module::{CancelToken, ModuleError};

/// The store of one agent, shared by all connections.
#[derive(Debug)]
pub struct BlobStore {
    dir: PathBuf,
    bytes_max: u64,
    incoming: Mutex<HashMap<BlobId, Incoming>>,
    changed: Condvar,
}

/// A blob somebody waits for.
#[derive(Debug)]
enum Incoming {
    /// Asked for by this connection.
    Wanted { connection: u64 },
    /// It did not come, and why.
    Failed(String),
}

impl BlobStore {
    /// Opens the store in `dir`, made private if it is not there. `bytes_max` bounds what is kept after use.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: PathBuf, bytes_max: u64) -> io::Result<BlobStore> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(BlobStore { dir, bytes_max, incoming: Mutex::default(), changed: Condvar::new() })
    }

    /// The blob, once it is here. `ask` is called with the offset to send from if nobody asked yet.
    ///
    /// Blocks until the blob has come, `cancel` is given, or [`connection_closed`](Self::connection_closed) says that
    /// it will not come.
    ///
    /// # Errors
    /// It did not come, is not what its hash says, or could not be stored.
    pub fn fetch(
        &self,
        blob: BlobId,
        connection: u64,
        cancel: &CancelToken,
        ask: impl Fn(u64) -> bool,
    ) -> Result<File, ModuleError> {
        let mut incoming = self.lock();
        loop {
            if let Ok(file) = File::open(self.path(&blob)) {
                return Ok(file);
            }
            if cancel.is_cancelled() {
                return Err(ModuleError::new("stopped while waiting for a file from the controller"));
            }
            match incoming.get(&blob) {
                Some(Incoming::Wanted { .. }) => {}
                Some(Incoming::Failed(why)) => {
                    let error = ModuleError::new(format!("a file from the controller did not arrive: {why}"));
                    incoming.remove(&blob);
                    return Err(error);
                }
                None => {
                    incoming.insert(blob, Incoming::Wanted { connection });
                    // Asking waits for room on the way out, and must not hold up the other calls meanwhile.
                    drop(incoming);
                    let asked = ask(self.part_len(&blob));
                    incoming = self.lock();
                    if !asked {
                        incoming.remove(&blob);
                        return Err(ModuleError::new("the connection was lost before a file had arrived"));
                    }
                    continue;
                }
            }
            incoming = self.changed.wait(incoming).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes every waiter, to look whether it was cancelled.
    pub fn wake(&self) {
        let _incoming = self.lock();
        self.changed.notify_all();
    }

    /// What this connection was to send will not come.
    pub fn connection_closed(&self, closed: u64) {
        let mut incoming = self.lock();
        for state in incoming.values_mut() {
            if matches!(state, Incoming::Wanted { connection } if *connection == closed) {
                *state = Incoming::Failed("the connection was lost".into());
            }
        }
        self.changed.notify_all();
    }

    /// Begins to store a blob that is being sent from `offset` on. Blocks while it reads back what it has.
    ///
    /// # Errors
    /// Nobody asked for it, it does not go on where the stored part ends, or the part cannot be opened.
    pub fn receive(&self, blob: BlobId, offset: u64) -> Result<Receiving<'_>, String> {
        match self.lock().get(&blob) {
            Some(Incoming::Wanted { .. }) => {}
            _ => return Err("nobody asked for this blob".into()),
        }
        let start = || -> io::Result<(File, blake3::Hasher, u64)> {
            let mut hasher = blake3::Hasher::new();
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(self.part(&blob))?;
            io::copy(&mut (&mut file).take(offset), &mut hasher)?;
            file.set_len(offset)?;
            let have = hasher.count();
            Ok((file, hasher, have))
        };
        match start() {
            Ok((file, hasher, have)) if have == offset => {
                Ok(Receiving { store: self, blob, file, hasher, settled: false })
            }
            Ok(_) => Err(self.fail(&blob, "it does not go on where the part that is here ends".into())),
            Err(error) => Err(self.fail(&blob, format!("it cannot be stored in {}: {error}", self.dir.display()))),
        }
    }

    /// Removes everything that is not in use.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn clear(&self) -> io::Result<()> {
        self.trim_to(0, None)
    }

    fn fail(&self, blob: &BlobId, why: String) -> String {
        self.lock().insert(*blob, Incoming::Failed(why.clone()));
        self.changed.notify_all();
        why
    }

    /// Removes the oldest blobs until at most `bytes_max` are left, sparing `keep`.
    fn trim_to(&self, bytes_max: u64, keep: Option<&Path>) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            files.push((meta.modified()?, meta.len(), entry.path()));
        }
        files.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
        let mut total = 0;
        for (_, len, path) in files {
            total += len;
            let is_part = path.extension().is_some_and(|extension| extension == "part");
            if total > bytes_max && keep != Some(path.as_path()) && !is_part {
                // A module that has it open keeps it: the name goes, the content stays until it is closed.
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobId, Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, blob: &BlobId) -> PathBuf {
        self.dir.join(blake3::Hash::from_bytes(blob.hash).to_hex().as_str())
    }

    fn part(&self, blob: &BlobId) -> PathBuf {
        self.path(blob).with_extension("part")
    }

    fn part_len(&self, blob: &BlobId) -> u64 {
        fs::metadata(self.part(blob)).map_or(0, |meta| meta.len().min(blob.size))
    }
}

/// A blob on its way in. Dropped before [`finish`](Self::finish), the part stays for a later try and the waiters are
/// told.
#[derive(Debug)]
pub struct Receiving<'a> {
    store: &'a BlobStore,
    blob: BlobId,
    file: File,
    hasher: blake3::Hasher,
    settled: bool,
}

impl Receiving<'_> {
    /// # Errors
    /// More than was announced, or the disk does not take it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.hasher.count() + bytes.len() as u64 > self.blob.size {
            return Err(self.fail("it is longer than announced".into()));
        }
        if let Err(error) = self.file.write_all(bytes) {
            // What is written of a chunk that failed was never hashed: cut it off, so that a resume fits.
            let _ = self.file.set_len(self.hasher.count());
            return Err(self.fail(format!("it cannot be stored in {}: {error}", self.store.dir.display())));
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Verifies the blob and gives it to those who wait.
    ///
    /// # Errors
    /// It is not what its hash says (nothing is kept), or it cannot be put in place.
    pub fn finish(mut self) -> Result<(), String> {
        if self.hasher.count() != self.blob.size {
            return Err(self.fail(format!("{} of {} bytes came", self.hasher.count(), self.blob.size)));
        }
        if *self.hasher.finalize().as_bytes() != self.blob.hash {
            let _ = fs::remove_file(self.store.part(&self.blob));
            return Err(self.fail("its content is not what its hash says".into()));
        }
        let path = self.store.path(&self.blob);
        if let Err(error) = fs::rename(self.store.part(&self.blob), &path) {
            return Err(self.fail(format!("it cannot be put into {}: {error}", self.store.dir.display())));
        }
        if let Err(error) = self.store.trim_to(self.store.bytes_max, Some(&path)) {
            tracing::warn!(%error, "blob cache cannot be trimmed");
        }
        self.settled = true;
        self.store.lock().remove(&self.blob);
        self.store.changed.notify_all();
        Ok(())
    }

    fn fail(&mut self, why: String) -> String {
        self.settled = true;
        self.store.fail(&self.blob, why)
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.store.fail(&self.blob, "its stream broke off".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(content: &[u8]) -> BlobId {
        BlobId { hash: *blake3::hash(content).as_bytes(), size: content.len() as u64 }
    }

    struct Fixture {
        store: BlobStore,
        cancel: CancelToken,
        _dir: tempfile::TempDir,
    }

    fn fixture(bytes_max: u64) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path().join("blobs"), bytes_max).unwrap();
        Fixture { store, cancel: CancelToken::new().unwrap(), _dir: dir }
    }

    impl Fixture {
        /// Fetches on one thread while `send` plays the controller, given the offset asked for.
        fn fetch(&self, id: BlobId, send: impl Fn(u64) + Sync) -> Result<Vec<u8>, String> {
            std::thread::scope(|scope| {
                let ask = |offset| {
                    scope.spawn({
                        let send = &send;
                        move || send(offset)
                    });
                    true
                };
                let mut file = self.store.fetch(id, 1, &self.cancel, ask).map_err(|error| error.to_string())?;
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                Ok(content)
            })
        }

        fn send(&self, id: BlobId, offset: u64, content: &[u8]) -> Result<(), String> {
            let mut receiving = self.store.receive(id, offset)?;
            receiving.write(content)?;
            receiving.finish()
        }
    }

    #[test]
    fn a_blob_is_asked_for_once_and_then_is_there() {
        let f = fixture(1 << 20);
        let id = blob(b"hello");
        assert_eq!(f.fetch(id, |offset| f.send(id, offset, b"hello").unwrap()).unwrap(), b"hello");
        assert_eq!(f.fetch(id, |_| panic!("it is here already")).unwrap(), b"hello");
    }

    #[test]
    fn a_broken_transfer_is_told_and_resumed_where_it_broke() {
        let f = fixture(1 << 20);
        let id = blob(b"hello world");
        let error = f.fetch(id, |offset| f.store.receive(id, offset).unwrap().write(b"hello").unwrap()).unwrap_err();
        assert!(error.contains("broke off"), "{error}");
        let content = f.fetch(id, |offset| {
            assert_eq!(offset, 5);
            f.send(id, 5, b" world").unwrap();
        });
        assert_eq!(content.unwrap(), b"hello world");
    }

    #[test]
    fn content_that_is_not_what_its_hash_says_is_never_used() {
        let f = fixture(1 << 20);
        let id = blob(b"hello");
        let error = f.fetch(id, |offset| f.send(id, offset, b"hullo").unwrap_err().clear()).unwrap_err();
        assert!(error.contains("hash"), "{error}");
        assert_eq!(f.store.part_len(&id), 0);
    }

    #[test]
    fn a_blob_longer_than_announced_is_cut_off() {
        let f = fixture(1 << 20);
        let id = blob(b"hello");
        assert!(f.fetch(id, |offset| drop(f.send(id, offset, b"hello and more"))).unwrap_err().contains("longer"));
    }

    #[test]
    fn a_blob_nobody_asked_for_is_refused() {
        let f = fixture(1 << 20);
        assert!(f.store.receive(blob(b"x"), 0).is_err());
    }

    #[test]
    fn a_lost_connection_ends_the_wait() {
        let f = fixture(1 << 20);
        assert!(f.fetch(blob(b"x"), |_| f.store.connection_closed(1)).unwrap_err().contains("lost"));
    }

    #[test]
    fn cancelling_ends_the_wait() {
        let f = fixture(1 << 20);
        let cancel = |_| {
            f.cancel.cancel(crate::module::CancelReason::Requested);
            f.store.wake();
        };
        assert!(f.fetch(blob(b"x"), cancel).unwrap_err().contains("stopped"));
    }

    #[test]
    fn the_oldest_blobs_go_when_the_cache_is_full() {
        let f = fixture(10);
        for content in [b"first..", b"second.", b"third.."] {
            let id = blob(content);
            f.fetch(id, |offset| f.send(id, offset, content).unwrap()).unwrap();
        }
        let kept: u64 = fs::read_dir(&f.store.dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(kept <= 10, "{kept}");
        assert!(f.store.path(&blob(b"third..")).exists());
    }
}
