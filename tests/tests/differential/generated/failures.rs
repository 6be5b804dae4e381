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

pub(super) fn cases() -> Vec<Case> {
    let grid = CAUSES.iter().flat_map(|cause| REACTIONS.iter().map(move |reaction| (cause, reaction)));
    grid.map(|((cause, task), (reaction, tasks))| {
        let tasks = with_cause(tasks, task);
        let tail = "  handlers:\n    - name: h\n      debug: { msg: handled }\n";
        let text = format!("- hosts: a:b\n  gather_facts: false\n  tasks:\n{}{tail}", indented(&tasks, 4));
        Case::of_playbook(format!("failure_of_{cause}_{reaction}"), text)
    })
    .collect()
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
