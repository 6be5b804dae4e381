//! All variables of a run: what the inventory says, what plays and tasks add, and what hosts have reported.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustle_protocol::value::{Map, Value};

use super::facts::{CleanFacts, Facts};
use super::hostvars::HostVars;
use super::inventory::{Fixed, HostEntry, InventoryChange, InventoryVars, LiveInventory, Selection};
use super::lesson::{Learnt, Lesson};
use super::magic::{Magic, PlayHosts, PlayMagic, RunInfo, TaskMagic};
use super::precedence::{Layer, Precedence};
use super::scope::{Scope, Source};
use super::variable::{VarMap, Variable};
use crate::template::{Authored, Templar};

/// The variables of a run. Cheap to clone; all methods may be called from any thread.
#[derive(Clone)]
pub struct VarStore {
    inner: Arc<StoreInner>,
}

pub(super) struct StoreInner {
    templar: Templar,
    run: Arc<RunInfo>,
    extra: Arc<VarMap>,
    roll: Mutex<Roll>,
}

/// The hosts there are, as far as they have been asked for.
struct Roll {
    inventory: Box<dyn LiveInventory>,
    /// How often the inventory has changed.
    version: u64,
    /// Each with the version it is of.
    slots: HashMap<Arc<str>, (u64, HostSlot)>,
    /// Hosts of no inventory that tasks were delegated to.
    outsiders: HashMap<Arc<str>, HostSlot>,
    /// `groups`, unless the inventory has changed since.
    groups: Option<Arc<Value>>,
    /// The folder of the play's playbook, if it is not the run's.
    playbook_dir: Option<Arc<Path>>,
}

/// One host. Cheap to clone.
#[derive(Clone)]
struct HostSlot {
    entry: Arc<HostEntry>,
    known: Arc<RwLock<Known>>,
}

impl Roll {
    /// The host as the inventory has it now, and what is known of it. One that has left the inventory while it is in a play
    /// goes on as it was.
    fn slot(&mut self, host: &str) -> Result<HostSlot, UnknownHost> {
        if let Some((version, slot)) = self.slots.get(host)
            && *version == self.version
        {
            return Ok(slot.clone());
        }
        let Some(entry) = self.inventory.host(host) else {
            let gone = self.slots.get(host).map(|(_, slot)| slot.clone());
            return gone.ok_or_else(|| UnknownHost(host.to_owned()));
        };
        let before = self.slots.get(host).map(|(_, slot)| slot).or_else(|| self.outsiders.get(host));
        let known = before.map(|slot| Arc::clone(&slot.known)).unwrap_or_default();
        let slot = HostSlot { entry: Arc::new(entry), known };
        self.slots.insert(host.into(), (self.version, slot.clone()));
        Ok(slot)
    }

    /// As [`slot`](Self::slot), also for a host of no inventory.
    fn anybody(&mut self, host: &str) -> HostSlot {
        self.slot(host).unwrap_or_else(|_| {
            if let Some(slot) = self.outsiders.get(host) {
                return slot.clone();
            }
            let slot = HostSlot { entry: Arc::new(self.inventory.outsider(host)), known: Arc::default() };
            self.outsiders.insert(host.into(), slot.clone());
            slot
        })
    }

    /// Gives what the operator should know of it, also that it could not be done.
    fn change(&mut self, change: &InventoryChange) -> Vec<String> {
        self.version += 1;
        self.groups = None;
        self.inventory.change(change).unwrap_or_else(|why| vec![why])
    }

    /// As [`change`](Self::change).
    fn enter_play(&mut self, playbook_dir: Option<&Path>) -> Vec<String> {
        if self.playbook_dir.as_deref() == playbook_dir {
            return Vec::new();
        }
        self.version += 1;
        self.playbook_dir = playbook_dir.map(Into::into);
        let warnings = self.inventory.beside_playbook(playbook_dir).unwrap_or_else(|why| vec![why]);
        for (name, slot) in &mut self.outsiders {
            slot.entry = Arc::new(self.inventory.outsider(name));
        }
        warnings
    }

    fn groups(&mut self) -> Arc<Value> {
        let inventory = &self.inventory;
        let made = || {
            let groups = inventory.groups().into_iter().map(|(name, hosts)| (name, Value::from(hosts)));
            Arc::new(Value::Map(groups.collect::<Map>()))
        };
        Arc::clone(self.groups.get_or_insert_with(made))
    }
}

