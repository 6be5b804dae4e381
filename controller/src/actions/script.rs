//! `script`: sends a script of the controller's for the agent to run.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{ArgError, ArgSpec};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::agent_module;
use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

pub(super) struct Script;

impl ModuleExecutor for Script {
    fn name(&self) -> &str {
        "ansible.builtin.script"
    }

    fn summary(&self) -> &str {
        agent_module("script").summary()
    }

    fn supports_check_mode(&self) -> bool {
        agent_module("script").supports_check()
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn is_idempotent(&self) -> bool {
        agent_module("script").is_idempotent()
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        agent_module("script").arg_groups()
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        agent_module("script").validate(args.clone())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match with_script(args, cx).await {
                Ok(args) => cx.call("ansible.builtin.script", args).await,
                Err(message) => Ok(ModuleResult::failed(message)),
            }
        }
        .boxed()
    }
}

/// The first word of the line is the script's name here; the line goes along, for its arguments.
async fn with_script(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let line = match args.get("_raw_params").or_else(|| args.get("cmd")) {
        Some(Value::String(line)) => line.clone(),
        _ => return Err("missing required arguments: _raw_params".to_owned()),
    };
    let words = rustle_agent::process::words::split(&line).map_err(|error| error.to_string())?;
    let name = words.first().ok_or("no script is named")?;
    let path = cx.files.find(name, "files").map_err(|error| error.to_string())?;
    super::copy::put_file(&mut args, &path, cx.blobs).await?;
    Ok(args)
}
