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
    /// Its manager is not running, as in a container: it can be enabled, and its state neither be known nor be changed.
    pub(crate) is_asleep: bool,
    /// What the manager says besides.
    pub(crate) status: Map,
}

/// What has to be done to a service whose state is to be `wanted`; none if it is so already.
pub(crate) fn action(wanted: State, is_running: bool) -> Option<&'static str> {
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

/// Why no state can be wanted of a service whose manager is not running, in Ansible's words.
pub(crate) fn unknown_state(service: &Service) -> ModuleError {
    ModuleError::new("Service is in unknown state").with("status", service.status.clone())
}

/// What process 1 is called, if that says anything: many programs call themselves `init`, and a shell is a container's.
pub(crate) fn first_process(root: &Path) -> Option<String> {
    let name = std::fs::read(root.join("proc/1/comm")).ok()?;
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    let says_nothing = matches!(name.as_str(), "" | "init" | "COMMAND") || name.ends_with("sh");
    (!says_nothing).then_some(name)
}

/// Whether systemd is what would run the host, though it does not: a container that was begun with a shell.
pub(crate) fn has_systemd_asleep(root: &Path) -> bool {
    let leads_to_systemd = |init: std::path::PathBuf| init.file_name().is_some_and(|name| name == "systemd");
    first_process(root).is_none() && std::fs::read_link(root.join("sbin/init")).is_ok_and(leads_to_systemd)
}

/// The state a result names.
pub(crate) fn state_after(wanted: State) -> &'static str {
    if wanted == State::Stopped { "stopped" } else { "started" }
}

/// The managers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Systemd,
    Scripts(Scripts),
}

/// Those that run scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scripts {
    OpenRc,
    SysV,
}

impl Manager {
    /// The manager that runs the host whose file system is `root`: by what is running, and by what is installed only where
    /// process 1 does not tell.
    ///
    /// # Errors
    /// There is none: nobody knows the service. A warning says where a manager was looked for.
    pub(crate) fn detect(root: &Path, service: &str) -> Result<Manager, ModuleError> {
        let exists = |path: &str| root.join(path).exists();
        match () {
            () if exists(systemd::RUNNING) => Ok(Manager::Systemd),
            () if exists(legacy::OPENRC_RUNNING) => Ok(Manager::Scripts(Scripts::OpenRc)),
            () if has_systemd_asleep(root) => Ok(Manager::Systemd),
            () if exists(&format!("etc/init.d/{service}")) => Ok(Manager::Scripts(Scripts::SysV)),
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
            "openrc" => Some(Manager::Scripts(Scripts::OpenRc)),
            "sysvinit" | "service" => Some(Manager::Scripts(Scripts::SysV)),
            _ => None,
        }
    }
}

impl Scripts {
    /// What the manager knows of the service.
    ///
    /// # Errors
    /// There is no such service, or the manager does not answer.
    pub(crate) fn query(self, name: &str, runlevel: &str, cx: &ModuleContext<'_>) -> Result<Service, ModuleError> {
        match self {
            Scripts::OpenRc => legacy::query_openrc(name, runlevel, cx),
            Scripts::SysV => legacy::query_sysv(name, cx),
        }
    }

    /// The program that starts, stops, reloads or restarts the service.
    pub(crate) fn act(self, action: &str, name: &str, arguments: &[String]) -> Program {
        match self {
            Scripts::OpenRc => Program::new("rc-service").args([name, action]).args(arguments).plain(),
            Scripts::SysV => Program::new(format!("/etc/init.d/{name}")).arg(action).args(arguments).plain(),
        }
    }

    /// The program that has the service started at boot, or not.
    pub(crate) fn enable(self, is_wanted: bool, name: &str, runlevel: &str) -> Program {
        match self {
            Scripts::OpenRc => {
                Program::new("rc-update").args([if is_wanted { "add" } else { "delete" }, name, runlevel]).plain()
            }
            Scripts::SysV => legacy::enable_sysv(is_wanted, name),
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
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Scripts(Scripts::SysV));
        make("sbin");
        std::os::unix::fs::symlink("/lib/systemd/systemd", root.path().join("sbin/init")).unwrap();
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Systemd, "though it does not run");
        make("proc/1");
        std::fs::write(root.path().join("proc/1/comm"), "tini\n").unwrap();
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Scripts(Scripts::SysV));
        make("run/openrc/softlevel");
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Scripts(Scripts::OpenRc));
        make("run/systemd/system");
        assert_eq!(Manager::detect(root.path(), "web").unwrap(), Manager::Systemd);
    }
}
