//! `debug`: prints a message or a variable.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::fault::Fault;
use crate::template::{Authored, TemplateError, needs_rendering, python_text};

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
            let mut skipped = ModuleResult::ok().with("skipped_reason", "Verbosity threshold not met.");
            skipped.skipped = true;
            return Ok(skipped.with("failed", false));
        }
        match args.var {
            Some(Value::String(var)) if needs_rendering(&var) => shown(named(&var, cx)?, cx),
            Some(var) => shown(var, cx),
            // A message that is null is one.
            None => {
                Ok(ModuleResult::ok().with("msg", raw.get("msg").cloned().unwrap_or_else(|| "Hello world!".into())))
            }
        }
    }
}

/// `var` is an expression that the author wrote.
fn shown(var: Value, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
    let Value::String(expression) = var else { return Err(no_text(var)) };
    let (value, faults) =
        cx.templar.showable(&Authored::literal(&*expression), cx.scope).map_err(|error| unresolved(error, cx))?;
    let untrusted = cx.settings.untrusted.judge(&value).map_err(|error| unresolved(error, cx))?;
    let untrusted: Vec<String> = untrusted.into_iter().map(crate::engine::untrusted).collect();
    let mut result = ModuleResult::ok().with(&expression, value);
    result.warnings.extend(untrusted);
    result.warnings.extend(warning(&faults));
    Ok(result)
}

/// The expression that `var` names, which is a template.
fn named(template: &str, cx: &ExecutionContext<'_>) -> Result<Value, ModuleError> {
    cx.templar.named(template, cx.scope).map_err(|error| {
        if !error.is_undefined() {
            return unresolved(error, cx);
        }
        let origins = cx.origins;
        let fault = Fault::from(error.in_argument("var").at(origins.and_then(|origins| origins.arg("var")))).within(
            "Finalization of task args for 'ansible.builtin.debug' failed",
            origins.map(|origins| &origins.module),
        );
        cx.failed_before_work(fault.of_task()).into()
    })
}

fn unresolved(error: TemplateError, cx: &ExecutionContext<'_>) -> ModuleError {
    let origin = cx.origins.and_then(|origins| origins.arg("var"));
    let fault = Fault::from(error).within("Error while resolving `var` expression", origin.map(|origin| &**origin));
    cx.failed_before_work(fault.of_task()).into()
}

fn no_text(var: Value) -> ModuleError {
    let (kind, shown) = (var.kind(), python_text(&var));
    ModuleError::new(format!(
        "argument 'var' is of type {kind} and we were unable to convert to _check_type_str_no_conversion: '{shown}' is not a \
         string and conversion is not allowed"
    ))
}

/// What Ansible says beside a value that could not be shown whole.
fn warning(faults: &[TemplateError]) -> Option<String> {
    let lines = faults.iter().enumerate().map(|(at, fault)| format!("\nerror {} - {fault}", at + 1));
    let plural = if faults.len() == 1 { "" } else { "s" };
    (!faults.is_empty())
        .then(|| format!("Encountered {} template error{plural}.{}", faults.len(), lines.collect::<String>()))
}
