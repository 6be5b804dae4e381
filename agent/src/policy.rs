//! What this host allows, whatever a controller asks: the last word is the target's.

use rustle_protocol::HostName;
use rustle_protocol::message::{Become, Call, Refusal, RefusalCode};
use serde::Deserialize;

use crate::background;
use crate::module::short_name;
use crate::run_as;

/// Stands for every user.
const EVERYBODY: &str = "*";

/// Modules that run what the controller sends. What that does in check mode is its own affair.
const FOREIGN_CODE: [&str; 2] = ["rustle.builtin.program", "rustle.builtin.python"];

/// The `[policy]` section of the agent's configuration. Everything is allowed by default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Names of the controllers that may give work; empty for every controller of the fleet.
    pub controllers: Vec<HostName>,
    /// The only modules that may run; empty for all. Short names.
    pub modules: Vec<String>,
    /// Modules that may not run, even if `modules` has them.
    pub modules_denied: Vec<String>,
    /// Only calls in check mode are taken: nothing on this host is changed.
    pub check_only: bool,
    /// The only users that tasks may become, besides the one the agent runs as; `*` for all of them, empty for none.
    pub become_users: Vec<String>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            controllers: Vec::new(),
            modules: Vec::new(),
            modules_denied: Vec::new(),
            check_only: false,
            become_users: vec![EVERYBODY.to_owned()],
        }
    }
}

impl Policy {
    /// # Errors
    /// The refusal to send.
    pub fn admit_controller(&self, name: &HostName) -> Result<(), Refusal> {
        if self.controllers.is_empty() || self.controllers.contains(name) {
            return Ok(());
        }
        Err(refusal(format!("controller `{name}` is not among [policy] controllers of this agent")))
    }

    /// # Errors
    /// The refusal to send.
    pub fn admit_call(&self, call: &Call) -> Result<(), Refusal> {
        // A job's module is what runs.
        let inner = (call.module == background::MODULE).then(|| call.args.0.get("_module")?.as_str()).flatten();
        let module = inner.unwrap_or(&call.module);
        if inner.is_none() && call.module == background::MODULE {
            return Err(refusal("a job without a module".into()));
        }
        let is_foreign = FOREIGN_CODE.contains(&module);
        let module = short_name(module);
        let listed = |list: &[String]| list.iter().any(|name| short_name(name) == module);
        if listed(&self.modules_denied) || !(self.modules.is_empty() || listed(&self.modules)) {
            return Err(refusal(format!("module `{module}` is not allowed by [policy] of this agent")));
        }
        if self.check_only && !call.check {
            return Err(refusal("[policy] check_only is set on this agent: only check mode (--check) is taken".into()));
        }
        if self.check_only && is_foreign {
            let why = "a custom module only promises to change nothing in check mode";
            return Err(refusal(format!("[policy] check_only is set on this agent: {why}")));
        }
        match &call.become_user {
            Some(Become { user, .. }) if !self.may_become(user) => {
                Err(refusal(format!("tasks may not become `{user}` by [policy] of this agent")))
            }
            _ => Ok(()),
        }
    }

    /// A name is compared as it is written: a number that stands for a listed user is not listed.
    fn may_become(&self, user: &str) -> bool {
        self.become_users.iter().any(|listed| listed == user || listed == EVERYBODY) || run_as::is_own_user(user)
    }
}

