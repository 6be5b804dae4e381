//! `rustle-exec runs`: what became of runs, and what is to become of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use rustle_protocol::HostName;

use super::args::{RunsArgs, RunsCommand};
use super::config_file::{ConfigFile, state_folder};
use super::{CliError, chain, print};
use crate::control::{AskError, Reply, Request, ask};
use crate::event::{HostState, RunEvent, RunFinished, Stamped, Status};
use crate::exit_code::ExitCode;
use crate::journal::{
    FindError, Header, Holder, JournalError, Lease, LeaseError, Past, Record, Records, RunFolder, Runs, last_record,
    repair,
};
use crate::report::file::ReportFile;
use crate::report::{Reporter, fold, sanitize};

pub(super) fn run(args: RunsArgs) -> Result<ExitCode, CliError> {
    let file = ConfigFile::load(args.config.as_deref()).map_err(|error| CliError::input(chain(&error)))?;
    let state = args.state_dir.or(file.journal.state_dir).or_else(state_folder);
    let state = state.ok_or_else(|| CliError::input("no folder of runs: give it with --state-dir DIR"))?;
    let runs = Runs::new(&state);
    let find = |run: &str| runs.find(run).map_err(not_found);
    match args.command {
        RunsCommand::List => list(&runs),
        RunsCommand::Show { run } => show(&find(&run)?),
        RunsCommand::Status { run } => status(&find(&run)?),
        RunsCommand::Resume { run, accept_changed_plan, options } => {
            resume(&find(&run)?, accept_changed_plan, &options, &state)
        }
        RunsCommand::Pause { run } => {
            tell(&find(&run)?, &Request::Pause, "is paused: nothing new is started; what runs goes on")
        }
        RunsCommand::Cancel { run } => cancel(&find(&run)?),
        RunsCommand::Drop { run, host } => {
            let done = format!("gives host {host} up: its task is stopped, and nobody waits for it");
            tell(&find(&run)?, &Request::Drop(host), &done)
        }
        RunsCommand::Report { run, report_file } => report(&find(&run)?, report_file.as_deref()),
        RunsCommand::Prune { keep, interrupted } => prune(&runs, keep, interrupted),
    }
}

/// How a run stands, as far as its folder tells.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    UnderWay(Holder),
    /// Nobody works on it, and it can be resumed.
    Interrupted,
    Over(RunFinished),
    GivenUp,
    /// Its journal cannot be used.
    Unusable(String),
}

