//! `validate`: a command of the host's own that says whether a file about to be put in place is any good.

use std::path::Path;

use rustle_protocol::Value;

use crate::module::{ModuleContext, ModuleError};
use crate::process::tool::{self, ToolOutput};
use crate::process::words;

/// How a module tells of a file that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// With all that the command said.
    InFull,
    /// In one sentence.
    Shortly,
}

/// # Errors
/// The command refuses the file, or cannot be asked.
pub(crate) fn accepted(command: &str, file: &Path, told: Told, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let said = run(command, file, cx)?;
    match told {
        _ if said.rc == 0 => Ok(()),
        Told::InFull => Err(ModuleError::new("failed to validate")
            .with("exit_status", said.rc)
            .with("stdout", Value::from_output(said.stdout))
            .with("stderr", Value::from_output(said.stderr))),
        Told::Shortly => {
            let stderr = String::from_utf8_lossy(&said.stderr);
            Err(ModuleError::new(format!("failed to validate: rc:{} error:{stderr}", said.rc)))
        }
    }
}

/// Runs `command` with the file's path for its `%s`, without a shell, and gives back what it said.
///
/// # Errors
/// There is no `%s`, a quotation does not end, or the command cannot be started.
fn run(command: &str, file: &Path, cx: &ModuleContext<'_>) -> Result<ToolOutput, ModuleError> {
    if !command.contains("%s") {
        return Err(ModuleError::new(format!("validate must contain %s: {command}")));
    }
    let words =
        words::split(command).map_err(|why| ModuleError::new(format!("validate is no command, {why}: {command}")))?;
    let path = file.to_string_lossy();
    let words: Vec<String> = words.iter().map(|word| word.replace("%s", &path).replace("%%", "%")).collect();
    tool::run_else(&words, cx.environment, cx.cancel, |error| error.told())
}
