//! A plan and its plays.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::HostName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Block, Keyword, PlayId, Task, TaskId, is_default};
use crate::scheduler::scramble;
use crate::template::Authored;
use crate::vars::Layer;

/// What is to be done, on which hosts, in which order. Checked: ids are places in its lists, hosts are resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was made of: paths, or `-`.
    pub sources: Vec<String>,
    pub plays: Vec<Play>,
    /// Tasks and handlers of all plays; a [`TaskId`] is a place in here.
    pub tasks: Vec<Task>,
    /// Blocks with a `rescue` or an `always`, of all plays; a [`BlockId`](super::BlockId) is a place in here.
    pub blocks: Vec<Block>,
    /// The plan was made for a dry run: it is run in check mode whatever the command line says.
    pub check_mode: bool,
    pub diff: bool,
    pub forks: Option<usize>,
    /// BLAKE3, hex, over what the plan says, whatever the order of keys and the time it was made.
    pub digest: String,
    /// What the operator should know of it.
    pub warnings: Vec<String>,
}

impl Plan {
    /// A plan of one task: each host runs it as soon as it can.
    pub fn of_task(task: Task, hosts: Vec<HostName>) -> Plan {
        let (id, play) = (TaskId(0), PlayId(0));
        let task = Task { id, play, hosts: None, ..task };
        let play = Play {
            strategy: Strategy::Free,
            gather_facts: Some(false),
            tasks: vec![id],
            ..Play::new(play, task.title(), hosts)
        };
        Plan {
            sources: vec!["one task".to_owned()],
            plays: vec![play],
            tasks: vec![task],
            blocks: Vec::new(),
            check_mode: false,
            diff: false,
            forks: None,
            digest: String::new(),
            warnings: Vec::new(),
        }
    }

    /// What messages call it.
    pub fn source(&self) -> String {
        self.sources.join(", ")
    }

    /// # Panics
    /// With an id of another plan.
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.index()]
    }

    /// # Panics
    /// With an id of another plan.
    pub fn play(&self, id: PlayId) -> &Play {
        &self.plays[id.index()]
    }

    /// The name of the playbook that begins with a play, and its plays.
    ///
    /// # Panics
    /// With an id of another plan.
    pub fn playbook_from(&self, first: PlayId) -> (String, Range<usize>) {
        let name = self.play(first).playbook.clone().unwrap_or_else(|| self.source());
        let start = first.index();
        let next = self.plays.iter().skip(start + 1).position(|play| play.playbook.is_some());
        (name, start..next.map_or(self.plays.len(), |behind| start + 1 + behind))
    }

    /// Every host that a play names, in the order of first mention.
    pub fn hosts(&self) -> Vec<&HostName> {
        let mut seen = std::collections::HashSet::new();
        self.plays.iter().flat_map(|play| &play.hosts).filter(|host| seen.insert(*host)).collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default = "blank", deny_unknown_fields)]
