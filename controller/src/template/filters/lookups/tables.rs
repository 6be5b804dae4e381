//! `csvfile` and `ini`: values out of tables and settings files.

use std::collections::HashMap;
use std::path::PathBuf;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::files::read_file;
use super::{Call, invalid_option};
use crate::input::key_value::split_pairs;
use crate::template::convert::failed;
use crate::template::filters::params::items;

/// What is asked for, and `name=value` words behind it, which count more than the lookup's own arguments.
struct Term<'c> {
    key: String,
    words: HashMap<String, String>,
    call: &'c Call<'c>,
}

impl<'c> Term<'c> {
    fn new(term: &str, names: &[&str], call: &'c Call<'c>) -> Result<Term<'c>, Error> {
        let (pairs, key) = split_pairs(term).map_err(failed)?;
        if let Some(strange) = pairs.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(failed(format!("'{strange}' is not a valid option")));
        }
        let text = |value: rustle_protocol::Value| value.as_str().unwrap_or_default().to_owned();
        let words = pairs.into_iter().map(|(name, value)| (name, text(value))).collect();
        Ok(Term { key: key.join(" "), words, call })
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.words.get(name).cloned().unwrap_or_else(|| self.call.params.text(name, default))
    }

    fn column(&self, name: &str, default: usize) -> Result<usize, Error> {
        let text = self.text(name, &default.to_string());
        text.parse().map_err(|_| invalid_option("csvfile", name, "int", &text))
    }

    fn file(&self, default: &str) -> Result<PathBuf, Error> {
        let name = self.text("file", default);
        self.call.find(&name, "files").ok_or_else(|| failed(format!("No such file or directory: '{name}'")))
    }
}

pub(super) fn csvfile(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const NAMES: &[&str] = &["file", "delimiter", "col", "keycol", "default", "encoding"];
    if call.terms.is_empty() {
        return Err(failed("Search key is required but was not found"));
    }
    let mut found = Vec::new();
    for text in call.texts() {
        let term = Term::new(&text, NAMES, call)?;
        if term.key.is_empty() {
            return Err(failed("Search key is required but was not found"));
        }
        let delimiter = match term.text("delimiter", "TAB").as_str() {
            "TAB" | "\t" | "\\t" => '\t',
            other => {
                let mut chars = other.chars();
                match (chars.next(), chars.next()) {
                    (Some(only), None) => only,
                    _ => return Err(failed("\"delimiter\" must be a 1-character string")),
                }
            }
        };
        let (column, key_column) = (term.column("col", 1)?, term.column("keycol", 0)?);
        let rows = rows(&read_file(&term.file("ansible.csv")?, call)?, delimiter);
        match rows.iter().find(|row| row.get(key_column).is_some_and(|key| *key == term.key)) {
            Some(row) => {
                found.push(
                    row.get(column)
                        .map(|cell| Value::from(cell.as_str()))
                        .ok_or_else(|| failed("list index out of range"))?,
                );
            }
            None => match (term.words.get("default"), call.params.get("default")) {
                (Some(default), _) => found.push(Value::from(default.as_str())),
                (None, Some(default)) if default.kind() == ValueKind::Seq => found.extend(items(default)?),
                (None, default) => found.extend(default.filter(|default| !default.is_none()).cloned()),
            },
        }
    }
    Ok(found)
}

/// Rows of cells; a cell in double quotes may hold delimiters, line breaks, and quotes written twice.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let cell = row.last_mut().expect("a row has a cell");
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => rows.push(std::mem::replace(&mut row, vec![String::new()])),
            c if c == delimiter && !quoted => row.push(String::new()),
            c => cell.push(c),
        }
    }
    if row != [String::new()] {
        rows.push(row);
    }
    rows
}

pub(super) fn ini(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const NAMES: &[&str] = &["section", "file", "type", "re", "default", "encoding", "case_sensitive"];
    let mut found = Vec::new();
    for text in call.texts() {
        let term = Term::new(&text, NAMES, call)?;
        let is_true = |name: &str| super::super::values::truth(&Value::from(term.text(name, "false"))).unwrap_or(false);
        let name = term.text("file", "ansible.ini");
        let is_ini = term.text("type", "ini") == "ini";
        let wanted = if is_ini { term.text("section", "global") } else { String::new() };
        let case_sensitive = is_true("case_sensitive");
        let sections = sections(&read_file(&term.file("ansible.ini")?, call)?, case_sensitive, is_ini);
        let section = sections.iter().rev().find(|(name, _)| *name == wanted);
        let (_, own) = section.ok_or_else(|| failed(format!("No section '{wanted}' in '{name}'.")))?;
        let settings = with_defaults(&sections, own);
        let key = if case_sensitive { term.key.clone() } else { term.key.to_lowercase() };
        if is_true("re") {
            let regex = regex::Regex::new(&format!("^(?:{})", term.key)).map_err(|error| failed(error.to_string()))?;
            found.extend(
                settings.iter().filter(|(key, _)| regex.is_match(key)).map(|(_, value)| Value::from(value.as_str())),
            );
            continue;
        }
        let value = settings.iter().rev().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
        found.push(Value::from(value.unwrap_or_else(|| term.text("default", ""))));
    }
    Ok(found)
}

type Settings = Vec<(String, String)>;

/// The settings of `[DEFAULT]`, as this section has them, and then its others.
fn with_defaults(sections: &[(String, Settings)], own: &Settings) -> Settings {
    let defaults = sections.iter().filter(|(name, _)| name == "DEFAULT").flat_map(|(_, settings)| settings);
    let mut settings: Settings = defaults.cloned().collect();
    for (name, value) in own {
        match settings.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => settings.push((name.clone(), value.clone())),
        }
    }
    settings
}

/// Sections with their settings in order; without sections, all settings are one without a name.
fn sections(text: &str, case_sensitive: bool, has_sections: bool) -> Vec<(String, Settings)> {
    let mut sections: Vec<(String, Settings)> = Vec::new();
    if !has_sections {
        sections.push((String::new(), Settings::new()));
    }
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|_| has_sections) {
            sections.push((name.to_owned(), Settings::new()));
            continue;
        }
        let Some((_, settings)) = sections.last_mut() else { continue };
        if line.starts_with([' ', '\t'])
            && let Some((_, value)) = settings.last_mut()
        {
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        let (key, value) = trimmed.split_once(['=', ':']).unwrap_or((trimmed, ""));
        let key = if case_sensitive { key.trim().to_owned() } else { key.trim().to_lowercase() };
        settings.push((key, value.trim().to_owned()));
    }
    sections
}
