//! Lists and dicts that a template changes, as Python lets it.
//!
//! The engine's values never change, and those of variables are shared between hosts. So a template that calls a method which
//! changes something gets lists and dicts of its own: each that it makes, and, under whatever names it reads them, one for
//! each that a variable has. What is in them is made such when it is read. What is put into them is a copy, as all arguments
//! are in Ansible, so that none is in itself. They are gone with the template.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use rustle_protocol::value::DEPTH_MAX;

use super::params::{entries, undefined_among};
use crate::template::convert::{View, failed};
use crate::template::{python, rewrite};

/// Entries one of them may have: a template that adds more is in a loop that does not end.
const ENTRIES_MAX: usize = 1_000_000;

/// The methods of a list that change it.
pub(super) const LIST_METHODS: &[&str] = &["append", "extend", "insert", "remove", "pop", "sort", "reverse", "clear"];

/// The methods of a dict that change it.
pub(super) const DICT_METHODS: &[&str] = &["update", "pop", "popitem", "setdefault", "clear"];

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(rewrite::CHANGEABLE, changeable);
    env.add_filter(rewrite::CHANGING, |state: &mut State<'_, '_>, value: &Value| {
        let Some(identity) = Identity::of(value) else { return value.clone() };
        let changing = state.get_or_insert_extension_with(Changing::default);
        let known = changing.0.entry(identity).or_insert_with(|| (value.clone(), changeable(value)));
        known.1.clone()
    });
}

/// Those that a template's variables have, beside what they were made of, which stays where it is for as long.
#[derive(Default)]
struct Changing(HashMap<Identity, (Value, Value)>);

/// Which list or dict it is.
#[derive(PartialEq, Eq, Hash)]
struct Identity(usize, Box<[u32]>);

impl Identity {
    /// None of what cannot change, or can already.
    fn of(value: &Value) -> Option<Self> {
        if let Some(view) = value.downcast_object_ref::<View>() {
            let (root, steps) = view.identity();
            return Some(Identity(root, steps));
        }
        let list = value.downcast_object_ref::<Vec<Value>>().map(|list| std::ptr::from_ref(list).addr());
        let dict = || value.downcast_object_ref::<IndexMap<Value, Value>>().map(|dict| std::ptr::from_ref(dict).addr());
        list.or_else(dict).map(|addr| Identity(addr, Box::default()))
    }
}

/// The value as one that can change, if it is a list or dict, and not one of those that stand for something else (`hostvars`).
fn changeable(value: &Value) -> Value {
    let is_dict = || Identity::of(value).is_some();
    let kept = |keys: Vec<Value>| keys.into_iter().map(|key| (key.clone(), Entry::Of(value.clone(), key)));
    match value.kind() {
        _ if value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Dict>().is_some() => {
            value.clone()
        }
        ValueKind::Seq if !value.is_tuple() => {
            let entries = (0..value.len().unwrap_or(0)).map(|index| Entry::Of(value.clone(), Value::from(index)));
            Value::from_object(List(Mutex::new(entries.collect())))
        }
        ValueKind::Map if is_dict() => {
            let keys = value.try_iter().map(Iterator::collect).unwrap_or_default();
            Value::from_object(Dict(Mutex::new(kept(keys).collect())))
        }
        _ => value.clone(),
    }
}

