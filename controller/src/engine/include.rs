//! `include_tasks` and `include_role`: what a host wants to include becomes tasks of the plan, and steps for the scheduler.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use rustle_agent::module::short_name;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::compile;
use super::conclude::TaskDone;
use super::error::ExecutionError;
use super::looping::note_names;
use super::result::{Tried, of_loop};
use super::run::{Answering, Run, task_vars};
use super::task::TaskRun;
use crate::event::{CancelReason, INCLUDED, RunEvent, TaskKind, TaskStatus};
use crate::fault::Cause;
use crate::journal::{Growth, IncludeRecord, PlanPrint};
use crate::origin::Origin;
use crate::plan::{
    BlockId, Fragment, Inclusion, LoopControl, NotIncluded, Play, PlayId, PlayRoles, Task, TaskId, Within,
};
use crate::scheduler::{Effect, Splice};
use crate::vars::{Layer, TaskVars, data_map};

/// Tasks that includes may add to one run. More than this is a file that includes itself.
const ADDED_TASKS_MAX: usize = 200_000;

/// A task of the plan, or one that joined it.
pub(super) enum TaskRef<'a> {
    Planned(&'a Task),
    Added(Arc<Added>),
}

/// A task that joined the plan, and its own variables.
pub(super) struct Added {
    task: Task,
    vars: TaskVars,
}

impl Deref for TaskRef<'_> {
    type Target = Task;

    fn deref(&self) -> &Task {
        match self {
            TaskRef::Planned(task) => task,
            TaskRef::Added(added) => &added.task,
        }
    }
}

/// What includes have added to the plan so far.
#[derive(Default)]
pub(super) struct Additions(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    tasks: Vec<Arc<Added>>,
    blocks: u32,
    /// By including task: each wish, how many equal ones of the same host came before it, and what it brought.
    known: HashMap<TaskId, Vec<(Inclusion, usize, Arc<Included>)>>,
    handlers: HashMap<PlayId, Vec<TaskId>>,
    exposed: HashMap<PlayId, Vec<Layer>>,
    /// Of plays that have included some.
    roles: HashMap<PlayId, Arc<PlayRoles>>,
}

/// What one wish brought.
struct Included {
    label: String,
    splice: Splice,
}

impl Additions {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn task(&self, place: usize) -> Arc<Added> {
        Arc::clone(&self.inner().tasks[place])
    }

    pub(super) fn vars(&self, place: usize) -> TaskVars {
        self.inner().tasks[place].vars.clone()
    }

    /// Variables of roles that were included for all of the play to see.
    pub(super) fn exposed(&self, play: PlayId) -> Vec<Layer> {
        self.inner().exposed.get(&play).cloned().unwrap_or_default()
    }

    /// The play's roles with those that were included, if any were.
    pub(super) fn roles(&self, play: PlayId) -> Option<Arc<PlayRoles>> {
        self.inner().roles.get(&play).cloned()
    }

    /// Handlers that roles brought.
    pub(super) fn all_handlers(&self, play: PlayId) -> Vec<TaskId> {
        self.inner().handlers.get(&play).cloned().unwrap_or_default()
    }

    /// The handlers that roles brought which answer to `name`; the first task that was added has the number `first`.
    pub(super) fn answering(&self, first: usize, play: PlayId, name: &str) -> Answering {
        let inner = self.inner();
        let ids = inner.handlers.get(&play).map_or(&[][..], Vec::as_slice);
        let task = |id: &TaskId| &inner.tasks[id.index() - first].task;
        let of_role = |id: &TaskId| task(id).role.as_ref().map(|role| role.instance);
        let is_it = |id: &&TaskId| task(id).handler_names().any(|own| own == name);
        // See `Answering`.
        let mut lists = ids.chunk_by(|one, next| of_role(one) == of_role(next)).rev();
        let named = lists.find_map(|list| list.iter().find(is_it)).copied();
        let listens = |id: &&TaskId| task(id).handler_topics().any(|topic| topic == name);
        Answering { named, listening: ids.iter().filter(listens).copied().collect() }
    }
}

