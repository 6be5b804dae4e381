//! What a module's executor has to work with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustle_protocol::message::{Become, Call, CallOutcome, OutputStream};
use rustle_protocol::value::{Map, WireMap};
use rustle_protocol::{CallKey, HostName, ModuleResult};

use super::background::JobOrder;
use super::call_key::{CALLS_MAX, TryKey};
use super::error::Stop;
use super::links::{Links, Way};
use super::module::Registry;
use crate::dispatch::session::{refusal_of, refused};
use crate::dispatch::{Blobs, CallListener, Cancel, HostLink, LinkError};
use crate::event::{FailedIn, JobState};
use crate::fault::Fault;
use crate::plan::CallOrigins;
use crate::plan::{FileSearch, Fragments, RoleInfo};
use crate::template::{Conditionals, Templar, Untrusted};
use crate::vars::{Learnt, Scope, VarStore};

/// One task, one host, one item of its loop.
pub struct ExecutionContext<'a> {
    /// The host whose task it is.
    pub host: &'a HostName,
    /// Where calls go: the host, or the one the task is delegated to.
    pub target: &'a HostName,
    pub(super) way: &'a Way,
    pub scope: &'a Scope,
    /// Variables of the host where calls go.
    pub target_scope: &'a Scope,
    /// What is known of all hosts.
    pub vars: &'a VarStore,
    pub templar: &'a Templar,
    /// Files the run sends.
    pub blobs: &'a Blobs,
    pub files: &'a FileSearch,
    /// Reads what authors keep in files; none where nothing can be included.
    pub fragments: Option<&'a dyn Fragments>,
    /// The role that the task is of.
    pub role: Option<&'a RoleInfo>,
    pub settings: &'a CallSettings,
    pub(super) key: TryKey,
    /// Calls made so far.
    pub(super) calls: u32,
    pub(super) links: &'a dyn Links,
    pub(super) registry: &'a Registry,
    /// An earlier controller may have made the same calls.
    pub(super) is_repeated: bool,
    pub(super) cancel: &'a Cancel,
    pub(super) watcher: &'a (dyn CallWatcher + 'a),
    pub(super) taught: &'a Mutex<Vec<Learnt>>,
    /// The next call is to go on in the background.
    pub(super) job: Option<JobOrder>,
    /// Where what fails now fails, if not where the module itself works: on the host, if the last call failed there.
    pub(crate) failed_in: Option<FailedIn>,
    /// Where the task's call of its module stands.
    pub(crate) origins: Option<&'a CallOrigins>,
    /// Why it fails before its work, if it does.
    pub(super) fault: Mutex<Option<Fault>>,
}

/// How a task's calls are to be run.
#[derive(Clone, Debug, Default)]
pub struct CallSettings {
    pub check: bool,
    pub diff: bool,
    pub verbosity: u8,
    pub conditionals: Conditionals,
    pub untrusted: Untrusted,
    pub timeout: Option<Duration>,
    pub no_log: bool,
    pub live_output: bool,
    pub environment: Vec<(String, String)>,
    pub become_user: Option<Become>,
}

/// Hears what happens while a call runs.
pub trait CallWatcher: Send + Sync {
    fn started(&self);
    fn output(&self, stream: OutputStream, bytes: Vec<u8>);
    /// A call that broke off is not to be asked for again: the next try of the task is another run of its module.
    fn is_not_resumed(&self);
    /// The host is waited for, or is there again: what passes meanwhile is not the task's time.
    fn waits(&self, waits: bool);
    /// A job of the host was looked at.
    fn polled(&self, job: &str, state: JobState);
    /// The result of a call has come from `host`. `link` says whether somebody there keeps it until it is acknowledged.
    fn told(&self, host: &HostName, key: CallKey, link: &dyn HostLink);
}

