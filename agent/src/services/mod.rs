//! The host's service manager: what it knows of a service, and telling it what to do.

mod legacy;
mod systemd;

use std::path::Path;

use rustle_protocol::value::Map;

pub(crate) use self::systemd::{Scope, Systemctl};
use crate::choices;
use crate::module::{ModuleContext, ModuleError};
use crate::process::Program;

choices! {
    /// What a service is to do.
    pub(crate) enum State {
        Reloaded = "reloaded",
        Restarted = "restarted",
        Started = "started",
        Stopped = "stopped",
    }
}

/// A service as its manager sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    /// There is such a service.
    pub(crate) is_known: bool,
    pub(crate) is_running: bool,
    pub(crate) is_enabled: bool,
    pub(crate) is_masked: bool,
    /// What the manager says besides.
    pub(crate) status: Map,
}

/// What has to be done to a service whose state is to be `wanted`; none if it is so already.
fn action(wanted: State, is_running: bool) -> Option<&'static str> {
    match (wanted, is_running) {
        (State::Started, false) | (State::Reloaded, false) => Some("start"),
        (State::Stopped, true) => Some("stop"),
        (State::Reloaded, true) => Some("reload"),
        (State::Restarted, _) => Some("restart"),
        (State::Started, true) | (State::Stopped, false) => None,
    }
}

/// Nobody knows the service, in Ansible's words.
pub(crate) fn not_found(service: &str) -> ModuleError {
    ModuleError::new(format!("Could not find the requested service {service}: host"))
}

/// The state a result names.
pub(crate) fn state_after(wanted: State) -> &'static str {
    if wanted == State::Stopped { "stopped" } else { "started" }
}

/// The managers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Systemd,
    OpenRc,
    SysV,
}

impl Manager {
    /// The manager that runs the host whose file system is `root`: by what is running, not by what is installed.
    ///
    /// # Errors
    /// There is none: nobody knows the service. A warning says where a manager was looked for.
    pub(crate) fn detect(root: &Path, service: &str) -> Result<Manager, ModuleError> {
        let exists = |path: &str| root.join(path).exists();
        match () {
            () if exists(systemd::RUNNING) => Ok(Manager::Systemd),
            () if exists(legacy::OPENRC_RUNNING) => Ok(Manager::OpenRc),
            () if exists(&format!("etc/init.d/{service}")) => Ok(Manager::SysV),
            () => {
                let mut failed = not_found(service).into_result();
                failed.warnings.push(format!(
                    "No service manager runs on this host: there is neither systemd (/{}) nor OpenRC (/{}), and no \
                     /etc/init.d/{service}. Containers and chroots have none.",
                    systemd::RUNNING,
                    legacy::OPENRC_RUNNING,
                ));
                Err(failed.into())
            }
        }
    }

    /// The manager that the argument `use` names.
    pub(crate) fn named(name: &str) -> Option<Manager> {
        match name {
            "systemd" => Some(Manager::Systemd),
            "openrc" => Some(Manager::OpenRc),
            "sysvinit" | "service" => Some(Manager::SysV),
            _ => None,
        }
    }

    /// What the manager knows of the service.
    ///
    /// # Errors
    /// There is no such service, or the manager does not answer.
    pub(crate) fn query(&self, name: &str, runlevel: &str, cx: &ModuleContext<'_>) -> Result<Service, ModuleError> {
        match self {
            Manager::Systemd => match Systemctl::new(Scope::System, cx).query(name)? {
                Service { is_known: false, .. } => Err(not_found(name)),
                service => Ok(service),
            },
            Manager::OpenRc => legacy::query_openrc(name, runlevel, cx),
            Manager::SysV => legacy::query_sysv(name, cx),
        }
    }

    /// As [`action`]. systemd starts what is to be restarted and does not run: a unit that refuses to be started so says it.
    pub(crate) fn action(&self, wanted: State, is_running: bool) -> Option<&'static str> {
        match action(wanted, is_running) {
            Some("restart") if *self == Manager::Systemd && !is_running => Some("start"),
            action => action,
        }
    }

    /// The program that starts, stops, reloads or restarts the service.
    pub(crate) fn act(&self, action: &str, name: &str, arguments: &[String]) -> Program {
        match self {
            Manager::Systemd => Program::new("systemctl").args([action, name]).plain(),
            Manager::OpenRc => Program::new("rc-service").args([name, action]).args(arguments).plain(),
            Manager::SysV => Program::new(format!("/etc/init.d/{name}")).arg(action).args(arguments).plain(),
        }
    }

    /// The program that has the service started at boot, or not.
    pub(crate) fn enable(&self, is_wanted: bool, name: &str, runlevel: &str) -> Program {
        match self {
            Manager::Systemd => {
                Program::new("systemctl").args([if is_wanted { "enable" } else { "disable" }, name]).plain()
            }
            Manager::OpenRc => {
                Program::new("rc-update").args([if is_wanted { "add" } else { "delete" }, name, runlevel]).plain()
            }
            Manager::SysV => legacy::enable_sysv(is_wanted, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_only_touched_if_it_has_to_be() {
        assert_eq!((action(State::Started, true), action(State::Started, false)), (None, Some("start")));
        assert_eq!((action(State::Stopped, true), action(State::Stopped, false)), (Some("stop"), None));
        assert_eq!((action(State::Reloaded, true), action(State::Reloaded, false)), (Some("reload"), Some("start")));
        assert_eq!(
            (action(State::Restarted, true), action(State::Restarted, false)),
            (Some("restart"), Some("restart"))
        );
    }

    #[test]
    fn the_manager_is_the_one_that_runs() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(root.path().join(path)).unwrap();
        let failed = Manager::detect(root.path(), "web").unwrap_err().into_result();
        assert_eq!(failed.msg(), "Could not find the requested service web: host");
        let warning = failed.warnings.join("");
        assert!(warning.contains("/run/systemd/system") && warning.contains("/etc/init.d/web"), "{warning}");
        make("etc/init.d/web");
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::SysV);
        make("run/openrc/softlevel");
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::OpenRc);
        make("run/systemd/system");
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Systemd);
    }
}
