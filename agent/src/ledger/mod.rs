//! The ledger: what this agent was asked to do and what came of it, kept beyond its own life.
//!
//! A call is recorded before it starts, and its result before it is reported; the result is kept until the controller says
//! that it has it. So a call that is sent again is answered from here and not run again, and one that the agent's own death
//! cut off is known to be. A file of our own, since that is the whole of what is needed: two appends a call, a look-up
//! by key, and a rewrite now and then. `docs/reliability.md` says what is promised.
//!
//! [`record`] is what stands in the file, `index` what is known of it, `file` the file itself.

mod clock;
mod commit;
mod file;
mod index;
pub mod record;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustle_protocol::codec::FRAME_BYTES_MAX;
use rustle_protocol::message::{CallOutcome, Refusal, RefusalCode};
use rustle_protocol::private_file::{PrivateFileError, create_private_dir};
use rustle_protocol::{CallKey, HostName, ModuleResult, RunId};
use serde::Deserialize;
use tracing::{info, warn};

use self::clock::Clock;
use self::commit::GroupCommit;
use self::file::LedgerFile;
use self::index::{End, Entry, Index, Place};
use self::record::{Begun, Ended, HEADER, Record, Records, RunSeen};

pub use self::file::FILE_NAME;
pub use self::index::{CALLS_MAX, RUNS_MAX};

/// How much of the file may be dead before it is written anew: as much as is alive, and this. A megabyte is some thousand
/// calls, so a rewrite is rare, and what it copies is little.
const DEAD_BYTES_MAX: u64 = 1024 * 1024;

/// What a cut result keeps of its `msg`, in characters.
const CUT_TEXT_CHARS: usize = 256;

