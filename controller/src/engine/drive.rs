//! The async shell around the scheduler: obeys its commands, brings it what happens, decides nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use rustle_agent::module::short_name;
use rustle_protocol::HostName;
use tokio::sync::mpsc;

use super::compile::HostTable;
use super::conclude::TaskDone;
use super::control::{Control, Controls};
use super::late::LateOutcomes;
use super::recorder::{Evidence, Recorder};
use super::replay::Sending;
use super::result::registered;
use super::run::Run;
use super::segment;
use super::step::{Answer, Stepper};
use super::task::TaskRun;
use super::task_clock::TaskClock;
use crate::dispatch::{Cancel, LinkError};
use crate::event::{CancelReason, FailedIn, Metrics, RunEvent, RunFinished, Status, TaskResult, TaskStatus, WaitedFor};
use crate::journal::Seq;
use crate::plan::{Keyword, Play, PlayId, Task, TaskId};
use crate::scheduler::{
    Command, Dispatch, Event, HostIx, Notice, OnFailure, Outcome, RunTime, Scheduler, TransportFault, Verdict, Work,
};
use crate::vars::{Layer, PlayHosts, PlayVars, Precedence, VarMap, Variable};

/// Drives one run to its end.
pub(super) struct Drive<'a> {
    pub(super) run: &'a Run,
    pub(super) hosts: HostTable,
    pub(super) scheduler: Scheduler,
    pub(super) recorder: Recorder,
    /// What the scheduler wants and is not done yet, in order: a dispatch waits until what led to it is durable.
    held: VecDeque<Held>,
    /// The run is being stopped: what waits to be dispatched never is.
    stopping: bool,
    working: FuturesUnordered<BoxFuture<'a, HostIx>>,
    /// The word to stop, for each host with work in flight.
    cancels: HashMap<HostIx, Cancel>,
    /// What the work in flight reports. Unbounded by type; by construction each step in flight sends one.
    done: mpsc::UnboundedSender<Word>,
    done_events: mpsc::UnboundedReceiver<Word>,
    /// Results of tries that did not get through, for each host the last one, until the scheduler says whether another
    /// follows.
    lost: HashMap<HostIx, TaskResult>,
    late: LateOutcomes<'a>,
    play: PlayState,
    /// Hosts that are lost to the run.
    gone: HashSet<String>,
    /// The hosts that were found for the play that begins.
    found: Option<Vec<HostIx>>,
    pub(super) stepper: Option<Stepper>,
    concurrency_peak: usize,
}

/// What a host at work has to tell.
struct Word {
    event: Event,
    evidence: Evidence,
}

struct Held {
    command: Command,
    /// Records that must be durable before a dispatch leaves.
    mark: Seq,
}

/// The play that runs, as templates see it.
#[derive(Default)]
struct PlayState {
    vars: Arc<PlayVars>,
    all: Vec<String>,
    batch: Vec<String>,
    /// A host has left since `vars` was made.
    is_stale: bool,
    /// Hosts that are in it no more.
    gone: HashSet<String>,
}

