//! The rules of roles that a host runs once, told as runs: see `rules`.

use super::fleet::{Fleet, Play, tells};
use crate::plan::RoleIdentity;
use crate::scheduler::{Effect, RoleUse, Verdict};

/// A use of the one role that all this is about.
fn once() -> RoleUse {
    RoleUse { identity: RoleIdentity::of("web"), once: true, parent: None }
}

/// A use of a role, and the same again behind something else.
fn twice() -> Play {
    let mut play = Play::of(["install", "start", "between", "install again", "start again", "next"]);
    play.roles = [("install", 1), ("start", 1), ("install again", 2), ("start again", 2)].into();
    play.uses = [(1, once()), (2, once())].into();
    play
}

#[test]
fn a_host_that_has_run_a_role_passes_its_next_use_by() {
    let fleet = Fleet::of(["web1", "web2"]).answering("install", ["web1", "web2"], Verdict::Skipped).answering(
        "start",
        ["web2"],
        Verdict::Skipped,
    );
    tells(
        fleet.run([twice()]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s between: web1 web2
        3s install again: web2
        4s start again: web2
        5s next: web1 web2
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_role_that_may_be_run_again_is() {
    let mut play = twice();
    play.uses.insert(2, RoleUse { once: false, ..once() });
    tells(
        Fleet::of(["web1"]).run([play]),
        "
        0s install: web1
        1s start: web1
        2s between: web1
        3s install again: web1
        4s start again: web1
        5s next: web1
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_role_that_a_host_failed_in_is_not_run() {
    let play = twice().block(None, &["install", "start"], &["between"], &[]);
    tells(
        Fleet::of(["web1", "web2"]).failing("start", ["web2"]).run([play]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s between: web2
        3s install again: web2
        4s start again: web2
        5s next: web1 web2
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_role_that_a_host_ended_is_run() {
    tells(
        Fleet::of(["web1"]).asking("install", "web1", Effect::EndRole).run([twice()]),
        "
        0s install: web1
        1s between: web1
        2s next: web1
        3s play-0 ends: Completed",
    );
}

#[test]
fn a_role_within_another_is_of_it_and_the_outer_one_ends_behind_it() {
    let play = Play::of(["outer", "inner", "outer again"]);
    let mut play = play.block(None, &["outer", "inner"], &["outer again"], &[]);
    play.roles = [("outer", 1), ("inner", 2), ("outer again", 3)].into();
    let inner = RoleUse { identity: RoleIdentity::of("inner"), once: true, parent: Some(1) };
    play.uses = [(1, once()), (2, inner), (3, once())].into();
    tells(
        Fleet::of(["web1", "web2"]).asking("outer", "web1", Effect::EndRole).failing("inner", ["web2"]).run([play]),
        "
        0s outer: web1 web2
        1s inner: web2
        2s outer again: web2
        3s play-0 ends: Completed",
    );
}

#[test]
fn what_is_included_is_a_use_like_any_other() {
    let mut play = twice();
    play.tasks.retain(|task| !matches!(*task, "install again" | "start again"));
    let fleet = Fleet::of(["web1", "web2"])
        .answering("install", ["web2"], Verdict::Skipped)
        .answering("start", ["web2"], Verdict::Skipped)
        .including_role("between", "web1", (2, once()), &["install again"])
        .including_role("between", "web2", (2, once()), &["install again"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s between: web1 web2
        3s install again: web2
        4s next: web1 web2
        5s play-0 ends: Completed",
    );
}

#[test]
fn each_play_begins_anew() {
    tells(
        Fleet::of(["web1"]).run([twice(), twice()]),
        "
        0s install: web1
        1s start: web1
        2s between: web1
        3s next: web1
        4s play-0 ends: Completed
        4s install: web1
        5s start: web1
        6s between: web1
        7s next: web1
        8s play-1 ends: Completed",
    );
}