/// What a recorded result survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The agent's death: a record is in the kernel's hands before anything follows from it.
    #[default]
    Process,
    /// The machine's too: it is on the disk. Records that come together share one wait for it.
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerOptions {
    pub durability: Durability,
    /// What results may take. Beyond it the oldest are cut down to how their calls came out.
    pub bytes_max: u64,
    /// After this time a result that nobody has fetched is forgotten.
    pub age_max: Duration,
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Folder(#[from] PrivateFileError),
    #[error("failed to open the ledger in `{}`", .dir.display())]
    File { dir: PathBuf, source: std::io::Error },
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// It began in this process and has not ended.
    Running,
    /// It began, and the agent died before it ended.
    Interrupted {
        /// The machine was started anew since.
        rebooted: bool,
    },
    Ended {
        outcome: CallOutcome,
        elapsed_us: u64,
    },
}

/// One agent's ledger. All methods may be called from any thread.
#[derive(Debug)]
pub struct Ledger {
    options: LedgerOptions,
    boot: u128,
    clock: Clock,
    state: Mutex<State>,
    commit: GroupCommit,
}

#[derive(Debug)]
struct State {
    file: LedgerFile,
    index: Index,
    /// Why the file does not take records, since when it does not.
    degraded: Option<String>,
    buffer: Vec<u8>,
    /// Records of what has been acknowledged, to be written with the next one.
    settled: Vec<u8>,
    /// Results that were cut for want of room, and calls that were forgotten.
    cut: u64,
    forgotten: u64,
}

impl Ledger {
    /// Opens the ledger in `dir`, a private folder, or makes one.
    ///
    /// # Errors
    /// The folder is not ours alone, or the file cannot be opened. A damaged file is no error: what is whole counts.
    pub fn open(dir: &Path, options: LedgerOptions) -> Result<Ledger, LedgerError> {
        Ledger::open_in(dir, options, crate::boot::number(), Clock::of_the_wall())
    }

    /// `boot`: which start of the machine this is.
    fn open_in(dir: &Path, options: LedgerOptions, boot: u128, clock: Clock) -> Result<Ledger, LedgerError> {
        create_private_dir(dir)?;
        let failed = |source| LedgerError::File { dir: dir.to_owned(), source };
        let (mut file, bytes, aside) = LedgerFile::open(dir).map_err(failed)?;
        if let Some(aside) = aside {
            warn!(path = %aside.display(), "the ledger was of another version and has been put aside");
        }
        let mut records = Records::new(&bytes);
        let index = replay(&mut records);
        let (whole, damaged) = (records.end() as u64, records.damaged());
        if damaged > 0 {
            warn!(bytes = damaged, "the ledger was damaged: what stood there is lost, what follows is not");
        }
        if whole < bytes.len() as u64 {
            info!(bytes = bytes.len() as u64 - whole, "the ledger ended in the middle of a record");
        }
        file.truncate(whole).map_err(failed)?;
        for call in index.calls().filter(|call| call.end.is_none()) {
            warn!(key = %call.begun.key, module = call.begun.module, "this call was cut off when the agent ended");
        }
        let state =
            State { file, index, degraded: None, buffer: Vec::new(), settled: Vec::new(), cut: 0, forgotten: 0 };
        let ledger = Ledger { options, boot, clock, state: Mutex::new(state), commit: GroupCommit::default() };
        ledger.tidy(&mut ledger.lock());
        Ok(ledger)
    }

    /// What is known of a call; `None` means that it never began here, or was acknowledged.
    pub fn find(&self, key: &CallKey) -> Option<Known> {
        let state = self.lock();
        let entry = state.index.get(key)?;
        let Some(end) = &entry.end else {
            let rebooted = entry.begun.boot != self.boot;
            return Some(if entry.is_ours { Known::Running } else { Known::Interrupted { rebooted } });
        };
        if let Some(ended) = &end.held {
            return Some(Known::Ended { outcome: ended.outcome.clone(), elapsed_us: ended.elapsed_us });
        }
        match entry.place.map(|place| state.read_ended(place)) {
            Some(Ok(Ended { outcome, elapsed_us, .. })) => Some(Known::Ended { outcome, elapsed_us }),
            Some(Err(error)) => Some(Known::Ended { outcome: unreadable(&error), elapsed_us: 0 }),
            None => Some(Known::Ended { outcome: unreadable("it is not in the file"), elapsed_us: 0 }),
        }
    }

    /// Calls that the death of an earlier agent cut off since the machine was started.
    pub fn cut_off(&self) -> Vec<CallKey> {
        let state = self.lock();
        let is_cut_off = |entry: &&Entry| entry.end.is_none() && !entry.is_ours && entry.begun.boot == self.boot;
        state.index.calls().filter(is_cut_off).map(|entry| entry.begun.key).collect()
    }

    /// Records that a call is about to start. To be awaited before it does.
    pub async fn begin(&self, key: CallKey, module: &str) {
        {
            let mut state = self.lock();
            let begun = Begun { key, module: module.to_owned(), at_s: self.clock.now_s(), boot: self.boot };
            let record = Record::Begun(begun);
            let place = state.append(&record);
            let Record::Begun(begun) = record else { return };
            state.index.begin(begun, place, true);
        }
        self.durable().await;
    }

    /// Records what came of a call and returns it, to be reported after that. A result with `no_log` is kept in memory
    /// only; the file has no more of it than how the call came out.
    pub async fn end(&self, key: CallKey, outcome: CallOutcome, elapsed_us: u64, no_log: bool) -> CallOutcome {
        let outcome = {
            let mut state = self.lock();
            let at_s = self.clock.now_s();
            let ended = Ended { key, outcome, elapsed_us, at_s };
            let outcome = state.record_end(ended, no_log);
            self.tidy(&mut state);
            outcome
        };
        self.durable().await;
        match &self.lock().degraded {
            Some(why) => {
                with_warning(outcome, &format!("ledger degraded: {why}; this result would not outlive the agent"))
            }
            None => outcome,
        }
    }

    /// The controller has these results: they need not be kept.
    pub fn settle(&self, mut keys: Vec<CallKey>) {
        let mut state = self.lock();
        keys.retain(|key| state.index.get(key).is_some_and(Entry::is_over));
        if keys.is_empty() {
            return;
        }
        keys.iter().for_each(|key| state.index.remove(key));
        // Written with the next record. Lost, it costs no more than a result that is kept until it is old.
        let State { settled, .. } = &mut *state;
        if let Err(error) = record::push(settled, &Record::Settled(keys)) {
            warn!(%error, "the ledger keeps results that were acknowledged");
        }
    }

    /// The run is over for its controller: it has every result.
    pub fn settle_run(&self, run: RunId) {
        let keys = self.lock().index.over_in(run);
        self.settle(keys);
    }

    /// Takes note of a controller that comes with a run.
    ///
    /// # Errors
    /// A higher epoch of the run has been here: somebody else has taken it over.
    pub fn see_run(&self, run: RunId, epoch: u64, controller: &HostName) -> Result<(), Refusal> {
        let mut state = self.lock();
        if let Some(seen) = state.index.run(&run) {
            if epoch < seen.epoch {
                return Err(stale(seen));
            }
            if epoch == seen.epoch && *controller == seen.controller {
                return Ok(());
            }
        }
        let record = Record::Run(RunSeen { run, epoch, controller: controller.clone(), at_s: self.clock.now_s() });
        let place = state.append(&record);
        let Record::Run(seen) = record else { return Ok(()) };
        state.index.see_run(seen, place);
        Ok(())
    }

    /// # Errors
    /// A higher epoch of the run has been here since.
    pub fn check_epoch(&self, run: RunId, epoch: u64) -> Result<(), Refusal> {
        match self.lock().index.run(&run) {
            Some(seen) if epoch < seen.epoch => Err(stale(seen)),
            _ => Ok(()),
        }
    }

    /// Why records are not written at the moment, if they are not.
    pub fn degraded(&self) -> Option<String> {
        self.lock().degraded.clone()
    }

    /// Keeps the bounds, and writes the file anew when most of it is dead.
    fn tidy(&self, state: &mut State) {
        let oldest = self.clock.now_s().saturating_sub(self.options.age_max.as_secs());
        let forgotten = state.index.forget_old(CALLS_MAX, oldest) as u64;
        if forgotten > 0 {
            state.forgotten += forgotten;
            warn!(forgotten, total = state.forgotten, "calls that nobody asked about any more were forgotten");
        }
        while let Some(key) = state.index.next_to_cut(self.options.bytes_max) {
            state.cut(&key);
        }
        let alive = state.index.stored_bytes();
        let dead = (state.file.end() - HEADER.len() as u64).saturating_sub(alive);
        if dead > alive + DEAD_BYTES_MAX
            && let Err(error) = state.compact(self.options.durability == Durability::Power)
        {
            state.degrade(&error.to_string());
        }
    }

    /// Waits until all that has been recorded is as durable as was asked for.
    async fn durable(&self) {
        if self.options.durability == Durability::Process {
            return;
        }
        let synced = self.commit.sync(|| self.lock().file.to_sync()).await;
        if let Err(error) = synced {
            self.lock().degrade(&error.to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes a record. `None` if the file does not take it: then memory has to do.
    fn append(&mut self, record: &Record) -> Option<Place> {
        if self.degraded.is_some() && self.heal().inspect_err(|why| self.degraded = Some(why.clone())).is_err() {
            return None;
        }
        let bytes = self.encode(record)?;
        self.buffer.splice(0..0, self.settled.drain(..));
        let written = self.file.append(&self.buffer).inspect_err(|error| self.degrade(&error.to_string())).ok()?;
        Some(Place { offset: written.offset + written.bytes - bytes, bytes })
    }

    /// Makes `buffer` the record's bytes; how many there are.
    fn encode(&mut self, record: &Record) -> Option<u64> {
        self.buffer.clear();
        let pushed = record::push(&mut self.buffer, record);
        pushed.inspect_err(|error| warn!(%error, "a record does not fit into the ledger")).ok()?;
        Some(self.buffer.len() as u64)
    }

    fn record_end(&mut self, ended: Ended, is_secret: bool) -> CallOutcome {
        let (key, at_s) = (ended.key, ended.at_s);
        let record = Record::Ended(Box::new(ended));
        let place = if is_secret { None } else { self.append(&record) };
        let bytes = match place {
            Some(place) => place.bytes,
            None => self.encode(&record).unwrap_or(FRAME_BYTES_MAX as u64),
        };
        let Record::Ended(ended) = record else { unreachable!("it was made above") };
        if let Some(place) = place {
            self.index.end(key, End { at_s, held: None, bytes, is_cut: false, is_secret }, Some(place));
            return ended.outcome;
        }
        let place = if is_secret { self.append(&Record::Ended(Box::new(withheld(&ended)))) } else { None };
        let outcome = ended.outcome.clone();
        self.index.end(key, End { at_s, held: Some(ended), bytes, is_cut: false, is_secret }, place);
        outcome
    }

    fn read_ended(&self, place: Place) -> Result<Ended, String> {
        let bytes = self.file.read(place).map_err(|error| error.to_string())?;
        match record::read(&bytes) {
            Some((Record::Ended(ended), _)) => Ok(*ended),
            _ => Err("its record is damaged".to_owned()),
        }
    }

    /// Lets go of a result, but for how the call came out.
    fn cut(&mut self, key: &CallKey) {
        let Some((end, place)) = self.index.get(key).and_then(|entry| Some((entry.end.clone()?, entry.place))) else {
            return;
        };
        let whole = match (end.held, place) {
            (Some(ended), _) => Some(*ended),
            (None, Some(place)) => self.read_ended(place).ok(),
            (None, None) => None,
        };
        let Some(whole) = whole else { return self.index.remove(key) };
        let left = if end.is_secret { withheld(&whole) } else { cut_down(&whole) };
        let record = Record::Ended(Box::new(left));
        let place = self.append(&record);
        let bytes = self.encode(&record).unwrap_or_default();
        let Record::Ended(left) = record else { unreachable!("it was made above") };
        let held = place.is_none().then_some(left);
        let end = End { at_s: end.at_s, held, bytes, is_cut: true, is_secret: false };
        self.index.replace_end(key, end, place);
        self.cut += 1;
        warn!(%key, total = self.cut, "the ledger is full: the output of its oldest result was dropped");
    }

    fn degrade(&mut self, why: &str) {
        if self.degraded.is_none() {
            warn!(why, "ledger degraded: results are kept in memory alone until it can be written again");
        }
        self.degraded = Some(why.to_owned());
    }

    /// Brings into the file what memory had to keep while it took nothing; in the order of what happened.
    ///
    /// # Errors
    /// It still takes nothing.
    fn heal(&mut self) -> Result<(), String> {
        let kept: Vec<_> = self.index.calls().filter(|call| call.place.is_none()).cloned().collect();
        for call in kept {
            let key = call.begun.key;
            let record = match &call.end {
                None => Record::Begun(call.begun.clone()),
                Some(End { held: Some(ended), is_secret: true, .. }) => Record::Ended(Box::new(withheld(ended))),
                Some(End { held: Some(ended), .. }) => Record::Ended(ended.clone()),
                Some(End { held: None, .. }) => continue,
            };
            if self.encode(&record).is_none() {
                continue;
            }
            let place = Some(self.file.append(&self.buffer).map_err(|error| error.to_string())?);
            match call.end {
                None => self.index.begin(call.begun, place, call.is_ours),
                Some(end) => {
                    let held = end.held.filter(|_| end.is_secret);
                    self.index.replace_end(&key, End { held, ..end }, place);
                }
            }
        }
        self.degraded = None;
        info!("the ledger is written again");
        Ok(())
    }

    /// Writes what is alive into a new file and puts it in the place of the old one.
    fn compact(&mut self, sync: bool) -> std::io::Result<()> {
        let mut new = self.file.begin_anew()?;
        let (mut calls, mut runs) = (HashMap::new(), HashMap::new());
        for seen in self.index.runs() {
            self.buffer.clear();
            record::push(&mut self.buffer, &Record::Run(seen.clone())).map_err(std::io::Error::other)?;
            runs.insert(seen.run, new.append(&self.buffer)?);
        }
        for call in self.index.calls() {
            if let Some(place) = call.place {
                calls.insert(call.begun.key, new.append(&self.file.read(place)?)?);
            }
        }
        self.file.replace_with(new, sync)?;
        self.index.moved(&calls, &runs);
        Ok(())
    }
}

/// What the records of a file add up to.
fn replay(records: &mut Records<'_>) -> Index {
    let mut index = Index::default();
    for found in records {
        let place = Some(Place { offset: (HEADER.len() + found.at) as u64, bytes: found.size as u64 });
        match found.record {
            Record::Run(seen) => index.see_run(seen, place),
            // A key is begun once.
            Record::Begun(begun) if index.get(&begun.key).is_some() => {}
            Record::Begun(begun) => index.begin(begun, place, false),
            Record::Settled(keys) => keys.iter().for_each(|key| index.remove(key)),
            Record::Ended(ended) => {
                let end =
                    End { at_s: ended.at_s, held: None, bytes: found.size as u64, is_cut: false, is_secret: false };
                index.end(ended.key, end, place);
            }
        }
    }
    index
}

/// Reads the bytes of a ledger's file, header and all, as an agent does that starts. For the fuzzer: any bytes give a
/// ledger, and the number of calls in it.
pub fn calls_in(file: &[u8]) -> usize {
    file.strip_prefix(HEADER).map_or(0, |bytes| replay(&mut Records::new(bytes)).len())
}

fn stale(seen: &RunSeen) -> Refusal {
    let RunSeen { run, epoch, controller, .. } = seen;
    let message = format!("run {run} has been taken over by controller `{controller}` (epoch {epoch})");
    Refusal { code: RefusalCode::Stale, message }
}

fn unreadable(why: impl std::fmt::Display) -> CallOutcome {
    CallOutcome::Finished(ModuleResult::failed(format!(
        "the task ended, but what came of it cannot be read from the agent's ledger: {why}; look at the host before \
         running it again"
    )))
}

/// What the file has of a result that must not be logged.
fn withheld(ended: &Ended) -> Ended {
    let bare = |result: &ModuleResult| {
        let msg = "the result is not kept beyond the agent's life, since the task has no_log; the agent was restarted";
        let mut bare = ModuleResult::changed(result.changed).with("msg", msg);
        (bare.failed, bare.skipped) = (result.failed, result.skipped);
        bare
    };
    Ended { outcome: map_result(&ended.outcome, bare), ..*ended }
}

/// How a call came out, without what it said.
fn cut_down(ended: &Ended) -> Ended {
    let shortened = |text: &str| text.chars().take(CUT_TEXT_CHARS).collect::<String>();
    let outcome = map_result(&ended.outcome, |result| {
        let mut cut = ModuleResult::changed(result.changed)
            .with("msg", shortened(result.msg()))
            .with_warning("the agent's ledger was full before this result was fetched: its output was dropped");
        (cut.failed, cut.skipped) = (result.failed, result.skipped);
        if let Some(rc) = result.get("rc") {
            cut.set("rc", rc.clone());
        }
        cut
    });
    Ended { outcome, ..*ended }
}

fn with_warning(outcome: CallOutcome, warning: &str) -> CallOutcome {
    map_result(&outcome, |result| result.clone().with_warning(warning))
}

fn map_result(outcome: &CallOutcome, change: impl FnOnce(&ModuleResult) -> ModuleResult) -> CallOutcome {
    match outcome {
        CallOutcome::Finished(result) => CallOutcome::Finished(change(result)),
        CallOutcome::TimedOut(result) => CallOutcome::TimedOut(change(result)),
        CallOutcome::Cancelled(result) => CallOutcome::Cancelled(change(result)),
        CallOutcome::Refused(_) | CallOutcome::Interrupted | CallOutcome::Rebooted | CallOutcome::NotRun => {
            outcome.clone()
        }
    }
}

#[cfg(test)]
mod tests;
