//! Events as lines in the layout of Ansible's default output, which people's eyes and scripts know.
//!
//! Where Ansible has no words there are our own, chosen so that scripts that look for failures find them:
//! - a host that ran out of time is `fatal: [web1]: FAILED! => {…}` with `timedout` in its result;
//! - one whose task was cancelled, or never begun because the run was, is `fatal: [web1]: CANCELLED! => {…}`, its loop
//!   items `cancelled: [web1] (item=x) => {…}`; its line in the recap ends with `cancelled=N`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rustle_agent::module::short_name;
use rustle_protocol::result::Diff;
use rustle_protocol::{HostName, Map, Value};

use super::custom_stats::CustomStats;
use super::excerpt::Excerpts;
use super::line::{Colour, Line, width};
use super::recap::Rows;
use super::settings::OutputSettings;
use super::tally::Tally;
use super::values::Showing;
use super::{diff, excerpt, recap, status, values};
use crate::event::{
    CancelReason, FailedIn, INCLUDED, ItemResult, JobState, PlayEnd, RunEvent, Stamped, TaskKind, TaskResult,
    TaskStatus, unknown_handler,
};
use crate::fault::Cause;
use crate::origin::Origin;
use crate::plan::TaskId;

/// From here on it is told where playbooks and tasks stand.
const VERBOSITY_PLACES: u8 = 2;

/// Columns that a banner fills where there is no terminal, and the least on one.
pub(super) const COLUMNS_DEFAULT: usize = 80;

/// Stars that follow even the longest name.
const STARS_MIN: usize = 3;

/// Distinct warnings remembered, so that each is shown once. Past that a warning may come again.
const WARNINGS_MAX: usize = 1_000;

/// Turns events into lines. It remembers what a reader has seen: banners, warnings.
pub struct Layout {
    verbosity: u8,
    columns: usize,
    /// A playbook has begun.
    is_in_playbook: bool,
    /// The run changes nothing.
    is_dry: bool,
    /// The banner of the play.
    play: String,
    tasks: BTreeMap<TaskId, TaskBanner>,
    /// The task whose banner was printed last, and how many of its hosts are still to come.
    under: Option<(TaskId, usize)>,
    /// The banners of where the run is were printed by an earlier controller: the reader of now has not seen them.
    is_unseen: bool,
    warned: BTreeSet<String>,
    excerpts: Excerpts,
    /// What was included and for which item, and the hosts it is to be told for.
    included: Vec<(Included, Vec<HostName>)>,
    tally: Tally,
    /// `None`: nobody wants to see them.
    custom_stats: Option<CustomStats>,
    settings: OutputSettings,
}

/// A file or role, and what stands behind it for the item of a loop.
type Included = (String, String);

struct TaskBanner {
    name: String,
    kind: TaskKind,
    /// Stands behind the name.
    mark: &'static str,
    module: String,
    hosts: usize,
    origin: Option<Origin>,
}

/// What one line about a host tells: of the host's result or of one item's.
pub(super) struct Outcome<'a> {
    status: TaskStatus,
    failed_in: Option<FailedIn>,
    causes: &'a [Cause],
    /// Of a host whose task was a loop: its items have told what there is to tell.
    is_of_loop: bool,
    module: &'a str,
    values: &'a Map,
    host: String,
    item: Option<&'a str>,
}

impl Layout {
    /// `verbosity` is how often `-v` was given; `columns` the terminal's width, if there is one.
    pub fn new(verbosity: u8, columns: Option<usize>) -> Layout {
        Layout {
            verbosity,
            columns: columns.map_or(COLUMNS_DEFAULT, |columns| columns.max(COLUMNS_DEFAULT)),
            is_in_playbook: false,
            is_dry: false,
            play: String::new(),
            tasks: BTreeMap::new(),
            under: None,
            is_unseen: false,
            warned: BTreeSet::new(),
            excerpts: Excerpts::default(),
            included: Vec::new(),
            tally: Tally::default(),
            custom_stats: None,
            settings: OutputSettings::default(),
        }
    }

