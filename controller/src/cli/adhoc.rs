//! `rustle-exec adhoc PATTERN -m MODULE -a ARGS`: one module on many hosts, as a plan of one task.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use rustle_protocol::{HostName, Value};

use super::ansible_settings::AnsibleSettings;
use super::args::AdhocArgs;
use super::session::{Session, registry};
use super::settings::Settings;
use super::{CliError, chain, init_logging, inventory};
use crate::exit_code::ExitCode;
use crate::input::inventory::{self as patterns, Inventory, LOCALHOSTS, UnknownNames};
use crate::plan::{Background, Plan, PlayId, Task, TaskId};
use crate::report::Answers;
use crate::template::{Authored, Templar, python_type};
use crate::vars::Scope;

/// Between looks at what runs in the background, if nobody says otherwise.
const POLL_SECONDS: u32 = 15;

/// Modules that say nothing without arguments.
const NEEDS_ARGS: [&str; 4] = ["command", "shell", "raw", "script"];

pub(super) fn run(args: AdhocArgs) -> Result<ExitCode, CliError> {
    let mut settings = Settings::read(&args.common, None)?;
    settings.report.adhoc = Some(if args.one_line { Answers::OneLine } else { Answers::Long });
    settings.report.tree = args.tree.clone();
    settings.run.flush_facts = args.flush_cache;
    init_logging(settings.log_level.as_deref())?;
    let (default_module, default_args) = AnsibleSettings::read().adhoc_module();
    let module = args.module.unwrap_or(default_module);
    let task_args = args.args.unwrap_or(default_args);
    if NEEDS_ARGS.contains(&rustle_agent::module::short_name(&module)) && task_args.trim().is_empty() {
        let is_playbook = args.pattern.ends_with(".yml");
        let meant = if is_playbook { " (did you mean to run ansible-playbook?)" } else { "" };
        return Err(CliError::input(format!("No argument passed to {module} module{meant}")));
    }
    let registry = registry(&settings)?;
    let templar = super::modules::templar(&registry, &settings);
    let pattern = pattern(&args.pattern, &settings, &templar)?;
    let playbook_dir = args.playbook_dir.or_else(|| settings.playbook_dir.clone());
    let lab = super::lab::wanted(&args.common);
    let inventory = match args.common.lab {
        Some(count) => lab_inventory(count.max(1))?,
        None if settings.inventory.is_empty() && !is_this_machine(&pattern) => {
            return Err(
                CliError::input("no inventory").hint(Some("give one with -i, or --lab=N for a throw-away fleet"))
            );
        }
        None => {
            let load = if is_this_machine(&pattern) { inventory::load_or_none } else { inventory::load };
            load(&settings.inventory, &settings.vault, playbook_dir.as_deref(), &settings.extra_vars)?
        }
    };
    let hosts = select(&inventory, &pattern, settings.limit.as_deref())?;
    if hosts.is_empty() {
        super::warn("No hosts matched, nothing to do");
        return if args.list_hosts { super::print("  hosts (0):\n") } else { Ok(ExitCode::Success) };
    }
    if args.list_hosts {
        let names: String = hosts.iter().map(|host| format!("    {host}\n")).collect();
        return super::print(&format!("  hosts ({}):\n{names}", hosts.len()));
    }
    let no_log = settings.play_defaults.no_log;
    let base = match playbook_dir {
        Some(folder) => {
            folder.canonicalize().map_err(|error| CliError::input(format!("{}: {error}", folder.display())))?
        }
        None => std::env::current_dir().map_err(|error| CliError::own(format!("no working directory: {error}")))?,
    };
    let surroundings = super::playbook::surroundings(&settings, &registry, &templar);
    let (fragments, include) = crate::input::playbook::without_playbook(&base, surroundings)
        .map_err(|error| CliError::input(chain(&error)))?;
    let module = included(&module);
    let short = rustle_agent::module::short_name(module);
    let include = matches!(short, "include_role" | "include_tasks").then_some(include);
    if include.is_none() && registry.find(module).is_none() {
        // Said of the module, not of arguments that nobody can read without it.
        super::plan::check_modules(&plan(module, IndexMap::new(), hosts.clone()), &registry)?;
    }
    let task_args = crate::input::from_text(module, &task_args, &registry)
        .map_err(|error| CliError::input(format!("-a: {error}")))?;
    let mut plan = plan(module, task_args, hosts);
    plan.tasks[0].include = include;
    plan.tasks[0].no_log = no_log.into();
    plan.tasks[0].background = args.background.map(|limit| Background {
        limit: Duration::from_secs(limit.into()).into(),
        poll: Duration::from_secs(args.poll.or(settings.poll_interval).unwrap_or(POLL_SECONDS).into()).into(),
    });
    super::plan::check_modules(&plan, &registry)?;
    Session {
        settings,
        inventory,
        plan,
        templar,
        registry,
        base,
        lab,
        fragments: Some(fragments),
        piped: None,
        only: None,
        answers: Vec::new(),
    }
    .run()
}

