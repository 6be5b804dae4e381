//! Ansible's order of variables, weakest first.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::variable::VarMap;

/// The 22 places a variable can come from, in Ansible's order: a later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precedence {
    /// Options such as `-u`; they are no variables, but what these can override.
    CommandLine,
    RoleDefaults,
    /// Groups in the inventory itself. `all` first, then by depth, `ansible_group_priority` and name.
    InventoryGroup,
    InventoryGroupVarsAll,
    PlaybookGroupVarsAll,
    InventoryGroupVars,
    PlaybookGroupVars,
    /// Hosts in the inventory itself.
    InventoryHost,
    InventoryHostVars,
    PlaybookHostVars,
    /// Facts and `set_fact` values from the cache.
    Facts,
    PlayVars,
    PlayVarsPrompt,
    PlayVarsFiles,
    RoleVars,
    BlockVars,
    TaskVars,
    IncludeVars,
    /// `set_fact` and `register`.
    SetFacts,
    RoleParams,
    IncludeParams,
    /// `-e`: nothing but magic variables is above it.
    ExtraVars,
}

/// Variables with their place in the order. Of two layers at one place, the later one wins.
#[derive(Clone, Debug)]
pub struct Layer {
    pub precedence: Precedence,
    pub vars: Arc<VarMap>,
}

impl Layer {
    pub fn new(precedence: Precedence, vars: impl Into<Arc<VarMap>>) -> Layer {
        Layer { precedence, vars: vars.into() }
    }
}
