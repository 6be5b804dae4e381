//! `service`: a service, whoever manages it.

use std::path::Path;
use std::time::Duration;

use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::process::{Program, words};
use crate::services::{Manager, Service as Known, State, state_after};

arguments! {
    pub(crate) struct ServiceArgs {
        /// The service.
        name: String,
        /// What it is to do.
        state: Option<State>,
        /// Whether it starts at boot.
        enabled: Option<bool>,
        /// More words for an init script.
        arguments | "args": String = String::new(),
        /// If the init script does not know, whether a process with this text in its command line runs.
        pattern: Option<String>,
        /// Runlevel of OpenRC.
        runlevel: String = "default".into(),
        /// Seconds between stop and start of an init script that is restarted.
        sleep: Option<u64>,
        /// The manager; found out by default.
        r#use: String = "auto".into(),
    }
}

pub(super) struct Service;

impl Module for Service {
    type Args = ServiceArgs;

    const NAME: &'static str = "ansible.builtin.service";
    const SUMMARY: &'static str = "Starts, stops and enables services.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &ServiceArgs) -> Result<(), ArgError> {
        let rule = |text: String| Err(ArgError::Rule(text));
        match (args.state, args.enabled, args.r#use.as_str()) {
            (None, None, _) => rule("one of the following is required: state, enabled".into()),
            (_, _, "auto") => Ok(()),
            (_, _, name) if Manager::named(name).is_some() => Ok(()),
            (_, _, name) => rule(format!("use: no service manager `{name}` here; there are systemd, openrc, sysvinit")),
        }
    }

    fn run(&self, args: ServiceArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        run_below(Path::new("/"), &args, cx)
    }
}

fn run_below(root: &Path, args: &ServiceArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let manager = match Manager::named(&args.r#use) {
        Some(manager) => manager,
        None => Manager::detect(root, &args.name)?,
    };
    let known = known(&manager, args, cx)?;
    let enable = args.enabled.filter(|enabled| *enabled != known.is_enabled);
    let action = args.state.and_then(|state| manager.action(state, known.is_running));
    if !cx.check {
        if let Some(is_wanted) = enable {
            let verb = if is_wanted { "enable" } else { "disable" };
            run_program(&manager.enable(is_wanted, &args.name, &args.runlevel), verb, &args.name, cx)?;
        }
        if let Some(action) = action {
            act(&manager, action, args, cx)?;
        }
    }
    if cx.check && action.is_some() && manager != Manager::Systemd {
        // All that Ansible says then.
        return Ok(ModuleResult::changed(true).with("msg", "service state changed"));
    }
    let mut result = ModuleResult::changed(enable.is_some() || action.is_some()).with("name", args.name.as_str());
    if let Some(enabled) = args.enabled {
        result.set("enabled", enabled);
    }
    if let Some(state) = args.state {
        result.set("state", state_after(state));
    }
    if !known.status.is_empty() {
        result.set("status", known.status);
    }
    Ok(result)
}

fn known(manager: &Manager, args: &ServiceArgs, cx: &ModuleContext<'_>) -> Result<Known, ModuleError> {
    let mut known = manager.query(&args.name, &args.runlevel, cx)?;
    if let Some(pattern) = args.pattern.as_deref().filter(|_| *manager == Manager::SysV && !known.is_running) {
        known.is_running = is_in_a_command_line(pattern);
    }
    Ok(known)
}

fn is_in_a_command_line(pattern: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = std::process::id().to_string();
    processes
        .filter(|process| process.file_name().to_str() != Some(&own))
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(pattern))
}

fn act(manager: &Manager, action: &str, args: &ServiceArgs, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let arguments = words::split(&args.arguments).map_err(|error| ModuleError::new(format!("arguments: {error}")))?;
    let run = |action: &str| run_program(&manager.act(action, &args.name, &arguments), action, &args.name, cx);
    match args.sleep.filter(|_| action == "restart" && *manager == Manager::SysV) {
        Some(seconds) => {
            run("stop")?;
            cx.cancel.sleep(Duration::from_secs(seconds));
            run("start")
        }
        None => run(action),
    }
}

fn run_program(program: &Program, verb: &str, name: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let ended = program.run(cx)?;
    ended.not_stopped(program)?;
    if ended.rc == 0 {
        return Ok(());
    }
    let said = [&ended.stderr, &ended.stdout].map(|output| output.text().into_owned());
    let why = said.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| format!("return code {}", ended.rc));
    Err(ModuleError::new(format!("Unable to {verb} service {name}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::super::systemd::tests::{pretend, surroundings};
    use super::*;
    use crate::module::args::parse;
    use rustle_protocol::Value;
    use serde_json::json;

    fn run(root: &tempfile::TempDir, check: bool, args: serde_json::Value) -> ModuleResult {
        let args: ServiceArgs = parse("service", Value::from(args).as_map().unwrap().clone()).unwrap();
        run_below(root.path(), &args, &surroundings(root, check).context()).unwrap_or_else(ModuleError::into_result)
    }

    #[test]
    fn systemd_is_asked_where_it_runs() {
        let root = pretend("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n");
        let args = json!({"name": "web", "state": "started", "enabled": true});
        assert!(run(&root, true, args.clone()).changed);
        let result = run(&root, false, args);
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(std::fs::read_to_string(root.path().join("log")).unwrap(), "enable web\nstart web\n");
    }

    #[test]
    fn without_a_manager_nobody_knows_the_service_and_a_warning_says_where_one_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let result = run(&root, false, json!({"name": "web", "state": "started"}));
        assert_eq!((result.failed, result.msg()), (true, "Could not find the requested service web: host"));
        assert!(result.warnings[0].starts_with("No service manager runs on this host"), "{:?}", result.warnings);
    }

    #[test]
    fn something_has_to_be_wanted() {
        let args: ServiceArgs = parse("service", Value::from(json!({"name": "x"})).as_map().unwrap().clone()).unwrap();
        let error = Service::check_args(&args).unwrap_err().to_string();
        assert_eq!(error, "one of the following is required: state, enabled");
    }
}
