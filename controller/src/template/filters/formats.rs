//! Text with fields in braces, as Python's `str.format` and `str.format_map` fill it.

use std::iter::Peekable;
use std::str::Chars;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::percent::{self, WIDTH_MAX};
use super::python_type;
use crate::template::python;

/// Fields within the form of a field, and no deeper.
const DEPTH_MAX: usize = 1;

/// What fills the fields.
pub(super) struct Source<'v> {
    /// None where fields have names only.
    pub(super) positional: Option<&'v [Value]>,
    pub(super) named: Option<&'v Value>,
    numbering: Numbering,
}

#[derive(Clone, Copy, PartialEq)]
enum Numbering {
    Unknown,
    /// `{}`: the number of the next one.
    Automatic(usize),
    /// `{0}`
    Manual,
}

fn refused(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

impl<'v> Source<'v> {
    pub(super) fn new(positional: Option<&'v [Value]>, named: Option<&'v Value>) -> Source<'v> {
        Source { positional, named, numbering: Numbering::Unknown }
    }

    pub(super) fn fill(&mut self, text: &str) -> Result<String, Error> {
        self.filled(text, 0)
    }

    fn filled(&mut self, text: &str, depth: usize) -> Result<String, Error> {
        let mut out = String::with_capacity(text.len());
        let mut signs = text.chars().peekable();
        while let Some(sign) = signs.next() {
            match sign {
                '{' | '}' if signs.next_if_eq(&sign).is_some() => out.push(sign),
                '}' => return Err(refused("Single '}' encountered in format string")),
                '{' if signs.peek().is_none() => return Err(refused("Single '{' encountered in format string")),
                '{' if depth > DEPTH_MAX => return Err(refused("Max string recursion exceeded")),
                '{' => out.push_str(&self.field(&field(&mut signs)?, depth)?),
                other => out.push(other),
            }
        }
        Ok(out)
    }

    fn field(&mut self, field: &str, depth: usize) -> Result<String, Error> {
        let name_end = end_of_name(field);
        let (name, rest) = field.split_at(name_end);
        let (conversion, form) = match rest.strip_prefix('!') {
            Some(rest) => {
                let conversion = rest.chars().next().ok_or_else(|| refused("unmatched '{' in format spec"))?;
                let form = &rest[conversion.len_utf8()..];
                if !form.is_empty() && !form.starts_with(':') {
                    return Err(refused("expected ':' after conversion specifier"));
                }
                (Some(conversion), form)
            }
            None => (None, rest),
        };
        let value = self.value(name)?;
        let value = match conversion {
            None => value,
            Some('s') => Value::from(python::text(&value)),
            Some('r') => Value::from(python::repr(&value)),
            Some('a') => Value::from(percent::ascii(&python::repr(&value))),
            Some(other) => return Err(refused(format!("Unknown conversion specifier {other}"))),
        };
        let form = self.filled(form.strip_prefix(':').unwrap_or_default(), depth + 1)?;
        formatted(&value, &form)
    }

    fn value(&mut self, name: &str) -> Result<Value, Error> {
        let first_end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut path) = name.split_at(first_end);
        let mut value = match (first.is_empty(), first.parse::<usize>()) {
            (true, _) => {
                let number = match self.numbering {
                    Numbering::Unknown => 0,
                    Numbering::Automatic(next) => next,
                    Numbering::Manual => {
                        return Err(refused(
                            "cannot switch from manual field specification to automatic field numbering",
                        ));
                    }
                };
                self.numbering = Numbering::Automatic(number + 1);
                self.numbered(number)?
            }
            (false, Ok(number)) => {
                if matches!(self.numbering, Numbering::Automatic(_)) {
                    return Err(refused("cannot switch from automatic field numbering to manual field specification"));
                }
                self.numbering = Numbering::Manual;
                self.numbered(number)?
            }
            (false, Err(_)) => {
                let key = Value::from(first);
                let found = self.named.map(|named| named.get_item(&key)).transpose()?;
                found.filter(|value| !value.is_undefined()).ok_or_else(|| refused(python::repr(&key)))?
            }
        };
        while !path.is_empty() {
            let (step, rest) = step(path)?;
            value = match step {
                Step::Attribute(attribute) => attribute_of(&value, attribute)?,
                Step::Item(key) => item_of(&value, key)?,
            };
            path = rest;
        }
        Ok(value)
    }

    fn numbered(&self, number: usize) -> Result<Value, Error> {
        let all = self.positional.ok_or_else(|| refused("Format string contains positional fields"))?;
        let none = || refused(format!("Replacement index {number} out of range for positional args tuple"));
        all.get(number).cloned().ok_or_else(none)
    }
}

/// What stands between a `{` and its `}`.
fn field(signs: &mut Peekable<Chars<'_>>) -> Result<String, Error> {
    let mut field = String::new();
    let mut depth = 0usize;
    for sign in signs {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => return Ok(field),
            '}' => depth -= 1,
            _ => {}
        }
        field.push(sign);
    }
    Err(refused("expected '}' before end of string"))
}

