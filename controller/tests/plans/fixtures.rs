//! What the real tools made.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rustle_exec::input::inventory::Inventory;
use rustle_exec::input::{Loaded, PlanSource, check_hosts};
use rustle_exec::plan::{Plan, Strategy, TagFilter, Task, Waves};
use rustle_exec::template::Expression;
use rustle_protocol::{HostName, Value};

use super::{fixture, fixtures, names, read};

fn with_parsed(case: &str, plan: &str) -> Plan {
    let folder = fixtures().join(case);
    read(PlanSource::Path(folder.join(plan)), Some(&folder.join("parsed.json")), None).unwrap().plan
}

/// Every JSON file of the fixtures whose name begins so.
fn files(head: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for case in fs::read_dir(fixtures()).unwrap() {
        for file in fs::read_dir(case.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with(head) && name.ends_with(".json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The parsed playbook that a plan was made of.
fn parsed_of(plan: &Path) -> PathBuf {
    let name = plan.file_name().unwrap().to_str().unwrap();
    match name.split_once("parse-limit-") {
        Some((_, group)) => plan.with_file_name(format!("parsed.limit-{group}")),
        None => plan.with_file_name("parsed.json"),
    }
}

fn shown(plan: &Plan) -> String {
    let mut out = String::new();
    for play in &plan.plays {
        writeln!(out, "{} `{}` {:?}: {}", play.id, play.name, play.strategy, names(&play.hosts)).unwrap();
        match &play.waves {
            Waves::One => {}
            Waves::Explicit(waves) => waves.iter().for_each(|wave| writeln!(out, "  wave: {}", names(wave)).unwrap()),
            Waves::Serial(sizes) => writeln!(out, "  serial: {sizes:?}").unwrap(),
        }
        for (kind, ids) in [("", &play.tasks), ("handler ", &play.handlers)] {
            for id in ids {
                writeln!(out, "  {kind}{}", shown_task(plan.task(*id))).unwrap();
            }
        }
    }
    plan.warnings.iter().for_each(|warning| writeln!(out, "warning: {warning}").unwrap());
    out
}

pub(super) fn shown_task(task: &Task) -> String {
    // rustle-plan writes arguments in an order that changes from run to run.
    let args: BTreeMap<&String, Value> = task.args.iter().map(|(name, value)| (name, value.source())).collect();
    let args = serde_json::to_string(&args).unwrap();
    let mut out = format!("{} `{}` {} {args}", task.plan_id, task.title(), task.module);
    let conditions = |list: &[Expression]| list.iter().map(|condition| condition.to_string()).collect::<Vec<_>>();
    for (word, list) in [
        ("when", conditions(&task.when)),
        ("tags", task.tags.clone()),
        ("notify", task.notify.clone()),
        ("changed_when", conditions(&task.changed_when)),
        ("failed_when", conditions(&task.failed_when)),
    ] {
        if !list.is_empty() {
            write!(out, " {word}={list:?}").unwrap();
        }
    }
    let items = task.looping.as_ref().map(|looping| &looping.items);
    let other = task.delegation.as_ref().map(|delegation| &delegation.to);
    for (word, value) in [("loop", items), ("delegate_to", other)] {
        if let Some(value) = value {
            write!(out, " {word}={}", value.source()).unwrap();
        }
    }
    if task.failure.ignore_errors.known() == Some(&true) {
        out += " ignore_errors";
    }
    if let Some(hosts) = &task.hosts {
        write!(out, " hosts={}", hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ")).unwrap();
    }
    out
}

/// The lines that show tasks, without the play's.
fn tasks(plan: &Plan) -> Vec<String> {
    shown(plan).lines().filter(|line| line.starts_with("  task_")).map(str::to_owned).collect()
}

/// What a plan's JSON says of each play, worked out another way: ids in execution_order, and hosts.
fn expected(json: &serde_json::Value) -> Vec<(Vec<&str>, Vec<&str>)> {
    let mut plays = Vec::new();
    for play in json["plays"].as_array().unwrap() {
        let tasks = play["batches"].as_array().unwrap().iter().flat_map(|batch| batch["tasks"].as_array().unwrap());
        let in_order: BTreeMap<u64, &str> =
            tasks.map(|task| (task["execution_order"].as_u64().unwrap(), task["task_id"].as_str().unwrap())).collect();
        let hosts = play["hosts"].as_array().unwrap().iter().map(|host| host.as_str().unwrap()).collect();
        plays.push((in_order.into_values().collect(), hosts));
    }
    plays
}

#[test]
fn every_plan_is_read_in_its_own_order_with_its_own_hosts() {
    let plans = files("plan.");
    assert!(plans.len() > 100, "{} plans", plans.len());
    for path in plans {
        let at = path.display();
        let plan = read(PlanSource::Path(path.clone()), None, None).unwrap().plan;
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = expected(&json);
        assert_eq!(plan.plays.len(), expected.len(), "{at}");
        for (play, (ids, hosts)) in plan.plays.iter().zip(expected) {
            let read: Vec<&str> = play.tasks.iter().map(|id| plan.task(*id).plan_id.as_str()).collect();
            assert_eq!(read, ids, "{at}");
            assert_eq!(names(&play.hosts), hosts.join(" "), "{at}");
            assert_eq!(play.hosts.is_empty(), play.empty_reason.is_some(), "{at}");
            assert_eq!(play.waves.cut(&play.hosts).concat().len(), play.hosts.len(), "{at}");
            assert!(play.tasks.iter().all(|id| plan.task(*id).hosts.is_none()), "{at}");
        }
        let forks = json["metadata"]["planning_options"]["forks"].as_u64().unwrap();
        assert_eq!(plan.forks, Some(forks as usize), "{at}");
        let dry = at.to_string().contains("check-diff");
        assert_eq!((plan.check_mode, plan.diff), (dry, dry), "{at}");
    }
}

#[test]
fn every_parsed_playbook_is_a_plan_and_brings_its_inventory() {
    for path in files("parsed") {
        let Loaded { plan, inventory } = read(PlanSource::Path(path.clone()), None, None).unwrap();
        assert!(check_hosts(&plan, &inventory.unwrap(), "parsed.json").is_ok(), "{}", path.display());
        assert!(!plan.tasks.is_empty() && plan.forks.is_none(), "{}", path.display());
    }
}

#[test]
fn every_plan_goes_together_with_its_parsed_playbook() {
    for path in files("plan.") {
        let loaded = read(PlanSource::Path(path.clone()), Some(&parsed_of(&path)), None).unwrap();
        let alone = read(PlanSource::Path(path.clone()), None, None).unwrap().plan;
        assert!(loaded.inventory.is_some(), "{}", path.display());
        assert_ne!(loaded.plan.digest, alone.digest, "{}", path.display());
        let empty = |plan: &Plan| plan.plays.iter().filter(|play| play.hosts.is_empty()).count();
        assert!(empty(&loaded.plan) <= empty(&alone), "{}", path.display());
    }
}

#[test]
fn free_and_optimized_plans_run_in_the_playbooks_order() {
    let linear = tasks(&fixture("07-package-service/plan.linear.json"));
    for plan in ["plan.free.json", "plan.free+optimize.json", "plan.binary-hybrid.json"] {
        assert_eq!(tasks(&fixture(&format!("07-package-service/{plan}"))), linear, "{plan}");
    }
}

#[test]
fn strategies_are_the_plans() {
    for (plan, strategy) in [
        ("linear", Strategy::Linear),
        ("rolling", Strategy::Rolling),
        ("free", Strategy::Free),
        ("host-pinned", Strategy::HostPinned),
        ("binary-hybrid", Strategy::Batch),
        ("binary-only", Strategy::Batch),
    ] {
        assert_eq!(fixture(&format!("01-simple/plan.{plan}.json")).plays[0].strategy, strategy);
    }
}

#[test]
fn a_rolling_plan_keeps_its_waves() {
    insta::assert_snapshot!(shown(&fixture("06-rolling-serial/plan.rolling+serial-4.json")));
}

#[test]
fn serial_comes_from_the_planners_command_line_or_from_the_playbook() {
    let sizes = |plan: &Plan| plan.plays[0].waves.cut(&plan.plays[0].hosts).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&fixture("06-rolling-serial/plan.linear.json")), [23]);
    assert_eq!(sizes(&fixture("06-rolling-serial/plan.linear+serial-4.json")), [4, 4, 4, 4, 4, 3]);
    let plan = with_parsed("06-rolling-serial", "plan.linear.json");
    assert_eq!(sizes(&plan), [4, 4, 4, 4, 4, 3]);
    assert_eq!(plan.plays[0].max_fail_percentage, Some(20.0));
}

#[test]
fn handlers_keep_their_order_and_get_their_own_notifications_back() {
    insta::assert_snapshot!(shown(&with_parsed("03-handlers", "plan.linear.json")));
}

#[test]
fn conditions_stay_expressions_and_a_dry_plan_runs_dry() {
    insta::assert_snapshot!(shown(&fixture("05-when/plan.linear+check-diff.json")));
}

#[test]
fn a_play_for_a_group_is_empty_until_the_parsed_playbook_names_it() {
    insta::assert_snapshot!("groups_without_parsed_playbook", shown(&fixture("02-multi-play/plan.linear.json")));
    let plan = with_parsed("02-multi-play", "plan.linear.json");
    let hosts: Vec<String> = plan.plays[1..].iter().map(|play| names(&play.hosts)).collect();
    assert_eq!(hosts, ["web1 web2 web3", "db2 db1", "edge1", "web1 web2 web3 db1 db2"]);
    assert_eq!(plan.warnings, [""; 0]);
}

#[test]
fn a_rolling_play_without_hosts_gets_its_tasks_back_too() {
    let plan = with_parsed("02-multi-play", "plan.rolling.json");
    let web = &plan.plays[1];
    assert_eq!(names(&web.hosts), "web1 web2 web3");
    assert!(!web.tasks.is_empty());
    assert_eq!(web.waves.cut(&web.hosts).len(), 1, "five at a time");
}

#[test]
fn an_inventory_of_the_operators_own_resolves_groups_too() {
    let folder = fixtures().join("02-multi-play");
    let inventory = Inventory::load(&[folder.join("inventory.ini")], Default::default()).unwrap();
    let parsed = folder.join("parsed.json");
    let plan = read(PlanSource::Path(folder.join("plan.linear.json")), Some(&parsed), Some(&inventory)).unwrap().plan;
    assert_eq!(names(&plan.plays[4].hosts), "web1 web2 web3 db1 db2");
    assert!(check_hosts(&plan, &inventory, "inventory.ini").is_ok());
}

#[test]
fn what_the_planner_loses_comes_back_with_the_parsed_playbook() {
    insta::assert_snapshot!(shown(&with_parsed("10-lossy-features", "plan.linear.json")));
}

#[test]
fn a_parsed_playbook_alone_is_a_plan() {
    let plan = fixture("10-lossy-features/parsed.json");
    assert_eq!(plan.plays[0].strategy, Strategy::Free);
    assert_eq!(plan.plays[0].max_fail_percentage, Some(10.0));
    assert_eq!(plan.plays[0].vars["base"].source(), Value::from("/opt/rx-demo"));
    assert_eq!(tasks(&plan), tasks(&with_parsed("10-lossy-features", "plan.linear.json")));
}

#[test]
fn variables_of_parsed_hosts_are_theirs_alone() {
    let path = fixtures().join("09-fleet-100/parsed.json");
    let inventory = read(PlanSource::Path(path), None, None).unwrap().inventory.unwrap();
    let var = |host: &str, name: &str| inventory.var(inventory.host_id(host).unwrap(), name).cloned();
    assert_eq!(var("web024", "role").map(|role| role.source()), Some(Value::from("front")));
    assert_eq!(var("web024", "ansible_user"), None, "a child's variable must not reach its parent's other children");
    assert_eq!(inventory.host_count(), 100);
    let members = |group| inventory.members(inventory.group_id(group).unwrap()).len();
    assert_eq!((members("fleet"), members("backend"), members("web")), (100, 40, 60));
}

#[test]
fn tags_of_the_run_choose_among_the_plans_tasks() {
    let kept = |asked: &[&str], skipped: &[&str]| {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut plan = fixture("04-tags/plan.linear.json");
        TagFilter::new(&strings(asked), &strings(skipped)).apply(&mut plan);
        let ids = plan.plays[0].tasks.iter().map(|id| plan.task(*id).plan_id.trim_start_matches("task_").to_owned());
        ids.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kept(&[], &[]), "0 1 2 3 5");
    assert_eq!(kept(&["install"], &[]), "1 3");
    assert_eq!(kept(&["install,configure"], &[]), "1 2 3");
    assert_eq!(kept(&["never"], &[]), "3 4");
    assert_eq!(kept(&[], &["packages"]), "0 2 3 5");
}

#[test]
fn a_plan_without_tasks_and_one_with_a_comma_in_a_tag_are_warned_of() {
    let plan = fixture("04-tags/plan.linear+tags-comma.json");
    assert_eq!(
        plan.warnings,
        [
            "the plan was made with --tags install,configure, which rustle-plan takes for one tag; give --tags once for each",
            "the plan holds no task",
        ]
    );
}

#[test]
fn a_host_that_the_inventory_does_not_have_is_named() {
    let plan = fixture("01-simple/plan.linear.json");
    let first = plan.plays[0].hosts[0].as_str();
    let others = Inventory::of_hosts(plan.plays[0].hosts[1..].iter().map(HostName::as_str)).unwrap();
    let error = check_hosts(&plan, &others, "hosts.ini").unwrap_err().to_string();
    assert!(error.ends_with(&format!("names host `{first}`, which hosts.ini does not have")), "{error}");
    let nobody = Inventory::of_hosts(["zzz"]).unwrap();
    let error = check_hosts(&fixture("09-fleet-100/plan.linear.json"), &nobody, "hosts.ini").unwrap_err();
    assert!(error.to_string().contains(" and 95 more, which hosts.ini does not have"), "{error}");
}

#[test]
fn a_parsed_playbook_of_another_plan_is_refused() {
    let mixed = |plan: &str, parsed: &str| {
        let error = read(PlanSource::Path(fixtures().join(plan)), Some(&fixtures().join(parsed)), None).unwrap_err();
        error.to_string().replace(&format!("{}/", fixtures().display()), "")
    };
    assert_eq!(
        mixed("02-multi-play/plan.linear.json", "01-simple/parsed.json"),
        "02-multi-play/plan.linear.json: invalid plan: the plan has 5 plays, the parsed playbook 1"
    );
    assert_eq!(
        mixed("03-handlers/plan.linear.json", "05-when/parsed.json").split(": it is called").next().unwrap(),
        "03-handlers/plan.linear.json: invalid plan: play `Handlers notified from several tasks`"
    );
    assert_eq!(
        mixed("01-simple/plan.linear.json", "01-simple/plan.free.json"),
        "01-simple/plan.free.json: expected the output of rustle-parse, not a plan"
    );
}
