//! The rules of who does what when, each seen once with real agents. That they hold for every order of events is shown
//! by the scheduler's own property tests.

use std::fs;
use std::path::{Path, PathBuf};

use rustle_tests::{Fleet, named, play, plays, processes_with, shell};
use serde_json::{Value, json};

/// A file that hosts write a line into, in the order in which they come.
struct Order(PathBuf);

impl Order {
    fn in_dir(dir: &Path) -> Order {
        Order(dir.join("order"))
    }

    fn task(&self, name: &str) -> Value {
        named(name, shell(&format!("echo {name} {{{{ inventory_hostname }}}} >> {}", self.0.display())))
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let _ = fs::remove_file(&self.0);
        text.lines().map(str::to_owned).collect()
    }
}

/// A shell command that waits for a file.
fn wait_for(file: &Path) -> String {
    format!("until test -e {}; do sleep 0.02; done", file.display())
}

/// web1 cannot end `slow` before web2 has begun `next`.
fn overtaking(dir: &Path) -> Value {
    let passed = dir.join("passed");
    let slow = format!("test {{{{ inventory_hostname }}}} = web2 || {}", wait_for(&passed));
    play([named("slow", shell(&slow)), named("next", shell(&format!("touch {}", passed.display())))])
}

#[test]
fn no_more_hosts_than_forks_work_at_once() {
    let fleet = Fleet::start(&["h1", "h2", "h3", "h4", "h5"]);
    for folder in ["begun", "running", "seen"] {
        fs::create_dir(fleet.path().join(folder)).unwrap();
    }
    // Two must be at work at once for the first to end; how many are is written down.
    let command = format!(
        "cd {}; touch running/{{{{ inventory_hostname }}}} begun/{{{{ inventory_hostname }}}}; \
         until test $(ls begun | wc -l) -ge 2; do sleep 0.02; done; ls running | wc -l > seen/{{{{ inventory_hostname }}}}; \
         rm running/{{{{ inventory_hostname }}}}",
        fleet.path().display()
    );
    for strategy in ["linear", "free", "host_pinned", "batch"] {
        let run = fleet.run(&play([named("work", shell(&command))])).args(["-f", "2", "--strategy", strategy]);
        run.args(["--report-file", "report.json"]).ends(0);
        for seen in fs::read_dir(fleet.path().join("seen")).unwrap() {
            let seen: u32 = fs::read_to_string(seen.unwrap().path()).unwrap().trim().parse().unwrap();
            assert!(seen <= 2, "{seen} hosts at once with {strategy}");
        }
        let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(report["performance_metrics"]["peak_concurrency"], 2, "{strategy}");
        fs::remove_dir_all(fleet.path().join("begun")).unwrap();
        fs::create_dir(fleet.path().join("begun")).unwrap();
    }
}

#[test]
fn serial_batches_go_one_after_the_other_through_the_whole_play() {
    let fleet = Fleet::start(&["h1", "h2", "h3", "h4", "h5"]);
    let order = Order::in_dir(fleet.path());
    let plan = play([order.task("a"), order.task("b")]);
    let batches = |serial: &str| {
        fleet.run(&plan).args(["--serial", serial]).ends(0);
        let of = |line: &String| ["h1", "h2", "h3", "h4", "h5"].iter().position(|host| line.ends_with(host)).unwrap();
        order.lines().iter().map(of).collect::<Vec<_>>()
    };
    let in_batches = |hosts: &[usize], sizes: &[usize]| {
        let (mut at, mut first) = (0, 0);
        for size in sizes {
            assert!(hosts[at..at + 2 * size].iter().all(|host| (first..first + size).contains(host)), "{hosts:?}");
            (at, first) = (at + 2 * size, first + size);
        }
    };
    in_batches(&batches("2"), &[2, 2, 1]);
    in_batches(&batches("40%"), &[2, 2, 1]);
    in_batches(&batches("1,3"), &[1, 3, 1]);
}

