//! Lookups that go through lists: `items`, `dict`, `nested`, `together`, `indexed_items`, `subelements`, `random_choice`.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use crate::template::convert::failed;
use crate::template::filters::params::{entries, items};
use crate::template::filters::{python_type, random};
use crate::template::python;

pub(super) fn dict(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in &call.terms {
        if term.kind() != ValueKind::Map {
            let (shown, kind) = (python::text(term), python_type(term));
            // The bracket is Ansible's.
            let message =
                format!("the 'dict' lookup plugin expects a dictionary, got '{shown}' of type <class '{kind}'>)");
            return Err(failed(message));
        }
        out.extend(entries(term)?.into_iter().map(|(key, value)| Value::from_pairs([("key", key), ("value", value)])));
    }
    Ok(out)
}

pub(super) fn flat_items(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in &call.terms {
        match term.kind() {
            ValueKind::Seq | ValueKind::Iterable => out.extend(items(term)?),
            _ => out.push(term.clone()),
        }
    }
    Ok(out)
}

pub(super) fn indexed_items(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let pair = |(index, item)| Value::from(vec![Value::from(index), item]);
    Ok(flat_items(call)?.into_iter().enumerate().map(pair).collect())
}

pub(super) fn nested(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    if call.terms.is_empty() {
        return Err(failed("with_nested requires at least one element in the nested list"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for term in &call.terms {
        let list = if term.kind() == ValueKind::Seq { items(term)? } else { vec![term.clone()] };
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

pub(super) fn together(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    if call.terms.is_empty() {
        return Err(failed("with_together requires at least one element in each list"));
    }
    let lists: Vec<Vec<Value>> = call.terms.iter().map(items).collect::<Result<_, _>>()?;
    let rows = lists.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |list: &Vec<Value>, row: usize| list.get(row).cloned().unwrap_or_else(|| Value::from(()));
    Ok((0..rows).map(|row| lists.iter().map(|list| cell(list, row)).collect::<Vec<_>>().into()).collect())
}

pub(super) fn subelements(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let [elements, key, flags @ ..] = &call.terms[..] else {
        return Err(failed("subelements lookup expects a list of two or three items,"));
    };
    let skip = flags.first().and_then(|flags| flags.get_attr("skip_missing").ok()).is_some_and(|flag| flag.is_true());
    let elements = match elements.kind() {
        ValueKind::Map => entries(elements)?.into_iter().map(|(_, item)| item).collect(),
        _ => items(elements)?,
    };
    let key = python::text(key);
    let mut out = Vec::new();
    for element in elements {
        let list = element.get_attr(&key)?;
        if list.is_undefined() {
            if skip {
                continue;
            }
            let item = python::repr(&element);
            return Err(failed(format!("could not find '{key}' key in iterated item '{item}'")));
        }
        let rest = entries(&element)?.into_iter().filter(|(name, _)| name.as_str() != Some(&key));
        let rest = Value::from_pairs(rest);
        out.extend(items(&list)?.into_iter().map(|item| Value::from(vec![rest.clone(), item])));
    }
    Ok(out)
}

pub(super) fn random_choice(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let count = call.terms.len() as u64;
    if count == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![call.terms[random::generator(None).below(count) as usize].clone()])
}
