//! `shell`: a command line that a shell reads.

use std::path::PathBuf;

use rustle_protocol::{ModuleResult, Value};

use super::command::{ExecutionArgs, WAYS, execute, is_given, no_words};
use crate::arguments;
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::process::{Program, words};

arguments! {
    pub(crate) struct ShellArgs {
        /// The command line, as the task gives it in free form.
        _raw_params | "free_form": Option<String>,
        /// The words of the command line, each of which the shell takes as it is.
        argv: Option<Vec<String>>,
        /// The command line.
        cmd: Option<String>,
        /// Of `command` only: a shell expands them anyway, and an error says so.
        expand_argument_vars: Option<Value>,
        /// The shell.
        executable: PathBuf = "/bin/sh".into(),
        ; flatten common: ExecutionArgs
    }
}

pub(super) struct Shell;

impl Module for Shell {
    type Args = ShellArgs;

    const NAME: &'static str = "ansible.builtin.shell";
    const SUMMARY: &'static str = "Runs a command line by a shell.";
    const IDEMPOTENT: bool = false;

    const EXCLUSIVE: &'static [&'static [&'static str]] = WAYS;

    fn check_args(args: &ShellArgs) -> Result<(), ArgError> {
        if args.expand_argument_vars.is_some() {
            return Err(ArgError::Rule("Unsupported parameters for (shell) module: expand_argument_vars".into()));
        }
        is_given(args._raw_params.as_ref(), args.cmd.as_ref(), args.argv.as_ref())
    }

    fn run(&self, args: ShellArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let (line, cmd) = match args.argv {
            Some(argv) => (words::join(&argv), Value::from(argv)),
            None => {
                let line = args._raw_params.or(args.cmd).unwrap_or_default();
                (line.clone(), Value::from(line))
            }
        };
        if line.is_empty() {
            return Err(no_words());
        }
        let program = Program::new(args.executable).arg("-c").arg(&line);
        execute(program, cmd, &args.common, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{AnyModule, CancelReason};
    use crate::process::testing::Surroundings;
    use serde_json::json;

    fn run_in(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&Shell, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
    }

    #[test]
    fn a_shell_reads_the_line() {
        let result = run_in(&Surroundings::new(), json!({"_raw_params": "for i in a b; do echo $i; done | tail -1"}));
        assert_eq!(result.get("stdout"), Some(&Value::from("b")));
        assert_eq!(result.get("cmd"), Some(&Value::from("for i in a b; do echo $i; done | tail -1")));
    }

    #[test]
    fn words_of_a_list_mean_nothing_to_the_shell() {
        let result = run_in(&Surroundings::new(), json!({"argv": ["echo", "$HOME;", "a  b"]}));
        assert_eq!(result.get("stdout"), Some(&Value::from("$HOME; a  b")));
        assert_eq!(result.get("cmd").unwrap().as_list().unwrap().len(), 3);
        let both = run_in(&Surroundings::new(), json!({"argv": ["true"], "cmd": "true"}));
        assert_eq!(both.msg(), "parameters are mutually exclusive: _raw_params|cmd|argv");
    }

    #[test]
    fn another_shell_can_be_named() {
        let args = json!({"cmd": "echo $0", "executable": "/bin/sh"});
        assert_eq!(run_in(&Surroundings::new(), args).get("stdout"), Some(&Value::from("/bin/sh")));
        let result = run_in(&Surroundings::new(), json!({"cmd": "echo $0", "executable": "/nonexistent/sh"}));
        assert!(result.failed);
        assert_eq!(result.get("cmd"), Some(&Value::from("/nonexistent/sh -c 'echo $0'")));
    }

    #[test]
    fn a_call_out_of_time_fails_with_what_was_said_until_then() {
        let surroundings = Surroundings::new().cancelling_at_output(CancelReason::TimedOut);
        let result = run_in(&surroundings, json!({"cmd": "echo so far; sleep 600"}));
        assert!(result.failed && result.msg().starts_with("timed out"), "{result:?}");
        assert_eq!(result.get("stdout"), Some(&Value::from("so far")));
    }

    #[test]
    fn an_empty_line_is_refused() {
        assert!(run_in(&Surroundings::new(), json!({"cmd": ""})).failed);
        assert!(!run_in(&Surroundings::new(), json!({"cmd": " "})).failed, "the shell's own business");
        assert!(run_in(&Surroundings::new(), json!({})).msg().contains("one of the following is required"));
    }
}