#[test]
fn linear_holds_everybody_until_all_are_through_a_task() {
    let fleet = Fleet::start(&["web1", "web2", "web3"]);
    let order = Order::in_dir(fleet.path());
    fleet.run(&play([order.task("a"), order.task("b")])).args(["--strategy", "linear"]).ends(0);
    let tasks: Vec<_> = order.lines().iter().map(|line| line[..1].to_owned()).collect();
    assert_eq!(tasks, ["a", "a", "a", "b", "b", "b"]);
}

#[test]
fn linear_lets_nobody_overtake() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let ended = fleet.run(&overtaking(fleet.path())).args(["--strategy", "linear", "--timeout", "2"]).ends(2);
    assert!(ended.recap("web1").contains("ok=0"), "{}", ended.stdout);
    assert!(ended.recap("web2").contains("ok=2"), "{}", ended.stdout);
}

#[test]
fn free_host_pinned_and_batch_let_a_fast_host_overtake_a_slow_one() {
    for strategy in ["free", "host_pinned", "batch"] {
        let fleet = Fleet::start(&["web1", "web2"]);
        fleet.run(&overtaking(fleet.path())).args(["--strategy", strategy]).ends(0);
    }
}

#[test]
fn a_pinned_host_keeps_its_slot_until_it_is_through() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let order = Order::in_dir(fleet.path());
    fleet.run(&play([order.task("a"), order.task("b")])).args(["--strategy", "host_pinned", "-f", "1"]).ends(0);
    assert_eq!(order.lines(), ["a web1", "b web1", "a web2", "b web2"]);
}

#[test]
fn a_rolling_play_stops_at_the_first_bad_batch() {
    let fleet = Fleet::start(&["web1", "web2", "web3"]);
    let order = Order::in_dir(fleet.path());
    let plan = play([order.task("a"), named("b", shell("test {{ inventory_hostname }} != web2"))]);
    fleet.run(&plan).args(["--strategy", "rolling", "--serial", "1"]).ends(2);
    assert_eq!(order.lines(), ["a web1", "a web2"]);
}

#[test]
fn a_failed_host_leaves_and_the_others_go_on() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let order = Order::in_dir(fleet.path());
    let fails = named("fails", shell("test {{ inventory_hostname }} = web2"));
    let ended = fleet.run(&plays([
        json!({ "name": "One", "hosts": "all", "tasks": [fails, order.task("a")] }),
        json!({ "name": "Two", "hosts": "all", "tasks": [order.task("b")] }),
    ]));
    let ended = ended.ends(2);
    assert_eq!(order.lines(), ["a web2", "b web2"], "{}", ended.stdout);
}

#[test]
fn more_failures_than_max_fail_percentage_end_the_run() {
    let fleet = Fleet::start(&["h1", "h2", "h3", "h4"]);
    let order = Order::in_dir(fleet.path());
    let fails =
        |hosts: &str| named("fails", shell(&format!("case {hosts} in *{{{{ inventory_hostname }}}}*) exit 1;; esac")));
    let plan = |hosts: &str| {
        plays([
            json!({ "name": "Play", "hosts": "all", "max_fail_percentage": 25, "tasks": [fails(hosts), order.task("a")] }),
        ])
    };
    fleet.run(&plan("h1")).ends(2);
    assert_eq!(order.lines().len(), 3, "a quarter may fail");
    fleet.run(&plan("h1h2")).ends(2);
    assert_eq!(order.lines().len(), 0, "half may not");
}

#[test]
fn handlers_run_once_at_the_end_for_hosts_that_changed_something() {
    let fleet = Fleet::start(&["web1", "web2"]);
    let order = Order::in_dir(fleet.path());
    let mut first = named("first", shell("true"));
    first["changed_when"] = "inventory_hostname == 'web1'".into();
    first["notify"] = json!(["second handler", "first handler"]);
    let mut again = first.clone();
    again["name"] = "again".into();
    let plan = plays([json!({ "name": "Play", "hosts": "all", "tasks": [first, again, order.task("last")],
        "handlers": [order.task("first handler"), order.task("second handler")] })]);
    let plan =
        plan.to_string().replace("echo first handler", "echo first").replace("echo second handler", "echo second");
    let ended = fleet.run(&serde_json::from_str(&plan).unwrap()).ends(0);
    let mut lines = order.lines();
    lines[..2].sort();
    assert_eq!(lines, ["last web1", "last web2", "first web1", "second web1"], "{}", ended.stdout);
}

