//! A play of the tree, as the plan has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustle_agent::module::short_name;
use rustle_protocol::value::Map;
use rustle_protocol::{HostName, Value};

use super::around::{Around, Known, absolute};
use super::collections::Collections;
use super::document::Document;
use super::error::PlaybookError;
use super::includes::Contexts;
use super::keywords::{Keywords, Written, as_bool, as_number, var_map};
use super::library::Library;
use super::lower::names;
use super::play_node::PlayNode;
use super::prompt;
use super::unfold::{Made, Unfold};
use crate::input::inventory::{Inventory, PatternError, UnknownNames, select_known};
use crate::input::source::shown;
use crate::plan::{
    GATHER_FACTS, Gathering, HostOrder, Keyword, LateVarsFile, Play, PlayId, PlayRoles, SerialError, SerialSize,
    Strategy, Task, TaskId, Waves,
};
use crate::template::{Authored, needs_rendering, python_repr};
use crate::vars::{Layer, Precedence, VarMap};

/// Whether hosts or groups may be new after this task: what it includes is not known yet.
fn may_change_the_inventory(task: &Task) -> bool {
    task.include.is_some()
        || needs_rendering(&task.module)
        || matches!(short_name(&task.module), "add_host" | "group_by" | "meta")
}

/// Ansible's words for a play of strategy `free` or `host_pinned` with a task that says `run_once`.
const RUN_ONCE_FREE: &str = "Using run_once with the free strategy is not currently supported. This task will still be executed \
                             for every host in the inventory list.";

/// What all plays of a playbook have in common.
pub(super) struct PlayMaker<'a> {
    pub(super) library: &'a Library,
    pub(super) inventory: &'a Inventory,
    /// The folder of the playbook that is being read.
    pub(super) playbook_dir: &'a Path,
    pub(super) magic: Arc<VarMap>,
    pub(super) contexts: &'a Contexts,
    /// What a play that says nothing of facts does.
    pub(super) gather_facts: Option<bool>,
    pub(super) force_handlers: bool,
    /// The strategy of a play that says none.
    pub(super) strategy: Option<&'a str>,
    pub(super) prompts: prompt::Prompts<'a>,
}

