//! All variables of a run: what the inventory says, what plays and tasks add, and what hosts have reported.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustle_protocol::value::{Map, Value};

use super::facts::{CleanFacts, Facts};
use super::hostvars::HostVars;
use super::inventory::{HostEntry, InventoryVars};
use super::magic::{Magic, PlayHosts, PlayMagic, RunInfo};
use super::precedence::{Layer, Precedence};
use super::scope::{Scope, Source};
use super::variable::{VarMap, Variable};
use crate::template::Templar;

/// The variables of a run. Cheap to clone; all methods may be called from any thread.
#[derive(Clone)]
pub struct VarStore {
    inner: Arc<StoreInner>,
}

pub(super) struct StoreInner {
    templar: Templar,
    run: Arc<RunInfo>,
    extra: Arc<VarMap>,
    groups: Arc<Value>,
    hosts: HashMap<Arc<str>, HostSlot>,
    order: Vec<Arc<str>>,
}

struct HostSlot {
    entry: Arc<HostEntry>,
    learnt: RwLock<Learnt>,
}

/// What a run has learnt of a host.
#[derive(Clone, Default)]
struct Learnt {
    facts: Facts,
    /// `register` and `set_fact`: the last one of a name wins.
    set: Arc<VarMap>,
    included: Arc<VarMap>,
}

/// A name that is not in the inventory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host `{0}` is not in the inventory")]
pub struct UnknownHost(pub String);

/// What a play adds, the same for all its hosts.
#[derive(Clone, Debug, Default)]
pub struct PlayVars {
    /// `vars`, `vars_prompt`, `vars_files`, in any order.
    pub layers: Vec<Layer>,
    magic: Arc<PlayMagic>,
}

impl PlayVars {
    /// `environment` is the play's, as data.
    pub fn new(name: impl Into<String>, hosts: PlayHosts, layers: Vec<Layer>, environment: Option<Value>) -> PlayVars {
        let magic = PlayMagic { name: name.into(), hosts, environment: environment.map(Arc::new) };
        PlayVars { layers, magic: Arc::new(magic) }
    }

    /// The play with other hosts: a batch began, or a host failed.
    pub fn with_hosts(&self, hosts: PlayHosts) -> PlayVars {
        let magic = PlayMagic { name: self.magic.name.clone(), hosts, environment: self.magic.environment.clone() };
        PlayVars { layers: self.layers.clone(), magic: Arc::new(magic) }
    }
}

/// What a task adds.
#[derive(Clone, Debug, Default)]
pub struct TaskVars {
    /// `vars` of the task, its blocks and its role, in any order.
    pub layers: Vec<Layer>,
    /// `item`, `ansible_loop` and what else a loop sets: above all but magic variables.
    pub locals: Option<Arc<VarMap>>,
}

impl TaskVars {
    pub fn new(vars: Arc<VarMap>) -> TaskVars {
        TaskVars { layers: vec![Layer { precedence: Precedence::TaskVars, vars }], locals: None }
    }

    /// The same task with one value of its loop. Loop items are data by then.
    pub fn with_locals(&self, locals: VarMap) -> TaskVars {
        TaskVars { layers: self.layers.clone(), locals: Some(Arc::new(locals)) }
    }
}

impl VarStore {
    pub fn new(inventory: InventoryVars, extra: VarMap, run: RunInfo, templar: Templar) -> VarStore {
        let groups = inventory.groups.into_iter().map(|(name, hosts)| (name, Value::from(hosts))).collect::<Map>();
        let order: Vec<Arc<str>> = inventory.hosts.iter().map(|host| Arc::from(host.name.as_str())).collect();
        let slot = |entry| HostSlot { entry: Arc::new(entry), learnt: RwLock::default() };
        let hosts = order.iter().cloned().zip(inventory.hosts.into_iter().map(slot)).collect();
        let inner = StoreInner {
            templar,
            run: Arc::new(run),
            extra: Arc::new(extra),
            groups: Arc::new(Value::Map(groups)),
            hosts,
            order,
        };
        VarStore { inner: Arc::new(inner) }
    }

    pub fn templar(&self) -> &Templar {
        &self.inner.templar
    }

    /// Keeps a task's result under the name its `register` gives.
    ///
    /// # Errors
    /// [`UnknownHost`], as for everything here that names a host.
    pub fn register(&self, host: &str, name: &str, result: Value) -> Result<(), UnknownHost> {
        self.set_fact(host, name, result)
    }

