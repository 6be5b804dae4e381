//! Several playbooks in one run, told as in `rules`.

use super::fleet::{Fleet, Play, tells, web};
use super::program;
use crate::event::CancelReason;
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{
    Command, Dispatch, Effect, Event, HostIx, Notice, Outcome, PlayProgram, Program, RunTime, Scheduler,
    TransportFault, Verdict,
};

#[test]
fn a_playbook_is_not_begun_after_one_that_had_failures() {
    let books =
        || [Play::of(["first"]), Play::of(["second"]), Play::of(["third"]).begins_playbook(), Play::of(["fourth"])];
    let ended = "
        0s first: web1 web2 web3
        1s play-0 ends: Completed
        1s second: web2 web3
        2s play-1 ends: Completed";
    tells(web().failing("first", ["web1"]).run(books()), &format!("{ended}\n        web1 Failed"));
    let unreachable = web().unreachable("first", "web1", TransportFault::Permanent);
    tells(unreachable.run(books()), &format!("{ended}\n        web1 Unreachable"));
    let whole = |second: &str, rest: &str| {
        format!(
            "
        0s first: web1 web2 web3
        1s play-0 ends: Completed
        1s second: {second}
        2s play-1 ends: Completed
        2s third: {rest}
        3s play-2 ends: Completed
        3s fourth: {rest}
        4s play-3 ends: Completed"
        )
    };
    let all = "web1 web2 web3";
    tells(web().run(books()), &whole(all, all));
    let ignored = Outcome { ignored: true, ..Outcome::of(Verdict::Failed) };
    tells(web().with("first", "web1", ignored).run(books()), &whole(all, all));
    let mut stubborn = web().failing("first", ["web1"]);
    stubborn.limits.continue_on_error = true;
    tells(stubborn.run(books()), &(whole("web2 web3", "web2 web3") + "\n        web1 Failed"));
}

#[test]
fn a_failure_that_is_cleared_keeps_no_playbook_back() {
    let fleet = web().failing("install", ["web1"]).asking("clear", "web2", Effect::ClearHostErrors);
    tells(
        fleet.run([Play::of(["install", "clear"]), Play::of(["test"]).begins_playbook()]),
        "
        0s install: web1 web2 web3
        1s clear: web2 web3
        2s play-0 ends: Completed
        2s test: web1 web2 web3
        3s play-1 ends: Completed",
    );
}

#[test]
fn playbooks_that_a_run_does_not_come_to_are_told_at_its_end() {
    let hosts = vec![vec![HostIx(0), HostIx(1)]];
    let play = |place, begins_playbook| PlayProgram {
        begins_playbook,
        ..program::play(PlayId(place), hosts.clone(), vec![program::step(TaskId(place))])
    };
    let plays = vec![play(0, true), play(1, true), play(2, false), play(3, true)];
    let end = |verdict, cancel: bool| {
        let mut scheduler = Scheduler::new(Program { hosts: 2, plays: plays.clone(), limits: Fleet::of([]).limits });
        let mut started = Vec::new();
        loop {
            while let Some(command) = scheduler.poll_command() {
                match command {
                    Command::Dispatch(Dispatch { host, work, .. }) => {
                        if cancel {
                            scheduler.handle(Event::Cancel(CancelReason::Requested), RunTime::ZERO);
                        }
                        let verdict = if host == HostIx(0) { verdict } else { Verdict::Ok };
                        let outcome = Outcome::of(verdict);
                        scheduler.handle(Event::Finished { host, task: work[0].task, outcome }, RunTime::ZERO);
                    }
                    Command::Report(Notice::PlaybookStarted { play }) => started.push(play.0),
                    Command::Report(Notice::RunFinished(end)) => {
                        return (
                            started,
                            end.not_begun.iter().map(|play| play.0).collect::<Vec<_>>(),
                            end.stopped_early,
                        );
                    }
                    _ => {}
                }
            }
        }
    };
    assert_eq!(end(Verdict::Ok, false), (vec![0, 1, 3], vec![], false));
    assert_eq!(end(Verdict::Failed, false), (vec![0], vec![1, 3], false));
    assert_eq!(end(Verdict::Ok, true), (vec![0], vec![1, 3], false));
}
