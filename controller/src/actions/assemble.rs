//! `assemble`: makes one file of the fragments that lie on the controller, and has the agent put it in place.

use std::path::Path;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::fragments::Fragments;
use rustle_agent::module::{ArgError, FromArg, ModuleError};
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::copy::blocking;
use super::prepared::Prepare;
use super::says_yes;
use super::sender::Sender;
use crate::engine::ExecutionContext;

pub(super) struct Assemble;

impl Prepare for Assemble {
    const NAME: &'static str = "ansible.builtin.assemble";
    const RUN_AS: Option<&'static str> = Some("ansible.legacy.assemble");

    fn check(args: &Map) -> Result<(), ArgError> {
        super::src_and_dest(args)
    }

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        with_whole(args, cx).boxed()
    }
}

/// The arguments with what the fragments make together, unless they lie on the host.
async fn with_whole(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let is_here = args.get("remote_src").is_some_and(|value| bool::from_arg(value.clone()) == Ok(false));
    let Some(Value::String(src)) = args.get("src").filter(|_| is_here).cloned() else { return Ok(args) };
    let path = cx.files.find(&src, "files").map_err(|error| format!("Task failed: {error}"))?;
    let sender = Sender::new(&args, cx);
    let text = |name: &str| args.get(name).and_then(Value::as_str).map(str::to_owned);
    let fragments = Fragments {
        dir: path,
        delimiter: text("delimiter"),
        regexp: text("regexp"),
        ignore_hidden: says_yes(&args, "ignore_hidden"),
    };
    let whole = blocking(move || {
        let read = |path: &Path| sender.read(path).map_err(ModuleError::new);
        fragments.assembled(read, || false).map_err(|error| error.to_string())
    })
    .await?;
    args.insert("_blob".to_owned(), cx.blobs.add_bytes(Bytes::from(whole)).to_value());
    Ok(args)
}
