//! `module_defaults`: arguments for every task of a module, or of a group of modules.

use super::around::{Around, Known};
use super::error::PlaybookError;
use super::keywords::Keywords;
use crate::plan::{GATHER_FACTS, Task};
use crate::template::Authored;

/// Gives `task` the arguments that `keywords` has for its module and that it does not have itself.
///
/// # Errors
/// Defaults that are no dict, once known.
pub(super) fn apply(task: &mut Task, keywords: &Keywords, around: &Around, known: &Known) -> Result<(), PlaybookError> {
    if keywords.module_defaults.is_empty() {
        return Ok(());
    }
    for module in asked(&task.module, known) {
        apply_those_of(&module, task, keywords, around, known)?;
    }
    Ok(())
}

/// Whose defaults count, the first before the others: what gathers facts hands its arguments on to `setup`.
fn asked(module: &str, known: &Known) -> Vec<String> {
    let full_name = known.modules.full_name(module);
    let handed_on = (full_name == GATHER_FACTS).then(|| "ansible.builtin.setup".to_owned());
    [full_name].into_iter().chain(handed_on).collect()
}

fn apply_those_of(
    module: &str,
    task: &mut Task,
    keywords: &Keywords,
    around: &Around,
    known: &Known,
) -> Result<(), PlaybookError> {
    // The innermost counts: what it says is there when the outer ones are looked at.
    for written in keywords.module_defaults.iter().rev() {
        let levels = match &written.value {
            Authored::Map(map) => map.clone(),
            Authored::Template(_)
            | Authored::Data(_)
            | Authored::Unsafe(_)
            | Authored::Sealed(_)
            | Authored::List(_) => {
                let value = known.render(written, around)?;
                let Some(map) = value.as_map() else {
                    let what = format!("`module_defaults` must be a dict, not a {}", value.kind());
                    return Err(around.wrong_at(&written.place, what));
                };
                map.iter().map(|(name, value)| (name.clone(), Authored::from_value(value.clone()))).collect()
            }
        };
        let (groups, modules): (Vec<_>, Vec<_>) = levels.iter().partition(|(name, _)| name.starts_with("group/"));
        let is_same = |name: &str| known.modules.full_name(name) == module;
        let for_module = modules.into_iter().filter(|(name, _)| is_same(name)).map(|(_, args)| args);
        let for_group = groups.into_iter().filter(|(name, _)| is_member(name, module, known)).map(|(_, args)| args);
        let all: Vec<Authored> = for_module.chain(for_group).cloned().collect();
        for args in all {
            for (name, value) in entries(&args) {
                task.args.entry(name).or_insert(value);
            }
        }
    }
    Ok(())
}

fn entries(args: &Authored) -> Vec<(String, Authored)> {
    args.clone().into_entries().unwrap_or_default().into_iter().collect()
}

/// Whether a module is in `group/ns.col.name`.
fn is_member(group: &str, module: &str, known: &Known) -> bool {
    group.strip_prefix("group/").is_some_and(|group| known.modules.is_in_group(module, group))
}
