//! What happens when things go wrong in the middle.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Fleet, Run, Running, eventually, is_root, named, play, processes_with, shell, task};
use serde_json::{Value, json};

/// A fleet on which a task runs until it is told to end.
struct Busy {
    fleet: Fleet,
    go: PathBuf,
    mark: String,
}

impl Busy {
    /// Agents that notice within two seconds that a controller is gone.
    fn new(hosts: &[&str]) -> Busy {
        let fleet = Fleet::builder().config("idle_s = 2\n").start(hosts);
        fs::write(fleet.path().join("quick.toml"), "[performance]\nidle_s = 2\nkeep_alive_s = 1\n").unwrap();
        let mark = format!("mark-{}", fleet.path().file_name().unwrap().to_string_lossy());
        Busy { go: fleet.path().join("go"), fleet, mark }
    }

    /// Starts the task and waits until it runs on every host.
    fn start(&self, hosts: &[&str], run: impl FnOnce(Run) -> Run) -> Running {
        let dir = self.fleet.path().display();
        let command = format!(
            "touch {dir}/begun-{{{{ inventory_hostname }}}}; until test -e {}; do sleep 0.05; : {}; done; \
             touch {dir}/done-{{{{ inventory_hostname }}}}",
            self.go.display(),
            self.mark
        );
        let running = run(self.fleet.run(&play([named("work", shell(&command))]))).start();
        for host in hosts {
            let begun = self.fleet.path().join(format!("begun-{host}"));
            eventually(&format!("the task runs on {host}: {}", running.output()), || begun.exists().then_some(()));
        }
        running
    }

    fn is_done(&self, host: &str) -> bool {
        self.fleet.path().join(format!("done-{host}")).exists()
    }

    /// The shells of the task that are alive.
    fn alive(&self) -> Vec<u32> {
        processes_with(&format!(": {}; done", self.mark))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Whatever still waits is to end with the test.
        let _ = fs::write(&self.go, "");
        if !std::thread::panicking() {
            eventually("no task is left", || self.alive().is_empty().then_some(()));
        }
    }
}

#[test]
fn an_agent_that_is_killed_makes_its_host_unreachable_and_the_outcome_unknown() {
    let mut busy = Busy::new(&["web1", "web2"]);
    let running = busy.start(&["web1", "web2"], |run| run.args(["--config", "quick.toml"]));
    busy.fleet.signal("web1", Signal::KILL);
    busy.fleet.wait_for_end("web1");
    running.wait_for("fatal: [web1]: UNREACHABLE!");
    fs::write(&busy.go, "").unwrap();
    let ended = running.finish().expect_code(4);
    assert!(ended.stdout.contains("the task may have begun, so what it did is unknown"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("changed: [web1]") && ended.stdout.contains("changed: [web2]"), "{}", ended.stdout);
}

#[test]
fn when_the_controller_is_killed_the_agent_finishes_the_task() {
    let busy = Busy::new(&["web1"]);
    let running = busy.start(&["web1"], |run| run);
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, -9);
    let broke = || busy.fleet.log("web1").contains("call stream broke while a call ran").then_some(());
    eventually("the agent noticed", broke);
    assert!(!busy.is_done("web1") && !busy.alive().is_empty(), "the task goes on");
    fs::write(&busy.go, "").unwrap();
    eventually("the task ends", || busy.is_done("web1").then_some(()));
}

#[test]
fn when_the_controller_is_killed_the_agent_kills_the_task_if_told_so() {
    let busy = Busy::new(&["web1"]);
    fs::write(busy.fleet.path().join("cancel.toml"), "[executor]\non_disconnect = 'cancel'\ndisconnect_grace = 0\n")
        .unwrap();
    let running = busy.start(&["web1"], |run| run.args(["--config", "cancel.toml"]));
    assert!(!busy.alive().is_empty());
    running.signal(Signal::KILL);
    drop(running);
    eventually("the task is killed", || busy.alive().is_empty().then_some(()));
    assert!(!busy.is_done("web1"));
    assert_eq!(busy.fleet.adhoc("ping", "").ends(0).answers(), ["web1 | SUCCESS"], "the agent itself is well");
}

