//! The plan: plays of tasks, typed and checked once. Nothing below it knows YAML or `rustle-plan`'s JSON.

mod adjust;
mod block;
pub mod check;
mod digest;
mod fragment;
mod ids;
mod keyword;
mod play;
mod role;
mod run_as;
mod search;
mod tags;
mod task;

pub use adjust::{SerialError, serial_sizes};
pub use block::{Block, Section, Within};
pub use digest::digest;
pub use fragment::{Fragment, Fragments, Inclusion, NotIncluded, VarsFile, VarsFiles};
pub use ids::{BlockId, IncludeId, PlayId, TaskId};
pub use keyword::{Keyword, KeywordValue};
pub use play::{GATHER_FACTS, Gathering, HostOrder, LateVarsFile, Plan, Play, PlayRoles, SerialSize, Strategy, Waves};
pub use role::{RoleIdentity, RoleInfo};
pub use run_as::RunAs;
pub use search::{FileNotFound, FileSearch};
pub use tags::{NoSuchTask, TagFilter, start_at};
pub use task::{ArgOrigin, Background, CallOrigins, Delegation, Failure, LoopControl, Looping, Risk, Task, Until};

/// What is not worth writing down.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
