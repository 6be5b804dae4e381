//! One task, as its author meant it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use rustle_agent::module::short_name;
use rustle_protocol::HostName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileSearch, IncludeId, Keyword, PlayId, RoleInfo, RunAs, TaskId, Within, is_default};
use crate::event::TaskKind;
use crate::origin::Origin;
use crate::template::{Authored, Expression};
use crate::vars::Layer;

/// A task or a handler. Text in it may be a template where Ansible allows one. What it inherits from blocks, role and play
/// is in it already.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default = "blank", deny_unknown_fields)]
pub struct Task {
    pub id: TaskId,
    pub play: PlayId,
    pub kind: TaskKind,
    /// What the plan calls it, `task_3`: for the report. Not unique.
    pub plan_id: String,
    /// As written; `None` if the author gave none. May be a template.
    #[serde(skip_serializing_if = "is_default")]
    pub name: Option<String>,
    /// As written: `copy` or `ansible.builtin.copy`; the full name of what was found in one of the task's `collections`.
    pub module: String,
    /// What the author calls the module, if that is something else.
    #[serde(skip_serializing_if = "is_default")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub args: IndexMap<String, Authored>,
    /// A dict once rendered, for what [`args`](Self::args) does not say: `args: "{{ options }}"`.
    #[serde(skip_serializing_if = "is_default")]
    pub more_args: Option<Authored>,
    /// All must hold, outer ones first. Bare Jinja expressions.
    #[serde(skip_serializing_if = "is_default")]
    pub when: Vec<Expression>,
    /// The hosts that run it, if not all of the play.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(with = "Option<BTreeSet<String>>")]
    pub hosts: Option<BTreeSet<HostName>>,
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
    /// The task's own variables.
    #[serde(skip_serializing_if = "is_default")]
    pub vars: IndexMap<String, Authored>,
    /// What it has from its role and its blocks, each with its place in Ansible's order. Shared with other tasks.
    #[serde(skip)]
    pub layers: Arc<[Layer]>,
    #[serde(skip_serializing_if = "is_default")]
    pub register: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub looping: Option<Looping>,
    #[serde(skip_serializing_if = "is_default")]
    pub changed_when: Vec<Expression>,
    #[serde(skip_serializing_if = "is_default")]
    pub failed_when: Vec<Expression>,
    #[serde(skip_serializing_if = "is_default")]
    pub failure: Failure,
    /// Names of handlers, or topics that handlers listen to. May be templates.
    #[serde(skip_serializing_if = "is_default")]
    pub notify: Vec<String>,
    /// A handler's topics.
    #[serde(skip_serializing_if = "is_default")]
    pub listen: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub delegation: Option<Delegation>,
    /// Run by the first host for all of the batch.
    #[serde(skip_serializing_if = "is_default")]
    pub run_once: Keyword<bool>,
    /// Most hosts at this task at once; 0 for no limit but the run's forks.
    #[serde(skip_serializing_if = "is_default")]
    pub throttle: Keyword<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub until: Option<Until>,
    /// `async`: the task goes on in the background.
    #[serde(skip_serializing_if = "is_default")]
    pub background: Option<Background>,
    /// `None`: the run's. Zero for none.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Option<Keyword<Duration>>,
    #[serde(skip_serializing_if = "is_default")]
    pub check_mode: Option<Keyword<bool>>,
    #[serde(skip_serializing_if = "is_default")]
    pub diff: Option<Keyword<bool>>,
    #[serde(skip_serializing_if = "is_default")]
    pub no_log: Keyword<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub run_as: RunAs,
    /// `connection`: `None` for the host's own.
    #[serde(skip_serializing_if = "is_default")]
    pub connection: Option<Keyword<String>>,
    /// Dicts once rendered, outer ones first: a later one wins.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: Vec<Authored>,
    /// For display and `--step`. Never decides whether a failure counts.
    #[serde(skip_serializing_if = "is_default")]
    pub risk: Option<Risk>,
    /// The block with a `rescue` or an `always` that it stands in, the innermost.
    #[serde(skip_serializing_if = "is_default")]
    pub within: Option<Within>,
    #[serde(skip)]
    pub role: Option<Arc<RoleInfo>>,
    /// Where its files are looked for; `None` for beside the plan.
    #[serde(skip)]
    pub search: Option<FileSearch>,
    #[serde(skip_serializing_if = "is_default")]
    pub position: Option<Origin>,
    /// For messages; `None` for a task that no person wrote so, and for one of a plan.
    #[serde(skip)]
    pub call: Option<Arc<CallOrigins>>,
    /// For `include_tasks` and `include_role`: by which the [`Fragments`](super::Fragments) know what stands around it.
    #[serde(skip_serializing_if = "is_default")]
    pub include: Option<IncludeId>,
}

/// What a task begins as that says nothing.
fn blank() -> Task {
    Task::new(TaskId(0), PlayId(0), "")
}

/// Where a task's call of its module stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CallOrigins {
    pub module: Origin,
    pub args: IndexMap<String, ArgOrigin>,
}

/// Where an argument stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgOrigin {
    pub whole: Arc<Origin>,
    /// If it is a list, of each of its items.
    pub items: Vec<Arc<Origin>>,
}

impl CallOrigins {
    pub(crate) fn arg(&self, name: &str) -> Option<&Arc<Origin>> {
        self.args.get(name).map(|arg| &arg.whole)
    }

    /// Of an argument that is a list, the item at place `number`; of another one, the argument.
    pub(crate) fn item(&self, name: &str, number: usize) -> Option<&Arc<Origin>> {
        self.args.get(name).map(|arg| arg.items.get(number).unwrap_or(&arg.whole))
    }
}

