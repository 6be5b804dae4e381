//! Lookups that go through lists: `items`, `dict`, `nested`, `together`, `indexed_items`, `subelements`, `random_choice`.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use super::options::flag;
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
    opened(&call.terms)
}

pub(super) fn indexed_items(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let pair = |(index, item)| Value::from(vec![Value::from(index), item]);
    Ok(flat_items(call)?.into_iter().enumerate().map(pair).collect())
}

pub(super) fn nested(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let lists: Vec<Vec<Value>> = call.terms.iter().map(items).collect::<Result<_, _>>()?;
    let Some((first, others)) = lists.split_first() else {
        return Err(failed("with_nested requires at least one element in the nested list"));
    };
    if others.is_empty() {
        return first.iter().map(|item| Ok(Value::from(opened(&items(item)?)?))).collect();
    }
    let mut rows: Vec<Vec<Value>> = first.iter().map(|item| vec![item.clone()]).collect();
    for list in others {
        let row = |(row, item): (&Vec<Value>, &Value)| [row.as_slice(), std::slice::from_ref(item)].concat();
        rows = rows.iter().flat_map(|row| list.iter().map(move |item| (row, item))).map(row).collect();
    }
    // As in Ansible, an item that is a list stands for its own items, and so do those.
    rows.iter().map(|row| opened(&opened(row)?).map(Value::from)).collect()
}

/// The items, and those of the lists among them.
fn opened(row: &[Value]) -> Result<Vec<Value>, Error> {
    let mut out = Vec::with_capacity(row.len());
    for item in row {
        match item.kind() {
            ValueKind::Seq | ValueKind::Iterable => out.extend(items(item)?),
            _ => out.push(item.clone()),
        }
    }
    Ok(out)
}

pub(super) fn together(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    if call.terms.is_empty() {
        return Err(failed("with_together requires at least one element in each list"));
    }
    let lists: Vec<Vec<Value>> = call.terms.iter().map(items).collect::<Result<_, _>>()?;
    let rows = lists.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |list: &Vec<Value>, row: usize| list.get(row).cloned().unwrap_or_else(|| Value::from(()));
    let row = |row: usize| lists.iter().map(|list| cell(list, row)).collect::<Vec<_>>();
    (0..rows).map(|number| opened(&row(number)).map(Value::from)).collect()
}

pub(super) fn subelements(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const WANTED: &str = "subelements lookup expects a list of two or three items,";
    let [elements, key, flags @ ..] = &call.terms[..] else { return Err(failed(WANTED)) };
    if flags.len() > 1 {
        return Err(failed(WANTED));
    }
    let has_elements = matches!(elements.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable);
    let Some(key) = key.as_str().filter(|_| has_elements) else {
        return Err(failed(format!("{WANTED} first a dict or a list, second a string pointing to the subkey")));
    };
    let skip = match flags.first() {
        Some(flags) if flags.kind() == ValueKind::Map => flags.get_attr("skip_missing").is_ok_and(|value| flag(&value)),
        // A list of names of flags says nothing.
        Some(flags) if items(flags)?.iter().any(|name| name.as_str() != Some("skip_missing")) => {
            return Err(failed(format!("{WANTED} the optional third item must be a dict with flags skip_missing")));
        }
        _ => false,
    };
    // A result of a task that was skipped has no list.
    if is_skipped(elements) {
        return Ok(Vec::new());
    }
    let elements = match elements.kind() {
        ValueKind::Map => entries(elements)?.into_iter().map(|(_, item)| item).collect(),
        _ => items(elements)?,
    };
    let path: Vec<&str> = key.split('.').collect();
    let mut out = Vec::new();
    for element in elements {
        if element.kind() != ValueKind::Map {
            let got = python::text(&element);
            return Err(failed(format!("subelements lookup expects a dictionary, got '{got}'")));
        }
        if is_skipped(&element) {
            continue;
        }
        if let Some(list) = subelement(&element, &path, skip)? {
            let rest = without(&element, &path)?;
            out.extend(items(&list)?.into_iter().map(|item| Value::from(vec![rest.clone(), item])));
        }
    }
    Ok(out)
}

fn is_skipped(result: &Value) -> bool {
    result.kind() == ValueKind::Map && result.get_attr("skipped").is_ok_and(|skipped| skipped.is_true())
}

/// The list at the end of a path into dicts. None if a step is missing and may be.
fn subelement(element: &Value, path: &[&str], skip: bool) -> Result<Option<Value>, Error> {
    let mut value = element.clone();
    for (at, step) in path.iter().enumerate() {
        let next = value.get_attr(step)?;
        if next.is_undefined() {
            let item = python::text(&value);
            let missing = failed(format!("could not find '{step}' key in iterated item '{item}'"));
            return if skip { Ok(None) } else { Err(missing) };
        }
        let (wanted, kind) =
            if at + 1 == path.len() { (ValueKind::Seq, "list") } else { (ValueKind::Map, "dictionary") };
        if next.kind() != wanted {
            let got = python::text(&next);
            return Err(failed(format!("the key {step} should point to a {kind}, got '{got}'")));
        }
        value = next;
    }
    Ok(Some(value))
}

/// The dict without what the path leads to.
fn without(element: &Value, path: &[&str]) -> Result<Value, Error> {
    let Some((step, deeper)) = path.split_first() else { return Ok(element.clone()) };
    let mut rest = entries(element)?;
    match rest.iter_mut().find(|(name, _)| name.as_str() == Some(step)) {
        Some((_, inner)) if !deeper.is_empty() => *inner = without(inner, deeper)?,
        _ => rest.retain(|(name, _)| name.as_str() != Some(step)),
    }
    Ok(Value::from_pairs(rest))
}

pub(super) fn random_choice(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let count = call.terms.len() as u64;
    if count == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![call.terms[random::generator(None).below(count) as usize].clone()])
}
