//! Who knows which variable: layers shared by all hosts, put together per host and task, read on demand.

mod facts;
mod hostvars;
mod inventory;
mod lesson;
mod magic;
mod precedence;
mod scope;
mod store;
mod variable;

pub use facts::{CleanFacts, FACTS_GATHERED, Facts};
pub use inventory::{HostEntry, InventoryChange, InventoryVars, LiveInventory, Selection};
pub use lesson::{Learnt, Lesson, exact};
pub use magic::{PlayHosts, RunInfo, TaskMagic};
pub use precedence::{Layer, Precedence};
pub use scope::Scope;
pub use store::{PlayVars, TaskVars, UnknownHost, VarStore};
pub use variable::{Prompt, VarMap, Variable, authored_map, data_map, is_variable_name};

pub(crate) use scope::WeakScope;
