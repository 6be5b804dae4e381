//! Tasks in the playbook's own form, as they stand inside a `block` that `rustle-parse` passed on unread.

use std::time::Duration;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::arguments;
use super::source::shown;
use crate::plan::check::ModuleCatalog;
use crate::plan::{Delegation, Looping, RunAs, Task, Until};
use crate::template::{Authored, Expression};

/// Blocks within blocks.
const BLOCK_DEPTH_MAX: usize = 16;

/// Task keywords of Ansible that have no meaning here yet. Ignoring one would run something else than was written.
const REFUSED: [&str; 16] = [
    "action",
    "always",
    "async",
    "collections",
    "debugger",
    "delegate_facts",
    "local_action",
    "loop_control",
    "module_defaults",
    "poll",
    "port",
    "remote_user",
    "rescue",
    "run_once",
    "throttle",
    "connection",
];

/// The tasks inside the block `block`, which holds what it gives each of them: conditions, tags, variables, hosts.
///
/// # Errors
/// In a sentence: what is not a task, a keyword that is not understood.
pub(super) fn expand(block: &Task, items: &Value, catalog: &dyn ModuleCatalog) -> Result<Vec<Task>, String> {
    expand_at(block, items, catalog, 0)
}

fn expand_at(block: &Task, items: &Value, catalog: &dyn ModuleCatalog, depth: usize) -> Result<Vec<Task>, String> {
    if depth >= BLOCK_DEPTH_MAX {
        return Err(format!("blocks are nested deeper than {BLOCK_DEPTH_MAX} levels"));
    }
    let items = items.as_list().ok_or_else(|| format!("a block holds a list of tasks, not a {}", items.kind()))?;
    let mut tasks = Vec::new();
    for item in items {
        let item = item.as_map().ok_or_else(|| format!("a task is a dict, not a {}", item.kind()))?;
        let mut task = Task { name: None, ..block.clone() };
        match read(&mut task, item, catalog)? {
            Body::Module => tasks.push(task),
            Body::Block(inner) => tasks.extend(expand_at(&task, inner, catalog, depth + 1)?),
        }
    }
    Ok(tasks)
}

enum Body<'a> {
    Module,
    Block(&'a Value),
}

fn read<'a>(task: &mut Task, item: &'a Map, catalog: &dyn ModuleCatalog) -> Result<Body<'a>, String> {
    let mut module = None;
    let mut block = None;
    for (key, value) in item {
        match key.as_str() {
            "args" => {}
            "block" => block = Some(value),
            keyword => {
                if !set(task, keyword, value, item, "inside a block")? && module.replace((key, value)).is_some() {
                    return Err(format!("a task inside a block has two modules, one of them `{}`", shown(key)));
                }
            }
        }
    }
    if let Some(inner) = block {
        return Ok(Body::Block(inner));
    }
    let (module, value) = module.ok_or("a task inside a block has no module")?;
    let mut args = match value {
        Value::Map(args) => args.clone(),
        other => Map::from_iter([("_raw_params".to_owned(), other.clone())]),
    };
    if let Some(more) = item.get("args") {
        let more = more.as_map().ok_or("`args` of a task inside a block must be a dict")?;
        args.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    task.module = module.clone();
    task.args = arguments::convert(module, &args, catalog)?;
    Ok(Body::Module)
}

