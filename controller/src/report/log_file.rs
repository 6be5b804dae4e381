//! `--log-file`: everything that happens, as lines with a time, to read afterwards or to follow with `tail -f`.
//!
//! The words are those of the plain output with `-v`, so each result is there with its output; besides, what only a log
//! wants to know: connections, starts and ends. No colours, no control characters.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::SecondsFormat;

use super::Reporter;
use super::layout::Layout;
use super::line::Line;
use crate::event::{RunEvent, Stamped};

/// Results are logged as `-v` shows them, at least.
const VERBOSITY_MIN: u8 = 1;

/// A new log is for its owner alone: results may hold anything.
const MODE_NEW: u32 = 0o600;

/// A log that each event is appended to as it happens.
pub struct LogFile<W = File> {
    to: W,
    layout: Layout,
}

impl LogFile<File> {
    /// Opens the file to append to, or makes it, readable to its owner alone.
    ///
    /// # Errors
    /// As opening.
    pub fn open(path: &Path, verbosity: u8) -> io::Result<LogFile<File>> {
        let file = OpenOptions::new().append(true).create(true).mode(MODE_NEW).open(path)?;
        Ok(LogFile::new(file, verbosity))
    }
}

impl<W: Write + Send> LogFile<W> {
    fn new(to: W, verbosity: u8) -> LogFile<W> {
        LogFile { to, layout: Layout::new(verbosity.max(VERBOSITY_MIN), None) }
    }
}

impl<W: Write + Send> Reporter for LogFile<W> {
    fn report(&mut self, event: &Stamped) -> io::Result<()> {
        let at = event.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let own = own_words(&event.event).map(|text| Line::new(&text));
        let mut text = String::new();
        for line in own.into_iter().chain(self.layout.lines(event)).filter(|line| !line.is_blank()) {
            text.push_str(&at);
            text.push(' ');
            line.render(None, &mut text);
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        self.to.write_all(text.as_bytes())
    }

    fn recall(&mut self, event: &Stamped) -> io::Result<()> {
        drop(self.layout.lines(event));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// What the terminal does not tell.
fn own_words(event: &RunEvent) -> Option<String> {
    match event {
        RunEvent::RunStarted(run) => Some(format!(
            "run {} of {}: plays {}, tasks {}, hosts {}, forks {}{}",
            run.run,
            run.sources.join(", "),
            run.plays,
            run.tasks,
            run.hosts,
            run.forks,
            if run.check { ", check mode" } else { "" }
        )),
        RunEvent::HostConnected { host, agent, connect } => {
            Some(format!("connected: [{host}] in {:.3}s, {agent}", connect.as_secs_f64()))
        }
        RunEvent::HostStarted { task, host, attempt } => Some(format!("started: [{host}] {task} try {attempt}")),
        RunEvent::Retrying { host, reason, delay, .. } => {
            Some(format!("retrying: [{host}] in {:.1}s: {reason}", delay.as_secs_f64()))
        }
        RunEvent::BatchFinished { batch, .. } => Some(format!("batch {} finished", batch + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::script::{Script, host};
    use super::*;

    #[test]
    fn a_log_has_a_time_on_every_line_and_every_result_in_full() {
        let mut script = Script::new(["web1"]);
        script.push(RunEvent::HostConnected {
            host: host("web1"),
            agent: "rustle-agent 0.1\x1b[m".to_owned(),
            connect: Duration::from_millis(5),
        });
        script.play("p");
        let task = script.task("t", "command");
        script.start(task, "web1");
        script.finish_with(task, "web1", crate::event::TaskStatus::Changed, |r| {
            r.values.insert("stdout".to_owned(), "a\nb\x1b[2J".into());
        });
        script.finish(None, &[]);
        let mut log = LogFile::new(Vec::new(), 0);
        script.events.iter().for_each(|event| log.report(event).unwrap());
        insta::assert_snapshot!(String::from_utf8(log.to).unwrap(), @r#"
        2026-01-02T03:04:05.000Z run 00000000-0000-0000-0000-000000000007 of plan.json: plays 1, tasks 1, hosts 1, forks 50
        2026-01-02T03:04:05.100Z connected: [web1] in 0.005s, rustle-agent 0.1\u001b[m
        2026-01-02T03:04:05.300Z PLAY [p] ***********************************************************************
        2026-01-02T03:04:05.400Z TASK [t] ***********************************************************************
        2026-01-02T03:04:05.500Z started: [web1] task-0 try 1
        2026-01-02T03:04:05.600Z changed: [web1] => {"changed": true, "stdout": "a\nb\u001b[2J", "stdout_lines": ["a", "b\u001b[2J"]}
        2026-01-02T03:04:05.700Z PLAY RECAP *********************************************************************
        2026-01-02T03:04:05.700Z web1                       : ok=1    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
        "#);
    }

    #[test]
    fn a_log_is_appended_to_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.log");
        let script = Script::new(["web1"]);
        for _ in 0..2 {
            let mut log = LogFile::open(&path, 0).unwrap();
            log.report(&script.events[0]).unwrap();
            log.finish().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
