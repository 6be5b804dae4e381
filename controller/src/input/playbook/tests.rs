//! Playbooks of several files, read into a plan.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::engine::Registry;
use crate::input::inventory::Inventory;
use crate::plan::{Plan, Task};
use crate::template::Templar;
use crate::vars::{VarMap, authored_map};
use crate::vault::{Secret, Vault, encrypt};

/// A folder with files, `site.yml` among them.
struct Project {
    folder: tempfile::TempDir,
    extra: VarMap,
    vault: Vault,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Project { folder, extra: VarMap::new(), vault: Vault::default() }
    }

    fn load(&self) -> Result<Playbook, PlaybookError> {
        let site: PathBuf = self.folder.path().join("site.yml");
        let inventory = Inventory::of_hosts(["web1", "web2", "db1"]).unwrap();
        load(PlaybookRequest {
            paths: &[site],
            surroundings: Surroundings {
                modules: Arc::new(Registry::native()),
                paths: SearchPaths { roles: vec![], collections: vec![self.folder.path().join("cols")] },
                extra: Arc::new(self.extra.clone()),
                templar: Templar::new(),
                vault: self.vault.clone(),
                smart_gathering: false,
                private_role_vars: false,
            },
            inventory: &inventory,
            gather_facts: Some(true),
            force_handlers: false,
            defaults: PlayDefaults::default(),
            prompts: Prompts::Default,
        })
    }

    fn plan(&self) -> Plan {
        self.load().unwrap_or_else(|error| panic!("{error}")).plan
    }

    /// The error without the temporary folder's name.
    fn refusal(&self) -> String {
        let Err(error) = self.load() else { panic!("it was read") };
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// A play's tasks as `role : name [tags] when`.
fn tasks(plan: &Plan, play: usize) -> Vec<String> {
    plan.plays[play].tasks.iter().map(|id| shown(plan.task(*id))).collect()
}

fn shown(task: &Task) -> String {
    let role = task.role.as_ref().map(|role| format!("{} : ", role.name)).unwrap_or_default();
    let tags = if task.tags.is_empty() { String::new() } else { format!(" [{}]", task.tags.join(",")) };
    let when = if task.when.is_empty() {
        String::new()
    } else {
        format!(" when {}", task.when.iter().map(|when| &**when).collect::<Vec<_>>().join(" and "))
    };
    format!("{role}{}{tags}{when}", task.title())
}

/// The layers' values of a variable, weakest first.
fn values(task: &Task, name: &str) -> Vec<String> {
    let mut layers: Vec<_> = task.layers.iter().collect();
    layers.sort_by_key(|layer| layer.precedence);
    let found = layers.iter().filter_map(|layer| layer.vars.get(name));
    found.map(|value| rustle_agent::module::shown(&value.source())).collect()
}

#[test]
fn what_nested_blocks_omit_is_what_is_said_further_out() {
    let omitted = "\"{{ omit }}\"";
    let block = |own: &str, inner: &str| format!("{{throttle: {own}, block: [{inner}]}}");
    let task = |own: &str| format!("{{debug: , throttle: {own}}}");
    let says_nothing = "{debug: }".to_owned();
    let tasks = [
        (block("3", &block(omitted, &task(omitted))), 3),
        (block("3", &block("2", &task(omitted))), 2),
        (block("3", &block(omitted, &says_nothing)), 3),
        (block(omitted, &block(omitted, &task(omitted))), 0),
        (block("3", &block(omitted, &task("1"))), 1),
    ];
    let text: String = tasks.iter().map(|(task, _)| format!("  - {task}\n")).collect();
    let plan = Project::new(&[("site.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{text}"))]).plan();
    let templar = Templar::new();
    let scope = crate::vars::Scope::of(&templar, []);
    let debugs = plan.tasks.iter().filter(|task| task.module == "debug");
    let throttles: Vec<_> = debugs.map(|task| task.throttle.render(&templar, &scope).unwrap().unwrap_or(0)).collect();
    assert_eq!(throttles, tasks.map(|(_, expected)| expected));
}

