//! Loops: what the items are, and what is registered.

use super::Case;

/// A name, and a task's loop over items that are shown.
const LOOPS: &[(&str, &str)] = &[
    ("a_dict_in_a_list", "loop: [{ n: 1 }, { n: 2 }]"),
    ("a_list_in_a_list", "loop: [[1, 2], [3]]"),
    ("dict2items", "loop: \"{{ {'x': 1, 'y': 2} | dict2items }}\""),
    ("null_items", "loop: [null, '', 0, false]"),
    ("query", "loop: \"{{ query('items', [1, [2]]) }}\""),
    ("range", "loop: \"{{ range(0, 6, 2) | list }}\""),
    ("selected", "loop: \"{{ [1, 2, 3] | select('odd') | list }}\""),
    ("text_that_looks_like_numbers", "loop: ['1', '01', 1]"),
    ("with_dict_of_dicts", "with_dict: { a: { n: 1 }, b: { n: 2 } }"),
    ("with_inventory_hostnames", "with_inventory_hostnames: ['all:!b']"),
    ("with_items_empty", "with_items: []"),
    ("with_items_flat_once", "with_items: [[1, 2], [3, [4]]]"),
    ("with_items_one_text", "with_items: one"),
    ("with_items_template", "with_items: '{{ [1, 2] + [3] }}'"),
    ("with_nested_three", "with_nested: [[1, 2], [x], [y, z]]"),
    ("with_sequence_count", "with_sequence: count=3"),
    ("with_sequence_down", "with_sequence: start=6 end=2 stride=-2"),
    ("with_sequence_format", "with_sequence: start=1 end=3 format=host%02d"),
    ("with_sequence_short", "with_sequence: 1-3"),
    ("with_sequence_short_format", "with_sequence: 2-6/2:v%02d"),
    ("with_subelements", "with_subelements: [[{ n: a, l: [1, 2] }, { n: b, l: [3] }], l]"),
    ("with_subelements_missing", "with_subelements: [[{ n: a, l: [1] }, { n: b }], l, { skip_missing: true }]"),
    ("with_together_uneven", "with_together: [[1, 2, 3], [a]]"),
];

/// A name, and a task that loops; what it registers is shown.
const REGISTERED: &[(&str, &str)] = &[
    ("break_when", "{ msg: x }\n      loop: [1, 2, 3]\n      loop_control: { break_when: [item == 2] }"),
    ("changed_by_one", "{ msg: x }\n      loop: [1, 2]\n      changed_when: item == 2"),
    (
        "extended",
        "{ msg: '{{ ansible_loop.index }} {{ ansible_loop.last }}' }\n      loop: [1, 2]\n      loop_control: { extended: true, extended_allitems: false }",
    ),
    ("failed_by_one", "{ msg: x }\n      loop: [1, 2]\n      failed_when: item == 2\n      ignore_errors: true"),
    ("index", "{ msg: '{{ n }}' }\n      loop: [x, y]\n      loop_control: { index_var: n }"),
    ("label", "{ msg: x }\n      loop: [x, y]\n      loop_control: { label: 'l{{ item }}' }"),
    ("loop_var", "{ msg: '{{ it }}' }\n      loop: [x, y]\n      loop_control: { loop_var: it }"),
    ("skipped_all", "{ msg: x }\n      loop: [1, 2]\n      when: item > 2"),
    ("skipped_by_one", "{ msg: x }\n      loop: [1, 2]\n      when: item > 1"),
    ("skipped_before_the_items_are_known", "{ msg: x }\n      loop: '{{ nope }}'\n      when: 1 == 2"),
    ("until", "{ msg: x }\n      loop: [1, 2]\n      until: true\n      retries: 2\n      delay: 0"),
    ("vars_of_the_task", "{ msg: '{{ twice }}' }\n      loop: [1, 2]\n      vars: { twice: '{{ item * 2 }}' }"),
];

pub(super) fn cases() -> Vec<Case> {
    let head = "- hosts: a\n  gather_facts: false\n  tasks:\n";
    let items = LOOPS.iter().map(|(name, words)| {
        let text = format!("{head}    - name: show\n      debug: {{ msg: '{{{{ item }}}}' }}\n      {words}\n");
        Case::of_playbook(format!("loop_{name}"), text)
    });
    let registered = REGISTERED.iter().map(|(name, task)| {
        let text = format!(
            "{head}    - name: loop\n      debug: {task}\n      register: r\n    - name: show\n      debug: {{ var: r }}\n"
        );
        Case::of_playbook(format!("loop_registers_{name}"), text)
    });
    items.chain(registered).collect()
}
