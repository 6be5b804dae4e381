//! The helper's side: a process of its own that becomes the user, runs one module, and tells what it did.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, Stdin, Stdout, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{Access, Mode, access};
use rustix::process::{Gid, Uid, chdir, geteuid, umask};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustle_protocol::ModuleResult;
use rustle_protocol::frame::{self, FrameBuffer};
use rustle_protocol::helper::{Account, FromHelper, MAGIC, Ready, ToHelper};
use rustle_protocol::message::{BlobId, Call, OutputStream};

use super::HELPER_ARGUMENT;
use crate::module::{BlobSource, CancelReason, CancelToken, Doing, ModuleContext, ModuleError, OutputSink};
use crate::server::SOFTWARE;
use crate::{modules, runner};

/// Parts of a blob between the thread that reads and the one that writes them to a file.
const BLOB_PARTS_MAX: usize = 4;
/// One read.
const READ_BYTES: usize = 64 * 1024;
/// Bits no file of a task is made with, unless the task says so: sudo's default.
const UMASK: u32 = 0o022;

/// This program's file, once [`serve_if_helper`] has said that it is no helper.
static PROGRAM: OnceLock<OsString> = OnceLock::new();

/// To be called first in `main`: if this process was started as a helper or as a job it does its work now, and the code to
/// end with is returned. Otherwise this program can be started as a helper from now on; one that never calls this can
/// neither become other users nor start jobs.
pub fn serve_if_helper() -> Option<ExitCode> {
    if let Some(code) = crate::background::serve_if_job() {
        return Some(code);
    }
    if std::env::args_os().nth(1).is_none_or(|argument| argument != HELPER_ARGUMENT) {
        if let Ok(program) = std::env::current_exe() {
            let _ = PROGRAM.set(program.into());
        }
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The agent shows what stands on standard error; if it is gone, nobody is left to be told.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    })
}

/// The program to start as a helper.
///
/// # Errors
/// This program does not know how to be one.
pub(super) fn program() -> Result<OsString, ModuleError> {
    PROGRAM.get().cloned().ok_or_else(|| {
        ModuleError::new(
            "this program cannot become another user: its main function does not call \
             rustle_agent::run_as::serve_if_helper first",
        )
    })
}

fn serve() -> Result<(), String> {
    let mut requests = Requests { stdin: std::io::stdin(), frames: FrameBuffer::default() };
    if requests.stdin.is_terminal() {
        return Err("this is for an agent's own use, when a task becomes another user".to_owned());
    }
    let events = Events(Mutex::new(std::io::stdout()));
    events.open().map_err(|error| format!("the agent does not listen: {error}"))?;
    let Some(ToHelper::Begin { call, account, switch }) = requests.next() else {
        return Err("the agent gave no work".to_owned());
    };
    let result = match settle(&account, switch) {
        Ok(()) => work(call, requests, &events),
        Err(error) => ModuleResult::failed(format!("cannot become `{}`: {error}", account.name)),
    };
    events.end(result);
    Ok(())
}

/// Becomes the user, whole: groups first, while there is the right to, and the user last.
fn settle(account: &Account, switch: bool) -> Result<(), String> {
    if switch {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        let groups: Vec<Gid> = account.groups.iter().copied().map(Gid::from_raw).collect();
        // Of this thread, which is the only one: those that come are born with the same credentials.
        set_thread_groups(&groups).map_err(|error| format!("set its groups: {error}"))?;
        set_thread_res_gid(gid, gid, gid).map_err(|error| format!("set its group: {error}"))?;
        set_thread_res_uid(uid, uid, uid).map_err(|error| format!("set its user: {error}"))?;
        umask(umask(Mode::empty()) | Mode::from_raw_mode(UMASK));
    }
    if geteuid().as_raw() != account.uid {
        return Err(format!("this process runs as uid {} and not {}", geteuid(), account.uid));
    }
    // As sudo, it stays where it was started, if the user may be there.
    if access(".", Access::READ_OK | Access::EXEC_OK).is_err() && chdir(&account.home).is_err() {
        chdir("/").map_err(|error| format!("enter /: {error}"))?;
    }
    Ok(())
}

fn work(call: Box<Call>, requests: Requests, events: &Events) -> ModuleResult {
    match try_work(call, requests, events) {
        Ok(result) => result,
        Err(error) => ModuleResult::failed(error),
    }
}

fn try_work(call: Box<Call>, requests: Requests, events: &Events) -> Result<ModuleResult, String> {
    let module = modules::find(&call.module).ok_or_else(|| format!("there is no module `{}`", call.module))?;
    let cancel = CancelToken::new().map_err(|error| format!("cannot start: {error}"))?;
    // What the task leaves behind is found by the agent as long as this process stands above it.
    let _ = crate::process::become_subreaper();
    let incoming = Arc::new(Incoming { cancel: cancel.clone(), parts: Mutex::default() });
    std::thread::spawn({
        let incoming = Arc::clone(&incoming);
        move || incoming.read(requests)
    });
    let Call { args, check, diff, verbosity, environment, live_output, .. } = *call;
    let output = Live { events: live_output.then_some(events) };
    let blobs = Blobs { events, incoming: &incoming };
    let cx = ModuleContext {
        check,
        diff,
        verbosity,
        environment: &environment,
        output: &output,
        blobs: &blobs,
        cancel: &cancel,
    };
    Ok(runner::run_caught(module, args.0, &cx))
}

