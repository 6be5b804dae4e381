//! Whether arguments are what a role's argument spec says: types, choices, what is required, what is known. In Ansible's
//! words, all that is wrong at once.

use rustle_agent::module::{FromArg, shown};
use rustle_protocol::Value;
use rustle_protocol::value::Map;

use crate::template::python_text;

const NO_DICT: &str = "dictionary requested, could not parse JSON or key=value";

/// Dicts within dicts. A spec that goes deeper is not looked at there.
const DEPTH_MAX: usize = 16;

/// Everything that is wrong with `args`, in the order in which Ansible tells it. Names that the spec does not have are
/// wrong, too.
pub(super) fn errors(spec: &Map, args: &Map) -> Vec<String> {
    let mut check = Check { errors: Vec::new(), unknown: Vec::new(), known: Vec::new() };
    check.options(spec, None, args, &mut Vec::new());
    if !check.unknown.is_empty() {
        check.known.sort();
        let (unknown, known) = (check.unknown.join(", "), check.known.join(", "));
        check.errors.push(format!("{unknown}. Supported parameters include: {known}."));
    }
    check.errors
}

struct Check {
    errors: Vec<String>,
    /// Names that no spec has, and those that the specs around them have.
    unknown: Vec<String>,
    known: Vec<String>,
}

impl Check {
    /// `within` are the names of the dicts around; `rules` is the option of the nearest, which says which of its own go together.
    fn options(&mut self, spec: &Map, rules: Option<&Map>, args: &Map, within: &mut Vec<String>) {
        let suffix = found_in(within);
        self.names(spec, args, within);
        if let Some(rules) = rules {
            self.exclusive(rules, args, &suffix);
        }
        let missing: Vec<&str> = spec
            .iter()
            .filter(|(name, option)| is_required(option) && given(args, name, option).is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            self.errors.push(format!("missing required arguments: {}{suffix}", missing.join(", ")));
        }
        let given: Vec<(&String, &Map, &Value)> = spec
            .iter()
            .filter_map(|(name, option)| Some((name, option.as_map()?, given(args, name, option)?)))
            .collect();
        let typed: Vec<(&String, &Map, Value)> = given
            .into_iter()
            .map(|(name, option, value)| (name, option, self.typed(name, option, value, within)))
            .collect();
        for (name, option, value) in &typed {
            self.choices(name, option, value, &suffix);
        }
        if let Some(rules) = rules {
            self.belonging(rules, &with_defaults(spec, args), &suffix);
        }
        for (name, option, value) in typed.into_iter().filter(|(.., value)| !value.is_null()) {
            if let Some(inner) = option.get("options").and_then(Value::as_map) {
                within.push(name.clone());
                self.inner(inner, option, &value, within);
                within.pop();
            }
        }
    }

    /// Of some options one alone may be given.
    fn exclusive(&mut self, rules: &Map, args: &Map, suffix: &str) {
        let several = |names: &Vec<&str>| names.iter().filter(|name| args.contains_key(**name)).count() > 1;
        let excluded: Vec<String> =
            lists(rules, "mutually_exclusive").map(names).filter(several).map(|names| names.join("|")).collect();
        if !excluded.is_empty() {
            self.errors.push(format!("parameters are mutually exclusive: {}{suffix}", excluded.join(", ")));
        }
    }

