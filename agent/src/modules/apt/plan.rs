//! Which runs of apt-get make the host what it is to be. Nothing here looks at the host.

use super::{AptArgs, State, Upgrade};
use crate::packages::dpkg::{Database, Wanted};

/// One run of apt-get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) arguments: Vec<String>,
}

/// The runs that are needed; none if all is as wanted.
pub(super) fn plan(args: &AptArgs, database: &Database) -> Vec<Work> {
    let mut works = Vec::new();
    if args.upgrade != Upgrade::No {
        works.push(upgrade(args));
    }
    let wanted: Vec<Wanted> = args.package.iter().map(|name| Wanted::parse(name)).collect();
    match args.state {
        _ if *args.package == ["*"] && args.state == State::Latest => works.push(upgrade(args)),
        State::Absent => works.extend(remove(args, &wanted, database)),
        State::Present => works.extend(install(args, &wanted, database)),
        State::Latest if !args.package.is_empty() => works.push(with_packages(args, "install", args.package.to_vec())),
        State::BuildDep if !args.package.is_empty() => {
            works.push(with_packages(args, "build-dep", args.package.to_vec()))
        }
        State::Fixed => works.push(with_packages(args, "--fix-broken install", args.package.to_vec())),
        State::Latest | State::BuildDep => {}
    }
    if args.autoremove && args.package.is_empty() {
        works.push(bare(args, "autoremove"));
    }
    if args.autoclean {
        works.push(bare(args, "autoclean"));
    }
    works
}

fn upgrade(args: &AptArgs) -> Work {
    let mut work = Work { arguments: options(args) };
    match args.upgrade {
        Upgrade::Dist | Upgrade::Full => work.arguments.push("dist-upgrade".into()),
        _ => work.arguments.extend(["--with-new-pkgs".into(), "upgrade".into()]),
    }
    work
}

fn bare(args: &AptArgs, command: &str) -> Work {
    let mut arguments = options(args);
    if args.purge {
        arguments.push("--purge".into());
    }
    arguments.push(command.into());
    Work { arguments }
}

fn remove(args: &AptArgs, wanted: &[Wanted], database: &Database) -> Option<Work> {
    let mut there: Vec<String> = wanted.iter().flat_map(|wanted| database.matching(wanted, args.purge)).collect();
    there.dedup();
    if there.is_empty() {
        return None;
    }
    let mut arguments = options(args);
    arguments.extend(args.purge.then(|| "--purge".into()));
    arguments.extend(args.autoremove.then(|| "--auto-remove".into()));
    arguments.extend(["remove".into(), "--".into()]);
    arguments.extend(there);
    Some(Work { arguments })
}

fn install(args: &AptArgs, wanted: &[Wanted], database: &Database) -> Option<Work> {
    let lacks = |wanted: &Wanted| match wanted.is_pattern() {
        // What a pattern stands for is known to apt alone.
        true => !args.only_upgrade || !database.matching(wanted, false).is_empty(),
        false if args.only_upgrade && database.version(&wanted.name).is_none() => false,
        false => wanted.has_version_pattern() || !database.has(wanted),
    };
    let missing = args.package.iter().zip(wanted).filter(|(_, wanted)| lacks(wanted));
    // apt-get knows no lowest version: it takes the newest, which was seen to be new enough.
    let missing: Vec<String> = missing
        .map(|(name, wanted)| if wanted.at_least().is_some() { wanted.name.clone() } else { name.clone() })
        .collect();
    (!missing.is_empty()).then(|| with_packages(args, "install", missing))
}

pub(super) fn with_packages(args: &AptArgs, command: &str, packages: Vec<String>) -> Work {
    let mut arguments = options(args);
    arguments.extend(args.autoremove.then(|| "--auto-remove".into()));
    arguments.extend(args.only_upgrade.then(|| "--only-upgrade".into()));
    if let Some(release) = &args.default_release {
        arguments.extend(["-t".into(), release.clone()]);
    }
    if let Some(is_wanted) = args.install_recommends {
        let answer = if is_wanted { "yes" } else { "no" };
        arguments.extend(["-o".into(), format!("APT::Install-Recommends={answer}")]);
    }
    arguments.extend(command.split(' ').map(str::to_owned));
    arguments.push("--".into());
    arguments.extend(packages);
    Work { arguments }
}

