//! `--tags`, `--skip-tags` and `--start-at-task`: which tasks of a plan take part.

use globset::GlobBuilder;
use rustle_agent::module::args::nearest;

use super::{Plan, TaskId};

/// The tags a run asks for and those it leaves out. Nothing asked for means all.
///
/// `always` runs unless it is left out by name, `never` only if one of its task's tags is asked for. `all`, `tagged` and
/// `untagged` mean what they mean in Ansible.
#[derive(Clone, Debug, Default)]
pub struct TagFilter {
    asked: Vec<String>,
    skipped: Vec<String>,
}

impl TagFilter {
    /// Each element may hold several tags, separated by commas.
    pub fn new(asked: &[String], skipped: &[String]) -> TagFilter {
        TagFilter { asked: split(asked), skipped: split(skipped) }
    }

    /// Whether a task with these tags runs.
    pub fn keeps(&self, tags: &[String]) -> bool {
        self.is_asked(tags) && !self.is_skipped(tags)
    }

    fn is_asked(&self, tags: &[String]) -> bool {
        let never = has(tags, "never");
        let all = self.asked.is_empty() || has(&self.asked, "all");
        has(tags, "always")
            || (all && !never)
            || meet(tags, &self.asked)
            || (has(&self.asked, "tagged") && !tags.is_empty() && !never)
    }

    fn is_skipped(&self, tags: &[String]) -> bool {
        if has(&self.skipped, "all") {
            return !has(tags, "always") || has(&self.skipped, "always");
        }
        meet(tags, &self.skipped) || (has(&self.skipped, "tagged") && !tags.is_empty())
    }

    /// Takes out of each play the tasks that do not run. Handlers stay: a notification asks for them. As in Ansible the flushes
    /// that nobody wrote down have the tag `always`.
    pub fn apply(&self, plan: &mut Plan) {
        let has_flushes = self.keeps(&["always".to_owned()]);
        let Plan { plays, tasks, .. } = plan;
        for play in plays {
            if !has_flushes {
                play.last_flushes = 0;
            }
            play.tasks.retain(|id| self.keeps(&tasks[id.index()].tags));
        }
    }
}

fn split(options: &[String]) -> Vec<String> {
    let tags = options.iter().flat_map(|option| option.split(',')).map(str::trim);
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn has(tags: &[String], wanted: &str) -> bool {
    tags.iter().any(|tag| tag == wanted)
}

/// Whether one of a task's tags is in `options`; a task without tags has the tag `untagged`.
fn meet(tags: &[String], options: &[String]) -> bool {
    match tags {
        [] => has(options, "untagged"),
        tags => tags.iter().any(|tag| has(options, tag)),
    }
}

/// No task has the name that the run was to start at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No matching task \"{name}\" found. Note: --start-at-task can only follow static includes.")]
pub struct NoSuchTask {
    pub name: String,
    pub nearest: Option<String>,
}

/// Takes out everything before the first task whose name is `name` or fits it as a glob. Handlers stay.
///
/// # Errors
/// If there is no such task; the plan is then unchanged.
pub fn start_at(plan: &mut Plan, name: &str) -> Result<(), NoSuchTask> {
    let found = plan.plays.iter().enumerate().find_map(|(play, there)| {
        let at = there.tasks.iter().position(|id| is_called(plan, *id, name))?;
        Some((play, at))
    });
    let Some((play, at)) = found else {
        let names = plan.plays.iter().flat_map(|play| &play.tasks).map(|id| plan.task(*id).title());
        return Err(NoSuchTask { name: name.to_owned(), nearest: nearest(name, names).map(str::to_owned) });
    };
    for earlier in &mut plan.plays[..play] {
        earlier.tasks.clear();
    }
    plan.plays[play].tasks.drain(..at);
    Ok(())
}

fn is_called(plan: &Plan, id: TaskId, name: &str) -> bool {
    let title = plan.task(id).title();
    let glob = || GlobBuilder::new(name).backslash_escape(false).build().ok().map(|glob| glob.compile_matcher());
    title == name || (name.contains(['*', '?', '[']) && glob().is_some_and(|glob| glob.is_match(title)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Play, PlayId, Task};

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Compared with `ansible-playbook --list-tasks` of ansible-core 2.19.
    #[test]
    fn tags_choose_the_tasks_ansible_chooses() {
        const TASKS: [&[&str]; 6] = [&[], &["a"], &["b", "c"], &["always"], &["never"], &["never", "a"]];
        for (asked, skipped, kept) in [
            (&[] as &[&str], &[] as &[&str], "0123"),
            (&["a"], &[], "135"),
            (&["a,c"], &[], "1235"),
            (&["all"], &[], "0123"),
            (&["tagged"], &[], "123"),
            (&["untagged"], &[], "03"),
            (&["never"], &[], "345"),
            (&["nothing"], &[], "3"),
            (&[], &["a"], "023"),
            (&[], &["always"], "012"),
            (&[], &["all"], "3"),
            (&[], &["all", "always"], ""),
            (&[], &["tagged"], "0"),
            (&[], &["untagged"], "123"),
            (&["a"], &["a"], "3"),
            (&["all", "never"], &["b"], "01345"),
        ] {
            let filter = TagFilter::new(&strings(asked), &strings(skipped));
            let left: String = TASKS
                .iter()
                .enumerate()
                .filter(|(_, tags)| filter.keeps(&strings(tags)))
                .map(|(at, _)| at.to_string())
                .collect();
            assert_eq!(left, kept, "--tags {asked:?} --skip-tags {skipped:?}");
        }
    }

    fn plan(plays: &[&[&str]]) -> Plan {
        let mut tasks = Vec::new();
        let plays = plays.iter().enumerate().map(|(at, names)| {
            let id = PlayId(at as u32);
            let ids = names.iter().map(|name| {
                let task = TaskId(tasks.len() as u32);
                tasks.push(Task { name: Some((*name).to_owned()), ..Task::new(task, id, "ping") });
                task
            });
            Play { tasks: ids.collect(), ..Play::new(id, "", Vec::new()) }
        });
        let plays = plays.collect();
        Plan {
            sources: vec!["-".to_owned()],
            plays,
            tasks,
            blocks: Vec::new(),
            check_mode: false,
            diff: false,
            forks: None,
            digest: String::new(),
            warnings: Vec::new(),
        }
    }

    fn left(plan: &Plan) -> Vec<Vec<&str>> {
        plan.plays.iter().map(|play| play.tasks.iter().map(|id| plan.task(*id).title()).collect()).collect()
    }

    #[test]
    fn starting_at_a_task_leaves_out_what_comes_before() {
        let mut plan = plan(&[&["one", "two"], &["three", "four", "three"]]);
        start_at(&mut plan, "three").unwrap();
        assert_eq!(left(&plan), [vec![], vec!["three", "four", "three"]]);
        start_at(&mut plan, "f*").unwrap();
        assert_eq!(left(&plan), [vec![], vec!["four", "three"]]);
    }

    #[test]
    fn starting_at_an_unknown_task_names_the_nearest_and_changes_nothing() {
        let mut plan = plan(&[&["install nginx"]]);
        let error = start_at(&mut plan, "instal nginx").unwrap_err();
        assert_eq!(error.nearest.as_deref(), Some("install nginx"));
        assert_eq!(
            error.to_string(),
            "No matching task \"instal nginx\" found. Note: --start-at-task can only follow static includes."
        );
        assert_eq!(left(&plan), [["install nginx"]]);
    }
}
