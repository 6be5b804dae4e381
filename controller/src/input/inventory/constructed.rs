//! The inventory plugin `constructed`: variables and groups made of what other sources say of hosts.

use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::build::Builder;
use super::load::folders_of_vars;
use super::{GroupNames, HostId, Inventory, InventoryError, vars_files};
use crate::input::source::{Place, shown};
use crate::input::yaml::{Key, Node};
use crate::plugins::Plugins;
use crate::template::{Authored, Conditionals, Templar};
use crate::vars::{Scope, VarMap, Variable, data_map};

/// Applies the configuration to every host there is so far.
///
/// # Errors
/// A configuration of another shape; with `strict`, an expression that fails.
pub(super) fn apply(entries: &[(Key, Node)], source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let plugin = Constructed::read(entries, source)?;
    let mut before = builder.clone();
    if plugin.use_vars_plugins {
        for (folder, beside) in folders_of_vars(&builder.sources, None) {
            vars_files::read_beside(&folder, beside, &mut before)?;
        }
    }
    let before = before.finish();
    let templar = Templar::with(Plugins::default(), builder.vault.clone());
    for (id, _) in before.hosts() {
        plugin.host(&before, id, &templar, builder)?;
    }
    Ok(())
}

struct Constructed<'a> {
    source: &'a Arc<str>,
    strict: bool,
    leading_separator: bool,
    /// Whether what is beside the sources, `group_vars/` and `host_vars/`, counts too.
    use_vars_plugins: bool,
    /// Whether those of the command line do.
    use_extra_vars: bool,
    compose: &'a [(Key, Node)],
    groups: &'a [(Key, Node)],
    keyed_groups: &'a [Node],
}

