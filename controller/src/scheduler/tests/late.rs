//! Plays whose hosts are looked up when they begin.

use crate::event::HostState;
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{
    Command, Event, HostIx, Notice, OnFailure, Outcome, PlayProgram, Program, RunTime, Scheduler, Step, StepKind,
    Strategy, Turns, Verdict,
};

use super::fleet::Fleet;

#[test]
fn who_is_in_a_play_can_be_known_when_it_begins_and_may_be_new_to_the_run() {
    let play = |number: u32, hosts: Vec<HostIx>, late: bool| PlayProgram {
        play: PlayId(number),
        batches: vec![hosts],
        late,
        strategy: Strategy::Linear,
        rolling: false,
        steps: vec![Step {
            task: TaskId(number),
            kind: StepKind::Task,
            hosts: None,
            joins_segment: false,
            within: None,
            on_failure: OnFailure::default(),
            turns: Turns::default(),
            depth: 0,
        }],
        blocks: Default::default(),
        handlers: Vec::new(),
        max_fail_percentage: None,
        force_handlers: false,
    };
    let (old, new) = (HostIx(0), HostIx(1));
    let plays = vec![play(0, vec![old], false), play(1, Vec::new(), true)];
    let mut scheduler = Scheduler::new(Program { hosts: 1, plays, limits: Fleet::of([]).limits });
    let mut next = |event: Option<Event>| {
        if let Some(event) = event {
            scheduler.handle(event, RunTime::ZERO);
        }
        std::iter::from_fn(|| scheduler.poll_command()).collect::<Vec<_>>()
    };
    let done = |host, task| Event::Finished { host, task: TaskId(task), outcome: Outcome::of(Verdict::Ok) };
    next(None);
    // The first host would be through with the run if the second play did not find it again.
    assert_eq!(next(Some(done(old, 0))).last(), Some(&Command::FindHosts { play: PlayId(1) }));
    let found = Event::HostsFound {
        play: PlayId(1),
        joined: vec!["new".parse().unwrap()],
        batches: vec![vec![new, old]],
        exempt: Vec::new(),
    };
    let begun = next(Some(found));
    assert_eq!(begun[0], Command::Report(Notice::PlayStarted { play: PlayId(1), hosts: 2, batches: 1 }));
    next(Some(done(new, 1)));
    let end = next(Some(done(old, 1)));
    let Some(Command::Report(Notice::RunFinished(end))) = end.last() else { panic!("{end:?}") };
    assert_eq!(end.hosts, [HostState::Ok, HostState::Ok]);
}

#[test]
fn a_host_passes_by_what_it_is_exempt_from_and_one_that_all_pass_by_has_no_banner() {
    let (first, second) = (HostIx(0), HostIx(1));
    let step = |task: u32| Step {
        task: TaskId(task),
        kind: StepKind::Task,
        hosts: None,
        joins_segment: false,
        within: None,
        on_failure: OnFailure::default(),
        turns: Default::default(),
        depth: 0,
    };
    let play = PlayProgram {
        play: PlayId(0),
        batches: vec![vec![first, second]],
        late: true,
        strategy: Strategy::Linear,
        rolling: false,
        steps: vec![step(0), step(1), step(2)],
        blocks: Default::default(),
        handlers: Vec::new(),
        max_fail_percentage: None,
        force_handlers: false,
    };
    let mut scheduler = Scheduler::new(Program { hosts: 2, plays: vec![play], limits: Fleet::of([]).limits });
    while scheduler.poll_command().is_some() {}
    let exempt = vec![(TaskId(0), vec![first, second]), (TaskId(1), vec![first])];
    let found = Event::HostsFound { play: PlayId(0), joined: Vec::new(), batches: vec![vec![first, second]], exempt };
    scheduler.handle(found, RunTime::ZERO);
    let commands: Vec<_> = std::iter::from_fn(|| scheduler.poll_command()).collect();
    let begun = commands.iter().filter_map(|command| match command {
        Command::Report(Notice::TaskStarted { task, hosts, .. }) => Some((task.0, *hosts)),
        _ => None,
    });
    assert_eq!(begun.collect::<Vec<_>>(), [(1, 1)]);
}
