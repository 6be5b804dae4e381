//! Filters that choose or convert a single value: `default`, `bool`, `ternary`, `mandatory`, ...

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::params::{Args, Filter, Params, add_filters, named, plain, undefined_among};
use super::python_type;
use crate::template::convert::{cause_of, failed, is_omit};
use crate::template::engine::{key_source, refuse_undefined};
use crate::template::{TemplateError, python, rewrite};

pub(super) fn register(env: &mut Environment<'static>) {
    for name in ["default", "d", "ansible.builtin.default", "ansible.builtin.d"] {
        env.add_filter(name, default);
    }
    for name in ["mandatory", "ansible.builtin.mandatory"] {
        env.add_filter(name, mandatory);
    }
    for name in ["type_debug", "ansible.builtin.type_debug"] {
        env.add_filter(name, |value: &Value| if is_omit(value) { "Omit" } else { python_type(value) });
    }
    add_filters(
        env,
        &[
            Filter("bool", &[], |value, _| Ok(Value::from(truth(value).unwrap_or(false)))),
            Filter("int", &["default", "base"], int),
            Filter("float", &["default"], float),
            Filter("string", &[], |value, _| {
                refuse_undefined(value)?;
                // A text is handed on: it may be known for one that was encrypted.
                Ok(if value.kind() == ValueKind::String { value.clone() } else { Value::from(python::text(value)) })
            }),
            Filter("pprint", &["verbose"], |value, _| {
                refuse_undefined(value)?;
                Ok(Value::from(python::repr(value)))
            }),
        ],
    );
    for name in ["ternary", "ansible.builtin.ternary"] {
        env.add_filter(name, ternary);
    }
    for name in ["extract", "ansible.builtin.extract"] {
        env.add_filter(name, extract_or_undefined);
    }
}

/// `extract`. What is not there is an error that names it, but where the template deals with undefined values.
fn extract_or_undefined(state: &mut State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    let args = plain(args);
    if let Some(undefined) = undefined_among(std::slice::from_ref(value), &args) {
        return Ok(undefined);
    }
    let found = Params::bind("extract", &["container", "morekeys"], &args).and_then(|params| extract(value, &params));
    match found {
        Err(error) if error.kind() == ErrorKind::UndefinedError && rewrite::mentions_tolerant(state.name()) => {
            Ok(Value::UNDEFINED)
        }
        found => found.map_err(|error| named("filter", "extract", error)),
    }
}

fn default(value: &Value, args: Args) -> Result<Value, Error> {
    let args = plain(args);
    let (positional, kwargs) = split_kwargs(&args);
    let by_name = |name: &str| kwargs.and_then(|kwargs| kwargs.get_attr(name).ok()).filter(|v| !v.is_undefined());
    let boolean = positional.get(1).cloned().or_else(|| by_name("boolean")).is_some_and(|value| value.is_true());
    if value.is_undefined() || (boolean && !value.is_true()) {
        // Undefined itself is a possible default: `a | default(b) | default(1)`.
        return Ok(positional.first().cloned().or_else(|| by_name("default_value")).unwrap_or_else(|| Value::from("")));
    }
    Ok(value.clone())
}

fn split_kwargs(args: &[Value]) -> (&[Value], Option<&Value>) {
    match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => (positional, Some(last)),
        _ => (args, None),
    }
}

fn mandatory(state: &State<'_, '_>, value: &Value, args: Args) -> Result<Value, Error> {
    if !value.is_undefined() {
        return Ok(value.clone());
    }
    let message = Params::bind("mandatory", &["msg"], &plain(args)).map(|params| match params.get("msg") {
        Some(message) => python::text(message),
        None => {
            let name = mandatory_name(state.name()).map(|name| format!("'{name}' ")).unwrap_or_default();
            format!("Mandatory variable {name}not defined.")
        }
    });
    Err(named("filter", "mandatory", message.map_or_else(|error| error, failed)))
}

/// The variable before the only `| mandatory` of a template: an undefined value does not know its name.
fn mandatory_name(key: &str) -> Option<String> {
    let source = key_source(key)?;
    let mut around = source.split("mandatory");
    let (before, _after, None) = (around.next()?, around.next()?, around.next()) else { return None };
    let path = before.trim_end_matches("ansible.builtin.").trim_end().strip_suffix('|')?.trim_end();
    let start = path.rfind(|c: char| !(c.is_alphanumeric() || "_.[]'\"".contains(c))).map_or(0, |at| at + 1);
    let name = path[start..].split(['.', '[']).next()?;
    name.starts_with(|c: char| c.is_alphabetic() || c == '_').then(|| name.to_owned())
}

