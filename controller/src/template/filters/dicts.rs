//! Filters on dicts: `combine`, `dict2items`, `items2dict`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use super::lists::is_null;
use super::params::{Args, Filter, Params, REST, add_filters, entries, items, named, plain, undefined_among};
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    for name in ["combine", "ansible.builtin.combine"] {
        env.add_filter(name, |value: &Value, args: Args| {
            let args = plain(args);
            match undefined_among(std::slice::from_ref(value), &args) {
                Some(undefined) => Ok(undefined),
                None => combine(value, &args).map_err(|error| named("filter", "combine", error)),
            }
        });
    }
    add_filters(
        env,
        &[
            Filter("dict2items", &["key_name", "value_name"], dict2items),
            Filter("items2dict", &["key_name", "value_name"], items2dict),
            Filter("rekey_on_member", &["key", "duplicates"], rekey_on_member),
            Filter("dictsort", &["case_sensitive", "by", "reverse"], dictsort),
        ],
    );
}

#[derive(Clone, Copy, PartialEq)]
enum ListMerge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendDistinct,
    PrependDistinct,
}

fn combine(value: &Value, args: &[Value]) -> Result<Value, Error> {
    const OPTIONS: &[&str] = &["recursive", "list_merge"];
    let by_name = args.last().filter(|last| last.is_kwargs());
    let mut names = by_name.into_iter().flat_map(|all| all.try_iter().into_iter().flatten());
    if names.any(|name| !name.as_str().is_some_and(|name| OPTIONS.contains(&name))) {
        return Err(failed("'recursive' and 'list_merge' are the only valid keyword arguments"));
    }
    let params = Params::bind("combine", &["recursive", "list_merge", REST], args)?;
    let list_merge = match params.text("list_merge", "replace").as_str() {
        "replace" => ListMerge::Replace,
        "keep" => ListMerge::Keep,
        "append" => ListMerge::Append,
        "prepend" => ListMerge::Prepend,
        "append_rp" => ListMerge::AppendDistinct,
        "prepend_rp" => ListMerge::PrependDistinct,
        _ => {
            return Err(failed(
                "merge_hash: 'list_merge' argument can only be equal to 'replace', 'keep', 'append', 'prepend', \
                 'append_rp' or 'prepend_rp'"
                    .to_owned(),
            ));
        }
    };
    let mut dicts = Vec::new();
    for value in [value].into_iter().chain(&params.rest) {
        match value.kind() {
            ValueKind::Seq => dicts.extend(items(value)?),
            _ => dicts.push(value.clone()),
        }
    }
    dicts.retain(|dict| !is_null(dict));
    let is_dict = |value: &Value| value.kind() == ValueKind::Map;
    if let Some((last, weaker)) = dicts.split_last() {
        // Ansible merges the stronger ones first, and names the two where it stops.
        let mut stronger = last;
        for dict in weaker.iter().rev() {
            if !(is_dict(dict) && is_dict(stronger)) {
                return Err(failed(format!(
                    "failed to combine variables, expected dicts but got a '{}' and a '{}'.",
                    lazy_type(dict),
                    lazy_type(stronger)
                )));
            }
            stronger = dict;
        }
    }
    if let [alone] = &dicts[..] {
        return Ok(alone.clone());
    }
    let mut merged = Vec::new();
    for dict in &dicts {
        merge(&mut merged, entries(dict)?, params.flag("recursive", false), list_merge)?;
    }
    Ok(Value::from_pairs(merged))
}

/// The name that Ansible's messages have for the type of a list or dict in a template.
fn lazy_type(value: &Value) -> &'static str {
    match super::python_type(value) {
        "list" => "_AnsibleLazyTemplateList",
        "dict" => "_AnsibleLazyTemplateDict",
        other => other,
    }
}

/// A type as Python prints it.
fn class_of(value: &Value) -> String {
    match lazy_type(value) {
        lazy if lazy.starts_with('_') => format!("<class 'ansible._internal._templating._lazy_containers.{lazy}'>"),
        other => format!("<class '{other}'>"),
    }
}

type Entries = Vec<(Value, Value)>;

fn merge(into: &mut Entries, from: Entries, recursive: bool, list_merge: ListMerge) -> Result<(), Error> {
    for (key, new) in from {
        match into.iter_mut().find(|(known, _)| *known == key) {
            None => into.push((key, new)),
            Some((_, old)) => {
                let both = |kind| old.kind() == kind && new.kind() == kind;
                *old = if recursive && both(ValueKind::Map) {
                    let mut inner = entries(old)?;
                    merge(&mut inner, entries(&new)?, recursive, list_merge)?;
                    Value::from_pairs(inner)
                } else if both(ValueKind::Seq) {
                    merge_lists(items(old)?, items(&new)?, list_merge)
                } else {
                    new
                };
            }
        }
    }
    Ok(())
}

