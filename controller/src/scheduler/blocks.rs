//! Which of a play's steps belong to which block, and where a host goes that fails in one: to `rescue`, to `always`, or on
//! to the block around.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::plan::{BlockId, Section, Within};

use super::program::{PlayProgram, Step};

/// The blocks of a play.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    parents: BTreeMap<BlockId, Option<Within>>,
    sections: BTreeMap<Within, Range<usize>>,
}

impl Blocks {
    pub(super) fn of(play: &PlayProgram) -> Blocks {
        let mut blocks = Blocks { parents: play.blocks.clone(), sections: BTreeMap::new() };
        for (place, Step { within, .. }) in play.steps.iter().enumerate() {
            let around: Vec<Within> = blocks.around(*within).collect();
            for section in around {
                blocks.sections.entry(section).or_insert(place..place).end = place + 1;
            }
        }
        blocks
    }

    /// The sections around a place, the innermost first. Ends also if the blocks contain each other.
    fn around(&self, within: Option<Within>) -> impl Iterator<Item = Within> + '_ {
        let outer = |inner: &Within| self.parents.get(&inner.block).copied().flatten();
        std::iter::successors(within, outer).take(self.parents.len() + 1)
    }

    fn section(&self, block: BlockId, section: Section) -> Option<&Range<usize>> {
        self.sections.get(&Within { block, section })
    }

    /// The first step behind the block.
    fn end(&self, block: BlockId) -> usize {
        let sections = [Section::Tasks, Section::Rescue, Section::Always];
        sections.iter().filter_map(|section| self.section(block, *section)).map(|steps| steps.end).max().unwrap_or(0)
    }

    /// Whether a host that fails here gets to a `rescue`, if only by way of an `always`. What happens in there is not asked:
    /// Ansible's rule for its `rescued` and for `ansible_failed_task`.
    pub(super) fn rescues(&self, within: Option<Within>) -> bool {
        let has_rescue = |block| self.section(block, Section::Rescue).is_some();
        self.around(within).any(|Within { block, section }| section == Section::Tasks && has_rescue(block))
    }
}

/// The failures that a host carries through its play, block by block.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Blocks whose `rescue` the host runs or ran.
    rescuing: BTreeSet<BlockId>,
    /// Blocks whose `always` it runs with a failure that nobody rescued, the innermost last.
    failing: Vec<Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    block: BlockId,
    /// A failure in it is everybody's, as long as nobody rescues it.
    fatal: bool,
}

/// A failure that no block around takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fall {
    /// It is everybody's, or one that the host carried with it is.
    pub(super) fatal: bool,
}

impl Trouble {
    /// The host failed at a place. Gives the step it goes on at. What it carried through an `always` goes on with it.
    ///
    /// # Errors
    /// If no block around takes the failure up; then nothing has changed.
    pub(super) fn fail(&mut self, blocks: &Blocks, within: Option<Within>, mut fatal: bool) -> Result<usize, Fall> {
        let mut left = BTreeSet::new();
        for Within { block, section } in blocks.around(within) {
            left.insert(block);
            fatal |= self.failing.iter().any(|failing| failing.block == block && failing.fatal);
            if section == Section::Tasks
                && let Some(rescue) = blocks.section(block, Section::Rescue)
            {
                self.failing.retain(|failing| !left.contains(&failing.block));
                self.rescuing.insert(block);
                return Ok(rescue.start);
            }
            if section != Section::Always
                && let Some(always) = blocks.section(block, Section::Always)
            {
                self.failing.retain(|failing| !left.contains(&failing.block));
                self.failing.push(Failing { block, fatal });
                return Ok(always.start);
            }
        }
        Err(Fall { fatal })
    }

    /// The host comes to `step`. If a block that it leaves by that has failed, so does the host, at the block's place:
    /// gives the block's last step, and where the host goes on, or that nobody takes the failure up.
    pub(super) fn leave(&mut self, blocks: &Blocks, step: usize) -> Option<(usize, Result<usize, Fall>)> {
        let failed = self.failing.pop_if(|failing| blocks.end(failing.block) <= step)?;
        let last = blocks.end(failed.block).saturating_sub(1);
        Some((last, self.fail(blocks, blocks.parents.get(&failed.block).copied().flatten(), failed.fatal)))
    }

    /// Whether a host that comes to `step` leaves a block by that which has failed.
    pub(super) fn is_left_at(&self, blocks: &Blocks, step: usize) -> bool {
        self.failing.last().is_some_and(|failing| blocks.end(failing.block) <= step)
    }

    /// Whether a failure that it carries is everybody's.
    pub(super) fn is_fatal(&self) -> bool {
        self.failing.iter().any(|failing| failing.fatal)
    }

    /// No failure that it carries is one any more. A `rescue` that it runs goes on.
    pub(super) fn forgive(&mut self) {
        self.failing.clear();
    }

    /// Whether the host runs what stands here: not a `rescue` without a failure.
    pub(super) fn lets_in(&self, blocks: &Blocks, within: Option<Within>) -> bool {
        let closed = |at: &Within| at.section == Section::Rescue && !self.rescuing.contains(&at.block);
        !blocks.around(within).any(|at| closed(&at))
    }
}
