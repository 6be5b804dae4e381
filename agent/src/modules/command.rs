//! `command`: a program with its arguments, and no shell in between. What it shares with `shell` stands here too.

use std::path::{Path, PathBuf};

use rustle_protocol::{ModuleResult, Value};

use crate::arguments;
use crate::fnmatch::first_match;
use crate::module::args::expand_with;
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::process::{Ended, Output, Program, errno_text, stopped_words, words};

arguments! {
    pub(crate) struct CommandArgs {
        /// The command line, as the task gives it in free form.
        _raw_params | "free_form": Option<String>,
        /// The program and its arguments as a list.
        argv: Option<Vec<String>>,
        /// The command line.
        cmd: Option<String>,
        /// Not used; a warning says so.
        executable: Option<PathBuf>,
        /// Expand `~` and `$NAME` in arguments.
        expand_argument_vars: bool = true,
        ; flatten common: ExecutionArgs
    }
}

arguments! {
    /// What `command` and `shell` have in common.
    pub(crate) struct ExecutionArgs {
        /// Where to run.
        chdir: Option<PathBuf>,
        /// Do nothing if this path or pattern exists.
        creates: Option<PathBuf>,
        /// Do nothing unless this path or pattern exists.
        removes: Option<PathBuf>,
        /// What the program reads.
        stdin: Option<String>,
        /// Put a newline after `stdin`.
        stdin_add_newline: bool = true,
        /// Take line ends off the end of what is returned.
        strip_empty_ends: bool = true,
        _uses_shell: Option<bool>,
    }
}

pub(super) struct Command;

impl Module for Command {
    type Args = CommandArgs;

    const NAME: &'static str = "ansible.builtin.command";
    const SUMMARY: &'static str = "Runs a program.";
    const IDEMPOTENT: bool = false;

