//! Questions to whoever sits at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// An answer longer than this is none.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What is drawn on the terminal again and again, and would soon be drawn over a question.
pub(crate) trait Screen: Send + Sync {
    /// Takes away what is drawn, and draws no more.
    fn hide(&self);

    /// Draws again, where the cursor is.
    fn show(&self);
}

/// The process has one terminal: this is what stands there.
static TERMINAL: Mutex<Shared> = Mutex::new(Shared { screen: None, questions: 0 });

struct Shared {
    screen: Option<Arc<dyn Screen>>,
    /// That wait for an answer.
    questions: usize,
}

/// Who changes it does nothing else that could panic.
fn terminal() -> MutexGuard<'static, Shared> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `screen` is hidden while a question waits for an answer. `None`: nothing is drawn any more.
pub(crate) fn set_screen(screen: Option<Arc<dyn Screen>>) {
    terminal().screen = screen;
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
    let _asking = Asking::begin();
    let Ok(tty) = File::options().read(true).write(true).open("/dev/tty") else {
        let mut error = io::stderr().lock();
        write!(error, "{question}")?;
        error.flush()?;
        return line(io::stdin().lock());
    };
    (&tty).write_all(question.as_bytes())?;
    let quiet = if echo { None } else { Quiet::new(&tty).ok() };
    let answer = line(BufReader::new(&tty));
    if quiet.is_some() {
        // The line feed that was typed was not shown either.
        (&tty).write_all(b"\n")?;
    }
    answer
}

fn line(from: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.take(ANSWER_BYTES_MAX).read_line(&mut text)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nobody answered"));
    }
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
}

impl Quiet<'_> {
    fn new(tty: &File) -> io::Result<Quiet<'_>> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(tty, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { tty, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(self.tty, OptionalActions::Flush, &self.before);
    }
}