#[test]
fn ctrl_c_once_shows_where_the_run_stands() {
    let busy = Busy::new(&["web1", "web2"]);
    let running = busy.start(&["web1", "web2"], |run| run);
    running.signal(Signal::INT);
    running.wait_for("2 hosts: 2 running");
    running.wait_for("waiting for web1: work");
    fs::write(&busy.go, "").unwrap();
    let ended = running.finish().expect_code(0);
    assert!(ended.stderr.contains("play [Play], task [work]"), "{}", ended.stderr);
}

#[test]
fn ctrl_c_twice_within_a_second_cancels_everything_on_the_hosts() {
    let busy = Busy::new(&["web1", "web2"]);
    let mut running = busy.start(&["web1", "web2"], |run| run);
    // Pressed until it ends: any two that arrive within a second are enough.
    eventually("the run ends", || {
        let over = running.is_over();
        if !over {
            running.signal(Signal::INT);
        }
        over.then_some(())
    });
    let ended = running.finish().expect_code(130);
    for host in ["web1", "web2"] {
        assert!(ended.stdout.contains(&format!("fatal: [{host}]: CANCELLED!")), "{}", ended.stdout);
        assert!(!busy.is_done(host));
    }
    assert_eq!(busy.alive(), Vec::<u32>::new(), "processes left on hosts");
    assert!(ended.stdout.contains("cancelled by the operator"), "{}", ended.stdout);
}

#[test]
fn with_batch_one_ctrl_c_is_final() {
    let busy = Busy::new(&["web1"]);
    let running = busy.start(&["web1"], |run| run.arg("--batch"));
    running.signal(Signal::INT);
    let ended = running.finish().expect_code(130);
    assert!(!ended.stderr.contains("STATUS"), "{}", ended.stderr);
    assert_eq!(busy.alive(), Vec::<u32>::new(), "processes left on hosts");
}

#[test]
fn sigterm_cancels_at_once() {
    let busy = Busy::new(&["web1"]);
    let running = busy.start(&["web1"], |run| run);
    running.signal(Signal::TERM);
    running.finish().expect_code(130);
    assert_eq!(busy.alive(), Vec::<u32>::new(), "processes left on hosts");
}

#[test]
fn two_controllers_work_on_one_agent_at_once() {
    let fleet = Fleet::start(&["web1"]);
    let meet = |own: &str, other: &str| {
        let dir = fleet.path().display();
        let command = format!("touch {dir}/{own}; until test -e {dir}/{other}; do sleep 0.02; done");
        fleet.run(&play([shell(&command)])).start()
    };
    let (alice, bob) = (meet("alice", "bob"), meet("bob", "alice"));
    alice.finish().expect_code(0);
    bob.finish().expect_code(0);
}

