//! Tasks that run as another user, through real agents and their helpers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use rustle_tests::{
    Ended, Fleet, Run, eventually, is_root, named, not_tested, play, plays, processes_with, shell, task,
};
use serde_json::{Value, json};

/// Whether this test can be; says so if not.
fn can_switch() -> bool {
    is_root() || not_tested("becoming another user needs root")
}

fn has_sudo() -> bool {
    let asked = Command::new("sudo").args(["-n", "true"]).output();
    asked.is_ok_and(|output| output.status.success()) || not_tested("this machine has no sudo that root may use")
}

/// A fleet whose folder everybody may look into.
fn fleet(config: &str) -> Fleet {
    let fleet = Fleet::builder().config(config).start(&["web1"]);
    fs::set_permissions(fleet.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fleet
}

/// A folder that everybody may write into.
fn open_folder(fleet: &Fleet) -> String {
    let folder = fleet.path().join("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    folder.display().to_string()
}

fn with(keywords: Value, mut task: Value) -> Value {
    task["keywords"] = keywords;
    task
}

fn as_nobody(task: Value) -> Value {
    with(json!({ "become": true, "become_user": "nobody" }), task)
}

/// What a task printed, for a run with `-v`.
#[track_caller]
fn printed(ended: &Ended) -> String {
    let line = ended.stdout.lines().find(|line| line.starts_with("changed: ["));
    let line = line.unwrap_or_else(|| panic!("no result in {}", ended.stdout));
    let result: Value = serde_json::from_str(line.split_once("=> ").unwrap().1).unwrap();
    result["stdout"].as_str().unwrap().to_owned()
}

/// What an ad-hoc command printed.
#[track_caller]
fn answered(ended: &Ended) -> &str {
    let (_, output) = ended.stdout.split_once("| CHANGED | rc=0 >>\n").unwrap_or_else(|| panic!("{ended:?}"));
    output.trim_end()
}

const WHO: &str = "id -un; id -G; pwd; umask; echo $HOME $USER $LOGNAME $SHELL";

#[test]
fn a_task_has_the_credentials_and_the_surroundings_that_sudo_gives() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let run = |keywords| printed(&fleet.run(&play([with(keywords, shell(WHO))])).arg("-v").ends(0));
    for user in ["nobody", "daemon"] {
        let direct = run(json!({ "become": true, "become_user": user }));
        assert_eq!(direct.lines().next(), Some(user));
        if has_sudo() {
            let expected =
                Command::new("sudo").args(["-H", "-S", "-n", "-u", user, "sh", "-c", WHO]).output().unwrap().stdout;
            assert_eq!(direct, String::from_utf8(expected).unwrap().trim_end());
        }
    }
}

#[test]
fn every_method_becomes_the_user() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let methods = [
        json!({ "become_method": "direct" }),
        json!({ "become_method": "runuser" }),
        json!({ "become_method": "su", "become_flags": "-s /bin/sh" }),
        json!({ "become_method": "sudo", "become_flags": "-H" }),
    ];
    for mut keywords in methods {
        if keywords["become_method"] == "sudo" && !has_sudo() {
            continue;
        }
        keywords["become"] = true.into();
        keywords["become_user"] = "nobody".into();
        let plan = play([with(keywords.clone(), shell("id -un; echo $HOME; ps -o args= -p $PPID"))]);
        let printed = printed(&fleet.run(&plan).arg("-v").ends(0));
        assert!(printed.starts_with("nobody\n/nonexistent\n"), "{keywords}: {printed}");
        assert!(printed.contains("run-as-helper"), "{keywords}: {printed}");
    }
}

