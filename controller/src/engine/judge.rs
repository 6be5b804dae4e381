//! The conditions of a task: before it runs, and about what it came to.

use rustle_protocol::Value;

use super::prepare::unresolved;
use super::result::{Tried, registered};
use super::task::TaskRun;
use crate::event::{FailedIn, TaskStatus};
use crate::fault::Fault;
use crate::template::{Expression, TemplateError};
use crate::vars::{Scope, TaskVars, Variable};

/// What Ansible says of a failure that has no `msg` of its own.
pub(crate) const NO_REASON: &str = "Task failed: Action failed: Unknown error.";

impl TaskRun<'_> {
    pub(super) fn is_reached(&self, conditions: &[Expression], tried: &Tried, vars: &TaskVars) -> Result<bool, Fault> {
        if conditions.is_empty() {
            return Ok(!tried.status.is_failure());
        }
        self.holds_of(conditions, tried, vars).map_err(unresolved)
    }

    /// The first `when` that does not hold.
    pub(super) fn unmet_condition(&self, scope: &Scope) -> Result<Option<&str>, Box<Tried>> {
        for condition in &self.task.when {
            match self.holds(condition, scope) {
                Ok(true) => {}
                Ok(false) => return Ok(Some(condition)),
                Err(error) => return Err(Box::new(Tried::failed(unresolved(error)))),
            }
        }
        Ok(None)
    }

    fn holds(&self, condition: &Expression, scope: &Scope) -> Result<bool, TemplateError> {
        let holds = self.run.templar().condition(condition, scope, self.run.options.conditionals);
        holds.map_err(|error| error.at(condition.origin()))
    }

    /// `changed_when` and `failed_when` have the last word.
    pub(super) fn judge(&self, tried: &mut Tried, vars: &TaskVars) {
        if !matches!(tried.status, TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Failed) {
            return;
        }
        for (conditions, is_failure) in [(&self.task.failed_when, true), (&self.task.changed_when, false)] {
            if conditions.is_empty() {
                continue;
            }
            match self.holds_of(conditions, tried, vars) {
                Ok(holds) if is_failure => {
                    tried.values.insert("failed_when_result".into(), holds.into());
                    // Where it had failed already it still did.
                    let place = tried.failed_in().unwrap_or(FailedIn::Action);
                    if holds {
                        tried.fail(Some(place))
                    } else {
                        tried.excuse()
                    }
                    if holds && !tried.values.contains_key("msg") {
                        tried.values.insert("msg".into(), NO_REASON.into());
                    }
                }
                Ok(holds) => tried.set_changed(holds),
                Err(error) => {
                    let name = if is_failure { "failed_when_result" } else { "changed_when_result" };
                    tried.values.insert(name.into(), error.to_string().into());
                    tried.fail(Some(FailedIn::Action));
                }
            }
        }
    }

    /// The task's variables and the result under its registered name.
    pub(super) fn with_result(&self, tried: &Tried, vars: &TaskVars) -> TaskVars {
        let mut locals = vars.locals.as_deref().cloned().unwrap_or_default();
        if let Some(name) = &self.task.register {
            locals.insert(name.clone(), Variable::data(Value::Map(registered(&tried.values))));
        }
        vars.with_locals(locals)
    }

    /// Whether all conditions hold, seen with the result under its registered name.
    pub(super) fn holds_of(
        &self,
        conditions: &[Expression],
        tried: &Tried,
        vars: &TaskVars,
    ) -> Result<bool, TemplateError> {
        let vars = self.with_result(tried, vars);
        for condition in conditions {
            let scope = self.scope(&vars).map_err(|message| TemplateError::Failed { message })?;
            if !self.holds(condition, &scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
