//! What a `rescue` may ask of the failure that led to it: `ansible_failed_task` and `ansible_failed_result`.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::result::{Tried, registered};
use super::target::delegated_to;
use super::task::TaskRun;
use crate::plan::Looping;
use crate::template::{Authored, Expression};
use crate::vars::TaskVars;

impl TaskRun<'_> {
    /// Tells the `rescue` what it rescues, in Ansible's variables.
    pub(super) fn explain_rescue(&self, tried: &Tried, vars: &TaskVars) {
        let store = &self.run.environment.vars;
        // The host is one of the run's.
        let _ = store.set_fact(self.host.as_str(), "ansible_failed_task", Value::Map(self.described(tried, vars)));
        let _ = store.set_fact(self.host.as_str(), "ansible_failed_result", Value::Map(registered(&tried.values)));
    }

    /// The task under the names of its keywords. Its own name, whom it was delegated to and its arguments are as they were on
    /// this host, if it came to that; everything else, and the arguments of a loop, are as they were written.
    fn described(&self, tried: &Tried, vars: &TaskVars) -> Map {
        let task = self.task;
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let written = || task.args.iter().map(|(name, value)| (name.clone(), value.source())).collect();
        let is_secret = self.is_secret() || tried.is_secret();
        let args = self.given.get().filter(|_| !is_secret).cloned().unwrap_or_else(written);
        let delegate = delegated_to(&tried.values);
        let (looped, lookup) = task.looping.as_ref().map_or((Value::Null, None), looped);
        Map::from_iter([
            // Empty for a task without a name, as in Ansible.
            ("name".to_owned(), task.name.as_ref().map(|_| self.name(vars)).unwrap_or_default().into()),
            ("action".to_owned(), task.module.as_str().into()),
            ("args".to_owned(), Value::Map(args)),
            ("delegate_to".to_owned(), text(delegate.as_ref().map(|host| host.as_str()))),
            ("register".to_owned(), text(task.register.as_deref())),
            ("tags".to_owned(), task.tags.iter().map(|tag| Value::from(tag.as_str())).collect()),
            ("when".to_owned(), conditions(&task.when)),
            ("changed_when".to_owned(), conditions(&task.changed_when)),
            ("failed_when".to_owned(), conditions(&task.failed_when)),
            ("until".to_owned(), conditions(task.until.as_ref().map_or(&[], |until| &until.conditions))),
            ("loop".to_owned(), looped),
            ("loop_with".to_owned(), text(lookup)),
            ("vars".to_owned(), Authored::Map(task.vars.clone()).source()),
        ])
    }
}

fn looped(looping: &Looping) -> (Value, Option<&str>) {
    (looping.items.source(), looping.lookup.as_deref())
}

fn conditions(all: &[Expression]) -> Value {
    all.iter().map(|condition| Value::from(&**condition)).collect()
}
