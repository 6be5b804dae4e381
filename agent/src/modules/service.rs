//! `service`: a service, whoever manages it. What is asked of it is its manager's: systemd has arguments that scripts have not.

use std::path::Path;
use std::time::Duration;

use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use super::systemd::{Systemd, SystemdArgs};
use crate::module::args::{ArgReader, parse_checked};
use crate::module::{ArgError, ArgSpec, Module, ModuleArgs, ModuleContext, ModuleError};
use crate::process::{Program, words};
use crate::services::{Manager, Scripts, Service as Known, State, action, state_after};
use crate::{arguments, choices};

choices! {
    /// [`State`], in the order of Ansible's sentence about scripts.
    pub(crate) enum ScriptState {
        Started = "started",
        Stopped = "stopped",
        Reloaded = "reloaded",
        Restarted = "restarted",
    }
}

impl From<ScriptState> for State {
    fn from(state: ScriptState) -> State {
        match state {
            ScriptState::Started => State::Started,
            ScriptState::Stopped => State::Stopped,
            ScriptState::Reloaded => State::Reloaded,
            ScriptState::Restarted => State::Restarted,
        }
    }
}

arguments! {
    /// What scripts are asked.
    pub(crate) struct ScriptArgs {
        /// The service.
        name: String,
        /// What it is to do.
        state: Option<ScriptState>,
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
    }
}

arguments! {
    pub(crate) struct UseArgs {
        /// The manager; found out by default. Where it is systemd, all arguments of `systemd_service` are taken, too.
        r#use: String = "auto".into(),
    }
}

/// Who is asked, and what: that is for him to understand.
#[derive(Clone, Debug)]
pub(crate) struct ServiceArgs {
    own: UseArgs,
    of_manager: Map,
}

impl ModuleArgs for ServiceArgs {
    const GROUPS: &'static [&'static [ArgSpec]] = &[ScriptArgs::GROUPS[0], UseArgs::GROUPS[0]];
    const TAKES_ANY: bool = true;

    fn read(reader: &mut ArgReader) -> Result<ServiceArgs, ArgError> {
        Ok(ServiceArgs { own: UseArgs::read(reader)?, of_manager: reader.rest() })
    }
}

/// What systemd has no use for.
const NOT_FOR_SYSTEMD: [&str; 5] = ["pattern", "runlevel", "sleep", "arguments", "args"];

impl ServiceArgs {
    fn for_scripts(&self) -> Result<ScriptArgs, ArgError> {
        const NAME: &str = "ansible.legacy.service";
        parse_checked(NAME, self.of_manager.clone(), &[], is_anything_wanted).map_err(|error| error.told_of(NAME))
    }

    fn for_systemd(&self) -> Result<SystemdArgs, ArgError> {
        const NAME: &str = "ansible.legacy.systemd";
        let mut args = self.of_manager.clone();
        args.retain(|name, _| !NOT_FOR_SYSTEMD.contains(&name.as_str()));
        parse_checked(NAME, args, Systemd::EXCLUSIVE, Systemd::check_args).map_err(|error| error.told_of(NAME))
    }

    fn warnings_of_systemd(&self) -> impl Iterator<Item = String> {
        let ignored = NOT_FOR_SYSTEMD.iter().filter(|name| self.of_manager.contains_key(**name));
        ignored.map(|name| format!("Ignoring \"{name}\" as it is not used in \"systemd\""))
    }
}

pub(super) struct Service;

impl Module for Service {
    type Args = ServiceArgs;

    const NAME: &'static str = "ansible.builtin.service";
    const SUMMARY: &'static str = "Starts, stops and enables services.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &ServiceArgs) -> Result<(), ArgError> {
        let (scripts, systemd) = (|| args.for_scripts().map(drop), || args.for_systemd().map(drop));
        match args.own.r#use.as_str() {
            "systemd" => systemd(),
            // Whether it is systemd, the host knows.
            "auto" => scripts().or_else(|why| systemd().map_err(|_| why)),
            _ => scripts(),
        }
    }

    fn run(&self, args: ServiceArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        run_below(Path::new("/"), &args, cx)
    }
}

fn run_below(root: &Path, args: &ServiceArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let refused = |error: ArgError| ModuleError::new(error.to_string());
    let name = args.of_manager.get("name").map(crate::module::shown).unwrap_or_default();
    match Manager::named(&args.own.r#use).map_or_else(|| Manager::detect(root, &name), Ok) {
        Ok(Manager::Systemd) => {
            let mut result = Systemd.run(args.for_systemd().map_err(refused)?, cx)?;
            result.warnings.extend(args.warnings_of_systemd());
            Ok(result)
        }
        Ok(Manager::Scripts(manager)) => run_scripts(manager, &args.for_scripts().map_err(refused)?, cx),
        // What is wrong with the arguments comes before there being nobody to ask.
        Err(nobody) => Err(args.for_scripts().map_or_else(refused, |_| nobody)),
    }
}

