//! What the scheduler is given: plays of steps for numbered hosts. Everything here is decided before the run: batches are
//! cut, inheritance of keywords is resolved, tags and `--limit` are applied, names are numbers.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::{BlockId, PlayId, RoleIdentity, TaskId, Within};

/// A host's place in the run's list of host names, which the caller keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostIx(pub u32);

impl HostIx {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Hosts of the run: each [`HostIx`] in it is below this. A batch's host that is not is left out.
    pub hosts: usize,
    /// Run one after another.
    pub plays: Vec<PlayProgram>,
    pub limits: Limits,
}

#[derive(Clone, Debug)]
pub struct PlayProgram {
    pub play: PlayId,
    /// A playbook begins with it: unless [`Limits::continue_on_error`], only if no host has failed before, whichever way.
    pub begins_playbook: bool,
    /// Run one after another. The order of hosts is the order of dispatch. A host named again in the same play is left out there.
    pub batches: Vec<Vec<HostIx>>,
    /// The hosts are looked up when the play begins ([`Command::FindHosts`](super::Command::FindHosts)): `batches` is what
    /// was known of them before the run.
    pub late: bool,
    pub strategy: Strategy,
    /// The play is a rolling one: unless [`Limits::continue_on_error`], a batch with more failed hosts than
    /// `max_fail_percentage` allows (none, if that is not set) is the last of the run. Without `max_fail_percentage` the
    /// batch is still brought to its end: a host half-way through is worse than one more host done.
    pub rolling: bool,
    pub steps: Vec<Step>,
    /// The blocks with a `rescue` or an `always` that steps stand in, and where each of them stands itself.
    pub blocks: BTreeMap<BlockId, Option<Within>>,
    /// The uses of roles that steps are of ([`Step::role`]), and those that led to them.
    pub roles: BTreeMap<u32, RoleUse>,
    /// In order of definition, which is the order they run in.
    pub handlers: Vec<HandlerStep>,
    /// The play, and the run, end when more than this share of the batch's hosts failed, whichever way.
    pub max_fail_percentage: Option<Percent>,
    /// Notified handlers run at the end of the batch also on hosts that failed, and after a failure that ended the play.
    pub force_handlers: bool,
    /// How many flushes there are at the end of the batch.
    pub last_flushes: u32,
}

/// How the hosts of a batch move in relation to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// No host begins a step before every live host has finished the one before it.
    Linear,
    /// Each host goes as fast as it can. Earlier hosts of the batch come first, so few are half-way at any time.
    /// Steps with [`Step::joins_segment`] travel together; a play of such steps is what plans call binary or batch.
    Free,
    /// As free, and a host keeps its slot, one of `forks`, until it has finished the play.
    HostPinned,
}

/// One entry of a play's list of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub task: TaskId,
    pub kind: StepKind,
    /// The hosts that run it; `None` for all. The others pass by without a word.
    pub hosts: Option<HostSet>,
    /// Nothing has to happen on the controller between the step before and this one, so both may travel together.
    /// Has no meaning under [`Strategy::Linear`].
    pub joins_segment: bool,
    /// The innermost block it stands in. The sections of a block stand together and in their order.
    pub within: Option<Within>,
    pub on_failure: OnFailure,
    #[serde(default)]
    pub turns: Turns,
    /// The use of a role that it is of, the innermost. All steps of one use stand together, with those that it includes
    /// among them.
    #[serde(default)]
    pub role: Option<u32>,
    /// How many includes led to it; 0 for what the play has from the start.
    pub depth: u32,
}

/// One use of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleUse {
    pub identity: RoleIdentity,
    /// A host passes its steps by if it has run another use of this identity in the play: came to its end without a failure,
    /// and skipped not all of its steps.
    pub once: bool,
    /// The use that it stands in.
    pub parent: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepKind {
    Task,
    /// The flush between two sections of a play. Never dispatched: the host runs the handlers it has been notified of.
    FlushHandlers,
    /// `meta: flush_handlers`: dispatched like a task, and the host runs its handlers if it answers with
    /// [`Effect::FlushHandlers`](super::Effect::FlushHandlers).
    AskedFlush,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandlerStep {
    pub task: TaskId,
    pub on_failure: OnFailure,
    #[serde(default)]
    pub turns: Turns,
    /// How many includes led to it; 0 for what can be notified.
    #[serde(default)]
    pub depth: u32,
}

/// Steps that join a play while it runs: what a host includes. Two hosts that include the same bring equal splices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Splice {
    /// In order, with neither hosts nor depth. Never empty. A handler's become handlers: they stand behind it, and the host
    /// runs them in the same flush.
    pub steps: Vec<Step>,
    /// Blocks among them, as in [`PlayProgram::blocks`].
    #[serde(with = "pairs")]
    pub blocks: BTreeMap<BlockId, Option<Within>>,
    /// Uses of roles among them, as in [`PlayProgram::roles`].
    #[serde(with = "pairs", default)]
    pub roles: BTreeMap<u32, RoleUse>,
    /// Come after the play's own.
    pub handlers: Vec<HandlerStep>,
    /// A handler that was there before, and the one of `handlers` that takes its place: whoever has been notified of the
    /// first runs the second.
    #[serde(default)]
    pub superseded: Vec<(TaskId, TaskId)>,
}