/// What the agent says.
struct Requests {
    stdin: Stdin,
    frames: FrameBuffer,
}

impl Requests {
    /// `None` once the agent is gone, or talks nonsense, which comes to the same.
    fn next(&mut self) -> Option<ToHelper> {
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some(message) = self.frames.take().ok()? {
                return Some(message);
            }
            match self.stdin.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(len) => self.frames.feed(&buffer[..len]),
            }
        }
    }
}

/// Bytes of a blob, or why there are no more.
type Part = Result<Vec<u8>, String>;

/// Between the thread that hears the agent and the module.
struct Incoming {
    cancel: CancelToken,
    /// Takes the blob that the module waits for.
    parts: Mutex<Option<SyncSender<Part>>>,
}

impl Incoming {
    /// Reads until the agent is gone, which stops the module.
    fn read(&self, mut requests: Requests) {
        loop {
            match requests.next() {
                Some(ToHelper::BlobPart(bytes)) => self.pass(Ok(bytes)),
                Some(ToHelper::BlobFailed(error)) => self.pass(Err(error)),
                Some(ToHelper::BlobEnd) => self.expect(None),
                Some(ToHelper::Stop { timed_out: true }) => self.stop(CancelReason::TimedOut),
                Some(ToHelper::Stop { timed_out: false }) => self.stop(CancelReason::Requested),
                Some(ToHelper::Begin { .. }) | None => return self.stop(CancelReason::Requested),
            }
        }
    }

    fn stop(&self, reason: CancelReason) {
        self.cancel.cancel(reason);
        self.expect(None);
    }

    fn expect(&self, parts: Option<SyncSender<Part>>) {
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    }

    /// A module that waits no more has let go of the other end.
    fn pass(&self, part: Part) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(parts) = parts {
            let _ = parts.send(part);
        }
    }
}

/// Fetches blobs from the agent, which has verified them.
struct Blobs<'a> {
    events: &'a Events,
    incoming: &'a Incoming,
}

impl BlobSource for Blobs<'_> {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        let (sender, parts) = sync_channel(BLOB_PARTS_MAX);
        self.incoming.expect(Some(sender));
        let lost = || ModuleError::new("the agent is gone");
        self.events.send(&FromHelper::BlobWanted(blob)).map_err(|_| lost())?;
        let file = store(&parts, blob);
        if self.incoming.cancel.is_cancelled() {
            return Err(ModuleError::new("cancelled while a file was fetched"));
        }
        file
    }
}

/// Puts what comes into a file without a name.
fn store(parts: &Receiver<Part>, blob: BlobId) -> Result<File, ModuleError> {
    let dir = std::env::temp_dir();
    let what = || format!("keep a received file in {}", dir.display());
    let mut file = tempfile::tempfile_in(&dir).doing(what)?;
    let mut size = 0;
    for part in parts {
        let bytes = part.map_err(ModuleError::new)?;
        file.write_all(&bytes).doing(what)?;
        size += bytes.len() as u64;
    }
    if size != blob.size {
        return Err(ModuleError::new(format!("a received file has {size} bytes and not {}", blob.size)));
    }
    file.rewind().doing(what)?;
    Ok(file)
}

/// What the agent is told.
struct Events(Mutex<Stdout>);

impl Events {
    fn open(&self) -> std::io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        let ready = Ready { software: SOFTWARE.to_owned(), uid: geteuid().as_raw() };
        frame::push(&mut bytes, &ready).map_err(std::io::Error::other)?;
        self.write(&bytes)
    }

    fn send(&self, event: &FromHelper) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, event).map_err(std::io::Error::other)?;
        self.write(&bytes)
    }

    /// A result that is too large is one all the same.
    fn end(&self, result: ModuleResult) {
        if let Err(error) = self.send(&FromHelper::Ended(result)) {
            let message = format!("the task ended, but its result cannot be sent: {error}");
            // An agent that is gone hears nothing.
            let _ = self.send(&FromHelper::Ended(ModuleResult::failed(message)));
        }
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut stdout = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

/// Sends output on as it is written.
struct Live<'a> {
    events: Option<&'a Events>,
}

impl OutputSink for Live<'_> {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        if let Some(events) = self.events {
            // An agent that is gone hears nothing; the result keeps the output all the same.
            let _ = events.send(&FromHelper::Output { stream, bytes: bytes.to_vec() });
        }
    }
}
