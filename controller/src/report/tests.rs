//! Whole runs, as they are told.

use std::path::Path;
use std::time::Duration;

use rustle_protocol::{Map, Value};

use super::plain::PROGRESS_INTERVAL;
use super::script::{Script, file_diff, host, item, map, shown};
use super::test_output::{Broken, Shared};
use super::*;
use crate::event::{CancelReason, HostState, PlayEnd, RunEvent, TaskStatus};
use crate::origin::Origin;
use crate::plan::PlayId;

fn lines(script: &Script, verbosity: u8) -> Vec<Line> {
    let mut layout = Layout::new(verbosity, None);
    script.events.iter().flat_map(|event| layout.lines(event)).collect()
}

fn plain(script: &Script) -> String {
    shown(&lines(script, 0))
}

fn told_as(script: &Script, settings: OutputSettings) -> String {
    let mut layout = Layout::new(0, None).with_settings(settings);
    shown(&script.events.iter().flat_map(|event| layout.lines(event)).collect::<Vec<_>>())
}

fn terminal(script: &Script) -> String {
    let mut text = TerminalText::new(Layout::new(0, None), FOLD_HOSTS_ABOVE);
    shown(&script.events.iter().flat_map(|event| text.lines(event)).collect::<Vec<_>>())
}

/// Everything from the first banner of `task` to the next empty line.
fn told_of(task: &str, output: &str) -> String {
    let lines = output.lines().skip_while(|line| !line.contains(task)).skip(1);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plain_run_has_ansibles_layout() {
    let mut script = Script::new(["web1", "web2", "db1", "a-very-long-host-name-in-the-inventory"]);
    script.play("set up");
    let ping = script.task("ping", "ping");
    script.ok(ping, "web1").changed(ping, "web2").unreachable(ping, "db1", "no answer within 5s");
    script.skipped(ping, "a-very-long-host-name-in-the-inventory");
    let fails = script.task("fails", "command");
    script.finish_with(fails, "web1", TaskStatus::Failed, |r| {
        r.ignored = true;
        r.values = map(&[
            ("changed", true.into()),
            ("failed", true.into()),
            ("cmd", vec!["false".to_owned()].into()),
            ("rc", 1.into()),
            ("stdout", "".into()),
            ("stderr", "oh\nno".into()),
            ("invocation", map(&[("module_args", Value::Null)]).into()),
        ]);
    });
    script.failed(fails, "web2", "non-zero return code");
    let handler = script.handler("restart nginx", "service");
    script.finish_with(handler, "web1", TaskStatus::Changed, |r| r.delegated_to = Some(host("web2")));
    script.finish_with(handler, "a-very-long-host-name-in-the-inventory", TaskStatus::Ok, |r| {
        r.delegated_to = Some(r.host.clone());
    });
    script.push(RunEvent::PlayFinished { play: PlayId(0), end: PlayEnd::Completed });
    script.push(RunEvent::PlayStarted {
        play: PlayId(1),
        name: "nobody".to_owned(),
        hosts: 0,
        batches: 0,
        check: false,
    });
    script.finish(None, &[("db1", HostState::Unreachable), ("web2", HostState::Failed)]);
    insta::assert_snapshot!(plain(&script), @r#"
    PLAY [set up] ******************************************************************

    TASK [ping] ********************************************************************
    ok: [web1]
    changed: [web2]
    fatal: [db1]: UNREACHABLE! => {"changed": false, "msg": "no answer within 5s", "unreachable": true}
    skipping: [a-very-long-host-name-in-the-inventory]

    TASK [fails] *******************************************************************
    fatal: [web1]: FAILED! => {"changed": true, "cmd": ["false"], "rc": 1, "stderr": "oh\nno", "stderr_lines": ["oh", "no"], "stdout": "", "stdout_lines": []}
    ...ignoring
    fatal: [web2]: FAILED! => {"changed": false, "msg": "non-zero return code"}

    RUNNING HANDLER [restart nginx] ************************************************
    changed: [web1 -> web2]
    ok: [a-very-long-host-name-in-the-inventory]

    PLAY [nobody] ******************************************************************
    skipping: no hosts matched

    PLAY RECAP *********************************************************************
    a-very-long-host-name-in-the-inventory : ok=1    changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0   $
    db1                        : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0   $
    web1                       : ok=3    changed=2    unreachable=0    failed=0    skipped=0    rescued=0    ignored=1   $
    web2                       : ok=1    changed=1    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    "#);
}

#[test]
fn failures_go_to_standard_error_if_that_is_wanted() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("p");
    let loops = script.task("loops", "command");
    let items = vec![item("a", TaskStatus::Ok), item("b", TaskStatus::Failed)];
    script.looped(loops, "web1", TaskStatus::Failed, true, items);
    script.finish_with(loops, "web2", TaskStatus::Unreachable, |_| {});
    let mut layout =
        Layout::new(0, None).with_settings(OutputSettings { failures_to_err: true, ..OutputSettings::default() });
    let lines: Vec<Line> = script.events.iter().flat_map(|event| layout.lines(event)).collect();
    insta::assert_snapshot!(told_of("TASK [loops]", &shown(&lines)), @r#"
    ok: [web1] => (item=a)
    stderr: failed: [web1] (item=b) => {"changed": false, "item": "b"}
    ...ignoring
    stderr: fatal: [web2]: UNREACHABLE! => {"changed": false}
    "#);
}

/// A run in which some did well, changed something, were skipped and failed, told as it is set.
fn told_with(settings: OutputSettings) -> String {
    let mut script = Script::new(["web1", "web2"]);
    script.play("p");
    let well = script.task("well", "command");
    script.ok(well, "web1").ok(well, "web2");
    let mixed = script.task("mixed", "command");
    script.changed(mixed, "web1").skipped(mixed, "web2");
    let skipped = script.task("skipped", "command");
    script.skipped(skipped, "web1").skipped(skipped, "web2");
    let looped = script.task("looped", "command");
    let items = [TaskStatus::Ok, TaskStatus::Changed, TaskStatus::Skipped].map(|status| item("i", status));
    script.looped(looped, "web1", TaskStatus::Changed, false, items.into());
    script.looped(looped, "web2", TaskStatus::Skipped, false, vec![item("i", TaskStatus::Skipped)]);
    let word = script.task("word", "meta");
    script.ok(word, "web1");
    let fails = script.start_at("fails", "command", Path::new("/plays/site.yml"), 3);
    script.failed(fails, "web1", "no");
    let mut layout = Layout::new(0, None).with_settings(settings);
    let lines: Vec<Line> = script.events.iter().flat_map(|event| layout.lines(event)).collect();
    shown(&lines)
}

#[test]
fn results_that_nobody_wants_to_see_are_left_out_with_the_banners_above_them() {
    insta::assert_snapshot!(told_with(OutputSettings { ok_hosts: false, ..OutputSettings::default() }), @r#"
    PLAY [p] ***********************************************************************

    TASK [mixed] *******************************************************************
    changed: [web1]
    skipping: [web2]

    TASK [skipped] *****************************************************************
    skipping: [web1]
    skipping: [web2]

    TASK [looped] ******************************************************************
    changed: [web1] => (item=i)
    skipping: [web1] => (item=i) $
    skipping: [web2] => (item=i) $
    skipping: [web2]

    TASK [fails] *******************************************************************
    [ERROR]: Task failed: Module failed: no
    Origin: /plays/site.yml:3:1

    fatal: [web1]: FAILED! => {"changed": false, "msg": "no"}
    "#);
    insta::assert_snapshot!(told_with(OutputSettings { skipped_hosts: false, ..OutputSettings::default() }), @r#"
    PLAY [p] ***********************************************************************

    TASK [well] ********************************************************************
    ok: [web1]
    ok: [web2]

    TASK [mixed] *******************************************************************
    changed: [web1]

    TASK [looped] ******************************************************************
    ok: [web1] => (item=i)
    changed: [web1] => (item=i)

    TASK [fails] *******************************************************************
    [ERROR]: Task failed: Module failed: no
    Origin: /plays/site.yml:3:1

    fatal: [web1]: FAILED! => {"changed": false, "msg": "no"}
    "#);
}

#[test]
fn the_place_of_a_task_stands_above_its_failure_if_that_is_wanted() {
    let told = told_with(OutputSettings { task_path_on_failure: true, ..OutputSettings::default() });
    assert!(told.contains("\ntask path: /plays/site.yml:3\nfatal: [web1]: FAILED!"), "{told}");
    assert_eq!(told.matches("task path").count(), 1, "{told}");
    assert!(!told_with(OutputSettings::default()).contains("task path"));
}

#[test]
fn loops_are_told_item_by_item() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("p");
    let done = script.task("some done", "command");
    let items = vec![item("a", TaskStatus::Ok), item("{'x': 1}", TaskStatus::Changed), item("c", TaskStatus::Skipped)];
    script.looped(done, "web1", TaskStatus::Changed, false, items);
    let fails = script.task("one fails", "command");
    script.looped(
        fails,
        "web1",
        TaskStatus::Failed,
        true,
        vec![item("a", TaskStatus::Ok), item("b", TaskStatus::Failed)],
    );
    let skipped = script.task("all skipped", "command");
    script.looped(skipped, "web1", TaskStatus::Skipped, false, vec![item("a", TaskStatus::Skipped)]);
    let empty = script.task("none", "command");
    script.looped(empty, "web1", TaskStatus::Skipped, false, vec![]);
    let cancelled = script.task("cancelled", "command");
    script.looped(cancelled, "web1", TaskStatus::Cancelled, false, vec![item("a", TaskStatus::Cancelled)]);
    insta::assert_snapshot!(plain(&script), @r#"
    PLAY [p] ***********************************************************************

    TASK [some done] ***************************************************************
    ok: [web1] => (item=a)
    changed: [web1] => (item={'x': 1})
    skipping: [web1] => (item=c) $

    TASK [one fails] ***************************************************************
    ok: [web1] => (item=a)
    failed: [web1] (item=b) => {"changed": false, "item": "b"}
    ...ignoring

    TASK [all skipped] *************************************************************
    skipping: [web1] => (item=a) $
    skipping: [web1]

    TASK [none] ********************************************************************
    skipping: [web1]

    TASK [cancelled] ***************************************************************
    cancelled: [web1] (item=a) => {"changed": false, "item": "a"}
    fatal: [web1]: CANCELLED! => {"changed": false}
    "#);
}

#[test]
fn a_run_that_tells_more_begins_with_the_playbook_and_its_plays() {
    let mut script = Script::new(["web1"]);
    script.push(RunEvent::PlaybookStarted { playbook: "plan.json".to_owned(), plays: 1 });
    let head = |verbosity| shown(&lines(&script, verbosity));
    assert_eq!(head(1), "");
    let banner = format!("PLAYBOOK: plan.json {}\n1 plays in plan.json", "*".repeat(60));
    assert_eq!(head(2), banner);
}

#[test]
fn each_playbook_ends_with_what_the_run_has_come_to() {
    let mut script = Script::new(["web1", "web2"]);
    script.push(RunEvent::PlaybookStarted { playbook: "one.yml".to_owned(), plays: 1 });
    let task = script.play("p").task("t", "ping");
    script.ok(task, "web1").changed(task, "web2");
    script.push(RunEvent::PlaybookStarted { playbook: "two.yml".to_owned(), plays: 1 });
    let task = script.play("q").task("t", "ping");
    script.failed(task, "web1", "no");
    script.finish(None, &[("web1", HostState::Failed)]);
    let RunEvent::RunFinished(finished) = &mut script.events.last_mut().unwrap().event else { panic!("it has ended") };
    finished.not_begun = vec!["three.yml".to_owned(), "four.yml".to_owned()];
    insta::assert_snapshot!(plain(&script), @r#"
    PLAY [p] ***********************************************************************

    TASK [t] ***********************************************************************
    ok: [web1]
    changed: [web2]

    PLAY RECAP *********************************************************************
    web1                       : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   $
    web2                       : ok=1    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   $


    PLAY [q] ***********************************************************************

    TASK [t] ***********************************************************************
    fatal: [web1]: FAILED! => {"changed": false, "msg": "no"}

    PLAY RECAP *********************************************************************
    web1                       : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web2                       : ok=1    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   $

    playbooks not begun: three.yml, four.yml
    "#);
}

#[test]
fn where_a_task_stands_is_told_from_the_second_verbosity_on() {
    let mut script = Script::new(["web1"]);
    script.task("install", "package");
    let last = script.events.last_mut().expect("the task has started");
    let RunEvent::TaskStarted { origin, .. } = &mut last.event else { panic!("the task has started") };
    *origin = Some(Origin { file: Path::new("/plays/site.yml").into(), line: Some(3), column: Some(7), text: None });
    let told = |verbosity| shown(&lines(&script, verbosity));
    assert!(told(2).ends_with("\ntask path: /plays/site.yml:3"), "{}", told(2));
    assert!(!told(1).contains("task path"), "{}", told(1));
}

#[test]
fn a_result_is_shown_with_verbosity_and_debug_always() {
    let mut script = Script::new(["web1"]);
    script.play("p");
    let stat = script.task("stat", "stat");
    script.ok(stat, "web1").skipped(stat, "web1");
    let says = script.task("says", "ansible.builtin.debug");
    script.finish_with(says, "web1", TaskStatus::Ok, |r| {
        r.values = map(&[("msg", vec!["a".to_owned(), "b".to_owned()].into()), ("changed", false.into())]);
    });
    let mut looped = item("a", TaskStatus::Ok);
    looped.values.insert("msg".to_owned(), "a".into());
    script.looped(says, "web1", TaskStatus::Ok, false, vec![looped]);
    insta::assert_snapshot!(plain(&script), @r#"
    PLAY [p] ***********************************************************************

    TASK [stat] ********************************************************************
    ok: [web1]
    skipping: [web1]

    TASK [says] ********************************************************************
    ok: [web1] => {
        "msg": [
            "a",
            "b"
        ]
    }
    ok: [web1] => (item=a) => {
        "msg": "a"
    }
    "#);
    assert!(
        shown(&lines(&script, 1))
            .contains("ok: [web1] => {\"changed\": false}\nskipping: [web1] => {\"changed\": false}")
    );
    assert!(shown(&lines(&script, 3)).contains("ok: [web1] => {\n    \"changed\": false\n}"));
}

#[test]
fn diffs_stand_above_the_line_of_what_changed() {
    let mut script = Script::new(["web1"]);
    script.play("p");
    let copy = script.task("copy", "copy");
    script
        .finish_with(copy, "web1", TaskStatus::Changed, |r| r.diff = vec![file_diff("/etc/motd", "a\nb\n", "a\nc\n")]);
    script.finish_with(copy, "web1", TaskStatus::Ok, |r| r.diff = vec![file_diff("/etc/motd", "a\n", "b\n")]);
    let mut changed = item("x", TaskStatus::Changed);
    changed.diff = vec![file_diff("/etc/x", "", "x")];
    script.looped(copy, "web1", TaskStatus::Changed, false, vec![changed]);
    insta::assert_snapshot!(plain(&script), @r"
    PLAY [p] ***********************************************************************

    TASK [copy] ********************************************************************
    --- before: /etc/motd
    +++ after: /etc/motd
    @@ -1,2 +1,2 @@
     a
    -b
    +c

    changed: [web1]
    ok: [web1]
    --- before: /etc/x
    +++ after: /etc/x
    @@ -0,0 +1 @@
    +x
    \ No newline at end of file

    changed: [web1] => (item=x)
    ");
}

#[test]
fn what_ansible_has_no_words_for_has_words_that_scripts_find() {
    let mut script = Script::new(["web1", "web2", "web3"]);
    script.play("p");
    let task = script.task("slow", "command");
    script.push(RunEvent::Retrying {
        values: map(&[]),
        task,
        name: "slow".to_owned(),
        host: host("web1"),
        attempt: 1,
        attempts_max: 3,
        reason: "rc 1".to_owned(),
        delay: Duration::ZERO,
    });
    script.finish_with(task, "web1", TaskStatus::TimedOut, |r| {
        r.values.insert("msg".to_owned(), "timed out after 600s".into());
        r.values.insert("timedout".to_owned(), Map::from_iter([("period".to_owned(), Value::Int(600))]).into());
    });
    script.push(RunEvent::Cancelling { reason: CancelReason::FailFast });
    script.finish_with(task, "web2", TaskStatus::Cancelled, |r| {
        r.values.insert("msg".to_owned(), "stopped after 3s".into());
    });
    script.push(RunEvent::Warning { message: "disk\x1b[2J\nnearly full".to_owned(), host: Some(host("web1")) });
    script.push(RunEvent::Warning { message: "disk\x1b[2J\nnearly full".to_owned(), host: Some(host("web1")) });
    script.push(RunEvent::UnknownHandler { task, host: host("web1"), name: "restrat".to_owned(), ends_run: false });
    script.push(RunEvent::UnknownHandler { task, host: host("web1"), name: "restrat".to_owned(), ends_run: true });
    script.push(RunEvent::UnknownHandler { task, host: host("web2"), name: "restrat".to_owned(), ends_run: true });
    script.push(RunEvent::Paused).push(RunEvent::Resumed);
    let end = PlayEnd::BudgetExceeded { failed: 2, hosts: 3, allowed: "20%".to_owned() };
    script.push(RunEvent::PlayFinished { play: PlayId(0), end });
    let others = [("web1", HostState::Failed), ("web2", HostState::Cancelled), ("web3", HostState::NotStarted)];
    script.finish(Some(CancelReason::FailFast), &others);
    insta::assert_snapshot!(plain(&script), @r#"
    PLAY [p] ***********************************************************************

    TASK [slow] ********************************************************************
    FAILED - RETRYING: [web1]: slow (2 retries left).
    fatal: [web1]: FAILED! => {"changed": false, "msg": "timed out after 600s", "timedout": {"period": 600}}
    stderr: CANCELLING: a host failed and --fail-fast was given; what runs is being stopped, nothing new is started
    fatal: [web2]: CANCELLED! => {"changed": false, "msg": "stopped after 3s"}
    stderr: [WARNING]: web1: disk\u001b[2J
    stderr:     nearly full
    stderr: [WARNING]: The requested handler 'restrat' was not found in either the main handlers list nor in the listening handlers list
    stderr: [ERROR]: The requested handler 'restrat' was not found in either the main handlers list nor in the listening handlers list
    stderr: PAUSED: nothing new is started until the run is resumed
    stderr: RESUMED

    NO MORE HOSTS LEFT *************************************************************
    STOPPED: 2 of 3 hosts failed, more than is allowed (20%)

    PLAY RECAP *********************************************************************
    web1                       : ok=0    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web2                       : ok=0    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    cancelled=1   $

    cancelled by --fail-fast
    not started: 1 host: web3
    "#);
}

#[test]
fn a_task_that_hosts_come_back_to_has_its_banner_again() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("free");
    let slow = script.task("slow", "command");
    script.ok(slow, "web1");
    let next = script.task("next", "command");
    script.ok(next, "web1").ok(slow, "web2").ok(next, "web2");
    insta::assert_snapshot!(plain(&script), @"
    PLAY [free] ********************************************************************

    TASK [slow] ********************************************************************
    ok: [web1]

    TASK [next] ********************************************************************
    ok: [web1]

    TASK [slow] ********************************************************************
    ok: [web2]

    TASK [next] ********************************************************************
    ok: [web2]
    ");
}

#[test]
fn a_banner_fills_the_terminal_and_counts_wide_letters_twice() {
    let banner = |name: &str, columns| {
        let mut script = Script::new(["web1"]);
        script.task(name, "ping");
        let mut layout = Layout::new(0, columns);
        script.events.iter().flat_map(|event| layout.lines(event)).last().unwrap().text()
    };
    assert_eq!(banner("x", None).len(), 80);
    assert_eq!(banner("x", Some(40)).len(), 80);
    assert_eq!(banner("x", Some(120)).len(), 120);
    assert_eq!(line::width(&banner("日本語", None)), 80);
    let long = "a name that is longer than any terminal that people still use for reading these lines";
    assert_eq!(banner(long, None), format!("TASK [{long}] ***"));
}

#[test]
fn hostile_text_reaches_no_line_wherever_it_comes_from() {
    let evil = "\x1b]52;c;cm0K\x07\u{9b}2J\u{202e}\r\n\u{2028}fatal: [web1]: FAILED!";
    let mut script = Script::new(["web1"]);
    script.play(evil);
    let task = script.task(evil, "copy");
    script.finish_with(task, "web1", TaskStatus::Changed, |r| {
        r.diff = vec![file_diff(evil, evil, "")];
        r.warnings = vec![evil.to_owned()];
    });
    script.failed(task, "web1", evil);
    let mut looped = item(evil, TaskStatus::Failed);
    looped.values.insert("msg".to_owned(), evil.into());
    script.looped(task, "web1", TaskStatus::Failed, false, vec![looped]);
    let says = script.task("says", "debug");
    script.finish_with(says, "web1", TaskStatus::Ok, |r| r.values = map(&[(evil, evil.into())]));
    script.push(RunEvent::Warning { message: evil.to_owned(), host: None });
    script.push(RunEvent::Retrying {
        values: map(&[]),
        task,
        name: evil.to_owned(),
        host: host("web1"),
        attempt: 1,
        attempts_max: 2,
        reason: evil.to_owned(),
        delay: Duration::ZERO,
    });
    for ends_run in [false, true] {
        script.push(RunEvent::UnknownHandler { task, host: host("web1"), name: evil.to_owned(), ends_run });
    }
    for verbosity in [0, 1, 3] {
        for line in lines(&script, verbosity) {
            assert!(!line.text().contains(sanitize::is_hostile), "{line:?}");
        }
    }
    insta::assert_snapshot!(told_of("TASK [says]", &plain(&script)), @r#"
    ok: [web1] => {
        "\u001b]52;c;cm0K\u0007\u009b2J\u202e\r\n\u2028fatal: [web1]: FAILED!": "\u001b]52;c;cm0K\u0007\u009b2J\u202e\r\n\u2028fatal: [web1]: FAILED!"
    }
    "#);
}

#[test]
fn what_changes_nothing_is_marked_where_that_is_wanted() {
    let mut script = Script::new(["web1"]);
    script.dry_run().play("p");
    let task = script.task("t", "command");
    script.ok(task, "web1");
    let handler = script.handler("h", "command");
    script.ok(handler, "web1").finish(None, &[]);
    let settings = OutputSettings { check_mode_markers: true, ..OutputSettings::default() };
    let told = told_as(&script, settings);
    let banners = told.lines().filter(|line| line.ends_with("***"));
    assert_eq!(
        banners.map(|line| line.trim_end_matches('*').trim_end()).collect::<Vec<_>>(),
        [
            "DRY RUN",
            "PLAY [p] [CHECK MODE]",
            "TASK [t] [CHECK MODE]",
            "RUNNING HANDLER [h] [CHECK MODE]",
            "PLAY RECAP",
            "DRY RUN"
        ]
    );
    assert!(!plain(&script).contains("DRY") && !plain(&script).contains("CHECK"));
}

#[test]
fn hosts_that_come_to_a_task_are_told_below_its_banner() {
    let mut script = Script::new(["web1"]);
    script.play("p");
    let task = script.task("t", "command");
    script.push(RunEvent::HostArrived { task, host: host("web1") }).ok(task, "web1");
    let handler = script.handler("h", "command");
    script.push(RunEvent::HostArrived { task: handler, host: host("web1") }).changed(handler, "web1");
    script.finish(None, &[]);
    let told = |ok_hosts| told_as(&script, OutputSettings { ok_hosts, ..OutputSettings::default() });
    assert_eq!(told_of("TASK [t]", &told(true)), " [started TASK: t on web1]\nok: [web1]");
    let without_ok = told(false);
    assert!(without_ok.contains(" [started TASK: t on web1]\n") && !without_ok.contains("TASK [t]"), "{without_ok}");
    assert!(without_ok.contains(" [started HANDLER: h on web1]\n"), "{without_ok}");
}

#[test]
fn colours_are_ansibles_and_only_where_they_are_wanted() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("p");
    let task = script.task("t", "command");
    script.changed(task, "web1").failed(task, "web2", "no").finish(None, &[("web2", HostState::Failed)]);
    let told = |colours| {
        let out = Shared::default();
        let console =
            Console::new(Box::new(out.clone()), Box::new(io::sink())).coloured(&Palette::default(), colours, colours);
        let mut plain = Plain::new(console, Layout::new(0, None));
        script.events.iter().for_each(|event| plain.report(event).unwrap());
        plain.finish().unwrap();
        out.text()
    };
    assert!(!told(false).contains('\x1b'));
    insta::assert_snapshot!(told(true).replace('\x1b', "ESC").replace(" \n", " $\n").trim(), @r#"
    PLAY [p] ***********************************************************************

    TASK [t] ***********************************************************************
    ESC[0;33mchanged: [web1]ESC[0m
    ESC[0;31mfatal: [web2]: FAILED! => {"changed": false, "msg": "no"}ESC[0m

    PLAY RECAP *********************************************************************
    ESC[0;33mweb1ESC[0m                       : ESC[0;32mok=1   ESC[0m ESC[0;33mchanged=1   ESC[0m unreachable=0    failed=0    skipped=0    rescued=0    ignored=0   $
    ESC[0;31mweb2ESC[0m                       : ok=0    changed=0    unreachable=0    ESC[0;31mfailed=1   ESC[0m skipped=0    rescued=0    ignored=0   $
    "#);
}

#[test]
fn equal_results_of_a_large_fleet_are_folded() {
    let names: Vec<String> = (1..=60).map(|n| format!("web{n:02}")).collect();
    let mut script = Script::new(names.iter().map(String::as_str));
    script.play("p");
    let install = script.task("install", "package");
    for (n, name) in (1..).zip(&names) {
        match n {
            3 | 9 | 12..=20 => script.failed(install, name, &format!("cannot reach {name}: no route\nto host")),
            30 => script.failed(install, name, "disk full"),
            40..=41 => script.unreachable(install, name, "no answer within 5s"),
            50..=52 => script.finish_with(install, name, TaskStatus::Changed, |r| {
                r.diff = vec![file_diff("/etc/x", "a\n", "b\n")];
            }),
            58 => script.changed(install, name),
            59 => script.skipped(install, name),
            _ => script.ok(install, name),
        };
    }
    let says = script.task("says", "debug");
    for name in &names {
        script.finish_with(says, name, TaskStatus::Ok, |r| r.values = map(&[("msg", "hello".into())]));
    }
    let looped = script.task("looped", "command");
    for name in &names[..2] {
        let mut failed = item("b", TaskStatus::Failed);
        failed.values.insert("msg".to_owned(), "item failed".into());
        script.looped(looped, name, TaskStatus::Failed, true, vec![item("a", TaskStatus::Ok), failed]);
    }
    script.push(RunEvent::BatchFinished { play: PlayId(0), batch: 0 });
    let others = (1..).zip(&names).filter_map(|(n, name)| match n {
        3 | 9 | 12..=20 | 30 => Some((name.as_str(), HostState::Failed)),
        40..=41 => Some((name.as_str(), HostState::Unreachable)),
        _ => None,
    });
    script.finish(None, &others.collect::<Vec<_>>());
    insta::assert_snapshot!(terminal(&script), @r#"
    PLAY [p] ***********************************************************************

    TASK [install] *****************************************************************
    fatal: [web03]: FAILED! => {"changed": false, "msg": "cannot reach web03: no route\nto host"}
    fatal: [web30]: FAILED! => {"changed": false, "msg": "disk full"}
    fatal: [web40]: UNREACHABLE! => {"changed": false, "msg": "no answer within 5s", "unreachable": true}
    ok: 41 hosts
    changed: 1 host: web58
    --- before: /etc/x
    +++ after: /etc/x
    @@ -1 +1 @@
    -a
    +b

    changed: 3 hosts: web[50-52]
    skipping: 1 host
    failed alike: web[03,09,12-20]: cannot reach HOST: no route
    failed: web30: disk full
    unreachable alike: web[40-41]: no answer within 5s

    TASK [says] ********************************************************************
    {
        "msg": "hello"
    }
    ok: 60 hosts

    TASK [looped] ******************************************************************
    failed: [web01] (item=b) => {"changed": false, "item": "b", "msg": "item failed"}
    failed alike (ignored): web[01-02]: item failed

    PLAY RECAP *********************************************************************
    web03                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web09                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web12                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web13                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web14                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web15                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web16                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web17                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web18                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web19                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web20                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web30                      : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0   $
    web40                      : ok=1    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0   $
    web41                      : ok=1    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0   $
    hosts: 46 of 60 ok, 12 failed, 2 unreachable
    tasks: 105 ok, 4 changed, 1 skipped, 14 failed, 2 unreachable, 2 ignored
    "#);
}

#[test]
fn a_fleet_with_a_thousand_different_failures_is_told_in_few_lines() {
    let names: Vec<String> = (1..=1000).map(|n| format!("web{n}")).collect();
    let mut script = Script::new(names.iter().map(String::as_str));
    script.play("p");
    let task = script.task("t", "command");
    for (n, name) in (1..).zip(&names) {
        script.failed(task, name, &format!("error number {n}"));
    }
    script.finish(None, &names.iter().map(|name| (name.as_str(), HostState::Failed)).collect::<Vec<_>>());
    let output = terminal(&script);
    assert!(output.lines().count() < 200, "{}", output.lines().count());
    assert!(output.contains("failed: 960 hosts: web[41-1000]"), "{output}");
}

#[test]
fn a_small_fleet_and_a_verbose_run_are_told_host_by_host() {
    let names: Vec<String> = (1..=60).map(|n| format!("web{n}")).collect();
    let run = |hosts: usize, verbosity| {
        let mut script = Script::new(names[..hosts].iter().map(String::as_str));
        script.play("p");
        let task = script.task("t", "command");
        script.ok(task, "web1");
        let mut text = TerminalText::new(Layout::new(verbosity, None), FOLD_HOSTS_ABOVE);
        shown(&script.events.iter().flat_map(|event| text.lines(event)).collect::<Vec<_>>())
    };
    assert!(run(50, 0).contains("ok: [web1]"));
    assert!(run(60, 1).contains("ok: [web1]"));
    assert!(!run(51, 0).contains("ok: [web1]"));
}

#[test]
fn progress_without_a_terminal_is_a_line_now_and_then() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("p");
    let task = script.task("t", "command");
    script.start(task, "web1").start(task, "web2").ok(task, "web1");
    script.events.last_mut().unwrap().elapsed = PROGRESS_INTERVAL;
    let err = Shared::default();
    let console = Console::new(Box::new(io::sink()), Box::new(err.clone()));
    let mut plain = Plain::new(console, Layout::new(0, None)).with_progress_lines();
    script.events.iter().for_each(|event| plain.report(event).unwrap());
    insta::assert_snapshot!(err.text(), @"PROGRESS after 10s: 1/2 hosts  TASK [t]  ok 1; waiting for 1 host: web2 9s");
    let later = |seconds: u64| PROGRESS_INTERVAL + Duration::from_secs(seconds);
    plain.tick(later(9));
    assert_eq!(err.text().lines().count(), 1, "too soon");
    plain.tick(later(10));
    let text = err.text();
    insta::assert_snapshot!(text.lines().last().unwrap(), @"PROGRESS after 20s: 1/2 hosts  TASK [t]  ok 1; waiting for 1 host: web2 19s");
}

#[test]
fn a_record_that_cannot_be_written_is_told_once_and_talk_is_not_missed() {
    let script = Script::new(["web1"]);
    let broken = || Box::new(JsonLines::new(Box::new(Broken(io::ErrorKind::StorageFull))));
    let out = Shared::default();
    let mut reporters = Reporters::default();
    reporters.push("talk", Importance::Talk, broken());
    reporters.push("the record", Importance::Record, broken());
    reporters.push("another", Importance::Record, Box::new(JsonLines::new(Box::new(out.clone()))));
    let error = reporters.report(&script.events[0]).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the record");
    reporters.report(&script.events[0]).unwrap();
    reporters.finish().unwrap();
    assert_eq!(out.text().lines().count(), 2, "the others are told of everything");
}

#[test]
fn plain_output_into_a_closed_pipe_is_no_error() {
    let mut script = Script::new(["web1"]);
    script.play("p");
    let told = |kind| {
        let console = Console::new(Box::new(Broken(kind)), Box::new(io::sink()));
        let mut plain = Plain::new(console, Layout::new(0, None));
        script.events.iter().try_for_each(|event| plain.report(event))
    };
    told(io::ErrorKind::BrokenPipe).unwrap();
    assert!(told(io::ErrorKind::StorageFull).is_err());
}

#[test]
fn files_that_cannot_be_made_are_told_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/such.json");
    let report = ReportOptions { report_file: Some(missing.clone()), ..ReportOptions::default() };
    let log = ReportOptions { log_file: Some(missing), ..ReportOptions::default() };
    for (options, what) in [(report, "the report file"), (log, "the log file")] {
        let error = Reporters::new(&options).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_run_that_goes_on_tells_where_it_is_before_its_first_result() {
    let mut script = Script::new(["web1", "web2"]);
    script.play("set up");
    let first = script.task("first", "ping");
    script.ok(first, "web1").ok(first, "web2");
    let second = script.task("second", "ping");
    script.ok(second, "web1");
    let before = script.events.len();
    script.ok(second, "web2");
    let third = script.task("third", "ping");
    script.ok(third, "web1");
    let (mut layout, mut text) = (Layout::new(0, None), TerminalText::new(Layout::new(0, None), FOLD_HOSTS_ABOVE));
    for event in &script.events[..before] {
        layout.recall(event);
        text.recall(event);
    }
    let lines: Vec<Line> = script.events[before..].iter().flat_map(|event| layout.lines(event)).collect();
    insta::assert_snapshot!(shown(&lines), @"
    PLAY [set up] ******************************************************************

    TASK [second] ******************************************************************
    ok: [web2]

    TASK [third] *******************************************************************
    ok: [web1]
    ");
    let on_terminal: Vec<Line> = script.events[before..].iter().flat_map(|event| text.lines(event)).collect();
    assert_eq!(shown(&on_terminal), shown(&lines));
}
