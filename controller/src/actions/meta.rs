//! `meta`: words to the engine itself.

use std::str::FromStr;

use rustle_agent::arguments;
use rustle_agent::module::ModuleError;
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::LocalAction;
use crate::engine::ExecutionContext;

arguments! {
    pub(super) struct MetaArgs {
        /// What to do.
        _raw_params | "free_form": String,
    }
}

/// What a `meta` task says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    FlushHandlers,
    EndPlay,
    EndBatch,
    EndHost,
    EndRole,
    ClearFacts,
    ClearHostErrors,
    RefreshInventory,
    /// Nothing to do here: connections mend themselves.
    ResetConnection,
    Noop,
}

impl Meta {
    /// As a task says it.
    pub fn word(self) -> &'static str {
        match self {
            Meta::FlushHandlers => "flush_handlers",
            Meta::EndPlay => "end_play",
            Meta::EndBatch => "end_batch",
            Meta::EndHost => "end_host",
            Meta::EndRole => "end_role",
            Meta::ClearFacts => "clear_facts",
            Meta::ClearHostErrors => "clear_host_errors",
            Meta::RefreshInventory => "refresh_inventory",
            Meta::ResetConnection => "reset_connection",
            Meta::Noop => "noop",
        }
    }
}

impl FromStr for Meta {
    type Err = String;

    fn from_str(word: &str) -> Result<Meta, String> {
        match word.trim() {
            "flush_handlers" => Ok(Meta::FlushHandlers),
            "end_play" => Ok(Meta::EndPlay),
            "end_batch" => Ok(Meta::EndBatch),
            "end_host" => Ok(Meta::EndHost),
            "end_role" => Ok(Meta::EndRole),
            "clear_facts" => Ok(Meta::ClearFacts),
            "clear_host_errors" => Ok(Meta::ClearHostErrors),
            "refresh_inventory" => Ok(Meta::RefreshInventory),
            "reset_connection" => Ok(Meta::ResetConnection),
            "noop" => Ok(Meta::Noop),
            other => Err(format!(
                "invalid meta action requested: {other}; there are flush_handlers, end_play, end_batch, end_host, \
                 end_role, clear_facts, clear_host_errors, reset_connection, refresh_inventory and noop"
            )),
        }
    }
}

/// What is left of a `meta` task once the engine has done what it says.
pub(super) struct MetaAction;

impl LocalAction for MetaAction {
    type Args = MetaArgs;

    const NAME: &'static str = "ansible.builtin.meta";
    const SUMMARY: &'static str =
        "Tells the run itself to do something: flush handlers, end a play, a batch or a host.";

    fn run(&self, args: MetaArgs, _raw: Map, _cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        args._raw_params.parse::<Meta>().map_err(ModuleError::new)?;
        Ok(ModuleResult::ok())
    }
}