    /// Some options want others.
    fn belonging(&mut self, rules: &Map, args: &Map, suffix: &str) {
        let has = |name: &str| args.contains_key(name);
        for names in lists(rules, "required_together").map(names) {
            let count = names.iter().filter(|name| has(name)).count();
            if count > 0 && count < names.len() {
                let names = names.join(", ");
                self.errors.push(format!("parameters are required together: {names}{suffix}"));
            }
        }
        for names in lists(rules, "required_one_of").map(names) {
            if !names.iter().any(|name| has(name)) {
                self.errors.push(format!("one of the following is required: {}{suffix}", names.join(", ")));
            }
        }
        for rule in lists(rules, "required_if") {
            let [Value::String(name), wanted, required, others @ ..] = rule else { continue };
            if args.get(name) != Some(wanted) {
                continue;
            }
            let is_any = others.first().is_some_and(|any| bool::from_arg(any.clone()) == Ok(true));
            let required = names(required.as_list().unwrap_or_default());
            let missing: Vec<&str> = required.iter().filter(|name| !has(name)).copied().collect();
            if missing.is_empty() || (is_any && missing.len() < required.len()) {
                continue;
            }
            let (how, missing) = (if is_any { "any" } else { "all" }, missing.join(", "));
            let wanted = python_text(wanted);
            self.errors.push(format!("{name} is {wanted} but {how} of the following are missing: {missing}{suffix}"));
        }
        let is_given = |name: &str| args.get(name).is_some_and(|value| !value.is_null());
        for (name, required) in rules.get("required_by").and_then(Value::as_map).into_iter().flatten() {
            let required = match required {
                Value::List(required) => names(required),
                one => names(std::slice::from_ref(one)),
            };
            let missing: Vec<&str> = required.into_iter().filter(|name| !is_given(name)).collect();
            if is_given(name) && !missing.is_empty() {
                let missing = missing.join(", ");
                self.errors.push(format!("missing parameter(s) required by '{name}': {missing}{suffix}"));
            }
        }
    }

    fn names(&mut self, spec: &Map, args: &Map, within: &[String]) {
        let aliases = |option: &Value| option.as_map().and_then(|option| option.get("aliases")).cloned();
        let is_alias = |name: &str| {
            spec.values().filter_map(aliases).any(|aliases| {
                aliases.as_list().is_some_and(|aliases| aliases.iter().any(|alias| alias.as_str() == Some(name)))
            })
        };
        let unknown: Vec<&String> = args.keys().filter(|name| !spec.contains_key(*name) && !is_alias(name)).collect();
        if unknown.is_empty() {
            return;
        }
        let path = |name: &str| within.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        self.unknown.extend(unknown.into_iter().map(|name| path(name)));
        for name in spec.keys() {
            if !self.known.contains(name) {
                self.known.push(name.clone());
            }
        }
    }

    /// The value in the type that is wanted, elements of a list too; as it is if it is not to be had, or nothing.
    fn typed(&mut self, name: &str, option: &Map, value: &Value, within: &[String]) -> Value {
        let kind = |key: &str| option.get(key).and_then(Value::as_str);
        let wanted = kind("type").unwrap_or("str");
        if value.is_null() {
            return Value::Null;
        }
        let value = match converted(wanted, value) {
            Ok(value) => value,
            Err(why) => {
                // Quotes and full stop are Ansible's.
                let inside =
                    if within.is_empty() { String::new() } else { format!(" found in '{}'.", within.join(" -> ")) };
                let is = python_type(value);
                if why == NO_DICT {
                    self.errors.push(why.clone());
                }
                self.errors.push(format!(
                    "argument '{name}' is of type {is}{inside} and we were unable to convert to {wanted}: {why}"
                ));
                return value.clone();
            }
        };
        let (Some(element), Value::List(items)) = (kind("elements"), &value) else { return value };
        let mut whole = Vec::with_capacity(items.len());
        for item in items {
            match converted(element, item) {
                Ok(item) => whole.push(item),
                Err(why) => {
                    let is = python_type(item);
                    if why == NO_DICT {
                        self.errors.push(why.clone());
                    }
                    self.errors.push(format!(
                        "Elements value for option '{name}'{} is of type {is} and we were unable to convert to \
                         {element}: {why}",
                        found_in(within)
                    ));
                }
            }
        }
        if whole.len() == items.len() { Value::List(whole) } else { value }
    }

