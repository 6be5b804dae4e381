//! The agent's side: starts a helper, gives it the work, and passes between it and the call whatever there is to pass.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitId, pidfd_open};
use rustix::time::Timespec;
use rustle_protocol::frame::{self, FrameBuffer};
use rustle_protocol::helper::{BLOB_PART_BYTES, FromHelper, MAGIC, Ready, ToHelper};
use rustle_protocol::message::BlobId;
use rustle_protocol::{ModuleResult, Password};

use super::launch::Launch;
use super::prompt::Listener;
use crate::module::{CancelReason, ModuleContext, ModuleError};
use crate::process::{Capture, Group, KILL_GRACE, Supervised, has_ended};
use crate::server::SOFTWARE;

/// How long a helper that was told to stop may take to say what came of it: its own programs get [`KILL_GRACE`] to end.
const STOP_WAIT: Duration = KILL_GRACE.saturating_add(Duration::from_secs(3));
/// What a helper that has said its last word gets to end by itself.
const END_WAIT: Duration = Duration::from_secs(2);
/// From SIGTERM to SIGKILL, for one that does not.
const END_GRACE: Duration = Duration::from_millis(500);
/// What programs on the way to the helper may print before its first word.
const NOISE_BYTES_MAX: usize = 64 * 1024;
/// One read.
const READ_BYTES: usize = 64 * 1024;
/// Between looks at the helper where the kernel has no pidfd (before 5.3).
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Runs `begin` in a helper started by `launch`; `password` is for who asks on the way.
///
/// # Errors
/// There is no result: nobody could become the user, or not in time, or the helper died.
pub(super) fn hold(
    mut launch: Launch,
    password: Option<&Password>,
    begin: &ToHelper,
    cx: &ModuleContext<'_>,
) -> Result<ModuleResult, NotRun> {
    let ToHelper::Begin { account, .. } = begin else { unreachable!("a conversation begins with work") };
    let method = launch.method.as_str();
    let cannot = |why: &dyn Display| ModuleError::new(format!("cannot become `{}` by {method}: {why}", account.name));
    let started = Helper::start(&mut launch);
    let mut helper = started.map_err(|error| cannot(&error))?;
    let ready = helper.ready(password, cx);
    let checked = ready.and_then(|ready| Ok(check(&ready, account.uid, launch.switch)?));
    let ended = match checked {
        Ok(()) => helper.work(begin, cx),
        Err(unready) => {
            let was_answered = helper.was_answered;
            let last_words = helper.end();
            let why = match unready {
                Unready::Late => return Err(NotRun::Late(last_words.below(LATE))),
                unready => unready.among(&last_words, was_answered),
            };
            return Err(NotRun::Failed(match why {
                Unready::Missing => cannot(&format_args!(
                    "Missing {method} password; give it as ansible_become_password or with --ask-become-pass"
                )),
                Unready::Incorrect => cannot(&format_args!("Incorrect {method} password")),
                Unready::Late => cannot(&LATE),
                Unready::Broken(why) => cannot(&why),
            }));
        }
    };
    let last_words = helper.end();
    ended.map_err(|broken| {
        NotRun::Failed(ModuleError::new(format!(
            "the process that ran the task as `{}` was lost: {}; what the task did until then stays done",
            account.name,
            last_words.beside(&broken.to_string())
        )))
    })
}

/// Why a call has no result of its own.
#[derive(Debug)]
pub(super) enum NotRun {
    /// Nobody asked and nobody began in time. Nothing was done.
    Late(String),
    Failed(ModuleError),
}

impl From<ModuleError> for NotRun {
    fn from(error: ModuleError) -> NotRun {
        NotRun::Failed(error)
    }
}

/// Why there is no helper.
#[derive(Debug)]
enum Unready {
    /// A password was asked for, and there is none.
    Missing,
    /// Another password was asked for, or this one refused.
    Incorrect,
    /// There was neither a question nor a first word in time.
    Late,
    Broken(String),
}

impl From<Broken> for Unready {
    fn from(broken: Broken) -> Unready {
        match broken {
            Broken::Late => Unready::Late,
            Broken::Because(why) => Unready::Broken(why),
        }
    }
}

