//! What goes into the scheduler and what comes out: plain data, so that any of it can be written in a test or read from
//! a log. What goes in is what a journal keeps: its fields and variants are added, never renamed or removed.

use std::num::NonZeroU32;
use std::time::Duration;

use rustle_protocol::HostName;
use serde::{Deserialize, Serialize};

use crate::event::{CancelReason, HostCounts, HostState, PlayEnd, TaskKind};
use crate::plan::{PlayId, TaskId};

use super::program::{HostIx, OnFailure, Splice};

/// Something that happened. Every event may come at any time: one that means nothing any more, or never did, changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A step that was dispatched is over on this host. Steps of a segment finish one by one and in their order; one
    /// that takes the host out (failed, or with such an effect) ends the segment, and so does [`Verdict::NotRun`].
    Finished {
        host: HostIx,
        task: TaskId,
        outcome: Outcome,
    },
    /// A dispatch did not get through, or the host was lost over it; `task` is the first step without a result.
    Unreachable {
        host: HostIx,
        task: TaskId,
        fault: TransportFault,
        /// What that means by the host's variables, on top of what the step says.
        #[serde(default)]
        on_failure: OnFailure,
    },
    /// The time [`Scheduler::next_deadline`](super::Scheduler::next_deadline) told has come.
    DeadlineReached,
    /// The run shall stop: nothing new is dispatched, all that is in flight is aborted.
    Cancel(CancelReason),
    /// Nothing new is dispatched; what is in flight goes on.
    Pause,
    Resume,
    /// The operator gives a host up: its work is aborted and nobody waits for it. It does not count as failed.
    DropHost(HostIx),
    /// The answer to [`Command::FindHosts`].
    HostsFound {
        play: PlayId,
        /// Hosts that are new to the run. Their numbers follow those there are.
        joined: Vec<HostName>,
        /// As [`PlayProgram::batches`](super::PlayProgram::batches).
        batches: Vec<Vec<HostIx>>,
        /// Steps that these hosts pass by without a word.
        #[serde(default)]
        exempt: Vec<(TaskId, Vec<HostIx>)>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub verdict: Verdict,
    /// A failure that the play goes on after (`ignore_errors`): it counts nowhere.
    pub ignored: bool,
    /// Handlers notified, by their ids, `listen` topics already resolved. Heeded only with [`Verdict::Changed`].
    pub notified: Vec<TaskId>,
    /// What a `meta` task asked for, or that the plan is broken. With a failure only the latter is heeded.
    pub effect: Effect,
    /// What the task included, in order: it comes behind the task, for this host. Not heeded with a failure or in a segment.
    pub included: Vec<Splice>,
    /// A failure is everybody's by the host's variables, though the step does not say so.
    #[serde(default)]
    pub fatal: bool,
    /// Of a host that was asked ([`Once::Asked`]): it ran the step for all, and its failure is everybody's.
    ///
    /// [`Once::Asked`]: super::Once::Asked
    #[serde(default)]
    pub for_all: bool,
    /// Of a host that was asked: most hosts at the step at once from now on.
    #[serde(default)]
    pub throttle: Option<NonZeroU32>,
}

impl Outcome {
    /// This verdict, and nothing else to it.
    pub fn of(verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            ignored: false,
            notified: Vec::new(),
            effect: Effect::None,
            included: Vec::new(),
            fatal: false,
            for_all: false,
            throttle: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    Changed,
    Skipped,
    Failed,
    TimedOut,
    /// Stopped. The answer to an abort; unasked for, a failure like any other.
    Cancelled,
    /// A step of a segment that the agent did not come to; it stands for all steps after it. They are dispatched again if
    /// the host is still in the play. For the first step of a dispatch, which nothing can have kept back, it is a failure.
    NotRun,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    #[default]
    None,
    /// `meta: flush_handlers`: the host runs the handlers it has been notified of before it goes on. Heeded at
    /// [`StepKind::AskedFlush`](super::StepKind::AskedFlush).
    FlushHandlers,
    /// `meta: end_host`: the host is done with the play, without handlers, in good standing.
    EndHost,
    /// `meta: end_role`: the host is done with the use of a role that the step is of; what follows of it and all that it
    /// includes is passed by, an `always` around it too, and what was notified stays so. Nothing at a step of no role.
    EndRole,
    /// `meta: end_batch`: as `EndHost` for every host of the batch.
    EndBatch,
    /// `meta: end_play`: as `EndBatch`, and there is no further batch.
    EndPlay,
    /// `meta: clear_host_errors`: hosts of the play that failed take part in later plays again, as do those that were
    /// unreachable before this batch; hosts that were unreachable in it come back now, at the step after the one that lost them. What they cost the error budgets stays
    /// spent.
    ClearHostErrors,
    /// What the task names is not in the play ([`CancelReason::PlanBroken`]), or cannot be understood
    /// ([`CancelReason::PlanUnreadable`]): there is nothing right to go on with, on any host. The run is cancelled.
    EndRun(CancelReason),
}

/// How a dispatch was lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportFault {
    /// The agent never took the work up, so another try repeats nothing: tried again, within [`RetryPolicy`].
    ///
    /// [`RetryPolicy`]: super::RetryPolicy
    NotAccepted,
    /// The agent had taken it up, and it may have had effects: tried again only if it may be repeated.
    Lost { repeatable: bool },
    /// Another try cannot help: a certificate that is not the host's, a name nobody knows.
    Permanent,
}

