//! The inventory inside a parsed playbook.

use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::model::{ParsedHost, ParsedInventory};
use crate::input::inventory::{Builder, GroupId, Inventory, InventoryError, Limits};
use crate::input::source::Place;
use crate::vars::authored_map;

/// Hosts and groups, both by name: `rustle-parse` writes them in an order that changes from run to run. Within a group
/// hosts keep their order.
///
/// Group variables are left out: the hosts have them already, and `rustle-parse` gives a group what its children have.
pub(in crate::input) fn inventory_of(parsed: &ParsedInventory, source: &str) -> Result<Inventory, InventoryError> {
    let mut builder = Builder::new(Limits::default());
    let place = Place::whole(source);
    let mut hosts: Vec<_> = parsed.hosts.iter().collect();
    hosts.sort_by_key(|(name, _)| *name);
    for (name, host) in hosts {
        let id = builder.host(name, GroupId::UNGROUPED, &place)?;
        builder.set_host_vars(id, &Arc::new(authored_map(vars_of(host))));
    }
    let mut groups: Vec<_> = parsed.groups.iter().collect();
    groups.sort_by_key(|(name, _)| *name);
    for (name, group) in groups {
        let id = builder.named_group(name, &place)?;
        for host in &group.hosts {
            builder.host(host, id, &place)?;
        }
        for child in &group.children {
            let child = builder.named_group(child, &place)?;
            builder.add_child(id, child, &place)?;
        }
    }
    Ok(builder.finish())
}

/// The host's variables, with the ones that `rustle-parse` took apart put back.
fn vars_of(host: &ParsedHost) -> Map {
    let mut vars = host.vars.clone();
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let apart = [
        ("ansible_host", text(&host.address)),
        ("ansible_port", host.port.map(|port| Value::from(u32::from(port)))),
        ("ansible_user", text(&host.user)),
        ("ansible_connection", text(&host.connection)),
    ];
    for (name, value) in apart {
        if let Some(value) = value {
            vars.entry(name.to_owned()).or_insert(value);
        }
    }
    vars
}
