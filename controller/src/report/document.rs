//! The report file's content, as `docs/schema/report.schema.json` describes it. Fields are added, never renamed.

use chrono::{DateTime, Utc};
use rustle_protocol::{Map, Value};
use schemars::JsonSchema;
use serde::Serialize;

use super::diff;
use super::settings::DIFF_CONTEXT;
use super::tally::{HostTally, Tally};
use crate::event::{HostState, ItemResult, Metrics, RunFinished, TaskResult, TaskStatus, why};

/// The schema of a report.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// Everything that a run did, on every host. Times are UTC, durations seconds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report<'a> {
    pub execution_id: String,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    /// From start to end, without the time in which nobody worked on the run.
    pub duration: f64,
    pub summary: Summary,
    /// By host name.
    pub host_results: Vec<HostResult>,
    /// In the order in which they came in.
    pub task_results: Vec<TaskEntry<'a>>,
    /// Every failed, timed-out, cancelled and unreachable result, ignored and rescued ones too.
    pub failures: Vec<Failure<'a>>,
    pub performance_metrics: PerformanceMetrics,
}

/// Tasks are counted once for each host. `total_tasks` is the sum of successful, failed and skipped ones, `total_hosts`
/// that of successful, unreachable, failed, cancelled and not started ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    pub total_tasks: usize,
    /// With those that changed something.
    pub successful_tasks: usize,
    /// With those timed out, cancelled, unreachable; and with those ignored or rescued.
    pub failed_tasks: usize,
    pub skipped_tasks: usize,
    pub changed_tasks: usize,
    /// Of the failed ones.
    pub ignored_tasks: usize,
    /// Of the failed ones.
    pub rescued_tasks: usize,
    pub total_hosts: usize,
    pub successful_hosts: usize,
    pub unreachable_hosts: usize,
    pub failed_hosts: usize,
    pub cancelled_hosts: usize,
    pub not_started_hosts: usize,
    /// Whether the run was stopped before its end, and so some of it never happened.
    pub cancelled: bool,
    /// Playbooks that the run did not come to: one before them had failures, or it was stopped.
    #[schemars(default)]
    pub playbooks_not_begun: Vec<String>,
}

/// One host's counts, as in Ansible's recap.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HostResult {
    pub host: String,
    pub status: HostState,
    pub ok: usize,
    pub changed: usize,
    pub unreachable: usize,
    pub failed: usize,
    pub skipped: usize,
    pub rescued: usize,
    pub ignored: usize,
    pub cancelled: usize,
}

/// What came of one task on one host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TaskEntry<'a> {
    pub task_id: String,
    pub task_name: &'a str,
    pub host: &'a str,
    pub status: TaskStatus,
    pub changed: bool,
    /// With timed out, cancelled and unreachable.
    pub failed: bool,
    pub skipped: bool,
    pub ignored: bool,
    pub rescued: bool,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    pub duration: f64,
    /// What the module returned, but for the lists of lines that repeat its output.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub result: Map,
    /// Why it failed.
    pub error: Option<&'a str>,
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    pub return_code: Option<i64>,
    pub diff: Option<DiffEntry>,
    /// Tries beyond the first.
    pub retry_count: u32,
    pub delegated_to: Option<&'a str>,
    /// One for each item of a loop; not there for a task without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub items: Vec<ItemEntry<'a>>,
}

/// One item of a loop.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ItemEntry<'a> {
    pub item: &'a str,
    pub status: TaskStatus,
    pub error: Option<&'a str>,
    pub diff: Option<DiffEntry>,
}

/// What changed or, in check mode, would change. If it is several things, `before` and `after` are lists of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffEntry {
    #[schemars(with = "serde_json::Value")]
    pub before: Value,
    #[schemars(with = "serde_json::Value")]
    pub after: Value,
    /// As a unified diff.
    pub diff_lines: Vec<String>,
}

/// A result that was a failure, found again in `task_results` by task and host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Failure<'a> {
    pub task_id: String,
    pub task_name: &'a str,
    pub host: &'a str,
    pub status: TaskStatus,
    pub error: &'a str,
    pub ignored: bool,
    pub rescued: bool,
}

/// Seconds and bytes. Latencies and connect times are true to two in a hundred.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PerformanceMetrics {
    pub tasks_per_second: f64,
    pub task_latency: Percentiles,
    pub connect_time: Percentiles,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Most hosts with work in flight at once.
    pub peak_concurrency: usize,
    /// Of the controller, resident; 0 where the system does not tell.
    pub peak_memory: u64,
}

