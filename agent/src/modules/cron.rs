//! `cron`: jobs and variables in a user's crontab or a file of `/etc/cron.d`, found again by a comment above them.

mod tab;

use std::io::Write;
use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;
use rustle_protocol::result::Diff;

use self::tab::{Place, Tab};
use crate::module::args::Choice;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::process::{Program, errno_text};
use crate::{arguments, choices};

arguments! {
    pub(crate) struct CronArgs {
        /// The job's name, in the comment above it; or the variable's.
        name: String,
        /// The command, or the variable's value.
        job | "value": Option<String>,
        /// Whether it is to be there.
        state: State = State::Present,
        /// It is a variable.
        env: bool = false,
        /// Whose crontab; in a file of `/etc/cron.d`, who runs the job.
        user: Option<String>,
        /// A file in `/etc/cron.d`, or an absolute path, instead of a crontab.
        cron_file: Option<PathBuf>,
        /// Keep a copy of what was there before.
        backup: bool = false,
        /// Put a new variable after this one.
        insertafter: Option<String>,
        /// Put a new variable before this one.
        insertbefore: Option<String>,
        /// Minute of the hour: 0 to 59, `*`, `*/2` and so on.
        minute: String = "*".into(),
        /// Hour of the day: 0 to 23.
        hour: String = "*".into(),
        /// Day of the month: 1 to 31.
        day | "dom": String = "*".into(),
        /// Month: 1 to 12.
        month: String = "*".into(),
        /// Day of the week: 0 (Sunday) to 6.
        weekday | "dow": String = "*".into(),
        /// A nickname instead of the five fields.
        special_time: Option<SpecialTime>,
        /// Leave the job there as a comment.
        disabled: bool = false,
    }
}

choices! {
    pub(crate) enum State { Present = "present", Absent = "absent" }
}

choices! {
    pub(crate) enum SpecialTime {
        Reboot = "reboot",
        Yearly = "yearly",
        Annually = "annually",
        Monthly = "monthly",
        Weekly = "weekly",
        Daily = "daily",
        Hourly = "hourly",
    }
}

/// The system's own table, which is no file of jobs that others may write into.
const SYSTEM_TAB: &str = "/etc/crontab";

pub(super) struct Cron;

impl Module for Cron {
    type Args = CronArgs;

    const NAME: &'static str = "ansible.builtin.cron";
    const SUMMARY: &'static str = "Keeps jobs and variables in crontabs.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["insertafter", "insertbefore"]];

    fn check_args(args: &CronArgs) -> Result<(), ArgError> {
        let is_present = args.state == State::Present;
        let fields = [&args.minute, &args.hour, &args.day, &args.month, &args.weekday];
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let rule = match () {
            () if args.special_time.is_some() && fields.iter().any(|field| *field != "*") => {
                "You cannot combine special_time with any of the time or day/date parameters."
            }
            () if args.cron_file.as_deref() == Some(Path::new(SYSTEM_TAB)) => {
                "Will not manage /etc/crontab via cron_file, see documentation."
            }
            () if args.cron_file.is_some() && args.user.is_none() && is_present => {
                "To use cron_file=... parameter you must specify user=... as well"
            }
            () if args.job.is_none() && is_present => "You must specify 'job' to install a new cron job or variable",
            () if (args.insertafter.is_some() || args.insertbefore.is_some()) && !(args.env && is_present) => {
                "Insertafter and insertbefore parameters are valid only with env=yes"
            }
            () if args.env && (args.name.contains([' ', '=', '\n']) || args.name.is_empty()) => {
                "Invalid name for environment variable"
            }
            () if args.name.contains('\n') || text(&args.user).contains([' ', '\n']) => {
                "'name' and 'user' must not contain line breaks, nor 'user' blanks: they go into a crontab"
            }
            () if fields.iter().any(|field| field.contains(char::is_whitespace) || field.is_empty()) => {
                "'minute', 'hour', 'day', 'month' and 'weekday' must not be empty and must not contain blanks"
            }
            () => return Ok(()),
        };
        Err(ArgError::Rule(rule.to_owned()))
    }

    fn run(&self, args: CronArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let store = Store::of(&args);
        let before = store.read(cx)?;
        let mut tab = Tab::parse(&before);
        edit(&mut tab, &args)?;
        let changed = tab.text() != Tab::parse(&before).text();
        let mut result = ModuleResult::changed(changed).with("jobs", tab.jobs()).with("envs", tab.variables());
        result.warnings = warnings(&args);
        if changed && cx.diff {
            result.diff.push(diff(&store, &before, &tab.text()));
        }
        if changed && !cx.check {
            if args.backup {
                result.set("backup_file", back_up(&before)?);
            }
            store.write(&tab.text(), cx)?;
        }
        // A file without a job left in it is gone, and is told of shortly.
        let is_last = !args.env && args.state == State::Absent && tab.text().is_empty();
        if let Some(path) = args.cron_file.as_ref().filter(|_| changed && is_last) {
            if !cx.check {
                std::fs::remove_file(store_path(path)).doing(|| format!("delete {}", path.display()))?;
            }
            for name in ["jobs", "envs"] {
                result.values_mut().shift_remove(name);
            }
            result.set("state", "absent");
        }
        if let Some(path) = &args.cron_file {
            result.set("cron_file", path.display().to_string());
        }
        Ok(result)
    }
}

