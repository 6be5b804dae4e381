//! `assert`: fails unless all its conditions hold.

use rustle_agent::arguments;
use rustle_agent::module::ModuleError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::event::ALWAYS_SHOWN;

arguments! {
    pub(super) struct AssertArgs {
        /// Conditions, as in `when`, or a template that gives a list of them.
        that: Value,
        /// What to say if one does not hold.
        fail_msg | "msg": Option<Value>,
        /// What to say if all hold.
        success_msg: Option<Value>,
        /// Say nothing of what held.
        quiet: bool = false,
    }
}

pub(super) struct Assert;

impl LocalAction for Assert {
    type Args = AssertArgs;

    const NAME: &'static str = "ansible.builtin.assert";
    const UNRENDERED: &'static [&'static str] = &["that"];
    const SUMMARY: &'static str = "Fails unless every condition holds.";

    fn run(&self, args: AssertArgs, _raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        // What is always shown elsewhere is shown with `-v` then.
        let is_shown = !args.quiet;
        let conditions = match args.that {
            Value::List(conditions) => conditions,
            Value::String(one) => cx.templar.conditions(&one, cx.scope).map_err(failed)?,
            one => vec![one],
        };
        for condition in conditions {
            if holds(&condition, cx)? {
                continue;
            }
            let msg = args.fail_msg.unwrap_or_else(|| "Assertion failed".into());
            let failed = ModuleError::new("")
                .with("assertion", condition)
                .with("evaluated_to", false)
                .with(ALWAYS_SHOWN, is_shown);
            return Err(failed.with("msg", msg));
        }
        let msg = args.success_msg.unwrap_or_else(|| "All assertions passed".into());
        Ok(ModuleResult::ok().with("msg", msg).with(ALWAYS_SHOWN, is_shown))
    }
}

fn holds(condition: &Value, cx: &ExecutionContext<'_>) -> Result<bool, ModuleError> {
    match condition {
        Value::Bool(holds) => Ok(*holds),
        Value::String(expression) => {
            cx.templar.condition(expression, cx.scope, cx.settings.conditionals).map_err(failed)
        }
        Value::Null => Err(failed("Empty conditional expressions are not allowed.")),
        _ => Err(failed("Conditional expressions must be strings.")),
    }
}

fn failed(why: impl std::fmt::Display) -> ModuleError {
    ModuleError::new(format!("Task failed: {why}"))
}