/// Ansible's booleans; `None` for text that is neither.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value.kind() {
        ValueKind::Bool => Some(value.is_true()),
        ValueKind::Number => match f64::try_from(value.clone()).ok()? {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        },
        ValueKind::String => match value.as_str()?.to_lowercase().as_str() {
            "yes" | "on" | "1" | "true" => Some(true),
            "no" | "off" | "0" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn int(value: &Value, params: &Params) -> Result<Value, Error> {
    let base = params.int("base", 10)?;
    let parsed = match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => return Ok(value.clone()),
        ValueKind::Number => f64::try_from(value.clone()).ok().map(whole).transpose()?.flatten(),
        ValueKind::String => parse_int(value.as_str().unwrap_or_default(), base)?,
        _ => None,
    };
    let parsed = parsed.map(|whole| i64::try_from(whole).map_or_else(|_| Value::from(whole), Value::from));
    Ok(parsed.or_else(|| params.get("default").cloned()).unwrap_or_else(|| Value::from(0)))
}

/// None for what is no number at all.
///
/// # Errors
/// There is no room for the number.
fn parse_int(text: &str, base: i64) -> Result<Option<i128>, Error> {
    let text = text.trim().replace('_', "").to_lowercase();
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text.as_str()),
    };
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(prefix, radix)| {
        (base == 0 || base == i64::from(radix)).then_some((digits.strip_prefix(prefix)?, radix))
    });
    let (digits, radix) = match prefixed {
        Some(prefixed) => prefixed,
        None if base == 0 => (digits, 10),
        None => (digits, u32::try_from(base).unwrap_or(0)),
    };
    if (2..=36).contains(&radix) && !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)) {
        return i128::from_str_radix(&format!("{sign}{digits}"), radix).map(Some).map_err(|_| no_room(&text));
    }
    // As Python: a decimal fraction is cut off.
    text.parse().map_or(Ok(None), whole)
}

/// None for what is no number.
fn whole(number: f64) -> Result<Option<i128>, Error> {
    if !number.is_finite() {
        return Ok(None);
    }
    let cut = number.trunc();
    if cut.abs() < WHOLE_MAX { Ok(Some(cut as i128)) } else { Err(no_room(&python::text(&Value::from(number)))) }
}

/// 2 to the power of 127.
const WHOLE_MAX: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

fn no_room(number: &str) -> Error {
    failed(format!("the whole number {number} does not fit into 128 bits"))
}

fn float(value: &Value, params: &Params) -> Result<Value, Error> {
    let parsed = match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::String => value.as_str().and_then(|text| text.trim().parse().ok()),
        _ => None,
    };
    Ok(parsed.map(Value::from).or_else(|| params.get("default").cloned()).unwrap_or_else(|| Value::from(0.0)))
}

/// The value that is not chosen may be undefined.
fn ternary(value: &Value, args: Args) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(value.clone());
    }
    let args = plain(args);
    let (positional, by_name) = split_kwargs(&args);
    let given = |place: usize, name: &str| {
        let has_it = |all: &&Value| all.try_iter().is_ok_and(|mut keys| keys.any(|key| key.as_str() == Some(name)));
        let named = || by_name.filter(has_it).and_then(|all| all.get_attr(name).ok());
        positional.get(place).cloned().or_else(named)
    };
    let missing = |what: &str| Err(named("filter", "ternary", failed(format!("ternary() missing {what}"))));
    match (given(0, "true_val"), given(1, "false_val"), given(2, "none_val")) {
        (None, None, _) => missing("2 required positional arguments: 'true_val' and 'false_val'"),
        (None, _, _) => missing("1 required positional argument: 'true_val'"),
        (_, None, _) => missing("1 required positional argument: 'false_val'"),
        (_, _, Some(none_val)) if value.is_none() && !none_val.is_none() => Ok(none_val),
        (Some(true_val), Some(false_val), _) => Ok(if value.is_true() { true_val } else { false_val }),
    }
}

fn extract(key: &Value, params: &Params) -> Result<Value, Error> {
    let mut keys = vec![key.clone()];
    match params.get("morekeys") {
        Some(more) if matches!(more.kind(), ValueKind::Seq) => keys.extend(more.try_iter()?),
        Some(more) => keys.push(more.clone()),
        None => {}
    }
    keys.iter().try_fold(params.need("container")?.clone(), |container, key| {
        let found = container.get_item(key)?;
        if found.is_undefined() {
            let missing = || {
                let kind = python_type(&container);
                let message = format!("object of type '{kind}' has no attribute {}", python::repr(key));
                TemplateError::Undefined { name: python::text(key), message }
            };
            return Err(cause_of(&container, &python::text(key)).unwrap_or_else(missing).into());
        }
        Ok(found)
    })
}
