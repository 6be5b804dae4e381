//! `apt`: packages of Debian and its relatives.

mod available;
mod cache;
mod deb;
mod plan;

use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;

use self::cache::Cache;
use self::plan::{Outcome, Work, plan};
use crate::module::args::Names;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::packages::dpkg::Database;
use crate::process::{Program, find_program};
use crate::{arguments, choices};

arguments! {
    pub(crate) struct AptArgs {
        /// Packages: `name`, `name=version`, `name>=version`, patterns.
        package | "name" | "pkg": Names = Names::default(),
        /// What they are to be.
        state: State = State::Present,
        /// Read the package lists anew first.
        update_cache | "update-cache": Option<bool>,
        /// Seconds for which lists are new enough.
        cache_valid_time: u64 = 0,
        /// Tries again after an update of the index failed.
        update_cache_retries: u32 = 5,
        /// Seconds between tries, at most.
        update_cache_retry_max_delay: u64 = 12,
        /// Delete configuration files with a package.
        purge: bool = false,
        /// Delete what was installed for others and is no longer needed.
        autoremove: bool = false,
        /// Delete packages from the cache that can no longer be had.
        autoclean: bool = false,
        /// Delete all packages from the cache.
        clean: bool = false,
        /// Upgrade all packages.
        upgrade: Upgrade = Upgrade::No,
        /// A package file on this host, or the URL of one.
        deb: Option<PathBuf>,
        /// The release to take packages from.
        default_release | "default-release": Option<String>,
        /// Install recommended packages; by default as apt is set up.
        install_recommends | "install-recommends": Option<bool>,
        /// Upgrade only, install nothing new.
        only_upgrade: bool = false,
        /// Fail rather than remove anything.
        fail_on_autoremove: bool = false,
        /// The three that follow, and the removal of essential packages; a `deb` is installed again if it is there.
        force: bool = false,
        /// Take packages whose origin cannot be verified.
        allow_unauthenticated | "allow-unauthenticated": bool = false,
        /// Take an older version than the installed one.
        allow_downgrade | "allow-downgrade" | "allow_downgrades" | "allow-downgrades": bool = false,
        /// Change packages that are on hold.
        allow_change_held_packages: bool = false,
        /// Options of dpkg, without their dashes.
        dpkg_options: Vec<String> = vec!["force-confdef".into(), "force-confold".into()],
        /// Seconds to wait for another program that holds the lock.
        lock_timeout: u64 = 60,
        /// What `policy-rc.d` answers while packages are set up: 101 keeps services from starting.
        policy_rc_d: Option<i64>,
        /// Accepted: it is always apt-get.
        force_apt_get: bool = true,
        /// Accepted: nothing is needed.
        auto_install_module_deps: bool = true,
    }
}

choices! {
    pub(crate) enum State {
        Absent = "absent",
        BuildDep = "build-dep",
        Fixed = "fixed",
        Latest = "latest",
        Present = "present",
    }
}

choices! {
    pub(crate) enum Upgrade { Dist = "dist", Full = "full", No = "no", Safe = "safe", Yes = "yes" }
}

pub(super) struct Apt;

impl Module for Apt {
    type Args = AptArgs;

    const NAME: &'static str = "ansible.builtin.apt";
    const SUMMARY: &'static str = "Installs, upgrades and removes packages by apt.";
    const IDEMPOTENT: bool = true;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["deb", "package", "upgrade"]];

    fn check_args(args: &AptArgs) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        match () {
            // A name that begins with a dash would be an option.
            () if args.package.iter().any(|name| name.is_empty() || name.starts_with('-')) => {
                rule("a package's name must not be empty and must not begin with a dash")
            }
            () => Ok(()),
        }
    }

    fn run(&self, args: AptArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let _ = (args.force_apt_get, args.auto_install_module_deps);
        run_below(Path::new("/"), &args, cx)
    }
}

