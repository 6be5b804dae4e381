//! Controllers that die at any moment, and one after the other goes on: the real scheduler and the real records, hosts
//! that keep a ledger, and a time that only the simulation knows.
//!
//! Each case is made of a seed. A failure prints it; `JOURNAL_SEED=N` runs that one alone, and `JOURNAL_ROUNDS=N` so many
//! from 0 on (`cargo test -p rustle-exec simulation` runs the short form).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use chrono::DateTime;
use rustle_protocol::RunId;

use super::frame::{self, MAGIC};
use super::*;
use crate::engine::under_way::UnderWay;
use crate::event::HostState;
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{
    Command, Dispatch, Event, HandlerStep, HostIx, Limits, Notice, OnFailure, Outcome, Percent, PlayProgram, Program,
    RetryPolicy, RunTime, Scheduler, Step, StepKind, Strategy, TransportFault, Turns, Verdict,
};

/// Cases of the short form.
const ROUNDS: u64 = 400;

/// More events than any case needs.
const EVENTS_MAX: usize = 20_000;

/// A call, as an agent knows it.
type Key = (HostIx, TaskId, u32, u32);

struct Chance(u64);

impl Chance {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn program(chance: &mut Chance) -> Program {
    let hosts = 1 + chance.below(12) as u32;
    let plays = (0..1 + chance.below(3) as u32).map(|play| {
        let all: Vec<HostIx> = (0..hosts).map(HostIx).collect();
        let size = 1 + chance.below(u64::from(hosts)) as usize;
        let on_failure = OnFailure { any_errors_fatal: chance.once_in(12), ignore_unreachable: chance.once_in(8) };
        let strategies = [Strategy::Linear, Strategy::Linear, Strategy::Free, Strategy::HostPinned];
        let strategy = strategies[chance.below(4) as usize];
        let joins = strategy == Strategy::Free && chance.once_in(2);
        let steps = (0..1 + chance.below(6) as u32).map(|step| Step {
            task: TaskId(play * 100 + step),
            kind: if chance.once_in(6) { StepKind::FlushHandlers } else { StepKind::Task },
            hosts: None,
            joins_segment: joins && step > 0,
            within: None,
            role: None,
            depth: 0,
            turns: Turns::default(),
            on_failure,
        });
        let steps = steps.collect();
        let handlers = (0..chance.below(3) as u32).map(|n| HandlerStep {
            task: TaskId(play * 100 + 50 + n),
            on_failure,
            turns: Turns::default(),
            depth: 0,
        });
        PlayProgram {
            play: PlayId(play),
            begins_playbook: chance.once_in(4),
            batches: all.chunks(size).map(<[HostIx]>::to_vec).collect(),
            late: chance.once_in(4),
            strategy,
            rolling: false,
            steps,
            handlers: handlers.collect(),
            blocks: Default::default(),
            roles: BTreeMap::new(),
            max_fail_percentage: if chance.once_in(4) { Percent::new(50.0) } else { None },
            force_handlers: chance.once_in(4),
            last_flushes: 2,
        }
    });
    let plays = plays.collect();
    let retry = RetryPolicy { attempts_max: 3, seed: chance.next(), ..RetryPolicy::default() };
    let forks = NonZeroUsize::new(1 + chance.below(6) as usize).unwrap();
    let straggler = chance.once_in(3).then(|| Duration::from_millis(1_000 + chance.below(3_000)));
    let continue_on_error = chance.once_in(2);
    let limits = Limits { forks, fail_fast: false, continue_on_error, run_budget: None, straggler, retry };
    Program { hosts: hosts as usize, plays, limits }
}

/// What a host does with a call: the same for the same call, whoever sends it and when.
fn answer(seed: u64, program: &Program, key: Key) -> (Duration, Result<Outcome, TransportFault>) {
    let (HostIx(host), TaskId(task), round, attempt) = key;
    let place = (u64::from(host) << 40) ^ (u64::from(task) << 20) ^ (u64::from(round) << 10) ^ u64::from(attempt);
    let mut chance = Chance(seed ^ place.wrapping_mul(0x2545_f491_4f6c_dd1d));
    // No two answers at one time: which came first must not be left to the simulation.
    let time = Duration::from_nanos((1 + chance.below(3_000)) * 1_000_000 + chance.below(1_000_000));
    let handlers = program.plays.iter().flat_map(|play| &play.handlers).map(|handler| handler.task);
    let notified: Vec<TaskId> = handlers.filter(|handler| handler.0 / 100 == task / 100 && chance.once_in(2)).collect();
    let outcome = match chance.below(20) {
        0 => Ok(Outcome::of(Verdict::Failed)),
        1 => Err(TransportFault::NotAccepted),
        2 => Err(TransportFault::Lost { repeatable: true }),
        3 => Ok(Outcome::of(Verdict::Skipped)),
        4..=9 => Ok(Outcome { notified, ..Outcome::of(Verdict::Changed) }),
        _ => Ok(Outcome::of(Verdict::Ok)),
    };
    (time, outcome)
}

/// Who is in a late play, and when that is known: the same whoever asks. `known` hosts are in the run by then.
fn found(seed: u64, program: &Program, play: PlayId, known: usize) -> (Duration, Event) {
    let mut chance = Chance(seed ^ (u64::from(play.0) + 1).wrapping_mul(0x9e6c_63d0_876a_68ee));
    let time = Duration::from_nanos((1 + chance.below(2_000)) * 1_000_000 + chance.below(1_000_000));
    let PlayProgram { batches, steps, .. } = &program.plays[play.index()];
    let mut batches: Vec<Vec<HostIx>> = batches.iter().filter(|_| !chance.once_in(4)).cloned().collect();
    let new = known..known + chance.below(3) as usize;
    batches.extend(new.clone().map(|host| vec![HostIx(host as u32)]));
    let joined = new.map(|host| format!("h{host}").parse().unwrap()).collect();
    let passed_by = steps.iter().filter(|_| chance.once_in(6)).map(|step| step.task);
    let exempt = passed_by.map(|task| (task, batches.iter().flatten().step_by(2).copied().collect())).collect();
    (time, Event::HostsFound { play, joined, batches, exempt })
}

/// Agents: what they run and what they have kept. They outlive every controller.
#[derive(Default)]
struct Agents {
    /// When each call ends, or has ended, and how often it was run.
    calls: BTreeMap<Key, (RunTime, u32)>,
}

impl Agents {
    /// When the host answers. A call that is known is not run again.
    fn call(&mut self, key: Key, now: RunTime, takes: Duration) -> RunTime {
        let (ends, _) = *self.calls.entry(key).or_insert((now.after(takes), 1));
        ends.max(now)
    }
}

/// One controller's life, and what it leaves.
struct Life<'a> {
    seed: u64,
    program: &'a Program,
    scheduler: Scheduler,
    now: RunTime,
    /// Answers on their way, by their time.
    due: BTreeMap<(RunTime, HostIx), Event>,
    /// Who is in the play that comes next, once that is known.
    found: Option<(RunTime, Event)>,
    /// Hosts of the run.
    known: usize,
    operator: BTreeMap<RunTime, Event>,
    sent: BTreeSet<Key>,
    end: Option<Vec<HostState>>,
}

