//! Filters that go through a list with a test, a filter or an order: `select`, `map`, `sort` and their like.

use std::cmp::Ordering;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::operators::{class, order};
use super::params::{Args, Filter, Params, add_filters, defined, items, named, plain, undefined_among};
use super::python_type;
use crate::template::TemplateError;
use crate::template::convert::{cause_of, failed};
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    for (name, takes_attribute, keeps) in
        [("select", false, true), ("reject", false, false), ("selectattr", true, true), ("rejectattr", true, false)]
    {
        let call = move |state: &mut State<'_, '_>, list: &Value, args: Args| {
            choose(state, name, list, plain(args), takes_attribute, keeps)
        };
        env.add_filter(name, call);
        env.add_filter(format!("ansible.builtin.{name}"), call);
    }
    for name in ["map", "ansible.builtin.map"] {
        env.add_filter(name, |state: &mut State<'_, '_>, list: &Value, args: Args| map(state, list, &plain(args)));
    }
    add_filters(
        env,
        &[
            Filter("sort", &["reverse", "case_sensitive", "attribute"], sort),
            Filter("min", &["case_sensitive", "attribute"], |value, params| outermost(value, params, Ordering::Less)),
            Filter("max", &["case_sensitive", "attribute"], |value, params| {
                outermost(value, params, Ordering::Greater)
            }),
            Filter("last", &[], |value, _| match value.kind() {
                ValueKind::Number | ValueKind::Bool | ValueKind::None => {
                    Err(failed(format!("'{}' object is not reversible", python_type(value))))
                }
                _ => Ok(items(value)?.pop().unwrap_or_default()),
            }),
        ],
    );
}

/// Tests that are told of undefined values; any other ends with the error that such a value is.
const TAKES_UNDEFINED: &[&str] = &["defined", "undefined"];

/// What Python's generators go through, where none is nothing. `filter` is named where that is not possible.
fn each(filter: &str, list: &Value) -> Result<Vec<Value>, Error> {
    if list.is_none() { Ok(Vec::new()) } else { items(list).map_err(|error| named("filter", filter, error)) }
}

fn choose(
    state: &mut State<'_, '_>,
    filter: &str,
    list: &Value,
    args: Vec<Value>,
    takes_attribute: bool,
    keeps: bool,
) -> Result<Value, Error> {
    if let Some(undefined) = undefined_among(std::slice::from_ref(list), &args) {
        return Ok(undefined);
    }
    let mut args = args.into_iter();
    let attribute = match takes_attribute {
        true => Some(args.next().ok_or_else(|| failure(filter, "Missing parameter for attribute name"))?),
        false => None,
    };
    let test = args.next().map(|name| python::text(&name));
    let args: Vec<Value> = args.collect();
    let takes_undefined =
        test.as_deref().is_some_and(|test| TAKES_UNDEFINED.contains(&test.trim_start_matches("ansible.builtin.")));
    let mut chosen = Vec::new();
    for item in each(filter, list)? {
        let looked_at = match &attribute {
            Some(attribute) => match walk(&item, attribute)? {
                Step::There(value) => value,
                Step::Missing(_) if takes_undefined => Value::UNDEFINED,
                Step::Missing(error) => return Err(error.into()),
            },
            None => item.clone(),
        };
        let passes = match &test {
            Some(test) => {
                let call = [&[looked_at], &args[..]].concat();
                state.perform_test(test, &call).map_err(|error| missed(error, filter, "test", test))?
            }
            None => looked_at.is_true(),
        };
        if passes == keeps {
            chosen.push(item);
        }
    }
    Ok(Value::from(chosen))
}

fn map(state: &mut State<'_, '_>, list: &Value, args: &[Value]) -> Result<Value, Error> {
    if let Some(undefined) = undefined_among(std::slice::from_ref(list), args) {
        return Ok(undefined);
    }
    let (by_name, positional) = match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => (Some(last), positional),
        _ => (None, args),
    };
    if let Some((filter, rest)) = positional.split_first() {
        let filter = python::text(filter);
        let rest: Vec<Value> = rest.iter().chain(by_name).cloned().collect();
        let apply = |item| {
            let call = [&[item], &rest[..]].concat();
            state.apply_filter(&filter, &call).map_err(|error| missed(error, "map", "filter", &filter))
        };
        return each("map", list)?.into_iter().map(apply).collect::<Result<Vec<_>, _>>().map(Value::from);
    }
    let given = |name: &str| by_name.map(|all| all.get_attr(name)).transpose();
    let attribute = given("attribute")?.filter(|attribute| !attribute.is_undefined());
    let attribute = attribute.ok_or_else(|| failure("map", "map requires a filter argument"))?;
    let default = given("default")?.unwrap_or_default();
    let read = |item| match walk(&item, &attribute)? {
        Step::There(value) => Ok(value),
        // An entry that is undefined, and an error where it is used.
        Step::Missing(_) => Ok(default.clone()),
    };
    each("map", list)?.into_iter().map(read).collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn failure(filter: &str, reason: &str) -> Error {
    named("filter", filter, failed(reason))
}