    /// The lines that the event is told in; most often one or none.
    pub fn lines(&mut self, stamped: &Stamped) -> Vec<Line> {
        match &stamped.event {
            RunEvent::Warning { message, host } => self.warning(message, host.as_ref()),
            RunEvent::RunStarted(run) => {
                self.is_dry = run.check;
                Vec::new()
            }
            RunEvent::PlaybookStarted { playbook, plays } => self.playbook_started(playbook, *plays, Rows::All),
            RunEvent::PlayStarted { name, hosts, check, .. } => self.play_started(name, *hosts, *check),
            RunEvent::BatchStarted { .. } => self.batch_started(),
            RunEvent::TaskStarted { task, name, module, kind, hosts, origin, check, .. } => {
                let mut lines = self.take_included();
                let banner = TaskBanner {
                    name: super::sanitize::line(name.trim()).into_owned(),
                    kind: *kind,
                    mark: self.mark(*check),
                    module: module.clone(),
                    hosts: *hosts,
                    origin: origin.clone(),
                };
                lines.extend(self.task_started(*task, banner));
                lines
            }
            RunEvent::HostArrived { task, host } => self.host_arrived(*task, host),
            RunEvent::ItemFinished { task, host, item } => self.item_finished(*task, host, item),
            RunEvent::Retrying { task, name, host, attempt, attempts_max, values, .. } => {
                let host = with_delegate(host, delegate_in(values).as_ref(), values);
                self.retrying((*task, name), &host, (*attempt, *attempts_max), values)
            }
            RunEvent::JobPolled { task, host, job, state } => self.job_polled(*task, host, job, *state),
            RunEvent::HostFinished(result) => self.host_finished(result),
            RunEvent::UnknownHandler { name, ends_run: false, .. } => self.warning(&unknown_handler(name), None),
            RunEvent::UnknownHandler { name, ends_run: true, .. } => {
                self.once(format!("[ERROR]: {}", unknown_handler(name)), Colour::Error)
            }
            RunEvent::PlayFinished { end, .. } => {
                let mut lines = self.take_included();
                lines.extend(play_end(end, self.columns));
                lines
            }
            RunEvent::Cancelling { reason } => vec![Line::coloured(&cancelling(*reason), Colour::Unreachable).to_err()],
            RunEvent::Paused => vec![Line::new("PAUSED: nothing new is started until the run is resumed").to_err()],
            RunEvent::Resumed => vec![Line::new("RESUMED").to_err()],
            RunEvent::Status(status) => status::lines(status, stamped.elapsed),
            RunEvent::RunFinished(finished) => {
                let mut lines = recap::lines(&self.tally, finished, self.columns);
                lines.extend(self.behind_recap());
                lines
            }
            RunEvent::Output { task, bytes, .. } if self.is_pause(*task) => self.said_by_pause(*task, bytes),
            RunEvent::HostConnected { .. }
            | RunEvent::HostStarted { .. }
            | RunEvent::Output { .. }
            | RunEvent::BatchFinished { .. } => Vec::new(),
        }
    }

    /// Takes note of what an earlier controller has told.
    pub fn recall(&mut self, stamped: &Stamped) {
        drop(self.lines(stamped));
        self.recall_banners();
    }

    /// Whatever banners there were, an earlier controller printed them.
    pub(super) fn recall_banners(&mut self) {
        self.is_unseen = true;
    }

    /// With results told as people have set it.
    #[must_use]
    pub fn with_settings(mut self, settings: OutputSettings) -> Layout {
        self.custom_stats = settings.custom_stats.then(CustomStats::default);
        self.settings = settings;
        self
    }

    /// What comes behind the recap.
    pub(super) fn behind_recap(&self) -> Vec<Line> {
        let mut lines = self
            .custom_stats
            .as_ref()
            .map_or_else(Vec::new, |stats| stats.lines(self.settings.result_format, self.columns));
        lines.extend(self.dry_run());
        lines
    }

    /// Stands around each playbook of a run that changes nothing, where that is to be marked.
    fn dry_run(&self) -> Vec<Line> {
        if self.is_dry && self.settings.check_mode_markers { self.banner("DRY RUN") } else { Vec::new() }
    }

