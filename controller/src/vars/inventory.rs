//! What the variable store needs to know of the inventory.

use std::sync::Arc;

use indexmap::IndexMap;

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
