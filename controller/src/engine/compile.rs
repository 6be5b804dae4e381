//! Turns a plan into what the scheduler understands: numbers for hosts, steps for tasks, every decision that does not
//! depend on what happens already made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use indexmap::IndexSet;
use rustle_protocol::HostName;

use super::module::Registry;
use crate::actions::Meta;
use crate::plan::{BlockId, Keyword, Plan, Play, Strategy as PlanStrategy, Task};
use crate::scheduler::{
    HandlerStep, HostIx, Limits, OnFailure, Once, Percent, PlayProgram, Program, RoleUse, Step, StepKind, Strategy,
    Turns,
};
use crate::template::{Authored, Templar};

/// The hosts of a run and their numbers.
#[derive(Debug)]
pub(super) struct HostTable {
    names: Vec<HostName>,
    numbers: HashMap<HostName, HostIx>,
}

impl HostTable {
    pub(super) fn new(plan: &Plan) -> HostTable {
        let names: Vec<HostName> = plan.hosts().into_iter().cloned().collect();
        let numbers = names.iter().cloned().zip((0..).map(HostIx)).collect();
        HostTable { names, numbers }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// # Panics
    /// With a number of another run.
    pub(super) fn name(&self, host: HostIx) -> &HostName {
        &self.names[host.index()]
    }

    /// As [`name`](Self::name), for a number that may be of nobody yet.
    pub(super) fn name_of(&self, host: HostIx) -> Option<&HostName> {
        self.names.get(host.index())
    }

    pub(super) fn names(&self) -> &[HostName] {
        &self.names
    }

    pub(super) fn number(&self, host: &HostName) -> Option<HostIx> {
        self.numbers.get(host).copied()
    }

    fn numbers<'a>(&self, hosts: impl IntoIterator<Item = &'a HostName>) -> Vec<HostIx> {
        hosts.into_iter().filter_map(|host| self.number(host)).collect()
    }

    /// The numbers of batches, and the hosts among them that have none until they [`join`](Self::join).
    pub(super) fn numbers_to_be(&self, batches: &[Vec<HostName>]) -> (Vec<Vec<HostIx>>, Vec<HostName>) {
        let mut joined = IndexSet::new();
        let mut number = |host: &HostName| {
            self.number(host).unwrap_or_else(|| HostIx((self.names.len() + joined.insert_full(host.clone()).0) as u32))
        };
        let numbers = batches.iter().map(|batch| batch.iter().map(&mut number).collect()).collect();
        (numbers, joined.into_iter().collect())
    }

    /// Hosts that are new to the run have the next numbers.
    pub(super) fn join(&mut self, joined: &[HostName]) {
        for host in joined {
            self.numbers.insert(host.clone(), HostIx(self.names.len() as u32));
            self.names.push(host.clone());
        }
    }
}

/// The program of `plan`.
pub(super) fn compile(
    plan: &Plan,
    hosts: &HostTable,
    limits: Limits,
    registry: &Registry,
    templar: &Templar,
) -> Program {
    let plays = plan.plays.iter().map(|play| compile_play(plan, play, hosts, &limits, registry, templar)).collect();
    Program { hosts: hosts.len(), plays, limits }
}

