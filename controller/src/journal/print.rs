//! A plan's print: what is compared when a run goes on.
//!
//! It is taken of the plan as the program understands it, after limits, tags and options, so nothing that changes what
//! runs where can leave it the same.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;

use super::record::{PlanPrint, PlayPrint, TaskPrint};
use crate::plan::{Fragment, IncludeId, Plan, PlayId, RoleInfo, Task};

/// Differences named before "and more".
const NAMED_MAX: usize = 10;

impl PlanPrint {
    pub fn of(plan: &Plan) -> PlanPrint {
        let plays = plan.plays.iter().map(|play| PlayPrint {
            play: play.id,
            name: play.name.clone(),
            shape: digest(&(&play.hosts, &play.waves, &play.strategy, &play.tasks, &play.handlers)),
            content: digest(play),
        });
        let tasks = plan.tasks.iter().map(|task| TaskPrint {
            task: task.id,
            title: task.title().to_owned(),
            content: digest(task),
        });
        PlanPrint { source: plan.source(), plays: plays.collect(), tasks: tasks.collect() }
    }

    /// Of what a task includes. Numbers that count whatever was read before do not count here: reading that failed is not
    /// read again.
    pub fn of_fragment(fragment: &Fragment) -> PlanPrint {
        let Fragment { label, tasks, blocks, steps, handlers, exposed, roles, warnings: _ } = fragment;
        let print = |task: &Task| {
            let role = task.role.as_deref().map(uncounted);
            let include = task.include.map(|_| IncludeId(0));
            let content = digest(&Task { role, include, ..task.clone() });
            TaskPrint { task: task.id, title: task.title().to_owned(), content }
        };
        let whole = PlayPrint {
            play: PlayId(0),
            name: label.clone(),
            shape: digest(&(steps, handlers, blocks)),
            content: digest(&(exposed, roles)),
        };
        PlanPrint { source: label.clone(), plays: vec![whole], tasks: tasks.iter().map(print).collect() }
    }

    /// What differs in `now`, in words; nothing if it says the same.
    pub fn differences(&self, now: &PlanPrint) -> Vec<String> {
        let mut found = self.misfits(now);
        if found.is_empty() {
            let plays = self.plays.iter().zip(&now.plays).filter(|(then, now)| then.content != now.content);
            found.extend(plays.map(|(then, _)| format!("play `{}` says something else", then.name)));
            let tasks = self.tasks.iter().zip(&now.tasks).filter(|(then, now)| then.content != now.content);
            found.extend(tasks.map(|(then, now)| match then.title == now.title {
                true => format!("task {} `{}` says something else", then.task.0 + 1, then.title),
                false => format!("task {} was `{}` and is `{}`", then.task.0 + 1, then.title, now.title),
            }));
        }
        if found.len() > NAMED_MAX {
            let more = found.len() - NAMED_MAX;
            found.truncate(NAMED_MAX);
            found.push(format!("and {more} more"));
        }
        found
    }

    /// Why places in this plan are not places in `now`: other plays, other hosts, tasks added or removed.
    pub fn misfits(&self, now: &PlanPrint) -> Vec<String> {
        if self.plays.len() != now.plays.len() {
            return vec![format!("it had {} plays and has {}", self.plays.len(), now.plays.len())];
        }
        if self.tasks.len() != now.tasks.len() {
            return vec![format!("it had {} tasks and handlers and has {}", self.tasks.len(), now.tasks.len())];
        }
        let moved = self.plays.iter().zip(&now.plays).filter(|(then, now)| then.shape != now.shape);
        moved.map(|(then, _)| format!("play `{}` has other hosts, batches or numbers of tasks", then.name)).collect()
    }
}

/// The role without the numbers of its uses.
fn uncounted(role: &RoleInfo) -> Arc<RoleInfo> {
    Arc::new(RoleInfo { instance: 0, parent: role.parent.as_deref().map(uncounted), ..role.clone() })
}

/// Of everything that a type's `Debug` shows, which is all that it holds: a field that is added later counts at once.
fn digest(value: &impl Debug) -> String {
    let mut hashed = Hashed(blake3::Hasher::new());
    // A hasher takes everything.
    let _ = write!(hashed, "{value:?}");
    hashed.0.finalize().to_hex()[..32].to_owned()
}

struct Hashed(blake3::Hasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