/// A map as a list of pairs: JSON has texts for keys, and behind a tag they are not read as numbers again.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Vec::<(K, V)>::deserialize(d).map(|pairs| pairs.into_iter().collect())
    }
}

/// How the hosts of a batch take turns at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    pub once: Once,
    /// Most hosts at work at the step at once; `None` for no limit but the run's forks.
    pub throttle: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Once {
    /// Each host for itself.
    #[default]
    No,
    /// `run_once`: the first host runs it, and the others pass by without a word. Its failure is everybody's, as with
    /// `any_errors_fatal`. Has a meaning only under [`Strategy::Linear`], as in Ansible.
    Yes,
    /// Only a host knows: the first one goes alone, and says whether that was for all
    /// ([`Outcome::for_all`](super::Outcome::for_all)) and how many of the others may go at once
    /// ([`Outcome::throttle`](super::Outcome::throttle)).
    Asked,
}

/// What a failure at a step means beyond this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFailure {
    /// A failure that is not ignored is everybody's. Under linear, once the step has finished everywhere, each other host of
    /// the batch fails where it stands: it goes on with a `rescue` or an `always` around, or is lost; with nobody left
    /// the run ends. Under free a failure that nobody rescues ends the play and the run.
    pub any_errors_fatal: bool,
    /// A host that cannot be reached passes by the step and stays in the play.
    pub ignore_unreachable: bool,
}

/// Some of the run's hosts. Asking it takes the same time for any number of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSet {
    words: Vec<u64>,
}

impl HostSet {
    pub fn contains(&self, host: HostIx) -> bool {
        self.words.get(host.index() / 64).is_some_and(|word| word & (1 << (host.index() % 64)) != 0)
    }

    pub fn remove(&mut self, host: HostIx) {
        if let Some(word) = self.words.get_mut(host.index() / 64) {
            *word &= !(1 << (host.index() % 64));
        }
    }

    pub fn insert(&mut self, host: HostIx) {
        let word = host.index() / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (host.index() % 64);
    }
}

impl FromIterator<HostIx> for HostSet {
    fn from_iter<I: IntoIterator<Item = HostIx>>(hosts: I) -> HostSet {
        let mut set = HostSet::default();
        hosts.into_iter().for_each(|host| set.insert(host));
        set
    }
}

/// Bounds of the whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Most hosts with work in flight at any time.
    pub forks: NonZeroUsize,
    /// The first failure that counts cancels the run, work in flight included.
    pub fail_fast: bool,
    /// A batch whose hosts all failed does not end the run, a failed batch does not end a rolling play, and the next playbook
    /// is begun after one that had failures. What a play says itself (`any_errors_fatal`, `max_fail_percentage`) stands.
    pub continue_on_error: bool,
    /// The run ends when more than this share of all its hosts failed, whichever way.
    pub run_budget: Option<Percent>,
    /// Under linear, a host whose work takes longer than this while others wait for it is given up, as by
    /// [`Event::DropHost`](super::Event::DropHost). `None`: waited for as long as its task may take.
    #[serde(default)]
    pub straggler: Option<Duration>,
    pub retry: RetryPolicy,
}

impl Default for Limits {
    /// 50 forks, no budget, everybody goes on after a failure.
    fn default() -> Limits {
        Limits {
            forks: NonZeroUsize::new(50).expect("50 is not 0"),
            fail_fast: false,
            continue_on_error: false,
            run_budget: None,
            straggler: None,
            retry: RetryPolicy::default(),
        }
    }
}

/// When work that did not get through to a host is sent again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries in all, the first one included; 0 means 1.
    pub attempts_max: u32,
    /// Wait after the first try.
    pub initial: Duration,
    /// Each wait is this many times the one before. Below 1, or no number: 1.
    pub multiplier: f64,
    /// No wait is longer.
    pub maximum: Duration,
    /// Share of each wait, 0 to 1, that chance may take off, so that a fleet that went away together does not come back
    /// in step.
    pub jitter: f64,
    /// Where that chance starts: equal seeds, equal waits.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// Three more tries, the first after 5 s, each wait twice the one before, up to half of it left to chance.
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 4,
            initial: Duration::from_secs(5),
            multiplier: 2.0,
            maximum: Duration::from_secs(300),
            jitter: 0.5,
            seed: 0,
        }
    }
}

/// A share in hundredths: finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(f64);

impl Percent {
    pub const NONE: Percent = Percent(0.0);
    pub const ALL: Percent = Percent(100.0);

    /// `None` for a negative number, an infinite one or none at all. Above 100 is allowed and never exceeded.
    pub fn new(percent: f64) -> Option<Percent> {
        (percent.is_finite() && percent >= 0.0).then_some(Percent(percent))
    }

    /// Whether `part` is more than this share of `whole`. Exact for whole percents.
    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as f64 * 100.0 > self.0 * whole as f64
    }
}

impl TryFrom<f64> for Percent {
    type Error = &'static str;

    fn try_from(percent: f64) -> Result<Percent, &'static str> {
        Percent::new(percent).ok_or("a percentage is finite and not negative")
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> f64 {
        percent.0
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}
