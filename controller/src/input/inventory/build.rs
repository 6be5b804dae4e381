//! An inventory in the making. Readers add to it in any order; [`Builder::finish`] settles who is ungrouped, how deep
//! groups are and which come first.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use indexmap::map::Entry;
use rustle_protocol::{HostName, Value};

use super::{
    Beside, FileVars, Group, GroupId, Host, HostId, Inventory, InventoryError, Limits, Rules, range, split_port,
};
use crate::input::source::{Place, shown};
use crate::vars::{VarMap, Variable};
use crate::vault::Vault;

#[derive(Clone)]
pub(in crate::input) struct Builder {
    pub(in crate::input) limits: Limits,
    hosts: IndexMap<HostName, HostDraft>,
    groups: IndexMap<Arc<str>, Group>,
    pub(in crate::input) rules: Rules,
    pub(in crate::input) warnings: Vec<String>,
    /// Opens what is encrypted in sources and files of variables.
    pub(in crate::input) vault: Vault,
    nothing: Arc<VarMap>,
    /// The source being read.
    pub(in crate::input) source: Option<Arc<str>>,
    /// The sources begun until now, as they were named.
    pub(in crate::input) sources: Vec<PathBuf>,
}

#[derive(Clone)]
struct HostDraft {
    source: Option<Arc<str>>,
    groups: Vec<GroupId>,
    vars: Arc<VarMap>,
    file_vars: FileVars,
}

impl FileVars {
    pub(super) fn of(&mut self, beside: Beside) -> &mut Arc<VarMap> {
        match beside {
            Beside::Inventory => &mut self.inventory,
            Beside::Playbook => &mut self.playbook,
        }
    }
}

impl Builder {
    pub(in crate::input) fn new(limits: Limits) -> Builder {
        let nothing = Arc::new(VarMap::new());
        let mut builder = Builder {
            limits,
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            rules: Rules::default(),
            warnings: Vec::new(),
            vault: Vault::default(),
            nothing,
            source: None,
            sources: Vec::new(),
        };
        builder.group("all");
        builder.group("ungrouped");
        builder
    }

    /// The group of this name, made if it is new.
    fn group(&mut self, name: &str) -> GroupId {
        if let Some(at) = self.groups.get_index_of(name) {
            return GroupId(at as u32);
        }
        let name: Arc<str> = name.into();
        let group = Group {
            name: Arc::clone(&name),
            children: Vec::new(),
            parents: Vec::new(),
            hosts: Vec::new(),
            vars: Arc::clone(&self.nothing),
            file_vars: self.no_files(),
            depth: 0,
            priority: Group::PRIORITY_DEFAULT,
        };
        GroupId(self.groups.insert_full(name, group).0 as u32)
    }

