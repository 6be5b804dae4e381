//! `--list-tasks`, `--list-tags`, `--list-hosts`, `--syntax-check`: what playbooks hold, in Ansible's layout.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

use rustle_agent::module::short_name;
use rustle_protocol::Value;

use super::args::PlanArgs;
use crate::plan::{Plan, Play, Section, TagFilter, Task};
use crate::template::python_repr;

/// A playbook and the plays that came from it.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) plays: Range<usize>,
}

/// What was asked for, of every playbook.
pub(super) fn describe(plan: &Plan, playbooks: &[Listed], args: &PlanArgs, filter: &TagFilter) -> String {
    let mut out = String::new();
    for playbook in playbooks {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\nplaybook: {}", playbook.name);
        // A check of the syntax is that and nothing else.
        if !args.syntax_check && (args.list_tasks || args.list_tags || args.list_hosts) {
            for (number, play) in (1..).zip(&plan.plays[playbook.plays.clone()]) {
                let _ = describe_play(plan, play, number, args, filter, &mut out);
            }
        }
    }
    out
}

fn describe_play(
    plan: &Plan,
    play: &Play,
    number: usize,
    args: &PlanArgs,
    filter: &TagFilter,
    out: &mut String,
) -> std::fmt::Result {
    let patterns = &play.patterns;
    writeln!(out, "\n  play #{number} ({}): {}\tTAGS: [{}]", patterns.join(","), play.name, play.tags.join(","))?;
    if args.list_hosts {
        let patterns = python_repr(&Value::List(patterns.iter().map(|pattern| pattern.as_str().into()).collect()));
        writeln!(out, "    pattern: {patterns}\n    hosts ({}):", play.hosts.len())?;
        for host in &play.hosts {
            writeln!(out, "      {host}")?;
        }
    }
    let tasks: Vec<&Task> = play.tasks.iter().map(|id| plan.task(*id)).filter(|task| is_listed(plan, task)).collect();
    // Tags are there to be chosen: without a choice, those of tasks that run only when asked for are listed, too.
    let all = args.list_tags && args.tags.is_empty() && args.skip_tags.is_empty();
    let tasks: Vec<&Task> = tasks.into_iter().filter(|task| all || filter.keeps(&task.tags)).collect();
    if args.list_tasks {
        writeln!(out, "    tasks:")?;
        for task in &tasks {
            let names_role = task.name.is_some() && !task.includes_role();
            let role = task.role.as_ref().filter(|_| names_role).map(|role| format!("{} : ", role.fqcn()));
            let tags: BTreeSet<&str> = task.tags.iter().map(String::as_str).collect();
            writeln!(out, "      {}{}\tTAGS: [{}]", role.unwrap_or_default(), task.title(), joined(&tags))?;
        }
    }
    if args.list_tags {
        let tags = tasks.iter().flat_map(|task| &task.tags).chain(&play.tags);
        let tags: BTreeSet<&str> = tags.map(String::as_str).collect();
        writeln!(out, "      TASK TAGS: [{}]", joined(&tags))?;
    }
    Ok(())
}

fn joined(tags: &BTreeSet<&str>) -> String {
    tags.iter().copied().collect::<Vec<_>>().join(", ")
}

/// Ansible lists neither what it adds itself, but for the check of a role's arguments, nor what stands in `rescue` and `always`.
fn is_listed(plan: &Plan, task: &Task) -> bool {
    let places = std::iter::successors(task.within, |within| plan.blocks[within.block.index()].parent);
    let checks_a_role = short_name(&task.module) == "validate_argument_spec";
    (task.position.is_some() || checks_a_role) && places.into_iter().all(|within| within.section == Section::Tasks)
}