impl Unready {
    /// What sudo and its like print says best why there is no helper.
    fn among(self, last_words: &LastWords, was_answered: bool) -> Unready {
        let says = |words: &[&str]| words.iter().any(|words| last_words.said.contains(words));
        match self {
            Unready::Broken(_) if was_answered && says(&REFUSALS) => Unready::Incorrect,
            Unready::Broken(_) if says(&["a password is required"]) => Unready::Missing,
            Unready::Broken(why) => Unready::Broken(last_words.instead_of(&why)),
            other => other,
        }
    }
}

/// What sudo, su and the su of busybox say of a wrong password; in other languages their own words are shown.
const REFUSALS: [&str; 3] = ["incorrect password", "Authentication failure", "Sorry, try again"];

/// Why there is no result.
#[derive(Debug)]
enum Broken {
    /// It did not come to its first word in time.
    Late,
    Because(String),
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Late => f.write_str(LATE),
            Broken::Because(why) => f.write_str(why),
        }
    }
}

/// As Ansible says it.
const LATE: &str = "Timed out waiting for become success or become password prompt.";

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Broken {
        Broken::Because(error.to_string())
    }
}

fn broken(why: impl Into<String>) -> Broken {
    Broken::Because(why.into())
}

fn check(ready: &Ready, uid: u32, switch: bool) -> Result<(), Broken> {
    if ready.software != SOFTWARE {
        return Err(broken(format!("it started {} and this is {SOFTWARE}; restart the agent", ready.software)));
    }
    if !switch && ready.uid != uid {
        return Err(broken(format!("it gave uid {} and not {uid}", ready.uid)));
    }
    Ok(())
}

struct Helper {
    process: Supervised,
    /// `None` where the kernel has none.
    pidfd: Option<OwnedFd>,
    requests: Option<ChildStdin>,
    events: ChildStdout,
    frames: FrameBuffer,
    errors: Option<ChildStderr>,
    said: Capture,
    buffer: Vec<u8>,
    /// For a question before its first word.
    listener: Listener,
    /// A password was typed.
    was_answered: bool,
    /// How long the way to its first word may take.
    wait: Duration,
    /// Until its first word: until when that is waited for.
    ready_by: Option<Instant>,
    /// The call was cancelled: until when its end is waited for.
    stopping: Option<Instant>,
    /// The helper has been told so.
    is_told: bool,
}