impl<'a> Constructed<'a> {
    fn read(entries: &'a [(Key, Node)], source: &'a Arc<str>) -> Result<Constructed<'a>, InventoryError> {
        let find = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
        let wrong = |node: &Node, wanted: &str| {
            InventoryError::content(Place::at(source, node.at), format!("must be a {wanted}, not a {}", node.kind()))
        };
        let map = |name: &str| match find(name) {
            Some(node) if !node.is_null() => node.as_map().ok_or_else(|| wrong(node, "dict")),
            _ => Ok(&[][..]),
        };
        let flag = |name: &str, default: bool| {
            let value = find(name).and_then(|node| node.to_value().ok());
            value.and_then(|value| value.as_bool()).unwrap_or(default)
        };
        Ok(Constructed {
            source,
            strict: flag("strict", false),
            leading_separator: flag("leading_separator", true),
            use_vars_plugins: flag("use_vars_plugins", false),
            use_extra_vars: flag("use_extra_vars", false),
            compose: map("compose")?,
            groups: map("groups")?,
            keyed_groups: match find("keyed_groups") {
                Some(node) if !node.is_null() => node.as_list().ok_or_else(|| wrong(node, "list"))?,
                _ => &[],
            },
        })
    }

    fn host(
        &self,
        before: &Inventory,
        host: HostId,
        templar: &Templar,
        builder: &mut Builder,
    ) -> Result<(), InventoryError> {
        let mut vars = if self.use_extra_vars { before.shown_vars(host) } else { before.merged_vars(host) };
        vars.extend(magic(before, host));
        // One of them sees nothing of another.
        let scope = Scope::of(templar, [Arc::new(vars.clone())]);
        for (key, node) in self.compose {
            if let Some(value) = self.unless_strict(node, expression(templar, node, &scope))? {
                let composed = VarMap::from_iter([(key.text.clone(), Variable::data(value))]);
                vars.extend(composed.clone());
                builder.set_host_vars(host, &Arc::new(composed));
            }
        }
        let scope = Scope::of(templar, [Arc::new(vars)]);
        for (key, node) in self.groups {
            let text = node.to_value().map(|value| rustle_agent::module::shown(&value)).unwrap_or_default();
            let holds = templar.condition(&text, &scope, Conditionals::Lenient).map_err(|error| error.to_string());
            if self.unless_strict(node, holds)? == Some(true) {
                self.add(&key.text, None, host, node, builder)?;
            }
        }
        for keyed in self.keyed_groups {
            self.keyed(keyed, host, templar, &scope, builder)?;
        }
        Ok(())
    }

    fn keyed(
        &self,
        node: &Node,
        host: HostId,
        templar: &Templar,
        scope: &Scope,
        builder: &mut Builder,
    ) -> Result<(), InventoryError> {
        let entries = node.as_map().ok_or_else(|| self.wrong(node, "a keyed group must be a dict".to_owned()))?;
        let find = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
        let text = |name: &str| -> Result<Option<String>, InventoryError> {
            let Some(node) = find(name).filter(|node| !node.is_null()) else { return Ok(None) };
            let value = node.to_value().map_err(|error| InventoryError::yaml(self.source, error))?;
            let rendered = templar.render_text(&rustle_agent::module::shown(&value), scope);
            self.unless_strict(node, rendered.map_err(|error| error.to_string()))
        };
        let key = find("key").ok_or_else(|| "a keyed group must have a `key`".to_owned());
        let Some(key) = self.unless_strict(node, key)? else { return Ok(()) };
        let (prefix, separator) =
            (text("prefix")?.unwrap_or_default(), text("separator")?.unwrap_or_else(|| "_".into()));
        let (default, parent) = (text("default_value")?, text("parent_group")?);
        let trailing = find("trailing_separator").and_then(|node| node.to_value().ok()).and_then(|v| v.as_bool());
        if default.is_some() && trailing.is_some() {
            let what = "a keyed group has either a `default_value` or a `trailing_separator`";
            return Err(self.wrong(node, what.to_owned()));
        }
        let Some(value) = self.unless_strict(key, expression(templar, key, scope))? else { return Ok(()) };
        let or_default = |name: String| if name.is_empty() { default.clone().unwrap_or_default() } else { name };
        let names: Vec<String> = match &value {
            Value::Null => default.iter().cloned().collect(),
            Value::List(items) => items.iter().map(|item| or_default(named(item))).collect(),
            Value::Map(map) => map
                .iter()
                .map(|(name, value)| match or_default(named(value)) {
                    value if value.is_empty() && trailing == Some(false) => name.clone(),
                    value => format!("{name}{separator}{value}"),
                })
                .collect(),
            one => vec![or_default(named(one))],
        };
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let separator = if prefix.is_empty() && !self.leading_separator { "" } else { &separator };
            self.add(&format!("{prefix}{separator}{name}"), parent.as_deref(), host, node, builder)?;
        }
        Ok(())
    }

    fn add(
        &self,
        group: &str,
        parent: Option<&str>,
        host: HostId,
        node: &Node,
        builder: &mut Builder,
    ) -> Result<(), InventoryError> {
        let place = Place::at(self.source, node.at);
        let made_fit = |name: &str| GroupNames::Silently.name(name).into_owned();
        let id = builder.named_group(&made_fit(group), &place)?;
        let name = builder.host_names().nth(host.index()).map(|(_, name)| name.as_str().to_owned()).unwrap_or_default();
        builder.host(&name, id, &place)?;
        if let Some(parent) = parent.filter(|parent| !parent.is_empty()) {
            let parent = builder.named_group(&made_fit(parent), &place)?;
            builder.add_child(parent, id, &place)?;
        }
        Ok(())
    }

    /// What failed, unless failures are to be told.
    fn unless_strict<T>(&self, node: &Node, result: Result<T, String>) -> Result<Option<T>, InventoryError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.strict => Err(self.wrong(node, error)),
            Err(_) => Ok(None),
        }
    }

    fn wrong(&self, node: &Node, what: String) -> InventoryError {
        InventoryError::content(Place::at(self.source, node.at), what)
    }
}

/// What a value adds to a group's name. Nothing is no name.
fn named(value: &Value) -> String {
    if matches!(value, Value::Null) { String::new() } else { rustle_agent::module::shown(value) }
}

/// A bare expression, or a template.
fn expression(templar: &Templar, node: &Node, scope: &Scope) -> Result<Value, String> {
    let value = node.to_value().map_err(|error| error.what)?;
    let rendered = match value.as_str() {
        Some(text) if !crate::template::needs_rendering(text) => templar.expression(text, scope),
        Some(_) => templar.render(&Authored::from_value(value.clone()), scope),
        None => return Err(format!("an expression is a text, not a {}: {}", value.kind(), shown(&value.to_string()))),
    };
    rendered.map_err(|error| format!("`{}`: {error}", shown(&rustle_agent::module::shown(&value))))
}

fn magic(inventory: &Inventory, host: HostId) -> VarMap {
    let mut groups: Vec<Value> = Vec::new();
    for id in inventory.host(host).groups.iter().filter(|id| **id != super::GroupId::ALL) {
        groups.push(Value::from(&*inventory.group(*id).name));
    }
    let name = inventory.name(host).as_str();
    data_map(Map::from_iter([
        ("inventory_hostname".to_owned(), Value::from(name)),
        ("inventory_hostname_short".to_owned(), Value::from(name.split('.').next().unwrap_or(name))),
        ("group_names".to_owned(), Value::List(groups)),
    ]))
}
