//! One task, as its author meant it.

use std::collections::BTreeSet;
use std::time::Duration;

use indexmap::IndexMap;
use rustle_protocol::HostName;

use super::{PlayId, RunAs, TaskId};
use crate::event::TaskKind;
use crate::template::Authored;

/// A task or a handler. Text in it may be a template where Ansible allows one.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: TaskId,
    pub play: PlayId,
    pub kind: TaskKind,
    /// What the plan calls it, `task_3`: for the report. Not unique.
    pub plan_id: String,
    /// As written; `None` if the author gave none. May be a template.
    pub name: Option<String>,
    /// As written: `copy` or `ansible.builtin.copy`.
    pub module: String,
    pub args: IndexMap<String, Authored>,
    /// All must hold. Bare Jinja expressions.
    pub when: Vec<String>,
    /// The hosts that run it, if not all of the play.
    pub hosts: Option<BTreeSet<HostName>>,
    pub tags: Vec<String>,
    pub vars: IndexMap<String, Authored>,
    pub register: Option<String>,
    /// The loop's items, a list once rendered.
    pub loop_items: Option<Authored>,
    pub changed_when: Vec<String>,
    pub failed_when: Vec<String>,
    pub ignore_errors: bool,
    pub ignore_unreachable: bool,
    pub any_errors_fatal: bool,
    /// Names of handlers, or topics that handlers listen to.
    pub notify: Vec<String>,
    /// A handler's topics.
    pub listen: Vec<String>,
    pub delegate_to: Option<Authored>,
    pub until: Option<Until>,
    /// `None`: the run's.
    pub timeout: Option<Duration>,
    pub check_mode: Option<bool>,
    pub diff: Option<bool>,
    pub no_log: bool,
    pub run_as: RunAs,
    pub environment: IndexMap<String, Authored>,
    /// For display and `--step`. Never decides whether a failure counts.
    pub risk: Option<Risk>,
}

/// Tries of a task that may fail at first.
#[derive(Clone, Debug, PartialEq)]
pub struct Until {
    /// Must hold after a try; empty for "did not fail".
    pub conditions: Vec<String>,
    /// Tries after the first.
    pub retries: u32,
    pub delay: Duration,
}

/// How much harm a task could do, as rustle-plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

impl Task {
    /// A task that runs `module` and says nothing else.
    pub fn new(id: TaskId, play: PlayId, module: impl Into<String>) -> Task {
        Task {
            id,
            play,
            kind: TaskKind::Task,
            plan_id: id.to_string(),
            name: None,
            module: module.into(),
            args: IndexMap::new(),
            when: Vec::new(),
            hosts: None,
            tags: Vec::new(),
            vars: IndexMap::new(),
            register: None,
            loop_items: None,
            changed_when: Vec::new(),
            failed_when: Vec::new(),
            ignore_errors: false,
            ignore_unreachable: false,
            any_errors_fatal: false,
            notify: Vec::new(),
            listen: Vec::new(),
            delegate_to: None,
            until: None,
            timeout: None,
            check_mode: None,
            diff: None,
            no_log: false,
            run_as: RunAs::default(),
            environment: IndexMap::new(),
            risk: None,
        }
    }

    /// The name to show before templates are rendered: the module's if there is no other.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.module)
    }
}
