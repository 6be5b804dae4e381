//! A playbook's plan as JSON: what `rustle-exec plan` prints, and reading it back. All of the plan is in it, with what
//! includes need when they are reached; files, templates and files of tasks that are included are still read when a host
//! comes to them. What is encrypted stays so.

mod context;
mod shared;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::context::{ContextForm, Files};
use self::shared::{Reader, Tables, VarsForm, Writer};
use super::around::Known;
use super::error::PlaybookError;
use super::includes::{Contexts, Includes};
use super::keywords::var_map;
use super::library::{Library, Surroundings};
use super::load::Playbook;
use super::play::{hosts_of, magic};
use super::prompt::Prompts;
use crate::input::inventory::Inventory;
use crate::plan::{Block, Plan, Play, PlayId, RoleInfo, Task, TaskId, Within};
use crate::vars::{Layer, Precedence, VarMap};
use crate::vault::Vault;

/// The version of the form. The form is that of the plan itself and changes with it, so only this one is read.
const VERSION: u32 = 1;

/// A printed plan, read as far as it says without an inventory.
pub struct Printed {
    name: String,
    digest: String,
    form: PlanForm,
}

/// As much of a printed plan as tells whether it can be read.
#[derive(Deserialize)]
struct Header {
    rustle_exec: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What is read of a printed plan. Beside it stand the fields of `rustle-plan`'s own plans, of which nothing is read.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "Printed plan of rustle-exec")]
struct Body {
    rustle_exec: PlanForm,
}

/// The schema of a printed plan.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Body).to_value()
}

