//! `package`: the variable `ansible_package_use` names the manager if the task does not.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_protocol::value::Map;

use super::prepared::Prepare;
use crate::engine::ExecutionContext;

/// Ansible's variable for the manager of a host or a task.
const USE: &str = "ansible_package_use";

pub(super) struct Package;

impl Prepare for Package {
    const NAME: &'static str = "ansible.builtin.package";
    const RUN_AS: Option<&'static str> = Some("ansible.legacy.apt");
    const SUPPORTS_ASYNC: bool = true;

    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>> {
        std::future::ready(with_manager(args, cx)).boxed()
    }
}

fn with_manager(mut args: Map, cx: &ExecutionContext<'_>) -> Result<Map, String> {
    let is_open = args.get("use").is_none_or(|manager| manager.is_null() || manager.as_str() == Some("auto"));
    if is_open && cx.scope.contains(USE) {
        args.insert("use".to_owned(), cx.scope.get(USE).map_err(|error| format!("{USE}: {error}"))?);
    }
    Ok(args)
}
