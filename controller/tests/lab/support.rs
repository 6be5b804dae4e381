//! A lab that a test works with, by the command line.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn rustle_exec(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustle-exec"));
    command.args(args).env_remove("RUSTLE_LOG_LEVEL").env("NO_COLOR", "1");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    rustle_exec(args).output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A lab that is taken down whatever becomes of the test.
pub(crate) struct Kept {
    pub(crate) dir: PathBuf,
    _root: tempfile::TempDir,
}

impl Kept {
    pub(crate) fn up(options: &[&str]) -> Kept {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lab");
        let output = run(&[&["lab", "up", "--dir", dir.to_str().unwrap()], options].concat());
        assert!(output.status.success(), "{}", text(&output));
        Kept { dir, _root: root }
    }

    pub(crate) fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        let state: serde_json::Value = serde_json::from_slice(&fs::read(self.dir.join("lab.json")).unwrap()).unwrap();
        state["agents"].as_array().unwrap().iter().map(|agent| agent["pid"].as_i64().unwrap() as i32).collect()
    }

    pub(crate) fn shell(&self, host: &str, line: &str) -> Output {
        self.adhoc(host, "shell", line)
    }

    pub(crate) fn adhoc(&self, host: &str, module: &str, args: &str) -> Output {
        let (config, hosts) = (self.dir.join("config.toml"), self.dir.join("hosts.ini"));
        let [config, hosts] = [&config, &hosts].map(|path| path.to_str().unwrap());
        run(&["adhoc", host, "--config", config, "-i", hosts, "-m", module, "-a", args])
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        run(&["lab", "down", "--dir", self.path()]);
    }
}

pub(crate) fn is_running(pid: i32) -> bool {
    // A zombie has no command line: it has ended, and only its parent's word is missing.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub(crate) fn until_gone(pids: &[i32]) {
    let until = Instant::now() + SOON;
    while let Some(pid) = pids.iter().find(|pid| is_running(**pid)) {
        assert!(Instant::now() < until, "process {pid} is still there");
        // The processes are not ours to wait for: they are looked at until they are gone.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether hosts can have overlays; says so if not.
#[expect(clippy::print_stderr, reason = "a test that is left out says so aloud")]
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: hosts with a root of their own need root");
    }
    is_root
}
