//! What a module is: a name, typed arguments, what it promises, and `run`.
//!
//! To add one: a file under `modules/`, one line in [`crate::modules::MODULES`]. Its documentation, its arguments, its
//! check-mode behaviour and its tests stand together in that file.

pub mod args;
mod cancel;
mod context;
mod error;
#[cfg(test)]
pub(crate) mod testing;

pub use args::{ArgError, ArgKind, ArgSpec, BlobRef, FromArg, Mode, ModuleArgs};
pub use cancel::{CancelReason, CancelToken};
pub use context::{BlobSource, ModuleContext, NoBlobs, NoOutput, OutputSink};
pub use error::{Doing, ModuleError};

use std::path::PathBuf;

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::accounts::Users;
use crate::files::node;

/// A module: work done on one host, described by Ansible's name and arguments.
///
/// `run` may block: it has a thread of its own. It must look at [`ModuleContext::cancel`] wherever it waits. In check
/// mode it changes nothing at all on the host and reports what it would have changed.
pub trait Module: Sync {
    type Args: ModuleArgs;

    /// Fully qualified: `ansible.builtin.copy`.
    const NAME: &'static str;
    /// One sentence, for the generated documentation.
    const SUMMARY: &'static str;
    /// Other names it answers to, without the collection.
    const ALIASES: &'static [&'static str] = &[];
    const SUPPORTS_CHECK: bool = true;
    const SUPPORTS_DIFF: bool = false;
    /// `diff` is a list in Ansible's result of it, also of one.
    const LISTS_DIFFS: bool = false;
    /// May be run again when nobody knows whether it ran: a second run after a whole or half first one ends in the same
    /// state. True of modules that describe a state, false of those that do something.
    const IDEMPOTENT: bool;

    /// Arguments of which a task may give only one.
    const EXCLUSIVE: &'static [&'static [&'static str]] = &[];

    /// Rules between arguments, beyond each one's own type and [`EXCLUSIVE`](Self::EXCLUSIVE): ones that need another.
    ///
    /// # Errors
    /// The rule that is broken, in Ansible's words where it has any.
    fn check_args(_args: &Self::Args) -> Result<(), ArgError> {
        Ok(())
    }

    /// # Errors
    /// A failed result: the task failed on this host.
    fn run(&self, args: Self::Args, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError>;
}

/// [`Module`] without its argument type, for lists.
pub trait AnyModule: Sync {
    fn name(&self) -> &'static str;
    fn summary(&self) -> &'static str;
    fn aliases(&self) -> &'static [&'static str];
    fn supports_check(&self) -> bool;
    fn supports_diff(&self) -> bool;
    fn lists_diffs(&self) -> bool;
    fn is_idempotent(&self) -> bool;
    /// See [`ModuleArgs::TAKES_ANY`].
    fn takes_any_arguments(&self) -> bool;
    /// Every argument, groups in the order of documentation.
    fn arg_groups(&self) -> &'static [&'static [ArgSpec]];
    /// Parses and checks `args` and does nothing with them.
    ///
    /// # Errors
    /// The first argument that is unknown, missing or of the wrong type.
    fn validate(&self, args: Map) -> Result<(), ArgError>;
    /// Parses `args` and runs. Arguments that do not fit are a failed result.
    fn run(&self, args: Map, cx: &ModuleContext<'_>) -> ModuleResult;
}

impl<M: Module> AnyModule for M {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn summary(&self) -> &'static str {
        M::SUMMARY
    }

    fn aliases(&self) -> &'static [&'static str] {
        M::ALIASES
    }

    fn supports_check(&self) -> bool {
        M::SUPPORTS_CHECK
    }

    fn supports_diff(&self) -> bool {
        M::SUPPORTS_DIFF
    }

    fn lists_diffs(&self) -> bool {
        M::LISTS_DIFFS
    }

    fn is_idempotent(&self) -> bool {
        M::IDEMPOTENT
    }

    fn takes_any_arguments(&self) -> bool {
        M::Args::TAKES_ANY
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        M::Args::GROUPS
    }

    fn validate(&self, args: Map) -> Result<(), ArgError> {
        parse::<M>(args).map(drop)
    }

    fn run(&self, args: Map, cx: &ModuleContext<'_>) -> ModuleResult {
        let both_set = args::both_set(&args, M::Args::GROUPS);
        let args = match parse::<M>(args) {
            Ok(args) => args,
            Err(error) => return ModuleResult::failed(error.to_string()),
        };
        if cx.check && !M::SUPPORTS_CHECK {
            let name = M::NAME.rsplit('.').next().unwrap_or(M::NAME);
            return ModuleResult::skipped(format!("remote module ({name}) does not support check mode"));
        }
        let mut result = Module::run(self, args, cx).unwrap_or_else(|error| described(error.into_result(), cx));
        result.warnings.extend(both_set);
        result
    }
}

fn parse<M: Module>(args: Map) -> Result<M::Args, ArgError> {
    args::parse_checked(short_name(M::NAME), args, M::EXCLUSIVE, M::check_args)
}

/// A failed result that names a file tells what is there, as Ansible's do.
fn described(mut result: ModuleResult, cx: &ModuleContext<'_>) -> ModuleResult {
    let named = ["path", "dest"].iter().find_map(|name| result.get(name)).and_then(Value::as_str);
    if let Some(path) = named.map(PathBuf::from) {
        // What cannot be looked at is not why the task failed.
        let _ = node::describe(&mut result, &path, &Users::new(cx.cancel));
    }
    result
}

/// The last part of a dotted name: `copy` of `ansible.builtin.copy`.
pub fn short_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether `value` is text or a list of text, joined for a message.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
