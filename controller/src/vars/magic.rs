//! Variables Ansible sets itself: about the host, the play and the run. Nothing overrides them.

use std::path::Path;
use std::sync::Arc;

use minijinja::value::Value as Jinja;
use rustle_protocol::value::{Map, Value};

use super::hostvars::HostVars;
use super::inventory::HostEntry;
use super::store::StoreInner;
use crate::plan::{FileSearch, PlayRoles, RoleInfo};
use crate::template::View;
use crate::vault::Vault;

/// About the run, the same for every host.
#[derive(Clone, Debug, Default)]
pub struct RunInfo {
    pub check_mode: bool,
    pub diff_mode: bool,
    pub verbosity: u8,
    /// Hosts worked on at a time.
    pub forks: usize,
    /// `--limit`, as it was given.
    pub limit: Option<String>,
    /// Where the first playbook or the plan is. Where a play's playbook is, the store knows.
    pub playbook_dir: String,
    pub run_tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// Files given as `-i`.
    pub inventory_sources: Vec<String>,
    /// The `ansible.cfg` that counts.
    pub config_file: Option<String>,
    /// The Python that runs what is in Python on the controller.
    pub playbook_python: Option<String>,
    /// Ansible's `hash_behaviour = merge`: a dict is put into that of the same name in a weaker place, not over it.
    pub merges_dicts: bool,
    /// Ansible's `inject_facts_as_vars = false`: facts are in `ansible_facts`, and no variables; but for `ansible_local`.
    pub keeps_facts_apart: bool,
    /// Passwords for encrypted files that are read while the run goes on. No variable shows them.
    pub vault: Vault,
}

/// The hosts of a play, by name.
#[derive(Clone, Debug, Default)]
pub struct PlayHosts {
    /// `ansible_play_hosts_all`: every host the play began with.
    pub all: Arc<Value>,
    /// `ansible_play_hosts`, `play_hosts`: without those that failed or became unreachable.
    pub active: Arc<Value>,
    /// `ansible_play_batch`: those of the batch that runs.
    pub batch: Arc<Value>,
}

impl PlayHosts {
    pub fn new(all: Vec<String>, active: Vec<String>, batch: Vec<String>) -> PlayHosts {
        let list = |names: Vec<String>| Arc::new(Value::from(names));
        PlayHosts { all: list(all), active: list(active), batch: list(batch) }
    }
}

/// What the magic variables of one scope are made of.
pub(super) struct Magic {
    pub(super) host: Arc<HostEntry>,
    pub(super) store: Arc<StoreInner>,
    pub(super) run: Arc<RunInfo>,
    /// Only inside a play.
    pub(super) play: Option<Arc<PlayMagic>>,
    /// Only for a task.
    pub(super) task: Option<TaskMagic>,
    pub(super) hostvars: HostVars,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PlayMagic {
    pub(super) name: String,
    pub(super) hosts: PlayHosts,
    pub(super) environment: Option<Arc<Value>>,
}

/// Where a task stands. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskMagic {
    /// The role it belongs to.
    pub role: Option<Arc<RoleInfo>>,
    /// Those that its play has so far.
    pub play_roles: Arc<PlayRoles>,
    /// Where its files are looked for.
    pub search: Option<FileSearch>,
}

impl TaskMagic {
    fn get(&self, name: &str) -> Option<Jinja> {
        match name {
            "ansible_search_path" => {
                let folders = self.search.as_ref()?.folders();
                Some(folders.iter().map(|folder| Jinja::from(folder.to_string_lossy())).collect())
            }
            "ansible_role_names" => Some(self.play_roles.all().into_iter().map(Jinja::from).collect()),
            "ansible_play_role_names" | "role_names" => Some(names(&self.play_roles.listed)),
            "ansible_dependent_role_names" => Some(names(&self.play_roles.dependencies)),
            _ => of_role(self.role.as_ref()?, name),
        }
    }
}

fn of_role(role: &RoleInfo, name: &str) -> Option<Jinja> {
    Some(match name {
        "role_name" => Jinja::from(role.name.as_str()),
        "ansible_role_name" => Jinja::from(role.fqcn()),
        "role_path" => Jinja::from(role.path.to_string_lossy()),
        "ansible_collection_name" => role.collection.as_deref().map_or(Jinja::from(()), Jinja::from),
        "ansible_parent_role_names" => {
            role.parent.as_ref()?;
            role.parents().map(|parent| Jinja::from(parent.fqcn())).collect()
        }
        "ansible_parent_role_paths" => {
            role.parent.as_ref()?;
            role.parents().map(|parent| Jinja::from(parent.path.to_string_lossy())).collect()
        }
        _ => return None,
    })
}

