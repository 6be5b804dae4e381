//! What a module returns.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The name of the value that tells what the failure in `msg` came from: the controller's alone, as its beginning says.
pub const CAUSE: &str = "_ansible_cause";

use crate::value::{Map, Value, WireMap};

/// Result of one module on one host. A task that fails there is a result, not an error of ours.
///
/// The flags Ansible gives a meaning of its own are fields; everything else a module returns (`msg`, `rc`, `stdout`,
/// `dest`, `ansible_facts`, ...) stands in [`values`](Self::values) under Ansible's name.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct ModuleResult {
    pub changed: bool,
    pub failed: bool,
    pub skipped: bool,
    values: WireMap,
    /// What changed or, in check mode, would change. Empty unless diff was asked for.
    pub diff: Vec<Diff>,
    pub warnings: Vec<String>,
}

/// Before and after of one thing. Text for files, a map for attributes.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode, Serialize, Deserialize)]
pub struct Diff {
    pub before: Value,
    pub after: Value,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_header: Option<String>,
}

impl Diff {
    /// As a result's `diff` holds it: a side that is null is none.
    pub fn to_value(&self) -> Value {
        let sides = [("before", &self.before), ("after", &self.after)].into_iter();
        let mut shown: Map =
            sides.filter(|(_, side)| !side.is_null()).map(|(name, side)| (name.to_owned(), side.clone())).collect();
        let headers = [("before_header", &self.before_header), ("after_header", &self.after_header)];
        for (name, header) in headers {
            shown.extend(header.as_deref().map(|header| (name.to_owned(), Value::from(header))));
        }
        Value::Map(shown)
    }
}

impl ModuleResult {
    /// Nothing to do: everything is as the task wants it.
    pub fn ok() -> ModuleResult {
        ModuleResult::default()
    }

    pub fn changed(changed: bool) -> ModuleResult {
        ModuleResult { changed, ..ModuleResult::default() }
    }

    pub fn failed(msg: impl Into<String>) -> ModuleResult {
        ModuleResult { failed: true, ..ModuleResult::default() }.with("msg", msg.into())
    }

    pub fn skipped(msg: impl Into<String>) -> ModuleResult {
        ModuleResult { skipped: true, ..ModuleResult::default() }.with("msg", msg.into())
    }

    /// The same result with `name` returned too.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> ModuleResult {
        self.set(name, value);
        self
    }

    #[must_use]
    pub fn with_diff(mut self, diff: impl IntoIterator<Item = Diff>) -> ModuleResult {
        self.diff.extend(diff);
        self
    }

    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> ModuleResult {
        self.warnings.push(warning.into());
        self
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.0.insert(name.to_owned(), value.into());
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.0.get(name)
    }

    /// What the failure in `msg` came from, told behind it where failures are told; tasks do not see it.
    #[must_use]
    pub fn with_cause(self, cause: impl Into<String>) -> ModuleResult {
        self.with(CAUSE, cause.into())
    }

    /// `msg`, the sentence for people, or nothing.
    pub fn msg(&self) -> &str {
        self.get("msg").and_then(Value::as_str).unwrap_or_default()
    }

    pub fn values(&self) -> &Map {
        &self.values.0
    }

    pub fn values_mut(&mut self) -> &mut Map {
        &mut self.values.0
    }
}
