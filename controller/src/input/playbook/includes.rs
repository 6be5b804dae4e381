//! What `include_tasks` and `include_role` bring while a plan runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustle_protocol::value::Map;

use super::apply_role::RoleUse;
use super::around::{Around, Known, absolute};
use super::error::PlaybookError;
use super::import::{RoleFrom, flag};
use super::keywords::{Keywords, var_map};
use super::library::Library;
use super::tree::Vars;
use super::unfold::{Made, Unfold, looked, no_such_file, noun};
use crate::input::source::{Place, shown};
use crate::plan::{
    Fragment, Fragments, IncludeId, Inclusion, NotIncluded, Play, PlayRoles, Task, TaskId, VarsFile, VarsFiles,
};
use crate::vars::{Layer, Precedence};

/// What stands around an include, kept until a host comes to it.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) around: Around,
    pub(super) known: Known,
    pub(super) playbook_dir: Arc<Path>,
    /// `apply`: keywords and variables for everything that is included.
    pub(super) apply: Option<(Keywords, Vars)>,
}

/// The contexts of all includes of a plan.
#[derive(Default)]
pub(super) struct Contexts(Mutex<Vec<Arc<Context>>>);

impl Contexts {
    /// # Panics
    /// Never: there are fewer includes than tasks, and those are bounded.
    pub(super) fn keep(&self, context: Context) -> IncludeId {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::new(context));
        IncludeId(u32::try_from(all.len() - 1).expect("fewer includes than tasks, and those are bounded"))
    }

    pub(super) fn all(&self) -> Vec<Arc<Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn get(&self, id: IncludeId) -> Option<Arc<Context>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id.index()).cloned()
    }
}

/// A playbook that was read, as far as its includes need it.
pub(super) struct Includes {
    pub(super) library: Library,
    pub(super) contexts: Arc<Contexts>,
    pub(super) role_instances: AtomicU32,
}

impl VarsFiles for Includes {
    fn variables(&self, path: &Path) -> Result<VarsFile, String> {
        self.library.variables(path).map_err(|error| match error.advice() {
            Some(advice) => format!("{error}; hint: {advice}"),
            None => error.to_string(),
        })
    }
}

impl Fragments for Includes {
    fn fragment(&self, play: &Play, including: &Task, wish: &Inclusion) -> Result<Fragment, NotIncluded> {
        let id = including.include.ok_or("the task includes nothing that could be read")?;
        let context = self.contexts.get(id).ok_or("the task is of another playbook")?;
        self.include(play, including, wish, &context).map_err(|error| NotIncluded {
            is_broken: error.is_broken_text(),
            said: error.absent().map(str::to_owned),
            what: match error.advice() {
                Some(advice) => format!("{error}; hint: {advice}"),
                None => error.to_string(),
            },
        })
    }
}

impl Includes {
    fn include(
        &self,
        play: &Play,
        including: &Task,
        wish: &Inclusion,
        context: &Context,
    ) -> Result<Fragment, PlaybookError> {
        let mut made = Made { role_instances: self.role_instances.load(Ordering::Relaxed), ..Made::default() };
        let mut around = context.around.clone();
        around.within = None;
        if let Some((keywords, vars)) = &context.apply {
            around = around.inside(keywords, vars, Precedence::BlockVars);
        }
        around.add_layers([
            Layer { precedence: Precedence::IncludeParams, vars: Arc::clone(&wish.locals) },
            Layer { precedence: Precedence::IncludeParams, vars: var_map(including.vars.clone()) },
        ]);
        let mut unfold = Unfold {
            library: &self.library,
            known: context.known.clone(),
            playbook_dir: &context.playbook_dir,
            made: &mut made,
            blank: Task::new(TaskId(0), play.id, ""),
            exposed: Vec::new(),
            roles: PlayRoles::default(),
            handlers: Vec::new(),
            contexts: &self.contexts,
        };
        let place = match &including.position {
            Some(origin) => Place::of(origin),
            None => Place::whole("include"),
        };
        let mut steps = Vec::new();
        let label = match super::names::core_name(&including.module) {
            Some("include_role") => {
                let own = including.vars.iter().map(|(name, value)| (name.clone(), value.source()));
                let of_loop = wish.locals.iter().map(|(name, variable)| (name.clone(), variable.source()));
                include_role(&mut unfold, wish, own.chain(of_loop).collect(), &around, place, &mut steps)?
            }
            _ => include_tasks(&mut unfold, &wish.args, &around, &place, &mut steps)?,
        };
        let Unfold { exposed, handlers, roles, .. } = unfold;
        self.role_instances.store(made.role_instances, Ordering::Relaxed);
        Ok(Fragment {
            label,
            tasks: made.tasks,
            blocks: made.blocks,
            steps,
            handlers,
            exposed,
            roles,
            warnings: self.library.take_warnings(),
        })
    }
}

fn include_tasks(
    unfold: &mut Unfold<'_>,
    args: &Map,
    around: &Around,
    place: &Place,
    steps: &mut Vec<TaskId>,
) -> Result<String, PlaybookError> {
    let name =
        args.get("file").or_else(|| args.get("_raw_params")).map(rustle_agent::module::shown).unwrap_or_default();
    let path: PathBuf = unfold.included_file(&name, around).map_err(|places| {
        let what = format!("Could not find or access '{}' on the Ansible Controller.", shown(&name));
        around.wrong_at(place, what).hint(Some(looked(&places))).absence(no_such_file(&places))
    })?;
    let file = unfold.library.tasks(&path, noun(around), &around.collections)?;
    let inner = around.in_file(place, &path, &file.document)?;
    unfold.entries(&file.entries, &inner, steps)?;
    Ok(told_path(&name, path, around).display().to_string())
}

/// The path of an included file as Ansible tells it: with the steps back (`..`) of a name that another file of tasks says.
fn told_path(name: &str, path: PathBuf, around: &Around) -> PathBuf {
    let is_beside = match &around.role {
        Some(role) => around.folders.first().is_some_and(|folder| *folder == role.path.join("tasks")),
        None => around.depth > 0,
    };
    if is_beside && !Path::new(name).is_absolute() { path } else { absolute(&path) }
}

fn include_role(
    unfold: &mut Unfold<'_>,
    wish: &Inclusion,
    told: Map,
    around: &Around,
    place: Place,
    steps: &mut Vec<TaskId>,
) -> Result<String, PlaybookError> {
    let args = &wish.args;
    let text = |name: &str| args.get(name).filter(|value| !value.is_null()).map(rustle_agent::module::shown);
    let name = text("name").or_else(|| text("role")).unwrap_or_default();
    let used = RoleUse {
        name: name.clone(),
        place,
        keywords: Keywords::default(),
        vars: Vars::new(),
        params: Vars::new(),
        from: RoleFrom {
            tasks: text("tasks_from"),
            vars: text("vars_from"),
            defaults: text("defaults_from"),
            handlers: text("handlers_from"),
        },
        told,
        allow_duplicates: Some(flag(args.get("allow_duplicates"), true)),
        public: flag(args.get("public"), false),
        validate: flag(args.get("rolespec_validate"), true),
        is_dependency: false,
    };
    unfold.role(&used, around, steps)?;
    Ok(name)
}
