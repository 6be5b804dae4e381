//! `unarchive`: sends an archive of the controller's for the agent to unpack.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{ArgError, ArgSpec, FromArg};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::agent_module;
use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

pub(super) struct Unarchive;

impl ModuleExecutor for Unarchive {
    fn name(&self) -> &str {
        "ansible.builtin.unarchive"
    }

    fn summary(&self) -> &str {
        agent_module("unarchive").summary()
    }

    fn supports_check_mode(&self) -> bool {
        agent_module("unarchive").supports_check()
    }

    fn supports_diff(&self) -> bool {
        agent_module("unarchive").supports_diff()
    }

    fn is_idempotent(&self) -> bool {
        agent_module("unarchive").is_idempotent()
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        agent_module("unarchive").arg_groups()
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        if !super::is_given(args, "src") || !super::is_given(args, "dest") {
            return Err(ArgError::Rule("src (or content) and dest are required".to_owned()));
        }
        agent_module("unarchive").validate(args.clone())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match with_archive(args, cx).await {
                Ok(args) => cx.call("ansible.builtin.unarchive", args).await,
                Err(message) => Ok(ModuleResult::failed(message)),
            }
        }
        .boxed()
    }
}

async fn with_archive(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let says_yes = |name| args.get(name).is_some_and(|value: &Value| bool::from_arg(value.clone()) == Ok(true));
    if says_yes("remote_src") {
        return Ok(args);
    }
    let Some(Value::String(src)) = args.shift_remove("src") else {
        return Err("missing required arguments: src".to_owned());
    };
    if src.contains("://") {
        return Err(format!("src `{src}` is an address: fetch it first, or use remote_src with a path on the host"));
    }
    let path = cx.files.find(&src, "files").map_err(|error| error.to_string())?;
    super::copy::put_file(&mut args, &path, cx.blobs).await?;
    Ok(args)
}
