//! `dpkg_selections`: what dpkg is to do with a package.

use rustle_protocol::ModuleResult;

use crate::module::args::Choice;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::{arguments, choices};

arguments! {
    pub(crate) struct DpkgSelectionsArgs {
        /// The package.
        name: String,
        /// What is to become of it.
        selection: Selection,
    }
}

choices! {
    pub(crate) enum Selection { Install = "install", Hold = "hold", Deinstall = "deinstall", Purge = "purge" }
}

pub(super) struct DpkgSelections;

impl Module for DpkgSelections {
    type Args = DpkgSelectionsArgs;

    const NAME: &'static str = "ansible.builtin.dpkg_selections";
    const SUMMARY: &'static str = "Tells dpkg to hold, install or remove a package.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: DpkgSelectionsArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let wanted = args.selection.spelling();
        let listed = Program::new("dpkg").args(["--get-selections", "--", &args.name]).plain().run_checked(cx)?;
        let Some(before) = listed.stdout.text().split_whitespace().nth(1).map(str::to_owned) else {
            let msg = format!("Failed to find package '{}' to perform selection '{wanted}'.", args.name);
            return Err(ModuleError::new(msg));
        };
        let changed = before != wanted;
        if changed && !cx.check {
            let line = format!("{} {wanted}", args.name);
            Program::new("dpkg").arg("--set-selections").plain().stdin(line).run_checked(cx)?;
        }
        Ok(ModuleResult::changed(changed).with("before", before).with("after", wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    /// A `dpkg` that knows one package and writes down what it is told.
    fn run(args: serde_json::Value, check: bool) -> (ModuleResult, String) {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let script = format!(
            "#!/bin/sh\ncase $1 in --get-selections) [ $3 = bash ] && echo 'bash install' || true;; *) cat > {};; esac\n",
            told.display()
        );
        let program = dir.path().join("dpkg");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let mut surroundings = Surroundings::new().with_env("PATH", &path);
        surroundings.check = check;
        let args: DpkgSelectionsArgs = parse("x", Value::from(args).as_map().unwrap().clone()).unwrap();
        let result = DpkgSelections.run(args, &surroundings.context()).unwrap_or_else(ModuleError::into_result);
        (result, std::fs::read_to_string(told).unwrap_or_default())
    }

    #[test]
    fn a_package_is_held_once() {
        let (result, told) = run(json!({"name": "bash", "selection": "hold"}), false);
        assert!(result.changed, "{result:?}");
        assert_eq!((result.get("before"), result.get("after")), (Some(&"install".into()), Some(&"hold".into())));
        assert_eq!(told, "bash hold");
        let (result, told) = run(json!({"name": "bash", "selection": "install"}), false);
        assert!(!result.changed && told.is_empty());
    }

    #[test]
    fn check_mode_tells_dpkg_nothing() {
        let (result, told) = run(json!({"name": "bash", "selection": "hold"}), true);
        assert!(result.changed && told.is_empty());
    }

    #[test]
    fn an_unknown_package_is_a_failure() {
        let (result, _) = run(json!({"name": "nopkg", "selection": "hold"}), false);
        assert_eq!(result.msg(), "Failed to find package 'nopkg' to perform selection 'hold'.");
    }
}
