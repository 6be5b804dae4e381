//! Running one of the host's own tools to its end: a validator, `getent`, `file`.
//!
//! Not for what a task asks to be run: what these tools print is for their caller and is not streamed.

use std::ffi::OsStr;

use super::{Program, ProgramError};
use crate::module::{CancelToken, ModuleContext, ModuleError, NoBlobs, NoOutput};

#[derive(Debug)]
pub(crate) struct ToolOutput {
    /// The exit status, or minus the signal that ended it.
    pub(crate) rc: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs `words`, with `environment` added, until it ends or is cancelled.
///
/// # Errors
/// It cannot be started, or was cancelled and ended with all it started.
pub(crate) fn run<S: AsRef<OsStr>>(
    words: &[S],
    environment: &[(String, String)],
    cancel: &CancelToken,
) -> Result<ToolOutput, ModuleError> {
    run_else(words, environment, cancel, ModuleError::from)
}

/// As [`run`]; `not_started` tells of one that cannot be started.
pub(crate) fn run_else<S: AsRef<OsStr>>(
    words: &[S],
    environment: &[(String, String)],
    cancel: &CancelToken,
    not_started: impl FnOnce(ProgramError) -> ModuleError,
) -> Result<ToolOutput, ModuleError> {
    let (name, args) = words.split_first().ok_or_else(|| ModuleError::new("there is no command to run"))?;
    let program = Program::new(name.as_ref()).args(args.iter().map(|word| word.as_ref().to_owned()));
    let cx = ModuleContext {
        check: false,
        diff: false,
        verbosity: 0,
        environment,
        output: &NoOutput,
        blobs: &NoBlobs,
        cancel,
    };
    let ended = program.run(&cx).map_err(not_started)?;
    ended.not_stopped(&program)?;
    Ok(ToolOutput { rc: ended.rc, stdout: ended.stdout.bytes, stderr: ended.stderr.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::CancelReason;

    #[test]
    fn both_outputs_and_the_status_come_back() {
        let cancel = CancelToken::new().unwrap();
        let output = run(&["sh", "-c", "echo out; echo $WORD >&2; exit 3"], &[("WORD".into(), "err".into())], &cancel);
        let output = output.unwrap();
        assert_eq!((output.rc, &*output.stdout, &*output.stderr), (3, &b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_cancelled_tool_is_an_error() {
        let cancel = CancelToken::new().unwrap();
        cancel.cancel(CancelReason::Requested);
        let error = run(&["sleep", "1000"], &[], &cancel).unwrap_err();
        assert!(error.to_string().contains("cancelled while it ran: sleep 1000"), "{error}");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let error = run(&["no-such-tool-here"], &[], &CancelToken::new().unwrap()).unwrap_err();
        assert!(
            error.to_string().starts_with("Failed to find required executable \"no-such-tool-here\" in paths: /"),
            "{error}"
        );
    }
}
