//! The way of production: an authority, identities carried to their places, agents as processes of their own, an
//! inventory, and runs from another process.

use std::process::Command;

use rustix::process::Signal;
use rustle_tests::{Fleet, Run, agent_program, eventually, play, shell, task};
use serde_json::json;

/// An agent's configuration whose identity was made at the command line.
fn configured() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let pki = |args: &[&str]| Run::new(home.path()).args(["pki", "--dir", "pki"]).args(args).ends(0);
    pki(&["init", "--fleet", "prod"]);
    pki(&["issue", "agent", "web1", "--out", "carried"]);
    pki(&["issue", "controller", "alice", "--out", "carried"]);
    let config =
        format!("listen = '127.0.0.1:0'\nidentity = '{0}/carried/web1'\nstate = '{0}/state'\n", home.path().display());
    std::fs::write(home.path().join("agent.toml"), config).unwrap();
    home
}

#[test]
fn identities_made_at_the_command_line_let_a_controller_reach_an_agent() {
    let home = configured();
    let log = std::fs::File::create(home.path().join("log")).unwrap();
    let mut agent = Command::new(agent_program());
    agent.args(["--until-stdin-closes", "--config"]).arg(home.path().join("agent.toml"));
    let mut agent = agent.stdin(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    let port = eventually("the agent listens", || {
        let log = std::fs::read_to_string(home.path().join("log")).unwrap();
        let (_, rest) = log.split_once("address=127.0.0.1:")?;
        Some(rest.split(|c: char| !c.is_ascii_digit()).next()?.to_owned())
    });
    std::fs::write(home.path().join("hosts.ini"), format!("web1 rustle_host=127.0.0.1 rustle_port={port}\n")).unwrap();
    let plan = play([task("ping", json!({})), shell("echo done > told")]);
    std::fs::write(
        home.path().join("plan.json"),
        plan.to_string().replace("told", &format!("{}/told", home.path().display())),
    )
    .unwrap();
    let ended = Run::new(home.path()).args(["-i", "hosts.ini", "--identity", "carried/alice", "plan.json"]).ends(0);
    assert_eq!(ended.recap("web1"), "web1 : ok=2 changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0");
    assert_eq!(std::fs::read_to_string(home.path().join("told")).unwrap(), "done\n");
    drop(agent.stdin.take());
    assert!(agent.wait().unwrap().success(), "an agent whose work is over ends well");
}

#[test]
fn an_agent_that_is_told_to_end_lets_its_task_end_and_delivers_the_result() {
    let mut fleet = Fleet::start(&["web1"]);
    let (begun, go) = (fleet.path().join("begun"), fleet.path().join("go"));
    let command =
        format!("touch {}; while ! test -e {}; do sleep 0.02; done; echo survived", begun.display(), go.display());
    let running = fleet.run(&play([shell(&command)])).arg("-v").start();
    eventually("the task runs", || begun.exists().then_some(()));
    fleet.signal("web1", Signal::TERM);
    eventually("the agent drains", || fleet.log("web1").contains("drain").then_some(()));
    std::fs::write(&go, "").unwrap();
    let ended = running.finish().expect_code(0);
    assert!(ended.stdout.contains("survived"), "{}", ended.stdout);
    assert!(fleet.wait_for_end("web1"), "{}", fleet.log("web1"));
}

#[test]
fn an_agent_checks_its_configuration_without_starting() {
    let home = configured();
    let check = || {
        let output = Command::new(agent_program())
            .arg("--check-config")
            .arg("--config")
            .arg(home.path().join("agent.toml"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap().replace(&*home.path().to_string_lossy(), "[DIR]"),
        )
    };
    assert_eq!(check().0, Some(0));
    let config = std::fs::read_to_string(home.path().join("agent.toml")).unwrap();
    std::fs::write(home.path().join("agent.toml"), config.clone() + "lisen = 3\n").unwrap();
    let (code, said) = check();
    assert_ne!(code, Some(0));
    assert!(said.contains("lisen"), "{said}");
    std::fs::write(home.path().join("agent.toml"), config.replace("carried/web1", "carried/alice")).unwrap();
    let (code, said) = check();
    assert_ne!(code, Some(0));
    assert!(said.contains("rustle://prod/controller/alice, which is not an agent's"), "{said}");
}

#[test]
fn a_controller_says_that_it_is_done_and_does_not_just_fall_silent() {
    // Silence would be noticed after ten minutes only.
    let fleet = Fleet::builder().config("idle_s = 600\n").start(&["web1"]);
    fleet.adhoc("ping", "").ends(0);
    eventually("the agent hears it", || fleet.log("web1").contains("controller disconnected").then_some(()));
}
