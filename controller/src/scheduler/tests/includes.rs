//! The rules of what hosts include, told as runs: see `rules`.

use super::fleet::{FLUSH, Fleet, Play, tells, web};
use crate::scheduler::Strategy;

#[test]
fn what_hosts_include_comes_behind_the_task_and_equal_includes_are_gone_through_together() {
    let fleet = web()
        .including("include", "web1", &[&["setup", "tune"]])
        .including("include", "web2", &[&["other"]])
        .including("include", "web3", &[&["setup", "tune"]]);
    tells(
        fleet.run([Play::of(["include", "next"])]),
        "
        0s include: web1 web2 web3
        1s setup: web1 web3
        2s tune: web1 web3
        3s other: web2
        4s next: web1 web2 web3
        5s play-0 ends: Completed",
    );
}

#[test]
fn an_include_may_bring_several_fragments_and_these_may_include_again() {
    let fleet = Fleet::of(["web1", "web2"])
        .including("include", "web1", &[&["a"], &["b"]])
        .including("a", "web1", &[&["inner"]])
        .including("include", "web2", &[&["b"]]);
    tells(
        fleet.run([Play::of(["include", "next"])]),
        "
        0s include: web1 web2
        1s a: web1
        2s inner: web1
        3s b: web1 web2
        4s next: web1 web2
        5s play-0 ends: Completed",
    );
}

#[test]
fn under_free_an_include_holds_nobody_up() {
    let fleet = Fleet::of(["web1", "web2"])
        .taking("include", "web2", 5)
        .including("include", "web1", &[&["setup"]])
        .including("include", "web2", &[&["setup"]]);
    tells(
        fleet.run([Play::of(["include", "next"]).strategy(Strategy::Free)]),
        "
        0s include: web1 web2
        1s setup: web1
        2s next: web1
        5s setup: web2
        6s next: web2
        7s play-0 ends: Completed",
    );
}

#[test]
fn each_batch_includes_for_itself() {
    let fleet = Fleet::of(["web1", "web2"]).including("include", "web2", &[&["setup"]]);
    tells(
        fleet.run([Play::of(["include", "next"]).serial(1)]),
        "
        0s include: web1
        1s next: web1
        2s include: web2
        3s setup: web2
        4s next: web2
        5s play-0 ends: Completed",
    );
}

#[test]
fn what_a_handler_includes_runs_behind_it_in_the_same_flush_on_the_hosts_that_include_it() {
    let fleet = web()
        .notifying("install", &["web1", "web2", "web3"], ["include", "restart"])
        .including("include", "web1", &[&["reload", "check"]])
        .including("include", "web2", &[&["other"]])
        .including("include", "web3", &[&["reload", "check"]]);
    tells(
        fleet.run([Play::of(["install"]).handlers(["include", "restart"])]),
        "
        0s install: web1 web2 web3
        1s handler include: web1 web2 web3
        2s handler reload: web1 web3
        3s handler check: web1 web3
        4s handler other: web2
        5s handler restart: web1 web2 web3
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_handler_that_is_notified_again_brings_what_it_includes_again() {
    let fleet = Fleet::of(["web1"])
        .notifying("install", &["web1"], ["include", "restart"])
        .notifying("tune", &["web1"], ["include", "restart"])
        .including("include", "web1", &[&["reload"]])
        .including("include", "web1", &[&["reload"]]);
    tells(
        fleet.run([Play::of(["install", FLUSH, "tune"]).handlers(["include", "restart"])]),
        "
        0s install: web1
        1s handler include: web1
        2s handler reload: web1
        3s handler restart: web1
        4s tune: web1
        5s handler include: web1
        6s handler reload: web1
        7s handler restart: web1
        8s play-0 ends: Completed",
    );
}

#[test]
fn what_a_handler_includes_may_notify_a_later_handler_and_include_again() {
    let fleet = Fleet::of(["web1", "web2"])
        .notifying("install", &["web1", "web2"], ["include"])
        .including("include", "web1", &[&["reload", "more"]])
        .notifying("reload", &["web1"], ["restart"])
        .including("more", "web1", &[&["inner"]]);
    tells(
        fleet.run([Play::of(["install"]).handlers(["include", "restart"]).strategy(Strategy::Free)]),
        "
        0s install: web1 web2
        1s handler include: web1 web2
        2s handler reload: web1
        3s handler more: web1
        4s handler inner: web1
        5s handler restart: web1
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_failure_in_what_a_handler_includes_ends_the_flush_for_that_host() {
    let fleet = Fleet::of(["web1", "web2"])
        .notifying("install", &["web1", "web2"], ["include", "restart"])
        .including("include", "web1", &[&["reload"]])
        .including("include", "web2", &[&["reload"]])
        .failing("reload", ["web1"]);
    tells(
        fleet.run([Play::of(["install"]).handlers(["include", "restart"])]),
        "
        0s install: web1 web2
        1s handler include: web1 web2
        2s handler reload: web1 web2
        3s handler restart: web2
        4s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn who_was_notified_of_a_handler_that_an_included_role_takes_over_runs_the_one_in_its_place() {
    let fleet = Fleet::of(["web1", "web2"])
        .notifying("install", &["web1", "web2"], ["restart"])
        .superseding("include", "web1", "setup", "restart", "restart of the role")
        .superseding("include", "web2", "setup", "restart", "restart of the role");
    tells(
        fleet.run([Play::of(["install", "include"]).handlers(["restart", "reload"])]),
        "
        0s install: web1 web2
        1s include: web1 web2
        2s setup: web1 web2
        3s handler restart of the role: web1 web2
        4s play-0 ends: Completed",
    );
}
