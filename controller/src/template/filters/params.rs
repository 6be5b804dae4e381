//! Arguments of filters, tests and lookups as Python passes them: by position or by name.

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error};

use crate::template::convert::{failed, undefined};
use crate::template::python;
use crate::template::sealed::{is_of_closed, refuse_closed};

/// A filter: its name, the names of its arguments, and what it does with the value before the bar.
pub(super) struct Filter(
    pub(super) &'static str,
    pub(super) &'static [&'static str],
    pub(super) fn(&Value, &Params) -> Result<Value, Error>,
);

/// A test, likewise.
pub(super) struct Test(
    pub(super) &'static str,
    pub(super) &'static [&'static str],
    pub(super) fn(&Value, &Params) -> Result<bool, Error>,
);

/// Takes any number of arguments by position; must come last in a list of names.
pub(super) const REST: &str = "*";

/// Registers filters under their own names and as `ansible.builtin.name`.
pub(super) fn add_filters(env: &mut Environment<'static>, filters: &[Filter]) {
    for &Filter(name, names, run) in filters {
        let call = move |value: Value, args: Args| filtered(name, names, &value, args, run);
        env.add_filter(name, call);
        env.add_filter(format!("ansible.builtin.{name}"), call);
    }
}

/// What a filter makes of a value.
pub(super) fn filtered(
    name: &str,
    names: &'static [&'static str],
    value: &Value,
    args: Args,
    run: impl FnOnce(&Value, &Params) -> Result<Value, Error>,
) -> Result<Value, Error> {
    let args = plain(args);
    args.iter().chain([value]).try_for_each(refuse_closed)?;
    if let Some(undefined) = undefined_among(std::slice::from_ref(value), &args) {
        return Ok(undefined);
    }
    Params::bind(name, names, &args)
        .and_then(|params| run(value, &params))
        .map_err(|error| named("filter", name, error))
}

pub(super) fn add_tests(env: &mut Environment<'static>, tests: &[Test]) {
    for &Test(name, names, run) in tests {
        let call = move |value: Value, args: Args| {
            let args = plain(args);
            args.iter().chain([&value]).try_for_each(refuse_closed)?;
            defined(&value)?;
            Params::bind(name, names, &args)
                .and_then(|params| run(&value, &params))
                .map_err(|error| named("test", name, error))
        };
        env.add_test(name, call);
        env.add_test(format!("ansible.builtin.{name}"), call);
    }
}

/// Everything a call passes; arguments by name come last, in one value.
pub(super) type Args = Rest<ValueOrKwargs>;

pub(super) fn plain(args: Args) -> Vec<Value> {
    args.0.into_iter().map(ValueOrKwargs::into_value).collect()
}

/// An undefined input is the author's error, before any filter looks at it.
pub(super) fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(undefined(value)) } else { Ok(()) }
}

/// The first undefined value among those of a call, by position or by name. What a filter or lookup would make of it is
/// undefined as well: `name | upper | default('x')` is `x`.
pub(super) fn undefined_among(first: &[Value], args: &[Value]) -> Option<Value> {
    let by_name = args.last().filter(|last| last.is_kwargs());
    let named = by_name.into_iter().flat_map(|all| all.try_iter().into_iter().flatten().map(|key| all.get_item(&key)));
    first.iter().chain(args).cloned().chain(named.flatten()).find(Value::is_undefined)
}

/// Says which filter, test or lookup failed; an undefined value speaks for itself, and so does one
/// that cannot be opened.
pub(super) fn named(kind: &str, name: &str, error: Error) -> Error {
    let is_undefined = error.kind() == minijinja::ErrorKind::UndefinedError;
    if is_undefined || super::lookups::is_deferred(&error) || is_of_closed(&error) {
        return error;
    }
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    // Ansible gives its own filters and tests by their full names, and lookups as the author does.
    let collection = if kind == "lookup" { "" } else { "ansible.builtin." };
    failure(kind, &format!("{collection}{name}"), &reason)
}

pub(super) fn failure(kind: &str, full_name: &str, reason: &str) -> Error {
    failed(format!("The {kind} plugin '{full_name}' failed: {reason}"))
}

