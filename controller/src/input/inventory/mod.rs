//! The inventory: which hosts there are, in which groups, with which variables.
//!
//! Reads what Ansible reads: INI, YAML and TOML files, JSON, executables that print JSON, folders of all these, host lists
//! (`a,b,`), and `group_vars/` and `host_vars/` beside them. Order is order of appearance everywhere. Groups and
//! variables are shared: a host costs its name, two pointers to variables and one to its groups.

mod build;
mod change;
mod constructed;
mod error;
mod generator;
mod group_names;
mod ini;
mod literal;
mod live;
mod load;
mod patterns;
mod port;
mod range;
mod rules;
mod script;
pub mod show;
mod toml;
mod vars_files;
mod yaml;

use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::{HostName, Value};

pub(in crate::input) use build::Builder;
pub use error::InventoryError;
pub use group_names::GroupNames;
pub use live::{InventorySources, LOCALHOSTS, Live};
pub use patterns::{PatternError, limit, select, select_known};
pub(crate) use port::split_port;
pub use rules::{Ignored, Rules, UnknownNames};

use crate::vars::{VarMap, Variable};
use crate::vault::Vault;

/// The port that agents listen on unless a host says otherwise.
pub const PORT_DEFAULT: u16 = 7443;

/// What an inventory may cost. Beyond it, loading ends with an error that names the limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of one file or of one script's output. Default 64 MiB.
    pub source_bytes_max: u64,
    /// Default 100,000: ten times the fleets this is built for.
    pub hosts_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { source_bytes_max: 64 << 20, hosts_max: 100_000 }
    }
}

/// A host's place among the hosts of its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// A group's place among the groups of its inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl HostId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl GroupId {
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Every host is in it.
    pub const ALL: GroupId = GroupId(0);
    /// Hosts that are in no group but [`GroupId::ALL`].
    pub const UNGROUPED: GroupId = GroupId(1);
}

#[derive(Clone, Debug)]
pub struct Host {
    /// From the sources themselves.
    pub vars: Arc<VarMap>,
    /// From `host_vars/`.
    pub file_vars: FileVars,
    /// The absolute path of the file that named the host first: `inventory_file` in Ansible.
    pub source: Option<Arc<str>>,
    /// Every group the host is in, also through other groups, in rising precedence; `all` first.
    pub groups: Arc<[GroupId]>,
}

/// Variables from folders, by what the folders are beside. Those beside the playbook are stronger.
#[derive(Clone, Debug)]
pub struct FileVars {
    pub inventory: Arc<VarMap>,
    pub playbook: Arc<VarMap>,
}

/// What a folder of variables is beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Inventory,
    Playbook,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub name: Arc<str>,
    pub children: Vec<GroupId>,
    pub parents: Vec<GroupId>,
    /// Hosts that are in the group itself.
    pub hosts: Vec<HostId>,
    /// From the sources themselves.
    pub vars: Arc<VarMap>,
    /// From `group_vars/`.
    pub file_vars: FileVars,
    /// Longest way from `all`, which has 0.
    pub depth: u32,
    /// `ansible_group_priority`, default 1: decides between groups of equal depth.
    pub priority: i64,
}

impl Group {
    /// Of one that says nothing of it.
    pub const PRIORITY_DEFAULT: i64 = 1;
}

/// Hosts, groups and their variables, complete and free of loops.
#[derive(Clone, Debug)]
pub struct Inventory {
    hosts: IndexMap<HostName, Host>,
    groups: IndexMap<Arc<str>, Group>,
    rules: Rules,
    warnings: Vec<String>,
    /// Opens what says where a host is.
    vault: Vault,
}

