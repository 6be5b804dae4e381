//! The loop around a running program: output, end, cancellation.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitId, pidfd_open};
use rustix::time::Timespec;
use rustle_protocol::message::OutputStream;

use super::Output;
use super::capture::{Capture, STDOUT_BYTES_MAX};
use super::group::Group;
use super::reaper::{Supervised, has_ended};
use crate::module::{CancelReason, ModuleContext};

/// From SIGTERM to SIGKILL. Long enough to write a state file, short enough to wait for at a terminal.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for once the program has ended. What its children write later is theirs: a service that
/// keeps the pipe open must not hold the task.
pub const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// Read after the grace from a pipe that still has something, per stream: what the largest pipe an unprivileged program
/// can make holds.
const LEFTOVER_BYTES_MAX: usize = 1024 * 1024;

/// One read. A pipe holds 64 KiB, so this empties it.
const READ_BYTES: usize = 64 * 1024;

/// Between looks at the child where the kernel has no pidfd (before 5.3).
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How a supervised program ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) stopped: Option<CancelReason>,
    pub(super) warnings: Vec<String>,
}

/// Runs `command`, whose stdout and stderr are piped and which leads its own process group. `keep`: bytes of stdout.
pub(super) fn supervise(
    command: &mut Command,
    stdin: &[u8],
    live: bool,
    keep: usize,
    kill_grace: Duration,
    cx: &ModuleContext<'_>,
) -> std::io::Result<Outcome> {
    let mut process = Supervised::start(command)?;
    let pidfd = match pidfd_open(process.pid, PidfdFlags::empty()) {
        Ok(pidfd) => Some(pidfd),
        Err(Errno::NOSYS) => None,
        Err(error) => return Err(error.into()),
    };
    let mut pipes = Pipes::of(&mut process, stdin, keep, live.then_some(cx))?;
    let end = pipes.run_until_end(&process, pidfd.as_ref(), cx)?;

    let mut warnings = Vec::new();
    if end == End::Cancelled {
        // Its last words are read while it ends, or a full pipe would keep it from ending.
        let left = Group::of(process.pid).end(kill_grace, &mut |time| {
            if pipes.turn([None, None], Some(time)).is_err() {
                // Its pipes cannot be polled, and the group's end is looked for in steps.
                std::thread::sleep(time);
            }
        });
        if !left.is_empty() {
            warnings.push(format!("processes {left:?} are still there after SIGKILL: they hang in the kernel"));
            // Waiting for the leader could now last for ever.
            if !has_ended(WaitId::Pid(process.pid)) {
                return Err(std::io::Error::other(warnings.remove(0)));
            }
        }
    }
    if !pipes.drain()? && end == End::Exited {
        warnings.push(
            "a process left running in the background holds the output open; what it writes from now on is not \
             returned"
                .to_owned(),
        );
    }
    let status = process.reap()?;
    let stopped = cx.cancel.reason().filter(|_| end == End::Cancelled);
    let (stdout, stderr) = pipes.finish();
    Ok(Outcome { status, stdout, stderr, stopped, warnings })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The program itself has ended; children of it may not have.
    Exited,
    Cancelled,
}

/// The ends of the pipes that are ours.
struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    to_write: &'a [u8],
    stdout: Reader<'a, ChildStdout>,
    stderr: Reader<'a, ChildStderr>,
    /// Between reads empty. Never zeroed: most programs say little, and then it costs nothing.
    buffer: Vec<u8>,
}

impl<'a> Pipes<'a> {
    fn of(
        process: &mut Supervised,
        to_write: &'a [u8],
        keep: usize,
        live: Option<&'a ModuleContext<'a>>,
    ) -> std::io::Result<Self> {
        let child = &mut process.child;
        let stdin = child.stdin.take();
        if let Some(stdin) = &stdin {
            // Only the writer must not block; the child's own end is another file description.
            fcntl_setfl(stdin, fcntl_getfl(stdin)? | OFlags::NONBLOCK)?;
        }
        Ok(Pipes {
            stdin,
            to_write,
            stdout: Reader::new(child.stdout.take(), OutputStream::Stdout, keep, live),
            stderr: Reader::new(child.stderr.take(), OutputStream::Stderr, STDOUT_BYTES_MAX, live),
            buffer: Vec::with_capacity(READ_BYTES),
        })
    }

    fn run_until_end(
        &mut self,
        process: &Supervised,
        pidfd: Option<&OwnedFd>,
        cx: &ModuleContext<'_>,
    ) -> std::io::Result<End> {
        loop {
            let timeout = if pidfd.is_some() { None } else { Some(LOOK_INTERVAL) };
            let fds = [pidfd.map(AsFd::as_fd), Some(cx.cancel.fd())];
            let [has_ended_fd, is_cancelled] = self.turn(fds, timeout)?;
            if has_ended_fd || (pidfd.is_none() && has_ended(WaitId::Pid(process.pid))) {
                return Ok(End::Exited);
            }
            if is_cancelled {
                return Ok(End::Cancelled);
            }
        }
    }

