//! `cycler` and `joiner`: values that give something else each time they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::params::{Args, Params, plain};
use crate::template::convert::failed;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_function("cycler", |args: Args| {
        let items = plain(args);
        if items.is_empty() {
            return Err(failed("Error rendering template: at least one item has to be provided"));
        }
        Ok(Value::from_object(Cycler { items, at: AtomicUsize::new(0) }))
    });
    env.add_function("joiner", |args: Args| -> Result<Value, Error> {
        let separator = Params::bind("joiner", &["sep"], &plain(args))?.text("sep", ", ");
        Ok(Value::from_object(Joiner { separator: Value::from(separator), began: AtomicBool::new(false) }))
    });
}

/// Gives its items in turn, without end.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Cycler {
    fn current(&self) -> Value {
        self.items[self.at.load(Ordering::Relaxed) % self.items.len()].clone()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        (name == "current").then(|| self.current())
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        match method {
            "next" => {
                let given = self.current();
                self.at.fetch_add(1, Ordering::Relaxed);
                Ok(given)
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// Nothing the first time it is called, and its separator each time after.
#[derive(Debug)]
struct Joiner {
    separator: Value,
    began: AtomicBool,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        Ok(if self.began.swap(true, Ordering::Relaxed) { self.separator.clone() } else { Value::from("") })
    }
}