impl Inventory {
    /// Hosts in order of appearance.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = (HostId, &HostName)> {
        self.hosts.keys().enumerate().map(|(at, name)| (HostId(at as u32), name))
    }

    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    pub fn host_id(&self, name: &str) -> Option<HostId> {
        self.hosts.get_index_of(name).map(|at| HostId(at as u32))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.hosts.contains_key(name)
    }

    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.index()]
    }

    pub fn name(&self, id: HostId) -> &HostName {
        self.hosts.get_index(id.index()).expect("ids are places in this inventory").0
    }

    /// Groups in order of appearance, `all` and `ungrouped` first.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (GroupId, &Group)> {
        self.groups.values().enumerate().map(|(at, group)| (GroupId(at as u32), group))
    }

    pub fn group_id(&self, name: &str) -> Option<GroupId> {
        self.groups.get_index_of(name).map(|at| GroupId(at as u32))
    }

    pub fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.index()]
    }

    /// Every host in a group, also through its children, each once: those of the group, then those of its children, then
    /// those of their children, as Ansible orders them.
    pub fn members(&self, group: GroupId) -> Vec<HostId> {
        let mut seen_groups = vec![false; self.groups.len()];
        let mut seen_hosts = vec![false; self.hosts.len()];
        let mut members = Vec::new();
        let mut level = vec![group];
        while !level.is_empty() {
            let mut below = Vec::new();
            for id in level {
                if std::mem::replace(&mut seen_groups[id.index()], true) {
                    continue;
                }
                let group = self.group(id);
                members.extend(group.hosts.iter().filter(|h| !std::mem::replace(&mut seen_hosts[h.index()], true)));
                below.extend(&group.children);
            }
            level = below;
        }
        members
    }

    /// The host's variables as layers in rising precedence: sources' group variables, `group_vars/all`, `group_vars/*`,
    /// the sources' host variables, `host_vars/`; of folders of one kind, those beside the playbook after those beside the
    /// inventory.
    pub fn layers(&self, host: HostId) -> impl DoubleEndedIterator<Item = &Arc<VarMap>> {
        let host = self.host(host);
        self.group_layers(&host.groups).chain([&host.vars, &host.file_vars.inventory, &host.file_vars.playbook])
    }

    /// What a host has that is in these groups alone, as [`Inventory::layers`]. `all` comes first.
    pub fn group_layers<'a>(&'a self, groups: &'a [GroupId]) -> impl DoubleEndedIterator<Item = &'a Arc<VarMap>> {
        let is_all = |id: &&GroupId| **id == GroupId::ALL;
        let with = |wanted: bool| groups.iter().filter(move |id| is_all(id) == wanted).map(|id| self.group(*id));
        let from_sources = with(true).chain(with(false)).map(|group| &group.vars);
        let files = |wanted: bool| {
            let inventory = with(wanted).map(|group| &group.file_vars.inventory);
            inventory.chain(with(wanted).map(|group| &group.file_vars.playbook))
        };
        from_sources.chain(files(true)).chain(files(false))
    }

    /// What is done about names in patterns that nobody has.
    pub fn unknown_names(&self) -> UnknownNames {
        self.rules.unknown_names
    }

    /// The variable as the host has it, templates unrendered.
    pub fn var(&self, host: HostId, name: &str) -> Option<&Variable> {
        self.layers(host).rev().find_map(|layer| layer.get(name))
    }

    /// All variables of the host, merged.
    pub fn merged_vars(&self, host: HostId) -> VarMap {
        self.rules.merged(self.layers(host))
    }

    /// As [`Inventory::merged_vars`], under those of the command line.
    pub fn shown_vars(&self, host: HostId) -> VarMap {
        let mut vars = self.merged_vars(host);
        vars.extend(self.extra_vars().map(|(name, value)| (name.clone(), value.clone())));
        vars
    }

    /// The variables of the command line.
    pub fn extra_vars(&self) -> impl Iterator<Item = (&String, &Variable)> {
        self.rules.extra_vars.iter()
    }

    /// The variables that are given to the host itself, merged.
    pub fn own_vars(&self, host: HostId) -> VarMap {
        let Host { vars, file_vars, .. } = self.host(host);
        self.rules.merged([vars, &file_vars.inventory, &file_vars.playbook])
    }

    /// Where the host's agent is: `rustle_host`, else `ansible_host`, else its name. A template is given as written.
    ///
    /// # Errors
    /// It is encrypted, and no password fits; in a sentence that names the host.
    pub fn address(&self, host: HostId) -> Result<String, String> {
        for name in ["rustle_host", "ansible_host"] {
            if let Some(address) =
                self.plain(host, name)?.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty())
            {
                return Ok(address.to_owned());
            }
        }
        Ok(self.name(host).as_str().to_owned())
    }

    /// The port of the host's agent: `rustle_port`, else [`PORT_DEFAULT`]. `ansible_port` is another service's.
    ///
    /// # Errors
    /// A `rustle_port` that is not 1 to 65535, in a sentence that names the host.
    pub fn port(&self, host: HostId) -> Result<u16, String> {
        let Some(value) = self.plain(host, "rustle_port")? else { return Ok(PORT_DEFAULT) };
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
            format!("rustle_port of host `{}` is {value}, which is not a port from 1 to 65535", self.name(host))
        })
    }

    /// `ansible_connection` as written, if the host has one that can be read.
    pub fn connection(&self, host: HostId) -> Option<String> {
        let value = self.plain(host, "ansible_connection").ok()??;
        value.as_str().map(str::to_owned)
    }

    /// The variable as it was written, and opened if it is encrypted.
    fn plain(&self, host: HostId, name: &str) -> Result<Option<Value>, String> {
        let opened = self.var(host, name).map(|variable| variable.plain(&self.vault)).transpose();
        opened.map_err(|error| {
            let place = error.undecryptable().map(|sealed| format!("{}: ", sealed.place())).unwrap_or_default();
            format!("{name} of host `{}`: {place}{error}", self.name(host))
        })
    }

    /// The names of hosts and groups, for suggestions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(HostName::as_str).chain(self.groups.keys().map(|name| &**name))
    }

    /// Odd things met while loading that stopped nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests;
