//! The files controllers send: one per content, verified before use, resumed after a break, bounded in total.
//!
//! A blob being received is `HASH.part`; verified, it becomes `HASH`. The cache folder is private to the agent.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustle_protocol::message::BlobId;

use crate::module::{CancelToken, ModuleError};

/// After how long without a byte another controller's call no longer waits for a blob that a first controller was asked
/// for, and asks its own: nobody has to wait for a stranger that has stopped.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(10);

/// The store of one agent, shared by all connections.
#[derive(Debug)]
pub struct BlobStore {
    dir: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    incoming: HashMap<BlobId, Incoming>,
    /// How many calls wait for each.
    waiting: HashMap<BlobId, usize>,
    /// Counts up, so that no two are the same.
    last_receiver: u64,
}

/// A blob somebody waits for.
#[derive(Debug)]
struct Incoming {
    /// Who was asked for it, and alone may send it.
    connection: u64,
    step: Step,
    /// When it was asked for, or the last bytes came.
    progress: Instant,
}

#[derive(Debug)]
enum Step {
    Wanted,
    /// By this receiver. One at a time: two that write to one file would make it what no hash was taken of.
    Receiving(u64),
    /// It did not come, and why.
    Failed(String),
}

impl Incoming {
    fn wanted(connection: u64) -> Incoming {
        Incoming { connection, step: Step::Wanted, progress: Instant::now() }
    }
}

