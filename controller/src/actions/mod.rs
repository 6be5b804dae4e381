//! What the controller itself does for a task: all of `debug` or `set_fact`, and for `copy` and `template` the part that
//! needs the controller's files and variables, before the agent's module does the rest.

mod add_host;
mod argument_spec;
mod assemble;
mod assert;
mod async_status;
mod copy;
mod debug;
mod fail;
mod fetch;
mod gather_facts;
mod group_by;
mod include_vars;
mod meta;
mod package;
mod pause;
mod prepared;
mod reboot;
mod script;
mod sender;
mod set_fact;
mod set_stats;
mod setup;
mod template;
mod tree;
mod unarchive;
mod uri;
mod validate_argument_spec;
mod wait_for_connection;

use std::sync::Arc;

use futures::future::BoxFuture;
use rustle_agent::module::{AnyModule, ArgError, ArgSpec, FromArg, ModuleArgs, ModuleError, args, short_name};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

pub use meta::Meta;

use prepared::Prepared;

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::event::FailedIn;

/// Every action.
pub fn all() -> Vec<Arc<dyn ModuleExecutor>> {
    vec![
        Arc::new(Here(add_host::AddHost)),
        Arc::new(Here(assert::Assert)),
        Arc::new(Here(debug::Debug)),
        Arc::new(Here(fail::Fail)),
        Arc::new(Here(group_by::GroupBy)),
        Arc::new(Here(include_vars::IncludeVars)),
        Arc::new(Here(meta::MetaAction)),
        Arc::new(Here(set_fact::SetFact)),
        Arc::new(Here(set_stats::SetStats)),
        Arc::new(Here(validate_argument_spec::ValidateArgumentSpec)),
        Arc::new(Prepared::<assemble::Assemble>::new()),
        Arc::new(Prepared::<async_status::AsyncStatus>::new()),
        Arc::new(Prepared::<copy::Copy>::new()),
        Arc::new(fetch::Fetch),
        Arc::new(gather_facts::GatherFacts),
        Arc::new(pause::Pause),
        Arc::new(reboot::Reboot),
        Arc::new(Prepared::<package::Package>::new()),
        Arc::new(Prepared::<script::Script>::new()),
        Arc::new(template::Template),
        Arc::new(Prepared::<setup::Setup>::new()),
        Arc::new(Prepared::<unarchive::Unarchive>::new()),
        Arc::new(Prepared::<uri::Uri>::new()),
        Arc::new(wait_for_connection::WaitForConnection),
    ]
}

/// Work that needs no host: it ends at once and changes nothing anywhere.
trait LocalAction: Send + Sync {
    type Args: ModuleArgs + Send;
    const NAME: &'static str;
    /// One sentence, for the documentation.
    const SUMMARY: &'static str;
    /// Whether any argument name will do: the names are the task's own.
    const ANY_ARGS: bool = false;
    /// See [`ModuleExecutor::has_templated_names`].
    const TEMPLATED_NAMES: bool = false;
    /// See [`ModuleExecutor::unrendered_args`].
    const UNRENDERED: &'static [&'static str] = &[];

    /// See [`ModuleExecutor::refuses_in`].
    const REFUSES_IN: FailedIn = FailedIn::Task;

    /// Ansible's sentence for what is wrong with the arguments, where it is not the common one.
    fn worded(error: ArgError) -> ArgError {
        error
    }

    /// What Ansible's action raises before it does anything.
    ///
    /// # Errors
    /// In Ansible's words.
    fn check(_args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    /// # Errors
    /// The failed task's result.
    fn run(&self, args: Self::Args, raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError>;
}

/// A [`LocalAction`] as the engine takes it.
struct Here<A>(A);

impl<A: LocalAction> Here<A> {
    fn parse(args: Map) -> Result<A::Args, ArgError> {
        // An action that takes any name parses none of them.
        args::parse(short_name(A::NAME), if A::ANY_ARGS { Map::new() } else { args }).map_err(A::worded)
    }
}

impl<A: LocalAction> ModuleExecutor for Here<A> {
    fn name(&self) -> &str {
        A::NAME
    }

    fn summary(&self) -> &str {
        A::SUMMARY
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn needs_host(&self) -> bool {
        false
    }

    /// What the controller does by itself changes no host.
    fn is_idempotent(&self) -> bool {
        true
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        if A::ANY_ARGS { &[] } else { A::Args::GROUPS }
    }

    fn unrendered_args(&self) -> &'static [&'static str] {
        A::UNRENDERED
    }

    fn has_templated_names(&self) -> bool {
        A::TEMPLATED_NAMES
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        A::check(args)?;
        Self::parse(args.clone()).map(drop)
    }

    fn refuses_in(&self, _args: &Map) -> FailedIn {
        A::REFUSES_IN
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        let result = match Self::parse(args.clone()) {
            Ok(parsed) => self.0.run(parsed, args, cx).unwrap_or_else(ModuleError::into_result),
            Err(error) => ModuleResult::failed(error.to_string()),
        };
        Box::pin(std::future::ready(Ok(result)))
    }
}

/// Whether an argument is given and true.
fn says_yes(args: &Map, name: &str) -> bool {
    args.get(name).is_some_and(|value| bool::from_arg(value.clone()) == Ok(true))
}

/// Whether an argument is given and not empty.
fn is_given(args: &Map, name: &str) -> bool {
    args.get(name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

/// What Ansible's actions say that look for `src` and `dest` before anything else.
fn src_and_dest(args: &Map) -> Result<(), ArgError> {
    if is_given(args, "src") && is_given(args, "dest") {
        return Ok(());
    }
    Err(ArgError::Rule("src and dest are required".to_owned()))
}

/// The words of Ansible's actions that know their arguments by a list of names.
fn invalid_options(error: ArgError) -> ArgError {
    match error {
        ArgError::Unknown { module, unknown, .. } => {
            ArgError::Rule(format!("Invalid options for {module}: {}", unknown.join(",")))
        }
        other => other,
    }
}

/// Whether a variable can have this name.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Names in a list, or in a text with commas between them, each once and without the space around it.
fn names(value: &Value) -> Option<Vec<String>> {
    let names: Vec<String> = match value {
        Value::List(names) => names.iter().map(rustle_agent::module::shown).collect(),
        Value::String(names) => names.split(',').map(str::to_owned).collect(),
        Value::Int(number) => vec![number.to_string()],
        _ => return None,
    };
    let mut kept: Vec<String> = Vec::with_capacity(names.len());
    for name in names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
        if !kept.iter().any(|known| known == name) {
            kept.push(name.to_owned());
        }
    }
    Some(kept)
}

/// The agent's module of this name, for an action that prepares its arguments.
fn agent_module(name: &str) -> &'static dyn AnyModule {
    rustle_agent::modules::find(name).expect("an action's agent module is among the agent's modules")
}
