//! A module as the engine sees it, whether it is work for the host's agent or for the controller itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{AnyModule, ArgError, ArgSpec, short_name};
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::absent::Absent;
use super::context::ExecutionContext;
use super::error::Stop;
use crate::custom::{ModuleFiles, OtherPlugin};
use crate::event::FailedIn;
use crate::plan::check::{ModuleCatalog, ModuleInfo};

/// What the engine runs for a task's module. Register your own with [`Registry::register`].
pub trait ModuleExecutor: Send + Sync {
    /// Fully qualified, as `ansible.builtin.copy`; it also answers to its last part.
    fn name(&self) -> &str;

    /// One sentence on what it does, for the documentation.
    fn summary(&self) -> &str {
        ""
    }

    /// Whether it can say what it would do without doing it. One that cannot is skipped in check mode.
    fn supports_check_mode(&self) -> bool;

    /// What is told of a task `name` that is skipped in check mode.
    fn skipped_in_check_mode(&self, name: &str) -> ModuleResult {
        match self.is_action() {
            true => ModuleResult::skipped(format!("This action ({name}) does not support check mode.")),
            // As in Ansible, whose modules say so themselves.
            false => ModuleResult::skipped(format!("remote module ({name}) does not support check mode"))
                .with("failed", false),
        }
    }

    /// Whether the controller has a part in it: what refuses a task says "action" then, and "module" else.
    fn is_action(&self) -> bool {
        true
    }

    /// Where `args` that do not fit are found out: in the module itself, for those that an agent has.
    fn refuses_in(&self, _args: &Map) -> FailedIn {
        FailedIn::Task
    }

    /// What it is called where it refuses arguments that it does not have: an action by its short name, and in
    /// Ansible's sentence a module by the name that it was run by, which is the task's own (`written`) unless an action runs it.
    fn refuses_as<'n>(&'n self, _written: &'n str) -> &'n str {
        short_name(self.name())
    }

    /// Whether it can show what it changes.
    fn supports_diff(&self) -> bool;

    /// Whether `diff` is a list in its registered result, as of Ansible's `copy`; else it is one dict.
    fn lists_diffs(&self) -> bool {
        false
    }

    /// Whether a second run after a whole or half first one ends in the same state: then it is run again when nobody knows
    /// whether it ran.
    fn is_idempotent(&self) -> bool {
        false
    }

    /// Whether it talks to a host. What does not needs no way there.
    fn needs_host(&self) -> bool {
        true
    }

    /// Names and types of the arguments, for checks before anything runs; empty for "anything goes".
    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        &[]
    }

    /// Whether arguments will do that are not among these.
    fn takes_any_arguments(&self) -> bool {
        self.arg_groups().is_empty()
    }

    /// Arguments that it evaluates itself: they arrive as their author wrote them. Rendered first, text that a host had
    /// put into a variable would be evaluated as if the author had written it.
    fn unrendered_args(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether its arguments' names may be templates, too, as those of `set_fact`.
    fn has_templated_names(&self) -> bool {
        false
    }

    /// # Errors
    /// The first argument that is unknown, missing or ill-typed. Nothing has been touched.
    fn validate_args(&self, args: &Map) -> Result<(), ArgError>;

    /// Whether it may go on in the background (`async`): its first call to the host is then started as a job.
    fn supports_async(&self) -> bool {
        self.as_call().is_some()
    }

    /// Runs the task's work with rendered arguments. A failed task is `Ok` with `failed` set.
    ///
    /// # Errors
    /// What kept the work from coming to its own end: the host, the clock, the operator.
    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>>;

    /// The module the host's agent is to run with these very arguments, if that is all there is to it. Such tasks may
    /// travel together.
    fn as_call(&self) -> Option<&'static str> {
        None
    }
}

/// A module that the host's agent runs with the arguments as they are.
struct AgentModule(&'static dyn AnyModule);

impl ModuleExecutor for AgentModule {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn summary(&self) -> &str {
        self.0.summary()
    }

    fn supports_check_mode(&self) -> bool {
        self.0.supports_check()
    }

    fn is_action(&self) -> bool {
        false
    }

    fn refuses_in(&self, _args: &Map) -> FailedIn {
        FailedIn::Module
    }

    fn refuses_as<'n>(&'n self, written: &'n str) -> &'n str {
        match short_name(self.name()) {
            // These are run by actions in Ansible, which give them to its own modules.
            "command" | "shell" => "ansible.legacy.command",
            "dnf" => "ansible.legacy.dnf",
            _ => written,
        }
    }

    fn supports_diff(&self) -> bool {
        self.0.supports_diff()
    }

    fn lists_diffs(&self) -> bool {
        self.0.lists_diffs()
    }

    fn is_idempotent(&self) -> bool {
        self.0.is_idempotent()
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        self.0.arg_groups()
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        self.0.validate(args.clone())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        cx.call(self.0.name(), args).boxed()
    }

    fn as_call(&self) -> Option<&'static str> {
        Some(self.0.name())
    }
}

/// The modules a run knows, by their last name part, and the folders where custom ones are found.
#[derive(Clone)]
pub struct Registry {
    modules: BTreeMap<String, Arc<dyn ModuleExecutor>>,
    files: ModuleFiles,
}

