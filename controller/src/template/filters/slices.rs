//! `[a:b:c]` as Python takes it, and a loop's `cycle`: where the engine counts otherwise, or not at all.

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::params::{Args, items, plain};
use super::{Walkable, python_type};
use crate::template::rewrite::{CYCLED, SLICED};

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter(SLICED, |value: &Value, start: &Value, stop: &Value, step: Option<Value>| {
        sliced(value, start, stop, step.as_ref())
    });
    env.add_filter(CYCLED, |state: &mut State<'_, '_>, value: &Value, args: Args| match &plain(args)[..] {
        [] => Err(refused("no items for cycling given")),
        args => value.call_method(state, "cycle", args),
    });
}

fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

fn sliced(value: &Value, start: &Value, stop: &Value, step: Option<&Value>) -> Result<Value, Error> {
    if value.is_undefined() || value.downcast_object_ref::<Walkable>().is_some() {
        return Ok(Value::UNDEFINED);
    }
    let [start, stop, step] = [Some(start), Some(stop), step].map(|place| place.map_or(Ok(None), index));
    let slice = Slice { start: start?, stop: stop?, step: step?.unwrap_or(1) };
    match value.kind() {
        ValueKind::String => {
            let letters: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            Ok(Value::from(slice.of(&letters)?.into_iter().collect::<String>()))
        }
        ValueKind::Bytes => Ok(Value::from_bytes(slice.of(value.as_bytes().unwrap_or_default())?)),
        ValueKind::Seq if value.is_tuple() => Ok(Value::from(Tuple::from(slice.of(&items(value)?)?))),
        ValueKind::Seq | ValueKind::Iterable => Ok(Value::from(slice.of(&items(value)?)?)),
        ValueKind::Map => Err(refused("unhashable type: 'slice'")),
        _ => Err(refused(format!("'{}' object is not subscriptable", python_type(value)))),
    }
}

/// A place in a slice; none where nothing is written.
fn index(value: &Value) -> Result<Option<i128>, Error> {
    match value.kind() {
        ValueKind::None => Ok(None),
        ValueKind::Bool => Ok(Some(i128::from(value.is_true()))),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).map(Some),
        _ => Err(refused("slice indices must be integers or None or have an __index__ method")),
    }
}

struct Slice {
    start: Option<i128>,
    stop: Option<i128>,
    step: i128,
}

impl Slice {
    fn of<T: Clone>(&self, all: &[T]) -> Result<Vec<T>, Error> {
        if self.step == 0 {
            return Err(refused("slice step cannot be zero"));
        }
        let len = i128::try_from(all.len()).unwrap_or(i128::MAX);
        // Before the first item and behind the last one that a slice may come to.
        let (lowest, highest) = if self.step < 0 { (-1, len - 1) } else { (0, len) };
        let place = |written: Option<i128>, default: i128| {
            written.map_or(default, |at| if at < 0 { at.saturating_add(len) } else { at }.clamp(lowest, highest))
        };
        let (first, end) = if self.step < 0 { (highest, lowest) } else { (lowest, highest) };
        let (mut at, stop) = (place(self.start, first), place(self.stop, end));
        let mut out = Vec::new();
        while if self.step < 0 { at > stop } else { at < stop } {
            out.extend(usize::try_from(at).ok().and_then(|at| all.get(at)).cloned());
            at = at.saturating_add(self.step);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_pythons() {
        let all: Vec<i32> = (0..6).collect();
        for ((start, stop, step), expected) in [
            ((Some(4), Some(0), -2), vec![4, 2]),
            ((None, None, -3), vec![5, 2]),
            ((Some(-9), Some(2), 1), vec![0, 1]),
            ((Some(9), Some(-3), -1), vec![5, 4]),
            ((Some(2), Some(i128::MAX), i128::MAX), vec![2]),
            ((Some(3), Some(1), 1), vec![]),
        ] {
            assert_eq!(Slice { start, stop, step }.of(&all).unwrap(), expected, "{start:?}:{stop:?}:{step}");
        }
        assert!(Slice { start: None, stop: None, step: 0 }.of(&all).is_err());
    }
}