/// Something to do. To be obeyed in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send this to the host. The host has nothing else in flight.
    Dispatch(Dispatch),
    /// Stop what the host has in flight, and answer with its outcome, mostly [`Verdict::Cancelled`], or that the host is
    /// unreachable. The run does not end, and the slot is not free, before that answer.
    Abort { host: HostIx },
    /// Say with [`Event::HostsFound`] who is in this play, which is about to begin: nothing else happens before.
    FindHosts { play: PlayId },
    /// Tell the world.
    Report(Notice),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    pub host: HostIx,
    /// One step, or the steps of a segment in their order. Never empty.
    pub work: Vec<Work>,
    /// Which try this is for the first of them, from 1.
    pub attempt: u32,
}

/// One step on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub task: TaskId,
    pub kind: TaskKind,
    /// How many times this host ran this handler before in this play. Always 0 for a task.
    pub round: u32,
    /// Should it fail, the host goes on with the `rescue` of a block.
    pub rescued: bool,
}

/// What the world is to be told; the caller puts names to the numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A playbook begins, with this play; all plays of the one before are over.
    PlaybookStarted {
        play: PlayId,
    },
    /// `hosts` and `batches` as the plan has them, less the hosts that are gone and the batches without any other.
    PlayStarted {
        play: PlayId,
        hosts: usize,
        batches: usize,
    },
    /// `batch` from 0, by its place in the program.
    BatchStarted {
        play: PlayId,
        batch: usize,
        hosts: Vec<HostIx>,
    },
    /// A first host comes to this task, in this batch, or to this handler, in this flush.
    TaskStarted {
        play: PlayId,
        task: TaskId,
        kind: TaskKind,
        /// That host, and how many are to come.
        host: HostIx,
        hosts: usize,
    },
    /// A try did not get through and another follows.
    Retrying {
        host: HostIx,
        task: TaskId,
        attempt: u32,
        attempts_max: u32,
        delay: Duration,
    },
    /// A try did not get through and none follows: that is the task's result on this host. Told before what it means for
    /// the host.
    Unreachable {
        host: HostIx,
        task: TaskId,
        /// The run had told the host to stop.
        aborted: bool,
    },
    /// The host is given up while others go on: they have waited for its task for as long as they may, `waited`; or the
    /// operator wants it so.
    GivenUp {
        host: HostIx,
        waited: Option<Duration>,
    },
    /// The host does nothing more, save handlers if `force_handlers`. `state` is never ok.
    HostGone {
        host: HostIx,
        state: HostState,
    },
    /// The host wanted to have no more of the play (`meta: end_host`).
    HostLeft {
        host: HostIx,
    },
    /// Hosts that were gone may go on, in this play or in a later one (`meta: clear_host_errors`).
    HostsForgiven {
        hosts: Vec<HostIx>,
    },
    BatchFinished {
        play: PlayId,
        batch: usize,
    },
    PlayFinished {
        play: PlayId,
        end: PlayEnd,
    },
    Cancelling {
        reason: CancelReason,
    },
    Paused,
    Resumed,
    /// The last command of every run.
    RunFinished(RunEnd),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// How each host stands, by [`HostIx`].
    pub hosts: Vec<HostState>,
    /// Set if the run was cancelled.
    pub cancelled: Option<CancelReason>,
    /// An error budget, a fatal error or a batch without survivors ended a play, and the run with it.
    pub stopped_early: bool,
    /// The first plays of playbooks that were not begun.
    pub not_begun: Vec<PlayId>,
}

/// Where the run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub play: Option<PlayId>,
    /// The task or handler a host came to last.
    pub task: Option<TaskId>,
    /// Adds up to the hosts of the run.
    pub hosts: HostCounts,
    /// Hosts with work in flight, longest first, at most [`WAITED_FOR_MAX`](crate::event::WAITED_FOR_MAX).
    pub waited_for: Vec<Waiting>,
    pub paused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub host: HostIx,
    pub task: TaskId,
    pub since: Duration,
}
