//! `validate`: a command of the host's own that says whether a file about to be put in place is any good.

use std::path::Path;

use crate::module::{ModuleContext, ModuleError};
use crate::process::tool::{self, ToolOutput};
use crate::process::words;

/// Runs `command` with the file's path for its `%s`, without a shell, and gives back what it said.
///
/// # Errors
/// There is no `%s`, a quotation does not end, or the command cannot be started.
pub(crate) fn run(command: &str, file: &Path, cx: &ModuleContext<'_>) -> Result<ToolOutput, ModuleError> {
    if !command.contains("%s") {
        return Err(ModuleError::new(format!("validate must contain %s: {command}")));
    }
    let words =
        words::split(command).map_err(|why| ModuleError::new(format!("validate is no command, {why}: {command}")))?;
    let path = file.to_string_lossy();
    let words: Vec<String> = words.iter().map(|word| word.replace("%s", &path).replace("%%", "%")).collect();
    tool::run(&words, cx.environment, cx.cancel)
}