    /// Reads what is left once the program has ended. False if somebody still holds a pipe.
    fn drain(&mut self) -> std::io::Result<bool> {
        self.stdin = None;
        let until = Instant::now() + OUTPUT_GRACE;
        while self.is_open() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.turn([None, None], Some(left))?;
        }
        for _ in 0..LEFTOVER_BYTES_MAX / READ_BYTES {
            let before = (self.stdout.total, self.stderr.total);
            if !self.is_open() || self.turn([None, None], Some(Duration::ZERO)).is_err() {
                break;
            }
            if before == (self.stdout.total, self.stderr.total) {
                break;
            }
        }
        Ok(!self.is_open())
    }

    fn is_open(&self) -> bool {
        self.stdout.pipe.is_some() || self.stderr.pipe.is_some()
    }

    /// Waits once, moves what can be moved, and tells which of `watched` are ready.
    fn turn(&mut self, watched: [Option<BorrowedFd<'_>>; 2], timeout: Option<Duration>) -> std::io::Result<[bool; 2]> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let sources = [
            (self.stdin.as_ref().map(AsFd::as_fd), PollFlags::OUT),
            (self.stdout.pipe.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.stderr.pipe.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (watched[0], PollFlags::IN),
            (watched[1], PollFlags::IN),
        ];
        let mut ready = [false; 5];
        let (mut fds, mut places) = (Vec::with_capacity(5), Vec::with_capacity(5));
        for (place, (fd, flags)) in sources.into_iter().enumerate() {
            if let Some(fd) = fd {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                places.push(place);
            }
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => fds.iter().zip(places).for_each(|(fd, place)| ready[place] = !fd.revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [can_write, has_stdout, has_stderr, first, second] = ready;
        if can_write {
            self.write();
        }
        if has_stdout {
            self.stdout.read(&mut self.buffer)?;
        }
        if has_stderr {
            self.stderr.read(&mut self.buffer)?;
        }
        Ok([first, second])
    }

    /// Closes the pipe when all is written, or when the program no longer reads: then the rest is not wanted.
    fn write(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        match rustix::io::write(stdin, self.to_write) {
            Ok(written) => self.to_write = &self.to_write[written..],
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => self.to_write = &[],
        }
        if self.to_write.is_empty() {
            self.stdin = None;
        }
    }

    fn finish(self) -> (Output, Output) {
        (self.stdout.capture.finish(), self.stderr.capture.finish())
    }
}

/// One output stream.
struct Reader<'a, P> {
    pipe: Option<P>,
    stream: OutputStream,
    live: Option<&'a ModuleContext<'a>>,
    capture: Capture,
    total: u64,
}

impl<'a, P: AsFd> Reader<'a, P> {
    fn new(pipe: Option<P>, stream: OutputStream, keep: usize, live: Option<&'a ModuleContext<'a>>) -> Self {
        Reader { pipe, stream, live, capture: Capture::of(keep), total: 0 }
    }

    /// One read, after `poll` has said that it will not block.
    fn read(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        buffer.clear();
        match rustix::io::read(pipe, spare_capacity(buffer)) {
            Ok(0) => self.pipe = None,
            Ok(len) => {
                self.total += len as u64;
                self.capture.push(buffer);
                if let Some(cx) = self.live {
                    cx.output.write(self.stream, buffer);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, test_kill_process};
    use rustle_protocol::message::OutputStream;

    use super::super::testing::Surroundings;
    use super::super::{Ended, Program};
    use super::*;

    fn shell(line: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(line)
    }

    fn run(program: &Program) -> Ended {
        program.run(&Surroundings::new().context()).unwrap()
    }

    /// Runs `line`, cancels when it has printed a line, and gives the words of that line too.
    fn cancelled(line: &str, grace: Duration) -> (Ended, Vec<i32>) {
        let surroundings = Surroundings::new().cancelling_at_output(CancelReason::Requested);
        let ended = shell(line).live().kill_grace(grace).run(&surroundings.context()).unwrap();
        let pids = ended.stdout.text().split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (ended, pids)
    }

    fn is_gone(pid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        test_kill_process(Pid::from_raw(pid).unwrap()).is_err() || stat.contains(") Z ")
    }

    #[test]
    fn both_streams_and_the_return_code_come_back() {
        let ended = run(&shell("echo out; echo err >&2; exit 3"));
        assert_eq!((&*ended.stdout.bytes, &*ended.stderr.bytes), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!((ended.rc, ended.stopped), (3, None));
        assert!(ended.warnings.is_empty());
    }

    #[test]
    fn a_signal_is_a_negative_return_code() {
        assert_eq!(run(&shell("kill -9 $$")).rc, -9);
    }

    #[test]
    fn input_longer_than_a_pipe_is_fed_while_output_is_read() {
        let input = vec![b'x'; 300_000];
        let ended = run(&Program::new("cat").stdin(input.clone()));
        assert_eq!(ended.stdout.cut as usize + ended.stdout.text().matches('x').count(), input.len());
        assert_eq!(run(&Program::new("true").stdin(input)).rc, 0);
    }

    #[test]
    fn without_input_a_program_reads_nothing() {
        assert_eq!(run(&Program::new("cat")).rc, 0);
    }

    #[test]
    fn output_arrives_while_the_program_runs() {
        let surroundings = Surroundings::new();
        shell("printf 'a\\377b'; printf c >&2").live().run(&surroundings.context()).unwrap();
        assert_eq!(surroundings.seen(OutputStream::Stdout), b"a\xFFb");
        assert_eq!(surroundings.seen(OutputStream::Stderr), b"c");
    }

    #[test]
    fn sixty_four_mebibytes_of_output_are_streamed_whole_and_kept_in_part() {
        let surroundings = Surroundings::counting();
        let ended = shell("head -c 67108864 /dev/zero").live().run(&surroundings.context()).unwrap();
        assert_eq!(surroundings.counted(), 67_108_864);
        assert!(ended.stdout.bytes.len() <= STDOUT_BYTES_MAX);
        assert!(ended.stdout.cut > 66_000_000 && ended.rc == 0);
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed_and_gone() {
        let (ended, pids) = cancelled("trap '' TERM; echo $$; while :; do sleep 1; done", Duration::from_millis(50));
        assert_eq!((ended.rc, ended.stopped), (-9, Some(CancelReason::Requested)));
        assert!(pids.len() == 1 && pids.into_iter().all(is_gone));
    }

    #[test]
    fn a_program_that_obeys_sigterm_is_not_killed() {
        let line = "trap 'echo bye; exit 7' TERM; echo $$; while :; do sleep 0.01; done";
        let (ended, _) = cancelled(line, KILL_GRACE);
        assert_eq!(ended.rc, 7);
        assert!(ended.stdout.text().ends_with("bye\n"));
    }

    #[test]
    fn grandchildren_are_gone_too_even_in_a_session_of_their_own() {
        let line = "sleep 600 & a=$!; setsid sh -c 'trap \"\" TERM; sleep 600; sleep 600' & b=$!; \
                    (trap '' TERM; sleep 600; sleep 600) & c=$!; sleep 0.2; echo $$ $a $b $c; wait";
        let (ended, pids) = cancelled(line, Duration::from_millis(200));
        assert_eq!(pids.len(), 4, "{ended:?}");
        assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
    }

    #[test]
    fn a_call_that_is_cancelled_already_ends_at_once() {
        let surroundings = Surroundings::new();
        surroundings.cancel.cancel(CancelReason::TimedOut);
        let ended = Program::new("sleep").arg("600").run(&surroundings.context()).unwrap();
        assert_eq!((ended.rc, ended.stopped), (-15, Some(CancelReason::TimedOut)));
    }

    #[test]
    fn a_daemon_that_holds_the_output_does_not_hold_the_task() {
        let began = Instant::now();
        let ended = run(&shell("setsid sleep 20 & echo $!"));
        assert!(began.elapsed() < Duration::from_secs(15), "it was waited for");
        assert_eq!(ended.rc, 0);
        assert!(ended.warnings[0].contains("background"), "{:?}", ended.warnings);
        let pid = ended.stdout.text().trim().parse().unwrap();
        assert!(!is_gone(pid), "it is the task's business, not ours");
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn the_environment_of_the_call_reaches_the_program() {
        let surroundings = Surroundings::new().with_env("GREETING", "hello");
        let ended = shell("echo $GREETING $OTHER").env("OTHER", "you").run(&surroundings.context()).unwrap();
        assert_eq!(ended.stdout.text(), "hello you\n");
    }

    #[test]
    fn a_program_is_found_by_the_path_of_the_call() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/echo", dir.path().join("only-here")).unwrap();
        let surroundings = Surroundings::new().with_env("PATH", dir.path().to_str().unwrap());
        assert_eq!(Program::new("only-here").arg("x").run(&surroundings.context()).unwrap().stdout.text(), "x\n");
        let error = Program::new("only-here").run(&Surroundings::new().context()).unwrap_err();
        assert_eq!(error.rc(), 2);
        assert!(
            error.to_string().starts_with("Failed to find required executable \"only-here\" in paths: /"),
            "{error}"
        );
    }
}
