//! dpkg's database: one text file, read as a whole. That is a few milliseconds for thousands of packages, where a
//! question to apt's tools costs a process and a second.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::fnmatch::fnmatch;

/// A package dpkg knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) version: String,
    architecture: String,
    /// Installed, and not only its configuration files left over.
    pub(crate) is_installed: bool,
}

/// All packages by name; under several architectures a package has several entries.
#[derive(Debug, Default)]
pub(crate) struct Database {
    packages: BTreeMap<String, Vec<Package>>,
    /// Names that installed packages provide besides their own.
    provided: BTreeSet<String>,
}

/// What a task asks for: `name`, `name:arch`, `name=version`, with patterns in name and version, `name>=version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    architecture: Option<String>,
    version: Option<String>,
    /// The version is the lowest that will do.
    is_at_least: bool,
}

impl Wanted {
    pub(crate) fn parse(text: &str) -> Wanted {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name.trim(), Some(version.trim().to_owned())),
            None => (text.trim(), None),
        };
        let (name, is_at_least) = name.strip_suffix('>').map_or((name, false), |name| (name.trim(), true));
        let (name, architecture) = match name.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture.to_owned()).filter(|name| name != "any")),
            None => (name, None),
        };
        Wanted { name: name.to_owned(), architecture, version, is_at_least }
    }

    /// The lowest version that will do, if that is all that is said of it.
    pub(crate) fn at_least(&self) -> Option<&str> {
        self.version.as_deref().filter(|_| self.is_at_least)
    }

    /// Whether which version is meant is known to apt alone: it has the newest that fits.
    pub(crate) fn has_version_pattern(&self) -> bool {
        self.version.as_deref().is_some_and(|version| version.contains(['*', '?', '[']))
    }

    pub(crate) fn is_pattern(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }

    fn fits(&self, package: &Package) -> bool {
        let architecture = self.architecture.as_deref();
        architecture.is_none_or(|wanted| wanted == package.architecture || package.architecture == "all")
            && self.version.as_deref().is_none_or(|wanted| match self.is_at_least {
                true => version_order(&package.version, wanted).is_ge(),
                false => fnmatch(wanted, &package.version),
            })
    }
}

/// Which version is newer, as Debian's policy has it: by epoch, then by the upstream version, then by the revision.
pub(crate) fn version_order(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.parse::<u64>().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let (one, other) = (parts(one), parts(other));
    one.0.cmp(&other.0).then_with(|| part_order(&one.1, &other.1)).then_with(|| part_order(&one.2, &other.2))
}

/// Text and numbers in turns. A tilde comes before everything, the end included, and letters before what is none.
fn part_order(one: &str, other: &str) -> Ordering {
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    };
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        loop {
            let text = |bytes: &[u8]| bytes.first().copied().filter(|byte| !byte.is_ascii_digit());
            let (left, right) = (text(one), text(other));
            if left.is_none() && right.is_none() {
                break;
            }
            match weight(left).cmp(&weight(right)) {
                Ordering::Equal => (one, other) = (&one[1..], &other[1..]),
                unequal => return unequal,
            }
        }
        let (left, right) = (number(&mut one), number(&mut other));
        match left.len().cmp(&right.len()).then_with(|| left.cmp(right)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// The digits at the start, without zeros before them.
fn number<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (digits, rest) = bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count());
    *bytes = rest;
    &digits[digits.iter().take_while(|byte| **byte == b'0').count()..]
}

