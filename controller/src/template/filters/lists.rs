//! Filters on lists: sets, combinations, flattening, sorting.

use std::cmp::Ordering;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Environment, Error};

use super::params::{Filter, Params, REST, add_filters, defined, entries, int, items};
use super::random;
use super::selections::there;
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("unique", &["case_sensitive", "attribute"], unique),
            Filter("union", &["b"], |a, params| Ok(distinct(items(a)?.into_iter().chain(items(params.need("b")?)?)))),
            Filter("intersect", &["b"], |a, params| keep(a, params, |_, in_b| in_b)),
            Filter("difference", &["b"], |a, params| keep(a, params, |_, in_b| !in_b)),
            Filter("symmetric_difference", &["b"], symmetric_difference),
            Filter("flatten", &["levels", "skip_nulls"], flatten),
            Filter("zip", &[REST], |first, params| zip(first, params, None)),
            Filter("zip_longest", &["fillvalue", REST], zip_longest),
            Filter("product", &["repeat", REST], product),
            Filter("permutations", &["n"], |value, params| pick(value, params, Pick::Permutations)),
            Filter("combinations", &["n"], |value, params| pick(value, params, Pick::Combinations)),
            Filter("subelements", &["subelements", "skip_missing"], subelements),
            Filter("join", &["d", "attribute"], join),
            Filter("list", &[], list),
            Filter("sum", &["attribute", "start"], sum),
            Filter("length", &[], length),
            Filter("count", &[], length),
            Filter("random", &["start", "step", "seed"], random_item),
            Filter("shuffle", &["seed"], |value, params| {
                // What cannot be shuffled is given back.
                let Ok(mut list) = items(value) else { return Ok(value.clone()) };
                random::generator(params.get("seed")).shuffle(&mut list);
                Ok(Value::from(list))
            }),
        ],
    );
}

fn contains(list: &[Value], item: &Value) -> bool {
    list.iter().any(|other| other == item)
}

fn distinct(items: impl Iterator<Item = Value>) -> Value {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !contains(&out, &item) {
            out.push(item);
        }
    }
    Value::from(out)
}

fn unique(value: &Value, params: &Params) -> Result<Value, Error> {
    let attribute = params.get("attribute").filter(|value| !value.is_none());
    let is_jinjas = attribute.is_some() || params.get("case_sensitive").is_some();
    let case_sensitive = params.flag("case_sensitive", false);
    let mut seen: Vec<Value> = Vec::new();
    let mut out = Vec::new();
    for item in items(value)? {
        let key = match attribute {
            Some(attribute) => path(&item, &python::text(attribute))?,
            None => item.clone(),
        };
        if is_jinjas && matches!(key.kind(), ValueKind::Map | ValueKind::Seq) {
            let kind = super::python_type(&key);
            return Err(failed(format!(
                "Jinja2's unique filter failed and we cannot fall back to Ansible's version as it does not support the \
                 parameters supplied: unhashable type: '{kind}'"
            )));
        }
        let key = match key.as_str() {
            Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
            _ => key,
        };
        if !contains(&seen, &key) {
            seen.push(key);
            out.push(item);
        }
    }
    Ok(Value::from(out))
}

/// An attribute, or `a.b.c` into nested ones.
pub(super) fn path(value: &Value, path: &str) -> Result<Value, Error> {
    path.split('.').try_fold(value.clone(), |value, part| match part.parse::<usize>() {
        Ok(index) => value.get_item_by_index(index),
        Err(_) => value.get_attr(part),
    })
}

fn keep(value: &Value, params: &Params, choose: impl Fn(&Value, bool) -> bool) -> Result<Value, Error> {
    let other = items(params.need("b")?)?;
    Ok(distinct(items(value)?.into_iter().filter(|item| choose(item, contains(&other, item)))))
}

fn symmetric_difference(value: &Value, params: &Params) -> Result<Value, Error> {
    let (a, b) = (items(value)?, items(params.need("b")?)?);
    let only = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter().filter(|item| !contains(other, item)).cloned().collect()
    };
    Ok(distinct(only(&a, &b).into_iter().chain(only(&b, &a))))
}

fn flatten(value: &Value, params: &Params) -> Result<Value, Error> {
    let levels =
        params.get("levels").filter(|levels| !levels.is_none()).map(|levels| int(levels, "levels")).transpose()?;
    let mut out = Vec::new();
    flatten_into(&mut out, items(value)?, levels.unwrap_or(i64::MAX), params.flag("skip_nulls", true))?;
    Ok(Value::from(out))
}

/// What `flatten` and `combine` pass by. The texts count as well: YAML has no `None`, and people write it.
pub(super) fn is_null(item: &Value) -> bool {
    item.is_none() || matches!(item.as_str(), Some("None" | "null"))
}

