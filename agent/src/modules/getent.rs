//! `getent`: entries of the host's databases, as facts.

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::arguments;
use crate::module::{Module, ModuleContext, ModuleError};
use crate::process::Program;

/// Databases whose fields stand between colons; those of all others, between blanks.
const WITH_COLONS: [&str; 4] = ["passwd", "shadow", "group", "gshadow"];

/// A directory server may have hundred thousands of users.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;

const NOT_FOUND: &str = "One or more supplied key could not be found in the database.";

arguments! {
    pub(crate) struct GetentArgs {
        /// The database: `passwd`, `group`, `hosts`, ...
        database: String,
        /// The entry; all of them by default, where the database can be listed.
        key: Option<String>,
        /// The service to ask, in the place of those in `nsswitch.conf`.
        service: Option<String>,
        /// What stands between fields.
        split: Option<String>,
        /// Fail if there is no such entry.
        fail_key: bool = true,
    }
}

pub(super) struct Getent;

impl Module for Getent {
    type Args = GetentArgs;

    const NAME: &'static str = "ansible.builtin.getent";
    const SUMMARY: &'static str = "Returns entries of the host's databases of names as facts.";
    const IDEMPOTENT: bool = true;

    fn run(&self, args: GetentArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let service = args.service.iter().flat_map(|service| ["-s", service.as_str()]);
        let program = Program::new("getent").args(service).arg(&args.database).args(args.key.iter()).plain();
        let ended = program.keep(OUTPUT_BYTES_MAX).run(cx)?;
        let found = |entries: Map| {
            let facts = Map::from([(format!("getent_{}", args.database), Value::Map(entries))]);
            ModuleResult::ok().with("ansible_facts", facts)
        };
        let fail = |msg: &str| Err(ModuleError::new(msg));
        match ended.rc {
            0 => Ok(found(entries(&ended.stdout.text(), separator(&args)))),
            1 => fail("Missing arguments, or database unknown."),
            2 if args.fail_key => fail(NOT_FOUND),
            2 => {
                let missing = args.key.clone().map(|key| (key, Value::Null));
                Ok(found(missing.into_iter().collect()).with("msg", NOT_FOUND))
            }
            3 => fail("Enumeration not supported on this database."),
            _ => fail("Unexpected failure!"),
        }
    }
}

fn separator(args: &GetentArgs) -> Option<&str> {
    args.split.as_deref().or_else(|| WITH_COLONS.contains(&args.database.as_str()).then_some(":"))
}

/// Each line's fields under its first one. Several lines with the same first field are a list of lists.
fn entries(text: &str, separator: Option<&str>) -> Map {
    let mut entries: Map = Map::new();
    let mut repeated = std::collections::HashSet::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = match separator {
            Some(separator) if !separator.is_empty() => line.split(separator).collect(),
            _ => line.split_whitespace().collect(),
        };
        if fields.is_empty() {
            continue;
        }
        let key = fields.remove(0).to_owned();
        let rest: Value = fields.into_iter().map(Value::from).collect();
        match entries.get_mut(&key) {
            None => drop(entries.insert(key, rest)),
            Some(Value::List(all)) if repeated.contains(&key) => all.push(rest),
            Some(first) => {
                *first = Value::List(vec![std::mem::take(first), rest]);
                repeated.insert(key);
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::check;
    use serde_json::json;

    fn json_of(entries: Map) -> serde_json::Value {
        serde_json::from_str(&Value::Map(entries).to_json()).unwrap()
    }

    #[test]
    fn fields_stand_under_the_first_of_them() {
        assert_eq!(
            json_of(entries("root:x:0:\ndaemon:x:1:a,b\n", Some(":"))),
            json!({"root": ["x", "0", ""], "daemon": ["x", "1", "a,b"]})
        );
        assert_eq!(json_of(entries("http   80/tcp www\n", None)), json!({"http": ["80/tcp", "www"]}));
    }

    #[test]
    fn entries_of_one_name_are_a_list_of_them() {
        let hosts = "127.0.0.1 localhost\n127.0.0.1 a b\n127.0.0.1 c\n";
        assert_eq!(json_of(entries(hosts, None)), json!({"127.0.0.1": [["localhost"], ["a", "b"], ["c"]]}));
    }

    #[test]
    fn root_is_in_passwd_in_check_mode_too() {
        let result = check(&Getent, json!({"database": "passwd", "key": "root"}));
        let facts = result.get("ansible_facts").unwrap().as_map().unwrap();
        let root = &facts["getent_passwd"].as_map().unwrap()["root"];
        assert!(root.to_json().starts_with(r#"["x","0","0","#), "{root}");
    }

    #[test]
    fn a_key_that_is_not_there_fails_unless_told_not_to() {
        let args = json!({"database": "passwd", "key": "no-such-user"});
        assert_eq!(check(&Getent, args).msg(), NOT_FOUND);
        let result = check(&Getent, json!({"database": "passwd", "key": "no-such-user", "fail_key": false}));
        assert!(!result.failed && result.msg() == NOT_FOUND);
        let facts = result.get("ansible_facts").unwrap().to_json();
        assert_eq!(facts, r#"{"getent_passwd":{"no-such-user":null}}"#);
        let unknown = check(&Getent, json!({"database": "nodb", "key": "x"}));
        assert_eq!(unknown.msg(), "Missing arguments, or database unknown.");
    }
}
