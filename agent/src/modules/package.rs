//! `package`: packages, by whatever manages them here.

use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::{apt::Apt, dnf::Dnf};
use crate::arguments;
use crate::module::args::ArgReader;
use crate::module::{AnyModule, ArgError, ArgSpec, Module, ModuleArgs, ModuleContext, ModuleError};
use crate::process::find_program;

arguments! {
    pub(crate) struct OwnArgs {
        /// What they are to be: `present`, `absent`, `latest`. All other arguments are the manager's: `name` and what else it takes.
        state: Option<String>,
        /// The manager; by default what the variable `ansible_package_use` says, else it is found out.
        r#use: String = "auto".into(),
    }
}

/// Its own, and those of the manager.
#[derive(Clone, Debug)]
pub(crate) struct PackageArgs {
    own: OwnArgs,
    of_manager: Map,
}

impl ModuleArgs for PackageArgs {
    const GROUPS: &'static [&'static [ArgSpec]] = OwnArgs::GROUPS;
    const TAKES_ANY: bool = true;

    fn read(reader: &mut ArgReader) -> Result<PackageArgs, ArgError> {
        Ok(PackageArgs { own: OwnArgs::read(reader)?, of_manager: reader.rest() })
    }
}

impl PackageArgs {
    /// What apt is to be asked.
    fn for_apt(&self) -> Map {
        let mut map = self.of_manager.clone();
        // The words each module has for the same states.
        let state = self.own.state.as_deref().map(|state| match state {
            "installed" => "present",
            "removed" => "absent",
            other => other,
        });
        map.extend(state.map(|state| ("state".to_owned(), state.into())));
        map
    }

    /// What dnf or its like is to be asked.
    fn for_dnf(&self) -> Map {
        let mut map = self.for_apt();
        if self.own.r#use != "auto" {
            map.insert("use_backend".into(), self.own.r#use.as_str().into());
        }
        map
    }
}

pub(super) struct Package;

impl Module for Package {
    type Args = PackageArgs;

    const NAME: &'static str = "ansible.builtin.package";
    const SUMMARY: &'static str = "Installs and removes packages by the host's own manager.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &PackageArgs) -> Result<(), ArgError> {
        let (apt, dnf) = (|| Apt.validate(args.for_apt()), || Dnf.validate(args.for_dnf()));
        match args.own.r#use.as_str() {
            // Which it is, the host knows.
            "auto" => apt().or_else(|why| dnf().map_err(|_| why)),
            "apt" => apt(),
            "dnf" | "dnf5" | "yum" => dnf(),
            name => {
                Err(ArgError::Rule(format!("Could not find a matching action for the \"{name}\" package manager.")))
            }
        }
    }

    fn run(&self, args: PackageArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let has = |name: &str| find_program(name, None).is_some();
        Ok(match args.own.r#use.as_str() {
            "apt" => AnyModule::run(&Apt, args.for_apt(), cx),
            "auto" if has("apt-get") => AnyModule::run(&Apt, args.for_apt(), cx),
            "auto" if !has("dnf") && !has("dnf5") && !has("yum") => {
                return Err(ModuleError::new(
                    "no package manager known here is on this host: neither apt-get nor dnf, dnf5 or yum was found",
                ));
            }
            _ => AnyModule::run(&Dnf, args.for_dnf(), cx),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
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
    fn all_other_arguments_are_the_managers() {
        let of = |args: serde_json::Value| AnyModule::validate(&Package, Value::from(args).as_map().unwrap().clone());
        assert_eq!(of(json!({"name": "x", "update_cache": true, "cache_valid_time": 60})), Ok(()));
        assert_eq!(of(json!({"name": "x", "enablerepo": "epel"})), Ok(()), "dnf has it");
        assert!(of(json!({"name": "x", "use": "apt", "enablerepo": "epel"})).is_err());
        assert!(of(json!({"name": "x", "update_cash": true})).unwrap_err().to_string().contains("update_cache"));
    }

    #[test]
    fn an_unknown_manager_is_refused() {
        assert!(run(json!({"name": "x", "state": "present", "use": "brew"})).msg().contains("brew"));
    }
}
