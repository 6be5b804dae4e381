//! Filters on dicts: `combine`, `dict2items`, `items2dict`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use super::params::{Filter, Params, REST, add_filters, entries, items};
use crate::template::convert::failed;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("combine", &["recursive", "list_merge", REST], combine),
            Filter("dict2items", &["key_name", "value_name"], dict2items),
            Filter("items2dict", &["key_name", "value_name"], items2dict),
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
                "'{other}' is no list_merge; choose replace, keep, append, prepend, append_rp or prepend_rp"
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
    for dict in &dicts {
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
