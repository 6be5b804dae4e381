//! Playbooks on the command line: everything is read and checked before anybody is contacted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ansible_settings::AnsibleSettings;
use super::args::{PlanArgs, PlanFileArgs};
use super::asker::{Answers, Asker};
use super::listing::{self, Listed};
use super::session::{Session, registry};
use super::settings::Settings;
use super::{CliError, chain, inventory, plan};
use crate::engine::{Absent, Registry};
use crate::input::inventory::Inventory;
use crate::input::playbook::{self, Playbook, PlaybookError, PlaybookRequest, Printed, Prompts, Surroundings};
use crate::plan::{Plan, TagFilter};
use crate::template::Templar;

/// Whether a file is a playbook: by its name, or because its first line of content begins a list.
pub(super) fn is_playbook(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "yml" | "yaml" => true,
        _ if path == Path::new("-") => false,
        _ => std::fs::read_to_string(path).is_ok_and(|text| begins_a_list(&text)),
    }
}

fn begins_a_list(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '%']));
    let first = lines.find(|line| !line.starts_with("---"));
    first.is_some_and(|line| line.starts_with("- ") || line == "-" || line.starts_with('['))
}

/// Reads the playbooks and makes a run of them.
pub(super) fn prepare(args: &PlanArgs, settings: Settings) -> Result<Session, CliError> {
    let read = read(args, &settings)?;
    session(read, args, settings)
}

/// Makes a run of a plan that was printed. `piped` is its text if it came from a pipe.
pub(super) fn prepare_printed(
    mut printed: Printed,
    piped: Option<Vec<u8>>,
    args: &PlanArgs,
    mut settings: Settings,
) -> Result<Session, CliError> {
    if args.parsed.is_some() {
        return Err(CliError::input("--parsed is for plans of rustle-plan: nothing is lost in this one"));
    }
    // As weak as the first `-e`.
    let mut extra = printed.extra_vars(&settings.vault).map_err(error)?;
    extra.extend(Arc::unwrap_or_clone(settings.extra_vars));
    settings.extra_vars = extra.into();
    let Around { registry, templar, inventory, unread } = around(args, &settings, printed.base())?;
    let surroundings = surroundings(&settings, &registry, &templar);
    let asker = Asker::of(&settings.journal)?;
    let playbook = printed.into_playbook(surroundings, &inventory, Prompts::Ask(&asker)).map_err(error)?;
    let read = Read { playbook, inventory, unread, registry, templar, answers: asker.answers() };
    Ok(Session { piped, ..session(read, args, settings)? })
}

fn session(read: Read, args: &PlanArgs, settings: Settings) -> Result<Session, CliError> {
    let Read { playbook, inventory, unread, mut registry, templar, answers } = read;
    let fragments = Some(playbook.fragments());
    let unusable = |error| CliError::input(format!("{}: {error}", playbook.base.display()));
    let base = playbook.base.canonicalize().map_err(unusable)?;
    let mut plan = playbook.plan;
    playbook.hindrance.map_or(Ok(()), |why| Err(error(why)))?;
    go_without(unread, &mut plan)?;
    check_beside(&plan, &inventory, &settings)?;
    stand_in(&mut registry, &mut plan);
    let lab = super::lab::wanted(&args.common);
    let only = plan::adjust(&mut plan, args, &settings, &inventory, &templar)?;
    plan::check_modules(&plan, &registry)?;
    tell_of_callbacks(&registry, &settings.other_callbacks);
    let piped = None;
    Ok(Session { settings, inventory, plan, templar, registry, base, lab, fragments, piped, only, answers })
}

/// Reads the variables of hosts and groups that stand beside imported playbooks, which count from their plays on: what is wrong
/// with them is told before anybody is contacted.
fn check_beside(plan: &Plan, inventory: &Inventory, settings: &Settings) -> Result<(), CliError> {
    let folders: BTreeSet<&Path> = plan.plays.iter().filter_map(|play| play.playbook_dir.as_deref()).collect();
    for folder in folders {
        let read = inventory.clone().reread_beside_playbook(Some(folder), &settings.vault);
        read.map_err(|error| CliError::input(error.to_string()))?;
    }
    Ok(())
}

