//! Every option does what it says, seen from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use rustle_tests::schema::differences;
use rustle_tests::{Fleet, Run, changed_when_false, named, play, plays, shell, task};
use serde_json::{Value, json};

fn ping() -> Value {
    play([task("ping", json!({}))])
}

/// Three tasks with tags.
fn tagged() -> Value {
    let tagged = |name: &str, tags: &[&str]| {
        let mut task = named(name, task("ping", json!({})));
        task["tags"] = json!(tags);
        task
    };
    play([tagged("one", &["first"]), tagged("two", &["second", "both"]), tagged("three", &["never", "third"])])
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The first event of a run: what it is going to be like.
fn started(run: Run) -> Value {
    let ended = run.args(["--progress", "json"]).ends(0);
    serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap()
}

#[test]
fn inventories_add_up_and_may_be_ini_yaml_programs_or_names() {
    let fleet = Fleet::start(&["web1", "web2", "db1"]);
    let host = |name: &str| {
        let address = fleet.address(name);
        (address.ip(), address.port())
    };
    let file = |name: &str| fleet.path().join(name);
    let (ip, port) = host("web1");
    fs::write(file("a.ini"), format!("[web]\nweb1 rustle_host={ip} rustle_port={port}\n")).unwrap();
    let (ip, port) = host("web2");
    fs::write(
        file("b.yml"),
        format!(
            "web:\n  hosts:\n    web2:\n      rustle_host: {ip}\n      rustle_port: {port}\n  vars: {{colour: blue}}\n"
        ),
    )
    .unwrap();
    let (ip, port) = host("db1");
    let hostvars = json!({ "db": { "hosts": ["db1"] },
        "_meta": { "hostvars": { "db1": { "rustle_host": ip.to_string(), "rustle_port": port } } } });
    script(&file("c.sh"), &format!("#!/bin/sh\necho '{hostvars}'\n"));
    let run = |pattern: &str| {
        let run =
            Run::new(fleet.path()).args(["adhoc", pattern, "-m", "debug", "-a", "msg={{ colour | default('none') }}"]);
        run.args(["-i", "a.ini", "-i", "b.yml", "-i", "c.sh"]).arg("--identity").arg(fleet.controller()).ends(0)
    };
    assert_eq!(run("all").answers(), ["db1 | SUCCESS", "web1 | SUCCESS", "web2 | SUCCESS"]);
    assert_eq!(run("web").stdout.matches("\"msg\": \"blue\"").count(), 2, "groups of several files are one");
    let ended = Run::new(fleet.path())
        .args(["adhoc", "all", "-m", "ping", "-i", "x1,x2,", "--connection-plugin", "local"])
        .ends(0);
    assert_eq!(ended.answers(), ["x1 | SUCCESS", "x2 | SUCCESS"]);
}

#[test]
fn a_pattern_that_means_nobody_is_warned_of_by_adhoc() {
    let home = tempfile::tempdir().unwrap();
    let run = |pattern: &str, options: &[&str]| {
        Run::new(home.path()).args(["adhoc", pattern, "-m", "ping", "-i", "x1,x2,"]).args(options).ends(0)
    };
    let nobody = run("db*:nobody", &[]);
    assert_eq!(nobody.stdout, "");
    assert_eq!(
        nobody.stderr,
        "[WARNING]: Could not match supplied host pattern, ignoring: db*\n\
         [WARNING]: Could not match supplied host pattern, ignoring: nobody\n\
         [WARNING]: No hosts matched, nothing to do\n"
    );
    assert_eq!(run("nobody", &["--list-hosts"]).stdout, "  hosts (0):\n");
    let some = run("x1:nobody", &["--connection-plugin", "local"]);
    assert_eq!(some.answers(), ["x1 | SUCCESS"]);
    assert!(some.stderr.contains("ignoring: nobody"), "{some:?}");
}

#[test]
fn what_ansible_was_told_of_all_plays_holds_where_a_playbook_says_nothing() {
    let home = tempfile::tempdir().unwrap();
    let text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: echo se''cret\n    \
                - command: echo shown\n      no_log: false\n    - command: test {{ inventory_hostname }} = x2\n    \
                - command: echo last\n      no_log: false\n";
    fs::write(home.path().join("site.yml"), text).unwrap();
    let config = "[defaults]\nno_log = true\nany_errors_fatal = true\nverbosity = 1\nlog_path = run.log\n";
    fs::write(home.path().join("ansible.cfg"), config).unwrap();
    let run = |variables: &[(&str, &str)]| {
        let run = Run::new(home.path()).args(["-i", "x1,x2,", "--connection-plugin", "local", "site.yml"]);
        variables.iter().fold(run, |run, (name, value)| run.env(name, value)).ends(2).stdout
    };
    let told = run(&[]);
    assert!(!told.contains("secret") && told.contains("\"stdout\": \"shown\""), "{told}");
    assert!(!told.contains("\"stdout\": \"last\""), "x2 goes no further than x1: {told}");
    assert!(fs::read_to_string(home.path().join("run.log")).unwrap().contains("shown"));
    let told = run(&[("ANSIBLE_NO_LOG", "0"), ("ANSIBLE_ANY_ERRORS_FATAL", "0"), ("ANSIBLE_STRATEGY", "free")]);
    assert!(told.contains("secret") && told.contains("\"stdout\": \"last\""), "{told}");
    let wrong = Run::new(home.path()).args(["-i", "x1,", "site.yml"]).env("ANSIBLE_STRATEGY", "fre").ends(5);
    assert!(wrong.stderr.contains("Invalid play strategy specified: fre"), "{wrong:?}");
}

#[test]
fn adhoc_answers_in_one_line_into_files_and_of_the_background() {
    let home = tempfile::tempdir().unwrap();
    let run = |options: &[&str]| {
        let run = Run::new(home.path()).args(["adhoc", "x1", "-i", "x1,", "--connection-plugin", "local"]);
        run.env("HOME", home.path()).args(options).ends(0).stdout
    };
    assert_eq!(run(&["-a", "echo one", "--one-line"]), "x1 | CHANGED | rc=0 | (stdout) one\n");
    let answer = run(&["-m", "ping", "-o", "--tree", "results"]);
    assert_eq!(answer, "x1 | SUCCESS => {\"changed\": false,\"ping\": \"pong\"}\n");
    let kept = fs::read_to_string(home.path().join("results/x1")).unwrap();
    assert_eq!(kept, "{\"changed\": false, \"ping\": \"pong\"}");
    let waited = run(&["-a", "echo done", "-B", "30", "-P", "1"]);
    assert!(waited.starts_with("x1 | CHANGED => {\n    \"ansible_job_id\": "), "{waited}");
    assert!(waited.contains("\"finished\": true") && waited.contains("\"stdout\": \"done\""), "{waited}");
    let left = run(&["-a", "true", "-B", "30", "-P", "0"]);
    assert!(left.contains("\"finished\": false"), "{left}");
}

#[test]
fn the_inventory_is_shown_as_list_graph_and_host() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("hosts.ini"), "[web]\nweb1 colour=red\nweb2\n[site:children]\nweb\n").unwrap();
    let show = |args: &[&str]| Run::new(home.path()).args(["inventory", "-i", "hosts.ini"]).args(args).ends(0).stdout;
    let list: Value = serde_json::from_str(&show(&["--list"])).unwrap();
    assert_eq!(list["web"]["hosts"], json!(["web1", "web2"]));
    assert_eq!(list["_meta"]["hostvars"]["web1"]["colour"], "red");
    insta::assert_snapshot!(show(&["--graph"]), @r"
    @all:
      |--@ungrouped:
      |--@site:
      |  |--@web:
      |  |  |--web1
      |  |  |--web2
    ");
    let host: Value = serde_json::from_str(&show(&["--host", "web1"])).unwrap();
    assert_eq!(host["colour"], "red");
}