#[test]
fn native_modules_write_files_as_the_user_and_receive_what_the_controller_sends() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let open = open_folder(&fleet);
    let content: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
    fs::write(fleet.path().join("large"), &content).unwrap();
    fs::write(fleet.path().join("greeting.j2"), "hello {{ inventory_hostname }}\n").unwrap();
    let plan = play([
        as_nobody(task("copy", json!({ "src": "large", "dest": format!("{open}/large") }))),
        as_nobody(task("template", json!({ "src": "greeting.j2", "dest": format!("{open}/greeting") }))),
        as_nobody(task("file", json!({ "path": format!("{open}/folder"), "state": "directory" }))),
    ]);
    let ended = fleet.run(&plan).ends(0);
    assert!(ended.recap("web1").contains("ok=3 changed=3"), "{}", ended.stdout);
    assert_eq!(fs::read_to_string(format!("{open}/large")).unwrap(), content);
    assert_eq!(fs::read_to_string(format!("{open}/greeting")).unwrap(), "hello web1\n");
    for name in ["large", "greeting", "folder"] {
        assert_eq!(fs::metadata(format!("{open}/{name}")).unwrap().uid(), 65534, "{name}");
    }
    let again = fleet.run(&plan).ends(0);
    assert!(again.recap("web1").contains("ok=3 changed=0"), "{}", again.stdout);
    let forbidden = as_nobody(task("copy", json!({ "content": "x", "dest": fleet.path().join("closed") })));
    let ended = fleet.run(&play([forbidden])).ends(2);
    assert!(ended.stdout.contains("Permission denied"), "{}", ended.stdout);
}

/// Waits until a task of that mark runs.
fn wait_until_begun(mark: &str) {
    eventually("the task runs", || (!processes_with(mark).is_empty()).then_some(()));
}

fn mark(fleet: &Fleet) -> String {
    format!("mark-{}", fleet.path().file_name().unwrap().to_string_lossy())
}

#[test]
fn a_task_out_of_time_ends_with_all_it_started_and_says_what_it_had_said() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let mark = mark(&fleet);
    let line = format!("echo begun; (trap '' TERM; sleep 600; : {mark}) & sleep 600; : {mark}");
    let ended = fleet.run(&play([as_nobody(shell(&line))])).args(["--timeout", "1"]).ends(2);
    assert!(ended.stdout.contains("Timed out after 1 second(s)") && ended.stdout.contains("begun"), "{}", ended.stdout);
    eventually("nothing of it is left", || processes_with(&mark).is_empty().then_some(()));
}

#[test]
fn a_run_that_is_interrupted_stops_the_task_of_another_user() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let mark = mark(&fleet);
    let running = fleet.run(&play([as_nobody(shell(&format!("sleep 600; : {mark}")))])).arg("--batch").start();
    wait_until_begun(&mark);
    running.signal(Signal::INT);
    let ended = running.finish().expect_code(130);
    assert!(ended.stdout.contains("fatal: [web1]: CANCELLED!"), "{}", ended.stdout);
    eventually("nothing of it is left", || processes_with(&mark).is_empty().then_some(()));
}

#[test]
fn when_the_agent_is_killed_the_task_of_another_user_ends() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let mark = mark(&fleet);
    let running = fleet.run(&play([as_nobody(shell(&format!("sleep 600; : {mark}")))])).start();
    wait_until_begun(&mark);
    fleet.signal("web1", Signal::KILL);
    eventually("nothing of it is left", || processes_with(&mark).is_empty().then_some(()));
    drop(running);
}

#[test]
fn a_helper_that_is_killed_is_that_tasks_failure() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let mark = mark(&fleet);
    let tasks = [as_nobody(shell(&format!("sleep 600; : {mark}"))), shell("true")];
    let running = fleet.run(&play(tasks)).start();
    wait_until_begun(&mark);
    let agent = fleet.pid("web1").to_string();
    let helper = eventually("the helper is seen", || {
        let is_child = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.split(' ').nth(1) == Some(&agent))
        };
        processes_with("run-as-helper").into_iter().find(is_child)
    });
    kill_process(Pid::from_raw(helper.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let ended = running.finish().expect_code(2);
    let expected = "the process that ran the task as `nobody` was lost: it ended (signal: 9 (SIGKILL)); what the task did \
                    until then stays done";
    assert!(ended.stdout.contains(expected), "{}", ended.stdout);
    for pid in processes_with(&mark) {
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
}

#[test]
fn output_comes_while_the_task_runs() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let go = fleet.path().join("go");
    let line = format!("echo early; until test -e {}; do sleep 0.02; done", go.display());
    let running = fleet.run(&play([as_nobody(shell(&line))])).args(["--progress", "json"]).start();
    running.wait_for("\"early");
    fs::write(go, "").unwrap();
    running.finish().expect_code(0);
}

#[test]
fn what_a_task_is_given_stands_in_no_command_line_and_no_environment() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("");
    let (go, open) = (fleet.path().join("go"), open_folder(&fleet));
    let secret = format!("secret of pid {}", std::process::id());
    let line = format!("touch {open}/begun; until test -e {}; do sleep 0.02; done", go.display());
    let plan = play([as_nobody(task("shell", json!({ "_raw_params": line, "stdin": secret })))]);
    let running = fleet.run(&plan).start();
    eventually("the task runs", || Path::new(&open).join("begun").exists().then_some(()));
    assert!(processes_with(&secret).is_empty());
    fs::write(go, "").unwrap();
    running.finish().expect_code(0);
}

