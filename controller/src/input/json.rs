//! JSON with a place for every mistake, and with limits.

use rustle_protocol::Value;
use rustle_protocol::value::DEPTH_MAX;

use super::source::Position;

/// Why a text is not JSON that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct JsonError {
    pub at: Position,
    pub what: String,
}

/// Reads `text` as one JSON document.
///
/// # Errors
/// With line and column, what is wrong; nesting beyond what a [`Value`] may have.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let value: Value = serde_json::from_str(text).map_err(|error| describe(&error))?;
    if depth_exceeds(&value, DEPTH_MAX) {
        let what = format!("nested deeper than {DEPTH_MAX} levels");
        return Err(JsonError { at: Position::START, what });
    }
    Ok(value)
}

/// The library's message without the place at its end, which is told in front.
pub fn describe(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    JsonError { at: Position::new(error.line().max(1), error.column().max(1)), what }
}

/// Whether lists and maps nest more than `levels` deep.
pub fn depth_exceeds(value: &Value, levels: usize) -> bool {
    let below = |inner: &Value| levels == 0 || depth_exceeds(inner, levels - 1);
    match value {
        Value::List(items) => items.iter().any(below),
        Value::Map(map) => map.values().any(below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_line_and_column() {
        let error = parse("{\n  \"a\": 1,,\n}").unwrap_err();
        assert_eq!(error.to_string(), "2:10: key must be a string");
        assert_eq!(parse("").unwrap_err().to_string(), "1:1: EOF while parsing a value");
    }

    #[test]
    fn nesting_beyond_a_values_limit_is_refused() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&deep(DEPTH_MAX)).is_ok());
        assert!(parse(&deep(DEPTH_MAX + 1)).is_err());
        assert!(parse(&deep(100_000)).is_err());
    }
}
