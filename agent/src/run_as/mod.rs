//! Work as another user: `become`.
//!
//! Credentials belong to a process, so the agent never changes its own. A module that is to run as somebody else runs in
//! a short-lived copy of this program, the *helper*: the agent starts it by `posix_spawn`, by itself or through sudo, su
//! or runuser, and talks to it in frames over its standard streams ([`rustle_protocol::helper`]). So no argument and no
//! secret ever stands in a command line or in an environment. Output, files from the controller, cancellation and
//! time-outs go through it as if the module ran in the agent.

mod account;
mod conversation;
mod helper;
mod launch;
mod prompt;

use std::path::Path;

use rustix::process::geteuid;
use rustle_protocol::ModuleResult;
use rustle_protocol::helper::ToHelper;
use rustle_protocol::message::{Become, Call, Refusal, RefusalCode};

use self::conversation::NotRun;
use crate::accounts::Accounts;
use crate::module::ModuleContext;

pub use helper::serve_if_helper;

/// The only argument of a program that is started as a helper.
pub(crate) const HELPER_ARGUMENT: &str = "run-as-helper";

/// Whether `user`, a name or a number, is who this process runs as: then nothing has to change.
pub(crate) fn is_own_user(user: &str) -> bool {
    let us = geteuid();
    match account::number(user) {
        Some(uid) => uid == us.as_raw(),
        None if user == "root" => us.is_root(),
        None => Accounts::read(Path::new("/"))
            .is_ok_and(|accounts| accounts.user(user).is_some_and(|account| account.uid == us.as_raw())),
    }
}

/// Runs `call` as the user that is `wanted`, in a helper. The call itself says nothing of that user any more: the helper
/// belongs to the user, and a password that stood in the call would be the user's to read.
///
/// # Errors
/// The program that was to make it another user's neither asked nor began in time: nothing was done.
pub(crate) fn run(wanted: &Become, call: Box<Call>, cx: &ModuleContext<'_>) -> Result<ModuleResult, Refusal> {
    match try_run(wanted, call, cx) {
        Ok(result) => Ok(result),
        Err(NotRun::Failed(error)) => Ok(error.into_result()),
        Err(NotRun::Late(message)) => Err(Refusal { code: RefusalCode::BecomeWait, message }),
    }
}

fn try_run(wanted: &Become, call: Box<Call>, cx: &ModuleContext<'_>) -> Result<ModuleResult, NotRun> {
    let account = account::find(&wanted.user, cx)?;
    let launch = launch::launch(wanted, &account)?;
    let begin = ToHelper::Begin { call, account, switch: launch.switch };
    conversation::hold(launch, wanted.password.as_ref(), &begin, cx)
}