fn flatten_into(out: &mut Vec<Value>, list: Vec<Value>, levels: i64, skip_nulls: bool) -> Result<(), Error> {
    for item in list {
        match item.kind() {
            _ if skip_nulls && is_null(&item) => {}
            ValueKind::Seq | ValueKind::Iterable if levels > 0 => {
                flatten_into(out, items(&item)?, levels - 1, skip_nulls)?;
            }
            _ => out.push(item),
        }
    }
    Ok(())
}

fn zip(first: &Value, params: &Params, fill: Option<Value>) -> Result<Value, Error> {
    let mut lists = vec![items(first)?];
    for list in &params.rest {
        lists.push(items(list)?);
    }
    let lens = lists.iter().map(Vec::len);
    let rows = if fill.is_some() { lens.max() } else { lens.min() }.unwrap_or(0);
    let cell = |list: &Vec<Value>, row: usize| list.get(row).or(fill.as_ref()).cloned().unwrap_or_default();
    Ok((0..rows).map(|row| lists.iter().map(|list| cell(list, row)).collect::<Value>()).collect())
}

fn zip_longest(first: &Value, params: &Params) -> Result<Value, Error> {
    zip(first, params, Some(params.get("fillvalue").cloned().unwrap_or_else(|| Value::from(()))))
}

/// Rows a filter may make. `combinations` of 40 items are more than memory holds.
const ROWS_MAX: usize = 1_000_000;

