//! Playbooks from the command line, on this machine.

use std::fs;
use std::path::Path;

use rustle_tests::Run;

/// Files of a project in a temporary folder, which is also the run's home.
struct Project {
    home: tempfile::TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Project { home }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn run(&self) -> Run {
        Run::new(self.path())
    }
}

#[test]
fn a_playbook_with_a_role_runs_as_it_is() {
    let project = Project::new(&[
        (
            "site.yml",
            "- name: Site\n  hosts: localhost\n  gather_facts: false\n  roles: [{role: web, size: 5}]\n  tasks:\n  - name: \
             Read\n    command: cat out.conf chdir={{ playbook_dir }}\n    register: read\n  - assert: {that: \"read.stdout \
             == 'size 5 of web at 80'\"}\n",
        ),
        ("roles/web/defaults/main.yml", "port: 80\n"),
        (
            "roles/web/tasks/main.yml",
            "- name: Write\n  template: {src: a.j2, dest: '{{ playbook_dir }}/out.conf'}\n  notify: told\n",
        ),
        ("roles/web/templates/a.j2", "size {{ size }} of web at {{ port }}\n"),
        ("roles/web/handlers/main.yml", "- name: told\n  debug: msg=told\n"),
    ]);
    let ended = project.run().arg("site.yml").ends(0);
    assert!(ended.stdout.contains("RUNNING HANDLER"), "{}", ended.stdout);
    assert!(ended.stdout.contains("ok=4 "), "{}", ended.stdout);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_nothing_runs() {
    let project =
        Project::new(&[("site.yml", "- hosts: localhost\n  tasks:\n  - command: touch ran\n  - ping:\n    tagz: x\n")]);
    let ended = project.run().arg("site.yml").ends(5);
    assert_eq!(
        ended.stderr,
        "error: site.yml:5:5: 'tagz' is not a valid attribute for a Task\n  5 |     tagz: x\n    |     ^\nhint: did you mean `tags`?\n"
    );
    assert!(!project.path().join("ran").exists());
}

#[test]
fn lists_are_in_ansibles_layout() {
    let project = Project::new(&[(
        "site.yml",
        "- name: One\n  hosts: a,b\n  tags: p\n  tasks:\n  - name: first\n    ping:\n    tags: [x, t]\n- hosts: [all, '!a']\n  \
         strategy: by_the_moon\n  tasks: []\n",
    )]);
    let ended = project.run().args(["-i", "a,b,", "--list-tasks", "--list-hosts", "site.yml"]).ends(0);
    assert_eq!(
        ended.stdout,
        "\nplaybook: site.yml\n\n  play #1 (a,b): One\tTAGS: [p]\n    pattern: ['a,b']\n    hosts (2):\n      a\n      b\n    \
         tasks:\n      first\tTAGS: [p, t, x]\n\n  play #2 (all,!a): all,!a\tTAGS: []\n    pattern: ['all', '!a']\n    hosts \
         (1):\n      b\n    tasks:\n"
    );
    let ended = project.run().args(["-i", "a,b,", "site.yml"]).ends(5);
    assert!(ended.stderr.contains("site.yml:9:13: Invalid play strategy specified: by_the_moon"), "{}", ended.stderr);
}

#[test]
fn the_check_of_a_roles_arguments_is_listed() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [web]\n"),
        ("roles/web/meta/argument_specs.yml", "argument_specs:\n  main: {short_description: The web}\n"),
        ("roles/web/tasks/main.yml", "- name: install\n  ping:\n"),
    ]);
    let listed = project.run().args(["-i", "a,", "--list-tasks", "site.yml"]).ends(0).stdout;
    let check = "      web : Validating arguments against arg spec 'main' - The web\tTAGS: [always]\n";
    assert!(listed.ends_with(&format!("    tasks:\n{check}      web : install\tTAGS: []\n")), "{listed}");
}

#[test]
fn a_connection_that_the_command_line_sets_as_a_variable_needs_no_agents() {
    let project = Project::new(&[("site.yml", "- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n")]);
    let ended = project.run().args(["-i", "a,b,", "-e", "ansible_connection=local", "site.yml"]).ends(0);
    assert!(ended.recap("b").contains("ok=1"), "{ended:?}");
}

#[test]
fn a_vault_made_here_is_opened_by_a_run() {
    let project = Project::new(&[
        ("pw", "secret\n"),
        ("vars.yml", "word: hidden\n"),
        (
            "site.yml",
            "- hosts: localhost\n  gather_facts: false\n  vars_files: [vars.yml]\n  tasks:\n  - debug: {var: word}\n",
        ),
    ]);
    let shown = project.run().args(["vault", "encrypt", "--vault-password-file", "pw"]);
    let shown = shown.args(["--output", "/dev/stdout", "vars.yml"]).ends(0).stdout;
    assert!(shown.starts_with("$ANSIBLE_VAULT;1.1;AES256\n"), "what is no file is written to: {shown}");
    project.run().args(["vault", "encrypt", "--vault-password-file", "pw", "vars.yml"]).ends(0);
    let encrypted = fs::read_to_string(project.path().join("vars.yml")).unwrap();
    assert!(encrypted.starts_with("$ANSIBLE_VAULT;1.1;AES256\n"));
    project.run().arg("site.yml").ends(5);
    let ended = project.run().args(["--vault-password-file", "pw", "site.yml"]).ends(0);
    assert!(ended.stdout.contains("\"word\": \"hidden\""), "{}", ended.stdout);
}

