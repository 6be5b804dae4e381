//! `rustle.builtin.background`: starts another module as a job. Plans do not name it: `async` does.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use crate::arguments;
use crate::background::{self, Work};
use crate::module::{Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct BackgroundArgs {
        /// The module to run.
        _module: String,
        /// The most time it may take, in seconds.
        _limit: u32,
        /// The directory for the files of jobs.
        _async_dir: PathBuf,
        /// The module's arguments.
        args: Map,
    }
}

pub(super) struct Background;

impl Module for Background {
    type Args = BackgroundArgs;

    const NAME: &'static str = background::MODULE;
    const SUMMARY: &'static str = "Starts a module that goes on when the task has ended.";
    const IDEMPOTENT: bool = false;

    fn run(&self, args: BackgroundArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let BackgroundArgs { _module, _limit, _async_dir, args } = args;
        background::start(Work { module: _module, args, limit_seconds: _limit, directory: _async_dir }, cx)
    }
}