impl ExecutionContext<'_> {
    /// Runs one module on the target.
    ///
    /// # Errors
    /// See [`Stop`]. A failed module is `Ok`.
    pub async fn call(&mut self, module: &str, args: Map) -> Result<ModuleResult, Stop> {
        let (module, args) = match self.job.take() {
            Some(job) => job.wrap(module, args),
            None => (module, args),
        };
        let key = self.next_key()?;
        let link = self.link().await?;
        if self.is_repeated && link.is_local() && !is_idempotent(module) {
            return ended(CallOutcome::Interrupted, false);
        }
        let call = call(key, module, args, self.settings);
        let mut listener = OneCall { watcher: self.watcher, outcome: None };
        link.run(vec![call], &mut listener, self.cancel).await?;
        let outcome =
            listener.outcome.ok_or_else(|| LinkError::transient("the host ended the task without a result"))?;
        self.watcher.told(self.target, key, &*link);
        let repeatable = is_idempotent(module);
        self.noted(ended(outcome, repeatable))
    }

    fn noted(&mut self, ended: Result<ModuleResult, Stop>) -> Result<ModuleResult, Stop> {
        let has_failed = ended.as_ref().is_ok_and(|result| result.failed);
        self.failed_in = has_failed.then_some(FailedIn::Module);
        ended
    }

    /// Lets the run know something once the task has come out well. Only the controller's own actions can: what a host
    /// answers says for itself what its facts are.
    pub(crate) fn teach(&self, what: Learnt) {
        self.taught.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// The result of a task that fails before its work.
    pub(crate) fn failed_before_work(&self, fault: Fault) -> ModuleResult {
        let result = ModuleResult::failed(fault.to_string());
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        result
    }

    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs another module in the place of this one, whoever does its work.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn perform(&mut self, module: &str, args: Map) -> Result<ModuleResult, Stop> {
        match self.registry.find(module) {
            Some(found) => found.execute(args, self).await,
            None => Ok(ModuleResult::failed(format!("there is no module `{module}`"))),
        }
    }

    /// The way to the target. One that another run holds, or that is away, may be waited for.
    async fn link(&self) -> Result<Arc<dyn HostLink>, Stop> {
        self.watcher.waits(true);
        let link = tokio::select! {
            link = self.links.link_by(self.target, self.way) => link.map_err(Stop::from),
            () = self.cancel.cancelled() => Err(Stop::Cancelled(Box::new(ModuleResult::failed("not started")))),
        };
        self.watcher.waits(false);
        link
    }

    fn next_key(&mut self) -> Result<CallKey, LinkError> {
        let key = self.key.call(self.calls).ok_or_else(too_many_calls)?;
        self.calls += 1;
        Ok(key)
    }

    /// Whether an earlier controller may have made the same calls: then their results may be told again, and only those.
    pub fn may_be_told_again(&self) -> bool {
        self.is_repeated
    }

    /// Waits for `time`.
    ///
    /// # Errors
    /// The run is being stopped.
    pub async fn pause(&self, time: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancel.cancelled() => Err(Stop::Cancelled(Box::new(ModuleResult::failed("cancelled while it waited")))),
        }
    }

    /// Waits for `work` unless the run is being stopped.
    ///
    /// # Errors
    /// The run is being stopped.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            done = work => Ok(done),
            () = self.cancel.cancelled() => Err(Stop::Cancelled(Box::new(ModuleResult::failed("cancelled while it waited")))),
        }
    }

    /// Tells those who watch the run something that the task has to say.
    pub(crate) fn say(&self, stream: OutputStream, text: &str) {
        self.watcher.output(stream, text.as_bytes().to_vec());
    }

    /// Whether the target is this very machine, without an agent.
    ///
    /// # Errors
    /// The target cannot be reached.
    pub async fn is_local(&self) -> Result<bool, Stop> {
        Ok(self.link().await?.is_local())
    }

    /// Runs one module on the target and gives what it writes out to `take`, piece by piece, and to nobody else: content, not
    /// something to be read. `take` may block for as long as a disk does.
    ///
    /// # Errors
    /// As [`call`](Self::call). What has been taken until then stands.
    pub async fn receive(
        &mut self,
        module: &str,
        args: Map,
        take: &mut (dyn FnMut(Vec<u8>) + Send),
    ) -> Result<ModuleResult, Stop> {
        let link = self.link().await?;
        let key = self.next_key()?;
        let mut call = call(key, module, args, self.settings);
        call.live_output = true;
        self.watcher.started();
        let mut listener = Receiver { watcher: self.watcher, take, outcome: None };
        let ran = link.run(vec![call], &mut listener, self.cancel).await;
        // The next try begins with an empty file, and must not be told the rest.
        ran.inspect_err(|_| self.watcher.is_not_resumed())?;
        let outcome =
            listener.outcome.ok_or_else(|| LinkError::transient("the host ended the task without a result"))?;
        self.watcher.told(self.target, key, &*link);
        self.noted(ended(outcome, true))
    }
}