    fn choices(&mut self, name: &str, option: &Map, value: &Value, suffix: &str) {
        let Some(choices) = option.get("choices").and_then(Value::as_list) else { return };
        let choices: Vec<String> = choices.iter().map(python_text).collect();
        let is_choice = |value: &Value| choices.contains(&python_text(value));
        let all = choices.join(", ");
        match value {
            Value::List(items) => {
                let others: Vec<String> = items.iter().filter(|item| !is_choice(item)).map(python_text).collect();
                if !others.is_empty() {
                    let others = others.join(", ");
                    self.errors.push(format!(
                        "value of {name} must be one or more of: {all}. Got no match for: {others}{suffix}"
                    ));
                }
            }
            value if !is_choice(value) => {
                self.errors.push(format!("value of {name} must be one of: {all}, got: {}{suffix}", python_text(value)));
            }
            _ => {}
        }
    }

    fn inner(&mut self, spec: &Map, rules: &Map, value: &Value, within: &mut Vec<String>) {
        if within.len() > DEPTH_MAX {
            return;
        }
        match value {
            Value::Map(args) => self.options(spec, Some(rules), args, within),
            Value::List(items) => {
                for item in items.iter().filter_map(Value::as_map) {
                    self.options(spec, Some(rules), item, within);
                }
            }
            _ => {
                let name = within.last().map_or("", String::as_str);
                self.errors.push(format!("value of '{name}' must be of type dict or list of dicts"));
            }
        }
    }
}

fn found_in(within: &[String]) -> String {
    if within.is_empty() { String::new() } else { format!(" found in {}", within.join(" -> ")) }
}

/// The lists that a rule of an option is.
fn lists<'a>(rules: &'a Map, rule: &str) -> impl Iterator<Item = &'a [Value]> {
    let lists = rules.get(rule).and_then(Value::as_list);
    lists.into_iter().flatten().filter_map(Value::as_list)
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(Value::as_str).collect()
}

/// What is given, and what the spec says where nothing is.
fn with_defaults(spec: &Map, args: &Map) -> Map {
    let default = |option: &Value| option.as_map()?.get("default").filter(|default| !default.is_null()).cloned();
    let defaults = spec.iter().filter_map(|(name, option)| Some((name.clone(), default(option)?)));
    let mut all: Map = defaults.collect();
    all.extend(args.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

fn is_required(option: &Value) -> bool {
    option
        .as_map()
        .and_then(|option| option.get("required"))
        .cloned()
        .is_some_and(|value| bool::from_arg(value) == Ok(true))
}

/// The value under the option's name or one of its others.
fn given<'a>(args: &'a Map, name: &str, option: &Value) -> Option<&'a Value> {
    let aliases = option.as_map().and_then(|option| option.get("aliases")).and_then(Value::as_list);
    let aliases = aliases.into_iter().flatten().filter_map(Value::as_str);
    std::iter::once(name).chain(aliases).find_map(|name| args.get(name))
}

