//! The rules of blocks, told as runs: see `rules`.

use super::fleet::{ASKED_FLUSH, Fleet, Play, tells, web};
use crate::plan::{BlockId, Section, Within};
use crate::scheduler::{Effect, Event, HostIx, Once, Outcome, Strategy, TransportFault, Verdict};

/// A block of `tasks` with `fix` to rescue it and `log` in any case, and `next` behind it.
fn guarded() -> Play {
    Play::of(["install", "start", "fix", "log", "next"]).block(None, &["install", "start"], &["fix"], &["log"])
}

#[test]
fn a_block_that_goes_well_passes_its_rescue_by() {
    tells(
        web().run([guarded()]),
        "
        0s install: web1 web2 web3
        1s start: web1 web2 web3
        2s log: web1 web2 web3
        3s next: web1 web2 web3
        4s play-0 ends: Completed",
    );
}

#[test]
fn a_host_that_fails_in_a_block_goes_on_with_the_rescue_and_stays_in_the_play() {
    tells(
        web().failing("install", ["web2"]).run([guarded()]),
        "
        0s install: web1 web2 web3
        1s start: web1 web3
        2s fix: web2
        3s log: web1 web2 web3
        4s next: web1 web2 web3
        5s play-0 ends: Completed",
    );
}

#[test]
fn a_host_that_fails_in_the_rescue_too_runs_the_always_and_fails_then() {
    tells(
        web().failing("start", ["web2"]).failing("fix", ["web2"]).run([guarded()]),
        "
        0s install: web1 web2 web3
        1s start: web1 web2 web3
        2s fix: web2
        3s log: web1 web2 web3
        4s next: web1 web3
        5s play-0 ends: Completed
        web2 Failed",
    );
}

