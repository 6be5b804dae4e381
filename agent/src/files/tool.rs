//! Running one of the host's own tools to its end: a validator, `getent`, `file`.
//!
//! Not for what a task asks to be run: these tools are short, get no input, and only the beginning of what they say is
//! kept.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::module::{CancelToken, Doing, ModuleError};

/// Kept of each of a tool's outputs; the rest is read and dropped, so that the tool does not hang.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

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
/// It cannot be started, or was cancelled: then its process group has been killed.
pub(crate) fn run<S: AsRef<OsStr>>(
    words: &[S],
    environment: &[(String, String)],
    cancel: &CancelToken,
) -> Result<ToolOutput, ModuleError> {
    let (program, args) = words.split_first().ok_or_else(|| ModuleError::new("there is no command to run"))?;
    let shown = || program.as_ref().to_string_lossy().into_owned();
    let mut child = Command::new(program)
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .doing(|| format!("run {}", shown()))?;
    let read = read_outputs(&mut child, cancel);
    if read.is_err()
        && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    {
        // Gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().doing(|| format!("wait for {}", shown()))?;
    let (stdout, stderr) = read.map_err(|why| ModuleError::new(format!("{} {why}", shown())))?;
    Ok(ToolOutput { rc: status.code().unwrap_or_else(|| -status.signal().unwrap_or(1)), stdout, stderr })
}

/// Both outputs, each until its end.
fn read_outputs(child: &mut Child, cancel: &CancelToken) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while out.is_some() || err.is_some() {
        if cancel.is_cancelled() {
            return Err("was stopped: the task was cancelled".to_owned());
        }
        let (mut out_ready, mut err_ready) = (false, false);
        {
            let cancelled = cancel.fd();
            let mut fds = vec![PollFd::from_borrowed_fd(cancelled, PollFlags::IN)];
            fds.extend(out.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            fds.extend(err.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
            let mut ready = fds.iter().skip(1).map(|fd| !fd.revents().is_empty());
            if out.is_some() {
                out_ready = ready.next().unwrap_or(false);
            }
            if err.is_some() {
                err_ready = ready.next().unwrap_or(false);
            }
        }
        if out_ready && !read_some(out.as_mut(), &mut stdout) {
            out = None;
        }
        if err_ready && !read_some(err.as_mut(), &mut stderr) {
            err = None;
        }
    }
    Ok((stdout, stderr))
}

/// Takes what is there; false at the end.
fn read_some(pipe: Option<&mut impl Read>, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8192];
    match pipe.map_or(Ok(0), |pipe| pipe.read(&mut buffer)) {
        Ok(0) => false,
        Ok(count) => {
            let room = OUTPUT_BYTES_MAX - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
            true
        }
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
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
    fn a_talkative_tool_is_read_to_its_end_and_cut() {
        let cancel = CancelToken::new().unwrap();
        let output = run(&["sh", "-c", "head -c 300000 /dev/zero"], &[], &cancel).unwrap();
        assert_eq!((output.rc, output.stdout.len()), (0, OUTPUT_BYTES_MAX));
    }

    #[test]
    fn a_cancelled_tool_is_killed() {
        let cancel = CancelToken::new().unwrap();
        cancel.cancel(CancelReason::Requested);
        let error = run(&["sleep", "1000"], &[], &cancel).unwrap_err();
        assert_eq!(error.to_string(), "sleep was stopped: the task was cancelled");
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let error = run(&["no-such-tool-here"], &[], &CancelToken::new().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("failed to run no-such-tool-here: "), "{error}");
    }
}
