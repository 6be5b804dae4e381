//! `--report-file`: one JSON document about the whole run, there only when it is complete.
//!
//! A run of 10,000 hosts and 100 tasks has a million results, with their output: they are spooled to unnamed files
//! beside the report as they come and copied into it at the end. What is kept in memory grows with hosts and tasks only.

use std::fs::{File, Permissions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tempfile::{NamedTempFile, tempfile_in};

use super::document::{Failure, HostResult, PerformanceMetrics, Summary, TaskEntry};
use super::latency::Latencies;
use super::tally::Tally;
use super::{Reporter, json};
use crate::event::{RunEvent, RunFinished, Stamped, TaskResult};

/// Writes the report when the run has finished, also when it was cancelled.
pub struct ReportFile {
    path: PathBuf,
    /// The report to be, under another name in the same folder.
    draft: Option<NamedTempFile>,
    task_results: Spool,
    failures: Spool,
    tally: Tally,
    latencies: Latencies,
    connects: Latencies,
    start: Option<Start>,
}

/// What the run's first event said.
#[derive(Clone)]
struct Start {
    run: String,
    at: DateTime<Utc>,
    elapsed: Duration,
}

impl ReportFile {
    /// Makes its temporary files beside `path`, so that a folder that cannot be written is known before the run.
    ///
    /// # Errors
    /// As making files there.
    pub fn create(path: &Path) -> io::Result<ReportFile> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if path.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there, and is not a regular file"));
        }
        Ok(ReportFile {
            path: path.to_owned(),
            draft: Some(NamedTempFile::new_in(folder)?),
            task_results: Spool::new(folder)?,
            failures: Spool::new(folder)?,
            tally: Tally::default(),
            latencies: Latencies::default(),
            connects: Latencies::default(),
            start: None,
        })
    }

    fn host_finished(&mut self, result: &TaskResult, at: DateTime<Utc>) -> io::Result<()> {
        self.tally.add(result);
        if result.attempts > 0 {
            self.latencies.add(result.elapsed);
        }
        self.task_results.push(&TaskEntry::new(result, at))?;
        Failure::new(result).map_or(Ok(()), |failure| self.failures.push(&failure))
    }

    fn run_finished(&mut self, finished: &RunFinished, end: DateTime<Utc>, elapsed: Duration) -> io::Result<()> {
        let Some(mut draft) = self.draft.take() else { return Ok(()) };
        let mut to = BufWriter::new(draft.as_file_mut());
        self.write(&mut to, finished, end, elapsed)?;
        to.flush()?;
        drop(to);
        self.keep_mode(&draft)?;
        draft.as_file().sync_all()?;
        draft.persist(&self.path)?;
        Ok(())
    }

    /// A report that is written again stays as readable as it was; a new one is for its owner alone: it may hold
    /// whatever the tasks printed.
    fn keep_mode(&self, draft: &NamedTempFile) -> io::Result<()> {
        let permissions: Option<Permissions> = self.path.metadata().ok().map(|old| old.permissions());
        permissions.map_or(Ok(()), |permissions| draft.as_file().set_permissions(permissions))
    }

    /// A [`Report`](super::document::Report), field by field, since its lists are not in memory.
    fn write(
        &mut self,
        to: &mut impl Write,
        finished: &RunFinished,
        end: DateTime<Utc>,
        elapsed: Duration,
    ) -> io::Result<()> {
        let start = self.start.clone().unwrap_or(Start { run: String::new(), at: end, elapsed });
        let seconds = elapsed.saturating_sub(start.elapsed).as_secs_f64();
        let per_second = if seconds > 0.0 { self.tally.total.total() as f64 / seconds } else { 0.0 };
        let (latency, connect) = (self.latencies.percentiles(), self.connects.percentiles());
        to.write_all(b"{\n")?;
        field(to, "execution_id", &start.run)?;
        field(to, "start_time", &start.at)?;
        field(to, "end_time", &end)?;
        field(to, "duration", &seconds)?;
        field(to, "summary", &Summary::new(&self.tally, finished))?;
        field(to, "host_results", &self.host_results(finished))?;
        self.task_results.copy_as_list(to, "task_results")?;
        self.failures.copy_as_list(to, "failures")?;
        let metrics = PerformanceMetrics::new(per_second, latency, connect, &finished.metrics);
        to.write_all(b"\"performance_metrics\": ")?;
        json::write_record(to, &metrics)?;
        to.write_all(b"\n}\n")
    }

    fn host_results(&self, finished: &RunFinished) -> Vec<HostResult> {
        let counts = |host| self.tally.hosts.get(host).copied().unwrap_or_default();
        finished.hosts.iter().map(|(host, state)| HostResult::new(host.as_str(), *state, counts(host))).collect()
    }
}

fn field(to: &mut impl Write, name: &str, value: &impl Serialize) -> io::Result<()> {
    write!(to, "\"{name}\": ")?;
    json::write_record(to, value)?;
    to.write_all(b",\n")
}