#[test]
fn a_block_without_a_rescue_fails_after_its_always() {
    let play = Play::of(["install", "start", "log", "next"]).block(None, &["install", "start"], &[], &["log"]);
    tells(
        web().failing("install", ["web1"]).run([play]),
        "
        0s install: web1 web2 web3
        1s start: web2 web3
        2s log: web1 web2 web3
        3s next: web2 web3
        4s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn a_host_that_is_lost_over_its_always_and_may_be_still_fails_at_the_blocks_end() {
    let mut play = Play::of(["install", "log", "next"]).block(None, &["install"], &[], &["log"]);
    play.ignore_unreachable = true;
    tells(
        web().failing("install", ["web1"]).unreachable("log", "web1", TransportFault::Permanent).run([play]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s next: web2 web3
        3s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn a_failure_that_an_inner_block_does_not_rescue_is_the_outer_ones() {
    let outer = Within { block: BlockId(0), section: Section::Tasks };
    let play = Play::of(["install", "start", "log", "check", "fix", "next"])
        .block(None, &["check"], &["fix"], &[])
        .block(Some(outer), &["install", "start"], &[], &["log"]);
    tells(
        web().failing("install", ["web1"]).run([play]),
        "
        0s install: web1 web2 web3
        1s start: web2 web3
        2s log: web1 web2 web3
        3s check: web2 web3
        4s fix: web1
        5s next: web1 web2 web3
        6s play-0 ends: Completed",
    );
}

#[test]
fn an_unreachable_host_is_not_rescued() {
    tells(
        web().unreachable("install", "web1", TransportFault::Permanent).run([guarded()]),
        "
        0s install: web1 web2 web3
        1s start: web2 web3
        2s log: web2 web3
        3s next: web2 web3
        4s play-0 ends: Completed
        web1 Unreachable",
    );
}

#[test]
fn a_rescued_failure_counts_nowhere() {
    let play = Play { any_errors_fatal: true, ..guarded().max_fail_percentage(0.0) };
    let mut fleet = web().failing("install", ["web1", "web2", "web3"]);
    fleet.limits.fail_fast = true;
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s fix: web1 web2 web3
        2s log: web1 web2 web3
        3s next: web1 web2 web3
        4s play-0 ends: Completed",
    );
}

#[test]
fn under_free_each_host_goes_through_its_own_rescue() {
    tells(
        web().failing("install", ["web2"]).taking("install", "web3", 9).run([guarded().strategy(Strategy::Free)]),
        "
        0s install: web1 web2 web3
        1s start: web1
        1s fix: web2
        2s log: web1 web2
        3s next: web1 web2
        9s start: web3
        10s log: web3
        11s next: web3
        12s play-0 ends: Completed",
    );
}

#[test]
fn forced_handlers_run_after_a_block_that_failed() {
    let play = Play { force_handlers: true, ..guarded().handlers(["restart"]) };
    let fleet = Fleet::of(["web1"]).notifying("install", &["web1"], ["restart"]);
    tells(
        fleet.failing("start", ["web1"]).failing("fix", ["web1"]).run([play]),
        "
        0s install: web1
        1s start: web1
        2s fix: web1
        3s log: web1
        4s handler restart: web1
        5s play-0 ends: NoHostsLeft
        web1 Failed",
    );
}

#[test]
fn a_handler_that_fails_in_a_flush_inside_a_block_is_rescued() {
    let play = Play::of(["install", ASKED_FLUSH, "fix", "next"]).block(None, &["install", ASKED_FLUSH], &["fix"], &[]);
    let fleet = Fleet::of(["web1", "web2"])
        .notifying("install", &["web1", "web2"], ["restart"])
        .asking(ASKED_FLUSH, "web1", Effect::FlushHandlers)
        .asking(ASKED_FLUSH, "web2", Effect::FlushHandlers)
        .failing("restart", ["web1"]);
    tells(
        fleet.run([play.handlers(["restart"])]),
        "
        0s install: web1 web2
        1s ask: web1 web2
        2s handler restart: web1 web2
        3s fix: web1
        4s next: web1 web2
        5s play-0 ends: Completed",
    );
}

#[test]
fn clear_host_errors_forgives_what_a_host_carries_through_an_always() {
    let play = Play::of(["install", "log", "clear", "next"]).block(None, &["install"], &[], &["log", "clear"]);
    tells(
        web().failing("install", ["web1", "web2"]).asking("clear", "web1", Effect::ClearHostErrors).run([play]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s clear: web1 web2 web3
        3s next: web1 web2 web3
        4s play-0 ends: Completed",
    );
}

#[test]
fn clear_host_errors_forgives_hosts_of_earlier_plays_for_later_ones() {
    let plays = [Play::of(["install"]), Play::of(["clear", "log"]), Play::of(["next"])];
    let fleet = web().failing("install", ["web1"]).unreachable("install", "web2", TransportFault::Permanent);
    tells(
        fleet.asking("clear", "web3", Effect::ClearHostErrors).run(plays),
        "
        0s install: web1 web2 web3
        1s play-0 ends: Completed
        1s clear: web3
        2s log: web3
        3s play-1 ends: Completed
        3s next: web1 web2 web3
        4s play-2 ends: Completed",
    );
}

#[test]
fn a_host_that_comes_back_from_the_end_of_an_always_has_left_the_failure_behind() {
    let play = |strategy| {
        let play = Play::of(["install", "log", "clear", "next"]).strategy(strategy);
        play.block(None, &["install"], &[], &["log"])
    };
    let fleet = || {
        let fleet = web().failing("install", ["web1"]).unreachable("log", "web1", TransportFault::Permanent);
        fleet.asking("clear", "web2", Effect::ClearHostErrors)
    };
    tells(
        fleet().run([play(Strategy::Linear)]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s clear: web2 web3
        3s clear: web1
        4s next: web1 web2 web3
        5s play-0 ends: Completed",
    );
    tells(
        fleet().run([play(Strategy::Free)]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s clear: web2 web3
        3s clear: web1
        3s next: web2 web3
        4s next: web1
        5s play-0 ends: Completed",
    );
}

#[test]
fn a_failure_that_is_everybodys_stays_so_when_its_host_is_lost_in_the_always() {
    let play = Play::of(["install", "log", "next"]).strategy(Strategy::Free).block(None, &["install"], &[], &["log"]);
    let fatal = Outcome { fatal: true, ..Outcome::of(Verdict::Failed) };
    let fleet = web().with("install", "web1", fatal).unreachable("log", "web1", TransportFault::Permanent);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s play-0 ends: FatalError
        web1 Unreachable
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn a_failure_that_is_everybodys_goes_through_each_always_on_its_way_out() {
    let inner = Within { block: BlockId(0), section: Section::Tasks };
    let play = Play::of(["install", "log", "tidy", "next"]).strategy(Strategy::Free);
    let play = play.block(None, &["install"], &[], &["tidy"]).block(Some(inner), &["install"], &[], &["log"]);
    let fatal = Outcome { fatal: true, ..Outcome::of(Verdict::Failed) };
    let fleet = web().with("install", "web1", fatal).failing("log", ["web1"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s log: web1 web2 web3
        2s tidy: web1 web2 web3
        3s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn a_host_that_was_forgiven_stays_out_of_what_rescues_the_others() {
    let play = Play::of(["install", "check", "clear", "start", "fix"]).block(None, &["start"], &["fix"], &[]);
    let play = Play { force_handlers: true, ..play.once("start", Once::Yes).handlers(["restart"]) };
    let fleet = Fleet::of(["web1", "web2", "web3"])
        .notifying("install", &["web3"], ["restart"])
        .failing("check", ["web3"])
        .asking("clear", "web1", Effect::ClearHostErrors)
        .failing("start", ["web1"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s check: web1 web2 web3
        2s clear: web1 web2
        3s start: web1
        4s fix: web1 web2
        5s handler restart: web3
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_host_that_was_given_up_when_it_was_through_is_not_lost_over_others_too() {
    let play = Play { any_errors_fatal: true, ..Play::of(["start"]) };
    let fleet = Fleet::of(["web1", "web2"]).failing("start", ["web2"]).taking("start", "web2", 5);
    tells(
        fleet.at(2, Event::DropHost(HostIx(0))).run([play, Play::of(["next"])]),
        "
        0s start: web1 web2
        5s play-0 ends: FatalError
        web1 Cancelled
        web2 Failed",
    );
}

#[test]
fn a_lost_host_that_is_given_up_is_not_forgiven() {
    let play = Play::of(["start", "wait", "clear"]);
    let fleet = Fleet::of(["web1", "web2"]).failing("start", ["web2"]).taking("wait", "web1", 3);
    let fleet = fleet.asking("clear", "web1", Effect::ClearHostErrors);
    tells(
        fleet.at(2, Event::DropHost(HostIx(1))).run([play, Play::of(["next"])]),
        "
        0s start: web1 web2
        1s wait: web1
        4s clear: web1
        5s play-0 ends: Completed
        5s next: web1
        6s play-1 ends: Completed
        web2 Failed",
    );
}

#[test]
fn a_host_that_ended_a_role_within_a_block_is_out_of_it_when_a_later_failure_is_everybodys() {
    let mut play = Play { any_errors_fatal: true, ..guarded() };
    play.roles = ["install", "start", "fix", "log", "next"].map(|task| (task, 1)).into();
    tells(
        web().asking("install", "web1", Effect::EndRole).failing("next", ["web2"]).run([play]),
        "
        0s install: web1 web2 web3
        1s start: web2 web3
        2s log: web2 web3
        3s next: web2 web3
        4s play-0 ends: FatalError
        web1 Cancelled
        web2 Failed
        web3 Cancelled",
    );
}
