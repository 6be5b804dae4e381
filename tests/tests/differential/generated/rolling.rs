//! `serial`, `max_fail_percentage` and `until`: batches, budgets and tries.

use super::Case;

const SIZES: &[&str] =
    &["1", "2", "3", "5", "0", "'34%'", "'67%'", "'100%'", "[1, 2]", "[2, 1]", "[1, '100%']", "'{{ n }}'"];

/// Percentages around a third, a half and two thirds of three hosts.
const PERCENTAGES: &[u32] = &[0, 32, 33, 34, 50, 66, 67, 100];

/// Tries: how many there may be, and which is good enough; 0 for none.
const TRIES: &[(u32, u32)] = &[(0, 1), (0, 0), (1, 1), (1, 2), (1, 0), (2, 3), (3, 2), (3, 0)];

pub(super) fn cases() -> Vec<Case> {
    let serial = SIZES.iter().enumerate().map(|(number, size)| {
        let text = format!(
            "- hosts: all\n  gather_facts: false\n  serial: {size}\n  vars: {{ n: 2 }}\n  tasks:\n    - name: show\n      \
             debug: {{ msg: '{{{{ ansible_play_batch }}}} {{{{ ansible_play_hosts_all }}}}' }}\n"
        );
        Case::of_playbook(format!("serial_size_{number}"), text).args(["-e", "n=2"])
    });
    let with_failure = ["1", "2", "[1, 2]"].iter().enumerate().flat_map(|(number, size)| {
        ["a", "c"]
            .map(|bad| failing(&format!("serial_{number}_and_failure_of_{bad}"), &format!("serial: {size}"), &[bad]))
    });
    let percentages = PERCENTAGES.iter().flat_map(|percent| {
        [&["a"][..], &["a", "b"], &["a", "b", "c"]].map(|bad| {
            let name = format!("max_fail_percentage_{percent}_of_{}_hosts", bad.len());
            failing(&name, &format!("max_fail_percentage: {percent}"), bad)
        })
    });
    let both = PERCENTAGES.iter().map(|percent| {
        let words = format!("serial: 2\n  max_fail_percentage: {percent}");
        failing(&format!("max_fail_percentage_{percent}_in_batches"), &words, &["a"])
    });
    let tries = TRIES.iter().flat_map(|(retries, good)| [tried(*retries, *good, false), tried(*retries, *good, true)]);
    serial.chain(with_failure).chain(percentages).chain(both).chain(tries).collect()
}

/// A play in which these hosts fail the first of two tasks.
fn failing(name: &str, words: &str, bad: &[&str]) -> Case {
    let text = format!(
        "- hosts: all\n  gather_facts: false\n  {words}\n  vars: {{ bad: [{}] }}\n  tasks:\n    - name: fails\n      \
         fail: {{ msg: broken }}\n      when: inventory_hostname in bad\n    - name: after\n      debug: {{ msg: x }}\n\
         - hosts: all\n  gather_facts: false\n  tasks:\n    - name: next play\n      debug: {{ msg: x }}\n",
        bad.join(", ")
    );
    Case::of_playbook(name, text)
}

/// A task that is good at this try: `until` counts in a file of the case. Its arguments are looked up once.
fn tried(retries: u32, good: u32, ignored: bool) -> Case {
    let word = if ignored { "ignored" } else { "counted" };
    let count = "lookup('pipe', 'echo x >> out/tries; wc -l < out/tries')";
    let text = format!(
        "- hosts: a\n  gather_facts: false\n  tasks:\n    - name: tries\n      debug: {{ msg: \"{{{{ lookup('pipe', 'echo x >> \
         out/args; wc -l < out/args') }}}}\" }}\n      register: r\n      until: {count} | int == {good}\n      retries: {retries}\n      \
         delay: 0\n      ignore_errors: {ignored}\n    - name: show\n      debug: {{ var: r }}\n"
    );
    Case::of_playbook(format!("until_{retries}_retries_good_at_{good}_{word}"), text)
}