/// The engine's error for a name that is no filter or test: it says so to who looks for a plug-in of this name, and in
/// Ansible's words to the author.
fn missed(error: Error, asking: &str, kind: &str, name: &str) -> Error {
    let is_unknown = matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest);
    if !is_unknown || error.detail().is_some() {
        return error;
    }
    let words = TemplateError::failed(format!(
        "The filter plugin 'ansible.builtin.{asking}' failed: No {kind} named {}.",
        python::repr(&Value::from(name))
    ));
    Error::new(error.kind(), format!("{kind} {name} is unknown")).with_source(words)
}

/// Where an attribute leads.
enum Step {
    There(Value),
    /// What is not there, in Ansible's words.
    Missing(TemplateError),
}

/// An attribute of an item, or `a.b.0` into nested ones.
fn walk(item: &Value, attribute: &Value) -> Result<Step, Error> {
    let parts = match attribute.as_str() {
        Some(path) => {
            path.split('.').map(|part| part.parse::<i64>().map_or_else(|_| part.into(), Value::from)).collect()
        }
        None => vec![attribute.clone()],
    };
    let mut value = item.clone();
    for part in parts {
        let next = if value.is_undefined() { Value::UNDEFINED } else { value.get_item(&part)? };
        if next.is_undefined() {
            let missing = || {
                let kind = python_type(&value);
                let message = format!("object of type '{kind}' has no attribute {}", python::repr(&part));
                TemplateError::Undefined { name: python::text(attribute), message }
            };
            return Ok(Step::Missing(cause_of(&value, &python::text(&part)).unwrap_or_else(missing)));
        }
        value = next;
    }
    Ok(Step::There(value))
}

/// What an attribute leads to, where it must be there.
pub(super) fn there(item: &Value, attribute: &Value) -> Result<Value, Error> {
    match walk(item, attribute)? {
        Step::There(value) => Ok(value),
        Step::Missing(error) => Err(error.into()),
    }
}

/// An item with what it is compared by: a value of each attribute, or the item itself.
type Keyed = (Vec<Value>, Value);

fn keyed(value: &Value, params: &Params) -> Result<Vec<Keyed>, Error> {
    let case_sensitive = params.flag("case_sensitive", false);
    let attribute = params.get("attribute").filter(|attribute| !attribute.is_none());
    let attributes: Option<Vec<Value>> = attribute.map(|attribute| match attribute.as_str() {
        Some(names) => names.split(',').map(|name| Value::from(name.trim())).collect(),
        None => vec![attribute.clone()],
    });
    let folded = |value: Value| match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    };
    let key_of = |item: &Value| -> Result<Vec<Value>, Error> {
        defined(item)?;
        let Some(attributes) = &attributes else { return Ok(vec![folded(item.clone())]) };
        attributes.iter().map(|attribute| there(item, attribute).map(folded)).collect()
    };
    items(value)?.into_iter().map(|item| Ok((key_of(&item)?, item))).collect()
}

fn sort(value: &Value, params: &Params) -> Result<Value, Error> {
    let mut keyed = keyed(value, params)?;
    for pair in keyed.windows(2) {
        ordered("<", &pair[1].0, &pair[0].0)?;
    }
    let reverse = params.flag("reverse", false);
    keyed.sort_by(|(a, _), (b, _)| match reverse {
        true => b.cmp(a),
        false => a.cmp(b),
    });
    Ok(Value::from(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>()))
}

/// The first of the items with the smallest or the largest key; undefined where there is none.
fn outermost(value: &Value, params: &Params, side: Ordering) -> Result<Value, Error> {
    let operator = if side == Ordering::Less { "<" } else { ">" };
    let mut keyed = keyed(value, params)?.into_iter();
    let Some(mut found) = keyed.next() else { return Ok(Value::UNDEFINED) };
    for next in keyed {
        ordered(operator, &next.0, &found.0)?;
        if next.0.cmp(&found.0) == side {
            found = next;
        }
    }
    Ok(found.1)
}

/// Whether Python has an order for two keys: for the first parts that are not equal.
fn ordered(operator: &str, a: &[Value], b: &[Value]) -> Result<(), Error> {
    let Some((a, b)) = a.iter().zip(b).find(|(a, b)| a != b) else { return Ok(()) };
    order(a, b).map(drop).map_err(|(a, b)| {
        failed(format!("'{operator}' not supported between instances of '{}' and '{}'", class(&a), class(&b)))
    })
}
