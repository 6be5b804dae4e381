use std::path::Path;

use super::*;
use crate::input::inventory::Inventory;
use crate::plan::check::NativeModules;
use crate::template::Templar;
use crate::vault::{Secret, encrypt};

fn surroundings(vault: &Vault) -> Surroundings {
    Surroundings {
        modules: Arc::new(NativeModules),
        paths: super::super::SearchPaths::default(),
        extra: Arc::default(),
        templar: Templar::with(crate::plugins::Plugins::default(), vault.clone()),
        vault: vault.clone(),
        smart_gathering: false,
        private_role_vars: false,
    }
}

fn load(folder: &Path, vault: &Vault) -> Playbook {
    try_load(folder, vault).unwrap()
}

fn try_load(folder: &Path, vault: &Vault) -> Result<Playbook, PlaybookError> {
    let inventory = inventory();
    super::super::load(super::super::PlaybookRequest {
        paths: &[folder.join("site.yml")],
        surroundings: surroundings(vault),
        inventory: &inventory,
        gather_facts: None,
        force_handlers: false,
        defaults: super::super::PlayDefaults::default(),
        prompts: Prompts::Keep,
    })
}

fn inventory() -> Inventory {
    Inventory::of_hosts(["a", "b"]).unwrap()
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

fn read(text: &str, vault: &Vault) -> Result<Playbook, PlaybookError> {
    Printed::parse("plan.json", text)?.into_playbook(surroundings(vault), &inventory(), Prompts::Default)
}

/// All of a plan, as `Debug` shows it, without its identity.
/// The plan, but for the places of words in the playbook's text, of which a printed plan keeps those of tasks alone.
fn shown(playbook: &Playbook) -> String {
    let mut plan = Plan { digest: String::new(), ..playbook.plan.clone() };
    plan.tasks.iter_mut().for_each(|task| task.call = None);
    format!("{plan:#?}")
}

const SITE: &str = "\
- hosts: all
  gather_facts: false
  serial: [1, 50%]
  vars: {port: 80, url: 'http://{{ inventory_hostname }}:{{ port }}', raw: !unsafe '{{ no }}'}
  roles: [{role: web, when: port > 1}]
  tasks:
    - block:
        - name: ask {{ url }}
          command: echo {{ item }}
          loop: ['{{ url }}', 2]
          register: said
          until: said is success
          retries: 2
          no_log: '{{ quiet | default(omit) }}'
          notify: told
      rescue:
        - include_tasks: more.yml
          vars: {why: failed}
      become: true
  handlers:
    - name: told
      debug: {msg: told}
";

const FILES: &[(&str, &str)] = &[
    ("site.yml", SITE),
    ("more.yml", "- debug: {msg: '{{ why }}'}\n"),
    ("roles/web/defaults/main.yml", "workers: 2\n"),
    ("roles/web/tasks/main.yml", "- ping:\n  timeout: 5\n"),
    ("roles/web/meta/main.yml", "dependencies: [base]\n"),
    ("roles/base/tasks/main.yml", "- ping:\n"),
];

#[test]
fn a_plan_is_read_back_as_it_was_printed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), FILES);
    let playbook = load(folder.path(), &Vault::default());
    let text = playbook.print().unwrap();
    let again = read(&text, &Vault::default()).unwrap();
    assert_eq!(shown(&again), shown(&playbook));
    assert_eq!(again.base, folder.path());
    // Tables share what the plan shares, so it is printed the same again.
    let without_time = |text: &str| text.lines().filter(|line| !line.contains("\"created_at\"")).collect::<String>();
    let identity = again.plan.digest.clone();
    assert_eq!(
        without_time(&again.print().unwrap()).replace(&identity, ""),
        without_time(&text).replace(&playbook.plan.digest, "")
    );
}

