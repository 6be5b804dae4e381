//! `async_status`: how a job that `async` started stands.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::background::{DIRECTORY, JobFile, Standing, is_job_id};
use crate::module::{FromArg, Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

choices! {
    /// What is wanted.
    pub(crate) enum Mode { Status = "status", Cleanup = "cleanup" }
}

arguments! {
    pub(crate) struct AsyncStatusArgs {
        /// The job, as `ansible_job_id` of the task that started it.
        jid: String,
        /// Whether to tell how it stands or to remove its file.
        mode: Mode = Mode::Status,
        /// The directory of jobs.
        _async_dir: Option<PathBuf>,
    }
}

pub(super) struct AsyncStatus;

impl Module for AsyncStatus {
    type Args = AsyncStatusArgs;

    const NAME: &'static str = "ansible.builtin.async_status";
    const SUMMARY: &'static str = "Tells how a task in the background stands.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: AsyncStatusArgs, _cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let directory = match args._async_dir {
            Some(directory) => directory,
            None => PathBuf::from_arg(DIRECTORY.into()).map_err(ModuleError::new)?,
        };
        let file = JobFile::new(&directory, &args.jid);
        let known = if is_job_id(&args.jid) { file.read() } else { Ok(Standing::Unknown) };
        let about = |result: ModuleResult, finished: bool| {
            let path = file.path().display().to_string();
            let name = if args.mode == Mode::Cleanup { "erased" } else { "results_file" };
            let result = result.with("ansible_job_id", args.jid.as_str()).with(name, path);
            with_output(result.with("started", true).with("finished", finished))
        };
        match known {
            Ok(Standing::Unknown) => Ok(about(ModuleResult::failed("could not find job"), true)),
            Err(why) => Ok(about(ModuleResult::failed(why), true)),
            Ok(_) if args.mode == Mode::Cleanup => {
                let path = file.path().display().to_string();
                file.remove().map_err(|error| ModuleError::new(format!("cannot remove {path}: {error}")))?;
                let result = ModuleResult::ok().with("ansible_job_id", args.jid.as_str()).with("erased", path);
                Ok(with_output(result.with("started", false).with("finished", false)))
            }
            Ok(Standing::Running) => Ok(about(ModuleResult::ok(), false)),
            Ok(Standing::Over(result)) => Ok(about(result, true)),
        }
    }
}

/// Every answer has both, whatever the job's module returns.
fn with_output(mut result: ModuleResult) -> ModuleResult {
    for name in ["stdout", "stderr"] {
        if result.get(name).is_none() {
            result.set(name, "");
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::run;
    use serde_json::json;

    #[test]
    fn a_job_that_is_not_there_is_a_failure_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "{}").unwrap();
        let jobs = dir.path().join("jobs");
        for (jid, mode) in [("j1.2", "status"), ("j1.2", "cleanup"), ("../secret", "status"), ("../secret", "cleanup")]
        {
            let result = run(&AsyncStatus, json!({"jid": jid, "mode": mode, "_async_dir": jobs}));
            assert!(result.failed && result.msg() == "could not find job", "{jid}: {result:?}");
        }
        assert!(dir.path().join("secret").exists());
    }
}
