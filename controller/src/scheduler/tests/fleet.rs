//! Hosts that answer from a script, on a clock of their own, and the story of what they were told to do.
//!
//! A task takes a second and comes out ok unless the script says otherwise. What is in flight when it is aborted answers
//! at once that it was cancelled. Every command is held against the rules in `world`, too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::program;
use super::world::World;
use crate::event::{HostState, TaskKind};
use crate::plan::{BlockId, PlayId, Section, TaskId, Within};
use crate::scheduler::{
    Command, Dispatch, Effect, Event, HandlerStep, HostIx, Limits, Notice, OnFailure, Once, Outcome, Percent,
    PlayProgram, Program, RetryPolicy, RoleUse, RunTime, Scheduler, Splice, Step, StepKind, Strategy, TransportFault,
    Turns, Verdict,
};

/// A step of this name is `meta: flush_handlers`.
pub(super) const FLUSH: &str = "flush";

/// A step of this name is a flush that asks the host.
pub(super) const ASKED_FLUSH: &str = "ask";

/// A play by the names of its tasks. All hosts of the fleet are in it unless it says otherwise.
#[derive(Clone)]
pub(super) struct Play {
    pub(super) tasks: Vec<&'static str>,
    pub(super) begins_playbook: bool,
    pub(super) handlers: Vec<&'static str>,
    pub(super) strategy: Strategy,
    pub(super) serial: usize,
    pub(super) rolling: bool,
    pub(super) segments: bool,
    pub(super) max_fail_percentage: Option<f64>,
    pub(super) force_handlers: bool,
    pub(super) any_errors_fatal: bool,
    pub(super) ignore_unreachable: bool,
    /// Blocks with a `rescue` or an `always`, and which tasks stand in which of their sections.
    pub(super) blocks: Vec<Option<Within>>,
    pub(super) within: BTreeMap<&'static str, Within>,
    /// Tasks and handlers where not all may go at once.
    pub(super) turns: BTreeMap<&'static str, Turns>,
    /// Which use of a role tasks are of.
    pub(super) roles: BTreeMap<&'static str, u32>,
    /// What those uses are.
    pub(super) uses: BTreeMap<u32, RoleUse>,
    /// Tasks that not every host has.
    pub(super) only: Vec<(&'static str, Vec<&'static str>)>,
}

