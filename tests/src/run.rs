//! One run of `rustle-exec`, with nothing of this machine's configuration in its way.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::netns::Space;
use crate::programs::exec_program;
use crate::wait::eventually;

/// A run that is being put together.
pub struct Run {
    command: Command,
    stdin: Vec<u8>,
    has_terminal: bool,
}

/// A run under way. Killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    terminal: Option<Terminal>,
}

/// The other end of a run's terminal.
struct Terminal {
    typing: File,
    shown: Stream,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; minus the signal's number if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

struct Stream {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Run {
    /// In `home`, which is its home, its working directory and its place for temporary files.
    pub fn new(home: &Path) -> Run {
        let mut command = Command::new(exec_program());
        command.env_clear().current_dir(home).env("HOME", home).env("TMPDIR", home).env("NO_COLOR", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Run { command, stdin: Vec::new(), has_terminal: false }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.command.arg(arg);
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Run {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(name, value);
        self
    }

    /// As another user; for root only.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Run {
        std::os::unix::process::CommandExt::uid(&mut self.command, uid);
        self
    }

    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Run {
        self.stdin = text.into();
        self
    }

    /// In a session of its own with a terminal, which is its standard input: somebody may be asked.
    #[must_use]
    pub fn at_terminal(self) -> Run {
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty");
        Run { has_terminal: true, ..self.behind(setsid) }
    }

    /// In a network of its own.
    #[must_use]
    pub fn within(self, space: &Space) -> Run {
        let home = self.command.get_current_dir().expect("a run has a home").to_owned();
        self.behind(space.enter(&home))
    }

    /// Started by another program, which gives its place to it: the run is our child all the same.
    fn behind(self, mut first: Command) -> Run {
        first.arg(self.command.get_program()).args(self.command.get_args());
        first.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        first.current_dir(self.command.get_current_dir().expect("a run has a home"));
        Run { command: first, ..self }
    }

    /// Starts it with standard input closed after what was given.
    pub fn start(mut self) -> Running {
        let terminal = self.has_terminal.then(|| Terminal::for_input_of(&mut self.command));
        if terminal.is_none() {
            self.command.stdin(Stdio::piped());
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("rustle-exec starts");
        let stdin = child.stdin.take();
        let stdout = Stream::new(child.stdout.take().expect("it was asked for"));
        let stderr = Stream::new(child.stderr.take().expect("it was asked for"));
        let mut running = Running { child, stdin, stdout, stderr, terminal };
        running.say(&self.stdin);
        running.stdin = None;
        running
    }

    /// Runs it to its end.
    pub fn finish(self) -> Ended {
        self.start().finish()
    }

    /// Runs it to its end, which is to be this one.
    #[track_caller]
    pub fn ends(self, code: i32) -> Ended {
        self.finish().expect_code(code)
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Both standard output and standard error until now.
    pub fn output(&self) -> String {
        self.stdout.text() + &self.stderr.text()
    }

    /// Waits until the run has said this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        eventually(&format!("a run says `{text}`"), || self.output().contains(text).then_some(()));
    }

    /// Waits until the terminal shows this, and types an answer.
    #[track_caller]
    pub fn answer(&mut self, question: &str, answer: &str) {
        let terminal = self.terminal.as_mut().expect("a run at a terminal");
        eventually(&format!("`{question}` is asked"), || terminal.shown.text().contains(question).then_some(()));
        writeln!(terminal.typing, "{answer}").expect("the terminal is open as long as this is");
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process has an id");
        kill_process(pid, signal).expect("it is our child, and not yet waited for");
    }

    fn say(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            // A program that does not read its input has the right to.
            let _ = stdin.write_all(bytes);
        }
    }

    pub fn finish(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().expect("it is our child");
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Ended { code, stdout: self.stdout.rest(), stderr: self.stderr.rest() }
    }

    /// Whether it has ended by now.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Terminal {
    /// A new terminal, whose one end becomes the program's standard input.
    fn for_input_of(command: &mut Command) -> Terminal {
        let typing = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("this system has terminals"));
        grantpt(&typing).and_then(|()| unlockpt(&typing)).expect("a terminal of our own");
        let name = ptsname(&typing, Vec::new()).expect("a terminal of our own");
        let name = name.to_str().expect("a name in ASCII");
        command.stdin(File::options().read(true).write(true).open(name).expect("a terminal of our own"));
        let shown = Stream::of_pieces(typing.try_clone().expect("a file of our own"));
        Terminal { typing, shown }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The lines of standard output that say what a task came to on a host, sorted: hosts answer in any order.
    pub fn results(&self) -> Vec<&str> {
        let words = ["ok: [", "changed: [", "skipping: [", "fatal: [", "failed: [", "cancelled: ["];
        let mut lines: Vec<_> =
            self.stdout.lines().filter(|line| words.iter().any(|word| line.starts_with(word))).collect();
        lines.sort_unstable();
        lines
    }

    /// Of an ad-hoc run: what each host answered, as `web1 | SUCCESS`, sorted.
    pub fn answers(&self) -> Vec<&str> {
        let words = [" | SUCCESS", " | CHANGED", " | SKIPPED", " | FAILED", " | UNREACHABLE!"];
        let answer = |line| words.iter().find_map(|word| str::find(line, word).map(|at| &line[..at + word.len()]));
        let mut answers: Vec<_> = self.stdout.lines().filter_map(answer).collect();
        answers.sort_unstable();
        answers
    }

    /// The banners, in order, without their stars.
    pub fn banners(&self) -> Vec<&str> {
        let banner = |line: &&str| ["PLAY [", "TASK [", "RUNNING HANDLER ["].iter().any(|word| line.starts_with(word));
        self.stdout.lines().filter(banner).map(|line| line.trim_end_matches(['*', ' '])).collect()
    }

    /// A host's line of the recap with single spaces.
    #[track_caller]
    pub fn recap(&self, host: &str) -> String {
        let after = self.stdout.rsplit("PLAY RECAP").next().unwrap_or_default();
        let line = after.lines().find(|line| line.split_whitespace().next() == Some(host));
        let line = line.unwrap_or_else(|| panic!("no recap of {host} in:\n{}\n{}", self.stdout, self.stderr));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Both streams, with `dir` shown as `[DIR]`.
    pub fn without(&self, dir: &Path) -> String {
        format!("{}{}", self.stdout, self.stderr).replace(&*dir.to_string_lossy(), "[DIR]")
    }
}

impl Stream {
    fn new(from: impl Read + Send + 'static) -> Stream {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Stream { text, reader: Some(reader) }
    }

    /// What comes without whole lines, as questions do.
    fn of_pieces(mut from: impl Read + Send + 'static) -> Stream {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut piece) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&piece[..len]));
            }
        });
        Stream { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rest(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.text()
    }
}
