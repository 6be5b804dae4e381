//! The uses of roles in a play, and which of them a host has run: a role with `allow_duplicates: false` is run once by each
//! host. One that failed in it, or skipped all of it, has not run it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::plan::RoleIdentity;

use super::program::{PlayProgram, RoleUse};

/// The uses of roles of a play.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    uses: BTreeMap<u32, RoleUse>,
    /// From a use's first step to its last, those of uses within it included.
    steps: BTreeMap<u32, Range<usize>>,
}

impl Roles {
    pub(super) fn of(play: &PlayProgram) -> Roles {
        let mut roles = Roles { uses: play.roles.clone(), steps: BTreeMap::new() };
        for (place, step) in play.steps.iter().enumerate() {
            let around: Vec<u32> = roles.around(step.role).collect();
            for role in around {
                roles.steps.entry(role).or_insert(place..place).end = place + 1;
            }
        }
        roles
    }

    /// The use and those that it stands in, the innermost first. Ends also if they contain each other.
    fn around(&self, role: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        let outer = |inner: &u32| self.uses.get(inner)?.parent;
        std::iter::successors(role, outer).take(self.uses.len() + 1)
    }

    /// The first step behind the use.
    pub(super) fn end(&self, role: u32) -> Option<usize> {
        self.steps.get(&role).map(|steps| steps.end)
    }

    fn has(&self, role: u32, step: usize) -> bool {
        self.steps.get(&role).is_some_and(|steps| steps.contains(&step))
    }
}

/// What a host has run of the roles of its play: the uses that it did something in, but for those that it failed out of.
#[derive(Debug, Default)]
pub(super) struct RolesRun(BTreeMap<RoleIdentity, BTreeSet<u32>>);

impl RolesRun {
    pub(super) fn begin(&mut self, roles: &Roles, role: u32) {
        if let Some(RoleUse { identity, .. }) = roles.uses.get(&role) {
            self.0.entry(*identity).or_default().insert(role);
        }
    }

    /// The host failed at step `from` and goes on at step `to`.
    pub(super) fn fall(&mut self, roles: &Roles, from: usize, to: usize) {
        for uses in self.0.values_mut() {
            uses.retain(|role| !roles.has(*role, from) || roles.has(*role, to));
        }
    }

    /// Whether the host need not run `step`, which is of `role`, since it came to the end of another use.
    pub(super) fn passes_by(&self, roles: &Roles, role: u32, step: usize) -> bool {
        let Some(wanted) = roles.uses.get(&role).filter(|role| role.once) else { return false };
        let is_over = |other: &u32| roles.end(*other).is_some_and(|end| end <= step);
        self.0.get(&wanted.identity).is_some_and(|uses| uses.iter().any(is_over))
    }
}
