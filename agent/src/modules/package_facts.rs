//! `package_facts`: the installed packages, as facts.

use std::path::Path;

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::module::{Doing, Module, ModuleContext, ModuleError};
use crate::process::{Program, find_program};
use crate::{arguments, choices};

/// The list of all packages of a large host.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Managers that there are programs for here, the most telling first. `auto` takes them in this order.
const MANAGERS: [&str; 4] = ["apt", "rpm", "apk", "pacman"];

/// Other names of one of [`MANAGERS`].
const ALSO: [(&str, &str); 4] = [("dnf", "rpm"), ("dnf5", "rpm"), ("yum", "rpm"), ("zypper", "rpm")];

arguments! {
    pub(crate) struct PackageFactsArgs {
        /// The managers to ask; `auto` for those there are.
        manager: Vec<String> = vec!["auto".into()],
        /// Whether the first manager found is enough.
        strategy: Strategy = Strategy::First,
    }
}

choices! {
    pub(crate) enum Strategy { First = "first", All = "all" }
}

pub(super) struct PackageFacts;

impl Module for PackageFacts {
    type Args = PackageFactsArgs;

    const NAME: &'static str = "ansible.builtin.package_facts";
    const SUMMARY: &'static str = "Returns the installed packages as facts.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: PackageFactsArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        run_below(Path::new("/"), &args, cx)
    }
}

fn run_below(root: &Path, args: &PackageFactsArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let managers = managers(&args.manager)?;
    let is_named = !args.manager.iter().any(|name| name.eq_ignore_ascii_case("auto"));
    let mut packages = Map::new();
    let mut found = false;
    let mut warnings = Vec::new();
    for manager in &managers {
        let list = match list(root, manager, cx) {
            Ok(Some(list)) => list,
            Ok(None) if is_named => {
                warnings.push(format!(
                    "Requested package manager {manager} was not usable by this module: it is not on this host"
                ));
                continue;
            }
            Ok(None) => continue,
            Err(error) => {
                warnings.push(format!("Failed to retrieve packages with {manager}: Unable to list packages: {error}"));
                continue;
            }
        };
        found = true;
        for package in list {
            let name = package["name"].as_str().unwrap_or_default().to_owned();
            let all = packages.entry(name).or_insert_with(|| Value::List(Vec::new()));
            if let Value::List(all) = all {
                all.push(Value::Map(package));
            }
        }
        if args.strategy == Strategy::First {
            break;
        }
    }
    if !found {
        let asked: Vec<String> = args.manager.iter().map(|name| format!("'{name}'")).collect();
        let mut failed = ModuleResult::failed(format!(
            "Could not detect a supported package manager from the following list: [{}], or the required Python \
             library is not installed. Check warnings for details.",
            asked.join(", ")
        ));
        failed.warnings = warnings;
        return Err(failed.into());
    }
    let facts = Map::from([("packages".to_owned(), Value::Map(packages))]);
    let mut result = ModuleResult::ok().with("ansible_facts", facts);
    result.warnings = warnings;
    Ok(result)
}

/// The managers asked for, by the name they have here, each once.
fn managers(asked: &[String]) -> Result<Vec<&'static str>, ModuleError> {
    let mut managers = Vec::new();
    let mut unknown = Vec::new();
    for name in asked.iter().map(|name| name.to_lowercase()) {
        let also = ALSO.iter().find(|(other, _)| *other == name).map(|(_, name)| *name);
        match MANAGERS.iter().find(|manager| **manager == also.unwrap_or(&name)) {
            _ if name == "auto" => managers.extend(MANAGERS),
            Some(manager) => managers.push(*manager),
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        return Err(ModuleError::new(format!("Unsupported package managers requested: {}", unknown.join(", "))));
    }
    let mut seen = std::collections::BTreeSet::new();
    managers.retain(|manager| seen.insert(*manager));
    Ok(managers)
}

/// The manager's packages; `None` if it is not the host's.
fn list(root: &Path, manager: &str, cx: &ModuleContext<'_>) -> Result<Option<Vec<Map>>, ModuleError> {
    let file = |path: &str| {
        let path = root.join(path);
        path.exists().then(|| std::fs::read(&path).doing(|| format!("read {}", path.display()))).transpose()
    };
    let ask = |program: &str, args: &[&str]| {
        find_program(program, None)
            .map(|_| Program::new(program).args(args.iter().copied()).plain().keep(OUTPUT_BYTES_MAX).run_checked(cx))
            .transpose()
    };
    Ok(match manager {
        "apt" => file("var/lib/dpkg/status")?.map(|text| of_dpkg(&String::from_utf8_lossy(&text))),
        "apk" => match file("lib/apk/db/installed")? {
            Some(text) => Some(of_apk(&String::from_utf8_lossy(&text))),
            None if find_program("apk", None).is_some() => {
                return Err(ModuleError::new("apk is here, and /lib/apk/db/installed is not"));
            }
            None => None,
        },
        "rpm" => {
            let format = "%{NAME}\\t%{VERSION}\\t%{RELEASE}\\t%{EPOCHNUM}\\t%{ARCH}\\n";
            ask("rpm", &["-qa", "--qf", format])?
                .map(|ended| of_rpm(&ended.stdout.text()))
                .filter(|list| !list.is_empty())
        }
        _ => ask("pacman", &["-Q"])?.map(|ended| of_pacman(&ended.stdout.text())),
    })
}