/// What a failure of the task means.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Failure {
    /// The host goes on as if the task had not failed.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_errors: Keyword<bool>,
    /// The host goes on though it could not be reached.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_unreachable: Keyword<bool>,
    /// No host of the play goes on.
    #[serde(skip_serializing_if = "is_default")]
    pub any_errors_fatal: Keyword<bool>,
}

/// `loop` or `with_…`, and `loop_control`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Looping {
    /// For `loop` the items: a list once rendered. For `with_x` the terms for the lookup.
    pub items: Authored,
    /// `x` of `with_x`: the lookup whose answers are the items. `None` for `loop`.
    #[serde(skip_serializing_if = "is_default")]
    pub lookup: Option<String>,
    pub control: LoopControl,
}

/// How a loop runs and shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoopControl {
    /// The item's name; `item` unless it is said.
    pub loop_var: String,
    /// A variable for the item's number, from 0.
    pub index_var: Option<String>,
    /// What is shown in the place of the item.
    pub label: Option<Authored>,
    /// Wait between two items.
    pub pause: Keyword<Duration>,
    /// Whether there is an `ansible_loop`.
    pub extended: bool,
    /// Whether `ansible_loop` has `allitems`. Default true.
    pub extended_allitems: bool,
    /// Ends the loop after an item for which all hold. Empty for never.
    pub break_when: Vec<Expression>,
}

impl Default for LoopControl {
    fn default() -> LoopControl {
        LoopControl {
            loop_var: "item".to_owned(),
            index_var: None,
            label: None,
            pause: Keyword::Is(Duration::ZERO),
            extended: false,
            extended_allitems: true,
            break_when: Vec::new(),
        }
    }
}

impl Looping {
    /// `loop` over these items, and nothing said of how.
    pub fn over(items: Authored) -> Looping {
        Looping { items, lookup: None, control: LoopControl::default() }
    }
}

/// `delegate_to`: another host does the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The other host's name once rendered, for each item of a loop.
    pub to: Authored,
    /// Facts that the task finds belong to the other host.
    pub facts: Keyword<bool>,
}

impl Delegation {
    pub fn to(host: Authored) -> Delegation {
        Delegation { to: host, facts: Keyword::Is(false) }
    }
}

/// Tries of a task that may fail at first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// Must hold after a try; empty for "did not fail".
    pub conditions: Vec<Expression>,
    /// Tries after the first.
    pub retries: Keyword<u32>,
    pub delay: Keyword<Duration>,
}

/// `async` and `poll`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// The most time it may take; zero for a task that is not in the background after all.
    pub limit: Keyword<Duration>,
    /// How often it is looked whether it has ended; zero to leave it to `async_status`. Default 15 s.
    pub poll: Keyword<Duration>,
}

/// How much harm a task could do, as rustle-plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

impl Task {
    /// What `notify` may call this handler: its name, also behind its role's and its collection's.
    pub fn handler_names(&self) -> impl Iterator<Item = String> {
        self.name.iter().flat_map(|name| self.qualified(name))
    }

    /// The topics it listens to, also behind its role's name and its collection's.
    pub fn handler_topics(&self) -> impl Iterator<Item = String> {
        self.listen.iter().flat_map(|topic| self.qualified(topic))
    }

    fn qualified(&self, word: &str) -> Vec<String> {
        let Some(role) = &self.role else { return vec![word.to_owned()] };
        let mut all = vec![word.to_owned(), format!("{} : {word}", role.name)];
        all.extend(role.collection.as_ref().map(|collection| format!("{collection}.{} : {word}", role.name)));
        all
    }

    /// A task that runs `module` and says nothing else.
    pub fn new(id: TaskId, play: PlayId, module: impl Into<String>) -> Task {
        Task {
            id,
            play,
            kind: TaskKind::Task,
            plan_id: id.to_string(),
            name: None,
            module: module.into(),
            action: None,
            args: IndexMap::new(),
            more_args: None,
            when: Vec::new(),
            hosts: None,
            tags: Vec::new(),
            vars: IndexMap::new(),
            layers: Arc::default(),
            register: None,
            looping: None,
            changed_when: Vec::new(),
            failed_when: Vec::new(),
            failure: Failure::default(),
            notify: Vec::new(),
            listen: Vec::new(),
            delegation: None,
            run_once: Keyword::Is(false),
            throttle: Keyword::Is(0),
            until: None,
            background: None,
            timeout: None,
            check_mode: None,
            diff: None,
            no_log: Keyword::Is(false),
            run_as: RunAs::default(),
            connection: None,
            environment: Vec::new(),
            risk: None,
            within: None,
            role: None,
            search: None,
            position: None,
            call: None,
            include: None,
        }
    }

    /// The name to show before templates are rendered: the module's if there is no other.
    pub fn title(&self) -> &str {
        self.name.as_deref().or(self.action.as_deref()).unwrap_or(&self.module)
    }

    pub fn includes_role(&self) -> bool {
        short_name(&self.module) == "include_role"
    }

    /// The title, and for an `include_role` without a name also the role: what stands above its results, as in Ansible.
    pub fn heading(&self) -> Cow<'_, str> {
        let is_nameless = self.name.is_none() && self.includes_role();
        match self.args.get("name").or_else(|| self.args.get("role")).filter(|_| is_nameless) {
            Some(role) => Cow::Owned(format!("{} : {}", self.module, rustle_agent::module::shown(&role.source()))),
            None => Cow::Borrowed(self.title()),
        }
    }
}
