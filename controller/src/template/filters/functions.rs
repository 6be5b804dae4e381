//! Global functions: `lookup`, `query`, `now`, `undef`.

use chrono::{Local, Utc};
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, State};

use super::lookups;
use super::numbers::format_time;
use super::params::{Args, Params, entries, plain};
use super::times::DateTime;
use crate::template::convert::failed;

pub(super) fn register(env: &mut Environment<'static>) {
    env.add_function("lookup", |state: &State<'_, '_>, args: Args| {
        lookups::lookup(state, &plain(args), lookups::Form::Joined)
    });
    for name in ["query", "q"] {
        env.add_function(name, |state: &State<'_, '_>, args: Args| {
            lookups::lookup(state, &plain(args), lookups::Form::List)
        });
    }
    env.add_function("now", now);
    env.add_function("dict", dict);
    env.add_function("undef", |args: Args| -> Result<Value, Error> {
        let params = Params::bind("undef", &["hint"], &plain(args))?;
        let _ = params.get("hint");
        Ok(Value::UNDEFINED)
    });
}

/// As Python's: from a dict or pairs, and from names.
fn dict(args: Args) -> Result<Value, Error> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for arg in plain(args) {
        if arg.kind() == ValueKind::Map {
            pairs.extend(entries(&arg)?);
        } else {
            for pair in arg.try_iter()?.checked() {
                let pair = pair?;
                pairs.push((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?));
            }
        }
    }
    Ok(Value::from_pairs(pairs))
}

fn now(args: Args) -> Result<Value, Error> {
    let params = Params::bind("now", &["utc", "fmt"], &plain(args))?;
    let (time, zone) = if params.flag("utc", false) {
        (Utc::now().naive_utc(), "UTC".to_owned())
    } else {
        let now = Local::now();
        (now.naive_local(), now.offset().to_string())
    };
    match params.text("fmt", "").as_str() {
        "" => Ok(Value::from_object(DateTime::new(time).ok_or_else(|| failed("no such time"))?)),
        format => format_time(time, format, &zone),
    }
}
