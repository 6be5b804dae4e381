//! The benchmark of the main job: a lab of agents on this machine, five workloads, and beside each figure the floor
//! measured in the same run — what the work costs without any tool — and the CPU that each side takes for one task on one
//! host, without the programs that the tasks start.
//!
//!     cargo build --release && cargo bench -p rustle-tests --bench fleet
//!
//! `FLEET_HOSTS` (100), `FLEET_RUNS` (5) and `FLEET_CONNECTS` (1000; 0 leaves it out) change its size. Nothing is
//! asserted: machines differ, and this one may be busy. What the lines say is the ratio.

#![expect(clippy::print_stdout, reason = "a benchmark's answer is what it prints")]

mod bare;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rustle_agent::ledger::{Durability, Ledger, LedgerOptions};
use rustle_protocol::message::CallOutcome;
use rustle_protocol::{CallKey, ModuleResult, RunId};
use rustle_tests::children_cpu;

use bare::BareFleet;

/// Processes at once while the floor is measured: one for each core of the machine the aims were set on.
const WORKERS: usize = 2;
/// Calls that a ledger is measured with, and how many of them at once the second time.
const LEDGER_CALLS: u32 = 2_000;
const LEDGER_TOGETHER: u32 = 32;
/// The large file.
const BIG_BYTES: usize = 256 * 1024 * 1024;
/// Hosts that get it.
const BIG_HOSTS: usize = 10;

fn main() {
    bare::be_host_if_asked();
    let bench = Bench::new();
    println!("{} hosts, {} runs each, median (least to most)\n", bench.hosts, bench.runs);
    println!("{:<34} {:>22} {:>22} {:>6} {:>11} {:>9}", "workload", "ours", "floor", "ratio", "controller", "agent");
    let spawns = |count: usize| move || spawn_true(count);
    let true_path = ["/bin/true"];
    let hosts = bench.hosts;
    bench.w1();
    bench.w2();
    bench.row("W3: /bin/true, cold connections", hosts, || bench.adhoc("all", &true_path), spawns(hosts));
    bench.w4();
    bench.row("W5: one task on one host", 1, || bench.adhoc("h001", &true_path), spawns(1));
    bench.journal();
    bench.ledger();
    bench.memory();
    bench.stop_lab();
    bench.connect_many();
}

