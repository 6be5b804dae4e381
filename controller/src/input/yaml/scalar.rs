//! What a plain scalar means. Ansible reads YAML 1.1 as PyYAML understands it, and so does this: `yes` is a bool,
//! `010` is 8, `1:30` is 90, but `1e3` and `0o17` are text.
//!
//! Two types that PyYAML has and [`Value`] has not are text: dates ([`moment`]), and whole numbers beyond 64 bits.

use rustle_protocol::Value;

use super::moment;

/// The value of a plain (unquoted, untagged) scalar.
pub(super) fn plain(text: &str) -> Value {
    if !could_be_typed(text) {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        _ => {}
    }
    as_bool(text)
        .map(Value::Bool)
        .or_else(|| as_int(text))
        .or_else(|| as_float(text).map(Value::Float))
        .unwrap_or_else(|| Value::String(moment::text(text).unwrap_or_else(|| text.to_owned())))
}

/// Most scalars are words, and their first letter says so.
fn could_be_typed(text: &str) -> bool {
    match text.bytes().next() {
        None => true,
        Some(b) => b.is_ascii_digit() || b"~nNyYtTfFoO+-.".contains(&b),
    }
}

pub(super) fn as_bool(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// An int in one of YAML 1.1's notations, or `None`.
pub(super) fn as_int(text: &str) -> Option<Value> {
    let (negative, digits) = split_sign(text);
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        in_radix(binary, 2)
    } else if let Some(hex) = digits.strip_prefix("0x") {
        in_radix(hex, 16)
    } else if digits == "0" {
        Some(0)
    } else if let Some(octal) = digits.strip_prefix('0') {
        in_radix(octal, 8)
    } else if digits.contains(':') {
        sexagesimal(digits)
    } else if digits.starts_with(|c: char| c.is_ascii_digit()) {
        in_radix(digits, 10)
    } else {
        None
    }?;
    let n = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(n).map(Value::Int).ok().or_else(|| u64::try_from(n).map(Value::UInt).ok())
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn in_radix(digits: &str, radix: u32) -> Option<u64> {
    let mut value: u64 = 0;
    let mut seen = false;
    for c in digits.chars().filter(|c| *c != '_') {
        value = value.checked_mul(radix.into())?.checked_add(c.to_digit(radix)?.into())?;
        seen = true;
    }
    seen.then_some(value)
}

/// `190:20:30`: the first part begins with 1-9, the others are 0-59.
fn sexagesimal(digits: &str) -> Option<u64> {
    let mut parts = digits.split(':');
    let first = parts.next().filter(|p| p.starts_with(|c: char| ('1'..='9').contains(&c)))?;
    parts.try_fold(in_radix(first, 10)?, |value, part| value.checked_mul(60)?.checked_add(base60_digit(part)?))
}

fn base60_digit(part: &str) -> Option<u64> {
    let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    fits.then(|| part.parse().ok()).flatten()
}

/// A float in one of YAML 1.1's notations, or `None`. There must be a point, an exponent must have a sign, and a number
/// that begins with the point has none: so PyYAML has it.
pub(super) fn as_float(text: &str) -> Option<f64> {
    let (negative, rest) = split_sign(text);
    let sign = if negative { -1.0 } else { 1.0 };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if rest.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    if rest.contains(':') {
        return sexagesimal_float(rest).map(|n| sign * n);
    }
    let (whole, after) = rest.split_once('.')?;
    let signed = rest.len() != text.len();
    let whole_fits = match whole.as_bytes() {
        [] => !signed && after.starts_with(|c: char| c.is_ascii_digit()),
        [first, others @ ..] => first.is_ascii_digit() && others.iter().all(is_digit_or_underscore),
    };
    let (fraction, exponent) = match after.find(['e', 'E']) {
        Some(at) => (&after[..at], Some(&after[at + 1..])),
        None => (after, None),
    };
    let exponent_fits = exponent.is_none_or(|e| {
        e.strip_prefix(['+', '-']).is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    });
    if !whole_fits || !exponent_fits || !fraction.bytes().all(|b| is_digit_or_underscore(&b)) {
        return None;
    }
    let plain: String = rest.chars().filter(|c| *c != '_').collect();
    plain.parse::<f64>().ok().map(|n| sign * n)
}

fn is_digit_or_underscore(b: &u8) -> bool {
    b.is_ascii_digit() || *b == b'_'
}

fn sexagesimal_float(rest: &str) -> Option<f64> {
    let (whole, fraction) = rest.split_once('.')?;
    let mut parts = whole.split(':');
    let first = parts.next().filter(|p| p.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut value = in_radix(first, 10)? as f64;
    for part in parts {
        value = value * 60.0 + base60_digit(part)? as f64;
    }
    let digits: String = fraction.chars().filter(|c| *c != '_').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(value + format!("0.{digits}0").parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair as `ansible-inventory` of ansible-core 2.19 shows it.
    #[test]
    fn plain_scalars_have_the_types_ansible_gives_them() {
        let float = Value::Float;
        let text = |t: &str| Value::String(t.into());
        for (written, value) in [
            ("010", Value::Int(8)),
            ("1_000", Value::Int(1000)),
            ("1:30", Value::Int(90)),
            ("-1:30", Value::Int(-90)),
            ("0o17", text("0o17")),
            ("2020-01-01", text("2020-01-01")),
            (".5", float(0.5)),
            ("-.5", text("-.5")),
            ("1e3", text("1e3")),
            ("1.5e3", text("1.5e3")),
            ("1.0e+3", float(1000.0)),
            ("1.e+1", float(10.0)),
            (".5e+1", float(5.0)),
            ("1.", float(1.0)),
            ("1_0.5", float(10.5)),
            ("0.0e0", text("0.0e0")),
            ("1.5.3", text("1.5.3")),
            ("._5", text("._5")),
            ("~", Value::Null),
            ("", Value::Null),
            ("nULL", text("nULL")),
            ("0b11", Value::Int(3)),
            ("0x_1F", Value::Int(31)),
            ("+5", Value::Int(5)),
            ("-0", Value::Int(0)),
            ("0_7", Value::Int(7)),
            ("08", text("08")),
            ("1__0", Value::Int(10)),
            ("60:70", text("60:70")),
            ("190:20:30.15", float(685_230.15)),
            ("on", Value::Bool(true)),
            ("YES", Value::Bool(true)),
            ("y", text("y")),
            (".inf", float(f64::INFINITY)),
            ("+.inf", float(f64::INFINITY)),
            ("99999999999999999999", text("99999999999999999999")),
            ("18446744073709551615", Value::UInt(u64::MAX)),
            ("-", text("-")),
            ("+", text("+")),
            (".", text(".")),
            ("0x", text("0x")),
            ("1:", text("1:")),
        ] {
            assert_eq!(plain(written), value, "{written}");
        }
        assert!(matches!(plain(".nan"), Value::Float(n) if n.is_nan()));
    }
}