/// The pattern, which may be a template: of a name, or of a list of names.
fn pattern(written: &str, settings: &Settings, templar: &Templar) -> Result<String, CliError> {
    let authored = Authored::from_value(written.into());
    if !authored.needs_rendering() {
        return Ok(written.to_owned());
    }
    let wrong = |why: String| CliError::input(format!("Error processing keyword 'hosts': {why}"));
    let scope = Scope::of(templar, [Arc::clone(&settings.extra_vars)]);
    let name = |value: &Value| match value {
        Value::String(name) => Ok(name.clone()),
        other => Err(wrong(format!("Keyword 'hosts' items must be of type 'str', not '{}'.", python_type(other)))),
    };
    match templar.render(&authored, &scope).map_err(|error| wrong(error.to_string()))? {
        Value::List(names) => names.iter().map(name).collect::<Result<Vec<_>, _>>().map(|names| names.join(",")),
        other => name(&other),
    }
}

/// Of one task there is nothing to import into: what is imported is included.
fn included(module: &str) -> &str {
    match rustle_agent::module::short_name(module) {
        "import_role" => "include_role",
        "import_tasks" => "include_tasks",
        _ => module,
    }
}

/// Whether it can be reached though there is no inventory.
fn is_this_machine(pattern: &str) -> bool {
    LOCALHOSTS.contains(&pattern)
}

/// lab1 to labN, in `all`.
pub(super) fn lab_inventory(count: u32) -> Result<Inventory, CliError> {
    let names: Vec<String> = (1..=count).map(|n| format!("lab{n}")).collect();
    Inventory::of_hosts(names.iter().map(String::as_str)).map_err(|error| CliError::input(chain(&error)))
}

/// The pattern's hosts that the limit leaves. As in Ansible, a name that nobody has is warned of, and a pattern may mean
/// nobody; a limit may not.
fn select(inventory: &Inventory, pattern: &str, limit: Option<&str>) -> Result<Vec<HostName>, CliError> {
    let wrong = |error: patterns::PatternError| CliError::input(error.to_string()).hint(error.hint());
    let (mut hosts, unknown) = patterns::select_known(inventory, pattern).map_err(wrong)?;
    for name in unknown {
        let what = format!("Could not match supplied host pattern, ignoring: {name}");
        match inventory.unknown_names() {
            UnknownNames::Warn => super::warn(&what),
            UnknownNames::Ignore => {}
            UnknownNames::Refuse => return Err(CliError::input(what)),
        }
    }
    if let Some(limit) = limit {
        let limited = patterns::limit(inventory, limit).map_err(wrong)?;
        let is_anybody = !hosts.is_empty();
        hosts.retain(|host| limited.contains(host));
        if is_anybody && hosts.is_empty() {
            return Err(CliError::input(format!("`{pattern}` limited to `{limit}` leaves no host")));
        }
    }
    Ok(hosts)
}

fn plan(module: &str, args: IndexMap<String, Authored>, hosts: Vec<HostName>) -> Plan {
    let mut task = Task::new(TaskId(0), PlayId(0), module);
    task.args = args;
    let mut plan = Plan::of_task(task, hosts);
    plan.sources = vec!["ad-hoc".to_owned()];
    plan.plays.iter_mut().for_each(|play| play.name = "Ad-hoc".to_owned());
    plan
}