/// Sets what a keyword says; whether `keyword` is one. `item` is all that stands beside it, `place` says where.
///
/// # Errors
/// In a sentence: a keyword that has no meaning here yet, or a value that is none of its.
pub(super) fn set(task: &mut Task, keyword: &str, value: &Value, item: &Map, place: &str) -> Result<bool, String> {
    if REFUSED.contains(&keyword) {
        return Err(format!("`{keyword}` {place} is not understood"));
    }
    if set_run_as(&mut task.run_as, keyword, value, place)? {
        return Ok(true);
    }
    let wrong = |wanted: &str| format!("`{keyword}` {place} must be a {wanted}, not a {}", value.kind());
    let flag = || value.as_bool().ok_or_else(|| wrong("bool"));
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("string"));
    match keyword {
        "name" => task.name = Some(text()?),
        "register" => task.register = Some(text()?),
        "when" => task.when.extend(expressions(value).ok_or_else(|| wrong("condition"))?),
        "changed_when" => task.changed_when = expressions(value).ok_or_else(|| wrong("condition"))?,
        "failed_when" => task.failed_when = expressions(value).ok_or_else(|| wrong("condition"))?,
        "tags" => task.tags.extend(names(value).ok_or_else(|| wrong("list of strings"))?),
        "notify" => task.notify = names(value).ok_or_else(|| wrong("list of strings"))?,
        "loop" | "with_items" => task.looping = Some(Looping::over(Authored::from_value(value.clone()))),
        "vars" => {
            let vars = value.as_map().ok_or_else(|| wrong("dict"))?.clone();
            task.vars.extend(vars.into_iter().map(|(name, value)| (name, Authored::from_value(value))));
        }
        "environment" => {
            value.as_map().ok_or_else(|| wrong("dict"))?;
            task.environment.push(Authored::from_value(value.clone()));
        }
        "ignore_errors" => task.failure.ignore_errors = flag()?.into(),
        "ignore_unreachable" => task.failure.ignore_unreachable = flag()?.into(),
        "any_errors_fatal" => task.failure.any_errors_fatal = flag()?.into(),
        "no_log" => task.no_log = flag()?.into(),
        "check_mode" => task.check_mode = Some(flag()?.into()),
        "diff" => task.diff = Some(flag()?.into()),
        "delegate_to" => task.delegation = Some(Delegation::to(Authored::from_value(Value::String(text()?)))),
        "timeout" => task.timeout = Some(seconds(value).ok_or_else(|| wrong("number of seconds"))?.into()),
        "until" | "retries" | "delay" => task.until = Some(until(item)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// As [`set`], for `become` and its kin.
pub(super) fn set_run_as(run_as: &mut RunAs, keyword: &str, value: &Value, place: &str) -> Result<bool, String> {
    let wrong = |wanted: &str| format!("`{keyword}` {place} must be a {wanted}, not a {}", value.kind());
    let text = || value.as_str().map(|text| Some(Authored::from_value(text.into()))).ok_or_else(|| wrong("string"));
    match keyword {
        "become" => run_as.wanted = Some(value.as_bool().ok_or_else(|| wrong("bool"))?.into()),
        "become_user" => run_as.user = text()?,
        "become_method" => run_as.method = text()?,
        "become_flags" => run_as.flags = text()?,
        "become_exe" => run_as.exe = text()?,
        _ => return Ok(false),
    }
    run_as.check()?;
    Ok(true)
}

/// Conditions as expressions; a bool is the expression of itself.
pub(super) fn expressions(value: &Value) -> Option<Vec<Expression>> {
    let one = |value: &Value| match value {
        Value::Bool(bool) => Some(bool.to_string()),
        Value::String(text) => Some(text.clone()),
        number @ (Value::Int(_) | Value::Float(_)) => Some(number.to_json()),
        _ => None,
    };
    match value {
        Value::Null => Some(Vec::new()),
        Value::List(items) => items.iter().map(one).collect(),
        other => one(other).map(|text| vec![text]),
    }
    .map(|all: Vec<String>| all.into_iter().filter(|text| !text.trim().is_empty()).map(Expression::from).collect())
}

/// A name, several separated by commas, or a list of names.
fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
        Value::List(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Value::Null => Some(Vec::new()),
        _ => None,
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    value.as_i64().and_then(|n| u64::try_from(n).ok()).map(Duration::from_secs)
}

/// Ansible's defaults: 3 retries, 5 seconds apart.
fn until(item: &Map) -> Result<Until, String> {
    let conditions = item.get("until").map_or(Some(Vec::new()), expressions).ok_or("`until` must be a condition")?;
    let retries = match item.get("retries") {
        None => 3,
        Some(value) => value.as_i64().and_then(|n| u32::try_from(n).ok()).ok_or("`retries` must be a number")?,
    };
    let delay = match item.get("delay") {
        None => Duration::from_secs(5),
        Some(value) => seconds(value).ok_or("`delay` must be a number of seconds")?,
    };
    Ok(Until { conditions, retries: retries.into(), delay: delay.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::NativeModules;
    use crate::plan::{Keyword, PlayId, TaskId};

    fn expanded(items: &str) -> Result<Vec<Task>, String> {
        let mut block = Task::new(TaskId(4), PlayId(0), "block");
        block.when = vec!["outer".into()];
        block.tags = vec!["t".into()];
        expand(&block, &serde_json::from_str(items).unwrap(), &NativeModules)
    }

    #[test]
    fn a_blocks_tasks_inherit_its_conditions_and_tags() {
        let tasks = expanded(
            r#"[{"name": "one", "command": "echo {{ x }} chdir=/tmp", "when": ["a", "b"], "register": "r"},
                {"block": [{"debug": {"msg": "hi"}, "tags": "u,v", "become": true}], "when": true}]"#,
        )
        .unwrap();
        assert_eq!(tasks.len(), 2);
        assert_eq!((tasks[0].title(), tasks[0].register.as_deref()), ("one", Some("r")));
        assert_eq!(tasks[0].when, ["outer", "a", "b"]);
        assert_eq!(tasks[0].args["chdir"].source(), Value::from("/tmp"));
        assert_eq!((tasks[1].title(), &tasks[1].when[..]), ("debug", &["outer".into(), "true".into()][..]));
        assert_eq!(tasks[1].tags, ["t", "u", "v"]);
        assert_eq!(tasks[1].run_as, RunAs { wanted: Some(true.into()), ..RunAs::default() });
    }

    #[test]
    fn retries_have_ansibles_defaults() {
        let tasks = expanded(r#"[{"ping": null, "until": "ok"}, {"ping": null, "retries": 7, "delay": 1}]"#).unwrap();
        let until = |conditions: &[&str], retries, delay| {
            let conditions = conditions.iter().map(|c| (*c).into()).collect();
            Some(Until { conditions, retries: Keyword::Is(retries), delay: Keyword::Is(Duration::from_secs(delay)) })
        };
        assert_eq!(tasks[0].until, until(&["ok"], 3, 5));
        assert_eq!(tasks[1].until, until(&[], 7, 1));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (items, error) in [
            (r#"{}"#, "a block holds a list of tasks, not a dict"),
            (r#"["x"]"#, "a task is a dict, not a string"),
            (r#"[{"name": "x"}]"#, "a task inside a block has no module"),
            (r#"[{"ping": null, "copy": {}}]"#, "a task inside a block has two modules, one of them `copy`"),
            (r#"[{"block": [], "rescue": []}]"#, "`rescue` inside a block is not understood"),
            (r#"[{"ping": null, "run_once": true}]"#, "`run_once` inside a block is not understood"),
            (r#"[{"ping": null, "when": {}}]"#, "`when` inside a block must be a condition, not a dict"),
        ] {
            assert_eq!(expanded(items).unwrap_err(), error, "{items}");
        }
    }
}
