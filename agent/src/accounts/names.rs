//! Names and numbers of users and groups, for whoever owns files.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::{self, Entry};
use super::{Group, User, getent};
use crate::module::CancelToken;

/// The users and groups of this host, as of the first question. Lives for one call: answers are kept, also the
/// negative ones.
#[derive(Debug)]
pub(crate) struct Users {
    users: Database<User>,
    groups: Database<Group>,
    cancel: CancelToken,
}

/// One of the two, read when it is first asked.
#[derive(Debug)]
struct Database<E> {
    etc: PathBuf,
    entries: OnceCell<Vec<E>>,
    /// Whether names come from elsewhere too, as `nsswitch.conf` has it.
    is_remote: OnceCell<bool>,
    /// What `getent` said of a name or number.
    asked: RefCell<HashMap<String, Option<E>>>,
}

impl Users {
    /// `cancel` ends the wait for a directory service.
    pub(crate) fn new(cancel: &CancelToken) -> Users {
        Users::in_etc(Path::new("/etc"), cancel)
    }

    fn in_etc(etc: &Path, cancel: &CancelToken) -> Users {
        Users { users: Database::new(etc), groups: Database::new(etc), cancel: cancel.clone() }
    }

    /// The number of a user; a number stands for itself.
    pub(crate) fn uid(&self, user: &str) -> Option<u32> {
        self.users.number(user, &self.cancel)
    }

    /// The number of a group; a number stands for itself.
    pub(crate) fn gid(&self, group: &str) -> Option<u32> {
        self.groups.number(group, &self.cancel)
    }

    pub(crate) fn user_name(&self, uid: u32) -> Option<String> {
        self.users.name(uid, &self.cancel)
    }

    pub(crate) fn group_name(&self, gid: u32) -> Option<String> {
        self.groups.name(gid, &self.cancel)
    }
}

impl<E: Entry> Database<E> {
    fn new(etc: &Path) -> Database<E> {
        Database {
            etc: etc.to_owned(),
            entries: OnceCell::new(),
            is_remote: OnceCell::new(),
            asked: RefCell::default(),
        }
    }

    fn number(&self, name: &str, cancel: &CancelToken) -> Option<u32> {
        if let Ok(number) = name.parse() {
            return Some(number);
        }
        let entry = self.entries().iter().find(|entry| entry.name() == name);
        // A name that is in no file is a mistake or a source of names that we do not know of: worth a process.
        entry.map(Entry::number).or_else(|| self.ask(name, cancel).map(|entry| entry.number()))
    }

    fn name(&self, number: u32, cancel: &CancelToken) -> Option<String> {
        if let Some(entry) = self.entries().iter().find(|entry| entry.number() == number) {
            return Some(entry.name().to_owned());
        }
        // A number without a name is nothing unusual: a process start for each would be.
        let entry = self.is_remote().then(|| self.ask(&number.to_string(), cancel)).flatten();
        entry.map(|entry| entry.name().to_owned())
    }

    fn entries(&self) -> &[E] {
        self.entries.get_or_init(|| files::read(&self.etc.join(E::DATABASE)).unwrap_or_default())
    }

    fn is_remote(&self) -> bool {
        *self.is_remote.get_or_init(|| getent::has_remote_source(&self.etc, E::DATABASE))
    }

    fn ask(&self, key: &str, cancel: &CancelToken) -> Option<E> {
        if let Some(known) = self.asked.borrow().get(key) {
            return known.clone();
        }
        let answer = getent::ask(key, cancel);
        self.asked.borrow_mut().insert(key.to_owned(), answer.clone());
        answer
    }
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
}
