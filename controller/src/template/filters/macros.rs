//! Macros as Ansible calls them: with more arguments than they name, where they ask for these; and what prints a single
//! value gives that value. So does what stands between `set` and `endset`, `filter` and `endfilter`.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Environment, Error, State};

use crate::template::convert::failed;
use crate::template::engine::Printed;
use crate::template::python;
use crate::template::rewrite::{CAPTURE, CAPTURED, LEFT_OUT, MACRO};

/// The parameters that take what no other does.
const VARARGS: &str = "varargs";
const KWARGS: &str = "kwargs";

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(MACRO, |inner: Value, defaults: usize| Value::from_object(Macro { inner, defaults }));
    env.add_function(CAPTURE, |state: &mut State<'_, '_>| Printed::begin(state));
    env.add_filter(CAPTURED, |state: &mut State<'_, '_>, output: &Value| Printed::end(state).value(output));
    env.add_test(LEFT_OUT, |value: &Value| value.downcast_object_ref::<LeftOut>().is_some());
}

/// What a parameter with a default is in a call without it: undefined is what an argument may be, too.
#[derive(Debug)]
struct LeftOut;

impl Object for LeftOut {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// A macro of the engine's.
#[derive(Debug)]
struct Macro {
    inner: Value,
    /// How many of its parameters have defaults: the last ones.
    defaults: usize,
}

impl Macro {
    /// The parameters that an author gave it, and whether it takes more by position and by name.
    fn parameters(&self) -> Result<(Vec<String>, bool, bool), Error> {
        let mut names: Vec<String> = self.inner.get_attr("arguments")?.try_iter()?.map(|n| python::text(&n)).collect();
        let by_name = names.pop_if(|last| last == KWARGS).is_some();
        let by_position = names.pop_if(|last| last == VARARGS).is_some();
        Ok((names, by_position, by_name))
    }

    fn refusal(&self, what: &str) -> Error {
        let name = self.inner.get_attr("name").map(|name| python::text(&name)).unwrap_or_default();
        failed(format!("Error rendering template: macro '{name}' takes {what}"))
    }

    /// The arguments with what has no parameter in `varargs` and `kwargs`.
    fn arranged(&self, args: &[Value]) -> Result<Vec<Value>, Error> {
        let (names, takes_more, takes_names) = self.parameters()?;
        let takes_caller = self.inner.get_attr("caller")?.is_true();
        let (positional, by_name) = match args.split_last() {
            Some((last, positional)) if last.is_kwargs() => (positional, Some(last)),
            _ => (args, None),
        };
        let (first, rest) = positional.split_at(positional.len().min(names.len()));
        if !rest.is_empty() && !takes_more {
            return Err(self.refusal(&format!("not more than {} argument(s)", names.len())));
        }
        let (mut named, mut other) = (Vec::new(), Vec::new());
        for key in by_name.map(Value::try_iter).transpose()?.into_iter().flatten() {
            let (name, value) = (python::text(&key), by_name.map_or(Ok(Value::UNDEFINED), |all| all.get_item(&key))?);
            if takes_caller && name == "caller" {
                named.push((name, Value::from_object(Macro { inner: value, defaults: 0 })));
            } else if names[first.len()..].contains(&name) {
                named.push((name, value));
            } else if takes_names && !names.contains(&name) {
                other.push((name, value));
            } else {
                return Err(self.refusal(&format!("no keyword argument '{name}'")));
            }
        }
        let with_default = &names[names.len().saturating_sub(self.defaults).max(first.len())..];
        for name in with_default {
            if !named.iter().any(|(given, _)| given == name) {
                named.push((name.clone(), Value::from_object(LeftOut)));
            }
        }
        if takes_more {
            named.push((VARARGS.to_owned(), Value::from(rest.to_vec())));
        }
        if takes_names {
            named.push((KWARGS.to_owned(), Value::from_pairs(other)));
        }
        let named = minijinja::value::Kwargs::from_iter(named);
        Ok(first.iter().cloned().chain([Value::from(named)]).collect())
    }
}

impl Object for Macro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let args = self.arranged(args)?;
        Printed::begin(state);
        let output = self.inner.call(state, &args);
        Ok(Printed::end(state).value(&output?))
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (names, takes_more, takes_names) = self.parameters().ok()?;
        match key.as_str()? {
            "arguments" => Some(Value::from(names)),
            "catch_varargs" => Some(Value::from(takes_more)),
            "catch_kwargs" => Some(Value::from(takes_names)),
            name => self.inner.get_attr(name).ok().filter(|value| !value.is_undefined()),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}
