//! Steps and plays that are as plain as can be; a test says what is different.

use crate::plan::{PlayId, TaskId};
use crate::scheduler::{HostIx, OnFailure, PlayProgram, Step, StepKind, Strategy, Turns};

/// A task of every host.
pub(super) fn step(task: TaskId) -> Step {
    let (on_failure, turns) = (OnFailure::default(), Turns::default());
    Step {
        task,
        kind: StepKind::Task,
        hosts: None,
        joins_segment: false,
        within: None,
        on_failure,
        turns,
        role: None,
        depth: 0,
    }
}

/// A linear play whose hosts are known, without handlers.
pub(super) fn play(play: PlayId, batches: Vec<Vec<HostIx>>, steps: Vec<Step>) -> PlayProgram {
    PlayProgram {
        play,
        begins_playbook: false,
        batches,
        late: false,
        strategy: Strategy::Linear,
        rolling: false,
        steps,
        blocks: Default::default(),
        roles: Default::default(),
        handlers: Vec::new(),
        max_fail_percentage: None,
        force_handlers: false,
        last_flushes: 2,
    }
}
