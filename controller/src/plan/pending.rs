//! What plans can say and the engine does not do yet. Left out in silence, something else would run than was written;
//! so it is told before anybody is contacted. A line goes when the engine has learnt what it is about.

use super::{Plan, Task};

/// The first thing about each task that would not be done, with the task's place.
pub fn not_done_yet(plan: &Plan) -> Vec<String> {
    plan.tasks.iter().filter_map(task_not_done_yet).collect()
}

fn refusal(task: &Task, what: &str) -> String {
    let place = task.position.as_ref().map(ToString::to_string).unwrap_or_else(|| task.title().to_owned());
    format!("{place}: {what} cannot be run yet")
}

/// As [`not_done_yet`], of a task that joins a plan.
pub fn task_not_done_yet(task: &Task) -> Option<String> {
    pending(task).map(|what| refusal(task, what))
}

fn pending(task: &Task) -> Option<&'static str> {
    task.background.is_some().then_some("`async`")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::{Background, Keyword, PlayId, TaskId};

    #[test]
    fn what_would_not_be_done_is_told() {
        let task = || Task::new(TaskId(0), PlayId(0), "ping");
        assert_eq!(pending(&task()), None);
        let background = Some(Background { limit: Keyword::default(), poll: Keyword::default() });
        assert_eq!(pending(&Task { background, ..task() }), Some("`async`"));
    }

    /// What stands between backticks, but for what is in parentheses.
    fn words(text: &str) -> BTreeSet<&str> {
        let outside = text.split('(').map(|part| part.rsplit_once(')').map_or(part, |(_, rest)| rest));
        outside.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
    }

    #[test]
    fn the_page_on_playbooks_lists_what_is_refused_and_nothing_else() {
        let code = include_str!("pending.rs").split("#[cfg(test)]").next().unwrap();
        let refused: BTreeSet<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .filter_map(|line| line.split_once("then_some(\"")?.1.rsplit_once('"'))
            .flat_map(|(sentence, _)| words(sentence))
            .collect();
        let page = include_str!("../../../docs/playbooks.md");
        let listed = page.split("\n\n").find(|paragraph| paragraph.contains("cannot be run yet")).unwrap_or_default();
        assert_eq!(words(listed), refused);
    }
}
