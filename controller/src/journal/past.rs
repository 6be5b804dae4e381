//! What of a journal still counts for a run that goes on.
//!
//! All of it, but for one case: a run that its operator interrupted is as if nobody had. The cancel is left out, and with
//! it what only it brought about: that hosts were lost, that the run ended. A task that it stopped half-way is done again
//! if its module describes a state; if not, what it did is unknown, and it stays stopped.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::reader::{Damage, JournalError, Records};
use super::record::{EventRecord, Header, Record, Seq};
use crate::event::{CancelReason, RunEvent, RunFinished, Stamped};
use crate::scheduler::{Event, HostIx, Verdict};

/// One thing that counts.
#[derive(Debug)]
pub enum PastStep {
    /// A record that counts as it stands. None of [`Record::Begun`], [`Record::TakenOver`] or [`Record::GivenUp`], of which
    /// [`Past`] itself knows what follows.
    Record(Box<Record>),
    /// What this host has in flight was stopped, and is to be done again under keys of its own.
    Redo { host: HostIx },
}

impl PastStep {
    /// What was told with it, if anything.
    pub fn told(&self) -> Option<&Stamped> {
        match self {
            PastStep::Record(record) => record.told(),
            PastStep::Redo { .. } => None,
        }
    }
}

/// A journal's steps that count, in order, one in memory at a time.
pub struct Past<R = BufReader<File>> {
    records: Records<R>,
    header: Header,
    epoch: u64,
    interrupted: bool,
    ended: bool,
    given_up: bool,
}

impl Past {
    /// # Errors
    /// The journal cannot be used.
    pub fn open(path: &Path) -> Result<Past, JournalError> {
        Past::new(path, Records::open(path)?)
    }

    /// Whether a run that ended so goes on when it is resumed: its operator interrupted it, or it could not be reported.
    pub fn may_go_on(finished: &RunFinished) -> bool {
        matches!(finished.cancelled, Some(CancelReason::Interrupted | CancelReason::ReportFailed))
    }
}

impl<R: Read> Past<R> {
    /// # Errors
    /// The journal has no header.
    pub fn new(path: &Path, mut records: Records<R>) -> Result<Past<R>, JournalError> {
        match records.next().transpose()? {
            Some(Record::Begun(header)) => {
                let header = *header;
                Ok(Past { records, header, epoch: 1, interrupted: false, ended: false, given_up: false })
            }
            Some(_) => Err(JournalError::NotAJournal { path: path.to_owned() }),
            None => Err(JournalError::Empty { path: path.to_owned() }),
        }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The highest epoch so far.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The run came to its end, or was given up: it does not go on. Known once the last step was read.
    pub fn is_over(&self) -> bool {
        self.ended || self.given_up
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Records read so far, those that do not count included.
    pub fn records_read(&self) -> Seq {
        self.records.records_read()
    }

    pub fn good_bytes(&self) -> u64 {
        self.records.good_bytes()
    }

    pub fn damage(&self) -> Option<Damage> {
        self.records.damage()
    }

    fn step(&mut self, record: Record) -> Option<PastStep> {
        let counts = match &record {
            // There is no second one; read all the same, it changes nothing.
            Record::Begun(_) => false,
            Record::TakenOver { epoch, .. } => {
                self.epoch = self.epoch.max(*epoch);
                self.interrupted = false;
                false
            }
            Record::GivenUp { .. } => {
                self.given_up = true;
                false
            }
            Record::Told(stamped) if matches!(stamped.event, RunEvent::RunFinished(_)) => {
                self.ended |= !self.interrupted;
                !self.interrupted
            }
            Record::Noticed(_) => !self.interrupted,
            Record::Event(event) => match self.event(event) {
                EventMeans::Itself => true,
                EventMeans::Nothing => false,
                EventMeans::Redo(host) => return Some(PastStep::Redo { host }),
            },
            Record::Told(_) | Record::Item(_) | Record::Tried { .. } | Record::Grown(_) => true,
        };
        counts.then(|| PastStep::Record(Box::new(record)))
    }

    fn event(&mut self, record: &EventRecord) -> EventMeans {
        match &record.event {
            Event::Cancel(CancelReason::Interrupted | CancelReason::ReportFailed) => {
                self.interrupted = true;
                EventMeans::Nothing
            }
            Event::Finished { host, outcome, .. }
                if self.interrupted && outcome.verdict == Verdict::Cancelled && is_repeatable(record) =>
            {
                EventMeans::Redo(*host)
            }
            // Nobody heard what became of the work: it is asked for again.
            Event::Unreachable { .. } if self.interrupted => EventMeans::Nothing,
            _ => EventMeans::Itself,
        }
    }
}

enum EventMeans {
    Itself,
    Nothing,
    Redo(HostIx),
}

/// Whether the task may be done again after a first half. A task that was stopped before it began has no result.
fn is_repeatable(record: &EventRecord) -> bool {
    match record.result.as_ref().map(|stamped| &stamped.event) {
        Some(RunEvent::HostFinished(result)) => {
            rustle_agent::modules::find(&result.module).is_some_and(|module| module.is_idempotent())
        }
        _ => true,
    }
}

impl<R: Read> Iterator for Past<R> {
    type Item = Result<PastStep, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Err(error) => return Some(Err(error)),
                Ok(record) => {
                    if let Some(step) = self.step(record) {
                        return Some(Ok(step));
                    }
                }
            }
        }
    }
}
