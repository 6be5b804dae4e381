//! `ping`: the agent is there and can run modules.

use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::module::{Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct PingArgs {
        /// What to answer. `crash` makes the module panic, to try what a panic does.
        data: String = "pong".into(),
    }
}

pub(super) struct Ping;

impl Module for Ping {
    type Args = PingArgs;

    const NAME: &'static str = "ansible.builtin.ping";
    const SUMMARY: &'static str = "Answers, if the agent can run modules.";
    const IDEMPOTENT: bool = true;

    #[expect(clippy::panic, reason = "documented: `data: crash` is how Ansible lets people try a crash")]
    fn run(&self, args: PingArgs, _cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        if args.data == "crash" {
            panic!("boom");
        }
        Ok(ModuleResult::ok().with("ping", args.data))
    }
}
