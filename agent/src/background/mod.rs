//! Jobs: modules that go on when the call that started them has ended (`async`).
//!
//! A job is a process of its own, a copy of this program in a session of its own, so it outlives the call, the connection,
//! the agent and the controller. Its order comes over its standard input, so that no argument stands in a command line. What
//! it came to stands in a file of the user it runs as, where Ansible has it, and `async_status` reads it there.

mod file;
mod order;
mod process;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::rand::{GetRandomFlags, getrandom};
use rustle_protocol::value::WireMap;
use rustle_protocol::{Map, ModuleResult};

use crate::module::{BlobRef, Doing, FromArg, ModuleContext, ModuleError};
use crate::process::leftovers;

pub(crate) use file::{JobFile, Standing};
use order::Order;
pub(crate) use process::serve_if_job;

/// The agent's module that starts jobs. Plans do not name it.
pub const MODULE: &str = "rustle.builtin.background";

/// Where jobs are kept if nobody says so: Ansible's place.
pub const DIRECTORY: &str = "~/.ansible_async";

/// The only argument of a program that is started as a job.
const JOB_ARGUMENT: &str = "background-job";

/// What is to be run as a job.
pub(crate) struct Work {
    pub(crate) module: String,
    pub(crate) args: Map,
    /// After this the job is ended, in seconds.
    pub(crate) limit_seconds: u32,
    pub(crate) directory: PathBuf,
}

/// The sentence about a job that took too long.
pub fn overdue(seconds: u64) -> String {
    format!("async task did not complete within the requested time - {seconds}s")
}

/// Starts a job and returns once its file stands. It runs as whom this process runs as.
///
/// # Errors
/// It could not be started: nothing runs.
pub(crate) fn start(work: Work, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let id = new_id()?;
    let file = JobFile::new(&work.directory, &id);
    // The one thing an agent's module gets beside its arguments.
    let blob = work.args.get("_blob").map(|value| BlobRef::from_arg(value.clone())).transpose();
    let blob = blob.map_err(|error| ModuleError::new(format!("_blob {error}")))?.map(|blob| blob.id);
    let order = Order {
        id: id.clone(),
        directory: work.directory.to_string_lossy().into_owned(),
        module: work.module,
        args: WireMap(work.args),
        check: cx.check,
        diff: cx.diff,
        verbosity: cx.verbosity,
        environment: cx.environment.to_vec(),
        limit_seconds: work.limit_seconds,
        blob,
    };
    launch(&order, cx)?;
    Ok(ModuleResult::changed(true)
        .with("ansible_job_id", id)
        .with("results_file", file.path().display().to_string())
        .with("started", true)
        .with("finished", false))
}

fn launch(order: &Order, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let what = || "start a job".to_owned();
    // The very file this process runs, even if it was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(JOB_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A job whose start nobody heard of ends with what its call has left.
    command.envs(order.environment.iter().filter(|(name, _)| name == leftovers::VARIABLE).cloned());
    let mut child = crate::process::start(&mut command).doing(what)?;
    let lost = || ModuleError::new("cannot start a job: its pipes were lost");
    let (stdin, stdout) = (child.stdin.take().ok_or_else(lost)?, child.stdout.take().ok_or_else(lost)?);
    let sent = send(order, stdin, cx);
    let mut answer = String::new();
    BufReader::new(stdout).read_line(&mut answer).doing(what)?;
    // A job that could not begin says why better than the broken pipe does.
    match (answer.trim_end(), answer.trim_end().strip_prefix(process::FAILED)) {
        (process::STARTED, _) => Ok(()),
        (_, Some(why)) => Err(ModuleError::new(why)),
        _ => sent.and(Err(ModuleError::new("cannot start a job: this program does not know how to be one"))),
    }
}

fn send(order: &Order, mut to: impl Write, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let what = || "give a job its work".to_owned();
    let bytes = order.to_bytes().map_err(|error| ModuleError::new(format!("cannot give a job its work: {error}")))?;
    to.write_all(&bytes).doing(what)?;
    if let Some(blob) = order.blob {
        std::io::copy(&mut cx.blobs.open(blob)?, &mut to).doing(what)?;
    }
    Ok(())
}

/// As Ansible makes them.
fn new_id() -> Result<String, ModuleError> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).doing(|| "draw a job's number".to_owned())?;
    Ok(format!("j{:012}.{}", u64::from_ne_bytes(bytes) % 1_000_000_000_000, std::process::id()))
}

/// Whether `id` can be the name of a file in a directory of jobs and nothing else.
pub(crate) fn is_job_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && !id.contains(['/', '\0']) && Path::new(id).file_name().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_name_one_file() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with('j') && is_job_id(&one), "{one}");
        for wrong in ["", "..", ".", "../x", "a/b", "a\0b"] {
            assert!(!is_job_id(wrong), "{wrong:?}");
        }
    }
}
