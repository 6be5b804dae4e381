//! `dnf`: packages of Fedora, Red Hat and their relatives, by dnf5, dnf or yum.

use rustle_protocol::ModuleResult;

use crate::module::args::Names;
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::process::{Program, find_program};
use crate::{arguments, choices};

arguments! {
    pub(crate) struct DnfArgs {
        /// Packages, groups with `@`, files, URLs.
        name | "pkg": Names = Names::default(),
        /// What they are to be.
        state: Option<State>,
        /// Read the package lists anew first.
        update_cache | "expire-cache": bool = false,
        /// Delete what was installed for others and is no longer needed.
        autoremove: bool = false,
        /// Upgrade only, install nothing new.
        update_only: bool = false,
        /// Repositories to use too.
        enablerepo: Names = Names::default(),
        /// Repositories not to use.
        disablerepo: Names = Names::default(),
        /// Packages to leave out.
        exclude: Names = Names::default(),
        /// Take packages whose signature cannot be verified.
        disable_gpg_check: bool = false,
        /// Take an older version than the installed one.
        allow_downgrade: bool = false,
        /// Remove packages that stand in the way.
        allowerasing: bool = false,
        /// Leave out packages that cannot be installed.
        skip_broken: bool = false,
        /// Install recommended packages too.
        install_weak_deps: bool = true,
        /// Install below this directory.
        installroot: String = "/".into(),
        /// The release to take packages from.
        releasever: Option<String>,
        /// The program: the first of dnf5, dnf and yum that is there by default.
        use_backend: Option<Backend>,
        /// The same as `use_backend`.
        r#use: Option<Backend>,
    }
}

choices! {
    pub(crate) enum Backend {
        Auto = "auto",
        Yum = "yum",
        Yum4 = "yum4",
        Dnf = "dnf",
        Dnf4 = "dnf4",
        Dnf5 = "dnf5",
    }
}

choices! {
    pub(crate) enum State {
        Absent = "absent",
        Present = "present",
        Installed = "installed",
        Removed = "removed",
        Latest = "latest",
    }
}

pub(super) struct Dnf;

impl Module for Dnf {
    type Args = DnfArgs;

    const NAME: &'static str = "ansible.builtin.dnf";
    const SUMMARY: &'static str = "Installs, upgrades and removes packages by dnf or yum.";
    const ALIASES: &'static [&'static str] = &["dnf5", "yum"];
    const IDEMPOTENT: bool = true;

    fn check_args(args: &DnfArgs) -> Result<(), ArgError> {
        if args.r#use.is_some() && args.use_backend.is_some() {
            return Err(ArgError::Rule("parameters are mutually exclusive: ('use', 'use_backend')".into()));
        }
        match args.name.iter().any(|name| name.is_empty() || name.starts_with('-')) {
            true => Err(ArgError::Rule("a package's name must not be empty and must not begin with a dash".into())),
            false => Ok(()),
        }
    }

    fn run(&self, args: DnfArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let tools = tools(args.use_backend.or(args.r#use).unwrap_or(Backend::Auto));
        let Some(tool) = tools.iter().find(|name| find_program(name, None).is_some()) else {
            let tools = tools.join(" or ");
            return Err(ModuleError::new(format!("this host has no {tools}, so dnf cannot manage its packages")));
        };
        let missing = if needs_look(&args) { not_installed(&args, cx)? } else { args.name.to_vec() };
        let Some(command) = command(&args, &missing) else { return Ok(result(false, "Nothing to do")) };
        if args.update_cache && !cx.check {
            Program::new(*tool).plain().args(["-y", "makecache", "--refresh"]).run_checked(cx)?;
        }
        // Answering no after the plan is dnf's simulation.
        let answer = if cx.check { "--assumeno" } else { "-y" };
        let program = Program::new(*tool).plain().arg(answer).args(&command).live();
        let ended = program.run(cx)?;
        ended.not_stopped(&program)?;
        let stdout = ended.stdout.text().into_owned();
        let is_idle = stdout.contains("Nothing to do") || stdout.contains("No packages marked for removal");
        let would = cx.check && (stdout.contains("Operation aborted") || stdout.contains("Transaction Summary"));
        if ended.rc != 0 && !would {
            return Err(ended.into_error(&program));
        }
        let mut result = result(!is_idle, &stdout);
        result.warnings = ended.warnings;
        Ok(result)
    }
}

/// The programs that will do, the best first.
fn tools(backend: Backend) -> &'static [&'static str] {
    match backend {
        Backend::Auto => &["dnf5", "dnf", "yum"],
        Backend::Dnf => &["dnf", "dnf5"],
        Backend::Dnf4 | Backend::Yum4 => &["dnf-3", "dnf"],
        Backend::Dnf5 => &["dnf5"],
        Backend::Yum => &["yum"],
    }
}

fn result(changed: bool, said: &str) -> ModuleResult {
    let msg = if said == "Nothing to do" { said } else { "" };
    ModuleResult::changed(changed)
        .with("msg", msg)
        .with("rc", 0)
        .with("results", said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>())
}