struct Bench {
    dir: tempfile::TempDir,
    hosts: usize,
    runs: usize,
    controller: PathBuf,
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Bench {
    fn new() -> Bench {
        let exe = std::env::current_exe().expect("a running program has a path");
        let folder = exe.parent().and_then(Path::parent).expect("benches are in target/release/deps");
        let controller = folder.join("rustle-exec");
        assert!(controller.exists(), "{} is not built: run `cargo build --release` first", controller.display());
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let bench = Bench { dir, hosts: setting("FLEET_HOSTS", 100), runs: setting("FLEET_RUNS", 5), controller };
        bench.start_lab(bench.hosts);
        fs::write(bench.path("blob"), noise(1, 64 * 1024)).expect("the temporary folder takes files");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_lab(&self, hosts: usize) {
        let names: Vec<String> = (1..=hosts).map(|n| format!("h{n:03}")).collect();
        let lab = self.path("lab");
        self.succeed(
            Command::new(&self.controller).args(["lab", "up", "--names", &names.join(","), "--dir"]).arg(&lab),
        );
    }

    fn stop_lab(&self) {
        self.succeed(Command::new(&self.controller).args(["lab", "down", "--dir"]).arg(self.path("lab")));
    }

    fn succeed(&self, command: &mut Command) -> Duration {
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).output().expect("the controller can be started");
        let took = began.elapsed();
        assert!(
            output.status.success(),
            "{command:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        took
    }

    fn ours(&self) -> Command {
        let mut command = Command::new(&self.controller);
        command.arg("--config").arg(self.path("lab/config.toml")).arg("-i").arg(self.path("lab/hosts.ini"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    /// Runs a workload's plan; `limit` hosts take part.
    fn plan(&self, name: &str, limit: usize) -> Duration {
        let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
        let set = |name: &str, path: PathBuf| format!("{name}={}", path.display());
        let mut command = self.ours();
        command.args(["--gather-facts=never", "-e", &set("scratch", self.path("scratch"))]);
        command.args(["-e", &set("template", plans.join("app.conf.j2")), "-e", &set("blob64k", self.path("blob"))]);
        command.args(["-e", &set("bigfile", self.path("big"))]);
        if limit < self.hosts {
            command.args(["-l", &format!("lab[0:{}]", limit - 1)]);
        }
        self.make_scratch();
        self.succeed(command.arg(plans.join(format!("{name}.json"))))
    }

    fn adhoc(&self, pattern: &str, line: &[&str]) -> Duration {
        let mut command = Command::new(&self.controller);
        command.args(["adhoc", pattern, "--config"]).arg(self.path("lab/config.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command.arg("-i").arg(self.path("lab/hosts.ini")).args(["-a", &line.join(" ")]);
        self.succeed(&mut command)
    }

    /// The main job with the run written down in each way there is, turn by turn, so that all see the same weather.
    fn journal(&self) {
        let ways: [(&str, &[&str]); 3] = [
            ("W1, not written down", &["--no-journal"]),
            ("W1, safe against a dead process", &["--durability=process"]),
            ("W1, safe against loss of power", &["--durability=power"]),
        ];
        let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/w1.json");
        let mut times = ways.map(|_| Vec::new());
        for _ in 0..self.runs {
            for ((_, options), times) in ways.iter().zip(&mut times) {
                let mut command = self.ours();
                times.push(self.succeed(command.arg("--gather-facts=never").args(*options).arg(&plan)));
            }
        }
        println!();
        let median = |times: &[Duration]| {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            sorted[sorted.len() / 2].as_secs_f64()
        };
        let without = median(&times[0]);
        for ((name, _), times) in ways.iter().zip(&times) {
            let took = median(times);
            println!("{name:<34} {took:>20.3} s {:>+8.1} %", (took / without - 1.0) * 100.0);
        }
    }

    /// What an agent's ledger adds to a call, alone and where many calls share a sync.
    fn ledger(&self) {
        let ways = [
            ("ledger, safe against a dead agent", Durability::Process, "process"),
            ("ledger, safe against loss of power", Durability::Power, "power"),
        ];
        for (name, durability, folder) in ways {
            let [alone, together] = [1, LEDGER_TOGETHER]
                .map(|together| ledger_cost(&self.path(&format!("ledger-{folder}-{together}")), durability, together));
            println!(
                "{name:<34} {:>17.1} us a call {:>9.1} us with {LEDGER_TOGETHER} at once",
                alone.as_secs_f64() * 1e6,
                together.as_secs_f64() * 1e6
            );
        }
    }

    fn make_scratch(&self) {
        for n in 1..=self.hosts {
            fs::create_dir_all(self.path("scratch").join(format!("h{n:03}")))
                .expect("the temporary folder takes files");
        }
    }

    fn clear_scratch(&self) {
        let _ = fs::remove_dir_all(self.path("scratch"));
    }

    /// `tasks`: how many there are in one run of ours, over all hosts.
    fn row(&self, name: &str, tasks: usize, ours: impl Fn() -> Duration, floor: impl Fn() -> Duration) {
        let (mut ours_taken, mut floor_times) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            self.clear_scratch();
            ours_taken.push(self.measured(&ours));
            self.clear_scratch();
            floor_times.push(floor());
        }
        print_row(name, tasks, &ours_taken, Some(floor_times));
    }

    /// Beside it the same without a tool, turn by turn.
    fn w1(&self) {
        let fleet = BareFleet::start(&self.path("lab"));
        let tasks = 10 * self.hosts;
        let (mut ours, mut bare, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.runs {
            ours.push(self.measured(|| self.plan("w1", self.hosts)));
            bare.push(fleet.run());
            floor.push(spawn_true(tasks));
        }
        print_row("W1: 10 x /bin/true, linear", tasks, &ours, Some(floor.clone()));
        print_row("  the same without a tool", tasks, &bare, Some(floor));
    }

    /// What a run of ours takes, in time and on both sides.
    fn measured(&self, run: impl Fn() -> Duration) -> Taken {
        let agents = self.agents();
        let (children, before) = (children_cpu(), agents.iter().map(|pid| threads_cpu(*pid)).collect::<Vec<_>>());
        let wall = run();
        let controller = children_cpu().saturating_sub(children);
        let mut agents_cpu = Duration::ZERO;
        for (pid, before) in agents.iter().zip(before) {
            for (thread, cpu) in threads_cpu(*pid) {
                agents_cpu += cpu.saturating_sub(before.get(&thread).copied().unwrap_or_default());
            }
        }
        Taken { wall, controller, agents: agents_cpu }
    }

    /// The process ids of the lab's agents.
    fn agents(&self) -> Vec<u64> {
        let state = fs::read(self.path("lab/lab.json")).expect("the lab has a state");
        let state: serde_json::Value = serde_json::from_slice(&state).expect("the state is JSON");
        let agents = state["agents"].as_array().expect("a list of agents");
        agents.iter().filter_map(|agent| agent["pid"].as_u64()).collect()
    }

    /// A file that is new to the hosts each time: they keep what they have had.
    fn w4(&self) {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for run in 0..self.runs {
            fs::write(self.path("big"), noise(2 + run as u64, BIG_BYTES)).expect("the temporary folder takes files");
            self.clear_scratch();
            ours.push(self.measured(|| self.plan("w4", BIG_HOSTS)));
            self.clear_scratch();
            floor.push(self.copy_big());
        }
        print_row("W4: 256 MiB to 10 hosts", BIG_HOSTS, &ours, Some(floor));
    }

    /// First and again; the floor is the same bytes written and renamed by a plain loop, and one process start. What `stat` asks the
    /// program `file`, once on each host, is a floor of its own.
    fn w2(&self) {
        let (mut first, mut again, mut floor, mut mime) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.runs {
            self.clear_scratch();
            first.push(self.measured(|| self.plan("w2", self.hosts)));
            again.push(self.measured(|| self.plan("w2", self.hosts)));
            self.clear_scratch();
            floor.push(self.write_files());
            mime.push(spawn(&["file", "--brief", "--mime", "--", "/etc/passwd"], self.hosts));
        }
        let tasks = 10 * self.hosts;
        print_row("W2: 10 configuration tasks, first", tasks, &first, Some(floor.clone()));
        print_row("W2 again, nothing changes", tasks, &again, Some(floor));
        print_floor("of W2 first: `file` on each host", mime);
    }

    fn write_files(&self) -> Duration {
        let blob = fs::read(self.path("blob")).expect("written at the start");
        self.make_scratch();
        let began = Instant::now();
        for n in 1..=self.hosts {
            let dir = self.path("scratch").join(format!("h{n:03}/app"));
            fs::create_dir_all(&dir).expect("the temporary folder takes files");
            for (name, content) in
                [("motd", &blob[..64]), ("app.conf", &blob[..1024]), ("limits", &blob[..64]), ("blob", &blob)]
            {
                fs::write(dir.join("temporary"), content).expect("the temporary folder takes files");
                fs::rename(dir.join("temporary"), dir.join(name)).expect("a file can be renamed in its folder");
            }
        }
        spawn_true(self.hosts);
        began.elapsed()
    }

    /// `cp` to ten places, two at a time.
    fn copy_big(&self) -> Duration {
        self.make_scratch();
        let began = Instant::now();
        for pair in (1..=BIG_HOSTS).collect::<Vec<_>>().chunks(WORKERS) {
            let copies: Vec<_> = pair
                .iter()
                .map(|n| {
                    let target = self.path("scratch").join(format!("h{n:03}/big"));
                    Command::new("cp").arg(self.path("big")).arg(target).spawn().expect("cp can be started")
                })
                .collect();
            for mut copy in copies {
                assert!(copy.wait().expect("a child can be waited for").success());
            }
        }
        began.elapsed()
    }

    fn memory(&self) {
        let report = self.path("report.json");
        let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
        let mut command = self.ours();
        command.args(["--gather-facts=never", "--report-file"]).arg(&report).arg(plans.join("w1.json"));
        self.succeed(&mut command);
        let text = fs::read(&report).expect("the report was written");
        let report: serde_json::Value = serde_json::from_slice(&text).expect("the report is JSON");
        let peak = &report["performance_metrics"]["peak_memory"];
        let mut resident: Vec<u64> = self.agents().into_iter().filter_map(resident_kib).collect();
        resident.sort_unstable();
        println!("\ncontroller, peak at {} hosts: {:.1} MiB", self.hosts, peak.as_f64().unwrap_or(0.0) / 1048576.0);
        if let (Some(least), Some(most)) = (resident.first(), resident.last()) {
            let mib = |kib: u64| kib as f64 / 1024.0;
            println!("agent after all of it, resident: {:.1} to {:.1} MiB", mib(*least), mib(*most));
        }
    }

    /// Cold connections to many agents that all answer: `ping` everywhere.
    fn connect_many(&self) {
        let hosts = setting("FLEET_CONNECTS", 1000);
        if hosts == 0 {
            return;
        }
        self.start_lab(hosts);
        let connect = || {
            let mut command = Command::new(&self.controller);
            command.args(["adhoc", "all", "-m", "ping", "-f", &hosts.to_string(), "--config"]);
            command.arg(self.path("lab/config.toml")).arg("-i").arg(self.path("lab/hosts.ini"));
            self.succeed(&mut command)
        };
        let taken: Vec<_> = (0..self.runs).map(|_| self.measured(connect)).collect();
        self.stop_lab();
        println!();
        print_row(&format!("connect to {hosts} agents and ping"), hosts, &taken, None);
    }
}

/// Time for each of [`LEDGER_CALLS`] calls, so many at once: its beginning, its end and its acknowledgement are recorded.
fn ledger_cost(dir: &Path, durability: Durability, together: u32) -> Duration {
    let options = LedgerOptions { durability, bytes_max: 64 << 20, age_max: Duration::from_secs(3600) };
    let ledger = &Ledger::open(dir, options).expect("the temporary folder takes a ledger");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    let (run, result) = (RunId::generate(), ModuleResult::changed(true).with("rc", 0).with("stdout", "ok"));
    let began = Instant::now();
    runtime.block_on(async {
        let calls = (0..LEDGER_CALLS).map(|task| {
            let key = CallKey { run, task, round: 0, item: 0, attempt: 1 };
            let outcome = CallOutcome::Finished(result.clone());
            async move {
                ledger.begin(key, "ansible.builtin.command").await;
                ledger.end(key, outcome, 1_000, false).await;
                ledger.settle(vec![key]);
            }
        });
        futures::stream::iter(calls).for_each_concurrent(together as usize, |call| call).await;
    });
    began.elapsed() / LEDGER_CALLS
}

/// What one run of ours took.
struct Taken {
    wall: Duration,
    /// CPU of the controller. The kernel counts it in hundredths of a second.
    controller: Duration,
    /// CPU of all agents together, without what they start.
    agents: Duration,
}

/// CPU of each thread of a process, by its id.
fn threads_cpu(pid: u64) -> HashMap<OsString, Duration> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let cpu = |thread: &fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    };
    threads.filter_map(|thread| Some((thread.file_name(), cpu(&thread)?))).collect()
}

fn resident_kib(pid: u64) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// Starts /bin/true `count` times, [`WORKERS`] at a time.
fn spawn_true(count: usize) -> Duration {
    spawn(&["/bin/true"], count)
}

/// Starts a program `count` times, [`WORKERS`] at a time.
fn spawn(words: &[&str], count: usize) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS.min(count) {
            scope.spawn(move || {
                for _ in (worker..count).step_by(WORKERS) {
                    let mut program = Command::new(words[0]);
                    let status = program.args(&words[1..]).stdout(Stdio::null()).status();
                    assert!(status.expect("the program can be started").success());
                }
            });
        }
    });
    began.elapsed()
}

/// Bytes that do not compress; the same seed gives the same ones.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn print_floor(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!("{name:<34} {:>22} {:>22}", "", shown(&times));
}

/// Median, least and most of sorted times.
fn shown(times: &[Duration]) -> String {
    let seconds = |at: usize| times[at].as_secs_f64();
    format!("{:.3} s ({:.3}-{:.3})", seconds(times.len() / 2), seconds(0), seconds(times.len() - 1))
}

fn print_row(name: &str, tasks: usize, ours: &[Taken], floor: Option<Vec<Duration>>) {
    let median = |times: &[Duration]| times[times.len() / 2].as_secs_f64();
    let mut walls: Vec<_> = ours.iter().map(|taken| taken.wall).collect();
    walls.sort_unstable();
    let (floor_text, ratio) = match floor {
        Some(mut floor) => {
            floor.sort_unstable();
            (shown(&floor), format!("{:.2}", median(&walls) / median(&floor)))
        }
        None => (String::new(), String::new()),
    };
    let per_task = |cpu: Duration| format!("{} us", cpu.as_micros() / (ours.len() * tasks) as u128);
    let controller = per_task(ours.iter().map(|taken| taken.controller).sum());
    let agent = per_task(ours.iter().map(|taken| taken.agents).sum());
    println!("{name:<34} {:>22} {floor_text:>22} {ratio:>6} {controller:>11} {agent:>9}", shown(&walls));
    let _ = std::io::stdout().flush();
}
