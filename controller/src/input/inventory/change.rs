//! What tasks add to an inventory that is complete: hosts, groups, and who is in which. Places of hosts and groups stay.

use std::sync::Arc;

use rustle_protocol::HostName;

use super::{FileVars, Group, GroupId, Host, HostId, Inventory};

impl Inventory {
    /// The host of this name, made if it is new; in no group then but `all` and `ungrouped`.
    pub(super) fn ensure_host(&mut self, name: &HostName) -> HostId {
        if let Some(id) = self.host_id(name.as_str()) {
            return id;
        }
        let groups = Arc::from([GroupId::ALL, GroupId::UNGROUPED]);
        let host = Host { vars: Arc::default(), file_vars: no_files(), source: None, groups };
        let id = HostId(self.hosts.insert_full(name.clone(), host).0 as u32);
        self.groups[GroupId::UNGROUPED.index()].hosts.push(id);
        id
    }

    /// The group of this name, made if it is new; a child of `all` until somebody adopts it.
    pub(super) fn ensure_group(&mut self, name: &str) -> GroupId {
        if let Some(id) = self.group_id(name) {
            return id;
        }
        let group = Group {
            name: name.into(),
            children: Vec::new(),
            parents: vec![GroupId::ALL],
            hosts: Vec::new(),
            vars: Arc::default(),
            file_vars: no_files(),
            depth: 1,
            priority: Group::PRIORITY_DEFAULT,
        };
        let id = GroupId(self.groups.insert_full(Arc::clone(&group.name), group).0 as u32);
        self.groups[GroupId::ALL.index()].children.push(id);
        id
    }

    /// Whether the host is in the group itself, not only in a child of it.
    pub(super) fn is_direct_member(&self, host: HostId, group: GroupId) -> bool {
        self.host(host).groups.contains(&group) && self.group(group).hosts.contains(&host)
    }

    /// Puts the host into the group; tells whether it was not there.
    pub(super) fn enter(&mut self, host: HostId, group: GroupId) -> bool {
        if group == GroupId::ALL || self.is_direct_member(host, group) {
            return false;
        }
        self.groups[group.index()].hosts.push(host);
        if group != GroupId::UNGROUPED {
            self.groups[GroupId::UNGROUPED.index()].hosts.retain(|other| *other != host);
            self.add_groups(host, group);
        }
        true
    }

    /// Whether `child` is not a child of `parent` yet.
    ///
    /// # Errors
    /// The parent is below the child, or the child itself.
    pub(super) fn may_adopt(&self, parent: GroupId, child: GroupId) -> Result<bool, String> {
        if self.ancestors(parent).contains(&child) {
            let (parent, child) = (&self.group(parent).name, &self.group(child).name);
            return Err(format!("can't add group '{child}' to group '{parent}': it would be its own parent"));
        }
        Ok(!self.group(parent).children.contains(&child))
    }

    /// Makes `child` a child of `parent`, with all who are in it; tells whether it was not.
    ///
    /// # Errors
    /// As [`may_adopt`](Self::may_adopt).
    pub(super) fn adopt(&mut self, parent: GroupId, child: GroupId) -> Result<bool, String> {
        if !self.may_adopt(parent, child)? {
            return Ok(false);
        }
        self.groups[parent.index()].children.push(child);
        self.groups[child.index()].parents.push(parent);
        self.deepen(child, self.group(parent).depth + 1);
        for host in self.members(child) {
            self.add_groups(host, child);
        }
        Ok(true)
    }

    /// The host has the group and all above it from now on, in rising precedence.
    fn add_groups(&mut self, host: HostId, group: GroupId) {
        let mut all: Vec<GroupId> = self.host(host).groups.iter().copied().collect();
        all.retain(|known| *known != GroupId::UNGROUPED);
        for group in self.ancestors(group) {
            if !all.contains(&group) {
                all.push(group);
            }
        }
        all.sort_by_key(|id| {
            let Group { depth, priority, name, .. } = self.group(*id);
            (*depth, *priority, Arc::clone(name))
        });
        self.hosts[host.index()].groups = all.into();
    }

    /// The group and all above it.
    fn ancestors(&self, group: GroupId) -> Vec<GroupId> {
        let mut found = Vec::new();
        let mut open = vec![group];
        while let Some(id) = open.pop() {
            if !found.contains(&id) {
                found.push(id);
                open.extend(&self.group(id).parents);
            }
        }
        found
    }

    /// The group stands at least this deep, and what is below it deeper. Ends, for nothing is below itself.
    fn deepen(&mut self, group: GroupId, depth: u32) {
        if self.group(group).depth < depth {
            self.groups[group.index()].depth = depth;
            for child in self.group(group).children.clone() {
                self.deepen(child, depth + 1);
            }
        }
    }
}

pub(super) fn no_files() -> FileVars {
    FileVars { inventory: Arc::default(), playbook: Arc::default() }
}
