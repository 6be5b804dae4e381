//! YAML as Ansible reads it: one document, YAML 1.1 types, merge keys, aliases, and a position for every node.
//!
//! A [`Node`] keeps what a [`Value`] cannot: where it stood and its tag. Readers walk nodes and name places in their
//! messages; [`Node::to_value`] gives the plain data.

mod compose;
mod moment;
mod problem;
mod scalar;

use rustle_protocol::Value;
use rustle_protocol::value::{DEPTH_MAX as VALUE_DEPTH_MAX, Map};

pub use compose::{Document, compose, read};

use super::source::Position;
use crate::template::Sealed;

/// Nesting allowed in a document. Deeper than any playbook; low enough that walking one cannot exhaust the stack.
pub const DEPTH_MAX: usize = 128;

/// Nodes that aliases may add to a document. The "billion laughs" document ends here, at some 100 MB.
pub const ALIAS_NODES_MAX: usize = 500_000;

/// Something with a place in the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Position,
    pub tag: Option<Tag>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Anything but a list or a map.
    Scalar(Value),
    /// `!vault`: what `ansible-vault encrypt` wrote.
    Sealed(Sealed),
    List(Vec<Node>),
    /// In order of appearance, each key once.
    Map(Vec<(Key, Node)>),
}

/// Tags of Ansible's own that change what a node means. YAML's own types are resolved while composing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `!unsafe`: text in and below it is never a template.
    Unsafe,
}

/// A map's key, as it was written: `yes` and `8080` stay text.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub at: Position,
    pub text: String,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct YamlError {
    pub at: Position,
    pub what: String,
    pub hint: Option<&'static str>,
}

/// Something odd that does not stop the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlWarning {
    pub at: Position,
    pub what: String,
}

impl Node {
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(value) => value.as_str(),
            Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Scalar(_) | Kind::Sealed(_) | Kind::Map(_) => None,
        }
    }

    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Scalar(_) | Kind::Sealed(_) | Kind::List(_) => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    /// The kind in the words an operator knows: `string`, `list`, `dict`, ...
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(value) => value.kind(),
            Kind::Sealed(_) => "vault-encrypted text",
            Kind::List(_) => "list",
            Kind::Map(_) => "dict",
        }
    }

    /// The data without its places and tags.
    ///
    /// # Errors
    /// Nesting beyond what a [`Value`] may have, and tagged nodes, whose tags the value would lose: a caller that knows
    /// what to do with them walks the nodes itself.
    pub fn to_value(&self) -> Result<Value, YamlError> {
        self.value_at(0)
    }

    fn value_at(&self, depth: usize) -> Result<Value, YamlError> {
        if depth > VALUE_DEPTH_MAX {
            let what = format!("nested deeper than {VALUE_DEPTH_MAX} levels");
            return Err(YamlError { at: self.at, what, hint: None });
        }
        match (self.tag, &self.kind) {
            (_, Kind::Sealed(_)) => Err(YamlError {
                at: self.at,
                what: "a value encrypted with ansible-vault, where none can be decrypted".into(),
                hint: Some(
                    "decrypt it, or put the plain value into a file that only you can read and pass it with -e @FILE",
                ),
            }),
            (Some(Tag::Unsafe), _) if self.looks_like_template() => Err(YamlError {
                at: self.at,
                what: "`!unsafe` text that looks like a template, where it would be taken for one".into(),
                hint: Some("wrap it in {% raw %} ... {% endraw %}"),
            }),
            (_, Kind::Scalar(value)) => Ok(value.clone()),
            (_, Kind::List(items)) => items.iter().map(|item| item.value_at(depth + 1)).collect(),
            (_, Kind::Map(entries)) => map_at(entries, depth).map(Value::Map),
        }
    }

    fn looks_like_template(&self) -> bool {
        match &self.kind {
            Kind::Scalar(value) => {
                value.as_str().is_some_and(|t| t.contains("{{") || t.contains("{%") || t.contains("{#"))
            }
            Kind::Sealed(_) => false,
            Kind::List(items) => items.iter().any(Node::looks_like_template),
            Kind::Map(entries) => entries.iter().any(|(_, node)| node.looks_like_template()),
        }
    }
}

/// The data of a map's entries.
///
/// # Errors
/// As [`Node::to_value`].
pub fn entries_to_map(entries: &[(Key, Node)]) -> Result<Map, YamlError> {
    map_at(entries, 0)
}

fn map_at(entries: &[(Key, Node)], depth: usize) -> Result<Map, YamlError> {
    entries.iter().map(|(key, node)| Ok((key.text.clone(), node.value_at(depth + 1)?))).collect()
}

#[cfg(test)]
mod tests;