/// What cron will not take as it is meant.
fn warnings(args: &CronArgs) -> Vec<String> {
    let broken = args.job.as_deref().is_some_and(|job| job.contains(['\n', '\r']));
    let broken = broken.then(|| "Job should not contain line breaks".to_owned());
    // cron passes over files that are called otherwise.
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let name = args.cron_file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let odd = name.filter(|name| !is_plain(name)).map(|name| {
        format!(
            "Filename portion of cron_file (\"{name}\") should consist solely of upper- and lower-case letters, digits, \
             underscores, and hyphens"
        )
    });
    broken.into_iter().chain(odd).collect()
}

/// Makes the tab say what is wanted.
fn edit(tab: &mut Tab, args: &CronArgs) -> Result<(), ModuleError> {
    let job = args.job.as_deref().unwrap_or_default().trim_matches(['\r', '\n']);
    match (args.env, args.state) {
        (true, State::Absent) => tab.remove_variable(&args.name),
        (true, State::Present) => {
            let place = match (&args.insertafter, &args.insertbefore) {
                (Some(name), _) => Place::After(name),
                (None, Some(name)) => Place::Before(name),
                (None, None) => Place::First,
            };
            let missing = |name| ModuleError::new(format!("Variable named '{name}' not found."));
            tab.set_variable(&args.name, job, place).map_err(missing)?;
        }
        (false, State::Absent) => tab.remove_job(&args.name),
        (false, State::Present) => tab.set_job(&args.name, &line(args, job)),
    }
    Ok(())
}

fn line(args: &CronArgs, job: &str) -> String {
    let time = match args.special_time {
        Some(time) => format!("@{}", time.spelling()),
        None => [&args.minute, &args.hour, &args.day, &args.month, &args.weekday].map(String::as_str).join(" "),
    };
    let comment = if args.disabled { "#" } else { "" };
    match args.user.as_deref().filter(|_| args.cron_file.is_some()) {
        Some(user) => format!("{comment}{time} {user} {job}"),
        None => format!("{comment}{time} {job}"),
    }
}

fn diff(store: &Store, before: &str, after: &str) -> Diff {
    let header = match store {
        Store::File(path) => path.display().to_string(),
        Store::Crontab(Some(user)) => format!("crontab for user \"{user}\""),
        Store::Crontab(None) => "crontab".to_owned(),
    };
    Diff { before: before.into(), after: after.into(), before_header: Some(header.clone()), after_header: Some(header) }
}

/// In a private file that stays, as Ansible leaves it.
fn back_up(text: &str) -> Result<String, ModuleError> {
    let what = || "back up the crontab".to_owned();
    let mut file = tempfile::Builder::new().prefix("crontab").tempfile().doing(what)?;
    file.write_all(text.as_bytes()).doing(what)?;
    let (_, path) = file.keep().doing(what)?;
    Ok(path.display().to_string())
}

/// A file of jobs that is named without a folder lies where cron looks for them.
fn store_path(name: &Path) -> PathBuf {
    Path::new("/etc/cron.d").join(name)
}

/// Where the lines are kept.
enum Store {
    File(PathBuf),
    /// Read and written by `crontab`, for this user or the one named.
    Crontab(Option<String>),
}

impl Store {
    fn of(args: &CronArgs) -> Store {
        match &args.cron_file {
            Some(path) => Store::File(store_path(path)),
            None => Store::Crontab(args.user.clone()),
        }
    }

    /// What is there; nothing if there is no such file or crontab.
    fn read(&self, cx: &ModuleContext<'_>) -> Result<String, ModuleError> {
        match self {
            Store::File(path) => match std::fs::read_to_string(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                other => other.doing(|| format!("read {}", path.display())),
            },
            Store::Crontab(_) => {
                let program = self.crontab().arg("-l").plain();
                let ended = program.run(cx)?;
                ended.not_stopped(&program)?;
                match ended.rc {
                    0 if ended.stdout.cut > 0 => Err(ModuleError::new("the crontab is too large to be edited")),
                    0 => String::from_utf8(ended.stdout.bytes).doing(|| "read the crontab".to_owned()),
                    1 if ended.stderr.text().contains("no crontab for") => Ok(String::new()),
                    // Other crons say it in other words, and mean it by return code 1 without output.
                    1 if ended.stdout.bytes.is_empty() => Ok(String::new()),
                    _ => Err(ended.into_error(&program)),
                }
            }
        }
    }

    fn crontab(&self) -> Program {
        match self {
            Store::Crontab(Some(user)) => Program::new("crontab").arg("-u").arg(user),
            _ => Program::new("crontab"),
        }
    }

