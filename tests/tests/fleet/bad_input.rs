//! Input that makes no sense: exit code 5, a sentence that says what and where, and no host touched.

use std::path::Path;

use rustle_tests::{Fleet, Run, play, plays, shell, task};
use serde_json::{Value, json};

/// A fleet that must not be bothered.
struct Untouched(Fleet);

impl Untouched {
    fn new() -> Untouched {
        Untouched(Fleet::start(&["web1", "web2"]))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What is said of a plan with this text.
    #[track_caller]
    fn of_text(&self, text: impl AsRef<[u8]>, args: &[&str]) -> String {
        let path = self.path().join("plan.json");
        std::fs::write(&path, text).unwrap();
        self.of(self.0.exec().args(args).arg("plan.json"))
    }

    #[track_caller]
    fn of_plan(&self, plan: &Value, args: &[&str]) -> String {
        self.of_text(plan.to_string(), args)
    }

    /// What is said of a task with these arguments.
    #[track_caller]
    fn of_task(&self, module: &str, args: Value) -> String {
        self.of_plan(&play([task(module, args)]), &[])
    }

    #[track_caller]
    fn of(&self, run: Run) -> String {
        let ended = run.ends(5);
        assert_eq!(ended.stdout, "", "a run began");
        for host in ["web1", "web2"] {
            assert!(!self.0.log(host).contains("controller"), "{host} was contacted:\n{}", self.0.log(host));
        }
        ended.without(self.path())
    }
}

/// A rustle-plan plan with one task in each batch; each batch with what it depends on.
fn batches(batches: &[(&str, &[&str])]) -> Value {
    let batch = |(order, (id, dependencies)): (usize, &(&str, &[&str]))| {
        json!({ "batch_id": id, "hosts": ["web1"], "dependencies": dependencies, "tasks": [
            { "task_id": format!("task_{order}"), "name": id, "module": "ping", "execution_order": order }
        ] })
    };
    let batches: Vec<_> = batches.iter().enumerate().map(batch).collect();
    plays([json!({ "play_id": "play-0", "name": "Play", "hosts": ["web1"], "batches": batches })])
}

#[test]
fn a_plan_that_is_not_json_is_told_with_line_and_column() {
    let fleet = Untouched::new();
    insta::assert_snapshot!(fleet.of_text("{\"plays\": [}", &[]), @"error: plan.json:1:12: not JSON: expected value");
    insta::assert_snapshot!(fleet.of_text("{\n  \"plays\": [\n", &[]), @"error: plan.json:3:1: not JSON: EOF while parsing a list");
    insta::assert_snapshot!(fleet.of_text("", &[]), @r"
    error: plan.json:1:1: empty, where a plan was expected
    hint: a plan is what rustle-plan or rustle-parse prints
    ");
    insta::assert_snapshot!(fleet.of_text(b"\xff\xfe", &[]), @"error: plan.json:1:1: not UTF-8 text");
    insta::assert_snapshot!(fleet.of_text("{}", &[]), @r"
    error: plan.json: JSON, but neither a plan of rustle-plan nor the output of rustle-parse
    hint: a plan has `plays` with `batches` in them
    ");
    insta::assert_snapshot!(fleet.of(fleet.0.exec().arg("nowhere.json")), @r"
    error: nowhere.json: cannot be read
      caused by: No such file or directory (os error 2)
    hint: check the path and that you may read it; `-` reads the plan from stdin
    ");
}

#[test]
fn a_plan_whose_dependencies_cannot_be_met_is_invalid() {
    let fleet = Untouched::new();
    let circle = batches(&[("a", &["b"]), ("b", &["a"])]);
    insta::assert_snapshot!(fleet.of_plan(&circle, &[]), @"error: plan.json: invalid plan: play `Play`: dependencies run in a circle: a > b > a");
    let unknown = batches(&[("a", &["z"])]);
    insta::assert_snapshot!(fleet.of_plan(&unknown, &[]), @"error: plan.json: invalid plan: play `Play`: batch `a` depends on `z`, which is no batch of the play");
    let mut circle = batches(&[("a", &[])]);
    circle["plays"][0]["batches"][0]["tasks"][0]["dependencies"] = json!(["task_0"]);
    insta::assert_snapshot!(fleet.of_plan(&circle, &[]), @"error: plan.json: invalid plan: play `Play`: dependencies run in a circle: task_0 > task_0");
    let mut unknown = batches(&[("a", &[])]);
    unknown["plays"][0]["batches"][0]["tasks"][0]["dependencies"] = json!(["task_9"]);
    insta::assert_snapshot!(fleet.of_plan(&unknown, &[]), @"error: plan.json: invalid plan: play `Play`: task `a` (task_0) depends on `task_9`, which is no task of the play");
}

#[test]
fn two_tasks_at_one_place_are_a_contradiction() {
    let fleet = Untouched::new();
    let mut plan = batches(&[("a", &[]), ("b", &[])]);
    plan["plays"][0]["batches"][1]["tasks"][0]["execution_order"] = 0.into();
    let said = fleet.of_plan(&plan, &[]);
    assert!(said.starts_with("error: plan.json: invalid plan: play `Play`: "), "{said}");
}

#[test]
fn a_host_of_the_plan_that_the_inventory_does_not_have_is_named() {
    let fleet = Untouched::new();
    let plan = batches(&[("a", &[])]).to_string().replace("web1", "web11");
    insta::assert_snapshot!(fleet.of_text(plan, &[]), @r"
    error: plan.json names host `web11`, which the inventory does not have
    hint: did you mean `web1`?
    ");
}

#[test]
fn an_empty_target_is_an_error_and_never_all() {
    let fleet = Untouched::new();
    let plan = play([task("ping", json!({}))]);
    insta::assert_snapshot!(fleet.of_plan(&plan, &["--limit", "nobody"]), @r"
    error: no host or group is called `nobody`
    hint: `rustle-exec inventory --graph` shows hosts and groups
    ");
    let said = fleet.of_plan(&plan, &["--limit", "web1:!web1"]);
    assert!(said.contains("web1:!web1"), "{said}");
    let said = fleet.of_plan(&plan, &["--limit", "web9*"]);
    assert!(said.contains("web9*"), "{said}");
    std::fs::write(fleet.path().join("empty.ini"), "# nobody\n").unwrap();
    let said = fleet.of(Run::new(fleet.path()).args(["-i", "empty.ini", "plan.json"]));
    assert!(said.contains("no play has a host") && said.contains("the inventory holds no host"), "{said}");
    let said = fleet.of(Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping", "-i", "hosts.ini", "-l", "db*"]));
    assert!(said.contains("db*"), "{said}");
    let nobody = plays([json!({ "name": "Nobody", "hosts": "absent", "tasks": [task("ping", json!({}))] })]);
    let said = fleet.of_plan(&nobody, &[]);
    assert!(said.contains("play `Nobody`"), "{said}");
}

#[test]
fn an_unknown_module_is_told_with_the_nearest_name() {
    let fleet = Untouched::new();
    insta::assert_snapshot!(fleet.of_task("pong", json!({})), @r"
    error: plan.json: play `Play`, task `pong`: there is no module `pong`
    hint: did you mean `ping`?
    ");
    insta::assert_snapshot!(fleet.of(fleet.0.adhoc("shel", "id")), @r"
    error: ad-hoc: play `Ad-hoc`, task `shel`: there is no module `shel`
    hint: did you mean `shell`?
    ");
}

#[test]
fn unknown_missing_and_ill_typed_arguments_are_told() {
    let fleet = Untouched::new();
    let said = fleet.of_task("file", json!({ "path": "/x", "stat": "touch" }));
    assert!(
        said.contains("task `file`: Unsupported parameters for (file) module: stat. Supported parameters include: ")
            && said.contains("Did you mean `state`?"),
        "{said}"
    );
    insta::assert_snapshot!(fleet.of_task("file", json!({ "state": "touch" })), @"error: plan.json: play `Play`, task `file`: missing required arguments: path");
    insta::assert_snapshot!(fleet.of_task("copy", json!({ "dest": "/x" })), @"error: plan.json: play `Play`, task `copy`: src (or content) is required");
    insta::assert_snapshot!(fleet.of_task("wait_for", json!({ "port": "many" })), @"error: plan.json: play `Play`, task `wait_for`: argument 'port' is of type str and we were unable to convert to int: \"'many'\" cannot be converted to an int");
    insta::assert_snapshot!(fleet.of_task("file", json!({ "path": "/x", "state": "tuch" })), @"error: plan.json: play `Play`, task `file`: value of state must be one of: absent, directory, file, hard, link, touch, got: tuch");
}

#[test]
fn every_problem_of_a_plan_is_told_at_once() {
    let fleet = Untouched::new();
    let plan = play([task("pong", json!({})), task("ping", json!({ "dat": 1 })), task("stat", json!({}))]);
    let said = fleet.of_plan(&plan, &[]);
    for part in ["`pong`: there is no module", "`ping`: Unsupported parameters", "`stat`: missing required arguments"] {
        assert!(said.contains(part), "no `{part}`:\n{said}");
    }
}

#[test]
fn options_that_make_no_sense_are_told() {
    let fleet = Untouched::new();
    let plan = play([task("ping", json!({}))]);
    let of = |args: &[&str]| fleet.of_plan(&plan, args);
    insta::assert_snapshot!(of(&["--forks", "0"]), @"error: --forks must be at least 1, not 0");
    insta::assert_snapshot!(of(&["--serial", "few"]), @"error: --serial: `few` is not a batch size: give a number such as 10 or a percentage such as 25%");
    insta::assert_snapshot!(of(&["-e", "[1]"]), @r"
    error: --extra-vars:1:1: Invalid extra vars data supplied. '[1]' could not be made into a dictionary
      1 | [1]
        | ^
    ");
    insta::assert_snapshot!(of(&["-e", "@nowhere"]), @r"
    error: nowhere: cannot be read
      caused by: No such file or directory (os error 2)
    hint: check the path and that you may read it
    ");
    insta::assert_snapshot!(of(&["--start-at-task", "pin"]), @r#"
    error: No matching task "pin" found. Note: --start-at-task can only follow static includes.
    hint: did you mean `ping`?
    "#);
    insta::assert_snapshot!(of(&["--log-level", "loud"]), @"error: log level `loud`: use error, warn, info, debug or trace");
    insta::assert_snapshot!(of(&["--module-path", "nowhere"]), @"error: --module-path nowhere: No such file or directory (os error 2)");
    insta::assert_snapshot!(of(&["--facts-cache", "plan.json/facts"]), @r"
    error: cannot keep facts in plan.json/facts
      caused by: Not a directory (os error 20)
    ");
    let said = of(&["--strategy", "zigzag"]);
    assert!(said.contains("invalid value 'zigzag' for '--strategy <STRATEGY>'"), "{said}");
    let said = of(&["--frok", "3"]);
    assert!(said.contains("unexpected argument '--frok'"), "{said}");
    let said = of(&["--report-file", "nowhere/report.json"]);
    assert!(said.starts_with("error: cannot write the report file nowhere/report.json"), "{said}");
    assert!(fleet.of(Run::new(fleet.path())).contains("<PLAN>"));
    let said = fleet.of(fleet.0.exec().env("RUSTLE_FORKS", "few").arg("plan.json"));
    assert!(said.contains("'few' for '--forks <N>'"), "{said}");
    assert!(said.contains("\nhint: the value is that of the environment variable RUSTLE_FORKS"), "{said}");
    let said = fleet.of(fleet.0.exec().env("RUSTLE_FORKS", "3").args(["--forks", "few", "plan.json"]));
    assert!(!said.contains("RUSTLE_FORKS"), "{said}");
    let said = fleet.of(fleet.0.exec().args(["adhoc", "all", "-m", "ping"]));
    assert!(said.contains("\nhint: if `adhoc` is the command that is meant, it goes before the options"), "{said}");
}

#[test]
fn an_unknown_key_of_the_configuration_file_is_named_with_its_line() {
    let fleet = Untouched::new();
    std::fs::write(fleet.path().join("config.toml"), "[executor]\nforkz = 3\n").unwrap();
    let said = fleet.of_plan(&play([shell("true")]), &["--config", "config.toml"]);
    assert!(
        said.contains("config.toml") && said.contains("line 2") && said.contains("unknown field `forkz`"),
        "{said}"
    );
    insta::assert_snapshot!(fleet.of(fleet.0.exec().args(["--config", "nowhere.toml", "plan.json"])), @r"
    error: cannot read the configuration file nowhere.toml
      caused by: No such file or directory (os error 2)
    ");
}

#[test]
fn a_playbook_for_this_machine_alone_misses_no_inventory_and_others_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("here.yml"), "- hosts: localhost\n  gather_facts: no\n  tasks: [{ping: }]\n")
        .unwrap();
    let both = "- hosts: localhost\n  gather_facts: no\n  tasks: [{ping: }]\n- hosts: web\n  tasks: [{ping: }]\n";
    std::fs::write(dir.path().join("both.yml"), both).unwrap();
    let run = |playbook: &str| Run::new(dir.path()).args(["-i", "nowhere.ini", playbook]);
    let here = run("here.yml").ends(0);
    assert!(here.recap("localhost").contains("ok=1"), "{here:?}");
    let said = format!("{}{}", here.stdout, here.stderr);
    assert!(said.contains("nowhere.ini: cannot be read; caused by: No such file or directory"), "{said}");
    assert!(said.contains("No inventory was parsed, only implicit localhost is available"), "{said}");
    let both = run("both.yml").ends(5);
    assert!(both.stderr.contains("error: nowhere.ini: cannot be read"), "{both:?}");
    assert!(!both.stdout.contains("PLAY"), "nothing was run: {both:?}");
    let adhoc = Run::new(dir.path()).args(["adhoc", "localhost", "-i", "nowhere.ini", "-m", "ping"]).ends(0);
    assert!(adhoc.stdout.contains("localhost | SUCCESS"), "{adhoc:?}");
    assert!(adhoc.stderr.contains("[WARNING]: nowhere.ini: cannot be read"), "{adhoc:?}");
    let asked = Run::new(dir.path()).args(["inventory", "-i", "nowhere.ini", "--list"]).ends(0);
    assert!(asked.stdout.contains("\"ungrouped\""), "{asked:?}");
    assert!(asked.stderr.contains("[WARNING]: nowhere.ini: cannot be read"), "{asked:?}");
    // One that cannot be decrypted is not as good as none.
    let sealed = "$ANSIBLE_VAULT;1.1;AES256\n3130\n";
    std::fs::write(dir.path().join("sealed.yml"), sealed).unwrap();
    for arguments in [&["inventory", "-i", "sealed.yml", "--list"][..], &["-i", "sealed.yml", "here.yml"]] {
        let ended = Run::new(dir.path()).args(arguments).ends(5);
        assert!(ended.stderr.contains("error: sealed.yml: not text of ansible-vault"), "{ended:?}");
    }
    // A variable that is encrypted is asked for only where it is needed.
    let variable =
        format!("all:\n  hosts:\n    web1:\n      word: !vault |\n        {}", sealed.replace('\n', "\n        "));
    std::fs::write(dir.path().join("variable.yml"), variable).unwrap();
    for arguments in [&["inventory", "-i", "variable.yml", "--list"][..], &["-i", "variable.yml", "here.yml"]] {
        Run::new(dir.path()).args(arguments).ends(0);
    }
}

#[test]
fn an_inventory_that_cannot_be_read_is_told_with_its_place() {
    let fleet = Untouched::new();
    let of = |text: &str, name: &str| {
        std::fs::write(fleet.path().join(name), text).unwrap();
        fleet.of(Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping", "-i", name]))
    };
    let said = of("[web\nweb1\n", "broken.ini");
    assert!(said.contains("broken.ini:1"), "{said}");
    let said = of("all:\n  hosts:\n    web1\n   x: [", "broken.yml");
    assert!(said.contains("broken.yml:"), "{said}");
    let said = of("../../etc/passwd\n", "traversal.ini");
    assert!(said.contains("../../etc/passwd"), "{said}");
    let said = fleet.of(Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping", "-i", "nowhere.ini"]));
    assert!(said.contains("nowhere.ini: cannot be read"), "{said}");
    let said = fleet.of(Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping"]));
    assert!(said.contains("no inventory"), "{said}");
}

#[test]
fn a_controller_without_an_identity_is_told_how_to_get_one() {
    let fleet = Untouched::new();
    let said = fleet.of(Run::new(fleet.path()).args(["adhoc", "all", "-m", "ping", "-i", "hosts.ini"]));
    assert!(
        said.contains("[DIR]/.config/rustle-exec/identity") && said.contains("hint: `rustle-exec pki issue"),
        "{said}"
    );
}

#[test]
fn nothing_is_read_from_the_working_directory_that_was_not_named() {
    let fleet = Fleet::start(&["web1"]);
    for name in ["config.toml", "rustle-exec.toml", "ansible.cfg", ".rustle-exec.toml"] {
        std::fs::write(fleet.path().join(name), "[executor]\nnonsense = true\n").unwrap();
    }
    std::fs::create_dir(fleet.path().join("library")).unwrap();
    std::fs::write(fleet.path().join("library/ping"), "#!/bin/sh\nexit 1\n").unwrap();
    assert_eq!(fleet.run(&play([task("ping", json!({}))])).ends(0).results(), ["ok: [web1]"]);
}
