//! `to_datetime`, and the date it gives: with Python's attributes and methods.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use chrono::format::{ParseResult, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{Datelike, Local, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::numbers::format_time;
use super::params::{Filter, Params, add_filters};
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(env, &[Filter("to_datetime", &["format"], to_datetime)]);
}

/// A date in a form of `strftime`; none for what is no date.
pub(super) fn formatted(value: &Value, format: &str) -> Option<Result<String, Error>> {
    let time = value.downcast_object_ref::<DateTime>()?;
    Some(format_time(time.0, format, "").map(|text| text.as_str().unwrap_or_default().to_owned()))
}

pub(super) fn is_date(value: &Value) -> bool {
    value.downcast_object_ref::<DateTime>().is_some()
}

pub(super) fn is_span(value: &Value) -> bool {
    value.downcast_object_ref::<Span>().is_some()
}

/// A date minus a date is a span, and so is the difference of spans; a date and a span are another date. Nothing where
/// these do not meet.
pub(super) fn difference(left: &Value, right: &Value) -> Option<Result<Value, Error>> {
    match (date(left), date(right), span(left), span(right)) {
        (Some(left), Some(right), ..) => Some(Ok(Value::from_object(Span(left - right)))),
        (Some(left), _, _, Some(right)) => Some(dated(left.checked_sub_signed(right))),
        (_, _, Some(left), Some(right)) => Some(spanned(left.checked_sub(&right))),
        _ => None,
    }
}

/// A date and a span, in either order, or two spans. Nothing where these do not meet.
pub(super) fn sum(left: &Value, right: &Value) -> Option<Result<Value, Error>> {
    match (date(left), date(right), span(left), span(right)) {
        (Some(date), _, _, Some(span)) | (_, Some(date), Some(span), _) => Some(dated(date.checked_add_signed(span))),
        (_, _, Some(left), Some(right)) => Some(spanned(left.checked_add(&right))),
        _ => None,
    }
}

fn date(value: &Value) -> Option<NaiveDateTime> {
    value.downcast_object_ref::<DateTime>().map(|date| date.0)
}

fn span(value: &Value) -> Option<chrono::TimeDelta> {
    value.downcast_object_ref::<Span>().map(|span| span.0)
}

fn dated(date: Option<NaiveDateTime>) -> Result<Value, Error> {
    date.map(|date| Value::from_object(DateTime(date))).ok_or_else(|| failed(OUT_OF_RANGE))
}

fn spanned(span: Option<chrono::TimeDelta>) -> Result<Value, Error> {
    span.map(|span| Value::from_object(Span(span))).ok_or_else(|| failed(OUT_OF_RANGE))
}

const OUT_OF_RANGE: &str = "Error rendering template: date value out of range";

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

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.0.cmp(&other.downcast_ref::<Span>()?.0))
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
    read(&text, &format).map(|time| Value::from_object(DateTime(time)))
}

/// A date and time as Python's `strptime` reads it: what the format does not name is of the 1st of January 1900, 0:00.
fn read(text: &str, format: &str) -> Result<NaiveDateTime, Error> {
    let other = || failed(format!("time data {} does not match format {}", quoted(text), quoted(format)));
    // A fraction of one to six digits is Python's, nanoseconds are the library's.
    let items = format.replace(".%f", "%.f");
    let mut parsed = Parsed::new();
    let rest = parse_and_remainder(&mut parsed, text, StrftimeItems::new(&items)).map_err(|_| other())?;
    if !rest.is_empty() {
        return Err(failed(format!("unconverted data remains: {rest}")));
    }
    if parsed.timestamp().is_none() {
        complete(&mut parsed).map_err(|_| other())?;
    }
    let time = parsed.to_naive_datetime_with_offset(0).map_err(|_| other())?;
    DateTime::new(time).map(|date| date.0).ok_or_else(other)
}

fn quoted(text: &str) -> String {
    python::repr(&Value::from(text))
}

