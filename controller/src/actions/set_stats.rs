//! `set_stats`: values for the end of the run, where the recap shows them if that is wanted.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::{LocalAction, is_identifier};
use crate::engine::ExecutionContext;

arguments! {
    pub(super) struct SetStatsArgs {
        /// Names and values.
        data: Option<Value>,
        /// They are the host's own. What is not true is false, as in Ansible.
        per_host: Option<Value>,
        /// Add to what is there under the same name; true unless it is said.
        aggregate: Option<Value>,
    }
}

pub(super) struct SetStats;

impl LocalAction for SetStats {
    type Args = SetStatsArgs;

    const NAME: &'static str = "ansible.builtin.set_stats";
    const SUMMARY: &'static str = "Sets values that are shown at the end of the run.";

    fn worded(error: ArgError) -> ArgError {
        super::invalid_options(error)
    }

    fn run(&self, args: SetStatsArgs, _raw: Map, _cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let data = match args.data {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Map(data)) => data,
            Some(_) => return Err(ModuleError::new("The 'data' option needs to be a dictionary/hash")),
        };
        if let Some(name) = data.keys().find(|name| !is_identifier(name)) {
            return Err(ModuleError::new(format!("Task failed: Invalid variable name '{name}'.")));
        }
        let stats = Map::from_iter([
            ("aggregate".to_owned(), args.aggregate.is_none_or(is_true).into()),
            ("data".to_owned(), Value::Map(data)),
            ("per_host".to_owned(), args.per_host.is_some_and(is_true).into()),
        ]);
        Ok(ModuleResult::ok().with("ansible_stats", Value::Map(stats)))
    }
}

fn is_true(value: Value) -> bool {
    <bool as rustle_agent::module::FromArg>::from_arg(value).unwrap_or(false)
}