impl<'a> Drive<'a> {
    pub(super) fn new(run: &'a Run, hosts: HostTable, scheduler: Scheduler) -> Drive<'a> {
        let (done, done_events) = mpsc::unbounded_channel();
        Drive {
            run,
            hosts,
            scheduler,
            recorder: Recorder::new(run.journal.clone(), run.sink.clone()),
            held: VecDeque::new(),
            stopping: false,
            working: FuturesUnordered::new(),
            cancels: HashMap::new(),
            done,
            done_events,
            lost: HashMap::new(),
            late: LateOutcomes::new(run),
            play: PlayState::default(),
            gone: HashSet::new(),
            found: None,
            stepper: run.options.step.then(Stepper::default),
            concurrency_peak: 0,
        }
    }

    /// Runs until the scheduler says that it is over. The last event, `RunFinished`, is returned and not yet emitted.
    pub(super) async fn drive(mut self, controls: &mut Controls) -> RunFinished {
        let sink = self.run.sink.clone();
        let mut report_failed = false;
        self.hold_commands();
        loop {
            if let Some(finished) = self.obey_all() {
                return finished;
            }
            self.recorder.acknowledge(&*self.run.environment.links);
            let deadline = self.scheduler.next_deadline().map(|deadline| deadline.since(self.now()));
            let waits_for = self.waits_for().filter(|_| !self.is_asking());
            let (event, evidence) = tokio::select! {
                biased;
                Some(word) = self.done_events.recv() => (word.event, word.evidence),
                () = self.recorder.settled(waits_for) => continue,
                Some(host) = self.working.next(), if !self.working.is_empty() => {
                    self.cancels.remove(&host);
                    continue;
                }
                trouble = self.recorder.trouble_changes() => {
                    self.recorder.take_trouble(trouble);
                    continue;
                }
                control = controls.next() => match self.heed(control) {
                    Some(event) => (event, Evidence::default()),
                    None => continue,
                },
                answer = Stepper::answered(&mut self.stepper) => match self.take_answer(answer) {
                    Some(event) => (event, Evidence::default()),
                    None => continue,
                },
                events = self.late.next() => {
                    events.into_iter().for_each(|event| self.recorder.told(event));
                    continue;
                }
                () = sink.failed(), if !report_failed => {
                    report_failed = true;
                    (Event::Cancel(CancelReason::ReportFailed), Evidence::default())
                }
                () = expire(deadline) => (Event::DeadlineReached, Evidence::default()),
            };
            self.take(event, evidence);
        }
    }

    /// Gives the scheduler an event that is written down.
    pub(super) fn take(&mut self, event: Event, evidence: Evidence) {
        let now = self.now();
        self.recorder.event(now, &event, &evidence);
        self.stopping |= matches!(event, Event::Cancel(_));
        let event = self.hear(event, evidence);
        self.scheduler.handle(event, now);
        self.hold_commands();
    }

    fn hold_commands(&mut self) {
        while let Some(command) = self.scheduler.poll_command() {
            self.hold(command);
        }
    }

    pub(super) fn hold(&mut self, command: Command) {
        self.held.push_back(Held { command, mark: self.recorder.mark() });
    }

    /// How many records must be durable before the next command may be obeyed. They may be by now: the journal's thread
    /// does not wait for this one.
    fn waits_for(&self) -> Option<Seq> {
        let held = self.held.front().filter(|held| matches!(held.command, Command::Dispatch(_)) && !self.stopping)?;
        Some(held.mark)
    }

    /// The next command, if it may be obeyed now.
    fn next_command(&mut self) -> Option<Command> {
        if self.waits_for().is_some_and(|mark| !self.recorder.is_durable(mark)) {
            return None;
        }
        self.held.pop_front().map(|held| held.command)
    }

    fn now(&self) -> RunTime {
        RunTime(self.run.sink.elapsed())
    }

    fn is_asking(&self) -> bool {
        self.stepper.as_ref().is_some_and(Stepper::is_asking)
    }

    /// Obeys every command there is, unless the operator is being asked something.
    fn obey_all(&mut self) -> Option<RunFinished> {
        while !self.is_asking() {
            match self.next_command()? {
                Command::Dispatch(dispatch) => self.dispatch(dispatch),
                Command::Abort { host } => self.abort(host),
                Command::FindHosts { play } => self.find_hosts(play),
                Command::Report(Notice::RunFinished(end)) => {
                    let states = self.hosts.names().iter().cloned().zip(end.hosts);
                    let mut hosts: Vec<_> = states.collect();
                    hosts.sort();
                    let metrics = Metrics { concurrency_peak: self.concurrency_peak, ..Metrics::default() };
                    let (cancelled, stopped_early) = (end.cancelled, end.stopped_early);
                    let not_begun = end.not_begun.into_iter().map(|play| self.run.plan.playbook_from(play).0).collect();
                    return Some(RunFinished { hosts, cancelled, stopped_early, not_begun, metrics });
                }
                Command::Report(notice) => self.report(notice),
            }
        }
        None
    }

    pub(super) fn hear(&mut self, event: Event, evidence: Evidence) -> Event {
        if let (Event::Unreachable { host, .. }, Some(result)) = (&event, evidence.lost) {
            self.lost.insert(*host, *result);
        }
        if let Event::HostsFound { joined, batches, .. } = &event {
            self.hosts.join(joined);
            joined.iter().for_each(|host| self.run.load_cached_facts_of(host));
            self.found = Some(batches.concat());
        }
        event
    }

    /// Looks up who is in a play that begins now.
    fn find_hosts(&mut self, play: PlayId) {
        let (batches, warnings) = self.run.batches_now(play);
        for message in warnings {
            self.run.sink.emit(RunEvent::Warning { message, host: None });
        }
        let (batches, joined) = self.hosts.numbers_to_be(&batches);
        let knows_facts = |host: &&HostIx| self.hosts.name_of(**host).is_some_and(|host| self.run.knows_facts(host));
        let gathering = &self.run.plan.play(play).gathering;
        let exempt = gathering.task.filter(|_| gathering.smart);
        let exempt = exempt.map(|task| (task, batches.iter().flatten().filter(knows_facts).copied().collect()));
        let exempt = exempt.into_iter().collect();
        self.take(Event::HostsFound { play, joined, batches, exempt }, Evidence::default());
    }

    pub(super) fn abort(&mut self, host: HostIx) {
        if let Some(cancel) = self.cancels.get(&host) {
            cancel.cancel();
        }
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        let first = dispatch.work[0];
        if self.stopping {
            return self.answer(dispatch.host, first, Verdict::Cancelled);
        }
        if self.stepper.as_ref().is_some_and(|stepper| stepper.skips(first.task)) {
            return dispatch.work.iter().for_each(|work| self.answer(dispatch.host, *work, Verdict::Skipped));
        }
        if dispatch.attempt == 1 && self.run.options.tells_arrivals {
            self.tell_arrivals(&dispatch);
        }
        self.send_out(dispatch, Sending::First);
    }

    /// Of `meta` Ansible tells nothing here.
    fn tell_arrivals(&self, dispatch: &Dispatch) {
        let host = self.hosts.name(dispatch.host);
        for task in dispatch.work.iter().map(|work| work.task) {
            if short_name(&self.run.task(task).module) != "meta" {
                self.run.sink.emit(RunEvent::HostArrived { task, host: host.clone() });
            }
        }
    }

    pub(super) fn send_out(&mut self, dispatch: Dispatch, sending: Sending) {
        let Dispatch { host, work, attempt } = dispatch;
        let cancel = Cancel::default();
        self.cancels.insert(host, cancel.clone());
        self.concurrency_peak = self.concurrency_peak.max(self.cancels.len());
        let at_work = AtWork {
            run: self.run,
            host,
            name: self.hosts.name(host).clone(),
            play: self.play.vars(),
            sending,
            cancel,
            done: self.done.clone(),
        };
        self.working.push(Box::pin(at_work.perform(work, attempt)));
    }

    /// The task is not begun: the operator did not want it, or nothing is begun any more.
    fn answer(&self, host: HostIx, work: Work, verdict: Verdict) {
        let event = Event::Finished { host, task: work.task, outcome: Outcome::of(verdict) };
        // The receiver is `self`'s own.
        let _ = self.done.send(Word { event, evidence: Evidence::default() });
    }

    fn report(&mut self, notice: Notice) {
        if let Notice::Unreachable { host, aborted: false, .. } = notice {
            self.late.wait_for(self.hosts.name(host).clone());
        }
        let Some(event) = self.note(notice) else { return };
        let begun = match &event {
            RunEvent::TaskStarted { task, kind, name, .. } => Some((*task, *kind, name.clone())),
            _ => None,
        };
        self.recorder.notice(event);
        // The question stands below the task's banner.
        if let (Some(stepper), Some((task, kind, name))) = (&mut self.stepper, begun) {
            stepper.ask(task, kind, &name);
        }
    }

    /// Takes note of what the scheduler says; gives what is to be told of it.
    pub(super) fn note(&mut self, notice: Notice) -> Option<RunEvent> {
        let names = |hosts: &[HostIx]| hosts.iter().map(|host| self.hosts.name(*host).clone()).collect::<Vec<_>>();
        Some(match notice {
            Notice::PlaybookStarted { play } => {
                let (playbook, plays) = self.run.plan.playbook_from(play);
                RunEvent::PlaybookStarted { playbook, plays: plays.len() }
            }
            Notice::PlayStarted { play, hosts, batches } => {
                let Play { name, playbook_dir, check_mode, .. } = self.run.plan.play(play);
                let (name, check) = (name.clone(), self.is_in_check_mode(check_mode.as_ref()));
                for message in self.run.environment.vars.enter_play(playbook_dir.as_deref()) {
                    self.run.sink.emit(RunEvent::Warning { message, host: None });
                }
                let found = self.found.take().map(|hosts| names(&hosts));
                self.play = PlayState::begin(self.run, play, found.as_ref(), self.gone.clone());
                RunEvent::PlayStarted { play, name, hosts, batches, check }
            }
            Notice::BatchStarted { play, batch, hosts } => {
                let hosts = names(&hosts);
                self.play.batch = hosts.iter().map(ToString::to_string).collect();
                self.play.is_stale = true;
                RunEvent::BatchStarted { play, batch, hosts }
            }
            Notice::TaskStarted { play, task, kind, host, hosts } => {
                let (name, module) = self.banner(task, host);
                let of_task = self.run.task(task);
                let (origin, check) = (of_task.position.clone(), self.is_in_check_mode(of_task.check_mode.as_ref()));
                RunEvent::TaskStarted { play, task, name, module, kind, hosts, origin, check }
            }
            Notice::Retrying { host, task, attempt, attempts_max, delay } => {
                let name = self.title(task, host);
                let reason = self.lost.remove(&host).map(|result| result.msg().to_owned()).unwrap_or_default();
                let host = self.hosts.name(host).clone();
                let values = rustle_protocol::Map::new();
                RunEvent::Retrying { task, name, host, attempt, attempts_max, reason, values, delay }
            }
            Notice::Unreachable { host, aborted, .. } => {
                // None for a report that nobody at work has sent, and so for none at all.
                let mut result = self.lost.remove(&host)?;
                if aborted {
                    result.status = TaskStatus::Cancelled;
                }
                RunEvent::HostFinished(Arc::new(result))
            }
            Notice::GivenUp { host, waited } => {
                let message = match waited {
                    Some(limit) => format!("given up: others have waited for its task for {} s", limit.as_secs_f64()),
                    None => "given up by the operator".to_owned(),
                };
                RunEvent::Warning { message, host: Some(self.hosts.name(host).clone()) }
            }
            Notice::HostGone { host, state } => {
                let name = self.hosts.name(host).clone();
                self.gone.insert(name.to_string());
                self.play.loses(&name);
                tracing::debug!(host = %name, ?state, "host leaves the play");
                return None;
            }
            Notice::HostLeft { host } => {
                self.play.loses(self.hosts.name(host));
                return None;
            }
            Notice::HostsForgiven { hosts } => {
                // The play's own lists go without them to its end, as in Ansible.
                for host in names(&hosts) {
                    self.gone.remove(host.as_str());
                }
                return None;
            }
            Notice::BatchFinished { play, batch } => RunEvent::BatchFinished { play, batch },
            Notice::PlayFinished { play, end } => RunEvent::PlayFinished { play, end },
            Notice::Cancelling { reason } => RunEvent::Cancelling { reason },
            Notice::Paused => RunEvent::Paused,
            Notice::Resumed => RunEvent::Resumed,
            // Taken by `obey_all`.
            Notice::RunFinished(_) => return None,
        })
    }

    /// Whether that is to be told of what has this `check_mode`. A template counts as a yes, as in Ansible.
    fn is_in_check_mode(&self, said: Option<&Keyword<bool>>) -> bool {
        said.map_or(self.run.options.check, |said| said.known().copied().unwrap_or(true))
    }

    /// A task's name as it is for the first host that comes to it, with its role before it, and its module. What that host
    /// does not know says so.
    fn banner(&mut self, task: TaskId, host: HostIx) -> (String, String) {
        let name = self.title(task, host);
        let task = self.run.task(task);
        match &task.role {
            // As in Ansible, which names there the role that comes.
            Some(role) if !task.includes_role() => (format!("{} : {name}", role.fqcn()), task.module.clone()),
            Some(_) | None => (name, task.module.clone()),
        }
    }

    /// A task's name for a host, without its role.
    fn title(&mut self, task: TaskId, host: HostIx) -> String {
        let task = self.run.task(task);
        match &task.name {
            Some(name) => {
                let play = self.play.vars();
                self.run.title(name, self.hosts.name(host), &play, &self.run.task_vars(&task))
            }
            None => task.heading().into_owned(),
        }
    }

    fn heed(&mut self, control: Control) -> Option<Event> {
        match control {
            Control::Pause => Some(Event::Pause),
            Control::Resume => Some(Event::Resume),
            Control::Drop(host, answer) => {
                let found = self.hosts.number(&host);
                // Whoever asked may have gone away.
                let _ = answer.send(found.is_some());
                found.map(Event::DropHost)
            }
            Control::Cancel(reason) => Some(Event::Cancel(reason)),
            Control::Status(answer) => {
                // Whoever asked may have gone away.
                let _ = answer.send(self.status());
                None
            }
            Control::ShowStatus { advice } => {
                self.run.sink.emit(RunEvent::Status(Box::new(Status { advice, ..self.status() })));
                None
            }
        }
    }

    fn status(&self) -> Status {
        let snapshot = self.scheduler.status(self.now());
        let title = |task: TaskId| self.run.task(task).title().to_owned();
        Status {
            play: snapshot.play.map(|play| self.run.plan.play(play).name.clone()),
            task: snapshot.task.map(title),
            hosts: snapshot.hosts,
            waited_for: snapshot
                .waited_for
                .iter()
                .map(|waiting| WaitedFor {
                    host: self.hosts.name(waiting.host).clone(),
                    task: title(waiting.task),
                    since: waiting.since,
                })
                .collect(),
            paused: snapshot.paused,
            advice: None,
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Option<Event> {
        match answer {
            Answer::Yes | Answer::No => None,
            Answer::Continue => {
                self.stepper = None;
                None
            }
            Answer::End => {
                let message = "--step has nobody to ask: standard input has ended, and so does the run".to_owned();
                self.run.sink.emit(RunEvent::Warning { message, host: None });
                Some(Event::Cancel(CancelReason::Requested))
            }
        }
    }
}

async fn expire(after: Option<std::time::Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

impl PlayState {
    /// `found`: its hosts, if they were looked up when it began.
    /// `gone`: hosts that were lost before.
    fn begin(run: &Run, play: PlayId, found: Option<&Vec<HostName>>, gone: HashSet<String>) -> PlayState {
        let play = run.plan.play(play);
        let vars = play.vars.iter().map(|(name, value)| (name.clone(), Variable::Authored(Arc::new(value.clone()))));
        let own = Layer::new(Precedence::PlayVars, vars.collect::<VarMap>());
        let layers = std::iter::once(own).chain(play.layers.iter().cloned()).collect();
        PlayState {
            vars: Arc::new(PlayVars::new(play.name.clone(), PlayHosts::default(), layers, None)),
            all: found.unwrap_or(&play.hosts).iter().map(ToString::to_string).collect(),
            batch: Vec::new(),
            is_stale: true,
            gone,
        }
    }

    /// The host is in the play no more.
    fn loses(&mut self, host: &HostName) {
        self.gone.insert(host.to_string());
        self.is_stale = true;
    }

    /// The play's variables with the hosts that are left now.
    fn vars(&mut self) -> Arc<PlayVars> {
        if self.is_stale {
            let left = |names: &[String]| names.iter().filter(|name| !self.gone.contains(*name)).cloned().collect();
            let hosts = PlayHosts::new(self.all.clone(), left(&self.all), left(&self.batch));
            self.vars = Arc::new(self.vars.with_hosts(hosts));
            self.is_stale = false;
        }
        Arc::clone(&self.vars)
    }
}

/// A host at work.
struct AtWork<'a> {
    run: &'a Run,
    host: HostIx,
    name: HostName,
    play: Arc<PlayVars>,
    sending: Sending,
    cancel: Cancel,
    done: mpsc::UnboundedSender<Word>,
}

impl<'a> AtWork<'a> {
    async fn perform(self, work: Vec<Work>, attempt: u32) -> HostIx {
        match work.as_slice() {
            [work] => self.perform_one(*work, attempt).await,
            segment => self.perform_segment(segment, attempt).await,
        }
        self.host
    }

    async fn perform_one(&self, work: Work, attempt: u32) {
        let task = self.run.task(work.task);
        let task_run = self.task_run(&task, work, attempt);
        match task_run.perform().await {
            Ok(done) => self.finished(work, done),
            Err(error) => self.lost(&task, work, attempt, error),
        }
    }

    async fn perform_segment(&self, work: &[Work], attempt: u32) {
        let tasks: Vec<_> = work.iter().map(|work| self.run.task(work.task)).collect();
        let runs: Vec<_> = tasks.iter().zip(work).map(|(task, work)| self.task_run(task, *work, attempt)).collect();
        let report = |at: usize, done: TaskDone| self.finished(work[at], done);
        if let Err((at, error)) = segment::perform(&runs, report, |at| self.not_run(work[at])).await {
            self.lost(&tasks[at], work[at], attempt, error);
        }
    }

    fn finished(&self, work: Work, done: TaskDone) {
        let TaskDone { result, outcome, lessons, calls } = done;
        let result = Arc::new(result);
        self.run.sink.emit(RunEvent::HostFinished(Arc::clone(&result)));
        let event = Event::Finished { host: self.host, task: work.task, outcome };
        self.send(Word { event, evidence: Evidence { result: Some(result), lost: None, lessons, calls } });
    }

    fn task_run<'b>(&'b self, task: &'b Task, work: Work, attempt: u32) -> TaskRun<'b> {
        TaskRun {
            run: self.run,
            play: &self.play,
            task,
            host: &self.name,
            ix: self.host,
            work,
            attempt,
            sending: self.sending,
            cancel: &self.cancel,
            calls: Default::default(),
            manner: Default::default(),
            taught: Default::default(),
            sealed_items: Default::default(),
            kept: Default::default(),
            given: Default::default(),
            started_at: Utc::now(),
            started: Instant::now(),
            clock: TaskClock::start(),
        }
    }

    fn not_run(&self, work: Work) {
        self.tell(Event::Finished { host: self.host, task: work.task, outcome: Outcome::of(Verdict::NotRun) });
    }

    /// The host could not be talked to. What that means is the scheduler's to say.
    fn lost(&self, task: &Task, work: Work, attempt: u32, error: LinkError) {
        let fault = match &error {
            LinkError { transient: false, .. } => TransportFault::Permanent,
            // Asked again, the agent tells what became of the call and does not run it twice.
            LinkError { accepted: true, .. } => TransportFault::Lost { repeatable: true },
            LinkError { .. } => TransportFault::NotAccepted,
        };
        let task_run = self.task_run(task, work, attempt);
        // What cannot be rendered says nothing of an end that came before it.
        let _ = task_run.render_manner(&self.run.task_vars(task));
        let on_failure = task_run.manner().on_failure;
        let result = self.unreachable(&task_run, &error, on_failure);
        // Another try that gets through registers over it.
        let lessons: Vec<_> = task_run.registers(registered(&result.values)).into_iter().collect();
        task_run.learn(&lessons);
        let event = Event::Unreachable { host: self.host, task: work.task, fault, on_failure };
        self.send(Word { event, evidence: Evidence { lost: Some(Box::new(result)), lessons, ..Evidence::default() } });
    }

    fn unreachable(&self, task_run: &TaskRun<'_>, error: &LinkError, on_failure: OnFailure) -> TaskResult {
        let task = task_run.task;
        let mut msg = error.message.clone();
        if error.accepted {
            msg.push_str(
                "; the task may have begun, so what it did is unknown: look at the host before running it again",
            );
        }
        if let Some(hint) = &error.hint {
            msg = format!("{msg}; hint: {hint}");
        }
        let mut values = rustle_protocol::Map::new();
        values.insert("changed".into(), false.into());
        values.insert("msg".into(), msg.into());
        values.insert("unreachable".into(), true.into());
        TaskResult {
            task: task.id,
            name: task_run.name(&self.run.task_vars(task)),
            module: task.module.clone(),
            kind: task_run.work.kind,
            host: self.name.clone(),
            status: TaskStatus::Unreachable,
            ignored: on_failure.ignore_unreachable,
            rescued: false,
            failed_in: Some(FailedIn::Task),
            causes: Vec::new(),
            values,
            diff: Vec::new(),
            warnings: Vec::new(),
            items: Vec::new(),
            started_at: task_run.started_at,
            elapsed: task_run.started.elapsed(),
            attempts: task_run.attempt,
            delegated_to: None,
            no_log: false,
        }
    }

    fn tell(&self, event: Event) {
        self.send(Word { event, evidence: Evidence::default() });
    }

    fn send(&self, word: Word) {
        // The receiver goes away with the run, and then nobody needs to know.
        let _ = self.done.send(word);
    }
}
