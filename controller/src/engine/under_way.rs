//! What a scheduler has had dispatched and has no result of, told from its commands and events alone: what a controller
//! that takes a run over sends again.

use std::collections::{BTreeMap, VecDeque};

use crate::scheduler::{Command, Dispatch, Event, HostIx, Scheduler, Work};

#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<HostIx, Flight>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flight {
    /// Without a result yet, in order.
    work: VecDeque<Work>,
    attempt: u32,
    /// To be stopped as soon as it is sent.
    pub(crate) aborted: bool,
    /// How many times it was stopped half-way and is to be done anew.
    pub(crate) redo: u32,
}

impl UnderWay {
    /// The scheduler gave this command.
    pub(crate) fn command(&mut self, command: &Command) {
        match command {
            Command::Dispatch(Dispatch { host, work, attempt }) => {
                let work = work.iter().copied().collect();
                self.0.insert(*host, Flight { work, attempt: *attempt, aborted: false, redo: 0 });
            }
            Command::Abort { host } => {
                if let Some(flight) = self.0.get_mut(host) {
                    flight.aborted = true;
                }
            }
            Command::FindHosts { .. } | Command::Report(_) => {}
        }
    }

    /// The scheduler is about to be given this event; gives the work that it ends.
    pub(crate) fn event(&mut self, event: &Event) -> Option<(HostIx, Work)> {
        let Event::Finished { host, task, .. } = event else { return None };
        let flight = self.0.get_mut(host)?;
        let work = flight.work.front().copied().filter(|work| work.task == *task)?;
        flight.work.pop_front();
        // Tries are counted for each step.
        flight.attempt = 1;
        Some((*host, work))
    }

    /// The event was handled and what came of it taken note of: a host that has nothing more at work is left out.
    pub(crate) fn settle(&mut self, event: &Event, scheduler: &Scheduler) {
        if let Event::Finished { host, .. } | Event::Unreachable { host, .. } | Event::DropHost(host) = event
            && !scheduler.is_at_work(*host)
        {
            self.0.remove(host);
        }
    }

    /// What the host has was stopped half-way, by somebody who did not mean it to end there.
    pub(crate) fn redo(&mut self, host: HostIx) {
        if let Some(flight) = self.0.get_mut(&host) {
            flight.redo += 1;
            flight.aborted = false;
        }
    }

    /// All of it, in the order of hosts.
    pub(crate) fn into_flights(self) -> impl Iterator<Item = (Dispatch, Flight)> {
        self.0.into_iter().filter(|(_, flight)| !flight.work.is_empty()).map(|(host, flight)| {
            let work = flight.work.iter().copied().collect();
            (Dispatch { host, work, attempt: flight.attempt }, flight)
        })
    }
}