impl Play {
    pub(super) fn of<const N: usize>(tasks: [&'static str; N]) -> Play {
        Play {
            tasks: tasks.to_vec(),
            begins_playbook: false,
            handlers: Vec::new(),
            strategy: Strategy::Linear,
            serial: usize::MAX,
            rolling: false,
            segments: false,
            max_fail_percentage: None,
            force_handlers: false,
            any_errors_fatal: false,
            ignore_unreachable: false,
            blocks: Vec::new(),
            within: BTreeMap::new(),
            turns: BTreeMap::new(),
            roles: BTreeMap::new(),
            uses: BTreeMap::new(),
            only: Vec::new(),
        }
    }

    /// These of its tasks are a block, in the play or in a section of a block named before.
    pub(super) fn block(
        mut self,
        parent: Option<Within>,
        tasks: &[&'static str],
        rescue: &[&'static str],
        always: &[&'static str],
    ) -> Play {
        let sections = [(Section::Tasks, tasks), (Section::Rescue, rescue), (Section::Always, always)];
        let block = BlockId(self.blocks.len() as u32);
        self.blocks.push(parent);
        for (section, tasks) in sections {
            self.within.extend(tasks.iter().map(|task| (*task, Within { block, section })));
        }
        self
    }

    pub(super) fn handlers<const N: usize>(mut self, names: [&'static str; N]) -> Play {
        self.handlers = names.to_vec();
        self
    }

    pub(super) fn once(mut self, task: &'static str, once: Once) -> Play {
        self.turns.entry(task).or_default().once = once;
        self
    }

    pub(super) fn throttle(mut self, task: &'static str, hosts: u32) -> Play {
        self.turns.entry(task).or_default().throttle = NonZeroU32::new(hosts);
        self
    }

    pub(super) fn begins_playbook(mut self) -> Play {
        self.begins_playbook = true;
        self
    }

    pub(super) fn strategy(mut self, strategy: Strategy) -> Play {
        self.strategy = strategy;
        self
    }

    pub(super) fn serial(mut self, hosts: usize) -> Play {
        self.serial = hosts;
        self
    }

    pub(super) fn max_fail_percentage(mut self, percent: f64) -> Play {
        self.max_fail_percentage = Some(percent);
        self
    }
}

enum Answer {
    Outcome(Outcome),
    Fault(TransportFault),
    Silence,
}

pub(super) struct Fleet {
    hosts: Vec<&'static str>,
    pub(super) limits: Limits,
    names: Vec<&'static str>,
    answers: BTreeMap<(HostIx, TaskId), VecDeque<Answer>>,
    seconds: BTreeMap<(HostIx, TaskId), u64>,
    operator: Vec<(u64, Event)>,
}

impl Fleet {
    pub(super) fn of<const N: usize>(hosts: [&'static str; N]) -> Fleet {
        let retry = RetryPolicy {
            attempts_max: 3,
            initial: Duration::from_secs(5),
            multiplier: 2.0,
            maximum: Duration::from_secs(60),
            jitter: 0.0,
            seed: 1,
        };
        let forks = NonZeroUsize::new(50).unwrap();
        Fleet {
            hosts: hosts.to_vec(),
            limits: Limits {
                forks,
                fail_fast: false,
                continue_on_error: false,
                run_budget: None,
                straggler: None,
                retry,
            },
            names: Vec::new(),
            answers: BTreeMap::new(),
            seconds: BTreeMap::new(),
            operator: Vec::new(),
        }
    }

    pub(super) fn forks(mut self, forks: usize) -> Fleet {
        self.limits.forks = NonZeroUsize::new(forks).unwrap();
        self
    }

    pub(super) fn failing<const N: usize>(self, task: &'static str, hosts: [&'static str; N]) -> Fleet {
        self.answering(task, hosts, Verdict::Failed)
    }

    pub(super) fn answering<const N: usize>(
        self,
        task: &'static str,
        hosts: [&'static str; N],
        verdict: Verdict,
    ) -> Fleet {
        hosts.into_iter().fold(self, |fleet, host| fleet.with(task, host, Outcome::of(verdict)))
    }

    /// The task changes the host, and that notifies handlers.
    pub(super) fn notifying<const N: usize>(
        mut self,
        task: &'static str,
        hosts: &[&'static str],
        handlers: [&'static str; N],
    ) -> Fleet {
        let notified: Vec<TaskId> = handlers.into_iter().map(|handler| self.task(handler)).collect();
        hosts.iter().fold(self, |fleet, host| {
            fleet.with(task, host, Outcome { notified: notified.clone(), ..Outcome::of(Verdict::Changed) })
        })
    }

    pub(super) fn asking(self, task: &'static str, host: &'static str, effect: Effect) -> Fleet {
        self.with(task, host, Outcome { effect, ..Outcome::of(Verdict::Ok) })
    }

    /// The host includes other tasks with this one.
    pub(super) fn including(mut self, task: &'static str, host: &'static str, fragments: &[&[&'static str]]) -> Fleet {
        let mut splice = |tasks: &&[&'static str]| Splice {
            steps: tasks.iter().map(|name| program::step(self.task(name))).collect(),
            blocks: BTreeMap::new(),
            roles: BTreeMap::new(),
            handlers: Vec::new(),
            superseded: Vec::new(),
        };
        let included = fragments.iter().map(&mut splice).collect();
        self.with(task, host, Outcome { included, ..Outcome::of(Verdict::Ok) })
    }

    /// The host includes a use of a role with this task.
    pub(super) fn including_role(
        mut self,
        task: &'static str,
        host: &'static str,
        (number, role): (u32, RoleUse),
        tasks: &[&'static str],
    ) -> Fleet {
        let step = |name: &&'static str| Step { role: Some(number), ..program::step(self.task(name)) };
        let splice = Splice {
            steps: tasks.iter().map(step).collect(),
            blocks: BTreeMap::new(),
            roles: [(number, role)].into(),
            handlers: Vec::new(),
            superseded: Vec::new(),
        };
        self.with(task, host, Outcome { included: vec![splice], ..Outcome::of(Verdict::Ok) })
    }

    /// The host includes a role that has nothing but a handler, which takes the place of another.
    pub(super) fn superseding(
        mut self,
        task: &'static str,
        host: &str,
        step: &'static str,
        old: &'static str,
        new: &'static str,
    ) -> Fleet {
        let (old, new) = (self.task(old), self.task(new));
        let handler = HandlerStep { task: new, on_failure: OnFailure::default(), turns: Turns::default(), depth: 0 };
        let splice = Splice {
            steps: vec![program::step(self.task(step))],
            blocks: BTreeMap::new(),
            roles: BTreeMap::new(),
            handlers: vec![handler],
            superseded: vec![(old, new)],
        };
        self.with(task, host, Outcome { included: vec![splice], ..Outcome::of(Verdict::Ok) })
    }

    /// The next answer of the host to the task.
    pub(super) fn with(mut self, task: &'static str, host: &str, outcome: Outcome) -> Fleet {
        self.answer(task, host, Answer::Outcome(outcome));
        self
    }

    pub(super) fn unreachable(mut self, task: &'static str, host: &str, fault: TransportFault) -> Fleet {
        self.answer(task, host, Answer::Fault(fault));
        self
    }

    /// The task never ends by itself.
    pub(super) fn hanging(mut self, task: &'static str, host: &str) -> Fleet {
        self.answer(task, host, Answer::Silence);
        self
    }

    pub(super) fn taking(mut self, task: &'static str, host: &str, seconds: u64) -> Fleet {
        let key = (self.host(host), self.task(task));
        self.seconds.insert(key, seconds);
        self
    }

    /// The operator does something.
    pub(super) fn at(mut self, seconds: u64, event: Event) -> Fleet {
        self.operator.push((seconds, event));
        self
    }

    pub(super) fn host(&self, name: &str) -> HostIx {
        HostIx(self.hosts.iter().position(|host| *host == name).unwrap() as u32)
    }

    pub(super) fn program<const N: usize>(&mut self, plays: [Play; N]) -> Program {
        let plays = plays.into_iter().enumerate().map(|(place, play)| self.compile(place, play)).collect();
        Program { hosts: self.hosts.len(), plays, limits: self.limits.clone() }
    }

    /// Runs the plays; gives the story.
    pub(super) fn run<const N: usize>(mut self, plays: [Play; N]) -> String {
        let program = self.program(plays);
        let scheduler = Scheduler::new(program.clone());
        let world = World::new(program);
        Telling { fleet: self, world, scheduler, due: BTreeSet::new(), events: Vec::new(), story: Vec::new() }.tell()
    }

    fn answer(&mut self, task: &'static str, host: &str, answer: Answer) {
        let key = (self.host(host), self.task(task));
        self.answers.entry(key).or_default().push_back(answer);
    }

    fn task(&mut self, name: &'static str) -> TaskId {
        let place = self.names.iter().position(|known| *known == name && name != FLUSH).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        TaskId(place as u32)
    }

    fn compile(&mut self, place: usize, play: Play) -> PlayProgram {
        let on_failure =
            OnFailure { any_errors_fatal: play.any_errors_fatal, ignore_unreachable: play.ignore_unreachable };
        let hosts: Vec<HostIx> = (0..self.hosts.len() as u32).map(HostIx).collect();
        let steps = play.tasks.iter().map(|name| Step {
            kind: match *name {
                FLUSH => StepKind::FlushHandlers,
                ASKED_FLUSH => StepKind::AskedFlush,
                _ => StepKind::Task,
            },
            hosts: play
                .only
                .iter()
                .find(|(task, _)| task == name)
                .map(|(_, hosts)| hosts.iter().map(|host| self.host(host)).collect()),
            joins_segment: play.segments,
            within: play.within.get(name).copied(),
            on_failure,
            turns: play.turns.get(name).copied().unwrap_or_default(),
            role: play.roles.get(name).copied(),
            ..program::step(self.task(name))
        });
        let steps = steps.collect();
        let handlers = play.handlers.iter().map(|name| HandlerStep {
            task: self.task(name),
            on_failure,
            turns: play.turns.get(name).copied().unwrap_or_default(),
            depth: 0,
        });
        let batches = hosts.chunks(play.serial.min(hosts.len()).max(1)).map(<[HostIx]>::to_vec).collect();
        PlayProgram {
            begins_playbook: play.begins_playbook,
            strategy: play.strategy,
            rolling: play.rolling,
            blocks: (0..).map(BlockId).zip(play.blocks).collect(),
            roles: play.uses,
            handlers: handlers.collect(),
            max_fail_percentage: play.max_fail_percentage.map(|percent| Percent::new(percent).unwrap()),
            force_handlers: play.force_handlers,
            ..program::play(PlayId(place as u32), batches, steps)
        }
    }
}

/// A run while it is told.
struct Telling {
    fleet: Fleet,
    world: World,
    scheduler: Scheduler,
    /// What happens when, in that order; equal times in the order of the dispatch.
    due: BTreeSet<(Duration, usize)>,
    events: Vec<Event>,
    story: Vec<(String, Vec<&'static str>)>,
}

impl Telling {
    fn tell(mut self) -> String {
        for (seconds, event) in std::mem::take(&mut self.fleet.operator) {
            self.plan(Duration::from_secs(seconds), event);
        }
        let mut now = Duration::ZERO;
        loop {
            while let Some(command) = self.scheduler.poll_command() {
                self.world.see(&command);
                self.obey(&command, now);
            }
            self.world.check_status(&self.scheduler.status(RunTime(now)));
            if self.scheduler.is_finished() {
                return self.story();
            }
            let deadline = self.scheduler.next_deadline().map(|deadline| deadline.0);
            let next = self.due.first().copied().filter(|(at, _)| deadline.is_none_or(|deadline| *at <= deadline));
            let event = match next {
                Some((at, place)) => {
                    self.due.remove(&(at, place));
                    now = at;
                    self.events[place].clone()
                }
                None => {
                    now = deadline.unwrap_or_else(|| panic!("stuck after\n{}", self.story()));
                    Event::DeadlineReached
                }
            };
            self.world.hear(&event);
            self.scheduler.handle(event, RunTime(now));
        }
    }

    fn plan(&mut self, at: Duration, event: Event) {
        self.due.insert((at, self.events.len()));
        self.events.push(event);
    }

    fn obey(&mut self, command: &Command, now: Duration) {
        let seconds = now.as_secs();
        match command {
            Command::Dispatch(dispatch) => self.dispatch(dispatch, now),
            Command::Abort { host } => {
                let task = self.world.sent[host].work[0].task;
                self.note(format!("{seconds}s abort"), *host);
                let outcome = Outcome::of(Verdict::Cancelled);
                self.plan(now, Event::Finished { host: *host, task, outcome });
            }
            Command::Report(Notice::PlayFinished { play, end }) => {
                self.story.push((format!("{seconds}s {play} ends: {end:?}"), Vec::new()));
            }
            Command::FindHosts { .. } => unreachable!("the hosts of these plays are known"),
            Command::Report(_) => {}
        }
    }

    fn dispatch(&mut self, dispatch: &Dispatch, now: Duration) {
        let names: Vec<String> = dispatch
            .work
            .iter()
            .map(|work| {
                let name = self.fleet.names[work.task.index()];
                match work.kind {
                    TaskKind::Task => name.to_owned(),
                    TaskKind::Handler => format!("handler {name}"),
                }
            })
            .collect();
        let again = if dispatch.attempt > 1 { format!(" (try {})", dispatch.attempt) } else { String::new() };
        self.note(format!("{}s {}{again}", now.as_secs(), names.join("+")), dispatch.host);
        let mut at = now;
        for work in &dispatch.work {
            let key = (dispatch.host, work.task);
            at += Duration::from_secs(self.fleet.seconds.get(&key).copied().unwrap_or(1));
            let (host, task) = key;
            let event = match self.fleet.answers.get_mut(&key).and_then(VecDeque::pop_front) {
                None => Event::Finished { host, task, outcome: Outcome::of(Verdict::Ok) },
                Some(Answer::Outcome(outcome)) => Event::Finished { host, task, outcome },
                Some(Answer::Fault(fault)) => {
                    Event::Unreachable { host, task, fault, on_failure: OnFailure::default() }
                }
                Some(Answer::Silence) => return,
            };
            let ends = !matches!(&event, Event::Finished { outcome, .. } if outcome.verdict != Verdict::NotRun
                && (outcome.ignored || outcome.verdict != Verdict::Failed));
            self.plan(at, event);
            if ends {
                return;
            }
        }
    }

    /// Adds the host to the line, or begins it.
    fn note(&mut self, line: String, host: HostIx) {
        let name = self.fleet.hosts[host.index()];
        match self.story.last_mut() {
            Some((last, hosts)) if *last == line => hosts.push(name),
            _ => self.story.push((line, vec![name])),
        }
    }

    fn story(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (line, hosts) in &self.story {
            lines.push(if hosts.is_empty() { line.clone() } else { format!("{line}: {}", hosts.join(" ")) });
        }
        if let Some(end) = &self.world.end {
            for (host, state) in self.fleet.hosts.iter().zip(&end.hosts) {
                if *state != HostState::Ok {
                    lines.push(format!("{host} {state:?}"));
                }
            }
        }
        lines.join("\n")
    }
}

/// Compares a story with the lines expected.
#[track_caller]
pub(super) fn tells(story: String, expected: &str) {
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    assert_eq!(story, expected.join("\n"), "the story was\n{story}\n");
}

pub(super) fn web() -> Fleet {
    Fleet::of(["web1", "web2", "web3"])
}
