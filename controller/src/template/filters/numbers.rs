//! Filters on numbers: sizes for people, and dates.

use chrono::{Local, NaiveDateTime, TimeZone, Utc};
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};

use super::params::{Filter, Params, add_filters};
use super::python_type;
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("human_readable", &["isbits", "unit"], human_readable),
            Filter("human_to_bytes", &["default_unit", "isbits"], human_to_bytes),
            Filter("filesizeformat", &["binary"], filesizeformat),
            Filter("strftime", &["second", "utc"], strftime),
        ],
    );
}

fn number(value: &Value) -> Result<f64, Error> {
    f64::try_from(value.clone()).map_err(|_| failed(format!("a number is needed, not {}", python::repr(value))))
}

const UNITS: [(char, f64); 8] = [
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
];

fn human_readable(value: &Value, params: &Params) -> Result<Value, Error> {
    let size = match f64::try_from(value.clone()) {
        Ok(size) => size,
        Err(_) if value.kind() == ValueKind::Bool => f64::from(u8::from(value.is_true())),
        Err(_) => {
            let why = format!("'>=' not supported between instances of '{}' and 'int'", python_type(value));
            return Err(failed(format!("human_readable() failed on bad input: {why}")));
        }
    };
    let bits = params.flag("isbits", false);
    let unit = params.get("unit").filter(|unit| !unit.is_none()).map(|unit| python::text(unit).to_uppercase());
    let found = UNITS.iter().find(|(letter, limit)| match &unit {
        Some(unit) => unit.starts_with(*letter),
        None => size >= *limit,
    });
    Ok(Value::from(match found {
        Some((letter, limit)) => format!("{:.2} {letter}{}", size / limit, if bits { 'b' } else { 'B' }),
        None => format!("{size:.2} {}", if bits { "bits" } else { "Bytes" }),
    }))
}

fn human_to_bytes(value: &Value, params: &Params) -> Result<Value, Error> {
    let text = python::text(value);
    let refused = |why: &str| failed(format!("human_to_bytes() can't interpret the input: human_to_bytes() {why}"));
    let unreadable = || refused(&format!("can't interpret following string: {text}"));
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(trimmed.len());
    let number: f64 = trimmed[..digits].parse().map_err(|_| unreadable())?;
    let mut unit = trimmed[digits..].trim().to_owned();
    if !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(unreadable());
    }
    if unit.is_empty() {
        unit = params.text("default_unit", "");
    }
    let Some(letter) = unit.chars().next() else { return Ok(Value::from(number.round() as i64)) };
    let plain = if params.flag("isbits", false) { "b" } else { "B" };
    let rest = &unit[letter.len_utf8()..];
    if letter.eq_ignore_ascii_case(&'B') && rest.is_empty() {
        return Ok(Value::from(number.round() as i64));
    }
    let letter = letter.to_ascii_uppercase();
    let limit = UNITS.iter().find(|(known, _)| letter == *known).map(|(_, limit)| limit);
    let limit = limit.ok_or_else(|| {
        let known = "The suffix must be one of Y, Z, E, P, T, G, M, K, B";
        refused(&format!("failed to convert {text} (unit = {letter}). {known}"))
    })?;
    if !rest.is_empty() && rest != plain {
        let expected = format!("Value is not a valid string (expect {letter}{plain} or {letter})");
        return Err(refused(&format!("failed to convert {text}. {expected}")));
    }
    Ok(Value::from((number * limit).round() as i64))
}

fn filesizeformat(value: &Value, params: &Params) -> Result<Value, Error> {
    let size = match value.as_str() {
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| failed(format!("could not convert string to float: {}", python::repr(value))))?,
        None => number(value)?,
    };
    let binary = params.flag("binary", false);
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let prefixes = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    if size == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if size < base {
        return Ok(Value::from(format!("{} Bytes", size.trunc())));
    }
    let power = (1..8).find(|power| size < base.powi(power + 1)).unwrap_or(8);
    Ok(Value::from(format!("{:.1} {}", size / base.powi(power), prefixes[power as usize - 1])))
}

/// `second` defaults to now. Local time unless `utc`.
fn strftime(value: &Value, params: &Params) -> Result<Value, Error> {
    let format = python::text(value);
    let second = params.get("second").filter(|second| !second.is_none());
    let second = match second {
        Some(second) => {
            let text = python::text(second);
            let wrong = || failed(format!("Invalid value for epoch value ({text})"));
            second.as_i64().or_else(|| text.trim().parse::<f64>().ok().map(|n| n.trunc() as i64)).ok_or_else(wrong)?
        }
        None => Utc::now().timestamp(),
    };
    let time = chrono::DateTime::from_timestamp(second, 0).ok_or_else(|| failed(format!("no such time: {second}")))?;
    if params.flag("utc", false) {
        return format_time(time.naive_utc(), &format, "GMT");
    }
    let local = Local.from_utc_datetime(&time.naive_utc());
    format_time(local.naive_local(), &format, &local.offset().to_string())
}

/// `strftime` as Python has it; `zone` answers `%z` and `%Z`.
pub(super) fn format_time(time: NaiveDateTime, format: &str, zone: &str) -> Result<Value, Error> {
    use std::fmt::Write;
    let offset = if matches!(zone, "UTC" | "GMT") { "+0000".to_owned() } else { zone.replace(':', "") };
    let format = format.replace("%Z", zone).replace("%z", &offset);
    let mut out = String::new();
    write!(out, "{}", time.format(&format)).map_err(|_| failed(format!("'{format}' is no time format")))?;
    Ok(Value::from(out))
}