/// Every name [`Magic::get`] may answer to, but those of facts and of `vars`.
pub(super) const NAMES: &[&str] = &[
    "inventory_hostname",
    "inventory_hostname_short",
    "inventory_file",
    "inventory_dir",
    "group_names",
    "groups",
    "hostvars",
    "ansible_play_hosts",
    "play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_batch",
    "ansible_play_name",
    "environment",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_verbosity",
    "ansible_forks",
    "ansible_limit",
    "playbook_dir",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_inventory_sources",
    "ansible_version",
    "ansible_config_file",
    "ansible_playbook_python",
    "ansible_role_names",
    "ansible_play_role_names",
    "ansible_dependent_role_names",
    "role_names",
    "ansible_search_path",
    "role_name",
    "ansible_role_name",
    "role_path",
    "ansible_collection_name",
    "ansible_parent_role_names",
    "ansible_parent_role_paths",
];

/// Names that everything else overrides: how the host is reached.
const DEFAULTS: &[&str] = &["ansible_host", "ansible_ssh_host"];

impl Magic {
    pub(super) fn get(&self, name: &str) -> Option<Jinja> {
        let host = &self.host;
        Some(match name {
            "inventory_hostname" => Jinja::from(host.name.as_str()),
            "inventory_hostname_short" => Jinja::from(host.name.split('.').next().unwrap_or(&host.name)),
            "inventory_file" => Jinja::from(host.source.as_deref()?),
            "inventory_dir" => Jinja::from(directory(host.source.as_deref()?)),
            "group_names" => group_names(host),
            "groups" => View::of_data(&self.store.groups()),
            "hostvars" => self.hostvars.to_jinja(),
            "ansible_play_hosts" | "play_hosts" => View::of_data(&self.play.as_ref()?.hosts.active),
            "ansible_play_hosts_all" => View::of_data(&self.play.as_ref()?.hosts.all),
            "ansible_play_batch" => View::of_data(&self.play.as_ref()?.hosts.batch),
            "ansible_play_name" => Jinja::from(self.play.as_ref()?.name.as_str()),
            "environment" => View::of_data(self.play.as_ref()?.environment.as_ref()?),
            "ansible_check_mode" => Jinja::from(self.run.check_mode),
            "ansible_diff_mode" => Jinja::from(self.run.diff_mode),
            "ansible_verbosity" => Jinja::from(self.run.verbosity),
            "ansible_forks" => Jinja::from(self.run.forks),
            "ansible_limit" => Jinja::from(self.run.limit.as_deref()?),
            "playbook_dir" => Jinja::from(&*self.store.playbook_dir()),
            "ansible_run_tags" => names(&self.run.run_tags),
            "ansible_skip_tags" => names(&self.run.skip_tags),
            "ansible_inventory_sources" => names(&self.run.inventory_sources),
            "ansible_version" => version(),
            "ansible_config_file" => Jinja::from(self.run.config_file.as_deref()),
            "ansible_playbook_python" => Jinja::from(self.run.playbook_python.as_deref()?),
            _ => return self.task.as_ref()?.get(name),
        })
    }

    /// The value of a name that nobody defined.
    pub(super) fn default(&self, name: &str) -> Option<Jinja> {
        // Only where a task runs: `hostvars` shows what was said of the host.
        (self.task.is_some() && DEFAULTS.contains(&name)).then(|| {
            let is_here = matches!(&*self.host.name, "localhost" | "::1") && self.host.source.is_none();
            Jinja::from(if is_here { "127.0.0.1" } else { &self.host.name })
        })
    }

    /// Whether a listing of all variables shows the name: `hostvars` shows no other host's `hostvars`.
    pub(super) fn lists(&self, name: &str) -> bool {
        (name != "hostvars" || self.play.is_some()) && self.get(name).is_some()
    }
}

fn directory(source: &str) -> &str {
    Path::new(source).parent().and_then(Path::to_str).unwrap_or_default()
}

fn group_names(host: &HostEntry) -> Jinja {
    let mut names: Vec<&str> = host.groups.iter().map(AsRef::as_ref).filter(|name| *name != "all").collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Jinja::from).collect()
}

fn names(names: &[String]) -> Jinja {
    names.iter().map(|name| Jinja::from(name.as_str())).collect()
}

/// The Ansible whose behaviour this follows; playbooks compare with it.
fn version() -> Jinja {
    let mut map = Map::new();
    for (key, value) in [("string", Value::from("2.19.0")), ("full", Value::from("2.19.0"))] {
        map.insert(key.to_owned(), value);
    }
    for (key, value) in [("major", 2), ("minor", 19), ("revision", 0)] {
        map.insert(key.to_owned(), Value::Int(value));
    }
    View::of_data(&Arc::new(Value::Map(map)))
}
