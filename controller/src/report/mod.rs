//! What a run tells: to people, to files, to programs.
//!
//! A reporter turns events into bytes and knows neither the engine nor the other reporters. Text from hosts reaches a
//! terminal only through [`sanitize`].

mod adhoc;
mod alignment;
mod canvas;
mod custom_stats;
mod diff;
pub mod document;
mod excerpt;
pub mod file;
pub(crate) mod fold;
mod folded;
mod json;
pub mod json_lines;
mod latency;
mod layout;
mod line;
pub mod log_file;
mod palette;
pub mod plain;
mod progress;
mod recap;
pub mod sanitize;
#[cfg(test)]
mod script;
mod settings;
pub mod status;
pub mod tally;
pub mod terminal;
#[cfg(test)]
mod test_output;
mod tree;
mod values;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use adhoc::Answers;
pub use document::schema;
pub use fold::{count, hosts, ranges, short_list};
pub use layout::Layout;
pub use line::{Colour, Line, Stream, colours_wanted};
pub use palette::Palette;
pub use settings::{Colours, OutputSettings, ResultFormat};

use crate::event::Stamped;
use adhoc::Adhoc;
use file::ReportFile;
use json_lines::JsonLines;
use log_file::LogFile;
use plain::{Console, Plain};
use terminal::{FOLD_HOSTS_ABOVE, Terminal, TerminalText};
use tree::Tree;

/// Between two ticks of the reporters: what is due is at most this late.
pub const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Someone who is told of a run. Called from one thread, in the order of events.
pub trait Reporter: Send {
    /// # Errors
    /// If the event could not be told. What that means is decided by [`Reporters`].
    fn report(&mut self, event: &Stamped) -> io::Result<()>;

    /// The event was told before, by an earlier controller of this run: it counts, and is not shown again.
    ///
    /// # Errors
    /// As [`report`](Reporter::report).
    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        self.report(event)
    }

    /// Time goes on, whether or not anything happens; called every [`TICK_INTERVAL`]. For talk: a record has nothing to say
    /// where nothing has happened.
    fn tick(&mut self, _elapsed: Duration) {}

    /// The run is over, after its last event or because something broke.
    ///
    /// # Errors
    /// If what was told is not complete.
    fn finish(&mut self) -> io::Result<()>;
}

/// Whether a run may go on without a reporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// A record: with a hole in it the run is cancelled ([`CancelReason::ReportFailed`]).
    ///
    /// [`CancelReason::ReportFailed`]: crate::event::CancelReason::ReportFailed
    Record,
    /// Talk: the run goes on.
    Talk,
}

/// A reporter of importance [`Record`](Importance::Record) could not write.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {what}")]
pub struct ReportError {
    /// `the report file /tmp/report.json`
    pub what: String,
    #[source]
    pub cause: io::Error,
}

/// Everyone who is told of a run.
#[derive(Default)]
pub struct Reporters {
    list: Vec<Entry>,
}

struct Entry {
    what: String,
    importance: Importance,
    reporter: Box<dyn Reporter>,
}

impl Reporters {
    /// The reporters that the options ask for.
    ///
    /// # Errors
    /// If a file cannot be made: before the run, when nothing is lost yet.
    pub fn new(options: &ReportOptions) -> Result<Reporters, ReportError> {
        let mut reporters = Reporters::default();
        let (importance, console) = console(options);
        reporters.push("standard output", importance, console);
        if let Some(path) = &options.log_file {
            let what = format!("the log file {}", path.display());
            let log = LogFile::open(path, options.verbosity);
            reporters.push_file(what, log.map(|log| Box::new(log) as Box<dyn Reporter>))?;
        }
        if let Some(folder) = &options.tree {
            let what = format!("results in the folder {}", folder.display());
            let tree = Tree::create(folder, options.verbosity);
            reporters.push_file(what, tree.map(|tree| Box::new(tree) as Box<dyn Reporter>))?;
        }
        if let Some(path) = &options.report_file {
            let what = format!("the report file {}", path.display());
            let report = ReportFile::create(path);
            reporters.push_file(what, report.map(|report| Box::new(report) as Box<dyn Reporter>))?;
        }
        Ok(reporters)
    }

    /// Adds a reporter; `what` it writes is named in errors.
    pub fn push(&mut self, what: impl Into<String>, importance: Importance, reporter: Box<dyn Reporter>) {
        self.list.push(Entry { what: what.into(), importance, reporter });
    }

    fn push_file(&mut self, what: String, reporter: io::Result<Box<dyn Reporter>>) -> Result<(), ReportError> {
        match reporter {
            Ok(reporter) => {
                self.push(what, Importance::Record, reporter);
                Ok(())
            }
            Err(cause) => Err(ReportError { what, cause }),
        }
    }

