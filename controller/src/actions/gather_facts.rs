//! `gather_facts`: runs the modules that find facts of a host, `setup` unless it is said, and puts what they find together.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

pub(super) struct GatherFacts;

impl ModuleExecutor for GatherFacts {
    fn name(&self) -> &str {
        "ansible.builtin.gather_facts"
    }

    fn summary(&self) -> &str {
        "Finds facts of a host, with the modules in `ansible_facts_modules`."
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    /// It changes nothing.
    fn is_idempotent(&self) -> bool {
        true
    }

    /// They are those of the modules.
    fn validate_args(&self, _args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        gather(args, cx).boxed()
    }
}

/// One after another, also where they might run side by side: the host answers in the same time.
async fn gather(mut args: Map, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
    args.shift_remove("parallel");
    let mut facts = Map::new();
    let mut result = ModuleResult::ok();
    for module in modules(cx) {
        // Modules of facts know different arguments; only `setup` is asked for what the task says.
        let is_setup = rustle_agent::module::short_name(&module) == "setup";
        let found = cx.perform(&module, if is_setup { args.clone() } else { Map::new() }).await?;
        if found.failed {
            return Ok(found);
        }
        result.warnings.extend(found.warnings.iter().cloned());
        if let Some(Value::Map(found)) = found.get("ansible_facts") {
            facts.extend(found.clone());
        }
    }
    Ok(result.with("ansible_facts", Value::Map(facts)))
}

/// `smart` is what fits the host, which here is always `setup`.
fn modules(cx: &ExecutionContext<'_>) -> Vec<String> {
    let named = cx.scope.get("ansible_facts_modules").ok().and_then(|named| super::names(&named)).unwrap_or_default();
    let mut modules: Vec<String> = Vec::with_capacity(named.len().max(1));
    for name in named {
        let name = if rustle_agent::module::short_name(&name) == "smart" { "setup".to_owned() } else { name };
        if !modules.contains(&name) {
            modules.push(name);
        }
    }
    if modules.is_empty() {
        modules.push("ansible.builtin.setup".to_owned());
    }
    modules
}
