//! `uri`: sends a file of the controller's along, if the request is to have one; the host does the rest.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::copy::{blocking, put_file};
use super::prepared::Prepare;
use super::says_yes;
use super::sender::Sender;
use crate::engine::ExecutionContext;

pub(super) struct Uri;

impl Prepare for Uri {
    const NAME: &'static str = "ansible.builtin.uri";
    const RUN_AS: Option<&'static str> = Some("ansible.legacy.uri");

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        with_files(args, cx).boxed()
    }
}

/// `src` and the files of a form are the controller's, but for `remote_src`.
async fn with_files(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    if says_yes(&args, "remote_src") {
        return Ok(args);
    }
    let sender = Sender::new(&args, cx);
    if args.get("body_format").and_then(Value::as_str) == Some("form-multipart")
        && let Some(Value::Map(parts)) = args.get_mut("body")
    {
        for part in parts.values_mut() {
            put_part(part, &sender, cx).await?;
        }
    }
    let Some(Value::String(src)) = args.get("src").cloned() else { return Ok(args) };
    args.shift_remove("src");
    let path = cx.files.find(&src, "files").map_err(|error| format!("Task failed: {error}"))?;
    put_file(&mut args, &path, sender).await?;
    Ok(args)
}

/// Puts the file that a part of a form names into it, unless it has its content already.
async fn put_part(part: &mut Value, sender: &Sender, cx: &ExecutionContext<'_>) -> Result<(), String> {
    let Value::Map(part) = part else { return Ok(()) };
    let Some(Value::String(filename)) = part.get("filename").filter(|_| !part.contains_key("content")) else {
        return Ok(());
    };
    let path = cx.files.find(filename, "files").map_err(|error| format!("Task failed: {error}"))?;
    let sender = sender.clone();
    let blob = blocking(move || sender.add(&path)).await?;
    part.insert("_blob".into(), blob.to_value());
    Ok(())
}