impl BlobStore {
    /// Opens the store in `dir`, made private if it is not there. `bytes_max` bounds what is kept after use.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: PathBuf, bytes_max: u64) -> io::Result<BlobStore> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(BlobStore { dir, bytes_max, state: Mutex::default(), changed: Condvar::new() })
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
        *self.lock().waiting.entry(blob).or_default() += 1;
        let fetched = self.wait_for(blob, connection, cancel, ask);
        self.stop_waiting(&blob);
        fetched
    }

    fn wait_for(
        &self,
        blob: BlobId,
        connection: u64,
        cancel: &CancelToken,
        ask: impl Fn(u64) -> bool,
    ) -> Result<File, ModuleError> {
        let mut state = self.lock();
        loop {
            if let Ok(file) = File::open(self.path(&blob)) {
                // As long as it is open, `take` leaves it here. Where locks are not to be had, nothing is taken either.
                let _ = flock(&file, FlockOperation::NonBlockingLockShared);
                return Ok(file);
            }
            if cancel.is_cancelled() {
                self.abandon(&mut state, &blob, connection);
                return Err(ModuleError::new("stopped while waiting for a file from the controller"));
            }
            match state.incoming.get(&blob) {
                Some(Incoming { connection: asked, step: Step::Failed(why), .. }) => {
                    let error = ModuleError::new(format!("a file from the controller did not arrive: {why}"));
                    let ours = *asked == connection;
                    state.incoming.remove(&blob);
                    if ours {
                        return Err(error);
                    }
                    // What another controller failed to send, ours may have.
                    continue;
                }
                Some(other) if other.connection != connection && other.progress.elapsed() >= TAKE_OVER_AFTER => {
                    state.incoming.remove(&blob);
                    // Whoever still writes to the part goes on in a file that has no name any more.
                    let _ = fs::remove_file(self.part(&blob));
                    continue;
                }
                Some(_) => {}
                None => {
                    state.incoming.insert(blob, Incoming::wanted(connection));
                    // Asking waits for room on the way out, and must not hold up the other calls meanwhile.
                    drop(state);
                    let asked = ask(self.part_len(&blob));
                    state = self.lock();
                    if !asked {
                        self.abandon(&mut state, &blob, connection);
                        return Err(ModuleError::new("the connection was lost before a file had arrived"));
                    }
                    continue;
                }
            }
            let waited = self.changed.wait_timeout(state, TAKE_OVER_AFTER).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
    }

    /// Moves a blob that is here to `path`, where nothing may be yet, and gives it open for reading and writing. `None`, and
    /// nothing is done, if another call waits for it or reads it, or if `path` is taken, or on another file system.
    pub fn take(&self, blob: &BlobId, path: &Path) -> Option<File> {
        // Held to the end, so that nobody opens it meanwhile.
        let state = self.lock();
        if state.waiting.contains_key(blob) {
            return None;
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path(blob)).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        renameat_with(CWD, self.path(blob), CWD, path, RenameFlags::NOREPLACE).ok()?;
        Some(file)
    }

    /// Nobody is to count on the blob that this connection was asked for. Other calls that wait for it ask again.
    fn abandon(&self, state: &mut State, blob: &BlobId, connection: u64) {
        if let Some(Incoming { connection: asked, step: Step::Wanted, .. }) = state.incoming.get(blob)
            && *asked == connection
        {
            state.incoming.remove(blob);
            self.changed.notify_all();
        }
    }

    /// A failure that nobody is left to hear of must not meet the next call that wants the blob.
    fn stop_waiting(&self, blob: &BlobId) {
        let mut state = self.lock();
        match state.waiting.get_mut(blob) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                state.waiting.remove(blob);
                if matches!(state.incoming.get(blob), Some(Incoming { step: Step::Failed(_), .. })) {
                    state.incoming.remove(blob);
                }
            }
        }
    }

    /// Wakes every waiter, to look whether it was cancelled.
    pub fn wake(&self) {
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// What this connection was to send will not come.
    pub fn connection_closed(&self, closed: u64) {
        let mut state = self.lock();
        let State { incoming, waiting, .. } = &mut *state;
        incoming.retain(|blob, Incoming { connection, step, .. }| match step {
            Step::Wanted if *connection == closed => {
                *step = Step::Failed("the connection was lost".into());
                waiting.contains_key(blob)
            }
            _ => true,
        });
        self.changed.notify_all();
    }

    /// Begins to store a blob that `connection` sends from `offset` on. Blocks while it reads back what it has.
    ///
    /// # Errors
    /// This connection was not asked for it or sends it already, it does not go on where the stored part ends, or the
    /// part cannot be opened.
    pub fn receive(&self, blob: BlobId, connection: u64, offset: u64) -> Result<Receiving<'_>, String> {
        let receiver = self.begin(&blob, connection)?;
        // From here on a failure is told to those who wait.
        let start = || -> io::Result<(File, blake3::Hasher)> {
            let mut hasher = blake3::Hasher::new();
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(self.part(&blob))?;
            io::copy(&mut (&mut file).take(offset), &mut hasher)?;
            // ext4 takes a file that was cut to nothing for one that is written anew, and has all of it on its way to the disk
            // before it lets it be closed.
            if hasher.count() == offset && file.metadata()?.len() > offset {
                file.set_len(offset)?;
            }
            Ok((file, hasher))
        };
        match start() {
            Ok((file, hasher)) if hasher.count() == offset => {
                Ok(Receiving { store: self, blob, receiver, file, hasher, settled: false })
            }
            Ok(_) => Err(self.fail(&blob, receiver, "it does not go on where the part that is here ends".into())),
            Err(error) => {
                let why = format!("it cannot be stored in {}: {error}", self.dir.display());
                Err(self.fail(&blob, receiver, why))
            }
        }
    }

    fn begin(&self, blob: &BlobId, connection: u64) -> Result<u64, String> {
        let mut state = self.lock();
        let receiver = state.last_receiver + 1;
        match state.incoming.get_mut(blob) {
            Some(incoming) if incoming.connection == connection => match incoming.step {
                Step::Wanted => incoming.step = Step::Receiving(receiver),
                Step::Receiving(_) => return Err("this blob is being sent already".into()),
                Step::Failed(_) => return Err("nobody asked for this blob any more".into()),
            },
            _ => return Err("nobody asked for this blob".into()),
        }
        state.last_receiver = receiver;
        Ok(receiver)
    }

    /// Removes everything that is not in use.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn clear(&self) -> io::Result<()> {
        self.trim_to(0, None)
    }

    /// Ends the receiver's work, unless another has taken the blob over.
    fn fail(&self, blob: &BlobId, receiver: u64, why: String) -> String {
        let mut state = self.lock();
        if state.receives(blob, receiver) {
            match (state.waiting.contains_key(blob), state.incoming.get_mut(blob)) {
                (true, Some(incoming)) => incoming.step = Step::Failed(why.clone()),
                _ => drop(state.incoming.remove(blob)),
            }
            self.changed.notify_all();
        }
        why
    }

    /// Removes the oldest blobs, and parts that nobody waits for, until at most `bytes_max` are left, sparing `keep`.
    fn trim_to(&self, bytes_max: u64, keep: Option<&Path>) -> io::Result<()> {
        // Held to the end, so that no part is asked for from where it ends while it is being removed.
        let state = self.lock();
        let in_use: HashSet<PathBuf> = state.incoming.keys().map(|blob| self.part(blob)).collect();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            files.push((meta.modified()?, meta.len(), entry.path()));
        }
        // The one to keep comes first, whatever a coarse clock says.
        files.sort_by_key(|(modified, _, path)| (keep != Some(path.as_path()), std::cmp::Reverse(*modified)));
        let mut total = 0_u64;
        for (_, len, path) in files {
            total = total.saturating_add(len);
            if total > bytes_max && keep != Some(path.as_path()) && !in_use.contains(&path) {
                // A module that has it open keeps it: the name goes, the content stays until it is closed.
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl State {
    fn receives(&self, blob: &BlobId, receiver: u64) -> bool {
        matches!(self.incoming.get(blob), Some(Incoming { step: Step::Receiving(by), .. }) if *by == receiver)
    }
}

/// A blob on its way in. Dropped before [`finish`](Self::finish), the part stays for a later try and the waiters are
/// told.
#[derive(Debug)]
pub struct Receiving<'a> {
    store: &'a BlobStore,
    blob: BlobId,
    receiver: u64,
    file: File,
    hasher: blake3::Hasher,
    settled: bool,
}

impl Receiving<'_> {
    /// # Errors
    /// More than was announced, the disk does not take it, or another controller has been asked for the blob meanwhile.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.note_progress()?;
        if self.hasher.count().saturating_add(bytes.len() as u64) > self.blob.size {
            return Err(self.fail("it is longer than announced".into()));
        }
        if let Err(error) = self.store_chunk(bytes) {
            // The part would only keep the disk full; and what is in it of this chunk was never hashed.
            let _ = fs::remove_file(self.store.part(&self.blob));
            return Err(self.fail(format!("it cannot be stored in {}: {error}", self.store.dir.display())));
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// Other blobs give way once if the disk is full: they can be had again.
    fn store_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.store.trim_to(0, None)?;
                self.file.seek(io::SeekFrom::Start(self.hasher.count()))?;
                self.file.write_all(bytes)
            }
            written => written,
        }
    }

    fn note_progress(&mut self) -> Result<(), String> {
        let mut state = self.store.lock();
        match state.incoming.get_mut(&self.blob) {
            Some(incoming) if matches!(incoming.step, Step::Receiving(by) if by == self.receiver) => {
                incoming.progress = Instant::now();
                Ok(())
            }
            _ => {
                self.settled = true;
                Err("it took so long that another controller was asked for it".into())
            }
        }
    }

    /// Verifies the blob and gives it to those who wait.
    ///
    /// # Errors
    /// It is not what its hash says (nothing is kept), or it cannot be put in place.
    pub fn finish(mut self) -> Result<(), String> {
        self.note_progress()?;
        if self.hasher.count() != self.blob.size {
            return Err(self.fail(format!("{} of {} bytes came", self.hasher.count(), self.blob.size)));
        }
        if *self.hasher.finalize().as_bytes() != self.blob.hash {
            let _ = fs::remove_file(self.store.part(&self.blob));
            return Err(self.fail("its content is not what its hash says".into()));
        }
        let path = self.store.path(&self.blob);
        self.put_in_place(&path)?;
        if let Err(error) = self.store.trim_to(self.store.bytes_max, Some(&path)) {
            tracing::warn!(%error, "blob cache cannot be trimmed");
        }
        self.store.changed.notify_all();
        Ok(())
    }

    /// In one step with the look whether the part is still this receiver's.
    fn put_in_place(&mut self, path: &Path) -> Result<(), String> {
        let mut state = self.store.lock();
        let renamed = match state.receives(&self.blob, self.receiver) {
            true => fs::rename(self.store.part(&self.blob), path),
            false => Err(io::Error::other("another controller was asked for it")),
        };
        if renamed.is_ok() {
            state.incoming.remove(&self.blob);
        }
        drop(state);
        self.settled = renamed.is_ok();
        renamed.map_err(|error| self.fail(format!("it cannot be put into {}: {error}", self.store.dir.display())))
    }

    fn fail(&mut self, why: String) -> String {
        self.settled = true;
        self.store.fail(&self.blob, self.receiver, why)
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.store.fail(&self.blob, self.receiver, "its stream broke off".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn blob(content: &[u8]) -> BlobId {
        BlobId { hash: *blake3::hash(content).as_bytes(), size: content.len() as u64 }
    }

    fn stored(store: &BlobStore, content: &[u8]) -> BlobId {
        let blob = blob(content);
        store.lock().incoming.insert(blob, Incoming::wanted(1));
        let mut receiving = store.receive(blob, 1, 0).unwrap();
        receiving.write(content).unwrap();
        receiving.finish().unwrap();
        blob
    }

    #[test]
    fn a_blob_that_nobody_else_uses_can_be_taken_out_of_the_store() {
        let fixture = fixture(1024);
        let (blob, there) = (stored(&fixture.store, b"content"), fixture._dir.path().join("there"));
        fs::write(&there, "in the way").unwrap();
        assert!(fixture.store.take(&blob, &there).is_none(), "nothing is replaced");
        fs::remove_file(&there).unwrap();
        let mut taken = String::new();
        fixture.store.take(&blob, &there).unwrap().read_to_string(&mut taken).unwrap();
        assert_eq!((taken.as_str(), fs::read_to_string(&there).unwrap().as_str()), ("content", "content"));
        assert!(fixture.store.take(&blob, &there).is_none(), "it is gone");
    }

    #[test]
    fn a_blob_that_another_call_reads_stays_in_the_store() {
        let fixture = fixture(1024);
        let (blob, there) = (stored(&fixture.store, b"content"), fixture._dir.path().join("there"));
        let reading = fixture.store.fetch(blob, 2, &fixture.cancel, |_| panic!("it is here")).unwrap();
        assert!(fixture.store.take(&blob, &there).is_none() && !there.exists());
        drop(reading);
        assert!(fixture.store.take(&blob, &there).is_some());
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
            let mut receiving = self.store.receive(id, 1, offset)?;
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
        let error = f.fetch(id, |offset| f.store.receive(id, 1, offset).unwrap().write(b"hello").unwrap()).unwrap_err();
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
        assert!(f.store.receive(blob(b"x"), 1, 0).is_err());
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

    /// Waits for `id` on behalf of `connection`, which was asked, as it is told on the channel.
    fn waiter<'s>(
        scope: &'s std::thread::Scope<'s, '_>,
        f: &'s Fixture,
        id: BlobId,
        connection: u64,
    ) -> (mpsc::Receiver<u64>, std::thread::ScopedJoinHandle<'s, Result<File, ModuleError>>) {
        let (asked, is_asked) = mpsc::channel();
        let thread = scope.spawn(move || f.store.fetch(id, connection, &f.cancel, |offset| asked.send(offset).is_ok()));
        (is_asked, thread)
    }

    #[test]
    fn only_the_controller_that_was_asked_may_send_a_blob_and_only_once_at_a_time() {
        let (f, id) = (fixture(1 << 20), blob(b"hello"));
        std::thread::scope(|scope| {
            let (asked, waiting) = waiter(scope, &f, id, 1);
            asked.recv().unwrap();
            assert!(f.store.receive(id, 2, 0).unwrap_err().contains("nobody asked"));
            let mut first = f.store.receive(id, 1, 0).unwrap();
            first.write(b"hel").unwrap();
            assert!(f.store.receive(id, 1, 0).unwrap_err().contains("already"));
            first.write(b"lo").unwrap();
            first.finish().unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(fs::read(f.store.path(&id)).unwrap(), b"hello");
    }

    #[test]
    fn what_one_controller_fails_to_send_another_is_asked_for() {
        let (f, id) = (fixture(1 << 20), blob(b"hello"));
        std::thread::scope(|scope| {
            let (first_asked, first) = waiter(scope, &f, id, 1);
            first_asked.recv().unwrap();
            let (second_asked, second) = waiter(scope, &f, id, 2);
            let mut bad = f.store.receive(id, 1, 0).unwrap();
            bad.write(b"hullo").unwrap();
            assert!(bad.finish().unwrap_err().contains("hash"));
            second_asked.recv().unwrap();
            let mut good = f.store.receive(id, 2, 0).unwrap();
            good.write(b"hello").unwrap();
            good.finish().unwrap();
            second.join().unwrap().unwrap();
            // Whoever of the two looked first: the first was told of the failure, or has the second one's file by now.
            let told = first.join().unwrap();
            assert!(told.is_ok() || told.unwrap_err().to_string().contains("hash"));
        });
    }

    #[test]
    fn a_controller_that_stops_sending_holds_up_no_other() {
        let (f, id) = (fixture(1 << 20), blob(b"hello"));
        std::thread::scope(|scope| {
            let (first_asked, first) = waiter(scope, &f, id, 1);
            first_asked.recv().unwrap();
            let mut stalled = f.store.receive(id, 1, 0).unwrap();
            stalled.write(b"hul").unwrap();
            let long_ago = Instant::now().checked_sub(TAKE_OVER_AFTER).unwrap();
            f.store.lock().incoming.get_mut(&id).unwrap().progress = long_ago;
            let (second_asked, second) = waiter(scope, &f, id, 2);
            assert_eq!(second_asked.recv().unwrap(), 0, "from the start: the part is another's");
            assert!(stalled.write(b"lo").unwrap_err().contains("another controller"));
            let mut good = f.store.receive(id, 2, 0).unwrap();
            good.write(b"hello").unwrap();
            good.finish().unwrap();
            second.join().unwrap().unwrap();
            first.join().unwrap().unwrap();
        });
        assert_eq!(fs::read(f.store.path(&id)).unwrap(), b"hello");
    }

    #[test]
    fn a_blob_that_a_cancelled_call_had_asked_for_is_asked_for_again() {
        let (f, id) = (fixture(1 << 20), blob(b"x"));
        let cancel = |_| {
            f.cancel.cancel(crate::module::CancelReason::Requested);
            f.store.wake();
        };
        assert!(f.fetch(id, cancel).is_err());
        assert!(f.store.lock().incoming.is_empty());
    }

    #[test]
    fn parts_that_nobody_waits_for_make_room() {
        let f = fixture(10);
        let broken = blob(b"a part of this one only");
        f.fetch(broken, |offset| f.store.receive(broken, 1, offset).unwrap().write(b"a part of ").unwrap())
            .unwrap_err();
        assert_eq!(f.store.part_len(&broken), 10);
        let id = blob(b"whole");
        f.fetch(id, |offset| f.send(id, offset, b"whole").unwrap()).unwrap();
        assert_eq!(f.store.part_len(&broken), 0);
        assert!(f.store.path(&id).exists());
    }
}
