//! What ansible-core and collections, in their `meta/runtime.yml`, say of modules: where they and action plug-ins are now that have
//! moved or what was said when they were removed (`plugin_routing`), in ansible-core for names from before there were collections,
//! and which belong together (`action_groups`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustle_agent::module::shown;

use crate::input::yaml::{Kind, Node, compose};

/// Larger files are not read: ansible-core's has 300 KB.
const BYTES_MAX: u64 = 8 << 20;

/// Files of routes, each read once, when a name is asked for that is nowhere else.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<HashMap<PathBuf, Arc<Known>>>);

/// What a file says.
#[derive(Debug, Default)]
struct Known {
    /// The full names of what has moved, by kind (`modules`, `action`) and the name it had.
    moved: HashMap<(String, String), String>,
    /// By the same, those that are no more.
    removed: HashMap<(String, String), Removal>,
    groups: HashMap<String, ActionGroup>,
}

/// What is said of a plug-in that is no more (`tombstone`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    warning_text: Option<String>,
    removal_version: Option<String>,
    removal_date: Option<String>,
}

impl Removal {
    /// In Ansible's words, of the `module` that has this full name.
    pub(super) fn sentence(&self, full_name: &str, module: &str) -> String {
        let home = match full_name.rsplit_once('.') {
            Some((home, _)) if home != "ansible.builtin" => format!("collection '{home}'"),
            _ => "ansible-core".to_owned(),
        };
        let advice = self.warning_text.as_ref().map(|text| format!(" {}.", text.trim_end_matches('.')));
        let since = match (&self.removal_version, &self.removal_date) {
            (_, Some(date)) => format!(" in a release after {date}"),
            (Some(version), None) => format!(" version {version}"),
            (None, None) => String::new(),
        };
        let advice = advice.unwrap_or_default();
        format!("The '{full_name}' {module} has been removed.{advice} This feature was removed from {home}{since}.")
    }
}

/// Modules that share `module_defaults`, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionGroup {
    pub(super) members: Vec<String>,
    /// Groups whose members it has, too.
    pub(super) extended: Vec<String>,
}

impl Routes {
    /// The full name that `name` has now, as `file` says; nothing if there is no such file, or it cannot be read.
    pub(super) fn redirect(&self, file: &Path, kind: &str, name: &str) -> Option<String> {
        self.known(file).moved.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// What `file` says of `name` if it is no more.
    pub(super) fn removal(&self, file: &Path, kind: &str, name: &str) -> Option<Removal> {
        self.known(file).removed.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// The action group that `file` calls `name`.
    pub(super) fn group(&self, file: &Path, name: &str) -> Option<ActionGroup> {
        self.known(file).groups.get(name).cloned()
    }

    fn known(&self, file: &Path) -> Arc<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned();
        known.unwrap_or_else(|| {
            let known = Arc::new(read(file).unwrap_or_default());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), Arc::clone(&known));
            known
        })
    }
}

fn read(file: &Path) -> Option<Known> {
    std::fs::metadata(file).ok().filter(|there| there.is_file() && there.len() <= BYTES_MAX)?;
    let root = compose(&std::fs::read_to_string(file).ok()?).ok()?.root?;
    let entries = |name: &str| entry(&root, name).and_then(Node::as_map).unwrap_or_default();
    let mut known = Known::default();
    for (kind, plugins) in entries("plugin_routing") {
        for (name, route) in plugins.as_map().unwrap_or_default() {
            let key = || (kind.text.clone(), name.text.clone());
            if let Some(to) = entry(route, "redirect").and_then(Node::as_str) {
                known.moved.insert(key(), to.to_owned());
            }
            if let Some(tombstone) = entry(route, "tombstone") {
                known.removed.insert(key(), removal(tombstone));
            }
        }
    }
    let groups = entries("action_groups").iter();
    known.groups = groups.map(|(name, members)| (name.text.clone(), action_group(members))).collect();
    Some(known)
}

