//! Where something stands in what was read: a file, a line, a column. Every message about input begins with it.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::origin::Origin;

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    pub const START: Position = Position { line: 1, column: 1 };

    pub fn new(line: usize, column: usize) -> Position {
        let clamped = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position { line: clamped(line), column: clamped(column) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A source and, where one is known, a position in it: `hosts.ini:3:7`, the form that editors and terminals jump to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    pub source: Arc<str>,
    pub at: Option<Position>,
}

impl Place {
    /// The source as a whole.
    pub fn whole(source: impl Into<Arc<str>>) -> Place {
        Place { source: source.into(), at: None }
    }

    pub(crate) fn of(origin: &Origin) -> Place {
        let at = origin.line.map(|line| Position { line, column: origin.column.unwrap_or(1) });
        Place { source: origin.file.display().to_string().into(), at }
    }

    pub fn at(source: &Arc<str>, at: Position) -> Place {
        Place { source: Arc::clone(source), at: Some(at) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:{at}", self.source),
            None => f.write_str(&self.source),
        }
    }
}

/// Outside text as a message may show it: escaped, and cut if it is long.
pub fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut out: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(escaped).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// `escape_debug` without the quotes, which are harmless and common.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '\'' | '"').then_some(c);
    plain.into_iter().chain(plain.is_none().then(|| c.escape_debug()).into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_file_line_column() {
        let source: Arc<str> = "hosts.ini".into();
        assert_eq!(Place::at(&source, Position::new(3, 7)).to_string(), "hosts.ini:3:7");
        assert_eq!(Place::whole("hosts.ini").to_string(), "hosts.ini");
    }

    #[test]
    fn shown_text_is_escaped_and_short() {
        assert_eq!(shown("it's \"x\"\x1b[1m\n"), r#"it's "x"\u{1b}[1m\n"#);
        assert_eq!(shown(&"a".repeat(200)).chars().count(), 81);
    }
}
