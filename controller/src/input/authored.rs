//! From a YAML node to what its author meant: templates where text may be one, literals where a tag says so.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::DEPTH_MAX;

use super::yaml::{Key, Kind, Node, Tag, YamlError};
use crate::origin::Origin;
use crate::template::{Authored, needs_rendering};

/// The value of a node of `file`, whose templates know where they stand. Below `!unsafe` nothing is a template.
///
/// # Errors
/// Nesting that no value may have, and `!vault` text that nobody has decrypted.
pub(super) fn authored(node: &Node, file: &Arc<Path>) -> Result<Authored, YamlError> {
    authored_at(node, file, 0)
}

/// The entries of a map, each as [`authored`].
///
/// # Errors
/// As [`authored`].
pub(super) fn authored_entries(
    entries: &[(Key, Node)],
    file: &Arc<Path>,
) -> Result<IndexMap<String, Authored>, YamlError> {
    entries.iter().map(|(key, node)| Ok((key.text.clone(), authored_at(node, file, 1)?))).collect()
}

fn authored_at(node: &Node, file: &Arc<Path>, depth: usize) -> Result<Authored, YamlError> {
    if depth > DEPTH_MAX {
        return Err(YamlError { at: node.at, what: format!("nested deeper than {DEPTH_MAX} levels"), hint: None });
    }
    match (node.tag, &node.kind) {
        (Some(Tag::Unsafe), _) => literal(node, depth).map(unsafe_or_data),
        (None, Kind::Sealed(sealed)) => Ok(Authored::Sealed(sealed.clone())),
        (None, Kind::Scalar(value)) => Ok(Authored::written_at(value.clone(), || Origin::at(file, node.at))),
        (None, Kind::List(items)) if holds_authored(node) => {
            items.iter().map(|item| authored_at(item, file, depth + 1)).collect::<Result<_, _>>().map(Authored::List)
        }
        (None, Kind::Map(entries)) if holds_authored(node) => entries
            .iter()
            .map(|(key, node)| Ok((key.text.clone(), authored_at(node, file, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Authored::Map),
        (None, Kind::List(_) | Kind::Map(_)) => literal(node, depth).map(Authored::Data),
    }
}

/// The whole path of a file as it was named, for [`Origin`]s in it.
pub(super) fn whole_path(named: &str) -> Arc<Path> {
    std::path::absolute(named).unwrap_or_else(|_| named.into()).into()
}

/// Only text can be evaluated: all else is data, whoever vouches for it.
fn unsafe_or_data(value: Value) -> Authored {
    match value {
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => Authored::Unsafe(value),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => Authored::Data(value),
    }
}

/// Whether the node holds a template or a tag anywhere, so that it is more than data.
fn holds_authored(node: &Node) -> bool {
    node.tag.is_some()
        || match &node.kind {
            Kind::Scalar(value) => value.as_str().is_some_and(needs_rendering),
            Kind::Sealed(_) => true,
            Kind::List(items) => items.iter().any(holds_authored),
            Kind::Map(entries) => entries.iter().any(|(_, node)| holds_authored(node)),
        }
}

/// The plain data of a node, whatever it looks like.
fn literal(node: &Node, depth: usize) -> Result<Value, YamlError> {
    if depth > DEPTH_MAX {
        return Err(YamlError { at: node.at, what: format!("nested deeper than {DEPTH_MAX} levels"), hint: None });
    }
    match &node.kind {
        Kind::Scalar(value) => Ok(value.clone()),
        Kind::Sealed(_) => node.to_value(),
        Kind::List(items) => items.iter().map(|item| literal(item, depth + 1)).collect(),
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, node)| Ok((key.text.clone(), literal(node, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Value::Map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::yaml::compose;

    fn of(text: &str) -> Authored {
        authored(&compose(text).unwrap().root.unwrap(), &Path::new("t.yml").into()).unwrap()
    }

    #[test]
    fn text_with_template_marks_is_a_template_unless_a_tag_forbids_it() {
        assert!(of("a: '{{ x }}'").needs_rendering());
        assert_eq!(of("[!unsafe '{{ x }}', 1]").source().to_json(), r#"["{{ x }}",1]"#);
        assert!(!of("[!unsafe '{{ x }}', 1]").needs_rendering());
        let Authored::Map(map) = of("a: !unsafe ['{{ x }}']\nb: '{{ y }}'") else { panic!("a map with templates") };
        assert!(!map["a"].needs_rendering() && map["b"].needs_rendering());
        assert!(!map["a"].is_vouched_for() && map["b"].is_vouched_for());
        assert!(of("!unsafe 1").is_vouched_for());
    }

    #[test]
    fn containers_without_templates_are_data() {
        assert!(matches!(of("a: [1, {b: 2}]"), Authored::Data(_)));
    }
}
