//! `copy`: reads the controller's files and has the agent put them in place.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use super::sender::Sender;
use super::tree::tree;
use super::{is_given, says_yes};
use crate::dispatch::Blobs;
use crate::engine::ExecutionContext;
use crate::event::FailedIn;

/// Content up to this size travels with the call. Larger content goes as a blob, which an agent that has it already does
/// not ask for.
const INLINE_BYTES_MAX: usize = 8 * 1024;

pub(super) struct Copy;

impl Prepare for Copy {
    const NAME: &'static str = "ansible.builtin.copy";
    const RUN_AS: Option<&'static str> = Some("ansible.legacy.copy");

    const REFUSES_IN: FailedIn = FailedIn::Action;

    fn check(args: &Map) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        let has_content = args.get("content").is_some_and(|content| !content.is_null());
        match (is_given(args, "src"), has_content) {
            (false, false) => rule("src (or content) is required"),
            _ if !is_given(args, "dest") => rule("dest is required"),
            (true, true) => rule("src and content are mutually exclusive"),
            (true, false) | (false, true) => Ok(()),
        }
    }

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        with_content(args, cx).boxed()
    }
}

/// The arguments with `src` replaced by what it names here, unless it names something on the host.
async fn with_content(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let is_remote = says_yes(&args, "remote_src");
    let Some(Value::String(src)) = args.get("src").filter(|_| !is_remote).cloned() else { return Ok(args) };
    args.shift_remove("src");
    let path = cx.files.find(&src, "files").map_err(|error| format!("Unexpected AnsibleActionFail error: {error}"))?;
    args.insert("_source".into(), path.to_string_lossy().into_owned().into());
    let sender = Sender::new(&args, cx);
    if path.is_dir() {
        let contents_only = src.ends_with('/');
        let follow = args.get("local_follow").is_none_or(|_| says_yes(&args, "local_follow"));
        let tree = blocking(move || tree(&path, contents_only, follow, &sender)).await?;
        args.insert("_tree".into(), tree);
        return Ok(args);
    }
    if args.get("mode").is_some_and(|mode| mode.as_str() == Some("preserve")) {
        args.insert("mode".into(), mode_of(&path)?.into());
    }
    put_file(&mut args, &path, sender).await?;
    Ok(args)
}

/// Puts a file of the controller into the arguments: its blob and its name.
pub(super) async fn put_file(args: &mut Map, path: &Path, sender: Sender) -> Result<(), String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    args.insert("_original_basename".into(), name.into());
    let path = path.to_owned();
    let blob = blocking(move || sender.add(&path)).await?;
    args.insert("_blob".into(), blob.to_value());
    Ok(())
}

/// Puts content made here into the arguments: as it is if it is small, else as a blob.
pub(super) fn put_content(args: &mut Map, content: Vec<u8>, blobs: &Blobs) {
    if content.len() <= INLINE_BYTES_MAX {
        args.insert("content".into(), Value::from_output(content));
    } else {
        args.insert("_blob".into(), blobs.add_bytes(Bytes::from(content)).to_value());
    }
}

/// Octal, as a task would write it.
pub(super) fn mode_of(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(format!("{:04o}", meta.permissions().mode() & 0o7777))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("reading was cut off: {error}"))?
}