pub struct Play {
    pub id: PlayId,
    /// The playbook that begins with this play, as it was named. `None` for the plays behind its first, those it imports
    /// among them, and for plays of a plan that was no playbook.
    #[serde(skip_serializing_if = "is_default")]
    pub playbook: Option<String>,
    /// May be a template.
    pub name: String,
    /// In order of dispatch. Empty for a play that names nobody; then [`empty_reason`](Self::empty_reason) says why.
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<HostName>,
    /// What the play's author calls its hosts, if they are to be looked up again when the play begins, for tasks may have
    /// added hosts and groups until then: one pattern, or a list of them. Empty: [`hosts`](Self::hosts) stands.
    #[serde(skip_serializing_if = "is_default")]
    pub patterns: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub order: HostOrder,
    #[serde(skip_serializing_if = "is_default")]
    pub empty_reason: Option<String>,
    pub strategy: Strategy,
    pub waves: Waves,
    /// `None`: if a task mentions a fact.
    #[serde(skip_serializing_if = "is_default")]
    pub gather_facts: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub gathering: Gathering,
    /// The task that gathers facts if the play does, with what it inherits. `None`: one that says nothing.
    #[serde(skip)]
    pub gather: Option<Box<Task>>,
    /// The folder of its playbook, if that was imported from another folder or is not the first: `playbook_dir`, beside
    /// which are `group_vars/` and `host_vars/`.
    #[serde(skip_serializing_if = "is_default")]
    pub playbook_dir: Option<PathBuf>,
    /// `vars` of the play.
    #[serde(skip_serializing_if = "is_default")]
    pub vars: IndexMap<String, Authored>,
    /// What else the play brings: `vars_prompt`, `vars_files`, each with its place in Ansible's order.
    #[serde(skip)]
    pub layers: Vec<Layer>,
    /// `vars_files` that only a host's variables name.
    #[serde(skip_serializing_if = "is_default")]
    pub late_vars_files: Vec<LateVarsFile>,
    /// `environment` of the play, as `environment` shows it. It is in each task's own already.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: Option<Authored>,
    /// In order.
    #[serde(skip_serializing_if = "is_default")]
    pub tasks: Vec<TaskId>,
    /// In order of definition.
    #[serde(skip_serializing_if = "is_default")]
    pub handlers: Vec<TaskId>,
    #[serde(skip_serializing_if = "is_default")]
    pub roles: Arc<PlayRoles>,
    pub any_errors_fatal: bool,
    /// `check_mode` of the play. It is in each task's own already.
    #[serde(skip_serializing_if = "is_default")]
    pub check_mode: Option<Keyword<bool>>,
    /// Percent of a batch's hosts.
    #[serde(skip_serializing_if = "is_default")]
    pub max_fail_percentage: Option<f64>,
    pub force_handlers: bool,
    /// How many times the handlers that were notified run behind the last task: in Ansible once behind `tasks` and once behind
    /// `post_tasks`, which matters to handlers that notify those before them. 0: never, as if nobody had notified them.
    #[serde(skip_serializing_if = "is_usual")]
    pub last_flushes: u32,
    /// As written, for listings. They are in each task's own already.
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
}

/// Behind the tasks of a play that has no `post_tasks`.
const LAST_FLUSHES: u32 = 2;

fn is_usual(last_flushes: &u32) -> bool {
    *last_flushes == LAST_FLUSHES
}

/// What a play begins as that says nothing.
fn blank() -> Play {
    Play::new(PlayId(0), "", Vec::new())
}

/// An entry of `vars_files` that is looked for when a host comes to the play.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LateVarsFile {
    /// A name, or a list of names of which the first file that is there counts.
    pub names: Authored,
    /// Where they are looked for, in this order.
    pub folders: Vec<PathBuf>,
}

/// How the implicit first task of a play gathers facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gathering {
    /// `gather_subset`; empty for the run's.
    #[serde(skip_serializing_if = "is_default")]
    pub subset: Vec<Authored>,
    /// `gather_timeout`; `None` for the module's own.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Option<Keyword<u32>>,
    /// Leaves hosts out of which facts are known already (`gathering = smart`).
    #[serde(skip_serializing_if = "is_default")]
    pub smart: bool,
    /// The implicit task itself, once it is among the play's.
    #[serde(skip_serializing_if = "is_default")]
    pub task: Option<TaskId>,
}

/// The module that gathers a play's facts before its tasks.
pub const GATHER_FACTS: &str = "ansible.builtin.gather_facts";

impl Gathering {
    /// As arguments of `setup`.
    pub fn args(&self) -> IndexMap<String, Authored> {
        let mut args = IndexMap::new();
        if !self.subset.is_empty() {
            args.insert("gather_subset".to_owned(), Authored::List(self.subset.clone()));
        }
        match &self.timeout {
            None => {}
            Some(Keyword::Is(seconds)) => {
                args.insert("gather_timeout".to_owned(), Authored::Data(i64::from(*seconds).into()));
            }
            Some(Keyword::Template { template, .. }) => {
                args.insert("gather_timeout".to_owned(), template.clone());
            }
        }
        args
    }
}

