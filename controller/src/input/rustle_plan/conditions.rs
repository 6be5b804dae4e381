//! What a task's conditions mean.

use std::collections::BTreeSet;

use rustle_protocol::HostName;

use super::model::Condition;
use crate::input::Context;
use crate::input::assemble::Assembly;
use crate::input::inventory::{Inventory, PatternError, select};
use crate::plan::Task;

/// Applies `conditions` to `task`, and says whether the task stays in the plan. `skip_tags` are those that the plan was
/// made with.
///
/// # Errors
/// In a sentence: a host pattern that is none.
pub(super) fn apply(
    task: &mut Task,
    conditions: &[Condition],
    skip_tags: &[String],
    assembly: &mut Assembly,
    cx: &Context<'_>,
) -> Result<bool, String> {
    let mut kept = true;
    for condition in conditions {
        match condition {
            Condition::When { expression } if expression.trim().is_empty() => {}
            Condition::When { expression } => task.when.push(expression.as_str().into()),
            Condition::Tag { tags } => add_tags(task, tags),
            Condition::SkipTag { tags } => {
                kept &= !tags.iter().any(|tag| skip_tags.contains(tag));
                add_tags(task, tags);
            }
            Condition::CheckMode { enabled } => assembly.check_mode |= enabled,
            Condition::Host { pattern } => {
                let matching = matching(pattern, assembly.hosts(), cx)?;
                let hosts = task.hosts.take().unwrap_or_else(|| assembly.hosts().iter().cloned().collect());
                task.hosts = Some(hosts.intersection(&matching).cloned().collect());
            }
        }
    }
    Ok(kept)
}

/// Tags of a condition are tags of the task, so that the run's own `--tags` and `--skip-tags` see them.
fn add_tags(task: &mut Task, tags: &[String]) {
    for tag in tags {
        if !task.tags.contains(tag) {
            task.tags.push(tag.clone());
        }
    }
}

fn matching(pattern: &str, hosts: &[HostName], cx: &Context<'_>) -> Result<BTreeSet<HostName>, String> {
    let of_play;
    let inventory = match cx.inventory {
        Some(inventory) => inventory,
        None => {
            of_play = Inventory::of_hosts(hosts.iter().map(HostName::as_str)).map_err(|error| error.to_string())?;
            &of_play
        }
    };
    match select(inventory, pattern) {
        Ok(hosts) => Ok(hosts.into_iter().collect()),
        Err(PatternError::Empty { .. } | PatternError::NoHosts { .. }) => Ok(BTreeSet::new()),
        Err(error) => Err(format!("its host condition: {error}")),
    }
}
