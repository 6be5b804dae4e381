//! `group`: a group of the host.

use std::path::Path;

use rustle_protocol::ModuleResult;

use crate::accounts::{Accounts, Group as Entry, getent};
use crate::module::args::Choice;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::{arguments, choices};

arguments! {
    pub(crate) struct GroupArgs {
        /// The group.
        name: String,
        /// Whether it is to exist.
        state: State = State::Present,
        /// Its number.
        gid: Option<u32>,
        /// Take a number from the system's range.
        system: bool = false,
        /// Allow a number that another group has; needs `gid`.
        non_unique: bool = false,
        /// Delete it even if it is a user's primary group.
        force: bool = false,
        /// Look and change in the files only, by the tools made for that.
        local: bool = false,
        /// Lowest number to take.
        gid_min: Option<u32>,
        /// Highest number to take.
        gid_max: Option<u32>,
    }
}

choices! {
    pub(crate) enum State { Absent = "absent", Present = "present" }
}

pub(super) struct Group;

impl Module for Group {
    type Args = GroupArgs;

    const NAME: &'static str = "ansible.builtin.group";
    const SUMMARY: &'static str = "Makes, changes and deletes groups.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &GroupArgs) -> Result<(), ArgError> {
        let rule = |why: &str| Err(ArgError::Rule(why.into()));
        if args.non_unique && args.gid.is_none() {
            return rule("non_unique is True but all of the following are missing: gid");
        }
        if args.local && args.force {
            return rule("force is not a valid option for local, force=True and local=True are mutually exclusive");
        }
        for (name, limit) in [("gid_min", args.gid_min), ("gid_max", args.gid_max)] {
            if args.local && limit.is_some() {
                return Err(ArgError::Rule(format!("'{name}' can not be used with 'local'")));
            }
        }
        Ok(())
    }

    fn run(&self, args: GroupArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let current = look_up(&args, cx)?;
        let Some(command) = decide(&args, current.as_ref()) else { return Ok(result(&args, false, current.as_ref())) };
        if cx.check {
            let present = current.as_ref().filter(|_| args.state == State::Present);
            return Ok(match present {
                None => ModuleResult::changed(true),
                Some(entry) => result(&args, true, Some(entry)),
            });
        }
        let program = Program::new(&command[0]).args(&command[1..]).plain();
        let ended = program.run(cx)?;
        ended.not_stopped(&program)?;
        if ended.rc != 0 {
            let why = ended.stderr.text().into_owned();
            let why = if why.is_empty() { format!("{} ended with {}", command[0], ended.rc) } else { why };
            return Err(ModuleError::new(why).with("name", args.name.as_str()));
        }
        let mut result = result(&args, true, look_up(&args, cx)?.as_ref());
        result.warnings = ended.warnings;
        Ok(result)
    }
}

fn look_up(args: &GroupArgs, cx: &ModuleContext<'_>) -> Result<Option<Entry>, ModuleError> {
    let accounts = Accounts::read(Path::new("/")).doing(|| "read /etc/group".to_owned())?;
    let local = accounts.group(&args.name).cloned();
    Ok(local.or_else(|| if args.local { None } else { getent::group(&args.name, cx) }))
}

/// The command that makes the group what it is to be; none if it is.
fn decide(args: &GroupArgs, current: Option<&Entry>) -> Option<Vec<String>> {
    let tool = |name: &str| vec![if args.local { format!("l{name}") } else { name.to_owned() }];
    let mut command = match (args.state, current) {
        (State::Absent, None) => return None,
        (State::Absent, Some(_)) => {
            let mut command = tool("groupdel");
            if args.force && !args.local {
                command.push("-f".into());
            }
            command
        }
        (State::Present, None) => {
            let mut command = tool("groupadd");
            add_gid(args, &mut command);
            if args.system {
                command.push("-r".into());
            }
            for (key, limit) in [("GID_MIN", args.gid_min), ("GID_MAX", args.gid_max)] {
                if let Some(limit) = limit {
                    command.extend(["-K".to_owned(), format!("{key}={limit}")]);
                }
            }
            command
        }
        (State::Present, Some(entry)) => {
            if args.gid.is_none_or(|gid| gid == entry.gid) {
                return None;
            }
            let mut command = tool("groupmod");
            add_gid(args, &mut command);
            command
        }
    };
    command.push(args.name.clone());
    Some(command)
}

fn add_gid(args: &GroupArgs, command: &mut Vec<String>) {
    if let Some(gid) = args.gid {
        command.extend(["-g".to_owned(), gid.to_string()]);
        if args.non_unique {
            command.push("-o".into());
        }
    }
}

fn result(args: &GroupArgs, changed: bool, entry: Option<&Entry>) -> ModuleResult {
    let mut result =
        ModuleResult::changed(changed).with("name", args.name.as_str()).with("state", args.state.spelling());
    if let Some(entry) = entry.filter(|_| args.state == State::Present) {
        result.set("system", args.system);
        result.set("gid", entry.gid);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::args::parse;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;

    fn decided(args: serde_json::Value, gid: Option<u32>) -> String {
        let args: GroupArgs = parse("group", Value::from(args).as_map().unwrap().clone()).unwrap();
        let entry = gid.map(|gid| Entry { name: args.name.clone(), gid, members: vec![] });
        decide(&args, entry.as_ref()).map(|command| command.join(" ")).unwrap_or_default()
    }

    #[test]
    fn a_group_is_made_changed_and_deleted_only_when_needed() {
        assert_eq!(decided(json!({"name": "web"}), None), "groupadd web");
        assert_eq!(decided(json!({"name": "web"}), Some(7)), "");
        assert_eq!(decided(json!({"name": "web", "gid": 7}), Some(7)), "");
        assert_eq!(decided(json!({"name": "web", "gid": 8}), Some(7)), "groupmod -g 8 web");
        assert_eq!(decided(json!({"name": "web", "state": "absent"}), None), "");
        assert_eq!(decided(json!({"name": "web", "state": "absent", "force": true}), Some(7)), "groupdel -f web");
    }

    #[test]
    fn options_reach_the_tool() {
        let args = json!({"name": "web", "gid": 8, "non_unique": true, "system": true, "gid_max": 99});
        assert_eq!(decided(args, None), "groupadd -g 8 -o -r -K GID_MAX=99 web");
        assert_eq!(decided(json!({"name": "web", "local": true}), None), "lgroupadd web");
    }

    #[test]
    fn check_mode_says_what_would_change_and_changes_nothing() {
        let surroundings = Surroundings::checking();
        let run = |args: serde_json::Value| {
            crate::module::AnyModule::run(&Group, Value::from(args).as_map().unwrap().clone(), &surroundings.context())
        };
        assert!(run(json!({"name": "no-such-group-here"})).changed);
        let root = run(json!({"name": "root"}));
        assert_eq!(
            (root.changed, root.get("gid"), root.get("system")),
            (false, Some(&Value::Int(0)), Some(&Value::Bool(false)))
        );
        assert!(run(json!({"name": "root", "gid": 12345})).changed);
        assert_eq!(
            run(json!({"name": "x", "non_unique": true})).msg(),
            "non_unique is True but all of the following are missing: gid"
        );
    }
}
