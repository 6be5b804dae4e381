//! `group_by`: puts the host into a group that is made of what is known of it.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::event::FailedIn;
use crate::vars::{InventoryChange, Learnt};

arguments! {
    pub(super) struct GroupByArgs {
        /// The group's name.
        key: String,
        /// The groups that it is put into.
        parents: Option<Value>,
    }
}

pub(super) struct GroupBy;

impl LocalAction for GroupBy {
    type Args = GroupByArgs;

    const NAME: &'static str = "ansible.builtin.group_by";
    const SUMMARY: &'static str = "Puts the host into a group, which is made if it is new.";

    const REFUSES_IN: FailedIn = FailedIn::Action;

    fn worded(error: ArgError) -> ArgError {
        super::invalid_options(error)
    }

    fn check(args: &Map) -> Result<(), ArgError> {
        if args.get("key").is_none_or(Value::is_null) {
            return Err(ArgError::Rule("the 'key' param is required when using group_by".to_owned()));
        }
        Ok(())
    }

    fn run(&self, args: GroupByArgs, _raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let parents = match &args.parents {
            None | Some(Value::Null) => vec!["all".to_owned()],
            Some(parents) => super::names(parents)
                .ok_or_else(|| ModuleError::new("parents must be a list of groups or a comma-separated string"))?,
        };
        let name = |name: &str| name.replace(' ', "-");
        let (group, parents) = (name(&args.key), parents.iter().map(|parent| name(parent)).collect::<Vec<_>>());
        let host = cx.host.clone();
        let change = InventoryChange::Group { host, group: group.clone(), parents: parents.clone() };
        let mut result = ModuleResult::ok().with("add_group", group).with("parent_groups", Value::from(parents));
        result.changed = cx.vars.would_change(&change).map_err(ModuleError::new)?;
        cx.teach(Learnt::Inventory(change));
        Ok(result)
    }
}
