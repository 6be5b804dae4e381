//! `to_datetime`, and the date it gives: with Python's attributes and methods.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::numbers::format_time;
use super::params::{Filter, Params, add_filters};
use crate::template::convert::failed;
use crate::template::{python, rewrite};

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(env, &[Filter("to_datetime", &["format"], to_datetime)]);
    env.add_filter(rewrite::MINUS, minus);
}

/// A date minus a date is a span; numbers stay numbers.
fn minus(left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (left.downcast_object_ref::<DateTime>(), right.downcast_object_ref::<DateTime>())
    {
        return Ok(Value::from_object(Span(left.0 - right.0)));
    }
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.checked_sub(right).map(Value::from),
        _ => match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
            (Ok(left), Ok(right)) => Some(Value::from(left - right)),
            _ => None,
        },
    }
    .ok_or_else(|| {
        let kinds = (super::python_type(left), super::python_type(right));
        failed(format!("Error rendering template: unsupported operand type(s) for -: '{}' and '{}'", kinds.0, kinds.1))
    })
}

/// The time between two dates: days, and the seconds and microseconds beyond them, which are never negative.
#[derive(Debug)]
struct Span(chrono::TimeDelta);

impl Span {
    /// Whole days, seconds of the last, and microseconds of that.
    fn parts(&self) -> (i64, i64, i64) {
        let micros = self.0.num_microseconds().unwrap_or(i64::MAX);
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        (seconds.div_euclid(86_400), seconds.rem_euclid(86_400), micros)
    }
}

impl Object for Span {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (days, seconds, micros) = self.parts();
        Some(Value::from(match key.as_str()? {
            "days" => days,
            "seconds" => seconds,
            "microseconds" => micros,
            _ => return None,
        }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _: &[Value]) -> Result<Value, Error> {
        match method {
            "total_seconds" => Ok(Value::from(self.0.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6)),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    /// As Python's `str`: `1 day, 2:03:04.000005`.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds, micros) = self.parts();
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros == 0 { Ok(()) } else { write!(f, ".{micros:06}") }
    }
}

/// A date and time without a zone.
#[derive(Debug)]
pub(super) struct DateTime(NaiveDateTime);

impl DateTime {
    pub(super) fn new(time: NaiveDateTime) -> Option<DateTime> {
        time.with_nanosecond(time.nanosecond() / 1000 * 1000).map(DateTime)
    }
}

fn to_datetime(value: &Value, params: &Params) -> Result<Value, Error> {
    let (text, format) = (python::text(value), params.text("format", "%Y-%m-%d %H:%M:%S"));
    let date_only = || NaiveDate::parse_from_str(&text, &format).map(|date| date.and_time(NaiveTime::MIN));
    let time = NaiveDateTime::parse_from_str(&text, &format).or_else(|_| date_only());
    let time = time.map_err(|_| failed(format!("time data '{text}' does not match format '{format}'")))?;
    Ok(Value::from_object(DateTime(time)))
}

impl Object for DateTime {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "year" => Value::from(self.0.year()),
            "month" => Value::from(self.0.month()),
            "day" => Value::from(self.0.day()),
            "hour" => Value::from(self.0.hour()),
            "minute" => Value::from(self.0.minute()),
            "second" => Value::from(self.0.second()),
            "microsecond" => Value::from(self.0.nanosecond() / 1000),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let local = || Local.from_local_datetime(&self.0).earliest();
        match method {
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                format_time(self.0, format, "")
            }
            "isoformat" => Ok(Value::from(self.0.to_string().replace(' ', "T"))),
            "timestamp" => {
                let time = local().ok_or_else(|| failed("no such local time"))?;
                Ok(Value::from(time.timestamp_micros() as f64 / 1e6))
            }
            "date" => Ok(Value::from(self.0.date().to_string())),
            "time" => Ok(Value::from(self.0.time().to_string())),
            "weekday" => Ok(Value::from(self.0.weekday().num_days_from_monday())),
            "isoweekday" => Ok(Value::from(self.0.weekday().number_from_monday())),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
