//! The plan: plays of tasks, typed and checked once. Nothing below it knows YAML or `rustle-plan`'s JSON.

mod adjust;
mod ids;
mod play;
mod task;

pub use adjust::{SerialError, serial_sizes};
pub use ids::{PlayId, TaskId};
pub use play::{Plan, Play, SerialSize, Strategy, Waves};
pub use task::{Risk, RunAs, Task, Until};
