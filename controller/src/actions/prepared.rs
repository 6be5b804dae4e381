//! Actions that prepare the arguments of the agent's module of the same name, which does the rest.

use futures::FutureExt;
use futures::future::BoxFuture;
use rustle_agent::module::{AnyModule, ArgError, ArgSpec};
use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use crate::engine::{ExecutionContext, ModuleExecutor, Stop};
use crate::event::FailedIn;

/// What the controller has to do before the agent's module can run.
pub(super) trait Prepare: Send + Sync {
    /// Of the agent's module, qualified.
    const NAME: &'static str;

    /// See [`ModuleExecutor::supports_async`].
    const SUPPORTS_ASYNC: bool = false;

    /// Whether Ansible has an action of this name, too.
    const IS_ACTION: bool = true;

    /// See [`ModuleExecutor::refuses_as`]: the name by which Ansible's action runs the module, none if that is the task's own.
    const RUN_AS: Option<&'static str> = None;

    /// Where Ansible fails of what [`check`](Self::check) says.
    const REFUSES_IN: FailedIn = FailedIn::Task;

    /// What Ansible's action looks at before its module does.
    ///
    /// # Errors
    /// In Ansible's words.
    fn check(_args: &Map) -> Result<(), ArgError> {
        Ok(())
    }

    /// Puts into the arguments what only the controller has.
    ///
    /// # Errors
    /// The failed task's message.
    fn prepare<'a>(args: Map, cx: &'a ExecutionContext<'_>) -> BoxFuture<'a, Result<Map, String>>;
}

/// A [`Prepare`] as the engine takes it.
pub(super) struct Prepared<A> {
    module: &'static dyn AnyModule,
    action: std::marker::PhantomData<fn() -> A>,
}

impl<A: Prepare> Prepared<A> {
    pub(super) fn new() -> Prepared<A> {
        let module =
            rustle_agent::modules::find(A::NAME).expect("an action's agent module is among the agent's modules");
        Prepared { module, action: std::marker::PhantomData }
    }
}

impl<A: Prepare + 'static> ModuleExecutor for Prepared<A> {
    fn name(&self) -> &str {
        A::NAME
    }

    fn summary(&self) -> &str {
        self.module.summary()
    }

    fn supports_check_mode(&self) -> bool {
        self.module.supports_check()
    }

    fn is_action(&self) -> bool {
        A::IS_ACTION
    }

    fn refuses_as<'n>(&'n self, written: &'n str) -> &'n str {
        A::RUN_AS.unwrap_or(written)
    }

    fn supports_diff(&self) -> bool {
        self.module.supports_diff()
    }

    fn lists_diffs(&self) -> bool {
        self.module.lists_diffs()
    }

    fn is_idempotent(&self) -> bool {
        self.module.is_idempotent()
    }

    fn supports_async(&self) -> bool {
        A::SUPPORTS_ASYNC
    }

    fn arg_groups(&self) -> &'static [&'static [ArgSpec]] {
        self.module.arg_groups()
    }

    fn takes_any_arguments(&self) -> bool {
        self.module.takes_any_arguments()
    }

    fn validate_args(&self, args: &Map) -> Result<(), ArgError> {
        A::check(args)?;
        self.module.validate(args.clone())
    }

    fn refuses_in(&self, args: &Map) -> FailedIn {
        if A::check(args).is_err() { A::REFUSES_IN } else { FailedIn::Module }
    }

    fn execute<'a>(&'a self, args: Map, cx: &'a mut ExecutionContext<'_>) -> BoxFuture<'a, Result<ModuleResult, Stop>> {
        async move {
            match A::prepare(args, cx).await {
                Ok(args) => cx.call(A::NAME, args).await,
                Err(message) => {
                    cx.failed_in = Some(FailedIn::Task);
                    Ok(ModuleResult::failed(message))
                }
            }
        }
        .boxed()
    }
}