/// Takes a call's output in the place of those who watch the run.
struct Receiver<'a> {
    watcher: &'a dyn CallWatcher,
    take: &'a mut (dyn FnMut(Vec<u8>) + Send),
    outcome: Option<CallOutcome>,
}

impl CallListener for Receiver<'_> {
    fn started(&mut self, _call: usize) {}

    fn output(&mut self, _call: usize, _stream: OutputStream, bytes: Vec<u8>) {
        (self.take)(bytes);
    }

    fn ended(&mut self, _call: usize, outcome: CallOutcome, _elapsed: Duration) {
        self.outcome = Some(outcome);
    }

    fn waits(&mut self, waits: bool) {
        self.watcher.waits(waits);
    }

    /// What a module wrote while nobody listened may be lost, and content must be whole.
    fn goes_on(&self) -> bool {
        false
    }
}

/// Whether the agent's module says that a second run after a first half ends in the same state.
pub(super) fn is_idempotent(module: &str) -> bool {
    rustle_agent::modules::find(module).is_some_and(|module| module.is_idempotent())
}

/// The message for one call.
pub(super) fn call(key: CallKey, module: &str, args: Map, settings: &CallSettings) -> Call {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Call {
        key,
        module: module.to_owned(),
        args: WireMap(args),
        check: settings.check,
        diff: settings.diff,
        timeout_ms: settings.timeout.map_or(0, millis),
        live_output: settings.live_output,
        no_log: settings.no_log,
        ignore_failure: false,
        environment: settings.environment.clone(),
        become_user: settings.become_user.clone(),
        verbosity: settings.verbosity,
    }
}

fn too_many_calls() -> LinkError {
    LinkError::lasting(format!("the task makes more than {CALLS_MAX} calls on the host"))
}

/// `repeatable`: the module may be run again when nobody knows how far it came.
///
/// # Errors
/// Every outcome but the module's own end.
pub(super) fn ended(outcome: CallOutcome, repeatable: bool) -> Result<ModuleResult, Stop> {
    if let Some(refused) = refusal_of(&outcome) {
        return Err(refused.into());
    }
    match outcome {
        CallOutcome::Finished(result) => Ok(result),
        CallOutcome::TimedOut(result) => Err(Stop::TimedOut(Box::new(result))),
        CallOutcome::Cancelled(result) => Err(Stop::Cancelled(Box::new(result))),
        CallOutcome::NotRun => Err(Stop::Cancelled(Box::new(ModuleResult::failed("not started")))),
        CallOutcome::Refused(refusal) => Ok(ModuleResult::failed(refused(&refusal).message)),
        CallOutcome::Interrupted | CallOutcome::Rebooted if repeatable => Err(Stop::Interrupted),
        CallOutcome::Interrupted => Ok(unknown("the agent died while the task ran, or the host did")),
        CallOutcome::Rebooted => Ok(unknown("the host was rebooted while the task ran").with("rebooted", true)),
    }
}

fn unknown(why: &str) -> ModuleResult {
    ModuleResult::failed(format!(
        "{why}: whether the task ran to its end, half or hardly at all is unknown. It was not run again, for it may do harm \
         twice. Processes of it that were left have been ended. Look at what it was to change before running it again"
    ))
}

struct OneCall<'a> {
    watcher: &'a dyn CallWatcher,
    outcome: Option<CallOutcome>,
}

impl CallListener for OneCall<'_> {
    fn started(&mut self, _call: usize) {
        self.watcher.started();
    }

    fn output(&mut self, _call: usize, stream: OutputStream, bytes: Vec<u8>) {
        self.watcher.output(stream, bytes);
    }

    fn ended(&mut self, _call: usize, outcome: CallOutcome, _elapsed: Duration) {
        self.outcome = Some(outcome);
    }

    fn waits(&mut self, waits: bool) {
        self.watcher.waits(waits);
    }
}

impl std::fmt::Debug for ExecutionContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutionContext").field("target", &self.target).field("key", &self.key).finish_non_exhaustive()
    }
}
