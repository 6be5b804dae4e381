//! A terminal: the words of the plain output, progress below them that is drawn again and again, and results of large
//! fleets folded. What is said ([`TerminalText`], `Progress`) is made apart from the drawing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::canvas::{Canvas, Cover, Covered, ECHO_COLUMNS};
use super::folded::Folded;
use super::layout::{self, Layout};
use super::line::Line;
use super::plain::Console;
use super::progress::Progress;
use super::recap::Rows;
use super::{Reporter, recap};
use crate::event::{RunEvent, Stamped, TaskResult};
use crate::plan::TaskId;
use crate::prompt;

/// Results are folded in runs with more hosts than this: what still fits a screen is told host by host.
pub const FOLD_HOSTS_ABOVE: usize = 50;

/// Time between two drawings of the progress: what the eye takes for at once.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Drawings a second, at most, however fast results come.
const REDRAWS_MAX: u8 = 20;

/// Lines for people at a terminal.
pub struct TerminalText {
    layout: Layout,
    fold_above: usize,
    folding: bool,
    tasks: BTreeMap<TaskId, Folded>,
}

impl TerminalText {
    /// Runs with more than `fold_above` hosts are folded.
    pub fn new(layout: Layout, fold_above: usize) -> TerminalText {
        TerminalText { layout, fold_above, folding: false, tasks: BTreeMap::new() }
    }

    /// The lines to print for the event, above the progress.
    pub fn lines(&mut self, stamped: &Stamped) -> Vec<Line> {
        if let RunEvent::RunStarted(run) = &stamped.event {
            // Who asked for every result wants every result.
            self.folding = run.hosts > self.fold_above && self.layout.verbosity() == 0;
        }
        if self.folding { self.folded(stamped) } else { self.layout.lines(stamped) }
    }

    /// Takes note of what an earlier controller has told.
    pub fn recall(&mut self, stamped: &Stamped) {
        drop(self.lines(stamped));
        self.layout.recall_banners();
    }

    fn folded(&mut self, stamped: &Stamped) -> Vec<Line> {
        match &stamped.event {
            RunEvent::ItemFinished { item, .. } => self.layout.warnings(&item.warnings),
            RunEvent::Retrying { .. } | RunEvent::JobPolled { .. } => Vec::new(),
            RunEvent::HostFinished(result) => self.host_finished(result),
            RunEvent::TaskStarted { task, .. } => {
                let mut lines = self.close(*task);
                lines.extend(self.layout.lines(stamped));
                lines
            }
            RunEvent::BatchFinished { .. } | RunEvent::PlayFinished { .. } => {
                let mut lines = self.close_all();
                lines.extend(self.layout.lines(stamped));
                lines
            }
            RunEvent::PlaybookStarted { playbook, plays } => {
                let mut lines = self.close_all();
                lines.extend(self.layout.playbook_started(playbook, *plays, Rows::Folded));
                lines
            }
            RunEvent::RunFinished(finished) => {
                let mut lines = self.close_all();
                lines.extend(recap::folded(self.layout.tally(), finished, self.layout.columns()));
                lines.extend(self.layout.behind_recap());
                lines
            }
            _ => self.layout.lines(stamped),
        }
    }

    fn host_finished(&mut self, result: &TaskResult) -> Vec<Line> {
        self.layout.count(result);
        let mut lines = self.layout.warnings(&result.warnings);
        let told = self.tasks.entry(result.task).or_default().add(result, self.layout.diff_context());
        if !told.is_empty() {
            lines.extend(self.layout.under(result.task));
            lines.extend(self.layout.above_failure(result.task, &layout::failure(result)));
            lines.extend(told);
        }
        if self.layout.hosts_left(result.task) == 0 {
            lines.extend(self.close(result.task));
        }
        lines
    }

    /// What the task came to, if it is not told yet.
    fn close(&mut self, task: TaskId) -> Vec<Line> {
        let Some(folded) = self.tasks.remove(&task) else { return Vec::new() };
        let mut lines = self.layout.under(task);
        lines.extend(folded.lines());
        lines
    }

    fn close_all(&mut self) -> Vec<Line> {
        let open: Vec<TaskId> = self.tasks.keys().copied().collect();
        open.into_iter().flat_map(|task| self.close(task)).collect()
    }
}

/// A terminal with live progress.
pub struct Terminal {
    text: TerminalText,
    console: Console,
    progress: Arc<Mutex<Progress>>,
    bar: ProgressBar,
}

impl Terminal {
    /// `columns` is asked before each drawing: terminals are resized.
    pub fn new(
        console: Console,
        text: TerminalText,
        columns: impl Fn() -> usize + Copy + Send + Sync + 'static,
    ) -> Self {
        let progress = Arc::new(Mutex::new(Progress::default()));
        let cover = Cover::default();
        let canvas = Canvas::new(io::stdout(), columns, cover.clone());
        let bar =
            ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like_with_hz(Box::new(canvas), REDRAWS_MAX));
        bar.set_style(style(&progress, columns));
        bar.enable_steady_tick(REDRAW_INTERVAL);
        prompt::set_screen(Some(Arc::new(Covered { bar: bar.clone(), cover })));
        Terminal { text, console, progress, bar }
    }
}

fn style(progress: &Arc<Mutex<Progress>>, columns: impl Fn() -> usize + Copy + Send + Sync + 'static) -> ProgressStyle {
    let (of_headline, of_waiting) = (Arc::clone(progress), Arc::clone(progress));
    let columns = move || columns().saturating_sub(ECHO_COLUMNS);
    let start = Instant::now();
    // A failed write here would be one to a string: it cannot fail.
    let headline = move |_: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&lock(&of_headline).headline(columns()));
    };
    let waiting = move |_: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&lock(&of_waiting).waiting(start.elapsed(), columns()));
    };
    ProgressStyle::with_template("{headline}\n{waiting}")
        .expect("the template is a constant that names known keys")
        .with_key("headline", headline)
        .with_key("waiting", waiting)
}

/// A drawing that panicked leaves the numbers as good as they were.
fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter for Terminal {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        lock(&self.progress).add(event);
        let lines = self.text.lines(event);
        if matches!(event.event, RunEvent::RunFinished(_)) {
            self.bar.finish_and_clear();
        }
        if lines.is_empty() {
            return Ok(());
        }
        let Terminal { console, bar, .. } = self;
        bar.suspend(|| console.write(&lines))
    }

    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        lock(&self.progress).add(event);
        self.text.recall(event);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }
}

/// A panic must not leave half a bar on the screen.
impl Drop for Terminal {
    fn drop(&mut self) {
        prompt::set_screen(None);
        self.bar.finish_and_clear();
    }
}
