//! The job's side: a process of its own that runs one module and writes down what came of it.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::setsid;
use rustle_protocol::ModuleResult;

use super::file::JobFile;
use super::order::{Order, OwnBlob};
use super::{JOB_ARGUMENT, overdue};
use crate::module::{CancelReason, CancelToken, ModuleContext, NoOutput};
use crate::{modules, runner};

/// The line that says that the job's file stands.
pub(super) const STARTED: &str = "started";
/// What the line begins with that says why there is no job.
pub(super) const FAILED: &str = "failed: ";

/// If this process was started as a job it does its work now, and the code to end with is returned.
pub(crate) fn serve_if_job() -> Option<ExitCode> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != JOB_ARGUMENT) {
        return None;
    }
    let mut stdout = std::io::stdout();
    Some(match begin() {
        Ok(job) => {
            // Whoever started it may be gone: the job is there all the same.
            let _ = writeln!(stdout, "{STARTED}");
            job.run();
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(stdout, "{FAILED}{why}");
            ExitCode::FAILURE
        }
    })
}

struct Job {
    order: Order,
    blob: OwnBlob,
    file: JobFile,
    cancel: CancelToken,
}

fn begin() -> Result<Job, String> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err("this is for an agent's own use, when a task is to go on in the background".to_owned());
    }
    let cannot = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    let order = Order::read(&mut stdin).map_err(|error| cannot("read a job's work", &error))?;
    let blob = OwnBlob::receive(order.blob, &mut stdin).map_err(|error| cannot("receive a job's file", &error))?;
    // Not a member of the call's process group any more, which ends with the call.
    setsid().map_err(|error| cannot("begin a session of its own for a job", &error))?;
    let cancel = CancelToken::new().map_err(|error| cannot("start a job", &error))?;
    let file = JobFile::new(Path::new(&order.directory), &order.id);
    file.begin(&order.id).map_err(|error| cannot(&format!("write {}", file.path().display()), &error))?;
    Ok(Job { order, blob, file, cancel })
}

impl Job {
    fn run(self) {
        let (over, heard) = channel::<()>();
        let job = &self;
        let result = std::thread::scope(|threads| {
            threads.spawn(move || job.watch(&heard));
            let result = self.perform();
            drop(over);
            result
        });
        let is_late = self.cancel.reason() == Some(CancelReason::TimedOut) && result.failed;
        self.end(if is_late { self.too_late() } else { result });
    }

    fn perform(&self) -> ModuleResult {
        let Some(module) = modules::find(&self.order.module) else {
            return ModuleResult::failed(format!("there is no module `{}`", self.order.module));
        };
        // What the module leaves behind is found and ended as long as this process stands above it.
        let _ = crate::process::become_subreaper();
        let cx = ModuleContext {
            check: self.order.check,
            diff: self.order.diff,
            verbosity: self.order.verbosity,
            environment: &self.order.environment,
            output: &NoOutput,
            blobs: &self.blob,
            cancel: &self.cancel,
        };
        runner::run_caught(module, self.order.args.0.clone(), &cx)
    }

    /// Stops the module when its time is up, and ends the process if it does not stop.
    fn watch(&self, over: &Receiver<()>) {
        let limit = Duration::from_secs(self.order.limit_seconds.into());
        if over.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        self.cancel.cancel(CancelReason::TimedOut);
        if over.recv_timeout(runner::STOP_WAIT) == Err(RecvTimeoutError::Timeout) {
            self.end(self.too_late());
            // Its thread hangs, in the kernel say, and cannot be ended by itself; nothing else runs in this process.
            std::process::exit(1);
        }
    }

    fn too_late(&self) -> ModuleResult {
        ModuleResult::failed(overdue(self.order.limit_seconds.into())).with("timedout", true)
    }

    fn end(&self, result: ModuleResult) {
        // Nobody hears it: who asks for the job finds that it has not finished, which is not known to be wrong.
        let _ = self.file.end(result);
    }
}
