//! What can be known to be wrong with a plan's modules and arguments before any host is contacted.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use rustle_agent::module::args::{nearest, unknown_args, value_error};
use rustle_agent::module::{ArgError, ArgKind, ArgSpec, short_name};
use rustle_agent::modules;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::{BlockId, Keyword, Plan, Section, Task, TaskId, Within};
use crate::template::Authored;

/// The modules that a run can use: the agents' own, the controller's, those in files.
pub trait ModuleCatalog {
    /// The module under this name, short or qualified.
    fn find(&self, name: &str) -> Option<ModuleInfo>;

    /// Every name, for suggestions.
    fn names(&self) -> Vec<&str>;

    /// The folder of a playbook or a role has been read: modules in it are found from now on.
    fn add_project(&self, _folder: &Path) {}

    /// The full name of the module that `name` leads to, wherever that has moved.
    fn full_name(&self, name: &str) -> String {
        name.to_owned()
    }

    /// Why there is no module of this name any more, if somebody wrote that down.
    fn removal(&self, _name: &str) -> Option<String> {
        None
    }

    /// Whether `module` is in the action group `group`, `NAMESPACE.COLLECTION.NAME`.
    fn is_in_group(&self, _module: &str, _group: &str) -> bool {
        false
    }

    /// # Errors
    /// What is wrong with these arguments, which hold no template, beyond what each argument's own spec says: two that
    /// exclude each other, one that another needs.
    fn validate(&self, _name: &str, _args: &Map) -> Result<(), ArgError> {
        Ok(())
    }
}

/// What a plan has to keep to when it uses a module.
#[derive(Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// Every argument.
    pub groups: &'static [&'static [ArgSpec]],
    /// Takes arguments that no spec names: `set_fact`, modules from files.
    pub any_arguments: bool,
}

impl ModuleInfo {
    pub fn specs(&self) -> impl Iterator<Item = &'static ArgSpec> {
        self.groups.iter().copied().flatten()
    }

    /// The argument called so, or with such an alias.
    pub fn spec(&self, name: &str) -> Option<&'static ArgSpec> {
        self.specs().find(|spec| spec.name == name || spec.aliases.contains(&name))
    }

    /// Whether the argument is text, so that a bool given for it was text once.
    pub fn wants_text(&self, name: &str) -> bool {
        self.spec(name).is_some_and(|spec| matches!(spec.kind, ArgKind::Str | ArgKind::Path) && spec.choices.is_empty())
    }
}

/// The modules compiled into agents.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeModules;

impl ModuleCatalog for NativeModules {
    fn find(&self, name: &str) -> Option<ModuleInfo> {
        modules::find(name)
            .map(|module| ModuleInfo { groups: module.arg_groups(), any_arguments: module.takes_any_arguments() })
    }

    fn names(&self) -> Vec<&str> {
        modules::MODULES
            .iter()
            .flat_map(|module| std::iter::once(short_name(module.name())).chain(module.aliases().iter().copied()))
            .collect()
    }
}

/// Something wrong with a task, that would fail on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub task: TaskId,
    /// The play's and the task's names, as an operator looks for them.
    pub place: String,
    pub what: String,
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Checks every task and handler: the module exists, its arguments are known, complete and, where they hold no
/// template, of the right type and in agreement. Problems come in the plan's order, at most one for each argument.
///
/// Arguments are left alone where the play itself deals with a failure of the task (`is_expected`): they may be wrong on
/// purpose, and are the task's failure when it runs.
pub fn check_modules(plan: &Plan, catalog: &dyn ModuleCatalog) -> Vec<Problem> {
    let mut problems = Vec::new();
    let rescued = rescued_blocks(plan);
    for play in &plan.plays {
        for id in play.tasks.iter().chain(&play.handlers) {
            let task = plan.task(*id);
            let place = format!("play `{}`, task `{}`", play.name, task.title());
            let problem = |(what, hint)| Problem { task: *id, place: place.clone(), what, hint };
            problems.extend(check_task(task, catalog, is_expected(plan, task, &rescued)).into_iter().map(problem));
        }
    }
    problems
}

