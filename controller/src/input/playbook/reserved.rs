//! Variables with the name of a keyword: allowed, and mostly a mistake in the indentation.

use super::document::Document;
use super::names::{core_name, is_reserved};
use crate::input::yaml::{Key, Node};

/// Under these a playbook has further plays, blocks, tasks and roles.
const PARTS: [&str; 8] = ["always", "block", "handlers", "post_tasks", "pre_tasks", "rescue", "roles", "tasks"];

/// What the operator is told of the variables that plays, roles, blocks and tasks of this file set.
pub(super) fn in_playbook(document: &Document) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(root) = &document.root {
        walk(document, root, &mut told);
    }
    told
}

/// The same of a file of variables.
pub(super) fn in_variables(document: &Document, entries: &[(Key, Node)]) -> Vec<String> {
    let keys = entries.iter().map(|(key, _)| key);
    keys.filter(|key| is_reserved(&key.text)).map(|key| warning(document, &key.text, key.at)).collect()
}

/// In Ansible's words.
pub fn sentence(name: &str) -> String {
    format!("Found variable using reserved name '{name}'.")
}

fn warning(document: &Document, name: &str, at: crate::input::source::Position) -> String {
    format!("{}: {}", document.place(at), sentence(name))
}

/// As deep as YAML may nest, which the reader of YAML bounds.
fn walk(document: &Document, node: &Node, told: &mut Vec<String>) {
    for item in node.as_list().unwrap_or_default() {
        walk(document, item, told);
    }
    for (key, value) in node.as_map().unwrap_or_default() {
        match key.text.as_str() {
            part if PARTS.contains(&part) => walk(document, value, told),
            "register" => {
                let name = value.as_str().filter(|name| is_reserved(name));
                told.extend(name.map(|name| warning(document, name, value.at)));
            }
            "vars" => sets(document, value, told),
            module if core_name(module) == Some("set_fact") => sets(document, value, told),
            _ => {}
        }
    }
}

fn sets(document: &Document, node: &Node, told: &mut Vec<String>) {
    told.extend(in_variables(document, node.as_map().unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_named_as_a_keyword_are_told_with_their_place_and_data_is_not() {
        let text = "
- hosts: all
  vars: { port: 1, fine: { tags: 1 }, data: { vars: { name: x } } }
  tasks:
  - block:
    - ansible.builtin.set_fact: { retries: 2, ok: 3 }
    always:
    - command: echo
      register: tags
  roles:
  - { role: r, vars: { serial: 1 } }
";
        let document = Document::of_text("site.yml", text.to_owned()).unwrap();
        assert_eq!(
            in_playbook(&document),
            [
                "site.yml:3:11: Found variable using reserved name 'port'.",
                "site.yml:6:35: Found variable using reserved name 'retries'.",
                "site.yml:9:17: Found variable using reserved name 'tags'.",
                "site.yml:11:24: Found variable using reserved name 'serial'.",
            ]
        );
    }
}