/// Where the name of a field ends: signs in square brackets belong to it.
fn end_of_name(field: &str) -> usize {
    let mut is_key = false;
    let ends = |(_, sign): &(usize, char)| {
        match sign {
            '[' => is_key = true,
            ']' => is_key = false,
            _ => {}
        }
        !is_key && matches!(sign, '!' | ':')
    };
    field.char_indices().find(ends).map_or(field.len(), |(at, _)| at)
}

enum Step<'a> {
    Attribute(&'a str),
    Item(&'a str),
}

fn step(path: &str) -> Result<(Step<'_>, &str), Error> {
    if let Some(rest) = path.strip_prefix('[') {
        let (key, rest) = rest.split_once(']').ok_or_else(|| refused("Missing ']' in format string"))?;
        return if key.is_empty() {
            Err(refused("Empty attribute in format string"))
        } else {
            Ok((Step::Item(key), rest))
        };
    }
    let Some(rest) = path.strip_prefix('.') else {
        return Err(refused("Only '.' or '[' may follow ']' in format field specifier"));
    };
    let (attribute, rest) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    if attribute.is_empty() {
        return Err(refused("Empty attribute in format string"));
    }
    Ok((Step::Attribute(attribute), rest))
}

fn attribute_of(value: &Value, attribute: &str) -> Result<Value, Error> {
    // Lists and dicts have items, and no attributes but methods.
    let found = if value.kind() == ValueKind::Plain { value.get_attr(attribute)? } else { Value::UNDEFINED };
    if found.is_undefined() {
        return Err(refused(format!("'{}' object has no attribute '{attribute}'", python_type(value))));
    }
    Ok(found)
}

fn item_of(value: &Value, key: &str) -> Result<Value, Error> {
    let index = key.parse::<usize>();
    let found = match (value.kind(), &index) {
        (ValueKind::String, Ok(index)) => {
            let letter = value.as_str().and_then(|text| text.chars().nth(*index));
            letter.map_or(Value::UNDEFINED, |letter| Value::from(letter.to_string()))
        }
        (ValueKind::Seq | ValueKind::Iterable, Ok(index)) => value.get_item_by_index(*index)?,
        (ValueKind::Map, Ok(index)) => value.get_item(&Value::from(*index))?,
        (ValueKind::Map, Err(_)) => value.get_item(&Value::from(key))?,
        (ValueKind::String, Err(_)) => return Err(refused("string indices must be integers, not 'str'")),
        (ValueKind::Seq | ValueKind::Iterable, Err(_)) => {
            return Err(refused("list indices must be integers or slices, not str"));
        }
        _ => return Err(refused(format!("'{}' object is not subscriptable", python_type(value)))),
    };
    if !found.is_undefined() {
        return Ok(found);
    }
    Err(refused(match (value.kind(), index) {
        (ValueKind::Map, Ok(index)) => index.to_string(),
        (ValueKind::Map, Err(_)) => python::repr(&Value::from(key)),
        (ValueKind::String, _) => "string index out of range".to_owned(),
        _ => "list index out of range".to_owned(),
    }))
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`
#[derive(Default)]
struct Form {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn formatted(value: &Value, form: &str) -> Result<String, Error> {
    if form.is_empty() {
        return Ok(python::text(value));
    }
    let type_name = python_type(value);
    match value.kind() {
        ValueKind::String => Form::read(form, type_name)?.text(value.as_str().unwrap_or_default()),
        ValueKind::Bool | ValueKind::Number => Form::read(form, type_name)?.number(value, type_name),
        // Dates take a form of their own.
        ValueKind::Plain if type_name == "datetime" => {
            super::times::formatted(value, form).unwrap_or_else(|| Ok(python::text(value)))
        }
        _ => Err(refused(format!("unsupported format string passed to {type_name}.__format__"))),
    }
}

impl Form {
    fn read(text: &str, type_name: &str) -> Result<Form, Error> {
        let mut form = Form::default();
        let all: Vec<char> = text.chars().collect();
        let mut rest = &all[..];
        let is_align = |sign: Option<&char>| sign.is_some_and(|sign| "<>=^".contains(*sign));
        if is_align(rest.get(1)) {
            (form.fill, form.align) = (Some(rest[0]), Some(rest[1]));
            rest = &rest[2..];
        } else if is_align(rest.first()) {
            form.align = Some(rest[0]);
            rest = &rest[1..];
        }
        let accept = |rest: &mut &[char], accepted: &str| {
            let sign = rest.first().copied().filter(|sign| accepted.contains(*sign))?;
            *rest = &rest[1..];
            Some(sign)
        };
        form.sign = accept(&mut rest, "+- ");
        let coerces_zero = accept(&mut rest, "z").is_some();
        form.alternate = accept(&mut rest, "#").is_some();
        form.zero = accept(&mut rest, "0").is_some();
        form.width = number(&mut rest)?.unwrap_or(0);
        form.grouping = accept(&mut rest, ",_");
        if accept(&mut rest, ".").is_some() {
            form.precision = Some(number(&mut rest)?.ok_or_else(|| refused("Format specifier missing precision"))?);
        }
        if coerces_zero && type_name == "str" {
            return Err(refused("Negative zero coercion (z) not allowed in string format specifier"));
        }
        form.kind = rest.first().copied();
        if rest.len() > 1 {
            return Err(refused(format!("Invalid format specifier '{text}' for object of type '{type_name}'")));
        }
        Ok(form)
    }

    fn unknown(&self, type_name: &str) -> Error {
        let code = self.kind.unwrap_or_default();
        refused(format!("Unknown format code '{code}' for object of type '{type_name}'"))
    }

    fn text(&self, text: &str) -> Result<String, Error> {
        match (self.kind, self.sign, self.align) {
            (Some(kind), ..) if kind != 's' => Err(self.unknown("str")),
            (_, Some(' '), _) => Err(refused("Space not allowed in string format specifier")),
            (_, Some(_), _) => Err(refused("Sign not allowed in string format specifier")),
            (.., Some('=')) => Err(refused("'=' alignment not allowed in string format specifier")),
            _ if self.alternate => Err(refused("Alternate form (#) not allowed in string format specifier")),
            _ => {
                let text: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
                Ok(self.padded("", &text, '<'))
            }
        }
    }

    fn number(&self, value: &Value, type_name: &str) -> Result<String, Error> {
        let whole = percent::exact(value);
        match (self.kind, whole) {
            (None | Some('d' | 'b' | 'o' | 'x' | 'X' | 'c' | 'n'), Some(whole)) => self.whole(whole),
            (None | Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' | 'n'), _) => {
                let float = whole.map_or_else(|| f64::try_from(value.clone()), |whole| Ok(whole as f64))?;
                Ok(self.float(float))
            }
            _ => Err(self.unknown(type_name)),
        }
    }

    fn sign_of(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            (false, _) => "",
        }
    }

    fn whole(&self, whole: i128) -> Result<String, Error> {
        if self.precision.is_some() {
            return Err(refused("Precision not allowed in integer format specifier"));
        }
        let magnitude = whole.unsigned_abs();
        let (digits, prefix, group) = match self.kind {
            Some('b') => (format!("{magnitude:b}"), "0b", 4),
            Some('o') => (format!("{magnitude:o}"), "0o", 4),
            Some('x') => (format!("{magnitude:x}"), "0x", 4),
            Some('X') => (format!("{magnitude:X}"), "0X", 4),
            Some('c') => {
                let letter = u32::try_from(whole).ok().and_then(char::from_u32);
                let letter = letter.ok_or_else(|| refused("%c arg not in range(0x110000)"))?;
                return Ok(self.padded("", &letter.to_string(), '<'));
            }
            _ => (magnitude.to_string(), "", 3),
        };
        let start = format!("{}{}", self.sign_of(whole < 0), if self.alternate { prefix } else { "" });
        Ok(self.padded(&start, &self.grouped(&digits, group), '>'))
    }

    fn float(&self, number: f64) -> String {
        let is_negative = number.is_sign_negative() && !number.is_nan();
        let magnitude = number.abs();
        let precision = self.precision.unwrap_or(6);
        let digits = match self.kind {
            Some('%') => percent::digits('f', magnitude * 100.0, precision, self.alternate) + "%",
            Some('n') => percent::digits('g', magnitude, precision, self.alternate),
            Some(kind) => percent::digits(kind, magnitude, precision, self.alternate),
            None if self.precision.is_none() => python::float(magnitude),
            None => {
                let digits = percent::digits('g', magnitude, precision, self.alternate);
                let is_whole = digits.chars().all(|digit| digit.is_ascii_digit());
                if is_whole { digits + ".0" } else { digits }
            }
        };
        let whole_end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (whole, rest) = digits.split_at(whole_end);
        self.padded(self.sign_of(is_negative), &format!("{}{rest}", self.grouped(whole, 3)), '>')
    }

    fn grouped(&self, digits: &str, group: usize) -> String {
        let Some(separator) = self.grouping else { return digits.to_owned() };
        let mut out = String::with_capacity(digits.len() * 4 / 3 + 1);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(group) {
                out.push(separator);
            }
            out.push(digit);
        }
        out
    }

    fn padded(&self, start: &str, text: &str, default: char) -> String {
        let missing = self.width.saturating_sub(start.chars().count() + text.chars().count());
        let is_number = default == '>';
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let align = self.align.unwrap_or(if self.zero && is_number { '=' } else { default });
        let blanks = |count: usize| fill.to_string().repeat(count);
        match align {
            '<' => format!("{start}{text}{}", blanks(missing)),
            '^' => format!("{}{start}{text}{}", blanks(missing / 2), blanks(missing - missing / 2)),
            '=' => format!("{start}{}{text}", blanks(missing)),
            _ => format!("{}{start}{text}", blanks(missing)),
        }
    }
}

fn number(rest: &mut &[char]) -> Result<Option<usize>, Error> {
    let len = rest.iter().take_while(|sign| sign.is_ascii_digit()).count();
    let digits: String = rest[..len].iter().collect();
    *rest = &rest[len..];
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH_MAX);
    number.map(Some).ok_or_else(|| refused("Too many decimal digits in format string"))
}
