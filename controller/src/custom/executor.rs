//! A module in a file, as the engine runs it: packed here, run by the host's agent.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::finder::ModuleFiles;
use super::kind::{FileKind, interpreter_name, shebang};
use super::payload::pack;
use crate::engine::{ExecutionContext, ModuleExecutor, Stop};

/// Said to modules where no ansible-core is there to have a version.
const VERSION: &str = "2.19.0";

/// A module that is a file of the controller.
pub(super) struct FileModule {
    /// As tasks call it.
    name: String,
    /// As Python calls it: `ansible.legacy.NAME`.
    python: String,
    path: PathBuf,
    heeds_check_mode: bool,
    files: ModuleFiles,
    packed: Mutex<Option<(Stamp, Arc<Packed>)>>,
}

/// What changes when a file does.
type Stamp = (u64, Option<SystemTime>);

/// A module ready to be sent.
#[derive(Debug)]
struct Packed {
    kind: FileKind,
    shebang: Option<Vec<String>>,
    content: Bytes,
}

impl FileModule {
    pub(super) fn new(name: &str, python: String, path: PathBuf, files: ModuleFiles) -> FileModule {
        let heeds_check_mode = std::fs::read(&path).is_ok_and(|content| heeds_check_mode(&content));
        FileModule { name: name.to_owned(), python, path, heeds_check_mode, files, packed: Mutex::default() }
    }

    /// Reads and packs the file, once for as long as it stays as it is. Blocks.
    fn packed(&self) -> Result<Arc<Packed>, String> {
        let unreadable = |error| format!("cannot read {}: {error}", self.path.display());
        let meta = std::fs::metadata(&self.path).map_err(unreadable)?;
        let stamp = (meta.len(), meta.modified().ok());
        let mut known = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, packed)) = known.as_ref().filter(|(of, _)| *of == stamp) {
            return Ok(Arc::clone(packed));
        }
        let content = std::fs::read(&self.path).map_err(unreadable)?;
        let packed = Arc::new(self.pack(content)?);
        *known = Some((stamp, Arc::clone(&packed)));
        Ok(packed)
    }

    fn pack(&self, content: Vec<u8>) -> Result<Packed, String> {
        let kind = FileKind::of(&content);
        let shebang = shebang(&content);
        let content = match kind {
            FileKind::PowerShell => {
                return Err(format!("{} is a PowerShell module; there is no PowerShell here", self.path.display()));
            }
            FileKind::Python => {
                let source = String::from_utf8_lossy(&content);
                pack(&self.python, &source, &self.files.sources()).map_err(|error| error.to_string())?
            }
            _ => content,
        };
        Ok(Packed { kind, shebang, content: content.into() })
    }

    /// The agent's module that runs it, and that one's arguments.
    fn call(&self, packed: &Packed, args: Map, cx: &ExecutionContext<'_>) -> Result<(&'static str, Map), String> {
        let blob = cx.blobs.add_bytes(packed.content.clone());
        let args = self.with_internal(args, cx);
        let python = || interpreter("python", cx);
        let mut call = Map::new();
        call.insert("_blob".into(), blob.to_value());
        if packed.kind == FileKind::Python {
            call.insert("_module".into(), self.python.as_str().into());
            call.insert("_interpreter".into(), words(python()?));
            call.insert("args".into(), Value::Map(args));
            return Ok(("rustle.builtin.python", call));
        }
        let basename = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        call.insert("_original_basename".into(), basename.into());
        if packed.kind != FileKind::Binary {
            let Some(line) = &packed.shebang else {
                return Err(format!("module ({}) is missing interpreter line", self.name));
            };
            let name = interpreter_name(line).unwrap_or_default();
            let is_python = name.starts_with("python");
            let own = if is_python { python()? } else { interpreter(name, cx)? };
            call.insert("_python".into(), (is_python && own.is_none()).into());
            call.insert("_interpreter".into(), words(own.or_else(|| (!is_python).then(|| line.clone()))));
        }
        let style = match packed.kind {
            FileKind::KeyValue => {
                call.insert("_args_text".into(), key_value(&args).into());
                "key_value"
            }
            FileKind::Embedded => "embedded",
            _ => "json",
        };
        call.insert("_style".into(), style.into());
        call.insert("args".into(), Value::Map(args));
        Ok(("rustle.builtin.program", call))
    }

    /// The arguments and what Ansible adds to them: how the task is run, for a module that wants to know.
    fn with_internal(&self, mut args: Map, cx: &ExecutionContext<'_>) -> Map {
        let version = self.files.library().version().unwrap_or_else(|| VERSION.to_owned());
        let special = ["fuse", "nfs", "vboxsf", "ramfs", "9p", "vfat"];
        let internal: [(&str, Value); 17] = [
            ("check_mode", cx.settings.check.into()),
            ("no_log", cx.settings.no_log.into()),
            ("debug", false.into()),
            ("diff", cx.settings.diff.into()),
            ("verbosity", Value::Int(cx.settings.verbosity.into())),
            ("version", version.into()),
            ("module_name", self.name.as_str().into()),
            ("syslog_facility", "LOG_USER".into()),
            ("selinux_special_fs", special.into_iter().map(Value::from).collect()),
            ("socket", Value::Null),
            ("shell_executable", "/bin/sh".into()),
            ("keep_remote_files", false.into()),
            ("tmpdir", Value::Null),
            ("remote_tmp", "~/.ansible/tmp".into()),
            ("ignore_unknown_opts", false.into()),
            ("target_log_info", Value::Null),
            ("tracebacks_for", Value::List(Vec::new())),
        ];
        args.extend(internal.map(|(name, value)| (format!("_ansible_{name}"), value)));
        args
    }
}

