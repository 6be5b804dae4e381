//! Plays whose hosts are looked up when they begin.

use crate::event::HostState;
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{
    Command, Event, HostIx, Notice, Outcome, PlayProgram, Program, RunTime, Scheduler, Step, Verdict,
};

use super::fleet::Fleet;
use super::program;

#[test]
fn who_is_in_a_play_can_be_known_when_it_begins_and_may_be_new_to_the_run() {
    let play = |number, hosts| program::play(PlayId(number), vec![hosts], vec![program::step(TaskId(number))]);
    let (old, new) = (HostIx(0), HostIx(1));
    let plays = vec![play(0, vec![old]), PlayProgram { late: true, ..play(1, Vec::new()) }];
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
    let steps = (0..3).map(|task| program::step(TaskId(task))).collect();
    let play = PlayProgram { late: true, ..program::play(PlayId(0), vec![vec![first, second]], steps) };
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

#[test]
fn a_step_that_only_some_hosts_have_is_widened_by_no_exemption() {
    let (first, second, third) = (HostIx(0), HostIx(1), HostIx(2));
    let hosts = vec![first, second, third];
    let restricted = Step { hosts: Some([first, second].into_iter().collect()), ..program::step(TaskId(0)) };
    let play = PlayProgram { late: true, ..program::play(PlayId(0), vec![hosts.clone()], vec![restricted]) };
    let mut scheduler = Scheduler::new(Program { hosts: 3, plays: vec![play], limits: Fleet::of([]).limits });
    while scheduler.poll_command().is_some() {}
    let exempt = vec![(TaskId(0), vec![first])];
    scheduler
        .handle(Event::HostsFound { play: PlayId(0), joined: Vec::new(), batches: vec![hosts], exempt }, RunTime::ZERO);
    let sent = std::iter::from_fn(|| scheduler.poll_command()).filter_map(|command| match command {
        Command::Dispatch(dispatch) => Some(dispatch.host),
        Command::Report(_) | Command::Abort { .. } | Command::FindHosts { .. } => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [second]);
}
