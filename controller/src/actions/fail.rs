//! `fail`: fails, with a message.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;

arguments! {
    pub(super) struct FailArgs {
        /// Why.
        msg: Value = "Failed as requested from task".into(),
    }
}

pub(super) struct Fail;

impl LocalAction for Fail {
    type Args = FailArgs;

    const NAME: &'static str = "ansible.builtin.fail";
    const SUMMARY: &'static str = "Fails, with the message given.";

    fn worded(error: ArgError) -> ArgError {
        super::invalid_options(error)
    }

    fn run(&self, args: FailArgs, _raw: Map, _cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        Err(ModuleError::new("").with("msg", args.msg))
    }
}