fn merge_lists(old: Vec<Value>, new: Vec<Value>, list_merge: ListMerge) -> Value {
    let without = |list: Vec<Value>, other: &[Value]| -> Vec<Value> {
        list.into_iter().filter(|item| !other.contains(item)).collect()
    };
    Value::from(match list_merge {
        ListMerge::Replace => new,
        ListMerge::Keep => old,
        ListMerge::Append => [old, new].concat(),
        ListMerge::Prepend => [new, old].concat(),
        ListMerge::AppendDistinct => [without(old, &new), new].concat(),
        ListMerge::PrependDistinct => {
            let rest = without(old, &new);
            [new, rest].concat()
        }
    })
}

fn dict2items(value: &Value, params: &Params) -> Result<Value, Error> {
    let (key_name, value_name) = (params.text("key_name", "key"), params.text("value_name", "value"));
    if value.kind() != ValueKind::Map {
        return Err(failed(format!("dict2items requires a dictionary, got {} instead.", class_of(value))));
    }
    let item = |(key, value)| Value::from_pairs([(key_name.clone(), key), (value_name.clone(), value)]);
    Ok(entries(value)?.into_iter().map(item).collect())
}

/// A dict of dicts by a member of each.
fn rekey_on_member(value: &Value, params: &Params) -> Result<Value, Error> {
    let key = params.need("key")?;
    let overwrite = match params.text("duplicates", "error").as_str() {
        "error" => false,
        "overwrite" => true,
        other => {
            let why = format!("duplicates parameter to rekey_on_member has unknown value '{other}'");
            return Err(failed(why));
        }
    };
    let elements = match value.kind() {
        ValueKind::Map => entries(value)?.into_iter().map(|(_, item)| item).collect(),
        ValueKind::Seq | ValueKind::Iterable => items(value)?,
        _ => return Err(failed("Type is not a valid list, set, or dict")),
    };
    let mut out: Entries = Vec::new();
    for element in elements {
        if element.kind() != ValueKind::Map {
            return Err(failed("List item is not a valid dict"));
        }
        let found = element.get_item(key)?;
        if found.is_undefined() {
            return Err(failed(format!("Key {} was not found.", python::repr(key))));
        }
        match out.iter_mut().find(|(known, _)| *known == found) {
            Some(_) if !overwrite => {
                return Err(failed(format!("Key {} is not unique, cannot convert to dict.", python::repr(&found))));
            }
            Some((_, old)) => *old = element,
            None => out.push((found, element)),
        }
    }
    Ok(Value::from_pairs(out))
}

/// Pairs of key and value, sorted by one of them.
fn dictsort(value: &Value, params: &Params) -> Result<Value, Error> {
    let by_value = match params.text("by", "key").as_str() {
        "key" => false,
        "value" => true,
        _ => return Err(failed("You can only sort by either \"key\" or \"value\"")),
    };
    let case_sensitive = params.flag("case_sensitive", false);
    let sort_key = |(key, value): &(Value, Value)| {
        let by = if by_value { value } else { key };
        match by.as_str() {
            Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
            _ => by.clone(),
        }
    };
    let mut pairs = entries(value)?;
    pairs.sort_by_cached_key(sort_key);
    if params.flag("reverse", false) {
        pairs.reverse();
    }
    Ok(pairs.into_iter().map(|(key, value)| Value::from(vec![key, value])).collect())
}

fn items2dict(value: &Value, params: &Params) -> Result<Value, Error> {
    let name = |name: &str, default: &str| params.get(name).cloned().unwrap_or_else(|| Value::from(default));
    let (key_name, value_name) = (name("key_name", "key"), name("value_name", "value"));
    if value.kind() != ValueKind::Seq {
        return Err(failed(format!("items2dict requires a list, got {} instead.", class_of(value))));
    }
    let list = items(value)?;
    let names_of = |kind| key_name.kind() == kind && value_name.kind() == kind;
    let has_fields = |item: &Value| match item.kind() {
        ValueKind::Map => true,
        ValueKind::Seq => names_of(ValueKind::Number),
        _ => false,
    };
    if !list.iter().all(has_fields) {
        let got = python::text(value);
        return Err(failed(format!("items2dict requires a list of dictionaries, got {got} instead.")));
    }
    let field = |item: &Value, name: &Value| match item.get_item(name) {
        Ok(value) if !value.is_undefined() => Ok(value),
        _ => Err(failed(format!(
            "items2dict requires each dictionary in the list to contain the keys {} and {}, got {} instead.",
            python::repr(&key_name),
            python::repr(&value_name),
            python::text(value)
        ))),
    };
    let pairs: Result<Entries, Error> =
        list.iter().map(|item| Ok((field(item, &key_name)?, field(item, &value_name)?))).collect();
    let mut merged = Vec::new();
    merge(&mut merged, pairs?, false, ListMerge::Replace)?;
    Ok(Value::from_pairs(merged))
}
