//! Ansible's YAML inventory: groups that hold `hosts`, `children` and `vars`. JSON of the same shape is read too.

use std::path::Path;
use std::sync::Arc;

use super::build::Builder;
use super::{GroupId, InventoryError, constructed, generator};
use crate::input::authored::{authored_entries, whole_path};
use crate::input::playbook::{is_reserved, reserved_name};
use crate::input::source::{Place, shown};
use crate::input::yaml::{self, Key, Kind, Node};
use crate::vars::{VarMap, Variable};

/// Adds what `text` says.
pub(super) fn read(text: &str, source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let document = yaml::compose(text).map_err(|error| InventoryError::yaml(source, error))?.of_file(source, text);
    for warning in &document.warnings {
        builder.warn(&Place::at(source, warning.at), &warning.what);
    }
    let Some(root) = document.root.filter(|root| !root.is_null()) else { return Ok(()) };
    let reader = Reader { source, file: whole_path(source) };
    let Some(groups) = root.as_map() else {
        let what = format!("expected groups with hosts, not a {}", root.kind());
        return Err(InventoryError::hinted(reader.place(&root), what, "begin with `all:`, then `hosts:` below it"));
    };
    if let Some((key, plugin)) = groups.iter().find(|(key, _)| key.text == "plugin") {
        let name = plugin.as_str().unwrap_or_default();
        return match name.strip_prefix("ansible.builtin.").unwrap_or(name) {
            "constructed" => constructed::apply(groups, source, builder),
            "generator" => generator::apply(groups, source, builder),
            _ => {
                let what = format!(
                    "the configuration of the inventory plugin `{}`, which rustle-exec does not have",
                    shown(name)
                );
                let hint = "let Ansible write the inventory down: ansible-inventory --list --yaml > hosts.yml";
                Err(InventoryError::hinted(Place::at(source, key.at), what, hint))
            }
        };
    }
    groups.iter().try_for_each(|(key, node)| reader.group(key, node, builder).map(drop))
}

/// What is written of variables: templates, and what `!vault` and `!unsafe` say. `file` is the whole path of `source`.
pub(super) fn variables(
    entries: &[(Key, Node)],
    source: &Arc<str>,
    file: &Arc<Path>,
) -> Result<VarMap, InventoryError> {
    let written = authored_entries(entries, file).map_err(|error| InventoryError::yaml(source, error))?;
    Ok(written.into_iter().map(|(name, value)| (name, Variable::Authored(Arc::new(value)))).collect())
}

struct Reader<'a> {
    source: &'a Arc<str>,
    file: Arc<Path>,
}

impl Reader<'_> {
    fn group(&self, key: &Key, node: &Node, builder: &mut Builder) -> Result<GroupId, InventoryError> {
        let group = builder.named_group(&key.text, &Place::at(self.source, key.at))?;
        for (key, part) in self.map_or_nothing(node, "a group holds hosts, children and vars")? {
            match key.text.as_str() {
                "hosts" => self.hosts(part, group, builder)?,
                "children" => self.children(part, group, builder)?,
                "vars" => {
                    let vars = self.map_or_nothing(part, "vars is a map of variables")?;
                    let vars = self.variables(vars, builder)?;
                    builder.set_group_vars(group, vars);
                }
                other => {
                    let what =
                        format!("`{}` means nothing in a group, which holds hosts, children and vars", shown(other));
                    builder.warn(&Place::at(self.source, key.at), what);
                }
            }
        }
        Ok(group)
    }

    fn hosts(&self, node: &Node, group: GroupId, builder: &mut Builder) -> Result<(), InventoryError> {
        if let Some(name) = node.as_str() {
            return builder.hosts(name, group, &self.place(node)).map(drop);
        }
        let hint = "each host is a key: `web1:` or `web1: {port: 8080}`";
        for (key, vars) in self.map_or_nothing(node, hint)? {
            let entries = self.map_or_nothing(vars, "a host holds a map of variables")?;
            let vars = Arc::new(self.variables(entries, builder)?);
            for host in builder.hosts(&key.text, group, &Place::at(self.source, key.at))? {
                builder.set_host_vars(host, &vars);
            }
        }
        Ok(())
    }

    fn variables(&self, entries: &[(Key, Node)], builder: &mut Builder) -> Result<VarMap, InventoryError> {
        for (key, _) in entries.iter().filter(|(key, _)| is_reserved(&key.text)) {
            builder.warn(&Place::at(self.source, key.at), reserved_name(&key.text));
        }
        variables(entries, self.source, &self.file)
    }

    fn children(&self, node: &Node, parent: GroupId, builder: &mut Builder) -> Result<(), InventoryError> {
        if let Some(name) = node.as_str() {
            let child = builder.named_group(name, &self.place(node))?;
            return builder.add_child(parent, child, &self.place(node));
        }
        for (key, below) in self.map_or_nothing(node, "each child is a key: `web:`")? {
            let child = self.group(key, below, builder)?;
            builder.add_child(parent, child, &Place::at(self.source, key.at))?;
        }
        Ok(())
    }

    /// A map's entries; none if nothing is written.
    fn map_or_nothing<'n>(&self, node: &'n Node, hint: &str) -> Result<&'n [(Key, Node)], InventoryError> {
        match &node.kind {
            Kind::Map(entries) => Ok(entries),
            _ if node.is_null() => Ok(&[]),
            Kind::Scalar(_) | Kind::Sealed(_) | Kind::List(_) => {
                let what = format!("expected a map, not a {}", node.kind());
                Err(InventoryError::hinted(self.place(node), what, hint))
            }
        }
    }

    fn place(&self, node: &Node) -> Place {
        Place::at(self.source, node.at)
    }
}