    /// What stands behind the name of a play or a task.
    fn mark(&self, check: bool) -> &'static str {
        if check && self.settings.check_mode_markers { " [CHECK MODE]" } else { "" }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn verbosity(&self) -> u8 {
        self.verbosity
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Hosts that the task, since its banner, has still to be told of.
    pub(super) fn hosts_left(&self, task: TaskId) -> usize {
        self.tasks.get(&task).map_or(0, |of_task| of_task.hosts)
    }

    fn banner(&self, text: &str) -> Vec<Line> {
        banner(text, self.columns)
    }

    /// What all came to before it; and, for who wants to know that much, which playbook it is and how many plays it has.
    pub(super) fn playbook_started(&mut self, playbook: &str, plays: usize, rows: Rows) -> Vec<Line> {
        let is_first = !std::mem::replace(&mut self.is_in_playbook, true);
        let mut lines = Vec::new();
        if !is_first {
            lines.extend(recap::so_far(&self.tally, rows, self.columns));
            lines.extend(self.behind_recap());
        }
        if self.verbosity >= VERBOSITY_PLACES {
            let file = Path::new(playbook).file_name().unwrap_or(playbook.as_ref()).to_string_lossy();
            lines.extend(self.banner(&format!("PLAYBOOK: {file}")));
        }
        lines.extend(self.dry_run());
        if self.verbosity >= VERBOSITY_PLACES {
            lines.push(Line::new(&format!("{plays} plays in {playbook}")));
        }
        lines
    }

    fn play_started(&mut self, name: &str, hosts: usize, check: bool) -> Vec<Line> {
        self.play = play_banner(name.trim()) + self.mark(check);
        self.under = None;
        self.is_unseen = false;
        if hosts > 0 {
            return Vec::new();
        }
        let mut lines = self.banner(&self.play);
        lines.push(Line::coloured("skipping: no hosts matched", Colour::Skipped));
        lines
    }

    fn batch_started(&mut self) -> Vec<Line> {
        self.is_unseen = false;
        self.banner(&self.play)
    }

    /// The banner at once, unless hosts are still to be told of under the present one, or there may be nothing to tell: then
    /// with the first result.
    fn task_started(&mut self, task: TaskId, banner: TaskBanner) -> Vec<Line> {
        self.tasks.insert(task, banner);
        if self.settings.leaves_out() {
            // It may be the same task in another batch, which has a banner of its own.
            self.under = self.under.filter(|(other, _)| *other != task);
            return Vec::new();
        }
        match self.under {
            Some((other, still)) if other != task && still > 0 => Vec::new(),
            _ => self.go_under(task),
        }
    }

    fn go_under(&mut self, task: TaskId) -> Vec<Line> {
        let Some(of_task) = self.tasks.get(&task) else { return Vec::new() };
        self.under = Some((task, of_task.hosts));
        self.task_banner(task)
    }

    /// A task's banner, and that of its play if nobody has seen it here; for who wants to know it, the task's place.
    fn task_banner(&mut self, task: TaskId) -> Vec<Line> {
        let mut lines = if self.is_unseen { self.batch_started() } else { Vec::new() };
        let Some(of_task) = self.tasks.get(&task) else { return lines };
        lines.extend(self.banner(&of_task.text()));
        lines.extend(of_task.path().filter(|_| self.verbosity >= VERBOSITY_PLACES));
        lines
    }

    /// Whether people want to be told of such a result.
    fn is_told(&self, status: TaskStatus) -> bool {
        match status {
            TaskStatus::Ok => self.settings.ok_hosts,
            TaskStatus::Skipped => self.settings.skipped_hosts,
            TaskStatus::Changed
            | TaskStatus::Failed
            | TaskStatus::TimedOut
            | TaskStatus::Cancelled
            | TaskStatus::Unreachable => true,
        }
    }

    /// Whether there is a line to come about the result, for which the task's banner has to stand above it.
    fn needs_banner(&self, result: &TaskResult) -> bool {
        if !self.settings.leaves_out() {
            return true;
        }
        match result.is_word_to_the_run() {
            true => self.is_told(result.status) && !self.meta(result).is_empty(),
            false => result.values.contains_key(INCLUDED) || (self.is_told(result.status) && has_own_line(result)),
        }
    }

    /// The task's banner, if another task's was printed since.
    pub(super) fn under(&mut self, task: TaskId) -> Vec<Line> {
        match self.under {
            Some((current, _)) if current == task && self.is_unseen => self.task_banner(task),
            Some((current, _)) if current == task => Vec::new(),
            _ => self.go_under(task),
        }
    }

    /// The task's banner for what is no result: one that waits for a result that is told waits on.
    fn under_if_shown(&mut self, task: TaskId) -> Vec<Line> {
        if self.settings.leaves_out() { Vec::new() } else { self.under(task) }
    }

    fn host_arrived(&mut self, task: TaskId, host: &HostName) -> Vec<Line> {
        let mut lines = self.under_if_shown(task);
        let Some(TaskBanner { name, kind, .. }) = self.tasks.get(&task) else { return lines };
        let word = match kind {
            TaskKind::Task => "TASK",
            TaskKind::Handler => "HANDLER",
        };
        lines.push(Line::coloured(&format!(" [started {word}: {name} on {host}]"), Colour::Ok));
        lines
    }

    fn item_finished(&mut self, task: TaskId, host: &HostName, item: &ItemResult) -> Vec<Line> {
        if !self.is_told(item.status) {
            return self.warnings(&item.warnings);
        }
        let mut lines = self.under(task);
        lines.extend(self.warnings(&item.warnings));
        let changed = item.status == TaskStatus::Changed;
        lines.extend(self.diffs(changed, &item.diff));
        let module = self.tasks.get(&task).map(|of_task| of_task.module.clone()).unwrap_or_default();
        let outcome = Outcome::of_item(host, &module, item);
        lines.extend(self.told(task, &outcome));
        lines
    }

    /// The lines of a result and what stands above them, where a result like it is told.
    fn told(&mut self, task: TaskId, outcome: &Outcome<'_>) -> Vec<Line> {
        let to_err = self.settings.failures_to_err && outcome.status.is_failure();
        let placed = |line: Line| if to_err { line.to_err() } else { line };
        let above = self.above_failure(task, outcome).into_iter().map(placed);
        let path = self.path_of_failure(task, outcome);
        above.chain(path).chain(outcome.lines(self.showing()).into_iter().map(placed)).collect()
    }

    /// The task's place, if it is wanted above failures and did not stand below the banner.
    fn path_of_failure(&self, task: TaskId, outcome: &Outcome<'_>) -> Option<Line> {
        let is_wanted = self.settings.task_path_on_failure && self.verbosity < VERBOSITY_PLACES;
        let is_failure = matches!(outcome.status, TaskStatus::Failed | TaskStatus::TimedOut);
        let is_own = !outcome.is_of_loop && outcome.item.is_none();
        self.tasks.get(&task).filter(|_| is_wanted && is_failure && is_own)?.path()
    }

    /// What went wrong and the task's text, above the first of those failures that are alike.
    pub(super) fn above_failure(&mut self, task: TaskId, failure: &Outcome<'_>) -> Vec<Line> {
        let of_task = self.tasks.get(&task).filter(|_| !failure.is_of_loop);
        let (Some(failed_in), Some(of_task)) = (failure.failed_in, of_task) else { return Vec::new() };
        let Some(origin) = &of_task.origin else { return Vec::new() };
        self.excerpts.of_failure(origin, failure.module, failed_in, failure.values, failure.causes)
    }

    fn host_finished(&mut self, result: &TaskResult) -> Vec<Line> {
        let mut lines = if self.needs_banner(result) { self.under(result.task) } else { Vec::new() };
        self.count(result);
        lines.extend(self.warnings(&result.warnings));
        if result.items.is_empty() {
            lines.extend(self.diffs(result.status == TaskStatus::Changed, &result.diff));
        }
        if self.note_included(result) {
            if self.tasks.get(&result.task).is_none_or(|of_task| of_task.hosts == 0) {
                lines.extend(self.take_included());
            }
            return lines;
        }
        if !self.is_told(result.status) {
            return lines;
        }
        if result.is_word_to_the_run() {
            lines.extend(self.meta(result));
        } else if has_own_line(result) {
            lines.extend(self.told(result.task, &Outcome::of(result)));
        }
        if result.ignored && result.status.is_failure() {
            lines.push(Line::coloured("...ignoring", Colour::Skipped));
        }
        lines
    }

    /// What Ansible says of a `meta` task: with `-vv` what it did, and always that it was skipped.
    fn meta(&self, result: &TaskResult) -> Vec<Line> {
        let skipped = result.status == TaskStatus::Skipped;
        let said = if skipped { result.values.get("skip_reason") } else { result.values.get("msg") };
        let said = said.and_then(Value::as_str).filter(|_| self.verbosity >= 2);
        let mut lines: Vec<Line> = said.map(|said| Line::new(&format!("META: {said}"))).into_iter().collect();
        if skipped {
            lines.extend(Outcome::of(result).lines(self.showing()));
        }
        lines
    }

    /// Remembers what an include brought for a host: it is told once for all hosts that include the same.
    fn note_included(&mut self, result: &TaskResult) -> bool {
        let Some(Value::List(included)) = result.values.get(INCLUDED).filter(|_| !result.status.is_failure()) else {
            return false;
        };
        for label in included {
            let Value::List(label) = label else { continue };
            let [Value::String(what), Value::String(item)] = label.as_slice() else { continue };
            let key = (what.clone(), item.clone());
            // What a host includes twice for items that look the same is told twice.
            let is_new = |hosts: &[HostName]| !hosts.contains(&result.host);
            match self.included.iter_mut().find(|(known, hosts)| *known == key && is_new(hosts)) {
                Some((_, hosts)) => hosts.push(result.host.clone()),
                None => self.included.push((key, vec![result.host.clone()])),
            }
        }
        !included.is_empty()
    }

    fn take_included(&mut self) -> Vec<Line> {
        let told = std::mem::take(&mut self.included).into_iter().map(|((what, item), hosts)| {
            let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            Line::coloured(&format!("included: {what} for {}{item}", hosts.join(", ")), Colour::Included)
        });
        told.collect()
    }

    /// What a task that changed something says of it.
    pub(super) fn diffs(&self, changed: bool, diffs: &[Diff]) -> Vec<Line> {
        self::diffs(changed, diffs, self.diff_context())
    }

    /// Lines of context around each change in a diff.
    pub(super) fn diff_context(&self) -> usize {
        self.settings.diff_context
    }

    /// Takes note of a result without a line for it.
    pub(super) fn count(&mut self, result: &TaskResult) {
        self.tally.add(result);
        if let Some(stats) = &mut self.custom_stats {
            stats.add(result);
        }
        if let Some(of_task) = self.tasks.get_mut(&result.task) {
            of_task.hosts = of_task.hosts.saturating_sub(1);
        }
        if let Some((task, still)) = &mut self.under
            && *task == result.task
        {
            *still = still.saturating_sub(1);
        }
    }

    pub(super) fn showing(&self) -> Showing {
        Showing { verbosity: self.verbosity, format: self.settings.result_format }
    }

    fn retrying(
        &mut self,
        (task, name): (TaskId, &str),
        host: &str,
        (attempt, max): (u32, u32),
        values: &Map,
    ) -> Vec<Line> {
        let mut lines = self.under_if_shown(task);
        let module = self.tasks.get(&task).map_or("", |task| &task.module);
        let left = max.saturating_sub(attempt);
        let name = super::sanitize::line(name.trim());
        let mut text = format!("FAILED - RETRYING: [{host}]: {name} ({left} retries left).");
        if let Some(result) = values::of_retry(module, values, self.showing()) {
            text.push_str(&format!("Result was: {result}"));
        }
        lines.extend(split(&text, Colour::Retry));
        lines
    }

    fn job_polled(&mut self, task: TaskId, host: &HostName, job: &str, state: JobState) -> Vec<Line> {
        let text = match state {
            JobState::Running => format!("ASYNC POLL on {host}: jid={job} started=True finished=False"),
            JobState::Succeeded => format!("ASYNC OK on {host}: jid={job}"),
            JobState::Failed => format!("ASYNC FAILED on {host}: jid={job}"),
        };
        let mut lines = self.under_if_shown(task);
        lines.push(Line::coloured(&text, Colour::Retry));
        lines
    }

    pub(super) fn is_pause(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|banner| short_name(&banner.module) == "pause")
    }