#[test]
fn a_configuration_that_others_may_write_is_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new(&[
        ("ansible.cfg", "[defaults]\nroles_path = elsewhere\n"),
        ("elsewhere/web/tasks/main.yml", "- ping:\n"),
        ("site.yml", "- hosts: localhost\n  gather_facts: false\n  roles: [web]\n"),
    ]);
    project.run().args(["--syntax-check", "site.yml"]).ends(0);
    fs::set_permissions(project.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let ended = project.run().args(["--syntax-check", "site.yml"]).ends(5);
    assert!(ended.stderr.contains("the role 'web' was not found"), "{}", ended.stderr);
}

/// The recap's `changed` of every host.
fn changes(stdout: &str) -> Vec<u32> {
    let recap = stdout.split("PLAY RECAP").nth(1).unwrap_or_default();
    let number = |line: &str| line.split("changed=").nth(1)?.split_whitespace().next()?.parse().ok();
    recap.lines().filter_map(number).collect()
}

/// Each is run twice: the first time something is done on every host of it, the second time nothing is left to do.
#[test]
fn the_example_playbooks_run_in_a_lab_and_are_done_the_second_time() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/playbooks").canonicalize().unwrap();
    for (playbook, hosts) in [("web_tier.yml", 9), ("rolling_upgrade.yml", 8), ("hardening.yml", 9)] {
        let project = Project::new(&[]);
        let root = format!("root={}", project.path().join("demo").display());
        let run = || {
            // On files that outlive the lab: the second run is to find what the first has made.
            let run = project.run().args(["--lab", "--lab-overlay=no", "-e", &root, "-i"]);
            let run = run.arg(examples.join("hosts.ini"));
            run.arg(examples.join(playbook)).ends(0)
        };
        let first = changes(&run().stdout);
        assert_eq!(first.len(), hosts, "{playbook}");
        assert!(first.iter().all(|changed| *changed > 0), "{playbook}: {first:?}");
        assert_eq!(changes(&run().stdout), vec![0; hosts], "{playbook}");
    }
}

