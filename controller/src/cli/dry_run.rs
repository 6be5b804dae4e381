//! `--dry-run`: what would run where, without contacting anybody.

use std::fmt::Write;

use crate::plan::Plan;
use crate::report::short_list;

/// The plan in words: plays, batches and tasks in order.
pub(super) fn describe(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = describe_to(plan, &mut out);
    out
}

fn describe_to(plan: &Plan, out: &mut String) -> std::fmt::Result {
    for warning in &plan.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for play in &plan.plays {
        writeln!(out, "play {}: {}", play.id.0 + 1, play.name)?;
        if play.hosts.is_empty() {
            writeln!(out, "  no hosts{}", play.empty_reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())?;
            continue;
        }
        let batches = play.waves.cut(&play.hosts);
        for (number, batch) in batches.iter().enumerate() {
            writeln!(out, "  batch {} of {}: {}", number + 1, batches.len(), short_list(batch))?;
        }
        for id in &play.tasks {
            let task = plan.task(*id);
            let hosts = task.hosts.as_ref().map(|hosts| format!(", {} hosts only", hosts.len())).unwrap_or_default();
            let when = if task.when.is_empty() {
                String::new()
            } else {
                format!(", when {}", task.when.iter().map(|when| &**when).collect::<Vec<_>>().join(" and "))
            };
            writeln!(out, "  task: {} ({}{hosts}{when})", task.title(), task.module)?;
        }
        for id in &play.handlers {
            let handler = plan.task(*id);
            writeln!(out, "  handler: {} ({})", handler.title(), handler.module)?;
        }
    }
    Ok(())
}
