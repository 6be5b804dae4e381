//! The plan: plays of tasks, typed and checked once. Nothing below it knows YAML or `rustle-plan`'s JSON.

mod adjust;
pub mod check;
mod digest;
mod ids;
mod play;
mod run_as;
mod tags;
mod task;

pub use adjust::{SerialError, serial_sizes};
pub use digest::digest;
pub use ids::{PlayId, TaskId};
pub use play::{Plan, Play, SerialSize, Strategy, Waves};
pub use run_as::RunAs;
pub use tags::{NoSuchTask, TagFilter, start_at};
pub use task::{Risk, Task, Until};
