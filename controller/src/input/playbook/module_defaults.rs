//! `module_defaults`: arguments for every task of a module, or of a group of modules.

use std::path::Path;

use super::around::{Around, Known};
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::Keywords;
use super::names::core_name;
use crate::input::yaml::Node;
use crate::plan::Task;
use crate::template::Authored;
use crate::vault::Vault;

/// Gives `task` the arguments that `keywords` has for its module and that it does not have itself.
///
/// # Errors
/// Defaults that are no dict, once known.
pub(super) fn apply(task: &mut Task, keywords: &Keywords, around: &Around, known: &Known) -> Result<(), PlaybookError> {
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
        let for_module = modules.into_iter().filter(|(name, _)| is_same(name, &task.module)).map(|(_, args)| args);
        let for_group =
            groups.into_iter().filter(|(name, _)| is_member(name, &task.module, known)).map(|(_, args)| args);
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

/// Whether two names mean one module: `copy` is `ansible.builtin.copy`.
fn is_same(one: &str, other: &str) -> bool {
    match (core_name(one), core_name(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a module is in `group/ns.col.name`, as the collection's `meta/runtime.yml` has it.
fn is_member(group: &str, module: &str, known: &Known) -> bool {
    let Some((collection, name)) = group.strip_prefix("group/").and_then(|group| group.rsplit_once('.')) else {
        return false;
    };
    let folders = known.collections.iter();
    let mut files = folders.map(|folder| {
        folder.join("ansible_collections").join(collection.replace('.', "/")).join("meta").join("runtime.yml")
    });
    files.find(|file| file.is_file()).is_some_and(|file| lists(&file, collection, name, module, 0))
}

/// Groups may extend others, to a depth that ends circles.
fn lists(file: &Path, collection: &str, group: &str, module: &str, depth: usize) -> bool {
    const DEPTH_MAX: usize = 8;
    let Ok(document) = Document::read(file, &Vault::default()) else { return false };
    let entry = |node: &Node, name: &str| {
        node.as_map().and_then(|entries| entries.iter().find(|(key, _)| key.text == name)).map(|(_, node)| node.clone())
    };
    let groups = document.root.as_ref().and_then(|root| entry(root, "action_groups"));
    let members = groups.as_ref().and_then(|groups| entry(groups, group));
    let members = members.as_ref().and_then(Node::as_list).unwrap_or_default();
    let full = |name: &str| if name.contains('.') { name.to_owned() } else { format!("{collection}.{name}") };
    members.iter().any(|member| match member.as_str() {
        Some(name) => is_same(&full(name), module),
        None => {
            let extended = entry(member, "metadata").and_then(|metadata| entry(&metadata, "extend_group"));
            let names = extended.as_ref().and_then(Node::as_list).unwrap_or_default();
            depth < DEPTH_MAX
                && names.iter().filter_map(Node::as_str).any(|name| {
                    let own = name.strip_prefix(&format!("{collection}.")).unwrap_or(name);
                    lists(file, collection, own, module, depth + 1)
                })
        }
    })
}
