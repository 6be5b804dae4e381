//! What a task's call is made of on one host: module, arguments, settings.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::background::InBackground;
use super::context::CallSettings;
use super::module::ModuleExecutor;
use super::result::Tried;
use super::run_as::become_of;
use super::target::Target;
use super::task::TaskRun;
use crate::event::RunEvent;
use crate::fault::Fault;
use crate::origin::Origin;
use crate::plan::check::no_inner_arguments;
use crate::plan::{Keyword, KeywordValue};
use crate::template::{Authored, TemplateError, needs_rendering, python_repr};
use crate::vars::Scope;

/// What every try of an item is given.
pub(super) struct Prepared {
    pub(super) module: Arc<dyn ModuleExecutor>,
    pub(super) args: Map,
    pub(super) target: Target,
    /// The task's variables, with those of whom it is delegated to.
    pub(super) scope: Scope,
    pub(super) settings: CallSettings,
    pub(super) background: Option<InBackground>,
}

impl TaskRun<'_> {
    /// What is the same for all tries: arguments are rendered once, whatever they look up.
    pub(super) fn prepared(&self, scope: &Scope) -> Result<Prepared, Box<Tried>> {
        let fail = |fault: Fault| Box::new(Tried::failed(fault));
        let name = self.module_name(scope).map_err(fail)?;
        let found = self.run.environment.registry.find(&name);
        let module = found.ok_or_else(|| fail(format!("there is no module `{name}`").into()))?;
        let target = self.target(scope).map_err(fail)?;
        let scope = target.seen_by_task(scope);
        let (args, settings) = self.prepare(module.as_ref(), &scope, &target).map_err(|mut tried| {
            target.note(&mut tried);
            tried
        })?;
        if settings.check && !module.supports_check_mode() {
            return Err(Box::new(Tried::finished(module.skipped_in_check_mode(&self.task.module))));
        }
        let background = self.background(&scope).map_err(fail)?;
        if background.is_some() && !module.supports_async() {
            return Err(fail(format!("This action ({}) does not support async.", self.task.module).into()));
        }
        Ok(Prepared { module, args, target, scope, settings, background })
    }

    fn background(&self, scope: &Scope) -> Result<Option<InBackground>, Fault> {
        let Some(background) = &self.task.background else { return Ok(None) };
        let limit = self.rendered(&background.limit, "async", scope)?;
        let poll = self.rendered(&background.poll, "poll", scope)?;
        Ok((!limit.is_zero()).then_some(InBackground { limit, poll }))
    }

    /// The module that is to run: `action` may name it by a template.
    fn module_name(&self, scope: &Scope) -> Result<Cow<'_, str>, Fault> {
        if !needs_rendering(&self.task.module) {
            return Ok(Cow::Borrowed(&self.task.module));
        }
        let name = self.run.templar().render_text(&self.task.module, scope);
        name.map(Cow::Owned).map_err(unresolved)
    }

    /// Arguments and settings for this host, or the failure that they cannot be had.
    pub(super) fn prepare(
        &self,
        module: &dyn ModuleExecutor,
        scope: &Scope,
        target: &Target,
    ) -> Result<(Map, CallSettings), Box<Tried>> {
        let fail = |fault: Fault| Box::new(Tried::failed(fault));
        let args = self.args(module, scope).map_err(fail)?;
        self.judge_untrusted(&args).map_err(fail)?;
        if self.work.rescued && self.task.looping.is_none() {
            // Rendered once, whatever it takes to do it.
            let _ = self.given.set(args.clone());
        }
        let name = self.module_name(scope).map_err(fail)?;
        no_inner_arguments(module.name(), args.keys())
            .and_then(|()| module.validate_args(&args))
            .map_err(|error| error.told_of(module.refuses_as(&name)).to_string())
            .map_err(|why| Box::new(Tried::failed(why).found_in(module.refuses_in(&args))))?;
        let environment = self.environment(scope).map_err(fail)?;
        Ok((args, self.settings(environment, scope, target).map_err(fail)?))
    }

    /// Says what is to be said of arguments that look like templates.
    fn judge_untrusted(&self, args: &Map) -> Result<(), Fault> {
        for value in args.values() {
            for text in self.run.options.untrusted.judge(value).map_err(unresolved)? {
                self.run.sink.emit(RunEvent::Warning { message: untrusted(text), host: None });
            }
        }
        Ok(())
    }

    fn environment(&self, scope: &Scope) -> Result<Map, Fault> {
        let templar = self.run.templar();
        let mut environment = Map::new();
        let failed = |error: TemplateError| {
            let written = self.task.environment.iter().map(Authored::source).collect();
            let origin = Origin::unknown(&python_repr(&written));
            Fault::from(error).within("Error processing keyword 'environment'", Some(&origin)).of_task()
        };
        for part in &self.task.environment {
            match templar.render_optional(part, scope).map_err(failed)? {
                None => {}
                Some(Value::Map(part)) => environment.extend(part),
                Some(_) => {
                    let written = python_repr(&Value::List(vec![part.source()]));
                    let message = format!("could not parse environment value, skipping: {written}");
                    self.run.sink.emit(RunEvent::Warning { message, host: None });
                }
            }
        }
        Ok(environment)
    }

    /// What a keyword says on this host, or the sentence that says why it says nothing.
    pub(super) fn rendered<T: KeywordValue + Default>(
        &self,
        keyword: &Keyword<T>,
        name: &str,
        scope: &Scope,
    ) -> Result<T, Fault> {
        self.rendered_or(Some(keyword), name, T::default(), scope)
    }

    /// As [`rendered`](Self::rendered); `default` for what is not said, or omitted.
    fn rendered_or<T: KeywordValue>(
        &self,
        keyword: Option<&Keyword<T>>,
        name: &str,
        default: T,
        scope: &Scope,
    ) -> Result<T, Fault> {
        let Some(keyword) = keyword else { return Ok(default) };
        let rendered =
            keyword.render(self.run.templar(), scope).map_err(|why| in_keyword(name, keyword.template(), why))?;
        Ok(rendered.unwrap_or(default))
    }

    fn settings(&self, environment: Map, scope: &Scope, target: &Target) -> Result<CallSettings, Fault> {
        let (options, task) = (&self.run.options, self.task);
        let text = |value: Value| rustle_agent::module::shown(&value);
        let flag = |keyword: &Option<Keyword<bool>>, name: &str, default: bool| {
            self.rendered_or(keyword.as_ref(), name, default, scope)
        };
        // `async` is its own time.
        let default = if task.background.is_some() { Duration::ZERO } else { options.timeout };
        let timeout = self.rendered_or(task.timeout.as_ref(), "timeout", default, scope)?;
        Ok(CallSettings {
            check: flag(&task.check_mode, "check_mode", options.check)?,
            diff: flag(&task.diff, "diff", options.diff)?,
            verbosity: options.verbosity,
            conditionals: options.conditionals,
            untrusted: options.untrusted,
            timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
            no_log: self.is_secret(),
            live_output: options.live_output && !self.is_secret(),
            environment: environment.into_iter().map(|(name, value)| (name, text(value))).collect(),
            become_user: become_of(&self.task.run_as, options, self.run.templar(), scope, &target.scope)?,
        })
    }
}

/// Ansible's warning of text that looks like a template, and whose place nobody knows.
pub(crate) fn untrusted(text: &str) -> String {
    let fault = Fault::from(TemplateError::untrusted(&Value::from(text)));
    let parts = fault.into_causes().into_iter().map(|cause| {
        let place = cause.origin.as_ref().map(|origin| format!("\nOrigin: {origin}\n\n{text}\n")).unwrap_or_default();
        let help = cause.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
        format!("{}{place}{help}", cause.message)
    });
    parts.collect()
}

/// A template of the task that gave no value, as Ansible says it.
pub(super) fn unresolved(error: TemplateError) -> Fault {
    Fault::from(error).of_task()
}

/// What went wrong with a keyword, which is written so.
pub(super) fn in_keyword(name: &str, written: Option<&Authored>, error: impl Into<Fault>) -> Fault {
    let origin = written.and_then(Authored::origin).map(|origin| &**origin);
    error.into().within(format!("Error processing keyword '{name}'"), origin).of_task()
}
