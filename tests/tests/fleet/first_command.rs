//! The first command of the README.

use std::os::unix::fs::PermissionsExt;

use rustle_tests::{Run, eventually, is_root, not_tested, processes_with};

fn rollout() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/rollout.json")
}

#[test]
fn the_first_command_runs_the_example_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let ended = Run::new(home.path()).arg("--lab").arg(rollout()).ends(0);
    for host in ["web1", "web2", "web3", "web4", "db1"] {
        assert!(ended.recap(host).contains("unreachable=0 failed=0"), "{}", ended.stdout);
    }
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let mark = home.path().to_string_lossy();
    assert_eq!(processes_with(&mark), Vec::<u32>::new(), "processes left behind");
}

#[test]
fn the_example_shows_what_the_tool_can_do() {
    let home = tempfile::tempdir().unwrap();
    let ended = Run::new(home.path()).args(["--dry-run", "--lab"]).arg(rollout()).ends(0);
    for module in ["file", "copy", "template", "lineinfile", "command", "shell", "stat", "debug"] {
        assert!(ended.stdout.contains(&format!("({module}")), "no task with {module}:\n{}", ended.stdout);
    }
    for part in ["handler: ", "batch 1 of 3: web[1-2]", ", when "] {
        assert!(ended.stdout.contains(part), "no `{part}`:\n{}", ended.stdout);
    }
}

#[test]
fn a_lab_without_a_plan_has_numbered_hosts() {
    let home = tempfile::tempdir().unwrap();
    let ended = Run::new(home.path()).args(["adhoc", "all", "--lab=3", "-m", "ping"]).ends(0);
    assert_eq!(ended.answers(), ["lab1 | SUCCESS", "lab2 | SUCCESS", "lab3 | SUCCESS"]);
}

#[test]
fn a_lab_that_is_kept_takes_runs_until_it_is_told_to_go() {
    let home = tempfile::tempdir().unwrap();
    let run = || Run::new(home.path());
    let up = run().args(["lab", "up", "--hosts", "2", "--dir", "fleet"]).ends(0);
    assert!(up.stdout.starts_with("2 agents are up."), "{}", up.stdout);
    let ping = ["adhoc", "all", "-m", "ping", "--config", "fleet/config.toml", "-i", "fleet/hosts.ini"];
    assert_eq!(run().args(ping).ends(0).answers(), ["lab1 | SUCCESS", "lab2 | SUCCESS"]);
    let down = run().args(["lab", "down", "--dir", "fleet"]).ends(0);
    assert!(down.stdout.starts_with("2 agents stopped"), "{}", down.stdout);
    assert!(!home.path().join("fleet").exists());
    assert_eq!(processes_with(&home.path().to_string_lossy()), Vec::<u32>::new(), "processes left behind");
}

#[test]
fn a_folder_that_a_lab_cannot_have_is_told_with_the_reason_once() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let up =
        |dir: &str, code| Run::new(home.path()).args(["lab", "up", "--hosts", "1", "--dir", dir]).ends(code).stderr;
    insta::assert_snapshot!(up("file/lab", 1), @r"
    error: the lab cannot make file/lab
      caused by: Not a directory (os error 20)
    ");
    insta::assert_snapshot!(up(".", 5), @"error: . is not an empty folder; a lab needs one of its own");
}

/// A shell command on the hosts of a lab.
fn in_lab(home: &std::path::Path, options: &[&str], command: &str) -> rustle_tests::Ended {
    Run::new(home).args(["adhoc", "all", "--lab=2", "-m", "shell", "-a", command]).args(options).ends(0)
}

#[test]
fn as_root_a_labs_hosts_have_files_and_names_of_their_own_unless_told_otherwise() {
    if !is_root() && !not_tested("files of their own need root") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let touched = std::path::Path::new("/etc").join(format!("rustle-lab-test-{}", std::process::id()));
    let touch = format!("hostname; touch {}", touched.display());
    let ended = in_lab(home.path(), &[], &touch);
    for host in ["lab1", "lab2"] {
        assert!(ended.stdout.contains(&format!("{host} | CHANGED | rc=0 >>\n{host}\n")), "{ended:?}");
    }
    assert!(!touched.exists(), "a task of a lab has changed this machine");
    in_lab(home.path(), &["--lab-overlay", "no"], &touch);
    assert!(touched.exists());
    std::fs::remove_file(touched).unwrap();
}

#[test]
fn what_tasks_leave_running_on_a_labs_hosts_goes_with_them() {
    if !is_root() && !not_tested("files of their own need root") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // A job outlives its agent. No other process of this machine sleeps so long.
    let program = format!("sleep 8{}", std::process::id());
    let running = || processes_with(&program.replace(' ', "\0")).len();
    let run = Run::new(home.path()).args(["adhoc", "all", "--lab=1", "-m", "command", "-a", &program]);
    let ended = run.args(["-B", "1000", "-P", "0"]).ends(0);
    assert!(ended.stdout.contains("ansible_job_id"), "{ended:?}");
    assert_eq!(running(), 0, "processes left behind");

    let lab = home.path().join("lab").display().to_string();
    Run::new(home.path()).args(["lab", "up", "--hosts", "1", "--overlay", "--dir", &lab]).ends(0);
    let (hosts, identity) = (format!("{lab}/hosts.ini"), format!("{lab}/controller"));
    let run = Run::new(home.path()).args(["adhoc", "all", "-i", &hosts, "--identity", &identity, "-m", "command"]);
    run.args(["-a", &program, "-B", "1000", "-P", "0"]).ends(0);
    eventually("the job runs", || (running() > 0).then_some(()));
    Run::new(home.path()).args(["lab", "down", "--dir", &lab]).ends(0);
    assert_eq!(running(), 0, "processes left behind");
}

#[test]
fn a_lab_that_shares_this_machines_files_says_so() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = Run::new(home.path()).args(["adhoc", "all", "--lab=1", "-m", "ping"]);
    let run = if is_root() { run.as_user(65534) } else { run };
    let note =
        "note: tasks of this lab change this machine, since its hosts cannot have files of their own: only root can";
    let ended = run.ends(0);
    assert!(ended.stderr.contains(note), "{}", ended.stderr);
    let forced = Run::new(home.path()).args(["adhoc", "all", "--lab=1", "--lab-overlay=yes", "-m", "ping"]);
    if !is_root() {
        assert!(forced.ends(5).stderr.contains("a lab with overlays needs root"));
    }
}
