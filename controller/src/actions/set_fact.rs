//! `set_fact`: keeps values for the rest of the run.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::{LocalAction, says_yes};
use crate::engine::ExecutionContext;
use crate::vars::is_variable_name;

arguments! {
    /// The names are the task's own; only `cacheable` means something else.
    pub(super) struct SetFactArgs {}
}

pub(super) struct SetFact;

impl LocalAction for SetFact {
    type Args = SetFactArgs;

    const NAME: &'static str = "ansible.builtin.set_fact";
    const SUMMARY: &'static str = "Sets variables of the host for the rest of the run.";
    const ANY_ARGS: bool = true;
    const TEMPLATED_NAMES: bool = true;

    fn check(args: &Map) -> Result<(), ArgError> {
        if args.keys().all(|name| name == "cacheable") {
            let why = "No key/value pairs provided, at least one is required for this action to succeed";
            return Err(ArgError::Rule(why.to_owned()));
        }
        Ok(())
    }

    fn run(&self, _args: SetFactArgs, mut raw: Map, _cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let cacheable = says_yes(&raw, "cacheable");
        raw.shift_remove("cacheable");
        if let Some(name) = raw.keys().find(|name| !is_variable_name(name)) {
            return Err(ModuleError::new(format!("Task failed: Invalid variable name '{name}'.")));
        }
        Ok(ModuleResult::ok().with("ansible_facts", raw).with("_ansible_facts_cacheable", cacheable))
    }
}
