//! `user`: a user of the host.

mod decide;
mod home;
mod ssh_key;

use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;

use self::decide::{Step, decide};
use crate::accounts::{Accounts, User as Entry, getent};
use crate::module::args::Choice;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::{arguments, choices};

arguments! {
    pub(crate) struct UserArgs {
        /// The user.
        name | "user": String,
        /// Whether it is to exist.
        state: State = State::Present,
        /// Its number.
        uid: Option<u32>,
        /// Allow a number that another user has.
        non_unique: bool = false,
        /// Its primary group, by name or number.
        group: Option<String>,
        /// Its other groups; an empty list takes it out of all.
        groups: Option<Vec<String>>,
        /// Leave it in the groups it is in besides.
        append: bool = false,
        /// The comment field, often the full name.
        comment: Option<String>,
        /// The home directory.
        home: Option<PathBuf>,
        /// Make the home directory with the user.
        create_home | "createhome": bool = true,
        /// Move the files when the home directory changes.
        move_home: bool = false,
        /// Where the first files of a new home come from.
        skeleton: Option<PathBuf>,
        /// The login shell.
        shell: Option<PathBuf>,
        /// The password's hash.
        password: Option<String>,
        /// Lock or unlock the password.
        password_lock: Option<bool>,
        /// Whether a password is set on users that exist already.
        update_password: UpdatePassword = UpdatePassword::Always,
        /// Days until a password must be changed.
        password_expire_max: Option<i64>,
        /// Days until a password may be changed.
        password_expire_min: Option<i64>,
        /// Days of warning before a password expires.
        password_expire_warn: Option<i64>,
        /// Days from the password's expiry to the account's.
        password_expire_account_disable: Option<i64>,
        /// When the account ends, in seconds after 1970; below 0: never.
        expires: Option<f64>,
        /// Take a number from the system's range.
        system: bool = false,
        /// With `state: absent`, delete home and mail too.
        remove: bool = false,
        /// With `state: absent`, delete even a user who is logged in.
        force: bool = false,
        /// Look and change in the files only, by the tools made for that.
        local: bool = false,
        /// The SELinux user.
        seuser: Option<String>,
        /// The umask of a new home.
        umask: Option<String>,
        /// Lowest number to take.
        uid_min: Option<u32>,
        /// Highest number to take.
        uid_max: Option<u32>,
        /// Make a key pair unless there is one.
        generate_ssh_key: bool = false,
        /// Where, from the home directory on; `.ssh/id_TYPE` by default.
        ssh_key_file: Option<PathBuf>,
        /// Its kind, as `ssh-keygen -t` has it.
        ssh_key_type: String = "rsa".into(),
        /// Its size; `ssh-keygen` decides if this is not given.
        ssh_key_bits: Option<u32>,
        /// Its comment.
        ssh_key_comment: Option<String>,
        /// What it is encrypted with; nothing if this is not given.
        ssh_key_passphrase: Option<String>,
        /// For other systems than Linux.
        authorization: Option<String>,
        /// For macOS.
        hidden: Option<bool>,
        /// For BSD.
        login_class: Option<String>,
        /// For Solaris.
        profile: Option<String>,
        /// For Solaris.
        role: Option<String>,
    }
}

choices! {
    pub(crate) enum State { Absent = "absent", Present = "present" }
}

choices! {
    pub(crate) enum UpdatePassword { Always = "always", OnCreate = "on_create" }
}

impl UserArgs {
    /// Its other groups, without blanks around their names; an empty list takes it out of all.
    fn wanted_groups(&self) -> Option<Vec<String>> {
        let names = |groups: &Vec<String>| groups.iter().map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        self.groups.as_ref().map(|groups| names(groups).into_iter().filter(|name| !name.is_empty()).collect())
    }
}

pub(super) struct User;

impl Module for User {
    type Args = UserArgs;