#[test]
fn what_a_printed_plan_includes_is_read_when_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), FILES);
    let again = read(&load(folder.path(), &Vault::default()).print().unwrap(), &Vault::default()).unwrap();
    let including = again.plan.tasks.iter().find(|task| task.include.is_some()).unwrap();
    let wish =
        crate::plan::Inclusion { args: [("_raw_params".to_owned(), "more.yml".into())].into(), locals: Arc::default() };
    let fragment = again.fragments().fragment(again.plan.play(including.play), including, &wish).unwrap();
    assert_eq!(fragment.label, folder.path().join("more.yml").display().to_string());
    let [task] = &fragment.tasks[..] else { panic!("one task") };
    assert_eq!(task.run_as.wanted, Some(true.into()), "the block's");
    let layers: Vec<_> = task.layers.iter().filter(|layer| layer.vars.contains_key("why")).collect();
    assert_eq!(layers.len(), 1, "the include's own variables");
}

#[test]
fn what_is_encrypted_is_printed_encrypted_and_known_again_with_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::new(vec![Secret::new("default", b"pass")]);
    let sealed = encrypt(b"hunter2", b"pass", None).unwrap();
    let indented: String = sealed.lines().map(|line| format!("        {line}\n")).collect();
    let site = format!(
        "- hosts: all\n  vars:\n    one: !vault |\n{indented}  vars_files: [secret.yml]\n  tasks:\n    - debug:\n        \
         msg: !vault |\n{}",
        indented.replace("        ", "          ")
    );
    let file = encrypt(b"two: hunter3\nthree: [hunter4]\n", b"pass", None).unwrap();
    write(folder.path(), &[("site.yml", &site), ("secret.yml", &file)]);
    let text = load(folder.path(), &vault).print().unwrap();
    assert!(!text.contains("hunter"), "{text}");
    let again = read(&text, &vault).unwrap();
    let play = &again.plan.plays[0];
    let layers = [Layer::new(Precedence::PlayVars, var_map(play.vars.clone()))];
    let layers = layers.iter().chain(&play.layers).map(|layer| Arc::clone(&layer.vars));
    let templar = Templar::with(crate::plugins::Plugins::default(), vault.clone());
    let scope = crate::vars::Scope::of(&templar, layers);
    let rendered = templar.render_text("{{ one }} {{ two }} {{ three[0] }}", &scope);
    assert_eq!(rendered.unwrap(), "hunter2 hunter3 hunter4");
    assert_eq!(templar.render(&again.plan.tasks[0].args["msg"], &scope), Ok("hunter2".into()));
    assert!(read(&text, &Vault::default()).is_err(), "the file of variables cannot be opened");
}

#[test]
fn a_printed_plan_reads_as_this() {
    let folder = tempfile::tempdir().unwrap();
    let site = "- hosts: a\n  vars: {port: 80}\n  vars_prompt: [{name: who, private: false, default: me}]\n  tasks:\n    - name: greet\n      \
                debug: {msg: 'hello {{ who }}'}\n      when: port > 1\n";
    write(folder.path(), &[("site.yml", site)]);
    let playbook = load(folder.path(), &Vault::default());
    let text = playbook.print().unwrap().replace(folder.path().to_str().unwrap(), "/site");
    let text = text.replace(&playbook.plan.digest, "(digest)");
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["metadata"]["created_at"] = "(now)".into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

/// Gives each answer once.
struct Answers(std::cell::RefCell<Vec<&'static str>>);

impl super::super::Ask for Answers {
    fn ask(&self, question: &super::super::Question) -> Result<Option<String>, String> {
        assert_eq!((question.text.as_str(), question.private), ("Who are you, b?", false));
        Ok(self.0.borrow_mut().pop().map(str::to_owned))
    }
}

const PROMPTING: &str = "\
- hosts: a
  vars: {of: b, open: true}
  vars_prompt:
    - {name: who, prompt: 'Who are you, {{ of }}?', private: '{{ not open }}', default: nobody}
  vars_files: ['{{ who }}.yml']
  tasks:
    - debug: {msg: 'hello {{ who }}'}
    - include_tasks: more.yml
";

#[test]
fn what_a_play_asks_is_asked_when_its_printed_plan_runs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("site.yml", PROMPTING), ("more.yml", "- import_tasks: '{{ who }}.yml'\n")]);
    write(folder.path(), &[("me.yml", "- ping:\n"), ("you.yml", "- ping:\n")]);
    let text = load(folder.path(), &Vault::default()).print().unwrap();
    let read = |prompts: Prompts<'_>, extra: &[(&str, &str)]| {
        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), crate::vars::Variable::data(*value)));
        let surroundings = Surroundings { extra: Arc::new(extra.collect()), ..surroundings(&Vault::default()) };
        Printed::parse("plan.json", &text).unwrap().into_playbook(surroundings, &inventory(), prompts).unwrap()
    };
    let answers = Answers(vec!["me"].into());
    let playbook = read(Prompts::Ask(&answers), &[]);
    let [answered] = &playbook.plan.plays[0].layers[..] else { panic!("one layer") };
    assert_eq!(answered.vars["who"].source(), "me".into());
    let including = playbook.plan.tasks.iter().find(|task| task.include.is_some()).unwrap();
    let wish =
        crate::plan::Inclusion { args: [("_raw_params".to_owned(), "more.yml".into())].into(), locals: Arc::default() };
    let fragment = playbook.fragments().fragment(&playbook.plan.plays[0], including, &wish).unwrap();
    assert_eq!(&*fragment.tasks[0].position.as_ref().unwrap().file, folder.path().join("me.yml"), "includes know it");
    // Nobody is there.
    assert_eq!(read(Prompts::Default, &[]).plan.plays[0].layers[0].vars["who"].source(), "nobody".into());
    // `-e` of the run has answered it.
    assert!(read(Prompts::Ask(&answers), &[("who", "you")]).plan.plays[0].layers.iter().all(|l| l.vars.is_empty()));
}