/// Whether the play itself says what a failure of the task means: it is ignored, judged by `failed_when`, or rescued.
fn is_expected(plan: &Plan, task: &Task, rescued: &HashSet<BlockId>) -> bool {
    task.failure.ignore_errors != Keyword::Is(false)
        || !task.failed_when.is_empty()
        || around(plan, task).any(|within| within.section == Section::Tasks && rescued.contains(&within.block))
}

fn rescued_blocks(plan: &Plan) -> HashSet<BlockId> {
    let places = plan.tasks.iter().flat_map(|task| around(plan, task));
    places.filter(|within| within.section == Section::Rescue).map(|within| within.block).collect()
}

/// The places in blocks where the task stands, the innermost first.
fn around<'p>(plan: &'p Plan, task: &Task) -> impl Iterator<Item = Within> + 'p {
    std::iter::successors(task.within, |within| plan.blocks[within.block.index()].parent)
}

type Finding = (String, Option<String>);

fn check_task(task: &Task, catalog: &dyn ModuleCatalog, may_fail: bool) -> Vec<Finding> {
    if task.include.is_some() {
        // Whoever reads what it includes knows its arguments.
        return Vec::new();
    }
    if crate::template::needs_rendering(&task.module) {
        // Which module it is, and so its arguments, is known when a host comes to it.
        return Vec::new();
    }
    match catalog.find(&task.module) {
        Some(_) if may_fail => Vec::new(),
        Some(module) => check_args(task, module, catalog),
        None => {
            let names = catalog.names();
            let short = short_name(&task.module);
            let hint = nearest(short, names.into_iter()).map(|name| format!("did you mean `{name}`?"));
            vec![(format!("there is no module `{}`", task.module), hint)]
        }
    }
}

/// Arguments between the controller and its agents, which no task may give.
///
/// # Errors
/// The first of them.
pub fn no_inner_arguments<'n>(module: &str, mut names: impl Iterator<Item = &'n String>) -> Result<(), ArgError> {
    // What these are given are variables, with the names that variables may have.
    let takes_variables = matches!(short_name(module), "set_fact" | "add_host");
    match names.find(|name| name.starts_with('_') && *name != "_raw_params" && !takes_variables) {
        Some(name) => Err(ArgError::Rule(format!("argument `{name}` begins with `_`, which is reserved"))),
        None => Ok(()),
    }
}

fn check_args(task: &Task, module: ModuleInfo, catalog: &dyn ModuleCatalog) -> Vec<Finding> {
    if let Err(error) = no_inner_arguments(&task.module, task.args.keys()) {
        return vec![finding(&error)];
    }
    if module.any_arguments {
        return combination(task, catalog).into_iter().collect();
    }
    let is_unknown = |(name, value): &(&String, &Authored)| module.spec(name).is_none() && !value.may_be_omitted();
    let unknown: Vec<String> = task.args.iter().filter(is_unknown).map(|(name, _)| name.clone()).collect();
    let mut findings = Vec::new();
    if !unknown.is_empty() {
        findings.push(finding(&unknown_args(short_name(&task.module), unknown, module.groups)));
    }
    let mut missing: Vec<String> = module
        .specs()
        .filter(|spec| spec.required && given(task, spec).is_none())
        .map(|spec| spec.name.to_owned())
        .collect();
    missing.sort_unstable();
    // A template that is all arguments may hold any of them.
    if !missing.is_empty() && task.more_args.is_none() {
        findings.push(finding(&ArgError::Missing(missing)));
    }
    for spec in module.specs() {
        if let Some(Authored::Data(value)) = given(task, spec)
            && let Err(why) = (spec.check)(value)
        {
            findings.push(finding(&value_error(spec, &why)));
        }
    }
    if findings.is_empty() {
        findings.extend(combination(task, catalog));
    }
    findings
}

