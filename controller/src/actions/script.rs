//! `script`: sends a script of the controller's for the agent to run.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use super::sender::Sender;
use crate::engine::ExecutionContext;

pub(super) struct Script;

impl Prepare for Script {
    const NAME: &'static str = "ansible.builtin.script";
    const RUN_AS: Option<&'static str> = Some("script");

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        with_script(args, cx).boxed()
    }
}

/// The first word of the line is the script's name here; the line goes along, for its arguments.
async fn with_script(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let line = match args.get("_raw_params").or_else(|| args.get("cmd")) {
        Some(Value::String(line)) => line.clone(),
        _ => return Err("one of the following is required: _raw_params, cmd".to_owned()),
    };
    let words = rustle_agent::process::words::split(&line).map_err(|error| error.to_string())?;
    let name = words.first().ok_or("no script is named")?;
    let path = cx.files.find(name, "files").map_err(|error| error.to_string())?;
    let sender = Sender::new(&args, cx);
    super::copy::put_file(&mut args, &path, sender).await?;
    Ok(args)
}
