//! `async` and `poll`: a module that runs as a job of the host, and how it is waited for.

use std::time::Duration;

use rustle_agent::background::{DIRECTORY, MODULE, overdue};
use rustle_protocol::{Map, ModuleResult, Value};

use super::call_key::CALLS_MAX;
use super::context::ExecutionContext;
use super::error::Stop;
use super::module::ModuleExecutor;
use super::result::with_lines;
use crate::event::{FailedIn, JobState};

/// The module that tells how a job stands.
const STATUS: &str = "ansible.builtin.async_status";
/// Ansible's variables for the directory of jobs, of a host and of this process or a task.
const DIRECTORY_NAMES: [&str; 2] = ["ansible_async_dir", "ANSIBLE_ASYNC_DIR"];
/// The pause before the first look at a job; each further one is twice as long, up to `poll`.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// More than the looks between the first and a `poll` of a month, with starting and cleaning up.
const FIRST_LOOKS_MAX: u32 = 64;

/// `async` and `poll` of a task, as they are on one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct InBackground {
    /// In whole seconds, at least one.
    pub(super) limit: Duration,
    /// Zero: the job is left to itself.
    pub(super) poll: Duration,
}

/// What the first call of a module is wrapped into.
#[derive(Clone, Debug)]
pub(super) struct JobOrder {
    limit_seconds: u32,
    directory: String,
}