fn complete(parsed: &mut Parsed) -> ParseResult<()> {
    if parsed.year().is_none() && parsed.year_mod_100().is_none() {
        parsed.set_year(1900)?;
    }
    if parsed.ordinal().is_none() {
        parsed.set_month(i64::from(parsed.month().unwrap_or(1)))?;
        parsed.set_day(i64::from(parsed.day().unwrap_or(1)))?;
    }
    if parsed.hour_mod_12().is_none() {
        parsed.set_hour(0)?;
    } else if parsed.hour_div_12().is_none() {
        parsed.set_ampm(false)?;
    }
    parsed.set_minute(i64::from(parsed.minute().unwrap_or(0)))?;
    Ok(())
}

impl DateTime {
    /// `replace`: the date with other parts.
    fn with(&self, args: &[Value]) -> Result<DateTime, Error> {
        const PARTS: &[&str] = &["year", "month", "day", "hour", "minute", "second", "microsecond"];
        let params = Params::bind("replace", PARTS, args)?;
        let part = |name: &str, now: u32, range: std::ops::RangeInclusive<u32>| {
            let given = u32::try_from(params.int(name, i64::from(now))?).ok();
            given.filter(|given| range.contains(given)).ok_or_else(|| {
                failed(format!("Error rendering template: {name} must be in {}..{}", range.start(), range.end()))
            })
        };
        let year = i32::try_from(params.int("year", i64::from(self.0.year()))?).unwrap_or(i32::MAX);
        let month = part("month", self.0.month(), 1..=12)?;
        let day = part("day", self.0.day(), 1..=31)?;
        let hour = part("hour", self.0.hour(), 0..=23)?;
        let minute = part("minute", self.0.minute(), 0..=59)?;
        let second = part("second", self.0.second(), 0..=59)?;
        let micro = part("microsecond", self.0.nanosecond() / 1000, 0..=999_999)?;
        let date = NaiveDate::from_ymd_opt(year, month, day);
        date.and_then(|date| date.and_hms_micro_opt(hour, minute, second, micro))
            .map(DateTime)
            .ok_or_else(|| failed("Error rendering template: day is out of range for month"))
    }

    /// `isoformat`, with another letter than `T` between date and time, and only as much of the time as is asked for.
    fn iso(&self, args: &[Value]) -> Result<Value, Error> {
        let params = Params::bind("isoformat", &["sep", "timespec"], args)?;
        let time = match params.text("timespec", "auto").as_str() {
            "hours" => "%H",
            "minutes" => "%H:%M",
            "auto" if self.0.nanosecond() == 0 => "%H:%M:%S",
            "seconds" => "%H:%M:%S",
            "milliseconds" => "%H:%M:%S%.3f",
            "auto" | "microseconds" => "%H:%M:%S%.6f",
            _ => return Err(failed("Error rendering template: Unknown timespec value")),
        };
        let (date, time) = (self.0.format("%Y-%m-%d"), self.0.format(time));
        Ok(Value::from(format!("{date}{}{time}", params.text("sep", "T"))))
    }
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
            "isoformat" => self.iso(args),
            "replace" => self.with(args).map(Value::from_object),
            "ctime" => Ok(Value::from(self.0.format("%a %b %e %H:%M:%S %Y").to_string())),
            "isocalendar" => {
                let week = self.0.iso_week();
                let day = i64::from(self.0.weekday().number_from_monday());
                Ok([i64::from(week.year()), i64::from(week.week()), day].into_iter().map(Value::from).collect())
            }
            "toordinal" => Ok(Value::from(self.0.num_days_from_ce())),
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

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.0.cmp(&other.downcast_ref::<DateTime>()?.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = if self.0.nanosecond() == 0 { "" } else { "%.6f" };
        write!(f, "{}", self.0.format(&format!("%Y-%m-%d %H:%M:%S{fraction}")))
    }
}
