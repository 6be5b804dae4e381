//! Ansible's TOML inventory: a table for each group, with `hosts`, `children` and `vars`.

use std::sync::Arc;

use rustle_protocol::Value;
use toml::Value as Toml;

use super::build::Builder;
use super::{GroupId, InventoryError};
use crate::input::source::{Place, Position, shown};
use crate::input::vaulted::authored_json;
use crate::vars::{VarMap, Variable};

/// Adds what `text` says.
pub(super) fn read(text: &str, source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let groups: toml::Table = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let column = before.rsplit('\n').next().map_or(1, |line| line.chars().count() + 1);
        let place = Place::at(source, Position::new(before.matches('\n').count() + 1, column));
        InventoryError::content(place, format!("not TOML: {}", error.message().trim()))
    })?;
    let place = Place::whole(Arc::clone(source));
    groups.into_iter().try_for_each(|(name, group)| read_group(&name, group, &place, builder))
}

fn read_group(name: &str, group: Toml, place: &Place, builder: &mut Builder) -> Result<(), InventoryError> {
    let id = builder.named_group(name, place)?;
    for (part, value) in table(group, &format!("group `{}`", shown(name)), place)? {
        match part.as_str() {
            "vars" => builder.set_group_vars(id, vars(value, &format!("vars of group `{}`", shown(name)), place)?),
            "hosts" => read_hosts(value, id, place, builder)?,
            "children" => read_children(value, id, name, place, builder)?,
            other => {
                let what = format!("`{}` means nothing in a group, which holds hosts, children and vars", shown(other));
                builder.warn(place, what);
            }
        }
    }
    Ok(())
}

fn read_hosts(hosts: Toml, group: GroupId, place: &Place, builder: &mut Builder) -> Result<(), InventoryError> {
    for (pattern, value) in table(hosts, "hosts", place)? {
        let vars = Arc::new(vars(value, &format!("host `{}`", shown(&pattern)), place)?);
        for host in builder.hosts(&pattern, group, place)? {
            builder.set_host_vars(host, &vars);
        }
    }
    Ok(())
}

fn read_children(
    children: Toml,
    group: GroupId,
    name: &str,
    place: &Place,
    builder: &mut Builder,
) -> Result<(), InventoryError> {
    let wrong = || {
        let what = format!("children of group `{}` must be a list of names", shown(name));
        InventoryError::content(place.clone(), what)
    };
    let Toml::Array(children) = children else { return Err(wrong()) };
    for child in children {
        let child = builder.named_group(child.as_str().ok_or_else(wrong)?, place)?;
        builder.add_child(group, child, place)?;
    }
    Ok(())
}

fn table(value: Toml, what: &str, place: &Place) -> Result<toml::Table, InventoryError> {
    match value {
        Toml::Table(table) => Ok(table),
        other => {
            Err(InventoryError::content(place.clone(), format!("{what} must be a table, not a {}", other.type_str())))
        }
    }
}

fn vars(value: Toml, what: &str, place: &Place) -> Result<VarMap, InventoryError> {
    let vars = table(value, what, place)?.into_iter();
    Ok(vars.map(|(name, value)| (name, Variable::Authored(authored_json(plain(value), place).into()))).collect())
}

fn plain(value: Toml) -> Value {
    match value {
        Toml::String(text) => text.into(),
        Toml::Integer(number) => number.into(),
        Toml::Float(number) => Value::Float(number),
        Toml::Boolean(flag) => flag.into(),
        // As YAML's dates: text.
        Toml::Datetime(time) => time.to_string().into(),
        Toml::Array(items) => items.into_iter().map(plain).collect(),
        Toml::Table(table) => Value::Map(table.into_iter().map(|(name, value)| (name, plain(value))).collect()),
    }
}