    /// What `pause` says is not a program's output: it is what people wait for.
    fn said_by_pause(&mut self, task: TaskId, said: &[u8]) -> Vec<Line> {
        let mut lines = self.under(task);
        lines.extend(lines_of_pause(said));
        lines
    }

    pub(super) fn warnings(&mut self, warnings: &[String]) -> Vec<Line> {
        warnings.iter().flat_map(|message| self.warning(message, None)).collect()
    }

    /// Each warning once, whatever host it is about: thousands of hosts tend to be alike.
    fn warning(&mut self, message: &str, host: Option<&HostName>) -> Vec<Line> {
        let text = match host {
            Some(host) => format!("[WARNING]: {host}: {message}"),
            None => format!("[WARNING]: {message}"),
        };
        self.once(text, Colour::Warning)
    }

    fn once(&mut self, text: String, colour: Colour) -> Vec<Line> {
        if self.warned.contains(&text) {
            return Vec::new();
        }
        // What follows the first line is moved in, lest it pass for a line of ours.
        let indented = text.lines().enumerate().map(|(n, line)| format!("{}{line}", if n > 0 { "    " } else { "" }));
        let lines = indented.map(|line| Line::coloured(&line, colour).to_err()).collect();
        if self.warned.len() < WARNINGS_MAX {
            self.warned.insert(text);
        }
        lines
    }
}

