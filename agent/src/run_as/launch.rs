//! How the helper is started: by the agent itself, or through sudo, su or runuser.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::geteuid;
use rustle_protocol::helper::Account;
use rustle_protocol::message::{Become, BecomeMethod};

use super::prompt::Question;
use super::{HELPER_ARGUMENT, helper};
use crate::module::ModuleError;
use crate::process::{find_program, words};

/// What sudo gives tasks where nobody has configured another.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of the agent that tell of this host and not of the agent: they are kept, as sudo keeps them.
const KEPT_VARIABLES: [&str; 5] = ["LANG", "LANGUAGE", "TERM", "TZ", "COLORTERM"];

/// A helper to start.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) command: Command,
    /// Nobody on the way changes the user: the helper has to.
    pub(super) switch: bool,
    /// For messages.
    pub(super) method: BecomeMethod,
    /// What may be asked on the way.
    pub(super) question: Question,
    /// How long they on the way may take to ask, and again to begin.
    pub(super) wait: Duration,
}

/// How long sudo and su may take to start the helper, and how long again once they have a password: a PAM that asks a slow
/// directory, or waits a while after a wrong password, and is no longer than that.
const READY_WAIT: Duration = Duration::from_secs(30);

/// No task may hold its host longer than that for a password, whatever it says.
const READY_WAIT_MAX: Duration = Duration::from_secs(3600);

/// # Errors
/// This agent cannot become anybody, or not in this way.
pub(super) fn launch(wanted: &Become, account: &Account) -> Result<Launch, ModuleError> {
    let method = method(wanted)?;
    let mut command = match method {
        // The very file this process runs, even if it was replaced meanwhile.
        BecomeMethod::Direct => Command::new("/proc/self/exe"),
        _ => Command::new(program(method, wanted)?),
    };
    let question = question(method, wanted);
    command.args(arguments(method, wanted, &question, &account.name, &helper::program()?)?);
    command.env_clear().envs(environment(account)).process_group(0);
    if let Some(folder) = &wanted.chdir {
        command.current_dir(entered(folder, &account.name)?);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let wait = match wanted.wait_ms {
        0 => READY_WAIT,
        wait => Duration::from_millis(wait).min(READY_WAIT_MAX),
    };
    Ok(Launch { command, switch: method == BecomeMethod::Direct, method, question, wait })
}

/// The folder, if it is one that this process may enter: what a start fails of says nothing of its folder.
fn entered<'a>(folder: &'a str, user: &str) -> Result<&'a Path, ModuleError> {
    let path = Path::new(folder);
    let refused = access(path, Access::EXEC_OK).err();
    let refused = refused.or_else(|| (!path.is_dir()).then_some(rustix::io::Errno::NOTDIR));
    match refused {
        None => Ok(path),
        Some(error) => Err(ModuleError::new(format!("cannot become `{user}`: cd {folder}: {error}"))),
    }
}

/// Without a password sudo is told to ask nothing. What su asks depends on its language.
fn question(method: BecomeMethod, wanted: &Become) -> Question {
    match method {
        BecomeMethod::Sudo if wanted.password.is_some() => Question::unmistakable(),
        BecomeMethod::Su if !wanted.prompts.is_empty() => Question::OneOf(wanted.prompts.clone()),
        _ => Question::Any,
    }
}

/// Root needs nobody's leave; only a task that says how sudo is to be called gets sudo all the same.
fn method(wanted: &Become) -> Result<BecomeMethod, ModuleError> {
    let is_root = geteuid().is_root();
    let is_plain = wanted.flags.is_none() && wanted.exe.is_none();
    match wanted.method {
        BecomeMethod::Sudo if is_root && is_plain => Ok(BecomeMethod::Direct),
        method @ (BecomeMethod::Sudo | BecomeMethod::Su) => Ok(method),
        method if is_root => Ok(method),
        method => Err(ModuleError::new(format!(
            "cannot become `{}` by {}: that needs an agent that runs as root, and this one runs as uid {}; use sudo or su",
            wanted.user,
            method.as_str(),
            geteuid().as_raw(),
        ))),
    }
}

fn program(method: BecomeMethod, wanted: &Become) -> Result<PathBuf, ModuleError> {
    let name = wanted.exe.as_deref().unwrap_or(method.as_str());
    find_program(name, None)
        .ok_or_else(|| ModuleError::new(format!("cannot become `{}`: this host has no program `{name}`", wanted.user)))
}

fn arguments(
    method: BecomeMethod,
    wanted: &Become,
    question: &Question,
    user: &str,
    helper: &OsStr,
) -> Result<Vec<OsString>, ModuleError> {
    let flags = flags(method, wanted, question)?;
    let mut arguments: Vec<OsString> = flags.into_iter().map(Into::into).collect();
    match method {
        BecomeMethod::Direct => {}
        BecomeMethod::Sudo | BecomeMethod::Runuser => {
            arguments.extend(["-u", user, "--"].map(OsString::from));
            arguments.push(helper.to_owned());
        }
        BecomeMethod::Su => {
            let line = format!("exec {} {HELPER_ARGUMENT}", words::quote(&helper.to_string_lossy()));
            arguments.extend([user, "-c", &line].map(OsString::from));
            return Ok(arguments);
        }
    }
    arguments.push(HELPER_ARGUMENT.into());
    Ok(arguments)
}

