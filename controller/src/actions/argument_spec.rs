//! Whether arguments are what a role's argument spec says: types, choices, what is required, what is known. In Ansible's
//! words, all that is wrong at once.

use rustle_agent::module::{FromArg, shown};
use rustle_protocol::Value;
use rustle_protocol::value::Map;

/// Dicts within dicts. A spec that goes deeper is not looked at there.
const DEPTH_MAX: usize = 16;

/// Everything that is wrong with `args`, in the order in which Ansible tells it. Names that the spec does not have are
/// wrong, too.
pub(super) fn errors(spec: &Map, args: &Map) -> Vec<String> {
    let mut check = Check { errors: Vec::new(), unknown: Vec::new(), known: Vec::new() };
    check.options(spec, args, &mut Vec::new());
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
    /// `within` are the names of the dicts around.
    fn options(&mut self, spec: &Map, args: &Map, within: &mut Vec<String>) {
        let suffix = if within.is_empty() { String::new() } else { format!(" found in {}", within.join(" -> ")) };
        self.names(spec, args, within);
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
            .filter(|(.., value)| !value.is_null())
            .collect();
        let typed: Vec<(&String, &Map, Option<Value>)> = given
            .into_iter()
            .map(|(name, option, value)| (name, option, self.typed(name, option, value, &suffix)))
            .collect();
        for (name, option, value) in &typed {
            if let Some(value) = value {
                self.choices(name, option, value, &suffix);
            }
        }
        for (name, option, value) in typed {
            if let (Some(inner), Some(value)) = (option.get("options").and_then(Value::as_map), value) {
                within.push(name.clone());
                self.inner(inner, &value, within);
                within.pop();
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

    /// The value in the type that is wanted, elements of a list too; `None` if it is not to be had.
    fn typed(&mut self, name: &str, option: &Map, value: &Value, suffix: &str) -> Option<Value> {
        let kind = |key: &str| option.get(key).and_then(Value::as_str);
        let wanted = kind("type").unwrap_or("str");
        let value = match converted(wanted, value) {
            Ok(value) => value,
            Err(why) => {
                let is = python_type(value);
                self.errors.push(format!(
                    "argument '{name}' is of type {is}{suffix} and we were unable to convert to {wanted}: {why}"
                ));
                return None;
            }
        };
        let (Some(element), Value::List(items)) = (kind("elements"), &value) else { return Some(value) };
        let mut whole = Vec::with_capacity(items.len());
        for item in items {
            match converted(element, item) {
                Ok(item) => whole.push(item),
                Err(why) => {
                    let is = python_type(item);
                    self.errors.push(format!(
                        "Elements value for option '{name}'{suffix} is of type {is} and we were unable to convert to \
                         {element}: {why}"
                    ));
                }
            }
        }
        (whole.len() == items.len()).then_some(Value::List(whole))
    }

    fn choices(&mut self, name: &str, option: &Map, value: &Value, suffix: &str) {
        let Some(choices) = option.get("choices").and_then(Value::as_list) else { return };
        let choices: Vec<String> = choices.iter().map(shown).collect();
        let is_choice = |value: &Value| choices.contains(&shown(value));
        let all = choices.join(", ");
        match value {
            Value::List(items) => {
                let others: Vec<String> = items.iter().filter(|item| !is_choice(item)).map(shown).collect();
                if !others.is_empty() {
                    let others = others.join(", ");
                    self.errors.push(format!(
                        "value of {name} must be one or more of: {all}. Got no match for: {others}{suffix}"
                    ));
                }
            }
            value if !is_choice(value) => {
                self.errors.push(format!("value of {name} must be one of: {all}, got: {}{suffix}", shown(value)));
            }
            _ => {}
        }
    }

    fn inner(&mut self, spec: &Map, value: &Value, within: &mut Vec<String>) {
        if within.len() > DEPTH_MAX {
            return;
        }
        match value {
            Value::Map(args) => self.options(spec, args, within),
            Value::List(items) => {
                for item in items.iter().filter_map(Value::as_map) {
                    self.options(spec, item, within);
                }
            }
            _ => {
                let name = within.last().map_or("", String::as_str);
                self.errors.push(format!("value of '{name}' must be of type dict or list of dicts"));
            }
        }
    }
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
    let class = |value: &Value| format!("<class '{}'>", python_type(value));
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
        ("dict", Value::String(text)) => {
            dict(text).ok_or_else(|| "dictionary requested, could not parse JSON or key=value".to_owned())
        }
        ("dict", other) => Err(format!("{} cannot be converted to a dict", class(other))),
        // Everything is text, and what other types there are takes anything.
        _ => Ok(value.clone()),
    }
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
                "argument 'deep' is of type str and we were unable to convert to dict: dictionary requested, could not parse \
              JSON or key=value"
            ]
        );
    }
}
