//! Data from hosts is never code: every way in that other tools have left open, tried with a command that would leave
//! a file behind.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use rustle_protocol::value::{Map, Value};
use serde_json::json;

use super::{Authored, Conditionals, Templar, TemplateError, TemplateFileOptions};
use crate::vars::{HostEntry, InventoryVars, PlayVars, RunInfo, Scope, TaskVars, VarMap, VarStore, Variable};

struct Trap {
    _directory: tempfile::TempDir,
    mark: PathBuf,
    /// Text that creates `mark` if anybody evaluates it.
    text: String,
    store: VarStore,
}

impl Trap {
    fn new() -> Trap {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let text = format!("{{{{ lookup('pipe', 'touch {}') }}}}", mark.display());
        let host = |name: &str| HostEntry { name: name.to_owned(), ..HostEntry::default() };
        let inventory = InventoryVars { hosts: vec![host("a"), host("b")], ..InventoryVars::default() };
        let store = VarStore::new(inventory, VarMap::new(), RunInfo::default(), Templar::new());
        for host in ["a", "b"] {
            let hostile = json!({
                "stdout": text, "list": [text, {"inner": text}], "map": {(text.clone()): text}, "msg": text,
                "key": format!("\u{1}T{text}"), "expression": text.trim_matches(['{', '}', ' ']),
            });
            store.set_fact(host, "result", Value::from(hostile.clone())).unwrap();
            let Value::Map(facts) = Value::from(json!({"ansible_bad": hostile, "ansible_text": text})) else {
                panic!()
            };
            store.set_facts(host, facts).unwrap();
            store.set_fact(host, "set", Value::from(text.clone())).unwrap();
        }
        Trap { _directory: directory, mark, text, store }
    }

    fn scope(&self) -> Scope {
        let item: VarMap = [("item".to_owned(), Variable::data(self.text.as_str()))].into_iter().collect();
        self.store.scope("a", &PlayVars::default(), &TaskVars::default().with_locals(item)).unwrap()
    }

    fn render(&self, template: &str) -> Result<Value, TemplateError> {
        self.store.templar().render(&Authored::from_value(Value::from(template)), &self.scope())
    }

    fn assert_untouched(&self, attempt: &str) {
        assert!(!self.mark.exists(), "{attempt} evaluated data");
    }
}

#[test]
fn the_trap_works_when_an_author_writes_it() {
    let trap = Trap::new();
    trap.render(&trap.text).unwrap();
    assert!(trap.mark.exists());
}

#[test]
fn data_is_shown_as_text_whichever_way_it_comes() {
    let trap = Trap::new();
    for template in [
        "{{ result.stdout }}",
        "{{ result.list[0] }}",
        "{{ result.list[1].inner }}",
        "{{ result['map'].values() | first }}",
        "{{ result['map'] | dict2items | map(attribute='key') | first }}",
        "{{ (result['map'].keys() | list)[0] }}",
        "{{ ansible_text }}",
        "{{ ansible_facts.text }}",
        "{{ ansible_bad.stdout }}",
        "{{ hostvars['b'].ansible_text }}",
        "{{ hostvars.b.result.stdout }}",
        "{{ hostvars['b']['set'] }}",
        "{{ set }}",
        "{{ item }}",
        "{{ nope | default(result.stdout) }}",
        "{{ nope.deep | default(result.list[0], true) }}",
        "{{ lookup('vars', 'set') }}",
        "{{ vars['set'] }}",
        "{{ lookup('items', [result.stdout]) }}",
        "{{ result | to_json | from_json | map(attribute='x') | list | length is number and result.stdout or '' }}",
        "{{ [result.stdout] | map('string') | first }}",
        "{{ result.stdout | regex_replace('^', '') }}",
        "{{ '%s' | format(result.stdout) }}",
        "{{ result.stdout ~ '' }}",
        "{% set x = result.stdout %}{{ x }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(result.stdout) }}",
        "{{ [result.list, [1]] | flatten | first }}",
        "{{ ({'a': result.stdout} | combine({'b': 1})).a }}",
    ] {
        assert_eq!(trap.render(template).unwrap(), Value::from(trap.text.as_str()), "{template}");
        trap.assert_untouched(template);
    }
}

