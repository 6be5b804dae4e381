//! Failures, by how a task fails and by what is done about it.

use super::Case;

/// How a task named `fails` can fail on host `a`.
const CAUSES: &[(&str, &str)] = &[
    ("fail", "fail: { msg: broken }"),
    ("failed_when", "debug: { msg: x }\nfailed_when: true"),
    ("assert", "assert: { that: [1 == 2], fail_msg: wrong }"),
    ("item", "debug: { msg: '{{ item }}' }\nloop: [1, 2, 3]\nfailed_when: item == 2"),
];

/// The tasks of a play, `FAILS` standing for the one that fails.
const REACTIONS: &[(&str, &str)] = &[
    ("nothing", "- FAILS\n- name: after\n  debug: { msg: x }"),
    (
        "ignored",
        "- FAILS\n  ignore_errors: true\n  register: r\n- name: after\n  debug: { msg: '{{ r is failed }} {{ r is changed }}' }",
    ),
    (
        "rescued",
        "- block:\n    - FAILS\n  rescue:\n    - name: rescue\n      debug: { msg: '{{ ansible_failed_task.name }} {{ ansible_failed_result.msg }}' }\n- name: after\n  debug: { msg: x }",
    ),
    (
        "always",
        "- block:\n    - FAILS\n  always:\n    - name: always\n      debug: { msg: x }\n- name: after\n  debug: { msg: x }",
    ),
    (
        "rescued_inside",
        "- block:\n    - block:\n        - FAILS\n      rescue:\n        - name: inner\n          debug: { msg: x }\n    - name: between\n      debug: { msg: x }\n  rescue:\n    - name: outer\n      debug: { msg: x }",
    ),
    (
        "rescued_outside",
        "- block:\n    - block:\n        - FAILS\n      always:\n        - name: inner\n          debug: { msg: x }\n    - name: between\n      debug: { msg: x }\n  rescue:\n    - name: outer\n      debug: { msg: x }",
    ),
    ("fatal_for_all", "- FAILS\n  any_errors_fatal: true\n- name: after\n  debug: { msg: x }"),
    ("notified_before", "- name: changes\n  debug: { msg: x }\n  changed_when: true\n  notify: h\n- FAILS"),
];

/// How hosts come in turns, `a` among the first.
const BATCHES: &[(&str, &str)] = &[
    ("of_one", "  serial: 1\n"),
    ("of_two", "  serial: 2\n"),
    ("of_two_with_a_budget", "  serial: 2\n  max_fail_percentage: 49\n"),
    ("of_two_forced", "  serial: 2\n  force_handlers: true\n"),
];

pub(super) fn cases() -> Vec<Case> {
    let grid = CAUSES.iter().flat_map(|cause| REACTIONS.iter().map(move |reaction| (cause, reaction)));
    let of_one = grid.map(|((cause, task), (reaction, tasks))| {
        Case::of_playbook(format!("failure_of_{cause}_{reaction}"), play("a:b", "", &with_cause(tasks, task)))
    });
    let batches = BATCHES.iter().flat_map(|batches| REACTIONS.iter().map(move |reaction| (batches, reaction)));
    // Beside an `always` a failure counts here and not in Ansible (docs/compatibility.md); of a failure that is fatal anyway
    // Ansible also says that it was beyond the budget.
    let alike = batches.filter(|((batches, _), (reaction, _))| {
        *batches != "of_two_with_a_budget" || !matches!(*reaction, "always" | "fatal_for_all")
    });
    let in_batches = alike.map(|((batches, words), (reaction, tasks))| {
        let next = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: next play\n      debug: { msg: x }\n";
        let text = play("a:b:c", words, &with_cause(tasks, CAUSES[0].1)) + next;
        Case::of_playbook(format!("failure_in_batches_{batches}_{reaction}"), text)
    });
    of_one.chain(in_batches).collect()
}

fn play(hosts: &str, words: &str, tasks: &str) -> String {
    let tail = "  handlers:\n    - name: h\n      debug: { msg: handled }\n";
    format!("- hosts: {hosts}\n  gather_facts: false\n{words}  tasks:\n{}{tail}", indented(tasks, 4))
}

/// The task takes the place of `FAILS`; it fails on `a` only.
fn with_cause(tasks: &str, task: &str) -> String {
    let lines = tasks.lines().map(|line| match line.find("- FAILS") {
        Some(depth) => {
            let rest = indented(&format!("{task}\nwhen: inventory_hostname == 'a'"), depth + 2);
            format!("{}- name: fails\n{rest}", " ".repeat(depth))
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

fn indented(text: &str, depth: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(depth))).collect()
}
