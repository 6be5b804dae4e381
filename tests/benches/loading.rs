//! What the controller costs by itself: to understand a large playbook and a large inventory, before anybody is contacted, and
//! to take one task with three templated arguments through one host, beside what minijinja takes for the three alone.
//!
//!     cargo build --release && cargo bench -p rustle-tests --bench loading
//!
//! Prints times and resident memory beside the aims. It judges nothing: machines differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use minijinja::context;
use rustle_exec::engine::Registry;
use rustle_exec::input::inventory::{Inventory, Limits};
use rustle_exec::input::playbook::{self, PlaybookRequest, SearchPaths, Surroundings};
use rustle_exec::template::Templar;
use rustle_exec::vars::VarMap;
use rustle_exec::vault::Vault;
use rustle_tests::children_cpu;

const ROLES: usize = 100;
const TASKS_PER_ROLE: usize = 50;
const HOSTS: usize = 10_000;
const ROUNDS: usize = 7;
/// The tasks that go through all [`HOSTS`], beside a run of one.
const RENDERED_TASKS: usize = 11;
/// What stands in each of them.
const ARGUMENTS: [&str; 3] =
    ["{{ inventory_hostname }} in {{ rack }}", "{{ greeting | upper }}", "{{ settings.b[1] + 1 }}"];

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_playbook(folder.path()).expect("the temporary folder can be written");
    write_inventory(folder.path()).expect("the temporary folder can be written");
    load_playbook(folder.path());
    load_inventory(folder.path());
    render_tasks(folder.path());
}

#[expect(clippy::print_stdout, reason = "a benchmark's answer")]
fn say(line: &str) {
    println!("{line}");
}

fn write_playbook(folder: &Path) -> std::io::Result<()> {
    let mut roles = String::new();
    for role in 0..ROLES {
        roles += &format!("    - {{role: role{role}, level: {role}, tags: [r{role}]}}\n");
        let path = folder.join(format!("roles/role{role}"));
        for part in ["tasks", "defaults", "handlers"] {
            fs::create_dir_all(path.join(part))?;
        }
        let mut tasks = String::new();
        for task in 0..TASKS_PER_ROLE {
            tasks += &format!(
                "- name: Task {task} for {{{{ inventory_hostname }}}}\n  ansible.builtin.copy:\n    content: \"{{{{ level \
                 }}}} and {{{{ port{role} }}}}\"\n    dest: /tmp/x/{{{{ inventory_hostname }}}}/{task}\n    mode: \"0644\"\n  \
                 when: level | int > {task} and port{role} is defined\n  register: result_{task}\n  notify: restart \
                 {role}\n  tags: [copy, \"t{task}\"]\n"
            );
        }
        fs::write(path.join("tasks/main.yml"), tasks)?;
        fs::write(
            path.join("defaults/main.yml"),
            format!("port{role}: {role}\nname{role}: \"x{{{{ port{role} }}}}\"\n"),
        )?;
        let handler = format!("- name: restart {role}\n  ansible.builtin.command: /bin/true\n");
        fs::write(path.join("handlers/main.yml"), handler)?;
    }
    fs::write(folder.join("site.yml"), format!("- hosts: all\n  become: true\n  roles:\n{roles}"))
}

fn write_inventory(folder: &Path) -> std::io::Result<()> {
    let mut text = String::from("[web]\n");
    for host in 0..HOSTS {
        text += &format!(
            "host{host:05} ansible_host=10.{}.{}.{} rack=r{}\n",
            host >> 16,
            (host >> 8) & 255,
            host & 255,
            host % 40
        );
    }
    text += "[web:vars]\nhttp_port=80\ngreeting=hello {{ inventory_hostname }}\n";
    fs::create_dir_all(folder.join("group_vars"))?;
    fs::write(folder.join("group_vars/web.yml"), "settings: {a: 1, b: [1, 2, 3], c: \"{{ http_port }}\"}\n")?;
    fs::write(folder.join("hosts.ini"), text)
}

