//! `assert`: fails unless all its conditions hold.

use std::sync::Arc;

use rustle_agent::arguments;
use rustle_agent::module::ModuleError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::event::ALWAYS_SHOWN;
use crate::fault::Fault;
use crate::origin::Origin;
use crate::template::TemplateError;

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
        let at = |number| cx.origins.and_then(|origins| origins.item("that", number));
        let conditions = match args.that {
            Value::List(conditions) => conditions,
            Value::String(one) => cx.templar.conditions(&one, cx.scope).map_err(|error| failed(error.at(at(0)), cx))?,
            one => vec![one],
        };
        for (number, condition) in conditions.into_iter().enumerate() {
            if holds(&condition, cx, at(number))? {
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

fn holds(condition: &Value, cx: &ExecutionContext<'_>, origin: Option<&Arc<Origin>>) -> Result<bool, ModuleError> {
    match condition {
        Value::Bool(holds) => Ok(*holds),
        Value::String(expression) => {
            let holds = cx.templar.condition(expression, cx.scope, cx.settings.conditionals);
            holds.map_err(|error| failed(error.at(origin), cx))
        }
        Value::Null => Err(failed(TemplateError::EmptyCondition.at(origin), cx)),
        _ => Err(failed(TemplateError::NotText.at(origin), cx)),
    }
}

fn failed(why: impl Into<Fault>, cx: &ExecutionContext<'_>) -> ModuleError {
    cx.failed_before_work(why.into().of_task()).into()
}