fn refusal(message: String) -> Refusal {
    Refusal { code: RefusalCode::Policy, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustle_protocol::{CallKey, RunId};

    fn call(module: &str, check: bool) -> Call {
        let key = CallKey { run: RunId::from_u128(1), task: 0, round: 0, item: 0, attempt: 1 };
        Call {
            key,
            module: module.into(),
            args: Default::default(),
            check,
            diff: false,
            timeout_ms: 0,
            live_output: false,
            no_log: false,
            ignore_failure: false,
            environment: Vec::new(),
            become_user: None,
            verbosity: 0,
        }
    }

    #[test]
    fn everything_is_allowed_by_default() {
        let policy = Policy::default();
        assert!(policy.admit_call(&call("shell", false)).is_ok());
        assert!(policy.admit_controller(&"anyone".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_job_is_judged_by_the_module_it_runs() {
        let job = |module: &str| {
            let mut job = call(background::MODULE, true);
            job.args.0.insert("_module".to_owned(), module.into());
            job
        };
        let denied = Policy { modules_denied: vec!["shell".into()], ..Policy::default() };
        assert!(denied.admit_call(&job("ansible.builtin.shell")).is_err());
        assert!(denied.admit_call(&job("ansible.builtin.command")).is_ok());
        assert!(denied.admit_call(&call(background::MODULE, false)).is_err(), "a job without a module");
        let checking = Policy { check_only: true, ..Policy::default() };
        assert!(checking.admit_call(&job("rustle.builtin.python")).is_err());
        let listed = Policy { modules: vec!["ping".into()], ..Policy::default() };
        assert!(listed.admit_call(&job("ping")).is_ok() && listed.admit_call(&job("shell")).is_err());
    }

    #[test]
    fn a_denied_module_is_refused_under_every_name_it_has() {
        let policy = Policy { modules_denied: vec!["shell".into()], ..Policy::default() };
        for name in ["shell", "ansible.builtin.shell", "ansible.legacy.shell"] {
            assert_eq!(policy.admit_call(&call(name, false)).unwrap_err().code, RefusalCode::Policy, "{name}");
        }
        assert!(policy.admit_call(&call("command", false)).is_ok());
    }

    #[test]
    fn an_allow_list_refuses_all_else() {
        let policy = Policy { modules: vec!["ansible.builtin.stat".into()], ..Policy::default() };
        assert!(policy.admit_call(&call("stat", false)).is_ok());
        assert!(policy.admit_call(&call("copy", false)).is_err());
    }

    #[test]
    fn check_only_takes_nothing_that_could_change_the_host() {
        let policy = Policy { check_only: true, ..Policy::default() };
        assert!(policy.admit_call(&call("copy", true)).is_ok());
        assert!(policy.admit_call(&call("copy", false)).is_err());
        for foreign in FOREIGN_CODE {
            assert!(policy.admit_call(&call(foreign, true)).is_err(), "{foreign} may do what it likes");
        }
    }

    #[test]
    fn only_listed_users_are_become_under_the_names_they_are_listed_by() {
        let becoming = |user: &str| Call {
            become_user: Some(Become {
                user: user.into(),
                method: Default::default(),
                flags: None,
                exe: None,
                chdir: None,
                password: None,
                prompts: Vec::new(),
                wait_ms: 0,
            }),
            ..call("command", false)
        };
        let policy = Policy { become_users: vec!["app".into()], ..Policy::default() };
        assert!(policy.admit_call(&becoming("app")).is_ok() && policy.admit_call(&call("command", false)).is_ok());
        for other in ["postgres", "#12345", "12345", "app ", ""] {
            assert_eq!(policy.admit_call(&becoming(other)).unwrap_err().code, RefusalCode::Policy, "{other:?}");
        }
        let own = rustix::process::geteuid().to_string();
        assert!(policy.admit_call(&becoming(&own)).is_ok(), "a task without become runs as this user, too");
        let nobody = Policy { become_users: Vec::new(), ..Policy::default() };
        assert!(nobody.admit_call(&becoming("app")).is_err());
        assert!(Policy::default().admit_call(&becoming("anybody")).is_ok());
    }

    #[test]
    fn only_listed_controllers_are_admitted() {
        let policy = Policy { controllers: vec!["ops1".parse().unwrap()], ..Policy::default() };
        assert!(policy.admit_controller(&"ops1".parse().unwrap()).is_ok());
        assert!(policy.admit_controller(&"ops2".parse().unwrap()).is_err());
    }
}
