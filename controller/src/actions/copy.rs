//! `copy`: reads the controller's files and has the agent put them in place.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{ArgError, ArgSpec, BlobRef, FromArg};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::{agent_module, is_given};
use crate::dispatch::Blobs;
use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

/// Content up to this size travels with the call. Larger content goes as a blob, which an agent that has it already does
/// not ask for.
const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Files in one copied tree.
const TREE_ENTRIES_MAX: usize = 100_000;

pub(super) struct Copy;

impl ModuleExecutor for Copy {
    fn name(&self) -> &str {
        "ansible.builtin.copy"
    }

    fn summary(&self) -> &str {
        agent_module("copy").summary()
    }

    fn supports_check_mode(&self) -> bool {
        true
    }

    fn supports_diff(&self) -> bool {
        true
    }

    fn is_idempotent(&self) -> bool {
        agent_module("copy").is_idempotent()
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        agent_module("copy").arg_groups()
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        let has_content = args.get("content").is_some_and(|content| !content.is_null());
        match (is_given(args, "src"), has_content) {
            (false, false) => return rule("src (or content) is required"),
            _ if !is_given(args, "dest") => return rule("dest is required"),
            (true, true) => return rule("src and content are mutually exclusive"),
            (true, false) | (false, true) => {}
        }
        agent_module("copy").validate(args.clone())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match with_content(args, cx).await {
                Ok(args) => cx.call("ansible.builtin.copy", args).await,
                Err(message) => Ok(ModuleResult::failed(message)),
            }
        }
        .boxed()
    }
}

/// The arguments with `src` replaced by what it names here, unless it names something on the host.
async fn with_content(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let is_remote = args.get("remote_src").is_some_and(|value| bool::from_arg(value.clone()) == Ok(true));
    let Some(Value::String(src)) = args.get("src").filter(|_| !is_remote).cloned() else { return Ok(args) };
    args.shift_remove("src");
    let path = cx.files.find(&src, "files").map_err(|error| error.to_string())?;
    if path.is_dir() {
        let blobs = cx.blobs.clone();
        let contents_only = src.ends_with('/');
        let tree = blocking(move || tree(&path, contents_only, &blobs)).await?;
        args.insert("_tree".into(), tree);
        return Ok(args);
    }
    if args.get("mode").is_some_and(|mode| mode.as_str() == Some("preserve")) {
        args.insert("mode".into(), mode_of(&path)?.into());
    }
    put_file(&mut args, &path, cx.blobs).await?;
    Ok(args)
}

/// Puts a file of the controller into the arguments: its blob and its name.
pub(super) async fn put_file(args: &mut Map, path: &Path, blobs: &Blobs) -> Result<(), String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    args.insert("_original_basename".into(), name.into());
    let (blobs, path) = (blobs.clone(), path.to_owned());
    let blob = blocking(move || add_file(&blobs, &path)).await?;
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

fn add_file(blobs: &Blobs, path: &Path) -> Result<BlobRef, String> {
    blobs.add_file(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Octal, as a task would write it.
pub(super) fn mode_of(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(format!("{:04o}", meta.permissions().mode() & 0o7777))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("reading was cut off: {error}"))?
}

/// Every file, folder and link below `root`, parents first. Without a trailing `/` the folder itself is copied too.
fn tree(root: &Path, contents_only: bool, blobs: &Blobs) -> Result<Value, String> {
    let prefix = match root.file_name() {
        Some(name) if !contents_only => PathBuf::from(name),
        _ => PathBuf::new(),
    };
    let mut entries = Vec::new();
    if prefix.as_os_str().is_empty() {
        add_children(root, &prefix, blobs, &mut entries)?;
    } else {
        add_entry(root, &prefix, blobs, &mut entries)?;
    }
    Ok(Value::List(entries))
}

fn add_children(dir: &Path, to: &Path, blobs: &Blobs, entries: &mut Vec<Value>) -> Result<(), String> {
    let unreadable = |error| format!("cannot read {}: {error}", dir.display());
    let mut children: Vec<_> =
        std::fs::read_dir(dir).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    children.sort_by_key(std::fs::DirEntry::file_name);
    children.iter().try_for_each(|child| add_entry(&child.path(), &to.join(child.file_name()), blobs, entries))
}

fn add_entry(path: &Path, to: &Path, blobs: &Blobs, entries: &mut Vec<Value>) -> Result<(), String> {
    if entries.len() >= TREE_ENTRIES_MAX {
        return Err(format!(
            "{} has more than {TREE_ENTRIES_MAX} files: copy an archive with unarchive",
            path.display()
        ));
    }
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    let meta = std::fs::symlink_metadata(path).map_err(unreadable)?;
    let mut entry = Map::new();
    entry.insert("path".into(), to.to_string_lossy().into_owned().into());
    entry.insert("mode".into(), (meta.permissions().mode() & 0o7777).into());
    if meta.is_symlink() {
        let target = std::fs::read_link(path).map_err(unreadable)?;
        entry.insert("link".into(), target.to_string_lossy().into_owned().into());
    } else if meta.is_dir() {
        entry.insert("dir".into(), true.into());
        entries.push(Value::Map(entry));
        return add_children(path, to, blobs, entries);
    } else if meta.is_file() {
        entry.insert("blob".into(), add_file(blobs, path)?.to_value());
    } else {
        return Err(format!("{} is neither a file nor a folder nor a link", path.display()));
    }
    entries.push(Value::Map(entry));
    Ok(())
}
