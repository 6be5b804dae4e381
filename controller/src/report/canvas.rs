//! What live progress is drawn on. indicatif fills each line up to the terminal's edge, so that what somebody types goes
//! on in a line of its own, which nobody clears: a `^C`, which the terminal writes by itself, left half a bar behind.
//! Here lines end where their text does, and what the terminal writes stands behind the text and is cleared with it.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, TermLike};

use crate::prompt::Screen;

/// Columns that a line leaves free, for a `^C`.
pub(super) const ECHO_COLUMNS: usize = 2;

pub(super) struct Canvas<W, C> {
    strokes: Mutex<Strokes<W>>,
    columns: C,
    cover: Cover,
}

/// While a canvas is covered, nothing of what is drawn on it reaches the terminal.
#[derive(Clone, Default)]
pub(super) struct Cover(Arc<AtomicBool>);

impl Cover {
    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }
}

/// A bar on a canvas with this cover, which gives way to questions.
pub(super) struct Covered {
    pub(super) bar: ProgressBar,
    pub(super) cover: Cover,
}

impl Screen for Covered {
    fn hide(&self) {
        // What is drawn is cleared before, and drawn again behind the cover.
        self.bar.suspend(|| self.cover.set(true));
    }

    fn show(&self) {
        // It is cleared behind the cover: what stands there is not the bar's.
        self.bar.suspend(|| self.cover.set(false));
    }
}

struct Strokes<W> {
    to: W,
    /// What is to be written at once.
    pending: String,
    /// The line's text is written; what follows stands on the next one.
    is_line_full: bool,
}

impl<W: Write, C> Canvas<W, C> {
    /// `columns` is asked before each drawing.
    pub(super) fn new(to: W, columns: C, cover: Cover) -> Canvas<W, C> {
        Canvas { strokes: Mutex::new(Strokes { to, pending: String::new(), is_line_full: false }), columns, cover }
    }

    /// A drawing that panicked leaves the screen as good as it was.
    fn strokes(&self) -> MutexGuard<'_, Strokes<W>> {
        self.strokes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self, sequence: &str) -> io::Result<()> {
        let mut strokes = self.strokes();
        strokes.is_line_full = false;
        strokes.pending.push_str(sequence);
        Ok(())
    }

    fn move_cursor(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.control(&format!("\x1b[{n}{direction}")) }
    }
}

impl<W: Write + Send, C: Fn() -> usize + Send + Sync> TermLike for Canvas<W, C> {
    fn width(&self) -> u16 {
        u16::try_from((self.columns)()).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.control("\n")
    }

    /// Nothing but spaces is what fills a line behind its text.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut strokes = self.strokes();
        if !text.is_empty() && text.trim_matches(' ').is_empty() {
            strokes.is_line_full = true;
            return Ok(());
        }
        if std::mem::take(&mut strokes.is_line_full) {
            strokes.pending.push('\n');
        }
        strokes.pending.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.control("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut strokes = self.strokes();
        let pending = std::mem::take(&mut strokes.pending);
        if self.cover.is_on() {
            return Ok(());
        }
        strokes.to.write_all(pending.as_bytes())?;
        strokes.to.flush()
    }
}

impl<W, C> fmt::Debug for Canvas<W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canvas").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

    use super::super::test_output::Shared;
    use super::*;

    const COLUMNS: usize = 12;

    /// What a terminal shows of what was written to it, without empty lines at the end.
    fn screen(written: &str) -> Vec<String> {
        let (mut rows, mut row, mut column) = (vec![String::new()], 0, 0);
        let mut rest = written.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => column = 0,
                '\n' => (row, column) = (row + 1, 0),
                '\x1b' => {
                    let sequence: String = rest.by_ref().skip(1).take_while(|c| !"ABK".contains(*c)).collect();
                    let end = written[..written.len() - rest.as_str().len()].chars().last();
                    match end {
                        Some('A') => row -= sequence.parse::<usize>().unwrap(),
                        Some('B') => row += sequence.parse::<usize>().unwrap(),
                        _ => rows[row].clear(),
                    }
                }
                c => {
                    // Behind the last column a line goes on in the next one.
                    (row, column) = if column == COLUMNS { (row + 1, 0) } else { (row, column) };
                    rows.resize(rows.len().max(row + 1), String::new());
                    assert_eq!(rows[row].chars().count(), column, "nothing is written over");
                    rows[row].push(c);
                    column += 1;
                }
            }
            rows.resize(rows.len().max(row + 1), String::new());
        }
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Two lines of progress below some words.
    fn drawn_on(terminal: &mut Shared, cover: &Cover) -> ProgressBar {
        let canvas = Canvas::new(terminal.clone(), || COLUMNS, cover.clone());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(canvas)));
        bar.set_style(ProgressStyle::with_template("{prefix}\n{msg}").unwrap());
        terminal.write_all(b"words\n").unwrap();
        bar.set_prefix("0/6 hosts");
        bar.set_message("x".repeat(COLUMNS - ECHO_COLUMNS));
        bar.tick();
        assert_eq!(screen(&terminal.text()), ["words", "0/6 hosts", "xxxxxxxxxx"]);
        bar
    }

    #[test]
    fn what_the_terminal_writes_behind_the_progress_goes_with_it() {
        let mut terminal = Shared::default();
        let bar = drawn_on(&mut terminal, &Cover::default());
        terminal.write_all(b"^C").unwrap();
        assert_eq!(screen(&terminal.text()), ["words", "0/6 hosts", "xxxxxxxxxx^C"]);
        bar.suspend(|| terminal.write_all(b"STATUS\n").unwrap());
        assert_eq!(screen(&terminal.text()), ["words", "STATUS", "0/6 hosts", "xxxxxxxxxx"]);
        bar.finish_and_clear();
        assert_eq!(screen(&terminal.text()), ["words", "STATUS"]);
    }

    #[test]
    fn the_progress_gives_way_to_a_question_and_comes_back_below_the_answer() {
        let (mut terminal, cover) = (Shared::default(), Cover::default());
        let bar = drawn_on(&mut terminal, &cover);
        let covered = Covered { bar: bar.clone(), cover };
        covered.hide();
        terminal.write_all(b"sure? ").unwrap();
        bar.tick();
        assert_eq!(screen(&terminal.text()), ["words", "sure? "]);
        terminal.write_all(b"y\n").unwrap();
        covered.show();
        assert_eq!(screen(&terminal.text()), ["words", "sure? y", "0/6 hosts", "xxxxxxxxxx"]);
        bar.finish_and_clear();
        assert_eq!(screen(&terminal.text()), ["words", "sure? y"]);
    }
}
