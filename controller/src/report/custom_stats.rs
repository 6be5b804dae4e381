//! What `set_stats` has gathered, shown behind the recap where that is wanted.

use std::collections::BTreeMap;

use rustle_protocol::value::Map;
use rustle_protocol::{HostName, Value};

use super::json;
use super::layout::banner;
use super::line::Line;
use super::settings::ResultFormat;
use crate::event::TaskResult;
use crate::template::yaml_result;

/// Values by name: of the run, and of single hosts.
/// Blanks a level where it is shown as YAML.
const YAML_INDENT: usize = 2;

#[derive(Debug, Default)]
pub(super) struct CustomStats {
    run: Map,
    hosts: BTreeMap<HostName, Map>,
}

impl CustomStats {
    /// Takes note of what a task, or the items of its loop, have set.
    pub(super) fn add(&mut self, result: &TaskResult) {
        if rustle_agent::module::short_name(&result.module) != "set_stats" {
            return;
        }
        let items = result.items.iter().map(|item| &item.values);
        for values in std::iter::once(&result.values).chain(items) {
            if let Some(stats) = values.get("ansible_stats").and_then(Value::as_map) {
                self.set(&result.host, stats);
            }
        }
    }

    fn set(&mut self, host: &HostName, stats: &Map) {
        let flag = |name: &str| stats.get(name) == Some(&Value::Bool(true));
        let Some(data) = stats.get("data").and_then(Value::as_map) else { return };
        let known = if flag("per_host") { self.hosts.entry(host.clone()).or_default() } else { &mut self.run };
        for (name, value) in data {
            match known.get_mut(name) {
                Some(before) if flag("aggregate") => aggregate(before, value),
                _ => {
                    known.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// The lines behind the recap; none if nothing was set.
    pub(super) fn lines(&self, format: ResultFormat, columns: usize) -> Vec<Line> {
        if self.run.is_empty() && self.hosts.is_empty() {
            return Vec::new();
        }
        let line = |name: &str, stats: &Map| {
            let stats = Value::Map(stats.clone());
            let shown = match format {
                ResultFormat::Yaml => yaml_result(&stats, YAML_INDENT).lines().map(|line| format!(" {line}")).collect(),
                _ => json::shown_indented_by_one(&stats).replace('\n', ""),
            };
            Line::new(&format!("\t{name}: {shown}"))
        };
        let mut lines = banner("CUSTOM STATS:", columns);
        lines.extend(self.hosts.iter().map(|(host, stats)| line(host.as_str(), stats)));
        if !self.run.is_empty() {
            lines.extend([Line::blank(), line("RUN", &self.run)]);
        }
        lines.push(Line::blank());
        lines
    }
}

/// As Ansible: numbers add up, texts and lists grow, dicts are merged. What does not fit together stays as it was.
fn aggregate(before: &mut Value, value: &Value) {
    match (before, value) {
        (Value::Map(before), Value::Map(value)) => merge(before, value),
        (Value::List(before), Value::List(value)) => before.extend(value.iter().cloned()),
        (Value::String(before), Value::String(value)) => before.push_str(value),
        (before @ Value::Int(_), Value::Int(value)) => {
            *before = Value::Int(before.as_i64().unwrap_or_default().saturating_add(*value));
        }
        (Value::Float(before), Value::Float(value)) => *before += value,
        _ => {}
    }
}

fn merge(before: &mut Map, value: &Map) {
    for (name, value) in value {
        match (before.get_mut(name), value) {
            (Some(Value::Map(before)), Value::Map(value)) => merge(before, value),
            _ => {
                before.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: serde_json::Value) -> Map {
        let Value::Map(map) = Value::from(json) else { panic!("a map is needed") };
        map
    }

    #[test]
    fn what_is_set_twice_is_added_up_unless_it_is_not_to_be() {
        let mut stats = CustomStats::default();
        let host: HostName = "web1".parse().unwrap();
        let mut set = |data: serde_json::Value, aggregate: bool, per_host: bool| {
            let told = serde_json::json!({"data": data, "aggregate": aggregate, "per_host": per_host});
            stats.set(&host, &map(told));
        };
        set(serde_json::json!({"n": 1, "l": [1], "d": {"x": 1}, "s": "q", "z": 1}), true, false);
        set(serde_json::json!({"n": 2, "l": [2], "d": {"y": 2}, "s": "r"}), true, false);
        set(serde_json::json!({"z": 5}), false, false);
        set(serde_json::json!({"n": "no number"}), true, false);
        set(serde_json::json!({"h": 2}), true, true);
        let lines: Vec<String> = stats.lines(ResultFormat::Json, 79).iter().map(Line::text).collect();
        assert_eq!(
            lines[2..],
            [
                "\tweb1: { \"h\": 2}",
                "",
                "\tRUN: { \"d\": {  \"x\": 1,  \"y\": 2 }, \"l\": [  1,  2 ], \"n\": 3, \"s\": \"qr\", \"z\": 5}",
                "",
            ]
        );
        let lines: Vec<String> = stats.lines(ResultFormat::Yaml, 79).iter().map(Line::text).collect();
        assert_eq!(lines[2..4], ["\tweb1:  h: 2", ""]);
    }
}