#[test]
fn sections_come_in_ansibles_order_with_flushes_between_them() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  post_tasks: [{name: post, ping: }]\n  tasks: [{name: task, ping: }]\n  roles: [web]\n  \
             pre_tasks: [{name: pre, ping: }]\n  handlers: [{name: of play, ping: }]\n",
        ),
        ("roles/web/tasks/main.yml", "- name: of role\n  ping:\n"),
        ("roles/web/handlers/main.yml", "- name: of role\n  ping:\n"),
    ]);
    let plan = project.plan();
    assert_eq!(
        tasks(&plan, 0),
        ["pre", "ansible.builtin.meta [always]", "web : of role", "task", "ansible.builtin.meta [always]", "post"]
    );
    let handlers: Vec<String> = plan.plays[0].handlers.iter().map(|id| shown(plan.task(*id))).collect();
    assert_eq!(handlers, ["web : of role", "of play"]);
}

#[test]
fn static_imports_dissolve_and_hand_down_their_keywords() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  tags: p\n  vars: {file: more}\n  tasks:\n  - block:\n    - import_tasks: '{{ file }}.yml'\n      \
             when: b\n      tags: i\n      vars: {x: 1}\n    when: a\n",
        ),
        ("more.yml", "- ping:\n  tags: t\n- import_tasks: sub/deeper.yml\n"),
        ("sub/deeper.yml", "- ping:\n- import_tasks: beside.yml\n"),
        ("sub/beside.yml", "- debug: msg=x\n  when: c\n"),
    ]);
    let plan = project.plan();
    assert_eq!(
        tasks(&plan, 0),
        ["ping [p,i,t] when a and b", "ping [p,i] when a and b", "debug [p,i] when a and b and c"]
    );
    assert_eq!(values(plan.task(plan.plays[0].tasks[2]), "x"), ["1"]);
}

#[test]
fn a_role_brings_its_dependencies_and_knows_their_variables_and_equal_uses_are_known_by_their_identity() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  roles:\n  - {role: web, size: 5, tags: r}\n  - {role: web, size: 5, tags: r}\n  - {role: \
             web, size: 6}\n",
        ),
        ("roles/web/meta/main.yml", "dependencies: [{role: base, level: 1}]\n"),
        ("roles/web/tasks/main.yml", "- ping:\n"),
        ("roles/web/defaults/main.yml", "a: web\nb: web\n"),
        ("roles/base/tasks/main.yml", "- debug: msg=x\n"),
        ("roles/base/defaults/main.yml", "a: base\n"),
        ("roles/base/vars/main/one.yml", "c: base\n"),
    ]);
    let plan = project.plan();
    let tagged = ["base : debug [r]", "web : ping [r]"];
    assert_eq!(tasks(&plan, 0), [&tagged[..], &tagged, &["base : debug", "web : ping"]].concat());
    let roles: Vec<_> = plan.plays[0].tasks.iter().map(|id| plan.task(*id).role.clone().unwrap()).collect();
    assert!(roles.iter().all(|role| role.once), "what neither the role nor a task says");
    let [base, web, base_again, web_again, untagged, larger] = &roles[..] else { panic!("six tasks") };
    assert_eq!((base.identity, web.identity), (base_again.identity, web_again.identity));
    assert_eq!(base.identity, untagged.identity, "what is around an entry makes no other use of it");
    assert_ne!(web.identity, larger.identity);
    assert_ne!(web.identity, base.identity);
    let web = plan.task(plan.plays[0].tasks[1]);
    assert_eq!((values(web, "a"), values(web, "c")), (vec!["base".into(), "web".into()], vec!["base".into()]));
    assert_eq!(values(web, "size"), ["5"]);
    let base = plan.task(plan.plays[0].tasks[0]);
    assert_eq!((values(base, "b"), values(base, "level")), (vec!["web".into()], vec!["1".into()]));
    assert!(plan.plays[0].layers.iter().any(|layer| layer.vars.contains_key("b")), "every task of the play knows it");
}

