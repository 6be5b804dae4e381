//! `package`: packages, by whatever manages them here.

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::{apt::Apt, dnf::Dnf};
use crate::arguments;
use crate::module::{AnyModule, ArgError, Module, ModuleContext, ModuleError};
use crate::process::find_program;

arguments! {
    pub(crate) struct PackageArgs {
        /// Packages.
        name: Vec<String> = Vec::new(),
        /// What they are to be: `present`, `absent`, `latest`.
        state: String = "present".into(),
        /// The manager; by default what the variable `ansible_package_use` says, else it is found out.
        r#use: String = "auto".into(),
    }
}

pub(super) struct Package;

impl Module for Package {
    type Args = PackageArgs;

    const NAME: &'static str = "ansible.builtin.package";
    const SUMMARY: &'static str = "Installs and removes packages by the host's own manager.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &PackageArgs) -> Result<(), ArgError> {
        match args.r#use.as_str() {
            "auto" | "apt" | "dnf" | "dnf5" | "yum" => Ok(()),
            name => {
                let why = "there are apt, dnf, dnf5 and yum";
                Err(ArgError::Rule(format!(
                    "Could not find a matching action for the \"{name}\" package manager: {why}."
                )))
            }
        }
    }

    fn run(&self, args: PackageArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let has = |name: &str| find_program(name, None).is_some();
        let manager: &dyn AnyModule = match args.r#use.as_str() {
            "apt" => &Apt,
            "auto" if has("apt-get") => &Apt,
            "auto" if !has("dnf") && !has("dnf5") && !has("yum") => {
                return Err(ModuleError::new(
                    "no package manager known here is on this host: neither apt-get nor dnf, dnf5 or yum was found",
                ));
            }
            _ => &Dnf,
        };
        // The words each module has for the same states.
        let state = match args.state.as_str() {
            "installed" => "present",
            "removed" => "absent",
            other => other,
        };
        let mut map = Map::new();
        if !args.name.is_empty() {
            map.insert("name".into(), Value::from(args.name));
        }
        map.insert("state".into(), state.into());
        if matches!(args.r#use.as_str(), "dnf" | "dnf5" | "yum") {
            map.insert("use_backend".into(), args.r#use.into());
        }
        Ok(manager.run(map, cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;
    use serde_json::json;

    fn run(args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&Package, Value::from(args).as_map().unwrap().clone(), &Surroundings::checking().context())
    }

    #[test]
    fn the_hosts_own_manager_answers() {
        if find_program("apt-get", None).is_none() {
            eprintln!("skipped: no apt-get on this host");
            return;
        }
        let result = run(json!({"name": "no-such-package-here", "state": "absent"}));
        assert!(!result.changed && !result.failed, "{result:?}");
        assert!(!run(json!({"name": "dpkg", "state": "installed"})).changed);
        assert!(run(json!({"name": "dpkg", "state": "shiny"})).msg().starts_with("value of state must be one of"));
    }

    #[test]
    fn an_unknown_manager_is_refused() {
        assert!(run(json!({"name": "x", "state": "present", "use": "brew"})).msg().contains("brew"));
    }
}