/// Seconds that half, 95 and 99 in a hundred took at most. All 0 if there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Summary {
    pub(super) fn new(tally: &Tally, finished: &RunFinished) -> Summary {
        let hosts = |state: HostState| finished.hosts.iter().filter(|(_, s)| *s == state).count();
        let total = &tally.total;
        Summary {
            total_tasks: total.total(),
            successful_tasks: total.successful(),
            failed_tasks: total.failures(),
            skipped_tasks: total.skipped,
            changed_tasks: total.changed,
            ignored_tasks: total.ignored,
            rescued_tasks: total.rescued,
            total_hosts: finished.hosts.len(),
            successful_hosts: hosts(HostState::Ok),
            unreachable_hosts: hosts(HostState::Unreachable),
            failed_hosts: hosts(HostState::Failed),
            cancelled_hosts: hosts(HostState::Cancelled),
            not_started_hosts: hosts(HostState::NotStarted),
            cancelled: finished.cancelled.is_some(),
            playbooks_not_begun: finished.not_begun.clone(),
        }
    }
}

impl HostResult {
    pub(super) fn new(host: &str, status: HostState, counts: HostTally) -> HostResult {
        let HostTally { ok, changed, unreachable, failed, skipped, rescued, ignored, cancelled } = counts;
        let host = host.to_owned();
        HostResult { host, status, ok, changed, unreachable, failed, skipped, rescued, ignored, cancelled }
    }
}

impl<'a> TaskEntry<'a> {
    pub(super) fn new(result: &'a TaskResult, end_time: DateTime<Utc>) -> TaskEntry<'a> {
        let failed = result.status.is_failure();
        TaskEntry {
            task_id: result.task.to_string(),
            task_name: &result.name,
            host: result.host.as_str(),
            status: result.status,
            changed: result.status == TaskStatus::Changed,
            failed,
            skipped: result.status == TaskStatus::Skipped,
            ignored: failed && result.ignored,
            rescued: failed && result.rescued,
            start_time: result.started_at,
            end_time,
            duration: result.elapsed.as_secs_f64(),
            result: recorded(&result.values),
            error: failed.then(|| result.msg()),
            stdout: text(&result.values, "stdout"),
            stderr: text(&result.values, "stderr"),
            return_code: result.values.get("rc").and_then(Value::as_i64),
            diff: DiffEntry::new(&result.diff),
            retry_count: result.attempts.saturating_sub(1),
            delegated_to: result.delegated_to.as_ref().map(|host| host.as_str()),
            items: result.items.iter().map(|item| ItemEntry::new(item)).collect(),
        }
    }
}

impl<'a> ItemEntry<'a> {
    fn new(item: &'a ItemResult) -> ItemEntry<'a> {
        ItemEntry {
            item: &item.label,
            status: item.status,
            error: item.status.is_failure().then_some(why(&item.values)),
            diff: DiffEntry::new(&item.diff),
        }
    }
}

impl DiffEntry {
    fn new(diffs: &[rustle_protocol::result::Diff]) -> Option<DiffEntry> {
        let diff_lines = diffs.iter().flat_map(|one| diff::unified(one, DIFF_CONTEXT)).collect();
        let (before, after) = match diffs {
            [] => return None,
            [only] => (only.before.clone(), only.after.clone()),
            several => (
                several.iter().map(|diff| diff.before.clone()).collect(),
                several.iter().map(|diff| diff.after.clone()).collect(),
            ),
        };
        Some(DiffEntry { before, after, diff_lines })
    }
}

impl<'a> Failure<'a> {
    /// None if it was none.
    pub(super) fn new(result: &'a TaskResult) -> Option<Failure<'a>> {
        result.status.is_failure().then(|| Failure {
            task_id: result.task.to_string(),
            task_name: &result.name,
            host: result.host.as_str(),
            status: result.status,
            error: result.msg(),
            ignored: result.ignored,
            rescued: result.rescued,
        })
    }
}

impl PerformanceMetrics {
    pub(super) fn new(
        tasks_per_second: f64,
        task_latency: Percentiles,
        connect_time: Percentiles,
        measured: &Metrics,
    ) -> PerformanceMetrics {
        PerformanceMetrics {
            tasks_per_second,
            task_latency,
            connect_time,
            bytes_sent: measured.bytes_sent,
            bytes_received: measured.bytes_received,
            peak_concurrency: measured.concurrency_peak,
            peak_memory: measured.memory_peak,
        }
    }
}

/// Without what is internal, and without the output once more by lines.
fn recorded(values: &Map) -> Map {
    let kept = |key: &str| !key.starts_with("_ansible_") && !matches!(key, "stdout_lines" | "stderr_lines");
    values.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn text(values: &Map, key: &str) -> Option<String> {
    match values.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