#[test]
fn blocks_in_blocks_roles_and_flushes_cannot_be_handlers() {
    let refusal = |handler: &str| {
        let text = format!("- hosts: all\n  handlers:\n    - {handler}\n");
        Project::new(&[("site.yml", &text), ("roles/base/tasks/main.yml", "[]\n")]).refusal()
    };
    let begins = |handler: &str, what: &str| {
        let told = refusal(handler);
        assert!(told.starts_with(&format!("site.yml:3:7: {what}")), "{told}");
    };
    let told = refusal("block: [{block: [{ping: }]}]");
    assert!(told.starts_with("site.yml:3:15: Using a block as a handler is not supported."), "{told}");
    begins("include_role: {name: base}", "Using 'include_role' as a handler is not supported.");
    begins("import_role: {name: base}", "Using 'import_role' as a handler is not supported.");
    begins("meta: flush_handlers", "flush_handlers cannot be used as a handler");
    begins("meta: end_role", "Cannot execute 'end_role' from a handler");
}

#[test]
fn only_blocks_with_rescue_or_always_are_in_the_plan() {
    let project = Project::new(&[(
        "site.yml",
        "- hosts: all\n  tasks:\n  - block: [{ping: }]\n    become: true\n  - name: outer\n    block:\n    - block: [{ping: \
         }]\n      rescue: [{ping: }]\n    always: [{ping: }]\n",
    )]);
    let plan = project.plan();
    let within = |at: usize| plan.task(plan.plays[0].tasks[at]).within;
    assert_eq!(plan.blocks.len(), 2);
    assert_eq!(plan.blocks[0].name.as_deref(), Some("outer"));
    assert_eq!((within(0), within(1).map(|w| w.block.0), within(3).map(|w| w.block.0)), (None, Some(1), Some(0)));
    assert_eq!(plan.blocks[1].parent.map(|within| within.block.0), Some(0));
}

#[test]
fn imported_playbooks_are_under_the_keywords_of_the_import() {
    let project = Project::new(&[
        ("site.yml", "- import_playbook: sub/other.yml\n  when: x\n  tags: t\n  vars: {v: import}\n"),
        ("sub/other.yml", "- hosts: web1\n  vars: {v: play}\n  roles: [near]\n"),
        ("sub/roles/near/tasks/main.yml", "- ping:\n"),
    ]);
    let plan = project.plan();
    assert_eq!(tasks(&plan, 0), ["near : ping [t] when x"]);
    assert_eq!(plan.plays[0].vars["v"].source().as_str(), Some("import"));
    assert_eq!(plan.plays[0].hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>(), ["web1"]);
}

#[test]
fn module_defaults_give_way_to_what_is_nearer() {
    let project = Project::new(&[(
        "site.yml",
        "- hosts: all\n  module_defaults: {debug: {msg: play, verbosity: 1}}\n  tasks:\n  - debug: {msg: task}\n  - block: \
         [{debug: }]\n    module_defaults: {ansible.builtin.debug: {msg: block}}\n",
    )]);
    let plan = project.plan();
    let args = |at: usize| {
        let task = plan.task(plan.plays[0].tasks[at]);
        (task.args["msg"].source(), task.args["verbosity"].source())
    };
    assert_eq!(args(0), ("task".into(), 1.into()));
    assert_eq!(args(1), ("block".into(), 1.into()));
}

#[test]
fn what_is_encrypted_is_read_with_the_runs_password() {
    let secret = |text: &str| encrypt(text.as_bytes(), b"pw", None).unwrap();
    let inline = secret("inner").lines().map(|line| format!("      {line}\n")).collect::<String>();
    let site = format!("- hosts: all\n  vars_files: [secret.yml]\n  vars:\n    a: !vault |\n{inline}  tasks: []\n");
    let mut project = Project::new(&[("site.yml", &site), ("secret.yml", &secret("b: whole"))]);
    assert!(project.refusal().contains("Attempting to decrypt but no vault secrets found."));
    project.vault = Vault::new(vec![Secret::new("default", b"pw")]);
    let plan = project.plan();
    let templar = Templar::with(crate::plugins::Plugins::default(), project.vault.clone());
    let layers = plan.plays[0].layers.iter().map(|layer| Arc::clone(&layer.vars));
    let scope = crate::vars::Scope::of(&templar, layers);
    assert_eq!(templar.render(&plan.plays[0].vars["a"], &scope), Ok("inner".into()));
    assert_eq!(scope.get("b"), Ok("whole".into()));
}

