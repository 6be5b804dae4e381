//! Lists and dicts that a template makes and then changes, as Python lets it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::params::{entries, items};
use crate::template::convert::failed;
use crate::template::{python, rewrite};

/// Entries one of them may have: a template that adds more is in a loop that does not end.
const ENTRIES_MAX: usize = 1_000_000;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(rewrite::CHANGEABLE, |value: &Value| -> Result<Value, Error> {
        Ok(match value.kind() {
            ValueKind::Seq => Value::from_object(List(Mutex::new(items(value)?))),
            ValueKind::Map => Value::from_object(Dict(Mutex::new(entries(value)?.into_iter().collect()))),
            _ => value.clone(),
        })
    });
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

#[derive(Debug)]
struct List(Mutex<Vec<Value>>);

impl List {
    fn change(&self, method: &str, args: &[Value]) -> Result<Value, Error> {
        let none = Value::from(());
        match method {
            "append" => {
                let (item,): (Value,) = from_args(args)?;
                let mut list = locked(&self.0);
                bounded(list.len() + 1)?;
                list.push(item);
            }
            "extend" => {
                let (more,): (Value,) = from_args(args)?;
                // Read before the list is locked: it may be the same one.
                let more: Vec<Value> = more.try_iter()?.checked().collect::<Result<_, _>>()?;
                let mut list = locked(&self.0);
                bounded(list.len() + more.len())?;
                list.extend(more);
            }
            "insert" => {
                let (at, item): (i64, Value) = from_args(args)?;
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
                    return Err(failed("Error rendering template: pop index out of range"));
                }
                return Ok(list.remove(at));
            }
            "remove" => {
                let (item,): (Value,) = from_args(args)?;
                let mut list = locked(&self.0);
                let at = list.iter().position(|other| *other == item);
                list.remove(at.ok_or_else(|| failed("Error rendering template: list.remove(x): x not in list"))?);
            }
            "sort" => locked(&self.0).sort(),
            "reverse" => locked(&self.0).reverse(),
            "clear" => locked(&self.0).clear(),
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        }
        Ok(none)
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
        locked(&self.0).get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(locked(&self.0).len())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        self.change(method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python::repr(&Value::from_dyn_object(Arc::clone(self))))
    }
}

#[derive(Debug)]
struct Dict(Mutex<IndexMap<Value, Value>>);

impl Dict {
    fn change(&self, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "update" => {
                let (more,): (Value,) = from_args(args)?;
                let more = entries(&more)?;
                let mut dict = locked(&self.0);
                bounded(dict.len() + more.len())?;
                dict.extend(more);
                Ok(Value::from(()))
            }
            "pop" => {
                let (key, default): (Value, Option<Value>) = from_args(args)?;
                let found = locked(&self.0).shift_remove(&key).or(default);
                found.ok_or_else(|| failed(format!("Error rendering template: {}", python::repr(&key))))
            }
            "setdefault" => {
                let (key, default): (Value, Option<Value>) = from_args(args)?;
                let mut dict = locked(&self.0);
                bounded(dict.len() + 1)?;
                Ok(dict.entry(key).or_insert_with(|| default.unwrap_or_else(|| Value::from(()))).clone())
            }
            "clear" => {
                locked(&self.0).clear();
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        locked(&self.0).get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(locked(&self.0).keys().cloned().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(locked(&self.0).len())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        self.change(method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python::repr(&Value::from_dyn_object(Arc::clone(self))))
    }
}
