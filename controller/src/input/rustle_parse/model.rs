//! The JSON of `rustle-parse` as far as it means anything. Unknown fields are ignored, missing ones have a default.

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::Map;
use serde::Deserialize;

use crate::input::rustle_plan::or_default;

/// What `rustle-parse` made of a playbook and its inventory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParsedFile {
    #[serde(deserialize_with = "or_default")]
    pub(crate) plays: Vec<ParsedPlay>,
    /// Extra variables.
    #[serde(deserialize_with = "or_default")]
    pub(crate) variables: Map,
    pub(crate) inventory: Option<ParsedInventory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParsedPlay {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) hosts: Value,
    #[serde(deserialize_with = "or_default")]
    pub(crate) vars: Map,
    #[serde(deserialize_with = "or_default")]
    pub(crate) tasks: Vec<ParsedTask>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) handlers: Vec<ParsedTask>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) roles: Vec<Value>,
    pub(crate) strategy: Option<String>,
    pub(crate) serial: Option<u32>,
    pub(crate) max_fail_percentage: Option<f64>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) keywords: Map,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ParsedTask {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) module: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) args: Map,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) vars: Map,
    #[serde(default)]
    pub(crate) when: Value,
    #[serde(default)]
    pub(crate) loop_items: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) notify: Vec<String>,
    #[serde(default)]
    pub(crate) changed_when: Value,
    #[serde(default)]
    pub(crate) failed_when: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ignore_errors: bool,
    #[serde(default)]
    pub(crate) delegate_to: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) keywords: Map,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParsedInventory {
    #[serde(deserialize_with = "or_default")]
    pub(crate) hosts: IndexMap<String, ParsedHost>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) groups: IndexMap<String, ParsedGroup>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParsedHost {
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) connection: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) vars: Map,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ParsedGroup {
    #[serde(deserialize_with = "or_default")]
    pub(crate) hosts: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) children: Vec<String>,
}
