//! Who does what when. Pure: events and the time go in, commands come out. No clock, no socket, no thread, no chance but
//! what the seed in the limits gives; the same events always give the same commands, so a log of events is a recording
//! of the run.
//!
//! From the outside in: [`Scheduler`] takes an event (`answers`), then carries the run on as far as it goes (`course`:
//! plays, batches, dispatch). A `batch` holds a `lane` for each host, a lane a `cursor` over the play's steps. What is
//! true of the whole run stands beside: how hosts stand (`hosts`), slots (`in_flight`), timers (`retry`), and whether
//! anything may be dispatched at all (`cancel`).

mod answers;
mod batch;
mod blocks;
mod budget;
mod cancel;
mod course;
mod cursor;
mod handlers;
mod hosts;
mod in_flight;
mod lane;
mod message;
mod play;
mod program;
mod retry;
mod roles;
mod splice;
mod stragglers;
#[cfg(test)]
mod tests;
mod time;
mod turns;

use std::collections::VecDeque;

pub use message::{
    Command, Dispatch, Effect, Event, Notice, Outcome, RunEnd, Snapshot, TransportFault, Verdict, Waiting, Work,
};
pub use play::SEGMENT_STEPS_MAX;
pub use program::{
    HandlerStep, HostIx, HostSet, Limits, OnFailure, Once, Percent, PlayProgram, Program, RetryPolicy, RoleUse, Splice,
    Step, StepKind, Strategy, Turns,
};
pub use retry::scramble;
pub use time::RunTime;

use crate::plan::{PlayId, TaskId};

use cancel::Gate;
use course::Course;
use hosts::Roster;
use in_flight::InFlight;
use retry::RetryTimers;

/// Runs a [`Program`].
///
/// Commands are there right after `new`, and after each event; drain them before the next one:
///
/// ```text
/// loop {
///     while let Some(command) = scheduler.poll_command() { obey(command) }
///     if scheduler.is_finished() { break }
///     scheduler.handle(next_event(), now())
/// }
/// ```
///
/// An event costs a few look-ups in ordered sets; only the end of a linear step, of a batch and of a play look at every
/// host.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    course: Course,
    roster: Roster,
    in_flight: InFlight,
    timers: RetryTimers,
    gate: Gate,
    /// Not polled yet. What one event makes: a few commands for each host of the run at most.
    commands: VecDeque<Command>,
    now: RunTime,
    /// What a host came to last.
    at: Option<(PlayId, TaskId)>,
    finished: bool,
}

impl Scheduler {
    /// Begins the run: its first commands can be polled.
    pub fn new(program: Program) -> Scheduler {
        let mut roster = Roster::new(program.hosts);
        let course = Course::new(program.plays, &mut roster);
        let mut scheduler = Scheduler {
            course,
            roster,
            in_flight: InFlight::new(program.limits.forks),
            limits: program.limits,
            timers: RetryTimers::default(),
            gate: Gate::default(),
            commands: VecDeque::new(),
            now: RunTime::ZERO,
            at: None,
            finished: false,
        };
        scheduler.enter_playbook();
        scheduler.carry_on();
        scheduler
    }

    /// Takes note of `event`. Never panics: an event that means nothing now is ignored.
    pub fn handle(&mut self, event: Event, now: RunTime) {
        if self.finished {
            return;
        }
        self.now = self.now.max(now);
        self.wake_due();
        let on_time = matches!(event, Event::DeadlineReached);
        match event {
            Event::Finished { host, task, outcome } => self.on_finished(host, task, outcome),
            Event::Unreachable { host, task, fault, on_failure } => self.on_unreachable(host, task, fault, on_failure),
            Event::DeadlineReached => {}
            Event::Cancel(reason) => self.gate.cancel(reason),
            Event::Pause => self.set_paused(true),
            Event::Resume => self.set_paused(false),
            Event::DropHost(host) => self.on_drop(host, None),
            Event::HostsFound { play, joined, batches, exempt } => {
                self.on_hosts_found(play, joined.len(), batches, &exempt);
            }
        }
        if on_time {
            self.drop_stragglers();
        }
        self.carry_on();
    }

    /// The next thing to do, in order; `None` once there is nothing to do before the next event.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to send [`Event::DeadlineReached`] if nothing else happens before. To be asked again after each event.
    pub fn next_deadline(&self) -> Option<RunTime> {
        self.timers.next().into_iter().chain(self.stragglers_due()).min()
    }

    /// Whether the run is over: nothing is in flight and no event can change anything. Its last commands may still wait
    /// to be polled.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether something was dispatched to the host that has no result yet.
    pub fn is_at_work(&self, host: HostIx) -> bool {
        self.in_flight.has(host)
    }

    pub fn is_paused(&self) -> bool {
        self.gate.is_paused()
    }

    /// Where the run stands at `now`.
    pub fn status(&self, now: RunTime) -> Snapshot {
        Snapshot {
            play: self.at.map(|(play, _)| play),
            task: self.at.map(|(_, task)| task),
            hosts: self.roster.counts(),
            waited_for: self.in_flight.longest(self.now.max(now)),
            paused: self.gate.is_paused(),
        }
    }

    fn report(&mut self, notice: Notice) {
        self.commands.push_back(Command::Report(notice));
    }

    fn set_paused(&mut self, paused: bool) {
        if self.gate.set_paused(paused) {
            self.report(if paused { Notice::Paused } else { Notice::Resumed });
        }
    }

    /// Hosts whose wait is over may try again, if only once the run is resumed.
    fn wake_due(&mut self) {
        while let Some(host) = self.timers.take_due(self.now) {
            if let Some((batch, rank)) = self.course.find(host) {
                batch.try_again(rank);
            }
        }
    }
}
