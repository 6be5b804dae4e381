//! `pipe` and `lines`: what a command of the controller prints.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use crate::template::convert::{failed, from_data};
use crate::template::deferred::{self, Answer};

/// What a command may print for a variable.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// In `folder`, if it is there.
fn run_shell(lookup: &str, command: &str, folder: Option<&Path>) -> Result<String, String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit());
    if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
        shell.current_dir(folder);
    }
    let output = shell.output().map_err(|error| format!("{command}: {error}"))?;
    if !output.status.success() {
        // As Python tells it: a signal's number is below 0.
        let signal = output.status.signal().map(|signal| -signal);
        let code = output.status.code().or(signal).unwrap_or_default();
        return Err(format!("lookup_plugin.{lookup}({command}) returned {code}"));
    }
    if output.stdout.len() > OUTPUT_BYTES_MAX {
        return Err(format!("lookup_plugin.{lookup}({command}) printed more than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn pipe(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    for_each(call, "pipe", |printed| vec![printed.trim_end().into()])
}

pub(super) fn lines(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    for_each(call, "lines", |printed| printed.lines().map(Into::into).collect())
}

/// Runs each of the commands, where waiting for it holds nobody up.
fn for_each(
    call: &Call<'_>,
    lookup: &'static str,
    results: fn(&str) -> Vec<rustle_protocol::Value>,
) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    let folder: Option<PathBuf> = call.playbook_dir();
    // One command asked for twice is run twice, as its answer may be another one.
    for (number, command) in call.texts().into_iter().enumerate() {
        let question = format!("{lookup} {number} {command}");
        let folder = folder.clone();
        let run = move || -> Answer { run_shell(lookup, &command, folder.as_deref()).map(|printed| results(&printed)) };
        out.extend(deferred::ask(question, run)?.map_err(failed)?.into_iter().map(from_data));
    }
    Ok(out)
}
