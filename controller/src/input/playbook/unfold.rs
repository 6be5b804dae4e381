//! From the tree to the plan: blocks, static imports and roles dissolve into tasks that carry what was around them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::around::{Around, Known, absolute};
use super::error::PlaybookError;
use super::import::{RoleOptions, TaskFileOptions};
use super::includes::{Context, Contexts};
use super::keywords::Keywords;
use super::library::Library;
use super::lower;
use super::names::Noun;
use super::tree::{BlockNode, Entry, TaskNode, Vars};
use crate::event::TaskKind;
use crate::plan::{Block, BlockId, PlayRoles, Section, Task, TaskId, Within};
use crate::template::Authored;
use crate::vars::{Layer, Precedence};

/// Tasks of one plan.
const TASKS_MAX: usize = 1_000_000;

/// Keywords that mean nothing here.
const IGNORED: [&str; 4] = ["debugger", "port", "remote_user", "user"];

/// What has been made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) tasks: Vec<Task>,
    pub(super) blocks: Vec<Block>,
    /// Uses of roles so far.
    pub(super) role_instances: u32,
    /// Keywords that were met and mean nothing here.
    pub(super) ignored: BTreeSet<&'static str>,
}

impl Made {
    /// What the operator should know of it.
    pub(super) fn notices(&self) -> Vec<String> {
        let notice = |name: &&str| match *name {
            "debugger" => "`debugger` is ignored: a run is not stopped for questions".to_owned(),
            name => format!("`{name}` is ignored: hosts are reached through their agents, not by SSH"),
        };
        self.ignored.iter().map(notice).collect()
    }
}

/// Makes tasks of entries, for one play or for one include.
pub(super) struct Unfold<'a> {
    pub(super) library: &'a Library,
    pub(super) known: Known,
    pub(super) playbook_dir: &'a Path,
    pub(super) made: &'a mut Made,
    /// What a task of this play begins as.
    pub(super) blank: Task,
    /// Variables of roles that every task of the play sees.
    pub(super) exposed: Vec<Layer>,
    /// Handlers that roles bring.
    pub(super) handlers: Vec<TaskId>,
    /// The names of roles, in the order in which they come to run.
    pub(super) roles: PlayRoles,
    pub(super) contexts: &'a Contexts,
}