/// Calls a method that changes a list or dict which has no name, so that nobody sees the change.
///
/// # Errors
/// Those of the method.
pub(super) fn change_unnamed(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let changeable = changeable(value);
    match (changeable.downcast_object_ref::<List>(), changeable.downcast_object_ref::<Dict>()) {
        (Some(list), _) => list.change(method, args),
        (_, Some(dict)) => dict.change(method, args),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bounded(len: usize) -> Result<(), Error> {
    if len > ENTRIES_MAX {
        Err(failed(format!("a list or dict of a template has more than {ENTRIES_MAX} entries")))
    } else {
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Entry {
    Own(Value),
    /// As it is there, under this key: nobody has read it.
    Of(Value, Value),
}

impl Entry {
    /// The value, the same one each time.
    fn read(&mut self) -> Value {
        let value = match self {
            Entry::Own(value) => return value.clone(),
            Entry::Of(base, key) => changeable(&base.get_item(key).unwrap_or_else(Value::from)),
        };
        *self = Entry::Own(value.clone());
        value
    }
}

/// A copy of a list or dict that can change, and of all in it.
///
/// # Errors
/// More than [`ENTRIES_MAX`] of them.
fn copied(value: Value) -> Result<Entry, Error> {
    copied_within(value, 0, &mut 0).map(Entry::Own)
}

fn copied_within(value: Value, depth: usize, count: &mut usize) -> Result<Value, Error> {
    *count += 1;
    bounded(*count)?;
    let mut copy = |entry: &mut Entry| copied_within(entry.read(), depth + 1, count).map(Entry::Own);
    if depth > DEPTH_MAX {
        return Err(failed(format!("a list or dict of a template is nested deeper than {DEPTH_MAX} levels")));
    }
    if let Some(list) = value.downcast_object_ref::<List>() {
        let entries = locked(&list.0).iter_mut().map(copy).collect::<Result<_, _>>()?;
        return Ok(Value::from_object(List(Mutex::new(entries))));
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        let mut dict = locked(&dict.0);
        let entries = dict.iter_mut().map(|(key, entry)| copy(entry).map(|entry| (key.clone(), entry)));
        return Ok(Value::from_object(Dict(Mutex::new(entries.collect::<Result<_, _>>()?))));
    }
    Ok(value)
}

#[derive(Debug)]
struct List(Mutex<Vec<Entry>>);

impl List {
    fn change(&self, method: &str, args: &[Value]) -> Result<Value, Error> {
        let none = Value::from(());
        match method {
            "append" => {
                let (item,): (Value,) = from_args(args)?;
                let item = copied(item)?;
                let mut list = locked(&self.0);
                bounded(list.len() + 1)?;
                list.push(item);
            }
            "extend" => {
                let (more,): (Value,) = from_args(args)?;
                // Read before the list is locked: it may be the same one.
                let more = more.try_iter()?.checked().map(|item| item.and_then(copied));
                let more: Vec<Entry> = more.collect::<Result<_, _>>()?;
                let mut list = locked(&self.0);
                bounded(list.len() + more.len())?;
                list.extend(more);
            }
            "insert" => {
                let (at, item): (i64, Value) = from_args(args)?;
                let item = copied(item)?;
                let mut list = locked(&self.0);
                bounded(list.len() + 1)?;
                let len = list.len();
                list.insert(position(at, len).min(len), item);
            }
            "pop" => {
                let (at,): (Option<i64>,) = from_args(args)?;
                let mut list = locked(&self.0);
                let at = position(at.unwrap_or(-1), list.len());
                if at >= list.len() {
                    let why = if list.is_empty() { "pop from empty list" } else { "pop index out of range" };
                    return Err(failed(format!("Error rendering template: {why}")));
                }
                return Ok(list.remove(at).read());
            }
            "remove" => {
                let (item,): (Value,) = from_args(args)?;
                let at = self.values().iter().position(|other| *other == item);
                let at = at.ok_or_else(|| failed("Error rendering template: list.remove(x): x not in list"))?;
                locked(&self.0).remove(at);
            }
            "sort" => {
                let (named,): (Kwargs,) = from_args(args)?;
                let is_reversed = named.get::<Option<bool>>("reverse")?.unwrap_or(false);
                named.assert_all_used()?;
                let mut values = self.values();
                values.sort_by(|a, b| if is_reversed { b.cmp(a) } else { a.cmp(b) });
                *locked(&self.0) = values.into_iter().map(Entry::Own).collect();
            }
            "reverse" => locked(&self.0).reverse(),
            "clear" => locked(&self.0).clear(),
            "copy" => {
                return Ok(Value::from_object(List(Mutex::new(self.values().into_iter().map(Entry::Own).collect()))));
            }
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        }
        Ok(none)
    }

    fn values(&self) -> Vec<Value> {
        locked(&self.0).iter_mut().map(Entry::read).collect()
    }
}

/// A place counted from the end where it is negative.
fn position(at: i64, len: usize) -> usize {
    let from_end = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
    if at < 0 { len.saturating_sub(from_end) } else { from_end }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        locked(&self.0).get_mut(key.as_usize()?).map(Entry::read)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(locked(&self.0).len())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        undefined_among(&[], args).map_or_else(|| self.change(method, args), Ok)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python::repr(&Value::from_dyn_object(Arc::clone(self))))
    }
}

#[derive(Debug)]
struct Dict(Mutex<IndexMap<Value, Entry>>);

impl Dict {
    fn change(&self, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "update" => {
                let more = added(args)?;
                let mut dict = locked(&self.0);
                bounded(dict.len() + more.len())?;
                dict.extend(more);
                Ok(Value::from(()))
            }
            "pop" => {
                let (key, default): (Value, Option<Value>) = from_args(args)?;
                let found = locked(&self.0).shift_remove(&key).map(|mut entry| entry.read()).or(default);
                found.ok_or_else(|| failed(format!("Error rendering template: {}", python::repr(&key))))
            }
            "popitem" => {
                let () = from_args(args)?;
                let (key, mut entry) = locked(&self.0)
                    .pop()
                    .ok_or_else(|| failed("Error rendering template: 'popitem(): dictionary is empty'"))?;
                Ok(Value::from(vec![key, entry.read()]))
            }
            "setdefault" => {
                let (key, default): (Value, Option<Value>) = from_args(args)?;
                let default = copied(default.unwrap_or_else(|| Value::from(())))?;
                let mut dict = locked(&self.0);
                bounded(dict.len() + 1)?;
                Ok(dict.entry(key).or_insert(default).read())
            }
            "clear" => {
                locked(&self.0).clear();
                Ok(Value::from(()))
            }
            "copy" => {
                let entries =
                    locked(&self.0).iter_mut().map(|(key, entry)| (key.clone(), Entry::Own(entry.read()))).collect();
                Ok(Value::from_object(Dict(Mutex::new(entries))))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// What `update` adds: a dict or a list of pairs, and what is named.
fn added(args: &[Value]) -> Result<Vec<(Value, Entry)>, Error> {
    let (more, named): (Option<Value>, Kwargs) = from_args(args)?;
    let mut added = match more {
        Some(more) if more.kind() != ValueKind::Map => {
            let pair = |pair: Value| Ok((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?));
            more.try_iter()?.checked().map(|item| item.and_then(pair)).collect::<Result<_, Error>>()?
        }
        Some(more) => entries(&more)?,
        None => Vec::new(),
    };
    for name in named.args() {
        added.push((Value::from(name), named.peek(name)?));
    }
    added.into_iter().map(|(key, value)| copied(value).map(|entry| (key, entry))).collect()
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        locked(&self.0).get_mut(key).map(Entry::read)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(locked(&self.0).keys().cloned().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(locked(&self.0).len())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        undefined_among(&[], args).map_or_else(|| self.change(method, args), Ok)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python::repr(&Value::from_dyn_object(Arc::clone(self))))
    }
}
