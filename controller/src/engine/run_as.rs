//! The user that a task's call is to run as, once it is known which host it is for.

use rustle_protocol::Value;
use rustle_protocol::message::Become;

use super::prepare::{in_keyword, unresolved};
use crate::plan::RunAs;
use crate::template::{Authored, Templar, TemplateError};
use crate::vars::Scope;

/// Ansible's order: variables of the host that does the work (`of_target`) and the task go before keywords, and those before the command line.
///
/// # Errors
/// In a sentence: what cannot be rendered, or makes no sense.
pub(super) fn become_of(
    task: &RunAs,
    run: Option<&RunAs>,
    templar: &Templar,
    scope: &Scope,
    of_target: &Scope,
) -> Result<Option<Become>, String> {
    let said = run.map_or_else(|| task.clone(), |run| task.or(run));
    let wanted = match variable(of_target, "ansible_become")? {
        Some(value) => is_true(&value)?,
        None => match &said.wanted {
            Some(wanted) => wanted.render(templar, scope).map_err(|why| in_keyword("become", why))?.unwrap_or(false),
            None => false,
        },
    };
    if !wanted {
        return Ok(None);
    }
    let text = |name: &str, said: &Option<Authored>| -> Result<Option<String>, String> {
        let value = match (variable(of_target, name)?, said) {
            (Some(value), _) => value,
            (None, Some(said)) => match templar.render(said, scope) {
                Err(TemplateError::Omitted) => return Ok(None),
                rendered => rendered.map_err(|error| unresolved(&error))?,
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(rustle_agent::module::shown(&value)).filter(|text| !text.is_empty()))
    };
    let user = text("ansible_become_user", &said.user)?.unwrap_or_else(|| "root".to_owned());
    let method = match text("ansible_become_method", &said.method)? {
        Some(name) => name.parse().map_err(|error: rustle_protocol::message::UnknownMethod| error.to_string())?,
        None => Default::default(),
    };
    let flags = text("ansible_become_flags", &said.flags)?;
    let exe = text("ansible_become_exe", &said.exe)?;
    Ok(Some(Become { user, method, flags, exe }))
}

fn variable(scope: &Scope, name: &str) -> Result<Option<Value>, String> {
    if !scope.contains(name) {
        return Ok(None);
    }
    scope.get(name).map(Some).map_err(|error| unresolved(&error))
}

fn is_true(value: &Value) -> Result<bool, String> {
    <bool as rustle_agent::module::FromArg>::from_arg(value.clone())
        .map_err(|_| format!("ansible_become must be a bool, not {value}"))
}