/// What is wrong with the arguments taken together; known only if none of them is still a template.
fn combination(task: &Task, catalog: &dyn ModuleCatalog) -> Option<Finding> {
    if task.more_args.is_some() || task.args.values().any(Authored::needs_rendering) {
        return None;
    }
    let args = task.args.iter().map(|(name, value)| (name.clone(), value.source())).collect();
    catalog.validate(&task.module, &args).err().map(|error| finding(&error))
}

fn finding(error: &ArgError) -> Finding {
    (error.to_string(), None)
}

/// The value under the argument's name or one of its aliases; `null` is the same as nothing.
fn given<'t>(task: &'t Task, spec: &ArgSpec) -> Option<&'t Authored> {
    std::iter::once(&spec.name)
        .chain(spec.aliases)
        .filter_map(|name| task.args.get(*name))
        .find(|value| !matches!(value, Authored::Data(Value::Null)))
}

#[cfg(test)]
mod tests {
    use rustle_agent::arguments;
    use rustle_agent::module::ModuleArgs;

    use super::*;
    use crate::plan::{Block, Failure, PlayId};

    arguments! {
        struct CopyArgs {
            dest | "path": String,
            backup: bool = false,
            content: Option<String>,
        }
    }

    struct Catalog;

    impl ModuleCatalog for Catalog {
        fn find(&self, name: &str) -> Option<ModuleInfo> {
            match name {
                "copy" => Some(ModuleInfo { groups: CopyArgs::GROUPS, any_arguments: false }),
                "set_fact" => Some(ModuleInfo { groups: &[], any_arguments: true }),
                _ => None,
            }
        }

        fn names(&self) -> Vec<&str> {
            vec!["copy", "set_fact"]
        }

        fn validate(&self, name: &str, args: &Map) -> Result<(), ArgError> {
            let rule = name == "copy" && args.contains_key("content") && args.contains_key("backup");
            if rule { Err(ArgError::Rule("content excludes backup".to_owned())) } else { Ok(()) }
        }
    }

    fn findings(module: &str, args: &str) -> Vec<Finding> {
        let mut task = Task::new(TaskId(0), PlayId(0), module);
        let args: Map = serde_json::from_str(args).unwrap();
        task.args = args.into_iter().map(|(name, value)| (name, Authored::from_value(value))).collect();
        check_task(&task, &Catalog, false)
    }

    fn first(module: &str, args: &str) -> String {
        let (what, hint) = findings(module, args).remove(0);
        hint.map_or(what.clone(), |hint| format!("{what} ({hint})"))
    }

