//! Everything that comes from files: inventories, plans. What leaves here is typed and checked.

mod arguments;
mod assemble;
mod authored;
mod error;
mod graph;
pub mod inventory;
pub mod json;
pub(crate) mod key_value;
mod keywords;
mod load;
pub mod playbook;
mod raw_task;
mod rustle_parse;
mod rustle_plan;
pub mod source;
mod vaulted;
pub mod yaml;

pub use arguments::from_text;
pub use error::InputError;
pub use load::{LoadRequest, Loaded, Opened, PLAN_BYTES_MAX, PlanSource, check_hosts, load, open};

pub use rustle_plan::schema as plan_schema;

use load::Context;
