//! What Ansible would run for a task and this program cannot: a module that is not here, an action plug-in in Python.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::context::ExecutionContext;
use super::error::Stop;
use super::module::ModuleExecutor;

/// Stands in for it, and fails on every host that comes to it.
pub(crate) struct Absent {
    name: String,
    why: String,
}

impl Absent {
    /// `why` is the message of the tasks that fail.
    pub(crate) fn new(name: &str, why: String) -> Absent {
        Absent { name: name.to_owned(), why }
    }
}

impl ModuleExecutor for Absent {
    fn name(&self) -> &str {
        &self.name
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn validate_args(&self, _args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    fn execute<'a>(
        &'a self,
        _args: Map,
        _cx: &'a mut ExecutionContext<'_>,
    ) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        std::future::ready(Ok(ModuleResult::failed(self.why.clone()))).boxed()
    }
}
