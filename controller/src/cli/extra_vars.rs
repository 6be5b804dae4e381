//! `--extra-vars`: `key=value ...`, JSON, YAML, or `@FILE` with either.

use std::path::Path;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::CliError;
use crate::input::yaml;
use crate::vars::{VarMap, authored_map};

/// All of them as one layer; a later one wins.
pub(super) fn read(given: &[String]) -> Result<VarMap, CliError> {
    let mut vars = VarMap::new();
    for text in given {
        vars.extend(authored_map(one(text)?));
    }
    Ok(vars)
}

fn one(text: &str) -> Result<Map, CliError> {
    if let Some(path) = text.strip_prefix('@') {
        let content = std::fs::read_to_string(Path::new(path))
            .map_err(|error| CliError::input(format!("--extra-vars: cannot read {path}: {error}")))?;
        return structured(&content, path);
    }
    match text.trim_start().chars().next() {
        Some('{' | '[') => structured(text, "--extra-vars"),
        _ if text.contains('=') => key_values(text),
        _ => structured(text, "--extra-vars"),
    }
}

/// JSON is YAML.
fn structured(text: &str, source: &str) -> Result<Map, CliError> {
    let wrong = |error: yaml::YamlError| CliError::input(format!("{source}:{error}")).hint(error.hint);
    let root = yaml::compose(text).map_err(wrong)?.root;
    match root.map(|node| node.to_value()).transpose().map_err(wrong)? {
        Some(Value::Map(map)) => Ok(map),
        Some(Value::Null) | None => Ok(Map::new()),
        Some(other) => {
            Err(CliError::input(format!("{source}: variables are names with values, not a {}", other.kind())))
        }
    }
}

fn key_values(text: &str) -> Result<Map, CliError> {
    let words = rustle_agent::process::words::split(text)
        .map_err(|error| CliError::input(format!("--extra-vars `{text}`: {error}")))?;
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Value::from(value))),
            _ => Err(CliError::input(format!("--extra-vars: `{word}` is not key=value"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Value)> {
        super::read(&[text.to_owned()]).unwrap().into_iter().map(|(name, value)| (name, value.source())).collect()
    }

    #[test]
    fn key_value_pairs_are_text() {
        assert_eq!(read("a=1 b='two words'"), [("a".into(), "1".into()), ("b".into(), "two words".into())]);
    }

    #[test]
    fn json_and_yaml_have_types() {
        assert_eq!(read(r#"{"a": 1}"#), [("a".into(), 1.into())]);
        assert_eq!(read("a: yes"), [("a".into(), true.into())]);
    }

    #[test]
    fn what_is_neither_is_an_error() {
        assert!(super::read(&["just words".to_owned()]).is_err());
        assert!(super::read(&["@/nonexistent/file".to_owned()]).is_err());
    }
}