/// The plan of playbooks as JSON. It is checked as for a run.
pub(super) fn print(args: &PlanFileArgs) -> Result<String, CliError> {
    let run = args.as_run().map_err(|error| CliError::own(format!("no working directory: {error}")))?;
    let settings = Settings::read(&run.common, Some(&run))?;
    super::init_logging(settings.log_level.as_deref())?;
    let Read { mut playbook, mut registry, unread, .. } = read_with(&run, &settings, Prompts::Keep)?;
    playbook.hindrance.take().map_or(Ok(()), |why| Err(error(why)))?;
    let mut checked = playbook.plan.clone();
    go_without(unread, &mut checked)?;
    stand_in(&mut registry, &mut checked);
    plan::check_modules(&checked, &registry)?;
    for warning in &checked.warnings {
        super::note(warning);
    }
    playbook.print().map_err(error)
}

/// Callback plug-ins change nothing on hosts, so a run goes on without them.
fn tell_of_callbacks(registry: &Registry, wanted: &[String]) {
    let files = Registry::files(registry).callback_plugins();
    let files = files.iter().map(|file| file.display().to_string());
    let names: Vec<String> = wanted.iter().cloned().chain(files).collect();
    if !names.is_empty() {
        super::note(&format!("callback plug-ins in Python are out of scope and not run: {}", names.join(", ")));
    }
}

/// What the playbooks hold, in Ansible's layout.
pub(super) fn list(args: &PlanArgs, settings: &Settings) -> Result<String, CliError> {
    let Read { playbook, mut registry, inventory, unread, .. } = read(args, settings)?;
    let listed = listed(&playbook);
    let mut plan = playbook.plan;
    go_without(unread, &mut plan)?;
    stand_in(&mut registry, &mut plan);
    plan::check_modules(&plan, &registry)?;
    if let Some(pattern) = &settings.limit {
        let hosts = crate::input::inventory::limit(&inventory, pattern)
            .map_err(|error| CliError::input(error.to_string()).hint(error.hint()))?;
        plan.limit_to(&hosts);
    }
    for warning in &plan.warnings {
        super::warn(warning);
    }
    let filter = TagFilter::new(&settings.run_tags, &settings.skip_tags);
    Ok(listing::describe(&plan, &listed, args, &filter))
}

/// What was read, before anything of the command line has changed it.
struct Read {
    playbook: Playbook,
    inventory: Inventory,
    unread: Option<CliError>,
    registry: Registry,
    templar: Templar,
    answers: Answers,
}

fn read(args: &PlanArgs, settings: &Settings) -> Result<Read, CliError> {
    let asker = Asker::of(&settings.journal)?;
    let prompts = if args.is_listing() { Prompts::Default } else { Prompts::Ask(&asker) };
    let mut read = read_with(args, settings, prompts)?;
    read.answers = asker.answers();
    Ok(read)
}

fn read_with(args: &PlanArgs, settings: &Settings, prompts: Prompts<'_>) -> Result<Read, CliError> {
    if let Some(path) = args.plan.iter().find(|path| !path.exists()) {
        return Err(CliError::input(format!("the playbook: {} could not be found", path.display())));
    }
    let Around { registry, templar, inventory, unread } = around(args, settings, &folder_of(&args.plan[0])?)?;
    let request = PlaybookRequest {
        paths: &args.plan,
        surroundings: surroundings(settings, &registry, &templar),
        inventory: &inventory,
        gather_facts: Some(settings.gathering.as_deref() != Some("explicit")),
        force_handlers: settings.force_handlers,
        defaults: settings.play_defaults.clone(),
        prompts,
    };
    let playbook = playbook::load(request).map_err(error)?;
    Ok(Read { playbook, inventory, unread, registry, templar, answers: Answers::new() })
}

/// Each playbook, with its plays.
fn listed(playbook: &Playbook) -> Vec<Listed> {
    let firsts = playbook.plan.plays.iter().filter(|play| play.playbook.is_some());
    let books = firsts.map(|first| playbook.plan.playbook_from(first.id));
    books.map(|(name, plays)| Listed { name, plays }).collect()
}