fn is_absent(args: &DnfArgs) -> bool {
    matches!(args.state, Some(State::Absent | State::Removed))
}

/// The database of rpm can tell for plain names below `/`; for the rest dnf has to.
fn needs_look(args: &DnfArgs) -> bool {
    let is_plain = |name: &String| !name.contains(['@', '*', '?', '/', ':', '=', '<', '>']);
    args.state != Some(State::Latest)
        && args.installroot == "/"
        && !args.name.is_empty()
        && args.name.iter().all(is_plain)
}

/// Names that rpm does not have; for removal, those that it has.
fn not_installed(args: &DnfArgs, cx: &ModuleContext<'_>) -> Result<Vec<String>, ModuleError> {
    let program = Program::new("rpm").plain().args(["-q", "--whatprovides", "--"]).args(args.name.iter());
    let ended = program.run(cx)?;
    ended.not_stopped(&program)?;
    Ok(filtered(&args.name, &ended.stdout.text(), is_absent(args)))
}

/// rpm answers `no package provides NAME` for each name it does not have.
fn filtered(names: &[String], answer: &str, wants_installed: bool) -> Vec<String> {
    let is_missing = |name: &&String| answer.lines().any(|line| line.trim() == format!("no package provides {name}"));
    names.iter().filter(|name| is_missing(name) != wants_installed).cloned().collect()
}

/// The arguments of dnf; none if there is nothing to do.
fn command(args: &DnfArgs, names: &[String]) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for (option, values) in
        [("enablerepo", &args.enablerepo), ("disablerepo", &args.disablerepo), ("exclude", &args.exclude)]
    {
        if !values.is_empty() {
            out.push(format!("--{option}={}", values.join(",")));
        }
    }
    let flags = [
        (args.disable_gpg_check, "--nogpgcheck"),
        (args.allowerasing, "--allowerasing"),
        (args.skip_broken, "--skip-broken"),
        (!args.install_weak_deps, "--setopt=install_weak_deps=False"),
    ];
    out.extend(flags.into_iter().filter(|(is_on, _)| *is_on).map(|(_, flag)| flag.to_owned()));
    if args.installroot != "/" {
        out.push(format!("--installroot={}", args.installroot));
    }
    out.extend(args.releasever.as_ref().map(|version| format!("--releasever={version}")));
    if args.name.is_empty() {
        out.push("autoremove".into());
        return args.autoremove.then_some(out);
    }
    let verb = match args.state {
        Some(State::Absent | State::Removed) if args.autoremove => "autoremove",
        Some(State::Absent | State::Removed) => "remove",
        Some(State::Latest) if args.update_only || *args.name == ["*"] => "upgrade",
        _ if args.allow_downgrade => "downgrade",
        _ => "install",
    };
    out.push(verb.into());
    if *args.name != ["*"] {
        if names.is_empty() {
            return None;
        }
        out.push("--".into());
        out.extend(names.iter().cloned());
        // `install` leaves old versions alone; `--best` takes the newest.
        if args.state == Some(State::Latest) && verb == "install" {
            out.insert(0, "--best".into());
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustle_protocol::Value;
    use serde_json::json;

    fn args(args: serde_json::Value) -> DnfArgs {
        crate::module::args::parse("dnf", Value::from(args).as_map().unwrap().clone()).unwrap()
    }

    fn commanded(json: serde_json::Value) -> String {
        let args = args(json);
        command(&args, &args.name).map(|command| command.join(" ")).unwrap_or_default()
    }

    #[test]
    fn arguments_become_dnfs() {
        assert_eq!(commanded(json!({"name": "a,b"})), "install -- a b");
        assert_eq!(commanded(json!({"name": "a", "state": "latest"})), "--best install -- a");
        assert_eq!(commanded(json!({"name": "*", "state": "latest"})), "upgrade");
        assert_eq!(commanded(json!({"name": "a", "state": "removed", "autoremove": true})), "autoremove -- a");
        assert_eq!(
            commanded(json!({"name": "a", "enablerepo": "x,y", "disable_gpg_check": true})),
            "--enablerepo=x,y --nogpgcheck install -- a"
        );
        assert_eq!(
            (commanded(json!({})), commanded(json!({"autoremove": true}))),
            (String::new(), "autoremove".into())
        );
    }

    #[test]
    fn rpm_tells_what_is_missing() {
        let names = ["a".to_owned(), "b".to_owned()];
        let answer = "a-1.0-1.x86_64\nno package provides b\n";
        assert_eq!(filtered(&names, answer, false), ["b"]);
        assert_eq!(filtered(&names, answer, true), ["a"]);
    }

    #[test]
    fn rpm_is_not_asked_about_groups_and_patterns() {
        assert!(needs_look(&args(json!({"name": "a"}))));
        for name in ["@base", "a*", "/tmp/x.rpm", "a >= 1"] {
            assert!(!needs_look(&args(json!({"name": name}))), "{name}");
        }
    }
}