impl Standing {
    fn of(folder: &RunFolder) -> Standing {
        if let Ok(Some(holder)) = Lease::holder(&folder.lock()) {
            return Standing::UnderWay(holder);
        }
        match last_record(&folder.journal()) {
            Ok(Some(Record::GivenUp { .. })) => Standing::GivenUp,
            Ok(Some(Record::Told(Stamped { event: RunEvent::RunFinished(finished), .. })))
                if !Past::may_go_on(&finished) =>
            {
                Standing::Over(finished)
            }
            Ok(Some(_)) => Standing::Interrupted,
            Ok(None) => Standing::Unusable("it never began".to_owned()),
            Err(error) => Standing::Unusable(error.to_string()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Standing::UnderWay(_) => "running",
            Standing::Interrupted => "interrupted",
            Standing::Over(finished) if finished.cancelled.is_some() => "cancelled",
            Standing::Over(_) => "finished",
            Standing::GivenUp => "given up",
            Standing::Unusable(_) => "unusable",
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Standing::Over(_) | Standing::GivenUp)
    }
}

fn header(folder: &RunFolder) -> Result<Header, JournalError> {
    let path = folder.journal();
    Past::new(&path, Records::open(&path)?).map(|past| past.header().clone())
}

fn list(runs: &Runs) -> Result<ExitCode, CliError> {
    let folders = runs.list().map_err(|error| CliError::input(chain(&error)))?;
    let mut text = String::new();
    for folder in folders {
        let standing = Standing::of(&folder);
        let (started, plan, hosts) = match header(&folder) {
            Ok(header) => (time(header.started), header.plan.source, fold::hosts(header.hosts.len())),
            Err(_) => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
        };
        let end = match &standing {
            Standing::Over(finished) => counts(finished),
            Standing::Unusable(why) => why.clone(),
            _ => String::new(),
        };
        let line = format!("{}  {started}  {:<11}  {hosts:>11}  {plan}  {end}", folder.id, standing.word());
        push(&mut text, line.trim_end());
    }
    if text.is_empty() {
        text.push_str("no runs\n");
    }
    print(&text)
}

fn show(folder: &RunFolder) -> Result<ExitCode, CliError> {
    let standing = Standing::of(folder);
    let mut past = Past::open(&folder.journal()).map_err(|error| CliError::input(chain(&error)))?;
    let header = past.header().clone();
    let mut results: BTreeMap<HostName, usize> = BTreeMap::new();
    let mut last = None;
    for step in past.by_ref() {
        if let Some(Stamped { at, event, .. }) = step.map_err(|error| CliError::input(chain(&error)))?.told() {
            if let RunEvent::HostFinished(result) = event {
                *results.entry(result.host.clone()).or_default() += 1;
            }
            last = Some(*at);
        }
    }
    let mut text = String::new();
    push(&mut text, &format!("run      {}", header.run));
    push(&mut text, &format!("plan     {}", header.plan.source));
    push(&mut text, &format!("called   rustle-exec {}", header.inputs.arguments.join(" ")));
    push(&mut text, &format!("in       {}", header.inputs.folder.display()));
    push(&mut text, &format!("began    {} with {}", time(header.started), header.software));
    if past.epoch() > 1 {
        push(
            &mut text,
            &format!(
                "resumed  {}",
                if past.epoch() == 2 { "once".to_owned() } else { format!("{} times", past.epoch() - 1) }
            ),
        );
    }
    let stands = match &standing {
        Standing::UnderWay(holder) => {
            format!("running: process {} on {} since {}", holder.pid, holder.machine, time(holder.since))
        }
        Standing::Interrupted => format!("interrupted: `rustle-exec runs resume {}` goes on", header.run),
        Standing::Over(finished) => format!("{}: {}", standing.word(), counts(finished)),
        Standing::GivenUp => "given up while nobody worked on it".to_owned(),
        Standing::Unusable(why) => why.clone(),
    };
    push(&mut text, &format!("stands   {stands}"));
    let all: usize = results.values().sum();
    push(&mut text, &format!("results  {all}, from {} of {} hosts", results.len(), header.hosts.len()));
    if let Some(at) = last {
        push(&mut text, &format!("last     {}", time(at)));
    }
    // A record that is being written is not whole yet.
    if let Some(damage) = past.damage().filter(|_| !matches!(standing, Standing::UnderWay(_))) {
        push(&mut text, &format!("damage   {}: {} bytes at the end are not whole", damage.what, damage.lost));
    }
    if let Standing::Over(finished) = &standing {
        for (host, state) in finished.hosts.iter().filter(|(_, state)| *state != HostState::Ok) {
            push(&mut text, &format!("  {host}: {}", state_word(*state)));
        }
    }
    if matches!(standing, Standing::UnderWay(_))
        && let Ok(Reply::Status { status, elapsed_s }) = ask(&folder.path, RunFolder::socket_name(), &Request::Status)
    {
        push_status(&mut text, &status, elapsed_s);
    }
    print(&text)
}

fn status(folder: &RunFolder) -> Result<ExitCode, CliError> {
    match ask(&folder.path, RunFolder::socket_name(), &Request::Status) {
        Ok(Reply::Status { status, elapsed_s }) => {
            let mut text = String::new();
            push_status(&mut text, &status, elapsed_s);
            print(&text)
        }
        other => answered(folder, other).map(|()| ExitCode::Success),
    }
}

fn push_status(text: &mut String, status: &Status, elapsed_s: f64) {
    let elapsed = Duration::try_from_secs_f64(elapsed_s).unwrap_or_default();
    for line in crate::report::status::lines(status, elapsed) {
        line.render(None, text);
        text.push('\n');
    }
}

/// Asks a run that is under way for something. `done` says of the run what it did then.
fn tell(folder: &RunFolder, request: &Request, done: &str) -> Result<ExitCode, CliError> {
    answered(folder, ask(&folder.path, RunFolder::socket_name(), request))?;
    say(folder, done)
}

fn answered(folder: &RunFolder, answer: Result<Reply, AskError>) -> Result<(), CliError> {
    match answer {
        Ok(Reply::Done | Reply::Status { .. }) => Ok(()),
        Ok(Reply::Refused(why)) => Err(CliError::input(why)),
        Err(AskError::NobodyThere) => {
            let standing = Standing::of(folder);
            Err(CliError::input(format!("run {} is not under way: it is {}", folder.id, standing.word())).hint(
                matches!(standing, Standing::Interrupted)
                    .then(|| format!("`rustle-exec runs resume {}` goes on with it", folder.id)),
            ))
        }
        Err(error) => Err(CliError::own(chain(&error))),
    }
}

fn say(folder: &RunFolder, what: &str) -> Result<ExitCode, CliError> {
    let mut text = String::new();
    push(&mut text, &format!("run {} {what}", folder.id));
    print(&text)
}

/// A paused run goes on; one that nobody works on is begun again as it was begun the first time, by this very process.
fn resume(folder: &RunFolder, accept: bool, options: &[String], state: &Path) -> Result<ExitCode, CliError> {
    match ask(&folder.path, RunFolder::socket_name(), &Request::Resume) {
        Err(AskError::NobodyThere) => {}
        other => {
            answered(folder, other)?;
            return say(folder, "goes on, in the process that works on it");
        }
    }
    let header = header(folder).map_err(|error| CliError::input(chain(&error)))?;
    let program =
        std::env::current_exe().map_err(|error| CliError::own(format!("cannot find this program: {error}")))?;
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RUSTLE_")) {
            command.env_remove(name);
        }
    }
    command.envs(header.inputs.environment).current_dir(&header.inputs.folder);
    command.args(header.inputs.arguments).args(options);
    command.arg("--resume-run").arg(folder.id.to_string()).arg("--state-dir").arg(state);
    if accept {
        command.arg("--accept-changed-plan");
    }
    let error = command.exec();
    Err(CliError::own(format!("cannot go on in {}: {error}", header.inputs.folder.display())))
}

