//! Random fleets, random plays, random orders of events; every rule is held against every command (see `world`), and
//! every run comes to its end. A failing case prints its log of events; the case itself is made of numbers only, so
//! proptest's report of it is enough to run it again.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::program::step;
use super::world::World;
use crate::event::CancelReason;
use crate::plan::{BlockId, PlayId, RoleIdentity, Section, TaskId, Within};
use crate::scheduler::{
    Command, Effect, Event, HandlerStep, HostIx, Limits, OnFailure, Once, Outcome, Percent, PlayProgram, Program,
    RetryPolicy, RoleUse, RunTime, Scheduler, Splice, Step, StepKind, Strategy as Pace, TransportFault, Turns, Verdict,
};

/// More events than any generated run can need.
const EVENTS_MAX: usize = 20_000;

/// Where the tasks of a play are numbered from, and its handlers from the middle.
const IDS_PER_PLAY: u32 = 100;

proptest! {
    #![proptest_config(rounds())]

    #[test]
    fn every_rule_holds_for_every_order_of_events_and_every_run_ends(program in program(), choices in choices()) {
        Recording::of(program, Choices::from(choices));
    }

    #[test]
    fn the_same_events_give_the_same_commands(program in program(), choices in choices()) {
        let recording = Recording::of(program.clone(), Choices::from(choices));
        let mut scheduler = Scheduler::new(program);
        let mut commands = drain(&mut scheduler);
        for (event, now) in &recording.events {
            scheduler.handle(event.clone(), *now);
            commands.extend(drain(&mut scheduler));
        }
        prop_assert_eq!(commands, recording.commands);
    }

    #[test]
    fn the_run_ends_when_and_only_when_an_error_budget_is_spent_whatever_the_failures_are(
        hosts in 1..60u32, allowed in 0..=100u32, choices in choices(), free in any::<bool>(),
    ) {
        let mut play = one_step_play(hosts);
        play.max_fail_percentage = Percent::new(f64::from(allowed));
        play.strategy = if free { Pace::Free } else { Pace::Linear };
        let limits = Limits { continue_on_error: true, ..limits(hosts) };
        let program = Program { hosts: hosts as usize, plays: vec![play], limits };
        let recording = Recording::of(program, Choices::of_answers(choices));
        let failed = recording.world.failed_in_run.len() as u32;
        let stopped = recording.world.end.as_ref().unwrap().stopped_early;
        prop_assert_eq!(stopped, failed * 100 > allowed * hosts);
    }

    #[test]
    fn any_soup_of_events_is_survived_and_the_run_still_ends(program in program(), soup in vec(any_event(), 0..200)) {
        let mut scheduler = Scheduler::new(program.clone());
        let mut world = World::new(program);
        let mut now = RunTime::ZERO;
        for event in soup {
            drain(&mut scheduler).iter().for_each(|command| world.see(command));
            world.hear(&event);
            scheduler.handle(event, now);
            now = now.after(Duration::from_millis(700));
        }
        let mut recording = Recording { events: Vec::new(), commands: Vec::new(), world };
        recording.run(&mut scheduler, Choices::from(Vec::new()), now);
    }
}

#[test]
fn a_run_of_ten_thousand_hosts_and_a_hundred_tasks_is_brought_to_its_end() {
    let (hosts, tasks) = (10_000, 100);
    let mut play = one_step_play(hosts);
    play.steps = (0..tasks).map(|task| step(TaskId(task))).collect();
    let program =
        Program { hosts: hosts as usize, plays: vec![play], limits: Limits { forks: forks(50), ..limits(hosts) } };
    let mut scheduler = Scheduler::new(program);
    let mut done = 0;
    while !scheduler.is_finished() {
        for command in drain(&mut scheduler) {
            if let Command::Dispatch(dispatch) = command {
                done += 1;
                let outcome = Outcome::of(Verdict::Ok);
                scheduler.handle(
                    Event::Finished { host: dispatch.host, task: dispatch.work[0].task, outcome },
                    RunTime::ZERO,
                );
            }
        }
    }
    assert_eq!(done, hosts * tasks);
    assert_eq!(scheduler.status(RunTime::ZERO).hosts.done, hosts as usize);
}

/// A thousand of each property, or as many as `PROPTEST_CASES` says.
fn rounds() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = std::env::var_os("PROPTEST_CASES").map_or(1_000, |_| config.cases);
    ProptestConfig { cases, ..config }
}

/// A run and what happened in it.
struct Recording {
    events: Vec<(Event, RunTime)>,
    commands: Vec<Command>,
    world: World,
}