/// Variables as an author wrote them.
fn authored(vars: &[(String, Authored)]) -> impl Iterator<Item = (String, Variable)> {
    vars.iter().map(|(name, value)| (name.clone(), Variable::Authored(Arc::new(value.clone()))))
}

/// What a run has learnt of a host.
#[derive(Clone, Default)]
struct Known {
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
        let environment = environment.map(Arc::new);
        let magic = PlayMagic { name: name.into(), hosts, environment };
        PlayVars { layers, magic: Arc::new(magic) }
    }

    /// The hosts of the batch that runs, without those that were lost.
    pub fn batch(&self) -> impl Iterator<Item = &str> {
        let hosts = match &*self.magic.hosts.batch {
            Value::List(hosts) => hosts.as_slice(),
            _ => &[],
        };
        hosts.iter().filter_map(Value::as_str)
    }

    /// The play with other hosts: a batch began, or a host failed.
    pub fn with_hosts(&self, hosts: PlayHosts) -> PlayVars {
        let magic = PlayMagic { hosts, ..PlayMagic::clone(&self.magic) };
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
    /// Where the task stands.
    pub magic: Option<TaskMagic>,
}

impl TaskVars {
    pub fn new(vars: Arc<VarMap>) -> TaskVars {
        TaskVars { layers: vec![Layer { precedence: Precedence::TaskVars, vars }], ..TaskVars::default() }
    }

    /// The same task with one value of its loop. Loop items are data by then.
    pub fn with_locals(&self, locals: VarMap) -> TaskVars {
        TaskVars { locals: Some(Arc::new(locals)), ..self.clone() }
    }
}

impl VarStore {
    /// Of an inventory that stays as it is.
    pub fn new(inventory: InventoryVars, extra: VarMap, run: RunInfo, templar: Templar) -> VarStore {
        VarStore::of(Box::new(Fixed::new(inventory)), extra, run, templar)
    }

    /// Of an inventory that tasks change.
    pub fn of(inventory: Box<dyn LiveInventory>, extra: VarMap, run: RunInfo, templar: Templar) -> VarStore {
        let (slots, outsiders) = Default::default();
        let roll = Mutex::new(Roll { inventory, version: 0, slots, outsiders, groups: None, playbook_dir: None });
        VarStore { inner: Arc::new(StoreInner { templar, run: Arc::new(run), extra: Arc::new(extra), roll }) }
    }

    pub fn templar(&self) -> &Templar {
        &self.inner.templar
    }

    /// Takes in what a task has taught: the one way for what hosts report. Gives what the operator should know of it.
    pub fn learn(&self, lesson: &Lesson) -> Vec<String> {
        for other in &lesson.others {
            self.learn_of(other, &lesson.what);
        }
        self.learn_of(&lesson.host, &lesson.what)
    }

    fn learn_of(&self, host: &str, what: &Learnt) -> Vec<String> {
        let slot = || self.inner.roll().anybody(host);
        match what {
            Learnt::Set(values) => slot().learn(|known| {
                let data = |(name, value): (&String, &Value)| (name.clone(), Variable::data(value.clone()));
                Arc::make_mut(&mut known.set).extend(values.iter().map(data));
            }),
            Learnt::Kept(vars) => slot().learn(|known| Arc::make_mut(&mut known.set).extend(authored(vars))),
            Learnt::Facts(facts) => {
                let refused = slot().merge_facts(facts.clone());
                return refused
                    .iter()
                    .map(|name| format!("fact `{name}` has a reserved name and is ignored"))
                    .collect();
            }
            Learnt::Included(vars) => slot().learn(|known| Arc::make_mut(&mut known.included).extend(authored(vars))),
            Learnt::FactsCleared => slot().learn(|known| known.facts = Facts::default()),
            Learnt::Inventory(change) => return self.inner.roll().change(change),
        }
        Vec::new()
    }

    /// A play begins whose playbook is in this folder; `None`: in the run's own. Gives what the operator should know of the
    /// variables that stand there.
    pub fn enter_play(&self, playbook_dir: Option<&Path>) -> Vec<String> {
        self.inner.roll().enter_play(playbook_dir)
    }