#[test]
fn a_flood_of_output_is_cut_with_a_marker_in_bounded_memory() {
    const BOUND: u64 = 128 << 20;
    let fleet = Fleet::start(&["web1"]);
    let flood = named("flood", shell("echo first; yes | head -c 67108864; echo last"));
    fleet.run(&play([flood])).args(["--report-file", "report.json", "--log-file", "run.log", "-vv"]).ends(0);
    let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
    let stdout = report["task_results"][0]["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("first\ny\n") && stdout.ends_with("y\nlast"), "both ends are kept");
    assert!(stdout.contains(" bytes cut ...]\n") && stdout.len() <= 256 * 1024);
    assert!(
        report["performance_metrics"]["peak_memory"].as_u64().unwrap() < BOUND,
        "{}",
        report["performance_metrics"]
    );
    let status = fs::read_to_string(format!("/proc/{}/status", fleet.pid("web1"))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib * 1024 < BOUND, "the agent took {peak_kib} KiB");
}

#[test]
fn output_that_is_no_text_and_sequences_for_terminals_do_no_harm() {
    let fleet = Fleet::start(&["web1"]);
    let output = named("output", shell(r"printf 'a\377b\033[31mred\007\033]52;c;aGk=\007'"));
    let ended = fleet.run(&play([output])).args(["-v", "--report-file", "report.json"]).ends(0);
    assert!(!ended.stdout.contains(['\u{1b}', '\u{7}']), "{:?}", ended.stdout);
    assert!(ended.stdout.contains(r"\u001b[31mred"), "{}", ended.stdout);
    let report: Value = serde_json::from_slice(&fs::read(fleet.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["task_results"][0]["stdout"], "a\u{fffd}b\u{1b}[31mred\u{7}\u{1b}]52;c;aGk=\u{7}");
}

#[test]
fn what_a_host_says_is_never_evaluated() {
    let fleet = Fleet::start(&["web1"]);
    let evil = "{{ lookup('pipe', 'touch evaluated') }}";
    fs::write(fleet.path().join("evil"), evil).unwrap();
    let plan = play([
        named("read", shell(&format!("cat {}", fleet.path().join("evil").display()))),
        task("slurp", json!({ "src": fleet.path().join("evil") })),
    ]);
    let ended = fleet.run(&plan).arg("-v").ends(0);
    assert!(ended.stdout.contains(evil), "{}", ended.stdout);
    assert!(!fleet.path().join("evaluated").exists());
}

#[test]
fn a_module_that_the_agents_policy_forbids_is_a_failed_task() {
    let fleet = Fleet::builder().config("[policy]\nmodules_denied = ['shell']\n").start(&["web1"]);
    let ended = fleet.run(&play([shell("true")])).ends(2);
    assert!(ended.stdout.contains("module `shell` is not allowed by [policy] of this agent"), "{}", ended.stdout);
    assert_eq!(ended.recap("web1"), "web1 : ok=0 changed=0 unreachable=0 failed=1 skipped=0 rescued=0 ignored=0");
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    if !is_root() {
        eprintln!("skipped: a small file system takes root");
        return;
    }
    let fleet = Fleet::builder().overlay().start(&["web1"]);
    fs::write(fleet.path().join("big"), vec![b'x'; 4 << 20]).unwrap();
    let mount = "mkdir /tmp/small && mount -t tmpfs -o size=64k tmpfs /tmp/small && echo old > /tmp/small/file";
    fleet.run(&play([shell(mount)])).ends(0);
    let ended = fleet.run(&play([task("copy", json!({ "src": "big", "dest": "/tmp/small/file" }))])).ends(2);
    assert!(ended.stdout.to_lowercase().contains("no space left"), "{}", ended.stdout);
    let ended = fleet.run(&play([named("look", shell("cat /tmp/small/file; ls -A /tmp/small"))])).arg("-v").ends(0);
    assert!(ended.stdout.contains(r#""stdout": "old\nfile""#), "{}", ended.stdout);
}

#[test]
fn an_agent_whose_address_is_still_taken_when_it_comes_back_waits_for_it() {
    let mut fleet = Fleet::start(&["h1"]);
    fleet.signal("h1", Signal::KILL);
    fleet.wait_for_end("h1");
    // As a program has it that the agent was starting when it was killed.
    let held = std::net::UdpSocket::bind(fleet.address("h1")).unwrap();
    let log = fleet.path().join("hosts/h1/agent.log");
    let let_go = std::thread::spawn(move || {
        eventually("the agent has found its address taken", || {
            fs::read_to_string(&log).unwrap_or_default().contains("the address is taken").then_some(())
        });
        drop(held);
    });
    fleet.start_again("h1");
    let_go.join().unwrap();
    assert_eq!(fleet.adhoc("ping", "").ends(0).answers(), ["h1 | SUCCESS"]);
}