fn compile_play(
    plan: &Plan,
    play: &Play,
    hosts: &HostTable,
    limits: &Limits,
    registry: &Registry,
    templar: &Templar,
) -> PlayProgram {
    let tasks: Vec<&Task> = play.tasks.iter().map(|id| plan.task(*id)).collect();
    let joins = match play.strategy {
        PlanStrategy::Batch => Segments { registry, templar, volatile: volatile_names(&tasks) }.joins(&tasks),
        PlanStrategy::Linear | PlanStrategy::Rolling | PlanStrategy::Free | PlanStrategy::HostPinned => {
            vec![false; tasks.len()]
        }
    };
    let steps = tasks.iter().zip(joins).map(|(task, joins_segment)| Step {
        hosts: task.hosts.as_ref().map(|only| hosts.numbers(only).into_iter().collect()),
        joins_segment,
        ..step(play, task)
    });
    let handlers = play.handlers.iter().map(|id| handler(play, plan.task(*id))).collect();
    PlayProgram {
        play: play.id,
        begins_playbook: play.playbook.is_some() || play.id.index() == 0,
        batches: play
            .waves
            .cut(&play.shuffled(play.hosts.clone(), limits.retry.seed))
            .iter()
            .map(|batch| hosts.numbers(batch))
            .collect(),
        late: !play.patterns.is_empty(),
        strategy: strategy(play.strategy),
        rolling: play.strategy == PlanStrategy::Rolling,
        steps: steps.collect(),
        roles: role_uses(tasks),
        blocks: plan.blocks.iter().enumerate().map(|(place, block)| (BlockId(place as u32), block.parent)).collect(),
        handlers,
        max_fail_percentage: play.max_fail_percentage.and_then(Percent::new),
        force_handlers: play.force_handlers,
        last_flushes: play.last_flushes,
    }
}

/// A task as a step for all hosts.
pub(super) fn step(play: &Play, task: &Task) -> Step {
    Step {
        task: task.id,
        kind: kind(task),
        hosts: None,
        joins_segment: false,
        within: task.within,
        on_failure: on_failure(play, task),
        turns: turns(play, task),
        role: task.role.as_ref().map(|role| role.instance),
        depth: 0,
    }
}

/// The uses of roles that the tasks are of, and those that led to them.
pub(super) fn role_uses<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> BTreeMap<u32, RoleUse> {
    let mut uses = BTreeMap::new();
    for role in tasks.into_iter().filter_map(|task| task.role.as_deref()) {
        for role in std::iter::once(role).chain(role.parents()) {
            let parent = role.parent.as_ref().map(|parent| parent.instance);
            uses.insert(role.instance, RoleUse { identity: role.identity, once: role.once, parent });
        }
    }
    uses
}

/// A flush that an author wrote is told of, and may depend on the host's conditions.
fn kind(task: &Task) -> StepKind {
    match meta_of(task) {
        Some(Meta::FlushHandlers) if task.position.is_none() => StepKind::FlushHandlers,
        Some(Meta::FlushHandlers) => StepKind::AskedFlush,
        _ => StepKind::Task,
    }
}

pub(super) fn handler(play: &Play, task: &Task) -> HandlerStep {
    HandlerStep { task: task.id, on_failure: on_failure(play, task), turns: turns(play, task), depth: 0 }
}

/// Modules that do their work once for all hosts of a batch, whatever the task says.
const FOR_ALL_HOSTS: [&str; 2] = ["add_host", "pause"];

/// How hosts take turns at the task. Under free each runs it for itself, as in Ansible.
pub(super) fn turns(play: &Play, task: &Task) -> Turns {
    let for_all = match meta_of(task) {
        Some(Meta::EndPlay | Meta::EndBatch | Meta::ClearFacts | Meta::ClearHostErrors | Meta::RefreshInventory) => {
            true
        }
        Some(Meta::FlushHandlers | Meta::EndHost | Meta::EndRole | Meta::Noop | Meta::ResetConnection) => false,
        None => FOR_ALL_HOSTS.contains(&rustle_agent::module::short_name(&task.module)),
    };
    let once = match task.run_once.known() {
        _ if for_all && is_linear(play) => Once::Yes,
        Some(true) if is_linear(play) => Once::Yes,
        None if is_linear(play) => Once::Asked,
        _ if task.throttle.known().is_none() => Once::Asked,
        Some(_) | None => Once::No,
    };
    Turns { once, throttle: task.throttle.known().copied().and_then(NonZeroU32::new) }
}

pub(super) fn is_linear(play: &Play) -> bool {
    strategy(play.strategy) == Strategy::Linear
}

