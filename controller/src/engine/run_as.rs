//! The user that a task's call is to run as, once it is known which host it is for.

use rustle_protocol::message::{Become, BecomeMethod};
use rustle_protocol::{Password, Value};

use super::prepare::{in_keyword, unresolved};
use super::run::RunOptions;
use crate::plan::RunAs;
use crate::template::{Authored, Templar, TemplateError};
use crate::vars::Scope;

/// Ansible's order: variables of the host that does the work (`of_target`) and the task go before keywords, and those before the command line.
///
/// # Errors
/// In a sentence: what cannot be rendered, or makes no sense.
pub(super) fn become_of(
    task: &RunAs,
    options: &RunOptions,
    templar: &Templar,
    scope: &Scope,
    of_target: &Scope,
) -> Result<Option<Become>, String> {
    let said = options.run_as.as_ref().map_or_else(|| task.clone(), |run| task.or(run));
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
    let keyword = |said: &Option<Authored>| match said.as_ref().map(|said| templar.render(said, scope)) {
        None | Some(Err(TemplateError::Omitted)) => Ok(None),
        Some(rendered) => rendered.map(|value| text(&value)).map_err(|error| unresolved(&error)),
    };
    let method = match variable(of_target, "ansible_become_method")? {
        Some(value) => text(&value),
        None => keyword(&said.method)?,
    };
    let method: BecomeMethod = match method {
        Some(name) => name.parse().map_err(|error: rustle_protocol::message::UnknownMethod| error.to_string())?,
        None => BecomeMethod::default(),
    };
    let variables = Variables { scope: of_target, method };
    let option = |name: &str, said: &Option<Authored>| match variables.option(name)? {
        Some(value) => Ok(text(&value)),
        None => keyword(said),
    };
    Ok(Some(Become {
        user: option("user", &said.user)?.unwrap_or_else(|| "root".to_owned()),
        method,
        flags: option("flags", &said.flags)?,
        exe: option("exe", &said.exe)?,
        // Ansible has it for sudo alone.
        chdir: variable(of_target, "ansible_sudo_chdir")?
            .filter(|_| method == BecomeMethod::Sudo)
            .as_ref()
            .and_then(text),
        password: match variables.password()? {
            None => options.become_password.clone(),
            password => password,
        },
    }))
}

/// A host's variables about how to become somebody. Those of the method go before those of all methods.
struct Variables<'a> {
    scope: &'a Scope,
    method: BecomeMethod,
}

impl Variables<'_> {
    /// `ansible_sudo_user` or `ansible_become_user`, say.
    fn option(&self, name: &str) -> Result<Option<Value>, String> {
        match variable(self.scope, &format!("ansible_{}_{name}", self.method.as_str()))? {
            None => variable(self.scope, &format!("ansible_become_{name}")),
            value => Ok(value),
        }
    }

    fn password(&self) -> Result<Option<Password>, String> {
        let value = match self.option("pass")? {
            None => variable(self.scope, "ansible_become_password")?,
            value => value,
        };
        let password = value.as_ref().and_then(text).map(Password::new).transpose();
        password.map_err(|error| format!("ansible_become_password: {error}"))
    }
}

/// Nothing for an empty text.
fn text(value: &Value) -> Option<String> {
    Some(rustle_agent::module::shown(value)).filter(|text| !text.is_empty())
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
