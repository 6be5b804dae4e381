//! Questions to whoever sits at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::Notify;

/// An answer longer than this is none.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How often who waits for an answer looks whether the question stands: what somebody who gives it up waits at most.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What is drawn on the terminal again and again, and would soon be drawn over a question.
pub(crate) trait Screen: Send + Sync {
    /// Takes away what is drawn, and draws no more.
    fn hide(&self);

    /// Draws again, where the cursor is.
    fn show(&self);
}

/// The process has one terminal: this is what stands there.
static TERMINAL: Mutex<Shared> = Mutex::new(Shared { screen: None, questions: 0, interruptible: None });

struct Shared {
    screen: Option<Arc<dyn Screen>>,
    /// That wait for an answer.
    questions: usize,
    /// Hears of Ctrl-C in the place of the run.
    interruptible: Option<Arc<Notify>>,
}

/// Who changes it does nothing else that could panic.
fn terminal() -> MutexGuard<'static, Shared> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `screen` is hidden while a question waits for an answer. `None`: nothing is drawn any more.
pub(crate) fn set_screen(screen: Option<Arc<dyn Screen>>) {
    terminal().screen = screen;
}

/// Somebody waits at the terminal for whom Ctrl-C is, until this is dropped.
pub(crate) struct Interruptible(Arc<Notify>);

impl Interruptible {
    pub(crate) fn begin() -> Interruptible {
        let notify = Arc::new(Notify::new());
        terminal().interruptible = Some(Arc::clone(&notify));
        Interruptible(notify)
    }

    /// Waits for Ctrl-C.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn pressed(&self) {
        self.0.notified().await;
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        let mut terminal = terminal();
        if terminal.interruptible.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.0)) {
            terminal.interruptible = None;
        }
    }
}

/// Gives Ctrl-C to whom it is for; not if that is nobody but the run.
pub(crate) fn interrupt() -> bool {
    let for_whom = terminal().interruptible.clone();
    for_whom.inspect(|notify| notify.notify_one()).is_some()
}

/// A question is on the terminal, until this is dropped.
pub(crate) struct Asking(());

impl Asking {
    pub(crate) fn begin() -> Asking {
        let mut terminal = terminal();
        terminal.questions += 1;
        if let (1, Some(screen)) = (terminal.questions, &terminal.screen) {
            screen.hide();
        }
        Asking(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut terminal = terminal();
        terminal.questions -= 1;
        if let (0, Some(screen)) = (terminal.questions, &terminal.screen) {
            screen.show();
        }
    }
}

/// Asks for something that is not shown while it is typed. Without a terminal, a line of standard input.
///
/// # Errors
/// If there is neither, or nothing more to read.
pub(crate) fn secret(question: &str) -> io::Result<String> {
    ask(question, false)
}

/// Asks for something that is shown while it is typed.
///
/// # Errors
/// As [`secret`].
pub(crate) fn text(question: &str) -> io::Result<String> {
    ask(question, true)
}

fn ask(question: &str, echo: bool) -> io::Result<String> {
    match ask_until(question, echo, &AtomicBool::new(false))? {
        Some(answer) => Ok(answer),
        None => Err(io::Error::new(io::ErrorKind::Interrupted, "the question was given up")),
    }
}

/// As [`text`], or as [`secret`] without `echo`, until the question is given up. None then, and without a terminal somebody who
/// has begun to read is left to it.
///
/// # Errors
/// As [`secret`].
pub(crate) fn ask_until(question: &str, echo: bool, given_up: &AtomicBool) -> io::Result<Option<String>> {
    let _asking = Asking::begin();
    let Ok(tty) = open_terminal() else {
        let mut error = io::stderr().lock();
        write!(error, "{question}")?;
        error.flush()?;
        return line(io::stdin().lock()).map(Some);
    };
    // First: an answer to the question, however quick, must neither be shown nor be taken for what was typed before it.
    let quiet = if echo { None } else { Changed::without(&tty, LocalModes::ECHO).ok() };
    (&tty).write_all(question.as_bytes())?;
    if !is_answered(&tty, given_up)? {
        return Ok(None);
    }
    let answer = line(BufReader::new(&tty));
    if quiet.is_some() {
        // The line feed that was typed was not shown either.
        (&tty).write_all(b"\n")?;
    }
    answer.map(Some)
}

/// The first of `keys` that is pressed, whether as a capital or not. None if the question is given up.
///
/// # Errors
/// There is no terminal, or nobody at it any more.
pub(crate) fn key(question: &str, keys: &[u8], given_up: &AtomicBool) -> io::Result<Option<u8>> {
    let _asking = Asking::begin();
    let tty = open_terminal()?;
    let _one_by_one = Changed::without(&tty, LocalModes::ECHO | LocalModes::ICANON)?;
    (&tty).write_all(question.as_bytes())?;
    while is_answered(&tty, given_up)? {
        let mut pressed = [0];
        (&tty).read_exact(&mut pressed)?;
        let [pressed] = pressed.map(|key: u8| key.to_ascii_lowercase());
        if keys.contains(&pressed) {
            return Ok(Some(pressed));
        }
    }
    Ok(None)
}

fn open_terminal() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// Waits until something was typed; not if the question is given up before.
fn is_answered(tty: &File, given_up: &AtomicBool) -> io::Result<bool> {
    while !given_up.load(Ordering::SeqCst) {
        let mut waiting = [PollFd::new(tty, PollFlags::IN)];
        match poll(&mut waiting, Some(&LOOK_AGAIN)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn line(from: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.take(ANSWER_BYTES_MAX).read_line(&mut text)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nobody answered"));
    }
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

/// A terminal without some of its modes, until this is dropped.
struct Changed<'a> {
    tty: &'a File,
    before: Termios,
}

impl Changed<'_> {
    fn without(tty: &File, modes: LocalModes) -> io::Result<Changed<'_>> {
        let before = tcgetattr(tty)?;
        let mut changed = before.clone();
        changed.local_modes.remove(modes);
        tcsetattr(tty, OptionalActions::Flush, &changed)?;
        Ok(Changed { tty, before })
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs none of them.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn ctrl_c_is_for_who_waits_at_the_terminal_as_long_as_it_waits() {
        assert!(!interrupt());
        let waiting = Interruptible::begin();
        assert_eq!(waiting.pressed().now_or_never(), None);
        assert!(interrupt());
        assert_eq!(waiting.pressed().now_or_never(), Some(()));
        let later = Interruptible::begin();
        drop(waiting);
        assert!(interrupt(), "whoever came later still waits");
        drop(later);
        assert!(!interrupt());
    }
}