    const NAME: &'static str = "ansible.builtin.user";
    const SUMMARY: &'static str = "Makes, changes and deletes users.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &UserArgs) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        let password = args.password.as_deref().unwrap_or_default();
        if password.contains([':', '\n', '\r']) {
            return rule("'password' must not contain colons or line breaks: it goes into /etc/shadow");
        }
        // The tools for all accounts look at it themselves.
        if args.local && args.comment.as_deref().unwrap_or_default().contains([':', '\n']) {
            return rule("'comment' must not contain colons or line breaks: it goes into /etc/passwd");
        }
        if args.local && args.umask.is_some() {
            return rule("'umask' can not be used with 'local'");
        }
        // Accepted, so that a playbook may be for several systems: on Linux they mean nothing.
        let _ = (&args.authorization, args.hidden, &args.login_class, &args.profile, &args.role);
        Ok(())
    }

    fn run(&self, args: UserArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let accounts = Accounts::read(Path::new("/")).doing(|| "read /etc/passwd".to_owned())?;
        let current = look_up(&accounts, &args, cx);
        let steps = decide(&args, current.as_ref(), &accounts, now());
        let needs_key = args.generate_ssh_key && args.state == State::Present;
        if cx.check && current.is_none() {
            let mut result = check_result(&args, !steps.is_empty());
            result.warnings = warnings(&args);
            return Ok(result);
        }
        check_groups(&args, &accounts, cx)?;
        if cx.check {
            let needs_home =
                args.state == State::Present && current.as_ref().is_some_and(|entry| home::is_missing(&args, entry));
            let changed =
                !steps.is_empty() || needs_home || (needs_key && ssh_key::is_missing(&args, current.as_ref()));
            let mut result = match current.as_ref().filter(|_| args.state == State::Present) {
                None => check_result(&args, changed),
                Some(entry) => result(&args, changed, Some(entry), false),
            };
            result.warnings = warnings(&args);
            return Ok(result);
        }
        let mut told = warnings(&args);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        for step in &steps {
            let ended = run_step(step, &args, cx)?;
            stdout.push_str(&ended.stdout.text());
            stderr.push_str(&ended.stderr.text());
            told.extend(ended.warnings);
        }
        let accounts = Accounts::read(Path::new("/")).doing(|| "read /etc/passwd".to_owned())?;
        let after = look_up(&accounts, &args, cx);
        let homeless = after.as_ref().filter(|entry| args.state == State::Present && home::is_missing(&args, entry));
        if let Some(entry) = homeless {
            home::create(&args, entry, cx)?;
        }
        let is_new_home = homeless.is_some();
        let key = match after.as_ref().filter(|_| needs_key) {
            Some(entry) => Some(ssh_key::generate(&args, entry, cx)?),
            None => None,
        };
        let is_new_key = key.as_ref().is_some_and(|key| key.is_new);
        let changed = !steps.is_empty() || is_new_home || is_new_key;
        let mut result = result(&args, changed, after.as_ref(), current.is_none());
        if args.state == State::Absent && !steps.is_empty() {
            result.set("force", args.force);
            result.set("remove", args.remove);
        }
        for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
            if !text.is_empty() {
                result.set(name, text);
            }
        }
        if let Some(key) = key {
            key.add_to(&mut result);
        }
        result.warnings = told;
        Ok(result)
    }
}

/// Days since 1970, to hold against what `/etc/shadow` says.
fn now() -> i64 {
    chrono::Utc::now().timestamp() / 86_400
}

fn look_up(accounts: &Accounts, args: &UserArgs, cx: &ModuleContext<'_>) -> Option<Entry> {
    let local = accounts.user(&args.name).cloned();
    local.or_else(|| if args.local { None } else { getent::user(&args.name, cx) })
}

/// Unknown groups are told before anything is changed.
fn check_groups(args: &UserArgs, accounts: &Accounts, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    if args.state == State::Absent {
        return Ok(());
    }
    let wanted_groups = args.wanted_groups();
    let wanted = args.group.iter().chain(wanted_groups.iter().flatten()).filter(|group| !group.is_empty());
    for group in wanted {
        if accounts.find_group(group).is_none() && getent::group(group, cx).is_none() {
            return Err(ModuleError::new(format!("Group {group} does not exist")));
        }
    }
    Ok(())
}

fn run_step(step: &Step, args: &UserArgs, cx: &ModuleContext<'_>) -> Result<crate::process::Ended, ModuleError> {
    let mut program = Program::new(&step.command[0]).args(&step.command[1..]).plain();
    if let Some(stdin) = &step.stdin {
        program = program.stdin(stdin.as_bytes());
    }
    let ended = program.run(cx)?;
    ended.not_stopped(&program)?;
    if ended.rc == 0 {
        return Ok(ended);
    }
    let why = ended.stderr.text().into_owned();
    let why = if why.is_empty() { format!("{} ended with {}", step.command[0], ended.rc) } else { why };
    Err(ModuleError::new(why).with("name", args.name.as_str()).with("rc", ended.rc))
}