    fn write(&self, text: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
        match self {
            Store::File(path) => write_file(path, text).map_err(|error| match error.raw_os_error() {
                Some(_) => ModuleError::broke_off(errno_text(&error, &path.display().to_string())),
                None => ModuleError::new(format!("failed to write {}: {error}", path.display())),
            }),
            Store::Crontab(_) => install(&self.crontab().arg("-").plain().stdin(text), cx),
        }
    }
}

/// What `crontab` refuses stays as it was.
fn install(crontab: &Program, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let ended = crontab.run(cx)?;
    ended.not_stopped(crontab)?;
    if ended.rc == 0 {
        return Ok(());
    }
    Err(ModuleError::new("Failed to install new cronfile: -")
        .with("rc", ended.rc)
        .with("stdout", ended.stdout.into_value())
        .with("stderr", ended.stderr.into_value()))
}

/// Whole or not at all, with the mode of the old file or 0644: cron passes over a file that others may write.
fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // A link is followed, so that the file it points to is replaced and not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = std::fs::metadata(&path).map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
    let dir = path.parent().unwrap_or(Path::new("/"));
    // A folder that is not there is told as the system says it.
    std::fs::metadata(dir)?;
    // A name with a dot in it is passed over by cron while the file is incomplete.
    let mut file = tempfile::Builder::new().prefix(".rustle.").tempfile_in(dir)?;
    file.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn run_in(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&Cron, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
    }

    fn msg(args: serde_json::Value) -> String {
        run_in(&Surroundings::checking(), args).msg().to_owned()
    }

    #[test]
    fn jobs_in_a_file_are_written_once_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let file = path.to_str().unwrap();
        let surroundings = Surroundings::new();
        let run = |args| run_in(&surroundings, args);
        let args = json!({"name": "x", "job": "echo", "cron_file": file, "user": "root", "minute": "*/5"});
        let first = run(args.clone());
        assert!(first.changed && !first.failed, "{first:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#Ansible: x\n*/5 * * * * root echo\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        assert!(!run(args).changed);
        let second = run(json!({"name": "y", "job": "b", "cron_file": file, "user": "me", "special_time": "daily",
            "disabled": true, "backup": true}));
        assert_eq!(second.get("jobs"), Some(&Value::from(json!(["x", "y"]))));
        let backup = second.get("backup_file").unwrap().as_str().unwrap();
        assert_eq!(std::fs::read_to_string(backup).unwrap(), "#Ansible: x\n*/5 * * * * root echo\n");
        std::fs::remove_file(backup).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("#Ansible: y\n#@daily me b\n"));
        assert!(run(json!({"name": "x", "cron_file": file, "state": "absent"})).changed);
        assert!(!run(json!({"name": "x", "cron_file": file, "state": "absent"})).changed);
        assert!(run(json!({"name": "y", "cron_file": file, "state": "absent"})).changed);
        assert!(!path.exists(), "a file with nothing in it goes away");
    }

    #[test]
    fn check_mode_shows_the_difference_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs");
        let args = json!({"name": "x", "job": "echo", "cron_file": path.to_str().unwrap(), "user": "root"});
        let result = run_in(&Surroundings::checking(), args);
        assert!(result.changed && !path.exists());
        assert_eq!(
            (&result.diff[0].before, &result.diff[0].after),
            (&"".into(), &"#Ansible: x\n* * * * * root echo\n".into())
        );
        assert_eq!(result.diff[0].after_header.as_deref(), path.to_str());
    }

    #[test]
    fn a_crontab_is_read_and_written_by_its_own_tool() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("crontab");
        let script = "#!/bin/sh\ncd ${0%/*}\ncase $3$1 in -l*) cat tab 2>/dev/null || { echo no crontab for me >&2; exit 1; } ;;\n\
            -r*) rm tab ;; *) cat > tab ;; esac\necho \"$@\" >> log\n";
        std::fs::write(&tool, script).unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let surroundings = Surroundings::new().with_env("PATH", &path);
        let args = json!({"name": "x", "job": "echo", "user": "me"});
        assert!(run_in(&surroundings, args.clone()).changed);
        assert!(!run_in(&surroundings, args).changed);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("tab"), "#Ansible: x\n* * * * * echo\n");
        assert!(run_in(&surroundings, json!({"name": "x", "user": "me", "state": "absent"})).changed);
        assert_eq!(read("log"), "-u me -\n-u me -l\n-u me -l\n-u me -\n");
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused_as_ansible_does() {
        assert_eq!(
            msg(json!({"name": "x", "special_time": "daily", "hour": 3, "job": "a"})),
            "You cannot combine special_time with any of the time or day/date parameters."
        );
        assert_eq!(
            msg(json!({"name": "x", "job": "a", "cron_file": "f"})),
            "To use cron_file=... parameter you must specify user=... as well"
        );
        assert_eq!(msg(json!({"name": "x"})), "You must specify 'job' to install a new cron job or variable");
        assert_eq!(msg(json!({"name": "a b", "env": true, "job": "x"})), "Invalid name for environment variable");
        assert!(msg(json!({"name": "a\nb", "job": "x"})).contains("line breaks"));
        assert!(msg(json!({"name": "a", "job": "x", "minute": "1 2"})).contains("blanks"));
    }
}
