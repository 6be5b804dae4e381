//! A play made ready to run: its program, and the answers that would take a search there.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::TaskKind;
use crate::plan::{TaskId, Within};

use super::blocks::Blocks;
use super::cursor::Stop;
use super::program::{HostIx, OnFailure, Once, PlayProgram, Step, StepKind, Strategy, Turns};
use super::roles::Roles;

/// Steps that travel together at most. A longer segment goes in several, so that neither its request nor the work that
/// is lost with a connection grows without bound.
pub const SEGMENT_STEPS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) program: PlayProgram,
    pub(super) handlers: BTreeMap<TaskId, usize>,
    pub(super) blocks: Blocks,
    pub(super) roles: Roles,
}

impl Play {
    /// Leaves out hosts the run does not have, and those the play has named before.
    pub(super) fn new(mut program: PlayProgram, hosts: usize) -> Play {
        let mut seen = BTreeSet::new();
        for batch in &mut program.batches {
            batch.retain(|host| host.index() < hosts && seen.insert(*host));
        }
        let mut handlers = BTreeMap::new();
        for (place, handler) in program.handlers.iter().enumerate() {
            handlers.entry(handler.task).or_insert(place);
        }
        let (blocks, roles) = (Blocks::of(&program), Roles::of(&program));
        Play { program, handlers, blocks, roles }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.program.steps
    }

    /// The place of a handler in the order of definition.
    pub(super) fn handler(&self, task: TaskId) -> Option<usize> {
        self.handlers.get(&task).copied()
    }

    pub(super) fn is_linear(&self) -> bool {
        self.program.strategy == Strategy::Linear
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.program.strategy == Strategy::HostPinned
    }

    pub(super) fn task_at(&self, stop: Stop) -> (TaskId, TaskKind) {
        match stop.handler {
            None => (self.program.steps[stop.step].task, TaskKind::Task),
            Some(handler) => (self.program.handlers[handler].task, TaskKind::Handler),
        }
    }

    /// The first step behind the use of a role that the step is of.
    pub(super) fn end_of_role(&self, step: usize) -> Option<usize> {
        self.roles.end(self.steps().get(step)?.role?)
    }

    /// Whether a host that fails at `stop` gets to a `rescue`.
    pub(super) fn rescues(&self, stop: Stop) -> bool {
        self.blocks.rescues(self.within_at(stop))
    }

    /// How hosts take turns at `stop`: under free no host stands for others.
    pub(super) fn turns_at(&self, stop: Stop) -> Turns {
        let turns = match stop.handler {
            None => self.program.steps[stop.step].turns,
            Some(handler) => self.program.handlers[handler].turns,
        };
        match turns.once {
            Once::Yes if !self.is_linear() => Turns { once: Once::No, ..turns },
            Once::No | Once::Yes | Once::Asked => turns,
        }
    }

    /// The innermost block around `stop`; for a handler that around its flush.
    pub(super) fn within_at(&self, stop: Stop) -> Option<Within> {
        self.program.steps.get(stop.step)?.within
    }

    pub(super) fn on_failure_at(&self, stop: Stop) -> OnFailure {
        match stop.handler {
            None => self.program.steps[stop.step].on_failure,
            Some(handler) => self.program.handlers[handler].on_failure,
        }
    }

    /// The stops that may travel with `first` to `host`: `first` and what joins it.
    pub(super) fn segment(&self, first: Stop, host: HostIx) -> Vec<Stop> {
        let mut segment = vec![first];
        if self.is_linear() || first.handler.is_some() {
            return segment;
        }
        let joining = self.program.steps.iter().enumerate().skip(first.step + 1);
        let joining = joining.take_while(|(_, step)| {
            // Where a role ends, the host may be through with one that comes again behind it.
            let first = &self.program.steps[first.step];
            let same_place = step.within == first.within && step.role == first.role;
            step.joins_segment && step.kind == StepKind::Task && same_place
        });
        let here = joining.filter(|(_, step)| step.hosts.as_ref().is_none_or(|hosts| hosts.contains(host)));
        segment.extend(here.take(SEGMENT_STEPS_MAX - 1).map(|(place, _)| Stop::at_task(place)));
        segment
    }
}