    /// Tells everyone. Who cannot write is told nothing any more; the others are told all the same.
    ///
    /// # Errors
    /// The first record that could not be written.
    pub fn report(&mut self, event: &Stamped) -> Result<(), ReportError> {
        self.each(|reporter| reporter.report(event))
    }

    /// Tells everyone what was told before, of a run that goes on.
    ///
    /// # Errors
    /// The first record that could not be written.
    pub fn recall(&mut self, event: &Stamped) -> Result<(), ReportError> {
        self.each(|reporter| reporter.recall(event))
    }

    /// Tells everyone that so much of the run's time has passed.
    pub fn tick(&mut self, elapsed: Duration) {
        self.list.iter_mut().for_each(|entry| entry.reporter.tick(elapsed));
    }

    /// Ends everyone's work.
    ///
    /// # Errors
    /// The first record that is not complete.
    pub fn finish(&mut self) -> Result<(), ReportError> {
        self.each(|reporter| reporter.finish())
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Reporter) -> io::Result<()>) -> Result<(), ReportError> {
        let mut first = None;
        self.list.retain_mut(|entry| match call(entry.reporter.as_mut()) {
            Ok(()) => true,
            Err(cause) => {
                if entry.importance == Importance::Record && first.is_none() {
                    first = Some(ReportError { what: std::mem::take(&mut entry.what), cause });
                }
                false
            }
        });
        first.map_or(Ok(()), Err)
    }
}

/// `--progress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ProgressMode {
    /// Live progress on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Live progress on a terminal, elsewhere a line of progress every ten seconds on standard error.
    Always,
    /// Plain lines, also on a terminal.
    Never,
    /// Every event as a line of JSON on standard output.
    Json,
}

/// Who is to be told of a run, and how much.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    pub progress: ProgressMode,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// On a terminal, results of runs with more hosts than this are folded.
    pub fold_above: usize,
    pub report_file: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    /// One module on many hosts: answers instead of plays, tasks and a recap.
    pub adhoc: Option<Answers>,
    /// A folder for each host's result.
    pub tree: Option<PathBuf>,
    /// How the words are.
    pub output: OutputSettings,
}

impl Default for ReportOptions {
    fn default() -> ReportOptions {
        ReportOptions {
            progress: ProgressMode::Auto,
            verbosity: 0,
            fold_above: FOLD_HOSTS_ABOVE,
            report_file: None,
            log_file: None,
            adhoc: None,
            tree: None,
            output: OutputSettings::default(),
        }
    }
}

/// What tells the run on standard output. JSON is a record: a program acts on it. Words are talk.
fn console(options: &ReportOptions) -> (Importance, Box<dyn Reporter>) {
    let is_terminal = io::stdout().is_terminal();
    let columns = is_terminal.then(terminal_columns);
    let layout = Layout::new(options.verbosity, columns).with_settings(options.output.clone());
    let standard_streams = || standard_streams(&options.output);
    let answers = options.adhoc.or(options.output.answers);
    if let (Some(answers), false) = (answers, options.progress == ProgressMode::Json) {
        let adhoc = Adhoc::new(standard_streams(), layout, answers);
        return (Importance::Talk, Box::new(adhoc));
    }
    match options.progress {
        ProgressMode::Json => (Importance::Record, Box::new(JsonLines::new(Box::new(io::stdout())))),
        ProgressMode::Auto | ProgressMode::Always if is_terminal => {
            let text = TerminalText::new(layout, options.fold_above);
            (Importance::Talk, Box::new(Terminal::new(standard_streams(), text, terminal_columns)))
        }
        ProgressMode::Always => {
            (Importance::Talk, Box::new(Plain::new(standard_streams(), layout).with_progress_lines()))
        }
        ProgressMode::Auto | ProgressMode::Never => {
            (Importance::Talk, Box::new(Plain::new(standard_streams(), layout)))
        }
    }
}

fn standard_streams(settings: &OutputSettings) -> Console {
    let colours = |is_terminal| match settings.colours {
        Colours::Auto => colours_wanted(is_terminal, |name| std::env::var_os(name)),
        Colours::Always => true,
        Colours::Never => false,
    };
    let (out, err) = (io::stdout(), io::stderr());
    let (colour_out, colour_err) = (colours(out.is_terminal()), colours(err.is_terminal()));
    Console::new(Box::new(out), Box::new(err)).coloured(&settings.palette, colour_out, colour_err)
}

/// Columns of the terminal on standard output; those of no terminal if it does not tell.
fn terminal_columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(layout::COLUMNS_DEFAULT)
}

#[cfg(test)]
mod tests;