/// Arguments put in their places.
pub(super) struct Params {
    places: Vec<Option<Value>>,
    names: &'static [&'static str],
    pub(super) rest: Vec<Value>,
}

impl Params {
    /// The arguments of a lookup: its terms, and options, of which those that it does not know mean nothing.
    pub(super) fn of_lookup(names: &'static [&'static str], args: &[Value]) -> Result<Params, Error> {
        let (terms, by_name) = match args.split_last() {
            Some((last, terms)) if last.is_kwargs() => (terms, Some(last)),
            _ => (args, None),
        };
        let names = names.split_last().map_or(names, |(_, names)| names);
        let mut params = Params { places: vec![None; names.len()], names, rest: terms.to_vec() };
        for (place, name) in names.iter().enumerate() {
            let has_it = |all: &&Value| all.try_iter().is_ok_and(|mut keys| keys.any(|key| key.as_str() == Some(name)));
            params.places[place] = by_name.filter(has_it).map(|all| all.get_attr(name)).transpose()?;
        }
        Ok(params)
    }

    pub(super) fn bind(what: &str, names: &'static [&'static str], args: &[Value]) -> Result<Params, Error> {
        let takes_rest = names.last() == Some(&REST);
        let named_count = if takes_rest { names.len() - 1 } else { names.len() };
        let mut params = Params { places: vec![None; named_count], names: &names[..named_count], rest: Vec::new() };
        let (positional, by_name) = match args.split_last() {
            Some((last, positional)) if last.is_kwargs() => (positional, Some(last)),
            _ => (args, None),
        };
        // A filter that takes any number of values takes its options by name alone.
        let mut free = if takes_rest { 0..0 } else { 0..named_count };
        for value in positional {
            defined(value)?;
            match free.next() {
                Some(place) => params.places[place] = Some(value.clone()),
                None if takes_rest => params.rest.push(value.clone()),
                None => return Err(failed(format!("{what} takes at most {named_count} arguments"))),
            }
        }
        for key in by_name.map(Value::try_iter).transpose()?.into_iter().flatten() {
            let name = key.as_str().unwrap_or_default();
            let Some(place) = params.names.iter().position(|known| *known == name) else {
                return Err(failed(format!("{what} has no argument '{name}'")));
            };
            let value = by_name.map_or(Ok(Value::UNDEFINED), |kwargs| kwargs.get_item(&key))?;
            defined(&value)?;
            params.places[place] = Some(value);
        }
        Ok(params)
    }

    /// The argument of this name, unless it was left out.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let place = self.names.iter().position(|known| *known == name).expect("filters ask for their own arguments");
        self.places[place].as_ref()
    }

    pub(super) fn need(&self, name: &str) -> Result<&Value, Error> {
        self.get(name).ok_or_else(|| failed(format!("the argument '{name}' is missing")))
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.get(name).map_or_else(|| default.to_owned(), python::text)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, Value::is_true)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, Error> {
        self.get(name).map_or(Ok(default), |value| int(value, name))
    }
}

pub(super) fn int(value: &Value, name: &str) -> Result<i64, Error> {
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
        .ok_or_else(|| failed(format!("'{name}' must be a whole number, not {value:?}")))
}

/// What Python goes through in a `for`: items, keys, the letters of a text.
pub(super) fn items(value: &Value) -> Result<Vec<Value>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.chars().map(|letter| Value::from(letter.to_string())).collect());
    }
    match value.kind() {
        ValueKind::Bool | ValueKind::Number | ValueKind::None => {
            Err(failed(format!("'{}' object is not iterable", super::python_type(value))))
        }
        _ => value.try_iter()?.checked().collect(),
    }
}

/// The entries of a dict.
pub(super) fn entries(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if value.kind() != ValueKind::Map {
        return Err(failed(format!("a dict is needed, not {}", super::python_type(value))));
    }
    value.try_iter()?.checked().map(|key| key.and_then(|key| value.get_item(&key).map(|item| (key, item)))).collect()
}
