//! Lines in Ansible's layout, one after the other: for pipes, files, CI, and terminals that want no more.

use std::io::{self, Write};
use std::time::Duration;

use super::Reporter;
use super::layout::Layout;
use super::line::{Line, Stream};
use super::palette::Palette;
use super::progress::Progress;
use crate::event::Stamped;

/// Least time between two lines of progress where nothing can be redrawn: seldom enough not to fill a CI log.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Where lines go, and whether each place wants colours.
pub struct Console {
    out: Target,
    err: Target,
}

struct Target {
    to: Box<dyn Write + Send>,
    colours: Option<Palette>,
    /// The reader went away (`| head`). That is its right, and nothing of the run's.
    closed: bool,
}

impl Console {
    /// Without colours.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Console {
        let target = |to| Target { to, colours: None, closed: false };
        Console { out: target(out), err: target(err) }
    }

    /// With these colours on standard output, on standard error, or on both.
    #[must_use]
    pub fn coloured(mut self, palette: &Palette, on_out: bool, on_err: bool) -> Console {
        self.out.colours = on_out.then(|| palette.clone());
        self.err.colours = on_err.then(|| palette.clone());
        self
    }

    /// Writes each run of lines of one stream in one piece.
    ///
    /// # Errors
    /// As writing; a pipe that nobody reads is none.
    pub fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        for piece in lines.chunk_by(|a, b| a.stream == b.stream) {
            let target = match piece[0].stream {
                Stream::Out => &mut self.out,
                Stream::Err => &mut self.err,
            };
            target.write(piece)?;
        }
        Ok(())
    }
}

impl Target {
    fn write(&mut self, lines: &[Line]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            line.render(self.colours.as_ref(), &mut text);
            text.push('\n');
        }
        match self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// Ansible's default output.
pub struct Plain {
    console: Console,
    layout: Layout,
    progress: Option<PlainProgress>,
}

#[derive(Default)]
struct PlainProgress {
    progress: Progress,
    told: Duration,
}

impl Plain {
    pub fn new(console: Console, layout: Layout) -> Plain {
        Plain { console, layout, progress: None }
    }

    /// With a line of progress on standard error now and then.
    #[must_use]
    pub fn with_progress_lines(mut self) -> Plain {
        self.progress = Some(PlainProgress::default());
        self
    }
}

impl Reporter for Plain {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        let mut lines = self.layout.lines(event);
        if let Some(progress) = &mut self.progress {
            progress.progress.add(event);
            lines.extend(progress.due(event.elapsed));
        }
        self.console.write(&lines)
    }

    fn tick(&mut self, elapsed: Duration) {
        if let Some(line) = self.progress.as_mut().and_then(|progress| progress.due(elapsed)) {
            // Who does not see it misses nothing but this.
            let _ = self.console.write(&[line]);
        }
    }

    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        self.layout.recall(event);
        if let Some(progress) = &mut self.progress {
            progress.progress.add(event);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PlainProgress {
    /// A line of progress, if it is time for one.
    fn due(&mut self, elapsed: Duration) -> Option<Line> {
        let due = elapsed.saturating_sub(self.told) >= PROGRESS_INTERVAL;
        let text = if due { self.progress.one_line(elapsed) } else { None };
        text.map(|text| {
            self.told = elapsed;
            Line::new(&text).to_err()
        })
    }
}
