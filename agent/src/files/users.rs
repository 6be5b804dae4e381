//! Names and numbers of users and groups.
//!
//! `/etc/passwd` and `/etc/group` are read here and not by libc, so that a static agent needs no NSS plugins. Hosts
//! with a directory service have `getent`, which is asked for what the files do not hold.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::tool;
use crate::module::CancelToken;

/// A name and its number.
type Entry = (String, u32);

/// The users and groups of this host, as of the first question. Lives for one call: answers are kept, also the
/// negative ones.
#[derive(Debug)]
pub(crate) struct Users {
    etc: PathBuf,
    cancel: CancelToken,
    passwd: OnceCell<Vec<u8>>,
    group: OnceCell<Vec<u8>>,
    /// Whether names come from elsewhere too, as `nsswitch.conf` has it.
    directory: OnceCell<bool>,
    asked: RefCell<HashMap<(Database, String), Option<Entry>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Database {
    Passwd,
    Group,
}

impl Users {
    /// `cancel` ends the wait for a directory service.
    pub(crate) fn new(cancel: &CancelToken) -> Users {
        Users::in_etc(Path::new("/etc"), cancel)
    }

    fn in_etc(etc: &Path, cancel: &CancelToken) -> Users {
        Users {
            etc: etc.to_owned(),
            cancel: cancel.clone(),
            passwd: OnceCell::new(),
            group: OnceCell::new(),
            directory: OnceCell::new(),
            asked: RefCell::default(),
        }
    }

    /// The number of a user; a number stands for itself.
    pub(crate) fn uid(&self, user: &str) -> Option<u32> {
        self.number(Database::Passwd, user)
    }

    /// The number of a group; a number stands for itself.
    pub(crate) fn gid(&self, group: &str) -> Option<u32> {
        self.number(Database::Group, group)
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<String> {
        self.name(Database::Passwd, uid)
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<String> {
        self.name(Database::Group, gid)
    }

    fn number(&self, database: Database, name: &str) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let entry = self.entries(database).find(|(entry, _)| *entry == name.as_bytes());
        entry.map(|(_, number)| number).or_else(|| self.ask(database, name).map(|(_, number)| number))
    }

    fn name(&self, database: Database, number: u32) -> Option<String> {
        if let Some((name, _)) = self.entries(database).find(|(_, entry)| *entry == number) {
            return Some(String::from_utf8_lossy(name).into_owned());
        }
        // A number without a name is nothing unusual: a process start for each would be.
        self.has_directory().then(|| self.ask(database, &number.to_string())).flatten().map(|(name, _)| name)
    }

    fn entries(&self, database: Database) -> impl Iterator<Item = (&[u8], u32)> {
        let (cell, file) = match database {
            Database::Passwd => (&self.passwd, "passwd"),
            Database::Group => (&self.group, "group"),
        };
        let text = cell.get_or_init(|| std::fs::read(self.etc.join(file)).unwrap_or_default());
        text.split(|&b| b == b'\n').filter_map(entry)
    }

    fn has_directory(&self) -> bool {
        *self.directory.get_or_init(|| {
            let text = std::fs::read_to_string(self.etc.join("nsswitch.conf")).unwrap_or_default();
            let sources = text.lines().filter_map(|line| {
                line.strip_prefix("passwd:").or_else(|| line.strip_prefix("group:")).map(str::split_whitespace)
            });
            sources
                .flatten()
                .any(|source| !matches!(source, "files" | "compat" | "systemd") && !source.starts_with('['))
        })
    }

    fn ask(&self, database: Database, key: &str) -> Option<Entry> {
        if let Some(known) = self.asked.borrow().get(&(database, key.to_owned())) {
            return known.clone();
        }
        let answer = getent(database, key, &self.cancel);
        self.asked.borrow_mut().insert((database, key.to_owned()), answer.clone());
        answer
    }
}

/// Name and number of a line; passwd and group have both in the same places.
fn entry(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|&b| b == b':');
    let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
    Some((name, std::str::from_utf8(number).ok()?.parse().ok()?))
}

/// What the name services say; nothing, too, where there is no `getent`.
fn getent(database: Database, key: &str, cancel: &CancelToken) -> Option<Entry> {
    let database = match database {
        Database::Passwd => "passwd",
        Database::Group => "group",
    };
    if key.starts_with('-') {
        return None;
    }
    let output = tool::run(&["getent", database, key], &[], cancel).ok()?;
    let (name, number) = entry(output.stdout.split(|&b| b == b'\n').next()?)?;
    Some((String::from_utf8_lossy(name).into_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> (tempfile::TempDir, Users) {
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("passwd"), "root:x:0:0:root:/root:/bin/sh\n# odd\nweb:x:1001:1002::/:/bin/sh\n")
            .unwrap();
        std::fs::write(etc.path().join("group"), "root:x:0:\nstaff:x:1002:web\n").unwrap();
        let users = Users::in_etc(etc.path(), &CancelToken::new().unwrap());
        (etc, users)
    }

    #[test]
    fn names_and_numbers_are_found_in_both_directions() {
        let (_etc, users) = users();
        assert_eq!((users.uid("web"), users.gid("staff")), (Some(1001), Some(1002)));
        assert_eq!(users.user_name(1001).as_deref(), Some("web"));
        assert_eq!(users.group_name(1002).as_deref(), Some("staff"));
    }

    #[test]
    fn a_number_stands_for_itself_and_needs_no_entry() {
        let (_etc, users) = users();
        assert_eq!(users.uid("4711"), Some(4711));
        assert_eq!(users.user_name(4711), None);
    }

    #[test]
    fn an_unknown_name_has_no_number() {
        let (_etc, users) = users();
        assert_eq!(users.uid("no-such-user-here"), None);
    }

    #[test]
    fn only_a_directory_service_makes_numbers_worth_asking_for() {
        let (etc, users) = users();
        assert!(!users.has_directory());
        std::fs::write(etc.path().join("nsswitch.conf"), "passwd: files sss\n").unwrap();
        assert!(Users::in_etc(etc.path(), &CancelToken::new().unwrap()).has_directory());
    }
}
