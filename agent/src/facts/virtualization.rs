//! Whether this is a guest or a host of others.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let (guest, hosting) = (guest_techniques(host), host_techniques(host));
    let (kind, role) = match (guest.iter().find(|name| *name != "container"), hosting.first()) {
        (Some(guest), _) => (guest.as_str(), "guest"),
        (None, _) if !guest.is_empty() => ("container", "guest"),
        (None, Some(host)) => (host.as_str(), "host"),
        (None, None) => ("NA", "NA"),
    };
    facts.insert("virtualization_type".into(), kind.into());
    facts.insert("virtualization_role".into(), role.into());
    facts.insert("virtualization_tech_guest".into(), guest.into());
    facts.insert("virtualization_tech_host".into(), Value::from(hosting));
}

/// Containers first: what runs in one sees the machine around it too.
fn guest_techniques(host: &Host<'_>) -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    let environment = host.read("/proc/1/environ").unwrap_or_default();
    let container = environment.split('\0').find_map(|entry| entry.strip_prefix("container="));
    let cgroups = host.read("/proc/1/cgroup").unwrap_or_default();
    let kind = match container {
        Some("systemd-nspawn") => Some("systemd-nspawn"),
        Some("lxc") => Some("lxc"),
        Some("podman") => Some("podman"),
        Some("docker") => Some("docker"),
        _ if host.exists("/.dockerenv") || host.exists("/.dockerinit") || cgroups.contains("/docker") => Some("docker"),
        _ if host.exists("/run/.containerenv") => Some("podman"),
        _ if cgroups.contains("/lxc") => Some("lxc"),
        Some(_) => Some("container"),
        None => None,
    };
    if let Some(kind) = kind {
        found.push("container");
        if kind != "container" {
            found.push(kind);
        }
    }
    if host.exists("/proc/vz") && !host.exists("/proc/bc") {
        found.push("openvz");
    }
    found.extend(machine_technique(host));
    found.into_iter().map(str::to_owned).collect()
}

fn machine_technique(host: &Host<'_>) -> Option<&'static str> {
    let dmi = |name: &str| host.line(&format!("/sys/devices/virtual/dmi/id/{name}")).unwrap_or_default();
    let (product, vendor, bios) = (dmi("product_name"), dmi("sys_vendor"), dmi("bios_vendor"));
    let is_xen = host.exists("/proc/xen") || host.line("/sys/hypervisor/type").as_deref() == Some("xen");
    let is_control_domain = host.line("/proc/xen/capabilities").is_some_and(|text| text.contains("control_d"));
    let starts = |text: &str, names: &[&str]| names.iter().any(|name| text.starts_with(name));
    match () {
        () if is_xen && !is_control_domain => Some("xen"),
        () if starts(&product, &["KVM", "Standard PC", "OpenStack", "Google Compute Engine"])
            || starts(&vendor, &["QEMU", "Amazon EC2", "Google", "DigitalOcean", "Hetzner", "Scaleway"])
            || starts(&bios, &["Amazon EC2"]) =>
        {
            Some("kvm")
        }
        () if starts(&product, &["VMware"]) || starts(&vendor, &["VMware"]) => Some("VMware"),
        () if starts(&product, &["VirtualBox"]) || starts(&bios, &["innotek"]) => Some("virtualbox"),
        () if vendor == "Microsoft Corporation" && product == "Virtual Machine" => Some("VirtualPC"),
        () if starts(&vendor, &["Parallels"]) => Some("parallels"),
        () => None,
    }
}

fn host_techniques(host: &Host<'_>) -> Vec<String> {
    let modules = host.read("/proc/modules").unwrap_or_default();
    let has = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
    let found = [("kvm", has("kvm") || host.exists("/dev/kvm")), ("virtualbox", has("vboxdrv"))];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;

    fn facts_of(files: &[(&str, &str)]) -> Map {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let surroundings = Surroundings::new();
        let cx = surroundings.context();
        let mut facts = Map::new();
        gather(&Host::new(root.path(), root.path(), &cx), &mut facts);
        facts
    }

    fn kind(files: &[(&str, &str)]) -> (String, String) {
        let facts = facts_of(files);
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        (text("virtualization_type"), text("virtualization_role"))
    }

    #[test]
    fn guests_and_hosts_are_told_apart() {
        let pair = |kind: &str, role: &str| (kind.to_owned(), role.to_owned());
        assert_eq!(kind(&[]), pair("NA", "NA"));
        assert_eq!(kind(&[("dev/kvm", "")]), pair("kvm", "host"));
        assert_eq!(kind(&[("dev/kvm", ""), (".dockerenv", "")]), pair("docker", "guest"));
        assert_eq!(kind(&[("proc/1/environ", "A=b\0container=lxc\0")]), pair("lxc", "guest"));
        assert_eq!(kind(&[("sys/devices/virtual/dmi/id/sys_vendor", "QEMU\n")]), pair("kvm", "guest"));
        assert_eq!(kind(&[("sys/devices/virtual/dmi/id/product_name", "VMware7,1")]), pair("VMware", "guest"));
    }
}
