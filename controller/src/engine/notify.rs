//! Which handlers a task notifies on a host: `notify` and the names of handlers may be templates.

use indexmap::IndexSet;
use rustle_protocol::Value;

use super::prepare::in_keyword;
use super::result::Tried;
use super::task::TaskRun;
use crate::event::RunEvent;
use crate::fault::Fault;
use crate::plan::TaskId;
use crate::template::{Authored, needs_rendering};
use crate::vars::TaskVars;

/// What a task's `notify` came to on a host.
#[derive(Default)]
pub(super) struct Notified {
    pub(super) handlers: Vec<TaskId>,
    /// Nobody answers to one of the names, and the run is to end over it.
    pub(super) ends_run: bool,
}

impl TaskRun<'_> {
    /// The handlers that the task's names and topics mean, if it has changed something. A name that cannot be rendered is a
    /// failure; one that nobody answers to is told, and is the run's end or not, as the run wants it.
    /// `vars`: the task's variables, or those of each item of its loop that was not skipped.
    pub(super) fn notified(&self, tried: &mut Tried, vars: &[TaskVars]) -> Notified {
        let mut notified = Notified::default();
        if self.task.notify.is_empty() || !tried.is_changed() || tried.status.is_failure() {
            return notified;
        }
        let names = self.notified_names(vars).unwrap_or_else(|why| {
            tried.fail_before_work(why);
            Vec::new()
        });
        for name in names {
            let found = self.handlers(&name);
            if found.is_empty() {
                let ends_run = self.run.options.unknown_handler_ends_run;
                notified.ends_run |= ends_run;
                let (task, host) = (self.task.id, self.host.clone());
                self.run.sink.emit(RunEvent::UnknownHandler { task, host, name, ends_run });
            }
            notified.handlers.extend(found);
        }
        notified
    }

    /// `notify` as it is on this host, each name once; a template may stand for several names.
    fn notified_names(&self, vars: &[TaskVars]) -> Result<Vec<String>, Fault> {
        let mut names = IndexSet::new();
        for notify in &self.task.notify {
            if !needs_rendering(notify) {
                names.insert(notify.clone());
                continue;
            }
            let template = Authored::from_value(notify.as_str().into());
            for vars in vars {
                let value = self.run.templar().render(&template, &self.scope(vars)?);
                match value.map_err(|error| in_keyword("notify", None, error))? {
                    Value::List(list) => names.extend(list.iter().map(rustle_agent::module::shown)),
                    one => drop(names.insert(rustle_agent::module::shown(&one))),
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The handlers that answer to `name`: first those that always do, then one whose own name is a template that gives it
    /// on this host.
    fn handlers(&self, name: &str) -> Vec<TaskId> {
        let mut found = self.run.handlers(self.task.play, name);
        for id in self.run.templated_handlers(self.task.play) {
            match self.handler_name(id) {
                Ok(own) if found.is_empty() && own == name => found.push(id),
                Ok(_) => {}
                Err(why) => self.run.sink.emit(RunEvent::Warning { message: why.to_string(), host: None }),
            }
        }
        found
    }

    /// The name of a handler, rendered for this host.
    ///
    /// # Errors
    /// It has none here and listens to nothing either; in Ansible's words.
    fn handler_name(&self, id: TaskId) -> Result<String, Fault> {
        let handler = self.run.task(id);
        let written = handler.name.as_deref().unwrap_or_default();
        let scope = self.scope(&self.run.task_vars(&handler))?;
        match self.run.templar().render_text(written, &scope) {
            Err(error) if handler.listen.is_empty() => Err(format!(
                "Handler '{written}' is unusable because it has no listen topics and the name could not be templated \
                 (host-specific variables are not supported in handler names). The error: {error}"
            )
            .into()),
            rendered => Ok(rendered.unwrap_or_default()),
        }
    }
}
