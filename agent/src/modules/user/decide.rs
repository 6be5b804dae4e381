//! From what is and what is wanted to the commands in between. Nothing here looks at the host.

use std::collections::BTreeSet;
use std::path::Path;

use super::{State, UpdatePassword, UserArgs};
use crate::accounts::{Accounts, User};

/// A command to run. Secrets are in its input, where the list of processes does not show them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) command: Vec<String>,
    pub(super) stdin: Option<String>,
}

impl Step {
    fn new(command: Vec<String>) -> Step {
        Step { command, stdin: None }
    }
}

/// What has to be done so that the user is as wanted; nothing if it is. `today` counts days since 1970.
pub(super) fn decide(args: &UserArgs, current: Option<&User>, accounts: &Accounts, today: i64) -> Vec<Step> {
    match (args.state, current) {
        (State::Absent, None) => Vec::new(),
        (State::Absent, Some(_)) => vec![delete(args)],
        (State::Present, None) => create(args, accounts),
        (State::Present, Some(user)) => modify(args, user, accounts, today),
    }
}

fn tool(args: &UserArgs, name: &str) -> String {
    if args.local { format!("l{name}") } else { name.to_owned() }
}

fn delete(args: &UserArgs) -> Step {
    let mut command = vec![tool(args, "userdel")];
    if args.force && !args.local {
        command.push("-f".into());
    }
    if args.remove {
        command.push("-r".into());
    }
    command.push(args.name.clone());
    Step::new(command)
}

fn create(args: &UserArgs, accounts: &Accounts) -> Vec<Step> {
    let mut line = Line(vec![tool(args, "useradd")]);
    line.option("-u", args.uid);
    line.flag("-o", args.uid.is_some() && args.non_unique);
    match &args.group {
        Some(group) => line.option("-g", Some(group)),
        // useradd refuses to make a group of the user's name where there is one already.
        None if accounts.group(&args.name).is_some() && !args.local => line.flag("-N", true),
        None => {}
    }
    if !args.local {
        line.option("-G", args.wanted_groups().filter(|groups| !groups.is_empty()).map(|groups| groups.join(",")));
    }
    line.option("-c", args.comment.as_ref());
    line.option("-d", args.home.as_deref().map(shown));
    line.option("-s", args.shell.as_deref().map(shown));
    line.option("-Z", args.seuser.as_ref());
    line.option("-e", args.expires.filter(|_| !args.local).map(expiry_date));
    if args.create_home {
        line.flag("-m", !args.local);
        line.option("-k", args.skeleton.as_deref().map(shown));
        line.option("-K", args.umask.as_ref().map(|umask| format!("UMASK={umask}")));
    } else {
        line.flag("-M", true);
    }
    line.option("-K", args.uid_min.map(|limit| format!("UID_MIN={limit}")));
    line.option("-K", args.uid_max.map(|limit| format!("UID_MAX={limit}")));
    line.flag("-r", args.system);
    line.0.push(args.name.clone());
    let mut steps = vec![Step::new(line.0)];
    if args.local {
        steps.extend(args.expires.map(|expires| local_expiry(args, expires)));
        steps.extend(args.wanted_groups().iter().flatten().map(|group| local_membership("-M", args, group)));
    }
    if let Some(password) = &args.password {
        let lock = if args.password_lock == Some(true) && !password.starts_with('!') { "!" } else { "" };
        steps.push(set_password(&args.name, &format!("{lock}{password}")));
    } else if args.password_lock == Some(true) {
        steps.push(Step::new(vec!["usermod".into(), "-L".into(), args.name.clone()]));
    }
    steps.extend(ageing(args, None));
    steps
}