impl Life<'_> {
    fn obey(&mut self, agents: &mut Agents) {
        while let Some(command) = self.scheduler.poll_command() {
            match command {
                Command::Dispatch(dispatch) => self.dispatch(&dispatch, agents),
                Command::Abort { host } => self.abort(host),
                Command::Report(Notice::RunFinished(end)) => self.end = Some(end.hosts),
                Command::FindHosts { play } => self.find_hosts(play),
                Command::Report(_) => {}
            }
        }
    }

    fn find_hosts(&mut self, play: PlayId) {
        let (takes, event) = found(self.seed, self.program, play, self.known);
        self.found = Some((self.now.after(takes), event));
    }

    /// Takes note of an event, whether it happens now or to an earlier controller.
    fn hear(&mut self, event: &Event) {
        if let Event::HostsFound { joined, .. } = event {
            self.known += joined.len();
            self.found = None;
        }
    }

    fn dispatch(&mut self, dispatch: &Dispatch, agents: &mut Agents) {
        let mut at = self.now;
        for (place, work) in dispatch.work.iter().enumerate() {
            let attempt = if place == 0 { dispatch.attempt } else { 1 };
            let key = (dispatch.host, work.task, work.round, attempt);
            self.sent.insert(key);
            let (takes, outcome) = answer(self.seed, self.program, key);
            at = agents.call(key, at, takes);
            let (host, task) = (dispatch.host, work.task);
            let ends = match &outcome {
                Ok(outcome) => outcome.verdict == Verdict::Failed,
                Err(_) => true,
            };
            let event = match outcome {
                Ok(outcome) => Event::Finished { host, task, outcome },
                Err(fault) => Event::Unreachable { host, task, fault, on_failure: OnFailure::default() },
            };
            self.due.insert((at, host), event);
            if ends {
                return;
            }
            at = at.after(Duration::from_nanos(1));
        }
    }

    fn abort(&mut self, host: HostIx) {
        let waiting: Vec<_> = self.due.keys().filter(|(_, of)| *of == host).copied().collect();
        let first = waiting.iter().filter_map(|key| self.due.remove(key)).next();
        if let Some(Event::Finished { task, .. } | Event::Unreachable { task, .. }) = first {
            let event = Event::Finished { host, task, outcome: Outcome::of(Verdict::Cancelled) };
            self.due.insert((self.now, host), event);
        }
    }

    /// What happens next, and when.
    fn next(&mut self) -> Event {
        let answer = self.due.first_key_value().map(|((at, _), _)| *at);
        let word = self.operator.first_key_value().map(|(at, _)| *at);
        let found = self.found.as_ref().map(|(at, _)| *at);
        let deadline = self.scheduler.next_deadline();
        let at =
            [answer, word, found, deadline].into_iter().flatten().min().expect("a run that waits for nothing is stuck");
        self.now = self.now.max(at);
        if word == Some(at) {
            return self.operator.pop_first().expect("it is there").1;
        }
        if found == Some(at) {
            return self.found.take().expect("it is there").1;
        }
        if answer == Some(at) {
            return self.due.pop_first().expect("it is there").1;
        }
        Event::DeadlineReached
    }
}

