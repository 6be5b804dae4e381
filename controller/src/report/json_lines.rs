//! `--progress json`: every event as one line of JSON on standard output, for programs.

use std::io::{self, Write};

use super::{Reporter, json};
use crate::event::Stamped;

/// Writes events as they come, a whole line at a time. The text of hosts is exact, and escaped so far that a terminal
/// shows it and does nothing else.
pub struct JsonLines {
    to: Box<dyn Write + Send>,
    line: Vec<u8>,
    closed: bool,
}

impl JsonLines {
    pub fn new(to: Box<dyn Write + Send>) -> JsonLines {
        JsonLines { to, line: Vec::new(), closed: false }
    }
}

impl Reporter for JsonLines {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        self.line.clear();
        json::write_record(&mut self.line, event)?;
        self.line.push(b'\n');
        match self.to.write_all(&self.line).and_then(|()| self.to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        // Whoever read the first part has it.
        let _ = event;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::super::test_output::{Broken, Shared};
    use super::*;

    #[test]
    fn every_event_is_a_line_that_reads_back_as_the_event() {
        let mut script = Script::new(["web1"]);
        script.play("p");
        let task = script.task("t", "command");
        script.failed(task, "web1", "bad \u{9b}2J \u{202e}\nline").finish(None, &[]);
        let out = Shared::default();
        let mut reporter = JsonLines::new(Box::new(out.clone()));
        script.events.iter().for_each(|event| reporter.report(event).unwrap());
        let text = out.text();
        assert!(!text.contains(['\u{9b}', '\u{202e}']), "{text}");
        let back: Vec<Stamped> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(back, script.events);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let script = Script::new(["web1"]);
        let mut reporter = JsonLines::new(Box::new(Broken(io::ErrorKind::BrokenPipe)));
        reporter.report(&script.events[0]).unwrap();
        let mut reporter = JsonLines::new(Box::new(Broken(io::ErrorKind::StorageFull)));
        assert_eq!(reporter.report(&script.events[0]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
