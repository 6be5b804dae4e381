//! Work that hosts have and the slots it takes. A slot is one of the run's `forks`; a host holds one while it has work,
//! and under `host_pinned` also between two pieces of work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;

use crate::event::WAITED_FOR_MAX;
use crate::plan::TaskId;

use super::cursor::Stop;
use super::message::Waiting;
use super::program::HostIx;
use super::splice::Room;
use super::time::RunTime;

/// What one host was given.
#[derive(Debug)]
pub(super) struct Flight {
    /// What has no result yet, in order. Never empty.
    pub(super) rest: VecDeque<(Stop, TaskId)>,
    /// A step of it has a result.
    pub(super) progressed: bool,
    /// An abort was sent: only its end is waited for.
    pub(super) aborted: bool,
    since: RunTime,
}

impl Flight {
    pub(super) fn is_at(&self, task: TaskId) -> bool {
        self.rest.front().is_some_and(|(_, front)| *front == task)
    }

    /// Takes the first step off, as done; tells whether another one follows.
    pub(super) fn step_on(&mut self, now: RunTime) -> bool {
        self.rest.pop_front();
        self.progressed = true;
        self.since = now;
        !self.rest.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    forks: usize,
    flights: BTreeMap<HostIx, Flight>,
    /// Hosts that hold a slot without work.
    held: BTreeSet<HostIx>,
}

impl InFlight {
    pub(super) fn new(forks: NonZeroUsize) -> InFlight {
        InFlight { forks: forks.get(), flights: BTreeMap::new(), held: BTreeSet::new() }
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.flights.len() + self.held.len() < self.forks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Takes a slot, or the one the host holds.
    pub(super) fn start(&mut self, host: HostIx, rest: VecDeque<(Stop, TaskId)>, now: RunTime) {
        self.held.remove(&host);
        self.flights.insert(host, Flight { rest, progressed: false, aborted: false, since: now });
    }

    pub(super) fn has(&self, host: HostIx) -> bool {
        self.flights.contains_key(&host)
    }

    pub(super) fn get_mut(&mut self, host: HostIx) -> Option<&mut Flight> {
        self.flights.get_mut(&host)
    }

    /// Ends the host's flight. With `hold`, its slot stays its own.
    pub(super) fn end(&mut self, host: HostIx, hold: bool) {
        if self.flights.remove(&host).is_some() && hold {
            self.held.insert(host);
        }
    }

    /// Gives the slot back that the host holds without work.
    pub(super) fn release(&mut self, host: HostIx) {
        self.held.remove(&host);
    }

    /// Marks all flights as aborted; gives the hosts of those that were not.
    pub(super) fn abort_all(&mut self) -> Vec<HostIx> {
        self.held.clear();
        let running = self.flights.iter_mut().filter(|(_, flight)| !flight.aborted);
        running
            .map(|(host, flight)| {
                flight.aborted = true;
                *host
            })
            .collect()
    }

    /// Marks the host's flight as aborted; tells whether there was one to abort.
    pub(super) fn abort(&mut self, host: HostIx) -> bool {
        self.flights.get_mut(&host).is_some_and(|flight| !std::mem::replace(&mut flight.aborted, true))
    }

    /// How many hosts are at work at `task`, at whatever stop.
    pub(super) fn at(&self, task: TaskId) -> usize {
        self.flights.values().filter(|flight| flight.is_at(task)).count()
    }

    /// Hosts at work that were not told to stop, and since when.
    pub(super) fn begun(&self) -> impl Iterator<Item = (HostIx, RunTime)> + '_ {
        let going_on = self.flights.iter().filter(|(_, flight)| !flight.aborted);
        going_on.map(|(host, flight)| (*host, flight.since))
    }

    pub(super) fn make_room(&mut self, room: Room) {
        for (stop, _) in self.flights.values_mut().flat_map(|flight| &mut flight.rest) {
            *stop = stop.moved(room);
        }
    }

    /// Who has been at work longest.
    pub(super) fn longest(&self, now: RunTime) -> Vec<Waiting> {
        let mut flights: Vec<_> = self.flights.iter().collect();
        flights.sort_by_key(|(_, flight)| flight.since);
        let longest = flights.into_iter().take(WAITED_FOR_MAX);
        longest
            .filter_map(|(host, flight)| {
                let (_, task) = flight.rest.front()?;
                Some(Waiting { host: *host, task: *task, since: now.since(flight.since) })
            })
            .collect()
    }
}
