//! `--extra-vars`: `key=value ...`, JSON, YAML, or `@FILE` with either.

use std::path::Path;
use std::sync::Arc;

use rustle_protocol::Value;

use super::CliError;
use crate::input::key_value::split_pairs;
use crate::input::playbook;
use crate::origin::Origin;
use crate::template::{Authored, python_text};
use crate::vars::{VarMap, Variable};
use crate::vault::Vault;

/// All of them as one layer; a later one wins.
pub(super) fn read(given: &[String], vault: &Vault) -> Result<VarMap, CliError> {
    let mut vars = VarMap::new();
    for text in given {
        vars.extend(one(text, vault)?);
    }
    Ok(vars)
}

/// How Ansible calls the place of what is written there.
const ORIGIN: &str = "<CLI option '-e'>";

fn one(text: &str, vault: &Vault) -> Result<VarMap, CliError> {
    if let Some(path) = text.strip_prefix('@') {
        return playbook::vars_of_file(Path::new(path), vault).map_err(super::playbook::error);
    }
    match text.trim_start().chars().next() {
        Some('{' | '[') => structured(text, vault),
        _ if text.contains('=') => key_values(text),
        _ => structured(text, vault),
    }
}

/// JSON is YAML.
fn structured(text: &str, vault: &Vault) -> Result<VarMap, CliError> {
    playbook::vars_of_text("--extra-vars", ORIGIN, text, vault).map_err(super::playbook::error)
}

fn key_values(text: &str) -> Result<VarMap, CliError> {
    let (pairs, others) =
        split_pairs(text).map_err(|error| CliError::input(format!("--extra-vars `{text}`: {error}")))?;
    if let Some(word) = others.first() {
        return Err(CliError::input(format!("--extra-vars: `{word}` is not key=value")));
    }
    let variable = |value: Value| {
        let text = python_text(&value);
        Variable::Authored(Arc::new(Authored::written_at(value, || Origin::in_no_file(ORIGIN, &text))))
    };
    Ok(pairs.into_iter().map(|(name, value)| (name, variable(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Value)> {
        super::read(&[text.to_owned()], &Vault::default())
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name, value.source()))
            .collect()
    }

    #[test]
    fn key_value_pairs_are_text() {
        assert_eq!(read("a=1 b='two words'"), [("a".into(), "1".into()), ("b".into(), "two words".into())]);
        assert_eq!(read("a='it''s' b={{ c | d }}"), [("a".into(), "it''s".into()), ("b".into(), "{{ c | d }}".into())]);
        assert_eq!(read(r"a=\d+\n"), [("a".into(), "\\d+\n".into())], "Python's escapes, as in a task's arguments");
    }

    #[test]
    fn json_and_yaml_have_types() {
        assert_eq!(read(r#"{"a": 1}"#), [("a".into(), 1.into())]);
        assert_eq!(read("a: yes"), [("a".into(), true.into())]);
    }

    #[test]
    fn what_is_neither_is_an_error() {
        assert!(super::read(&["just words".to_owned()], &Vault::default()).is_err());
        assert!(super::read(&["a=1 word".to_owned()], &Vault::default()).is_err());
        assert!(super::read(&["@/nonexistent/file".to_owned()], &Vault::default()).is_err());
    }
}
