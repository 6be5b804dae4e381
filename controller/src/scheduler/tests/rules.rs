//! Each rule, told as a run. A line is a moment: when, what, and on which hosts. Hosts that are not named at the end came
//! through well.

use std::time::Duration;

use super::fleet::{ASKED_FLUSH, FLUSH, Fleet, Play, tells, web};
use super::program;
use crate::event::{CancelReason, HostCounts, HostState, PlayEnd, TaskKind};
use crate::plan::{PlayId, TaskId};
use crate::scheduler::{
    Command, Dispatch, Effect, Event, HostIx, Notice, OnFailure, Outcome, Percent, Program, RunEnd, RunTime, Scheduler,
    Strategy, TransportFault, Verdict, Waiting, Work,
};

#[test]
fn no_more_hosts_than_forks_have_work_at_a_time() {
    let story = web().forks(2).run([Play::of(["install"])]);
    tells(
        story,
        "
        0s install: web1 web2
        1s install: web3
        2s play-0 ends: Completed",
    );
}

#[test]
fn linear_waits_for_the_slowest_host_before_the_next_task() {
    let story = web().taking("install", "web2", 9).run([Play::of(["install", "start"])]);
    tells(
        story,
        "
        0s install: web1 web2 web3
        9s start: web1 web2 web3
        10s play-0 ends: Completed",
    );
}