fn modify(args: &UserArgs, user: &User, accounts: &Accounts, today: i64) -> Vec<Step> {
    let mut line = Line(vec![tool(args, "usermod")]);
    if let Some(uid) = args.uid.filter(|uid| *uid != user.uid) {
        line.option("-u", Some(uid));
        line.flag("-o", args.non_unique);
    }
    let primary =
        args.group.as_ref().filter(|group| accounts.find_group(group).is_none_or(|found| found.gid != user.gid));
    line.option("-g", primary.map(|group| named_for_tool(group, args, accounts)));
    let groups = args.wanted_groups().map(|wanted| Memberships::new(&wanted, user, accounts));
    let groups = groups.filter(|groups| !groups.is_done(args.append));
    if groups.is_some() && !args.local {
        let wanted = args.wanted_groups().unwrap_or_default();
        line.flag("-a", args.append && !wanted.is_empty());
        line.option("-G", Some(wanted.join(",")));
    }
    line.option("-c", args.comment.as_ref().filter(|comment| **comment != user.gecos));
    if let Some(home) = args.home.as_deref().map(shown).filter(|home| *home != user.home) {
        line.option("-d", Some(home));
        line.flag("-m", args.move_home);
    }
    line.option("-s", args.shell.as_deref().map(shown).filter(|shell| *shell != user.shell));
    let shadow = accounts.shadow(&args.name);
    let mut new_expiry = None;
    if let Some(expires) = args.expires {
        let now = shadow.and_then(|shadow| shadow.expires_on_day);
        let wanted = (expires >= 0.0).then(|| expiry_day(expires));
        // An account that has ended is as good as one that ends on another day of the past: both are over.
        let both_over = |a: i64, b: i64| a < today && b < today;
        let is_same = match (now, wanted) {
            // Without a line in the shadow file nothing is said of its end.
            (None, None) => shadow.is_some(),
            (Some(now), Some(wanted)) => now == wanted || both_over(now, wanted),
            _ => false,
        };
        new_expiry = Some(expires).filter(|_| !is_same);
        line.option("-e", new_expiry.filter(|_| !args.local).map(expiry_date));
    }
    let is_locked = shadow.is_some_and(|shadow| shadow.is_locked());
    line.flag("-L", args.password_lock == Some(true) && !is_locked);
    line.flag("-U", args.password_lock == Some(false) && is_locked);
    line.option("-Z", args.seuser.as_ref().filter(|_| line.0.len() > 1));

    let mut steps = Vec::new();
    // The password before the lock, which would otherwise be overwritten.
    if let Some(password) = args.password.as_ref().filter(|_| args.update_password == UpdatePassword::Always) {
        let now = shadow.map(|shadow| shadow.password.trim_start_matches('!')).unwrap_or_default();
        if now != password.trim_start_matches('!') {
            steps.push(set_password(&args.name, password));
            if args.password_lock == Some(true) && is_locked {
                line.flag("-L", true);
            }
        }
    }
    if line.0.len() > 1 {
        line.0.push(args.name.clone());
        steps.push(Step::new(line.0));
    }
    steps.extend(new_expiry.filter(|_| args.local).map(|expires| local_expiry(args, expires)));
    if let Some(groups) = groups.filter(|_| args.local) {
        steps.extend(groups.local_steps(args));
    }
    steps.extend(ageing(args, Some(accounts)));
    steps
}

/// By `chpasswd`, since an argument would show the hash to every user of the host.
fn set_password(name: &str, hash: &str) -> Step {
    Step { command: vec!["chpasswd".into(), "-e".into()], stdin: Some(format!("{name}:{hash}\n")) }
}

fn ageing(args: &UserArgs, accounts: Option<&Accounts>) -> Option<Step> {
    let shadow = accounts.and_then(|accounts| accounts.shadow(&args.name));
    let mut line = Line(vec!["chage".into()]);
    let rows = [
        ("-M", args.password_expire_max, shadow.and_then(|shadow| shadow.days_max)),
        ("-m", args.password_expire_min, shadow.and_then(|shadow| shadow.days_min)),
        ("-W", args.password_expire_warn, shadow.and_then(|shadow| shadow.days_warn)),
        ("-I", args.password_expire_account_disable, shadow.and_then(|shadow| shadow.days_inactive)),
    ];
    for (option, wanted, now) in rows {
        // -1 takes the field away.
        line.option(option, wanted.filter(|wanted| *wanted != now.unwrap_or(-1)));
    }
    (line.0.len() > 1).then(|| {
        line.0.push(args.name.clone());
        Step::new(line.0)
    })
}