fn is_anything_wanted(args: &ScriptArgs) -> Result<(), ArgError> {
    match args.state.is_none() && args.enabled.is_none() {
        true => Err(ArgError::Rule("one of the following is required: state, enabled".to_owned())),
        false => Ok(()),
    }
}

fn run_scripts(manager: Scripts, args: &ScriptArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let known = known(manager, args, cx)?;
    let wanted = args.state.map(State::from);
    let enable = args.enabled.filter(|enabled| *enabled != known.is_enabled);
    let action = wanted.and_then(|state| action(state, known.is_running));
    if !cx.check {
        if let Some(is_wanted) = enable {
            let verb = if is_wanted { "enable" } else { "disable" };
            run_program(&manager.enable(is_wanted, &args.name, &args.runlevel), verb, &args.name, cx)?;
        }
        if let Some(action) = action {
            act(manager, action, args, cx)?;
        }
    }
    if cx.check && action.is_some() {
        // All that Ansible says then.
        return Ok(ModuleResult::changed(true).with("msg", "service state changed"));
    }
    let mut result = ModuleResult::changed(enable.is_some() || action.is_some()).with("name", args.name.as_str());
    if let Some(enabled) = args.enabled {
        result.set("enabled", enabled);
    }
    if let Some(state) = wanted {
        result.set("state", state_after(state));
    }
    Ok(result)
}

fn known(manager: Scripts, args: &ScriptArgs, cx: &ModuleContext<'_>) -> Result<Known, ModuleError> {
    let mut known = manager.query(&args.name, &args.runlevel, cx)?;
    if let Some(pattern) = args.pattern.as_deref().filter(|_| manager == Scripts::SysV && !known.is_running) {
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

fn act(manager: Scripts, action: &str, args: &ScriptArgs, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let arguments = words::split(&args.arguments).map_err(|error| ModuleError::new(format!("arguments: {error}")))?;
    let run = |action: &str| run_program(&manager.act(action, &args.name, &arguments), action, &args.name, cx);
    match args.sleep.filter(|_| action == "restart" && manager == Scripts::SysV) {
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
        assert_eq!(std::fs::read_to_string(root.path().join("log")).unwrap(), "enable -- web\nstart -- web\n");
    }

    #[test]
    fn systemd_takes_its_own_arguments_and_scripts_refuse_them() {
        let root = pretend("LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n");
        let args =
            json!({"name": "web", "state": "started", "masked": true, "no_block": true, "pattern": "w", "sleep": "x"});
        let result = run(&root, false, args);
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(std::fs::read_to_string(root.path().join("log")).unwrap(), "mask -- web\nstart --no-block -- web\n");
        let ignored = ["pattern", "sleep"].map(|name| format!("Ignoring \"{name}\" as it is not used in \"systemd\""));
        assert_eq!(result.warnings, ignored);
        let refused = |args| run(&tempfile::tempdir().unwrap(), false, args).msg().to_owned();
        let said = refused(json!({"name": "web", "state": "started", "masked": true, "no_block": true}));
        assert!(
            said.starts_with("Unsupported parameters for (ansible.legacy.service) module: masked, no_block. "),
            "{said}"
        );
        let said = refused(json!({"name": "web", "use": "systemd", "bogus": 1}));
        assert!(said.starts_with("Unsupported parameters for (ansible.legacy.systemd) module: bogus. "), "{said}");
    }

    #[test]
    fn without_a_manager_nobody_knows_the_service_and_a_warning_says_where_one_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let result = run(&root, false, json!({"name": "web", "state": "started"}));
        assert_eq!((result.failed, result.msg()), (true, "Could not find the requested service web: host"));
        assert!(result.warnings[0].starts_with("No service manager runs on this host"), "{:?}", result.warnings);
    }

    #[test]
    fn something_has_to_be_wanted_where_nothing_can_be_told() {
        let root = tempfile::tempdir().unwrap();
        let result = run(&root, false, json!({"name": "x", "use": "sysvinit"}));
        assert_eq!((result.failed, result.msg()), (true, "one of the following is required: state, enabled"));
        let root = pretend("LoadState=loaded\nActiveState=active\n");
        let result = run(&root, false, json!({"name": "x"}));
        let status = result.get("status").and_then(|status| status.as_map()).unwrap();
        assert_eq!(
            (result.changed, status["ActiveState"].as_str()),
            (false, Some("active")),
            "systemd tells how it is"
        );
    }
}