fn removal(tombstone: &Node) -> Removal {
    let text = |name: &str| match &entry(tombstone, name)?.kind {
        Kind::Scalar(value) if !value.is_null() => Some(shown(value)),
        _ => None,
    };
    Removal {
        warning_text: text("warning_text"),
        removal_version: text("removal_version"),
        removal_date: text("removal_date"),
    }
}

fn action_group(members: &Node) -> ActionGroup {
    let mut group = ActionGroup::default();
    for member in members.as_list().unwrap_or_default() {
        let extended = entry(member, "metadata").and_then(|metadata| entry(metadata, "extend_group"));
        group.members.extend(member.as_str().map(str::to_owned));
        group.extended.extend(extended.map(names).unwrap_or_default());
    }
    group
}

/// A name, or a list of them.
fn names(node: &Node) -> Vec<String> {
    let one = std::slice::from_ref(node);
    node.as_list().unwrap_or(one).iter().filter_map(Node::as_str).map(str::to_owned).collect()
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.as_map()?.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_leads_from_one_kind_and_name_to_a_full_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "plugin_routing:\n  modules:\n    sysctl: {redirect: ansible.posix.sysctl}\n    old: {tombstone: {}}\n  \
                    action:\n    patch: {redirect: ansible.posix.patch}\n";
        std::fs::write(file.path(), text).unwrap();
        let routes = Routes::default();
        let to = |kind, name| routes.redirect(file.path(), kind, name);
        assert_eq!(to("modules", "sysctl").as_deref(), Some("ansible.posix.sysctl"));
        assert_eq!(to("action", "patch").as_deref(), Some("ansible.posix.patch"));
        assert_eq!((to("action", "sysctl"), to("modules", "old")), (None, None));
    }

    #[test]
    fn what_is_no_more_is_told_with_what_was_said_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "plugin_routing:\n  modules:\n    a: {tombstone: {removal_version: 2.0.0, warning_text: Use b.}}\n    \
                    b: {tombstone: {removal_date: 2023-05-16}}\n    c: {tombstone: {}}\n";
        std::fs::write(file.path(), text).unwrap();
        let routes = Routes::default();
        let said = |name: &str, home: &str| {
            let removal = routes.removal(file.path(), "modules", name).unwrap();
            removal.sentence(&format!("{home}.{name}"), "module")
        };
        let removed = "module has been removed.";
        let from = "This feature was removed from";
        assert_eq!(said("a", "n.c"), format!("The 'n.c.a' {removed} Use b. {from} collection 'n.c' version 2.0.0."));
        let date = "ansible-core in a release after 2023-05-16.";
        assert_eq!(said("b", "ansible.builtin"), format!("The 'ansible.builtin.b' {removed} {from} {date}"));
        assert_eq!(said("c", "n.c"), format!("The 'n.c.c' {removed} {from} collection 'n.c'."));
        assert_eq!(routes.removal(file.path(), "action", "a"), None);
    }

    #[test]
    fn an_action_group_has_modules_and_the_groups_that_it_extends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "action_groups:\n  all:\n  - one\n  - a.b.two\n  - metadata: {extend_group: [more, c.d.more]}\n  \
                    less: [three, metadata: {extend_group: all}]\n";
        std::fs::write(file.path(), text).unwrap();
        let routes = Routes::default();
        let group = |members: &[&str], extended: &[&str]| {
            let [members, extended] =
                [members, extended].map(|names| names.iter().map(|&name| name.to_owned()).collect());
            Some(ActionGroup { members, extended })
        };
        assert_eq!(routes.group(file.path(), "all"), group(&["one", "a.b.two"], &["more", "c.d.more"]));
        assert_eq!(routes.group(file.path(), "less"), group(&["three"], &["all"]));
        assert_eq!(routes.group(file.path(), "none"), None);
    }

    #[test]
    fn what_cannot_be_read_has_no_routes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "plugin_routing: [").unwrap();
        assert_eq!(Routes::default().redirect(file.path(), "modules", "x"), None);
        assert_eq!(Routes::default().redirect(Path::new("/no/such"), "modules", "x"), None);
    }
}
