//! What the variable store needs to know of the inventory, and how a run changes it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::HostName;
use rustle_protocol::value::Map;
use serde::{Deserialize, Serialize};

use super::lesson::exact;
use super::precedence::Layer;

/// One host with its groups and variables.
#[derive(Clone, Debug, Default)]
pub struct HostEntry {
    pub name: String,
    /// Groups the host is in, directly or through children, without `all`; `group_names` shows them sorted.
    pub groups: Vec<Arc<str>>,
    /// Weakest first within one [`super::Precedence`]: `all`, then groups by depth and priority. Group layers are
    /// the same `Arc` for every host of the group.
    pub layers: Vec<Layer>,
    /// The inventory source the host came from: `inventory_file`, and its directory `inventory_dir`.
    pub source: Option<Arc<str>>,
}

/// All hosts, and all groups with their hosts in inventory order (`all` and `ungrouped` included).
#[derive(Clone, Debug, Default)]
pub struct InventoryVars {
    pub hosts: Vec<HostEntry>,
    pub groups: IndexMap<String, Vec<String>>,
}

/// The inventory while a run goes on. Implemented by the reader of inventories.
pub trait LiveInventory: Send {
    /// The host as things stand; `None` if there is none of this name. This machine is there under its own names even if
    /// no source has it.
    fn host(&mut self, name: &str) -> Option<HostEntry>;

    /// A host that is not in the inventory, and that a task is delegated to all the same.
    fn outsider(&mut self, name: &str) -> HostEntry;

    /// Every host that a source or a task has named, in order.
    fn hosts(&self) -> Vec<String>;

    /// Every group with its hosts, in order.
    fn groups(&self) -> IndexMap<String, Vec<String>>;

    /// Whom a play's pattern means as things stand.
    fn select(&self, pattern: &str) -> Selection;

    /// Takes the variables that `group_vars/` and `host_vars/` keep in the folder of a play's playbook for those of the play
    /// before; `None`: the folder of the run's first playbook. Gives what the operator should know of it.
    ///
    /// # Errors
    /// Why they cannot be read, as a sentence.
    fn beside_playbook(&mut self, folder: Option<&Path>) -> Result<Vec<String>, String>;

    /// Whether the change would change anything.
    ///
    /// # Errors
    /// Why it is not to be had, as a sentence.
    fn would_change(&self, change: &InventoryChange) -> Result<bool, String>;

    /// Takes the change in; gives what the operator should know of it.
    ///
    /// # Errors
    /// Why it is not to be had, as a sentence.
    fn change(&mut self, change: &InventoryChange) -> Result<Vec<String>, String>;
}

/// Whom a pattern means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Each once, in the inventory's order.
    pub hosts: Vec<HostName>,
    /// What the operator should know of the pattern.
    pub warnings: Vec<String>,
}

/// What a task does to the inventory. A journal keeps these: variants are added, never renamed or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InventoryChange {
    /// `add_host`: a host, new or known, with more groups and variables.
    AddHost {
        name: HostName,
        groups: Vec<String>,
        /// Data: rendered before, never again.
        #[serde(with = "exact")]
        vars: Map,
    },
    /// `group_by`: the host is in the group, and the group in its parents.
    Group { host: HostName, group: String, parents: Vec<String> },
    /// `meta: refresh_inventory`: the sources are read again, and what tasks have added is added again.
    Refresh,
}

/// An inventory that no task changes.
pub(super) struct Fixed {
    hosts: HashMap<String, HostEntry>,
    order: Vec<String>,
    groups: IndexMap<String, Vec<String>>,
}

impl Fixed {
    pub(super) fn new(inventory: InventoryVars) -> Fixed {
        let order = inventory.hosts.iter().map(|host| host.name.clone()).collect();
        let hosts = inventory.hosts.into_iter().map(|host| (host.name.clone(), host)).collect();
        Fixed { hosts, order, groups: inventory.groups }
    }
}

impl LiveInventory for Fixed {
    fn host(&mut self, name: &str) -> Option<HostEntry> {
        self.hosts.get(name).cloned()
    }

    fn outsider(&mut self, name: &str) -> HostEntry {
        HostEntry { name: name.to_owned(), ..HostEntry::default() }
    }

    fn hosts(&self) -> Vec<String> {
        self.order.clone()
    }

    fn groups(&self) -> IndexMap<String, Vec<String>> {
        self.groups.clone()
    }

    fn select(&self, pattern: &str) -> Selection {
        let named = self.order.iter().filter(|name| pattern == "all" || pattern == **name);
        Selection { hosts: named.filter_map(|name| HostName::new(name).ok()).collect(), warnings: Vec::new() }
    }

    fn beside_playbook(&mut self, _folder: Option<&Path>) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn would_change(&self, _change: &InventoryChange) -> Result<bool, String> {
        Err("the inventory of this run cannot be changed".to_owned())
    }

    fn change(&mut self, change: &InventoryChange) -> Result<Vec<String>, String> {
        self.would_change(change).map(|_| Vec::new())
    }
}
