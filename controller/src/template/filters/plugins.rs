//! Filters, tests and lookups in Python, as the engine calls them.

use minijinja::value::Value;
use minijinja::{Environment, Error};
use rustle_protocol::Value as Data;
use rustle_protocol::value::Map;

use super::params::{Args, defined, failure, plain, undefined_among};
use crate::custom::PluginKind;
use crate::plugins::{Looked, LookupInput, Plugins};
use crate::template::TemplateError;
use crate::template::convert::{failed, from_data, to_data};
use crate::template::{deferred, python};
use crate::vars::Scope;

/// A filter or test in Python.
#[derive(Clone)]
pub(in crate::template) struct Learnt {
    pub(in crate::template) kind: PluginKind,
    /// As templates have it.
    pub(in crate::template) name: String,
    /// As messages have it.
    pub(in crate::template) full_name: String,
}

/// Makes a plug-in a filter or test of the engine.
pub(in crate::template) fn register(env: &mut Environment<'static>, plugins: &Plugins, learnt: &Learnt) {
    let Learnt { kind, name, full_name } = learnt.clone();
    let (plugins, own_name) = (plugins.clone(), name.clone());
    let call = move |value: &Value, args: Args| -> Result<Value, Error> {
        let args = plain(args);
        if let Some(undefined) = undefined_among(std::slice::from_ref(value), &args) {
            return Ok(undefined);
        }
        let (mut args, kwargs) = passed(&args)?;
        args.insert(0, to_data(value)?.unwrap_or_default());
        let answer = plugins.call(kind, &own_name, &args, &kwargs);
        answer.map(from_data).map_err(|why| failure(kind.name(), &full_name, &why))
    };
    match kind {
        PluginKind::Filter => env.add_filter(name, call),
        PluginKind::Test => {
            env.add_test(name, move |value: &Value, args: Args| {
                defined(value)?;
                call(value, args).map(|answer| answer.is_true())
            });
        }
        PluginKind::Lookup => {}
    }
}

/// Variables that lookups read to find files, and so are given at once.
const GIVEN: &[&str] = &["ansible_search_path", "inventory_dir", "inventory_hostname", "playbook_dir", "role_path"];

/// What a lookup in Python finds. It is called again as long as it asks for variables, which are rendered for it: what it
/// does not read may be undefined, or cost much.
pub(super) fn look_up(plugins: &Plugins, name: &str, args: &[Value], scope: &Scope) -> Result<Vec<Value>, Error> {
    let (args, mut kwargs) = passed(args)?;
    kwargs.retain(|name, _| !matches!(name.as_str(), "wantlist" | "errors"));
    let names = scope.names().into_iter().collect();
    let mut input = LookupInput { args, kwargs, names, ..LookupInput::default() };
    give(&mut input, GIVEN.iter().copied().filter(|name| scope.contains(name)), scope)?;
    loop {
        match ask(plugins, name, &input)? {
            Looked::Found(found) => return Ok(found.into_iter().map(from_data).collect()),
            Looked::Needs(needed) => {
                let known = input.variables.len() + input.failed.len();
                give(&mut input, needed.iter().map(String::as_str), scope)?;
                if input.variables.len() + input.failed.len() == known {
                    return Err(failed(format!("it asks again for {}", needed.join(", "))));
                }
            }
        }
    }
}

/// Calls the lookup where waiting for it holds nobody up.
fn ask(plugins: &Plugins, name: &str, input: &LookupInput) -> Result<Looked, Error> {
    let question = format!("{name} {:?} {:?} {:?} {:?}", input.args, input.kwargs, input.variables, input.failed);
    let (plugins, name, input) = (plugins.clone(), name.to_owned(), input.clone());
    // One list is what was found; two, the second one of names, are what it needs.
    let work = move || {
        plugins.look_up(&name, &input).map(|looked| match looked {
            Looked::Found(found) => vec![Data::List(found)],
            Looked::Needs(names) => vec![Data::Null, names.into_iter().map(Data::from).collect()],
        })
    };
    let mut answer = deferred::ask(question, work)?.map_err(failed)?.into_iter();
    Ok(match (answer.next(), answer.next()) {
        (_, Some(Data::List(names))) => {
            Looked::Needs(names.iter().filter_map(Data::as_str).map(str::to_owned).collect())
        }
        (Some(Data::List(found)), _) => Looked::Found(found),
        _ => Looked::Found(Vec::new()),
    })
}

fn give<'a>(input: &mut LookupInput, names: impl Iterator<Item = &'a str>, scope: &Scope) -> Result<(), Error> {
    for name in names {
        match scope.get(name) {
            Ok(value) => drop(input.variables.insert(name.to_owned(), value)),
            Err(error @ TemplateError::Deferred) => return Err(error.into()),
            Err(error) => drop(input.failed.insert(name.to_owned(), error.to_string())),
        }
    }
    Ok(())
}

/// Arguments by position and by name, as data.
fn passed(args: &[Value]) -> Result<(Vec<Data>, Map), Error> {
    let (positional, by_name) = match args.split_last() {
        Some((last, positional)) if last.is_kwargs() => (positional, Some(last)),
        _ => (args, None),
    };
    let data = |value: &Value| Ok::<_, Error>(to_data(value)?.unwrap_or_default());
    let mut kwargs = Map::new();
    for key in by_name.map(Value::try_iter).transpose()?.into_iter().flatten() {
        let value = by_name.map_or(Ok(Value::UNDEFINED), |all| all.get_item(&key))?;
        kwargs.insert(python::text(&key), data(&value)?);
    }
    Ok((positional.iter().map(data).collect::<Result<_, _>>()?, kwargs))
}
