//! The agent dies at each write into its ledger, alone or with its controller: every step of a call's life, met to the byte. The
//! witness is a task that appends a line to a file.

use std::fs;

use rustle_tests::{DeadlyWrite, Fleet, Moment, eventually, named, play, shell, task};
use serde_json::json;

use super::waiting::{kill, runs};

/// Where an agent dies, and what becomes of the run.
struct Step {
    what: &'static str,
    text: &'static str,
    moment: Moment,
    /// The run's exit code: 2 if the outcome is unknown.
    code: i32,
    lines: usize,
}

const CALL: &str = "ansible.builtin.shell";
/// Not in the call: it is put together by the shell.
const RESULT: &str = "the-witness-ends";

const STEPS: [Step; 6] = [
    Step { what: "before the call is recorded", text: CALL, moment: Moment::Before, code: 0, lines: 1 },
    Step { what: "after that, before it starts", text: CALL, moment: Moment::After, code: 2, lines: 0 },
    Step {
        what: "after its end, before its result is recorded",
        text: RESULT,
        moment: Moment::Before,
        code: 2,
        lines: 1,
    },
    Step { what: "after its result is recorded", text: RESULT, moment: Moment::After, code: 0, lines: 1 },
    Step { what: "before it is settled", text: RESULT, moment: Moment::BeforeTheNext, code: 0, lines: 1 },
    Step { what: "after it is settled", text: RESULT, moment: Moment::AfterTheNext, code: 0, lines: 1 },
];

impl Step {
    fn dies(&self, with_controller: bool) {
        let deadly = DeadlyWrite::new("state/ledger/calls", self.text, self.moment);
        let mut fleet = Fleet::builder().config("idle_s = 2\n").environment(deadly.environment()).start(&["web1"]);
        let lines = fleet.path().join("lines");
        let witness = shell(&format!("echo line >> {}; printf 'the-%s-ends' witness", lines.display()));
        let quick = "[performance]\nidle_s = 2\nkeep_alive_s = 1\n[executor]\nretry_delay = 0.5\n";
        fs::write(fleet.path().join("quick.toml"), quick).unwrap();
        let run = fleet.run(&play([named("witness", witness), named("then", task("ping", json!({})))]));
        let running = run.env("RUSTLE_MAX_RETRIES", "9").args(["--config", "quick.toml"]).start();
        // What has ended and is not waited for has no command line any more.
        let command_line = format!("/proc/{}/cmdline", fleet.pid("web1"));
        eventually(&format!("the agent dies {}", self.what), || {
            fs::read(&command_line).unwrap().is_empty().then_some(())
        });
        let ended = if with_controller {
            kill(running);
            fleet.kill_and_restart("web1");
            runs(&fleet, &["resume", "last"]).finish()
        } else {
            fleet.kill_and_restart("web1");
            running.finish()
        };
        let told = format!("{}: {}{}", self.what, ended.stdout, ended.stderr);
        assert_eq!(ended.code, self.code, "{told}");
        assert_eq!(ended.stdout.contains("the agent died while the task ran"), self.code == 2, "{told}");
        let text = fs::read_to_string(lines).unwrap_or_default();
        assert_eq!(text.lines().count(), self.lines, "{told}");
    }
}

#[test]
fn an_agent_that_dies_at_any_write_into_its_ledger_runs_nothing_twice_and_loses_no_result() {
    STEPS.iter().for_each(|step| step.dies(false));
}

#[test]
fn an_agent_and_its_controller_that_die_at_any_write_into_the_ledger_run_nothing_twice_and_lose_no_result() {
    STEPS.iter().for_each(|step| step.dies(true));
}
