//! What a run writes down while it runs: each event of the scheduler with all that came with it, before anything that
//! follows from it is sent to a host.

use std::collections::VecDeque;

use rustle_protocol::{CallKey, HostName, RunId};

use super::conclude::CallsMade;
use super::links::Links;
use super::sink::EventSink;
use crate::event::{RunEvent, TaskResult};
use crate::journal::{EventRecord, Journal, Past, Record, Seq, Trouble};
use crate::scheduler::{Event, RunTime};
use crate::vars::Lesson;

/// Which run it is, and where it is written down.
pub struct Recorded {
    pub id: RunId,
    /// `None`: nowhere. Such a run ends with its controller.
    pub journal: Option<Journal>,
    /// What an earlier controller wrote down: the run goes on behind it.
    pub past: Option<Past>,
    /// Go on though what was included then says something else now.
    pub accept_changed_plan: bool,
}

impl Recorded {
    /// A new run that is written down nowhere.
    pub fn nowhere() -> Recorded {
        Recorded { id: RunId::generate(), journal: None, past: None, accept_changed_plan: false }
    }
}

/// What comes with an event of the scheduler.
#[derive(Default)]
pub(super) struct Evidence {
    /// The task's result, told already.
    pub(super) result: Option<std::sync::Arc<TaskResult>>,
    /// The result that it has if there is no other try.
    pub(super) lost: Option<Box<TaskResult>>,
    pub(super) lessons: Vec<Lesson>,
    /// The calls that it came from.
    pub(super) calls: CallsMade,
}

pub(super) struct Recorder {
    journal: Option<Journal>,
    sink: EventSink,
    trouble: Option<Trouble>,
    /// Calls whose results are in line, and how many records must be durable before their hosts may forget them.
    to_acknowledge: VecDeque<(Seq, Vec<(HostName, CallKey)>)>,
}

impl Recorder {
    pub(super) fn new(journal: Option<Journal>, sink: EventSink) -> Recorder {
        Recorder { journal, sink, trouble: None, to_acknowledge: VecDeque::new() }
    }

    /// Writes down an event that the scheduler is about to be given.
    pub(super) fn event(&mut self, at: RunTime, event: &Event, evidence: &Evidence) {
        let Some(journal) = &self.journal else {
            // Nobody will ask for them again.
            if !evidence.calls.kept.is_empty() {
                self.to_acknowledge.push_back((0, evidence.calls.kept.clone()));
            }
            return;
        };
        let record = |with: bool| {
            let result = evidence.result.as_ref().filter(|_| with);
            Record::Event(Box::new(EventRecord {
                at,
                event: event.clone(),
                result: result.map(|result| self.sink.stamp(RunEvent::HostFinished(std::sync::Arc::clone(result)))),
                lost: evidence.lost.clone(),
                lessons: if with { evidence.lessons.clone() } else { Vec::new() },
            }))
        };
        let written = journal.append(&record(true)).or_else(|error| {
            let message = format!(
                "the journal keeps that a task ended, and not its result: {error}; a resumed run does not know the \
                 variables that it set"
            );
            let host = evidence.result.as_ref().map(|result| result.host.clone());
            self.sink.emit(RunEvent::Warning { message, host });
            journal.append(&record(false))
        });
        match written {
            Ok(number) => {
                if evidence.calls.only_here {
                    journal.hurry(number + 1);
                }
                if !evidence.calls.kept.is_empty() {
                    self.to_acknowledge.push_back((number + 1, evidence.calls.kept.clone()));
                }
            }
            // An event alone is a few numbers: any record holds it.
            Err(error) => tracing::error!(%error, "an event is not in the journal"),
        }
    }

    /// Tells what the scheduler wants to be told, and writes down that it was.
    pub(super) fn notice(&self, event: RunEvent) {
        self.tell(event, Record::Noticed);
    }

    /// Tells something else of the run, and writes it down.
    pub(super) fn told(&self, event: RunEvent) {
        self.tell(event, Record::Told);
    }

    fn tell(&self, event: RunEvent, record: fn(crate::event::Stamped) -> Record) {
        let stamped = self.sink.stamp(event);
        if let Some(journal) = &self.journal
            && let Err(error) = journal.append(&record(stamped.clone()))
        {
            tracing::error!(%error, "an event is not in the journal");
        }
        self.sink.tell(&stamped);
    }

    /// How many records must be durable for everything until now to be.
    pub(super) fn mark(&self) -> Seq {
        self.journal.as_ref().map_or(0, Journal::len)
    }

    pub(super) fn is_durable(&self, mark: Seq) -> bool {
        self.journal.as_ref().is_none_or(|journal| journal.durable() >= mark)
    }

    /// Waits until that many records are durable; for ever without a journal, or without anything to wait for.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn settled(&self, mark: Option<Seq>) {
        match (&self.journal, mark) {
            (Some(journal), Some(mark)) => journal.settled(mark).await,
            _ => std::future::pending().await,
        }
    }

    /// Waits until the journal cannot be written, or can again.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn trouble_changes(&self) -> Option<Trouble> {
        match &self.journal {
            Some(journal) => journal.trouble_is_not(&self.trouble).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn take_trouble(&mut self, trouble: Option<Trouble>) {
        let message = match &trouble {
            Some(Trouble { message, is_full }) => {
                let advice = if *is_full { "make room" } else { "mend the disk" };
                format!(
                    "the journal cannot be written: {message}. Nothing new is started until it can; what runs goes on. \
                     {advice}, or cancel the run"
                )
            }
            None => "the journal can be written again, and the run goes on".to_owned(),
        };
        self.trouble = trouble;
        self.sink.emit(RunEvent::Warning { message, host: None });
    }

    /// Lets hosts forget the results that are durable here.
    pub(super) fn acknowledge(&mut self, links: &dyn Links) {
        if self.to_acknowledge.is_empty() {
            return;
        }
        let durable = self.journal.as_ref().map_or(Seq::MAX, Journal::durable);
        while self.to_acknowledge.front().is_some_and(|(mark, _)| *mark <= durable) {
            for (host, call) in self.to_acknowledge.pop_front().into_iter().flat_map(|(_, calls)| calls) {
                links.acknowledge(&host, &[call]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::journal::{Durability, MAGIC};
    use crate::plan::TaskId;
    use crate::scheduler::{HostIx, Outcome, Verdict};

    #[test]
    fn what_no_agent_keeps_is_written_at_once_and_the_rest_gathers() {
        let disk = Box::new(tempfile::tempfile().unwrap());
        let journal = Journal::gathering(Duration::MAX, disk, Durability::Process, MAGIC.len() as u64, 0);
        let mut recorder = Recorder::new(Some(journal.clone()), EventSink::new(Box::new(|_| Ok(()))));
        let event = Event::Finished { host: HostIx(0), task: TaskId(0), outcome: Outcome::of(Verdict::Ok) };
        let made = |kept, only_here| Evidence { calls: CallsMade { kept, only_here }, ..Evidence::default() };
        let key = CallKey { run: RunId::from_u128(7), task: 0, round: 0, item: 0, attempt: 1 };
        recorder.event(RunTime::ZERO, &event, &made(vec![("web1".parse().unwrap(), key)], false));
        assert_eq!(journal.durable(), 0);
        recorder.event(RunTime::ZERO, &event, &made(Vec::new(), true));
        let began = Instant::now();
        while journal.durable() < 2 {
            assert!(began.elapsed() < Duration::from_secs(60), "it is not written");
            std::thread::yield_now();
        }
    }
}