/// As Ansible has them. sudo asks in words that it is given, on the pipe; or, where nobody has an answer, not at all.
fn flags(method: BecomeMethod, wanted: &Become, question: &Question) -> Result<Vec<String>, ModuleError> {
    let given = wanted.flags.as_deref().map(words::split).transpose();
    let given = given.map_err(|error| ModuleError::new(format!("become_flags cannot be split into words: {error}")))?;
    if method != BecomeMethod::Sudo {
        return Ok(given.unwrap_or_default());
    }
    let mut flags = given.unwrap_or_else(|| vec!["-H".to_owned(), "-S".to_owned()]);
    match question {
        Question::Exactly(words) => {
            flags = flags.iter().filter_map(|flag| interactive(flag)).collect();
            flags.extend(["-S".to_owned(), "-p".to_owned(), words.clone()]);
        }
        Question::OneOf(_) | Question::Any => flags.push("-n".to_owned()),
    }
    Ok(flags)
}

/// The flag without a wish to be asked nothing: `-n`, also as `-Hn`, and its long name. `None` if nothing is left of it.
fn interactive(flag: &str) -> Option<String> {
    /// Flags of sudo that take no value, and so may stand in one word.
    const LETTERS: &str = "AbBEHiKknNPSsv";
    match flag.strip_prefix('-') {
        Some("-non-interactive") => None,
        Some(letters) if !letters.is_empty() && letters.chars().all(|letter| LETTERS.contains(letter)) => {
            let rest = letters.replace('n', "");
            (!rest.is_empty()).then(|| format!("-{rest}"))
        }
        _ => Some(flag.to_owned()),
    }
}

fn environment(account: &Account) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsStr| {
        let name = name.to_string_lossy();
        KEPT_VARIABLES.contains(&&*name) || name.starts_with("LC_")
    };
    let mut environment: Vec<_> = std::env::vars_os().filter(|(name, _)| is_kept(name)).collect();
    let Account { name, home, shell, .. } = account;
    let shell = if shell.is_empty() { "/bin/sh" } else { shell };
    let own = [("PATH", PATH), ("HOME", home), ("USER", name), ("LOGNAME", name), ("SHELL", shell)];
    environment.extend(own.map(|(name, value)| (name.into(), value.into())));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: BecomeMethod, flags: Option<&str>) -> Become {
        Become {
            user: "app".into(),
            method,
            flags: flags.map(str::to_owned),
            exe: None,
            chdir: None,
            password: None,
            prompts: Vec::new(),
            wait_ms: 0,
        }
    }

    fn line(method: BecomeMethod, flags: Option<&str>, question: &Question) -> String {
        let wanted = wanted(method, flags);
        let arguments = arguments(method, &wanted, question, "app", OsStr::new("/opt/my agent")).unwrap();
        words::join(&arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_method_is_called_as_ansible_calls_it_and_sudo_asks_nothing_if_there_is_no_password() {
        use BecomeMethod::{Direct, Runuser, Su, Sudo};
        for (method, flags, expected) in [
            (Direct, None, "run-as-helper"),
            (Sudo, None, "-H -S -n -u app -- '/opt/my agent' run-as-helper"),
            (Sudo, Some("-i"), "-i -n -u app -- '/opt/my agent' run-as-helper"),
            (Runuser, None, "-u app -- '/opt/my agent' run-as-helper"),
            (Su, Some("-s /bin/sh"), r#"-s /bin/sh app -c 'exec '"'"'/opt/my agent'"'"' run-as-helper'"#),
        ] {
            assert_eq!(line(method, flags, &Question::Any), expected, "{method:?}");
        }
    }

    #[test]
    fn with_a_password_sudo_asks_in_words_of_ours_and_on_the_pipe() {
        for (flags, expected) in [
            (None, "-H -S -S -p 'say it:' -u app -- '/opt/my agent' run-as-helper"),
            (Some("-Hn -n"), "-H -S -p 'say it:' -u app -- '/opt/my agent' run-as-helper"),
            (
                Some("--set-home --non-interactive -g ng"),
                "--set-home -g ng -S -p 'say it:' -u app -- '/opt/my agent' run-as-helper",
            ),
        ] {
            assert_eq!(line(BecomeMethod::Sudo, flags, &Question::Exactly("say it:".into())), expected);
        }
    }

    #[test]
    fn flags_that_are_no_words_are_refused() {
        let wanted = wanted(BecomeMethod::Sudo, Some("-g 'x"));
        let error = flags(BecomeMethod::Sudo, &wanted, &Question::Any).unwrap_err();
        assert_eq!(error.to_string(), "become_flags cannot be split into words: No closing quotation");
    }

    #[test]
    fn the_environment_is_the_users_and_holds_nothing_of_the_agents() {
        let account = Account {
            name: "app".into(),
            uid: 1,
            gid: 1,
            groups: vec![1],
            home: "/home/app".into(),
            shell: String::new(),
        };
        let environment = environment(&account);
        let get = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_str().unwrap());
        assert_eq!((get("HOME"), get("USER"), get("SHELL")), (Some("/home/app"), Some("app"), Some("/bin/sh")));
        assert_eq!(get("CARGO"), None, "of the test's own, say");
    }
}