/// A group as the tool takes it: those of libuser know primary groups by their numbers only.
fn named_for_tool(group: &str, args: &UserArgs, accounts: &Accounts) -> String {
    let gid = accounts.find_group(group).filter(|_| args.local).map(|group| group.gid.to_string());
    gid.unwrap_or_else(|| group.to_owned())
}

/// The groups a user is to be in and those it is in. Its primary group counts wherever it is named, and is in neither.
struct Memberships {
    wanted: BTreeSet<String>,
    current: BTreeSet<String>,
}

impl Memberships {
    fn new(wanted: &[String], user: &User, accounts: &Accounts) -> Memberships {
        let name_of =
            |text: &String| accounts.find_group(text).map_or_else(|| text.clone(), |group| group.name.clone());
        let primary = accounts.group_by_gid(user.gid).map(|group| group.name.as_str());
        let is_other = |name: &str| Some(name) != primary;
        let wanted = wanted.iter().filter(|name| !name.is_empty()).map(name_of).filter(|name| is_other(name)).collect();
        let current = accounts.groups_of(&user.name).into_iter().filter(|name| is_other(name));
        Memberships { wanted, current: current.map(str::to_owned).collect() }
    }

    fn is_done(&self, append: bool) -> bool {
        if append { self.wanted.is_subset(&self.current) } else { self.wanted == self.current }
    }

    /// The tools of libuser change one group at a time.
    fn local_steps(&self, args: &UserArgs) -> Vec<Step> {
        let added = self.wanted.difference(&self.current).map(|group| local_membership("-M", args, group));
        let dropped = self.current.difference(&self.wanted).filter(|_| !args.append);
        added.chain(dropped.map(|group| local_membership("-m", args, group))).collect()
    }
}

/// In days since 1970, -1 for never: libuser's tools for accounts know no end of them, its `lchage` does.
fn local_expiry(args: &UserArgs, expires: f64) -> Step {
    let day = if expires < 0.0 { -1 } else { expiry_day(expires) };
    Step::new(vec!["lchage".into(), "-E".into(), day.to_string(), args.name.clone()])
}

/// Puts the user into a group (`-M`) or takes it out (`-m`).
fn local_membership(how: &str, args: &UserArgs, group: &str) -> Step {
    Step::new(vec!["lgroupmod".into(), how.into(), args.name.clone(), group.to_owned()])
}

fn expiry_day(seconds: f64) -> i64 {
    (seconds / 86_400.0).floor() as i64
}