#[test]
fn a_handler_that_nobody_has_ends_the_run_over_every_rescue_unless_the_environment_says_otherwise() {
    let project = Project::new(&[(
        "site.yml",
        "- hosts: localhost
  gather_facts: false
  tasks:
  - block:
    - command: 'true'
      notify: restrat
    - debug: msg=on
    rescue:
    - debug: msg=rescued
- hosts: localhost
  gather_facts: false
  tasks:
  - debug: msg=later
",
    )]);
    let sentence = "The requested handler 'restrat' was not found in either the main handlers list nor in the listening \
                    handlers list";
    let ended = project.run().arg("site.yml").ends(1);
    assert_eq!(ended.stderr.matches(&format!("[ERROR]: {sentence}")).count(), 1, "{}", ended.stderr);
    assert!(ended.stdout.contains("changed: [localhost]"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("\"msg\":") && !ended.stdout.contains(sentence), "{}", ended.stdout);
    let ended = project.run().env("ANSIBLE_ERROR_ON_MISSING_HANDLER", "false").arg("site.yml").ends(0);
    assert!(ended.stderr.contains(&format!("[WARNING]: {sentence}")), "{}", ended.stderr);
    assert!(ended.stdout.contains("\"msg\": \"on\""), "{}", ended.stdout);
}

#[test]
fn what_is_included_and_is_no_playbook_ends_the_run_over_every_rescue_and_what_is_not_there_is_rescued() {
    let project = |included: &str| {
        let text = format!(
            "- hosts: localhost
  gather_facts: false
  tasks:
  - block:
    - include_tasks: {included}
      ignore_errors: '{{{{ included_is_optional | default(false) }}}}'
    rescue:
    - debug: msg=rescued
- hosts: localhost
  gather_facts: false
  tasks:
  - debug: msg=later
"
        );
        Project::new(&[("site.yml", &text), ("broken.yml", "- wrong.module.name:\n"), ("map.yml", "a: b\n")])
    };
    for args in [&["site.yml"][..], &["site.yml", "-e", "{included_is_optional: true}"]] {
        let ended = project("broken.yml").run().args(args).ends(4);
        assert!(ended.stdout.contains("couldn't resolve module/action 'wrong.module.name'"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("rescued\"") && !ended.stdout.contains("later"), "{}", ended.stdout);
        assert!(ended.stdout.contains("failed=1    skipped=0    rescued=0    ignored=0"), "{}", ended.stdout);
    }
    for (included, sentence) in [
        ("nowhere.yml", "nowhere.yml' on the Ansible Controller: Unable to retrieve file contents."),
        ("map.yml", "included task files must contain a list of tasks"),
    ] {
        let ended = project(included).run().arg("site.yml").ends(0);
        assert!(ended.stdout.contains(sentence) && ended.stdout.contains("[ERROR]: "), "{}", ended.stdout);
        assert!(ended.stdout.contains("rescued\"") && ended.stdout.contains("later"), "{}", ended.stdout);
    }
}

#[test]
fn what_is_not_there_to_be_included_is_not_ignored() {
    let text = "- hosts: localhost
  gather_facts: false
  tasks:
  - include_tasks: nowhere.yml
    ignore_errors: true
  - debug: msg=on
";
    let project = Project::new(&[("site.yml", text)]);
    let ended = project.run().arg("site.yml").ends(2);
    assert!(ended.stdout.contains("failed=1    skipped=0    rescued=0    ignored=0"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("...ignoring") && !ended.stdout.contains("\"on\""), "{}", ended.stdout);
}

#[test]
fn a_plugin_in_python_is_named_with_its_file_where_there_is_no_python() {
    let project = Project::new(&[
        ("f.yml", "- hosts: localhost\n  gather_facts: false\n  tasks:\n  - debug: {msg: \"{{ 1 | mine }}\"}\n"),
        ("l.yml", "- hosts: localhost\n  gather_facts: false\n  tasks:\n  - debug: {msg: \"{{ lookup('told') }}\"}\n"),
        ("filter_plugins/a.py", "# nothing\n"),
        ("filter_plugins/b.py", "class FilterModule:\n    def filters(self):\n        return {'mine': str}\n"),
        ("lookup_plugins/told.py", "# nothing\n"),
    ]);
    for (playbook, kind, name, file) in
        [("f.yml", "filter", "mine", "filter_plugins/b.py"), ("l.yml", "lookup", "told", "lookup_plugins/told.py")]
    {
        let ended = project.run().env("PATH", project.path()).arg(playbook).ends(2);
        let path = project.path().canonicalize().unwrap().join(file);
        let expected = format!(
            "the {kind} plugin '{name}' is none of rustle-exec's and would be run in Python ({}): there is no python3 on \
             this machine",
            path.display()
        );
        assert!(ended.stdout.contains(&expected), "{}", ended.stdout);
    }
}

#[test]
fn plugins_of_kinds_that_are_not_run_are_told() {
    let play = |rest: &str| format!("- hosts: localhost\n  gather_facts: false\n{rest}");
    let project = Project::new(&[
        ("action.yml", &play("  tasks:\n  - mine: {x: 1}\n    when: false\n  - mine: {x: 2}\n")),
        ("connection.yml", &play("  tasks:\n  - ping:\n    vars: {ansible_connection: tin}\n")),
        ("action_plugins/mine.py", ""),
        ("library/mine.py", ""),
        ("connection_plugins/tin.py", ""),
        ("callback_plugins/told.py", ""),
    ]);
    let path = project.path().canonicalize().unwrap();
    let ended = project.run().arg("action.yml").ends(2);
    let plugin = format!("'mine' is an action plug-in in Python ({}/action_plugins/mine.py)", path.display());
    let before = format!("action.yml:4:5: {plugin}; the task fails if a host comes to it");
    assert!(ended.stderr.contains(&before), "{}", ended.stderr);
    assert!(ended.recap("localhost").contains("failed=1 skipped=1"), "{}", ended.stdout);
    assert!(ended.stdout.contains(&format!("{plugin}, and rustle-exec runs none")), "{}", ended.stdout);
    let ended = project.run().arg("connection.yml").ends(2);
    let expected = format!("'tin' is a connection plug-in in Python ({}/connection_plugins/tin.py)", path.display());
    assert!(ended.stdout.contains(&expected), "{}", ended.stdout);
    let expected = format!("not run: {}/callback_plugins/told.py", path.display());
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

#[test]
fn a_pattern_that_matches_nobody_is_told_once_and_not_before_hosts_may_have_been_added() {
    let project = Project::new(&[
        (
            "adds.yml",
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n  - add_host: {name: new1, groups: made, ansible_connection: \
             local}\n- hosts: made\n  gather_facts: false\n  tasks: [{ping: }]\n- hosts: nobody\n  tasks: [{ping: }]\n",
        ),
        ("plain.yml", "- hosts: localhost:nobody\n  gather_facts: false\n  tasks: [{ping: }]\n"),
    ]);
    let told = |ended: &rustle_tests::Ended, name: &str| {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        said.matches(&format!("Could not match supplied host pattern, ignoring: {name}")).count()
    };
    let adds = project.run().arg("adds.yml").ends(0);
    assert!(adds.recap("new1").contains("ok=1"), "{adds:?}");
    assert_eq!((told(&adds, "made"), told(&adds, "nobody")), (0, 1), "{adds:?}");
    let plain = project.run().arg("plain.yml").ends(0);
    assert_eq!(told(&plain, "nobody"), 1, "{plain:?}");
}