fn package<const N: usize>(fields: [(&str, &str); N]) -> Map {
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

fn of_dpkg(text: &str) -> Vec<Map> {
    let of = |paragraph: &str| {
        let field = |name: &str| {
            let lines = paragraph.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
        };
        let state = field("Status")?;
        let is_there = matches!(state.rsplit(' ').next()?, "installed" | "triggers-pending" | "triggers-awaited");
        is_there.then(|| {
            let field = |name: &str| field(name).unwrap_or_default();
            package([
                ("name", &field("Package")),
                ("version", &field("Version")),
                ("arch", &field("Architecture")),
                ("category", &field("Section")),
                ("source", "apt"),
            ])
        })
    };
    text.split("\n\n").filter_map(of).collect()
}

fn of_apk(text: &str) -> Vec<Map> {
    let of = |paragraph: &str| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let whole = field("V:");
        let (version, release) = whole.rsplit_once("-r").unwrap_or((whole, ""));
        let fields = [("name", field("P:")), ("version", version), ("release", release), ("source", "apk")];
        (!field("P:").is_empty()).then(|| package(fields))
    };
    text.split("\n\n").filter_map(of).collect()
}

fn of_rpm(text: &str) -> Vec<Map> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, version, release, epoch, arch] = fields.as_slice() else { return None };
        let arch = if *arch == "(none)" { "" } else { arch };
        let mut package =
            package([("name", name), ("version", version), ("release", release), ("arch", arch), ("source", "rpm")]);
        let epoch = epoch.parse::<i64>().ok().filter(|epoch| *epoch != 0);
        package.insert("epoch".into(), epoch.map_or(Value::Null, Value::Int));
        Some(package)
    };
    text.lines().filter_map(of).collect()
}

fn of_pacman(text: &str) -> Vec<Map> {
    let words = text.lines().filter_map(|line| line.split_once(' '));
    words.map(|(name, version)| package([("name", name), ("version", version), ("source", "pacman")])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use serde_json::json;

    fn run(root: &Path, args: serde_json::Value) -> ModuleResult {
        let args: PackageFactsArgs = parse("x", Value::from(args).as_map().unwrap().clone()).unwrap();
        run_below(root, &args, &Surroundings::checking().context()).unwrap_or_else(ModuleError::into_result)
    }

    fn shown(list: Vec<Map>) -> Vec<String> {
        list.into_iter().map(|package| Value::Map(package).to_json()).collect()
    }

    #[test]
    fn installed_packages_of_debian_are_under_their_names() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: bash\nStatus: install ok installed\nSection: shells\nArchitecture: amd64\nVersion: 5.2-1\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: libc\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n\n\
                      Package: libc\nStatus: install ok installed\nArchitecture: i386\nVersion: 2\n";
        std::fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
        let result = run(root.path(), json!({"manager": "apt"}));
        let packages = result.get("ansible_facts").unwrap().as_map().unwrap()["packages"].as_map().unwrap();
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["bash", "libc"]);
        assert_eq!(
            packages["bash"].to_json(),
            r#"[{"name":"bash","version":"5.2-1","arch":"amd64","category":"shells","source":"apt"}]"#
        );
        assert!(matches!(&packages["libc"], Value::List(both) if both.len() == 2));
    }

    #[test]
    fn other_managers_lists_are_read() {
        assert_eq!(
            shown(of_rpm("bash\t5.1\t6.el9\t0\tx86_64\ngpg-pubkey\tab\tcd\t2\t(none)\n")),
            [
                r#"{"name":"bash","version":"5.1","release":"6.el9","arch":"x86_64","source":"rpm","epoch":null}"#,
                r#"{"name":"gpg-pubkey","version":"ab","release":"cd","source":"rpm","epoch":2}"#
            ]
        );
        assert_eq!(
            shown(of_apk("C:Q1\nP:musl\nV:1.2.4-r1\n\nP:zlib\nV:1.3-r0\n"))[0],
            r#"{"name":"musl","version":"1.2.4","release":"1","source":"apk"}"#
        );
        assert_eq!(shown(of_pacman("bash 5.2-1\n")), [r#"{"name":"bash","version":"5.2-1","source":"pacman"}"#]);
    }

    #[test]
    fn a_manager_that_is_not_there_or_not_known_is_told() {
        let root = tempfile::tempdir().unwrap();
        let msg = run(root.path(), json!({"manager": "apk"})).msg().to_owned();
        assert!(
            msg.starts_with("Could not detect a supported package manager from the following list: ['apk']"),
            "{msg}"
        );
        assert_eq!(run(root.path(), json!({"manager": "foo"})).msg(), "Unsupported package managers requested: foo");
    }
}
