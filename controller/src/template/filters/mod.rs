//! Ansible's filters, tests and functions, one file per family.

mod changeable;
mod checks;
mod codec;
mod crypt;
mod dicts;
mod engines;
mod formats;
mod functions;
mod json;
mod json_complaint;
mod lists;
mod lookups;
mod macros;
pub(super) mod methods;
mod numbers;
mod operators;
mod params;
mod paths;
mod percent;
pub(super) mod plugins;
mod portions;
mod powers;
mod random;
mod regex;
mod selections;
mod slices;
mod text;
mod times;
mod turns;
mod values;
mod vaults;
mod yaml;

use std::sync::Arc;

use minijinja::{Environment, Error, State};

use self::params::{Args, plain};
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};

use super::convert::is_omit;
use super::sealed::as_closed;
use super::{embedded, rewrite};

pub(crate) use self::lookups::FILES_FOLDER;
pub(super) use self::yaml::{block_text as yaml_block, result_text as yaml_result};

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(rewrite::FILTER, walkable);
    env.add_filter(embedded::FILTER, embedded::printed);
    changeable::register(env);
    values::register(env);
    text::register(env);
    regex::register(env);
    lists::register(env);
    selections::register(env);
    slices::register(env);
    dicts::register(env);
    paths::register(env);
    json::register(env);
    yaml::register(env);
    codec::register(env);
    crypt::register(env);
    vaults::register(env);
    macros::register(env);
    numbers::register(env);
    operators::register(env);
    portions::register(env);
    powers::register(env);
    times::register(env);
    turns::register(env);
    checks::register(env);
    functions::register(env);
    engines::register(env);
    for name in JINJA_TESTS {
        env.add_test(format!("ansible.builtin.{name}"), move |state: &mut State<'_, '_>, args: Args| {
            state.perform_test(name, &plain(args))
        });
    }
}

/// The engine's own tests, which Ansible also knows by their full names.
const JINJA_TESTS: &[&str] = &[
    "boolean", "eq", "equalto", "even", "float", "in", "integer", "iterable", "lower", "mapping", "ne", "none",
    "number", "odd", "sameas", "sequence", "string", "upper",
];

/// The name Python has for a value's type.
pub(super) fn python_type(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "UndefinedMarker",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        // Ansible makes a list of what a filter or a dict gives bit by bit.
        ValueKind::Iterable => "list",
        ValueKind::Plain if is_omit(value) => "_OmitType",
        ValueKind::Plain if times::is_date(value) => "datetime",
        ValueKind::Plain if times::is_span(value) => "timedelta",
        ValueKind::Plain if as_closed(value).is_some() => "VaultExceptionMarker",
        _ => "object",
    }
}

/// An undefined value that has attributes and methods, which give undefined ones. Exists only between two steps of a path.
#[derive(Debug)]
struct Walkable;

impl Object for Walkable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, _: &str, _: &[Value]) -> Result<Value, Error> {
        Ok(Value::UNDEFINED)
    }
}

fn walkable(value: &Value) -> Value {
    if value.is_undefined() { Value::from_object(Walkable) } else { value.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustle_protocol::value::Value;
    use serde_json::{Value as Json, json};

    use crate::template::{Authored, Conditionals, Templar};
    use crate::vars::{Scope, authored_map};

    /// What ansible-core 2.19 made of the templates in `tests/differential/templates.txt`: `expected`, or the `error` it
    /// ended with. A test there makes sure that this is so.
    const OBSERVED: &str = include_str!("observed.json");
    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/differential");

    fn ours(case: &Json, templar: &Templar, scope: &Scope) -> Result<Json, String> {
        if let Some(condition) = case["condition"].as_str() {
            let holds = templar.condition(condition, scope, Conditionals::Strict);
            return holds.map(Json::from).map_err(|error| error.to_string());
        }
        let template = Authored::from_value(Value::from(case["template"].as_str().unwrap()));
        let value = templar.render(&template, scope).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(value).unwrap())
    }

    #[test]
    fn templates_give_what_ansible_gives() {
        let cases: Vec<Json> = serde_json::from_str(OBSERVED).unwrap();
        let vars = std::fs::read_to_string(format!("{FOLDER}/vars.json")).unwrap();
        let mut vars: Json = serde_json::from_str(&vars).unwrap();
        vars["playbook_dir"] = FOLDER.into();
        let Value::Map(vars) = Value::from(vars) else { panic!("vars are a map") };
        let vars = Arc::new(authored_map(vars));
        let templar = Templar::new();
        let mut wrong = Vec::new();
        for case in &cases {
            let given = ours(case, &templar, &Scope::of(&templar, [Arc::clone(&vars)]));
            let same = match (&given, case.get("expected"), &case["error"]) {
                (Ok(given), Some(expected), _) => given == expected,
                (Err(_), None, _) if case["loose"] == json!(true) => true,
                (Err(given), None, error) => error.as_str() == Some(given),
                _ => false,
            };
            if !same {
                wrong.push(format!("{case}\n    ours {given:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}
