//! What plans can say and the engine does not do yet. Left out in silence, something else would run than was written;
//! so it is told before anybody is contacted. A line goes when the engine has learnt what it is about.

use rustle_protocol::HostName;

use super::{HostOrder, Keyword, Plan, Play, Task};

/// The first thing about each play and task that would not be done, with the task's place.
pub fn not_done_yet(plan: &Plan) -> Vec<String> {
    let told = |task: &Task| {
        let what = pending(task).or_else(|| local_elsewhere(plan, task))?;
        Some(refusal(task, what))
    };
    let of_play =
        |play: &Play| pending_in_play(play).map(|what| format!("play `{}`: {what} cannot be run yet", play.name));
    plan.plays.iter().filter_map(of_play).chain(plan.tasks.iter().filter_map(told)).collect()
}

fn pending_in_play(play: &Play) -> Option<&'static str> {
    [
        (play.order == HostOrder::Shuffle, "`order: shuffle`"),
        (!play.gathering.subset.is_empty(), "`gather_subset` (a task of `setup` can)"),
        (play.gathering.timeout.is_some(), "`gather_timeout` (a task of `setup` can)"),
    ]
    .into_iter()
    .find(|(found, _)| *found)
    .map(|(_, what)| what)
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
    let failure = &task.failure;
    [
        (task.run_once != Keyword::Is(false), "`run_once`"),
        (task.throttle != Keyword::Is(0), "`throttle`"),
        (task.background.is_some(), "`async`"),
        (task.more_args.is_some(), "a template that is all arguments"),
        (failure.ignore_errors.known().is_none(), "`ignore_errors` with a template"),
        (failure.ignore_unreachable.known().is_none(), "`ignore_unreachable` with a template"),
        (failure.any_errors_fatal.known().is_none(), "`any_errors_fatal` with a template"),
    ]
    .into_iter()
    .find(|(found, _)| *found)
    .map(|(_, what)| what)
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
    use crate::plan::{PlayId, TaskId};
    use crate::template::Authored;

    #[test]
    fn what_would_not_be_done_is_told() {
        let task = || Task::new(TaskId(0), PlayId(0), "ping");
        assert_eq!(pending(&task()), None);
        assert_eq!(pending(&Task { run_once: Keyword::Is(true), ..task() }), Some("`run_once`"));
        let mut ignoring = task();
        ignoring.failure.ignore_errors = Keyword::Is(true);
        assert_eq!(pending(&ignoring), None);
        ignoring.failure.ignore_errors = Keyword::Template(Authored::from_value("{{ careless }}".into()));
        assert_eq!(pending(&ignoring), Some("`ignore_errors` with a template"));
    }

    #[test]
    fn what_a_play_would_not_do_is_told() {
        let mut plan = Plan::of_task(Task::new(TaskId(0), PlayId(0), "ping"), vec!["web1".parse().unwrap()]);
        assert_eq!(not_done_yet(&plan), [""; 0]);
        plan.plays[0].order = HostOrder::Shuffle;
        assert_eq!(not_done_yet(&plan), ["play `ping`: `order: shuffle` cannot be run yet"]);
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
