//! The only place that decides how the program ends.

use crate::event::{CancelReason, HostState, RunFinished};

/// What a script may rely on. The numbers are Ansible's where Ansible has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Every host did all it had to do.
    Success = 0,
    /// An error of ours, a bug or a report that could not be written, or one of the plan that only the run found.
    OwnError = 1,
    /// A host failed, or the run was stopped before its end.
    HostsFailed = 2,
    /// Hosts were unreachable and none failed; or what a play included cannot be understood, which has this number in Ansible, too.
    Unreachable = 4,
    /// Plan, inventory, configuration or arguments are invalid. Nothing was touched.
    InvalidInput = 5,
    /// The operator interrupted the run.
    Interrupted = 130,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

/// How the program ends after a run.
///
/// With `require_all_success` (`--require-all-success`) a host that the run never came to is a failure too: every host
/// has to end [`HostState::Ok`]. A host whose tasks were all skipped by their conditions is ok.
pub fn of(run: &RunFinished, require_all_success: bool) -> ExitCode {
    let any = |state: HostState| run.hosts.iter().any(|(_, s)| *s == state);
    match run.cancelled {
        Some(CancelReason::Interrupted) => return ExitCode::Interrupted,
        Some(CancelReason::ReportFailed | CancelReason::PlanBroken) => return ExitCode::OwnError,
        Some(CancelReason::PlanUnreadable) => return ExitCode::Unreachable,
        Some(CancelReason::FailFast | CancelReason::Requested) => return ExitCode::HostsFailed,
        None => {}
    }
    // With nobody left there was nothing to stop: that is no more than the hosts being unreachable.
    let stopped = run.stopped_early && run.hosts.iter().any(|(_, state)| *state != HostState::Unreachable);
    if any(HostState::Failed) || any(HostState::Cancelled) || stopped {
        ExitCode::HostsFailed
    } else if any(HostState::Unreachable) {
        ExitCode::Unreachable
    } else if require_all_success && any(HostState::NotStarted) {
        ExitCode::HostsFailed
    } else {
        ExitCode::Success
    }
}

#[cfg(test)]
mod tests {
    use rustle_protocol::HostName;

    use super::*;
    use crate::event::Metrics;
    use HostState::{Cancelled, Failed, NotStarted, Ok, Unreachable};

    /// Host states, why cancelled, stopped early; the code, and the one with `--require-all-success`.
    type Row<'a> = (&'a [HostState], Option<CancelReason>, bool, u8, u8);

    fn finished(states: &[HostState], cancelled: Option<CancelReason>, stopped_early: bool) -> RunFinished {
        let hosts = states.iter().enumerate().map(|(i, s)| (HostName::new(&format!("h{i}")).unwrap(), *s)).collect();
        RunFinished { hosts, cancelled, stopped_early, not_begun: Vec::new(), metrics: Metrics::default() }
    }

    #[test]
    fn the_readme_has_these_codes_and_no_others() {
        use ExitCode::{HostsFailed, Interrupted, InvalidInput, OwnError, Success, Unreachable};
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("## Exit codes").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let told: Vec<u8> =
            section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
        assert_eq!(
            told,
            [Success, OwnError, HostsFailed, Unreachable, InvalidInput, Interrupted].map(|code| code as u8)
        );
    }

    #[test]
    fn each_way_a_run_can_end_has_its_code() {
        let table: [Row<'_>; 17] = [
            (&[Ok, Ok], None, false, 0, 0),
            (&[Ok, NotStarted], None, false, 0, 2),
            (&[NotStarted, NotStarted], None, false, 0, 2),
            (&[Ok, Failed], None, false, 2, 2),
            (&[Ok, Unreachable], None, false, 4, 4),
            (&[Failed, Unreachable], None, false, 2, 2),
            (&[Unreachable, NotStarted], None, true, 2, 2),
            (&[Unreachable, Unreachable], None, true, 4, 4),
            (&[Failed, Cancelled], Some(CancelReason::FailFast), false, 2, 2),
            (&[Unreachable, Cancelled], Some(CancelReason::FailFast), false, 2, 2),
            (&[Ok, Cancelled], Some(CancelReason::Requested), false, 2, 2),
            (&[Ok, NotStarted], Some(CancelReason::Requested), false, 2, 2),
            (&[Ok, Failed], Some(CancelReason::ReportFailed), false, 1, 1),
            (&[Cancelled, Failed], Some(CancelReason::PlanBroken), false, 1, 1),
            (&[Cancelled, Failed], Some(CancelReason::PlanUnreadable), false, 4, 4),
            (&[Failed, Cancelled], Some(CancelReason::Interrupted), false, 130, 130),
            (&[Ok, Ok], Some(CancelReason::Interrupted), false, 130, 130),
        ];
        for (states, cancelled, stopped_early, code, strict) in table {
            let run = finished(states, cancelled, stopped_early);
            assert_eq!(of(&run, false) as u8, code, "{run:?}");
            assert_eq!(of(&run, true) as u8, strict, "--require-all-success: {run:?}");
        }
    }
}