impl Run {
    /// What `including` brings with this wish, which its host has had `before` times already.
    fn include(&self, including: &Task, wish: &Inclusion, before: usize) -> Result<Arc<Included>, NotIncluded> {
        let mut inner = self.additions.inner();
        let known = inner.known.get(&including.id).into_iter().flatten();
        if let Some((.., included)) = known.into_iter().find(|(other, times, _)| (other, *times) == (wish, before)) {
            return Ok(Arc::clone(included));
        }
        let fragment = self.read_fragment(&inner, including, wish)?;
        let brought = || PlanPrint::of_fragment(&fragment);
        self.write_growth(|| Growth::Included(record_of(including, wish, before, brought())))?;
        for message in &fragment.warnings {
            self.sink.emit(RunEvent::Warning { message: message.clone(), host: None });
        }
        Ok(self.adopt(&mut inner, including, wish, before, fragment))
    }

    /// Lets join the plan again what joined it under an earlier controller.
    ///
    /// # Errors
    /// It is not what it was, or not there.
    pub(super) fn grow_again(&self, growth: Growth, accept_changed: bool) -> Result<(), ExecutionError> {
        let Growth::Included(IncludeRecord { task, before, args, locals, brought }) = growth;
        let including = self.task(task);
        let wish = Inclusion { args, locals: Arc::new(data_map(locals)) };
        let mut inner = self.additions.inner();
        let fragment = self
            .read_fragment(&inner, &including, &wish)
            .map_err(|not| ExecutionError::PlanChanged { what: not.what, acceptable: false })?;
        let now = PlanPrint::of_fragment(&fragment);
        let differences = brought.differences(&now);
        if !differences.is_empty() {
            let what = format!("{}: {}", brought.source, differences.join("; "));
            let acceptable = brought.misfits(&now).is_empty();
            if !(acceptable && accept_changed) {
                return Err(ExecutionError::PlanChanged { what, acceptable });
            }
            let message = format!("{what}; what is not done yet is done as it says now");
            self.sink.emit(RunEvent::Warning { message, host: None });
        }
        self.adopt(&mut inner, &including, &wish, before, fragment);
        Ok(())
    }

    /// What `including` brings with this wish, if it may join the plan.
    fn read_fragment(&self, inner: &Inner, including: &Task, wish: &Inclusion) -> Result<Fragment, NotIncluded> {
        let fragments = self.environment.fragments.as_ref().ok_or("nothing can be included in this plan")?;
        let fragment = fragments.fragment(self.plan.play(including.play), including, wish)?;
        if inner.tasks.len() + fragment.tasks.len() > ADDED_TASKS_MAX {
            return Err(format!("includes have added {ADDED_TASKS_MAX} tasks to the plan, which is the most").into());
        }
        Ok(fragment)
    }

    /// Makes the fragment's tasks tasks of the plan.
    fn adopt(
        &self,
        inner: &mut Inner,
        including: &Task,
        wish: &Inclusion,
        before: usize,
        fragment: Fragment,
    ) -> Arc<Included> {
        let play = self.plan.play(including.play);
        let Fragment { label, tasks, blocks, steps, handlers, exposed, roles, .. } = fragment;
        let first = (self.plan.tasks.len() + inner.tasks.len()) as u32;
        let first_block = self.plan.blocks.len() as u32 + inner.blocks;
        inner.blocks += blocks.len() as u32;
        let moved = |within: Option<Within>| match within {
            Some(Within { block, section }) => Some(Within { block: BlockId(first_block + block.0), section }),
            None => including.within,
        };
        let id = |id: TaskId| TaskId(first + id.0);
        let tasks: Vec<Arc<Added>> = (0..)
            .zip(tasks)
            .map(|(number, task)| {
                let within = moved(task.within);
                let task = Task { id: id(TaskId(number)), play: play.id, within, ..task };
                Arc::new(Added { vars: task_vars(&task), task })
            })
            .collect();
        let task = |id: &TaskId| &tasks[id.index()].task;
        // A handler runs if it is notified, whatever tags are wanted.
        let is_handler = including.kind == TaskKind::Handler;
        let is_wanted = |id: &&TaskId| is_handler || self.options.tags.keeps(&task(id).tags);
        let splice = Splice {
            steps: steps.iter().filter(is_wanted).map(|id| compile::step(play, task(id))).collect(),
            roles: compile::role_uses(tasks.iter().map(|task| &task.task)),
            blocks: (first_block..).map(BlockId).zip(blocks.iter().map(|block| moved(block.parent))).collect(),
            handlers: handlers.iter().map(|id| compile::handler(play, task(id))).collect(),
            superseded: self.superseded(inner, play, handlers.iter().map(task)),
        };
        inner.handlers.entry(play.id).or_default().extend(handlers.iter().map(|handler| id(*handler)));
        inner.exposed.entry(play.id).or_default().extend(exposed);
        let all_roles = inner.roles.entry(play.id).or_insert_with(|| Arc::clone(&play.roles));
        Arc::make_mut(all_roles).extend(roles);
        inner.tasks.extend(tasks.iter().cloned());
        let included = Arc::new(Included { label, splice });
        inner.known.entry(including.id).or_default().push((wish.clone(), before, Arc::clone(&included)));
        included
    }