impl JobOrder {
    /// The call that starts `module` as a job.
    pub(super) fn wrap(&self, module: &str, args: Map) -> (&'static str, Map) {
        let wrapped: [(&str, Value); 4] = [
            ("_module", module.into()),
            ("_limit", i64::from(self.limit_seconds).into()),
            ("_async_dir", self.directory.as_str().into()),
            ("args", Value::Map(args)),
        ];
        (MODULE, wrapped.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

/// The directory of jobs on the target.
///
/// # Errors
/// The variable that names it has no value.
pub(crate) fn directory(cx: &ExecutionContext<'_>) -> Result<String, String> {
    let [of_host, of_environment] = DIRECTORY_NAMES;
    if let Some((_, directory)) = cx.settings.environment.iter().find(|(name, _)| name == of_environment) {
        return Ok(directory.clone());
    }
    if cx.target_scope.contains(of_host) {
        let directory = cx.target_scope.get(of_host).map_err(|error| format!("{of_host}: {error}"))?;
        return Ok(rustle_agent::module::shown(&directory));
    }
    Ok(std::env::var(of_environment).unwrap_or_else(|_| DIRECTORY.to_owned()))
}

/// Runs `module` as a job, and waits for it if the task says so.
///
/// # Errors
/// As [`ExecutionContext::call`]. A job that runs too long is a failed result.
pub(super) async fn run(
    module: &dyn ModuleExecutor,
    args: Map,
    cx: &mut ExecutionContext<'_>,
    background: InBackground,
) -> Result<ModuleResult, Stop> {
    let directory = match directory(cx) {
        Ok(directory) => directory,
        Err(message) => return Ok(ModuleResult::failed(message)),
    };
    let limit_seconds = u32::try_from(background.limit.as_secs()).unwrap_or(u32::MAX);
    cx.job = Some(JobOrder { limit_seconds, directory: directory.clone() });
    let started = module.execute(args, cx).await?;
    // One whose arguments failed before it came to a call.
    let never_began = cx.job.take().is_some();
    if never_began || started.failed || background.poll.is_zero() {
        return Ok(started);
    }
    let Some(job) = started.get("ansible_job_id").and_then(Value::as_str).map(str::to_owned) else {
        return Ok(started);
    };
    wait(&Job { id: job, directory }, cx, background).await
}

struct Job {
    id: String,
    directory: String,
}

impl Job {
    async fn look(&self, mode: &str, cx: &mut ExecutionContext<'_>) -> Result<ModuleResult, Stop> {
        let args: [(&str, Value); 3] =
            [("jid", self.id.as_str().into()), ("mode", mode.into()), ("_async_dir", self.directory.as_str().into())];
        cx.call(STATUS, args.map(|(name, value)| (name.to_owned(), value)).into()).await
    }
}

/// Looks until the job is over or its time is, and takes the file of one that is over away. `poll` is how often it is told
/// that the job runs; at first it is looked at more often, so that a short job costs no whole `poll`.
async fn wait(job: &Job, cx: &mut ExecutionContext<'_>, background: InBackground) -> Result<ModuleResult, Stop> {
    let mut looks = Looks::new(background);
    let mut last = None;
    while let Some(pause) = looks.next() {
        cx.pause(pause).await?;
        let status = job.look("status", cx).await?;
        // A job that was ended for its time says so itself, sooner or later than we are through.
        let is_over = is_true(&status, "finished") && !is_true(&status, "timedout");
        if is_over {
            cx.watcher.polled(&job.id, if status.failed { JobState::Failed } else { JobState::Succeeded });
            job.look("cleanup", cx).await?;
            return Ok(status);
        }
        if looks.is_told() {
            cx.watcher.polled(&job.id, JobState::Running);
        }
        last = Some(status);
    }
    cx.watcher.polled(&job.id, JobState::Failed);
    // Whatever the last look saw, it is here that the time is found to be over.
    cx.failed_in = Some(FailedIn::Action);
    Ok(too_late(last.unwrap_or_default(), background.limit))
}

/// When a job is looked at.
#[derive(Debug)]
struct Looks {
    poll: Duration,
    /// The time that as many whole `poll`s take as reach the limit.
    until: Duration,
    now: Duration,
    /// Since the last whole `poll`.
    since_poll: Duration,
    pause: Duration,
}

impl Looks {
    fn new(InBackground { limit, poll }: InBackground) -> Looks {
        // A task has a number of calls; starting, cleaning up and the first looks take some of them.
        let poll = poll.max(limit / (CALLS_MAX - FIRST_LOOKS_MAX));
        let polls = limit.as_nanos().div_ceil(poll.as_nanos().max(1));
        let until = poll.saturating_mul(u32::try_from(polls).unwrap_or(u32::MAX));
        Looks { poll, until, now: Duration::ZERO, since_poll: Duration::ZERO, pause: FIRST_LOOK }
    }

    /// How long to wait for the next one; none once the time is over.
    fn next(&mut self) -> Option<Duration> {
        if self.now >= self.until {
            return None;
        }
        let pause = self.pause.min(self.poll - self.since_poll);
        self.pause = self.pause.saturating_mul(2);
        self.now += pause;
        self.since_poll += pause;
        if self.since_poll >= self.poll {
            self.since_poll = Duration::ZERO;
        }
        Some(pause)
    }

    /// Whether a whole number of `poll`s has passed.
    fn is_told(&self) -> bool {
        self.since_poll.is_zero()
    }
}

/// As Ansible words it, with what was seen last.
fn too_late(last: ModuleResult, limit: Duration) -> ModuleResult {
    let mut seen = with_lines(last.values());
    // Whether the job has been ended by now is chance.
    seen.retain(|name, _| !matches!(name.as_str(), "msg" | "timedout"));
    seen.insert("finished".to_owned(), false.into());
    ModuleResult::failed(overdue(limit.as_secs())).with("async_result", Value::Map(seen))
}

fn is_true(result: &ModuleResult, name: &str) -> bool {
    result.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(limit_s: u64, poll_s: u64) -> Vec<(u64, bool)> {
        let seconds = Duration::from_secs;
        let mut looks = Looks::new(InBackground { limit: seconds(limit_s), poll: seconds(poll_s) });
        let mut all = Vec::new();
        while looks.next().is_some() {
            all.push((u64::try_from(looks.now.as_millis()).unwrap(), looks.is_told()));
        }
        all
    }

    #[test]
    fn a_job_is_looked_at_soon_and_then_at_each_poll() {
        assert_eq!(looks(4, 2), [(100, false), (300, false), (700, false), (1500, false), (2000, true), (4000, true)]);
        assert_eq!(looks(1, 3).last(), Some(&(3000, true)), "the last look comes after the limit, as in Ansible");
    }

    #[test]
    fn a_task_has_calls_enough_for_every_look() {
        for (limit, poll) in [(10 * 24 * 3600, 1), (31 * 24 * 3600, 31 * 24 * 3600), (u32::MAX.into(), 1)] {
            assert!(looks(limit, poll).len() + 2 <= CALLS_MAX as usize, "{limit} {poll}");
        }
    }
}