impl Recording {
    fn of(program: Program, choices: Choices) -> Recording {
        let mut scheduler = Scheduler::new(program.clone());
        let mut recording = Recording { events: Vec::new(), commands: Vec::new(), world: World::new(program) };
        recording.run(&mut scheduler, choices, RunTime::ZERO);
        recording
    }

    /// Answers commands as `choices` say until the run is over.
    fn run(&mut self, scheduler: &mut Scheduler, mut choices: Choices, mut now: RunTime) {
        let mut log = Log::default();
        loop {
            for command in drain(scheduler) {
                log.0.push(format!("    {command:?}"));
                self.world.see(&command);
                self.commands.push(command);
            }
            self.world.check_status(&scheduler.status(now));
            assert_eq!(self.world.end.is_some(), scheduler.is_finished());
            if scheduler.is_finished() {
                return;
            }
            assert!(self.events.len() < EVENTS_MAX, "the run does not end");
            now = now.after(Duration::from_millis(choices.next().into()));
            let event = self.next_event(&mut choices, scheduler.next_deadline(), &mut now);
            log.0.push(format!("{:?} {event:?}", now.0));
            self.world.hear(&event);
            scheduler.handle(event.clone(), now);
            self.events.push((event, now));
        }
    }

    fn next_event(&self, choices: &mut Choices, deadline: Option<RunTime>, now: &mut RunTime) -> Event {
        if let Some(event) = choices.operator() {
            return event;
        }
        if let Some(play) = self.world.wanted {
            return self.hosts_found(play, choices);
        }
        let due = deadline.is_some_and(|deadline| deadline <= *now);
        let at_work: Vec<HostIx> = self.world.sent.keys().copied().collect();
        if due || at_work.is_empty() {
            if let Some(deadline) = deadline.filter(|_| !self.world.paused || due) {
                *now = (*now).max(deadline);
                return Event::DeadlineReached;
            }
            assert!(self.world.paused, "nothing is in flight, nothing is waited for, and the run is not over");
            return Event::Resume;
        }
        let host = at_work[choices.next() as usize % at_work.len()];
        let sent = &self.world.sent[&host];
        let mut event = choices.answer(host, sent.work[0].task, sent.aborted, &self.world.play_handlers());
        if let Event::Finished { task, outcome, .. } = &mut event
            && choices.next() > 200
        {
            outcome.included = self.world.fragment(*task, choices.next()).into_iter().collect();
        }
        event
    }

    /// Some of those that were known are not there any more, some are new to the run, and some pass a step by.
    fn hosts_found(&self, play: PlayId, choices: &mut Choices) -> Event {
        let (known, batches) = self.world.hosts_of(play);
        let gone = usize::from(choices.next() % 4);
        let new = usize::from(choices.next() % 3);
        let mut batches: Vec<Vec<HostIx>> = batches.iter().skip(gone).cloned().collect();
        batches.extend((known..known + new).map(|number| vec![HostIx(number as u32)]));
        let joined = (known..known + new).map(|number| format!("h{number}").parse().unwrap()).collect();
        let steps = self.world.steps_named_by(play);
        let exempt = (0..choices.next() % 3).filter_map(|_| {
            let (step, every) = (usize::from(choices.next()), usize::from(choices.next() % 3 + 1));
            let hosts = batches.iter().flatten().step_by(every).copied().collect();
            steps.get(step % steps.len().max(1)).map(|task| (*task, hosts))
        });
        let exempt = exempt.collect();
        Event::HostsFound { play, joined, batches, exempt }
    }
}

impl World {
    /// Handlers of the play that runs; none once a cancel ended it.
    fn play_handlers(&self) -> Vec<TaskId> {
        self.current_play().map(|play| play.handlers.iter().map(|handler| handler.task).collect()).unwrap_or_default()
    }
}

/// Where what tasks include is numbered from. What is included includes nothing.
const INCLUDED: u32 = 10_000;

impl World {
    /// One of the two things that a task may include: one step, or two others. Either is of a role.
    fn fragment(&self, including: TaskId, choice: u8) -> Option<Splice> {
        let which = u32::from(choice % 2);
        let first = INCLUDED + (including.0 * 2 + which) * 2;
        let around = self.current_play()?.steps.iter().find(|step| step.task == including);
        let (within, parent) = (around.and_then(|step| step.within), around.and_then(|step| step.role));
        let steps = (first..=first + which).map(|number| Step { within, role: Some(first), ..step(TaskId(number)) });
        let identity = RoleIdentity::of(["web", "db"][which as usize]);
        let included = Splice {
            steps: steps.collect(),
            blocks: BTreeMap::new(),
            roles: [(first, RoleUse { identity, once: including.0.is_multiple_of(2), parent })].into(),
            handlers: Vec::new(),
            superseded: Vec::new(),
        };
        (including.0 < INCLUDED).then_some(included)
    }
}