/// What the task's author may not have meant. A password that is no hash never works; people forget that.
fn warnings(args: &UserArgs) -> Vec<String> {
    let aimless = (args.append && args.groups.is_none()).then_some(
        "'append' is set, but no 'groups' are specified. Use 'groups' for \
              appending new groups.This will change to an error in Ansible 2.14.",
    );
    let unhashed = args.password.as_deref().is_some_and(|password| !is_hash(password.trim_start_matches('!')));
    let unhashed = unhashed.then_some(
        "The input password appears not to have been hashed. The 'password' argument must be encrypted for this module \
         to work properly.",
    );
    aimless.into_iter().chain(unhashed).map(str::to_owned).collect()
}

/// Whether this could be what `crypt(3)` makes, or locks the account: empty, or stars.
fn is_hash(password: &str) -> bool {
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./=".contains(&byte));
    let Some(fields) = password.strip_prefix('$') else {
        let is_old = matches!(password.len(), 13 | 20) && is_plain(password.trim_start_matches('_'));
        return is_old || password.bytes().all(|byte| byte == b'*');
    };
    let fields: Vec<&str> = fields.split('$').collect();
    let Some((hash, [method, ..])) = fields.split_last() else { return false };
    let is_whole = match *method {
        "1" => hash.len() == 22,
        "5" => hash.len() == 43,
        "6" => hash.len() == 86,
        _ => true,
    };
    is_whole && is_plain(hash)
}

fn check_result(args: &UserArgs, changed: bool) -> ModuleResult {
    match (args.state, changed) {
        (State::Absent, false) => result(args, false, None, false),
        _ => ModuleResult::changed(changed),
    }
}

fn result(args: &UserArgs, changed: bool, entry: Option<&Entry>, is_new: bool) -> ModuleResult {
    let mut result =
        ModuleResult::changed(changed).with("name", args.name.as_str()).with("state", args.state.spelling());
    let Some(entry) = entry.filter(|_| args.state == State::Present) else { return result };
    let said = if is_new {
        [("create_home", args.create_home), ("system", args.system)]
    } else {
        [("append", args.append), ("move_home", args.move_home)]
    };
    said.into_iter().for_each(|(name, value)| result.set(name, value));
    result.set("uid", entry.uid);
    result.set("group", entry.gid);
    result.set("comment", entry.gecos.as_str());
    result.set("home", entry.home.as_str());
    result.set("shell", entry.shell.as_str());
    if args.password.is_some() {
        result.set("password", "NOT_LOGGING_PASSWORD");
    }
    if let Some(groups) = &args.groups {
        result.set("groups", groups.join(","));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;

    fn check(args: serde_json::Value) -> ModuleResult {
        AnyModule::run(&User, Value::from(args).as_map().unwrap().clone(), &Surroundings::checking().context())
    }

    #[test]
    fn check_mode_says_what_would_change_and_changes_nothing() {
        let result = check(json!({"name": "no-such-user-here", "groups": "a,b"}));
        assert!(result.changed && !result.failed);
        let result = check(json!({"name": "no-such-user-here", "state": "absent"}));
        assert!(!result.changed && result.get("state") == Some(&Value::from("absent")));
        let root = check(json!({"name": "root"}));
        assert_eq!(
            (root.changed, root.get("uid"), root.get("home")),
            (false, Some(&Value::Int(0)), Some(&"/root".into()))
        );
        let result = check(json!({"name": "root", "comment": "somebody else entirely"}));
        assert!(result.changed);
    }

    #[test]
    fn arguments_that_would_break_the_files_are_refused() {
        assert!(check(json!({"name": "x", "comment": "a:b", "local": true})).failed);
        assert!(check(json!({"name": "x", "password": "a\nb"})).failed);
        assert!(!check(json!({"name": "root", "profile": "y", "role": "z", "hidden": true})).failed);
    }

    #[test]
    fn a_password_in_clear_text_is_warned_of() {
        let args = |password: &str| {
            let args = json!({"name": "x", "password": password});
            crate::module::args::parse::<UserArgs>("user", Value::from(args).as_map().unwrap().clone()).unwrap()
        };
        for wrong in ["secret", "$6$salt$short", "$1$salt$+++++++++++++++++++++!", "$6$"] {
            assert_eq!(warnings(&args(wrong)).len(), 1, "{wrong}");
        }
        for fine in ["$1$salt$qJH7.N4xYta3aEG/dfqo/0", "!", "*", "*************", "!$y$j9T$x$y", "", "rl0uE0e2WKBek"] {
            assert!(warnings(&args(fine)).is_empty(), "{fine}");
        }
    }
}