/// # Errors
/// Why it cannot be had.
fn converted(wanted: &str, value: &Value) -> Result<Value, String> {
    let quoted = |value: &Value| match value {
        Value::String(text) => format!("'{text}'"),
        other => shown(other),
    };
    // The class of what was written in a file, by the name that Ansible has for it.
    let class = |value: &Value| match value {
        Value::Null | Value::Bool(_) | Value::Bytes(_) => format!("<class '{}'>", python_type(value)),
        other => {
            let kind = python_type(other);
            let (first, rest) = kind.split_at(1);
            format!("<class 'ansible.module_utils._internal._datatag._AnsibleTagged{}{rest}'>", first.to_uppercase())
        }
    };
    match (wanted, value) {
        ("int", Value::Int(_) | Value::UInt(_)) => Ok(value.clone()),
        ("int", Value::Bool(flag)) => Ok(Value::Int(i64::from(*flag))),
        ("int", Value::Float(number)) if number.fract() == 0.0 => Ok(value.clone()),
        ("int", Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
            Ok(Value::Int(text.trim().parse().unwrap_or_default()))
        }
        ("int", other) => Err(format!("\"{}\" cannot be converted to an int", quoted(other))),
        ("float", Value::Int(_) | Value::UInt(_) | Value::Float(_)) => Ok(value.clone()),
        ("float", Value::String(text)) if text.trim().parse::<f64>().is_ok() => {
            Ok(Value::Float(text.trim().parse().unwrap_or_default()))
        }
        ("float", other) => Err(format!("{} cannot be converted to a float", class(other))),
        ("bool", Value::Float(number)) if [0.0, 1.0].contains(number) => Ok(Value::Bool(*number == 1.0)),
        ("bool", other) => bool::from_arg(other.clone()).map(Value::Bool).map_err(|_| {
            format!(
                "The value '{}' is not a valid boolean. Valid booleans include: 0, 1, 't', 'yes', 'off', 'n', 'false', \
                 '1', 'true', 'on', '0', 'y', 'no', 'f'",
                shown(other)
            )
        }),
        ("list", Value::List(_)) => Ok(value.clone()),
        ("list", Value::String(text)) => Ok(text.split(',').map(|item| Value::from(item.trim())).collect()),
        ("list", Value::Int(_) | Value::UInt(_) | Value::Float(_)) => Ok(Value::List(vec![shown(value).into()])),
        ("list", other) => Err(format!("{} cannot be converted to a list", class(other))),
        ("dict", Value::Map(_)) => Ok(value.clone()),
        ("dict", Value::String(text)) => dict(text).ok_or_else(|| NO_DICT.to_owned()),
        ("dict", other) => Err(format!("{} cannot be converted to a dict", class(other))),
        ("json" | "jsonarg", Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_)) => {
            Err(format!("{} cannot be converted to a json string", class(value)))
        }
        ("bytes" | "bits", other) => match is_size(wanted, &python_text(other)) {
            true => Ok(value.clone()),
            false => {
                let what = if wanted == "bytes" { "Byte" } else { "Bit" };
                Err(format!("{} cannot be converted to a {what} value", class(other)))
            }
        },
        ("str", Value::Null) => Ok(Value::from("")),
        ("str", other) => Ok(Value::from(python_text(other))),
        // What other types there are takes anything.
        _ => Ok(value.clone()),
    }
}

/// A number with a unit or none: `10`, `1.5M`, `2KB`; of bits `2Kb`.
fn is_size(kind: &str, text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - unit.len()];
    let of_unit = if kind == "bytes" { "B" } else { "b" };
    let unit = unit.trim();
    let is_unit = match unit.get(..1) {
        None => unit.is_empty(),
        Some(first) => "BKMGTPEZY".contains(&first.to_ascii_uppercase()) && ["", of_unit].contains(&&unit[1..]),
    };
    is_unit && number.parse::<f64>().is_ok()
}

