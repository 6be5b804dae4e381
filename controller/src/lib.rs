//! The controller: reads plans, decides what runs where and when, carries it to the agents, tells what happened.
//!
//! The command line is one user of it; any program can be another. This one runs a plan of one task on this machine:
//!
//! ```
//! use rustle_exec::engine::{Environment, EventSink, ExecutionEngine, Registry, RunOptions};
//! use rustle_exec::event::RunEvent;
//! use rustle_exec::input::{LoadRequest, PlanSource, load};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let json = r#"{ "plays": [{ "name": "Greet", "hosts": ["localhost"], "batches": [{ "batch_id": "batch-0", "hosts":
//!     ["localhost"], "tasks": [{ "task_id": "task_0", "name": "Say hello", "module": "command", "execution_order": 0,
//!     "args": { "_raw_params": "echo hello" } }] }] }] }"#;
//! let modules = Registry::native();
//! let request = LoadRequest { plan: PlanSource::Bytes(json.into()), parsed: None, inventory: None, modules: &modules };
//! let plan = load(request)?.plan;
//!
//! let sink = EventSink::new(Box::new(|stamped| {
//!     if let RunEvent::HostFinished(result) = &stamped.event {
//!         assert_eq!(result.values["stdout"].as_str(), Some("hello"));
//!     }
//!     Ok(())
//! }));
//! let engine = ExecutionEngine::new(Environment::local(plan.hosts()), RunOptions::default());
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let outcome = runtime.block_on(engine.execute_plan(plan, sink))?;
//! assert!(outcome.is_success());
//! # Ok(())
//! # }
//! ```

pub mod actions;
pub mod cli;
pub mod control;
pub mod custom;
pub mod dispatch;
pub mod doc;
pub mod engine;
pub mod event;
pub mod exit_code;
pub mod fault;
pub mod input;
pub mod journal;
pub mod lab;
pub mod origin;
pub mod pki;
pub mod plan;
pub mod plugins;
mod prompt;
pub mod report;
pub mod scheduler;
pub mod template;
pub mod vars;
pub mod vault;
