//! Who the agent runs as, and in which environment.

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::Host;
use crate::accounts::Accounts;

pub(super) fn gather(host: &Host<'_>, facts: &mut Map) {
    let mut set = |name: &str, value: Value| drop(facts.insert(name.to_owned(), value));
    let uid = geteuid().as_raw();
    let accounts = Accounts::read(&host.root).unwrap_or_default();
    if let Some(user) = accounts.user_by_uid(uid) {
        set("user_id", user.name.as_str().into());
        set("user_uid", user.uid.into());
        set("user_gid", user.gid.into());
        set("user_gecos", user.gecos.as_str().into());
        set("user_dir", user.home.as_str().into());
        set("user_shell", user.shell.as_str().into());
    } else {
        set("user_id", uid.to_string().into());
        set("user_uid", uid.into());
        set("user_gid", getegid().as_raw().into());
    }
    set("real_user_id", getuid().as_raw().into());
    set("effective_user_id", uid.into());
    set("real_group_id", getgid().as_raw().into());
    set("effective_group_id", getegid().as_raw().into());
}

pub(super) fn gather_env(host: &Host<'_>, facts: &mut Map) {
    let own = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), Value::from(value.to_string_lossy().into_owned())));
    let mut env: Map = own.collect();
    env.extend(host.cx.environment.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
    facts.insert("env".into(), Value::Map(env));
}
