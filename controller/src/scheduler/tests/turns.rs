//! The rules of `run_once`, `throttle` and of failures that are everybody's, told as runs: see `rules`.

use std::num::NonZeroU32;

use super::fleet::{Fleet, Play, tells, web};
use crate::scheduler::{Effect, Event, Once, Outcome, Strategy, TransportFault, Verdict};

/// `load` runs once, between two tasks for everybody.
fn once() -> Play {
    Play::of(["install", "load", "next"]).once("load", Once::Yes)
}

#[test]
fn a_task_that_runs_once_runs_on_the_first_host_and_the_others_wait_for_it() {
    tells(
        web().taking("load", "web1", 5).run([once()]),
        "
        0s install: web1 web2 web3
        1s load: web1
        6s next: web1 web2 web3
        7s play-0 ends: Completed",
    );
}

#[test]
fn it_runs_once_for_each_batch_and_on_the_first_host_that_is_left() {
    tells(
        web().failing("install", ["web1"]).run([once().serial(2)]),
        "
        0s install: web1 web2
        1s load: web2
        2s next: web2
        3s install: web3
        4s load: web3
        5s next: web3
        6s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn under_free_everybody_runs_it() {
    let play = Play::of(["load"]).once("load", Once::Yes).strategy(Strategy::Free);
    tells(
        web().run([play]),
        "
        0s load: web1 web2 web3
        1s play-0 ends: Completed",
    );
}

#[test]
fn a_failure_of_what_runs_once_is_everybodys() {
    tells(
        web().failing("load", ["web1"]).run([once()]),
        "
        0s install: web1 web2 web3
        1s load: web1
        2s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn one_that_is_ignored_is_nobodys() {
    let outcome = Outcome { ignored: true, ..Outcome::of(Verdict::Failed) };
    tells(
        web().with("load", "web1", outcome).run([once()]),
        "
        0s install: web1 web2 web3
        1s load: web1
        2s next: web1 web2 web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn the_first_host_alone_tries_again_and_its_loss_is_everybodys() {
    let fleet = web().unreachable("load", "web1", TransportFault::NotAccepted).unreachable(
        "load",
        "web1",
        TransportFault::Permanent,
    );
    tells(
        fleet.run([once()]),
        "
        0s install: web1 web2 web3
        1s load: web1
        7s load (try 2): web1
        8s play-0 ends: FatalError
        web1 Unreachable
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn if_the_first_host_is_given_up_another_one_goes() {
    let fleet = web().hanging("load", "web1");
    let drop = Event::DropHost(fleet.host("web1"));
    tells(
        fleet.at(3, drop).run([once()]),
        "
        0s install: web1 web2 web3
        1s load: web1
        3s abort: web1
        3s load: web2
        4s next: web2 web3
        5s play-0 ends: Completed
        web1 Cancelled",
    );
}

#[test]
fn a_handler_runs_once_too() {
    let play = Play::of(["install"]).handlers(["restart"]).once("restart", Once::Yes);
    tells(
        web().notifying("install", &["web2", "web3"], ["restart"]).run([play]),
        "
        0s install: web1 web2 web3
        1s handler restart: web2
        2s play-0 ends: Completed",
    );
}

#[test]
fn the_first_host_that_is_asked_goes_alone_and_may_have_gone_for_all() {
    let play = || Play::of(["load", "next"]).once("load", Once::Asked);
    let outcome = Outcome { for_all: true, ..Outcome::of(Verdict::Ok) };
    tells(
        web().with("load", "web1", outcome).run([play()]),
        "
        0s load: web1
        1s next: web1 web2 web3
        2s play-0 ends: Completed",
    );
    tells(
        web().run([play()]),
        "
        0s load: web1
        1s load: web2 web3
        2s next: web1 web2 web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn no_more_hosts_than_the_throttle_are_at_a_step() {
    tells(
        web().run([Play::of(["load", "next"]).throttle("load", 2)]),
        "
        0s load: web1 web2
        1s load: web3
        2s next: web1 web2 web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn under_free_a_throttled_step_holds_up_only_those_who_come_to_it() {
    let play = Play::of(["install", "load", "next"]).throttle("load", 1).strategy(Strategy::Free);
    tells(
        web().taking("load", "web1", 3).taking("install", "web3", 5).run([play]),
        "
        0s install: web1 web2 web3
        1s load: web1
        4s next: web1
        4s load: web2
        5s next: web2
        5s load: web3
        6s next: web3
        7s play-0 ends: Completed",
    );
}

#[test]
fn a_throttle_that_only_a_host_knows_holds_once_the_first_has_said_it() {
    let fleet = Fleet::of(["web1", "web2", "web3", "web4"]);
    let outcome = Outcome { throttle: NonZeroU32::new(2), ..Outcome::of(Verdict::Ok) };
    tells(
        fleet.with("load", "web1", outcome).run([Play::of(["load"]).once("load", Once::Asked)]),
        "
        0s load: web1
        1s load: web2 web3
        2s load: web4
        3s play-0 ends: Completed",
    );
}

#[test]
fn hosts_that_another_one_takes_along_go_on_with_the_rescue_around_them() {
    let block = |play: Play| play.block(None, &["install", "start"], &["fix"], &["log"]);
    let play = block(Play::of(["install", "start", "fix", "log", "next"]));
    tells(
        web().failing("install", ["web2"]).run([Play { any_errors_fatal: true, ..play }]),
        "
        0s install: web1 web2 web3
        1s fix: web1 web2 web3
        2s log: web1 web2 web3
        3s next: web1 web2 web3
        4s play-0 ends: Completed",
    );
}

#[test]
fn without_a_rescue_they_run_the_always_and_are_lost_at_its_end() {
    let play = Play::of(["install", "log", "next"]).block(None, &["install"], &[], &["log"]);
    tells(
        web().failing("install", ["web2"]).run([Play { any_errors_fatal: true, ..play }]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s play-0 ends: FatalError
        web1 Cancelled
        web2 Failed
        web3 Cancelled",
    );
}

#[test]
fn a_failure_at_the_last_task_takes_those_along_who_are_through_with_it() {
    let play = Play { any_errors_fatal: true, ..Play::of(["install"]) };
    tells(
        web().taking("install", "web3", 9).failing("install", ["web3"]).run([play, Play::of(["check"])]),
        "
        0s install: web1 web2 web3
        9s play-0 ends: FatalError
        web1 Cancelled
        web2 Cancelled
        web3 Failed",
    );
}

#[test]
fn a_host_that_has_left_the_play_is_not_taken_along() {
    let play = Play { any_errors_fatal: true, ..Play::of(["install", "start"]) };
    tells(
        web().asking("install", "web1", Effect::EndHost).failing("start", ["web2"]).run([play, Play::of(["check"])]),
        "
        0s install: web1 web2 web3
        1s start: web2 web3
        2s play-0 ends: Completed
        2s check: web1
        3s play-1 ends: Completed
        web2 Failed
        web3 Cancelled",
    );
}

#[test]
fn a_failure_may_be_everybodys_by_what_the_host_says() {
    let outcome = Outcome { fatal: true, ..Outcome::of(Verdict::Failed) };
    tells(
        web().with("install", "web1", outcome).run([Play::of(["install", "next"])]),
        "
        0s install: web1 web2 web3
        1s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn a_host_that_carries_a_failure_is_lost_at_the_blocks_end_though_another_one_runs_the_always_for_it() {
    let play = Play::of(["install", "log", "next"]).block(None, &["install"], &[], &["log"]).once("log", Once::Yes);
    tells(
        web().failing("install", ["web2"]).run([play]),
        "
        0s install: web1 web2 web3
        1s log: web1
        2s next: web1 web3
        3s play-0 ends: Completed
        web2 Failed",
    );
}

#[test]
fn a_host_that_is_brought_back_to_what_another_one_ran_for_all_passes_it_by() {
    let fleet = web().unreachable("install", "web3", TransportFault::Permanent).asking(
        "forgive",
        "web1",
        Effect::ClearHostErrors,
    );
    tells(
        fleet.run([Play::of(["install", "forgive", "next"]).once("forgive", Once::Yes)]),
        "
        0s install: web1 web2 web3
        1s forgive: web1
        2s next: web1 web2 web3
        3s play-0 ends: Completed",
    );
}