/// `YYYY-MM-DD`, in UTC as the day in `/etc/shadow` is; empty for "never".
fn expiry_date(seconds: f64) -> String {
    let date = chrono::DateTime::from_timestamp(expiry_day(seconds) * 86_400, 0).filter(|_| seconds >= 0.0);
    date.map(|date| date.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A command line in the making.
struct Line(Vec<String>);

impl Line {
    fn option(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.extend([name.to_owned(), value.to_string()]);
        }
    }

    fn flag(&mut self, name: &str, is_on: bool) {
        if is_on {
            self.0.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::sample_root;
    use crate::process::words;
    use rustle_protocol::Value;
    use serde_json::json;

    fn decided(args: serde_json::Value) -> Vec<String> {
        let args: UserArgs = crate::module::args::parse("user", Value::from(args).as_map().unwrap().clone()).unwrap();
        let root = sample_root();
        let accounts = Accounts::read(root.path()).unwrap();
        let steps = decide(&args, accounts.user(&args.name), &accounts, 20_500);
        let show = |step: Step| match step.stdin {
            Some(stdin) => format!("{} <<< {}", words::join(&step.command), stdin.trim()),
            None => words::join(&step.command),
        };
        steps.into_iter().map(show).collect()
    }

    #[test]
    fn a_user_is_made_with_all_that_is_wanted() {
        assert_eq!(decided(json!({"name": "carol"})), ["useradd -m carol"]);
        let args = json!({"name": "carol", "uid": 1500, "group": "users", "groups": ["wheel", "docker"], "comment": "C C",
            "home": "/srv/carol", "shell": "/bin/sh", "system": true, "expires": 86400.0 * 365.0});
        let line =
            "useradd -u 1500 -g users -G wheel,docker -c 'C C' -d /srv/carol -s /bin/sh -e 1971-01-01 -m -r carol";
        assert_eq!(decided(args), [line]);
        assert_eq!(decided(json!({"name": "wheel", "create_home": false})), ["useradd -N -M wheel"]);
    }

    #[test]
    fn a_hash_is_never_in_a_command_line() {
        let steps = decided(json!({"name": "carol", "password": "$6$a$b", "password_lock": true}));
        assert_eq!(steps, ["useradd -m carol", "chpasswd -e <<< carol:!$6$a$b"]);
        assert_eq!(decided(json!({"name": "bob", "password": "$6$new$b"})), ["chpasswd -e <<< bob:$6$new$b"]);
    }

    #[test]
    fn a_user_as_wanted_is_left_alone() {
        let args = json!({"name": "alice", "uid": 1000, "group": "alice", "groups": "wheel,docker", "comment": "Alice A,,,",
            "home": "/home/alice", "shell": "/bin/bash", "password": "$6$salt$hash", "password_expire_max": 90,
            "expires": 20000.0 * 86400.0});
        assert_eq!(decided(args), [""; 0]);
        assert_eq!(decided(json!({"name": "bob", "password": "$6$other", "update_password": "on_create"})), [""; 0]);
    }

    #[test]
    fn only_what_differs_is_changed() {
        let args = json!({"name": "alice", "uid": 1000, "shell": "/bin/zsh", "comment": "Alice A,,,"});
        assert_eq!(decided(args), ["usermod -s /bin/zsh alice"]);
        assert_eq!(
            decided(json!({"name": "bob", "home": "/b", "move_home": true, "group": "10"})),
            ["usermod -g 10 -d /b -m bob"]
        );
        assert_eq!(decided(json!({"name": "bob", "group": "100"})), [""; 0]);
        assert_eq!(decided(json!({"name": "bob", "group": "wheel", "local": true})), ["lusermod -g 10 bob"]);
    }

    #[test]
    fn groups_are_set_added_and_taken_away() {
        assert_eq!(decided(json!({"name": "alice", "groups": ["wheel"]})), ["usermod -G wheel alice"]);
        assert_eq!(decided(json!({"name": "alice", "groups": ["wheel"], "append": true})), [""; 0]);
        assert_eq!(decided(json!({"name": "bob", "groups": ["docker"], "append": true})), ["usermod -a -G docker bob"]);
        assert_eq!(decided(json!({"name": "bob", "groups": []})), ["usermod -G '' bob"]);
        let ends = json!({"name": "bob", "expires": 2_529_881_062.0, "local": true});
        assert_eq!(decided(ends), ["lchage -E 29281 bob"]);
        let local = |groups: &[&str], append: bool| {
            decided(json!({"name": "bob", "groups": groups, "append": append, "local": true}))
        };
        assert_eq!(local(&["docker"], true), ["lgroupmod -M bob docker"]);
        assert_eq!(local(&["docker"], false), ["lgroupmod -M bob docker", "lgroupmod -m bob wheel"]);
        assert_eq!(local(&["wheel"], true), [""; 0]);
        assert_eq!(decided(json!({"name": "bob", "groups": "wheel,users"})), [""; 0]);
    }

    #[test]
    fn locking_and_ageing_follow_the_shadow_file() {
        assert_eq!(decided(json!({"name": "alice", "password_lock": true})), [""; 0]);
        assert_eq!(decided(json!({"name": "alice", "password_lock": false})), ["usermod -U alice"]);
        assert_eq!(decided(json!({"name": "bob", "password_lock": true})), ["usermod -L bob"]);
        assert_eq!(
            decided(json!({"name": "alice", "password_expire_max": 30, "password_expire_min": 1})),
            ["chage -M 30 alice"]
        );
        assert_eq!(decided(json!({"name": "alice", "expires": -1})), ["usermod -e '' alice"]);
    }

    #[test]
    fn a_user_is_deleted_once() {
        assert_eq!(
            decided(json!({"name": "bob", "state": "absent", "remove": true, "force": true})),
            ["userdel -f -r bob"]
        );
        assert_eq!(decided(json!({"name": "nobody-here", "state": "absent"})), [""; 0]);
    }
}
