//! The JSON of `rustle-plan` as far as it means anything. Unknown fields are ignored, missing ones have a default.

use rustle_protocol::HostName;
use rustle_protocol::value::Map;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "Plan of rustle-plan, as rustle-exec reads it")]
pub(super) struct PlanFile {
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: Metadata,
    #[serde(deserialize_with = "or_default")]
    pub(super) plays: Vec<PlayFile>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Metadata {
    #[serde(deserialize_with = "or_default")]
    pub(super) planning_options: PlanningOptions,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct PlanningOptions {
    #[serde(deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) skip_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) check_mode: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) diff_mode: bool,
    pub(super) forks: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PlayFile {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) strategy: StrategyFile,
    #[serde(default)]
    pub(super) serial: Option<u32>,
    #[schemars(with = "Vec<String>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hosts: Vec<HostName>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) batches: Vec<BatchFile>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) handlers: Vec<HandlerFile>,
    /// Keywords of Ansible that rustle-plan has no field for, by name; see docs/plan-format.md.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) keywords: Map,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum StrategyFile {
    #[default]
    Linear,
    Free,
    HostPinned,
    BinaryHybrid,
    BinaryOnly,
    Rolling {
        batch_size: u32,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct BatchFile {
    pub(super) batch_id: String,
    #[schemars(with = "Vec<String>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hosts: Vec<HostName>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tasks: Vec<TaskFile>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dependencies: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TaskFile {
    pub(super) task_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) module: String,
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) args: Map,
    #[schemars(with = "Vec<String>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hosts: Vec<HostName>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dependencies: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) conditions: Vec<Condition>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) notify: Vec<String>,
    pub(super) execution_order: u32,
    #[serde(default)]
    pub(super) risk_level: Option<RiskFile>,
    /// Keywords of Ansible that rustle-plan has no field for, by name; see docs/plan-format.md.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) keywords: Map,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct HandlerFile {
    pub(super) handler_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) module: String,
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) args: Map,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) conditions: Vec<Condition>,
    pub(super) execution_order: u32,
    /// Keywords of Ansible that rustle-plan has no field for, by name; see docs/plan-format.md.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    #[serde(default, deserialize_with = "or_default")]
    pub(super) keywords: Map,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub(super) enum Condition {
    When { expression: String },
    Tag { tags: Vec<String> },
    CheckMode { enabled: bool },
    Host { pattern: String },
    SkipTag { tags: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum RiskFile {
    Low,
    Medium,
    High,
    Critical,
}

impl TaskFile {
    /// Whether two entries of the plan are one task, on other hosts.
    pub(super) fn is_same(&self, other: &TaskFile) -> bool {
        (&self.task_id, &self.name, &self.module, &self.args)
            == (&other.task_id, &other.name, &other.module, &other.args)
            && (&self.conditions, &self.tags, &self.notify) == (&other.conditions, &other.tags, &other.notify)
            && self.keywords == other.keywords
    }
}

/// `null` is the same as nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Option::deserialize(d).map(Option::unwrap_or_default)
}