#[test]
fn a_host_that_does_not_have_a_task_does_not_hold_the_others_up() {
    let mut play = Play::of(["install", "index", "start"]);
    play.only = vec![("index", vec!["web2"])];
    tells(
        web().run([play]),
        "
        0s install: web1 web2 web3
        1s index: web2
        2s start: web1 web2 web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn free_lets_every_host_go_as_fast_as_it_can() {
    let story = web().taking("install", "web2", 9).run([Play::of(["install", "start"]).strategy(Strategy::Free)]);
    tells(
        story,
        "
        0s install: web1 web2 web3
        1s start: web1 web3
        9s start: web2
        10s play-0 ends: Completed",
    );
}

#[test]
fn a_pinned_host_keeps_its_slot_until_it_is_through() {
    let story = web().forks(1).run([Play::of(["install", "start"]).strategy(Strategy::HostPinned)]);
    tells(
        story,
        "
        0s install: web1
        1s start: web1
        2s install: web2
        3s start: web2
        4s install: web3
        5s start: web3
        6s play-0 ends: Completed",
    );
}

#[test]
fn a_pinned_host_keeps_its_slot_while_it_waits_to_try_again() {
    let fleet = web().forks(1).unreachable("install", "web1", TransportFault::NotAccepted);
    tells(
        fleet.run([Play::of(["install"]).strategy(Strategy::HostPinned)]),
        "
        0s install: web1
        6s install (try 2): web1
        7s install: web2
        8s install: web3
        9s play-0 ends: Completed",
    );
}

#[test]
fn steps_that_may_travel_together_go_in_one_dispatch() {
    let mut play = Play::of(["install", "configure", "start"]).strategy(Strategy::Free);
    play.segments = true;
    play.only = vec![("configure", vec!["web2"])];
    tells(
        web().run([play]),
        "
        0s install+start: web1
        0s install+configure+start: web2
        0s install+start: web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn a_flush_parts_a_segment_and_a_failure_ends_it() {
    let mut play = Play::of(["install", FLUSH, "configure", "start"]).strategy(Strategy::Free).handlers(["restart"]);
    play.segments = true;
    let fleet = Fleet::of(["web1", "web2"]).notifying("install", &["web1"], ["restart"]).failing("configure", ["web2"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2
        1s handler restart: web1
        1s configure+start: web2
        2s configure+start: web1
        4s play-0 ends: Completed
        web2 Failed",
    );
}

#[test]
fn what_an_agent_did_not_come_to_in_a_segment_is_sent_again() {
    let mut play = Play::of(["install", "start"]).strategy(Strategy::Free);
    play.segments = true;
    tells(
        Fleet::of(["web1"]).answering("start", ["web1"], Verdict::NotRun).run([play]),
        "
        0s install+start: web1
        2s start: web1
        3s play-0 ends: Completed",
    );
}

#[test]
fn a_dispatch_that_is_not_run_at_all_is_a_failure() {
    let story = Fleet::of(["web1"]).answering("install", ["web1"], Verdict::NotRun).run([Play::of(["install"])]);
    tells(
        story,
        "
        0s install: web1
        1s play-0 ends: NoHostsLeft
        web1 Failed",
    );
}

#[test]
fn a_batch_begins_when_the_one_before_it_is_over_handlers_included() {
    let fleet = web().notifying("install", &["web1"], ["restart"]);
    tells(
        fleet.run([Play::of(["install"]).handlers(["restart"]).serial(2)]),
        "
        0s install: web1 web2
        1s handler restart: web1
        2s install: web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn a_failed_host_takes_no_part_in_the_rest_of_the_run() {
    let story = web().failing("install", ["web2"]).run([Play::of(["install", "start"]), Play::of(["test"])]);
    tells(
        story,
        "
        0s install: web1 web2 web3
        1s start: web1 web3
        2s play-0 ends: Completed
        2s test: web1 web3
        3s play-1 ends: Completed
        web2 Failed",
    );
}

#[test]
fn an_ignored_failure_counts_nowhere() {
    let outcome = Outcome { ignored: true, ..Outcome::of(Verdict::Failed) };
    let mut play = Play::of(["install", "start"]).max_fail_percentage(0.0);
    play.any_errors_fatal = true;
    let mut fleet = web().with("install", "web2", outcome);
    fleet.limits.fail_fast = true;
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s start: web1 web2 web3
        2s play-0 ends: Completed",
    );
}

#[test]
fn any_errors_fatal_lets_the_task_finish_everywhere_and_ends_the_run() {
    let mut play = Play::of(["install", "start"]);
    play.any_errors_fatal = true;
    let story = web().forks(1).failing("install", ["web1"]).run([play, Play::of(["test"])]);
    tells(
        story,
        "
        0s install: web1
        1s install: web2
        2s install: web3
        3s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn under_free_a_fatal_error_lets_only_what_runs_come_to_its_end() {
    let mut play = Play::of(["install", "start"]).strategy(Strategy::Free);
    play.any_errors_fatal = true;
    let story = web().forks(2).taking("install", "web2", 5).failing("install", ["web1"]).run([play]);
    tells(
        story,
        "
        0s install: web1 web2
        5s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 NotStarted",
    );
}

#[test]
fn a_fatal_error_leaves_no_notified_handler_behind_if_handlers_are_forced() {
    let mut play = Play::of(["install", "start", "test"]).handlers(["restart"]);
    play.any_errors_fatal = true;
    play.force_handlers = true;
    let fleet = web().notifying("install", &["web1", "web2"], ["restart"]).failing("start", ["web1"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s start: web1 web2 web3
        2s handler restart: web1 web2
        3s play-0 ends: FatalError
        web1 Failed
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn failed_timed_out_and_unreachable_hosts_spend_one_budget() {
    let fleet = Fleet::of(["a", "b", "c", "d", "e", "f"])
        .failing("install", ["a"])
        .answering("install", ["b"], Verdict::TimedOut)
        .unreachable("install", "c", TransportFault::Permanent);
    let story = fleet.run([Play::of(["install", "start"]).max_fail_percentage(49.0), Play::of(["test"])]);
    tells(
        story,
        r#"
        0s install: a b c d e f
        1s play-0 ends: BudgetExceeded { failed: 3, hosts: 6, allowed: "49% of the batch" }
        a Failed
        b Failed
        c Unreachable
        d Cancelled
        e Cancelled
        f Cancelled"#,
    );
}

#[test]
fn a_budget_spent_to_the_last_is_not_exceeded() {
    let fleet = Fleet::of(["a", "b", "c", "d"]).failing("install", ["a", "b"]);
    tells(
        fleet.run([Play::of(["install", "start"]).max_fail_percentage(50.0)]),
        "
        0s install: a b c d
        1s start: c d
        2s play-0 ends: Completed
        a Failed
        b Failed",
    );
}

#[test]
fn the_budget_of_the_run_counts_over_batches_and_plays() {
    let mut fleet = Fleet::of(["a", "b", "c", "d"]).failing("install", ["a"]).failing("test", ["c"]);
    fleet.limits.run_budget = Percent::new(25.0);
    tells(
        fleet.run([Play::of(["install"]).serial(2), Play::of(["test", "open"])]),
        r#"
        0s install: a b
        1s install: c d
        2s play-0 ends: Completed
        2s test: b c d
        3s play-1 ends: BudgetExceeded { failed: 2, hosts: 4, allowed: "25% of all hosts" }
        a Failed
        b Cancelled
        c Failed
        d Cancelled"#,
    );
}

#[test]
fn a_batch_whose_hosts_all_fail_ends_the_play_and_the_run() {
    let story = web().failing("install", ["web1", "web2"]).run([Play::of(["install"]).serial(2), Play::of(["test"])]);
    tells(
        story,
        "
        0s install: web1 web2
        1s play-0 ends: NoHostsLeft
        web1 Failed
        web2 Failed
        web3 NotStarted",
    );
}

#[test]
fn with_a_budget_of_a_hundred_percent_the_next_batch_runs() {
    let fleet = web().failing("install", ["web1", "web2"]);
    tells(
        fleet.run([Play::of(["install"]).serial(2).max_fail_percentage(100.0), Play::of(["test"])]),
        "
        0s install: web1 web2
        1s install: web3
        2s play-0 ends: Completed
        2s test: web3
        3s play-1 ends: Completed
        web1 Failed
        web2 Failed",
    );
}

#[test]
fn with_continue_on_error_the_next_batch_runs() {
    let mut fleet = web().failing("install", ["web1", "web2"]);
    fleet.limits.continue_on_error = true;
    tells(
        fleet.run([Play::of(["install"]).serial(2)]),
        "
        0s install: web1 web2
        1s install: web3
        2s play-0 ends: Completed
        web1 Failed
        web2 Failed",
    );
}

#[test]
fn a_rolling_play_brings_a_failed_batch_to_its_end_and_stops_there() {
    let mut play = Play::of(["install", "start"]).serial(2);
    play.rolling = true;
    tells(
        web().failing("install", ["web1"]).run([play]),
        r#"
        0s install: web1 web2
        1s start: web2
        2s play-0 ends: BudgetExceeded { failed: 1, hosts: 2, allowed: "0% of the batch" }
        web1 Failed
        web3 NotStarted"#,
    );
}

#[test]
fn a_rolling_play_goes_on_with_continue_on_error() {
    let mut play = Play::of(["install"]).serial(2);
    play.rolling = true;
    let mut fleet = web().failing("install", ["web1"]);
    fleet.limits.continue_on_error = true;
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2
        1s install: web3
        2s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn fail_fast_aborts_what_runs_and_starts_nothing_more() {
    let mut fleet = web().forks(2).taking("install", "web2", 60).failing("install", ["web1"]);
    fleet.limits.fail_fast = true;
    tells(
        fleet.run([Play::of(["install"])]),
        "
        0s install: web1 web2
        1s abort: web2
        1s play-0 ends: Cancelled
        web1 Failed
        web2 Cancelled
        web3 NotStarted",
    );
}

#[test]
fn a_cancel_aborts_what_runs_and_forgets_who_waits_to_try_again() {
    let fleet = web()
        .unreachable("install", "web1", TransportFault::NotAccepted)
        .hanging("install", "web2")
        .at(3, Event::Cancel(CancelReason::Interrupted));
    tells(
        fleet.run([Play::of(["install"])]),
        "
        0s install: web1 web2 web3
        3s abort: web2
        3s play-0 ends: Cancelled
        web1 Cancelled
        web2 Cancelled",
    );
}

#[test]
fn while_paused_nothing_begins_and_no_retry_is_lost() {
    let fleet = web()
        .unreachable("install", "web1", TransportFault::NotAccepted)
        .taking("install", "web2", 2)
        .at(1, Event::Pause)
        .at(3600, Event::Resume);
    tells(
        fleet.run([Play::of(["install", "start"])]),
        "
        0s install: web1 web2 web3
        3600s install (try 2): web1
        3601s start: web1 web2 web3
        3602s play-0 ends: Completed",
    );
}

#[test]
fn lost_work_is_sent_again_with_growing_waits_until_the_host_counts_as_unreachable() {
    let lost = TransportFault::Lost { repeatable: true };
    let fleet = Fleet::of(["web1", "web2"])
        .unreachable("install", "web1", TransportFault::NotAccepted)
        .unreachable("install", "web1", lost)
        .unreachable("install", "web1", TransportFault::NotAccepted);
    tells(
        fleet.run([Play::of(["install", "start"])]),
        "
        0s install: web1 web2
        6s install (try 2): web1
        17s install (try 3): web1
        18s start: web2
        19s play-0 ends: Completed
        web1 Unreachable",
    );
}

#[test]
fn work_that_may_have_had_effects_is_not_sent_again() {
    let fleet = Fleet::of(["web1", "web2"]).unreachable("install", "web1", TransportFault::Lost { repeatable: false });
    tells(
        fleet.run([Play::of(["install"])]),
        "
        0s install: web1 web2
        1s play-0 ends: Completed
        web1 Unreachable",
    );
}

#[test]
fn a_host_with_ignore_unreachable_stays_in_the_play() {
    let mut play = Play::of(["install", "start"]).max_fail_percentage(0.0);
    play.ignore_unreachable = true;
    tells(
        Fleet::of(["web1"]).unreachable("install", "web1", TransportFault::Permanent).run([play]),
        "
        0s install: web1
        1s start: web1
        2s play-0 ends: Completed",
    );
}

#[test]
fn a_host_that_others_wait_for_is_given_up_when_its_time_is_over() {
    let mut fleet = web().hanging("install", "web2").taking("install", "web3", 50);
    fleet.limits.straggler = Some(Duration::from_secs(60));
    tells(
        fleet.run([Play::of(["install", "start"])]),
        "
        0s install: web1 web2 web3
        60s abort: web2
        60s start: web1 web3
        61s play-0 ends: Completed
        web2 Cancelled",
    );
}

#[test]
fn nobody_is_given_up_for_taking_long_where_nobody_waits() {
    let mut fleet = web().taking("install", "web2", 500).taking("install", "web1", 300);
    fleet.limits.straggler = Some(Duration::from_secs(60));
    tells(
        fleet.run([Play::of(["install", "start"]).strategy(Strategy::Free)]),
        "
        0s install: web1 web2 web3
        1s start: web3
        300s start: web1
        500s start: web2
        501s play-0 ends: Completed",
    );
}

#[test]
fn a_straggler_given_up_holds_nobody_up_and_counts_as_no_failure() {
    let fleet = web().hanging("install", "web2");
    let straggler = fleet.host("web2");
    let story = fleet.at(60, Event::DropHost(straggler)).run([Play::of(["install", "start"]).max_fail_percentage(0.0)]);
    tells(
        story,
        "
        0s install: web1 web2 web3
        60s abort: web2
        60s start: web1 web3
        61s play-0 ends: Completed
        web2 Cancelled",
    );
}

#[test]
fn handlers_run_once_in_the_order_of_definition_with_a_barrier_after_each() {
    let play = Play::of(["install", "configure"]).handlers(["reload", "restart"]);
    let fleet = web()
        .notifying("install", &["web1", "web2"], ["restart"])
        .notifying("configure", &["web1"], ["restart", "reload"])
        .taking("reload", "web1", 4);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2 web3
        1s configure: web1 web2 web3
        2s handler reload: web1
        6s handler restart: web1 web2
        7s play-0 ends: Completed",
    );
}

#[test]
fn only_a_change_notifies() {
    let fleet = web();
    let mut outcome = Outcome::of(Verdict::Ok);
    outcome.notified = vec![TaskId(1)];
    let story = fleet.with("install", "web1", outcome).run([Play::of(["install"]).handlers(["restart"])]);
    tells(
        story,
        "
        0s install: web1 web2 web3
        1s play-0 ends: Completed",
    );
}

#[test]
fn a_flush_runs_what_is_pending_and_a_later_change_notifies_again() {
    let fleet =
        Fleet::of(["web1"]).notifying("install", &["web1"], ["restart"]).notifying("configure", &["web1"], ["restart"]);
    tells(
        fleet.run([Play::of(["install", FLUSH, "configure"]).handlers(["restart"])]),
        "
        0s install: web1
        1s handler restart: web1
        2s configure: web1
        3s handler restart: web1
        4s play-0 ends: Completed",
    );
}

#[test]
fn a_flush_that_asks_runs_the_handlers_of_those_who_want_it() {
    let fleet = web()
        .notifying("install", &["web1", "web2", "web3"], ["restart"])
        .asking(ASKED_FLUSH, "web1", Effect::FlushHandlers)
        .answering(ASKED_FLUSH, ["web2"], Verdict::Skipped)
        .asking(ASKED_FLUSH, "web3", Effect::FlushHandlers);
    tells(
        fleet.run([Play::of(["install", ASKED_FLUSH, "check"]).handlers(["restart"])]),
        "
        0s install: web1 web2 web3
        1s ask: web1 web2 web3
        2s handler restart: web1 web3
        3s check: web1 web2 web3
        4s handler restart: web2
        5s play-0 ends: Completed",
    );
}

#[test]
fn a_handler_notifies_a_later_one_in_the_same_flush_and_an_earlier_one_or_itself_in_the_next() {
    let fleet = Fleet::of(["web1"]).notifying("install", &["web1"], ["reload"]).notifying(
        "reload",
        &["web1"],
        ["first", "last", "reload"],
    );
    tells(
        fleet.run([Play::of(["install", FLUSH, "test"]).handlers(["first", "reload", "last"])]),
        "
        0s install: web1
        1s handler reload: web1
        2s handler last: web1
        3s test: web1
        4s handler first: web1
        5s handler reload: web1
        6s play-0 ends: Completed",
    );
    let fleet = Fleet::of(["web1"]).notifying("install", &["web1"], ["reload"]).notifying(
        "reload",
        &["web1"],
        ["first", "reload"],
    );
    tells(
        fleet.run([Play::of(["install"]).handlers(["first", "reload"])]),
        "
        0s install: web1
        1s handler reload: web1
        2s handler first: web1
        3s handler reload: web1
        4s play-0 ends: Completed",
    );
}

#[test]
fn a_failed_host_runs_its_handlers_only_if_they_are_forced() {
    let fleet =
        || Fleet::of(["web1", "web2"]).notifying("install", &["web1", "web2"], ["restart"]).failing("start", ["web1"]);
    let play = Play::of(["install", "start", "test"]).handlers(["restart"]);
    tells(
        fleet().run([play.clone()]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s test: web2
        3s handler restart: web2
        4s play-0 ends: Completed
        web1 Failed",
    );
    tells(
        fleet().run([Play { force_handlers: true, ..play }]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s test: web2
        3s handler restart: web1 web2
        4s play-0 ends: Completed
        web1 Failed",
    );
}

#[test]
fn a_host_that_fails_in_a_forced_handler_still_runs_the_others() {
    let mut play = Play::of(["install"]).handlers(["reload", "restart"]);
    play.force_handlers = true;
    let fleet = Fleet::of(["web1"]).notifying("install", &["web1"], ["reload", "restart"]).failing("reload", ["web1"]);
    tells(
        fleet.run([play]),
        "
        0s install: web1
        1s handler reload: web1
        2s handler restart: web1
        3s play-0 ends: NoHostsLeft
        web1 Failed",
    );
}

#[test]
fn an_unreachable_host_runs_no_handler_even_if_they_are_forced() {
    let mut play = Play::of(["install", "start"]).handlers(["restart"]);
    play.force_handlers = true;
    let fleet = Fleet::of(["web1", "web2"]).notifying("install", &["web1"], ["restart"]).unreachable(
        "start",
        "web1",
        TransportFault::Permanent,
    );
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2
        1s start: web1 web2
        2s play-0 ends: Completed
        web1 Unreachable",
    );
}

#[test]
fn end_host_ends_the_play_for_that_host_without_its_handlers() {
    let fleet = Fleet::of(["web1", "web2"]).notifying("install", &["web1", "web2"], ["restart"]).asking(
        "end?",
        "web1",
        Effect::EndHost,
    );
    tells(
        fleet.run([Play::of(["install", "end?", "start"]).handlers(["restart"]), Play::of(["test"])]),
        "
        0s install: web1 web2
        1s end?: web1 web2
        2s start: web2
        3s handler restart: web2
        4s play-0 ends: Completed
        4s test: web1 web2
        5s play-1 ends: Completed",
    );
}

#[test]
fn end_batch_goes_on_with_the_next_batch() {
    let fleet = web().asking("end?", "web1", Effect::EndBatch);
    tells(
        fleet.run([Play::of(["end?", "start"]).serial(2)]),
        "
        0s end?: web1 web2
        1s end?: web3
        2s start: web3
        3s play-0 ends: Completed",
    );
}

#[test]
fn end_play_runs_no_handler_and_no_further_batch_and_goes_on_with_the_next_play() {
    let fleet = web().notifying("install", &["web1", "web2"], ["restart"]).asking("end?", "web1", Effect::EndPlay);
    tells(
        fleet.run([Play::of(["install", "end?", "start"]).handlers(["restart"]).serial(2), Play::of(["test"])]),
        "
        0s install: web1 web2
        1s end?: web1 web2
        2s play-0 ends: Ended
        2s test: web1 web2 web3
        3s play-1 ends: Completed",
    );
}

#[test]
fn a_task_that_names_what_is_not_there_ends_the_run_on_all_hosts() {
    let fleet = web().notifying("install", &["web1"], ["restart"]).asking(
        "start",
        "web1",
        Effect::EndRun(CancelReason::PlanBroken),
    );
    tells(
        fleet.run([Play::of(["install", "start", "test"]).handlers(["restart"]), Play::of(["test"])]),
        "
        0s install: web1 web2 web3
        1s start: web1 web2 web3
        2s abort: web2 web3
        2s play-0 ends: Cancelled
        web1 Cancelled
        web2 Cancelled
        web3 Cancelled",
    );
}

#[test]
fn a_failure_over_a_broken_plan_ends_the_run_though_there_is_a_rescue() {
    let outcome = Outcome { effect: Effect::EndRun(CancelReason::PlanUnreadable), ..Outcome::of(Verdict::Failed) };
    let play = Play::of(["include", "fix", "next"]).block(None, &["include"], &["fix"], &[]);
    tells(
        Fleet::of(["web1", "web2"]).with("include", "web1", outcome).run([play]),
        "
        0s include: web1 web2
        1s abort: web2
        1s play-0 ends: Cancelled
        web1 Cancelled
        web2 Cancelled",
    );
}

#[test]
fn clear_host_errors_brings_unreachable_hosts_back_and_failed_ones_into_later_plays() {
    let fleet = web().failing("install", ["web1"]).unreachable("install", "web2", TransportFault::Permanent).asking(
        "clear",
        "web3",
        Effect::ClearHostErrors,
    );
    tells(
        fleet.run([Play::of(["install", "clear", "start"]), Play::of(["test"])]),
        "
        0s install: web1 web2 web3
        1s clear: web3
        2s clear: web2
        3s start: web2 web3
        4s play-0 ends: Completed
        4s test: web1 web2 web3
        5s play-1 ends: Completed",
    );
}

#[test]
fn the_world_is_told_in_the_order_things_happen() {
    let play = program::play(PlayId(0), vec![vec![HostIx(1), HostIx(0)]], vec![program::step(TaskId(7))]);
    let limits = Fleet::of([]).forks(1).limits;
    let mut scheduler = Scheduler::new(Program { hosts: 3, plays: vec![play], limits });
    let work = vec![Work { task: TaskId(7), kind: TaskKind::Task, round: 0, rescued: false }];
    let dispatch = |host, attempt| Command::Dispatch(Dispatch { host, work: work.clone(), attempt });
    let mut next = |event: Option<Event>, seconds| {
        if let Some(event) = event {
            scheduler.handle(event, RunTime(Duration::from_secs(seconds)));
        }
        std::iter::from_fn(|| scheduler.poll_command()).collect::<Vec<_>>()
    };
    let play = PlayId(0);
    assert_eq!(
        next(None, 0),
        [
            Command::Report(Notice::PlayStarted { play, hosts: 2, batches: 1 }),
            Command::Report(Notice::BatchStarted { play, batch: 0, hosts: vec![HostIx(1), HostIx(0)] }),
            Command::Report(Notice::TaskStarted {
                play,
                task: TaskId(7),
                kind: TaskKind::Task,
                host: HostIx(1),
                hosts: 2
            }),
            dispatch(HostIx(1), 1),
        ]
    );
    let fault = TransportFault::NotAccepted;
    assert_eq!(
        next(Some(Event::Unreachable { host: HostIx(1), task: TaskId(7), fault, on_failure: OnFailure::default() }), 1),
        [
            Command::Report(Notice::Retrying {
                host: HostIx(1),
                task: TaskId(7),
                attempt: 1,
                attempts_max: 3,
                delay: Duration::from_secs(5),
            }),
            dispatch(HostIx(0), 1),
        ]
    );
    let finished = |host, verdict| Event::Finished { host, task: TaskId(7), outcome: Outcome::of(verdict) };
    assert_eq!(
        next(Some(finished(HostIx(0), Verdict::Failed)), 2),
        [Command::Report(Notice::HostGone { host: HostIx(0), state: HostState::Failed })]
    );
    assert_eq!(next(Some(Event::DeadlineReached), 6), [dispatch(HostIx(1), 2)]);
    let hosts = vec![HostState::Failed, HostState::Ok, HostState::NotStarted];
    assert_eq!(
        next(Some(finished(HostIx(1), Verdict::Ok)), 7),
        [
            Command::Report(Notice::BatchFinished { play, batch: 0 }),
            Command::Report(Notice::PlayFinished { play, end: PlayEnd::Completed }),
            Command::Report(Notice::RunFinished(RunEnd {
                hosts,
                cancelled: None,
                stopped_early: false,
                not_begun: Vec::new()
            })),
        ]
    );
}

#[test]
fn the_status_says_who_is_waited_for_longest_first() {
    let mut scheduler = Scheduler::new(Fleet::of(["web1", "web2", "web3"]).program([Play::of(["install"])]));
    let task = TaskId(0);
    let finished = Event::Finished { host: HostIx(1), task, outcome: Outcome::of(Verdict::Ok) };
    scheduler.handle(finished, RunTime(Duration::from_secs(1)));
    let status = scheduler.status(RunTime(Duration::from_secs(9)));
    assert_eq!((status.play, status.task), (Some(PlayId(0)), Some(task)));
    assert_eq!(status.hosts, HostCounts { running: 2, done: 1, ..HostCounts::default() });
    let since = Duration::from_secs(9);
    let expected = [HostIx(0), HostIx(2)].map(|host| Waiting { host, task, since });
    assert_eq!(status.waited_for, expected);
}

#[test]
fn a_reason_to_cancel_only_rises() {
    let mut scheduler = Scheduler::new(Fleet::of(["web1"]).program([Play::of(["install"])]));
    while scheduler.poll_command().is_some() {}
    let mut told = |reason| {
        scheduler.handle(Event::Cancel(reason), RunTime::ZERO);
        std::iter::from_fn(|| scheduler.poll_command()).collect::<Vec<_>>()
    };
    let cancelling = |reason| Command::Report(Notice::Cancelling { reason });
    assert_eq!(
        told(CancelReason::Requested),
        [cancelling(CancelReason::Requested), Command::Abort { host: HostIx(0) }]
    );
    assert_eq!(told(CancelReason::FailFast), []);
    assert_eq!(told(CancelReason::Interrupted), [cancelling(CancelReason::Interrupted)]);
}

#[test]
fn a_run_without_plays_is_over_at_once() {
    assert_eq!(Fleet::of(["web1"]).run([]), "web1 NotStarted");
}

#[test]
fn a_play_without_hosts_and_one_without_tasks_are_passed_by() {
    assert_eq!(Fleet::of([]).run([Play::of(["install"])]), "0s play-0 ends: Completed");
    assert_eq!(Fleet::of(["web1"]).run([Play::of([])]), "0s play-0 ends: Completed\nweb1 NotStarted");
}

#[test]
fn a_host_that_ends_a_role_passes_by_what_is_left_of_it_and_keeps_what_it_was_notified_of() {
    let mut play = Play::of(["install", "check", "of another role", "configure", "test"]).handlers(["restart"]);
    play.roles = [("install", 1), ("check", 1), ("of another role", 2), ("configure", 1)].into();
    let fleet = Fleet::of(["web1", "web2"])
        .notifying("install", &["web1", "web2"], ["restart"])
        .asking("check", "web1", Effect::EndRole)
        .asking("test", "web2", Effect::EndRole);
    tells(
        fleet.run([play]),
        "
        0s install: web1 web2
        1s check: web1 web2
        2s of another role: web2
        3s configure: web2
        4s test: web1 web2
        5s handler restart: web1 web2
        6s play-0 ends: Completed",
    );
}