impl Registry {
    /// The agent's native modules and the controller's own actions.
    pub fn native() -> Registry {
        let mut registry = Registry { modules: BTreeMap::new(), files: ModuleFiles::default() };
        // Those of another collection are for the controller's own use.
        let for_plans =
            rustle_agent::modules::MODULES.iter().filter(|module| module.name().starts_with("ansible.builtin."));
        for module in for_plans {
            let executor: Arc<dyn ModuleExecutor> = Arc::new(AgentModule(*module));
            for alias in module.aliases() {
                registry.modules.insert((*alias).to_owned(), Arc::clone(&executor));
            }
            registry.register(executor);
        }
        for action in crate::actions::all() {
            registry.register(action);
        }
        registry
    }

    /// Adds a module, in the place of any other of the same name.
    pub fn register(&mut self, module: Arc<dyn ModuleExecutor>) {
        self.modules.insert(short_name(module.name()).to_owned(), module);
    }

    /// Where custom modules are looked for: add folders there, at any time.
    pub fn files(&self) -> &ModuleFiles {
        &self.files
    }

    /// `copy` and `ansible.legacy.copy` are the custom module of that name, if there is one, else `ansible.builtin.copy`,
    /// which is ours or, if we have none, that of an installed ansible-core, or the one of a collection that it has become. Names in
    /// other collections are exact. An action plug-in in Python is found in the place of its module, and fails wherever it is run.
    pub fn find(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        if let Some(file) = self.action_plugin(name) {
            let why =
                format!("'{name}' is an action plug-in in Python ({}), and rustle-exec runs none", file.display());
            return Some(Arc::new(Absent::new(name, why)));
        }
        self.module(name)
    }

    /// As [`find`](Self::find), whatever action plug-in there is.
    fn module(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        let builtin = |short: &str| self.modules.get(short).cloned().or_else(|| self.files.in_library(short));
        if let Some(short) = name.strip_prefix("ansible.builtin.") {
            return builtin(short);
        }
        let short = name.strip_prefix("ansible.legacy.").unwrap_or(name);
        if short.contains('.') {
            let core = || builtin(&self.files.moved_to_core(short)?);
            return self.own_of_collection(short).or_else(|| self.files.in_collections(short)).or_else(core);
        }
        self.files.in_folders(short).or_else(|| builtin(short)).or_else(|| self.files.moved(short))
    }

    fn own_of_collection(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.modules.values().find(|module| module.name() == name).cloned()
    }

    /// The file of the action plug-in in Python that Ansible would run for `name`.
    pub(crate) fn action_plugin(&self, name: &str) -> Option<PathBuf> {
        let (kind, files) = (OtherPlugin::Action, &self.files);
        if name.starts_with("ansible.builtin.") {
            return None;
        }
        let short = name.strip_prefix("ansible.legacy.").unwrap_or(name);
        if short.contains('.') {
            let is_own = self.own_of_collection(short).is_some();
            return if is_own { None } else { files.other_plugin(kind, short) };
        }
        // Where ours have moved from is not asked: that takes an ansible-core.
        if self.modules.contains_key(short) {
            files.other_in_folders(kind, short)
        } else {
            files.other_plugin(kind, short)
        }
    }

    /// Every module once, sorted by the last part of its name, with the other names it answers to.
    pub fn modules(&self) -> impl Iterator<Item = (&dyn ModuleExecutor, Vec<&str>)> {
        let is_own = |key: &str, module: &Arc<dyn ModuleExecutor>| short_name(module.name()) == key;
        let own = self.modules.iter().filter(move |(key, module)| is_own(key, module));
        own.map(move |(_, module)| {
            let same = self.modules.iter().filter(|(key, other)| other.name() == module.name() && !is_own(key, other));
            (&**module, same.map(|(key, _)| key.as_str()).collect())
        })
    }

    /// Every name a task may use, sorted, without its collection.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }
}

impl ModuleCatalog for Registry {
    fn find(&self, name: &str) -> Option<ModuleInfo> {
        let module = Registry::find(self, name)?;
        Some(ModuleInfo { groups: module.arg_groups(), any_arguments: module.takes_any_arguments() })
    }

    fn names(&self) -> Vec<&str> {
        Registry::names(self).collect()
    }

    fn add_project(&self, folder: &std::path::Path) {
        self.files.add_project(folder);
    }

    fn full_name(&self, name: &str) -> String {
        let core = ["ansible.builtin.", "ansible.legacy."].into_iter().find_map(|prefix| name.strip_prefix(prefix));
        let short = core.unwrap_or(name);
        match self.module(name) {
            Some(module) if !self.modules.contains_key(short) => module.name().to_owned(),
            None if short.contains('.') => name.to_owned(),
            // What is not here is none the less a module of ansible-core.
            Some(_) | None => format!("ansible.builtin.{short}"),
        }
    }

    fn removal(&self, name: &str) -> Option<String> {
        self.files.removal(name)
    }

    fn is_in_group(&self, module: &str, group: &str) -> bool {
        let module = self.full_name(module);
        let is_same = |member: &String| *member == module || self.full_name(member) == module;
        self.files.group(group).iter().any(is_same)
    }

    fn validate(&self, name: &str, args: &Map) -> Result<(), ArgError> {
        Registry::find(self, name).map_or(Ok(()), |module| module.validate_args(args))
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.modules.keys()).finish()
    }
}
