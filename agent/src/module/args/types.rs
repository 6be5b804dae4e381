//! The types that arguments have, and how Ansible makes them of what a task says: `"yes"` is a bool, `"5"` an int, `"a,b"` a
//! list, `5` a string.

use std::path::PathBuf;

use rustle_protocol::Value;
use rustle_protocol::message::BlobId;
use rustle_protocol::value::Map;

use super::ArgKind;
use super::expand::expand;

/// A type that an argument can have.
pub trait FromArg: Sized {
    const KIND: ArgKind;
    const CHOICES: &'static [&'static str] = &[];

    /// # Errors
    /// Why the value will not do, to follow "argument 'x' ": `is of type dict and we were unable to convert to str: …`.
    fn from_arg(value: Value) -> Result<Self, String>;

    /// What the argument is when it is not there; `None` if it must be.
    fn absent() -> Option<Self> {
        None
    }

    /// The value as a task would give it, for documentation. Types that no argument has as its default say null.
    fn to_value(&self) -> Value {
        Value::Null
    }
}

fn not<T>(value: &Value, wanted: &str) -> Result<T, String> {
    unable(value, wanted, format_args!("<class '{}'> cannot be converted to a {wanted}", python_type(value)))
}

fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::String(_) => "str",
        other => other.kind(),
    }
}

/// What all say that could not be made what they should be.
pub(super) const CONVERTED: &str = "we were unable to convert to";

/// Ansible's words, with the reason in ours.
fn unable<T>(value: &Value, wanted: &str, why: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("is of type {} and {CONVERTED} {wanted}: {why}", python_type(value)))
}

/// A text or another value that is no number of this kind.
fn no_number<T>(value: &Value, wanted: &str) -> Result<T, String> {
    let shown = match value {
        Value::String(text) => format!("'{text}'"),
        other => other.to_json(),
    };
    unable(value, wanted, format_args!("\"{shown}\" cannot be converted to an {wanted}"))
}

impl FromArg for String {
    const KIND: ArgKind = ArgKind::Str;

    /// Numbers, bools, lists and dicts become text as Python writes them: `True`, `['a']`.
    fn from_arg(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => text,
            Value::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?,
            Value::Null => String::new(),
            other => in_python(&other),
        })
    }

    fn to_value(&self) -> Value {
        self.as_str().into()
    }
}

/// The value as Python's `repr` shows it.
fn in_python(value: &Value) -> String {
    let listed = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => quoted(text),
        Value::List(items) => format!("[{}]", listed(items.iter().map(in_python).collect())),
        Value::Map(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{}: {}", quoted(key), in_python(value));
            format!("{{{}}}", listed(map.iter().map(pair).collect()))
        }
        other => other.to_json(),
    }
}

/// Text in Python's quotes: single ones, unless it has such and no others.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for sign in text.chars() {
        match sign {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            sign if sign == quote => out.extend(['\\', sign]),
            sign if sign.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(sign))),
            sign => out.push(sign),
        }
    }
    out.push(quote);
    out
}

impl FromArg for bool {
    const KIND: ArgKind = ArgKind::Bool;

    fn from_arg(value: Value) -> Result<Self, String> {
        match &value {
            Value::Bool(b) => Ok(*b),
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            Value::Float(number) if *number == 0.0 || *number == 1.0 => Ok(*number == 1.0),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Ok(true),
                "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Ok(false),
                _ => unable(&value, "bool", format_args!("The value '{text}' is not a valid boolean: use yes or no")),
            },
            Value::Int(number) => {
                unable(&value, "bool", format_args!("The value '{number}' is not a valid boolean: use yes or no"))
            }
            other => not(other, "bool"),
        }
    }

    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl FromArg for i64 {
    const KIND: ArgKind = ArgKind::Int;

    fn from_arg(value: Value) -> Result<Self, String> {
        match &value {
            Value::Int(n) => Ok(*n),
            Value::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => Ok(*n as i64),
            Value::String(text) => whole(text.trim()).map_or_else(|| no_number(&value, "int"), Ok),
            other => no_number(other, "int"),
        }
    }

    fn to_value(&self) -> Value {
        Value::Int(*self)
    }
}

/// A whole number, `1.0` being one, too.
fn whole(text: &str) -> Option<i64> {
    let is_nothing = |fraction: &str| fraction.bytes().all(|digit| digit == b'0');
    match text.split_once('.') {
        Some((number, fraction)) => is_nothing(fraction).then(|| number.parse().ok())?,
        None => text.parse().ok(),
    }
}

macro_rules! int_args {
    ($($ty:ty),*) => {$(
        impl FromArg for $ty {
            const KIND: ArgKind = ArgKind::Int;

            fn from_arg(value: Value) -> Result<Self, String> {
                let n = i64::from_arg(value)?;
                <$ty>::try_from(n).map_err(|_| format!("is {n}, which is out of range"))
            }

            fn to_value(&self) -> Value {
                i64::try_from(*self).map_or(Value::Null, Value::Int)
            }
        }
    )*};
}

int_args!(u16, u32, u64, usize);

impl FromArg for f64 {
    const KIND: ArgKind = ArgKind::Float;

    fn from_arg(value: Value) -> Result<Self, String> {
        match &value {
            Value::Float(n) => Ok(*n),
            Value::Int(n) => Ok(*n as f64),
            Value::String(text) => text.trim().parse().or_else(|_| not(&value, "float")),
            other => not(other, "float"),
        }
    }

    fn to_value(&self) -> Value {
        Value::Float(*self)
    }
}

impl FromArg for PathBuf {
    const KIND: ArgKind = ArgKind::Path;

