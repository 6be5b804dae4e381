//! Ansible's filters, tests and functions, one file per family.

mod checks;
mod codec;
mod dicts;
mod functions;
mod json;
mod lists;
mod lookups;
pub(super) mod methods;
mod numbers;
mod params;
mod paths;
mod random;
mod regex;
mod text;
mod times;
mod values;
mod yaml;

use std::sync::Arc;

use minijinja::{Environment, State};

use self::params::{Args, plain};
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};

use super::rewrite;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(rewrite::FILTER, walkable);
    values::register(env);
    text::register(env);
    regex::register(env);
    lists::register(env);
    dicts::register(env);
    paths::register(env);
    json::register(env);
    yaml::register(env);
    codec::register(env);
    numbers::register(env);
    times::register(env);
    checks::register(env);
    functions::register(env);
    for name in JINJA_FILTERS {
        env.add_filter(format!("ansible.builtin.{name}"), move |state: &mut State<'_, '_>, args: Args| {
            state.apply_filter(name, &plain(args))
        });
    }
    for name in JINJA_TESTS {
        env.add_test(format!("ansible.builtin.{name}"), move |state: &mut State<'_, '_>, args: Args| {
            state.perform_test(name, &plain(args))
        });
    }
}

/// The engine's own filters, which Ansible also knows by their full names.
const JINJA_FILTERS: &[&str] = &[
    "abs",
    "batch",
    "capitalize",
    "dictsort",
    "first",
    "groupby",
    "items",
    "last",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "title",
    "upper",
];

const JINJA_TESTS: &[&str] = &[
    "boolean",
    "divisibleby",
    "eq",
    "equalto",
    "even",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "upper",
];

/// The name Python has for a value's type.
pub(super) fn python_type(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        ValueKind::Iterable => "generator",
        _ => "object",
    }
}

/// An undefined value that has (undefined) attributes. Exists only between two steps of a path.
#[derive(Debug)]
struct Walkable;

impl Object for Walkable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

fn walkable(value: &Value) -> Value {
    if value.is_undefined() { Value::from_object(Walkable) } else { value.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustle_protocol::value::Value;
    use serde_json::Value as Json;

    use crate::template::{Authored, Templar};
    use crate::vars::{Scope, authored_map};

    /// Templates with what ansible-core 2.19.14 made of them: `expected`, or the `error` it ended with.
    const OBSERVED: &str = include_str!("observed.json");

    #[test]
    fn templates_give_what_ansible_gives() {
        let observed: Json = serde_json::from_str(OBSERVED).unwrap();
        let Value::Map(vars) = Value::from(observed["vars"].clone()) else { panic!("vars are a map") };
        let vars = Arc::new(authored_map(vars));
        let templar = Templar::new();
        let mut wrong = Vec::new();
        for case in observed["cases"].as_array().unwrap() {
            let template = case["template"].as_str().unwrap();
            let scope = Scope::of(&templar, [Arc::clone(&vars)]);
            let given = templar.render(&Authored::from_value(Value::from(template)), &scope);
            match (case.get("expected"), given) {
                (Some(expected), Ok(given)) if serde_json::to_value(&given).unwrap() == *expected => {}
                (None, Err(_)) => {}
                (Some(expected), given) => {
                    let given = given.map_or_else(|error| format!("error: {error}"), |value| value.to_json());
                    wrong.push(format!("{template}\n  ansible {expected}\n  ours    {given}"));
                }
                (None, Ok(given)) => wrong.push(format!("{template}\n  ansible {}\n  ours    {given}", case["error"])),
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}