impl PlayMaker<'_> {
    /// Adds the play's tasks to `made`. `outer` and `vars` come from the imports that led here.
    ///
    /// # Errors
    /// What cannot be understood before any host is contacted.
    pub(super) fn play(
        &self,
        node: &PlayNode,
        document: &Arc<Document>,
        id: PlayId,
        outer: &Outer,
        made: &mut Made,
    ) -> Result<Play, PlaybookError> {
        let keywords = outer.keywords.around(&node.keywords);
        let around = Around::play(Arc::clone(document), keywords, self.playbook_dir, &outer.collections);
        let mut known = Known {
            templar: self.library.around.templar.clone(),
            extra: Arc::clone(&self.library.around.extra),
            layers: Vec::new(),
            magic: Arc::clone(&self.magic),
            modules: Arc::clone(&self.library.around.modules),
        };
        let mut vars = node.vars.clone();
        vars.extend(outer.vars.clone());
        known.layers.push(Layer::new(Precedence::PlayVars, var_map(vars.clone())));
        let prompts = prompt::layer(&node.vars_prompt, &known, self.prompts);
        known.layers.extend(prompts.map_err(|what| PlaybookError::whole(Path::new(&*document.source), what))?);
        let (vars_files, late_vars_files) = self.vars_files(node, &known, &around)?;
        known.layers.extend(vars_files);

        let before = made.tasks.len();
        let mut unfold = Unfold {
            library: self.library,
            known: known.clone(),
            playbook_dir: self.playbook_dir,
            made,
            blank: Task::new(TaskId(0), id, ""),
            exposed: Vec::new(),
            roles: PlayRoles::default(),
            handlers: Vec::new(),
            contexts: self.contexts,
        };
        let (tasks, handlers) = self.sections(node, &around, &mut unfold)?;
        let Unfold { exposed, roles, made, .. } = unfold;
        // What the play's roles say counts for the play itself.
        let own_layers = known.layers.split_off(1);
        let layers: Vec<Layer> = exposed.into_iter().chain(own_layers).collect();
        known.layers.extend(layers.iter().cloned());
        let play = self.options(node, &known, &around, id, &made.tasks[..before])?;
        let is_once = |id: &TaskId| made.tasks[id.index()].run_once != Keyword::Is(false);
        if matches!(play.strategy, Strategy::Free | Strategy::HostPinned) && tasks.iter().any(is_once) {
            self.library.warn(RUN_ONCE_FREE.to_owned());
        }
        let last_flushes = if node.post_tasks.is_empty() { play.last_flushes } else { 1 };
        Ok(Play { last_flushes, tasks, handlers, vars, late_vars_files, layers, roles: Arc::new(roles), ..play })
    }

    /// The tasks of the play, and its handlers.
    fn sections(
        &self,
        node: &PlayNode,
        around: &Around,
        unfold: &mut Unfold<'_>,
    ) -> Result<(Vec<TaskId>, Vec<TaskId>), PlaybookError> {
        let mut order = Vec::new();
        unfold.entries(&node.pre_tasks, around, &mut order)?;
        if !node.pre_tasks.is_empty() {
            unfold.flush(around, &mut order)?;
        }
        for role in &node.roles {
            unfold.named_role(role, around, false, &mut order)?;
        }
        unfold.entries(&node.tasks, around, &mut order)?;
        if !node.post_tasks.is_empty() {
            unfold.flush(around, &mut order)?;
            unfold.entries(&node.post_tasks, around, &mut order)?;
        }
        let mut of_play = Vec::new();
        let mut handlers = around.clone();
        handlers.is_handlers = true;
        unfold.entries(&node.handlers, &handlers, &mut of_play)?;
        let mut handlers = std::mem::take(&mut unfold.handlers);
        handlers.append(&mut of_play);
        Ok((order, handlers))
    }

    fn options(
        &self,
        node: &PlayNode,
        known: &Known,
        around: &Around,
        id: PlayId,
        before: &[Task],
    ) -> Result<Play, PlaybookError> {
        let read = Options { node, known, around };
        let rendered = known.render(&node.hosts, around)?;
        let patterns = names(&rendered);
        let (hosts, empty_reason) = self.hosts(&patterns.join(","), node, around, before)?;
        let name = node.name.clone().filter(|name| !name.is_empty()).map(|name| known.shown(&name, around));
        let name = name.unwrap_or_else(|| match node.hosts.value {
            // As text, whatever becomes of it.
            Authored::Template(_) if rendered.as_list().is_some() => python_repr(&rendered),
            _ => patterns.join(","),
        });
        let mut play = Play::new(id, name, hosts);
        play.patterns = patterns;
        play.empty_reason = empty_reason;
        play.order = read.order()?;
        play.hosts = play.order.of(std::mem::take(&mut play.hosts));
        play.strategy = read.strategy(self.strategy, self.library)?;
        play.waves = read.waves()?;
        play.gather_facts = read.flag("gather_facts")?.or(self.gather_facts);
        play.gathering = Gathering {
            subset: read.get("gather_subset").map_or(Vec::new(), |written| list_of(&written.value)),
            timeout: read
                .get("gather_timeout")
                .map(|w| super::lower::keyword(w, "gather_timeout", around))
                .transpose()?,
            smart: self.library.around.smart_gathering,
            task: None,
        };
        play.gather = Some(Box::new(gather_task(known, around, id)?));
        for written in &around.keywords.tags {
            play.tags.extend(names(&known.render(written, around)?));
        }
        let environment: Vec<Authored> = around.keywords.environment.iter().map(|w| w.value.clone()).collect();
        play.environment = (!environment.is_empty()).then_some(Authored::List(environment));
        play.any_errors_fatal = read.keyword_flag("any_errors_fatal")?.unwrap_or(false);
        play.check_mode = around
            .keywords
            .get("check_mode")
            .map(|written| super::lower::keyword(written, "check_mode", around))
            .transpose()?;
        play.max_fail_percentage = read.value("max_fail_percentage")?.as_ref().and_then(as_number);
        play.force_handlers = read.flag("force_handlers")?.unwrap_or(self.force_handlers);
        Ok(play)
    }

    /// The hosts that the inventory has for the pattern as things stand, or why there are none. What it has nothing for is told
    /// now if nothing in the plays `before` can change that, else when the play begins.
    fn hosts(
        &self,
        pattern: &str,
        node: &PlayNode,
        around: &Around,
        before: &[Task],
    ) -> Result<(Vec<HostName>, Option<String>), PlaybookError> {
        let PlayMaker { library, inventory, .. } = self;
        let found = hosts_of(inventory, pattern)
            .map_err(|error| around.wrong_at(&node.hosts.place, error.to_string()).hint(error.hint()))?;
        let is_known_now = !before.iter().any(may_change_the_inventory);
        for name in found.unknown.into_iter().filter(|_| is_known_now) {
            let what = format!("Could not match supplied host pattern, ignoring: {}", shown(&name));
            match inventory.unknown_names() {
                UnknownNames::Warn => library.warn(what),
                UnknownNames::Ignore => {}
                UnknownNames::Refuse => return Err(around.wrong_at(&node.hosts.place, what)),
            }
        }
        Ok((found.hosts, found.empty_reason))
    }

    /// Of each entry the first file that is there; and those entries that only a host's variables can name.
    fn vars_files(
        &self,
        node: &PlayNode,
        known: &Known,
        around: &Around,
    ) -> Result<(Vec<Layer>, Vec<LateVarsFile>), PlaybookError> {
        let (mut layers, mut late) = (Vec::new(), Vec::new());
        for written in &node.vars_files {
            let candidates = match known.render(written, around) {
                Ok(rendered) => names(&rendered),
                Err(error) if known.templar.check(&written.value).is_err() => return Err(error),
                Err(_) => {
                    let names = written.value.clone();
                    late.push(LateVarsFile { names, folders: self.vars_folders(around) });
                    continue;
                }
            };
            let places: Vec<PathBuf> = candidates.iter().flat_map(|name| self.vars_file_places(name, around)).collect();
            let Some(found) = places.iter().find(|place| place.is_file()) else {
                // Ansible goes on without a word.
                let what = format!("vars file {} was not found", shown(&candidates.join(", ")));
                self.library.warn(format!("{}: {what}; {}", written.place, super::unfold::looked(&places)));
                continue;
            };
            let vars = self.library.vars(std::slice::from_ref(found))?;
            layers.push(Layer::new(Precedence::PlayVarsFiles, vars));
        }
        Ok((layers, late))
    }

    fn vars_file_places(&self, name: &str, around: &Around) -> Vec<PathBuf> {
        self.vars_folders(around).iter().map(|folder| folder.join(name)).collect()
    }

    fn vars_folders(&self, around: &Around) -> Vec<PathBuf> {
        let folders = around.folders.iter().map(PathBuf::as_path).chain([self.playbook_dir]);
        folders.flat_map(|folder| [folder.join("vars"), folder.to_owned()]).collect()
    }
}