    /// Whether the change would change anything in the inventory.
    ///
    /// # Errors
    /// Why it is not to be had, as a sentence.
    pub fn would_change(&self, change: &InventoryChange) -> Result<bool, String> {
        self.inner.roll().inventory.would_change(change)
    }

    /// Whom a play's pattern means as things stand.
    pub fn select(&self, pattern: &str) -> Selection {
        self.inner.roll().inventory.select(pattern)
    }

    /// Keeps a value a task has set. It is data: rendered before, never again.
    ///
    /// # Errors
    /// [`UnknownHost`].
    pub fn set_fact(&self, host: &str, name: &str, value: Value) -> Result<(), UnknownHost> {
        self.know(host, |known| {
            Arc::make_mut(&mut known.set).insert(name.to_owned(), Variable::data(value));
        })
    }

    /// Keeps facts a module has returned, but those that would take a reserved name. Gives these names, to warn of.
    pub fn set_facts(&self, host: &str, facts: Map) -> Result<Vec<String>, UnknownHost> {
        Ok(self.inner.slot(host)?.merge_facts(facts))
    }

    /// The host's facts, as `ansible_facts` shows them.
    pub fn facts(&self, host: &str) -> Result<Arc<Value>, UnknownHost> {
        Ok(Arc::clone(self.inner.slot(host)?.known().facts.all()))
    }

    /// The host's facts under the names that modules returned them with: [`set_facts`](Self::set_facts) takes them back.
    pub fn returned_facts(&self, host: &str) -> Result<Map, UnknownHost> {
        Ok(self.inner.slot(host)?.known().facts.returned())
    }

    /// Forgets facts and what was set, as `meta: clear_facts` does for the facts.
    pub fn clear_facts(&self, host: &str) -> Result<(), UnknownHost> {
        self.know(host, |known| known.facts = Facts::default())
    }

    /// The variables of a host during a task.
    pub fn scope(&self, host: &str, play: &PlayVars, task: &TaskVars) -> Result<Scope, UnknownHost> {
        let slot = self.inner.slot(host)?;
        let layers = slot.entry.layers.iter().chain(&play.layers).chain(&task.layers);
        let sources = self.inner.sources(&slot, layers, task.locals.clone());
        let hostvars = HostVars::new(Arc::clone(&self.inner));
        let magic = self.inner.magic(&slot, Some(Arc::clone(&play.magic)), task.magic.clone(), hostvars);
        Ok(Scope::new(self.inner.templar.clone(), Some(Arc::new(magic)), sources))
    }

    /// The variables of a host that a task is delegated to, as `hostvars` shows them; of a host of no inventory, those that
    /// all hosts have.
    pub fn delegate_scope(&self, host: &str) -> Scope {
        let slot = self.inner.roll().anybody(host);
        let sources = self.inner.sources(&slot, slot.entry.layers.iter(), None);
        let magic = self.inner.magic(&slot, None, None, HostVars::new(Arc::clone(&self.inner)));
        Scope::new(self.inner.templar.clone(), Some(Arc::new(magic)), sources)
    }

    fn know(&self, host: &str, change: impl FnOnce(&mut Known)) -> Result<(), UnknownHost> {
        self.inner.slot(host)?.learn(change);
        Ok(())
    }
}

impl std::fmt::Debug for VarStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VarStore").finish_non_exhaustive()
    }
}

impl StoreInner {
    /// The variables of a host as `hostvars` shows them: without any play's.
    pub(super) fn host_scope(self: &Arc<Self>, host: &str, hostvars: HostVars) -> Option<Scope> {
        let slot = self.slot(host).ok()?;
        let sources = self.sources(&slot, slot.entry.layers.iter(), None);
        let magic = self.magic(&slot, None, None, hostvars);
        Some(Scope::new(self.templar.clone(), Some(Arc::new(magic)), sources))
    }

    pub(super) fn host_names(&self) -> Vec<String> {
        self.roll().inventory.hosts()
    }

    pub(super) fn playbook_dir(&self) -> Arc<str> {
        match &self.roll().playbook_dir {
            Some(folder) => folder.to_string_lossy().into(),
            None => self.run.playbook_dir.as_str().into(),
        }
    }

    /// `groups`
    pub(super) fn groups(&self) -> Arc<Value> {
        self.roll().groups()
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, host: &str) -> Result<HostSlot, UnknownHost> {
        self.roll().slot(host)
    }

