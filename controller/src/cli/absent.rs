//! A module that Ansible has and this program has not.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

/// Fails on every host that comes to it.
pub(super) struct Absent {
    name: String,
}

impl Absent {
    pub(super) fn new(name: &str) -> Absent {
        Absent { name: name.to_owned() }
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
        let what = format!("rustle-exec has no module `{}`; docs/modules.md lists those it has", self.name);
        std::future::ready(Ok(ModuleResult::failed(what))).boxed()
    }
}