/// Whom a play's pattern means.
pub(super) struct FoundHosts {
    pub(super) hosts: Vec<HostName>,
    /// Names in it that nobody has.
    pub(super) unknown: Vec<String>,
    /// Why there is nobody.
    pub(super) empty_reason: Option<String>,
}

/// # Errors
/// What is not a pattern.
pub(super) fn hosts_of(inventory: &Inventory, pattern: &str) -> Result<FoundHosts, PatternError> {
    match select_known(inventory, pattern) {
        Ok((hosts, unknown)) => {
            let empty_reason = hosts.is_empty().then(|| format!("the pattern `{}` matches no host", shown(pattern)));
            Ok(FoundHosts { hosts, unknown, empty_reason })
        }
        Err(error @ PatternError::Syntax { .. }) => Err(error),
        Err(error) => Ok(FoundHosts { hosts: Vec::new(), unknown: Vec::new(), empty_reason: Some(error.to_string()) }),
    }
}

/// What the imports that led to a play hand down.
#[derive(Clone, Debug, Default)]
pub(super) struct Outer {
    pub(super) keywords: Keywords,
    pub(super) vars: super::tree::Vars,
    /// Those of the playbook itself.
    pub(super) collections: Collections,
}

/// What only plays say.
struct Options<'a> {
    node: &'a PlayNode,
    known: &'a Known,
    around: &'a Around,
}