/// A run whose controllers die as `deaths` says; how its hosts stood, and everything that was sent.
fn run(seed: u64, program: &Program, operator: &BTreeMap<RunTime, Event>, deaths: Option<&mut Chance>) -> Told {
    let mut agents = Agents::default();
    let mut disk = Disc::begin(program);
    let mut sent = BTreeSet::new();
    let mut deaths = deaths;
    let mut lives = 0;
    loop {
        lives += 1;
        let mut life = go_on(seed, program, operator, &mut disk, &mut agents);
        let until = deaths.as_mut().map_or(EVENTS_MAX, |chance| 1 + chance.below(25) as usize);
        for events in 0.. {
            assert!(events < EVENTS_MAX, "the run does not end");
            life.obey(&mut agents);
            if let Some(end) = life.end {
                sent.extend(life.sent);
                assert!(agents.calls.values().all(|(_, runs)| *runs == 1), "a call was run twice");
                return Told { hosts: end, sent, lives };
            }
            let event = life.next();
            let number = disk.append(life.now, &event);
            if events >= until && lives < 200 {
                // It dies: before its last record is whole, or after; nothing that follows from it was done.
                let chance = deaths.as_mut().expect("only those who may die do");
                disk.tear(number, chance);
                break;
            }
            life.hear(&event);
            life.scheduler.handle(event, life.now);
        }
        sent.extend(life.sent);
    }
}

struct Told {
    hosts: Vec<HostState>,
    sent: BTreeSet<Key>,
    lives: usize,
}

/// A journal in memory.
struct Disc {
    bytes: Vec<u8>,
    number: u64,
}

impl Disc {
    fn begin(program: &Program) -> Disc {
        let mut disk = Disc { bytes: MAGIC.to_vec(), number: 0 };
        let hosts = (0..program.hosts).map(|host| format!("h{host}").parse().unwrap()).collect();
        disk.push(&Record::Begun(Box::new(Header {
            run: RunId::from_u128(1),
            started: DateTime::UNIX_EPOCH,
            software: "simulation".into(),
            inputs: Inputs::default(),
            limits: program.limits.clone(),
            hosts,
            plan: PlanPrint::default(),
        })));
        disk
    }

    fn push(&mut self, record: &Record) -> usize {
        let before = self.bytes.len();
        frame::push(&mut self.bytes, self.number, &serde_json::to_vec(record).unwrap()).unwrap();
        self.number += 1;
        before
    }

    fn append(&mut self, at: RunTime, event: &Event) -> usize {
        let event = event.clone();
        self.push(&Record::Event(Box::new(EventRecord { at, event, result: None, lost: None, lessons: Vec::new() })))
    }

