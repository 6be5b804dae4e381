//! `hostname`: the host's name, now and after its next start.

use std::path::Path;

use rustle_protocol::ModuleResult;
use rustle_protocol::result::Diff;
use rustle_protocol::value::Map;

use crate::files::attributes::Changes;
use crate::files::node::Node;
use crate::files::replace::Replacement;
use crate::module::args::Choice;
use crate::module::{Doing, Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::{arguments, choices};

/// The kernel's limit.
const NAME_BYTES_MAX: usize = 64;

arguments! {
    pub(crate) struct HostnameArgs {
        /// The name.
        name: String,
        /// Where the name is kept; found out by default.
        r#use: Option<Way>,
    }
}

choices! {
    /// How a system keeps its name.
    pub(crate) enum Way {
        Alpine = "alpine", Debian = "debian", FreeBsd = "freebsd", Generic = "generic", MacOs = "macos", MacOsX = "macosx",
        Darwin = "darwin", OpenBsd = "openbsd", OpenRc = "openrc", RedHat = "redhat", Sles = "sles", Solaris = "solaris",
        Systemd = "systemd",
    }
}

pub(super) struct Hostname;

impl Module for Hostname {
    type Args = HostnameArgs;

    const NAME: &'static str = "ansible.builtin.hostname";
    const SUMMARY: &'static str = "Sets the host's name.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn run(&self, args: HostnameArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let way = args.r#use.unwrap_or_else(|| detect(Path::new("/")));
        let keeping = Keeping::of(way)?;
        if args.name.is_empty() || args.name.len() > NAME_BYTES_MAX || args.name.contains(['\n', '\0', '/']) {
            let msg = format!("name cannot be longer than {NAME_BYTES_MAX} characters, empty, or of more than a line");
            return Err(ModuleError::new(msg));
        }
        let now = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let kept = keeping.read(Path::new("/"));
        let is_now = now == args.name;
        let is_kept = kept.as_ref().is_none_or(|kept| *kept == args.name);
        if !cx.check {
            if !is_kept {
                keeping.write(Path::new("/"), &args.name)?;
            }
            if !is_now {
                set_now(way, &args.name, cx)?;
            }
        }
        Ok(result(&args.name, &now, kept.as_deref(), !(is_now && is_kept), cx.diff))
    }
}

fn result(name: &str, now: &str, kept: Option<&str>, changed: bool, diff: bool) -> ModuleResult {
    let before = if now == name { kept.unwrap_or(now) } else { now };
    let domain = name.split_once('.').map_or("", |(_, domain)| domain);
    let facts = Map::from([
        ("ansible_hostname".to_owned(), name.split('.').next().unwrap_or_default().into()),
        ("ansible_nodename".to_owned(), name.into()),
        ("ansible_fqdn".to_owned(), name.into()),
        ("ansible_domain".to_owned(), domain.into()),
    ]);
    let line = |name: &str| format!("hostname = {name}\n").into();
    let shown = (diff && changed).then(|| Diff { before: line(before), after: line(name), ..Diff::default() });
    ModuleResult::changed(changed).with("name", name).with("ansible_facts", facts).with_diff(shown)
}

fn detect(root: &Path) -> Way {
    let has = |path: &str| root.join(path).exists();
    let release = std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let is_like = |name: &str| {
        let ids = release.lines().filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
        ids.flat_map(|ids| ids.trim_matches('"').split(' ')).any(|id| id == name)
    };
    match () {
        () if has("run/systemd/system") => Way::Systemd,
        () if is_like("alpine") => Way::Alpine,
        () if is_like("debian") => Way::Debian,
        () if has("etc/conf.d/hostname") => Way::OpenRc,
        () if has("etc/HOSTNAME") => Way::Sles,
        () if has("etc/sysconfig/network") => Way::RedHat,
        () if has("etc/hostname") => Way::Debian,
        () => Way::Generic,
    }
}

/// The file that the name is kept in, and what stands before the name there.
#[derive(Debug, PartialEq, Eq)]
struct Keeping(Option<(&'static str, &'static str)>);

impl Keeping {
    fn of(way: Way) -> Result<Keeping, ModuleError> {
        Ok(Keeping(match way {
            Way::Systemd | Way::Alpine | Way::Debian => Some(("etc/hostname", "")),
            Way::Sles => Some(("etc/HOSTNAME", "")),
            Way::RedHat => Some(("etc/sysconfig/network", "HOSTNAME=")),
            Way::OpenRc => Some(("etc/conf.d/hostname", "hostname=")),
            Way::Generic => None,
            other => {
                let msg = format!("use: {} is not a way of Linux, and agents run on Linux only", other.spelling());
                return Err(ModuleError::new(msg));
            }
        }))
    }

    /// The name that is kept; `None` if none is kept anywhere.
    fn read(&self, root: &Path) -> Option<String> {
        let (file, before) = self.0?;
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        let line = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .find_map(|line| line.strip_prefix(before));
        Some(line.unwrap_or_default().trim_matches(['"', '\'']).to_owned())
    }

    /// Other lines of the file stay.
    fn write(&self, root: &Path, name: &str) -> Result<(), ModuleError> {
        let Some((file, before)) = self.0 else { return Ok(()) };
        let path = root.join(file);
        let quote = if before == "hostname=" { "\"" } else { "" };
        let line = format!("{before}{quote}{name}{quote}");
        let old = if before.is_empty() { String::new() } else { std::fs::read_to_string(&path).unwrap_or_default() };
        let mut lines: Vec<&str> = old.lines().filter(|old| !old.trim().starts_with(before)).collect();
        lines.push(&line);
        let mut new = Replacement::beside(&path)?;
        new.write(format!("{}\n", lines.join("\n")).as_bytes())?;
        let old = Node::open(&path, true)?;
        let fresh = if old.is_none() { Some(0o644) } else { None };
        new.commit(old.as_ref(), &Changes { mode: fresh, ..Changes::default() }, false)
    }
}

/// systemd is told, so that it tells others; where it does not run, the kernel is.
fn set_now(way: Way, name: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    if way == Way::Systemd {
        let set = Program::new("hostnamectl").args(["--transient", "set-hostname", "--", name]).plain();
        return set.run_checked(cx).map(drop);
    }
    rustix::system::sethostname(name.as_bytes()).doing(|| format!("set the host's name to {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::check;
    use serde_json::json;

    fn now() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    #[test]
    fn check_mode_says_what_would_change_and_changes_nothing() {
        let before = now();
        let result = check(&Hostname, json!({"name": "web1.example.org", "use": "generic"}));
        assert!(result.changed, "{result:?}");
        assert_eq!(now(), before);
        assert_eq!(result.diff[0].after.as_str(), Some("hostname = web1.example.org\n"));
        let facts = result.get("ansible_facts").unwrap().as_map().unwrap();
        let fact = |name: &str| facts[name].as_str().unwrap().to_owned();
        assert_eq!((fact("ansible_hostname"), fact("ansible_domain")), ("web1".into(), "example.org".into()));
        assert!(!check(&Hostname, json!({"name": before, "use": "generic"})).changed);
    }

    #[test]
    fn each_system_keeps_its_name_in_its_file() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/sysconfig")).unwrap();
        std::fs::create_dir_all(root.path().join("etc/conf.d")).unwrap();
        std::fs::write(root.path().join("etc/sysconfig/network"), "NETWORKING=yes\nHOSTNAME=old\n").unwrap();
        for (way, file, content) in [
            (Way::Debian, "etc/hostname", "web1\n"),
            (Way::Sles, "etc/HOSTNAME", "web1\n"),
            (Way::RedHat, "etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=web1\n"),
            (Way::OpenRc, "etc/conf.d/hostname", "hostname=\"web1\"\n"),
        ] {
            let keeping = Keeping::of(way).unwrap();
            assert_ne!(keeping.read(root.path()).as_deref(), Some("web1"));
            keeping.write(root.path(), "web1").unwrap();
            assert_eq!(std::fs::read_to_string(root.path().join(file)).unwrap(), content);
            assert_eq!(keeping.read(root.path()).as_deref(), Some("web1"));
        }
    }

    #[test]
    fn the_system_says_how_it_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(detect(root.path()), Way::Generic);
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/os-release"), "ID=ubuntu\nID_LIKE=debian\n").unwrap();
        assert_eq!(detect(root.path()), Way::Debian);
        std::fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert_eq!(detect(root.path()), Way::Systemd);
    }

    #[test]
    fn names_that_are_none_and_ways_of_other_systems_are_refused() {
        let long = "a".repeat(65);
        for args in [json!({"name": long}), json!({"name": "a\nb"}), json!({"name": "a", "use": "solaris"})] {
            assert!(check(&Hostname, args).failed);
        }
    }
}