#[test]
fn limit_takes_patterns() {
    let fleet = Fleet::builder().inventory("[web]\nweb1\nweb2\n").start(&["web1", "web2", "db1"]);
    let hosts = |limit: &str| {
        let ended = fleet.run(&ping()).args(["-l", limit]).ends(0);
        ended.results().iter().map(|line| line.trim_start_matches("ok: ").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("web1"), ["[web1]"]);
    assert_eq!(hosts("web"), ["[web1]", "[web2]"]);
    assert_eq!(hosts("web:!web1"), ["[web2]"]);
    assert_eq!(hosts("*1"), ["[db1]", "[web1]"]);
    assert_eq!(hosts("web2,db1"), ["[db1]", "[web2]"]);
}

#[test]
fn tags_choose_tasks() {
    let fleet = Fleet::start(&["web1"]);
    let banners = |args: &[&str]| {
        let ended = fleet.run(&tagged()).args(args).ends(0);
        ended.banners().iter().filter_map(|line| line.strip_prefix("TASK ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(banners(&[]), ["[one]", "[two]"]);
    assert_eq!(banners(&["-t", "first"]), ["[one]"]);
    assert_eq!(banners(&["--tags", "first,both"]), ["[one]", "[two]"]);
    assert_eq!(banners(&["-t", "third", "-t", "first"]), ["[one]", "[three]"]);
    assert_eq!(banners(&["--skip-tags", "second"]), ["[one]"]);
}

#[test]
fn check_changes_nothing_and_diff_shows_what_would_change() {
    let fleet = Fleet::start(&["web1"]);
    let target = fleet.path().join("target");
    let plan = play([
        task("copy", json!({ "content": "new\n", "dest": target })),
        shell(&format!("echo never >> {}.log", target.display())),
    ]);
    for flag in ["-c", "-C", "--check"] {
        let ended = fleet.run(&plan).args([flag, "--diff"]).ends(0);
        assert_eq!(ended.results(), ["changed: [web1]", "skipping: [web1]"]);
        assert!(ended.stdout.contains("\n+new\n"), "{}", ended.stdout);
        assert!(!target.exists() && !fleet.path().join("target.log").exists());
    }
    let ended = fleet.run(&plan).arg("-D").args(["-t", "all", "--start-at-task", "copy"]).finish();
    assert!(ended.stdout.contains("\n+new\n"), "{}", ended.stdout);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new\n");
}

#[test]
fn a_run_starts_at_the_task_named() {
    let fleet = Fleet::start(&["web1"]);
    let ended = fleet.run(&tagged()).args(["--start-at-task", "two"]).ends(0);
    assert_eq!(ended.banners(), ["PLAY [Play]", "TASK [two]"]);
}

#[test]
fn step_asks_before_each_task() {
    let fleet = Fleet::start(&["web1"]);
    let plan = play(["a", "b", "c", "d"].map(|name| named(name, task("ping", json!({})))));
    let ran = |answers: &str| {
        let ended = fleet.run(&plan).arg("--step").stdin(answers).ends(0);
        (ended.stdout.matches("ok: [web1]").count(), ended.stderr.matches("Perform task: ").count())
    };
    assert_eq!(ran("y\nn\ny\nn\n"), (2, 4));
    assert_eq!(ran("n\nc\n"), (3, 2));
}

#[test]
fn step_without_anybody_to_ask_ends_the_run() {
    let fleet = Fleet::start(&["web1"]);
    let plan = play(["a", "b"].map(|name| named(name, task("ping", json!({})))));
    let ended = fleet.run(&plan).arg("--step").stdin("y\n").ends(2);
    assert_eq!(ended.stdout.matches("ok: [web1]").count(), 1, "{}", ended.stdout);
    assert!(ended.stderr.contains("--step has nobody to ask"), "{}", ended.stderr);
}

#[test]
fn of_an_option_given_twice_the_last_one_counts() {
    let fleet = Fleet::start(&["web1"]);
    fleet.run(&play([task("ping", json!({}))])).args(["--forks", "0", "--forks", "2"]).ends(0);
}

#[test]
fn a_dry_run_contacts_nobody() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let ended = fleet.run(&tagged()).args(["--dry-run", "--serial", "1"]).ends(0);
    insta::assert_snapshot!(ended.stdout, @r"
    play 1: Play
      batch 1 of 2: web1
      batch 2 of 2: web2
      task: one (ping)
      task: two (ping)
    ");
    assert!(!fleet.log("web1").contains("controller"), "{}", fleet.log("web1"));
}

#[test]
fn local_hosts_need_no_agent_and_do_not_disturb_each_other() {
    let home = tempfile::tempdir().unwrap();
    let hosts: Vec<String> = (1..=8).map(|n| format!("h{n}")).collect();
    let plan = play([shell("touch $PWD/{{ inventory_hostname }}"), changed_when_false(shell("true"))]);
    fs::write(home.path().join("plan.json"), plan.to_string()).unwrap();
    let run = Run::new(home.path()).args(["--connection-plugin", "local", "-i", &(hosts.join(",") + ","), "plan.json"]);
    let ended = run.ends(0);
    assert!(!ended.stdout.contains("RETRYING"), "{}", ended.stdout);
    assert!(hosts.iter().all(|host| home.path().join(host).exists()));
}

#[test]
fn a_host_that_others_wait_for_too_long_is_given_up_and_that_is_told() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let hang = changed_when_false(shell("test {{ inventory_hostname }} = web1 || sleep 60"));
    let plan = play([hang, task("ping", json!({}))]);
    let ended = fleet.run(&plan).args(["--straggler-timeout", "1"]).ends(2);
    assert!(ended.stderr.contains("[WARNING]: web2: given up: others have waited for its task for 1 s"), "{ended:?}");
    assert!(ended.recap("web1").contains("ok=2") && ended.recap("web2").contains("cancelled=1"), "{ended:?}");
}

#[test]
fn retries_are_as_many_as_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let fleet = Fleet::start(&["web1"]);
    fs::write(home.path().join("hosts.ini"), "web1 rustle_host=no-such-name.invalid\n").unwrap();
    let run = || {
        let run =
            Run::new(home.path()).args(["adhoc", "all", "-m", "ping", "-i", "hosts.ini", "--retry-delay", "0.01"]);
        run.arg("--identity").arg(fleet.controller())
    };
    let retries = |run: Run| run.ends(4).stdout.matches("FAILED - RETRYING: [web1]: ping (").count();
    assert_eq!(retries(run()), 3, "the default");
    assert_eq!(retries(run().args(["--retries", "2"])), 2);
    assert_eq!(retries(run().args(["--retries", "0"])), 0);
    assert_eq!(retries(run().env("RUSTLE_MAX_RETRIES", "1")), 1);
}

#[test]
fn without_continue_on_error_a_failed_batch_ends_the_run() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let plan = play([shell("test {{ inventory_hostname }} != web1")]);
    let ended = fleet.run(&plan).args(["--serial", "1"]).ends(2);
    assert!(ended.stdout.contains("not started: 1 host: web2"), "{}", ended.stdout);
    let ended = fleet.run(&plan).args(["--serial", "1", "--continue-on-error"]).ends(2);
    assert!(ended.recap("web2").contains("ok=1"), "{}", ended.stdout);
}

#[test]
fn a_playbook_is_not_begun_after_one_that_had_failures_and_the_end_names_it() {
    let mut fleet = Fleet::start(&["web1", "web2"]);
    let book = |name: &str, command: &str| {
        let path = fleet.path().join(name);
        let text = format!("- hosts: all\n  gather_facts: false\n  tasks: [{{command: {command:?}}}]\n");
        fs::write(&path, text).unwrap();
        path
    };
    let (well, fails) = (book("well.yml", "true"), book("fails.yml", "test {{ inventory_hostname }} != web1"));
    let report = fleet.path().join("report.json");
    let not_begun = || {
        let report: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
        report["summary"]["playbooks_not_begun"].clone()
    };
    let run = |fleet: &Fleet, books: [&PathBuf; 3]| fleet.exec().args(books).arg("--report-file").arg(&report);

    let ended = run(&fleet, [&well, &well, &well]).ends(0);
    assert_eq!(ended.stdout.matches("PLAY RECAP").count(), 3, "{}", ended.stdout);
    assert_eq!(not_begun(), serde_json::json!([]));

    let ended = run(&fleet, [&well, &fails, &well]).ends(2);
    assert_eq!(ended.stdout.matches("PLAY RECAP").count(), 2, "{}", ended.stdout);
    assert!(ended.recap("web2").contains("ok=2"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(&format!("playbooks not begun: {}\n", well.display())), "{}", ended.stdout);
    assert_eq!(not_begun(), serde_json::json!([well]));

    let ended = run(&fleet, [&fails, &well, &well]).args(["--continue-on-error"]).ends(2);
    assert_eq!(ended.stdout.matches("PLAY RECAP").count(), 3, "{}", ended.stdout);

    fleet.signal("web1", Signal::KILL);
    fleet.wait_for_end("web1");
    let ended = run(&fleet, [&well, &well, &well]).args(["--retries", "0"]).ends(4);
    assert_eq!(ended.stdout.matches("PLAY RECAP").count(), 1, "{}", ended.stdout);
    assert_eq!(not_begun(), serde_json::json!([well, well]));
}

#[test]
fn more_failed_hosts_than_the_command_line_allows_end_the_run() {
    let fleet = Fleet::start(&["h1", "h2", "h3", "h4"]);
    let fails = shell("case {{ inventory_hostname }} in h1|h2) exit 1;; esac");
    let plan = plays([
        json!({ "name": "One", "hosts": "all", "tasks": [fails] }),
        json!({ "name": "Two", "hosts": "all", "tasks": [task("ping", json!({}))] }),
    ]);
    let with = |percent: &str| fleet.run(&plan).args(["--max-fail-percentage", percent]).ends(2);
    for (percent, pings) in [("50", 2), ("49.9", 0), ("0", 0)] {
        let ended = with(percent);
        assert_eq!(ended.results().iter().filter(|line| line.starts_with("ok: ")).count(), pings, "{}", ended.stdout);
    }
}

#[test]
fn require_all_success_is_not_content_with_hosts_that_had_nothing_to_do() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let mut tagged = task("ping", json!({}));
    tagged["tags"] = json!(["one"]);
    let plan = plays([
        json!({ "name": "One", "hosts": "web1", "tasks": [tagged] }),
        json!({ "name": "Two", "hosts": "web2", "tasks": [task("ping", json!({}))] }),
    ]);
    fleet.run(&plan).args(["-t", "one"]).ends(0);
    fleet.run(&plan).args(["-t", "one", "--require-all-success"]).ends(2);
    fleet.run(&plan).arg("--require-all-success").ends(0);
}

#[test]
fn the_report_file_tells_everything_and_the_log_file_keeps_it() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let plan = play([shell("echo out; echo err >&2; test {{ inventory_hostname }} = web1")]);
    let files = ["--report-file", "report.json", "--log-file", "run.log"];
    fleet.run(&plan).args(files).ends(2);
    let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
    let summary = &report["summary"];
    assert_eq!(
        (&summary["total_hosts"], &summary["failed_hosts"], &summary["successful_tasks"]),
        (&2.into(), &1.into(), &1.into())
    );
    let result = report["task_results"].as_array().unwrap().iter().find(|result| result["host"] == "web2").unwrap();
    assert_eq!(
        (&result["status"], &result["stdout"], &result["stderr"], &result["return_code"]),
        (&"failed".into(), &"out".into(), &"err".into(), &1.into())
    );
    assert_eq!(report["failures"].as_array().unwrap().len(), 1);
    let metrics = &report["performance_metrics"];
    assert!(metrics.as_object().unwrap().values().all(|metric| !metric.is_null()), "{metrics:#}");
    assert!(report["start_time"].as_str().unwrap() < report["end_time"].as_str().unwrap());
    let log = fs::read_to_string(fleet.path().join("run.log")).unwrap();
    for part in ["TASK [echo out", "connected: [web1]", "changed: [web1]", "fatal: [web2]: FAILED!", "PLAY RECAP"] {
        assert!(log.contains(part), "no `{part}` in:\n{log}");
    }
    let mode = fs::metadata(fleet.path().join("report.json")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "results may hold what is nobody else's business");
}