pub(super) fn lines_of_pause(said: &[u8]) -> Vec<Line> {
    String::from_utf8_lossy(said).lines().map(Line::new).collect()
}

/// What there is to tell of a failed host: of the first item that failed, or of the host itself.
pub(super) fn failure(result: &TaskResult) -> Outcome<'_> {
    match failed_item(result) {
        Some(item) => Outcome::of_item(&result.host, &result.module, item),
        None => Outcome::of(result),
    }
}

fn failed_item(result: &TaskResult) -> Option<&ItemResult> {
    result.items.iter().map(Arc::as_ref).find(|item| item.status == result.status)
}

/// An empty line and the text, filled up with stars.
pub(super) fn banner(text: &str, columns: usize) -> Vec<Line> {
    let stars = columns.saturating_sub(width(text) + 1).max(STARS_MIN);
    vec![Line::blank(), Line::new(&format!("{text} {}", "*".repeat(stars)))]
}

/// What the program says when it begins to stop.
pub(super) fn cancelling(reason: CancelReason) -> String {
    let why = match reason {
        CancelReason::FailFast => "a host failed and --fail-fast was given",
        CancelReason::PlanBroken | CancelReason::PlanUnreadable => "the playbook has an error",
        CancelReason::ReportFailed => "a report cannot be written",
        CancelReason::Requested => "it was asked for",
        CancelReason::Interrupted => "interrupted",
    };
    format!("CANCELLING: {why}; what runs is being stopped, nothing new is started")
}

