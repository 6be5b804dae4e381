//! Ansible's filters, tests and functions, one file per family.

pub(super) mod methods;

use std::sync::Arc;

use minijinja::Environment;
use minijinja::value::{Object, ObjectRepr, Value, ValueKind};

use super::chain;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(chain::FILTER, walkable);
}

/// Adds a filter under its own name and as `ansible.builtin.name`.
macro_rules! filters {
    ($env:expr, $($name:literal => $function:expr),* $(,)?) => {$(
        $env.add_filter($name, $function);
        $env.add_filter(concat!("ansible.builtin.", $name), $function);
    )*};
}
pub(crate) use filters;

/// The name Python has for a value's type.
pub(super) fn python_type(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Map => "dict",
        ValueKind::Iterable => "generator",
        _ => "object",
    }
}

/// An undefined value that has (undefined) attributes. Exists only between two steps of a path.
#[derive(Debug)]
struct Walkable;

impl Object for Walkable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

fn walkable(value: &Value) -> Value {
    if value.is_undefined() { Value::from_object(Walkable) } else { value.clone() }
}
