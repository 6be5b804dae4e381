//! Who goes where after a failure in a block, found by searching the steps each time.

use std::collections::BTreeSet;

use super::World;
use crate::plan::{BlockId, Section, TaskId, Within};
use crate::scheduler::{HostIx, Step, Work};

impl World {
    /// Whether a block around takes the host's failure up; what it does not come to then counts as done.
    pub(super) fn takes_up(&mut self, host: HostIx, work: Work, fatal: bool) -> bool {
        let seen = &self.batch[&host];
        let within = match self.step(work.task) {
            Some(step) => self.play().steps[step].within,
            None if seen.wants_flush => seen.last,
            None => return false,
        };
        let taken_up = self.takes_up_at(host, within, seen.last_step, fatal);
        let seen = self.batch.get_mut(&host).unwrap();
        (seen.failed_last, seen.dragged) = (taken_up, false);
        taken_up
    }

    /// The same for a failure at the step `from`, which stands there.
    pub(super) fn takes_up_at(&mut self, host: HostIx, within: Option<Within>, from: usize, mut fatal: bool) -> bool {
        for Within { block, section } in self.around(within) {
            let has = |section| !self.steps_in(block, section).is_empty();
            let (has_rescue, has_always) = (has(Section::Rescue), has(Section::Always));
            let tasks = self.steps_in(block, Section::Tasks);
            let rescue = self.steps_in(block, Section::Rescue);
            let seen = self.batch.get_mut(&host).unwrap();
            fatal |= seen.failing.contains(&(block, true));
            seen.failing.retain(|(failing, _)| *failing != block);
            if section == Section::Tasks && has_rescue {
                seen.rescuing.insert(block);
                seen.finished.extend(tasks);
                self.fall_out_of_roles(host, from, rescue.first().copied().unwrap());
                return true;
            }
            if section != Section::Always && has_always {
                seen.failing.push((block, fatal));
                seen.finished.extend(tasks.into_iter().chain(rescue));
                let always = self.steps_in(block, Section::Always);
                self.fall_out_of_roles(host, from, always.first().copied().unwrap());
                return true;
            }
        }
        false
    }

    /// A host that is through with the `always` of a block that failed has failed there.
    pub(super) fn leave_blocks(&mut self, host: HostIx, task: TaskId) {
        while let Some((block, _)) = self.batch[&host].failing.last().copied() {
            let always = self.steps_in(block, Section::Always);
            let here: Vec<usize> = self.steps_of(host).filter(|step| always.contains(step)).collect();
            let seen = &self.batch[&host];
            if self.lost.contains_key(&host) || seen.left || !here.iter().all(|step| seen.finished.contains(step)) {
                return;
            }
            let fatal = self.carries_fatal(host);
            let (_, failed_for_all) = self.batch.get_mut(&host).unwrap().failing.pop().unwrap();
            let parent = self.play().blocks[&block];
            if self.takes_up_at(host, parent, self.last_of(block), failed_for_all) {
                continue;
            }
            if self.batch[&host].dragged {
                self.dragged_out.insert(host);
                return;
            }
            self.failed_in_batch.insert(host);
            self.failed_in_run.insert(host);
            if fatal {
                self.note_fatal(task);
            }
        }
    }

    /// Whether it runs an `always` with a failure that is everybody's.
    pub(super) fn carries_fatal(&self, host: HostIx) -> bool {
        self.batch[&host].failing.iter().any(|(_, fatal)| *fatal)
    }

    fn around(&self, within: Option<Within>) -> Vec<Within> {
        std::iter::successors(within, |inner| self.play().blocks[&inner.block]).collect()
    }

    fn steps_in(&self, block: BlockId, section: Section) -> BTreeSet<usize> {
        let at = Within { block, section };
        let steps = self.play().steps.iter().enumerate();
        steps.filter(|(_, step)| self.around(step.within).contains(&at)).map(|(place, _)| place).collect()
    }

    /// The last step of the block.
    pub(super) fn last_of(&self, block: BlockId) -> usize {
        let sections = [Section::Tasks, Section::Rescue, Section::Always];
        sections.into_iter().filter_map(|section| self.steps_in(block, section).last().copied()).max().unwrap()
    }

    /// Whether the host comes to what stands here: not to a `rescue` without a failure.
    pub(super) fn comes_to(&self, host: HostIx, step: &Step) -> bool {
        let closed = |at: &Within| at.section == Section::Rescue && !self.batch[&host].rescuing.contains(&at.block);
        step.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
            && !self.around(step.within).iter().any(closed)
            && !self.has_run(host, step)
    }
}