#[test]
fn progress_as_json_is_one_event_a_line() {
    let fleet = Fleet::start(&["web1"]);
    let ended = fleet.run(&ping()).args(["--progress", "json"]).ends(0);
    let events: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "run_started",
            "playbook_started",
            "play_started",
            "batch_started",
            "task_started",
            "host_connected",
            "host_started",
            "host_finished",
            "batch_finished",
            "play_finished",
            "run_finished"
        ]
    );
    for mode in ["never", "always", "auto"] {
        assert_eq!(fleet.run(&ping()).args(["--progress", mode]).ends(0).results(), ["ok: [web1]"]);
    }
}

#[test]
fn more_is_said_with_each_v() {
    let fleet = Fleet::start(&["web1"]);
    let said = |args: &[&str]| fleet.run(&ping()).args(args).ends(0).stdout;
    assert!(!said(&[]).contains("pong"));
    assert!(said(&["-v"]).contains(r#"ok: [web1] => {"changed": false, "ping": "pong"}"#));
    assert!(said(&["-vvv"]).contains("    \"ping\": \"pong\"\n"));
}

#[test]
fn custom_modules_are_programs_that_get_json_and_print_json() {
    let fleet = Fleet::start(&["web1"]);
    let modules = fleet.path().join("modules");
    fs::create_dir(&modules).unwrap();
    script(
        &modules.join("greet"),
        "#!/bin/sh\n# WANT_JSON\nname=$(sed 's/.*\"name\": *\"\\([a-z]*\\)\".*/\\1/' \"$1\")\necho '{\"changed\": true, \"msg\": \"hello '$name'\"}'\n",
    );
    script(&modules.join("mumble"), "#!/bin/sh\necho this is no JSON\n");
    fs::copy("/bin/true", modules.join("silent")).unwrap();
    fs::write(modules.join("notes.txt"), "no module\n").unwrap();
    let plan = play([task("greet", json!({ "name": "bob" }))]);
    let ended = fleet.run(&plan).args(["--module-path", "modules", "-v"]).ends(0);
    assert!(ended.stdout.contains("hello bob"), "{}", ended.stdout);
    let ended = fleet.run(&plan).env("RUSTLE_MODULE_PATH", &modules).arg("-v").ends(0);
    assert!(ended.stdout.contains("hello bob"), "{}", ended.stdout);
    for module in ["mumble", "silent"] {
        let ended = fleet.run(&play([task(module, json!({}))])).arg("-M").arg(&modules).ends(2);
        assert!(ended.recap("web1").contains("unreachable=0 failed=1"), "{}", ended.stdout);
    }
}

#[test]
fn facts_are_gathered_when_wanted_and_kept_where_asked() {
    let fleet = Fleet::start(&["web1"]);
    let plan = play([task("debug", json!({ "msg": "runs {{ ansible_system }}" }))]);
    let cache = ["--facts-cache", "facts"];
    let ended = fleet.run(&plan).args(cache).ends(0);
    assert!(ended.stdout.contains("TASK [Gathering Facts]") && ended.stdout.contains("runs Linux"), "{}", ended.stdout);
    let ended = fleet.run(&plan).args(cache).arg("--gather-facts=never").ends(0);
    assert!(!ended.stdout.contains("Gathering") && ended.stdout.contains("runs Linux"), "{}", ended.stdout);
    fleet.run(&plan).arg("--gather-facts=never").ends(2);
    assert!(fleet.run(&ping()).arg("--gather-facts").ends(0).stdout.contains("TASK [Gathering Facts]"));
    assert!(!fleet.run(&ping()).ends(0).stdout.contains("Gathering"), "no task mentions a fact");
}

#[test]
fn received_files_go_when_a_run_fails_that_is_to_clean_up() {
    let fleet = Fleet::start(&["web1"]);
    fs::write(fleet.path().join("big"), vec![7; 300_000]).unwrap();
    let plan =
        |end: &str| play([task("copy", json!({ "src": "big", "dest": fleet.path().join("copied") })), shell(end)]);
    let kept = || {
        let blobs = fleet.path().join("hosts/web1/state/blobs");
        fs::read_dir(blobs)
            .map_or(0, |blobs| blobs.flatten().filter(|blob| blob.metadata().is_ok_and(|meta| meta.is_file())).count())
    };
    fleet.run(&plan("false")).ends(2);
    assert_eq!(kept(), 1, "without the option a file is kept for the next run");
    fleet.run(&plan("true")).arg("--cleanup-on-failure").ends(0);
    assert_eq!(kept(), 1, "nothing failed");
    fleet.run(&plan("false")).arg("--cleanup-on-failure").ends(2);
    rustle_tests::eventually("the files are gone", || (kept() == 0).then_some(()));
}

#[test]
fn extra_variables_come_in_every_form_and_the_last_one_wins() {
    let fleet = Fleet::builder().inventory("[all:vars]\na=inventory\n").start(&["web1"]);
    fs::write(fleet.path().join("vars.yml"), "a: yaml\nb: [1, 2]\n").unwrap();
    fs::write(fleet.path().join("vars.json"), "{\"a\": \"json\"}").unwrap();
    let plan = play([task("debug", json!({ "msg": "{{ a }} {{ b | default('-') }} {{ c | default('-') }}" }))]);
    let said = |args: &[&str]| {
        let ended = fleet.run(&plan).args(args.iter().flat_map(|arg| ["-e", arg])).ends(0);
        let line = ended.stdout.lines().find(|line| line.contains("\"msg\"")).unwrap().trim().to_owned();
        line.replace("\"msg\": ", "")
    };
    assert_eq!(said(&[]), r#""inventory - -""#);
    assert_eq!(said(&["a=flag c='two words'"]), r#""flag - two words""#);
    assert_eq!(said(&[r#"{"a": "inline", "c": 3}"#]), r#""inline - 3""#);
    assert_eq!(said(&["{a: flow, c: 4}"]), r#""flow - 4""#);
    assert_eq!(said(&["@vars.yml"]), r#""yaml [1, 2] -""#);
    assert_eq!(said(&["@vars.yml", "@vars.json", "c=last"]), r#""json [1, 2] last""#);
    let piped = fleet.run(&plan).args(["-e", "@/dev/stdin"]).stdin("a: piped\n").ends(0);
    assert!(piped.stdout.contains("piped - -"), "{}", piped.stdout);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let fleet = Fleet::start(&["web1"]);
    fs::write(fleet.path().join("config.toml"), "[executor]\nforks = 7\n").unwrap();
    let forks = |run: Run| started(run)["forks"].as_u64().unwrap();
    let run = || fleet.run(&ping());
    assert_eq!(forks(run()), 50);
    assert_eq!(forks(run().args(["--config", "config.toml"])), 7);
    assert_eq!(forks(run().env("RUSTLE_CONFIG", "config.toml")), 7);
    assert_eq!(forks(run().args(["--config", "config.toml"]).env("RUSTLE_FORKS", "8")), 8);
    assert_eq!(forks(run().args(["--config", "config.toml", "-f", "9"]).env("RUSTLE_FORKS", "8")), 9);
    fs::create_dir_all(fleet.path().join(".config/rustle-exec")).unwrap();
    fs::copy(fleet.path().join("config.toml"), fleet.path().join(".config/rustle-exec/config.toml")).unwrap();
    assert_eq!(forks(run()), 7, "the user's own file is found without being named");
}

#[test]
fn every_section_of_the_configuration_file_is_heeded() {
    let fleet = Fleet::start(&["web1"]);
    fs::create_dir(fleet.path().join("modules")).unwrap();
    script(&fleet.path().join("modules/hello"), "#!/bin/sh\necho '{\"changed\": false, \"msg\": \"hello\"}'\n");
    let config = format!(
        "[executor]\ninventory = ['{0}/hosts.ini']\nidentity = '{0}/controller'\nretries = 0\n\
         [modules]\npath = ['{0}/modules']\n\
         [reporting]\nreport_file = '{0}/report.json'\nverbosity = 1\nprogress = 'never'\n\
         [performance]\nconnects = 2\nidle_s = 4\nkeep_alive_s = 1\n",
        fleet.path().display()
    );
    fs::write(fleet.path().join("config.toml"), config).unwrap();
    let plan = fleet.write_plan(&play([task("hello", json!({}))]));
    let ended = Run::new(fleet.path()).args(["--config", "config.toml"]).arg(plan).ends(0);
    assert!(ended.stdout.contains(r#""msg": "hello""#), "{}", ended.stdout);
    assert!(fleet.path().join("report.json").exists());
}

#[test]
fn the_environment_sets_time_out_and_log_level() {
    let fleet = Fleet::start(&["web1"]);
    let ended = fleet.run(&play([shell("sleep 1000")])).env("RUSTLE_EXEC_TIMEOUT", "1").ends(2);
    assert!(ended.stdout.contains("Timed out after 1 second(s)"), "{}", ended.stdout);
    assert_eq!(fleet.run(&ping()).ends(0).stderr, "");
    assert_ne!(fleet.run(&ping()).env("RUSTLE_LOG_LEVEL", "trace").ends(0).stderr, "");
}

#[test]
fn a_plan_is_read_from_standard_input() {
    let fleet = Fleet::start(&["web1"]);
    assert_eq!(fleet.exec().arg("-").stdin(ping().to_string()).ends(0).results(), ["ok: [web1]"]);
}

#[test]
fn what_a_planner_lost_comes_back_with_the_parsed_playbook() {
    let fleet = Fleet::start(&["web1"]);
    let parsed = play([
        json!({ "id": "task_0", "name": "Fail", "module": "command", "args": { "_raw_params": "false" }, "ignore_errors": true }),
    ]);
    fs::write(fleet.path().join("parsed.json"), parsed.to_string()).unwrap();
    let plan = plays([json!({ "play_id": "play-0", "name": "Play", "hosts": ["web1"], "batches": [
        { "batch_id": "batch-0", "hosts": ["web1"], "tasks": [{ "task_id": "task_0", "name": "Fail", "module": "command",
          "args": { "_raw_params": "false" }, "execution_order": 0 }] }] })]);
    fleet.run(&plan).ends(2);
    let ended = fleet.run(&plan).args(["--parsed", "parsed.json"]).ends(0);
    assert!(ended.recap("web1").ends_with("ignored=1"), "{}", ended.stdout);
}

/// A schema that the program prints.
fn schema(what: &str) -> Value {
    let home = tempfile::tempdir().unwrap();
    serde_json::from_str(&Run::new(home.path()).args(["schema", what]).ends(0).stdout).unwrap()
}

#[test]
fn reports_are_as_their_schema_says() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let content = json!({ "dest": fleet.path().join("file"), "content": "{{ inventory_hostname }}\n" });
    let mut looped = task("command", json!({ "_raw_params": "test {{ item }} = {{ inventory_hostname }}" }));
    (looped["loop_items"], looped["ignore_errors"]) = (json!(["web1", "web2"]), true.into());
    let tasks = [shell("test {{ inventory_hostname }} = web1"), task("copy", content), looped];
    fleet.run(&play(tasks)).args(["--diff", "--report-file", "report.json"]).ends(2);
    let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
    let results = report["task_results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["items"].is_array()), "a loop");
    assert!(results.iter().any(|result| result["items"].is_null()), "a task without one");
    assert!(results.iter().any(|result| result["diff"].is_object()), "a change");
    assert_eq!(differences(&schema("report"), &report), [""; 0]);
    let mut strange = report;
    strange["summary"]["total_tasks"] = "many".into();
    assert_eq!(differences(&schema("report"), &strange).len(), 1);
}

#[test]
fn plans_are_as_their_schemas_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (plan, printed) = (schema("plan"), schema("printed-plan"));
    let mut count = 0;
    for case in fs::read_dir(root.join("fixtures/rustle-plan")).unwrap() {
        for file in fs::read_dir(case.unwrap().path()).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("plan.") && name.ends_with(".json") {
                let document = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
                assert_eq!(differences(&plan, &document), [""; 0], "{}", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} plans");
    let home = tempfile::tempdir().unwrap();
    let example = |name: &str| root.join("../examples/playbooks").join(name);
    let playbooks = ["web_tier.yml", "rolling_upgrade.yml", "hardening.yml"].map(example);
    let ended = Run::new(home.path()).args(["plan", "-i"]).arg(example("hosts.ini")).args(playbooks).ends(0);
    assert_eq!(differences(&printed, &serde_json::from_str(&ended.stdout).unwrap()), [""; 0]);
}