/// Events and commands in their order, printed if the test panics while it is alive: of all cases that proptest tries, the
/// failing ones tell their story, the smallest last.
#[derive(Default)]
struct Log(Vec<String>);

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- events, and the commands they led to ---\n{}", self.0.join("\n"));
        }
    }
}

/// Decisions of the fleet and the operator, from a list of numbers; when it is used up, all is well and goes in order.
struct Choices {
    numbers: std::vec::IntoIter<u8>,
    operator: bool,
}

impl Choices {
    fn from(numbers: Vec<u8>) -> Choices {
        Choices { numbers: numbers.into_iter(), operator: true }
    }

    /// No operator interferes, and no failure is more or less than it is.
    fn of_answers(numbers: Vec<u8>) -> Choices {
        Choices { operator: false, ..Choices::from(numbers) }
    }

    fn next(&mut self) -> u8 {
        self.numbers.next().unwrap_or_default()
    }

    fn operator(&mut self) -> Option<Event> {
        if !self.operator {
            return None;
        }
        match self.next() {
            250 => Some(Event::Pause),
            251 => Some(Event::Resume),
            252 => Some(Event::DropHost(HostIx(u32::from(self.next() % 16)))),
            253 => Some(Event::Cancel(reason(self.next()))),
            254 => Some(Event::Unreachable {
                host: HostIx(self.next().into()),
                task: TaskId(self.next().into()),
                fault: TransportFault::NotAccepted,
                on_failure: OnFailure::default(),
            }),
            255 => Some(Event::DeadlineReached),
            _ => None,
        }
    }

    fn answer(&mut self, host: HostIx, task: TaskId, aborted: bool, handlers: &[TaskId]) -> Event {
        let number = self.next();
        if aborted && number < 128 {
            return Event::Finished { host, task, outcome: Outcome::of(Verdict::Cancelled) };
        }
        let fault = match number {
            200..=212 => Some(TransportFault::NotAccepted),
            213..=218 => Some(TransportFault::Lost { repeatable: true }),
            219..=222 => Some(TransportFault::Lost { repeatable: false }),
            223..=224 => Some(TransportFault::Permanent),
            _ => None,
        };
        match fault {
            Some(fault) => {
                let on_failure = OnFailure {
                    any_errors_fatal: self.operator && number.is_multiple_of(9),
                    ignore_unreachable: self.operator && number.is_multiple_of(7),
                };
                Event::Unreachable { host, task, fault, on_failure }
            }
            None => Event::Finished { host, task, outcome: self.outcome(number, handlers) },
        }
    }

    fn outcome(&mut self, number: u8, handlers: &[TaskId]) -> Outcome {
        let mut outcome = Outcome::of(match number {
            0..=90 => Verdict::Ok,
            91..=160 => Verdict::Changed,
            161..=175 => Verdict::Skipped,
            176..=190 => Verdict::Failed,
            191..=199 => Verdict::TimedOut,
            225..=230 => Verdict::NotRun,
            231..=232 => Verdict::Cancelled,
            _ => Verdict::Ok,
        });
        outcome.ignored = number.is_multiple_of(3);
        outcome.fatal = self.operator && number.is_multiple_of(31);
        outcome.for_all = number.is_multiple_of(2);
        outcome.throttle = NonZeroU32::new(u32::from(number % 4));
        outcome.effect = match number {
            40..=60 => Effect::FlushHandlers,
            61..=70 => Effect::EndRole,
            240..=246 => Effect::EndHost,
            247..=248 => Effect::EndBatch,
            249..=250 => Effect::EndPlay,
            251..=255 => Effect::ClearHostErrors,
            223..=224 if self.operator => Effect::EndRun(CancelReason::PlanBroken),
            _ => Effect::None,
        };
        if number > 90 && !handlers.is_empty() {
            let count = self.next() % 4;
            outcome.notified = (0..count).map(|_| handlers[self.next() as usize % handlers.len()]).collect();
        }
        outcome
    }
}

fn drain(scheduler: &mut Scheduler) -> Vec<Command> {
    std::iter::from_fn(|| scheduler.poll_command()).collect()
}

