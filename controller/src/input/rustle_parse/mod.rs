//! The output of `rustle-parse`: a plan by itself, or what gives back to a plan of `rustle-plan` what that one lost.

mod inventory;
mod model;

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rustle_protocol::{HostName, Value};

pub(super) use inventory::inventory_of;
pub(super) use model::{ParsedFile, ParsedPlay, ParsedTask};

use super::assemble::Assembly;
use super::inventory::{PatternError, select};
use super::raw_task::expressions;
use super::rustle_plan::{name_of, serial};
use super::{Context, InputError, keywords};
use crate::event::TaskKind;
use crate::plan::{Delegation, Looping, Plan, Play, PlayId, Strategy, Task};
use crate::template::Authored;

/// Builds the plan that a parsed playbook describes.
pub(super) fn read(file: &ParsedFile, cx: &Context<'_>) -> Result<Plan, InputError> {
    if file.plays.is_empty() {
        return Err(cx.invalid("it has no plays", None));
    }
    let mut assembly = Assembly::new();
    for (at, play) in file.plays.iter().enumerate() {
        let (hosts, empty_reason) = match hosts_of(play, cx)? {
            Ok(hosts) => (hosts, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let made = Play {
            empty_reason,
            strategy: strategy(play, cx)?,
            waves: serial(play.serial),
            vars: vars_of(file, play),
            max_fail_percentage: play.max_fail_percentage,
            ..Play::new(PlayId(at as u32), play.name.clone(), hosts)
        };
        assembly.begin(made, &play.keywords, cx)?;
        if !play.roles.is_empty() {
            assembly.warn(format!(
                "play `{}`: its {} roles are not in the parsed playbook and do not run",
                play.name,
                play.roles.len()
            ));
        }
        add_tasks(play, &mut assembly, cx)?;
    }
    assembly.finish(cx)
}

fn strategy(play: &ParsedPlay, cx: &Context<'_>) -> Result<Strategy, InputError> {
    let short = play.strategy.as_deref().map(rustle_agent::module::short_name);
    match short {
        None | Some("linear") => Ok(Strategy::Linear),
        Some("free") => Ok(Strategy::Free),
        Some("host_pinned") => Ok(Strategy::HostPinned),
        Some(other) => {
            let what = format!("play `{}`: unknown strategy `{}`", play.name, super::source::shown(other));
            Err(cx.invalid(what, Some("linear, free and host_pinned are known")))
        }
    }
}

/// Adds the tasks and handlers of `play` to the play that was begun last.
pub(super) fn add_tasks(play: &ParsedPlay, assembly: &mut Assembly, cx: &Context<'_>) -> Result<(), InputError> {
    let tasks = play.tasks.iter().map(|task| (TaskKind::Task, task));
    let handlers = play.handlers.iter().map(|task| (TaskKind::Handler, task));
    for (kind, parsed) in tasks.chain(handlers) {
        let mut task = assembly.task(kind, &parsed.module);
        task.plan_id = parsed.id.clone();
        task.name = name_of(&parsed.name);
        task.tags = parsed.tags.clone();
        let noun = if kind == TaskKind::Task { "task" } else { "handler" };
        let place = format!("play `{}`, {noun} `{}`", play.name, task.title());
        let invalid = |what| cx.invalid(format!("{place}: {what}"), None);
        task.when = expressions(&parsed.when).ok_or_else(|| invalid("`when` is not a condition".to_owned()))?;
        enrich(&mut task, parsed).map_err(invalid)?;
        assembly.add(task, &parsed.args, &place, cx)?;
    }
    Ok(())
}

/// Gives `task` what `rustle-plan` does not pass on.
///
/// # Errors
/// In a sentence: a condition that is none, a keyword that means nothing.
pub(super) fn enrich(task: &mut Task, parsed: &ParsedTask) -> Result<(), String> {
    let condition = |name: &str, value: &Value| {
        expressions(value).ok_or_else(|| format!("`{name}` is a {}, which is not a condition", value.kind()))
    };
    task.vars = authored(&parsed.vars);
    let has_loop = !parsed.loop_items.is_null();
    task.looping = has_loop.then(|| Looping::over(Authored::from_value(parsed.loop_items.clone())));
    task.changed_when = condition("changed_when", &parsed.changed_when)?;
    task.failed_when = condition("failed_when", &parsed.failed_when)?;
    task.failure.ignore_errors = parsed.ignore_errors.into();
    let delegated = parsed.delegate_to.clone().map(|host| Authored::from_value(Value::String(host)));
    task.delegation = delegated.map(Delegation::to);
    task.notify = parsed.notify.clone();
    keywords::of_task(task, &parsed.keywords)
}

/// The play's variables; extra variables are over them.
pub(super) fn vars_of(file: &ParsedFile, play: &ParsedPlay) -> IndexMap<String, Authored> {
    let mut vars = authored(&play.vars);
    vars.extend(authored(&file.variables));
    vars
}

fn authored(vars: &rustle_protocol::value::Map) -> IndexMap<String, Authored> {
    vars.iter().map(|(name, value)| (name.clone(), Authored::from_value(value.clone()))).collect()
}

/// The hosts that the play's pattern means, or why it means nobody.
///
/// # Errors
/// What is not a pattern.
pub(super) fn hosts_of(play: &ParsedPlay, cx: &Context<'_>) -> Result<Result<Vec<HostName>, String>, InputError> {
    let pattern = match &play.hosts {
        Value::String(pattern) => Some(pattern.clone()),
        Value::List(parts) => parts.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|parts| parts.join(",")),
        Value::Null => Some(String::new()),
        _ => None,
    };
    let place = || format!("{}: play `{}`", cx.source, play.name);
    let Some(pattern) = pattern else {
        let what = format!("play `{}`: its hosts are a {}, not a pattern", play.name, play.hosts.kind());
        return Err(cx.invalid(what, None));
    };
    let Some(inventory) = cx.inventory else {
        return Ok(Err(format!("there is no inventory to find `{}` in", super::source::shown(&pattern))));
    };
    match select(inventory, &pattern) {
        Ok(hosts) => {
            let mut seen = BTreeSet::new();
            Ok(Ok(hosts.into_iter().filter(|host| seen.insert(host.clone())).collect()))
        }
        Err(error @ PatternError::Syntax { .. }) => Err(InputError::Pattern { place: place(), source: error }),
        Err(error) => Ok(Err(error.to_string())),
    }
}
