//! Tasks that join a plan while it runs: what `include_tasks` and `include_role` bring.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::value::Map;

use super::{Block, Play, PlayRoles, Task, TaskId};
use crate::template::Authored;
use crate::vars::{Layer, VarMap};

/// One host's wish to include something, once everything in it is known.
///
/// Two hosts (or two items of a loop) that want the same (equal task, arguments and variables) share one fragment.
#[derive(Clone, Debug, PartialEq)]
pub struct Inclusion {
    /// The task's arguments, rendered: `file` or `_raw_params` of `include_tasks`; `name`, `tasks_from` and so on of
    /// `include_role`. Without `apply`, which is read from the task as it was written.
    pub args: Map,
    /// What the task's loop gave it: `item` or whatever it is called, the index, `ansible_loop`. Seen by the tasks
    /// included like variables of the including task, and weaker than its own. Data, never evaluated.
    pub locals: Arc<VarMap>,
}

/// Why there is nothing to include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotIncluded {
    /// A sentence, with file, line and column where the file is at fault.
    pub what: String,
    /// Ansible's sentence of it, if something is not there.
    pub said: Option<String>,
    /// What is there cannot be understood: the playbook is broken, and there is nothing right to go on with.
    pub is_broken: bool,
}

impl From<String> for NotIncluded {
    fn from(what: String) -> NotIncluded {
        NotIncluded { what, said: None, is_broken: false }
    }
}

impl From<&str> for NotIncluded {
    fn from(what: &str) -> NotIncluded {
        what.to_owned().into()
    }
}

/// Reads what tasks include while a plan runs. Implemented by the reader of playbooks.
pub trait Fragments: VarsFiles + Send + Sync {
    /// The tasks that `including`, a task of `play`, asks for with `wish`. Called once for equal wishes.
    ///
    /// # Errors
    /// Why there are none. It is the including task's failure.
    fn fragment(&self, play: &Play, including: &Task, wish: &Inclusion) -> Result<Fragment, NotIncluded>;
}

/// The variables in a file, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct VarsFile {
    pub vars: IndexMap<String, Authored>,
    /// The file is encrypted: what it holds is not to be shown.
    pub is_secret: bool,
}

/// Files of variables, as tasks read them while a plan runs.
pub trait VarsFiles {
    /// The variables in the file at `path`, which may be encrypted.
    ///
    /// # Errors
    /// Why there are none, as a sentence with file, line and column.
    fn variables(&self, path: &Path) -> Result<VarsFile, String>;
}

/// Tasks to be put behind the one that includes them, with everything in them that they inherit: keywords, layers of
/// variables, role, search path and positions.
///
/// Ids are relative to the fragment. A task or block that says no place of its own (`within`, `parent`) stands where the
/// including task does; one that says one stands in a block of the fragment. `play` and `id` of its tasks are set by whoever
/// takes it.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    /// What was included, as the line `included: … for …` shows it: a file's path, a role's name.
    pub label: String,
    /// Tasks and handlers; a [`TaskId`] is a place in here.
    pub tasks: Vec<Task>,
    pub blocks: Vec<Block>,
    /// In the order they run.
    pub steps: Vec<TaskId>,
    /// Handlers that the play has from now on: a role brings its own. For hosts that do not include the fragment, too.
    pub handlers: Vec<TaskId>,
    /// Variables that every later task of the play sees: those of a role that was included with `public`.
    pub exposed: Vec<Layer>,
    /// Roles that the play has from now on.
    pub roles: PlayRoles,
    /// What the operator should know of it.
    pub warnings: Vec<String>,
}
