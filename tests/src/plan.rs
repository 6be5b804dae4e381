//! Plans for tests, in the JSON of rustle-parse, which carries all that a test needs.

use serde_json::{Value, json};

/// A play over all hosts of the inventory.
pub fn play(tasks: impl IntoIterator<Item = Value>) -> Value {
    plays([json!({ "name": "Play", "hosts": "all", "tasks": Vec::from_iter(tasks) })])
}

pub fn plays(plays: impl IntoIterator<Item = Value>) -> Value {
    json!({ "plays": Vec::from_iter(plays) })
}

/// A task called as its module.
pub fn task(module: &str, args: Value) -> Value {
    json!({ "name": module, "module": module, "args": args })
}

/// A task that runs a shell command, and is called as the command is.
pub fn shell(command: &str) -> Value {
    json!({ "name": command, "module": "shell", "args": { "_raw_params": command } })
}

/// The task under another name.
pub fn named(name: &str, mut task: Value) -> Value {
    task["name"] = name.into();
    task
}

/// The task, which then reports no change.
pub fn changed_when_false(mut task: Value) -> Value {
    task["changed_when"] = "false".into();
    task
}