fn reason(number: u8) -> CancelReason {
    let reasons =
        [CancelReason::FailFast, CancelReason::ReportFailed, CancelReason::Requested, CancelReason::Interrupted];
    reasons[number as usize % reasons.len()]
}

fn forks(forks: usize) -> NonZeroUsize {
    NonZeroUsize::new(forks).unwrap()
}

fn limits(hosts: u32) -> Limits {
    Limits {
        forks: forks(hosts as usize),
        fail_fast: false,
        continue_on_error: false,
        run_budget: None,
        straggler: None,
        retry: RetryPolicy {
            attempts_max: 3,
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            maximum: Duration::from_secs(60),
            jitter: 0.5,
            seed: 7,
        },
    }
}

fn one_step_play(hosts: u32) -> PlayProgram {
    super::program::play(PlayId(0), vec![(0..hosts).map(HostIx).collect()], vec![step(TaskId(0))])
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..1_500)
}

fn program() -> impl Strategy<Value = Program> {
    (1..14u32).prop_flat_map(|hosts| {
        let plays = vec(play(hosts), 0..4).prop_map(|plays| plays.into_iter().enumerate().map(numbered).collect());
        let budget = option::weighted(0.2, 0..100u32);
        (plays, 1..8usize, prop::bool::weighted(0.1), any::<bool>(), budget, 0..4u32).prop_map(
            move |(plays, most, fail_fast, continue_on_error, budget, attempts_max)| {
                let mut limits = limits(hosts);
                limits.forks = forks(most);
                limits.fail_fast = fail_fast;
                limits.continue_on_error = continue_on_error;
                limits.run_budget = budget.and_then(|percent| Percent::new(percent.into()));
                limits.retry.attempts_max = attempts_max;
                Program { hosts: hosts as usize, plays, limits }
            },
        )
    })
}

/// Gives a play and its tasks numbers no other play has.
fn numbered((place, mut play): (usize, PlayProgram)) -> PlayProgram {
    play.play = PlayId(place as u32);
    let first = place as u32 * IDS_PER_PLAY;
    for (number, step) in (first..).zip(&mut play.steps) {
        step.task = TaskId(number);
    }
    for (number, handler) in (first + IDS_PER_PLAY / 2..).zip(&mut play.handlers) {
        handler.task = TaskId(number);
    }
    play
}

fn play(hosts: u32) -> impl Strategy<Value = PlayProgram> {
    let names = Just((0..hosts).map(HostIx).collect::<Vec<_>>()).prop_shuffle();
    let pace = prop_oneof![3 => Just(Pace::Linear), 2 => Just(Pace::Free), 1 => Just(Pace::HostPinned)];
    let handlers = vec((on_failure(), throttle()), 0..5);
    let budget = option::weighted(0.3, 0..=100u32);
    let plays =
        (names, 1..=hosts as usize, pace, vec(some_step(hosts), 0..8), handlers, budget, any::<bool>(), any::<bool>())
            .prop_map(|(names, serial, strategy, steps, handlers, budget, rolling, force_handlers)| PlayProgram {
                play: PlayId(0),
                begins_playbook: false,
                batches: names.chunks(serial).map(<[HostIx]>::to_vec).collect(),
                late: false,
                strategy,
                rolling: rolling && strategy == Pace::Linear,
                steps,
                blocks: BTreeMap::new(),
                roles: BTreeMap::new(),
                handlers: handlers
                    .into_iter()
                    .map(|(on_failure, throttle)| {
                        let turns = Turns { once: Once::No, throttle: NonZeroU32::new(throttle) };
                        HandlerStep { task: TaskId(0), on_failure, turns, depth: 0 }
                    })
                    .collect(),
                max_fail_percentage: budget.and_then(|percent| Percent::new(percent.into())),
                force_handlers,
                last_flushes: 2,
            });
    let marks = (prop::bool::weighted(0.3), prop::bool::weighted(0.5));
    (plays, marks, vec(any::<u8>(), 0..24)).prop_map(|(mut play, (late, begins_playbook), choices)| {
        play.late = late;
        play.begins_playbook = begins_playbook;
        let mut choices = choices.into_iter();
        play.roles = use_roles(&mut play.steps, &mut choices);
        carve(&mut play.steps, None, &mut play.blocks, &mut choices);
        play
    })
}

