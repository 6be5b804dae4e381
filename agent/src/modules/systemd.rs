//! `systemd`: units of systemd.

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::arguments;
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::services::{Scope, Service, State, Systemctl, action, not_found, state_after, unknown_state};

arguments! {
    pub(crate) struct SystemdArgs {
        /// The unit; `.service` is understood.
        name | "service" | "unit": Option<String>,
        /// What it is to do.
        state: Option<State>,
        /// Whether it starts at boot.
        enabled: Option<bool>,
        /// Replace links that are in the way of `enabled`.
        force: bool = false,
        /// Whether it may not be started at all.
        masked: Option<bool>,
        /// Have systemd read its files again first.
        daemon_reload | "daemon-reload": bool = false,
        /// Have systemd start itself anew first.
        daemon_reexec | "daemon-reexec": bool = false,
        /// Whose units.
        scope: Scope = Scope::System,
        /// Do not wait until it has started or stopped.
        no_block: bool = false,
    }
}

pub(super) struct Systemd;

impl Module for Systemd {
    type Args = SystemdArgs;

    const NAME: &'static str = "ansible.builtin.systemd_service";
    const SUMMARY: &'static str = "Starts, stops, enables and masks systemd units.";
    const ALIASES: &'static [&'static str] = &["systemd"];
    /// A second run after `restarted` restarts again, and ends in the same state.
    const IDEMPOTENT: bool = true;

    fn check_args(args: &SystemdArgs) -> Result<(), ArgError> {
        let needs_name =
            [("state", args.state.is_some()), ("enabled", args.enabled.is_some()), ("masked", args.masked.is_some())];
        if let Some(pattern) = args.name.iter().flat_map(|name| name.chars()).find(|c| "*?[".contains(*c)) {
            let name = args.name.as_deref().unwrap_or_default();
            return Err(ArgError::Rule(format!(
                "This module does not currently support using glob patterns, found '{pattern}' in service name: {name}"
            )));
        }
        match needs_name.iter().find(|(_, is_given)| *is_given && args.name.is_none()) {
            Some((rule, _)) => Err(ArgError::Rule(format!("missing parameter(s) required by '{rule}': name"))),
            None => Ok(()),
        }
    }

    fn run(&self, args: SystemdArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        run_module(&args, cx)
    }
}

fn run_module(args: &SystemdArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let systemctl = Systemctl::new(args.scope, cx);
    for (verb, is_wanted) in [("daemon-reload", args.daemon_reload), ("daemon-reexec", args.daemon_reexec)] {
        if is_wanted && !cx.check {
            reload(&systemctl.program().arg(verb), verb, cx)?;
        }
    }
    let Some(name) = &args.name else {
        return Ok(ModuleResult::ok().with("name", Value::Null).with("status", Map::new()));
    };
    let service = systemctl.query(name)?;
    if !service.is_known && (args.state.is_some() || args.enabled.is_some()) {
        return Err(not_found(name));
    }
    let steps = decide(args, &service);
    if !cx.check {
        for step in &steps {
            run_step(&systemctl, step, name, cx)?;
        }
    }
    if service.is_asleep && args.state.is_some() {
        return Err(unknown_state(&service));
    }
    let mut result = ModuleResult::changed(!steps.is_empty()).with("name", name.as_str());
    if let Some(enabled) = args.enabled {
        result.set("enabled", enabled);
    }
    if let Some(state) = args.state {
        result.set("state", state_after(state));
    }
    result.set("status", service.status);
    Ok(result)
}

fn run_step(systemctl: &Systemctl<'_>, step: &[&str], name: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let program: Program = systemctl.program().args(step.iter().copied()).arg("--").arg(name);
    let ended = program.run(cx)?;
    ended.not_stopped(&program)?;
    if ended.rc == 0 {
        return Ok(());
    }
    let verb = step.first().copied().unwrap_or_default();
    Err(ModuleError::new(format!("Unable to {verb} service {name}: {}", ended.stderr.text())))
}

fn reload(program: &Program, verb: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let ended = program.run(cx)?;
    ended.not_stopped(program)?;
    match ended.rc {
        0 => Ok(()),
        rc => Err(ModuleError::new(format!("failure {rc} during {verb}: {}", ended.stderr.text()))),
    }
}

