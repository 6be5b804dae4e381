//! Which roles hosts have run, found by searching the steps each time.

use super::World;
use crate::scheduler::{HostIx, Step};

impl World {
    /// The host did something at the step.
    pub(super) fn note_role(&mut self, host: HostIx, step: usize) {
        let role = self.play().steps[step].role;
        self.batch.get_mut(&host).unwrap().roles.extend(role);
    }

    /// The host failed at the one step and goes on at the other.
    pub(super) fn fall_out_of_roles(&mut self, host: HostIx, from: usize, to: usize) {
        let roles = self.batch[&host].roles.clone();
        let stays = |role: &u32| {
            let steps = self.steps_of_role(*role);
            !steps.contains(&from) || steps.contains(&to)
        };
        self.batch.get_mut(&host).unwrap().roles = roles.into_iter().filter(stays).collect();
    }

    /// Whether the step is of a role that the host has come to the end of and need not run again.
    pub(super) fn has_run(&self, host: HostIx, step: &Step) -> bool {
        let uses = &self.play().roles;
        let Some(wanted) = step.role.and_then(|role| uses.get(&role)).filter(|wanted| wanted.once) else {
            return false;
        };
        let here = self.step(step.task).unwrap();
        let is_equal = |role: &&u32| uses.get(role).is_some_and(|other| other.identity == wanted.identity);
        self.batch[&host].roles.iter().filter(is_equal).any(|role| self.steps_of_role(*role).end <= here)
    }

    /// From the first step of the use to its last, with those of uses within it.
    pub(super) fn steps_of_role(&self, role: u32) -> std::ops::Range<usize> {
        let parent = |inner: &u32| self.play().roles.get(inner)?.parent;
        let is_of = |step: &Step| std::iter::successors(step.role, parent).any(|around| around == role);
        let steps = &self.play().steps;
        match (steps.iter().position(is_of), steps.iter().rposition(is_of)) {
            (Some(first), Some(last)) => first..last + 1,
            _ => 0..0,
        }
    }
}