fn product(first: &Value, params: &Params) -> Result<Value, Error> {
    let mut lists = vec![items(first)?];
    for list in &params.rest {
        lists.push(items(list)?);
    }
    let repeat = usize::try_from(params.int("repeat", 1)?).map_err(|_| failed("repeat must not be negative"))?;
    let lists: Vec<Vec<Value>> = std::iter::repeat_n(lists, repeat.min(64)).flatten().collect();
    let rows =
        lists.iter().try_fold(1usize, |rows, list| rows.checked_mul(list.len())).filter(|rows| *rows <= ROWS_MAX);
    rows.ok_or_else(|| failed(format!("the result would have more than {ROWS_MAX} rows")))?;
    let mut out: Vec<Vec<Value>> = vec![Vec::new()];
    for list in &lists {
        out = out
            .iter()
            .flat_map(|row| list.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    Ok(rows_to_value(out))
}

fn rows_to_value(rows: Vec<Vec<Value>>) -> Value {
    rows.into_iter().map(Value::from).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Pick {
    Permutations,
    Combinations,
}

fn pick(value: &Value, params: &Params, kind: Pick) -> Result<Value, Error> {
    let list = items(value)?;
    let default = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let size = match kind {
        Pick::Permutations => params.int("n", default)?,
        Pick::Combinations => int(params.need("n")?, "n")?,
    };
    let mut out = Vec::new();
    let mut chosen = Vec::new();
    picks(&list, usize::try_from(size).unwrap_or(usize::MAX), kind, &mut chosen, &mut out)?;
    Ok(rows_to_value(out))
}

fn picks(
    list: &[Value],
    size: usize,
    kind: Pick,
    chosen: &mut Vec<usize>,
    out: &mut Vec<Vec<Value>>,
) -> Result<(), Error> {
    if size > list.len() {
        return Ok(());
    }
    if chosen.len() == size {
        if out.len() >= ROWS_MAX {
            return Err(failed(format!("the result would have more than {ROWS_MAX} rows")));
        }
        out.push(chosen.iter().map(|&index| list[index].clone()).collect());
        return Ok(());
    }
    let first = if kind == Pick::Combinations { chosen.last().map_or(0, |last| last + 1) } else { 0 };
    for index in first..list.len() {
        if !chosen.contains(&index) {
            chosen.push(index);
            picks(list, size, kind, chosen, out)?;
            chosen.pop();
        }
    }
    Ok(())
}

fn subelements(value: &Value, params: &Params) -> Result<Value, Error> {
    let elements = match value.kind() {
        ValueKind::Map => entries(value)?.into_iter().map(|(_, item)| item).collect(),
        ValueKind::Seq | ValueKind::Iterable => items(value)?,
        _ => return Err(failed("obj must be a list of dicts or a nested dict")),
    };
    let wanted = params.need("subelements")?;
    let path: Vec<String> = match (wanted.as_str(), wanted.kind()) {
        (Some(text), _) => text.split('.').map(str::to_owned).collect(),
        (None, ValueKind::Seq) => items(wanted)?.iter().map(python::text).collect(),
        _ => return Err(failed("subelements must be a list or a string")),
    };
    let skip = params.flag("skip_missing", false);
    let mut out = Vec::new();
    'elements: for element in elements {
        let mut list = element.clone();
        for key in &path {
            let item = python::repr(&list);
            let unfit = match list.kind() {
                ValueKind::Seq => Some(format!("'{item}': list indices must be integers or slices, not str")),
                ValueKind::String => Some(format!("{item}: string indices must be integers, not 'str'")),
                _ => None,
            };
            if let Some(unfit) = unfit {
                return Err(failed(format!("the key {key} should point to a dictionary, got {unfit}")));
            }
            list = list.get_attr(key)?;
            if list.is_undefined() && skip {
                continue 'elements;
            }
            if list.is_undefined() {
                return Err(failed(format!("could not find '{key}' key in iterated item {item}")));
            }
        }
        if list.kind() != ValueKind::Seq {
            let key = path.last().map_or("", String::as_str);
            return Err(failed(format!("the key '{key}' should point to a list, got {}", python::repr(&list))));
        }
        for item in items(&list)? {
            out.push(Value::from(Tuple::from(vec![element.clone(), item])));
        }
    }
    Ok(Value::from(out))
}

fn join(value: &Value, params: &Params) -> Result<Value, Error> {
    let separator = params.text("d", "");
    let attribute = params.get("attribute").filter(|value| !value.is_none()).map(python::text);
    let mut out = String::new();
    for (index, item) in items(value)?.into_iter().enumerate() {
        let item = match &attribute {
            Some(attribute) => path(&item, attribute)?,
            None => item,
        };
        defined(&item)?;
        if index > 0 {
            out.push_str(&separator);
        }
        python::write_text(&mut out, &item);
    }
    Ok(Value::from(out))
}

fn list(value: &Value, _: &Params) -> Result<Value, Error> {
    items(value).map(Value::from)
}

fn length(value: &Value, _: &Params) -> Result<Value, Error> {
    let counted = || if value.is_none() { None } else { value.try_iter().ok().map(Iterator::count) };
    let len = value.as_str().map(|text| text.chars().count()).or_else(|| value.len()).or_else(counted);
    len.map(Value::from).ok_or_else(|| failed(format!("object of type '{}' has no len()", super::python_type(value))))
}

fn sum(value: &Value, params: &Params) -> Result<Value, Error> {
    let attribute = params.get("attribute").filter(|value| !value.is_none()).map(python::text);
    let mut total = params.get("start").cloned().unwrap_or_else(|| Value::from(0));
    if total.kind() == ValueKind::String {
        return Err(failed("sum() can't sum strings [use ''.join(seq) instead]"));
    }
    for item in items(value)? {
        let item = match &attribute {
            Some(attribute) => there(&item, &Value::from(attribute.as_str()))?,
            None => item,
        };
        defined(&item)?;
        total = add(&total, &item)?;
    }
    Ok(total)
}

fn add(a: &Value, b: &Value) -> Result<Value, Error> {
    let number = |value: &Value| {
        if value.kind() == ValueKind::Bool { Value::from(i64::from(value.is_true())) } else { value.clone() }
    };
    let (a, b) = (number(a), number(b));
    match (a.as_i64(), b.as_i64()) {
        (Some(a_int), Some(b_int)) if a.is_integer() && b.is_integer() => {
            a_int.checked_add(b_int).map(Value::from).ok_or_else(|| failed("the sum does not fit into 64 bits"))
        }
        _ if a.is_number() && b.is_number() => Ok(Value::from(f64::try_from(a)? + f64::try_from(b)?)),
        _ if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq => {
            Ok(Value::from(items(&a)?.into_iter().chain(items(&b)?).collect::<Vec<_>>()))
        }
        _ => Err(failed(format!(
            "unsupported operand type(s) for +: '{}' and '{}'",
            super::python_type(&a),
            super::python_type(&b)
        ))),
    }
}

fn random_item(value: &Value, params: &Params) -> Result<Value, Error> {
    let mut generator = random::generator(params.get("seed"));
    if !value.is_integer() && value.kind() != ValueKind::Bool {
        let is_sequence = matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Iterable);
        if ["start", "step"].iter().any(|name| params.get(name).is_some_and(Value::is_true)) {
            return Err(failed("start and step can only be used with integer values"));
        }
        if !is_sequence {
            return Err(failed("random can only be used on sequences and integers"));
        }
        let list: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err(failed("Cannot choose from an empty sequence"));
        }
        return Ok(list[generator.below(list.len() as u64) as usize].clone());
    }
    let end = int(value, "end")?;
    let start = params.get("start").filter(|start| !start.is_none()).map_or(Ok(0), |start| int(start, "start"))?;
    let step = params.int("step", 1)?;
    let width = end.saturating_sub(start);
    let count = match step.cmp(&0) {
        Ordering::Greater => width.saturating_add(step - 1) / step,
        Ordering::Less => width.saturating_add(step + 1) / step,
        Ordering::Equal => return Err(failed("the step must not be zero")),
    };
    match u64::try_from(count) {
        Ok(count) if count > 0 => Ok(Value::from(start + step * generator.below(count) as i64)),
        _ => Err(failed(format!("empty range from {start} to {end}"))),
    }
}
