//! `rustle-exec [OPTIONS] PLAN`: reads everything, checks everything, then runs.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustle_protocol::HostName;

use super::adhoc::lab_inventory;
use super::args::{ConnectionPlugin, GatherFacts, PlanArgs};
use super::session::{Session, registry};
use super::settings::Settings;
use super::{CliError, chain, dry_run, init_logging, inventory, playbook};
use crate::engine::Registry;
use crate::exit_code::ExitCode;
use crate::input::inventory::{self as patterns, Inventory};
use crate::input::playbook::{Printed, SearchPaths};
use crate::input::{self, InputError, LoadRequest, Loaded, Opened, PLAN_BYTES_MAX, PlanSource};
use crate::plan::check::check_modules as problems_of;
use crate::plan::{Plan, TagFilter, start_at};
use crate::template::{Conditionals, Templar};

/// Problems shown before "and more": nobody mends more at once.
const PROBLEMS_SHOWN: usize = 20;

pub(super) fn run(mut args: PlanArgs) -> Result<ExitCode, CliError> {
    let settings = Settings::read(&args.common, Some(&args))?;
    init_logging(settings.log_level.as_deref())?;
    args.plan = args.plan.into_iter().map(|path| in_collection(path, &settings.search_paths)).collect();
    let is_playbook = args.plan.iter().any(|path| playbook::is_playbook(path));
    if is_playbook && args.is_listing() && !args.dry_run {
        return super::print(&playbook::list(&args, &settings)?);
    }
    let session = match is_playbook {
        true => playbook::prepare(&args, settings)?,
        false => prepare(&args, settings)?,
    };
    if args.dry_run {
        return super::print(&dry_run::describe(&session.plan));
    }
    session.run()
}

/// The file of a playbook that is named as one of a collection, `ns.col.name`; anything else is a path.
fn in_collection(path: PathBuf, search_paths: &SearchPaths) -> PathBuf {
    let places = path.to_str().filter(|_| !path.exists()).map(|name| search_paths.playbooks(name, None));
    places.into_iter().flatten().find(|place| place.is_file()).unwrap_or(path)
}

/// Everything that can be known to be wrong is known when this returns; nobody has been contacted.
fn prepare(args: &PlanArgs, mut settings: Settings) -> Result<Session, CliError> {
    if let Some(option) = args.listing_option() {
        return Err(CliError::input(format!("{option} is for playbooks; --dry-run shows what a plan holds")));
    }
    let [path] = &args.plan[..] else {
        return Err(CliError::input("several plans: only playbooks can be given together"));
    };
    let piped = if path == Path::new("-") { Some(read_piped(&settings)?) } else { None };
    let source = piped.clone().map_or_else(|| PlanSource::Path(path.to_owned()), PlanSource::Bytes);
    let source = match input::open(source).map_err(input_error)? {
        Opened::Other(source) => source,
        Opened::Printed { name, json } => {
            let printed = Printed::parse(&name, &json).map_err(playbook::error)?;
            return playbook::prepare_printed(printed, piped, args, settings);
        }
    };
    settings.run.conditionals = Conditionals::Lenient;
    settings.run.unknown_handler_ends_run = false;
    let registry = registry(&settings)?;
    let given = given_inventory(args, &settings, None)?;
    let request =
        LoadRequest { plan: source, parsed: args.parsed.as_deref(), inventory: given.as_ref(), modules: &registry };
    let loaded = input::load(request).map_err(input_error)?;
    let Loaded { mut plan, inventory: from_plan } = loaded;
    let lab = super::lab::wanted(&args.common);
    let inventory = inventory_of(&plan, given, from_plan, lab.is_some(), settings.connection)?;
    let templar = super::modules::templar(&registry, &settings);
    let only = adjust(&mut plan, args, &settings, &inventory, &templar)?;
    check_modules(&plan, &registry)?;
    if !settings.forks_given
        && let Some(forks) = plan.forks.and_then(std::num::NonZeroUsize::new)
    {
        settings.run.limits.forks = forks;
    }
    let base = match path.parent() {
        _ if path.as_path() == Path::new("-") => PathBuf::from("."),
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let base = base.canonicalize().map_err(|error| CliError::input(format!("{}: {error}", base.display())))?;
    let (fragments, answers) = (None, Vec::new());
    Ok(Session { settings, inventory, plan, templar, registry, base, lab, fragments, piped, only, answers })
}

/// What `-i` or `--lab` gives. `playbook` is the folder of the playbook, which may hold variables of hosts and groups.
pub(super) fn given_inventory(
    args: &PlanArgs,
    settings: &Settings,
    playbook: Option<&Path>,
) -> Result<Option<Inventory>, CliError> {
    match args.common.lab {
        Some(count @ 1..) => lab_inventory(count).map(Some),
        _ if settings.inventory.is_empty() => Ok(None),
        _ => inventory::load(&settings.inventory, &settings.vault, playbook, &settings.extra_vars).map(Some),
    }
}

/// A plan from a pipe; of a run that goes on, the copy that was kept of it.
fn read_piped(settings: &Settings) -> Result<Vec<u8>, CliError> {
    let Some(id) = settings.journal.resume else { return read_stdin() };
    let folder = settings.journal.runs()?.find(&id.to_string()).map_err(|error| CliError::input(chain(&error)))?;
    let copy = folder.plan_copy();
    std::fs::read(&copy).map_err(|error| CliError::input(format!("cannot read {}: {error}", copy.display())))
}

fn read_stdin() -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().lock().take(PLAN_BYTES_MAX + 1);
    stdin.read_to_end(&mut bytes).map_err(|error| CliError::input(format!("cannot read standard input: {error}")))?;
    Ok(bytes)
}