    /// The play's handlers so far whose names the new ones have, each with the new one.
    fn superseded<'t>(&self, inner: &Inner, play: &Play, new: impl Iterator<Item = &'t Task>) -> Vec<(TaskId, TaskId)> {
        let mut by_name: HashMap<&str, TaskId> = HashMap::new();
        for task in new {
            if let Some(name) = task.name.as_deref() {
                by_name.entry(name).or_insert(task.id);
            }
        }
        if by_name.is_empty() {
            return Vec::new();
        }
        let added = inner.handlers.get(&play.id).map_or(&[][..], Vec::as_slice);
        let added = added.iter().map(|id| &inner.tasks[id.index() - self.plan.tasks.len()].task);
        let planned = play.handlers.iter().map(|id| self.plan.task(*id));
        let taken_over = |old: &Task| Some((old.id, *by_name.get(old.name.as_deref()?)?));
        planned.chain(added).filter_map(taken_over).collect()
    }
}

fn record_of(including: &Task, wish: &Inclusion, before: usize, brought: PlanPrint) -> IncludeRecord {
    // A loop's variables are data, whose source is the value itself.
    let locals = wish.locals.iter().map(|(name, variable)| (name.clone(), variable.source())).collect();
    IncludeRecord { task: including.id, before, args: wish.args.clone(), locals, brought }
}

/// An item's result, and what it included.
type Wished = (Tried, Option<Arc<Included>>);

/// What a result tells of an include.
const TELL_OF_INCLUDE: [&str; 3] = [INCLUDED, "include", "include_args"];

/// What a task has asked for so far on this host.
#[derive(Default)]
struct Asked {
    wishes: Vec<Inclusion>,
    /// Something of it could not be had.
    found_nothing: bool,
    /// Something of it cannot be understood.
    found_broken: bool,
}

