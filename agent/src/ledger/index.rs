//! What the ledger knows, without the results themselves: which calls began and ended, where their records stand, which
//! runs were here. It is bounded; what goes first is decided here.

use std::collections::{BTreeMap, HashMap};

use rustle_protocol::{CallKey, RunId};

use super::record::{Begun, Ended, RunSeen};

/// Calls that are remembered. A status takes some 200 bytes, so this is 10 MiB, and more calls than a run gives a host.
pub const CALLS_MAX: usize = 50_000;

/// Runs whose epoch is remembered.
pub const RUNS_MAX: usize = 1_000;

/// Where a record stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A call that is remembered.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) begun: Begun,
    /// Its last record in the file; none if the file could not take it.
    pub(super) place: Option<Place>,
    pub(super) end: Option<End>,
    /// Begun by this process, which knows whether it still runs.
    pub(super) is_ours: bool,
    /// Rises with each record: the order in which calls are let go.
    seq: u64,
}

/// A call's end.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) at_s: u64,
    /// The result, if it is kept in memory: where the file cannot take it, or must not.
    pub(super) held: Option<Box<Ended>>,
    /// What the result takes, wherever it is.
    pub(super) bytes: u64,
    /// The result has been cut down to how the call came out.
    pub(super) is_cut: bool,
    /// The result must not be written anywhere: the task has `no_log`.
    pub(super) is_secret: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    calls: HashMap<CallKey, Entry>,
    /// By age.
    order: BTreeMap<u64, CallKey>,
    runs: HashMap<RunId, (RunSeen, Option<Place>)>,
    seq: u64,
    result_bytes: u64,
    stored_bytes: u64,
    /// Calls before this one in `order` have no result left to cut.
    cut_before: u64,
}

impl Index {
    pub(super) fn get(&self, key: &CallKey) -> Option<&Entry> {
        self.calls.get(key)
    }

    pub(super) fn run(&self, run: &RunId) -> Option<&RunSeen> {
        self.runs.get(run).map(|(seen, _)| seen)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Bytes of the file that would be left if it were written anew.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Every call, the oldest first.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Entry> {
        self.order.values().map(|key| &self.calls[key])
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &RunSeen> {
        self.runs.values().map(|(seen, _)| seen)
    }

    pub(super) fn see_run(&mut self, seen: RunSeen, place: Option<Place>) {
        self.stored_bytes += bytes_of(place);
        let old = self.runs.insert(seen.run, (seen, place));
        self.stored_bytes -= old.map_or(0, |(_, place)| bytes_of(place));
        while self.runs.len() > RUNS_MAX {
            let oldest = self.runs.values().min_by_key(|(seen, _)| seen.at_s).map(|(seen, _)| seen.run);
            let Some((_, place)) = oldest.and_then(|run| self.runs.remove(&run)) else { return };
            self.stored_bytes -= bytes_of(place);
        }
    }

    pub(super) fn begin(&mut self, begun: Begun, place: Option<Place>, is_ours: bool) {
        self.insert(Entry { begun, place, end: None, is_ours, seq: 0 });
    }

    /// The call's end, whether its beginning is known or not.
    pub(super) fn end(&mut self, key: CallKey, end: End, place: Option<Place>) {
        let begun = match self.calls.get(&key) {
            Some(entry) => entry.begun.clone(),
            None => Begun { key, module: String::new(), at_s: end.at_s, boot: 0 },
        };
        self.insert(Entry { begun, place, end: Some(end), is_ours: false, seq: 0 });
    }

    fn insert(&mut self, mut entry: Entry) {
        let key = entry.begun.key;
        self.remove(&key);
        self.seq += 1;
        entry.seq = self.seq;
        self.stored_bytes += bytes_of(entry.place);
        self.result_bytes += entry.result_bytes();
        self.order.insert(entry.seq, key);
        self.calls.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: &CallKey) {
        let Some(entry) = self.calls.remove(key) else { return };
        self.order.remove(&entry.seq);
        self.stored_bytes -= bytes_of(entry.place);
        self.result_bytes -= entry.result_bytes();
    }

    /// The call's end is now kept so. Its age stays.
    pub(super) fn replace_end(&mut self, key: &CallKey, end: End, place: Option<Place>) {
        let Some(entry) = self.calls.get_mut(key) else { return };
        self.stored_bytes += bytes_of(place);
        self.stored_bytes -= bytes_of(entry.place);
        self.result_bytes += end.bytes;
        self.result_bytes -= entry.result_bytes();
        (entry.end, entry.place) = (Some(end), place);
    }

    /// The file has been written anew: all that is remembered stands at other places.
    pub(super) fn moved(&mut self, places: &HashMap<CallKey, Place>, runs: &HashMap<RunId, Place>) {
        self.stored_bytes = 0;
        for (key, entry) in &mut self.calls {
            entry.place = places.get(key).copied();
            self.stored_bytes += bytes_of(entry.place);
        }
        for (run, (_, place)) in &mut self.runs {
            *place = runs.get(run).copied();
            self.stored_bytes += bytes_of(*place);
        }
    }

    /// The calls of a run that are over.
    pub(super) fn over_in(&self, run: RunId) -> Vec<CallKey> {
        let is_over = |entry: &&Entry| entry.begun.key.run == run && entry.is_over();
        self.calls.values().filter(is_over).map(|entry| entry.begun.key).collect()
    }

    /// Forgets the oldest calls while there are more than `calls_max`, and all that ended, or were cut off, at
    /// `oldest_s` or before; never one that runs. Returns how many.
    pub(super) fn forget_old(&mut self, calls_max: usize, oldest_s: u64) -> usize {
        let mut gone = Vec::new();
        for key in self.order.values() {
            let entry = &self.calls[key];
            let at_s = entry.end.as_ref().map_or(entry.begun.at_s, |end| end.at_s);
            if self.calls.len() - gone.len() <= calls_max && at_s > oldest_s {
                break;
            }
            if entry.is_over() {
                gone.push(*key);
            }
        }
        gone.iter().for_each(|key| self.remove(key));
        gone.len()
    }

    /// The oldest result that is still whole, if all results together take more than `bytes_max`.
    pub(super) fn next_to_cut(&mut self, bytes_max: u64) -> Option<CallKey> {
        if self.result_bytes <= bytes_max {
            return None;
        }
        let is_whole = |key: &CallKey| self.calls[key].end.as_ref().is_some_and(|end| !end.is_cut);
        let found = self.order.range(self.cut_before..).find(|(_, key)| is_whole(key));
        let (seq, key) = found.map(|(seq, key)| (*seq, *key))?;
        self.cut_before = seq;
        Some(key)
    }
}

impl Entry {
    /// It has ended, or was cut off.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some() || !self.is_ours
    }

    fn result_bytes(&self) -> u64 {
        self.end.as_ref().map_or(0, |end| end.bytes)
    }
}

fn bytes_of(place: Option<Place>) -> u64 {
    place.map_or(0, |place| place.bytes)
}