fn on_failure(play: &Play, task: &Task) -> OnFailure {
    OnFailure {
        any_errors_fatal: play.any_errors_fatal || is_known(&task.failure.any_errors_fatal),
        ignore_unreachable: is_known(&task.failure.ignore_unreachable),
    }
}

/// Whether the keyword holds whatever host runs its task.
pub(super) fn is_known(keyword: &Keyword<bool>) -> bool {
    keyword.known() == Some(&true)
}

fn strategy(strategy: PlanStrategy) -> Strategy {
    match strategy {
        PlanStrategy::Linear | PlanStrategy::Rolling => Strategy::Linear,
        PlanStrategy::Free | PlanStrategy::Batch => Strategy::Free,
        PlanStrategy::HostPinned => Strategy::HostPinned,
    }
}

/// What a `meta` task says; `None` for any other task, and for a word that only the host's variables give.
pub(super) fn meta_of(task: &Task) -> Option<Meta> {
    if rustle_agent::module::short_name(&task.module) != "meta" {
        return None;
    }
    match task.args.get("_raw_params").or_else(|| task.args.get("free_form")) {
        Some(Authored::Data(word)) => word.as_str()?.parse().ok(),
        _ => None,
    }
}

/// Decides which tasks may travel behind the one before them.
struct Segments<'a> {
    registry: &'a Registry,
    templar: &'a Templar,
    /// Names whose values change while the play runs.
    volatile: BTreeSet<String>,
}

impl Segments<'_> {
    fn joins(&self, tasks: &[&Task]) -> Vec<bool> {
        let plain: Vec<bool> = tasks.iter().map(|task| self.is_plain(task)).collect();
        // The one before must be one that leaves nothing to do on the controller either.
        (0..tasks.len()).map(|at| at > 0 && plain[at] && plain[at - 1]).collect()
    }

    /// Its arguments are known before the play runs, and its result needs nothing but to be told.
    fn is_plain(&self, task: &Task) -> bool {
        let is_call = self.registry.find(&task.module).is_some_and(|module| module.as_call().is_some());
        let only_says_what_to_do = task.when.is_empty()
            && task.looping.is_none()
            && task.until.is_none()
            && task.changed_when.is_empty()
            && task.failed_when.is_empty()
            && task.delegation.is_none()
            && task.connection.is_none()
            && task.background.is_none()
            && task.more_args.is_none()
            && task.run_once.known() == Some(&false)
            && task.throttle.known() == Some(&0)
            && task.no_log.known().is_some()
            && task.run_as.wanted.as_ref().is_none_or(|wanted| wanted.known().is_some())
            && task.failure.ignore_errors.known().is_some()
            && task.failure.ignore_unreachable.known().is_some()
            && task.failure.any_errors_fatal.known().is_some()
            && task.environment.is_empty()
            && rustle_agent::module::short_name(&task.module) != "setup";
        is_call && only_says_what_to_do && self.is_steady(task)
    }

    fn is_steady(&self, task: &Task) -> bool {
        let authored = task.args.values().chain(task.vars.values()).chain(task.run_as.authored());
        let mentions = authored.flat_map(|value| self.templar.undeclared(value));
        // Variables that are read though no template names them.
        let about_becoming = ["ansible_become", "ansible_sudo_", "ansible_su_", "ansible_runuser_"];
        let is_run_as = |name: &String| about_becoming.iter().any(|prefix| name.starts_with(prefix));
        !self.volatile.iter().any(is_run_as)
            && mentions.into_iter().all(|name| !self.volatile.contains(&name) && !name.starts_with("ansible_"))
    }
}

/// What tasks of the play register or set, and what leads to all of it.
fn volatile_names(tasks: &[&Task]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["hostvars", "vars"].map(str::to_owned).into();
    for task in tasks {
        names.extend(task.register.clone());
        if rustle_agent::module::short_name(&task.module) == "set_fact" {
            names.extend(task.args.keys().cloned());
        }
    }
    names
}
