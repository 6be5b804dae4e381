//! Facts, and the names they may not take.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::Value as Jinja;
use rustle_protocol::value::{Map, Value};

use crate::template::View;

/// The facts of one host: `ansible_facts.name`, and `ansible_name` or `name` as the module returned it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Without the prefix `ansible_`, as in `ansible_facts`.
    stripped: Arc<Value>,
    /// Names a module returned without the prefix.
    bare: Arc<BTreeSet<String>>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts { stripped: Arc::new(Value::Map(Map::new())), bare: Arc::default() }
    }
}

/// Facts without the names they may not take, and those names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleanFacts {
    pub facts: Map,
    /// In the order the module returned them. Whoever calls warns of them.
    pub refused: Vec<String>,
}

const PREFIX: &str = "ansible_";

/// Ansible's name of the fact that a host's facts were gathered.
pub const FACTS_GATHERED: &str = "_ansible_facts_gathered";

/// The facts of an administrator's own files.
pub(super) const LOCAL: &str = "ansible_local";

/// Names that say how a host is reached and as whom, and magic variables; the former also without `ansible_`, since
/// `ansible_facts.connection` would be injected under the full name.
const RESERVED: &[&str] = &[
    "ansible_connection",
    "ansible_host",
    "ansible_port",
    "ansible_user",
    "ansible_password",
    "ansible_pass",
    "ansible_private_key_file",
    "ansible_remote_user",
    "ansible_remote_tmp",
    "ansible_module_compression",
    "ansible_shell_type",
    "ansible_shell_executable",
    "ansible_async_dir",
    "ansible_pipelining",
    "ansible_timeout",
    "ansible_facts",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_verbosity",
    "ansible_version",
    "ansible_forks",
    "ansible_limit",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_batch",
    "ansible_play_name",
    "ansible_play_role_names",
    "ansible_role_names",
    "ansible_role_name",
    "ansible_parent_role_names",
    "ansible_parent_role_paths",
    "ansible_dependent_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_loop",
    "ansible_loop_var",
    "ansible_index_var",
    "ansible_search_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_playbook_python",
    "ansible_inventory_sources",
    "ansible_delegated_vars",
    "ansible_failed_task",
    "ansible_failed_result",
    "inventory_hostname",
    "inventory_hostname_short",
    "inventory_dir",
    "inventory_file",
    "playbook_dir",
    "group_names",
    "groups",
    "hostvars",
    "vars",
    "environment",
    "omit",
    "play_hosts",
    "role_name",
    "role_path",
    "role_names",
    "role_uuid",
    "item",
];

/// Every name below these is reserved, too.
const RESERVED_PREFIXES: &[&str] = &[
    "ansible_become",
    "ansible_ssh_",
    "ansible_sudo",
    "ansible_su_",
    "ansible_runuser_",
    "ansible_agent_",
    "ansible_local_",
    "ansible_winrm_",
    "ansible_psrp_",
    "ansible_paramiko_",
];

/// Whether a fact may not have this name.
pub(super) fn is_reserved(name: &str) -> bool {
    let full = if name.starts_with(PREFIX) { name.to_owned() } else { format!("{PREFIX}{name}") };
    // A fact of every host, and its name is also that of a plugin's options.
    if full.starts_with("ansible_ssh_host_key_") {
        return false;
    }
    RESERVED.contains(&name)
        || RESERVED.contains(&full.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| full.starts_with(prefix))
        || (full.ends_with("_interpreter") && !full.starts_with("ansible_discovered_interpreter"))
}

/// What `ansible_facts` calls the fact that was returned as `name`. One keeps its prefix there, as in Ansible.
fn stripped(name: &str) -> &str {
    if name == LOCAL { name } else { name.strip_prefix(PREFIX).unwrap_or(name) }
}

impl CleanFacts {
    pub(super) fn of(returned: Map) -> CleanFacts {
        let mut clean = CleanFacts::default();
        for (name, value) in returned {
            if is_reserved(&name) {
                clean.refused.push(name);
            } else {
                clean.facts.insert(name, value);
            }
        }
        clean
    }
}

impl Facts {
    /// Adds to what is known; a fact that is there is replaced.
    pub(super) fn merge(&mut self, facts: Map) {
        for (name, value) in facts {
            let stripped = stripped(&name);
            if stripped == name {
                Arc::make_mut(&mut self.bare).insert(name.clone());
            }
            if let Value::Map(map) = Arc::make_mut(&mut self.stripped) {
                map.insert(stripped.to_owned(), value);
            }
        }
    }

    /// All facts, as `ansible_facts` shows them.
    pub fn all(&self) -> &Arc<Value> {
        &self.stripped
    }

    /// All facts under the names they were returned with.
    pub(super) fn returned(&self) -> Map {
        let named = |(name, value): (&String, &Value)| {
            let returned = if self.bare.contains(name) { name.clone() } else { format!("{PREFIX}{name}") };
            (returned, value.clone())
        };
        self.stripped.as_map().into_iter().flatten().map(named).collect()
    }

    /// The fact behind a variable's name.
    pub(super) fn get(&self, variable: &str) -> Option<&Value> {
        let name = stripped(variable);
        let is_there = name != variable || self.bare.contains(variable);
        self.stripped.as_map()?.get(name).filter(|_| is_there)
    }

    /// As [`Facts::get`], for the engine.
    pub(super) fn lookup(&self, variable: &str) -> Option<Jinja> {
        self.get(variable)?;
        View::of_data(&self.stripped).get_attr(stripped(variable)).ok()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        let keys = self.stripped.as_map().into_iter().flat_map(|map| map.keys());
        keys.map(|name| if self.bare.contains(name) { name.clone() } else { format!("{PREFIX}{name}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_may_not_take_names_that_steer_a_run() {
        for name in [
            "ansible_connection",
            "connection",
            "inventory_hostname",
            "ansible_host",
            "ansible_become",
            "ansible_become_user",
            "become_pass",
            "ansible_python_interpreter",
            "ansible_ssh_common_args",
            "hostvars",
            "groups",
            "omit",
            "ansible_facts",
            "ansible_user",
            "ansible_check_mode",
            "ansible_shell_executable",
        ] {
            assert!(is_reserved(name), "{name}");
        }
    }

    #[test]
    fn facts_lose_their_prefix_but_for_the_local_ones() {
        let mut facts = Facts::default();
        let returned = ["ansible_kernel", "ansible_local", "packages"].map(|name| (name.to_owned(), Value::from(name)));
        facts.merge(returned.clone().into());
        let shown: Vec<&String> = facts.all().as_map().unwrap().keys().collect();
        assert_eq!(shown, ["kernel", "ansible_local", "packages"]);
        assert_eq!(facts.returned(), Map::from(returned));
        for name in ["ansible_kernel", "ansible_local", "packages"] {
            assert_eq!(facts.get(name), Some(&Value::from(name)));
        }
        assert_eq!((facts.get("kernel"), facts.get("local")), (None, None));
    }

    #[test]
    fn ordinary_facts_keep_their_names() {
        for name in [
            "ansible_hostname",
            "ansible_user_id",
            "ansible_user_dir",
            "ansible_local",
            "ansible_distribution",
            "packages",
            "ansible_ssh_host_key_rsa_public",
            "ansible_python",
            "discovered_interpreter_python",
            "ansible_env",
            "ansible_default_ipv4",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