/// Python modules answer for themselves: `AnsibleModule` skips what does not support check mode. Any other one is run in
/// check mode only if it names the argument that tells it.
fn heeds_check_mode(content: &[u8]) -> bool {
    const TOLD_BY: &[u8] = b"_ansible_check_mode";
    FileKind::of(content) == FileKind::Python || content.windows(TOLD_BY.len()).any(|window| window == TOLD_BY)
}

/// `ansible_NAME_interpreter` and its options, if it names a program; `auto` and its kin leave that to the host.
///
/// # Errors
/// Why the variable has no value.
pub(crate) fn interpreter(name: &str, cx: &ExecutionContext<'_>) -> Result<Option<Vec<String>>, String> {
    let variable = format!("ansible_{name}_interpreter");
    if !cx.target_scope.contains(&variable) {
        return Ok(None);
    }
    let value = cx.target_scope.get(&variable).map_err(|error| format!("{variable}: {error}"))?;
    let text = rustle_agent::module::shown(&value);
    if matches!(text.trim(), "" | "auto" | "auto_silent" | "auto_legacy" | "auto_legacy_silent") {
        return Ok(None);
    }
    Ok(Some(text.split_whitespace().map(str::to_owned).collect()))
}

fn words(words: Option<Vec<String>>) -> Value {
    words.unwrap_or_default().into_iter().map(Value::from).collect()
}

/// As modules of old read them: `name='some value' other=1`.
fn key_value(args: &Map) -> String {
    let word = |(name, value): (&String, &Value)| {
        let text = crate::template::python_text(value);
        format!("{name}={} ", rustle_agent::process::words::quote(&text))
    };
    args.iter().map(word).collect()
}

impl ModuleExecutor for FileModule {
    fn name(&self) -> &str {
        &self.name
    }

    fn supports_check_mode(&self) -> bool {
        self.heeds_check_mode
    }

    fn is_action(&self) -> bool {
        false
    }

    fn supports_diff(&self) -> bool {
        true
    }

    fn supports_async(&self) -> bool {
        true
    }

    fn validate_args(&self, _args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            // Packing a hundred small files takes some milliseconds, once for a module.
            let packed = match self.packed() {
                Ok(packed) => packed,
                Err(message) => return Ok(ModuleResult::failed(message)),
            };
            match self.call(&packed, args, cx) {
                Ok((module, call)) => cx.call(module, call).await,
                Err(message) => Ok(ModuleResult::failed(message)),
            }
        }
        .boxed()
    }
}

impl std::fmt::Debug for FileModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileModule").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}
