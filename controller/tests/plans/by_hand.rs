//! Plans made by hand: what the real tools do not emit but could, and what cannot be meant.

use std::fs;

use rustle_exec::plan::{Plan, Strategy, Waves};
use rustle_protocol::HostName;
use serde_json::{Value, json};

use super::fixtures::shown_task;
use super::{PlanSource, bytes, fixtures, names, read};

fn task(order: u32, id: &str, extra: Value) -> Value {
    let mut task = json!({"task_id": id, "name": id, "module": "ping", "args": {}, "execution_order": order});
    task.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    task
}

fn batch(id: &str, hosts: &[&str], tasks: Vec<Value>, needs: &[&str]) -> Value {
    json!({"batch_id": id, "hosts": hosts, "tasks": tasks, "dependencies": needs})
}

fn play(extra: Value, batches: Vec<Value>) -> String {
    let mut play = json!({"name": "p", "hosts": ["a", "b", "c"], "batches": batches});
    play.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"plays": [play]}).to_string()
}

/// A play of one batch with one task.
fn one(extra: Value) -> String {
    play(json!({}), vec![batch("x", &["a", "b", "c"], vec![task(0, "t", extra)], &[])])
}

fn ok(text: impl Into<String>) -> Plan {
    read(bytes(text), None, None).unwrap().plan
}

fn order(plan: &Plan) -> String {
    plan.plays[0].tasks.iter().map(|id| plan.task(*id).plan_id.as_str()).collect::<Vec<_>>().join(" ")
}

/// The message and what to do about it.
fn refusal(text: &str) -> String {
    let error = read(bytes(text), None, None).unwrap_err();
    error.hint().map_or(error.to_string(), |hint| format!("{error} ({hint})"))
}

#[test]
fn batches_are_merged_by_execution_order_and_their_hosts_united() {
    let none = || json!({});
    let plan = ok(play(
        none(),
        vec![
            batch("x", &["a"], vec![task(1, "second", none()), task(0, "first", none())], &[]),
            batch("y", &["b"], vec![task(1, "second", none())], &[]),
            batch("z", &["c"], vec![task(1, "second", none())], &[]),
        ],
    ));
    assert_eq!(order(&plan), "first second");
    let hosts =
        |at: usize| plan.tasks[at].hosts.as_ref().map(|hosts| hosts.iter().map(HostName::as_str).collect::<Vec<_>>());
    assert_eq!((hosts(0), hosts(1)), (Some(vec!["a"]), None));
}

#[test]
fn dependencies_between_tasks_are_honoured() {
    let late = task(0, "late", json!({"dependencies": ["early"]}));
    let tasks = vec![late, task(1, "early", json!({})), task(2, "last", json!({}))];
    assert_eq!(order(&ok(play(json!({}), vec![batch("x", &["a"], tasks, &[])]))), "early late last");
}

#[test]
fn dependencies_between_batches_order_the_waves() {
    let rolling = json!({"strategy": {"Rolling": {"batch_size": 1}}});
    let tasks = || vec![task(0, "t", json!({}))];
    let plan = ok(play(rolling, vec![batch("x", &["a"], tasks(), &["y"]), batch("y", &["c", "b"], tasks(), &[])]));
    let Waves::Explicit(waves) = &plan.plays[0].waves else { panic!("{:?}", plan.plays[0].waves) };
    assert_eq!(waves.iter().map(|wave| names(wave)).collect::<Vec<_>>(), ["c b", "a"]);
}

#[test]
fn conditions_of_every_kind_are_understood() {
    let plan = ok(one(json!({"conditions": [
        {"When": {"expression": "x"}}, {"When": {"expression": " "}}, {"Host": {"pattern": "a:b"}},
        {"Host": {"pattern": "!a"}}, {"SkipTag": {"tags": ["slow"]}}, {"CheckMode": {"enabled": true}},
    ]})));
    assert_eq!(shown_task(&plan.tasks[0]), r#"t `t` ping {} when=["x"] tags=["slow"] hosts=b"#);
    assert!(plan.check_mode);
}

#[test]
fn a_task_whose_skip_tag_the_planner_was_given_is_left_out() {
    let text = one(json!({"conditions": [{"SkipTag": {"tags": ["s"]}}]}));
    let mut json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(order(&ok(json.to_string())), "t");
    json["metadata"] = json!({"planning_options": {"skip_tags": ["s"]}});
    assert_eq!(order(&ok(json.to_string())), "");
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_defaulted() {
    let plan = ok(r#"{"plays": [{"hosts": ["a"], "new": {}, "batches": [{"batch_id": "x", "hosts": ["a"], "tasks":
        [{"task_id": "t", "module": "ping", "execution_order": 0, "args": null, "tags": null, "fancy": [1]}]}]}]}"#);
    assert_eq!(order(&plan), "t");
    assert_eq!((plan.forks, plan.plays[0].strategy), (None, Strategy::Linear));
}