impl Reporter for ReportFile {
    fn report(&mut self, stamped: &Stamped) -> io::Result<()> {
        match &stamped.event {
            RunEvent::RunStarted(run) => {
                self.start = Some(Start { run: run.run.to_string(), at: stamped.at, elapsed: stamped.elapsed });
            }
            RunEvent::HostConnected { connect, .. } => self.connects.add(*connect),
            RunEvent::HostFinished(result) => self.host_finished(result, stamped.at)?,
            RunEvent::RunFinished(finished) => self.run_finished(finished, stamped.at, stamped.elapsed)?,
            _ => {}
        }
        Ok(())
    }

    /// # Errors
    /// If the run never came to its last event: there is no report then, and nothing is left beside it.
    fn finish(&mut self) -> io::Result<()> {
        match self.draft.take() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("the run ended without telling how")),
        }
    }
}

/// JSON values on disk, one a line, in a file without a name: gone when the program is, however it ends.
struct Spool {
    file: BufWriter<File>,
    is_empty: bool,
}

impl Spool {
    fn new(folder: &Path) -> io::Result<Spool> {
        Ok(Spool { file: BufWriter::new(tempfile_in(folder)?), is_empty: true })
    }

    fn push(&mut self, value: &impl Serialize) -> io::Result<()> {
        if !self.is_empty {
            self.file.write_all(b",\n")?;
        }
        self.is_empty = false;
        json::write_record(&mut self.file, value)
    }

