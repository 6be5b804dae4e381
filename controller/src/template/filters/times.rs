//! `to_datetime`, and the date it gives: with Python's attributes and methods.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::numbers::format_time;
use super::params::{Filter, Params, add_filters};
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(env, &[Filter("to_datetime", &["format"], to_datetime)]);
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
