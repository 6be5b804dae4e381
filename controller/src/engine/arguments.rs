//! A task's arguments on one host, rendered.

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::module::ModuleExecutor;
use super::task::TaskRun;
use crate::template::{Authored, TemplateError};
use crate::vars::Scope;

impl TaskRun<'_> {
    /// The arguments that the module gets: those of `args: "{{ … }}"` first, then those that are written one by one.
    ///
    /// # Errors
    /// A template that cannot be rendered, or one that is all arguments and is no dict.
    pub(super) fn args(&self, module: &dyn ModuleExecutor, scope: &Scope) -> Result<Map, TemplateError> {
        let mut args = match &self.task.more_args {
            None => Map::new(),
            Some(all) => self.all_args(all, scope)?,
        };
        let raw = module.unrendered_args();
        if raw.is_empty() {
            args.extend(self.run.templar().render_args(&self.task.args, scope)?);
            return Ok(args);
        }
        let (as_written, rest): (Vec<_>, Vec<_>) =
            self.task.args.iter().partition(|(name, _)| raw.contains(&name.as_str()));
        let rest = rest.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        args.extend(self.run.templar().render_args(&rest, scope)?);
        args.extend(as_written.into_iter().map(|(name, value)| (name.clone(), value.source())));
        Ok(args)
    }

    /// One template that is all arguments. What it gives is data, and none of it is rendered again.
    fn all_args(&self, all: &Authored, scope: &Scope) -> Result<Map, TemplateError> {
        const ALL: &str = "args";
        let one = IndexMap::from_iter([(ALL.to_owned(), all.clone())]);
        match self.run.templar().render_args(&one, scope)?.shift_remove(ALL) {
            Some(Value::Map(args)) => Ok(args),
            Some(other) => Err(TemplateError::Failed {
                message: format!("invalid or malformed argument: '{}'", rustle_agent::module::shown(&other)),
            }),
            None => Ok(Map::new()),
        }
    }
}