/// `root` is where the databases are.
fn run_below(root: &Path, args: &AptArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    if find_program("apt-get", variable_path(cx)).is_none() {
        return Err(ModuleError::new("this host has no apt-get, so apt cannot manage its packages"));
    }
    let mut cache = Cache::of(root);
    let is_updated = cache.update_if_needed(args, cx)?;
    let database = Database::read(root).doing(|| "read dpkg's database".to_owned())?;
    let file = deb::File::of(args, cx)?;
    let works = match &file {
        Some(file) => file.work(args, &database, cx)?,
        None => plan(&available::expanded(args, &database, cx)?, &database),
    };
    let mut result = run_all(&works, args, cx)?;
    let only_lists = args.package.is_empty() && args.deb.is_none() && args.upgrade == Upgrade::No;
    result.changed |= only_lists && is_updated;
    if args.clean {
        if !cx.check {
            apt_get(args).arg("clean").run_checked(cx)?;
        }
        result.changed |= only_lists;
    }
    if Told::of(args) == Told::Lists {
        result.set("cache_updated", is_updated);
        result.set("cache_update_time", cache.updated_at());
    }
    Ok(result)
}

/// What Ansible's result says besides whether something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// How old the package lists are, and what apt-get printed if it changed something.
    Lists,
    /// What apt-get printed, if it ran.
    Output,
    /// The same as a message, too.
    Message,
}

impl Told {
    fn of(args: &AptArgs) -> Told {
        let is_bare = args.package.is_empty() && args.update_cache != Some(true);
        match args.state {
            _ if args.upgrade != Upgrade::No || (*args.package == ["*"] && args.state == State::Latest) => {
                Told::Message
            }
            _ if is_bare && args.clean => Told::Message,
            _ if args.deb.is_some() || (is_bare && (args.autoremove || args.autoclean)) => Told::Output,
            State::Absent if !args.package.is_empty() => Told::Output,
            _ => Told::Lists,
        }
    }
}

fn variable_path<'a>(cx: &ModuleContext<'a>) -> Option<&'a std::ffi::OsStr> {
    cx.environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, path)| std::ffi::OsStr::new(path))
}

fn run_all(works: &[Work], args: &AptArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
    let mut result = ModuleResult::ok();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for work in works {
        let mut program = apt_get(args);
        if cx.check {
            program = program.arg("--simulate");
        }
        let program = program.args(&work.arguments);
        let _policy = args.policy_rc_d.filter(|_| !cx.check).map(PolicyRcD::answer).transpose()?;
        let ended = program.live().run_checked(cx).map_err(|error| explained(error, work))?;
        let outcome = Outcome::of(&ended.stdout.text());
        result.changed |= outcome.has_changes;
        result.warnings.extend(ended.warnings);
        stdout.push_str(&ended.stdout.text());
        stderr.push_str(&ended.stderr.text());
    }
    let is_told = match Told::of(args) {
        Told::Lists => result.changed,
        Told::Output => !works.is_empty() || args.deb.is_some(),
        Told::Message => {
            result.set("msg", stdout.as_str());
            true
        }
    };
    if is_told {
        result.set("stdout", stdout);
        result.set("stderr", stderr);
    }
    Ok(result)
}

/// Turns apt's words for a package that is nowhere to be had into Ansible's.
fn explained(error: ModuleError, work: &Work) -> ModuleError {
    let result = error.into_result();
    let stderr = result.get("stderr").map(crate::module::shown).unwrap_or_default();
    let missing = ["Unable to locate package ", "Package '"].iter().find_map(|words| {
        let rest = &stderr[stderr.find(words)? + words.len()..];
        let name: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '\'').collect();
        let is_gone = *words != "Package '" || rest.contains("has no installation candidate");
        is_gone.then_some(name)
    });
    let unavailable = stderr.lines().find_map(|line| {
        let (version, rest) = line.strip_prefix("E: Version '")?.split_once("' for '")?;
        Some(format!("no available installation candidate for {}={version}", rest.split_once("' was not found")?.0))
    });
    let msg = match (missing, unavailable) {
        (Some(name), _) => format!("No package matching '{name}' is available"),
        (None, Some(why)) => why,
        (None, None) => format!("'apt-get {}' failed: {}", work.arguments.join(" "), stderr.trim()),
    };
    let mut result = result;
    result.set("msg", msg);
    result.into()
}

