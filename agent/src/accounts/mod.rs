//! Users and groups of this host, read from its files: `/etc/passwd`, `/etc/group`, `/etc/shadow`.
//!
//! Never by the C library: a static binary has no name service, and a dynamic one would load foreign code into the
//! agent. Where other sources are configured, [`getent`] asks the host's own tool.

mod files;
pub mod getent;
mod names;

pub use files::{Group, Shadow, User};
pub(crate) use names::Users;

use std::io;
use std::path::Path;

/// The accounts in the files below one root.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<Group>,
    shadow: Vec<Shadow>,
}

impl Accounts {
    /// Reads the files below `root`, `/` for this host. A file that is not there, or a shadow file that this process
    /// may not read, holds nobody.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read(root: &Path) -> io::Result<Accounts> {
        Ok(Accounts {
            users: files::read(&root.join("etc/passwd"))?,
            groups: files::read(&root.join("etc/group"))?,
            shadow: files::read(&root.join("etc/shadow"))?,
        })
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub fn user_by_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub fn group_by_gid(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// The group that `text` names or, if it is a number, numbers.
    pub fn find_group(&self, text: &str) -> Option<&Group> {
        self.group(text).or_else(|| self.group_by_gid(text.parse().ok()?))
    }

    pub fn shadow(&self, name: &str) -> Option<&Shadow> {
        self.shadow.iter().find(|shadow| shadow.name == name)
    }

    /// Names of the groups that list `user` as a member; its primary group lists it rarely.
    pub fn groups_of(&self, user: &str) -> Vec<&str> {
        let lists = |group: &&Group| group.members.iter().any(|member| member == user);
        self.groups.iter().filter(lists).map(|group| group.name.as_str()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A root with a few accounts.
    pub(crate) fn sample_root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join("etc").join(name), text).unwrap();
        write(
            "passwd",
            "root:x:0:0:root:/root:/bin/bash\n# comment\nbroken line\n\
             alice:x:1000:1000:Alice A,,,:/home/alice:/bin/bash\nbob:x:1001:100::/home/bob:\n",
        );
        write("group", "root:x:0:\nusers:x:100:\nalice:x:1000:\nwheel:x:10:alice,bob\ndocker:x:11:alice\n");
        write(
            "shadow",
            "root:*:19000:0:99999:7:::\nalice:!$6$salt$hash:19000:1:90:7:5:20000:\nbob:$6$s$h:19000::::::\n",
        );
        root
    }

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = sample_root();
        let accounts = Accounts::read(root.path()).unwrap();
        assert_eq!(accounts.users.len(), 3);
        assert_eq!(accounts.user("alice").unwrap().home, "/home/alice");
        assert_eq!(accounts.user_by_uid(1001).unwrap().name, "bob");
        assert_eq!(accounts.find_group("wheel"), accounts.find_group("10"));
        assert_eq!(accounts.groups_of("alice"), ["wheel", "docker"]);
        assert!(accounts.user("nobody").is_none());
    }

    #[test]
    fn files_that_are_not_there_hold_nobody() {
        let root = tempfile::tempdir().unwrap();
        assert!(Accounts::read(root.path()).unwrap().users.is_empty());
    }
}