    pub(in crate::input) fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// As [`Builder::group`], for a name from outside.
    pub(in crate::input) fn named_group(&mut self, name: &str, place: &Place) -> Result<GroupId, InventoryError> {
        let harmful = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ',' | ':' | '[' | ']' | '/' | '\\');
        if name.is_empty() || name.contains(harmful) || name.starts_with(['!', '&', '~', '@', '.']) {
            let what = format!("`{}` is not a group name", shown(name));
            let hint = "group names hold letters, digits, `_`, `-` and `.`";
            return Err(InventoryError::hinted(place.clone(), what, hint));
        }
        if let Some(warning) =
            self.rules.group_names.warning(name).filter(|warning| !self.warnings.iter().any(|w| w == warning))
        {
            self.warnings.push(warning.to_owned());
        }
        Ok(self.group(&self.rules.group_names.name(name)))
    }

    /// The hosts that `pattern` stands for, made if they are new, each in `group`. A port behind the name becomes
    /// `ansible_port`.
    pub(in crate::input) fn hosts(
        &mut self,
        pattern: &str,
        group: GroupId,
        place: &Place,
    ) -> Result<Vec<HostId>, InventoryError> {
        let (names, port) = split_port(pattern);
        let names = range::expand(names, &self.limits).map_err(|what| InventoryError::content(place.clone(), what))?;
        let port = port.map(|port| ("ansible_port".to_owned(), Variable::authored(Value::from(u32::from(port)))));
        let port = port.map(|port| Arc::new(VarMap::from_iter([port])));
        names
            .iter()
            .map(|name| {
                let host = self.host(name, group, place)?;
                if let Some(port) = &port {
                    self.set_host_vars(host, port);
                }
                Ok(host)
            })
            .collect()
    }

    /// The host of exactly this name, made if it is new, in `group`.
    pub(in crate::input) fn host(
        &mut self,
        name: &str,
        group: GroupId,
        place: &Place,
    ) -> Result<HostId, InventoryError> {
        let name = HostName::new(name).map_err(|error| match name.contains(':') {
            true => InventoryError::hinted(
                place.clone(),
                error.to_string(),
                "give the host a name, and its address as ansible_host=...",
            ),
            false => InventoryError::content(place.clone(), error.to_string()),
        })?;
        let full = self.hosts.len() >= self.limits.hosts_max;
        let nothing = &self.nothing;
        let (at, draft) = match self.hosts.entry(name) {
            Entry::Occupied(entry) => (entry.index(), entry.into_mut()),
            Entry::Vacant(_) if full => {
                let what = format!("the inventory holds more than {} hosts", self.limits.hosts_max);
                return Err(InventoryError::content(place.clone(), what));
            }
            Entry::Vacant(entry) => {
                let at = entry.index();
                let file_vars = FileVars { inventory: Arc::clone(nothing), playbook: Arc::clone(nothing) };
                let vars = Arc::clone(nothing);
                (at, entry.insert(HostDraft { source: self.source.clone(), groups: Vec::new(), vars, file_vars }))
            }
        };
        let id = HostId(at as u32);
        if group != GroupId::ALL && !draft.groups.contains(&group) {
            draft.groups.push(group);
            self.groups[group.index()].hosts.push(id);
        }
        Ok(id)
    }

    pub(in crate::input) fn add_child(
        &mut self,
        parent: GroupId,
        child: GroupId,
        place: &Place,
    ) -> Result<(), InventoryError> {
        if self.groups[parent.index()].children.contains(&child) {
            return Ok(());
        }
        // Every group ends up in `all`.
        let way = if child == GroupId::ALL { Some(vec![child, parent]) } else { self.way(child, parent) };
        if let Some(mut chain) = way {
            chain.insert(0, parent);
            let chain = chain.into_iter().map(|id| self.groups[id.index()].name.to_string()).collect();
            return Err(InventoryError::Loop { place: place.clone(), chain });
        }
        self.groups[parent.index()].children.push(child);
        self.groups[child.index()].parents.push(parent);
        Ok(())
    }

    /// Groups from `from` down to `to`, if there is such a way.
    fn way(&self, from: GroupId, to: GroupId) -> Option<Vec<GroupId>> {
        let mut came_from: HashMap<GroupId, GroupId> = HashMap::new();
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                let mut way = vec![to];
                while let Some(before) = way.last().filter(|id| **id != from).and_then(|id| came_from.get(id)) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            for child in &self.groups[id.index()].children {
                if *child != from && !came_from.contains_key(child) {
                    came_from.insert(*child, id);
                    open.push(*child);
                }
            }
        }
        None
    }

    pub(in crate::input) fn set_group_vars(&mut self, group: GroupId, mut vars: VarMap) {
        let group = &mut self.groups[group.index()];
        // It says something of the group, and is no variable of its hosts.
        if let Some(priority) = vars.shift_remove("ansible_group_priority").map(|priority| priority.source()) {
            let as_number = priority.as_i64().or_else(|| priority.as_str().and_then(|text| text.trim().parse().ok()));
            match as_number {
                Some(priority) => group.priority = priority,
                None => self.warnings.push(format!(
                    "ansible_group_priority of group `{}` is {priority}, which is not a number; it counts as {}",
                    group.name, group.priority
                )),
            }
        }
        overlay(&self.rules, &mut group.vars, Arc::new(vars));
    }

    /// Hosts with the same variables share them.
    pub(in crate::input) fn set_host_vars(&mut self, host: HostId, vars: &Arc<VarMap>) {
        overlay(&self.rules, &mut self.hosts[host.index()].vars, Arc::clone(vars));
    }

    pub(in crate::input) fn set_group_file_vars(&mut self, group: GroupId, beside: Beside, vars: VarMap) {
        overlay(&self.rules, self.groups[group.index()].file_vars.of(beside), Arc::new(vars));
    }

    pub(in crate::input) fn set_host_file_vars(&mut self, host: HostId, beside: Beside, vars: VarMap) {
        overlay(&self.rules, self.hosts[host.index()].file_vars.of(beside), Arc::new(vars));
    }

    fn no_files(&self) -> FileVars {
        FileVars { inventory: Arc::clone(&self.nothing), playbook: Arc::clone(&self.nothing) }
    }

    pub(in crate::input) fn host_names(&self) -> impl Iterator<Item = (HostId, &HostName)> {
        self.hosts.keys().enumerate().map(|(at, name)| (HostId(at as u32), name))
    }

    pub(in crate::input) fn group_names(&self) -> impl Iterator<Item = (GroupId, &Arc<str>)> {
        self.groups.keys().enumerate().map(|(at, name)| (GroupId(at as u32), name))
    }

    pub(in crate::input) fn warn(&mut self, place: &Place, what: impl std::fmt::Display) {
        self.warnings.push(format!("{place}: {what}"));
    }

    pub(in crate::input) fn finish(mut self) -> Inventory {
        self.settle_ungrouped();
        self.adopt_orphans();
        self.measure_depth();
        self.warn_of_double_names();
        let mut shared: HashMap<Vec<GroupId>, Arc<[GroupId]>> = HashMap::new();
        let drafts = std::mem::take(&mut self.hosts);
        let hosts = drafts
            .into_iter()
            .map(|(name, HostDraft { source, mut groups, vars, file_vars })| {
                groups.sort_unstable();
                let groups = match shared.get(&groups) {
                    Some(known) => Arc::clone(known),
                    None => {
                        let all: Arc<[GroupId]> = self.with_ancestors(&groups).into();
                        shared.insert(groups, Arc::clone(&all));
                        all
                    }
                };
                (name, Host { vars, file_vars, source, groups })
            })
            .collect();
        Inventory { hosts, groups: self.groups, rules: self.rules, warnings: self.warnings, vault: self.vault }
    }

    fn settle_ungrouped(&mut self) {
        let mut ungrouped = Vec::new();
        for (at, draft) in self.hosts.values_mut().enumerate() {
            if draft.groups.iter().any(|group| *group != GroupId::UNGROUPED) {
                draft.groups.retain(|group| *group != GroupId::UNGROUPED);
            } else {
                draft.groups = vec![GroupId::UNGROUPED];
                ungrouped.push(HostId(at as u32));
            }
        }
        self.groups[GroupId::UNGROUPED.index()].hosts = ungrouped;
    }

    /// Groups that are nobody's children are children of `all`.
    fn adopt_orphans(&mut self) {
        let orphans: Vec<GroupId> = (1..self.groups.len())
            .filter(|at| self.groups[*at].parents.is_empty())
            .map(|at| GroupId(at as u32))
            .collect();
        for orphan in orphans {
            self.groups[orphan.index()].parents.push(GroupId::ALL);
            let children = &mut self.groups[GroupId::ALL.index()].children;
            if orphan == GroupId::UNGROUPED { children.insert(0, orphan) } else { children.push(orphan) }
        }
    }

    /// The longest way from `all`: a group is settled once all its parents are.
    fn measure_depth(&mut self) {
        let mut waiting: Vec<usize> = self.groups.values().map(|group| group.parents.len()).collect();
        let mut ready: Vec<GroupId> =
            (0..self.groups.len()).filter(|at| waiting[*at] == 0).map(|at| GroupId(at as u32)).collect();
        while let Some(id) = ready.pop() {
            let depth = self.groups[id.index()].depth + 1;
            for child in self.groups[id.index()].children.clone() {
                let group = &mut self.groups[child.index()];
                group.depth = group.depth.max(depth);
                waiting[child.index()] -= 1;
                if waiting[child.index()] == 0 {
                    ready.push(child);
                }
            }
        }
    }

    /// The groups and all above them, in rising precedence.
    fn with_ancestors(&self, direct: &[GroupId]) -> Vec<GroupId> {
        let mut found = vec![GroupId::ALL];
        let mut open = direct.to_vec();
        while let Some(id) = open.pop() {
            if !found.contains(&id) {
                found.push(id);
                open.extend(&self.groups[id.index()].parents);
            }
        }
        found.sort_by(|a, b| {
            let (a, b) = (&self.groups[a.index()], &self.groups[b.index()]);
            (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name))
        });
        found
    }

    fn warn_of_double_names(&mut self) {
        for name in self.groups.keys().filter(|name| self.hosts.contains_key(&***name)) {
            self.warnings.push(format!("`{name}` is the name of a host and of a group; a pattern means the group"));
        }
    }
}

/// Puts `new` over what is there.
fn overlay(rules: &Rules, vars: &mut Arc<VarMap>, new: Arc<VarMap>) {
    if vars.is_empty() {
        *vars = new;
    } else if !new.is_empty() {
        rules.put(Arc::make_mut(vars), new.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}