#[test]
fn a_plan_that_needs_an_answer_before_it_runs_is_not_printed() {
    for needs in ["hosts: \"{{ who | default('all') }}\"", "hosts: all\n  roles: [\"{{ who | default('web') }}\"]"] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), FILES);
        write(folder.path(), &[("site.yml", &format!("- {needs}\n  vars_prompt: [{{name: who}}]\n"))]);
        let error = try_load(folder.path(), &Vault::default()).err().unwrap().to_string();
        assert!(error.contains("`who` is asked for (vars_prompt) when the plan runs"), "{needs}: {error}");
    }
}

#[test]
fn tasks_of_a_file_that_is_encrypted_as_a_whole_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::new(vec![Secret::new("default", b"pass")]);
    let tasks = encrypt(b"- debug: {msg: hunter2}\n", b"pass", None).unwrap();
    write(folder.path(), &[("site.yml", "- hosts: all\n  tasks: [import_tasks: t.yml]\n"), ("t.yml", &tasks)]);
    let error = load(folder.path(), &vault).print().unwrap_err().to_string();
    assert!(error.contains("t.yml: the file is encrypted as a whole"), "{error}");
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), FILES);
    let text = load(folder.path(), &Vault::default()).print().unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut refusal = |pointer: &str, value: serde_json::Value| {
        let place = json.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let before = std::mem::replace(place, value);
        let error = read(&json.to_string(), &Vault::default()).err().map(|error| error.to_string());
        *json.pointer_mut(pointer).unwrap() = before;
        error.unwrap_or_else(|| panic!("{pointer} was not missed"))
    };
    let thousand = || serde_json::json!(1000);
    assert_eq!(
        refusal("/rustle_exec/version", thousand()),
        "plan.json: the plan is of version 1000, and this program reads version 1"
    );
    for (pointer, value) in [
        ("/rustle_exec/plays/0/play/tasks/0", thousand()),
        ("/rustle_exec/plays/0/play/id", thousand()),
        ("/rustle_exec/plays/0/layers", serde_json::json!([1000])),
        ("/rustle_exec/tasks/0/task/id", thousand()),
        ("/rustle_exec/tasks/0/task/play", thousand()),
        ("/rustle_exec/tasks/0/role", thousand()),
        ("/rustle_exec/tasks/0/search", thousand()),
        ("/rustle_exec/blocks/0/parent", serde_json::json!({"block": 0, "section": "Tasks"})),
        ("/rustle_exec/includes/0/within/block", thousand()),
        ("/rustle_exec/includes/0/keywords/plain", serde_json::json!({"no_keyword": null})),
        ("/rustle_exec/tables/roles/0/name", serde_json::json!(null)),
    ] {
        refusal(pointer, value);
    }
}
