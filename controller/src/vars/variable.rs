//! One variable: text an author wrote, or data from elsewhere.

use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::value::{Map, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::{Authored, TemplateError};
use crate::vault::Vault;

/// Where a variable's value came from decides whether it is ever evaluated. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Variable {
    /// Written in the plan, its playbooks, the inventory or on the command line: rendered when it is read.
    Authored(Arc<Authored>),
    /// Results, facts, file contents, `set_fact` values, loop items: never evaluated, however they look.
    Data(Arc<Value>),
    /// Of `vars_prompt`, and nobody was asked yet: the plan is read to be printed. Reading it is an error.
    Asked(Arc<Prompt>),
}

/// An entry of `vars_prompt`, as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    pub name: String,
    /// Its other keys.
    pub options: IndexMap<String, Authored>,
}

impl Variable {
    pub fn authored(value: Value) -> Variable {
        Variable::Authored(Arc::new(Authored::from_value(value)))
    }

    pub fn data(value: impl Into<Value>) -> Variable {
        Variable::Data(Arc::new(value.into()))
    }

    /// The value as it stands, templates as their text.
    pub fn source(&self) -> Value {
        match self {
            Variable::Authored(authored) => authored.source(),
            Variable::Data(value) => (**value).clone(),
            Variable::Asked(_) => Value::Null,
        }
    }

    /// As [`source`](Variable::source), but for what is encrypted, which is opened.
    ///
    /// # Errors
    /// No password of `vault` fits, or there is none.
    pub(crate) fn plain(&self, vault: &Vault) -> Result<Value, TemplateError> {
        match self {
            Variable::Authored(authored) => authored.plain(vault),
            Variable::Data(value) => Ok((**value).clone()),
            Variable::Asked(prompt) => Err(TemplateError::not_asked_yet(&prompt.name)),
        }
    }

    /// This put over `weaker`: entries of dicts are merged, at any depth, and everything else is replaced.
    #[must_use]
    pub(crate) fn merged_into(self, weaker: Variable) -> Variable {
        Variable::Authored(Arc::new(self.into_authored().merged_into(weaker.into_authored())))
    }

    fn into_authored(self) -> Authored {
        match self {
            Variable::Authored(authored) => Arc::unwrap_or_clone(authored),
            Variable::Data(value) => Authored::Unsafe(Arc::unwrap_or_clone(value)),
            Variable::Asked(_) => Authored::Data(Value::Null),
        }
    }
}

/// One layer of variables, shared by every host that has it.
pub type VarMap = IndexMap<String, Variable>;

/// A layer from text an author wrote.
pub fn authored_map(map: Map) -> VarMap {
    map.into_iter().map(|(name, value)| (name, Variable::authored(value))).collect()
}

/// A layer of data.
pub fn data_map(map: Map) -> VarMap {
    map.into_iter().map(|(name, value)| (name, Variable::data(value))).collect()
}

/// Whether Ansible accepts the name for a variable: letters, digits and underscores, not beginning with a digit, and not
/// a word that means something else in every template.
pub fn is_variable_name(name: &str) -> bool {
    const RESERVED: [&str; 7] = ["False", "None", "True", "false", "none", "not", "true"];
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_those_that_ansible_accepts() {
        for name in ["a", "_b1", "become", "class"] {
            assert!(is_variable_name(name), "{name}");
        }
        for name in ["", "1a", "a-b", "a.b", "true", "not", "\u{e9}"] {
            assert!(!is_variable_name(name), "{name}");
        }
    }
}