/// Why a play was stopped; for a budget under Ansible's banner.
fn play_end(end: &PlayEnd, columns: usize) -> Vec<Line> {
    let (mut lines, why) = match end {
        PlayEnd::BudgetExceeded { failed, hosts, allowed } => (
            banner("NO MORE HOSTS LEFT", columns),
            format!("STOPPED: {failed} of {hosts} hosts failed, more than is allowed ({allowed})"),
        ),
        PlayEnd::FatalError => (Vec::new(), "STOPPED: a task failed with any_errors_fatal".to_owned()),
        PlayEnd::Completed | PlayEnd::Ended | PlayEnd::NoHostsLeft | PlayEnd::Cancelled => return Vec::new(),
    };
    lines.push(Line::coloured(&why, Colour::Error));
    lines
}

fn play_banner(name: &str) -> String {
    if name.is_empty() { "PLAY".to_owned() } else { format!("PLAY [{}]", super::sanitize::line(name)) }
}

impl TaskBanner {
    fn text(&self) -> String {
        let word = match self.kind {
            TaskKind::Task => "TASK",
            TaskKind::Handler => "RUNNING HANDLER",
        };
        format!("{word} [{}]{}", self.name, self.mark)
    }

    /// Where the task stands, if a person wrote it.
    fn path(&self) -> Option<Line> {
        let of_line = Origin { column: None, ..self.origin.clone()? };
        Some(Line::new(&format!("task path: {of_line}")))
    }
}

/// A loop is told of item by item; the host has a line of its own only for what no item tells.
fn has_own_line(result: &TaskResult) -> bool {
    match result.status {
        _ if result.items.is_empty() => true,
        TaskStatus::Ok | TaskStatus::Changed => false,
        TaskStatus::Skipped | TaskStatus::Unreachable | TaskStatus::Cancelled => true,
        // Of `debug` Ansible tells both.
        TaskStatus::Failed | TaskStatus::TimedOut => {
            short_name(&result.module) == "debug" || !result.items.iter().any(|item| item.status.is_failure())
        }
    }
}