    fn copy_as_list(&mut self, to: &mut impl Write, name: &str) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))?;
        writeln!(to, "\"{name}\": [")?;
        io::copy(&mut BufReader::new(file), to)?;
        to.write_all(b"\n],\n")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::super::script::{Script, file_diff, host, item};
    use super::*;
    use crate::event::{CancelReason, HostState, TaskStatus};

    fn run(path: &Path, script: &Script) -> io::Result<()> {
        let mut file = ReportFile::create(path)?;
        script.events.iter().try_for_each(|event| file.report(event))?;
        file.finish()
    }

    fn read(path: &Path) -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn script() -> Script {
        let mut script = Script::new(["web1", "web2", "web3"]);
        script.push(RunEvent::HostConnected {
            host: host("web1"),
            agent: "rustle-agent".to_owned(),
            connect: Duration::from_millis(8),
        });
        script.play("p");
        let task = script.task("install", "command");
        script.finish_with(task, "web1", TaskStatus::Changed, |r| {
            r.values.insert("stdout".to_owned(), "a\nb".into());
            r.values.insert("stdout_lines".to_owned(), vec!["a".to_owned()].into());
            r.values.insert("stderr".to_owned(), rustle_protocol::Value::Bytes(vec![b'x', 0xff]));
            r.values.insert("rc".to_owned(), 0.into());
            r.values.insert("_ansible_no_log".to_owned(), false.into());
            r.diff = vec![file_diff("/etc/motd", "a\n", "b\n")];
            r.attempts = 3;
            r.delegated_to = Some(host("db1"));
        });
        script.failed(task, "web2", "no");
        script
    }

    #[test]
    fn a_report_tells_everything_under_the_documented_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = script();
        script.finish(None, &[("web2", HostState::Failed), ("web3", HostState::NotStarted)]);
        run(&path, &script).unwrap();
        let report = read(&path);
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
        {
          "execution_id": "00000000-0000-0000-0000-000000000007",
          "start_time": "2026-01-02T03:04:05Z",
          "end_time": "2026-01-02T03:04:05.700Z",
          "duration": 0.7,
          "summary": {
            "total_tasks": 2,
            "successful_tasks": 1,
            "failed_tasks": 1,
            "skipped_tasks": 0,
            "changed_tasks": 1,
            "ignored_tasks": 0,
            "rescued_tasks": 0,
            "total_hosts": 3,
            "successful_hosts": 1,
            "unreachable_hosts": 0,
            "failed_hosts": 1,
            "cancelled_hosts": 0,
            "not_started_hosts": 1,
            "cancelled": false,
            "playbooks_not_begun": []
          },
          "host_results": [
            {
              "host": "web1",
              "status": "ok",
              "ok": 1,
              "changed": 1,
              "unreachable": 0,
              "failed": 0,
              "skipped": 0,
              "rescued": 0,
              "ignored": 0,
              "cancelled": 0
            },
            {
              "host": "web2",
              "status": "failed",
              "ok": 0,
              "changed": 0,
              "unreachable": 0,
              "failed": 1,
              "skipped": 0,
              "rescued": 0,
              "ignored": 0,
              "cancelled": 0
            },
            {
              "host": "web3",
              "status": "not_started",
              "ok": 0,
              "changed": 0,
              "unreachable": 0,
              "failed": 0,
              "skipped": 0,
              "rescued": 0,
              "ignored": 0,
              "cancelled": 0
            }
          ],
          "task_results": [
            {
              "task_id": "task-0",
              "task_name": "install",
              "host": "web1",
              "status": "changed",
              "changed": true,
              "failed": false,
              "skipped": false,
              "ignored": false,
              "rescued": false,
              "start_time": "2026-01-02T03:04:05.400Z",
              "end_time": "2026-01-02T03:04:05.500Z",
              "duration": 0.1,
              "result": {
                "changed": true,
                "stdout": "a\nb",
                "stderr": "x�",
                "rc": 0
              },
              "error": null,
              "stdout": "a\nb",
              "stderr": "x�",
              "return_code": 0,
              "diff": {
                "before": "a\n",
                "after": "b\n",
                "diff_lines": [
                  "--- before: /etc/motd",
                  "+++ after: /etc/motd",
                  "@@ -1 +1 @@",
                  "-a",
                  "+b"
                ]
              },
              "retry_count": 2,
              "delegated_to": "db1"
            },
            {
              "task_id": "task-0",
              "task_name": "install",
              "host": "web2",
              "status": "failed",
              "changed": false,
              "failed": true,
              "skipped": false,
              "ignored": false,
              "rescued": false,
              "start_time": "2026-01-02T03:04:05.500Z",
              "end_time": "2026-01-02T03:04:05.600Z",
              "duration": 0.1,
              "result": {
                "changed": false,
                "msg": "no"
              },
              "error": "no",
              "stdout": null,
              "stderr": null,
              "return_code": null,
              "diff": null,
              "retry_count": 0,
              "delegated_to": null
            }
          ],
          "failures": [
            {
              "task_id": "task-0",
              "task_name": "install",
              "host": "web2",
              "status": "failed",
              "error": "no",
              "ignored": false,
              "rescued": false
            }
          ],
          "performance_metrics": {
            "tasks_per_second": 2.857142857142857,
            "task_latency": {
              "p50": 0.1,
              "p95": 0.1,
              "p99": 0.1,
              "max": 0.1
            },
            "connect_time": {
              "p50": 0.008,
              "p95": 0.008,
              "p99": 0.008,
              "max": 0.008
            },
            "bytes_sent": 1000,
            "bytes_received": 2000,
            "peak_concurrency": 3,
            "peak_memory": 4194304
          }
        }
        "#);
    }

    #[test]
    fn a_cancelled_run_has_a_report_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = script();
        let items = vec![item("a", TaskStatus::Ok), item("b", TaskStatus::Cancelled)];
        let task = script.task("loop", "command");
        script.looped(task, "web1", TaskStatus::Cancelled, false, items);
        script.finish(Some(CancelReason::Interrupted), &[("web1", HostState::Cancelled)]);
        run(&path, &script).unwrap();
        let report = read(&path);
        assert_eq!(report["summary"]["cancelled"], json!(true));
        assert_eq!(report["task_results"][2]["items"][1]["status"], json!("cancelled"));
        assert_eq!(report["failures"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_run_without_results_has_a_report_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = Script::new(["web1"]);
        script.finish(None, &[]);
        run(&path, &script).unwrap();
        assert_eq!(read(&path)["task_results"], json!([]));
    }

    #[test]
    fn a_report_has_the_fields_that_the_schema_requires_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = script();
        script.finish(None, &[]);
        run(&path, &script).unwrap();
        let (report, schema) = (read(&path), super::super::document::schema());
        let names = |object: &Value| {
            let mut names: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(&report), names(&schema["properties"]));
        for (part, of) in [("Summary", &report["summary"]), ("PerformanceMetrics", &report["performance_metrics"])] {
            assert_eq!(names(of), names(&schema["$defs"][part]["properties"]), "{part}");
        }
        assert_eq!(names(&report["host_results"][0]), names(&schema["$defs"]["HostResult"]["properties"]));
        assert_eq!(names(&report["failures"][0]), names(&schema["$defs"]["Failure"]["properties"]));
    }

    #[test]
    fn a_report_is_exact_and_harmless_to_show() {
        let evil = "\x1b]52;c;cm0K\x07\u{9b}2J\u{202e}";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = Script::new(["web1"]);
        let task = script.task(evil, "command");
        script.failed(task, "web1", evil).finish(None, &[]);
        run(&path, &script).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(|c| super::super::sanitize::is_hostile(c) && c != '\n'), "{text}");
        assert_eq!(read(&path)["task_results"][0]["result"]["msg"], json!(evil));
    }

    #[test]
    fn an_interrupted_program_leaves_the_old_report_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        std::fs::write(&path, "old").unwrap();
        assert!(run(&path, &script()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_report_is_its_owners_alone_and_an_old_one_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut script = script();
        script.finish(None, &[]);
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        run(&path, &script).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        run(&path, &script).unwrap();
        assert_eq!(mode(), 0o644);
    }

    #[test]
    fn a_place_that_a_report_cannot_take_is_told_before_the_run() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ReportFile::create(&dir.path().join("no/report.json")).is_err());
        assert!(ReportFile::create(dir.path()).is_err(), "a folder");
        assert!(ReportFile::create(Path::new("/dev/null")).is_err(), "a device");
    }
}
