//! What manages packages and services here.

use rustle_protocol::value::Map;

use super::{Host, distribution};
use crate::services::{first_process, has_systemd_asleep};

/// Package managers and where they are, the likelier first.
const PACKAGE_MANAGERS: &[(&str, &str)] = &[
    ("/usr/bin/dnf5", "dnf5"),
    ("/usr/bin/dnf", "dnf"),
    ("/usr/bin/yum", "yum"),
    ("/usr/bin/apt-get", "apt"),
    ("/usr/bin/zypper", "zypper"),
    ("/usr/bin/pacman", "pacman"),
    ("/sbin/apk", "apk"),
    ("/usr/bin/xbps-install", "xbps"),
    ("/usr/bin/emerge", "portage"),
    ("/usr/bin/swupd", "swupd"),
];

pub(super) fn gather_pkg_mgr(host: &Host<'_>, facts: &mut Map) {
    facts.insert("pkg_mgr".into(), pkg_mgr(host).into());
}

/// A tool of another family may be installed too: the distribution's own goes first.
fn pkg_mgr(host: &Host<'_>) -> &'static str {
    let family = distribution::read(host).map(|found| found.family).unwrap_or_default();
    let own = match family.as_str() {
        "Debian" => "apt",
        "Suse" => "zypper",
        "Archlinux" => "pacman",
        "Alpine" => "apk",
        _ => "",
    };
    let mut there = PACKAGE_MANAGERS.iter().filter(|(path, _)| host.exists(path)).map(|(_, name)| *name);
    let first = there.clone().next();
    there.find(|name| *name == own).or(first).unwrap_or("unknown")
}

pub(super) fn gather_service_mgr(host: &Host<'_>, facts: &mut Map) {
    facts.insert("service_mgr".into(), service_mgr(host).into());
}

fn service_mgr(host: &Host<'_>) -> String {
    match first_process(&host.path("/")).as_deref() {
        Some("runit-init") => return "runit".into(),
        Some("openrc-init") => return "openrc".into(),
        Some("svscan") => return "svc".into(),
        Some(other) => return other.to_owned(),
        None => {}
    }
    if !host.exists("/run/systemd/system") && !host.exists("/sbin/openrc") && has_systemd_asleep(&host.path("/")) {
        return "systemd".into();
    }
    let signs = [("/run/systemd/system", "systemd"), ("/sbin/openrc", "openrc"), ("/etc/init.d", "sysvinit")];
    signs.iter().find(|(path, _)| host.exists(path)).map_or("service", |(_, name)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;

    #[test]
    fn the_signs_on_the_disk_tell_the_manager() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let surroundings = Surroundings::new();
        let cx = surroundings.context();
        let host = Host::new(root.path(), root.path(), &cx);
        assert_eq!((pkg_mgr(&host), service_mgr(&host)), ("unknown", "service".to_owned()));
        write("usr/bin/dnf", "");
        write("usr/bin/apt-get", "");
        write("proc/1/comm", "init\n");
        write("etc/init.d/x", "");
        assert_eq!((pkg_mgr(&host), service_mgr(&host)), ("dnf", "sysvinit".to_owned()));
        std::fs::create_dir_all(root.path().join("sbin")).unwrap();
        std::os::unix::fs::symlink("../lib/systemd/systemd", root.path().join("sbin/init")).unwrap();
        assert_eq!(service_mgr(&host), "systemd", "a shell was begun in its place");
        write("proc/1/comm", "tini\n");
        assert_eq!(service_mgr(&host), "tini");
        write("etc/os-release", "ID=debian\n");
        write("proc/1/comm", "systemd\n");
        assert_eq!((pkg_mgr(&host), service_mgr(&host)), ("apt", "systemd".to_owned()));
    }
}