/// `apt-get` that asks no questions and waits for its lock.
fn apt_get(args: &AptArgs) -> Program {
    let mut program = Program::new("apt-get").plain();
    for (name, value) in
        [("DEBIAN_FRONTEND", "noninteractive"), ("DEBIAN_PRIORITY", "critical"), ("APT_LISTCHANGES_FRONTEND", "none")]
    {
        program = program.env(name, value);
    }
    program.args(["-y", "-o", &format!("DPkg::Lock::Timeout={}", args.lock_timeout)])
}

/// A `policy-rc.d` of ours while it lives; the one before comes back.
struct PolicyRcD {
    before: Option<PathBuf>,
}

const POLICY_RC_D: &str = "/usr/sbin/policy-rc.d";

impl PolicyRcD {
    fn answer(code: i64) -> Result<PolicyRcD, ModuleError> {
        use std::os::unix::fs::PermissionsExt;
        let path = Path::new(POLICY_RC_D);
        let kept = PathBuf::from(format!("{POLICY_RC_D}.rustle-kept"));
        let before = path.exists().then_some(kept);
        if let Some(kept) = &before {
            std::fs::rename(path, kept).doing(|| format!("put {POLICY_RC_D} aside"))?;
        }
        let policy = PolicyRcD { before };
        std::fs::write(path, format!("#!/bin/sh\nexit {code}\n"))
            .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)))
            .doing(|| format!("write {POLICY_RC_D}"))?;
        Ok(policy)
    }
}

