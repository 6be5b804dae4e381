//! SELinux, AppArmor, FIPS, capabilities, host keys, chroot.

use std::os::unix::fs::MetadataExt;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::{Host, dict};

/// Capabilities by their number.
const CAPABILITIES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

pub(super) fn gather_selinux(host: &Host<'_>, facts: &mut Map) {
    facts.insert("selinux".into(), selinux(host));
}

fn selinux(host: &Host<'_>) -> Value {
    let Some(enforce) = host.line("/sys/fs/selinux/enforce") else {
        return dict([("status", "disabled".into())]);
    };
    let configuration = host.read("/etc/selinux/config").unwrap_or_default();
    let configured = |name: &str| -> Value {
        let lines = configuration.lines().map(str::trim).filter_map(|line| line.split_once('='));
        lines
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
            .next_back()
            .unwrap_or("unknown".into())
            .into()
    };
    dict([
        ("status", "enabled".into()),
        ("mode", if enforce == "1" { "enforcing" } else { "permissive" }.into()),
        ("policyvers", host.line("/sys/fs/selinux/policyvers").and_then(|text| text.parse::<i64>().ok()).into()),
        ("config_mode", configured("SELINUX")),
        ("type", configured("SELINUXTYPE")),
    ])
}

pub(super) fn gather_apparmor(host: &Host<'_>, facts: &mut Map) {
    let status = if host.exists("/sys/kernel/security/apparmor") { "enabled" } else { "disabled" };
    facts.insert("apparmor".into(), dict([("status", status.into())]));
}

pub(super) fn gather_fips(host: &Host<'_>, facts: &mut Map) {
    let is_on = host.line("/proc/sys/crypto/fips_enabled").as_deref() == Some("1");
    facts.insert("fips".into(), is_on.into());
}

pub(super) fn gather_capabilities(host: &Host<'_>, facts: &mut Map) {
    let number = |path: &str| host.line(path).and_then(|text| text.parse::<u32>().ok());
    let last = number("/proc/sys/kernel/cap_last_cap").unwrap_or(40).min(63);
    let all = u64::MAX >> (63 - last);
    let Some(mine) = host.read("/proc/self/status").and_then(|status| effective(&status)) else { return };
    let held: Vec<String> = if mine & all == all { Vec::new() } else { names(mine) };
    facts.insert("system_capabilities_enforced".into(), if mine & all == all { "False" } else { "True" }.into());
    facts.insert("system_capabilities".into(), held.into());
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn names(held: u64) -> Vec<String> {
    let held = CAPABILITIES.iter().enumerate().filter(|(number, _)| held >> number & 1 == 1);
    held.map(|(_, name)| (*name).to_owned()).collect()
}

pub(super) fn gather_host_keys(host: &Host<'_>, facts: &mut Map) {
    for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
        let Some(line) = host.line(&format!("/etc/ssh/ssh_host_{kind}_key.pub")) else { continue };
        if let [key_type, key, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            facts.insert(format!("ssh_host_key_{kind}_public"), key.into());
            facts.insert(format!("ssh_host_key_{kind}_public_keytype"), key_type.into());
        }
    }
}

/// In a chroot, the first process' root is another one.
pub(super) fn gather_chroot(host: &Host<'_>, facts: &mut Map) {
    let id = |path: &str| std::fs::metadata(host.path(path)).ok().map(|meta| (meta.dev(), meta.ino()));
    let is_chroot = match (id("/"), id("/proc/1/root/.")) {
        (Some(mine), Some(first)) => mine != first,
        // Root directories of file systems have small numbers: 2, or 128 and 256 on XFS and Btrfs.
        (Some((_, inode)), None) => !matches!(inode, 2 | 128 | 256),
        (None, _) => false,
    };
    facts.insert("is_chroot".into(), is_chroot.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_names() {
        assert_eq!(effective("Name:\tx\nCapEff:\t0000000000000401\n"), Some(0x401));
        assert_eq!(names(0x401), ["cap_chown", "cap_net_bind_service"]);
    }
}
