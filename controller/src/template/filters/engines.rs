//! The engine's own filters, which are Ansible's as well: under their full names, too, and undefined where what they are
//! given is.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, State, filters};

use super::params::{Args, failure, plain, undefined_among};
use super::python_type;

/// Registers each under a name that no author can write, and under Ansible's two names what calls it.
macro_rules! register {
    ($env:ident, $($name:ident)*) => { $(
        let hidden = concat!("\u{1}", stringify!($name));
        $env.add_filter(hidden, filters::$name);
        let call = move |state: &mut State<'_, '_>, args: Args| {
            let args = plain(args);
            if let Some(undefined) = undefined_among(&[], &args) {
                return Ok::<Value, Error>(undefined);
            }
            match args.first().and_then(|value| refusal(stringify!($name), value)) {
                Some(reason) => Err(failure("filter", concat!("ansible.builtin.", stringify!($name)), &reason)),
                None => state.apply_filter(hidden, &args),
            }
        };
        $env.add_filter(stringify!($name), call);
        $env.add_filter(concat!("ansible.builtin.", stringify!($name)), call);
    )* };
}

/// What Python says of a value that a filter cannot take.
fn refusal(filter: &str, value: &Value) -> Option<String> {
    let kind = python_type(value);
    let is_one = matches!(value.kind(), ValueKind::Number | ValueKind::Bool | ValueKind::None);
    let is_number = matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    match filter {
        "first" if is_one => Some(format!("'{kind}' object is not iterable")),
        "reverse" if is_one => Some(format!("argument must be iterable: '{kind}' object is not iterable")),
        "items" if value.kind() != ValueKind::Map => Some("Can only get item pairs from a mapping.".to_owned()),
        "abs" if !is_number && kind != "timedelta" => Some(format!("bad operand type for abs(): '{kind}'")),
        "round" if !is_number => Some(format!("type {kind} doesn't define __round__ method")),
        _ => None,
    }
}

pub(super) fn register(env: &mut Environment<'static>) {
    register!(env,
        abs attr capitalize first groupby items lower reverse round title upper
    );
}