fn options(args: &AptArgs) -> Vec<String> {
    let mut out = Vec::new();
    for option in args.dpkg_options.iter().filter(|option| !option.is_empty()) {
        out.extend(["-o".to_owned(), format!("Dpkg::Options::=--{option}")]);
    }
    let flags = [
        (args.allow_unauthenticated || args.force, "--allow-unauthenticated"),
        (args.allow_downgrade || args.force, "--allow-downgrades"),
        (args.allow_change_held_packages || args.force, "--allow-change-held-packages"),
        (args.force, "--allow-remove-essential"),
        (args.fail_on_autoremove, "--no-remove"),
    ];
    out.extend(flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, flag)| flag.to_owned()));
    out
}

/// What apt-get says it did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) has_changes: bool,
}

impl Outcome {
    /// By the summary line: `1 upgraded, 0 newly installed, 0 to remove and 3 not upgraded.`
    pub(super) fn of(stdout: &str) -> Outcome {
        let summaries = stdout.lines().filter(|line| line.contains(" upgraded, ") && line.contains(" to remove"));
        let counts = summaries.flat_map(|line| line.split(" and ").next().unwrap_or(line).split(", "));
        let has_counted = counts.filter_map(|part| part.split(' ').next()?.parse::<u64>().ok()).any(|count| count > 0);
        // autoclean has no summary, a line per file.
        let has_cleaned = stdout.lines().any(|line| line.starts_with("Del "));
        Outcome { has_changes: has_counted || has_cleaned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustle_protocol::Value;
    use serde_json::json;

    fn planned(args: serde_json::Value) -> Vec<String> {
        let mut args: AptArgs = crate::module::args::parse("apt", Value::from(args).as_map().unwrap().clone()).unwrap();
        args.dpkg_options.clear();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n\
                      Package: old\nStatus: deinstall ok config-files\nVersion: 1\n";
        std::fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
        let database = Database::read(root.path()).unwrap();
        plan(&args, &database).into_iter().map(|work| work.arguments.join(" ")).collect()
    }

    #[test]
    fn only_what_is_needed_is_asked_of_apt() {
        assert_eq!(planned(json!({"name": ["bash", "zsh=1*"]})), ["install -- zsh=1*"]);
        assert_eq!(planned(json!({"name": "bash"})), [""; 0]);
        assert_eq!(planned(json!({"name": ["bash=5.*", "bash>=5", "zsh>=1"]})), ["install -- bash=5.* zsh"]);
        assert_eq!(planned(json!({"name": "bash", "state": "latest"})), ["install -- bash"]);
        assert_eq!(planned(json!({"name": "bash,old,x", "state": "absent"})), ["remove -- bash"]);
        assert_eq!(
            planned(json!({"name": "bash,old", "state": "absent", "purge": true, "autoremove": true})),
            ["--purge --auto-remove remove -- bash old"]
        );
        assert_eq!(planned(json!({"name": "zsh,bash=9", "only_upgrade": true})), ["--only-upgrade install -- bash=9"]);
    }

    #[test]
    fn upgrades_and_cleaning_have_their_own_commands() {
        assert_eq!(planned(json!({"upgrade": "dist"})), ["dist-upgrade"]);
        assert_eq!(planned(json!({"upgrade": "yes"})), ["--with-new-pkgs upgrade"]);
        assert_eq!(planned(json!({"name": "*", "state": "latest"})), ["--with-new-pkgs upgrade"]);
        assert_eq!(
            planned(json!({"autoremove": true, "autoclean": true, "purge": true})),
            ["--purge autoremove", "--purge autoclean"]
        );
        assert_eq!(planned(json!({"state": "fixed"})), ["--fix-broken install --"]);
        assert_eq!(
            planned(json!({"name": "x", "state": "build-dep", "default_release": "sid"})),
            ["-t sid build-dep -- x"]
        );
        assert_eq!(planned(json!({})), [""; 0]);
    }

    #[test]
    fn the_summary_tells_whether_anything_changed() {
        let changes = |line: &str| Outcome::of(line).has_changes;
        assert!(!changes("Reading...\n0 upgraded, 0 newly installed, 0 to remove and 79 not upgraded.\n"));
        assert!(changes("0 upgraded, 1 newly installed, 0 to remove and 79 not upgraded.\n"));
        assert!(changes("0 upgraded, 0 newly installed, 1 downgraded, 0 to remove and 0 not upgraded.\n"));
        assert!(changes("Del libfoo 1.0 [12 kB]\n") && !changes(""));
    }
}
