//! Who does what when. Pure: events and the time go in, commands come out. No clock, no socket, no thread, no chance but
//! what the seed in the limits gives; the same events always give the same commands, so a log of events is a recording
//! of the run.

mod message;
mod program;
mod time;

pub use message::{
    Command, Dispatch, Effect, Event, Notice, Outcome, RunEnd, Snapshot, TransportFault, Verdict, Waiting, Work,
};
pub use program::{
    HandlerStep, HostIx, HostSet, Limits, OnFailure, Percent, PlayProgram, Program, RetryPolicy, Step, StepKind,
    Strategy,
};
pub use time::RunTime;

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
#[derive(Debug)]
pub struct Scheduler {
    program: Program,
}

impl Scheduler {
    /// Begins the run: its first commands can be polled.
    pub fn new(program: Program) -> Scheduler {
        Scheduler { program }
    }

    /// Takes note of `event`. Never panics: an event that means nothing now is ignored.
    pub fn handle(&mut self, event: Event, now: RunTime) {
        let _ = (event, now);
    }

    /// The next thing to do, in order; `None` once there is nothing to do before the next event.
    pub fn poll_command(&mut self) -> Option<Command> {
        None
    }

    /// When to send [`Event::DeadlineReached`] if nothing else happens before. To be asked again after each event.
    pub fn next_deadline(&self) -> Option<RunTime> {
        None
    }

    /// Whether the run is over: nothing is in flight and no event can change anything. Its last commands may still wait
    /// to be polled.
    pub fn is_finished(&self) -> bool {
        self.program.plays.is_empty()
    }

    /// Where the run stands at `now`.
    pub fn status(&self, now: RunTime) -> Snapshot {
        let _ = now;
        Snapshot { play: None, task: None, hosts: Default::default(), waited_for: Vec::new(), paused: false }
    }
}