/// Who has done the work of a delegated task, as its values tell it.
fn delegate_in(values: &Map) -> Option<HostName> {
    HostName::new(values.get("_ansible_delegated_vars")?.as_map()?.get("ansible_delegated_host")?.as_str()?).ok()
}

/// `web1`, or `web1 -> db1` if the work was done there, or `web1 -> db1(10.0.0.9)` if that is another name of db1.
fn with_delegate(host: &HostName, delegated_to: Option<&HostName>, values: &Map) -> String {
    let Some(other) = delegated_to.filter(|other| *other != host) else { return host.to_string() };
    let told = values.get("_ansible_delegated_vars").and_then(Value::as_map);
    match told.and_then(|told| told.get("ansible_host")).and_then(Value::as_str) {
        Some(address) if address != other.as_str() => format!("{host} -> {other}({address})"),
        _ => format!("{host} -> {other}"),
    }
}

pub(super) fn diffs(changed: bool, diffs: &[Diff], context: usize) -> Vec<Line> {
    if changed { diffs.iter().flat_map(|diff| diff::shown(diff, context)).collect() } else { Vec::new() }
}

impl<'a> Outcome<'a> {
    fn of(result: &'a TaskResult) -> Outcome<'a> {
        Outcome {
            status: result.status,
            failed_in: result.failed_in,
            causes: &result.causes,
            is_of_loop: !result.items.is_empty(),
            module: &result.module,
            values: &result.values,
            host: with_delegate(&result.host, result.delegated_to.as_ref(), &result.values),
            item: None,
        }
    }

    fn of_item(host: &HostName, module: &'a str, item: &'a ItemResult) -> Outcome<'a> {
        Outcome {
            status: item.status,
            failed_in: item.failed_in,
            causes: &item.causes,
            is_of_loop: false,
            module,
            values: &item.values,
            host: with_delegate(host, item.delegated_to.as_ref(), &item.values),
            item: Some(&item.label),
        }
    }

    /// The lines themselves, as [`Layout`] gives them.
    pub(super) fn lines(&self, showing: Showing) -> Vec<Line> {
        match self.status {
            TaskStatus::Ok => self.success("ok", Colour::Ok, showing),
            TaskStatus::Changed => self.success("changed", Colour::Changed, showing),
            TaskStatus::Skipped => self.success("skipping", Colour::Skipped, showing),
            TaskStatus::Failed | TaskStatus::TimedOut => {
                self.failure("FAILED!", "failed", Colour::Error, self.values, showing)
            }
            TaskStatus::Cancelled => self.failure("CANCELLED!", "cancelled", Colour::Unreachable, self.values, showing),
            TaskStatus::Unreachable => {
                self.failure("UNREACHABLE!", "failed", Colour::Unreachable, self.values, showing)
            }
        }
    }

    /// `ok: [web1] => (item=x) => {…}`. The space after a skipped item is Ansible's.
    fn success(&self, word: &str, colour: Colour, showing: Showing) -> Vec<Line> {
        let skipped = self.status == TaskStatus::Skipped;
        let mut text = format!("{word}: [{}]", self.host);
        if let Some(item) = self.item {
            text.push_str(&format!(" => (item={}){}", one_line(item), if skipped { " " } else { "" }));
        }
        if let Some(values) = values::of_success(self.module, self.values, skipped, showing) {
            text.push_str(&format!(" => {values}"));
        }
        split(&text, colour)
    }

    /// `fatal: [web1]: FAILED! => {…}`, for an item `failed: [web1] (item=x) => {…}`.
    fn failure(&self, what: &str, of_item: &str, colour: Colour, values: &Map, showing: Showing) -> Vec<Line> {
        let is_of_its_work = !self.is_of_loop && excerpt::is_of_its_work(self.failed_in, values);
        let values = values::of_failure(self.module, values, is_of_its_work, showing);
        let text = match self.item {
            Some(item) => format!("{of_item}: [{}] (item={}) => {values}", self.host, one_line(item)),
            None => format!("fatal: [{}]: {what} => {values}", self.host),
        };
        split(&text, colour)
    }
}

fn one_line(text: &str) -> Cow<'_, str> {
    super::sanitize::line(text)
}

fn split(text: &str, colour: Colour) -> Vec<Line> {
    text.lines().map(|line| Line::coloured(line, colour)).collect()
}
