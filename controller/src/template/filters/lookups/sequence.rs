//! `sequence`: numbers from one to another, as text.

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use crate::template::convert::failed;
use crate::template::filters::params::{Params, int};
use crate::template::python;

/// Numbers one sequence may give.
const SEQUENCE_MAX: i64 = 1_000_000;

pub(super) fn sequence(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    if call.terms.is_empty() {
        out.extend(Sequence::from_options(call.params)?.numbers()?);
    }
    for term in call.texts() {
        out.extend(Sequence::parse(&term)?.numbers()?);
    }
    Ok(out)
}

#[derive(Default)]
struct Sequence {
    start: Option<i64>,
    end: Option<i64>,
    count: Option<i64>,
    stride: Option<i64>,
    format: Option<String>,
}

impl Sequence {
    fn from_options(params: &Params) -> Result<Sequence, Error> {
        let number = |name: &str| params.get(name).map(|value| int(value, name)).transpose();
        Ok(Sequence {
            start: number("start")?,
            end: number("end")?,
            count: number("count")?,
            stride: number("stride")?,
            format: params.get("format").map(python::text),
        })
    }

    /// `start=1 end=5 format=x%02d`, or the short `[start-]end[/stride][:format]`.
    fn parse(term: &str) -> Result<Sequence, Error> {
        let number = |text: &str| -> Result<i64, Error> {
            let text = text.trim();
            let hex = text.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
            hex.unwrap_or_else(|| text.parse())
                .map_err(|_| failed(format!("'{text}' in the sequence '{term}' is not a whole number")))
        };
        let mut sequence = Sequence::default();
        if !term.contains('=') {
            let (numbers, format) =
                term.split_once(':').map_or((term, None), |(numbers, format)| (numbers, Some(format)));
            let (range, stride) =
                numbers.split_once('/').map_or((numbers, None), |(range, stride)| (range, Some(stride)));
            let (start, end) = range.split_once('-').map_or((None, range), |(start, end)| (Some(start), end));
            sequence.start = start.map(number).transpose()?;
            sequence.end = Some(number(end)?);
            sequence.stride = stride.map(number).transpose()?;
            sequence.format = format.map(str::to_owned);
            return Ok(sequence);
        }
        for word in term.split_whitespace() {
            let (key, value) = word.split_once('=').ok_or_else(|| failed(format!("'{word}' is no key=value")))?;
            match key {
                "start" => sequence.start = Some(number(value)?),
                "end" => sequence.end = Some(number(value)?),
                "count" => sequence.count = Some(number(value)?),
                "stride" => sequence.stride = Some(number(value)?),
                "format" => sequence.format = Some(value.to_owned()),
                other => return Err(failed(format!("a sequence has no '{other}'"))),
            }
        }
        Ok(sequence)
    }

    fn numbers(self) -> Result<Vec<Value>, Error> {
        let start = self.start.unwrap_or(1);
        let stride = self.stride.unwrap_or(1);
        let end = match (self.count, self.end) {
            (Some(0), _) => return Ok(Vec::new()),
            (Some(count), None) => start.saturating_add(count.saturating_sub(1).saturating_mul(stride)),
            (None, Some(end)) => end,
            (Some(_), Some(_)) => return Err(failed("can't specify both count and end in with_sequence")),
            (None, None) => return Err(failed("must specify count or end in with_sequence")),
        };
        if stride == 0 {
            return Ok(Vec::new());
        }
        if (stride > 0 && end < start) || (stride < 0 && end > start) {
            let (way, sign) = if stride > 0 { ("backwards", "negative") } else { ("forward", "positive") };
            return Err(failed(format!("to count {way} make stride {sign}")));
        }
        let count = (end - start) / stride + 1;
        if count > SEQUENCE_MAX {
            return Err(failed(format!("a sequence of {count} numbers is longer than {SEQUENCE_MAX}")));
        }
        let format = self.format.unwrap_or_else(|| "%d".to_owned());
        let text = |index: i64| {
            let number = Value::from(start + index * stride);
            minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, &format, &[number])
                .map(Value::from)
        };
        (0..count).map(text).collect()
    }
}
