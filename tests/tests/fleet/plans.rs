//! Every plan that the real `rustle-plan` made is run, on real agents.
//!
//! Hosts share this machine's file system, so each gets a folder of its own in the place of `/opt/rx-demo`. What changes
//! the system runs in lab hosts with roots of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustle_tests::{Ended, Fleet, is_root};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rustle-plan")
}

/// A plan of the fixtures.
struct Fixture {
    case: String,
    name: String,
    plan: Value,
}

impl Fixture {
    /// All plans of a case, by name.
    fn all(case: &str) -> Vec<Fixture> {
        let files = fs::read_dir(fixtures().join(case)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.starts_with("plan.") && name.ends_with(".json"));
        names.sort();
        assert!(!names.is_empty());
        names.iter().map(|name| Fixture::of(case, name)).collect()
    }

    fn of(case: &str, name: &str) -> Fixture {
        let text = fs::read_to_string(fixtures().join(case).join(name)).unwrap();
        Fixture { case: case.to_owned(), name: name.to_owned(), plan: serde_json::from_str(&text).unwrap() }
    }

    /// Hosts that any play names.
    fn hosts(&self) -> BTreeSet<String> {
        let plays = self.plan["plays"].as_array().unwrap().iter();
        let hosts = plays.flat_map(|play| play["hosts"].as_array().unwrap());
        hosts.map(|host| host.as_str().unwrap().to_owned()).collect()
    }

    fn is_check(&self) -> bool {
        self.plan["metadata"]["planning_options"]["check_mode"] == true
    }

    /// Whether any task is left after the planner's own filters.
    fn has_tasks(&self) -> bool {
        let plays = self.plan["plays"].as_array().unwrap().iter();
        plays.flat_map(|play| play["batches"].as_array().unwrap()).any(|batch| batch["tasks"] != serde_json::json!([]))
    }

    fn title(&self) -> String {
        format!("{}/{}", self.case, self.name)
    }
}

/// The agents of a case.
struct Stage {
    fleet: Fleet,
    hosts: Vec<String>,
}

impl Stage {
    fn new(case: &str) -> Stage {
        let hosts: BTreeSet<String> = Fixture::all(case).iter().flat_map(Fixture::hosts).collect();
        let hosts: Vec<String> = hosts.into_iter().collect();
        let groups = groups_of(case);
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        Stage { fleet: Fleet::builder().inventory(&groups).start(&names), hosts }
    }

    /// A host's own folder, in the place of `/opt/rx-demo`.
    fn place(&self, host: &str) -> PathBuf {
        self.fleet.path().join("demo").join(host)
    }

    /// Runs a plan in fresh folders.
    fn run(&self, fixture: &Fixture, args: &[&str]) -> Ended {
        let _ = fs::remove_dir_all(self.fleet.path().join("demo"));
        for host in &self.hosts {
            fs::create_dir_all(self.place(host)).unwrap();
        }
        // Beside what the plan's tasks have as their `src`, and the parsed playbook.
        let dir = self.fleet.path().join("plan");
        fs::create_dir_all(&dir).unwrap();
        copy_beside(&fixtures().join(&fixture.case), &dir);
        let own = self.place("{{ inventory_hostname }}");
        let text = fixture.plan.to_string().replace("/opt/rx-demo", &own.to_string_lossy());
        fs::write(dir.join("plan.json"), text).unwrap();
        let parsed = fs::read_to_string(dir.join("parsed.json")).unwrap();
        fs::write(dir.join("parsed.json"), parsed.replace("/opt/rx-demo", &own.to_string_lossy())).unwrap();
        self.fleet.exec().args(args).arg(dir.join("plan.json")).finish()
    }

    fn parsed(&self) -> String {
        self.fleet.path().join("plan/parsed.json").to_string_lossy().into_owned()
    }

    /// What a host's file in its folder holds.
    fn read(&self, host: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.place(host).join(file)).ok()
    }
}

