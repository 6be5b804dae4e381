//! Runs calls: admits them, gives each a thread, a deadline and a way to be stopped, and turns whatever becomes of the
//! module — a result, a failure, a panic, silence — into an outcome.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rustle_protocol::message::{Call, CallEvent, CallOutcome, OutputStream, Refusal, RefusalCode};
use rustle_protocol::{CallKey, Map, ModuleResult};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};

use crate::module::{AnyModule, BlobSource, CancelReason, CancelToken, ModuleContext, OutputSink};
use crate::policy::Policy;
use crate::{modules, run_as, thread_folder};

/// How long a module that was told to stop may take to do so before it is given up on: the processes it started get
/// [`crate::process::KILL_GRACE`] to end, and this is longer.
pub const STOP_WAIT: Duration = Duration::from_secs(15);

/// Events a call may have waiting to be sent. Beyond it the module waits: that is the back-pressure on its output.
pub const EVENTS_MAX: usize = 8;

/// Takes calls from any number of connections.
#[derive(Debug)]
pub struct Runner {
    policy: Policy,
    slots: Arc<Semaphore>,
    calls_max: u32,
    running: DashMap<CallKey, CancelToken>,
    /// Where relative paths and programs begin; `None`: where this process is.
    folder: Option<Arc<Path>>,
}

/// Where a call's events go and its files come from.
#[derive(Clone)]
pub struct CallIo {
    pub events: mpsc::Sender<CallEvent>,
    pub blobs: Arc<dyn BlobSource + Send + Sync>,
}

/// A call that was admitted: it holds its slot until it is run or dropped.
pub struct Admitted {
    call: Box<Call>,
    module: &'static dyn AnyModule,
    _slot: OwnedSemaphorePermit,
}

impl Runner {
    /// `calls_max`: calls that run at once, over all controllers.
    pub fn new(policy: Policy, calls_max: u32) -> Runner {
        let slots = Arc::new(Semaphore::new(calls_max as usize));
        Runner { policy, slots, calls_max, running: DashMap::new(), folder: None }
    }

    /// The same, with modules that stand in `folder`. It must be there when a call is run.
    pub fn standing_in(self, folder: Arc<Path>) -> Runner {
        Runner { folder: Some(folder), ..self }
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn calls_max(&self) -> u32 {
        self.calls_max
    }

    /// Calls running now.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Stops every running call.
    pub fn cancel_all(&self) {
        self.running.iter().for_each(|entry| entry.value().cancel(CancelReason::Requested));
    }

    /// Whether this call may run here, now.
    ///
    /// # Errors
    /// The refusal to send: nothing was done.
    pub fn admit(&self, call: Box<Call>) -> Result<Admitted, Refusal> {
        self.policy.admit_call(&call)?;
        let module = modules::find(&call.module).ok_or_else(|| Refusal {
            code: RefusalCode::UnknownModule,
            message: format!("this agent has no module `{}`; it may be older than the controller", call.module),
        })?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Refusal {
            code: RefusalCode::Busy,
            message: format!("{} calls are running, which is this agent's limit", self.calls_max),
        })?;
        Ok(Admitted { call, module, _slot: slot })
    }

    /// Runs an admitted call to its end. Returns when the module has returned, or [`STOP_WAIT`] after it was told to
    /// stop and did not.
    ///
    /// # Cancel safety
    /// Dropped midway, the module goes on and its outcome is lost. Use `cancel`.
    pub async fn run(&self, admitted: Admitted, io: CallIo, cancel: &CancelToken) -> (CallOutcome, Duration) {
        let started = Instant::now();
        let key = admitted.call.key;
        match self.running.entry(key) {
            Entry::Occupied(_) => return (already_running(key), started.elapsed()),
            Entry::Vacant(place) => drop(place.insert(cancel.clone())),
        }
        let outcome = supervise(admitted, io, cancel, self.folder.clone()).await;
        self.running.remove(&key);
        (outcome, started.elapsed())
    }
}

fn already_running(key: CallKey) -> CallOutcome {
    CallOutcome::Refused(Refusal { code: RefusalCode::Busy, message: format!("call {key} is running already") })
}

/// Puts the module on its thread and waits for it, its deadline, or the word to stop.
async fn supervise(admitted: Admitted, io: CallIo, cancel: &CancelToken, folder: Option<Arc<Path>>) -> CallOutcome {
    let deadline = deadline(&admitted.call);
    let token = cancel.clone();
    // `io` comes back with the result: dropped on the module's thread, it would wake this one a second time.
    let mut module = tokio::task::spawn_blocking(move || {
        let ran = match folder {
            Some(folder) => run_module_in(&folder, admitted, &io, &token),
            None => run_module(admitted, &io, &token),
        };
        (ran, io)
    });
    let joined = tokio::select! {
        joined = &mut module => Some(joined),
        () = expire(deadline, cancel) => tokio::time::timeout(STOP_WAIT, &mut module).await.ok(),
    };
    match joined {
        Some(Ok((Ok(result), _io))) => outcome(result, cancel),
        Some(Ok((Err(refusal), _io))) => CallOutcome::Refused(refusal),
        // The panic itself was caught on the thread, so this is a runtime that is shutting down.
        Some(Err(error)) => outcome(ModuleResult::failed(format!("the module's thread was lost: {error}")), cancel),
        None => outcome(
            ModuleResult::failed(format!("the module did not stop within {} s of being told to", STOP_WAIT.as_secs())),
            cancel,
        ),
    }
}

