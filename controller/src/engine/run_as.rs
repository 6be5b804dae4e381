//! The user that a task's call is to run as, once it is known which host it is for.

use rustle_agent::module::FromArg;
use rustle_protocol::message::{Become, BecomeMethod};
use rustle_protocol::{Password, Value};

use super::prepare::{in_keyword, unresolved};
use super::run::RunOptions;
use crate::fault::Fault;
use crate::plan::RunAs;
use crate::template::{Authored, Templar, TemplateError};
use crate::vars::Scope;

/// What was set for all hosts about one way to become another user. A host's variables, keywords and the command line go
/// before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BecomeSettings {
    pub user: Option<String>,
    pub flags: Option<String>,
    pub exe: Option<String>,
    pub password: Option<Password>,
    /// The folder to enter before sudo becomes anybody.
    pub chdir: Option<String>,
    /// What su asks with; any words if there are none.
    pub prompts: Vec<String>,
}

/// The longest list of prompts, and the longest prompt in bytes: more is a slip.
const PROMPTS_MAX: usize = 256;
const PROMPT_BYTES_MAX: usize = 1024;

/// Ansible's order: variables of the host that does the work (`of_target`) and the task go before keywords, those before the
/// command line, and that before settings.
///
/// # Errors
/// In a sentence: what cannot be rendered, or makes no sense.
pub(super) fn become_of(
    task: &RunAs,
    options: &RunOptions,
    templar: &Templar,
    scope: &Scope,
    of_target: &Scope,
) -> Result<Option<Become>, Fault> {
    let said = options.run_as.as_ref().map_or_else(|| task.clone(), |run| task.or(run));
    let wanted = match variable(of_target, "ansible_become")? {
        Some(value) => is_true(&value)?,
        None => match &said.wanted {
            Some(wanted) => wanted
                .render(templar, scope)
                .map_err(|why| in_keyword("become", wanted.template(), why))?
                .unwrap_or(false),
            None => false,
        },
    };
    if !wanted {
        return Ok(None);
    }
    let keyword = |said: &Option<Authored>| match said.as_ref().map(|said| templar.render(said, scope)) {
        None | Some(Err(TemplateError::Omitted)) => Ok(None),
        Some(rendered) => rendered.map(|value| text(&value)).map_err(unresolved),
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
    let settings = options.become_settings.get(method.as_str()).cloned().unwrap_or_default();
    let option = |name: &str, said: &Option<Authored>, set: Option<String>| match variables.option(name)? {
        Some(value) => Ok(text(&value)),
        None => keyword(said).map(|said| said.or(set)),
    };
    Ok(Some(Become {
        user: option("user", &said.user, settings.user)?.unwrap_or_else(|| "root".to_owned()),
        method,
        flags: option("flags", &said.flags, settings.flags)?,
        exe: option("exe", &said.exe, settings.exe)?,
        // Ansible has it for sudo alone.
        chdir: match variable(of_target, "ansible_sudo_chdir")? {
            Some(folder) => text(&folder),
            None => settings.chdir,
        }
        .filter(|_| method == BecomeMethod::Sudo),
        password: match variables.password()? {
            None => options.become_password.clone().or(settings.password),
            password => password,
        },
        prompts: variables.prompts()?.unwrap_or(settings.prompts),
        wait_ms: variables.wait()?,
    }))
}

/// A host's variables about how to become somebody. Those of the method go before those of all methods.
struct Variables<'a> {
    scope: &'a Scope,
    method: BecomeMethod,
}

impl Variables<'_> {
    /// `ansible_sudo_user` or `ansible_become_user`, say.
    fn option(&self, name: &str) -> Result<Option<Value>, Fault> {
        match variable(self.scope, &format!("ansible_{}_{name}", self.method.as_str()))? {
            None => variable(self.scope, &format!("ansible_become_{name}")),
            value => Ok(value),
        }
    }

    fn password(&self) -> Result<Option<Password>, Fault> {
        let value = match self.option("pass")? {
            None => variable(self.scope, "ansible_become_password")?,
            value => value,
        };
        let password = value.as_ref().and_then(text).map(Password::new).transpose();
        password.map_err(|error| format!("ansible_become_password: {error}").into())
    }

    fn prompts(&self) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = variable(self.scope, PROMPTS)? else { return Ok(None) };
        let prompts = Vec::<String>::from_arg(value).map_err(|why| format!("{PROMPTS} {why}"))?;
        let prompts: Vec<String> = prompts.into_iter().filter(|prompt| !prompt.is_empty()).collect();
        match prompts.len() > PROMPTS_MAX || prompts.iter().any(|prompt| prompt.len() > PROMPT_BYTES_MAX) {
            true => Err(format!(
                "{PROMPTS} has more than {PROMPTS_MAX} texts, or one of more than {PROMPT_BYTES_MAX} bytes"
            )
            .into()),
            false => Ok(Some(prompts)),
        }
    }

    /// Milliseconds; 0 where nothing is said, as for what is less than a second.
    fn wait(&self) -> Result<u64, Fault> {
        let Some(value) = variable(self.scope, WAIT)? else { return Ok(0) };
        let seconds = i64::from_arg(value).map_err(|why| format!("{WAIT} {why}"))?;
        Ok(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }
}

/// Ansible's variable for what su asks with.
const PROMPTS: &str = "ansible_su_prompt_l10n";

/// Ansible's variable for the seconds that a method's program may take.
const WAIT: &str = "ansible_local_become_success_timeout";

/// Nothing for an empty text.
fn text(value: &Value) -> Option<String> {
    Some(rustle_agent::module::shown(value)).filter(|text| !text.is_empty())
}

fn variable(scope: &Scope, name: &str) -> Result<Option<Value>, Fault> {
    if !scope.contains(name) {
        return Ok(None);
    }
    scope.get(name).map(Some).map_err(unresolved)
}

fn is_true(value: &Value) -> Result<bool, String> {
    bool::from_arg(value.clone()).map_err(|_| format!("ansible_become must be a bool, not {value}"))
}