/// A run that is under way is stopped; one that nobody works on is marked, so that it never goes on.
fn cancel(folder: &RunFolder) -> Result<ExitCode, CliError> {
    match ask(&folder.path, RunFolder::socket_name(), &Request::Cancel) {
        Err(AskError::NobodyThere) => {}
        other => {
            answered(folder, other)?;
            return say(folder, "is cancelled: what runs is stopped, and it cannot be resumed");
        }
    }
    let unusable = |error: JournalError| CliError::input(chain(&error));
    let _lease = Lease::acquire(&folder.lock()).map_err(|error| match error {
        LeaseError::Held(held) => CliError::input(format!("run {} does not answer: {held}", folder.id)),
        LeaseError::Lock { .. } => CliError::own(chain(&error)),
    })?;
    let mut past = Past::open(&folder.journal()).map_err(unusable)?;
    for step in past.by_ref() {
        drop(step.map_err(unusable)?);
    }
    if past.is_over() {
        return Err(CliError::input(format!("run {} is over", folder.id)));
    }
    let failed = |why: String| CliError::own(format!("cannot write {}: {why}", folder.journal().display()));
    let file = repair(&folder.journal(), past.good_bytes()).map_err(|error| failed(error.to_string()))?;
    let (good, count) = (past.good_bytes(), past.records_read());
    let journal = crate::journal::Journal::new(Box::new(file), Default::default(), good, count);
    journal.append(&Record::GivenUp { at: Utc::now() }).map_err(|error| failed(chain(&error)))?;
    journal.close().map_err(|trouble| failed(trouble.message))?;
    say(folder, "is given up: nobody worked on it, and it cannot be resumed")
}

/// Copies a file to standard output, piece by piece: a report may be larger than the memory.
fn printed(path: &Path) -> std::io::Result<ExitCode> {
    match std::io::copy(&mut File::open(path)?, &mut std::io::stdout().lock()) {
        // Who has read enough has the right to go.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(ExitCode::Success),
    }
}

/// The report of a run that is over; of one that was interrupted, of what it came to until then.
fn report(folder: &RunFolder, to: Option<&Path>) -> Result<ExitCode, CliError> {
    let own = |error: std::io::Error| CliError::own(format!("cannot write the report: {error}"));
    let scratch;
    let path = match to {
        Some(path) => path,
        None => {
            scratch = tempfile::tempdir().map_err(own)?;
            &scratch.path().join("report.json")
        }
    };
    let mut past = Past::open(&folder.journal()).map_err(|error| CliError::input(chain(&error)))?;
    let mut report = ReportFile::create(path).map_err(own)?;
    let mut hosts: BTreeMap<HostName, HostState> =
        past.header().hosts.iter().map(|host| (host.clone(), HostState::NotStarted)).collect();
    let mut last = None;
    for step in past.by_ref() {
        let step = step.map_err(|error| CliError::input(chain(&error)))?;
        let Some(stamped) = step.told() else { continue };
        if let RunEvent::HostFinished(result) = &stamped.event {
            let state = hosts.entry(result.host.clone()).or_insert(HostState::Cancelled);
            *state = state_after(*state, result);
        }
        report.report(stamped).map_err(own)?;
        last = Some((stamped.at, stamped.elapsed));
    }
    if !past.is_over()
        && let Some((at, elapsed)) = last
    {
        // Whoever began and is not through was interrupted: never counted as ok.
        let finished = RunFinished {
            hosts: hosts.into_iter().collect(),
            cancelled: Some(crate::event::CancelReason::Interrupted),
            stopped_early: false,
            not_begun: Vec::new(),
            metrics: Default::default(),
        };
        report.report(&Stamped { at, elapsed, event: RunEvent::RunFinished(finished) }).map_err(own)?;
    }
    report.finish().map_err(own)?;
    match to {
        Some(_) => Ok(ExitCode::Success),
        None => printed(path).map_err(own),
    }
}

