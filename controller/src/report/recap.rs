//! The end of every run: one line for each host, in Ansible's columns.

use rustle_protocol::HostName;

use super::fold;
use super::layout::banner;
use super::line::{Colour, Line, width};
use super::tally::{HostTally, Tally};
use crate::event::{CancelReason, HostState, RunFinished};

/// Hosts that get a line of their own in a folded recap; the others are named in a list.
pub(super) const ROWS_MAX: usize = 50;

/// The hosts that get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Every host that had something to do.
    All,
    /// The hosts that are not ok; behind them, what all tasks came to.
    Folded,
}

/// What came of the run up to the end of a playbook that others follow.
pub(super) fn so_far(tally: &Tally, rows: Rows, columns: usize) -> Vec<Line> {
    let mut lines = banner("PLAY RECAP", columns);
    match rows {
        Rows::All => lines.extend(tally.hosts.iter().map(|(host, counts)| row(host, counts))),
        Rows::Folded => {
            lines.extend(not_ok(tally));
            lines.push(Line::new(&format!("tasks: {}", task_totals(tally))));
        }
    }
    lines.push(Line::blank());
    lines
}

/// Every host that had something to do.
pub(super) fn lines(tally: &Tally, finished: &RunFinished, columns: usize) -> Vec<Line> {
    let mut lines = so_far(tally, Rows::All, columns);
    lines.extend(remarks(finished));
    lines
}

/// The hosts that are not ok, and what all came to.
pub(super) fn folded(tally: &Tally, finished: &RunFinished, columns: usize) -> Vec<Line> {
    let mut lines = banner("PLAY RECAP", columns);
    lines.extend(not_ok(tally));
    lines.push(Line::new(&host_totals(finished)));
    lines.push(Line::new(&format!("tasks: {}", task_totals(tally))));
    lines.push(Line::blank());
    lines.extend(remarks(finished));
    lines
}

fn not_ok(tally: &Tally) -> Vec<Line> {
    let not_ok: Vec<_> = tally.hosts.iter().filter(|(_, counts)| !counts.is_all_well()).collect();
    let mut lines: Vec<Line> = not_ok.iter().take(ROWS_MAX).map(|(host, counts)| row(host, counts)).collect();
    if not_ok.len() > ROWS_MAX {
        let rest = fold::short_list(not_ok[ROWS_MAX..].iter().map(|(host, _)| *host));
        lines.push(Line::coloured(&format!("and {}: {rest}", fold::hosts(not_ok.len() - ROWS_MAX)), Colour::Error));
    }
    lines
}

fn row(host: &HostName, counts: &HostTally) -> Line {
    let colour = if !counts.is_all_well() {
        Colour::Error
    } else if counts.changed > 0 {
        Colour::Changed
    } else {
        Colour::Ok
    };
    let padding = format!("{:pad$} :", "", pad = HOST_COLUMNS.saturating_sub(width(host.as_str())));
    let mut line = Line::new("").with(host.as_str(), Some(colour)).with(&padding, None);
    let fields = [
        ("ok", counts.ok, Colour::Ok),
        ("changed", counts.changed, Colour::Changed),
        ("unreachable", counts.unreachable, Colour::Unreachable),
        ("failed", counts.failed, Colour::Error),
        ("skipped", counts.skipped, Colour::Skipped),
        ("rescued", counts.rescued, Colour::Ok),
        ("ignored", counts.ignored, Colour::Warning),
    ];
    let cancelled = (counts.cancelled > 0).then_some(("cancelled", counts.cancelled, Colour::Unreachable));
    for (name, n, colour) in fields.into_iter().chain(cancelled) {
        line = line.with(" ", None).with(&format!("{name}={n:<4}"), (n > 0).then_some(colour));
    }
    line
}

/// Columns of the recap's first field, as in Ansible.
const HOST_COLUMNS: usize = 26;

/// `1,993 of 2,000 hosts ok, 5 failed, 2 unreachable`
fn host_totals(finished: &RunFinished) -> String {
    let n = |state: HostState| finished.hosts.iter().filter(|(_, s)| *s == state).count();
    let mut text = format!("hosts: {} of {} ok", fold::count(n(HostState::Ok)), fold::count(finished.hosts.len()));
    for (word, state) in [
        ("failed", HostState::Failed),
        ("unreachable", HostState::Unreachable),
        ("cancelled", HostState::Cancelled),
        ("not started", HostState::NotStarted),
    ] {
        if n(state) > 0 {
            text.push_str(&format!(", {} {word}", fold::count(n(state))));
        }
    }
    text
}

fn task_totals(tally: &Tally) -> String {
    let total = &tally.total;
    let mut text = format!("{} ok, {} changed", fold::count(total.successful()), fold::count(total.changed));
    for (word, n) in [
        ("skipped", total.skipped),
        ("failed", total.failed + total.timed_out),
        ("unreachable", total.unreachable),
        ("cancelled", total.cancelled),
        ("rescued", total.rescued),
        ("ignored", total.ignored),
    ] {
        if n > 0 {
            text.push_str(&format!(", {} {word}", fold::count(n)));
        }
    }
    text
}

/// What Ansible's recap does not tell: why the run ended early, and whom it never came to.
fn remarks(finished: &RunFinished) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(reason) = finished.cancelled {
        let why = match reason {
            CancelReason::FailFast => "by --fail-fast",
            CancelReason::PlanBroken | CancelReason::PlanUnreadable => "because of an error in the playbook",
            CancelReason::ReportFailed => "because a report could not be written",
            CancelReason::Requested => "on request",
            CancelReason::Interrupted => "by the operator",
        };
        lines.push(Line::coloured(&format!("cancelled {why}"), Colour::Unreachable));
    }
    let stopped = finished.cancelled.is_some() || finished.stopped_early;
    let not_started: Vec<&HostName> =
        finished.hosts.iter().filter(|(_, state)| *state == HostState::NotStarted).map(|(host, _)| host).collect();
    if stopped && !not_started.is_empty() {
        let names = fold::short_list(not_started.iter().copied());
        lines.push(Line::coloured(
            &format!("not started: {}: {names}", fold::hosts(not_started.len())),
            Colour::Skipped,
        ));
    }
    if !finished.not_begun.is_empty() {
        let names = super::sanitize::line(&finished.not_begun.join(", ")).into_owned();
        lines.push(Line::coloured(&format!("playbooks not begun: {names}"), Colour::Skipped));
    }
    lines
}