/// The names of a play's roles, in the order in which they come to run, those that were included at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlayRoles {
    /// `ansible_play_role_names`, `role_names`: those that the play lists, imports or has included, as often as it does.
    pub listed: Vec<String>,
    /// `ansible_dependent_role_names`: those that others depend on, once each.
    pub dependencies: Vec<String>,
}

impl PlayRoles {
    pub(crate) fn add(&mut self, name: String, is_dependency: bool) {
        if !is_dependency {
            self.listed.push(name);
        } else if !self.dependencies.contains(&name) {
            self.dependencies.push(name);
        }
    }

    /// Adds those that came while the play runs.
    pub(crate) fn extend(&mut self, other: PlayRoles) {
        other.listed.into_iter().for_each(|name| self.add(name, false));
        other.dependencies.into_iter().for_each(|name| self.add(name, true));
    }

    /// `ansible_role_names`: all of them, once each.
    pub fn all(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for name in self.listed.iter().chain(&self.dependencies) {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
        all
    }
}

/// The order in which a play takes its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostOrder {
    /// As the inventory has them.
    #[default]
    Inventory,
    ReverseInventory,
    /// By name.
    Sorted,
    ReverseSorted,
    /// As the run's seed has it.
    Shuffle,
}

impl HostOrder {
    /// The hosts, which are in the inventory's order, in this one.
    pub fn of(self, mut hosts: Vec<HostName>) -> Vec<HostName> {
        match self {
            HostOrder::Inventory | HostOrder::Shuffle => {}
            HostOrder::ReverseInventory => hosts.reverse(),
            HostOrder::Sorted => hosts.sort(),
            HostOrder::ReverseSorted => hosts.sort_by(|a, b| b.cmp(a)),
        }
        hosts
    }
}

impl Play {
    /// A play without tasks, and nothing said of how it runs: linear, one batch.
    pub fn new(id: PlayId, name: impl Into<String>, hosts: Vec<HostName>) -> Play {
        Play {
            id,
            playbook: None,
            name: name.into(),
            hosts,
            patterns: Vec::new(),
            order: HostOrder::Inventory,
            empty_reason: None,
            strategy: Strategy::Linear,
            waves: Waves::One,
            gather_facts: None,
            gathering: Gathering::default(),
            gather: None,
            playbook_dir: None,
            vars: IndexMap::new(),
            layers: Vec::new(),
            late_vars_files: Vec::new(),
            environment: None,
            tasks: Vec::new(),
            handlers: Vec::new(),
            roles: Arc::default(),
            any_errors_fatal: false,
            check_mode: None,
            max_fail_percentage: None,
            force_handlers: false,
            last_flushes: LAST_FLUSHES,
            tags: Vec::new(),
        }
    }
}

impl Play {
    /// The hosts in another order if the play wants them shuffled: that of the seed, and of the play.
    pub fn shuffled(&self, mut hosts: Vec<HostName>, seed: u64) -> Vec<HostName> {
        if self.order == HostOrder::Shuffle {
            let seed = scramble(seed ^ scramble(self.id.index() as u64));
            let mut places: Vec<(u64, HostName)> = (0..).map(|place| scramble(seed ^ place)).zip(hosts).collect();
            places.sort();
            hosts = places.into_iter().map(|(_, host)| host).collect();
        }
        hosts
    }
}

/// How hosts go through a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Linear,
    Rolling,
    Free,
    HostPinned,
    /// As free, and tasks that need nothing from the controller in between travel together.
    Batch,
}