#[test]
fn lines_before_the_json_are_skipped_and_still_counted() {
    let text = one(json!({}));
    assert_eq!(order(&ok(format!("\u{1b}[32m INFO\u{1b}[0m planning\nplanning done\n{text}"))), "t");
    assert_eq!(refusal("log line\n{\"plays\": [\n  {\"batches\": [}\n]}"), "-:3:16: not JSON: expected value");
}

#[test]
fn the_digest_is_the_plans_and_not_the_files() {
    let text = fs::read_to_string(fixtures().join("01-simple/plan.linear.json")).unwrap();
    let digest = |text: &str| read(bytes(text), None, None).unwrap().plan.digest;
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["metadata"]["created_at"] = json!("2001-01-01T00:00:00Z");
    assert_eq!(digest(&json.to_string()), digest(&text));
    json["plays"][0]["name"] = json!("another");
    assert_ne!(digest(&json.to_string()), digest(&text));
}

#[test]
fn what_is_no_plan_is_refused_with_its_place() {
    for (text, message) in [
        ("", "-:1:1: empty, where a plan was expected (a plan is what rustle-plan or rustle-parse prints)"),
        ("hello", "-:1:1: not JSON: no line begins with `{` (a plan is what rustle-plan or rustle-parse prints)"),
        (
            "- hosts: all\n",
            "-:1:1: not JSON: no line begins with `{` (a playbook is read from a file: rustle-exec -i hosts.ini site.yml)",
        ),
        ("{\"plays\": [\n  {\"hosts\": [\"a\"],,}\n]}", "-:2:19: not JSON: key must be a string"),
        (
            "{}",
            "-: JSON, but neither a plan of rustle-plan nor the output of rustle-parse (a plan has `plays` with `batches` in them)",
        ),
        (
            r#"{"plays": [{"batches": [{"batch_id": "x", "tasks": [{"task_id": "t"}]}]}]}"#,
            "-:1:68: missing field `module`",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
    let deep = format!("{{\"plays\": [{{\"batches\": [], \"hosts\": {}1{}}}]}}", "[".repeat(5000), "]".repeat(5000));
    assert!(read(bytes(deep), None, None).is_err());
    let error = read(PlanSource::Path("/nowhere/plan.json".into()), None, None).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/plan.json: cannot be read");
    let error = read(PlanSource::Bytes(b"{\n \xff".to_vec()), None, None).unwrap_err();
    assert_eq!(error.to_string(), "-:2:2: not UTF-8 text");
}

/// The message behind `-: invalid plan: `.
fn contradiction(text: String) -> String {
    let refusal = refusal(&text);
    refusal.strip_prefix("-: invalid plan: ").unwrap_or(&refusal).to_owned()
}

#[test]
fn dependencies_on_nothing_and_circles_are_refused_with_their_chain() {
    let needs = |id: &str| json!({"dependencies": [id]});
    let batches = |list| contradiction(play(json!({}), list));
    assert_eq!(
        contradiction(one(needs("nope"))),
        "play `p`: task `t` (t) depends on `nope`, which is no task of the play"
    );
    assert_eq!(contradiction(one(needs("t"))), "play `p`: dependencies run in a circle: t > t");
    assert_eq!(
        batches(vec![batch("x", &["a"], vec![task(0, "t", needs("u")), task(1, "u", needs("t"))], &[])]),
        "play `p`: dependencies run in a circle: t > u > t"
    );
    assert_eq!(
        batches(vec![batch("x", &["a"], vec![], &["y"])]),
        "play `p`: batch `x` depends on `y`, which is no batch of the play"
    );
    assert_eq!(
        batches(vec![batch("x", &["a"], vec![], &["y"]), batch("y", &["a"], vec![], &["x"])]),
        "play `p`: dependencies run in a circle: x > y > x"
    );
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    let none = || json!({});
    assert_eq!(contradiction(r#"{"metadata": {"planning_options": {}}}"#.into()), "it has no plays");
    assert_eq!(
        contradiction(r#"{"metadata": {"planning_options": {"forks": 0}}}"#.into()),
        "planning_options.forks is 0 (plan again with --forks 1 or more)"
    );
    assert_eq!(
        contradiction(play(none(), vec![batch("x", &["a"], vec![task(0, "t", none()), task(0, "u", none())], &[])])),
        "play `p`: execution_order 0 names two different tasks, `t` (t) and `u` (u)"
    );
    let handler = |id: &str| json!({"handler_id": id, "name": id, "module": "ping", "execution_order": 0});
    assert_eq!(
        contradiction(play(json!({"handlers": [handler("h"), handler("i")]}), vec![])),
        "play `p`: execution_order 0 names two handlers, `h` (h) and `i` (i)"
    );
    assert_eq!(
        contradiction(play(none(), vec![batch("x", &["a"], vec![], &[]), batch("x", &["a"], vec![], &[])])),
        "play `p`: two batches are called `x`"
    );
    let rolling = json!({"strategy": {"Rolling": {"batch_size": 1}}});
    assert_eq!(
        contradiction(play(rolling, vec![batch("x", &["a"], vec![], &[]), batch("y", &["b", "a"], vec![], &[])])),
        "play `p`: host `a` is in batch `y` and in one before it"
    );
}

#[test]
fn what_a_plan_says_of_hosts_is_checked() {
    assert!(
        refusal(&play(json!({"hosts": ["../../etc"]}), vec![]))
            .ends_with("`../../etc` is not a host name: only letters, digits, `.`, `-` and `_` may stand in it")
    );
    assert_eq!(
        contradiction(play(json!({"hosts": []}), vec![])),
        "no play has a host; play `p` has no hosts: the plan names no hosts for it: rustle-plan resolves `all` and hosts' names, but no groups or patterns (give the parsed playbook with --parsed, which names groups, or plan `hosts: all` from `rustle-parse --limit GROUP`)"
    );
    assert_eq!(
        contradiction(one(json!({"conditions": [{"Host": {"pattern": "wbe"}}]}))),
        "play `p`, task `t`: its host condition: no host or group is called `wbe`"
    );
}

#[test]
fn tasks_that_cannot_be_understood_are_refused() {
    let with = |module: &str, args: Value| contradiction(one(json!({"module": module, "args": args})));
    assert_eq!(with("file", json!({"_raw_params": "/x"})), "play `p`, task `t`: `/x` is not key=value");
    assert_eq!(
        with("block", json!({"_raw_params": [{"name": "x"}]})),
        "play `p`, task `t`: a task inside a block has no module"
    );
    assert_eq!(
        with("shell", json!({"_raw_params": "echo it's"})),
        "play `p`, task `t`: its command line: `'s` is not closed"
    );
    let nested = (0..80).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(
        with("ping", json!({"data": nested})),
        "play `p`, task `t`: argument `data` is nested deeper than 64 levels"
    );
    let text =
        one(json!({})).replace(r#""args":{}"#, &format!(r#""args":{{"a":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000)));
    assert!(refusal(&text).ends_with("not JSON: recursion limit exceeded"), "{}", refusal(&text));
    let strategy = refusal(&play(json!({"strategy": "Zigzag"}), vec![]));
    assert!(strategy.contains("unknown variant `Zigzag`, expected one of `Linear`"), "{strategy}");
}

#[test]
fn keywords_give_back_what_the_planner_has_no_field_for() {
    let keywords = json!({"keywords": {"register": "r", "become_user": "app", "any_errors_fatal": true, "retries": 2}});
    let of_play = json!({"keywords": {"become": true, "become_user": "db", "force_handlers": true, "max_fail_percentage": 25,
        "vars": {"x": 1}, "gather_facts": false}});
    let tasks = vec![task(0, "t", keywords), task(1, "u", json!({}))];
    let plan = ok(play(of_play, vec![batch("x", &["a", "b", "c"], tasks, &[])]));
    let play = &plan.plays[0];
    assert_eq!((play.force_handlers, play.max_fail_percentage, play.gather_facts), (true, Some(25.0), Some(false)));
    assert!(play.vars.contains_key("x") && !play.any_errors_fatal);
    let user = |at: usize| plan.tasks[at].run_as.user.as_ref().unwrap().source();
    assert_eq!((user(0), user(1)), ("app".into(), "db".into()));
    assert!(plan.tasks.iter().all(|task| task.run_as.wanted == Some(true.into())));
    assert_eq!(plan.tasks[0].register.as_deref(), Some("r"));
    assert_eq!(plan.tasks[0].until.as_ref().unwrap().retries, 2.into());
    let fatal = |task: usize| plan.tasks[task].failure.any_errors_fatal.known() == Some(&true);
    assert!(fatal(0) && !fatal(1));
}

#[test]
fn a_keyword_that_means_nothing_is_refused() {
    for (keywords, error) in [
        (json!({"keywords": {"becom": true}}), "`becom` in `keywords` is no keyword of a task"),
        (json!({"keywords": {"run_once": true}}), "`run_once` in `keywords` is not understood"),
        (json!({"keywords": {"register": 3}}), "`register` in `keywords` must be a string, not a int"),
        (json!({"keywords": {"become_method": "x"}}), "become_method must be sudo, direct, su or runuser, not `x`"),
    ] {
        assert_eq!(refusal(&one(keywords)), format!("-: invalid plan: play `p`, task `t`: {error}"));
    }
    for (keywords, error) in [
        (json!({"keywords": {"roles": []}}), "`roles` in `keywords` is no keyword of a play that is understood"),
        (
            json!({"keywords": {"max_fail_percentage": 101}}),
            "`max_fail_percentage` in `keywords` must be a percentage, not a int",
        ),
    ] {
        let text = play(keywords, vec![batch("x", &["a"], vec![task(0, "t", json!({}))], &[])]);
        assert_eq!(refusal(&text), format!("-: invalid plan: play `p`: {error}"));
    }
}
