//! `lookup()`: files, variables and commands of the controller, as data.
//!
//! Only authored text is evaluated, so only an author's text gets here; and what a lookup gives is data like any
//! other result, whatever it looks like.

mod files;
mod hosts;
mod ini;
mod lists;
mod options;
mod password;
mod programs;
mod sequence;
mod settings;
mod tables;
mod template;
mod variables;

use std::path::PathBuf;

use minijinja::value::Value;
use minijinja::{Error, ErrorKind, State};

use super::params::{Params, REST, items, named, undefined_among};
use super::python_type;
use crate::custom::PluginKind;
use crate::template::convert::failed;
use crate::template::{TemplateError, python, rewrite};
use crate::vars::Scope;

pub(crate) use files::FOLDER as FILES_FOLDER;
pub(super) use files::glob_files;

/// How the results are given.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// `lookup`: one result alone, several texts joined by commas.
    Joined,
    /// `query`.
    List,
}

struct Call<'a> {
    lookup: &'static str,
    args: &'a [Value],
    terms: Vec<Value>,
    params: &'a Params,
    scope: Option<Scope>,
}

type Run = fn(&Call<'_>) -> Result<Vec<Value>, Error>;

/// Name, names of options (the last three are everybody's), and what it does.
const LOOKUPS: &[(&str, &[&str], Run)] = &[
    (
        "config",
        &["on_missing", "plugin_type", "plugin_name", "show_origin", "wantlist", "errors", REST],
        settings::config,
    ),
    (
        "csvfile",
        &["col", "keycol", "default", "delimiter", "file", "encoding", "wantlist", "errors", REST],
        tables::csvfile,
    ),
    ("dict", &["wantlist", "errors", REST], lists::dict),
    ("env", &["default", "wantlist", "errors", REST], variables::env),
    ("file", &["lstrip", "rstrip", "wantlist", "errors", REST], files::file),
    ("fileglob", &["wantlist", "errors", REST], files::fileglob),
    ("first_found", &["files", "paths", "skip", files::FOLDER, "wantlist", "errors", REST], files::first_found),
    ("indexed_items", &["wantlist", "errors", REST], lists::indexed_items),
    (
        "ini",
        &[
            "section",
            "file",
            "type",
            "re",
            "default",
            "encoding",
            "case_sensitive",
            "allow_no_value",
            "allow_none",
            "interpolation",
            "wantlist",
            "errors",
            REST,
        ],
        ini::ini,
    ),
    ("inventory_hostnames", &["wantlist", "errors", REST], hosts::inventory_hostnames),
    ("items", &["wantlist", "errors", REST], lists::flat_items),
    ("lines", &["wantlist", "errors", REST], programs::lines),
    ("list", &["wantlist", "errors", REST], |call| Ok(call.terms.clone())),
    ("nested", &["wantlist", "errors", REST], lists::nested),
    ("password", &["length", "chars", "encrypt", "ident", "seed", "wantlist", "errors", REST], password::password),
    ("pipe", &["wantlist", "errors", REST], programs::pipe),
    ("random_choice", &["wantlist", "errors", REST], lists::random_choice),
    ("sequence", &["start", "end", "count", "stride", "format", "wantlist", "errors", REST], sequence::sequence),
    ("subelements", &["wantlist", "errors", REST], lists::subelements),
    (
        "template",
        &[
            "template_vars",
            "variable_start_string",
            "variable_end_string",
            "trim_blocks",
            "lstrip_blocks",
            "comment_start_string",
            "comment_end_string",
            "convert_data",
            "jinja2_native",
            "wantlist",
            "errors",
            REST,
        ],
        template::template,
    ),
    ("together", &["wantlist", "errors", REST], lists::together),
    ("unvault", &["wantlist", "errors", REST], files::unvault),
    ("varnames", &["wantlist", "errors", REST], variables::varnames),
    ("vars", &["default", "wantlist", "errors", REST], variables::vars),
];

/// Lookups that may give an undefined option back. For any other an undefined argument is the answer.
const TAKES_UNDEFINED: &[&str] = &["env"];

pub(super) fn lookup(state: &State<'_, '_>, args: &[Value], form: Form) -> Result<Value, Error> {
    let (name, args) = args.split_first().ok_or_else(|| failed("lookup needs the name of a lookup"))?;
    if name.is_undefined() {
        return Ok(name.clone());
    }
    let Some(text) = name.as_str() else {
        let why = match name.is_none() {
            true => "A non-empty plugin name is required.".to_owned(),
            false => format!("unsupported type <class '{}'>", python_type(name)),
        };
        return Err(failed(format!("The lookup plugin {} failed to load: {why}", python::repr(name))));
    };
    match named_lookup(state, text, args, form) {
        // What is undefined to the lookup is so for a `default` behind it.
        Err(error)
            if form == Form::Joined
                && error.kind() == ErrorKind::UndefinedError
                && rewrite::mentions_tolerant(state.name()) =>
        {
            Ok(Value::UNDEFINED)
        }
        found => found,
    }
}

fn named_lookup(state: &State<'_, '_>, name: &str, args: &[Value], form: Form) -> Result<Value, Error> {
    let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name);
    let Some(&(short, names, run)) = LOOKUPS.iter().find(|(known, ..)| *known == short) else {
        return in_python(state, name, args, form);
    };
    let params = Params::of_lookup(names, args)?;
    let looked_at = if TAKES_UNDEFINED.contains(&short) { &params.rest } else { args };
    if let Some(undefined) = undefined_among(&[], looked_at) {
        return Ok(undefined);
    }
    let call = Call { lookup: short, args, terms: params.rest.clone(), params: &params, scope: Scope::of_state(state) };
    let form = if params.flag("wantlist", false) { Form::List } else { form };
    finish(short, run(&call), &params.text("errors", "strict"), form)
}

