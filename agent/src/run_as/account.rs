//! Who a task is to become: the account and its groups, from the files of this host or from `getent`.

use std::path::Path;

use rustle_protocol::helper::Account;

use crate::accounts::{Accounts, User, getent};
use crate::module::{Doing, ModuleContext, ModuleError};

/// The number in `1000` or, as sudo writes it, `#1000`.
pub(super) fn number(user: &str) -> Option<u32> {
    user.strip_prefix('#').unwrap_or(user).parse().ok()
}

/// # Errors
/// There is no such user on this host, or its files cannot be read.
pub(super) fn find(user: &str, cx: &ModuleContext<'_>) -> Result<Account, ModuleError> {
    let accounts = Accounts::read(Path::new("/")).doing(|| "read /etc/passwd".to_owned())?;
    let local = accounts.user(user).or_else(|| accounts.user_by_uid(number(user)?)).cloned();
    let found = local.or_else(|| getent::user(user.strip_prefix('#').unwrap_or(user), cx));
    let found = found.ok_or_else(|| ModuleError::new(format!("cannot become `{user}`: this host has no such user")))?;
    let groups = getent::group_ids(&found.name, cx).unwrap_or_else(|| local_groups(&accounts, &found));
    let User { name, uid, gid, home, shell, .. } = found;
    Ok(Account { name, uid, gid, groups, home, shell })
}

fn local_groups(accounts: &Accounts, user: &User) -> Vec<u32> {
    let is_member = |members: &[String]| members.contains(&user.name);
    let mut groups = vec![user.gid];
    groups.extend(accounts.groups.iter().filter(|group| is_member(&group.members)).map(|group| group.gid));
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::tests::sample_root;

    #[test]
    fn a_user_has_its_own_group_and_those_that_list_it() {
        let root = sample_root();
        let accounts = Accounts::read(root.path()).unwrap();
        assert_eq!(local_groups(&accounts, accounts.user("alice").unwrap()), [10, 11, 1000]);
        assert_eq!(local_groups(&accounts, accounts.user("bob").unwrap()), [10, 100]);
    }

    #[test]
    fn a_number_may_stand_for_a_user() {
        assert_eq!((number("1000"), number("#1000"), number("alice")), (Some(1000), Some(1000), None));
    }
}
