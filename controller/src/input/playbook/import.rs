//! The arguments of imports and includes: which file or role, and what of it.

use rustle_protocol::Value;

use super::around::Around;
use super::error::PlaybookError;
use super::keywords::{Written, as_bool};
use super::tree::TaskNode;
use crate::template::Authored;

/// Of `import_tasks` and `include_tasks`.
#[derive(Clone, Debug)]
pub(super) struct TaskFileOptions {
    pub(super) file: Written,
}

/// Of `import_role` and `include_role`.
#[derive(Clone, Debug)]
pub(super) struct RoleOptions {
    pub(super) name: Written,
    pub(super) from: RoleFrom<Option<Written>>,
    pub(super) allow_duplicates: Option<Written>,
    pub(super) public: Option<Written>,
    pub(super) rolespec_validate: Option<Written>,
}

/// Which files of a role are meant, instead of `main`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RoleFrom<T> {
    pub(super) tasks: T,
    pub(super) vars: T,
    pub(super) defaults: T,
    pub(super) handlers: T,
}

impl TaskFileOptions {
    /// # Errors
    /// No file, or an argument that is none of an import's.
    pub(super) fn read(node: &TaskNode, around: &Around) -> Result<TaskFileOptions, PlaybookError> {
        let is_include = node.call.core() == Some("include_tasks");
        known(node, around, if is_include { &["_raw_params", "file", "apply"] } else { &["_raw_params", "file"] })?;
        let args = &node.call.args;
        match args.get("file").or_else(|| args.get("_raw_params")) {
            Some(file) => Ok(TaskFileOptions { file: written(node, around, file) }),
            None => {
                let what = format!("No file specified for {}", node.call.module);
                Err(around.document.wrong(node.at, what))
            }
        }
    }
}

impl RoleOptions {
    /// # Errors
    /// No role, or an argument that is none of theirs.
    pub(super) fn read(node: &TaskNode, around: &Around) -> Result<RoleOptions, PlaybookError> {
        const KNOWN: [&str; 11] = [
            "name",
            "role",
            "tasks_from",
            "vars_from",
            "defaults_from",
            "handlers_from",
            "allow_duplicates",
            "public",
            "rolespec_validate",
            "apply",
            "_raw_params",
        ];
        let is_include = node.call.core() == Some("include_role");
        let allowed: Vec<&str> = KNOWN.into_iter().filter(|word| is_include || *word != "apply").collect();
        known(node, around, &allowed[..allowed.len() - 1])?;
        let args = &node.call.args;
        let option = |word: &str| args.get(word).map(|value| written(node, around, value));
        let Some(name) = option("name").or_else(|| option("role")) else {
            let what = format!("'name' is a required field for {}.", node.call.module);
            return Err(around.document.wrong(node.call.at, what));
        };
        let options = RoleOptions {
            name,
            from: RoleFrom {
                tasks: option("tasks_from"),
                vars: option("vars_from"),
                defaults: option("defaults_from"),
                handlers: option("handlers_from"),
            },
            allow_duplicates: option("allow_duplicates"),
            public: option("public"),
            rolespec_validate: option("rolespec_validate"),
        };
        let RoleFrom { tasks, vars, defaults, handlers } = &options.from;
        let from =
            [("tasks_from", tasks), ("vars_from", vars), ("defaults_from", defaults), ("handlers_from", handlers)];
        for (word, value) in from {
            if let Some(Written { value: Authored::Data(value), .. }) = value
                && value.as_str().is_none()
            {
                let what = format!("Expected a string for {word} but got {} instead", value.kind());
                return Err(around.document.wrong(node.call.at, what));
            }
        }
        Ok(options)
    }
}

fn known(node: &TaskNode, around: &Around, allowed: &[&str]) -> Result<(), PlaybookError> {
    let Some(name) = node.call.args.keys().find(|name| !allowed.contains(&name.as_str())) else { return Ok(()) };
    let what = format!("Invalid options for {}: {}", node.call.module, crate::input::source::shown(name));
    let nearest = rustle_agent::module::args::nearest(name, allowed.iter().copied());
    Err(around.document.wrong(node.call.at, what).hint(nearest.map(|word| format!("did you mean `{word}`?"))))
}

fn written(node: &TaskNode, around: &Around, value: &Authored) -> Written {
    Written { place: around.document.place(node.call.at), value: value.clone() }
}

/// A flag that is known, or what it is if nobody says.
pub(super) fn flag(value: Option<&Value>, default: bool) -> bool {
    value.and_then(as_bool).unwrap_or(default)
}
