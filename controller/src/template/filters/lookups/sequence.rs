//! `sequence`: numbers from one to another, as text.

use std::sync::LazyLock;

use minijinja::Error;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::Value;
use regex::Regex;

use super::Call;
use crate::input::key_value::split_pairs;
use crate::template::convert::{failed, from_data};
use crate::template::filters::python_type;
use crate::template::python;

/// Numbers one sequence may give.
const SEQUENCE_MAX: i64 = 1_000_000;

/// `[start-]end[/stride][:format]`.
static SHORT: LazyLock<Regex> = LazyLock::new(|| {
    let number = "(?:0x)?[0-9a-f]+";
    let pattern = format!("(?i)^(?:({number})-)?({number})(?:/({number}))?(?::(.+))?$");
    Regex::new(&pattern).expect("the pattern is well formed")
});

pub(super) fn sequence(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let options = Sequence::from_options(call)?;
    if call.terms.is_empty() {
        return options.map_or_else(|| Ok(Vec::new()), Sequence::numbers);
    }
    // What the terms leave open is as the options say.
    let options = options.unwrap_or_default();
    let mut out = Vec::new();
    for term in &call.terms {
        let text = term.as_str().ok_or_else(|| {
            let (shown, kind) = (python::text(term), python_type(term));
            let why = format!("expected string or bytes-like object, got '{kind}'");
            failed(format!("unknown error parsing with_sequence arguments: {shown}. Error was: {why}"))
        })?;
        out.extend(Sequence::parse(text, options.clone(), call)?.numbers()?);
    }
    Ok(out)
}

#[derive(Clone, Default)]
struct Sequence {
    start: Option<i64>,
    end: Option<i64>,
    count: Option<i64>,
    stride: Option<i64>,
    format: Option<String>,
}

impl Sequence {
    /// `None` where no option is given.
    fn from_options(call: &Call<'_>) -> Result<Option<Sequence>, Error> {
        let mut sequence = None;
        for name in ["start", "end", "count", "stride", "format"] {
            if let Some(value) = call.option(name) {
                sequence.get_or_insert_with(Sequence::default).set(name, value, call)?;
            }
        }
        Ok(sequence)
    }

    /// `start=1 end=5 format=x%02d`, or the short form.
    fn parse(term: &str, mut sequence: Sequence, call: &Call<'_>) -> Result<Sequence, Error> {
        if let Some(short) = SHORT.captures(term) {
            for (name, at) in [("start", 1), ("end", 2), ("stride", 3), ("format", 4)] {
                if let Some(part) = short.get(at) {
                    sequence.set(name, &Value::from(part.as_str()), call)?;
                }
            }
            return Ok(sequence);
        }
        let (pairs, others) = split_pairs(term).map_err(failed)?;
        let is_known = |name: &str| ["start", "end", "count", "stride", "format"].contains(&name);
        let strange = pairs.keys().filter(|name| !is_known(name)).map(String::as_str);
        let strange: Vec<Value> =
            strange.chain((!others.is_empty()).then_some("_raw_params")).map(Value::from).collect();
        if !strange.is_empty() {
            let names = python::repr(&Value::from(strange));
            return Err(failed(format!("unrecognized arguments to with_sequence: {names}")));
        }
        for (name, value) in pairs {
            sequence.set(&name, &from_data(value), call)?;
        }
        Ok(sequence)
    }

    fn set(&mut self, name: &str, value: &Value, call: &Call<'_>) -> Result<(), Error> {
        if name == "format" {
            self.format = Some(python::text(value));
            return Ok(());
        }
        let number = call.integer_of(name, "integer", value)?;
        match name {
            "start" => self.start = Some(number),
            "end" => self.end = Some(number),
            "count" => self.count = Some(number),
            _ => self.stride = Some(number),
        }
        Ok(())
    }

    fn numbers(self) -> Result<Vec<Value>, Error> {
        let start = self.start.unwrap_or(1);
        let stride = self.stride.unwrap_or(1);
        let end = match (self.count, self.end) {
            (Some(0), None) => return Ok(Vec::new()),
            // With a negative stride that is more numbers than were counted, as in Ansible.
            (Some(count), None) => start.saturating_add(count.saturating_mul(stride)).saturating_sub(1),
            (None, Some(end)) => end,
            (Some(_), Some(_)) => return Err(failed("can't specify both count and end in with_sequence")),
            (None, None) => return Err(failed("must specify count or end in with_sequence")),
        };
        let format_text = self.format.unwrap_or_else(|| "%d".to_owned());
        if format_text.matches('%').count() != 1 {
            return Err(failed(format!("bad formatting string: {format_text}")));
        }
        if stride == 0 {
            return Ok(Vec::new());
        }
        if stride > 0 && end < start {
            return Err(failed("to count backwards make stride negative"));
        }
        if stride < 0 && end > start {
            return Err(failed("to count forward don't make stride negative"));
        }
        let count = (end - start) / stride + 1;
        if count > SEQUENCE_MAX {
            return Err(failed(format!("a sequence of {count} numbers is longer than {SEQUENCE_MAX}")));
        }
        let text = |index: i64| {
            format(FormatStyle::Printf, &format_text, &[Value::from(start + index * stride)])
                .map(Value::from)
                .map_err(|_| failed(format!("problem formatting {start} with '{format_text}'")))
        };
        (0..count).map(text).collect()
    }
}