impl Unfold<'_> {
    /// Adds the tasks of `entries` to `order`.
    ///
    /// # Errors
    /// What cannot be understood without any host.
    pub(super) fn entries(
        &mut self,
        entries: &[Entry],
        around: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<(), PlaybookError> {
        for entry in entries {
            match entry {
                Entry::Task(task) => self.task(task, around, order)?,
                Entry::Block(block) => self.block(block, around, order)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &BlockNode, around: &Around, order: &mut Vec<TaskId>) -> Result<(), PlaybookError> {
        let mut inner = around.inside(&block.keywords, &block.vars, Precedence::BlockVars);
        if block.rescue.is_empty() && block.always.is_empty() {
            return self.entries(&block.body, &inner, order);
        }
        let id =
            BlockId(u32::try_from(self.made.blocks.len()).expect("fewer blocks than tasks, and those are bounded"));
        self.made.blocks.push(Block { parent: around.within, name: block.name.clone() });
        let sections =
            [(Section::Tasks, &block.body), (Section::Rescue, &block.rescue), (Section::Always, &block.always)];
        for (section, entries) in sections {
            inner.within = Some(Within { block: id, section });
            self.entries(entries, &inner, order)?;
        }
        Ok(())
    }

    fn task(&mut self, node: &TaskNode, around: &Around, order: &mut Vec<TaskId>) -> Result<(), PlaybookError> {
        match node.call.core() {
            Some(module @ ("import_role" | "include_role")) if around.is_handlers => {
                let what = format!("Using '{module}' as a handler is not supported.");
                Err(around.document.wrong(node.at, what))
            }
            Some("meta") => match misplaced(node, around) {
                Some(what) => Err(around.document.wrong(node.at, what)),
                None => self.plain(node, around, order),
            },
            Some("import_tasks") => self.import_tasks(node, around, order),
            Some("import_role") => self.import_role(node, around, order),
            Some("import_playbook") => Err(around
                .document
                .wrong(node.call.at, "'import_playbook' is not a task: it stands among the plays of a playbook")),
            _ => self.plain(node, around, order),
        }
    }

    fn plain(&mut self, node: &TaskNode, around: &Around, order: &mut Vec<TaskId>) -> Result<(), PlaybookError> {
        let is_include = match node.call.core() {
            Some("include_tasks") => {
                TaskFileOptions::read(node, around)?;
                true
            }
            Some("include_role") => {
                RoleOptions::read(node, around)?;
                true
            }
            _ => false,
        };
        let mut task = lower::task(node, around, &self.known, &self.blank)?;
        for keywords in [&around.keywords, &node.keywords] {
            self.made.ignored.extend(IGNORED.iter().filter(|name| keywords.get(name).is_some()));
        }
        if is_include {
            let collections = around.collections.within(node.keywords.collections.as_ref());
            task.include = Some(self.contexts.keep(Context {
                around: Around { collections, ..around.clone() },
                known: self.known.clone(),
                playbook_dir: self.playbook_dir.into(),
                apply: self.apply(node, around)?,
            }));
        }
        self.push(task, around, order)
    }

    /// `apply:` of an include, which becomes keywords of all that it brings.
    fn apply(&self, node: &TaskNode, around: &Around) -> Result<Option<(Keywords, Vars)>, PlaybookError> {
        let Some(apply) = &node.call.apply else { return Ok(None) };
        let document = &around.document;
        let entries = document.map(apply, "`apply`")?;
        if let Some((key, _)) = entries.iter().find(|(key, _)| !Noun::Block.has(&key.text)) {
            let what = format!("'{}' is not a valid attribute for a Block", crate::input::source::shown(&key.text));
            return Err(document.wrong(key.at, what).hint(Noun::Block.nearest(&key.text)));
        }
        let vars = match entries.iter().find(|(key, _)| key.text == "vars") {
            Some((_, node)) => super::keywords::vars(document, node, Noun::Block)?,
            None => Vars::new(),
        };
        Ok(Some((Keywords::read(document, entries, Noun::Block)?, vars)))
    }

    pub(super) fn push(
        &mut self,
        mut task: Task,
        around: &Around,
        order: &mut Vec<TaskId>,
    ) -> Result<(), PlaybookError> {
        if self.made.tasks.len() >= TASKS_MAX {
            let what = format!("more than {TASKS_MAX} tasks");
            return Err(around.wrong_at(&around.document.place(crate::input::source::Position::START), what));
        }
        task.id = TaskId(u32::try_from(self.made.tasks.len()).expect("a plan has fewer tasks than u32 counts"));
        task.kind = if around.is_handlers { TaskKind::Handler } else { TaskKind::Task };
        order.push(task.id);
        self.made.tasks.push(task);
        Ok(())
    }

    fn import_tasks(&mut self, node: &TaskNode, around: &Around, order: &mut Vec<TaskId>) -> Result<(), PlaybookError> {
        let options = TaskFileOptions::read(node, around)?;
        if node.looped.is_some() {
            let what = "You cannot use loops on 'import_tasks' statements. You should use 'include_tasks' instead.";
            return Err(around.document.wrong(node.call.at, what));
        }
        // The variables of the import itself may name the file. For what it brings they are what a block's would be.
        let inner = around.inside(&node.keywords, &node.vars, Precedence::BlockVars);
        let name = self.known.render(&options.file, &inner)?;
        let name = rustle_agent::module::shown(&name);
        let path = find_file(self.task_places(&name, around)).map_err(|looked_at| {
            let what =
                format!("Could not find or access '{}' on the Ansible Controller.", crate::input::source::shown(&name));
            around.wrong_at(&options.file.place, what).hint(Some(looked(&looked_at))).absence(no_such_file(&looked_at))
        })?;
        let file = self.library.tasks(&path, noun(around), &inner.collections)?;
        let inner = inner.in_file(&options.file.place, &path, &file.document)?;
        self.entries(&file.entries, &inner, order)
    }

    /// Where the task file that is imported as `name` may be, for a task that stands in `around`: what is beside the
    /// importing file counts first.
    fn task_places(&self, name: &str, around: &Around) -> Vec<PathBuf> {
        if Path::new(name).is_absolute() {
            return vec![name.into()];
        }
        let beside = around.folders.iter().map(|folder| folder.join(name));
        beside.chain(in_role(name, around)).chain([self.playbook_dir.join(name)]).collect()
    }

    /// Where the task file that is included as `name` is, for a task that stands in `around`. In a role what is among its tasks
    /// counts first, as in Ansible.
    ///
    /// # Errors
    /// Every place that was looked at.
    pub(super) fn included_file(&self, name: &str, around: &Around) -> Result<PathBuf, Vec<PathBuf>> {
        let mut places = self.task_places(name, around);
        if let Some(found) = places.iter().position(|place| in_role(name, around).next().as_ref() == Some(place)) {
            places[..=found].rotate_right(1);
        }
        find_file(places)
    }
}

/// Where a role may have a file of tasks. What a handler includes may be among the role's tasks as well.
fn in_role<'a>(name: &'a str, around: &'a Around) -> impl Iterator<Item = PathBuf> + 'a {
    let inside: &[&str] = if around.is_handlers { &["handlers", "tasks", ""] } else { &["tasks", ""] };
    let role = around.role.iter();
    role.flat_map(move |role| inside.iter().map(move |inside| role.path.join(inside).join(name)))
}

fn find_file(places: Vec<PathBuf>) -> Result<PathBuf, Vec<PathBuf>> {
    match places.iter().position(|place| place.is_file()) {
        Some(found) => Ok(places[found].clone()),
        None => Err(places.iter().map(|place| absolute(place)).collect()),
    }
}

/// Why a `meta` task cannot stand where it does, in Ansible's words.
fn misplaced(node: &TaskNode, around: &Around) -> Option<&'static str> {
    match meta_word(node)? {
        "flush_handlers" if around.is_handlers => Some("flush_handlers cannot be used as a handler"),
        "end_role" if around.is_handlers => Some("Cannot execute 'end_role' from a handler"),
        "end_role" if around.role.is_none() => Some("Cannot execute 'end_role' from outside of a role"),
        _ => None,
    }
}

/// What a `meta` task asks for, if that is written plainly.
fn meta_word(node: &TaskNode) -> Option<&str> {
    match node.call.args.get("_raw_params").or_else(|| node.call.args.get("free_form"))? {
        Authored::Data(word) => word.as_str(),
        _ => None,
    }
}

pub(super) fn noun(around: &Around) -> Noun {
    if around.is_handlers { Noun::Handler } else { Noun::Task }
}

/// Ansible's words for a file of tasks that is at none of these places.
pub(super) fn no_such_file(places: &[PathBuf]) -> String {
    let last = places.last().map(|place| crate::input::source::shown(&place.to_string_lossy()).to_string());
    let last = last.unwrap_or_default();
    format!(
        "Could not find or access '{last}' on the Ansible Controller: Unable to retrieve file contents.\nCould not find or \
         access '{last}' on the Ansible Controller.\nIf you are using a module and expect the file to exist on the \
         remote, see the remote_src option: [Errno 2] No such file or directory: '{last}'"
    )
}

pub(super) fn looked(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    format!("looked at {}", places.join(", "))
}