#[test]
fn an_authored_variable_that_holds_data_hands_on_data() {
    let trap = Trap::new();
    let vars = Value::from(
        json!({"outer": "{{ result.stdout }}", "deep": {"x": ["{{ outer }}"]}, "twice": "{{ deep.x[0] }}"}),
    );
    let Value::Map(vars) = vars else { panic!() };
    let task = TaskVars::new(Arc::new(crate::vars::authored_map(vars)));
    let scope = trap.store.scope("a", &PlayVars::default(), &task).unwrap();
    for template in ["{{ twice }}", "{{ deep.x[0] }}", "{{ outer }}"] {
        let rendered = scope.templar().render(&Authored::from_value(Value::from(template)), &scope).unwrap();
        assert_eq!(rendered, Value::from(trap.text.as_str()), "{template}");
    }
    let again = scope.templar().render(&Authored::literal(trap.text.as_str()), &scope).unwrap();
    assert_eq!(again, Value::from(trap.text.as_str()));
    trap.assert_untouched("an authored variable");
}

#[test]
fn conditions_compare_data_and_do_not_evaluate_it() {
    let trap = Trap::new();
    for condition in ["result.stdout", "result.expression", "result.stdout is search('lookup')", "result.stdout != ''"]
    {
        let holds = trap.store.templar().condition(condition, &trap.scope(), Conditionals::Lenient);
        assert_eq!(holds, Ok(true), "{condition}");
        trap.assert_untouched(condition);
    }
}

#[test]
fn template_files_print_data_and_include_none_of_it() {
    let trap = Trap::new();
    let templar = trap.store.templar();
    let options =
        TemplateFileOptions { search_directories: vec![std::env::temp_dir()], ..TemplateFileOptions::default() };
    let printed = templar.render_file("{{ result.stdout }}\n", "t.j2", &options, &trap.scope()).unwrap();
    assert_eq!(printed, format!("{}\n", trap.text));
    for source in [
        "{% include result.key %}",
        "{% include result.stdout %}",
        "{% import result.key as x %}",
        "{% extends result.key %}",
    ] {
        assert!(templar.render_file(source, "t.j2", &options, &trap.scope()).is_err(), "{source}");
        assert!(trap.render(source).is_err(), "{source}");
    }
    trap.assert_untouched("a template file");
}

#[test]
fn errors_show_data_and_do_not_evaluate_it() {
    let trap = Trap::new();
    for template in [
        "{{ nope | mandatory(result.stdout) }}",
        "{{ lookup(result.stdout) }}",
        "{{ lookup('file', result.stdout) }}",
        "{{ result.stdout | regex_replace('no', '', mandatory_count=1) }}",
        "{{ result.stdout | comment(result.stdout) }}",
    ] {
        let message = trap.render(template).unwrap_err().to_string();
        assert!(message.contains("lookup('pipe'"), "{template}: {message}");
        // A rescue task sees the message as data, too.
        trap.store.set_fact("a", "ansible_failed_result", Value::from(message.clone())).unwrap();
        assert_eq!(trap.render("{{ ansible_failed_result }}").unwrap(), Value::from(message));
        trap.assert_untouched(template);
    }
}

fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        Just("{{ 7 * 7 }}".to_owned()),
        Just("{% set x = 1 %}".to_owned()),
        Just("\u{1}T{{ 7 * 7 }}".to_owned()),
        "\\{\\{ [a-z]{1,5} \\}\\}",
        "\\{[{%#][ -~]{0,12}[}%#]\\}",
    ]
}

fn hostile_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        hostile_text().prop_map(Value::String),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((hostile_text(), inner), 0..5)
                .prop_map(|entries| Value::Map(entries.into_iter().collect::<Map>())),
        ]
    })
}

proptest! {
    #[test]
    fn rendering_random_data_gives_that_data(data in hostile_data()) {
        let templar = Templar::new();
        let vars: VarMap = [("x".to_owned(), Variable::data(data.clone()))].into_iter().collect();
        let scope = Scope::of(&templar, [Arc::new(vars)]);
        let render = |template: &str| templar.render(&Authored::from_value(Value::from(template)), &scope).unwrap();
        prop_assert_eq!(&render("{{ x }}"), &data);
        prop_assert_eq!(&render("{{ x | to_json | from_json }}"), &data);
        prop_assert_eq!(render("{{ [[x]] | flatten(levels=1, skip_nulls=false) }}"), Value::List(vec![data.clone()]));
        let nested = render("{{ {'k': x} }}");
        prop_assert_eq!(nested.as_map().unwrap().get("k"), Some(&data));
        if let Value::String(text) = &data {
            prop_assert_eq!(render("{{ x }}{{ '' }}"), Value::from(text.as_str()));
        }
    }
}
