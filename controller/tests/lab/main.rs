//! Labs that are kept and labs that are thrown away, with real processes: what is started is ended, what is made is
//! removed, and nothing of anybody else's is touched.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod disk_full;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::{Kept, is_root, is_running, run, rustle_exec, text, until_gone};

#[test]
fn a_lab_that_was_taken_down_leaves_no_process_and_no_file() {
    let lab = Kept::up(&["--hosts", "2"]);
    let pids = lab.pids();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_running(*pid)));
    let output = lab.shell("all", "echo from the lab");
    assert!(output.status.success() && text(&output).contains("lab2"), "{}", text(&output));
    let down = run(&["lab", "down", "--dir", lab.path()]);
    assert!(down.status.success() && text(&down).contains("2 agents stopped"), "{}", text(&down));
    until_gone(&pids);
    assert!(!lab.dir.exists());
}

#[test]
fn a_lab_is_made_in_an_empty_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "precious").unwrap();
    let output = run(&["lab", "up", "--hosts", "1", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("is not an empty folder"), "{}", text(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_lab_is_not_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pki", "hosts", "controller"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let down = || run(&["lab", "down", "--dir", folder.path().to_str().unwrap()]);
    let refused = |output: Output| {
        assert_eq!(output.status.code(), Some(5), "{}", text(&output));
        assert!(text(&output).contains("is not the folder of a lab"), "{}", text(&output));
        assert!(["pki", "hosts", "controller"].iter().all(|name| folder.path().join(name).exists()));
    };
    refused(down());
    fs::write(folder.path().join("lab.json"), "{\"name\": \"somebody's own\"}").unwrap();
    refused(down());
}

#[test]
fn a_process_that_has_got_the_number_of_an_agent_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    // An agent, by its looks, of a lab whose folder's name only begins like this one's.
    let neighbour = format!("{}-2/hosts/lab1/agent.toml", folder.path().canonicalize().unwrap().display());
    let mut other = Command::new("sh").args(["-c", "read line", &neighbour]).stdin(Stdio::piped()).spawn().unwrap();
    let state = format!("{{\"agents\": [{{\"host\": \"lab1\", \"pid\": {}}}]}}", other.id());
    fs::write(folder.path().join("lab.json"), state).unwrap();
    let output = run(&["lab", "down", "--dir", folder.path().to_str().unwrap()]);
    assert!(output.status.success() && text(&output).contains("0 agents stopped"), "{}", text(&output));
    assert!(other.try_wait().unwrap().is_none(), "it was ended");
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn what_a_task_writes_on_a_host_with_an_overlay_is_that_hosts_alone() {
    if !is_root() {
        return;
    }
    let lab = Kept::up(&["--hosts", "2", "--overlay"]);
    let marker = format!("/etc/rustle-lab-test-{}", std::process::id());
    let written = lab.shell("lab1", &format!("echo here > {marker} && test $(uname -n) = lab1"));
    assert!(written.status.success(), "{}", text(&written));
    assert!(lab.shell("lab1", &format!("test -e {marker}")).status.success(), "it stays while the lab is up");
    let other = lab.shell("lab2", &format!("test ! -e {marker} && test $(uname -n) = lab2"));
    assert!(other.status.success(), "{}", text(&other));
    assert!(!Path::new(&marker).exists(), "it is on this machine");
    let (pids, dir) = (lab.pids(), lab.dir.clone());
    drop(lab);
    until_gone(&pids);
    assert!(!Path::new(&marker).exists() && !dir.exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "{mounts}");
}

/// The processes whose parent is `pid`.
fn children(pid: u32) -> Vec<i32> {
    let stat = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (parent == pid).then(|| entry.file_name().to_str()?.parse().ok())?
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(stat).collect()
}

#[test]
fn agents_of_a_throw_away_lab_end_with_a_controller_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let plan = serde_json::json!({ "plays": [{ "name": "p", "hosts": ["a", "b"], "batches": [{
        "batch_id": "b1", "hosts": ["a", "b"], "tasks": [{
            "task_id": "t1", "name": "wait", "module": "shell", "args": { "_raw_params": "sleep 600" },
            "hosts": ["a", "b"], "execution_order": 0
        }]
    }]}]});
    let path = folder.path().join("plan.json");
    fs::write(&path, plan.to_string()).unwrap();
    let mut controller = rustle_exec(&["--lab", "--progress", "json", path.to_str().unwrap()])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(controller.stdout.take().unwrap()).lines();
    assert!(events.any(|line| line.unwrap().contains("host_started")), "no host has begun");
    let agents = children(controller.id());
    let tasks: Vec<i32> = agents.iter().flat_map(|agent| children(agent.cast_unsigned())).collect();
    kill_process(Pid::from_child(&controller), Signal::KILL).unwrap();
    controller.wait().unwrap();
    assert_eq!(agents.len(), 2);
    until_gone(&agents);
    until_gone(&tasks);
}
