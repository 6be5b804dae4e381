//! `debug`: prints a message or a variable.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::template::{Authored, TemplateError};

arguments! {
    pub(super) struct DebugArgs {
        /// What to print.
        msg: Option<Value>,
        /// A variable or expression to print instead.
        var: Option<Value>,
        /// Say it only from this many `-v` on.
        verbosity: u32 = 0,
    }
}

pub(super) struct Debug;

impl LocalAction for Debug {
    type Args = DebugArgs;

    const NAME: &'static str = "ansible.builtin.debug";
    const UNRENDERED: &'static [&'static str] = &["var"];
    const SUMMARY: &'static str = "Shows a text or a variable.";

    fn check(args: &Map) -> Result<(), ArgError> {
        let is_said = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        if is_said("msg") && is_said("var") {
            return Err(ArgError::Rule("parameters are mutually exclusive: msg|var".to_owned()));
        }
        Ok(())
    }

    fn run(&self, args: DebugArgs, raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        if args.verbosity > u32::from(cx.settings.verbosity) {
            return Ok(ModuleResult::skipped("Verbosity threshold not met."));
        }
        match args.var {
            Some(Value::String(expression)) => shown(&expression, cx),
            // A number or a list is its own value.
            Some(value) => Ok(ModuleResult::ok().with(value.kind(), value.clone())),
            // A message that is null is one.
            None => {
                Ok(ModuleResult::ok().with("msg", raw.get("msg").cloned().unwrap_or_else(|| "Hello world!".into())))
            }
        }
    }
}

/// `var` is text that the author wrote, an expression with or without braces.
fn shown(expression: &str, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
    let authored = Authored::from_value(Value::from(expression));
    let (value, faults) = cx
        .templar
        .showable(&authored, cx.scope)
        .map_err(|error| ModuleError::new(format!("Task failed: Error while resolving `var` expression: {error}")))?;
    let mut result = ModuleResult::ok().with(expression, value);
    result.warnings.extend(warning(&faults));
    Ok(result)
}

/// What Ansible says beside a value that could not be shown whole.
fn warning(faults: &[TemplateError]) -> Option<String> {
    let lines = faults.iter().enumerate().map(|(at, fault)| format!("\nerror {} - {fault}", at + 1));
    let plural = if faults.len() == 1 { "" } else { "s" };
    (!faults.is_empty())
        .then(|| format!("Encountered {} template error{plural}.{}", faults.len(), lines.collect::<String>()))
}
