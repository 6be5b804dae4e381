//! A role where it is used: what it depends on, its variables, its tasks and handlers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::around::{Around, absolute};
use super::collections::Collections;
use super::error::PlaybookError;
use super::import::{RoleFrom, RoleOptions, flag};
use super::keywords::{Keywords, Written, var_map};
use super::names::Noun;
use super::play_node::RoleNode;
use super::role::{ArgumentSpec, Role, RoleKey};
use super::role_files;
use super::role_path::{RoleFolder, RolePath};
use super::tree::{TaskNode, Vars};
use super::unfold::{Unfold, looked};
use crate::input::source::{Place, shown};
use crate::plan::{RoleIdentity, RoleInfo, TaskId};
use crate::template::Authored;
use crate::vars::{Layer, Precedence};

/// A role as somebody uses it.
#[derive(Clone, Debug)]
pub(super) struct RoleUse {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) keywords: Keywords,
    /// `vars:` of the entry.
    pub(super) vars: Vars,
    pub(super) params: Vars,
    pub(super) from: RoleFrom<Option<String>>,
    /// The variables that make it another use than one with others: those of the entry, or of the task and its loop.
    pub(super) told: Map,
    /// Whether a host runs it even if it ran it with the same parameters before; else what the role itself says of that.
    pub(super) allow_duplicates: Option<bool>,
    /// The whole play sees its variables.
    pub(super) public: bool,
    pub(super) validate: bool,
    /// Named by the `meta/main.yml` of another role.
    pub(super) is_dependency: bool,
}