    /// `~` and `$NAME` stand for what they are on this host.
    fn from_arg(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) if text.contains('\0') => Err("has a NUL byte in it".into()),
            Value::String(text) => Ok(expand(&text).into()),
            other => String::from_arg(other).map(PathBuf::from),
        }
    }

    fn to_value(&self) -> Value {
        self.to_string_lossy().into_owned().into()
    }
}

impl<T: FromArg> FromArg for Vec<T> {
    const KIND: ArgKind = ArgKind::List;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    /// A string is split at commas, blanks around them being part of the items; any other scalar is a list of one.
    fn from_arg(value: Value) -> Result<Self, String> {
        match value {
            Value::List(items) => items.into_iter().map(T::from_arg).collect(),
            Value::String(text) => text.split(',').map(|item| T::from_arg(Value::from(item))).collect(),
            Value::Map(_) => not(&value, "list"),
            scalar => T::from_arg(scalar).map(|item| vec![item]),
        }
    }

    fn to_value(&self) -> Value {
        Value::List(self.iter().map(T::to_value).collect())
    }
}

/// A list of names, of which blanks at the ends are no part: for arguments that are written `a, b` by many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl std::ops::Deref for Names {
    type Target = Vec<String>;

    fn deref(&self) -> &Vec<String> {
        &self.0
    }
}

impl FromArg for Names {
    const KIND: ArgKind = ArgKind::List;

    fn from_arg(value: Value) -> Result<Self, String> {
        let names = Vec::<String>::from_arg(value)?;
        Ok(Names(names.iter().map(|name| name.trim().to_owned()).collect()))
    }

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl FromArg for Map {
    const KIND: ArgKind = ArgKind::Dict;

    fn from_arg(value: Value) -> Result<Self, String> {
        match value {
            Value::Map(map) => Ok(map),
            Value::String(text) if text.trim_start().starts_with('{') => {
                let value = || Value::from(text.as_str());
                serde_json::from_str(&text)
                    .or_else(|_| unable(&value(), "dict", "unable to evaluate string as dictionary"))
            }
            Value::String(text) => key_values(&text),
            other => not(&other, "dict"),
        }
    }
}

/// `a=1, b=2`
fn key_values(text: &str) -> Result<Map, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), Value::from(value.trim()))),
            None => unable(&text.into(), "dict", "dictionary requested, could not parse JSON or key=value"),
        })
        .collect()
}

impl FromArg for Value {
    const KIND: ArgKind = ArgKind::Raw;

    fn from_arg(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl<T: FromArg> FromArg for Option<T> {
    const KIND: ArgKind = T::KIND;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn from_arg(value: Value) -> Result<Self, String> {
        T::from_arg(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn to_value(&self) -> Value {
        self.as_ref().map(T::to_value).unwrap_or_default()
    }
}

/// A file mode: `0644`, `"u=rw,g=r"`, or `preserve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Octal(u32),
    /// Checked when it is applied, since it depends on the file's mode.
    Symbolic(String),
    Preserve,
}

impl FromArg for Mode {
    const KIND: ArgKind = ArgKind::Raw;

    /// A number is the mode itself, as YAML's `0644` is 420.
    fn from_arg(value: Value) -> Result<Self, String> {
        match value {
            Value::Int(n) => match u32::try_from(n) {
                Ok(bits @ 0..=0o7777) => Ok(Mode::Octal(bits)),
                _ => Err(format!("is {n}, which is not a file mode")),
            },
            Value::String(text) if text == "preserve" => Ok(Mode::Preserve),
            Value::String(text) => match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
                Ok(bits @ 0..=0o7777) => Ok(Mode::Octal(bits)),
                Ok(_) => Err(format!("is `{text}`, which is not a file mode")),
                Err(_) => Ok(Mode::Symbolic(text)),
            },
            other => not(&other, "file mode"),
        }
    }
}

/// A file's content that the controller holds: its blob, and the SHA-1 that Ansible's `checksum` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRef {
    pub id: BlobId,
    pub sha1: String,
}

impl BlobRef {
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("hash".into(), Value::Bytes(self.id.hash.to_vec()));
        map.insert("size".into(), self.id.size.into());
        map.insert("sha1".into(), self.sha1.as_str().into());
        Value::Map(map)
    }
}

impl FromArg for BlobRef {
    const KIND: ArgKind = ArgKind::Raw;

    fn from_arg(value: Value) -> Result<Self, String> {
        let map = value.as_map().ok_or("is not a blob")?;
        let hash = match map.get("hash") {
            Some(Value::Bytes(bytes)) => bytes.as_slice().try_into().ok(),
            _ => None,
        };
        let size = map.get("size").and_then(Value::as_i64).and_then(|size| u64::try_from(size).ok());
        let sha1 = map.get("sha1").and_then(Value::as_str);
        match (hash, size, sha1) {
            (Some(hash), Some(size), Some(sha1)) => Ok(BlobRef { id: BlobId { hash, size }, sha1: sha1.to_owned() }),
            _ => Err("is not a blob".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_symbolic_or_preserve() {
        let mode = |value: Value| Mode::from_arg(value);
        assert_eq!(mode("0644".into()), Ok(Mode::Octal(0o644)));
        assert_eq!(mode(420.into()), Ok(Mode::Octal(0o644)));
        assert_eq!(mode("u=rw,g-x".into()), Ok(Mode::Symbolic("u=rw,g-x".into())));
        assert_eq!(
            mode("0999".into()),
            Ok(Mode::Symbolic("0999".into())),
            "what is no mode is told where it is applied"
        );
        assert!(mode("017777".into()).is_err() && mode(99999.into()).is_err());
    }
}