    #[test]
    fn what_fits_is_no_problem() {
        assert_eq!(findings("copy", r#"{"path": "/x", "backup": "yes"}"#), []);
        assert_eq!(findings("set_fact", r#"{"anything": 1}"#), []);
    }

    #[test]
    fn a_template_that_is_all_arguments_may_hold_what_is_missing() {
        let mut task = Task::new(TaskId(0), PlayId(0), "copy");
        assert_eq!(check_task(&task, &Catalog, false).len(), 1);
        task.more_args = Some(Authored::from_value("{{ all }}".into()));
        assert_eq!(check_task(&task, &Catalog, false), []);
    }

    #[test]
    fn an_argument_that_may_be_omitted_may_be_one_that_there_is_not() {
        assert_eq!(findings("copy", r#"{"dest": "/x", "sum": "{{ sum | default(omit) }}"}"#), []);
        assert!(first("copy", r#"{"dest": "/x", "sum": "{{ sum }}"}"#).starts_with("Unsupported parameters"));
    }

    #[test]
    fn an_unknown_module_is_told_with_the_nearest_name() {
        assert_eq!(first("coppy", "{}"), "there is no module `coppy` (did you mean `copy`?)");
        assert_eq!(
            first("ansible.builtin.coppy", "{}"),
            "there is no module `ansible.builtin.coppy` (did you mean `copy`?)"
        );
        assert_eq!(first("frobnicate", "{}"), "there is no module `frobnicate`");
    }

    #[test]
    fn unknown_missing_and_ill_typed_arguments_are_told() {
        assert!(first("copy", r#"{"dst": "/x", "dest": "/x"}"#).contains("Did you mean `dest`?"));
        assert_eq!(first("copy", r#"{"dest": null}"#), "missing required arguments: dest");
        assert_eq!(
            first("copy", r#"{"dest": "/x", "backup": "maybe"}"#),
            "argument 'backup' is of type str and we were unable to convert to bool: The value 'maybe' is not a valid \
             boolean: use yes or no"
        );
        assert_eq!(findings("copy", r#"{"bogus": 1, "backup": "maybe"}"#).len(), 3);
    }

    fn told(task: Task, blocks: Vec<Block>, more: Vec<Task>) -> usize {
        let mut plan = Plan::of_task(task, vec!["web1".parse().unwrap()]);
        plan.blocks = blocks;
        for task in more {
            let id = TaskId(plan.tasks.len() as u32);
            plan.tasks.push(Task { id, ..task });
            plan.plays[0].tasks.push(id);
        }
        check_modules(&plan, &Catalog).len()
    }

    #[test]
    fn arguments_are_left_to_the_run_where_the_play_deals_with_the_failure() {
        let task = |module: &str| Task::new(TaskId(0), PlayId(0), module);
        let copy = || task("copy");
        assert_eq!(told(copy(), Vec::new(), Vec::new()), 1);
        let ignore_errors = |ignore_errors| Failure { ignore_errors, ..Failure::default() };
        let ignoring = |keyword| Task { failure: ignore_errors(keyword), ..copy() };
        assert_eq!(told(ignoring(Keyword::Is(true)), Vec::new(), Vec::new()), 0);
        let template = Keyword::late(Authored::from_value("{{ careless }}".into()));
        assert_eq!(told(ignoring(template), Vec::new(), Vec::new()), 0);
        let judged = Task { failed_when: vec!["false".into()], ..copy() };
        assert_eq!(told(judged, Vec::new(), Vec::new()), 0);
        let unknown = Task { failure: ignore_errors(Keyword::Is(true)), ..task("coppy") };
        assert_eq!(told(unknown, Vec::new(), Vec::new()), 1, "a module that nobody has is no argument");
    }

    #[test]
    fn a_rescue_deals_with_failures_of_its_block_and_of_blocks_in_it_and_not_with_its_own() {
        let within = |block, section| Some(Within { block: BlockId(block), section });
        let copy = |within| Task { within, ..Task::new(TaskId(0), PlayId(0), "copy") };
        let rescue =
            || vec![Task { within: within(0, Section::Rescue), ..Task::new(TaskId(0), PlayId(0), "set_fact") }];
        let outer = Block::default();
        let inner = Block { parent: within(0, Section::Tasks), ..Block::default() };
        let blocks = vec![outer, inner];
        assert_eq!(told(copy(within(0, Section::Tasks)), blocks.clone(), rescue()), 0);
        assert_eq!(told(copy(within(1, Section::Tasks)), blocks.clone(), rescue()), 0);
        assert_eq!(told(copy(within(0, Section::Tasks)), blocks.clone(), Vec::new()), 1, "an always rescues nothing");
        assert_eq!(told(copy(within(0, Section::Rescue)), blocks.clone(), Vec::new()), 1);
        assert_eq!(told(copy(within(0, Section::Always)), blocks, rescue()), 1);
    }

    #[test]
    fn arguments_that_do_not_go_together_are_told_unless_one_is_still_a_template() {
        let problem = first("copy", r#"{"dest": "/x", "content": "x", "backup": true}"#);
        assert_eq!(problem, "content excludes backup");
        assert_eq!(findings("copy", r#"{"dest": "/x", "content": "{{ x }}", "backup": true}"#), []);
    }

    #[test]
    fn a_template_may_become_anything() {
        assert_eq!(findings("copy", r#"{"dest": "/x", "backup": "{{ maybe }}"}"#), []);
    }

    #[test]
    fn arguments_for_ansibles_inner_use_are_refused() {
        assert_eq!(
            first("copy", r#"{"dest": "/x", "_original_basename": "x"}"#),
            "argument `_original_basename` begins with `_`, which is reserved"
        );
    }
}