/// The plan as it is printed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlanForm {
    version: u32,
    /// The playbooks that it was made of.
    sources: Vec<String>,
    /// The folder of the first one.
    base: PathBuf,
    /// The folders of playbooks and roles: what is in them, modules and plug-ins, is found.
    projects: Vec<PathBuf>,
    /// `-e`
    extra_vars: VarsForm,
    warnings: Vec<String>,
    plays: Vec<PlayForm>,
    tasks: Vec<TaskForm>,
    blocks: Vec<Block>,
    includes: Vec<ContextForm>,
    tables: Tables,
    /// Uses of roles so far.
    role_instances: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlayForm {
    play: Play,
    layers: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gather: Option<TaskForm>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TaskForm {
    task: Task,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    search: Option<usize>,
}

impl Playbook {
    /// The plan as JSON, with a newline at the end.
    ///
    /// # Errors
    /// A playbook or a file of tasks that is encrypted as a whole: it would stand there plain.
    pub fn print(&self) -> Result<String, PlaybookError> {
        let Includes { library, .. } = &*self.includes;
        if let Some(path) = library.encrypted().first() {
            return Err(PlaybookError::whole(
                path,
                "the file is encrypted as a whole, and its tasks would be printed plain",
            )
            .hint(Some("encrypt the variables that are secret instead, one by one or in files of their own")));
        }
        let mut fields = view::of(&self.plan);
        let form = serde_json::to_value(self.form()).map_err(|error| self.unprintable(&error))?;
        fields.insert("rustle_exec".to_owned(), form);
        let text = serde_json::to_string_pretty(&fields).map_err(|error| self.unprintable(&error))?;
        Ok(text + "\n")
    }

    fn unprintable(&self, error: &serde_json::Error) -> PlaybookError {
        PlaybookError::whole(Path::new(&self.plan.source()), format!("the plan cannot be printed: {error}"))
    }

    fn form(&self) -> PlanForm {
        let Includes { library, contexts, role_instances } = &*self.includes;
        let mut writer = Writer::default();
        let plays = self.plan.plays.iter().map(|play| PlayForm::of(play, &mut writer)).collect();
        let tasks = self.plan.tasks.iter().map(|task| TaskForm::of(task, &mut writer)).collect();
        let includes = contexts.all().iter().map(|context| ContextForm::of(context, &mut writer)).collect();
        PlanForm {
            version: VERSION,
            sources: self.plan.sources.clone(),
            base: self.base.clone(),
            projects: library.projects(),
            extra_vars: VarsForm::of(&library.around.extra),
            warnings: self.plan.warnings.clone(),
            plays,
            tasks,
            blocks: self.plan.blocks.clone(),
            includes,
            tables: writer.finish(),
            role_instances: role_instances.load(Ordering::Relaxed),
        }
    }
}

impl PlayForm {
    fn of(play: &Play, writer: &mut Writer) -> PlayForm {
        PlayForm {
            layers: writer.layers(&play.layers),
            gather: play.gather.as_ref().map(|task| TaskForm::of(task, writer)),
            play: play.clone(),
        }
    }

    fn read(self, id: usize, tables: &Reader) -> Result<Play, String> {
        let mut play = self.play;
        if play.id.index() != id {
            return Err(format!("play {id} calls itself {}", play.id.index()));
        }
        play.layers = tables.layers(&self.layers)?;
        play.gather = self.gather.map(|task| task.read(tables)).transpose()?.map(Box::new);
        Ok(play)
    }
}

impl TaskForm {
    fn of(task: &Task, writer: &mut Writer) -> TaskForm {
        TaskForm {
            layers: writer.layers(&task.layers),
            role: task.role.as_ref().map(|role: &Arc<RoleInfo>| writer.role(role)),
            search: task.search.as_ref().map(|search| writer.search(search)),
            task: task.clone(),
        }
    }

    fn read(self, tables: &Reader) -> Result<Task, String> {
        self.task.run_as.check()?;
        Ok(Task {
            layers: tables.layers(&self.layers)?.into(),
            role: self.role.map(|place| tables.role(place)).transpose()?,
            search: self.search.map(|place| tables.search(place)).transpose()?,
            ..self.task
        })
    }
}

impl Printed {
    /// Reads what [`Playbook::print`] printed. `name` is what messages call it.
    ///
    /// # Errors
    /// Another version of the form, or JSON that is no plan.
    pub fn parse(name: &str, json: &str) -> Result<Printed, PlaybookError> {
        let wrong = |error: serde_json::Error| PlaybookError::whole(Path::new(name), error.to_string());
        let Header { rustle_exec: Version { version } } = serde_json::from_str(json).map_err(wrong)?;
        if version != VERSION {
            let what = format!("the plan is of version {version}, and this program reads version {VERSION}");
            return Err(PlaybookError::whole(Path::new(name), what)
                .hint(Some("print it again: a plan is run by the release that printed it")));
        }
        let Body { rustle_exec: form } = serde_json::from_str(json).map_err(wrong)?;
        let digest = crate::plan::digest(json).map_err(wrong)?;
        Ok(Printed { name: name.to_owned(), digest, form })
    }

    /// The folder of its first playbook.
    pub fn base(&self) -> &Path {
        &self.form.base
    }

    /// What `-e` said when it was printed.
    ///
    /// # Errors
    /// A file among it that no password of `vault` fits.
    pub fn extra_vars(&mut self, vault: &Vault) -> Result<VarMap, PlaybookError> {
        std::mem::take(&mut self.form.extra_vars).read(vault).map_err(|what| self.wrong(what))
    }

    /// The plan, with its plays' hosts as `inventory` has them now.
    ///
    /// # Errors
    /// A plan that contradicts itself, or holds what cannot be decrypted; a question that cannot be asked.
    pub fn into_playbook(
        self,
        surroundings: Surroundings,
        inventory: &Inventory,
        prompts: Prompts<'_>,
    ) -> Result<Playbook, PlaybookError> {
        let name = self.name.clone();
        self.read(surroundings, inventory, prompts).map_err(|what| PlaybookError::whole(Path::new(&name), what))
    }

    fn wrong(&self, what: String) -> PlaybookError {
        PlaybookError::whole(Path::new(&self.name), what)
    }

    fn read(
        self,
        mut surroundings: Surroundings,
        inventory: &Inventory,
        prompts: Prompts<'_>,
    ) -> Result<Playbook, String> {
        let form = self.form;
        surroundings.paths.add_project(&form.base);
        let mut tables = Reader::new(form.tables, &surroundings.vault)?;
        let known = Known {
            templar: surroundings.templar.clone(),
            extra: Arc::clone(&surroundings.extra),
            layers: Vec::new(),
            magic: magic(inventory, &form.base),
            modules: Arc::clone(&surroundings.modules),
        };
        let library = Library::new(surroundings);
        for folder in &form.projects {
            library.add_project(folder);
        }
        for PlayForm { play, layers, .. } in &form.plays {
            let vars = Layer::new(Precedence::PlayVars, var_map(play.vars.clone()));
            tables.ask(layers, &Known { layers: vec![vars], ..known.clone() }, prompts)?;
        }
        check_contexts(&form.includes, form.blocks.len())?;
        let contexts = Arc::new(Contexts::default());
        let mut files = Files::default();
        for context in form.includes {
            let magic = magic(inventory, context.playbook_dir());
            contexts.keep(context.read(&tables, &Known { magic, ..known.clone() }, &mut files)?);
        }
        let mut plays = Vec::with_capacity(form.plays.len());
        for (id, play) in form.plays.into_iter().enumerate() {
            plays.push(in_inventory(play.read(id, &tables)?, inventory)?);
        }
        let plan = Plan {
            sources: form.sources,
            plays,
            tasks: form.tasks.into_iter().map(|task| task.read(&tables)).collect::<Result<_, _>>()?,
            blocks: form.blocks,
            check_mode: false,
            diff: false,
            forks: None,
            digest: self.digest,
            warnings: form.warnings,
        };
        check(&plan, contexts.all().len())?;
        let includes = Arc::new(Includes { library, contexts, role_instances: AtomicU32::new(form.role_instances) });
        Ok(Playbook { plan, includes, base: form.base, hindrance: None })
    }
}

/// The play with the hosts that its pattern means now.
fn in_inventory(mut play: Play, inventory: &Inventory) -> Result<Play, String> {
    if !play.patterns.is_empty() {
        let found = hosts_of(inventory, &play.patterns.join(",")).map_err(|error| error.to_string())?;
        play.hosts = play.order.of(found.hosts);
        play.empty_reason = found.empty_reason;
    }
    Ok(play)
}

fn check_contexts(contexts: &[ContextForm], blocks: usize) -> Result<(), String> {
    contexts.iter().filter_map(|context| context.within).try_for_each(|within| known_block(within, blocks))
}

fn known_block(within: Within, blocks: usize) -> Result<(), String> {
    match within.block.index() < blocks {
        true => Ok(()),
        false => Err(format!("there is no {}, of which there are {blocks}", within.block)),
    }
}

/// Ids are places in the plan's lists, as everybody relies on from here on.
fn check(plan: &Plan, includes: usize) -> Result<(), String> {
    for (place, block) in plan.blocks.iter().enumerate() {
        // What is around a block comes before it.
        block.parent.map_or(Ok(()), |parent| known_block(parent, place))?;
    }
    for (place, task) in plan.tasks.iter().enumerate() {
        if task.id.index() != place {
            return Err(format!("task {place} calls itself {}", task.id.index()));
        }
        check_play(task.play, plan)?;
        task.within.map_or(Ok(()), |within| known_block(within, plan.blocks.len()))?;
        if task.include.is_some_and(|include| include.index() >= includes) {
            return Err(format!("{}: there is no such include, of which there are {includes}", task.id));
        }
    }
    for play in &plan.plays {
        let gathering = play.gathering.task.iter();
        play.tasks.iter().chain(&play.handlers).chain(gathering).try_for_each(|id| check_task(*id, play, plan))?;
    }
    Ok(())
}

fn check_play(id: PlayId, plan: &Plan) -> Result<(), String> {
    match id.index() < plan.plays.len() {
        true => Ok(()),
        false => Err(format!("there is no {id}, of which there are {}", plan.plays.len())),
    }
}

fn check_task(id: TaskId, play: &Play, plan: &Plan) -> Result<(), String> {
    match plan.tasks.get(id.index()) {
        Some(task) if task.play == play.id => Ok(()),
        Some(task) => Err(format!("{id} is of {}, and {} has it", task.play, play.id)),
        None => Err(format!("there is no {id}, of which there are {}", plan.tasks.len())),
    }
}

#[cfg(test)]
mod tests;