    /// Strongest first.
    fn sources<'a>(
        &self,
        slot: &HostSlot,
        layers: impl Iterator<Item = &'a Layer>,
        locals: Option<Arc<VarMap>>,
    ) -> Vec<Source> {
        let known = slot.known();
        let given = layers.map(|layer| (layer.precedence, Source::Vars(Arc::clone(&layer.vars))));
        let mut all: Vec<(Precedence, Source)> = given.collect();
        all.push((Precedence::Facts, Source::Facts { facts: known.facts, injected: !self.run.keeps_facts_apart }));
        all.push((Precedence::IncludeVars, Source::Vars(known.included)));
        all.push((Precedence::SetFacts, Source::Vars(known.set)));
        all.push((Precedence::ExtraVars, Source::Vars(Arc::clone(&self.extra))));
        // Stable, then turned round: of two at one place the later one comes first.
        all.sort_by_key(|(precedence, _)| *precedence);
        let locals = locals.map(Source::Locals);
        locals.into_iter().chain(all.into_iter().rev().map(|(_, source)| source)).collect()
    }

    fn magic(
        self: &Arc<Self>,
        slot: &HostSlot,
        play: Option<Arc<PlayMagic>>,
        task: Option<TaskMagic>,
        hostvars: HostVars,
    ) -> Magic {
        let (host, store, run) = (Arc::clone(&slot.entry), Arc::clone(self), Arc::clone(&self.run));
        Magic { host, store, run, play, task, hostvars }
    }
}