impl Helper {
    fn start(launch: &mut Launch) -> std::io::Result<Helper> {
        let mut process = Supervised::start(&mut launch.command)?;
        let pidfd = match pidfd_open(process.pid, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::NOSYS) => None,
            Err(error) => return Err(error.into()),
        };
        let lost = || std::io::Error::other("its pipes were lost");
        let requests = process.child.stdin.take().ok_or_else(lost)?;
        let events = process.child.stdout.take().ok_or_else(lost)?;
        let errors = process.child.stderr.take().ok_or_else(lost)?;
        for fd in [requests.as_fd(), events.as_fd(), errors.as_fd()] {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Helper {
            process,
            pidfd,
            requests: Some(requests),
            events,
            frames: FrameBuffer::default(),
            errors: Some(errors),
            said: Capture::default(),
            buffer: vec![0; READ_BYTES],
            listener: Listener::new(launch.question.clone()),
            was_answered: false,
            wait: launch.wait,
            ready_by: None,
            stopping: None,
            is_told: false,
        })
    }

    /// Waits for the helper's first word, and answers the one question that may come before it.
    fn ready(&mut self, password: Option<&Password>, cx: &ModuleContext<'_>) -> Result<Ready, Unready> {
        self.ready_by = Some(Instant::now() + self.wait);
        let mut heard = Vec::new();
        let begin = loop {
            if let Some(at) = heard.windows(MAGIC.len()).position(|window| window == MAGIC) {
                break at + MAGIC.len();
            }
            if heard.len() > NOISE_BYTES_MAX {
                return Err(broken("something else answers than the agent's own program").into());
            }
            let before = heard.len();
            heard.extend_from_slice(self.read(cx)?);
            self.listener.hear(&heard[before..]);
            self.not_stopping()?;
            if self.listener.is_asked() {
                self.answer(password)?;
            }
        };
        self.ready_by = None;
        self.frames.feed(&heard[begin..]);
        loop {
            if let Some(ready) = self.frames.take().map_err(Broken::from)? {
                return Ok(ready);
            }
            self.fill(cx)?;
            self.not_stopping()?;
        }
    }

    /// Types the password. A program that asks a second time has refused it.
    fn answer(&mut self, password: Option<&Password>) -> Result<(), Unready> {
        let Some(password) = password else { return Err(Unready::Missing) };
        if std::mem::replace(&mut self.was_answered, true) {
            return Err(Unready::Incorrect);
        }
        // The question, and what led to it, explains nothing of what comes.
        self.said = Capture::default();
        self.ready_by = Some(Instant::now() + self.wait);
        let Some(requests) = &mut self.requests else { return Err(broken("it has ended").into()) };
        let line = [IoSlice::new(password.as_str().as_bytes()), IoSlice::new(b"\n")];
        // Nothing was written before, and a pipe has room for a line.
        match requests.write_vectored(&line).map_err(Broken::from)? {
            written if written == password.as_str().len() + 1 => Ok(()),
            _ => Err(broken("it did not take the password").into()),
        }
    }

    /// Before there is work, nobody needs to be told.
    fn not_stopping(&self) -> Result<(), Broken> {
        if self.stopping.is_some() { Err(broken("cancelled before the task began")) } else { Ok(()) }
    }

    fn work(&mut self, begin: &ToHelper, cx: &ModuleContext<'_>) -> Result<ModuleResult, Broken> {
        self.send(begin, cx)?;
        loop {
            match self.frames.take()? {
                Some(FromHelper::Output { stream, bytes }) => cx.output.write(stream, &bytes),
                Some(FromHelper::BlobWanted(blob)) => self.send_blob(blob, cx)?,
                Some(FromHelper::Ended(result)) => return Ok(result),
                None => {
                    self.pass_on_cancel(cx)?;
                    self.fill(cx)?;
                }
            }
        }
    }

    fn pass_on_cancel(&mut self, cx: &ModuleContext<'_>) -> Result<(), Broken> {
        if self.stopping.is_none() || std::mem::replace(&mut self.is_told, true) {
            return Ok(());
        }
        self.send(&ToHelper::Stop { timed_out: cx.cancel.reason() == Some(CancelReason::TimedOut) }, cx)
    }

    fn send_blob(&mut self, blob: BlobId, cx: &ModuleContext<'_>) -> Result<(), Broken> {
        let mut file = match cx.blobs.open(blob) {
            Ok(file) => file,
            Err(error) => return self.send(&ToHelper::BlobFailed(error.to_string()), cx),
        };
        // A helper that is told to stop hears it once this is through: it waits for the file and not for us.
        while let Some(part) = next_part(&mut file)? {
            self.send(&ToHelper::BlobPart(part), cx)?;
        }
        self.send(&ToHelper::BlobEnd, cx)
    }

    /// Sends a message whole. The helper always reads, so this waits for it no longer than for its disk.
    fn send(&mut self, message: &ToHelper, cx: &ModuleContext<'_>) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, message)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some(requests) = &mut self.requests else { return Err(broken("it has ended")) };
            match requests.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT, cx)?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn fill(&mut self, cx: &ModuleContext<'_>) -> Result<(), Broken> {
        let len = self.read(cx)?.len();
        self.frames.feed(&self.buffer[..len]);
        Ok(())
    }

    /// What the helper says next; nothing if something else happened.
    fn read(&mut self, cx: &ModuleContext<'_>) -> Result<&[u8], Broken> {
        self.wait(PollFlags::IN, cx)?;
        match self.events.read(&mut self.buffer) {
            Ok(0) => Err(broken("it ended")),
            Ok(len) => Ok(&self.buffer[..len]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {
                Ok(&[])
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits once: for the helper to speak (`IN`) or to listen (`OUT`), for what it prints, for the call to be cancelled.
    ///
    /// # Errors
    /// It was told to stop and has not, or it does not come to its first word.
    fn wait(&mut self, flags: PollFlags, cx: &ModuleContext<'_>) -> Result<(), Broken> {
        let until = self.stopping.or(self.ready_by);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(match self.stopping {
                Some(_) => broken(format!("it did not stop within {} s", STOP_WAIT.as_secs())),
                None => Broken::Late,
            });
        }
        let talk = match (flags, &self.requests) {
            (PollFlags::OUT, Some(requests)) => requests.as_fd(),
            _ => self.events.as_fd(),
        };
        let mut fds = vec![PollFd::from_borrowed_fd(talk, flags)];
        fds.extend(self.errors.as_ref().map(|errors| PollFd::new(errors, PollFlags::IN)));
        if self.stopping.is_none() {
            fds.push(PollFd::from_borrowed_fd(cx.cancel.fd(), PollFlags::IN));
        }
        turn(&mut fds, left)?;
        let has_errors = self.errors.is_some() && !fds[1].revents().is_empty();
        drop(fds);
        if has_errors {
            self.read_errors();
        }
        if cx.cancel.is_cancelled() {
            self.stopping.get_or_insert_with(|| Instant::now() + STOP_WAIT);
        }
        Ok(())
    }

    /// What it, or the program on the way to it, prints.
    fn read_errors(&mut self) {
        let Some(errors) = &mut self.errors else { return };
        match errors.read(&mut self.buffer) {
            Ok(0) => self.errors = None,
            Ok(len) => {
                self.said.push(&self.buffer[..len]);
                self.listener.hear(&self.buffer[..len]);
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {}
            Err(_) => self.errors = None,
        }
    }

    /// Waits for the helper's end, and brings it about if need be.
    fn end(mut self) -> LastWords {
        // The word to end: there is nobody left to work for.
        self.requests = None;
        if !self.has_ended_within(END_WAIT) {
            // A group tells nobody that it is gone: it is looked at in steps until the grace is over.
            let left = Group::of(self.process.pid).end(END_GRACE, &mut std::thread::sleep);
            tracing::warn!(pid = self.process.pid.as_raw_nonzero(), ?left, "a helper had to be ended");
        }
        while self.errors.is_some() && turn_in(&self.errors, Duration::ZERO) {
            self.read_errors();
        }
        // One that cannot be ended, a sudo of somebody else's, say, is left to the reaper.
        let status = has_ended(WaitId::Pid(self.process.pid)).then(|| self.process.reap().ok()).flatten();
        LastWords { said: self.said.finish().text().trim().to_owned(), status }
    }

    fn has_ended_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !has_ended(WaitId::Pid(self.process.pid)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match &self.pidfd {
                Some(_) => drop(turn_in(&self.pidfd, left)),
                // Without a pidfd there is nothing to wait on that also keeps a time.
                None => std::thread::sleep(LOOK_INTERVAL.min(left)),
            }
        }
        true
    }
}

fn next_part(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let mut part = vec![0; BLOB_PART_BYTES];
    let len = file.read(&mut part)?;
    part.truncate(len);
    Ok((len > 0).then_some(part))
}

/// Waits until one of `fds` is ready, at most `patience`.
fn turn(fds: &mut [PollFd<'_>], patience: Option<Duration>) -> std::io::Result<()> {
    let timeout = patience.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match poll(fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits for something to read, at most `patience`; true if there is.
fn turn_in(fd: &Option<impl AsFd>, patience: Duration) -> bool {
    let Some(fd) = fd else { return false };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    turn(&mut fds, Some(patience)).is_ok() && !fds[0].revents().is_empty()
}

/// What is left of a helper.
struct LastWords {
    said: String,
    status: Option<ExitStatus>,
}

impl LastWords {
    /// What sudo and its like print says best why there is no helper.
    fn instead_of(&self, why: &str) -> String {
        if self.said.is_empty() { self.beside(why) } else { self.said.clone() }
    }

    /// As Ansible shows them.
    fn below(&self, why: &str) -> String {
        if self.said.is_empty() { why.to_owned() } else { format!("{why}\n>>> Standard Error\n{}", self.said) }
    }

    fn beside(&self, why: &str) -> String {
        let status = self.status.map(|status| format!(" ({status})")).unwrap_or_default();
        if self.said.is_empty() { format!("{why}{status}") } else { format!("{why}{status}: {}", self.said) }
    }
}
