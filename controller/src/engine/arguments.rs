//! A task's arguments on one host, rendered.

use indexmap::IndexMap;
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::module::ModuleExecutor;
use super::prepare::unresolved;
use super::task::TaskRun;
use crate::fault::Fault;
use crate::template::{Authored, TemplateError, needs_rendering, python_text, python_type};
use crate::vars::Scope;

impl TaskRun<'_> {
    /// The arguments that the module gets: those of `args: "{{ … }}"` first, then those that are written one by one.
    ///
    /// # Errors
    /// The sentence for a template that cannot be rendered, or for one that is all arguments and is no dict.
    pub(super) fn args(&self, module: &dyn ModuleExecutor, scope: &Scope) -> Result<Map, Fault> {
        let failed = |fault: Fault| self.in_finalization(module.name(), fault);
        let mut args = match &self.task.more_args {
            None => Map::new(),
            Some(all) => self.all_args(all, scope).map_err(failed)?,
        };
        let render = |args: &IndexMap<String, Authored>| {
            let origins = self.task.call.as_deref();
            self.run.templar().render_args(args, origins, scope).map_err(|error| failed(error.into()))
        };
        let raw = module.unrendered_args();
        if module.has_templated_names() {
            let origins = self.task.call.as_deref();
            let kept = self.run.templar().kept_args(&self.task.args, origins, scope);
            let kept = self.with_rendered_names(kept.map_err(|error| failed(error.into()))?, scope)?;
            let vault = self.run.templar().vault();
            for (name, value) in &kept {
                args.insert(name.clone(), value.plain(vault)?);
            }
            self.keep(kept);
            return Ok(args);
        }
        if raw.is_empty() {
            args.extend(render(&self.task.args)?);
            return Ok(args);
        }
        let (as_written, rest): (Vec<_>, Vec<_>) =
            self.task.args.iter().partition(|(name, _)| raw.contains(&name.as_str()));
        let rest = rest.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        args.extend(render(&rest)?);
        // These are expressions, or lists of them.
        if let Some((_, value)) = as_written.iter().find(|(_, value)| !value.is_vouched_for()) {
            return Err(unresolved(TemplateError::untrusted(&value.source())));
        }
        args.extend(as_written.into_iter().map(|(name, value)| (name.clone(), value.source())));
        Ok(args)
    }

    /// What went wrong with the arguments of the module of this name.
    pub(super) fn in_finalization(&self, module: &str, fault: Fault) -> Fault {
        let doing = format!("Finalization of task args for '{module}' failed");
        fault.within(doing, self.task.call.as_deref().map(|call| &call.module)).of_task()
    }

    /// `own` has the names that the author wrote, and these may be templates.
    fn with_rendered_names(
        &self,
        own: IndexMap<String, Authored>,
        scope: &Scope,
    ) -> Result<IndexMap<String, Authored>, Fault> {
        let mut renamed = IndexMap::with_capacity(own.len());
        for (name, value) in own {
            if !needs_rendering(&name) {
                renamed.insert(name, value);
                continue;
            }
            match self.run.templar().render(&Authored::from_value(name.into()), scope) {
                Ok(Value::String(name)) => drop(renamed.insert(name, value)),
                Ok(other) => {
                    let (text, kind) = (python_text(&other), python_type(&other));
                    return Err(format!("Task failed: Invalid variable name '{text}' of type '{kind}'.").into());
                }
                Err(error) => return Err(unresolved(error)),
            }
        }
        Ok(renamed)
    }

    /// One template that is all arguments. What it gives is data, and none of it is rendered again.
    fn all_args(&self, all: &Authored, scope: &Scope) -> Result<Map, Fault> {
        match self.run.templar().render_optional(all, scope)? {
            Some(Value::Map(args)) => Ok(args),
            Some(other) => {
                Err(format!("invalid or malformed argument: '{}'", rustle_agent::module::shown(&other)).into())
            }
            None => Ok(Map::new()),
        }
    }
}