    /// Cuts the last record, which begins at `from`, off somewhere; or leaves it.
    fn tear(&mut self, from: usize, chance: &mut Chance) {
        let length = self.bytes.len() - from;
        let kept = chance.below(length as u64 + 1) as usize;
        self.bytes.truncate(from + kept);
    }
}

/// A controller that reads the journal, and sends again what was under way.
fn go_on<'a>(
    seed: u64,
    program: &'a Program,
    operator: &BTreeMap<RunTime, Event>,
    disk: &mut Disc,
    agents: &mut Agents,
) -> Life<'a> {
    let mut past =
        Past::new(Path::new("journal"), Records::new(Path::new("journal"), &disk.bytes[..]).unwrap()).unwrap();
    let mut limits = program.clone();
    limits.limits = past.header().limits.clone();
    let mut life = Life {
        seed,
        program,
        scheduler: Scheduler::new(limits),
        now: RunTime::ZERO,
        due: BTreeMap::new(),
        found: None,
        known: program.hosts,
        operator: operator.clone(),
        sent: BTreeSet::new(),
        end: None,
    };
    let mut under_way = UnderWay::default();
    let take = |life: &mut Life<'_>, under_way: &mut UnderWay| {
        while let Some(command) = life.scheduler.poll_command() {
            under_way.command(&command);
            match command {
                Command::FindHosts { play } => life.find_hosts(play),
                Command::Report(Notice::RunFinished(end)) => life.end = Some(end.hosts),
                Command::Dispatch(_) | Command::Abort { .. } | Command::Report(_) => {}
            }
        }
    };
    take(&mut life, &mut under_way);
    for step in past.by_ref() {
        let PastStep::Record(record) = step.unwrap() else { panic!("the simulation stops nothing") };
        let Record::Event(record) = *record else { panic!("the simulation writes events only") };
        let EventRecord { at, event, .. } = *record;
        life.now = at;
        if life.operator.get(&at) == Some(&event) {
            life.operator.remove(&at);
        }
        life.hear(&event);
        under_way.event(&event);
        life.scheduler.handle(event.clone(), at);
        take(&mut life, &mut under_way);
        under_way.settle(&event, &life.scheduler);
    }
    let (good, number) = (past.good_bytes() as usize, past.records_read());
    disk.bytes.truncate(good);
    disk.number = number;
    for (dispatch, flight) in under_way.into_flights() {
        let host = dispatch.host;
        life.dispatch(&dispatch, agents);
        if flight.aborted {
            life.abort(host);
        }
    }
    life
}

/// Pauses, and now and then a host that is given up.
fn operator(chance: &mut Chance, hosts: usize) -> BTreeMap<RunTime, Event> {
    let mut words = BTreeMap::new();
    let mut at = RunTime::ZERO;
    for _ in 0..chance.below(4) {
        at = at.after(Duration::from_nanos(1 + chance.below(4_000_000_000)));
        if chance.once_in(3) {
            words.insert(at, Event::DropHost(HostIx(chance.below(hosts as u64) as u32)));
        } else {
            words.insert(at, Event::Pause);
            at = at.after(Duration::from_secs(1 + chance.below(7_200)));
            words.insert(at, Event::Resume);
        }
    }
    words
}

fn case(seed: u64) -> usize {
    let mut chance = Chance(seed);
    let program = program(&mut chance);
    let words = operator(&mut chance, program.hosts);
    let undisturbed = run(seed, &program, &words, None);
    let disturbed = run(seed, &program, &words, Some(&mut chance));
    assert_eq!(disturbed.hosts, undisturbed.hosts, "hosts end otherwise; JOURNAL_SEED={seed}");
    assert_eq!(disturbed.sent, undisturbed.sent, "other calls were made; JOURNAL_SEED={seed}");
    disturbed.lives
}

#[test]
fn whenever_controllers_die_the_run_makes_the_same_calls_and_ends_the_same() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("JOURNAL_SEED"), number("JOURNAL_ROUNDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, rounds) => 0..rounds.unwrap_or(ROUNDS),
    };
    let mut lives = 0;
    for seed in seeds {
        let case = std::panic::catch_unwind(|| case(seed));
        lives += case.unwrap_or_else(|_| panic!("this case fails, and alone with JOURNAL_SEED={seed}"));
    }
    assert!(lives > 1);
}