impl TaskRun<'_> {
    /// Runs a task that includes others. It touches no host, so it cannot be lost on the way.
    pub(super) fn perform_include(&self) -> TaskDone {
        let vars = self.run.task_vars(self.task);
        let mut asked = Asked::default();
        let wishes: Vec<Wished> = match self.items(&vars) {
            Err(failed) => return self.conclude(*failed, Vec::new(), &vars),
            Ok(None) => vec![self.include_item(&vars, None, &mut asked)],
            Ok(Some(items)) => {
                let control = match self.control(&vars) {
                    Ok((control, _pause)) => control,
                    Err(message) => return self.conclude(Tried::failed(message), Vec::new(), &vars),
                };
                self.include_items(&control, &items, &vars, &mut asked)
            }
        };
        let (mut tried, included): (Vec<Tried>, Vec<_>) = wishes.into_iter().unzip();
        let labels: Vec<Value> = tried.iter_mut().filter_map(|tried| tried.values.shift_remove(INCLUDED)).collect();
        let mut whole = if self.task.looping.is_some() { of_loop(&tried) } else { tried[0].clone() };
        if !whole.status.is_failure() {
            whole.values.insert(INCLUDED.to_owned(), Value::List(labels));
        }
        // As in Ansible `ignore_errors` is not about what could not be had; a `rescue` deals with it.
        let ignores = self.manner().ignore_errors && !asked.found_nothing;
        let mut done = self.conclude_as(whole, Vec::new(), &vars, ignores, std::slice::from_ref(&vars));
        if asked.found_broken {
            // As for a playbook that cannot be read from the start: nobody rescues that.
            done.outcome.effect = Effect::EndRun(CancelReason::PlanUnreadable);
            done.result.rescued = false;
        }
        done.outcome.included = included.into_iter().flatten().map(|included| included.splice.clone()).collect();
        done
    }

    fn include_items(&self, control: &LoopControl, items: &[Value], vars: &TaskVars, asked: &mut Asked) -> Vec<Wished> {
        let mut wishes = Vec::new();
        for (number, item) in items.iter().enumerate() {
            let item_vars = self.item_vars(control, items, number, vars);
            let label = self.label(control, item, &item_vars, &mut Tried::finished(ModuleResult::ok()));
            let (mut tried, included) = self.include_item(&item_vars, Some(&label), asked);
            if included.is_some() {
                // Ansible says of such an item neither that it changed something nor that it did not.
                tried.values.retain(|name, _| TELL_OF_INCLUDE.contains(&name.as_str()));
            }
            note_names(&mut tried.values, control, item, number, &item_vars);
            if tried.status == TaskStatus::Skipped {
                let item = Arc::new(self.shown_item(label, tried.clone(), &item_vars));
                self.run.sink.emit(RunEvent::ItemFinished { task: self.task.id, host: self.host.clone(), item });
            }
            let is_last = self.breaks(control, &mut tried, &item_vars);
            wishes.push((tried, included));
            if is_last {
                break;
            }
        }
        wishes
    }

    fn include_item(&self, vars: &TaskVars, label: Option<&str>, asked: &mut Asked) -> Wished {
        let wish = match self.wish(vars) {
            Ok(wish) => wish,
            Err(tried) => return (*tried, None),
        };
        let before = asked.wishes.iter().filter(|earlier| **earlier == wish).count();
        asked.wishes.push(wish.clone());
        match self.run.include(self.task, &wish, before) {
            Ok(included) => {
                let label = label.map(|label| format!(" => (item={label})")).unwrap_or_default();
                let shown: Value = [included.label.as_str(), &label].into_iter().map(Value::from).collect();
                let mut tried = Tried::finished(ModuleResult::ok().with(INCLUDED, shown));
                tried.values.extend(self.included_file(&wish));
                let args = wish.args.iter().filter(|(name, _)| !matches!(name.as_str(), "file" | "_raw_params"));
                let args = args.map(|(name, value)| (name.clone(), value.clone())).collect();
                tried.values.insert("include_args".to_owned(), Value::Map(args));
                (tried, Some(included))
            }
            Err(NotIncluded { what, said, is_broken }) => {
                asked.found_nothing = true;
                asked.found_broken |= is_broken;
                let mut tried = Tried::failed(what.as_str());
                tried.values.extend(self.included_file(&wish));
                if let Some(said) = &said {
                    tried.values.shift_remove("msg");
                    tried.causes = self.absent_role(said);
                }
                tried.values.insert("reason".to_owned(), said.unwrap_or(what).into());
                (tried, None)
            }
        }
    }

    /// As Ansible tells of a role that is not there: where its name stands. Of a file it says no place.
    fn absent_role(&self, said: &str) -> Vec<Cause> {
        let call = self.task.call.as_deref().filter(|_| self.task.includes_role());
        let named = call.and_then(|call| call.arg("name").or_else(|| call.arg("role")));
        let cause =
            |origin: &Arc<Origin>| Cause { message: said.to_owned(), origin: Some((**origin).clone()), help: None };
        named.map(cause).into_iter().collect()
    }

    /// The file that was to be included, as a result tells it.
    fn included_file(&self, wish: &Inclusion) -> Option<(String, Value)> {
        let file = wish.args.get("file").or_else(|| wish.args.get("_raw_params"));
        Some(("include".to_owned(), file.filter(|_| !self.task.includes_role())?.clone()))
    }

    /// What the task wants to include, if its conditions hold.
    fn wish(&self, vars: &TaskVars) -> Result<Inclusion, Box<Tried>> {
        let scope = self.scope(vars).map_err(|message| Box::new(Tried::failed(message)))?;
        if let Some(condition) = self.unmet_condition(&scope)? {
            return Err(Box::new(Tried::skipped(condition)));
        }
        let args = self.task.args.iter().filter(|(name, _)| *name != "apply");
        let args = args.map(|(name, value)| (name.clone(), value.clone())).collect();
        let origins = self.task.call.as_deref();
        let full_name = format!("ansible.builtin.{}", short_name(&self.task.module));
        let args: Map = self
            .run
            .templar()
            .render_args(&args, origins, &scope)
            .map_err(|error| Box::new(Tried::failed(self.in_finalization(&full_name, error.into()))))?;
        Ok(Inclusion { args, locals: vars.locals.clone().unwrap_or_default() })
    }
}