/// What there is beside a playbook in the folder `base`.
struct Around {
    registry: Registry,
    templar: Templar,
    inventory: Inventory,
    /// Why that is nobody but this machine, if another one was named.
    unread: Option<CliError>,
}

fn around(args: &PlanArgs, settings: &Settings, base: &Path) -> Result<Around, CliError> {
    let registry = registry(settings)?;
    let templar = super::modules::templar(&registry, settings);
    let (given, unread) = match plan::given_inventory(args, settings, Some(base)) {
        Ok(given) => (given, None),
        Err(error) if error.is_dispensable => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let inventory = match given {
        Some(inventory) => inventory,
        // Nobody but this machine itself.
        None => inventory::load(&[], &settings.vault, Some(base), &settings.extra_vars)?,
    };
    Ok(Around { registry, templar, inventory, unread })
}

/// An inventory that cannot be read is missed by nobody if every play has its hosts all the same: this machine.
///
/// # Errors
/// The inventory's own: there is a play for others, or the user has set that it is one.
fn go_without(unread: Option<CliError>, plan: &mut Plan) -> Result<(), CliError> {
    let Some(unread) = unread else { return Ok(()) };
    let ansible = AnsibleSettings::read();
    if ansible.unread_inventory_is_failure(false) || plan.plays.iter().any(|play| play.hosts.is_empty()) {
        return Err(unread);
    }
    let without = "No inventory was parsed, only implicit localhost is available".to_owned();
    let without = ansible.warns_of_no_inventory().then_some(without);
    plan.warnings.splice(0..0, [unread.on_one_line()].into_iter().chain(without));
    Ok(())
}

/// What is needed to understand a playbook beside the playbook itself.
pub(super) fn surroundings(settings: &Settings, registry: &Registry, templar: &Templar) -> Surroundings {
    Surroundings {
        modules: Arc::new(registry.clone()),
        paths: settings.search_paths.clone(),
        extra: Arc::clone(&settings.extra_vars),
        templar: templar.clone(),
        vault: settings.vault.clone(),
        smart_gathering: settings.gathering.as_deref() == Some("smart"),
        private_role_vars: settings.private_role_vars,
    }
}

fn folder_of(path: &Path) -> Result<PathBuf, CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().map_err(|error| CliError::input(format!("{}: {error}", folder.display())))
}

/// Modules of ansible-core that are not here, and action plug-ins in Python, fail when a host comes to them, as they may stand
/// behind a condition that no host of this run meets. That is told before the run.
fn stand_in(modules: &mut Registry, plan: &mut Plan) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut warnings = Vec::new();
    for task in plan.tasks.iter().filter(|task| task.include.is_none()) {
        let module = &task.module;
        // A template says which module it is when a host comes to it.
        if crate::template::needs_rendering(module) || !seen.insert(module) {
            continue;
        }
        let what = if let Some(file) = modules.action_plugin(module) {
            format!("'{module}' is an action plug-in in Python ({})", file.display())
        } else if modules.find(module).is_none() {
            let why = format!("rustle-exec has no module `{module}`; docs/modules.md lists those it has");
            modules.register(Arc::new(Absent::new(module, why)));
            format!("the module `{module}` is not here")
        } else {
            continue;
        };
        let place = task.position.as_ref().map(ToString::to_string).unwrap_or_default();
        warnings.push(format!("{place}: {what}; the task fails if a host comes to it"));
    }
    plan.warnings.extend(warnings);
}

pub(super) fn error(error: PlaybookError) -> CliError {
    let advice = error.advice().map(str::to_owned);
    CliError::input(chain(&error)).hint(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_playbook_and_json_of_a_plan_is_none() {
        for text in ["- hosts: all\n", "---\n# x\n- hosts: all\n", "\n[{hosts: all}]"] {
            assert!(begins_a_list(text), "{text:?}");
        }
        for text in ["{\"plays\": []}", "INFO x\n{}", ""] {
            assert!(!begins_a_list(text), "{text:?}");
        }
    }
}
