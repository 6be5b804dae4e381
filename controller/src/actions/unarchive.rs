//! `unarchive`: sends an archive of the controller's for the agent to unpack.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use super::sender::Sender;
use super::{is_given, says_yes};
use crate::engine::ExecutionContext;

pub(super) struct Unarchive;

impl Prepare for Unarchive {
    const NAME: &'static str = "ansible.builtin.unarchive";
    const RUN_AS: Option<&'static str> = Some("ansible.legacy.unarchive");

    fn check(args: &Map) -> Result<(), ArgError> {
        let is_set = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        if is_set("copy") && is_set("remote_src") {
            return Err(ArgError::Rule("parameters are mutually exclusive: ('copy', 'remote_src')".to_owned()));
        }
        if is_given(args, "src") && is_given(args, "dest") {
            return Ok(());
        }
        Err(ArgError::Rule("src (or content) and dest are required".to_owned()))
    }

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        with_archive(args, cx).boxed()
    }
}

async fn with_archive(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    if says_yes(&args, "remote_src") {
        return Ok(args);
    }
    let Some(Value::String(src)) = args.shift_remove("src") else {
        return Err("missing required arguments: src".to_owned());
    };
    if src.contains("://") {
        return Err(format!("src `{src}` is an address: fetch it first, or use remote_src with a path on the host"));
    }
    let path = cx.files.find(&src, "files").map_err(|error| format!("Task failed: {error}"))?;
    let sender = Sender::new(&args, cx);
    super::copy::put_file(&mut args, &path, sender).await?;
    Ok(args)
}