impl HostSlot {
    fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Gives the names that are reserved.
    fn merge_facts(&self, facts: Map) -> Vec<String> {
        let clean = CleanFacts::of(facts);
        self.learn(|known| known.facts.merge(clean.facts));
        clean.refused
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::TemplateError;
    use crate::vars::{authored_map, data_map};
    use serde_json::{Value as Json, json};

    fn map(json: Json) -> Map {
        let Value::Map(map) = Value::from(json) else { panic!("a map is needed") };
        map
    }

    fn layer(precedence: Precedence, vars: Json) -> Layer {
        Layer::new(precedence, authored_map(map(vars)))
    }

    fn store_of(hosts: Vec<HostEntry>, extra: Json) -> VarStore {
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        let groups = [("all".to_owned(), names.clone()), ("web".to_owned(), names)].into_iter().collect();
        let run = RunInfo { check_mode: true, playbook_dir: "/plays".to_owned(), ..RunInfo::default() };
        VarStore::new(InventoryVars { hosts, groups }, authored_map(map(extra)), run, Templar::new())
    }

    fn host(name: &str, layers: Vec<Layer>) -> HostEntry {
        let groups = vec![Arc::from("web"), Arc::from("all"), Arc::from("db")];
        HostEntry { name: name.to_owned(), groups, layers, source: Some(Arc::from("/inv/hosts.ini")) }
    }

    fn render(scope: &Scope, template: &str) -> Result<Json, TemplateError> {
        let value = scope.templar().render(&Authored::from_value(Value::from(template)), scope)?;
        Ok(serde_json::to_value(value).unwrap())
    }

    fn value(scope: &Scope, template: &str) -> Json {
        render(scope, template).unwrap()
    }

    /// As ansible-core 2.19 answers with `ANSIBLE_HASH_BEHAVIOUR=merge`.
    #[test]
    fn dicts_of_one_name_are_merged_if_that_is_asked_for() {
        let of_all = json!({
            "d": {"a": "all", "b": "all", "n": {"x": "all", "y": "all"}, "l": [1]}, "s": {"a": 1}, "z": "text", "who": "me",
            "t": {"a": "all", "u": "{{ nobody_has_it }}"},
        });
        let of_host = json!({
            "d": {"b": "host", "n": {"y": "host", "z": "{{ who }}"}, "l": [2]}, "s": "text", "z": {"a": 1}, "t": "{{ s }}",
        });
        let layers = vec![layer(Precedence::InventoryGroup, of_all), layer(Precedence::InventoryHost, of_host)];
        let run = RunInfo { merges_dicts: true, ..RunInfo::default() };
        let hosts = InventoryVars { hosts: vec![host("h", layers)], groups: Default::default() };
        let extra = authored_map(map(json!({"d": {"extra": 1}})));
        let store = VarStore::new(hosts, extra, run, Templar::new());
        store.set_fact("h", "d", Value::from(json!({"set": "{{ who }}"}))).unwrap();
        let layers = vec![layer(Precedence::PlayVars, json!({"d": {"n": {"x": "play"}}}))];
        let play = PlayVars::new("p", PlayHosts::default(), layers, None);
        let scope = store.scope("h", &play, &TaskVars::default()).unwrap();
        let merged = json!({
            "a": "all", "b": "host", "n": {"x": "play", "y": "host", "z": "me"}, "l": [2], "set": "{{ who }}", "extra": 1,
        });
        assert_eq!(value(&scope, "{{ d }}"), merged, "data stays data");
        assert_eq!(value(&scope, "{{ [s, z, t] }}"), json!(["text", {"a": 1}, "text"]));
        assert_eq!(value(&scope, "{{ hostvars.h.d.n.x }}"), "all");
        let item = TaskVars::default().with_locals(data_map(map(json!({"d": {"q": 1}}))));
        let scope = store.scope("h", &play, &item).unwrap();
        assert_eq!(value(&scope, "{{ d }}"), json!({"q": 1}), "a loop's item stands for itself");
    }

    #[test]
    fn the_stronger_layer_wins_in_ansibles_order() {
        let entry = host(
            "h",
            vec![
                layer(Precedence::InventoryHost, json!({"v": "host", "w": "host"})),
                layer(Precedence::InventoryGroup, json!({"v": "all", "g": "all"})),
                layer(Precedence::InventoryGroup, json!({"v": "child", "g": "child"})),
                layer(Precedence::InventoryHostVars, json!({"v": "host_vars"})),
            ],
        );
        let store = store_of(vec![entry], json!({"top": "extra"}));
        let play = |precedences: &[Precedence]| {
            let layers = precedences.iter().map(|p| layer(*p, json!({"v": format!("{p:?}"), "top": "play"}))).collect();
            PlayVars::new("p", PlayHosts::default(), layers, None)
        };
        let seen = |play: &PlayVars, task: &TaskVars, template| value(&store.scope("h", play, task).unwrap(), template);
        let none = TaskVars::default();
        assert_eq!(seen(&play(&[]), &none, "{{ v }} {{ w }} {{ g }}"), "host_vars host child");
        store.set_facts("h", map(json!({"v": "fact"}))).unwrap();
        assert_eq!(seen(&play(&[]), &none, "{{ v }}"), "fact");
        assert_eq!(seen(&play(&[Precedence::PlayVars]), &none, "{{ v }}"), "PlayVars");
        assert_eq!(seen(&play(&[Precedence::PlayVarsFiles, Precedence::PlayVars]), &none, "{{ v }}"), "PlayVarsFiles");
        let task = TaskVars::new(Arc::new(authored_map(map(json!({"v": "task"})))));
        assert_eq!(seen(&play(&[Precedence::PlayVarsFiles]), &task, "{{ v }}"), "task");
        let included = vec![("v".to_owned(), Authored::literal("include"))];
        store.learn(&Lesson { host: "h".to_owned(), what: Learnt::Included(included), others: Vec::new() });
        assert_eq!(seen(&play(&[]), &task, "{{ v }}"), "include");
        store.set_fact("h", "v", Value::from("registered")).unwrap();
        assert_eq!(seen(&play(&[]), &task, "{{ v }} {{ top }}"), "registered extra");
        let looped = task.with_locals(data_map(map(json!({"top": "item"}))));
        assert_eq!(seen(&play(&[]), &looped, "{{ top }}"), "item");
    }

    #[test]
    fn the_order_of_places_is_ansibles() {
        use Precedence::*;
        let order = [
            CommandLine,
            RoleDefaults,
            InventoryGroup,
            InventoryGroupVarsAll,
            PlaybookGroupVarsAll,
            InventoryGroupVars,
            PlaybookGroupVars,
            InventoryHost,
            InventoryHostVars,
            PlaybookHostVars,
            Facts,
            PlayVars,
            PlayVarsPrompt,
            PlayVarsFiles,
            RoleVars,
            BlockVars,
            TaskVars,
            IncludeVars,
            SetFacts,
            RoleParams,
            IncludeParams,
            ExtraVars,
        ];
        assert_eq!(order.len(), 22);
        assert!(order.is_sorted());
    }

    #[test]
    fn magic_variables_tell_of_host_play_and_run_and_cannot_be_overridden() {
        let override_all = layer(
            Precedence::InventoryHost,
            json!({"inventory_hostname": "x", "groups": 1, "ansible_check_mode": false}),
        );
        let store =
            store_of(vec![host("web1.example.org", vec![override_all]), host("web2", vec![])], json!({"hostvars": 1}));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let hosts = PlayHosts::new(names(&["web1.example.org", "web2"]), names(&["web2"]), names(&["web2"]));
        let play = PlayVars::new("the play", hosts, vec![], Some(Value::from(json!([{"PATH": "/x"}]))));
        let scope = store.scope("web1.example.org", &play, &TaskVars::default()).unwrap();
        for (template, expected) in [
            ("{{ inventory_hostname }}", json!("web1.example.org")),
            ("{{ inventory_hostname_short }}", json!("web1")),
            ("{{ group_names }}", json!(["db", "web"])),
            ("{{ groups.web }}", json!(["web1.example.org", "web2"])),
            ("{{ groups['all'] | length }}", json!(2)),
            ("{{ ansible_play_hosts_all }}", json!(["web1.example.org", "web2"])),
            ("{{ ansible_play_hosts }} {{ play_hosts }} {{ ansible_play_batch }}", json!("['web2'] ['web2'] ['web2']")),
            ("{{ ansible_check_mode }}", json!(true)),
            ("{{ ansible_diff_mode }}", json!(false)),
            ("{{ playbook_dir }} {{ inventory_dir }} {{ inventory_file }}", json!("/plays /inv /inv/hosts.ini")),
            ("{{ ansible_play_name }}", json!("the play")),
            ("{{ environment[0].PATH }}", json!("/x")),
            ("{{ ansible_version.full is version('2.19', '>=') }}", json!(true)),
            ("{{ hostvars | length }}", json!(2)),
            ("{{ ansible_limit is defined }}", json!(false)),
        ] {
            assert_eq!(value(&scope, template), expected, "{template}");
        }
    }

    #[test]
    fn facts_are_seen_under_both_names_and_may_not_take_reserved_ones() {
        let store = store_of(
            vec![host("h", vec![layer(Precedence::InventoryHost, json!({"ansible_connection": "agent"}))])],
            json!({}),
        );
        let facts = json!({"ansible_distribution": "Debian", "packages": {"x": 1}, "ansible_connection": "local", "inventory_hostname": "z", "ansible_become": true, "connection": "local"});
        let refused = store.set_facts("h", map(facts)).unwrap();
        assert_eq!(refused, ["ansible_connection", "inventory_hostname", "ansible_become", "connection"]);
        let scope = store.scope("h", &PlayVars::default(), &TaskVars::default()).unwrap();
        let template = "{{ ansible_distribution }} {{ ansible_facts.distribution }} {{ ansible_facts['packages'].x }} {{ packages.x }} {{ ansible_connection }} {{ inventory_hostname }} {{ ansible_become is defined }} {{ ansible_facts.connection is defined }}";
        assert_eq!(value(&scope, template), "Debian Debian 1 1 agent h False False");
        store.set_facts("h", map(json!({"ansible_distribution": "Ubuntu"}))).unwrap();
        assert_eq!(value(&scope, "{{ ansible_distribution }}"), "Debian", "a scope does not change under its task");
        let scope = store.scope("h", &PlayVars::default(), &TaskVars::default()).unwrap();
        assert_eq!(value(&scope, "{{ ansible_distribution }} {{ packages.x }}"), "Ubuntu 1");
        store.clear_facts("h").unwrap();
        let scope = store.scope("h", &PlayVars::default(), &TaskVars::default()).unwrap();
        assert_eq!(value(&scope, "{{ ansible_facts }}"), json!({}));
    }

    #[test]
    fn hostvars_renders_each_host_in_its_own_variables_and_without_the_plays() {
        let own = |n: i64| {
            vec![layer(Precedence::InventoryHost, json!({"n": n, "text": "{{ inventory_hostname }}-{{ n }}"}))]
        };
        let store = store_of(vec![host("a", own(1)), host("b", own(2))], json!({"extra": "e"}));
        let play =
            PlayVars::new("p", PlayHosts::default(), vec![layer(Precedence::PlayVars, json!({"n": 9, "p": 1}))], None);
        let scope = store.scope("a", &play, &TaskVars::default()).unwrap();
        assert_eq!(
            value(&scope, "{{ text }} {{ hostvars['b'].text }} {{ hostvars.a.text }} {{ hostvars.b.extra }}"),
            "a-9 b-2 a-1 e"
        );
        assert_eq!(
            value(&scope, "{{ hostvars.b.p is defined }} {{ hostvars.zz is defined }} {{ 'b' in hostvars }}"),
            "False False True"
        );
        assert_eq!(value(&scope, "{{ groups.web | map('extract', hostvars, 'n') | list }}"), json!([1, 2]));
        assert_eq!(value(&scope, "{% for h in hostvars %}{{ h }}{% endfor %}"), "ab");
        assert_eq!(render(&scope, "{{ hostvars.zz.n }}").unwrap_err().to_string(), "hostvars['zz']");
    }

    #[test]
    fn a_loop_through_other_hosts_ends_with_its_chain() {
        let other = |name: &str| {
            vec![layer(Precedence::InventoryHost, json!({"x": format!("{{{{ hostvars['{name}'].x }}}}")}))]
        };
        let store = store_of(vec![host("a", other("b")), host("b", other("a"))], json!({}));
        let scope = store.scope("a", &PlayVars::default(), &TaskVars::default()).unwrap();
        let error = render(&scope, "{{ x }}").unwrap_err();
        assert!(matches!(error, TemplateError::Recursive { .. }), "{error}");
    }

    #[test]
    fn a_task_may_override_a_variable_by_its_own_value_of_hostvars() {
        let store = store_of(vec![host("a", vec![layer(Precedence::InventoryHost, json!({"x": "host"}))])], json!({}));
        let task = TaskVars::new(Arc::new(authored_map(map(json!({"x": "{{ hostvars[inventory_hostname].x }}!"})))));
        assert_eq!(value(&store.scope("a", &PlayVars::default(), &task).unwrap(), "{{ x }}"), "host!");
    }

    #[test]
    fn variables_nest_to_the_limit_on_a_threads_usual_stack() {
        let depth = 60;
        let vars = (0..depth)
            .map(|n| (format!("v{n}"), Value::from(format!("{{{{ v{} }}}}", n + 1))))
            .chain([(format!("v{depth}"), Value::Int(7))]);
        let endless = (0..200).map(|n| (format!("e{n}"), Value::from(format!("{{{{ e{} }}}}", n + 1))));
        let store = store_of(
            vec![host("h", vec![Layer::new(Precedence::InventoryHost, authored_map(vars.chain(endless).collect()))])],
            json!({}),
        );
        let run = move || {
            let scope = store.scope("h", &PlayVars::default(), &TaskVars::default()).unwrap();
            assert_eq!(value(&scope, "{{ v0 }}"), 7);
            assert!(matches!(render(&scope, "{{ e0 }}").unwrap_err(), TemplateError::Recursive { .. }));
        };
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn a_lookup_in_a_variable_runs_once_per_scope() {
        let directory = tempfile::tempdir().unwrap();
        let count = directory.path().join("count");
        let command = format!("{{{{ lookup('pipe', 'echo x >> {}; echo done') }}}}", count.display());
        let store = store_of(
            vec![host(
                "h",
                vec![layer(
                    Precedence::InventoryHost,
                    json!({"once": command, "unused": "{{ lookup('pipe', 'false') }}"}),
                )],
            )],
            json!({}),
        );
        let scope = store.scope("h", &PlayVars::default(), &TaskVars::default()).unwrap();
        assert_eq!(value(&scope, "{{ once }} {{ once }}"), "done done");
        assert_eq!(value(&scope, "{{ once }}"), "done");
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    }

    #[test]
    fn a_host_outside_the_inventory_is_refused() {
        let store = store_of(vec![], json!({}));
        assert_eq!(store.set_fact("ghost", "x", Value::Null), Err(UnknownHost("ghost".to_owned())));
        assert!(store.scope("ghost", &PlayVars::default(), &TaskVars::default()).is_err());
    }
}
