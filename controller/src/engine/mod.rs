//! The engine: runs a checked plan on hosts. The controller as a library.
//!
//! The scheduler decides, the drive obeys, tasks are prepared here and sent over links. Everything that happens is an
//! event into one sink.

mod absent;
mod arguments;
pub(crate) mod background;
mod call_key;
mod compile;
mod conclude;
mod context;
mod control;
mod drive;
mod engine_api;
mod error;
mod facts_cache;
mod include;
mod judge;
mod late;
mod late_vars;
pub mod links;
mod looping;
mod manner;
mod meta;
mod module;
mod notify;
mod prepare;
mod recorder;
mod replay;
mod rescue;
mod result;
mod run;
mod run_as;
mod segment;
mod sink;
mod step;
mod target;
mod task;
mod task_clock;
pub(crate) mod under_way;

pub use crate::plan::{FileNotFound, FileSearch};
pub(crate) use absent::Absent;
pub use context::{CallSettings, CallWatcher, ExecutionContext};
pub use engine_api::{Environment, ExecutionEngine, RunOutcome, memory_peak};
pub use error::{ExecutionError, Stop};
pub use facts_cache::FactsCacheSettings;
pub(crate) use judge::NO_REASON;
pub use module::{ModuleExecutor, Registry};
pub(crate) use prepare::untrusted;
pub use recorder::Recorded;
pub use run::RunOptions;
pub use run_as::BecomeSettings;
pub use sink::{Consumer, EventSink};
