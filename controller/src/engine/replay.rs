//! Going on behind what an earlier controller wrote down. The scheduler is given the same events at the same times, and so
//! stands where it stood; variables, loops and tries are as they were; what has been told is not told again. What is left
//! then is what was under way: it is sent again under the same keys, and a host that has a result answers with it.

use std::collections::VecDeque;

use super::drive::Drive;
use super::error::ExecutionError;
use super::recorder::Evidence;
use super::result::Tried;
use super::under_way::UnderWay;
use crate::event::RunEvent;
use crate::journal::{EventRecord, ItemRecord, Past, PastStep, Record};
use crate::plan::PlayId;
use crate::scheduler::{Command, Event, Notice, RunEnd};

#[derive(Default)]
struct Replay {
    under_way: UnderWay,
    /// Said by the scheduler, and perhaps never told.
    untold: VecDeque<RunEvent>,
    /// Asked for by the scheduler, and not found.
    wanted: Option<PlayId>,
    end: Option<RunEnd>,
    accept_changed_plan: bool,
}

impl Drive<'_> {
    /// Brings everything to where `past` ends, and sets to work again what was under way.
    ///
    /// # Errors
    /// The journal cannot be read to its end, or what was included then is not what it was. Nothing was sent to any host.
    pub(super) fn replay(&mut self, past: &mut Past, accept_changed_plan: bool) -> Result<(), ExecutionError> {
        let stepper = self.stepper.take();
        let mut replay = Replay { accept_changed_plan, ..Replay::default() };
        self.take_commands(&mut replay);
        for step in past {
            match step? {
                PastStep::Record(record) => self.replay_record(*record, &mut replay)?,
                PastStep::Redo { host } => replay.under_way.redo(host),
            }
        }
        self.stepper = stepper;
        self.go_on(replay);
        Ok(())
    }

    fn replay_record(&mut self, record: Record, replay: &mut Replay) -> Result<(), ExecutionError> {
        match record {
            Record::Event(record) => self.replay_event(*record, replay),
            Record::Item(item) => self.recall_item(*item),
            Record::Tried { host, task, round, item, number } => {
                self.run.recall_progress((&host, task, round), |progress| {
                    if progress.items.len() == item as usize {
                        progress.tries = number;
                    }
                });
            }
            Record::Noticed(_) => drop(replay.untold.pop_front()),
            Record::Grown(growth) => self.run.grow_again(*growth, replay.accept_changed_plan)?,
            Record::Told(_) | Record::Begun(_) | Record::TakenOver { .. } | Record::GivenUp { .. } => {}
        }
        Ok(())
    }

    fn replay_event(&mut self, record: EventRecord, replay: &mut Replay) {
        let EventRecord { at, event, lost, lessons, .. } = record;
        for lesson in &lessons {
            // What there was to warn of was told then.
            let _ = self.run.environment.vars.learn(lesson);
        }
        if let Some((host, work)) = replay.under_way.event(&event) {
            drop(self.run.take_progress(self.hosts.name(host), work));
        }
        if matches!(event, Event::HostsFound { .. }) {
            replay.wanted = None;
        }
        let event = self.hear(event, Evidence { lost, ..Evidence::default() });
        self.scheduler.handle(event.clone(), at);
        self.take_commands(replay);
        replay.under_way.settle(&event, &self.scheduler);
    }

    fn recall_item(&mut self, record: ItemRecord) {
        let ItemRecord { host, task, round, item, status, values, diff, warnings, shown, lessons, is_last } = record;
        for lesson in &lessons {
            let _ = self.run.environment.vars.learn(lesson);
        }
        self.run.recall_progress((&host, task, round), |progress| {
            if progress.items.len() == item as usize {
                progress.items.push((
                    Tried { status, failed_in: shown.failed_in, causes: shown.causes.clone(), values, diff, warnings },
                    shown,
                ));
                progress.tries = 0;
                progress.is_over = is_last;
            }
        });
    }

    /// What the scheduler wants was done then: it is only noted.
    fn take_commands(&mut self, replay: &mut Replay) {
        while let Some(command) = self.scheduler.poll_command() {
            replay.under_way.command(&command);
            match command {
                Command::Dispatch(_) | Command::Abort { .. } => {}
                Command::FindHosts { play } => replay.wanted = Some(play),
                Command::Report(Notice::RunFinished(end)) => replay.end = Some(end),
                Command::Report(notice) => replay.untold.extend(self.note(notice)),
            }
        }
    }

    fn go_on(&mut self, replay: Replay) {
        for event in replay.untold {
            self.recorder.notice(event);
        }
        if let Some(play) = replay.wanted {
            self.hold(Command::FindHosts { play });
        }
        if let Some(end) = replay.end {
            self.hold(Command::Report(Notice::RunFinished(end)));
        }
        for (dispatch, flight) in replay.under_way.into_flights() {
            let host = dispatch.host;
            self.send_out(dispatch, Sending::Again { redo: flight.redo });
            if flight.aborted {
                self.abort(host);
            }
        }
        if self.scheduler.is_paused() {
            self.take(Event::Resume, Evidence::default());
        }
    }
}

/// Whether work is sent for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    First,
    /// An earlier controller may have sent it. `redo` times it was stopped half-way, and has a key of its own for each.
    Again {
        redo: u32,
    },
}
