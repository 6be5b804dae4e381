//! Accounts from elsewhere than the files: a directory server, say. Asked by the host's own `getent`.

use std::path::Path;

use super::files::{Entry, parse};
use super::{Group, User};
use crate::module::{CancelToken, ModuleContext};
use crate::process::{Program, tool};

/// Sources that the files answer for already.
const LOCAL_SOURCES: [&str; 4] = ["files", "compat", "db", "systemd"];

/// The user of that name or number, if `nsswitch.conf` names a source other than the files and that source knows it.
pub fn user(name: &str, cx: &ModuleContext<'_>) -> Option<User> {
    ask_remote(name, cx)
}

/// The group of that name or number; as [`user`].
pub fn group(name: &str, cx: &ModuleContext<'_>) -> Option<Group> {
    ask_remote(name, cx)
}

/// Every group the user is in, its own included; `None` if the files say it all.
pub fn group_ids(user: &str, cx: &ModuleContext<'_>) -> Option<Vec<u32>> {
    if !["group", "initgroups"].iter().any(|database| has_remote_source(etc(), database)) {
        return None;
    }
    let ended = Program::new("id").args(["-G", "--", user]).plain().run(cx).ok()?;
    let ids: Option<Vec<u32>> = ended.stdout.text().split_whitespace().map(|id| id.parse().ok()).collect();
    ids.filter(|ids| !ids.is_empty())
}

fn ask_remote<E: Entry>(key: &str, cx: &ModuleContext<'_>) -> Option<E> {
    has_remote_source(etc(), E::DATABASE).then(|| ask(key, cx.cancel)).flatten()
}

fn etc() -> &'static Path {
    Path::new("/etc")
}

/// What any source of the host says of a name or number; nothing, too, where there is no `getent`.
pub(super) fn ask<E: Entry>(key: &str, cancel: &CancelToken) -> Option<E> {
    let output = tool::run(&["getent", E::DATABASE, "--", key], &[], cancel).ok()?;
    parse(&String::from_utf8_lossy(&output.stdout)).into_iter().next()
}

/// Whether `nsswitch.conf` in `etc` names another source than the files.
pub(super) fn has_remote_source(etc: &Path, database: &str) -> bool {
    let configuration = std::fs::read_to_string(etc.join("nsswitch.conf")).unwrap_or_default();
    names_remote_source(&configuration, database)
}

fn names_remote_source(configuration: &str, database: &str) -> bool {
    let lines = configuration.lines().map(|line| line.split('#').next().unwrap_or_default());
    let sources = lines.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() == database);
    sources
        .flat_map(|(_, sources)| sources.split_whitespace())
        .any(|source| !source.starts_with('[') && !source.ends_with(']') && !LOCAL_SOURCES.contains(&source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_foreign_source_is_worth_a_process() {
        let local = "passwd: files systemd\n# passwd: ldap\ngroup: files [SUCCESS=merge] systemd # sss\n";
        assert!(!names_remote_source(local, "passwd") && !names_remote_source(local, "group"));
        assert!(names_remote_source("passwd: files sss\n", "passwd"));
        assert!(!names_remote_source("", "passwd"));
    }
}
