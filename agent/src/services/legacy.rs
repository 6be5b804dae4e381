//! OpenRC and System V init scripts.

use std::path::Path;

use super::{Service, not_found};
use crate::module::{ModuleContext, ModuleError};
use crate::process::{Program, find_program};

/// There while OpenRC runs the host; below the root.
pub(super) const OPENRC_RUNNING: &str = "run/openrc/softlevel";

/// What an init script's `status` answers when the service is stopped: 3 by the Linux Standard Base, 1 and 2 when it
/// died; 4 means that nobody knows.
const UNKNOWN: i32 = 4;

pub(super) fn query_openrc(name: &str, runlevel: &str, cx: &ModuleContext<'_>) -> Result<Service, ModuleError> {
    let status = Program::new("rc-service").args([name, "status"]).plain().run(cx)?;
    if status.stderr.text().contains("does not exist") {
        return Err(ModuleError::new(format!("service '{name}' does not exist: rc-service does not know it")));
    }
    let list = Program::new("rc-update").args(["show", runlevel]).plain().run_checked(cx)?;
    let is_enabled = list.stdout.text().lines().any(|line| is_listed(line, name));
    Ok(Service { is_running: status.rc == 0, is_enabled, is_known: true, ..Service::default() })
}

/// A line of `rc-update show`: `sshd | default`.
fn is_listed(line: &str, name: &str) -> bool {
    line.split_once('|').is_some_and(|(service, levels)| service.trim() == name && !levels.trim().is_empty())
}

pub(super) fn query_sysv(name: &str, cx: &ModuleContext<'_>) -> Result<Service, ModuleError> {
    let script = script(name);
    if !has_script(name) {
        return Err(not_found(name));
    }
    let status = Program::new(&script).arg("status").plain().run(cx)?;
    if status.rc == UNKNOWN {
        let why = status.stderr.text().trim().to_owned();
        return Err(ModuleError::new(format!("{script} does not know whether {name} runs: {why}")));
    }
    // Scripts without a status action end well after printing their usage.
    let says_stopped = ["stopped", "not running"].iter().any(|words| status.stdout.text().contains(words));
    Ok(Service {
        is_running: status.rc == 0 && !says_stopped,
        is_enabled: has_start_link(Path::new("/etc"), name),
        is_known: true,
        ..Service::default()
    })
}

fn script(name: &str) -> String {
    format!("/etc/init.d/{name}")
}

pub(super) fn has_script(name: &str) -> bool {
    !name.contains('/') && Path::new(&script(name)).exists()
}

/// Whether a runlevel for users starts the service.
pub(super) fn has_start_link(etc: &Path, name: &str) -> bool {
    [2, 3, 4, 5].iter().any(|level| {
        let entries = std::fs::read_dir(etc.join(format!("rc{level}.d"))).into_iter().flatten().flatten();
        let is_link = |link: &str| {
            let digits = link.strip_prefix('S').and_then(|rest| rest.get(..2));
            digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) && link.get(3..) == Some(name)
        };
        entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|link| is_link(&link))
    })
}

/// Debian's tool or Red Hat's, whichever is there.
pub(super) fn enable_sysv(is_wanted: bool, name: &str) -> Program {
    if find_program("chkconfig", None).is_some() && find_program("update-rc.d", None).is_none() {
        return Program::new("chkconfig").args([name, if is_wanted { "on" } else { "off" }]).plain();
    }
    Program::new("update-rc.d").args([name, if is_wanted { "defaults" } else { "disable" }]).plain()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_links_tell_whether_it_is_enabled() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::create_dir(etc.path().join("rc2.d")).unwrap();
        std::fs::write(etc.path().join("rc2.d/S01web"), "").unwrap();
        std::fs::write(etc.path().join("rc2.d/K01db"), "").unwrap();
        assert!(has_start_link(etc.path(), "web"));
        assert!(!has_start_link(etc.path(), "db") && !has_start_link(etc.path(), "eb"));
    }

    #[test]
    fn openrc_lists_services_by_runlevel() {
        assert!(is_listed("                 sshd | default", "sshd"));
        assert!(!is_listed("                 sshd |", "sshd") && !is_listed("sshd2 | default", "sshd"));
    }
}
