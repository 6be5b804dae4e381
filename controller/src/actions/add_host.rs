//! `add_host`: a host that was not in the inventory, or more groups and variables for one that is.

use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{HostName, ModuleResult, Value};

use super::LocalAction;
use crate::engine::ExecutionContext;
use crate::input::inventory::split_port;
use crate::vars::{InventoryChange, Learnt};

arguments! {
    /// The names are the task's own: what is none of these is a variable of the host.
    pub(super) struct AddHostArgs {}
}

/// The arguments that are no variables.
const NAME: [&str; 3] = ["name", "hostname", "host"];
const GROUPS: [&str; 3] = ["groupname", "groups", "group"];

pub(super) struct AddHost;

impl LocalAction for AddHost {
    type Args = AddHostArgs;

    const NAME: &'static str = "ansible.builtin.add_host";
    const SUMMARY: &'static str = "Adds a host, with groups and variables, to the inventory of the run.";
    const ANY_ARGS: bool = true;

    fn check(args: &Map) -> Result<(), ArgError> {
        wanted(args.clone()).map(drop)
    }

    fn run(&self, _args: AddHostArgs, raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let wanted = wanted(raw).map_err(|error| ModuleError::new(error.to_string()))?;
        let mut result = told(&wanted);
        result.changed = cx.vars.would_change(&wanted).map_err(ModuleError::new)?;
        cx.teach(Learnt::Inventory(wanted));
        Ok(result)
    }
}

fn wanted(mut raw: Map) -> Result<InventoryChange, ArgError> {
    let rule = |why: &str| ArgError::Rule(why.to_owned());
    let of = |raw: &Map, names: [&str; 3]| names.iter().find_map(|name| raw.get(*name)).cloned();
    let name = match of(&raw, NAME) {
        None | Some(Value::Null) => return Err(rule("name, host or hostname needs to be provided")),
        Some(Value::String(name)) => name,
        Some(Value::Int(number)) => number.to_string(),
        Some(other) => {
            return Err(rule(&format!("The host name must be a string, and is a {}", other.kind())));
        }
    };
    let groups = match of(&raw, GROUPS) {
        None | Some(Value::Null) => Vec::new(),
        Some(groups) => super::names(&groups)
            .ok_or_else(|| rule("Groups must be specified as a list or a comma-separated string."))?,
    };
    raw.retain(|key, _| !NAME.contains(&key.as_str()) && !GROUPS.contains(&key.as_str()));
    let (name, port) = split_port(name.trim());
    if let Some(port) = port {
        raw.insert("ansible_ssh_port".to_owned(), Value::Int(port.into()));
    }
    let name = HostName::new(name).map_err(|error| rule(&error.to_string()))?;
    Ok(InventoryChange::AddHost { name, groups, vars: raw })
}

/// The change, as the result shows it.
fn told(change: &InventoryChange) -> ModuleResult {
    let InventoryChange::AddHost { name, groups, vars } = change else { return ModuleResult::ok() };
    let host = Map::from_iter([
        ("host_name".to_owned(), name.as_str().into()),
        ("groups".to_owned(), groups.iter().map(|group| Value::from(group.as_str())).collect()),
        ("host_vars".to_owned(), Value::Map(vars.clone())),
    ]);
    ModuleResult::ok().with("add_host", Value::Map(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(args: serde_json::Value) -> Result<InventoryChange, String> {
        let Value::Map(args) = Value::from(args) else { panic!("arguments are a map") };
        wanted(args).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_neither_name_nor_group_is_a_variable() {
        let change =
            change(serde_json::json!({"hostname": "db9:2222", "groups": "db, new,db", "rustle_port": 7444})).unwrap();
        let vars = Map::from_iter([("rustle_port".into(), 7444.into()), ("ansible_ssh_port".into(), 2222.into())]);
        let groups = vec!["db".to_owned(), "new".to_owned()];
        assert_eq!(change, InventoryChange::AddHost { name: "db9".parse().unwrap(), groups, vars });
    }

    #[test]
    fn a_host_needs_a_name() {
        assert!(change(serde_json::json!({"groups": "x"})).unwrap_err().contains("needs to be provided"));
        assert!(change(serde_json::json!({"name": "a b"})).is_err());
        assert!(change(serde_json::json!({"name": "a", "groups": {"x": 1}})).unwrap_err().contains("Groups must be"));
    }
}