/// Hosts that failed or were unreachable in a run that is over, or until it was interrupted.
pub(super) fn failed_hosts(runs: &Runs, run: &str) -> Result<Vec<HostName>, CliError> {
    let folder = runs.find(run).map_err(not_found)?;
    if let Standing::UnderWay(holder) = Standing::of(&folder) {
        return Err(CliError::input(format!("run {} is under way in process {}", folder.id, holder.pid)));
    }
    let unusable = |error: JournalError| CliError::input(chain(&error));
    let mut hosts = BTreeMap::new();
    for step in Past::open(&folder.journal()).map_err(unusable)? {
        match step.map_err(unusable)?.told().map(|stamped| &stamped.event) {
            Some(RunEvent::RunFinished(finished)) => hosts = finished.hosts.iter().cloned().collect(),
            Some(RunEvent::HostFinished(result)) => {
                let state = hosts.entry(result.host.clone()).or_insert(HostState::NotStarted);
                *state = state_after(*state, result);
            }
            _ => {}
        }
    }
    let failed = |state: &HostState| matches!(state, HostState::Failed | HostState::Unreachable);
    Ok(hosts.into_iter().filter(|(_, state)| failed(state)).map(|(host, _)| host).collect())
}

/// How a host stands after one more result, if nothing came after it.
fn state_after(before: HostState, result: &crate::event::TaskResult) -> HostState {
    use crate::event::TaskStatus;
    match result.status {
        _ if matches!(before, HostState::Failed | HostState::Unreachable) => before,
        _ if result.is_forgiven() => HostState::Cancelled,
        TaskStatus::Failed | TaskStatus::TimedOut => HostState::Failed,
        TaskStatus::Unreachable => HostState::Unreachable,
        TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Skipped | TaskStatus::Cancelled => HostState::Cancelled,
    }
}

fn prune(runs: &Runs, keep: usize, interrupted: bool) -> Result<ExitCode, CliError> {
    let folders = runs.list().map_err(|error| CliError::input(chain(&error)))?;
    let may_go = |folder: &RunFolder| match Standing::of(folder) {
        Standing::UnderWay(_) => false,
        Standing::Interrupted => interrupted,
        standing @ (Standing::Over(_) | Standing::GivenUp) => standing.is_over(),
        Standing::Unusable(_) => true,
    };
    let surplus = folders.len().saturating_sub(keep);
    let mut text = String::new();
    for folder in folders.iter().take(surplus).filter(|folder| may_go(folder)) {
        folder.remove().map_err(|error| CliError::own(chain(&error)))?;
        push(&mut text, &format!("forgot {}", folder.id));
    }
    print(&text)
}

fn counts(finished: &RunFinished) -> String {
    let states =
        [HostState::Ok, HostState::Failed, HostState::Unreachable, HostState::Cancelled, HostState::NotStarted];
    let count = |state: HostState| finished.hosts.iter().filter(|(_, stands)| *stands == state).count();
    let some = states.into_iter().map(|state| (state, count(state))).filter(|(_, count)| *count > 0);
    some.map(|(state, count)| format!("{count} {}", state_word(state))).collect::<Vec<_>>().join(", ")
}

fn state_word(state: HostState) -> &'static str {
    match state {
        HostState::NotStarted => "not started",
        HostState::Ok => "ok",
        HostState::Failed => "failed",
        HostState::Unreachable => "unreachable",
        HostState::Cancelled => "cancelled",
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A line as a terminal may have it.
fn push(text: &mut String, line: &str) {
    for line in sanitize::lines(line) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
}

fn not_found(error: FindError) -> CliError {
    CliError::input(chain(&error)).hint(Some("`rustle-exec runs list` shows what there is"))
}