/// A lookup that is a plug-in in Python.
fn in_python(state: &State<'_, '_>, name: &str, args: &[Value], form: Form) -> Result<Value, Error> {
    let scope = Scope::of_state(state).ok_or_else(|| failed("there are no variables here"))?;
    let plugins = scope.templar().plugins().clone();
    if plugins.find(PluginKind::Lookup, name).map_err(failed)?.is_none() {
        return Err(failed(format!("The lookup plugin '{name}' was not found.")));
    }
    if let Some(undefined) = undefined_among(&[], args) {
        return Ok(undefined);
    }
    let options = Params::of_lookup(&["wantlist", "errors", REST], args)?;
    let form = if options.flag("wantlist", false) { Form::List } else { form };
    let found = super::plugins::look_up(&plugins, name, args, &scope);
    finish(name, found, &options.text("errors", "strict"), form)
}

/// The results of a lookup in the form that is asked for; its failure as `errors` says.
fn finish(name: &str, results: Result<Vec<Value>, Error>, errors: &str, form: Form) -> Result<Value, Error> {
    match results.map_err(|error| named("lookup", name, error)) {
        Ok(results) => Ok(give(results, form)),
        // What is undefined is no failure.
        Err(error) if error.kind() == ErrorKind::UndefinedError => Err(error),
        Err(error) if matches!(errors, "ignore" | "warn") && !is_deferred(&error) => {
            if errors == "warn" {
                tracing::warn!("An error occurred while running the lookup plugin '{name}': {error}");
            }
            Ok(if form == Form::List { Value::from(Vec::<Value>::new()) } else { Value::from(()) })
        }
        Err(error) => Err(error),
    }
}

pub(super) fn is_deferred(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<TemplateError>());
    matches!(cause, Some(TemplateError::Deferred))
}

fn give(results: Vec<Value>, form: Form) -> Value {
    match (form, results.len()) {
        (Form::List, _) => Value::from(results),
        (Form::Joined, 0) => Value::from(results),
        (Form::Joined, 1) => results.into_iter().next().unwrap_or_default(),
        (Form::Joined, _) if results.iter().all(|result| result.as_str().is_some()) => {
            Value::from(results.iter().map(python::text).collect::<Vec<_>>().join(","))
        }
        (Form::Joined, _) => Value::from(results),
    }
}

impl Call<'_> {
    fn texts(&self) -> Vec<String> {
        self.terms.iter().map(python::text).collect()
    }

    fn scope(&self) -> Result<&Scope, Error> {
        self.scope.as_ref().ok_or_else(|| failed("there are no variables here"))
    }

    fn playbook_dir(&self) -> Option<PathBuf> {
        let folder = self.scope.as_ref()?.lookup("playbook_dir").filter(|folder| !folder.is_undefined())?;
        Some(PathBuf::from(python::text(&folder)))
    }

    /// Where relative paths are looked for: the play's search path and its directory; without a play the current one.
    fn directories(&self) -> Vec<PathBuf> {
        let text = |name: &str| self.scope.as_ref().and_then(|scope| scope.lookup(name)).filter(|v| !v.is_undefined());
        let search = text("ansible_search_path").and_then(|paths| items(&paths).ok()).unwrap_or_default();
        let mut directories: Vec<PathBuf> = search.iter().map(|path| PathBuf::from(python::text(path))).collect();
        directories.push(self.playbook_dir().unwrap_or_else(|| PathBuf::from(".")));
        directories
    }

    /// The first file of that name, in `kind` below each directory or in it.
    ///
    /// # Errors
    /// The name is no text.
    fn find(&self, name: &Value, kind: &str) -> Result<Option<PathBuf>, Error> {
        match (name.as_str(), name.is_none()) {
            (Some(name), _) => Ok(self.find_named(name, Some(kind))),
            (None, true) => Ok(None),
            (None, false) => Err(failed(format!("'{}' object has no attribute 'startswith'", python_type(name)))),
        }
    }

    /// The first file of that name, in the folder `kind` of each directory, if one is named, or in the directory.
    fn find_named(&self, name: &str, kind: Option<&str>) -> Option<PathBuf> {
        let name = super::paths::expand_user(name);
        let below = |directory: PathBuf| kind.map(|kind| directory.join(kind)).into_iter().chain([directory]);
        let found =
            self.directories().into_iter().flat_map(below).map(|at| at.join(&name)).find(|path| path.exists())?;
        Some(PathBuf::from(super::paths::normalize(&found.to_string_lossy())))
    }
}
