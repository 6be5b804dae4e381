//! The inventory plugin `generator`: a host for every combination of the layers' values.

use std::sync::Arc;

use rustle_protocol::value::Map;

use super::build::Builder;
use super::{GroupId, InventoryError};
use crate::input::authored::{authored, whole_path};
use crate::input::source::{Place, shown};
use crate::input::yaml::{Key, Node};
use crate::plugins::Plugins;
use crate::template::{Authored, Templar};
use crate::vars::{Scope, VarMap, Variable, data_map};

/// Groups within groups.
const PARENTS_DEPTH_MAX: usize = 32;

/// Adds the hosts and groups.
///
/// # Errors
/// A configuration of another shape, a template that fails, more hosts than the limits allow.
pub(super) fn apply(entries: &[(Key, Node)], source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let find = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
    let templar = Templar::with(Plugins::default(), builder.vault.clone());
    let generator = Generator { source, templar };
    let (Some(hosts), Some(layers)) = (find("hosts"), find("layers")) else {
        let place = Place::whole(Arc::clone(source));
        return Err(InventoryError::content(place, "a generator needs `hosts` and `layers`"));
    };
    let layers = generator.map(layers)?.iter().map(|(key, node)| Ok((key.text.as_str(), generator.list(node)?)));
    let layers: Vec<(&str, &[Node])> = layers.collect::<Result<_, InventoryError>>()?;
    let combinations = layers.iter().try_fold(1_usize, |n, (_, values)| n.checked_mul(values.len()));
    if combinations.is_none_or(|count| count > builder.limits.hosts_max) {
        let what = format!("the layers have more than {} combinations", builder.limits.hosts_max);
        return Err(InventoryError::content(Place::at(source, hosts.at), what));
    }
    for at in 0..combinations.unwrap_or_default() {
        generator.host(hosts, &chosen(&layers, at, source)?, builder)?;
    }
    Ok(())
}

/// The `at`th combination, the last layer running fastest.
fn chosen(layers: &[(&str, &[Node])], mut at: usize, source: &Arc<str>) -> Result<Map, InventoryError> {
    let mut values = Vec::new();
    for (name, nodes) in layers.iter().rev() {
        let value = nodes[at % nodes.len()].to_value().map_err(|error| InventoryError::yaml(source, error))?;
        values.push(((*name).to_owned(), value));
        at /= nodes.len();
    }
    Ok(values.into_iter().rev().collect())
}

struct Generator<'a> {
    source: &'a Arc<str>,
    templar: Templar,
}

impl Generator<'_> {
    fn host(&self, node: &Node, layers: &Map, builder: &mut Builder) -> Result<(), InventoryError> {
        let scope = Scope::of(&self.templar, [Arc::new(data_map(layers.clone()))]);
        let Some(name) = self.name(node, &scope)? else { return Ok(()) };
        let host = builder.host(&name, GroupId::ALL, &Place::at(self.source, node.at))?;
        let in_group = |group: GroupId, builder: &mut Builder| {
            builder.host(&name, group, &Place::at(self.source, node.at)).map(drop)
        };
        if let Some(parents) = self.part(node, "parents")? {
            for parent in self.list(parents)? {
                if let Some(group) = self.group(parent, &name, &scope, 0, builder)? {
                    in_group(group, builder)?;
                }
            }
        }
        let vars = self.vars(node, &scope)?;
        if !vars.is_empty() {
            builder.set_host_vars(host, &Arc::new(vars));
        }
        Ok(())
    }

    fn group(
        &self,
        node: &Node,
        child: &str,
        scope: &Scope,
        depth: usize,
        builder: &mut Builder,
    ) -> Result<Option<GroupId>, InventoryError> {
        if depth > PARENTS_DEPTH_MAX {
            return Err(self.wrong(node, format!("parents nest deeper than {PARENTS_DEPTH_MAX} levels")));
        }
        if self.part(node, "name")?.is_none() {
            return Err(self.wrong(node, format!("Element {} has a parent with no name.", shown(child))));
        }
        let Some(name) = self.name(node, scope)? else { return Ok(None) };
        let place = Place::at(self.source, node.at);
        let group = builder.named_group(&name, &place)?;
        let vars = self.vars(node, scope)?;
        if !vars.is_empty() {
            builder.set_group_vars(group, vars);
        }
        if let Some(parents) = self.part(node, "parents")? {
            for parent in self.list(parents)? {
                if let Some(parent) = self.group(parent, &name, scope, depth + 1, builder)? {
                    builder.add_child(parent, group, &place)?;
                }
            }
        }
        Ok(Some(group))
    }

    /// The rendered name; a host or group whose name comes out empty is left out.
    fn name(&self, node: &Node, scope: &Scope) -> Result<Option<String>, InventoryError> {
        let name = self.part(node, "name")?.ok_or_else(|| self.wrong(node, "it has no `name`".to_owned()))?;
        let text = name.as_str().unwrap_or_default();
        let rendered = self.templar.render_text(text, scope).map_err(|error| self.wrong(name, error.to_string()))?;
        Ok(Some(rendered).filter(|name| !name.is_empty()))
    }

    fn vars(&self, node: &Node, scope: &Scope) -> Result<VarMap, InventoryError> {
        let Some(vars) = self.part(node, "vars")? else { return Ok(VarMap::new()) };
        let mut rendered = VarMap::new();
        for (key, node) in self.map(vars)? {
            let written =
                authored(node, &whole_path(self.source)).map_err(|error| InventoryError::yaml(self.source, error))?;
            // What is encrypted, or needs more than the layers, is left to the run.
            let value = match &written {
                Authored::Template(_) => self.templar.render(&written, scope).map(Authored::literal).unwrap_or(written),
                _ => written,
            };
            rendered.insert(key.text.clone(), Variable::Authored(Arc::new(value)));
        }
        Ok(rendered)
    }

    fn part<'n>(&self, node: &'n Node, name: &str) -> Result<Option<&'n Node>, InventoryError> {
        let found = self.map(node)?.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
        Ok(found.filter(|node| !node.is_null()))
    }

    fn map<'n>(&self, node: &'n Node) -> Result<&'n [(Key, Node)], InventoryError> {
        node.as_map().ok_or_else(|| self.wrong(node, format!("expected a dict, not a {}", node.kind())))
    }

    fn list<'n>(&self, node: &'n Node) -> Result<&'n [Node], InventoryError> {
        let items = node.as_list().filter(|items| !items.is_empty());
        items.ok_or_else(|| self.wrong(node, format!("expected a list of values, not a {}", node.kind())))
    }

    fn wrong(&self, node: &Node, what: String) -> InventoryError {
        InventoryError::content(Place::at(self.source, node.at), what)
    }
}
