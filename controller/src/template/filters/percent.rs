//! Python's `'text' % values`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::params::items;
use super::python_type;
use crate::template::python;

/// How wide a value may be made, and how many digits behind the point it may have.
pub(super) const WIDTH_MAX: usize = 1_000_000;

fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// The text with its `%` filled in: from a tuple in turn, from a dict by name, or with one value.
///
/// # Errors
/// In Python's words: values too few or too many, or of the wrong kind.
pub(super) fn format(text: &str, values: &Value) -> Result<String, Error> {
    format_as(text, values, python_type(values))
}

/// As [`format`], with what errors call the type of `values` where it is one value.
pub(super) fn format_as(text: &str, values: &Value, kind: &str) -> Result<String, Error> {
    let positional = if values.is_tuple() { items(values)? } else { vec![values.clone()] };
    let mut source = Source { values, positional, next: 0, kind };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut reader = Reader { text, rest: &rest[at + 1..] };
        out.push_str(&reader.conversion(&mut source)?);
        rest = reader.rest;
    }
    out.push_str(rest);
    // Of a dict, and of whatever else has keys, nothing need be used.
    let may_be_left =
        matches!(values.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) && !values.is_tuple();
    if source.next < source.positional.len() && !may_be_left {
        return Err(refused("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// Where the values come from.
struct Source<'a> {
    values: &'a Value,
    positional: Vec<Value>,
    next: usize,
    kind: &'a str,
}

impl Source<'_> {
    fn take(&mut self) -> Result<Value, Error> {
        let value = self.positional.get(self.next).cloned();
        self.next += 1;
        value.ok_or_else(|| refused("not enough arguments for format string"))
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        if self.values.kind() != ValueKind::Map {
            return Err(refused("format requires a mapping"));
        }
        let value = self.values.get_item(&Value::from(name))?;
        match value.is_undefined() {
            true => Err(refused(python::repr(&Value::from(name)))),
            false => Ok(value),
        }
    }

    fn kind_of(&self, value: &Value) -> String {
        if self.values.is_tuple() || self.values.kind() == ValueKind::Map { python_type(value) } else { self.kind }
            .to_owned()
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

/// What stands between `%` and the letter of a conversion.
#[derive(Default)]
struct Form {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

impl Reader<'_> {
    fn accept(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn number(&mut self, source: &mut Source<'_>) -> Result<i64, Error> {
        if self.accept('*') {
            return source.take()?.as_i64().ok_or_else(|| refused("* wants int"));
        }
        let len = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        if digits.is_empty() { Ok(0) } else { digits.parse().map_err(|_| refused("width too big")) }
    }

    fn conversion(&mut self, source: &mut Source<'_>) -> Result<String, Error> {
        let mut named = None;
        if self.accept('(') {
            let end = self.rest.find(')').ok_or_else(|| refused("incomplete format key"))?;
            named = Some(source.named(&self.rest[..end])?);
            self.rest = &self.rest[end + 1..];
        }
        let mut form = Form::default();
        loop {
            match self.rest.chars().next() {
                Some('-') => form.left = true,
                Some('0') => form.zero = true,
                Some('+') => form.plus = true,
                Some(' ') => form.space = true,
                Some('#') => form.alternate = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        let width = self.number(source)?;
        form.left |= width < 0;
        form.width = bounded(width.unsigned_abs())?;
        if self.accept('.') {
            form.precision = Some(bounded(self.number(source)?.max(0).unsigned_abs())?);
        }
        while ['h', 'l', 'L'].into_iter().any(|length| self.accept(length)) {}
        let at = self.text.len() - self.rest.len();
        let letter = self.rest.chars().next().ok_or_else(|| refused("incomplete format"))?;
        self.rest = &self.rest[letter.len_utf8()..];
        if letter == '%' {
            return Ok("%".to_owned());
        }
        if !"srafFeEgGdiuoxXc".contains(letter) {
            let index = self.text[..at].chars().count();
            let code = letter as u32;
            return Err(refused(format!("unsupported format character '{letter}' (0x{code:x}) at index {index}")));
        }
        let value = match named {
            Some(value) => value,
            None => source.take()?,
        };
        let kind = source.kind_of(&value);
        form.converted(letter, &value, &kind)
    }
}

fn bounded(width: u64) -> Result<usize, Error> {
    usize::try_from(width).ok().filter(|width| *width <= WIDTH_MAX).ok_or_else(|| refused("width too big"))
}

impl Form {
    fn converted(&self, letter: char, value: &Value, kind: &str) -> Result<String, Error> {
        let text = match letter {
            's' => self.cut(python::text(value)),
            'r' => self.cut(python::repr(value)),
            'a' => self.cut(ascii(&python::repr(value))),
            'c' => character(value, kind)?,
            'd' | 'i' | 'u' => return Ok(self.whole(whole(letter, value, kind)?, |n| n.to_string(), "")),
            'o' => return Ok(self.whole(only_whole(letter, value, kind)?, |n| format!("{n:o}"), "0o")),
            'x' => return Ok(self.whole(only_whole(letter, value, kind)?, |n| format!("{n:x}"), "0x")),
            'X' => return Ok(self.whole(only_whole(letter, value, kind)?, |n| format!("{n:X}"), "0X")),
            _ => return Ok(self.float(letter, real(value, kind)?)),
        };
        Ok(self.padded("", &text, false))
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        }
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn whole(&self, number: i128, digits: impl Fn(u128) -> String, prefix: &str) -> String {
        let digits = digits(number.unsigned_abs());
        let missing = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let prefix = if self.alternate { prefix } else { "" };
        let start = format!("{}{prefix}", self.sign(number < 0));
        self.padded(&start, &format!("{}{digits}", "0".repeat(missing)), true)
    }

    fn float(&self, letter: char, number: f64) -> String {
        let precision = self.precision.unwrap_or(6);
        let magnitude = number.abs();
        let digits = digits(letter, magnitude, precision, self.alternate);
        let is_negative = number.is_sign_negative() && !number.is_nan();
        self.padded(self.sign(is_negative), &digits, number.is_finite())
    }

    fn padded(&self, start: &str, text: &str, is_number: bool) -> String {
        let missing = self.width.saturating_sub(start.chars().count() + text.chars().count());
        if self.left {
            return format!("{start}{text}{}", " ".repeat(missing));
        }
        if self.zero && is_number {
            return format!("{start}{}{text}", "0".repeat(missing));
        }
        format!("{}{start}{text}", " ".repeat(missing))
    }
}

/// A number without its sign as `f`, `e`, `g` and their capitals write it.
pub(super) fn digits(letter: char, magnitude: f64, precision: usize, alternate: bool) -> String {
    let digits = match letter.to_ascii_lowercase() {
        _ if !magnitude.is_finite() => if magnitude.is_nan() { "nan" } else { "inf" }.to_owned(),
        'f' => format!("{magnitude:.precision$}"),
        'e' => scientific(magnitude, precision),
        _ => general(magnitude, precision.max(1), alternate),
    };
    if letter.is_ascii_uppercase() { digits.to_uppercase() } else { digits }
}

/// As many digits as asked for, in the shorter of both ways to write them.
fn general(magnitude: f64, precision: usize, alternate: bool) -> String {
    let long = scientific(magnitude, precision - 1);
    let exponent: i32 = long.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let is_plain = (-4..i32::try_from(precision).unwrap_or(i32::MAX)).contains(&exponent);
    let trim = |digits: &str| match digits.contains('.') && !alternate {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if is_plain {
        let behind = usize::try_from(i64::try_from(precision).unwrap_or(0) - 1 - i64::from(exponent)).unwrap_or(0);
        return trim(&format!("{magnitude:.behind$}"));
    }
    let (mantissa, exponent) = long.split_once('e').unwrap_or((&long, "+00"));
    format!("{}e{exponent}", trim(mantissa))
}

/// `1.5e+03`, with an exponent of two digits at least.
fn scientific(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

pub(super) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c as u32 {
            0..0x80 => out.push(c),
            code @ 0x80..0x100 => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..0x10000 => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

fn character(value: &Value, kind: &str) -> Result<String, Error> {
    let wrong = || refused(format!("%c requires an int or a unicode character, not {kind}"));
    if let Some(text) = value.as_str() {
        return if text.chars().count() == 1 {
            Ok(text.to_owned())
        } else {
            Err(refused(format!(
                "%c requires an int or a unicode character, not a string of length {}",
                text.chars().count()
            )))
        };
    }
    let code = exact(value).ok_or_else(wrong)?;
    let letter = u32::try_from(code).ok().and_then(char::from_u32);
    letter.map(String::from).ok_or_else(|| refused("%c arg not in range(0x110000)"))
}

/// A whole number or a boolean.
pub(super) fn exact(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn whole(letter: char, value: &Value, kind: &str) -> Result<i128, Error> {
    if let Some(number) = exact(value) {
        return Ok(number);
    }
    let float = (value.kind() == ValueKind::Number).then(|| f64::try_from(value.clone()).ok()).flatten();
    match float {
        Some(float) if float.is_nan() => Err(refused("cannot convert float NaN to integer")),
        Some(float) if float.is_infinite() => Err(refused("cannot convert float infinity to integer")),
        Some(float) => Ok(float.trunc() as i128),
        None => Err(refused(format!("%{letter} format: a real number is required, not {kind}"))),
    }
}

fn only_whole(letter: char, value: &Value, kind: &str) -> Result<i128, Error> {
    exact(value).ok_or_else(|| refused(format!("%{letter} format: an integer is required, not {kind}")))
}

fn real(value: &Value, kind: &str) -> Result<f64, Error> {
    let number = exact(value).map(|whole| whole as f64);
    let float = || (value.kind() == ValueKind::Number).then(|| f64::try_from(value.clone()).ok()).flatten();
    number.or_else(float).ok_or_else(|| refused(format!("must be real number, not {kind}")))
}
