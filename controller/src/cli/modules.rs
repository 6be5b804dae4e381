//! `--module-path`: custom modules from files, sent to a host when a task needs them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::ArgError;
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::CliError;
use crate::engine::{ExecutionContext, ModuleExecutor, Registry, Stop};

/// Files with these endings are something else than a module.
const NOT_MODULES: &[&str] = &["pyc", "pyo", "md", "txt", "json", "toml", "yml", "yaml", "orig", "bak"];

/// Adds every executable file of the folders, under its name without its ending. A later folder wins.
pub(super) fn add(registry: &mut Registry, folders: &[PathBuf]) -> Result<(), CliError> {
    for folder in folders {
        let unreadable = |error| CliError::input(format!("--module-path {}: {error}", folder.display()));
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if let Some(name) = module_name(&path) {
                registry.register(Arc::new(ProgramModule { name, path }));
            }
        }
    }
    Ok(())
}

fn module_name(path: &Path) -> Option<String> {
    let meta = path.metadata().ok()?;
    let is_program = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    let is_other = path.extension().and_then(|ending| ending.to_str()).is_some_and(|e| NOT_MODULES.contains(&e));
    let name = path.file_stem()?.to_str()?;
    (is_program && !is_other && !name.starts_with(['.', '_'])).then(|| name.to_owned())
}

/// A module that is a program: it reads its arguments from a JSON file and prints its result as JSON.
struct ProgramModule {
    name: String,
    path: PathBuf,
}

impl ModuleExecutor for ProgramModule {
    fn name(&self) -> &str {
        &self.name
    }

    fn supports_check_mode(&self) -> bool {
        // It is told `_ansible_check_mode`; whether it heeds it is its author's promise, which nothing here can read.
        false
    }

    fn supports_diff(&self) -> bool {
        false
    }

    fn validate_args(&self, _args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            let mut call: Map = [("args".to_owned(), Value::Map(args))].into();
            if let Err(message) = crate::actions::put_file(&mut call, &self.path, cx.blobs).await {
                return Ok(ModuleResult::failed(message));
            }
            cx.call("rustle.builtin.program", call).await
        }
        .boxed()
    }
}
