//! What a template file may say of itself: `template_path`, `ansible_managed` and the like.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::{DateTime, Local};
use rustle_agent::accounts::Accounts;
use rustle_protocol::Value;

use crate::vars::{Scope, VarMap, Variable};

/// As Python shows a time.
const TIME: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// The variables about the template file at `path`, which is to become `dest`. `ansible_managed` is the author's own, where
/// there is one.
pub(crate) fn file_vars(path: &Path, dest: Option<&Value>, scope: &Scope) -> VarMap {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = std::fs::metadata(path).ok();
    let owner = found.as_ref().map(|found| user_name(found.uid())).unwrap_or_default();
    let changed = found.and_then(|found| found.modified().ok()).map(DateTime::<Local>::from);
    let mut vars: VarMap = [
        ("template_host", host),
        ("template_path", text(path)),
        ("template_fullpath", text(&full)),
        ("template_uid", owner),
        ("template_mtime", changed.map(|time| time.format(TIME).to_string()).unwrap_or_default()),
        ("template_run_date", Local::now().format(TIME).to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Variable::data(value)))
    .collect();
    if !scope.contains("ansible_managed") {
        vars.insert("ansible_managed".to_owned(), Variable::data("Ansible managed"));
    }
    if let Some(dest) = dest {
        vars.insert("template_destpath".to_owned(), Variable::data(dest.clone()));
    }
    vars
}

/// The user's name, or the number of one without.
fn user_name(uid: u32) -> String {
    let accounts = Accounts::read(Path::new("/")).unwrap_or_default();
    accounts.user_by_uid(uid).map_or_else(|| uid.to_string(), |user| user.name.clone())
}