/// Some of the steps are of uses of roles, one behind the other, and some of those of one within it. A few are of one role.
fn use_roles(steps: &mut [Step], choices: &mut std::vec::IntoIter<u8>) -> BTreeMap<u32, RoleUse> {
    let mut choose = |most: usize| choices.next().map_or(0, |choice| usize::from(choice) % (most + 1));
    let mut uses = BTreeMap::new();
    let mut rest = 0..steps.len();
    for outer in [1, 3] {
        let mut within = rest.start + choose(rest.len())..rest.end;
        for (role, parent) in [(outer, None), (outer + 1, Some(outer))] {
            let start = within.start + choose(within.len());
            let end = start + choose(within.end - start);
            steps[start..end].iter_mut().for_each(|step| step.role = Some(role));
            let identity = RoleIdentity::of(["web", "db"][choose(1)]);
            uses.insert(role, RoleUse { identity, once: choose(1) == 1, parent });
            within = start..end;
            rest.start = rest.start.max(end);
        }
    }
    uses
}

/// Makes blocks of some of the steps that stand in `parent`, and blocks within them, as long as there are choices.
fn carve(
    steps: &mut [Step],
    parent: Option<Within>,
    blocks: &mut BTreeMap<BlockId, Option<Within>>,
    choices: &mut std::vec::IntoIter<u8>,
) {
    let mut choose = |most: usize| choices.next().map(|choice| usize::from(choice) % (most + 1));
    let (Some(wanted), Some(start)) = (choose(2), choose(steps.len())) else { return };
    if wanted == 0 || start == steps.len() {
        return;
    }
    let block = BlockId(blocks.len() as u32);
    blocks.insert(block, parent);
    let mut rest = &mut steps[start..];
    for section in [Section::Tasks, Section::Rescue, Section::Always] {
        let Some(count) = choices.next().map(|choice| usize::from(choice) % (rest.len() + 1)) else { return };
        let (inside, behind) = rest.split_at_mut(count);
        rest = behind;
        let within = Some(Within { block, section });
        for step in &mut *inside {
            (step.within, step.kind) = (within, StepKind::Task);
        }
        carve(inside, within, blocks, choices);
    }
}

fn some_step(hosts: u32) -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        5 => Just(StepKind::Task),
        1 => Just(StepKind::FlushHandlers),
        1 => Just(StepKind::AskedFlush),
    ];
    let some = option::weighted(0.2, vec((0..hosts).prop_map(HostIx), 0..hosts as usize));
    (kind, some, any::<bool>(), on_failure(), turns()).prop_map(|(kind, some, joins, on_failure, turns)| Step {
        kind,
        hosts: some.map(|hosts| hosts.into_iter().collect()),
        joins_segment: joins && turns == Turns::default(),
        on_failure,
        turns,
        ..step(TaskId(0))
    })
}

fn turns() -> impl Strategy<Value = Turns> {
    let once = prop_oneof![8 => Just(Once::No), 1 => Just(Once::Yes), 1 => Just(Once::Asked)];
    (once, throttle()).prop_map(|(once, throttle)| Turns { once, throttle: NonZeroU32::new(throttle) })
}

fn throttle() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0), 1 => 1..4u32]
}

fn on_failure() -> impl Strategy<Value = OnFailure> {
    (prop::bool::weighted(0.05), prop::bool::weighted(0.1))
        .prop_map(|(any_errors_fatal, ignore_unreachable)| OnFailure { any_errors_fatal, ignore_unreachable })
}

fn any_event() -> impl Strategy<Value = Event> {
    let host = (0..16u32).prop_map(HostIx);
    let task = prop_oneof![0..8u32, 50..55u32, 100..108u32, Just(u32::MAX)].prop_map(TaskId);
    let answer = (host.clone(), task.clone(), any::<u8>(), any::<u8>()).prop_map(|(host, task, number, more)| {
        Choices::of_answers(vec![number, more]).answer(host, task, false, &[TaskId(50), TaskId(51), TaskId(9)])
    });
    prop_oneof![
        30 => answer,
        1 => Just(Event::DeadlineReached),
        1 => Just(Event::Pause),
        1 => Just(Event::Resume),
        1 => host.clone().prop_map(Event::DropHost),
        1 => (0..4u32, host, option::of(task)).prop_map(|(play, host, exempt)| Event::HostsFound {
            play: PlayId(play),
            joined: Vec::new(),
            batches: vec![vec![host]],
            exempt: exempt.map(|task| (task, vec![host])).into_iter().collect(),
        }),
        1 => any::<u8>().prop_map(|number| Event::Cancel(reason(number))),
    ]
}