#[test]
fn a_task_past_its_time_is_killed_with_everything_it_started() {
    let fleet = Fleet::start(&["web1"]);
    let mark = format!("mark-{}", fleet.path().file_name().unwrap().to_string_lossy());
    let command = format!("sh -c 'sleep 1000; : {mark}' & sh -c 'sleep 1000; : {mark}'");
    let ended = fleet.run(&play([shell(&command)])).args(["--timeout", "1"]).ends(2);
    assert!(ended.stdout.contains("Timed out after 1 second(s); the task was stopped"), "{}", ended.stdout);
    assert_eq!(processes_with(&mark), Vec::<u32>::new());
}

#[test]
fn fail_fast_kills_what_runs_on_other_hosts() {
    let fleet = Fleet::start(&["web1", "web2", "web3"]);
    let mark = format!("mark-{}", fleet.path().file_name().unwrap().to_string_lossy());
    let dir = fleet.path().display();
    // web1 fails once both others are at work.
    let command = format!(
        "if test {{{{ inventory_hostname }}}} = web1; then until test -e {dir}/web2 -a -e {dir}/web3; do sleep 0.02; done; exit 1; fi; \
         touch {dir}/{{{{ inventory_hostname }}}}; sleep 1000 & sleep 1000; : {mark}"
    );
    let plan = play([named("work", shell(&command)), named("after", shell(&format!("touch {dir}/after")))]);
    let ended = fleet.run(&plan).args(["--fail-fast", "--report-file", "report.json"]).ends(2);
    for host in ["web2", "web3"] {
        assert!(ended.stdout.contains(&format!("fatal: [{host}]: CANCELLED!")), "{}", ended.stdout);
        assert!(
            !ended.stdout.contains(&format!("ok: [{host}]")) && !ended.stdout.contains(&format!("changed: [{host}]"))
        );
        assert!(ended.recap(host).ends_with("cancelled=1"), "{}", ended.stdout);
    }
    assert_eq!(processes_with(&mark), Vec::<u32>::new(), "processes left on hosts");
    assert!(!fleet.path().join("after").exists(), "something was started after the failure");
    let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["summary"]["cancelled_hosts"], 2);
}

#[test]
fn any_errors_fatal_ends_the_run_once_the_task_is_through_everywhere() {
    let fleet = Fleet::start(&["web1", "web2", "web3"]);
    let order = Order::in_dir(fleet.path());
    let fails_on_web1 = || named("fails", shell("test {{ inventory_hostname }} != web1"));
    let fatal = json!({ "any_errors_fatal": true });
    let with = |mut of: Value, keywords: &Value| {
        of["keywords"] = keywords.clone();
        of
    };
    let next_play = || json!({ "name": "Next", "hosts": "all", "tasks": [order.task("b")] });
    let first = |tasks: [Value; 2]| json!({ "name": "First", "hosts": "all", "tasks": tasks });
    for plan in [
        plays([first([with(fails_on_web1(), &fatal), order.task("a")]), next_play()]),
        plays([with(first([fails_on_web1(), order.task("a")]), &fatal), next_play()]),
    ] {
        let ended = fleet.run(&plan).ends(2);
        assert!(order.lines().is_empty(), "something ran after the failure");
        for host in ["web2", "web3"] {
            assert!(ended.recap(host).contains("ok=1 changed=1 unreachable=0 failed=0"), "{}", ended.stdout);
        }
        assert!(ended.stdout.contains("STOPPED: a task failed with any_errors_fatal"), "{}", ended.stdout);
    }
    let without = plays([first([fails_on_web1(), order.task("a")]), next_play()]);
    fleet.run(&without).ends(2);
    assert_eq!(order.lines().len(), 4);
}
