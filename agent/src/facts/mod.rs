//! Facts about this host, under Ansible's names, read from `/proc`, `/sys` and `/etc` in this process: gathering starts
//! no program unless the administrator put an executable fact file there.

mod distribution;
mod hardware;
mod local;
mod managers;
mod mounts;
mod netlink;
mod network;
mod platform;
mod python;
mod security;
mod time;
mod user;
mod virtualization;

use std::path::{Path, PathBuf};

use rustle_protocol::value::Map;

use crate::fnmatch::fnmatch;
use crate::module::ModuleContext;

/// Where facts are read from: `/`, or a directory that looks like it.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    root: PathBuf,
    /// Where `*.fact` files are.
    fact_path: PathBuf,
    /// The Python that modules are run with, if the controller names one.
    python: Option<String>,
    cx: &'a ModuleContext<'a>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(root: &Path, fact_path: &Path, cx: &'a ModuleContext<'a>) -> Host<'a> {
        Host { root: root.to_owned(), fact_path: fact_path.to_owned(), python: None, cx }
    }

    /// With the Python that the controller names.
    pub(crate) fn with_python(self, named: Option<&String>) -> Host<'a> {
        Host { python: named.cloned(), ..self }
    }

    fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    fn exists(&self, absolute: &str) -> bool {
        self.path(absolute).exists()
    }

    fn read(&self, absolute: &str) -> Option<String> {
        std::fs::read(self.path(absolute)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The file's text without blanks around it; None if there is none.
    fn line(&self, absolute: &str) -> Option<String> {
        self.read(absolute).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Names in a directory, sorted.
    fn list(&self, absolute: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(absolute)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last part of where a link points.
    fn link_name(&self, absolute: &str) -> Option<String> {
        let target = std::fs::read_link(self.path(absolute)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// A family of facts.
struct Family {
    /// Names that `gather_subset` may use for it, its own first.
    names: &'static [&'static str],
    /// Gathered even with `!all`, unless `!min` is said too.
    is_minimal: bool,
    gather: fn(&Host<'_>, &mut Map),
}

const FAMILIES: &[Family] = &[
    Family {
        names: &["platform", "system", "kernel", "kernel_version", "machine", "architecture", "machine_id"],
        is_minimal: true,
        gather: platform::gather,
    },
    Family {
        names: &[
            "distribution",
            "distribution_version",
            "distribution_release",
            "distribution_major_version",
            "os_family",
        ],
        is_minimal: true,
        gather: distribution::gather,
    },
    Family { names: &["lsb"], is_minimal: true, gather: distribution::gather_lsb },
    Family { names: &["pkg_mgr"], is_minimal: true, gather: managers::gather_pkg_mgr },
    Family { names: &["service_mgr"], is_minimal: true, gather: managers::gather_service_mgr },
    Family {
        names: &[
            "user",
            "user_id",
            "user_uid",
            "user_gid",
            "user_gecos",
            "user_dir",
            "user_shell",
            "real_user_id",
            "effective_user_id",
            "effective_group_ids",
        ],
        is_minimal: true,
        gather: user::gather,
    },
    Family { names: &["python", "python_version"], is_minimal: true, gather: python::gather },
    Family { names: &["env"], is_minimal: true, gather: user::gather_env },
    Family { names: &["date_time"], is_minimal: true, gather: time::gather },
    Family { names: &["cmdline"], is_minimal: true, gather: platform::gather_cmdline },
    Family { names: &["dns"], is_minimal: true, gather: network::gather_dns },
    Family { names: &["selinux"], is_minimal: true, gather: security::gather_selinux },
    Family { names: &["apparmor"], is_minimal: true, gather: security::gather_apparmor },
    Family { names: &["fips"], is_minimal: true, gather: security::gather_fips },
    Family {
        names: &["caps", "system_capabilities", "system_capabilities_enforced"],
        is_minimal: true,
        gather: security::gather_capabilities,
    },
    Family {
        names: &[
            "ssh_pub_keys",
            "ssh_host_pub_keys",
            "ssh_host_key_dsa_public",
            "ssh_host_key_rsa_public",
            "ssh_host_key_ecdsa_public",
            "ssh_host_key_ed25519_public",
        ],
        is_minimal: true,
        gather: security::gather_host_keys,
    },
    Family { names: &["local"], is_minimal: true, gather: local::gather },
    Family { names: &["chroot", "is_chroot"], is_minimal: false, gather: security::gather_chroot },
    Family { names: &["loadavg"], is_minimal: false, gather: hardware::gather_loadavg },
    Family {
        names: &["hardware", "processor", "processor_cores", "processor_count", "mounts", "devices"],
        is_minimal: false,
        gather: hardware::gather,
    },
    Family {
        names: &["network", "interfaces", "default_ipv4", "default_ipv6", "all_ipv4_addresses", "all_ipv6_addresses"],
        is_minimal: false,
        gather: network::gather,
    },
    Family {
        names: &[
            "virtual",
            "virtualization_type",
            "virtualization_role",
            "virtualization_tech_guest",
            "virtualization_tech_host",
        ],
        is_minimal: false,
        gather: virtualization::gather,
    },
];

/// Subsets of Ansible's that have no facts here: asking for them is no error.
const EMPTY_SUBSETS: &[&str] = &["facter", "ohai", "fibre_channel_wwn", "iscsi", "nvme", "systemd"];

/// Which families to gather, from Ansible's `gather_subset`.
///
/// # Errors
/// A subset that does not exist.
pub(crate) fn select(subsets: &[String]) -> Result<Selection, String> {
    let (mut wanted, mut unwanted) = (vec![false; FAMILIES.len()], vec![false; FAMILIES.len()]);
    let (mut all, mut minimal) = (false, true);
    let mut only_exclusions = true;
    for subset in subsets.iter().map(|subset| subset.trim()) {
        let (name, excluded) = match subset.strip_prefix('!') {
            Some(name) => (name, true),
            None => (subset, false),
        };
        only_exclusions &= excluded && name != "all";
        match (name, excluded) {
            ("all", false) => all = true,
            ("min", true) => minimal = false,
            ("all", true) | ("min", false) => {}
            _ if EMPTY_SUBSETS.contains(&name) => {}
            _ => match FAMILIES.iter().position(|family| family.names.contains(&name)) {
                Some(family) if excluded => unwanted[family] = true,
                Some(family) => wanted[family] = true,
                // What there is not is left out already.
                None if excluded => {}
                None => return Err(bad(name)),
            },
        }
    }
    // Naming only what is unwanted means everything else.
    all |= only_exclusions;
    let is_in = |(at, family): (usize, &Family)| {
        let by_group = if family.is_minimal { minimal } else { all };
        wanted[at] || (by_group && !unwanted[at])
    };
    Ok(Selection(FAMILIES.iter().enumerate().map(is_in).collect()))
}

fn bad(name: &str) -> String {
    let mut allowed: Vec<&str> = FAMILIES.iter().flat_map(|family| family.names).copied().collect();
    allowed.extend(EMPTY_SUBSETS.iter().chain(&["all"]));
    allowed.sort_unstable();
    format!("Bad subset '{name}' given to Ansible. gather_subset options allowed: {}", allowed.join(", "))
}

/// Families to gather.
#[derive(Debug)]
pub(crate) struct Selection(Vec<bool>);

/// Gathers the selected families, with `ansible_` before each name, and keeps what one of `filters` matches; all of it
/// if there is none. Stops between families when the call is cancelled.
pub(crate) fn gather(host: &Host<'_>, selection: &Selection, filters: &[String]) -> Map {
    let mut facts = Map::new();
    for (family, is_wanted) in FAMILIES.iter().zip(&selection.0) {
        if *is_wanted && !host.cx.cancel.is_cancelled() {
            (family.gather)(host, &mut facts);
        }
    }
    let prefixed = facts.into_iter().map(|(name, value)| (format!("ansible_{name}"), value));
    prefixed.filter(|(name, _)| passes(name, filters)).collect()
}

/// Whether a filter lets a name through; filters may be written with or without the prefix.
pub(crate) fn passes(name: &str, filters: &[String]) -> bool {
    let mut filters = filters.iter().filter(|filter| !filter.is_empty()).peekable();
    filters.peek().is_none()
        || filters.any(|filter| {
            fnmatch(filter, name) || name.strip_prefix("ansible_").is_some_and(|bare| fnmatch(filter, bare))
        })
}

/// A dict from pairs.
fn dict<const N: usize>(entries: [(&str, rustle_protocol::Value); N]) -> rustle_protocol::Value {
    rustle_protocol::Value::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(subsets: &[&str]) -> Vec<&'static str> {
        let subsets: Vec<String> = subsets.iter().map(|subset| (*subset).to_owned()).collect();
        let selection = select(&subsets).unwrap();
        FAMILIES.iter().zip(selection.0).filter(|(_, is_in)| *is_in).map(|(family, _)| family.names[0]).collect()
    }

    #[test]
    fn subsets_add_and_take_away_as_in_ansible() {
        assert_eq!(selected(&["all"]).len(), FAMILIES.len());
        assert_eq!(selected(&["!all", "!min"]), [""; 0]);
        assert_eq!(selected(&["!all", "!min", "distribution_version"]), ["distribution"]);
        let minimal = selected(&["!all"]);
        assert!(minimal.contains(&"platform") && !minimal.contains(&"hardware"));
        assert_eq!(selected(&["min"]), minimal);
        let more = selected(&["network"]);
        assert!(more.contains(&"network") && more.contains(&"platform") && !more.contains(&"hardware"));
        let rest = selected(&["!hardware"]);
        assert_eq!(rest.len(), FAMILIES.len() - 1);
        assert_eq!(selected(&["!hardware", "!min"]).iter().filter(|name| **name == "platform").count(), 0);
    }

    #[test]
    fn a_subset_that_does_not_exist_is_an_error_unless_it_is_taken_away() {
        assert_eq!(selected(&["!all", "!min", "!nosuch", "fips"]), ["fips"]);
        let error = select(&["nosuch".to_owned()]).unwrap_err();
        assert!(
            error.starts_with("Bad subset 'nosuch' given to Ansible. gather_subset options allowed: all, "),
            "{error}"
        );
    }

    #[test]
    fn filters_match_with_and_without_the_prefix() {
        let allowed = |name: &str, filters: &[&str]| {
            passes(name, &filters.iter().map(|filter| (*filter).to_owned()).collect::<Vec<_>>())
        };
        assert!(allowed("ansible_eth0", &["ansible_eth*"]) && allowed("ansible_user_id", &["user_id"]));
        assert!(allowed("ansible_x", &[]) && allowed("ansible_x", &[""]) && !allowed("ansible_x", &["y", "z*"]));
    }
}
