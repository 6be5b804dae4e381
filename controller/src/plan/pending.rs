//! What plans can say and the engine does not do yet. Left out in silence, something else would run than was written;
//! so it is told before anybody is contacted. A line goes when the engine has learnt what it is about.

use rustle_protocol::HostName;

use super::{Plan, Task};

/// The first thing about each task that would not be done, with the task's place.
pub fn not_done_yet(plan: &Plan) -> Vec<String> {
    let told = |task: &Task| {
        let what = pending(task).or_else(|| local_elsewhere(plan, task))?;
        Some(refusal(task, what))
    };
    plan.tasks.iter().filter_map(told).collect()
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

/// `connection: local` for a host that is not this machine: sent to the host's agent, the task would change the wrong one.
fn local_elsewhere(plan: &Plan, task: &Task) -> Option<&'static str> {
    let is_agent = |name: &String| !matches!(name.as_str(), "local" | "ansible.builtin.local");
    if task.connection.as_ref()?.known().is_some_and(is_agent) {
        return None;
    }
    let is_here = |host: &HostName| matches!(host.as_str(), "localhost" | "127.0.0.1");
    let all_here = plan.play(task.play).hosts.iter().all(is_here);
    (!all_here).then_some("`connection: local` for other hosts (`ansible_connection=local` in the inventory can)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Background, Keyword, PlayId, TaskId};

    #[test]
    fn what_would_not_be_done_is_told() {
        let task = || Task::new(TaskId(0), PlayId(0), "ping");
        assert_eq!(pending(&task()), None);
        let background = Some(Background { limit: Keyword::default(), poll: Keyword::default() });
        assert_eq!(pending(&Task { background, ..task() }), Some("`async`"));
    }

    #[test]
    fn a_local_connection_is_for_this_machine() {
        let told = |host: &str, connection: &str| {
            let connection = Some(Keyword::Is(connection.to_owned()));
            let task = Task { connection, ..Task::new(TaskId(0), PlayId(0), "ping") };
            not_done_yet(&Plan::of_task(task, vec![host.parse().unwrap()])).len()
        };
        assert_eq!((told("localhost", "local"), told("web1", "ssh"), told("web1", "local")), (0, 0, 1));
    }
}
