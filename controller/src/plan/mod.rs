//! The plan: plays of tasks, typed and checked once. Nothing below it knows YAML or `rustle-plan`'s JSON.

mod ids;

pub use ids::{PlayId, TaskId};