fn load_playbook(folder: &Path) {
    let inventory = Inventory::of_hosts(["web1"]).expect("a host name");
    let mut times = Vec::new();
    let mut tasks = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let loaded = playbook::load(PlaybookRequest {
            paths: &[folder.join("site.yml")],
            surroundings: Surroundings {
                modules: Arc::new(Registry::native()),
                paths: SearchPaths::default(),
                extra: Arc::new(VarMap::new()),
                templar: Templar::new(),
                vault: Vault::default(),
                smart_gathering: false,
                private_role_vars: false,
            },
            inventory: &inventory,
            gather_facts: Some(true),
            force_handlers: false,
            defaults: playbook::PlayDefaults::default(),
            prompts: playbook::Prompts::Default,
        });
        times.push(started.elapsed());
        tasks = loaded.expect("the playbook is sound").plan.plays[0].tasks.len();
    }
    let (best, median) = best_and_median(times);
    say(&format!("playbook of {tasks} tasks in {ROLES} roles: {best} ms, median {median} ms (aim: 300 ms)"));
}

fn load_inventory(folder: &Path) {
    let before = resident_mib();
    let started = Instant::now();
    let inventory = Inventory::load(&[folder.join("hosts.ini")], Limits::default()).expect("the inventory is sound");
    let took = started.elapsed().as_millis();
    let hosts = inventory.host_count();
    say(&format!("inventory of {hosts} hosts: {took} ms, {} MiB resident more than before", resident_mib() - before));
    say(&format!("resident in all: {} MiB (aim: 300 MB before the first connection)", resident_mib()));
}

/// The whole run of the real program, journal and output included, since that is what a task costs. No host is contacted:
/// `set_fact` is the controller's own. What a run of one task takes, the start and the inventory, is taken off.
fn render_tasks(folder: &Path) {
    let run = |tasks: usize| {
        let mut playbook = String::from("- hosts: all\n  gather_facts: false\n  tasks:\n");
        for task in 0..tasks {
            playbook += "    - set_fact:\n";
            for (index, argument) in ARGUMENTS.iter().enumerate() {
                playbook += &format!("        made_{task}_{index}: \"{argument}\"\n");
            }
        }
        fs::write(folder.join("render.yml"), playbook).expect("the temporary folder can be written");
        let before = children_cpu();
        let status = Command::new(controller())
            .current_dir(folder)
            .env("HOME", folder)
            .args(["-i", "hosts.ini", "render.yml", "--progress=never"])
            .stdout(Stdio::null())
            .status()
            .expect("the program starts");
        assert!(status.success(), "{status}");
        children_cpu() - before
    };
    let mut times: Vec<_> = (0..ROUNDS).map(|_| run(RENDERED_TASKS).saturating_sub(run(1))).collect();
    times.sort();
    let each = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count as f64;
    let ours = each(times[ROUNDS / 2], HOSTS * (RENDERED_TASKS - 1));
    let floor = each(minijinja_alone(), HOSTS);
    say(&format!(
        "a task with three templated arguments, for each of {HOSTS} hosts: {ours:.0} us of CPU (aim: 60 us); minijinja alone \
         {floor:.1} us, ratio {:.1}",
        ours / floor
    ));
}

/// The same templates, compiled, with all that they name at hand.
fn minijinja_alone() -> Duration {
    let mut environment = minijinja::Environment::new();
    for (name, source) in ["a", "b", "c"].into_iter().zip(ARGUMENTS) {
        environment.add_template(name, source).expect("it is a template");
    }
    let templates = ["a", "b", "c"].map(|name| environment.get_template(name).expect("it was added"));
    let variables = context! {
        inventory_hostname => "host00001", rack => "r1", greeting => "hello host00001", settings => context! { b => [1, 2, 3] },
    };
    let started = Instant::now();
    for _ in 0..HOSTS {
        for template in &templates {
            std::hint::black_box(template.render(&variables).expect("it renders"));
        }
    }
    started.elapsed()
}

/// The release build, or what `RUSTLE_EXEC` names.
fn controller() -> PathBuf {
    std::env::var_os("RUSTLE_EXEC").map_or_else(
        || {
            let bench = std::env::current_exe().expect("a running program has a path");
            bench.ancestors().nth(2).expect("target/release/deps/bench").join("rustle-exec")
        },
        PathBuf::from,
    )
}

fn best_and_median(mut times: Vec<Duration>) -> (u128, u128) {
    times.sort();
    (times[0].as_millis(), times[times.len() / 2].as_millis())
}

/// Of this process; 0 where the system does not tell.
fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