/// How a play's hosts are cut into batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waves {
    One,
    /// As the plan lists them.
    Explicit(#[schemars(with = "Vec<Vec<String>>")] Vec<Vec<HostName>>),
    /// Ansible's `serial`: the last size repeats.
    Serial(Vec<SerialSize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SerialSize {
    /// 0 means all that are left.
    Count(u32),
    /// Of the play's hosts, rounded down, at least one.
    Percent(f64),
}

impl Waves {
    /// The batches of `hosts`, in order. Explicit batches keep their order and lose hosts that are not among `hosts`.
    pub fn cut(&self, hosts: &[HostName]) -> Vec<Vec<HostName>> {
        match self {
            Waves::One => vec![hosts.to_vec()],
            Waves::Explicit(batches) => explicit(batches, hosts),
            Waves::Serial(sizes) => serial(sizes, hosts),
        }
    }
}

fn explicit(batches: &[Vec<HostName>], hosts: &[HostName]) -> Vec<Vec<HostName>> {
    let wanted: std::collections::HashSet<_> = hosts.iter().collect();
    let kept = batches.iter().map(|batch| batch.iter().filter(|host| wanted.contains(host)).cloned().collect());
    kept.filter(|batch: &Vec<_>| !batch.is_empty()).collect()
}

fn serial(sizes: &[SerialSize], hosts: &[HostName]) -> Vec<Vec<HostName>> {
    let mut batches = Vec::new();
    let mut left = hosts;
    let last = sizes.last().copied().unwrap_or(SerialSize::Count(0));
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(last));
    while !left.is_empty() {
        let size = match sizes.next().unwrap_or(last) {
            SerialSize::Count(0) => left.len(),
            SerialSize::Count(count) => count as usize,
            SerialSize::Percent(percent) => ((hosts.len() as f64 * percent / 100.0) as usize).max(1),
        };
        let (batch, rest) = left.split_at(size.min(left.len()));
        batches.push(batch.to_vec());
        left = rest;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: usize) -> Vec<HostName> {
        (1..=count).map(|n| format!("h{n}").parse().unwrap()).collect()
    }

    fn sizes(waves: &Waves, count: usize) -> Vec<usize> {
        waves.cut(&hosts(count)).iter().map(Vec::len).collect()
    }

    #[test]
    fn the_last_size_of_a_list_repeats() {
        let waves = Waves::Serial(vec![SerialSize::Count(1), SerialSize::Percent(20.0)]);
        assert_eq!(sizes(&waves, 10), [1, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn a_percentage_is_rounded_down_but_never_to_nobody() {
        assert_eq!(sizes(&Waves::Serial(vec![SerialSize::Percent(30.0)]), 5), [1; 5]);
        assert_eq!(sizes(&Waves::Serial(vec![SerialSize::Percent(1.0)]), 3), [1; 3]);
    }

    #[test]
    fn a_shuffle_has_every_host_once_and_is_the_seeds() {
        let shuffle = Play { order: HostOrder::Shuffle, ..Play::new(PlayId(0), "", Vec::new()) };
        let all = hosts(50);
        let once = shuffle.shuffled(all.clone(), 1);
        assert_ne!(once, all);
        assert_eq!(once, shuffle.shuffled(all.clone(), 1));
        assert_ne!(once, shuffle.shuffled(all.clone(), 2));
        let other_play = Play { id: PlayId(1), ..shuffle };
        assert_ne!(once, other_play.shuffled(all.clone(), 1));
        assert_eq!(once.iter().collect::<std::collections::BTreeSet<_>>(), all.iter().collect());
    }

    #[test]
    fn zero_means_all_that_are_left() {
        assert_eq!(sizes(&Waves::Serial(vec![SerialSize::Count(2), SerialSize::Count(0)]), 7), [2, 5]);
    }

    #[test]
    fn explicit_batches_keep_their_order_and_lose_other_hosts() {
        let all = hosts(4);
        let batches = vec![vec![all[3].clone(), all[0].clone()], vec![all[2].clone()]];
        let cut = Waves::Explicit(batches).cut(&all[..2]);
        assert_eq!(cut, [vec![all[0].clone()]]);
    }

    #[test]
    fn every_host_is_in_exactly_one_batch() {
        for count in 0..40 {
            let waves = Waves::Serial(vec![SerialSize::Count(3), SerialSize::Percent(15.0)]);
            assert_eq!(waves.cut(&hosts(count)).concat(), hosts(count));
        }
    }
}