impl Unfold<'_> {
    /// A role of a play or of another role.
    ///
    /// # Errors
    /// What is wrong with it or anything in it.
    pub(super) fn named_role(
        &mut self,
        node: &RoleNode,
        around: &Around,
        is_dependency: bool,
        order: &mut Vec<TaskId>,
    ) -> Result<Vec<Layer>, PlaybookError> {
        let written = Written { place: around.document.place(node.at), value: node.name.clone() };
        let mut scope = around.clone();
        scope.add(Precedence::RoleVars, &node.vars);
        let name = rustle_agent::module::shown(&self.known.render(&written, &scope)?);
        let used = RoleUse {
            name,
            place: written.place,
            keywords: node.keywords.clone(),
            vars: node.vars.clone(),
            params: node.params.clone(),
            from: RoleFrom::default(),
            told: sources(&node.vars),
            allow_duplicates: None,
            public: !is_dependency && !self.library.around.private_role_vars,
            validate: true,
            is_dependency,
        };
        self.role(&used, around, order)
    }

    pub(super) fn import_role(
        &mut self,
        node: &TaskNode,
        around: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<(), PlaybookError> {
        let options = RoleOptions::read(node, around)?;
        if node.looped.is_some() {
            let what = "You cannot use loops on 'import_role' statements. You should use 'include_role' instead.";
            return Err(around.document.wrong(node.call.at, what));
        }
        let inner = around.inside(&node.keywords, &node.vars, Precedence::BlockVars);
        let text = |written: &Option<Written>| -> Result<Option<String>, PlaybookError> {
            let value = written.as_ref().map(|written| self.known.render(written, &inner)).transpose()?;
            Ok(value.map(|value| rustle_agent::module::shown(&value)))
        };
        let value = |written: &Option<Written>| -> Result<Option<Value>, PlaybookError> {
            written.as_ref().map(|written| self.known.render(written, &inner)).transpose()
        };
        let used = RoleUse {
            name: rustle_agent::module::shown(&self.known.render(&options.name, &inner)?),
            place: options.name.place.clone(),
            keywords: Keywords::default(),
            vars: Vars::new(),
            params: Vars::new(),
            from: RoleFrom {
                tasks: text(&options.from.tasks)?,
                vars: text(&options.from.vars)?,
                defaults: text(&options.from.defaults)?,
                handlers: text(&options.from.handlers)?,
            },
            told: sources(&node.vars),
            allow_duplicates: Some(flag(value(&options.allow_duplicates)?.as_ref(), true)),
            public: flag(value(&options.public)?.as_ref(), !self.library.around.private_role_vars),
            validate: flag(value(&options.rolespec_validate)?.as_ref(), true),
            is_dependency: false,
        };
        self.role(&used, &inner, order).map(drop)
    }

    /// Adds a role's dependencies, its tasks and its handlers. Gives the variables that it and those it depends on have.
    ///
    /// # Errors
    /// What is wrong with it or anything in it.
    pub(super) fn role(
        &mut self,
        used: &RoleUse,
        around: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<Vec<Layer>, PlaybookError> {
        let folder = self.find_role(used, around)?;
        let key = RoleKey {
            path: folder.path.clone(),
            vars_from: used.from.vars.clone(),
            defaults_from: used.from.defaults.clone(),
        };
        let role = self.library.role(key)?;
        let mut inner = around.inside(&used.keywords, &Vars::new(), Precedence::RoleVars);
        // A dependency has the files of the role that needs it, too, but does not name it as its parent.
        let parent = around.role.clone().filter(|_| !used.is_dependency);
        let beside = around.role.iter().filter(|_| used.is_dependency).map(|role| role.path.clone());
        inner.folders = beside.collect();
        let once = !used.allow_duplicates.unwrap_or(role.allow_duplicates);
        inner.role = Some(Arc::new(self.role_info(&folder, parent, identity(used, &folder.path), once)));
        self.roles.add(inner.role.as_ref().map(|role| role.fqcn()).unwrap_or_default(), used.is_dependency);
        inner.collections = Collections {
            home: folder.collection.clone().or_else(|| around.collections.home.clone()),
            listed: role.collections.clone(),
        };
        let own = [
            Layer::new(Precedence::RoleDefaults, Arc::clone(&role.defaults)),
            Layer::new(Precedence::RoleVars, Arc::clone(&role.vars)),
        ];
        // As in Ansible the role's own files cannot hide what the entry says.
        let told = [
            Layer::new(Precedence::RoleVars, var_map(used.vars.clone())),
            Layer::new(Precedence::RoleParams, var_map(used.params.clone())),
        ];
        let mut of_dependencies = Vec::new();
        if let Some(meta) = role.meta.as_ref().filter(|_| !role.dependencies.is_empty()) {
            let mut asking = inner.clone();
            asking.add_layers(own.iter().chain(&told).cloned());
            let asking = asking.in_file(&used.place, &meta.path, meta)?;
            for dependency in &role.dependencies {
                of_dependencies.extend(self.named_role(dependency, &asking, true, order)?);
            }
        }
        let known: Vec<Layer> = of_dependencies.into_iter().chain(own).collect();
        inner.add_layers(known.iter().cloned().chain(told));
        if used.public {
            self.exposed.extend(known.iter().cloned());
        }
        self.role_handlers(used, &folder, &inner)?;
        self.role_tasks(used, &folder, &role, &inner, order)?;
        Ok(known)
    }

    fn find_role(&self, used: &RoleUse, around: &Around) -> Result<RoleFolder, PlaybookError> {
        let collections = around.collections.within(used.keywords.collections.as_ref());
        let path = RolePath {
            paths: &self.library.around.paths,
            playbook: self.playbook_dir,
            beside: around.role.as_ref().and_then(|role| role.path.parent()),
        };
        let found = path.find(&used.name, &collections).map_err(|error| {
            let nearest = error.nearest.map(|name| format!("did you mean `{name}`?"));
            let what =
                format!("the role '{}' was not found in {}", shown(&used.name), listed(&collections, &error.folders));
            around
                .wrong_at(&used.place, what.as_str())
                .hint(nearest.or_else(|| Some(looked(&error.looked_in))))
                .absence(what)
        })?;
        // `role_path`, wherever the run was started.
        Ok(RoleFolder { path: absolute(&found.path), ..found })
    }

    fn role_info(
        &mut self,
        folder: &RoleFolder,
        parent: Option<Arc<RoleInfo>>,
        identity: RoleIdentity,
        once: bool,
    ) -> RoleInfo {
        let instance = self.made.role_instances;
        self.made.role_instances += 1;
        RoleInfo {
            name: folder.name.clone(),
            collection: folder.collection.clone(),
            path: folder.path.clone(),
            parent,
            instance,
            identity,
            once,
        }
    }

    fn role_handlers(&mut self, used: &RoleUse, folder: &RoleFolder, inner: &Around) -> Result<(), PlaybookError> {
        let paths = role_files::find(&folder.path, "handlers", used.from.handlers.as_deref(), false)
            .map_err(|error| at(error, used, inner))?;
        let Some(path) = paths.first() else { return Ok(()) };
        let file = self.library.tasks(path, Noun::Handler, &inner.collections)?;
        let mut inner = inner.in_file(&used.place, path, &file.document)?;
        inner.is_handlers = true;
        inner.within = None;
        let mut handlers = Vec::new();
        self.entries(&file.entries, &inner, &mut handlers)?;
        self.handlers.append(&mut handlers);
        Ok(())
    }

    fn role_tasks(
        &mut self,
        used: &RoleUse,
        folder: &RoleFolder,
        role: &Role,
        inner: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<(), PlaybookError> {
        // `tasks_from: main.yml` has no spec in Ansible, which looks for one of that very name.
        let entry_point = used.from.tasks.as_deref().unwrap_or("main");
        if let Some(spec) = role.argument_specs.get(entry_point).filter(|_| used.validate) {
            self.validation(used, folder, entry_point, spec, inner, order)?;
        }
        let paths = role_files::find(&folder.path, "tasks", used.from.tasks.as_deref(), false)
            .map_err(|error| at(error, used, inner))?;
        let Some(path) = paths.first() else { return Ok(()) };
        let file = self.library.tasks(path, Noun::Task, &inner.collections)?;
        let inner = inner.in_file(&used.place, path, &file.document)?;
        self.entries(&file.entries, &inner, order)
    }

    /// The task that Ansible puts before those of a role with an argument spec.
    fn validation(
        &mut self,
        used: &RoleUse,
        folder: &RoleFolder,
        entry_point: &str,
        spec: &ArgumentSpec,
        inner: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<(), PlaybookError> {
        let summary = spec.short_description.as_ref().map(|text| format!(" - {text}")).unwrap_or_default();
        let text = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        let context: Map = [
            text("type", "role"),
            text("name", &folder.name),
            text("argument_spec_name", entry_point),
            text("path", &folder.path.to_string_lossy()),
        ]
        .into_iter()
        .collect();
        let given = used.params.clone();
        let args = IndexMap::from_iter([
            ("argument_spec".to_owned(), Authored::literal(spec.options.source())),
            ("provided_arguments".to_owned(), Authored::Map(given)),
            ("validate_args_context".to_owned(), Authored::literal(context)),
        ]);
        let name = format!("Validating arguments against arg spec '{entry_point}'{summary}");
        let always = Written { place: used.place.clone(), value: Authored::literal("always") };
        let tags = Keywords { tags: vec![always], ..Keywords::default() };
        let inner = inner.inside(&tags, &Vars::new(), Precedence::TaskVars);
        let mut task = super::lower::generated(&inner, &self.known, &self.blank)?;
        task.name = Some(name);
        task.module = "ansible.builtin.validate_argument_spec".to_owned();
        task.args = args;
        self.push(task, &inner, order)
    }
}

/// Uses of one role with the same parameters are equal; as in Ansible a task's use is another than that of `roles`.
fn identity(used: &RoleUse, path: &Path) -> RoleIdentity {
    let tags: Vec<Value> = used.keywords.tags.iter().map(|tag| tag.value.source()).collect();
    RoleIdentity::of(&format!(
        "{}\0{}\0{:?}\0{}\0{}\0{:?}\0{}",
        used.allow_duplicates.is_some(),
        path.display(),
        used.from,
        Value::Map(sources(&used.params)).to_json(),
        Value::Map(used.told.clone()).to_json(),
        used.keywords.when,
        Value::List(tags).to_json()
    ))
}

/// The variables as they are written.
fn sources(vars: &Vars) -> Map {
    vars.iter().map(|(name, value)| (name.clone(), value.source())).collect()
}

fn at(error: PlaybookError, used: &RoleUse, around: &Around) -> PlaybookError {
    match error {
        PlaybookError::Content(complaint) if complaint.place.at.is_none() => {
            around.wrong_at(&used.place, complaint.what).hint(Some(format!("the role is in {}", complaint.place)))
        }
        other => other,
    }
}

/// As Ansible lists them; a name without a collection may be that of a role of before there were any.
fn listed(collections: &Collections, places: &[PathBuf]) -> String {
    let mut all: Vec<String> = collections.searched().map(str::to_owned).collect();
    if !all.is_empty() {
        all.push("ansible.legacy".to_owned());
    }
    all.extend(places.iter().map(|place| place.display().to_string()));
    all.join(":")
}