impl Options<'_> {
    fn get(&self, name: &str) -> Option<&Written> {
        self.node.options.get(name)
    }

    fn value(&self, name: &str) -> Result<Option<Value>, PlaybookError> {
        // `omit` is as if the keyword was not there.
        let value = self.get(name).map(|written| self.known.render_optional(written, self.around)).transpose()?;
        Ok(value.flatten())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, PlaybookError> {
        Ok(self.value(name)?.as_ref().and_then(as_bool))
    }

    fn keyword_flag(&self, name: &str) -> Result<Option<bool>, PlaybookError> {
        // A template is each task's own business.
        Ok(self.around.keywords.get(name).and_then(|written| match &written.value {
            Authored::Data(value) => as_bool(value),
            _ => None,
        }))
    }

    fn wrong(&self, name: &str, what: String) -> PlaybookError {
        match self.get(name) {
            Some(written) => self.around.wrong_at(&written.place, what),
            None => self.around.document.wrong(self.node.at, what),
        }
    }

    fn order(&self) -> Result<HostOrder, PlaybookError> {
        match self.value("order")?.as_ref().and_then(Value::as_str) {
            None | Some("inventory") => Ok(HostOrder::Inventory),
            Some("reverse_inventory") => Ok(HostOrder::ReverseInventory),
            Some("sorted") => Ok(HostOrder::Sorted),
            Some("reverse_sorted") => Ok(HostOrder::ReverseSorted),
            Some("shuffle") => Ok(HostOrder::Shuffle),
            Some(other) => Err(self
                .wrong("order", format!("Invalid 'order' specified for inventory hosts: {}", shown(other)))
                .hint(Some("there are inventory, reverse_inventory, sorted, reverse_sorted and shuffle"))),
        }
    }

    /// One that is not known, a plug-in's for instance, is missed by a run alone.
    fn strategy(&self, default: Option<&str>, library: &Library) -> Result<Strategy, PlaybookError> {
        let value = self.value("strategy")?;
        let name = value.as_ref().and_then(Value::as_str).or(default).unwrap_or("linear");
        Ok(match super::names::core_name(name).unwrap_or(name) {
            "linear" | "debug" => Strategy::Linear,
            "free" => Strategy::Free,
            "host_pinned" => Strategy::HostPinned,
            other => {
                let why = self.wrong("strategy", format!("Invalid play strategy specified: {}", shown(other)));
                library.hinder(why.hint(Some("linear, free and host_pinned are known")));
                Strategy::Linear
            }
        })
    }

    fn waves(&self) -> Result<Waves, PlaybookError> {
        let Some(value) = self.value("serial")? else { return Ok(Waves::One) };
        let sizes = batch_sizes(&value).map_err(|error| self.wrong("serial", error.to_string()))?;
        Ok(if sizes.is_empty() { Waves::One } else { Waves::Serial(sizes) })
    }
}

/// One size, or a list of them, lists within it flattened.
fn batch_sizes(value: &Value) -> Result<Vec<SerialSize>, SerialError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => Ok(items.iter().map(batch_sizes).collect::<Result<Vec<_>, _>>()?.concat()),
        // What a comparison gives is a number in Python.
        Value::Bool(one) => Ok(vec![SerialSize::Count(u32::from(*one))]),
        size => Ok(vec![rustle_agent::module::shown(size).parse()?]),
    }
}

fn list_of(value: &Authored) -> Vec<Authored> {
    match value {
        Authored::List(items) => items.clone(),
        Authored::Data(Value::List(items)) | Authored::Unsafe(Value::List(items)) => {
            items.iter().cloned().map(Authored::literal).collect()
        }
        one => vec![one.clone()],
    }
}

/// The task that gathers facts, with what it has from the play.
fn gather_task(known: &Known, around: &Around, play: PlayId) -> Result<Task, PlaybookError> {
    let mut task = super::lower::generated(around, known, &Task::new(TaskId(0), play, ""))?;
    task.module = GATHER_FACTS.to_owned();
    super::module_defaults::apply(&mut task, &around.keywords, around, known)?;
    Ok(task)
}

/// What Ansible sets itself and does not depend on a host: `groups` and the folders.
pub(super) fn magic(inventory: &Inventory, playbook_dir: &Path) -> Arc<VarMap> {
    let groups: Map = inventory
        .groups()
        .map(|(id, group)| {
            let members = inventory.members(id).into_iter().map(|host| Value::from(inventory.name(host).as_str()));
            (group.name.to_string(), members.collect::<Value>())
        })
        .collect();
    let folder = absolute(playbook_dir).to_string_lossy().into_owned();
    let map: Map = [("groups".to_owned(), Value::Map(groups)), ("playbook_dir".to_owned(), Value::from(folder))]
        .into_iter()
        .collect();
    Arc::new(crate::vars::data_map(map))
}

impl Unfold<'_> {
    /// The flush of handlers between the sections of a play.
    fn flush(&mut self, around: &Around, order: &mut Vec<TaskId>) -> Result<(), PlaybookError> {
        let mut task = self.blank.clone();
        task.module = "ansible.builtin.meta".to_owned();
        task.args.insert("_raw_params".to_owned(), Authored::literal("flush_handlers"));
        task.tags = vec!["always".to_owned()];
        self.push(task, around, order)
    }
}
