//! The answers of `rustle-exec inventory`: `--list`, `--host` and `--graph`, laid out as `ansible-inventory` does.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::{Group, GroupId, HostId, Inventory, Rules};
use crate::input::vaulted::{UNSAFE_MARK, VAULT_MARK};
use crate::template::Authored;
use crate::vars::{VarMap, Variable};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    Toml,
}

/// What of an inventory is shown.
pub struct View<'a> {
    pub inventory: &'a Inventory,
    /// These hosts; `None` for all.
    pub only: Option<HashSet<HostId>>,
    /// Variables stand where they were given, a group's at the group, instead of at every host that has them.
    pub export: bool,
}

impl<'a> View<'a> {
    /// All of it.
    pub fn of(inventory: &'a Inventory) -> View<'a> {
        View { inventory, only: None, export: false }
    }

    /// Groups, hosts and variables. Each format can be read as an inventory again.
    pub fn list(&self, format: Format) -> String {
        match format {
            Format::Json => written(self.flat(), format),
            Format::Yaml => {
                let all = self.tree(GroupId::ALL, &mut Seen::default());
                let named = Some(("all".to_owned(), Value::Map(all.clone()))).filter(|_| !all.is_empty());
                written(Value::Map(named.into_iter().collect()), format)
            }
            Format::Toml => {
                let mut tables = Map::new();
                self.tables(GroupId::ALL, &mut Seen::default(), &mut tables);
                written(Value::Map(tables), format)
            }
        }
    }

    fn hosts(&self, group: &Group) -> Vec<HostId> {
        let is_shown = |host: &HostId| self.only.as_ref().is_none_or(|only| only.contains(host));
        group.hosts.iter().copied().filter(is_shown).collect()
    }

    fn host_name(&self, host: HostId) -> String {
        self.inventory.name(host).as_str().to_owned()
    }

    fn children(&self, group: &Group) -> Vec<String> {
        group.children.iter().map(|child| self.inventory.group(*child).name.to_string()).collect()
    }

    fn host_vars(&self, host: HostId, marks: Marks) -> Map {
        let vars = if self.export { self.inventory.own_vars(host) } else { self.inventory.shown_vars(host) };
        values(&vars, marks)
    }

    fn group_vars(&self, group: &Group, marks: Marks) -> Map {
        if self.export { values(&own_vars(&self.inventory.rules, group), marks) } else { Map::new() }
    }

    /// As an inventory script's `--list`.
    fn flat(&self) -> Value {
        let mut document: BTreeMap<String, Value> = BTreeMap::new();
        let mut reached = HashSet::new();
        for (id, group) in self.inventory.groups() {
            let hosts = self.hosts(group);
            reached.extend(hosts.iter().copied());
            let vars = sorted(Value::Map(self.group_vars(group, Marks::All)));
            let hosts: Vec<String> = hosts.into_iter().map(|host| self.host_name(host)).collect();
            let parts = [
                ("children", Value::from(self.children(group))),
                // Every host is in `all`; what is listed there is in no other group.
                ("hosts", Value::from(if id == GroupId::ALL { Vec::new() } else { hosts })),
                ("vars", vars),
            ];
            let parts: Map = parts
                .into_iter()
                .filter(|(_, part)| !is_empty(part))
                .map(|(name, part)| (name.to_owned(), part))
                .collect();
            if !parts.is_empty() {
                document.insert(group.name.to_string(), Value::Map(parts));
            }
        }
        let mut hostvars: Map = self
            .inventory
            .hosts()
            .filter(|(id, _)| reached.contains(id))
            .map(|(id, name)| (name.as_str().to_owned(), sorted(Value::Map(self.host_vars(id, Marks::All)))))
            .filter(|(_, vars)| !is_empty(vars))
            .collect();
        hostvars.sort_keys();
        let meta = [("hostvars", Value::Map(hostvars)), ("profile", "inventory_legacy".into())];
        let meta = Value::Map(meta.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        document.insert("_meta".to_owned(), meta);
        Value::Map(document.into_iter().collect())
    }

    /// As a YAML inventory: groups in groups, in their order; what was shown before is only named.
    fn tree(&self, id: GroupId, seen: &mut Seen) -> Map {
        let group = self.inventory.group(id);
        let mut children = Map::new();
        for &child in &group.children {
            let name = self.inventory.group(child).name.to_string();
            if seen.groups.contains(&child) {
                children.insert(name, Value::Map(Map::new()));
                continue;
            }
            let below = self.tree(child, seen);
            if !below.is_empty() {
                seen.groups.insert(child);
                children.insert(name, Value::Map(below));
            }
        }
        // Every host is in `all`; what is shown there is in no other group.
        let hosts = if id == GroupId::ALL { Vec::new() } else { self.hosts(group) };
        let hosts: Map = hosts.into_iter().map(|host| (self.host_name(host), self.vars_once(host, seen))).collect();
        parts([
            ("children", Value::Map(children)),
            ("hosts", Value::Map(hosts)),
            ("vars", self.group_vars(group, Marks::Sealed).into()),
        ])
    }

    fn vars_once(&self, host: HostId, seen: &mut Seen) -> Value {
        Value::Map(if seen.hosts.insert(host) { self.host_vars(host, Marks::Sealed) } else { Map::new() })
    }

    /// As a TOML inventory: a table for each group.
    fn tables(&self, id: GroupId, seen: &mut Seen, out: &mut Map) {
        if !seen.groups.insert(id) {
            return;
        }
        let group = self.inventory.group(id);
        let (children, hosts) = match id {
            GroupId::ALL => (Vec::new(), Vec::new()),
            _ => (self.children(group), self.hosts(group)),
        };
        let hosts: Map = hosts.into_iter().map(|host| (self.host_name(host), self.vars_once(host, seen))).collect();
        let vars = self.group_vars(group, Marks::Sealed).into();
        let table = parts([("children", Value::from(children)), ("hosts", Value::Map(hosts)), ("vars", vars)]);
        if !table.is_empty() {
            out.insert(group.name.to_string(), Value::Map(table));
        }
        for child in &group.children {
            self.tables(*child, seen, out);
        }
    }
}

/// What a format that says things once has said.
#[derive(Default)]
struct Seen {
    groups: HashSet<GroupId>,
    hosts: HashSet<HostId>,
}

/// Those that are not empty.
fn parts(parts: [(&str, Value); 3]) -> Map {
    parts.into_iter().filter(|(_, part)| !is_empty(part)).map(|(name, part)| (name.to_owned(), part)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

/// What of a variable is said beside its text.
#[derive(Clone, Copy, PartialEq)]
enum Marks {
    /// That it is encrypted.
    Sealed,
    /// That, and that it is no template.
    All,
}

fn values(vars: &VarMap, marks: Marks) -> Map {
    let value = |variable: &Variable| match variable {
        Variable::Authored(authored) => written_as(authored, marks),
        Variable::Data(_) | Variable::Asked(_) => variable.source(),
    };
    vars.iter().map(|(name, variable)| (name.clone(), value(variable))).collect()
}

fn written_as(authored: &Authored, marks: Marks) -> Value {
    match authored {
        Authored::Sealed(sealed) => mark(VAULT_MARK, sealed.text()),
        Authored::Unsafe(value) if marks == Marks::All => marked_texts(value.clone()),
        Authored::List(items) => items.iter().map(|item| written_as(item, marks)).collect(),
        Authored::Map(map) => {
            Value::Map(map.iter().map(|(key, item)| (key.clone(), written_as(item, marks))).collect())
        }
        Authored::Data(_) | Authored::Unsafe(_) | Authored::Template(_) => authored.source(),
    }
}

/// Every text in it marked as unsafe.
fn marked_texts(value: Value) -> Value {
    match value {
        Value::String(text) => mark(UNSAFE_MARK, &text),
        Value::List(items) => items.into_iter().map(marked_texts).collect(),
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, value)| (key, marked_texts(value))).collect()),
        other => other,
    }
}

fn mark(mark: &str, text: &str) -> Value {
    Value::Map(Map::from_iter([(mark.to_owned(), text.into())]))
}

fn own_vars(rules: &Rules, group: &Group) -> VarMap {
    let mut vars = rules.merged([&group.vars, &group.file_vars.inventory, &group.file_vars.playbook]);
    if group.priority != Group::PRIORITY_DEFAULT {
        vars.insert("ansible_group_priority".to_owned(), Variable::data(group.priority));
    }
    vars
}

/// One host's variables, merged.
pub fn host(vars: &VarMap, format: Format) -> String {
    let vars = Value::Map(values(vars, Marks::Sealed));
    written(if format == Format::Json { sorted(vars) } else { vars }, format)
}

/// Groups below `top` as a tree of lines; with `vars`, each host's merged variables and each group's own.
///
/// # Errors
/// A variable is encrypted, and no password fits.
pub fn graph(inventory: &Inventory, top: GroupId, vars: bool) -> Result<String, String> {
    let mut out = format!("@{}:\n", inventory.group(top).name);
    branch(inventory, top, 1, vars, &mut out)?;
    Ok(out)
}

fn branch(inventory: &Inventory, group: GroupId, depth: usize, vars: bool, out: &mut String) -> Result<(), String> {
    let below = inventory.group(group);
    for child in &below.children {
        line(depth, format_args!("@{}:", inventory.group(*child).name), out);
        branch(inventory, *child, depth + 1, vars, out)?;
    }
    for host in &below.hosts {
        line(depth, format_args!("{}", inventory.name(*host)), out);
        if vars {
            variables(inventory, inventory.shown_vars(*host), depth + 1, out)?;
        }
    }
    if vars {
        variables(inventory, own_vars(&inventory.rules, below), depth, out)?;
    }
    Ok(())
}

fn variables(inventory: &Inventory, mut vars: VarMap, depth: usize, out: &mut String) -> Result<(), String> {
    vars.sort_keys();
    for (name, variable) in vars {
        let value = variable.plain(&inventory.vault).map_err(|error| format!("{name}: {error}"))?;
        line(depth, format_args!("{{{name} = {}}}", crate::template::python_text(&value)), out);
    }
    Ok(())
}

fn line(depth: usize, text: std::fmt::Arguments<'_>, out: &mut String) {
    let _ = writeln!(out, "{}|--{text}", "  |".repeat(depth)[..].strip_suffix('|').unwrap_or(""));
}

/// Keys sorted at every depth.
fn sorted(value: Value) -> Value {
    match value {
        Value::Map(map) => {
            let mut map: Map = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            map.sort_keys();
            Value::Map(map)
        }
        Value::List(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn written(value: Value, format: Format) -> String {
    match format {
        Format::Json => pretty(&value),
        Format::Yaml => crate::template::yaml_block(&sorted(value), VAULT_MARK),
        Format::Toml => toml::to_string_pretty(&tables_of(&value)).expect("a table of values is TOML"),
    }
}

/// TOML has no null: what is null is left out.
fn tables_of(value: &Value) -> toml::Value {
    let text = |text: String| toml::Value::String(text);
    match value {
        Value::Null => text(String::new()),
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Int(number) => toml::Value::Integer(*number),
        Value::UInt(number) => text(number.to_string()),
        Value::Float(number) => toml::Value::Float(*number),
        Value::String(own) => text(own.clone()),
        Value::Bytes(bytes) => text(String::from_utf8_lossy(bytes).into_owned()),
        Value::List(items) => {
            toml::Value::Array(items.iter().filter(|item| **item != Value::Null).map(tables_of).collect())
        }
        Value::Map(map) => {
            let known = map.iter().filter(|(_, value)| **value != Value::Null);
            toml::Value::Table(known.map(|(name, value)| (name.clone(), tables_of(value))).collect())
        }
    }
}

fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    serde::Serialize::serialize(value, &mut serializer).expect("values are JSON and memory takes every byte");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}