fn dict(text: &str) -> Option<Value> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str::<Value>(text).ok().filter(|value| value.as_map().is_some());
    }
    let pairs = text.split([',', ' ']).map(str::trim).filter(|pair| !pair.is_empty());
    let pairs: Option<Map> = pairs.map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.into()))).collect();
    pairs.filter(|pairs| !pairs.is_empty()).map(Value::Map)
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::UInt(_) => "int",
        Value::Float(_) => "float",
        Value::String(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Map(_) => "dict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(args: serde_json::Value) -> Vec<String> {
        let map = |json: serde_json::Value| match Value::from(json) {
            Value::Map(map) => map,
            other => panic!("a map is needed, not {other:?}"),
        };
        let spec = json!({
            "name": {"type": "str", "required": true},
            "count": {"type": "int", "default": 3},
            "mode": {"type": "str", "choices": ["a", "b"], "aliases": ["kind"]},
            "flag": {"type": "bool"},
            "items": {"type": "list", "elements": "int"},
            "deep": {"type": "dict", "options": {
                "x": {"type": "int", "required": true},
                "y": {"type": "str", "choices": ["q"]},
            }},
            "many": {"type": "list", "elements": "dict", "options": {"x": {"type": "int", "required": true}}},
        });
        errors(&map(spec), &map(args))
    }

    #[test]
    fn what_fits_is_well() {
        let fits = json!({
            "name": [1], "count": "5", "flag": "yes", "items": "1,2", "kind": "b", "deep": {"x": "1"}, "many": [{"x": 1}],
        });
        assert_eq!(told(fits), [""; 0]);
        assert_eq!(told(json!({"name": "x", "deep": "x=1"})), [""; 0]);
    }

    #[test]
    fn all_that_is_wrong_is_told_in_ansibles_words() {
        let wrong = json!({
            "name": "x", "count": "z", "items": ["1", "k"], "deep": {"y": "b", "u": 1}, "many": [{"z": 1}], "mode": "c",
        });
        assert_eq!(
            told(wrong),
            [
                "argument 'count' is of type str and we were unable to convert to int: \"'z'\" cannot be converted to an int",
                "Elements value for option 'items' is of type str and we were unable to convert to int: \"'k'\" cannot be \
                 converted to an int",
                "value of mode must be one of: a, b, got: c",
                "missing required arguments: x found in deep",
                "value of y must be one of: q, got: b found in deep",
                "missing required arguments: x found in many",
                "deep.u, many.z. Supported parameters include: x, y.",
            ]
        );
        assert_eq!(told(json!({})), ["missing required arguments: name"]);
        assert_eq!(
            told(json!({"name": "x", "deep": "a"})),
            [
                "dictionary requested, could not parse JSON or key=value",
                "argument 'deep' is of type str and we were unable to convert to dict: dictionary requested, could not parse \
              JSON or key=value",
                "value of 'deep' must be of type dict or list of dicts",
            ]
        );
    }

    #[test]
    fn what_goes_together_in_a_dict_is_told_in_ansibles_words() {
        let told = |args: serde_json::Value| {
            let map = |json: serde_json::Value| match Value::from(json) {
                Value::Map(map) => map,
                other => panic!("a map is needed, not {other:?}"),
            };
            let spec = json!({
                "d": {"type": "dict",
                    "options": {"x": {"type": "str"}, "y": {"type": "str"}, "z": {"type": "str"}, "w": {"type": "str"}},
                    "required_if": [["x", "go", ["y", "z"], true], ["x", "all", ["y", "z"]]],
                    "required_one_of": [["x", "w"]],
                    "required_together": [["y", "z"]],
                    "mutually_exclusive": [["w", "x"]],
                    "required_by": {"w": ["y"]},
                },
                "size": {"type": "bytes"},
                "json": {"type": "json"},
                "choice": {"type": "int", "choices": [1, 2]},
            });
            errors(&map(spec), &map(args))
        };
        let in_d = |args: serde_json::Value| told(json!({ "d": args })).join("; ");
        assert_eq!(in_d(json!({})), "one of the following is required: x, w found in d");
        assert_eq!(in_d(json!({"x": "go"})), "x is go but any of the following are missing: y, z found in d");
        assert_eq!(
            in_d(json!({"x": "all", "y": "1"})),
            "parameters are required together: y, z found in d; x is all but all of the following are missing: z found in d"
        );
        assert_eq!(
            in_d(json!({"w": "1", "x": "q"})),
            "parameters are mutually exclusive: w|x found in d; missing parameter(s) required by 'w': y found in d"
        );
        assert_eq!(in_d(json!({"x": "all", "y": "1", "z": "2"})), "");
        assert_eq!(told(json!({"size": "1.5 M", "json": "x", "choice": "2"})), [""; 0]);
        assert_eq!(
            told(json!({"size": "1Kb", "json": true, "choice": null})),
            [
                "argument 'size' is of type str and we were unable to convert to bytes: <class \
                 'ansible.module_utils._internal._datatag._AnsibleTaggedStr'> cannot be converted to a Byte value",
                "argument 'json' is of type bool and we were unable to convert to json: <class 'bool'> cannot be converted to \
                 a json string",
                "value of choice must be one of: 1, 2, got: None",
            ]
        );
    }
}
