//! Filters on dicts: `combine`, `dict2items`, `items2dict`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use super::lists::is_null;
use super::params::{Filter, Params, REST, add_filters, entries, items};
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("combine", &["recursive", "list_merge", REST], combine),
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

fn combine(value: &Value, params: &Params) -> Result<Value, Error> {
    let list_merge = match params.text("list_merge", "replace").as_str() {
        "replace" => ListMerge::Replace,
        "keep" => ListMerge::Keep,
        "append" => ListMerge::Append,
        "prepend" => ListMerge::Prepend,
        "append_rp" => ListMerge::AppendDistinct,
        "prepend_rp" => ListMerge::PrependDistinct,
        other => {
            return Err(failed(format!(
                "merge_hash: 'list_merge' argument can only be equal to 'replace', 'keep', 'append', 'prepend', \
                 'append_rp' or 'prepend_rp', not '{other}'"
            )));
        }
    };
    let mut dicts = Vec::new();
    for value in [value].into_iter().chain(&params.rest) {
        match value.kind() {
            ValueKind::Seq => dicts.extend(items(value)?),
            _ => dicts.push(value.clone()),
        }
    }
    let mut merged = Vec::new();
    for dict in dicts.iter().filter(|dict| !is_null(dict)) {
        merge(&mut merged, entries(dict)?, params.flag("recursive", false), list_merge)?;
    }
    Ok(Value::from_pairs(merged))
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
    let field = |item: &Value, name: &Value| match item.get_item(name) {
        Ok(value) if !value.is_undefined() => Ok(value),
        _ => Err(failed(format!("each item must be a dict with the keys {key_name:?} and {value_name:?}"))),
    };
    let pairs: Result<Entries, Error> =
        items(value)?.iter().map(|item| Ok((field(item, &key_name)?, field(item, &value_name)?))).collect();
    let mut merged = Vec::new();
    merge(&mut merged, pairs?, false, ListMerge::Replace)?;
    Ok(Value::from_pairs(merged))
}