fn deadline(call: &Call) -> Option<tokio::time::Instant> {
    (call.timeout_ms > 0).then(|| tokio::time::Instant::now() + Duration::from_millis(call.timeout_ms))
}

/// Ends when the call has been told to stop: by the clock, or by somebody else.
async fn expire(deadline: Option<tokio::time::Instant>, cancel: &CancelToken) {
    let timed_out = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = timed_out => cancel.cancel(CancelReason::TimedOut),
        () = cancel.cancelled() => {}
    }
}

/// # Errors
/// Nothing was done.
fn run_module_in(
    folder: &Path,
    admitted: Admitted,
    io: &CallIo,
    cancel: &CancelToken,
) -> Result<ModuleResult, Refusal> {
    let runtime = Handle::current();
    let ran = thread_folder::within(folder, || {
        let _entered = runtime.enter();
        run_module(admitted, io, cancel)
    });
    ran.unwrap_or_else(|error| {
        Ok(ModuleResult::failed(format!("cannot work in the folder {}: {error}", folder.display())))
    })
}

/// # Errors
/// Nothing was done.
fn run_module(admitted: Admitted, io: &CallIo, cancel: &CancelToken) -> Result<ModuleResult, Refusal> {
    let Admitted { mut call, module, _slot } = admitted;
    let become_user = call.become_user.take();
    let environment = call.environment.clone();
    let output = Live { events: call.live_output.then(|| io.events.clone()), cancel };
    let cx = ModuleContext {
        check: call.check,
        diff: call.diff,
        verbosity: call.verbosity,
        environment: &environment,
        output: &output,
        blobs: &*io.blobs,
        cancel,
    };
    match become_user.filter(|wanted| !run_as::is_own_user(&wanted.user)) {
        Some(wanted) => run_as::run(&wanted, call, &cx),
        None => Ok(run_caught(module, call.args.0, &cx)),
    }
}

/// Runs a module; a panic in it is its failure.
pub(crate) fn run_caught(module: &dyn AnyModule, args: Map, cx: &ModuleContext<'_>) -> ModuleResult {
    std::panic::catch_unwind(AssertUnwindSafe(|| module.run(args, cx))).unwrap_or_else(|panic| panicked(&*panic))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> ModuleResult {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ModuleResult::failed(format!(
        "Task failed: Module failed: {}; this is a bug in the module, and what it had done until then stays done",
        said.unwrap_or("it did not say why"),
    ))
}

/// A failure after the word to stop is the stopping's; a success before it took hold is a success.
fn outcome(result: ModuleResult, cancel: &CancelToken) -> CallOutcome {
    match cancel.reason() {
        Some(CancelReason::TimedOut) if result.failed => CallOutcome::TimedOut(result),
        Some(CancelReason::Requested) if result.failed => CallOutcome::Cancelled(result),
        _ => CallOutcome::Finished(result),
    }
}

/// Sends output on as it is written.
struct Live<'a> {
    events: Option<mpsc::Sender<CallEvent>>,
    cancel: &'a CancelToken,
}

impl OutputSink for Live<'_> {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        if let Some(events) = &self.events {
            // Not sent means that nobody listens any more; the result keeps the output all the same.
            send_unless_cancelled(events, CallEvent::Output { stream, bytes: bytes.to_vec() }, self.cancel);
        }
    }
}

/// Sends an event from a module's thread. Waits for room as long as the call is not cancelled: a controller that does not
/// read must not keep a module from hearing that its time is up. True if it was sent.
pub(crate) fn send_unless_cancelled(events: &mpsc::Sender<CallEvent>, event: CallEvent, cancel: &CancelToken) -> bool {
    let event = match events.try_send(event) {
        Ok(()) => return true,
        Err(TrySendError::Closed(_)) => return false,
        Err(TrySendError::Full(event)) => event,
    };
    Handle::current().block_on(async {
        tokio::select! {
            biased;
            sent = events.send(event) => sent.is_ok(),
            () = cancel.cancelled() => false,
        }
    })
}

/// Waits until nothing runs, at most `limit`.
pub async fn drained(runner: &Runner, limit: Duration) -> bool {
    /// How often to look: a shutdown that waits for minutes need not be exact.
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let until = tokio::time::Instant::now() + limit;
    while runner.running() > 0 {
        if tokio::time::Instant::now() >= until {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admitted").field("key", &self.call.key).field("module", &self.module.name()).finish()
    }
}

impl std::fmt::Debug for CallIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallIo").finish_non_exhaustive()
    }
}