/// The inventory given, else the one inside the parsed playbook, else, where it does not matter how hosts are reached,
/// the plan's own hosts.
fn inventory_of(
    plan: &Plan,
    given: Option<Inventory>,
    from_plan: Option<Inventory>,
    lab: bool,
    connection: ConnectionPlugin,
) -> Result<Inventory, CliError> {
    if let Some(inventory) = given.or(from_plan) {
        return Ok(inventory);
    }
    if !lab && connection == ConnectionPlugin::Agent {
        return Err(CliError::input("no inventory: a plan says which hosts, not where they are")
            .hint(Some("give one with -i, or --lab to try the plan on throw-away agents")));
    }
    let hosts = plan.hosts();
    Inventory::of_hosts(hosts.iter().map(|host| host.as_str())).map_err(|error| CliError::input(chain(&error)))
}

/// What flags change in the plan. Gives who alone takes part whatever tasks add, if that is so.
pub(super) fn adjust(
    plan: &mut Plan,
    args: &PlanArgs,
    settings: &Settings,
    inventory: &Inventory,
    templar: &Templar,
) -> Result<Option<HashSet<HostName>>, CliError> {
    let mut only = None;
    if let Some(pattern) = &settings.limit {
        let hosts = patterns::limit(inventory, pattern)
            .map_err(|error| CliError::input(error.to_string()).hint(error.hint()))?;
        plan.limit_to(&hosts);
    }
    if let Some(run) = &args.retry_failed {
        let failed = super::runs::failed_hosts(&settings.journal.runs()?, run)?;
        plan.limit_to(&failed);
        only = Some(failed.into_iter().collect());
        if plan.hosts().is_empty() {
            return Err(CliError::input(format!(
                "--retry-failed {run}: no play has a host that failed or was unreachable in it"
            )));
        }
    }
    if plan.hosts().is_empty() {
        return Err(nobody(plan, settings.limit.as_deref()));
    }
    input::check_hosts(plan, inventory, "the inventory").map_err(input_error)?;
    let tags = TagFilter::new(&settings.run_tags, &settings.skip_tags);
    tags.apply(plan);
    if let Some(name) = &args.start_at_task {
        start_at(plan, name).map_err(|error| {
            let nearest = error.nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
            CliError::input(error.to_string()).hint(nearest)
        })?;
    }
    if let Some(strategy) = settings.strategy {
        plan.set_strategy(strategy);
    }
    if let Some(sizes) = &settings.serial {
        plan.set_serial(sizes);
    }
    let always = match settings.gather_facts {
        GatherFacts::Auto => None,
        GatherFacts::Always => Some(true),
        GatherFacts::Never => Some(false),
    };
    plan.gather_facts(always, &tags, templar);
    Ok(only)
}

/// An empty target is an error, never "all".
fn nobody(plan: &Plan, limit: Option<&str>) -> CliError {
    if let Some(limit) = limit {
        return CliError::input(format!("--limit {limit}: none of these hosts is in a play of {}", plan.source()));
    }
    if plan.plays.is_empty() {
        return CliError::input(format!("{}: there is no play in it", plan.source()));
    }
    let reasons: Vec<_> = plan
        .plays
        .iter()
        .filter_map(|play| play.empty_reason.as_ref().map(|reason| format!("\n  play `{}`: {reason}", play.name)))
        .collect();
    CliError::input(format!("{}: no play has any host{}", plan.source(), reasons.concat()))
}

/// # Errors
/// Every module and argument that cannot be right.
pub(super) fn check_modules(plan: &Plan, registry: &Registry) -> Result<(), CliError> {
    let problems = problems_of(plan, registry);
    let Some(first) = problems.first() else { return Ok(()) };
    let mut lines: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).map(ToString::to_string).collect();
    if problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    Err(CliError::input(format!("{}: {}", plan.source(), lines.join("\n  "))).hint(first.hint.clone()))
}

fn input_error(error: InputError) -> CliError {
    let hint = error.hint();
    CliError::input(chain(&error)).hint(hint)
}