/// All files of a case but its plans.
fn copy_beside(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_beside(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().starts_with("plan.") {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The groups and variables of a case's inventory, without its hosts' own lines.
fn groups_of(case: &str) -> String {
    let text = fs::read_to_string(fixtures().join(case).join("inventory.ini")).unwrap();
    let lines = text.lines().map(|line| {
        let without_addresses = line.split_whitespace().filter(|word| !word.starts_with("ansible_"));
        if line.contains("ansible_") { without_addresses.collect::<Vec<_>>().join(" ") } else { line.to_owned() }
    });
    lines.map(|line| line + "\n").collect()
}

/// Every plan of a case does what `expect` says of it.
fn each(case: &str, expect: impl Fn(&Stage, &Fixture, &Ended)) {
    let stage = Stage::new(case);
    for fixture in Fixture::all(case) {
        let ended = stage.run(&fixture, &[]);
        let told = format!("{}\n{}{}", fixture.title(), ended.stdout, ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{told}");
        if fixture.hosts().is_empty() {
            assert_eq!(ended.code, 5, "{told}");
            continue;
        }
        assert!([0, 2].contains(&ended.code), "{told}");
        assert!(!ended.stdout.contains("UNREACHABLE"), "{told}");
        if fixture.is_check() {
            for host in &stage.hosts {
                let left = fs::read_dir(stage.place(host)).unwrap().count();
                assert_eq!(left, 0, "check mode changed something: {told}");
            }
            continue;
        }
        expect(&stage, &fixture, &ended);
    }
}

#[track_caller]
fn succeeded(fixture: &Fixture, ended: &Ended) {
    assert_eq!(ended.code, 0, "{}\n{}{}", fixture.title(), ended.stdout, ended.stderr);
}

#[test]
fn simple_plans_go_through() {
    each("01-simple", |_, fixture, ended| succeeded(fixture, ended));
}

#[test]
fn plays_that_lost_their_hosts_are_named_and_the_others_run() {
    each("02-multi-play", |_, fixture, ended| {
        succeeded(fixture, ended);
        assert!(ended.stderr.contains("play `Web layer, by group name` has no hosts"), "{}", ended.stderr);
        assert!(ended.stdout.contains("PLAY ["), "{}", ended.stdout);
    });
}

#[test]
fn lost_groups_come_back_with_the_parsed_playbook() {
    let stage = Stage::new("02-multi-play");
    let fixture = Fixture::of("02-multi-play", "plan.linear.json");
    stage.run(&fixture, &[]);
    let ended = stage.run(&fixture, &["--parsed", &stage.parsed()]);
    succeeded(&fixture, &ended);
    assert!(!ended.stderr.contains("has no hosts"), "{}", ended.stderr);
    assert!(ended.stdout.contains("PLAY [Web layer, by group name]"), "{}", ended.stdout);
}

#[test]
fn handlers_run_at_the_flush_and_at_the_end_in_their_order_of_definition() {
    each("03-handlers", |stage, fixture, ended| {
        succeeded(fixture, ended);
        // The command changes nothing by its own account only in the playbook: the plan lost `changed_when`.
        for name in ["reload app", "restart app"] {
            assert!(ended.banners().contains(&format!("RUNNING HANDLER [{name}]").as_str()), "{}", ended.stdout);
        }
        assert!(stage.read("node1", "app.conf").unwrap().contains("workers=4"));
        let at = |banner: &str| ended.banners().iter().position(|line| *line == banner);
        if fixture.name.starts_with("plan.linear") {
            let reload = at("RUNNING HANDLER [reload app]").unwrap();
            assert!(reload < at("RUNNING HANDLER [restart app]").unwrap(), "{}", ended.stdout);
            assert!(at("TASK [Extra configuration]").unwrap() < reload && reload < at("TASK [Late change]").unwrap());
        }
    });
}

#[test]
fn tags_always_and_never_are_honoured_whatever_the_planner_did() {
    each("04-tags", |_, fixture, ended| {
        succeeded(fixture, ended);
        assert!(!ended.stdout.contains("TASK [Never]"), "{}", ended.stdout);
        assert_eq!(ended.stdout.contains("TASK ["), fixture.has_tasks(), "{}", ended.stdout);
    });
    let stage = Stage::new("04-tags");
    let tasks = |args: &[&str]| {
        let ended = stage.run(&Fixture::of("04-tags", "plan.linear.json"), args);
        ended.banners().iter().filter_map(|line| line.strip_prefix("TASK ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tasks(&[]), ["[Prepare]", "[Install]", "[Configure]", "[Always]", "[Untagged]"]);
    assert_eq!(tasks(&["-t", "install,configure"]), ["[Install]", "[Configure]", "[Always]"]);
    assert_eq!(tasks(&["-t", "danger"]), ["[Always]", "[Never]"]);
    assert_eq!(tasks(&["--skip-tags", "packages,always"]), ["[Prepare]", "[Configure]", "[Untagged]"]);
}

#[test]
fn conditions_are_decided_on_each_host_and_an_undefined_name_is_an_error() {
    // The plan lost the play's variables, so `feature_x` is nowhere defined.
    each("05-when", |_, fixture, ended| {
        assert_eq!(ended.code, 2, "{}\n{}", fixture.title(), ended.stdout);
        assert!(ended.stdout.contains("'feature_x' is undefined"), "{}", ended.stdout);
    });
    let stage = Stage::new("05-when");
    let fixture = Fixture::of("05-when", "plan.linear.json");
    let lost = r#"{"feature_x": true, "release": "12", "ports": [80, 443], "probe": {"rc": 0}}"#;
    let ended = stage.run(&fixture, &["-e", lost]);
    succeeded(&fixture, &ended);
    let task = |name: &str| {
        let (_, rest) = ended.stdout.split_once(&format!("TASK [{name}]")).unwrap();
        let rest = rest.split("\nTASK [").next().unwrap();
        let ran = |line: &&str| line.starts_with("ok: [") || line.starts_with("changed: [");
        let mut hosts: Vec<_> =
            rest.lines().filter(ran).map(|line| line.split(['[', ']']).nth(1).unwrap().to_owned()).collect();
        hosts.sort();
        hosts
    };
    assert_eq!(task("Host name"), ["b1"]);
    assert_eq!(task("Group membership"), ["a1", "a2"]);
    assert_eq!(task("Negation"), Vec::<String>::new());
    assert_eq!(task("Defined test"), Vec::<String>::new());
    for everywhere in ["Play variable, bare", "Membership", "Fact based", "Version test", "Uses the registered result"]
    {
        assert_eq!(task(everywhere), ["a1", "a2", "b1"], "{everywhere}");
    }
}

#[test]
fn rolling_waves_are_those_of_the_plan() {
    each("06-rolling-serial", |stage, fixture, ended| {
        succeeded(fixture, ended);
        let waves = ended.banners().iter().filter(|line| line.starts_with("PLAY [")).count();
        let expected = match fixture.name.as_str() {
            "plan.rolling.json" => 5,
            "plan.rolling+serial-4.json" | "plan.linear+serial-4.json" => 6,
            _ => 1,
        };
        assert_eq!(waves, expected, "{}\n{}", fixture.title(), ended.stdout);
        assert_eq!(stage.read("app23", "current").unwrap(), "release 12\n");
    });
}

#[test]
fn serial_and_the_error_budget_come_back_with_the_parsed_playbook() {
    let stage = Stage::new("06-rolling-serial");
    let fixture = Fixture::of("06-rolling-serial", "plan.linear.json");
    stage.run(&fixture, &[]);
    let parsed = stage.parsed();
    let ended = stage.run(&fixture, &["--parsed", &parsed]);
    succeeded(&fixture, &ended);
    assert_eq!(ended.banners().iter().filter(|line| line.starts_with("PLAY [")).count(), 6, "serial: 4 of 23 hosts");
    // One of four is more than 20 percent: the first wave is the last one.
    let mut broken = Fixture::of("06-rolling-serial", "plan.linear.json");
    let hosts = broken.plan["plays"][0]["hosts"].as_array().unwrap().iter().take(8);
    let hosts: Vec<String> = hosts.map(|host| host.as_str().unwrap().to_owned()).collect();
    let breaking = format!("test {{{{ inventory_hostname }}}} != {} -a -e", hosts[0]);
    broken.plan = serde_json::from_str(&broken.plan.to_string().replace("test -e", &breaking)).unwrap();
    let ended = stage.run(&broken, &["--parsed", &parsed, "-l", &hosts.join(",")]);
    assert_eq!(ended.code, 2, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("not started: 4 hosts"), "{}", ended.stdout);
}

#[test]
fn packages_and_services_are_left_to_lab_hosts_with_a_root_of_their_own() {
    if !is_root() {
        eprintln!("skipped: hosts with a root of their own take root");
        return;
    }
    let fixtures = Fixture::all("07-package-service");
    let hosts: BTreeSet<String> = fixtures.iter().flat_map(Fixture::hosts).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let fleet = Fleet::builder().overlay().start(&hosts);
    for fixture in &fixtures {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        // The agents have no way to the network, and where there is no service manager, the modules fail.
        // One host of three equal ones: package managers are slow.
        let ended = fleet.run(&fixture.plan).args(["--timeout", "30", "--limit", hosts[0]]).finish();
        let told = format!("{}\n{}{}", fixture.title(), ended.stdout, ended.stderr);
        assert!([0, 2].contains(&ended.code) && !told.contains("panicked") && !told.contains("UNREACHABLE"), "{told}");
        for line in ended.stdout.lines().filter(|line| line.starts_with("fatal: [")) {
            assert!(!line.ends_with("\"msg\": \"\"}"), "a failure without a reason: {told}");
        }
        assert_eq!(fs::read_to_string("/etc/passwd").unwrap(), passwd, "this machine was changed: {told}");
        assert!(!Path::new("/opt/rx-demo").exists(), "this machine was changed: {told}");
    }
}

#[test]
fn files_templates_links_and_archives_arrive() {
    each("08-files-template", |stage, fixture, ended| {
        let told = format!("{}\n{}{}", fixture.title(), ended.stdout, ended.stderr);
        let tree = walk(&stage.place("s1"));
        assert!(!tree.is_empty(), "{told}");
        for host in ["s2", "s3", "s4"] {
            assert_eq!(walk(&stage.place(host)), tree, "hosts differ: {told}");
        }
    });
}

/// Every path below a folder.
fn walk(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            found.insert(entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_hundred_hosts_go_through_every_strategy() {
    let case = "09-fleet-100";
    let stage = Stage::new(case);
    for fixture in Fixture::all(case) {
        // A package named `tool` would be looked for on this machine.
        let ended = stage.run(&fixture, &["--skip-tags", "packages"]);
        succeeded(&fixture, &ended);
        let hosts = fixture.hosts();
        for host in &hosts {
            assert!(ended.recap(host).contains("unreachable=0 failed=0"), "{}: {}", fixture.title(), ended.recap(host));
            let expected = (!fixture.is_check()).then(|| "2.4.1".to_owned());
            assert_eq!(stage.read(host, "release"), expected, "{}: {host}", fixture.title());
        }
        assert_eq!(
            ended.stdout.lines().filter(|line| line.contains(": ok=")).count(),
            hosts.len(),
            "{}",
            fixture.title()
        );
    }
}

#[test]
fn features_that_did_not_survive_planning_fail_clearly_or_are_harmless() {
    each("10-lossy-features", |_, fixture, ended| {
        let told = format!("{}\n{}{}", fixture.title(), ended.stdout, ended.stderr);
        // `ignore_errors` was lost on the way.
        assert_eq!(ended.code, 2, "{told}");
        assert!(ended.stdout.contains("non-zero return code"), "{told}");
    });
}