impl Drop for PolicyRcD {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some(kept) => std::fs::rename(kept, POLICY_RC_D),
            None => std::fs::remove_file(POLICY_RC_D),
        };
        if let Err(error) = restored {
            tracing::warn!(%error, "failed to restore {POLICY_RC_D}");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    /// A root with one package installed, and an `apt-get` that logs its arguments and says what it is told to say.
    fn pretend(says: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/apt/lists")).unwrap();
        let status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n";
        std::fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
        std::fs::write(root.path().join("log"), "").unwrap();
        let tool = root.path().join("apt-get");
        let script = format!("#!/bin/sh\ncd ${{0%/*}}\necho $DEBIAN_FRONTEND \"$@\" >> log\n{says}\n");
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        root
    }

    fn run(root: &tempfile::TempDir, check: bool, args: serde_json::Value) -> ModuleResult {
        let args: AptArgs = parse("apt", Value::from(args).as_map().unwrap().clone()).unwrap();
        let path = format!("{}:/usr/bin:/bin", root.path().display());
        let mut surroundings = Surroundings::new().with_env("PATH", &path);
        surroundings.check = check;
        run_below(root.path(), &args, &surroundings.context()).unwrap_or_else(ModuleError::into_result)
    }

    fn log(root: &tempfile::TempDir) -> String {
        std::fs::read_to_string(root.path().join("log")).unwrap()
    }

    const INSTALLS: &str = "echo '0 upgraded, 1 newly installed, 0 to remove and 3 not upgraded.'";

    #[test]
    fn what_is_installed_starts_no_program() {
        let root = pretend("exit 9");
        let result = run(&root, false, json!({"name": ["bash", "bash=5.2", "bash>=5"]}));
        assert!(!result.changed && !result.failed, "{result:?}");
        assert!(!run(&root, false, json!({"name": "zsh", "state": "absent"})).changed);
        assert_eq!(log(&root), "");
        assert_eq!(result.get("cache_updated"), Some(&false.into()));
    }

    #[test]
    fn what_is_missing_is_installed_without_questions() {
        let root = pretend(INSTALLS);
        let result = run(&root, false, json!({"name": "bash,zsh", "install_recommends": false}));
        assert!(result.changed && !result.failed, "{result:?}");
        let line = log(&root);
        assert!(line.starts_with("noninteractive -y -o DPkg::Lock::Timeout=60 "), "{line}");
        assert!(line.contains("-o Dpkg::Options::=--force-confold"), "{line}");
        assert!(line.trim().ends_with("-o APT::Install-Recommends=no install -- zsh"), "{line}");
    }

    /// An `apt-cache` that says this whatever it is asked.
    fn knows(root: &tempfile::TempDir, says: &str) {
        let tool = root.path().join("apt-cache");
        std::fs::write(&tool, format!("#!/bin/sh\nprintf '{says}'\n")).unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_pattern_installs_what_is_missing_and_upgrades_nothing() {
        let root = pretend(INSTALLS);
        knows(&root, "bash\\nbash-doc\\nbasin\\n");
        assert!(run(&root, false, json!({"name": "bash*"})).changed);
        assert!(log(&root).trim().ends_with("install -- bash-doc"), "{}", log(&root));
        let result = run(&root, false, json!({"name": "zz*"}));
        assert_eq!(result.msg(), "No package(s) matching 'zz*' available");
    }

    #[test]
    fn a_lowest_version_is_held_against_what_could_be_had() {
        let root = pretend(INSTALLS);
        knows(&root, "bash:\\n  Installed: 5.2\\n  Candidate: 5.10\\n");
        assert!(!run(&root, false, json!({"name": "bash>=5.1"})).changed);
        assert!(run(&root, false, json!({"name": "bash>=5.9"})).changed);
        assert!(log(&root).trim().ends_with("install -- bash"), "{}", log(&root));
        let result = run(&root, false, json!({"name": "bash>=6"}));
        assert_eq!(result.msg(), "no available installation candidate for bash>=6");
    }

    #[test]
    fn check_mode_simulates() {
        let root = pretend(INSTALLS);
        assert!(run(&root, true, json!({"name": "zsh"})).changed);
        assert!(log(&root).contains(" --simulate ") && log(&root).trim().ends_with("install -- zsh"));
    }

    #[test]
    fn a_package_nobody_has_is_told_in_ansibles_words() {
        let root = pretend("echo 'E: Unable to locate package zzh' >&2; exit 100");
        let result = run(&root, false, json!({"name": "zzh"}));
        assert_eq!((result.failed, result.msg()), (true, "No package matching 'zzh' is available"));
        assert_eq!(result.get("rc"), Some(&Value::Int(100)));
        let root = pretend("echo 'E: dpkg was interrupted' >&2; exit 100");
        assert!(run(&root, false, json!({"name": "zzh"})).msg().ends_with("failed: E: dpkg was interrupted"));
    }

    #[test]
    fn lists_are_updated_unless_they_are_new_enough() {
        let root = pretend("touch var/lib/apt/lists");
        let result = run(&root, false, json!({"update_cache": true, "cache_valid_time": 3600}));
        assert!(!result.changed && log(&root).is_empty(), "{result:?}");
        let result = run(&root, false, json!({"update_cache": true}));
        assert!(result.changed && result.get("cache_updated") == Some(&true.into()), "{result:?}");
        assert!(log(&root).trim().ends_with("update"));
        assert!(!run(&root, true, json!({"name": "bash", "update_cache": true})).changed);
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        let refused = |args: serde_json::Value| {
            crate::module::AnyModule::validate(&Apt, Value::from(args).as_map().unwrap().clone())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(json!({"name": "a", "upgrade": "dist"})),
            "parameters are mutually exclusive: deb|package|upgrade"
        );
        assert!(refused(json!({"name": "--allow-unauthenticated"})).contains("dash"));
    }
}
