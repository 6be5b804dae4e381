//! Runs whose tasks wait until the test says so, and what was left of them when their controller was killed.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use rustle_tests::{Ended, Fleet, Run, Running, eventually, named, shell};
use serde_json::Value;

/// A fleet whose tasks wait for a word.
pub(crate) struct Waiting {
    pub(crate) fleet: Fleet,
    go: PathBuf,
}

impl Waiting {
    pub(crate) fn new(hosts: &[&str]) -> Waiting {
        Waiting::of(Fleet::start(hosts))
    }

    pub(crate) fn of(fleet: Fleet) -> Waiting {
        Waiting { go: fleet.path().join("go"), fleet }
    }

    /// A task that begins, and ends when it may.
    pub(crate) fn wait(&self) -> Value {
        named("wait", shell(&self.wait_command("{{ inventory_hostname }}")))
    }

    pub(crate) fn wait_command(&self, host: &str) -> String {
        let (dir, go) = (self.fleet.path().display(), self.go.display());
        format!("touch {dir}/begun-{host}; until test -e {go}; do sleep 0.02; done")
    }

    pub(crate) fn begun(&self, host: &str) {
        let begun = self.fleet.path().join(format!("begun-{host}"));
        eventually(&format!("the task runs on {host}"), || begun.exists().then_some(()));
    }

    pub(crate) fn may_end(&self) {
        fs::write(&self.go, "").unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Whatever still waits is to end with the test.
        let _ = fs::write(&self.go, "");
    }
}

pub(crate) fn runs(fleet: &Fleet, args: &[&str]) -> Run {
    Run::new(fleet.path()).arg("runs").args(args)
}

pub(crate) fn kill(running: Running) {
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, -9);
}

pub(crate) fn report(fleet: &Fleet) -> Value {
    serde_json::from_str(&runs(fleet, &["report", "last"]).ends(0).stdout).unwrap()
}

/// Appends a line for each task that runs, so that one that runs twice is seen.
pub(crate) fn witness(fleet: &Fleet, name: &str) -> Value {
    let dir = fleet.path().display();
    named(name, shell(&format!("echo {name} >> {dir}/witness-{{{{ inventory_hostname }}}}")))
}

pub(crate) fn witnessed(fleet: &Fleet, host: &str) -> Vec<String> {
    let text = fs::read_to_string(fleet.path().join(format!("witness-{host}"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Resumes until the run is over; a controller may die again on the way.
pub(crate) fn resume_to_the_end(fleet: &Fleet) -> Option<Ended> {
    let listed = runs(fleet, &["list"]).ends(0).stdout;
    listed.lines().last()?.contains("interrupted").then(|| runs(fleet, &["resume", "last"]).finish())
}
