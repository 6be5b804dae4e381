//! What plans can say and the engine does not do yet. Left out in silence, something else would run than was written;
//! so it is told before anybody is contacted. A line goes when the engine has learnt what it is about.

use super::{Keyword, Plan, Task};

/// The first thing about each task that would not be done, with the task's place.
pub fn not_done_yet(plan: &Plan) -> Vec<String> {
    let told = |task: &Task| {
        let what = pending(task)?;
        let place = task.position.as_ref().map(ToString::to_string).unwrap_or_else(|| task.title().to_owned());
        Some(format!("{place}: {what} cannot be run yet"))
    };
    plan.tasks.iter().filter_map(told).collect()
}

fn pending(task: &Task) -> Option<&'static str> {
    [
        (task.include.is_some(), "a dynamic include (import_tasks and import_role can)"),
        (task.run_once != Keyword::Is(false), "`run_once`"),
        (task.throttle != Keyword::Is(0), "`throttle`"),
        (task.background.is_some(), "`async`"),
        (task.more_args.is_some(), "a template that is all arguments"),
    ]
    .into_iter()
    .find(|(found, _)| *found)
    .map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlayId, TaskId};

    #[test]
    fn what_would_not_be_done_is_told() {
        let task = || Task::new(TaskId(0), PlayId(0), "ping");
        assert_eq!(pending(&task()), None);
        assert_eq!(pending(&Task { run_once: Keyword::Is(true), ..task() }), Some("`run_once`"));
    }
}
