//! Which distribution this is, in Ansible's spelling.

use std::collections::BTreeMap;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;

/// `ID` of os-release, Ansible's name, its family.
const DISTRIBUTIONS: &[(&str, &str, &str)] = &[
    ("almalinux", "AlmaLinux", "RedHat"),
    ("alpine", "Alpine", "Alpine"),
    ("amzn", "Amazon", "RedHat"),
    ("arch", "Archlinux", "Archlinux"),
    ("centos", "CentOS", "RedHat"),
    ("debian", "Debian", "Debian"),
    ("devuan", "Devuan", "Debian"),
    ("elementary", "elementary OS", "Debian"),
    ("fedora", "Fedora", "RedHat"),
    ("flatcar", "Flatcar", "Flatcar"),
    ("gentoo", "Gentoo", "Gentoo"),
    ("kali", "Kali", "Debian"),
    ("linuxmint", "Linux Mint", "Debian"),
    ("mageia", "Mageia", "Mandrake"),
    ("manjaro", "Manjaro", "Archlinux"),
    ("neon", "KDE neon", "Debian"),
    ("nixos", "NixOS", "NixOS"),
    ("ol", "OracleLinux", "RedHat"),
    ("openeuler", "openEuler", "RedHat"),
    ("opensuse-leap", "openSUSE Leap", "Suse"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed", "Suse"),
    ("pop", "Pop!_OS", "Debian"),
    ("raspbian", "Debian", "Debian"),
    ("rhel", "RedHat", "RedHat"),
    ("rocky", "Rocky", "RedHat"),
    ("sled", "SLED", "Suse"),
    ("sles", "SLES", "Suse"),
    ("ubuntu", "Ubuntu", "Debian"),
    ("void", "Void", "Void"),
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) name: String,
    pub(super) family: String,
    version: String,
    release: String,
    has_minor: bool,
}

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let Some(found) = read(host) else { return };
    let path = ["/etc/redhat-release", "/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find(|path| host.exists(path) && (found.family == "RedHat" || *path != "/etc/redhat-release"));
    let mut parts = found.version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next());
    let mut set = |name: &str, value: Value| drop(facts.insert(name.to_owned(), value));
    set("distribution", found.name.into());
    set("distribution_release", found.release.into());
    set("distribution_version", found.version.as_str().into());
    set("distribution_major_version", major.into());
    if let Some(minor) = minor.filter(|_| found.has_minor) {
        set("distribution_minor_version", minor.into());
    }
    if let Some(path) = path {
        set("distribution_file_path", path.into());
        set("distribution_file_variety", found.family.as_str().into());
        set("distribution_file_parsed", true.into());
    }
    set("os_family", found.family.into());
}

pub(super) fn read(host: &Host<'_>) -> Option<Distribution> {
    let text = host.read("/etc/os-release").or_else(|| host.read("/usr/lib/os-release"))?;
    Some(identify(&assignments(&text), host.line("/etc/debian_version").as_deref()))
}

fn identify(os: &BTreeMap<String, String>, debian_version: Option<&str>) -> Distribution {
    let value = |name: &str| os.get(name).map(String::as_str).unwrap_or_default();
    let id = value("ID");
    let known = |id: &str| DISTRIBUTIONS.iter().find(|(known, _, _)| *known == id);
    let like = || value("ID_LIKE").split_whitespace().find_map(known);
    let (name, family) = match known(id) {
        Some((_, name, family)) => ((*name).to_owned(), (*family).to_owned()),
        None => {
            let name = value("NAME").split_whitespace().next().unwrap_or("Linux").to_owned();
            let family = like().map_or_else(|| name.clone(), |(_, _, family)| (*family).to_owned());
            (name, family)
        }
    };
    // Debian's point release stands in a file of its own.
    let point = debian_version.filter(|text| id == "debian" && text.starts_with(|c: char| c.is_ascii_digit()));
    let version = point.unwrap_or(value("VERSION_ID"));
    let bracketed = value("VERSION").split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| name);
    let release = match value("VERSION_CODENAME") {
        "" if id == "fedora" => "",
        "" => bracketed.unwrap_or("NA"),
        codename => codename,
    };
    Distribution {
        name,
        family,
        version: if version.is_empty() { "NA" } else { version }.to_owned(),
        release: release.to_owned(),
        has_minor: matches!(id, "debian" | "alpine" | "sles" | "opensuse-leap"),
    }
}

/// `NAME="value"` lines.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect()
}

/// From `/etc/lsb-release` or, as `lsb_release` itself does today, from os-release.
pub(super) fn gather_lsb(host: &Host<'_>, facts: &mut Map) {
    let lsb = assignments(&host.read("/etc/lsb-release").unwrap_or_default());
    let os = assignments(&host.read("/etc/os-release").unwrap_or_default());
    let found = |lsb_name: &str, os_name: &str| lsb.get(lsb_name).or_else(|| os.get(os_name)).cloned();
    let mut out = Map::new();
    if let (true, Some(distribution)) = (lsb.is_empty(), read(host)) {
        out.insert("id".into(), distribution.name.into());
    }
    let names = [
        ("id", "DISTRIB_ID", "ID"),
        ("release", "DISTRIB_RELEASE", "VERSION_ID"),
        ("codename", "DISTRIB_CODENAME", "VERSION_CODENAME"),
        ("description", "DISTRIB_DESCRIPTION", "PRETTY_NAME"),
    ];
    for (name, lsb_name, os_name) in names {
        if let Some(value) = found(lsb_name, os_name).filter(|_| !out.contains_key(name)) {
            out.insert(name.into(), value.into());
        }
    }
    if let Some(release) = out.get("release").and_then(Value::as_str) {
        let major = release.split('.').next().unwrap_or_default().to_owned();
        out.insert("major_release".into(), major.into());
    }
    facts.insert("lsb".into(), Value::Map(out));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identified(text: &str, debian: Option<&str>) -> (String, String, String, String) {
        let found = identify(&assignments(text), debian);
        (found.name, found.family, found.version, found.release)
    }

    fn expected(name: &str, family: &str, version: &str, release: &str) -> (String, String, String, String) {
        (name.into(), family.into(), version.into(), release.into())
    }

    #[test]
    fn distributions_have_ansibles_names() {
        let debian = "ID=debian\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\n";
        assert_eq!(identified(debian, Some("12.11")), expected("Debian", "Debian", "12.11", "bookworm"));
        assert_eq!(identified(debian, Some("trixie/sid")).2, "12");
        let ubuntu = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n";
        assert_eq!(identified(ubuntu, Some("trixie/sid")), expected("Ubuntu", "Debian", "24.04", "noble"));
        let rocky = "NAME=\"Rocky Linux\"\nVERSION=\"9.3 (Blue Onyx)\"\nID=\"rocky\"\nVERSION_ID=\"9.3\"\n";
        assert_eq!(identified(rocky, None), expected("Rocky", "RedHat", "9.3", "Blue Onyx"));
        let unknown = "NAME=\"Frobnix Linux\"\nID=frobnix\nID_LIKE=\"suse sles\"\nVERSION_ID=7\n";
        assert_eq!(identified(unknown, None), expected("Frobnix", "Suse", "7", "NA"));
    }
}
