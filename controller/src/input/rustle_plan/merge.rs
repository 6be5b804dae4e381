//! One list of tasks out of a play's batches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rustle_protocol::HostName;

use super::model::{HandlerFile, PlayFile, TaskFile};
use crate::input::graph;

/// A task of the play and all hosts that any batch gives it to.
pub(super) struct Merged<'a> {
    pub(super) task: &'a TaskFile,
    pub(super) hosts: BTreeSet<&'a HostName>,
}

/// The play's tasks in `execution_order`, each after those it depends on.
///
/// # Errors
/// One place in the order for two different tasks, a dependency on nothing, a circle.
pub(super) fn merge(play: &PlayFile) -> Result<Vec<Merged<'_>>, String> {
    let mut by_order: BTreeMap<u32, Merged<'_>> = BTreeMap::new();
    for batch in &play.batches {
        for task in &batch.tasks {
            let hosts = if task.hosts.is_empty() { &batch.hosts } else { &task.hosts };
            let merged =
                by_order.entry(task.execution_order).or_insert_with(|| Merged { task, hosts: BTreeSet::new() });
            if !merged.task.is_same(task) {
                return Err(format!(
                    "execution_order {} names two different tasks, `{}` ({}) and `{}` ({})",
                    task.execution_order, merged.task.name, merged.task.task_id, task.name, task.task_id
                ));
            }
            merged.hosts.extend(hosts);
        }
    }
    in_order_of_dependencies(by_order.into_values().collect())
}

fn in_order_of_dependencies(tasks: Vec<Merged<'_>>) -> Result<Vec<Merged<'_>>, String> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, merged) in tasks.iter().enumerate() {
        places.entry(&merged.task.task_id).or_default().push(at);
    }
    let needs = tasks
        .iter()
        .enumerate()
        .map(|(at, merged)| merged.task.dependencies.iter().map(|id| place_of(&places, id, at, merged.task)).collect())
        .collect::<Result<Vec<Vec<usize>>, String>>()?;
    let order =
        graph::order(&needs).map_err(|circle| chain(circle.iter().map(|at| tasks[*at].task.task_id.as_str())))?;
    let mut tasks: Vec<Option<Merged<'_>>> = tasks.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| tasks[at].take()).collect())
}

/// Ids repeat: the nearest task before is meant, else the first after.
fn place_of(places: &HashMap<&str, Vec<usize>>, id: &str, at: usize, task: &TaskFile) -> Result<usize, String> {
    let candidates = places.get(id).map(Vec::as_slice).unwrap_or_default();
    let before = candidates.iter().rev().find(|place| **place < at);
    before.or(candidates.first()).copied().ok_or_else(|| {
        let id = crate::input::source::shown(id);
        format!("task `{}` ({}) depends on `{id}`, which is no task of the play", task.name, task.task_id)
    })
}

/// The sentence for a circle of dependencies.
pub(super) fn chain<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut ids: Vec<&str> = ids.collect();
    ids.extend(ids.first().copied());
    format!("dependencies run in a circle: {}", ids.join(" > "))
}

/// The play's handlers in the order of their definition.
///
/// # Errors
/// One place in the order for two different handlers.
pub(super) fn handlers(play: &PlayFile) -> Result<Vec<&HandlerFile>, String> {
    let mut by_order: BTreeMap<u32, &HandlerFile> = BTreeMap::new();
    for handler in &play.handlers {
        if let Some(other) = by_order.insert(handler.execution_order, handler) {
            return Err(format!(
                "execution_order {} names two handlers, `{}` ({}) and `{}` ({})",
                handler.execution_order, other.name, other.handler_id, handler.name, handler.handler_id
            ));
        }
    }
    Ok(by_order.into_values().collect())
}