    const EXCLUSIVE: &'static [&'static [&'static str]] = WAYS;

    fn check_args(args: &CommandArgs) -> Result<(), ArgError> {
        is_given(args._raw_params.as_ref(), args.cmd.as_ref(), args.argv.as_ref())
    }

    fn run(&self, args: CommandArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let words = match (args.argv, args._raw_params.or(args.cmd)) {
            (Some(argv), _) => argv,
            (None, line) => words::split(&line.unwrap_or_default()).map_err(ModuleError::broke_off)?,
        };
        let Some((name, rest)) = words.split_first() else {
            return Err(no_words());
        };
        let expanded = |word: &String| match args.expand_argument_vars {
            true => expand_with(word, |name| cx.variable(name)),
            false => word.clone(),
        };
        let program = Program::new(expanded(name)).args(rest.iter().map(expanded));
        let result = execute(program, Value::from(words.clone()), &args.common, cx)?;
        Ok(match args.executable {
            None => result,
            Some(path) => result.with_warning(format!(
                "As of Ansible 2.4, the parameter 'executable' is no longer supported with the 'command' module. Not \
                 using '{}'.",
                path.display()
            )),
        })
    }
}

/// An empty command line, as Ansible tells it.
pub(super) fn no_words() -> ModuleError {
    ModuleError::new("Argument 'args' to run_command must be list or string").with("rc", 257).with("cmd", Value::Null)
}

/// The ways to say what to run, of which a task takes one.
pub(super) const WAYS: &[&[&str]] = &[&["_raw_params", "cmd", "argv"]];

/// What to run must be given.
pub(super) fn is_given(
    free_form: Option<&String>,
    cmd: Option<&String>,
    argv: Option<&Vec<String>>,
) -> Result<(), ArgError> {
    if free_form.is_some() || cmd.is_some() || argv.is_some() {
        return Ok(());
    }
    Err(ArgError::Rule("one of the following is required: _raw_params, cmd, argv".into()))
}

/// Runs `program` unless `creates` or `removes` or check mode say no, and returns what Ansible's `command` returns,
/// with `cmd` as the command.
pub(super) fn execute(
    program: Program,
    cmd: Value,
    args: &ExecutionArgs,
    cx: &ModuleContext<'_>,
) -> Result<ModuleResult, ModuleError> {
    if let Some(dir) = &args.chdir
        && let Err(error) = std::fs::read_dir(dir)
        && error.kind() != std::io::ErrorKind::PermissionDenied
    {
        let not_run = not_run(cmd, "Unable to change directory before execution.".to_owned());
        return Err(not_run.with("rc", Value::Null).with_cause(errno_text(&error, &dir.display().to_string())).into());
    }
    if let Some((stdout, why)) = needless(args) {
        let verb = if cx.check { "Would" } else { "Did" };
        return Ok(not_run(cmd, format!("{verb} not run command since {why}")).with("stdout", stdout));
    }
    if cx.check {
        let mut result = not_run(cmd, "Command would have run if not in check mode".to_owned()).with("failed", false);
        // With neither condition nobody can know whether it would change anything.
        result.skipped = args.creates.is_none() && args.removes.is_none();
        result.changed = !result.skipped;
        return Ok(result);
    }
    let mut stdin = args.stdin.clone().unwrap_or_default();
    if args.stdin.is_some() && args.stdin_add_newline {
        stdin.push('\n');
    }
    let program = program.chdir(args.chdir.as_ref()).stdin(stdin).live();
    match program.run(cx) {
        Ok(ended) => finished(ended, cmd, args.strip_empty_ends),
        Err(error) => Err(error.told()),
    }
}

/// Why there is nothing to do, if so: the text Ansible returns as `stdout`, and the reason.
fn needless(args: &ExecutionArgs) -> Option<(String, String)> {
    let exists = |path: &Path| first_match(&args.chdir.as_deref().unwrap_or(Path::new("")).join(path)).is_some();
    if let Some(creates) = args.creates.as_deref().filter(|path| exists(path)) {
        let path = creates.display();
        return Some((format!("skipped, since {path} exists"), format!("'{path}' exists")));
    }
    let removes = args.removes.as_deref().filter(|path| !exists(path))?.display();
    Some((format!("skipped, since {removes} does not exist"), format!("'{removes}' does not exist")))
}

fn not_run(cmd: Value, msg: String) -> ModuleResult {
    ModuleResult::ok()
        .with("stdout", "")
        .with("stderr", "")
        .with("rc", 0)
        .with("cmd", cmd)
        .with("start", Value::Null)
        .with("end", Value::Null)
        .with("delta", Value::Null)
        .with("msg", msg)
}

fn finished(ended: Ended, cmd: Value, strip: bool) -> Result<ModuleResult, ModuleError> {
    let kept = |output: Output| if strip { output.stripped() } else { output }.into_value();
    let (msg, failed) = match (ended.stopped, ended.rc) {
        (Some(reason), _) => {
            (format!("{}: the command was ended with all it had started", stopped_words(reason)), true)
        }
        (None, 0) => (String::new(), false),
        (None, _) => ("non-zero return code".to_owned(), true),
    };
    let mut result = ModuleResult::changed(true)
        .with("stdout", kept(ended.stdout))
        .with("stderr", kept(ended.stderr))
        .with("rc", ended.rc)
        .with("cmd", cmd)
        .with("start", timestamp(ended.started))
        .with("end", timestamp(ended.finished))
        .with("delta", time_delta(ended.finished - ended.started))
        .with("msg", msg);
    result.failed = failed;
    result.warnings = ended.warnings;
    Ok(result)
}

fn timestamp(time: chrono::DateTime<chrono::Local>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// As Python prints a `timedelta`: `0:00:01.002003`, `1 day, 2:00:00`.
fn time_delta(time: chrono::TimeDelta) -> String {
    let micros = time.num_microseconds().unwrap_or(0).max(0);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        more => format!("{more} days, "),
    };
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{days}{}:{:02}:{:02}{fraction}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::result::CAUSE;
    use serde_json::json;

    fn run_in(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&Command, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
    }

    fn run(args: serde_json::Value) -> ModuleResult {
        run_in(&Surroundings::new(), args)
    }

    fn text<'a>(result: &'a ModuleResult, name: &str) -> &'a str {
        result.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {name} in {result:?}"))
    }

    #[test]
    fn a_command_returns_what_ansible_returns() {
        let result = run(json!({"_raw_params": "echo 'a b'  c"}));
        assert!(result.changed && !result.failed);
        let names: Vec<&str> = result.values().keys().map(String::as_str).collect();
        assert_eq!(names, ["stdout", "stderr", "rc", "cmd", "start", "end", "delta", "msg"]);
        assert_eq!((text(&result, "stdout"), text(&result, "msg")), ("a b c", ""));
        assert_eq!(result.get("cmd"), Some(&Value::from(json!(["echo", "a b", "c"]))));
    }

    #[test]
    fn a_return_code_but_zero_is_a_failure() {
        let result = run(json!({"argv": ["sh", "-c", "echo no >&2; exit 4"]}));
        assert!(result.failed && result.changed);
        assert_eq!((result.get("rc"), result.msg()), (Some(&Value::Int(4)), "non-zero return code"));
        assert_eq!(text(&result, "stderr"), "no");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_without_a_change() {
        let result = run(json!({"cmd": "no-such-program 'x y'"}));
        assert!(result.failed && !result.changed);
        assert_eq!((result.get("rc"), text(&result, "cmd")), (Some(&Value::Int(2)), "no-such-program 'x y'"));
        assert_eq!(result.msg(), "Error executing command.");
        let cause = result.get(CAUSE).and_then(Value::as_str).unwrap();
        assert!(cause.starts_with("[Errno 2] No such file or directory: b'"), "{cause}");
    }

    #[test]
    fn variables_are_expanded_in_arguments_and_not_in_what_is_returned() {
        let surroundings = Surroundings::new().with_env("WORD", "a b");
        let result = run_in(&surroundings, json!({"cmd": "echo $WORD '*'"}));
        assert_eq!(text(&result, "stdout"), "a b *");
        assert_eq!(result.get("cmd"), Some(&Value::from(json!(["echo", "$WORD", "*"]))));
        let result = run_in(&surroundings, json!({"cmd": "echo $WORD", "expand_argument_vars": false}));
        assert_eq!(text(&result, "stdout"), "$WORD");
    }

    #[test]
    fn creates_and_removes_decide_whether_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("made.txt"), "").unwrap();
        let chdir = dir.path().to_str().unwrap();
        let result = run(json!({"cmd": "touch other", "chdir": chdir, "creates": "ma*.txt"}));
        assert_eq!(text(&result, "stdout"), "skipped, since ma*.txt exists");
        assert_eq!(result.msg(), "Did not run command since 'ma*.txt' exists");
        let result = run(json!({"cmd": "touch other", "chdir": chdir, "removes": "nothing"}));
        assert_eq!(text(&result, "stdout"), "skipped, since nothing does not exist");
        assert!(!result.changed && !result.failed && !dir.path().join("other").exists());
        assert!(run(json!({"cmd": "touch other", "chdir": chdir, "removes": "made.txt"})).changed);
        assert!(dir.path().join("other").exists());
    }

    #[test]
    fn check_mode_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x").display().to_string();
        let check = Surroundings::checking();
        let plain = run_in(&check, json!({"argv": ["touch", path]}));
        assert!(plain.skipped && !plain.changed);
        let guarded = run_in(&check, json!({"argv": ["touch", path], "creates": path}));
        assert!(guarded.changed && !guarded.skipped);
        assert_eq!(guarded.msg(), "Command would have run if not in check mode");
        assert!(!dir.path().join("x").exists());
    }

    #[test]
    fn input_and_line_ends_are_as_asked_for() {
        let stdout = |args| text(&run(args), "stdout").to_owned();
        assert_eq!(stdout(json!({"cmd": "cat", "stdin": "a", "strip_empty_ends": false})), "a\n");
        assert_eq!(
            stdout(json!({"cmd": "cat", "stdin": "a", "strip_empty_ends": false, "stdin_add_newline": false})),
            "a"
        );
        assert_eq!(stdout(json!({"cmd": "printf 'a\\n\\r\\n'"})), "a");
    }

    #[test]
    fn output_that_is_not_text_survives() {
        let result = run(json!({"argv": ["printf", "a\\377"]}));
        assert_eq!(result.get("stdout"), Some(&Value::Bytes(vec![b'a', 0xFF])));
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let result = run(json!({"cmd": "true", "chdir": "/nonexistent/dir"}));
        assert_eq!((result.failed, result.msg()), (true, "Unable to change directory before execution."));
        assert_eq!(text(&result, CAUSE), "[Errno 2] No such file or directory: b'/nonexistent/dir'");
    }

    #[test]
    fn one_way_to_say_the_command_is_needed() {
        assert_eq!(run(json!({})).msg(), "one of the following is required: _raw_params, cmd, argv");
        assert_eq!(
            run(json!({"cmd": "a", "argv": ["b"]})).msg(),
            "parameters are mutually exclusive: _raw_params|cmd|argv"
        );
        assert!(run(json!({"cmd": "echo 'x"})).msg().ends_with("No closing quotation"));
    }

    #[test]
    fn deltas_are_printed_as_python_does() {
        let delta = |micros| time_delta(chrono::TimeDelta::microseconds(micros));
        assert_eq!(delta(4_591), "0:00:00.004591");
        assert_eq!(delta(3_600_000_000), "1:00:00");
        assert_eq!(delta(2 * 86_400_000_000 + 61_000_001), "2 days, 0:01:01.000001");
    }
}