/// The verbs of `systemctl`, with their options, that make the unit what it is to be.
fn decide(args: &SystemdArgs, service: &Service) -> Vec<Vec<&'static str>> {
    let mut steps = Vec::new();
    if let Some(masked) = args.masked.filter(|masked| *masked != service.is_masked) {
        steps.push(vec![if masked { "mask" } else { "unmask" }]);
    }
    if let Some(enabled) = args.enabled.filter(|enabled| *enabled != service.is_enabled) {
        let mut step = vec![if enabled { "enable" } else { "disable" }];
        step.extend(args.force.then_some("--force"));
        steps.push(step);
    }
    let state = args.state.filter(|_| !service.is_asleep);
    if let Some(action) = state.and_then(|state| action(state, service.is_running)) {
        // What does not run is started: a unit that refuses to be started by hand says it then.
        let mut step = vec![if action == "restart" && !service.is_running { "start" } else { action }];
        step.extend(args.no_block.then_some("--no-block"));
        steps.push(step);
    }
    steps
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    /// A root where systemd seems to run, and a `systemctl` that answers `show` with these properties and logs the rest.
    pub(crate) fn pretend(properties: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        let tool = root.path().join("systemctl");
        std::fs::write(root.path().join("properties"), properties).unwrap();
        std::fs::write(root.path().join("log"), "").unwrap();
        let script = "#!/bin/sh\ncd ${0%/*}\ncase $1 in show) cat properties ;; *) echo \"$@\" >> log ;; esac\n\
                      test -e fail && { echo 'Job failed.' >&2; exit 1; }; exit 0\n";
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        root
    }

    pub(crate) fn surroundings(root: &tempfile::TempDir, check: bool) -> Surroundings {
        let path = format!("{}:/usr/bin:/bin", root.path().display());
        let mut surroundings = Surroundings::new().with_env("PATH", &path);
        surroundings.check = check;
        surroundings
    }

    fn run(root: &tempfile::TempDir, check: bool, args: serde_json::Value) -> ModuleResult {
        let args: SystemdArgs = parse("systemd", Value::from(args).as_map().unwrap().clone()).unwrap();
        let surroundings = surroundings(root, check);
        run_module(&args, &surroundings.context()).unwrap_or_else(ModuleError::into_result)
    }

    fn log(root: &tempfile::TempDir) -> String {
        std::fs::read_to_string(root.path().join("log")).unwrap()
    }

    const STOPPED: &str = "Id=web.service\nLoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n";
    const RUNNING: &str = "Id=web.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";

    #[test]
    fn a_unit_is_enabled_and_started_if_it_is_not() {
        let args = json!({"name": "web", "state": "started", "enabled": true, "daemon_reload": true});
        let root = pretend(STOPPED);
        let result = run(&root, false, args.clone());
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(log(&root), "daemon-reload\nenable -- web\nstart -- web\n");
        assert_eq!((result.get("state"), result.get("enabled")), (Some(&"started".into()), Some(&true.into())));
        assert_eq!(result.get("status").unwrap().as_map().unwrap()["Id"].as_str(), Some("web.service"));
        let root = pretend(RUNNING);
        assert!(!run(&root, false, args).changed);
        assert_eq!(log(&root), "daemon-reload\n");
    }

    #[test]
    fn check_mode_only_looks() {
        let root = pretend(RUNNING);
        let args = json!({"name": "web", "state": "stopped", "masked": true, "daemon_reload": true});
        assert!(run(&root, true, args).changed);
        assert_eq!(log(&root), "");
    }

    #[test]
    fn masking_comes_first_and_options_reach_systemctl() {
        let root = pretend(RUNNING);
        let args = json!({"name": "web", "state": "restarted", "masked": true, "enabled": false, "force": true, "no_block": true});
        run(&root, false, args);
        assert_eq!(log(&root), "mask -- web\ndisable --force -- web\nrestart --no-block -- web\n");
    }

    #[test]
    fn a_job_that_fails_is_a_failure_in_systemds_words() {
        let root = pretend(STOPPED);
        std::fs::write(root.path().join("properties"), STOPPED).unwrap();
        let script = std::fs::read_to_string(root.path().join("systemctl")).unwrap();
        std::fs::write(root.path().join("systemctl"), script.replace("cat properties ;;", "cat properties; exit 0 ;;"))
            .unwrap();
        std::fs::write(root.path().join("fail"), "").unwrap();
        let result = run(&root, false, json!({"name": "web", "state": "started"}));
        assert_eq!((result.failed, result.msg()), (true, "Unable to start service web: Job failed.\n"));
    }

    #[test]
    fn an_unknown_unit_is_told() {
        let root = pretend("LoadState=not-found\nActiveState=inactive\n");
        let result = run(&root, false, json!({"name": "nosuch", "state": "started"}));
        assert_eq!(result.msg(), "Could not find the requested service nosuch: host");
    }

    #[test]
    fn a_unit_that_there_is_not_may_be_asked_for_and_masked() {
        let root = pretend("LoadState=not-found\nActiveState=inactive\n");
        let result = run(&root, false, json!({"name": "nosuch"}));
        let status = result.get("status").and_then(|status| status.as_map()).unwrap();
        assert_eq!((result.failed, status["LoadState"].as_str()), (false, Some("not-found")));
        assert!(run(&root, false, json!({"name": "nosuch", "masked": true})).changed);
        assert_eq!(log(&root), "mask -- nosuch\n");
    }

    #[test]
    fn a_unit_of_a_systemd_that_does_not_run_can_be_enabled_and_not_started() {
        let root = pretend("");
        let tool = "#!/bin/sh\ncd ${0%/*}\ncase $1 in show) echo 'Not booted.' >&2; exit 1 ;; \
                    is-enabled) test $3 = web || exit 1; echo disabled; exit 1 ;; *) echo \"$@\" >> log ;; esac\n";
        std::fs::write(root.path().join("systemctl"), tool).unwrap();
        let result = run(&root, false, json!({"name": "web", "enabled": true}));
        assert!(result.changed && !result.failed, "{result:?}");
        let result = run(&root, false, json!({"name": "web", "masked": true, "state": "started"}));
        assert_eq!((result.failed, result.msg()), (true, "Service is in unknown state"));
        assert_eq!(log(&root), "enable -- web\nmask -- web\n");
        let result = run(&root, false, json!({"name": "nosuch", "enabled": true}));
        assert_eq!((result.failed, result.msg()), (true, "Not booted."));
    }

    #[test]
    fn without_systemd_it_fails_as_systemctl_does() {
        let root = pretend("");
        std::fs::write(root.path().join("fail"), "").unwrap();
        let result = run(&root, false, json!({"name": "web", "state": "started"}));
        assert_eq!((result.failed, result.msg(), result.get("rc")), (true, "Job failed.", Some(&Value::Int(1))));
        let result = run(&root, false, json!({"daemon_reload": true}));
        assert_eq!(result.msg(), "failure 1 during daemon-reload: Job failed.\n");
        assert!(!run(&root, false, json!({})).failed, "nothing was asked for");
    }
}
