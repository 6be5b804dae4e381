//! The answers of `rustle-exec inventory`: `--list`, `--host` and `--graph`, laid out as `ansible-inventory` does.

use std::collections::BTreeMap;
use std::fmt::Write;

use rustle_protocol::Value;
use rustle_protocol::value::Map;
use serde::Serialize;

use super::{GroupId, HostId, Inventory};

/// Groups and every host's variables, as JSON that can be read as an inventory again.
pub fn list(inventory: &Inventory) -> String {
    let hostvars: Map = inventory
        .hosts()
        .map(|(id, name)| (name.as_str().to_owned(), sorted(Value::Map(inventory.merged_vars(id)))))
        .filter(|(_, vars)| vars.as_map().is_some_and(|map| !map.is_empty()))
        .collect();
    let mut document: BTreeMap<&str, Value> = BTreeMap::new();
    document.insert("_meta", Value::Map(Map::from_iter([("hostvars".to_owned(), sorted(Value::Map(hostvars)))])));
    for (_, group) in inventory.groups() {
        let mut parts = Map::new();
        let children: Vec<String> = group.children.iter().map(|c| inventory.group(*c).name.to_string()).collect();
        let hosts: Vec<String> = group.hosts.iter().map(|h| inventory.name(*h).as_str().to_owned()).collect();
        for (part, names) in [("children", children), ("hosts", hosts)] {
            if !names.is_empty() {
                parts.insert(part.into(), Value::from(names));
            }
        }
        if !parts.is_empty() {
            document.insert(&group.name, Value::Map(parts));
        }
    }
    pretty(&document)
}

/// One host's variables, merged, as JSON.
pub fn host(inventory: &Inventory, host: HostId) -> String {
    pretty(&sorted(Value::Map(inventory.merged_vars(host))))
}

/// Groups below `top` as a tree of lines; with `vars`, each host's merged variables and each group's own.
pub fn graph(inventory: &Inventory, top: GroupId, vars: bool) -> String {
    let mut out = format!("@{}:\n", inventory.group(top).name);
    branch(inventory, top, 1, vars, &mut out);
    out
}

fn branch(inventory: &Inventory, group: GroupId, depth: usize, vars: bool, out: &mut String) {
    let below = inventory.group(group);
    for child in &below.children {
        line(depth, format_args!("@{}:", inventory.group(*child).name), out);
        branch(inventory, *child, depth + 1, vars, out);
    }
    for host in &below.hosts {
        line(depth, format_args!("{}", inventory.name(*host)), out);
        if vars {
            variables(inventory.merged_vars(*host), depth + 1, out);
        }
    }
    if vars {
        let mut own = (*below.vars).clone();
        let files = [&below.file_vars.inventory, &below.file_vars.playbook].into_iter();
        own.extend(files.flat_map(|vars| vars.iter()).map(|(name, value)| (name.clone(), value.clone())));
        variables(own, depth, out);
    }
}

fn variables(mut vars: Map, depth: usize, out: &mut String) {
    vars.sort_keys();
    for (name, value) in vars {
        let shown = match value {
            Value::String(text) => text,
            other => python(&other),
        };
        line(depth, format_args!("{{{name} = {shown}}}"), out);
    }
}

fn line(depth: usize, text: std::fmt::Arguments<'_>, out: &mut String) {
    let _ = writeln!(out, "{}|--{text}", "  |".repeat(depth)[..].strip_suffix('|').unwrap_or(""));
}

/// A value as Python writes it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) if text.contains('\'') && !text.contains('"') => format!("\"{text}\""),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::List(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| format!("{}: {}", python(&key.as_str().into()), python(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_json(),
    }
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

fn pretty(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    value.serialize(&mut serializer).expect("values are JSON and memory takes every byte");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}
