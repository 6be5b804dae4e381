//! What is promised in lists: every option has its test, and every test that the documentation names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustle_tests::{Fleet, Run, play, task};
use serde_json::json;

/// Every option of a run: its spellings, and a value if it takes one. `[DIR]` is a folder that is there.
const OPTIONS: [(&[&str], Option<&str>); 31] = [
    (&["-i", "--inventory"], Some("web1,")),
    (&["-l", "--limit"], Some("web1")),
    (&["-t", "--tags"], Some("all")),
    (&["--skip-tags"], Some("never")),
    (&["-c", "-C", "--check"], None),
    (&["-D", "--diff"], None),
    (&["--start-at-task"], Some("ping")),
    (&["--step"], None),
    (&["--dry-run"], None),
    (&["-f", "--forks"], Some("3")),
    (&["--serial"], Some("1,50%")),
    (&["--strategy"], Some("free")),
    (&["--connection-plugin"], Some("local")),
    (&["--timeout"], Some("7")),
    (&["--retries"], Some("1")),
    (&["--retry-delay"], Some("0.5")),
    (&["--continue-on-error"], None),
    (&["-k", "--fail-fast"], None),
    (&["--batch"], None),
    (&["-b", "--become"], None),
    (&["--become-user"], Some("nobody")),
    (&["--require-all-success"], None),
    (&["--report-file"], Some("[DIR]/report.json")),
    (&["--log-file"], Some("[DIR]/log")),
    (&["--progress"], Some("never")),
    (&["-v", "-vvv"], None),
    (&["--module-path"], Some("[DIR]")),
    (&["--facts-cache"], Some("[DIR]")),
    (&["--gather-facts"], None),
    (&["--cleanup-on-failure"], None),
    (&["-e", "--extra-vars"], Some("a=1")),
];

const ENVIRONMENT: [&str; 5] =
    ["RUSTLE_MODULE_PATH", "RUSTLE_EXEC_TIMEOUT", "RUSTLE_MAX_RETRIES", "RUSTLE_FORKS", "RUSTLE_LOG_LEVEL"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of every test of this program but of these.
fn sources() -> String {
    let folder = root().join("tests/tests/fleet");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let others = files.filter(|path| !path.ends_with("documented.rs"));
    others.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_option_is_taken_under_each_of_its_names() {
    let fleet = Fleet::start(&["web1"]);
    let plan = fleet.write_plan(&play([task("ping", json!({}))]));
    let dir = fleet.path().display().to_string();
    let help = Run::new(fleet.path()).arg("--help").ends(0).stdout;
    for (names, value) in OPTIONS {
        for name in names {
            let value = value.map(|value| value.replace("[DIR]", &dir));
            let dry = (*name != "--dry-run").then_some("--dry-run");
            let run = Run::new(fleet.path()).args(["-i", "web1,"]).arg(&plan).args(dry).arg(name).args(value);
            run.ends(0);
        }
        let long = names.last().unwrap();
        let listed = if long.starts_with("--") { long } else { &"--verbose" };
        assert!(help.contains(listed), "{listed} is not in --help");
    }
}

#[test]
fn every_option_and_variable_has_a_test_of_what_it_does() {
    let sources = sources();
    for (names, _) in OPTIONS {
        assert!(names.iter().any(|name| sources.contains(&format!("\"{name}"))), "{names:?} has no test");
    }
    for name in ENVIRONMENT {
        assert!(sources.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

/// Every function below the crates that is a test, by its name.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["agent", "controller", "protocol", "tests"] {
        collect(&root().join(folder), &mut names);
    }
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after_attribute = text.split("test]").skip(1).chain(text.split("_threads = 2)]").skip(1));
            for part in after_attribute {
                let line = part.lines().find(|line| line.contains("fn ")).unwrap_or_default();
                let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let tests = tests();
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "docs/security.md names the test `{name}`, which is not there");
            named += 1;
        }
    }
    assert!(named > 80, "only {named} tests are named");
}