    /// Keeps a value a task has set. It is data: rendered before, never again.
    pub fn set_fact(&self, host: &str, name: &str, value: Value) -> Result<(), UnknownHost> {
        self.learn(host, |learnt| {
            Arc::make_mut(&mut learnt.set).insert(name.to_owned(), Variable::data(value));
        })
    }

    /// Keeps variables a file gave through `include_vars`: text an author wrote.
    pub fn include_vars(&self, host: &str, vars: VarMap) -> Result<(), UnknownHost> {
        self.learn(host, |learnt| Arc::make_mut(&mut learnt.included).extend(vars))
    }

    /// Keeps facts a module has returned, but those that would take a reserved name. Gives these names, to warn of.
    pub fn set_facts(&self, host: &str, facts: Map) -> Result<Vec<String>, UnknownHost> {
        let clean = CleanFacts::of(facts);
        self.learn(host, |learnt| learnt.facts.merge(clean.facts))?;
        Ok(clean.refused)
    }

    /// The host's facts, as `ansible_facts` shows them.
    pub fn facts(&self, host: &str) -> Result<Arc<Value>, UnknownHost> {
        Ok(Arc::clone(self.inner.slot(host)?.learnt().facts.all()))
    }

    /// Forgets facts and what was set, as `meta: clear_facts` does for the facts.
    pub fn clear_facts(&self, host: &str) -> Result<(), UnknownHost> {
        self.learn(host, |learnt| learnt.facts = Facts::default())
    }

    /// The variables of a host during a task.
    pub fn scope(&self, host: &str, play: &PlayVars, task: &TaskVars) -> Result<Scope, UnknownHost> {
        let slot = self.inner.slot(host)?;
        let layers = slot.entry.layers.iter().chain(&play.layers).chain(&task.layers);
        let sources = self.inner.sources(slot, layers, task.locals.clone());
        let hostvars = HostVars::new(Arc::clone(&self.inner));
        let magic = self.inner.magic(slot, Some(Arc::clone(&play.magic)), hostvars);
        Ok(Scope::new(self.inner.templar.clone(), Some(magic), sources))
    }

    fn learn(&self, host: &str, change: impl FnOnce(&mut Learnt)) -> Result<(), UnknownHost> {
        let slot = self.inner.slot(host)?;
        change(&mut slot.learnt.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

impl std::fmt::Debug for VarStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VarStore").field("hosts", &self.inner.order.len()).finish_non_exhaustive()
    }
}

impl StoreInner {
    /// The variables of a host as `hostvars` shows them: without any play's.
    pub(super) fn host_scope(&self, host: &str, hostvars: HostVars) -> Option<Scope> {
        let slot = self.slot(host).ok()?;
        let sources = self.sources(slot, slot.entry.layers.iter(), None);
        let magic = self.magic(slot, None, hostvars);
        Some(Scope::new(self.templar.clone(), Some(magic), sources))
    }

    pub(super) fn host_names(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(AsRef::as_ref)
    }

    fn slot(&self, host: &str) -> Result<&HostSlot, UnknownHost> {
        self.hosts.get(host).ok_or_else(|| UnknownHost(host.to_owned()))
    }

    /// Strongest first.
    fn sources<'a>(
        &self,
        slot: &HostSlot,
        layers: impl Iterator<Item = &'a Layer>,
        locals: Option<Arc<VarMap>>,
    ) -> Vec<Source> {
        let learnt = slot.learnt();
        let given = layers.map(|layer| (layer.precedence, Source::Vars(Arc::clone(&layer.vars))));
        let mut all: Vec<(Precedence, Source)> = given.collect();
        all.push((Precedence::Facts, Source::Facts(learnt.facts)));
        all.push((Precedence::IncludeVars, Source::Vars(learnt.included)));
        all.push((Precedence::SetFacts, Source::Vars(learnt.set)));
        all.push((Precedence::ExtraVars, Source::Vars(Arc::clone(&self.extra))));
        // Stable, then turned round: of two at one place the later one comes first.
        all.sort_by_key(|(precedence, _)| *precedence);
        let locals = locals.map(Source::Vars);
        locals.into_iter().chain(all.into_iter().rev().map(|(_, source)| source)).collect()
    }

    fn magic(&self, slot: &HostSlot, play: Option<Arc<PlayMagic>>, hostvars: HostVars) -> Magic {
        Magic {
            host: Arc::clone(&slot.entry),
            groups: Arc::clone(&self.groups),
            run: Arc::clone(&self.run),
            play,
            hostvars,
        }
    }
}

impl HostSlot {
    fn learnt(&self) -> Learnt {
        self.learnt.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
