//! What a task's keywords say of how it ends, where only the host's variables tell: `ignore_errors`, `run_once` and their like.

use std::num::NonZeroU32;

use rustle_protocol::Value;

use super::compile::{is_known, is_linear, turns};
use super::task::TaskRun;
use crate::fault::Fault;
use crate::plan::{Keyword, KeywordValue};
use crate::scheduler::{OnFailure, Once, Turns};
use crate::template::TemplateError;
use crate::vars::{Scope, TaskVars};

/// A task's keywords on one host, rendered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    pub(super) ignore_errors: bool,
    pub(super) on_failure: OnFailure,
    /// `run_once`: what the host finds is known of every host of the batch. Never under free.
    pub(super) for_all: bool,
    pub(super) throttle: Option<NonZeroU32>,
    /// Its result must not be shown.
    pub(super) no_log: bool,
}

impl TaskRun<'_> {
    /// The keywords. If one cannot be rendered, which [`render_manner`](Self::render_manner) tells before the task runs,
    /// templates say nothing.
    pub(super) fn manner(&self) -> Manner {
        *self.manner.get_or_init(|| Manner {
            // Until it is rendered Ansible takes it for the text that it is, and that is true.
            ignore_errors: self.task.failure.ignore_errors.known().copied().unwrap_or(true),
            on_failure: OnFailure {
                any_errors_fatal: is_known(&self.task.failure.any_errors_fatal),
                ignore_unreachable: is_known(&self.task.failure.ignore_unreachable),
            },
            for_all: self.turns().once == Once::Yes,
            throttle: None,
            // What nobody knows yet is kept.
            no_log: self.task.no_log.known().copied().unwrap_or(true),
        })
    }

    /// Renders the keywords that are templates.
    ///
    /// # Errors
    /// The first that cannot be rendered or is nothing of its kind, as a sentence.
    pub(super) fn render_manner(&self, vars: &TaskVars) -> Result<(), Fault> {
        let failure = &self.task.failure;
        let flags = [&failure.ignore_errors, &failure.any_errors_fatal, &failure.ignore_unreachable];
        let is_asked = self.task.run_once.known().is_none()
            || self.task.throttle.known().is_none()
            || self.task.no_log.known().is_none();
        if !is_asked && flags.iter().all(|flag| flag.known().is_some()) {
            return Ok(());
        }
        let scope = self.scope(vars)?;
        let manner = Manner {
            ignore_errors: self.flag(&failure.ignore_errors, "ignore_errors", &scope)?,
            on_failure: OnFailure {
                any_errors_fatal: self.flag(&failure.any_errors_fatal, "any_errors_fatal", &scope)?,
                ignore_unreachable: self.flag(&failure.ignore_unreachable, "ignore_unreachable", &scope)?,
            },
            for_all: match self.turns().once {
                Once::Yes => true,
                Once::No => false,
                Once::Asked => {
                    self.rendered(&self.task.run_once, "run_once", &scope)?
                        && is_linear(self.run.plan.play(self.task.play))
                }
            },
            throttle: NonZeroU32::new(self.throttle(&self.task.throttle, &scope)?),
            no_log: self.no_log(&scope)?,
        };
        // Nobody has asked before the task began.
        let _ = self.manner.set(manner);
        Ok(())
    }

    /// A keyword of the task. What only a loop's items know does not hold for the task as a whole.
    fn flag(&self, keyword: &Keyword<bool>, name: &str, scope: &Scope) -> Result<bool, Fault> {
        match self.rendered(keyword, name, scope) {
            Err(_) if self.task.looping.is_some() => Ok(false),
            rendered => rendered,
        }
    }

    /// Whether a failure with these variables, of the task or of an item of its loop, is ignored.
    pub(super) fn ignores_errors(&self, vars: &TaskVars) -> bool {
        let keyword = &self.task.failure.ignore_errors;
        let rendered = || self.rendered(keyword, "ignore_errors", &self.scope(vars).ok()?).ok();
        keyword.known().copied().or_else(rendered).unwrap_or(false)
    }

    fn turns(&self) -> Turns {
        turns(self.run.plan.play(self.task.play), self.task)
    }

    /// Whether the result is to be kept from view. What a loop's items have to say is not known yet: then it is.
    fn no_log(&self, scope: &Scope) -> Result<bool, Fault> {
        match self.rendered(&self.task.no_log, "no_log", scope) {
            Err(_) if self.task.looping.is_some() => Ok(true),
            rendered => rendered,
        }
    }

    fn throttle(&self, keyword: &Keyword<u32>, scope: &Scope) -> Result<u32, Fault> {
        let (template, omitted) = match keyword {
            Keyword::Is(most) => return Ok(*most),
            Keyword::Template { template, omitted } => (template, omitted),
        };
        let why = match self.run.templar().render(template, scope) {
            Ok(value) => match u32::of(&value) {
                Some(most) => return Ok(most),
                None => invalid_int(&value),
            },
            Err(TemplateError::Omitted) => {
                return omitted.as_ref().map_or(Ok(0), |omitted| self.throttle(omitted, scope));
            }
            Err(error) => error.to_string(),
        };
        Err(format!("Failed to convert the throttle value to an integer: {why}").into())
    }
}

/// What Python's `int()` says, whose sentence this is.
fn invalid_int(value: &Value) -> String {
    format!("invalid literal for int() with base 10: {}", crate::template::python_repr(value))
}
