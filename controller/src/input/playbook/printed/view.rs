//! The fields of `rustle-plan`'s own plans, for people and tools that know them. They leave out what that form has no place
//! for; nothing is read back from them.

use rustle_agent::module::short_name;
use serde_json::{Value as Json, json};

use crate::plan::{Plan, Play, SerialSize, Strategy, Task, TaskId, Waves};

/// The release of rustle-plan whose form this is.
const FORM_OF: &str = "0.1.0";

/// Every field of the plan, in rustle-plan's order.
pub(super) fn of(plan: &Plan) -> serde_json::Map<String, Json> {
    let plays: Vec<Json> = plan.plays.iter().map(|play| of_play(plan, play)).collect();
    let tasks: usize = plan.plays.iter().map(|play| play.tasks.len()).sum();
    let all = json!({
        "metadata": {
            "created_at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "rustle_plan_version": FORM_OF,
            "playbook_hash": plan.digest,
            "inventory_hash": null,
            "planning_options": {
                "limit": null, "tags": [], "skip_tags": [], "check_mode": plan.check_mode, "diff_mode": plan.diff,
                "forks": plan.forks, "serial": null, "strategy": "Linear", "binary_threshold": null,
                "force_binary": false, "force_ssh": false,
            },
        },
        "plays": plays,
        "binary_deployments": [],
        "total_tasks": tasks,
        "estimated_duration": null,
        "estimated_compilation_time": null,
        "parallelism_score": null,
        "network_efficiency_score": null,
        "hosts": plan.hosts(),
    });
    match all {
        Json::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

fn of_play(plan: &Plan, play: &Play) -> Json {
    let tasks: Vec<Json> =
        play.tasks.iter().enumerate().map(|(place, id)| of_task(plan.task(*id), play, place)).collect();
    let handlers: Vec<Json> =
        play.handlers.iter().enumerate().map(|(place, id)| of_handler(plan.task(*id), place)).collect();
    json!({
        "play_id": play.id.to_string(),
        "name": play.name,
        "strategy": strategy(play.strategy),
        "serial": serial(&play.waves),
        "hosts": play.hosts,
        "batches": [{
            "batch_id": format!("{}-batch-0", play.id),
            "hosts": play.hosts,
            "tasks": tasks,
            "parallel_groups": [],
            "dependencies": [],
            "estimated_duration": null,
        }],
        "handlers": handlers,
        "estimated_duration": null,
    })
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Linear | Strategy::Rolling => "Linear",
        Strategy::Free | Strategy::Batch => "Free",
        Strategy::HostPinned => "HostPinned",
    }
}

/// The form has one number.
fn serial(waves: &Waves) -> Option<u32> {
    match waves {
        Waves::Serial(sizes) => match sizes[..] {
            [SerialSize::Count(count)] => Some(count),
            _ => None,
        },
        Waves::One | Waves::Explicit(_) => None,
    }
}

fn of_task(task: &Task, play: &Play, place: usize) -> Json {
    let risk = risk(&task.module);
    let mut conditions = conditions(task);
    if !task.tags.is_empty() {
        conditions.push(json!({"Tag": {"tags": task.tags}}));
    }
    json!({
        "task_id": id(task.id),
        "name": task.title(),
        "module": task.module,
        "args": args(task),
        "hosts": play.hosts,
        "dependencies": [],
        "conditions": conditions,
        "tags": task.tags,
        "notify": task.notify,
        "execution_order": place,
        "can_run_parallel": !matches!(risk, "High" | "Critical"),
        "estimated_duration": null,
        "risk_level": risk,
    })
}

fn of_handler(task: &Task, place: usize) -> Json {
    json!({
        "handler_id": id(task.id),
        "name": task.title(),
        "module": task.module,
        "args": args(task),
        "conditions": conditions(task),
        "execution_order": place,
    })
}

fn id(task: TaskId) -> String {
    format!("task_{}", task.0)
}

/// Cipher text for what is encrypted.
fn args(task: &Task) -> serde_json::Map<String, Json> {
    let shown = |value: &crate::template::Authored| serde_json::to_value(value.source()).unwrap_or_default();
    task.args.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
}

fn conditions(task: &Task) -> Vec<Json> {
    task.when.iter().map(|expression| json!({"When": {"expression": expression}})).collect()
}

/// As rustle-plan judges modules.
fn risk(module: &str) -> &'static str {
    match short_name(module) {
        "debug" | "assert" | "fail" | "meta" => "Low",
        "service" | "systemd" | "package" | "yum" | "apt" => "High",
        "shell" | "command" | "raw" => "Critical",
        _ => "Medium",
    }
}
