//! `gather_facts`: runs the modules that find facts of a host, `setup` unless it is said, and puts what they find together.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::event::FailedIn;

/// Gathers the facts that every host has.
const SETUP: &str = "ansible.legacy.setup";

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
    let modules = modules(cx);
    let mut found = Found::default();
    for module in &modules {
        // Modules of facts know different arguments; only `setup` is asked for what the task says.
        let is_setup = rustle_agent::module::short_name(module) == "setup";
        let result = cx.perform(module, if is_setup { args.clone() } else { Map::new() }).await?;
        found.take(module, result);
    }
    if !found.failed.is_empty() {
        cx.failed_in = Some(FailedIn::Action);
    }
    Ok(found.into_result(modules.len()))
}

/// What the modules have found, and those that found nothing.
#[derive(Default)]
struct Found {
    facts: Map,
    warnings: Vec<String>,
    failed: Map,
    skipped: Map,
    /// Why the modules failed.
    causes: Vec<String>,
}

impl Found {
    fn take(&mut self, module: &str, result: ModuleResult) {
        self.warnings.extend(result.warnings.iter().cloned());
        if let Some(Value::Map(facts)) = result.get("ansible_facts") {
            self.facts.extend(facts.clone());
        }
        let told = |what: &str| {
            let mut values = result.values().clone();
            values.insert(what.to_owned(), true.into());
            Value::Map(values)
        };
        if result.failed {
            self.causes.push(result.msg().to_owned());
            self.failed.insert(module.to_owned(), told("failed"));
        } else if result.skipped {
            self.skipped.insert(module.to_owned(), told("skipped"));
        }
    }

    /// In Ansible's words. Of `modules` that are all skipped the task is, too.
    fn into_result(self, modules: usize) -> ModuleResult {
        let names = |of: &Map| of.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut result = ModuleResult::ok();
        if !self.skipped.is_empty() {
            result.set("msg", format!("The following modules were skipped: {}.", names(&self.skipped)));
            result.skipped = self.skipped.len() == modules;
            result.set("skipped_modules", self.skipped);
        }
        if !self.failed.is_empty() {
            let msg = format!("The following modules failed to execute: {}.", names(&self.failed));
            result = result.with("msg", msg).with_cause(self.causes.join("; "));
            result.failed = true;
            result.set("failed_modules", self.failed);
        }
        result.warnings = self.warnings;
        result.with("ansible_facts", self.facts)
    }
}

/// `smart` is what fits the host, which here is always `setup`.
fn modules(cx: &ExecutionContext<'_>) -> Vec<String> {
    let named = cx.scope.get("ansible_facts_modules").ok().and_then(|named| super::names(&named)).unwrap_or_default();
    let mut modules: Vec<String> = Vec::with_capacity(named.len().max(1));
    for name in named {
        let name = if rustle_agent::module::short_name(&name) == "smart" { SETUP.to_owned() } else { name };
        if !modules.contains(&name) {
            modules.push(name);
        }
    }
    if modules.is_empty() {
        modules.push(SETUP.to_owned());
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(results: &[(&str, ModuleResult)]) -> ModuleResult {
        let mut found = Found::default();
        results.iter().for_each(|(module, result)| found.take(module, result.clone()));
        found.into_result(results.len())
    }

    fn facts(name: &str) -> ModuleResult {
        ModuleResult::ok().with("ansible_facts", Map::from([(name.to_owned(), Value::Int(1))]))
    }

    #[test]
    fn what_one_module_does_not_find_does_not_keep_the_others_from_finding() {
        let result = gathered(&[("bad", ModuleResult::failed("no facts today")), ("mine", facts("mine"))]);
        assert!(result.failed);
        assert_eq!(result.msg(), "The following modules failed to execute: bad.");
        assert_eq!(result.get("ansible_facts"), facts("mine").get("ansible_facts"));
        let failed = result.get("failed_modules").and_then(Value::as_map).unwrap();
        let told = Map::from([("msg".to_owned(), "no facts today".into()), ("failed".to_owned(), true.into())]);
        assert_eq!(failed.get("bad"), Some(&Value::Map(told)));
    }

    #[test]
    fn it_is_skipped_if_all_its_modules_are() {
        let skipped = ("skips", ModuleResult::skipped("not here"));
        assert!(gathered(std::slice::from_ref(&skipped)).skipped);
        let result = gathered(&[skipped, ("mine", facts("mine"))]);
        assert!(!result.skipped && !result.failed);
        assert_eq!(result.msg(), "The following modules were skipped: skips.");
    }
}