impl Database {
    /// Reads `var/lib/dpkg/status` below `root`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(root: &Path) -> std::io::Result<Database> {
        Ok(Database::parse(&String::from_utf8_lossy(&std::fs::read(root.join("var/lib/dpkg/status"))?)))
    }

    fn parse(text: &str) -> Database {
        let mut database = Database::default();
        for paragraph in text.split("\n\n") {
            let field = |name: &str| {
                let lines = paragraph.lines().filter_map(|line| line.split_once(':'));
                lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next()
            };
            let (Some(name), Some(status)) = (field("Package"), field("Status")) else { continue };
            let state = status.rsplit(' ').next().unwrap_or_default();
            if state == "not-installed" {
                continue;
            }
            let is_installed = matches!(state, "installed" | "triggers-pending" | "triggers-awaited");
            if let Some(provides) = field("Provides").filter(|_| is_installed) {
                let names = provides.split(',').filter_map(|item| item.split_whitespace().next());
                database.provided.extend(names.map(str::to_owned));
            }
            database.packages.entry(name.to_owned()).or_default().push(Package {
                version: field("Version").unwrap_or_default().to_owned(),
                architecture: field("Architecture").unwrap_or_default().to_owned(),
                is_installed,
            });
        }
        database
    }

    /// Whether what is wanted is there. A name that only others provide counts, unless a version is asked for.
    pub(crate) fn has(&self, wanted: &Wanted) -> bool {
        let is_there =
            |packages: &Vec<Package>| packages.iter().any(|package| package.is_installed && wanted.fits(package));
        self.packages.get(&wanted.name).is_some_and(is_there)
            || (wanted.version.is_none() && self.provided.contains(&wanted.name))
    }

    /// Names of packages that are there and fit, with those whose configuration files are left over if `with_rest`.
    pub(crate) fn matching(&self, wanted: &Wanted, with_rest: bool) -> Vec<String> {
        let is_there = |packages: &[Package]| {
            packages.iter().any(|package| (package.is_installed || with_rest) && wanted.fits(package))
        };
        let name_fits =
            |name: &str| if wanted.is_pattern() { fnmatch(&wanted.name, name) } else { wanted.name == name };
        let found = self.packages.iter().filter(|(name, packages)| name_fits(name) && is_there(packages));
        let suffix = wanted.architecture.as_ref().map(|architecture| format!(":{architecture}")).unwrap_or_default();
        found.map(|(name, _)| format!("{name}{suffix}")).collect()
    }

    /// The installed version of a package.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        let packages = self.packages.get(name)?;
        packages.iter().find(|package| package.is_installed).map(|package| package.version.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2\n\
        Description: a shell\n Version: not a field\n\nPackage: exim4\nStatus: install ok installed\nArchitecture: all\n\
        Version: 4.96\nProvides: mail-transport-agent, smtp (= 1)\n\nPackage: old\nStatus: deinstall ok config-files\n\
        Architecture: amd64\nVersion: 1.0\n\nPackage: gone\nStatus: purge ok not-installed\nArchitecture: amd64\n\n\
        Package: libc6\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 2.36\n\n\
        Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.36\n";

    fn has(wanted: &str) -> bool {
        Database::parse(STATUS).has(&Wanted::parse(wanted))
    }

    #[test]
    fn what_is_installed_is_found_by_name_version_and_architecture() {
        assert!(has("bash") && has("bash=5.2.15-2") && has("bash=5.2.*") && has("libc6:i386") && has("exim4:arm64"));
        assert!(!has("bash=5.1*") && !has("bash:i386") && !has("zsh") && !has("old") && !has("gone"));
        assert_eq!(Database::parse(STATUS).version("bash"), Some("5.2.15-2"));
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let ascending = ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-2", "1.0a", "1.0+1", "1.2", "1.10", "1.10.0", "1:0.1"];
        for pair in ascending.windows(2) {
            assert_eq!(version_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(version_order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for (one, other) in [("1.0", "1.0-0"), ("1.01", "1.1"), ("0:2", "2"), ("1.0", "1.0")] {
            assert_eq!(version_order(one, other), Ordering::Equal, "{one} {other}");
        }
        assert!(has("bash>=5.2") && has("bash >= 5.2.15-2") && !has("bash>=5.2.15-3") && !has("zsh>=1"));
    }

    #[test]
    fn a_provided_name_counts_as_there() {
        assert!(has("mail-transport-agent") && has("smtp") && !has("smtp=1"));
    }

    #[test]
    fn what_can_be_removed_is_matched_by_pattern() {
        let database = Database::parse(STATUS);
        assert_eq!(database.matching(&Wanted::parse("*a*"), false), ["bash"]);
        assert_eq!(database.matching(&Wanted::parse("old"), false), [""; 0]);
        assert_eq!(database.matching(&Wanted::parse("old"), true), ["old"]);
        assert_eq!(database.matching(&Wanted::parse("libc6:i386"), false), ["libc6:i386"]);
        assert_eq!(database.matching(&Wanted::parse("smtp"), false), [""; 0]);
    }
}
