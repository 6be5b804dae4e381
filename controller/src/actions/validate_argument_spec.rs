//! `validate_argument_spec`: whether a role was given what its argument spec asks for.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::{LocalAction, argument_spec};
use crate::engine::ExecutionContext;

arguments! {
    pub(super) struct ValidateArgs {
        /// The options that there are, by name.
        argument_spec: Option<Value>,
        /// Arguments that come before variables of the same name.
        provided_arguments: Option<Value>,
        /// Whose spec it is, for messages.
        validate_args_context: Option<Value>,
    }
}

pub(super) struct ValidateArgumentSpec;

impl LocalAction for ValidateArgumentSpec {
    type Args = ValidateArgs;

    const NAME: &'static str = "ansible.builtin.validate_argument_spec";
    const SUMMARY: &'static str = "Checks the arguments of a role against its argument spec.";

    fn check(args: &Map) -> Result<(), ArgError> {
        if args.get("argument_spec").is_none_or(Value::is_null) {
            let args = Value::Map(args.clone());
            return Err(ArgError::Rule(format!("Task failed: \"argument_spec\" arg is required in args: {args}")));
        }
        Ok(())
    }

    fn run(&self, args: ValidateArgs, _raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let wrong = |name: &str, value: &Value| {
            let msg = format!("Incorrect type for {name}, expected dict and got {}", value.kind());
            Err(ModuleError::new(msg))
        };
        let spec = match args.argument_spec {
            Some(Value::Map(spec)) => spec,
            other => return wrong("argument_spec", &other.unwrap_or_default()),
        };
        let provided = match args.provided_arguments {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Map(provided)) => provided,
            Some(other) => return wrong("provided_arguments", &other),
        };
        let mut given = Map::new();
        for name in spec.keys().filter(|name| cx.scope.contains(name)) {
            let value = cx.scope.get(name).map_err(|error| ModuleError::new(format!("Task failed: {error}")))?;
            given.insert(name.clone(), value);
        }
        given.extend(provided);
        let context = args.validate_args_context.unwrap_or_else(|| Value::Map(Map::new()));
        match &argument_spec::errors(&spec, &given)[..] {
            [] => Ok(ModuleResult::ok()
                .with("msg", "The arg spec validation passed")
                .with("validate_args_context", context)),
            errors => {
                let msg = format!("Validation of arguments failed:\n{}", errors.join("\n"));
                let errors: Value = errors.iter().map(|error| Value::from(error.as_str())).collect();
                Err(ModuleError::new(msg)
                    .with("argument_errors", errors)
                    .with("argument_spec_data", Value::Map(spec))
                    .with("validate_args_context", context))
            }
        }
    }
}