#[test]
fn names_of_files_may_be_made_of_extra_variables() {
    let mut project = Project::new(&[
        ("site.yml", "- hosts: '{{ target }}'\n  tasks:\n  - import_tasks: '{{ which }}.yml'\n"),
        ("one.yml", "- ping:\n"),
    ]);
    let given = |extra: &[(&str, &str)]| {
        authored_map(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect())
    };
    assert!(project.refusal().starts_with("site.yml:3:5: 'which' is undefined"), "{}", project.refusal());
    project.extra = given(&[("which", "one")]);
    assert!(project.refusal().starts_with("site.yml:1:10: 'target' is undefined"), "{}", project.refusal());
    project.extra = given(&[("target", "web1"), ("which", "one")]);
    assert_eq!(tasks(&project.plan(), 0), ["ping"]);
}

#[test]
fn a_role_with_an_argument_spec_checks_its_arguments_first() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [{role: web, size: 5}]\n"),
        ("roles/web/tasks/main.yml", "- ping:\n"),
        (
            "roles/web/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    short_description: A web server\n    options: {size: {type: int}}\n",
        ),
    ]);
    let plan = project.plan();
    let check = plan.task(plan.plays[0].tasks[0]);
    assert_eq!(shown(check), "web : Validating arguments against arg spec 'main' - A web server [always]");
    assert_eq!(check.module, "ansible.builtin.validate_argument_spec");
    assert_eq!(check.args["provided_arguments"].source().to_json(), r#"{"size":5}"#);
}

#[test]
fn what_cannot_be_found_is_told_where_it_is_named() {
    for (site, error) in [
        ("- hosts: all\n  roles: [wep]\n", "site.yml:2:11: the role 'wep' was not found in "),
        ("- hosts: all\n  tasks:\n  - import_tasks: x.yml\n", "site.yml:3:5: Could not find or access 'x.yml'"),
        ("- import_playbook: x.yml\n", "site.yml:1:20: could not find the playbook 'x.yml'"),
        ("- hosts: all\n  serial: many\n", "site.yml:2:11: `many` is not a batch size"),
        ("- hosts: all\n  order: up\n", "site.yml:2:10: Invalid 'order' specified for inventory hosts: up"),
        ("- hosts: all\n  tasks:\n  - include_role: {nam: x}\n", "site.yml:3:5: Invalid options for include_role: nam"),
        (
            "- hosts: all\n  tasks:\n  - import_role: {name: x}\n    loop: [1]\n",
            "site.yml:3:5: You cannot use loops on",
        ),
    ] {
        let refusal = Project::new(&[("site.yml", site), ("roles/web/tasks/main.yml", "")]).refusal();
        assert!(refusal.starts_with(error), "{refusal}\nnot\n{error}");
    }
}

#[test]
fn a_strategy_that_nobody_has_is_no_error_until_the_playbook_is_run() {
    let project = Project::new(&[("site.yml", "- hosts: all\n  strategy: fre\n")]);
    let hindrance = project.load().unwrap().hindrance.unwrap().to_string();
    assert!(hindrance.contains("site.yml:2:13: Invalid play strategy specified: fre"), "{hindrance}");
    assert!(Project::new(&[("site.yml", "- hosts: all\n  strategy: free\n")]).load().unwrap().hindrance.is_none());
}

#[test]
fn files_that_import_each_other_end_with_an_error() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  tasks:\n  - import_tasks: a.yml\n"),
        ("a.yml", "- import_tasks: b.yml\n"),
        ("b.yml", "- import_tasks: a.yml\n"),
    ]);
    assert!(project.refusal().contains("nested deeper than 64 levels"), "{}", project.refusal());
}
