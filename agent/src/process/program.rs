//! A program, how it is to run, and how it ended.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use chrono::{DateTime, Local};
use rustix::io::Errno;
use rustle_protocol::Value;

use super::supervise::{KILL_GRACE, supervise};
use super::{Output, STDOUT_BYTES_MAX, words};
use crate::module::{CancelReason, ModuleContext, ModuleError};

/// Where programs are looked for besides `PATH`, since services often have a short one.
const SYSTEM_DIRS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// Variables that belong to the agent as a service. A program that believed them would speak to systemd in its name.
const OWN_VARIABLES: [&str; 8] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// A file that was just written cannot be started while any other thread is between fork and exec with a copy of the
/// writing descriptor: a matter of a millisecond.
const BUSY_TRIES_MAX: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A program to run.
///
/// ```no_run
/// # fn f(cx: &rustle_agent::module::ModuleContext<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// use rustle_agent::process::Program;
///
/// let ended = Program::new("uname").arg("-r").run(cx)?;
/// assert_eq!(ended.rc, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Program {
    name: OsString,
    args: Vec<OsString>,
    chdir: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    live: bool,
    keep: usize,
    kill_grace: Duration,
}

impl Program {
    /// `name` is a path, or is looked for in `PATH` and in the system's own directories.
    pub fn new(name: impl Into<OsString>) -> Program {
        Program {
            name: name.into(),
            args: Vec::new(),
            chdir: None,
            environment: Vec::new(),
            stdin: Vec::new(),
            live: false,
            keep: STDOUT_BYTES_MAX,
            kill_grace: KILL_GRACE,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Program {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Program {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where it runs; by default where the agent runs.
    #[must_use]
    pub fn chdir(mut self, dir: Option<impl Into<PathBuf>>) -> Program {
        self.chdir = dir.map(Into::into);
        self
    }

    /// Added after the call's own environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Program {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Output in English and without colour or paging, to be read by the module.
    #[must_use]
    pub fn plain(self) -> Program {
        self.env("LC_ALL", "C").env("LANG", "C").env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0")
    }

    /// What it reads; nothing by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Program {
        self.stdin = bytes.into();
        self
    }

    /// Sends output to [`ModuleContext::output`] as it comes, too.
    #[must_use]
    pub fn live(mut self) -> Program {
        self.live = true;
        self
    }

    /// Bytes of its standard output that are kept; [`STDOUT_BYTES_MAX`] by default. For output that a module reads.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Program {
        self.keep = bytes;
        self
    }

    /// From SIGTERM to SIGKILL, when the call is stopped.
    #[must_use]
    pub fn kill_grace(mut self, grace: Duration) -> Program {
        self.kill_grace = grace;
        self
    }

    /// As it was given.
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// The command line, for messages.
    pub fn line(&self) -> String {
        let words: Vec<String> =
            std::iter::once(&self.name).chain(&self.args).map(|word| word.to_string_lossy().into_owned()).collect();
        words::join(&words)
    }

    /// Runs it to its end, or ends it with all its descendants when the call is cancelled.
    ///
    /// # Errors
    /// It could not be started. However it ends, that is no error here.
    pub fn run(&self, cx: &ModuleContext<'_>) -> Result<Ended, ProgramError> {
        let mut command = self.command(cx)?;
        let started = Local::now();
        let mut tries = 0;
        let ended = loop {
            match supervise(&mut command, &self.stdin, self.live, self.keep, self.kill_grace, cx) {
                Err(error) if error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) && tries < BUSY_TRIES_MAX => {
                    tries += 1;
                    cx.cancel.sleep(BUSY_PAUSE);
                }
                other => {
                    break other.map_err(|cause| ProgramError::NotStarted {
                        name: self.name(),
                        line: self.line(),
                        cause,
                    })?;
                }
            }
        };
        Ok(Ended {
            rc: return_code(ended.status),
            stdout: ended.stdout,
            stderr: ended.stderr,
            stopped: ended.stopped,
            started,
            finished: Local::now(),
            warnings: ended.warnings,
        })
    }

    /// Runs it and takes anything but a return code of 0 for a failure.
    ///
    /// # Errors
    /// It could not be started, was stopped, or failed: then `cmd`, `rc`, `stdout` and `stderr` are in the result.
    pub fn run_checked(&self, cx: &ModuleContext<'_>) -> Result<Ended, ModuleError> {
        let ended = self.run(cx)?;
        ended.not_stopped(self)?;
        match ended.rc {
            0 => Ok(ended),
            _ => Err(ended.into_error(self)),
        }
    }

    fn not_found(&self, path: Option<&OsStr>) -> ProgramError {
        let mut paths: Vec<PathBuf> = Vec::new();
        folders(path).for_each(|dir| {
            if !paths.contains(&dir) {
                paths.push(dir)
            }
        });
        let paths = std::env::join_paths(paths).unwrap_or_default();
        ProgramError::Missing { name: self.name(), paths, line: self.line() }
    }

    fn command(&self, cx: &ModuleContext<'_>) -> Result<Command, ProgramError> {
        let given = self.environment.iter().rev().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let of_call = cx.environment.iter().rev().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let path = given.chain(of_call).find(|(name, _)| *name == "PATH").map(|(_, value)| value);
        // Found here and not by the standard library, which would look in the agent's PATH, not the call's.
        let program = find_program(&self.name, path).ok_or_else(|| self.not_found(path))?;
        let mut command = Command::new(program);
        command.arg0(&self.name).args(&self.args).process_group(0);
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        command.envs(cx.environment.iter().map(|(name, value)| (name, value)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.chdir {
            command.current_dir(dir);
        }
        command.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

/// Where [`find_program`] looks: never in a relative folder, and an empty entry of `PATH` means the working directory.
fn folders(path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("PATH");
    let path = path.or(own.as_deref()).unwrap_or_default();
    let given: Vec<PathBuf> = std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect();
    given.into_iter().chain(SYSTEM_DIRS.map(PathBuf::from))
}

/// The executable of that name in `path`, by default the agent's own `PATH`, or in the system's directories. A name
/// with a slash in it is a path already and is given back as it is.
pub fn find_program(name: impl AsRef<OsStr>, path: Option<&OsStr>) -> Option<PathBuf> {
    let name = Path::new(name.as_ref());
    if name.as_os_str().is_empty() {
        return None;
    }
    if name.components().count() > 1 || name.is_absolute() {
        return Some(name.to_owned());
    }
    let is_executable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    folders(path).map(|dir| dir.join(name)).find(is_executable)
}

/// As Python counts: the negative signal for a program that a signal ended.
fn return_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap_or(-1)
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The return code; the negative signal if one ended it.
    pub rc: i32,
    pub stdout: Output,
    pub stderr: Output,
    /// Set if it did not end by itself.
    pub stopped: Option<CancelReason>,
    pub started: DateTime<Local>,
    pub finished: DateTime<Local>,
    /// Sentences for the operator: output that was not waited for, processes that could not be ended.
    pub warnings: Vec<String>,
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.rc == 0 && self.stopped.is_none()
    }

    /// # Errors
    /// The program was stopped before its end.
    pub fn not_stopped(&self, program: &Program) -> Result<(), ModuleError> {
        match self.stopped {
            None => Ok(()),
            Some(reason) => {
                let msg = format!("{} while it ran: {}", stopped_words(reason), program.line());
                Err(self.clone().error(program, msg))
            }
        }
    }

    /// The failure of `program`, with what it said last as the message.
    pub fn into_error(self, program: &Program) -> ModuleError {
        let said = [&self.stderr, &self.stdout].into_iter().map(|output| output.text().trim().to_owned());
        let why = said.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| format!("return code {}", self.rc));
        let msg = format!("'{}' failed: {why}", program.line());
        self.error(program, msg)
    }

    /// A failure that returns what is known of the run.
    pub fn error(self, program: &Program, msg: impl Into<String>) -> ModuleError {
        ModuleError::new(msg)
            .with("cmd", program.line())
            .with("rc", self.rc)
            .with("stdout", self.stdout.into_value())
            .with("stderr", self.stderr.into_value())
    }
}

/// What happened to a program that did not end by itself.
pub(crate) fn stopped_words(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Requested => "cancelled",
        CancelReason::TimedOut => "timed out",
    }
}

/// A program that could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// In Ansible's words.
    #[error("Failed to find required executable \"{name}\" in paths: {}", .paths.to_string_lossy())]
    Missing { name: String, paths: OsString, line: String },
    #[error("failed to run `{line}`: {cause}")]
    NotStarted {
        name: String,
        line: String,
        #[source]
        cause: std::io::Error,
    },
}

