//! `setup`: facts about the host.

use std::path::{Path, PathBuf};

use rustle_protocol::{ModuleResult, Value};

use crate::arguments;
use crate::facts::{Host, gather, passes, select};
use crate::module::args::Names;
use crate::module::{Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct SetupArgs {
        /// Families of facts; `!` before a name takes it away.
        gather_subset: Names = Names(vec!["all".into()]),
        /// Return only facts that one of these patterns matches.
        filter: Vec<String> = Vec::new(),
        /// Accepted; gathering reads files only and does not wait.
        gather_timeout: u64 = 10,
        /// Where `*.fact` files are.
        fact_path: PathBuf = "/etc/ansible/facts.d".into(),
        /// The Python that modules run with; found out if empty.
        _interpreter: Vec<String> = Vec::new(),
    }
}

pub(super) struct Setup;

impl Module for Setup {
    type Args = SetupArgs;

    const NAME: &'static str = "ansible.builtin.setup";
    const SUMMARY: &'static str = "Gathers facts about the host.";
    const ALIASES: &'static [&'static str] = &["gather_facts"];
    const IDEMPOTENT: bool = true;

    fn run(&self, args: SetupArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let _ = args.gather_timeout;
        let subset = if args.gather_subset.is_empty() { vec!["all".into()] } else { args.gather_subset.0 };
        let selection = select(&subset).map_err(ModuleError::new)?;
        let host = Host::new(Path::new("/"), &args.fact_path, cx).with_python(args._interpreter.first());
        let mut facts = gather(&host, &selection, &args.filter);
        for (name, value) in [("gather_subset", subset.into()), ("module_setup", Value::Bool(true))] {
            if passes(name, &args.filter) {
                facts.insert(name.to_owned(), value);
            }
        }
        Ok(ModuleResult::ok().with("ansible_facts", facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::value::Map;
    use serde_json::json;

    fn facts(args: serde_json::Value) -> Map {
        let surroundings = Surroundings::checking().with_env("GIVEN", "x");
        let result = AnyModule::run(&Setup, Value::from(args).as_map().unwrap().clone(), &surroundings.context());
        assert!(!result.failed && !result.changed && !result.skipped, "{result:?}");
        result.get("ansible_facts").unwrap().as_map().unwrap().clone()
    }

    #[test]
    fn the_facts_people_use_are_there() {
        let facts = facts(json!({}));
        for name in [
            "system",
            "kernel",
            "architecture",
            "hostname",
            "nodename",
            "fqdn",
            "domain",
            "distribution",
            "distribution_version",
            "distribution_major_version",
            "os_family",
            "pkg_mgr",
            "service_mgr",
            "processor",
            "processor_vcpus",
            "memtotal_mb",
            "memfree_mb",
            "mounts",
            "default_ipv4",
            "default_ipv6",
            "interfaces",
            "lo",
            "all_ipv4_addresses",
            "date_time",
            "env",
            "user_id",
            "user_uid",
            "user_gid",
            "uptime_seconds",
            "selinux",
            "virtualization_type",
            "virtualization_role",
            "local",
            "cmdline",
            "dns",
            "lsb",
            "is_chroot",
            "fips",
        ] {
            assert!(facts.contains_key(&format!("ansible_{name}")), "no ansible_{name}");
        }
        assert_eq!(facts["ansible_system"], Value::from("Linux"));
        assert_eq!(facts["ansible_env"].as_map().unwrap()["GIVEN"], Value::from("x"));
        assert!(facts["ansible_memtotal_mb"].as_i64().unwrap() > 0);
        assert_eq!(facts["gather_subset"], Value::from(vec!["all".to_owned()]));
    }

    #[test]
    fn the_python_that_a_host_s_variables_name_is_the_one_that_facts_tell_of() {
        let facts = facts(json!({"filter": "python", "_interpreter": ["/opt/of/theirs/python3.9", "-E"]}));
        let python = facts["ansible_python"].as_map().unwrap();
        assert_eq!(python["executable"], Value::from("/opt/of/theirs/python3.9"));
    }

    #[test]
    fn filters_and_subsets_leave_what_was_asked_for() {
        assert_eq!(facts(json!({"filter": "ansible_kernel"})).keys().collect::<Vec<_>>(), ["ansible_kernel"]);
        let facts = facts(json!({"gather_subset": "!all,!min,user_id", "filter": ["user_*", "module_setup"]}));
        assert!(facts.contains_key("ansible_user_id") && facts.contains_key("module_setup"));
        assert!(!facts.contains_key("ansible_kernel"));
    }
}
