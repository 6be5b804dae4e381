//! `csvfile`: cells of tables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::files::read_encoded;
use super::{Call, options};
use crate::input::key_value::split_pairs;
use crate::template::convert::{failed, from_data};
use crate::template::filters::params::items;
use crate::template::filters::python_type;
use crate::template::python;

/// What is asked for, and `name=value` words behind it, which count more than the lookup's own arguments.
pub(super) struct Term<'c> {
    pub(super) key: String,
    words: HashMap<String, Value>,
    call: &'c Call<'c>,
}

impl<'c> Term<'c> {
    pub(super) fn new(term: &Value, names: &[&str], call: &'c Call<'c>) -> Result<Term<'c>, Error> {
        let Some(term) = term.as_str() else {
            return Err(failed(format!("'{}' object has no attribute 'split'", python_type(term))));
        };
        let (pairs, key) = split_pairs(term).map_err(failed)?;
        if let Some(strange) = pairs.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(failed(format!("'{strange}' is not a valid option")));
        }
        let words = pairs.into_iter().map(|(name, value)| (name, from_data(value))).collect();
        Ok(Term { key: key.join(" "), words, call })
    }

    pub(super) fn option(&self, name: &str) -> Option<&Value> {
        self.words.get(name).or_else(|| self.call.option(name))
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.option(name).map_or_else(|| default.to_owned(), python::text)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, options::flag)
    }

    fn column(&self, name: &str, default: i64) -> Result<i64, Error> {
        self.option(name).map_or(Ok(default), |value| self.call.integer_of(name, "int", value))
    }

    /// The file, whose name is missing if it is not there.
    pub(super) fn file(&self, default: &str, missing: &str) -> Result<PathBuf, Error> {
        let name = self.option("file").cloned().unwrap_or_else(|| Value::from(default));
        self.call.find(&name, "files")?.ok_or_else(|| failed(missing))
    }

    pub(super) fn read(&self, path: &Path) -> Result<String, Error> {
        read_encoded(path, &self.text("encoding", "utf-8"), self.call)
    }
}

pub(super) fn csvfile(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const NAMES: &[&str] = &["file", "delimiter", "col", "keycol", "default", "encoding"];
    const NO_FILE: &str = "expected str, bytes or os.PathLike object, not NoneType";
    if call.terms.is_empty() {
        return Err(failed("Search key is required but was not found"));
    }
    let mut found = Vec::new();
    for term in &call.terms {
        let term = Term::new(term, NAMES, call)?;
        if term.key.is_empty() {
            return Err(failed("Search key is required but was not found"));
        }
        let delimiter = match term.text("delimiter", "TAB").as_str() {
            "TAB" => '\t',
            other => {
                let mut chars = other.chars();
                match (chars.next(), chars.next()) {
                    (Some(only), None) => only,
                    _ => return Err(failed("\"delimiter\" must be a 1-character string")),
                }
            }
        };
        let (column, key_column) = (term.column("col", 1)?, term.column("keycol", 0)?);
        match row_of(&rows(&term.read(&term.file("ansible.csv", NO_FILE)?)?, delimiter), &term.key, key_column)? {
            Some(row) => found.push(Value::from(cell(row, column)?)),
            None => match term.option("default") {
                Some(default) if default.kind() == ValueKind::Seq => found.extend(items(default)?),
                default => found.extend(default.cloned()),
            },
        }
    }
    Ok(found)
}

/// The first row that has the key in that column. Each row before it must have the column, too.
fn row_of<'r>(rows: &'r [Vec<String>], key: &str, column: i64) -> Result<Option<&'r Vec<String>>, Error> {
    for row in rows.iter().filter(|row| row[..] != [String::new()]) {
        if cell(row, column)? == key {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The cell of that number, below 0 from the end.
fn cell(row: &[String], column: i64) -> Result<&str, Error> {
    let at = if column < 0 { column + row.len() as i64 } else { column };
    let cell = usize::try_from(at).ok().and_then(|at| row.get(at));
    cell.map(String::as_str).ok_or_else(|| failed("list index out of range"))
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