#[test]
fn an_agents_policy_says_whom_tasks_may_become() {
    if !can_switch() {
        return;
    }
    let fleet = fleet("[policy]\nbecome_users = ['daemon']\n");
    let become_it = |user: &str| {
        let run = fleet.adhoc("command", "id -un").args(["--become", "--become-user", user]);
        run.finish()
    };
    let daemon = become_it("daemon").expect_code(0);
    assert_eq!(answered(&daemon), "daemon");
    let refused = become_it("nobody").expect_code(2);
    let expected = "tasks may not become `nobody` by [policy] of this agent";
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains(expected), "{refused:?}");
    let own = become_it("root").expect_code(0);
    assert_eq!(answered(&own), "root");
}

#[test]
fn a_user_that_there_is_not_is_that_tasks_failure() {
    let fleet = fleet("");
    let ended = fleet.adhoc("command", "id").args(["-b", "--become-user", "no-such-user-here"]).ends(2);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("cannot become `no-such-user-here`: this host has no such user"), "{said}");
}

#[test]
fn a_method_that_there_is_not_is_told_before_any_host_is_contacted() {
    let fleet = fleet("");
    let touched = fleet.path().join("touched");
    let keywords = json!({ "become": true, "become_method": "pbrun" });
    let plan = play([shell(&format!("touch {}", touched.display())), with(keywords, named("x", shell("id")))]);
    let ended = fleet.run(&plan).ends(5);
    let expected = "play `Play`, task `x`: become_method must be sudo, direct, su or runuser, not `pbrun`";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    assert!(!touched.exists());
}

#[test]
fn variables_go_before_keywords_and_keywords_before_the_command_line() {
    if !can_switch() {
        return;
    }
    let fleet = Fleet::builder().inventory("[all:vars]\nsomebody=daemon\n").start(&["web1"]);
    let who = || shell("id -un");
    let mut of_play = plays([json!({ "name": "Play", "hosts": "all", "tasks": [who()] })]);
    of_play["plays"][0]["keywords"] = json!({ "become": true, "become_user": "{{ somebody }}" });
    let cases: [(Value, &[&str], &str); 6] = [
        (play([who()]), &[], "root"),
        (play([who()]), &["-b", "--become-user", "nobody"], "nobody"),
        (play([with(json!({ "become": false }), who())]), &["-b", "--become-user", "nobody"], "root"),
        (of_play.clone(), &["-b", "--become-user", "nobody"], "daemon"),
        (of_play.clone(), &["-e", "ansible_become_user=nobody"], "nobody"),
        (of_play, &["-e", "ansible_become=false"], "root"),
    ];
    for (plan, options, expected) in cases {
        let ended = fleet.run(&plan).args(options).arg("-v").ends(0);
        assert_eq!(printed(&ended), expected, "{options:?} {plan}");
    }
}

#[test]
fn a_local_connection_becomes_other_users_too() {
    if !can_switch() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hosts.ini"), "localhost\n").unwrap();
    let run = Run::new(dir.path()).args(["adhoc", "all", "-i", "hosts.ini", "--connection-plugin", "local"]);
    let ended = run.args(["-m", "command", "-a", "id -un", "-b", "--become-user", "nobody"]).ends(0);
    assert_eq!(answered(&ended), "nobody");
}

#[test]
fn somebody_without_the_right_is_told_so_by_sudo() {
    if !can_switch() || !has_sudo() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("hosts.ini"), "localhost\n").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = Run::new(dir.path()).args(["adhoc", "all", "-i", "hosts.ini", "--connection-plugin", "local"]);
    let ended = run.args(["-m", "command", "-a", "id -un", "-b"]).as_user(65534).ends(2);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("cannot become `root` by sudo: Missing sudo password"), "{said}");
}
