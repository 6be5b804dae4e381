//! `raw`: a command line, and its output as it is.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::process::{Program, stopped_words};

arguments! {
    pub(crate) struct RawArgs {
        /// The command line.
        _raw_params | "free_form" | "cmd": String,
        /// The shell.
        executable: PathBuf = "/bin/sh".into(),
    }
}

pub(super) struct Raw;

impl Module for Raw {
    type Args = RawArgs;

    const NAME: &'static str = "ansible.builtin.raw";
    const SUMMARY: &'static str = "Runs a command line by a shell and returns its output as it is.";
    const SUPPORTS_CHECK: bool = false;
    const IDEMPOTENT: bool = false;

    fn run(&self, args: RawArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        run_line(&args.executable, &args._raw_params, None, cx)
    }
}

/// Runs `line` by `shell` and returns `rc`, `stdout` and `stderr` unchanged, as `raw` and `script` do.
pub(super) fn run_line(
    shell: &std::path::Path,
    line: &str,
    chdir: Option<&std::path::Path>,
    cx: &ModuleContext<'_>,
) -> Result<ModuleResult, ModuleError> {
    let program = Program::new(shell).arg("-c").arg(line).chdir(chdir).live();
    let ended = program.run(cx).map_err(|error| error.told())?;
    let mut result = ModuleResult::changed(true)
        .with("rc", ended.rc)
        .with("stdout", ended.stdout.into_value())
        .with("stderr", ended.stderr.into_value());
    result.warnings = ended.warnings;
    match (ended.stopped, ended.rc) {
        (Some(reason), _) => {
            result.set("msg", format!("{}: it was ended with all it had started", stopped_words(reason)))
        }
        (None, 0) => return Ok(result),
        (None, _) => result.set("msg", "non-zero return code"),
    }
    Err(result.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;

    fn run(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&Raw, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
    }

    #[test]
    fn output_comes_back_as_it_is() {
        let result = run(&Surroundings::new(), json!({"_raw_params": "echo hi; echo err >&2; exit 2"}));
        assert!(result.failed && result.changed);
        assert_eq!(result.get("stdout"), Some(&Value::from("hi\n")));
        assert_eq!(result.get("stderr"), Some(&Value::from("err\n")));
        assert_eq!((result.get("rc"), result.msg()), (Some(&Value::Int(2)), "non-zero return code"));
    }

    #[test]
    fn check_mode_skips_it() {
        assert!(run(&Surroundings::checking(), json!({"_raw_params": "exit 1"})).skipped);
    }
}