impl ProgramError {
    /// The system's error number; 2, "no such file", if it has none.
    pub fn rc(&self) -> i32 {
        let missing = Errno::NOENT.raw_os_error();
        match self {
            ProgramError::Missing { .. } => missing,
            ProgramError::NotStarted { cause, .. } => cause.raw_os_error().unwrap_or(missing),
        }
    }

    /// The command line.
    pub fn line(&self) -> &str {
        let (ProgramError::Missing { line, .. } | ProgramError::NotStarted { line, .. }) = self;
        line
    }

    /// As Ansible tells of a command of the author's that cannot be started.
    pub(crate) fn told(&self) -> ModuleError {
        ModuleError::new("Error executing command.")
            .caused_by(self.as_errno())
            .with("rc", self.rc())
            .with("stdout", "")
            .with("stderr", "")
            .with("cmd", self.line())
    }

    /// As Python tells the system's error.
    pub fn as_errno(&self) -> String {
        let (ProgramError::Missing { name, .. } | ProgramError::NotStarted { name, .. }) = self;
        errno_text(&std::io::Error::from_raw_os_error(self.rc()), name)
    }
}

/// An error of the system about `name` as Python tells it: `[Errno 2] No such file or directory: b'name'`.
pub(crate) fn errno_text(error: &std::io::Error, name: &str) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let byte = |byte: u8| if byte.is_ascii() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") };
    let name: String = name.bytes().map(byte).collect();
    format!("[Errno {}] {words}: b'{name}'", error.raw_os_error().unwrap_or_default())
}

impl From<ProgramError> for ModuleError {
    fn from(error: ProgramError) -> ModuleError {
        let failed = ModuleError::new(error.to_string());
        match &error {
            ProgramError::Missing { .. } => failed,
            ProgramError::NotStarted { line, .. } => {
                let failed = failed.with("cmd", line.as_str()).with("rc", error.rc());
                failed.with("stdout", "").with("stderr", Value::from(""))
            }
        }
    }
}
