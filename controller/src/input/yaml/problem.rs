//! What is wrong with text that is not YAML, in the words of the library that Ansible reads YAML with: what it was doing and
//! since where, what stopped it and where, and what Ansible then makes of the line.

use std::borrow::Cow;
use std::fmt;

use saphyr_parser::ScanError;

use super::YamlError;
use crate::input::source::Position;

/// Why text cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The library has words for it.
    Problem(Problem),
    /// What only we refuse.
    Own(YamlError),
}

impl From<YamlError> for Refusal {
    fn from(error: YamlError) -> Refusal {
        Refusal::Own(error)
    }
}

/// Shown as the library does, over several lines.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    doing: Option<(Cow<'static, str>, Position)>,
    what: Cow<'static, str>,
    at: Position,
}

/// A list or dict that was not complete where the text could not be read on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Opened {
    pub(super) at: Position,
    pub(super) is_list: bool,
    /// Written in brackets.
    pub(super) in_brackets: bool,
}

impl Problem {
    pub(super) fn new(what: impl Into<Cow<'static, str>>, at: Position) -> Problem {
        Problem { doing: None, what: what.into(), at }
    }

    pub(super) fn during(
        doing: impl Into<Cow<'static, str>>,
        since: Position,
        what: impl Into<Cow<'static, str>>,
        at: Position,
    ) -> Problem {
        Problem { doing: Some((doing.into(), since)), what: what.into(), at }
    }

    /// What the parser stumbled over in `text` at `at`, with these lists and dicts open, the innermost last.
    pub(super) fn of_parser(refused: &ScanError, at: Position, open: &[Opened], text: &str) -> Problem {
        let scene = Scene { at, open, lines: text.split('\n').collect() };
        scene.problem(refused.info())
    }

    /// One sentence about the text, with Ansible's guess where the line shows a common mistake.
    pub(super) fn told(&self, text: &str) -> YamlError {
        let line =
            text.split('\n').nth(self.at.line.saturating_sub(1) as usize).map(|line| line.trim_end_matches('\r'));
        let (column, sentence, hint) = match line.and_then(Mistake::in_line) {
            Some(mistake) => (mistake.column, mistake.sentence.to_owned(), Some(mistake.hint)),
            None => (self.at.column as usize, self.sentence(), None),
        };
        YamlError {
            at: Position::new(self.at.line as usize, column),
            what: format!("YAML parsing failed: {sentence}"),
            hint,
        }
    }

    fn sentence(&self) -> String {
        let all = match &self.doing {
            Some((doing, _)) => format!("{doing} {}.", self.what),
            None => format!("{}.", self.what),
        };
        let mut rest = all.chars();
        rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, at: Position| {
            write!(f, "\n  in \"<unicode string>\", line {}, column {}", at.line, at.column)
        };
        if let Some((doing, since)) = &self.doing {
            f.write_str(doing)?;
            if *since != self.at {
                place(f, *since)?;
            }
            f.write_str("\n")?;
        }
        f.write_str(&self.what)?;
        place(f, self.at)
    }
}

/// Where the parser stumbled.
struct Scene<'a> {
    at: Position,
    open: &'a [Opened],
    lines: Vec<&'a str>,
}

const NO_NODE: &str = "did not find expected node content";
const NO_TOKEN: &str = "while scanning for the next token";
const QUOTED: &str = "while parsing a quoted scalar";

impl Scene<'_> {
    fn problem(&self, info: &str) -> Problem {
        let at = self.at;
        match info {
            "invalid trailing content after double-quoted scalar" | "illegal placement of ':' indicator" => {
                self.after_value(self.open)
            }
            "misplaced bracket" if self.is_behind_a_value() => {
                let blocks: Vec<Opened> = self.open.iter().copied().filter(|opened| !opened.in_brackets).collect();
                self.after_value(&blocks)
            }
            "misplaced bracket" => Problem::during("while parsing a block node", at, NO_NODE, at),
            "while parsing a node, did not find expected node content" | "unexpected eof" => {
                let kind = if self.is_in_brackets() { "flow" } else { "block" };
                Problem::during(format!("while parsing a {kind} node"), at, NO_NODE, at)
            }
            "while parsing a flow sequence, expected ',' or ']'"
            | "while parsing a flow mapping, did not find expected ',' or '}'"
            | "while parsing a block collection, did not find expected '-' indicator" => self.after_value(self.open),
            "while parsing a block mapping, did not find expected key" => {
                Scene { at: self.before_dash(), open: self.open, lines: self.lines.clone() }.after_value(self.open)
            }
            "simple key expect ':'" | "simple key expected" => {
                Problem::during("while scanning a simple key", self.line_before(), "could not find expected ':'", at)
            }
            "while parsing node, found unknown anchor" => Problem::new("found undefined alias", at),
            "while scanning an anchor or alias, did not find expected alphabetic or numeric character" => {
                let kind = if self.sign(at) == Some('*') { "an alias" } else { "an anchor" };
                let what = "did not find expected alphabetic or numeric character";
                Problem::during(format!("while scanning {kind}"), at, what, self.beside(1))
            }
            "while scanning a quoted scalar, found unexpected end of stream" => {
                Problem::during("while scanning a quoted scalar", at, "found unexpected end of stream", self.end())
            }
            "while scanning a quoted scalar, found unexpected document indicator" => {
                let what = "found unexpected document indicator";
                Problem::during("while scanning a quoted scalar", at, what, self.document_below())
            }
            "while parsing a quoted scalar, did not find expected hexadecimal number" => {
                // The library's word.
                Problem::during(QUOTED, at, "did not find expected hexdecimal number", self.wrong_escape())
            }
            "while parsing a quoted scalar, found unknown escape character" => {
                Problem::during(QUOTED, at, "found unknown escape character", self.wrong_escape())
            }
            "while parsing a quoted scalar, found invalid Unicode character escape code" => {
                Problem::during(QUOTED, at, "found invalid Unicode character escape code", self.wrong_escape())
            }
            "while scanning a block scalar, did not find expected comment or line break" => {
                let what = "did not find expected comment or line break";
                Problem::during("while scanning a block scalar", at, what, self.behind_block_sign())
            }
            "while scanning a block scalar, found an indentation indicator equal to 0" => {
                let what = "found an indentation indicator equal to 0";
                Problem::during("while scanning a block scalar", at, what, self.beside(1))
            }
            "a block scalar content cannot start with a tab" => {
                let what = "found a tab character where an indentation space is expected";
                Problem::during("while scanning a block scalar", at, what, self.tab_below())
            }
            "while scanning a plain scalar, found a tab" => {
                let what = "found a tab character that violates indentation";
                Problem::during("while scanning a plain scalar", at, what, self.tab_below())
            }
            "the handle wasn't declared" => {
                Problem::during("while parsing a node", at, "found undefined tag handle", at)
            }
            other if other.starts_with("unexpected character") || other.contains("tab") => {
                Problem::during(NO_TOKEN, at, "found character that cannot start any token", at)
            }
            other => match other.split_once(", ").filter(|(doing, _)| doing.starts_with("while ")) {
                Some((doing, what)) => Problem::during(doing.to_owned(), at, what.to_owned(), at),
                None => Problem::new(other.to_owned(), at),
            },
        }
    }

    /// Something follows a complete value that cannot follow it.
    fn after_value(&self, open: &[Opened]) -> Problem {
        let Some(innermost) = open.last() else {
            return Problem::new("did not find expected <document start>", self.at);
        };
        let (doing, what) = match (innermost.in_brackets, innermost.is_list) {
            (true, true) => ("while parsing a flow sequence", "did not find expected ',' or ']'"),
            (true, false) => ("while parsing a flow mapping", "did not find expected ',' or '}'"),
            (false, true) => ("while parsing a block collection", "did not find expected '-' indicator"),
            (false, false) => ("while parsing a block mapping", "did not find expected key"),
        };
        Problem::during(doing, innermost.at, what, self.at)
    }

    /// The place, or where the `-` stands that is all there is before it on its line.
    fn before_dash(&self) -> Position {
        let line = self.lines.get(self.at.line.saturating_sub(1) as usize).copied().unwrap_or_default();
        let before: String = line.chars().take(self.at.column.saturating_sub(1) as usize).collect();
        match before.trim_end().strip_suffix('-') {
            Some(indent) if indent.trim().is_empty() => {
                Position::new(self.at.line as usize, indent.chars().count() + 1)
            }
            _ => self.at,
        }
    }

    fn is_in_brackets(&self) -> bool {
        self.open.last().is_some_and(|opened| opened.in_brackets)
    }

    /// Whether a value stands before the place on its line.
    fn is_behind_a_value(&self) -> bool {
        let line = self.lines.get(self.at.line.saturating_sub(1) as usize).copied().unwrap_or_default();
        let before: String = line.chars().take(self.at.column.saturating_sub(1) as usize).collect();
        let before = before.trim_end();
        !before.is_empty() && !before.ends_with([':', '-', '?'])
    }

    fn beside(&self, columns: usize) -> Position {
        Position::new(self.at.line as usize, self.at.column as usize + columns)
    }

    fn sign(&self, at: Position) -> Option<char> {
        self.lines.get(at.line.checked_sub(1)? as usize)?.chars().nth(at.column.checked_sub(1)? as usize)
    }

    /// The signs from the place on, each with its own place.
    fn signs(&self) -> impl Iterator<Item = (Position, char)> + '_ {
        let first = self.at.line.saturating_sub(1) as usize;
        let lines = self.lines.iter().enumerate().skip(first);
        lines.flat_map(move |(number, line)| {
            let skipped = if number == first { self.at.column.saturating_sub(1) as usize } else { 0 };
            let signs = line.chars().chain(['\n']).enumerate().skip(skipped);
            signs.map(move |(column, sign)| (Position::new(number + 1, column + 1), sign))
        })
    }

    /// Where the text ends.
    fn end(&self) -> Position {
        Position::new(self.lines.len(), self.lines.last().map_or(0, |line| line.chars().count()) + 1)
    }

    /// Where what stands on the line before begins.
    fn line_before(&self) -> Position {
        let lines = self.lines.iter().enumerate().take(self.at.line.saturating_sub(1) as usize);
        let before = lines.rev().find(|(_, line)| !line.trim().is_empty());
        before.map_or(self.at, |(number, line)| {
            Position::new(number + 1, line.chars().take_while(|sign| *sign == ' ').count() + 1)
        })
    }

    fn first_below(&self, is_it: impl Fn(&str) -> bool) -> Position {
        let mut below = self.lines.iter().enumerate().skip(self.at.line as usize);
        below.find(|(_, line)| is_it(line)).map_or(self.at, |(number, _)| Position::new(number + 1, 1))
    }

    fn document_below(&self) -> Position {
        self.first_below(|line| line.starts_with("---") || line.starts_with("..."))
    }

    fn tab_below(&self) -> Position {
        self.first_below(|line| line.trim_start_matches(' ').starts_with('\t'))
    }

    /// What stands behind a `|` or `>` and its signs.
    fn behind_block_sign(&self) -> Position {
        let is_sign = |sign: char| matches!(sign, '+' | '-' | '1'..='9');
        let mut signs = self.signs().skip(1).peekable();
        // At most one of each kind belongs to the block.
        let is_digit = |sign: char| sign.is_ascii_digit();
        let mut first = None;
        while let Some((_, sign)) = signs.next_if(|(_, sign)| {
            is_sign(*sign) && first.is_none_or(|(count, was_digit)| count < 2 && was_digit != is_digit(*sign))
        }) {
            first = Some((first.map_or(1, |(count, _)| count + 1), is_digit(sign)));
        }
        signs.find(|(_, sign)| *sign != ' ').map_or(self.at, |(at, _)| at)
    }

    /// The escape in double quotes that means nothing: the sign itself, or where its number should be.
    fn wrong_escape(&self) -> Position {
        let mut signs = self.signs().skip(1);
        while let Some((at, sign)) = signs.next() {
            if sign != '\\' {
                continue;
            }
            let Some((escape_at, escape)) = signs.next() else { break };
            let digits = match escape {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ if "0abt\tnvfre \"/\\N_LP\n".contains(escape) => continue,
                _ => return at,
            };
            let number: String = signs.by_ref().take(digits).map(|(_, digit)| digit).collect();
            if u32::from_str_radix(&number, 16).ok().and_then(char::from_u32).is_none() {
                return Position::new(escape_at.line as usize, escape_at.column as usize + 1);
            }
        }
        self.at
    }
}

/// A mistake that many make, as a line shows it.
struct Mistake {
    column: usize,
    sentence: &'static str,
    hint: &'static str,
}

impl Mistake {
    fn in_line(line: &str) -> Option<Mistake> {
        Mistake::tab(line).or_else(|| {
            let value = value_of(line);
            let begin = line.len() - value.len();
            let found = Mistake::template(value).or_else(|| Mistake::colon(value)).or_else(|| Mistake::quotes(value));
            // From bytes of the value to characters of the line.
            found.map(|mistake| Mistake { column: line[..begin + mistake.column].chars().count() + 1, ..mistake })
        })
    }

    fn tab(line: &str) -> Option<Mistake> {
        let (column, _) = line.chars().enumerate().find(|(_, sign)| *sign == '\t')?;
        Some(Mistake {
            column: column + 1,
            sentence: "Tabs are usually invalid in YAML.",
            hint: "indent with spaces; YAML does not allow tabs there",
        })
    }

    fn template(value: &str) -> Option<Mistake> {
        value.starts_with("{{").then_some(Mistake {
            column: 0,
            sentence: "This may be an issue with missing quotes around a template block.",
            hint: "for example, `raw: {{ some_var }}` should be `raw: \"{{ some_var }}\"`",
        })
    }

    fn colon(value: &str) -> Option<Mistake> {
        let ends_a_key = |(at, _): &(usize, &str)| {
            let behind = &value[at + 1..];
            behind.is_empty() || behind.starts_with(char::is_whitespace)
        };
        let (column, _) = value.match_indices(':').find(ends_a_key)?;
        Some(Mistake {
            column,
            sentence: "Colons in unquoted values must be followed by a non-space character.",
            hint: "for example, `raw: echo 'name: ansible'` should be `raw: \"echo 'name: ansible'\"`",
        })
    }

    fn quotes(value: &str) -> Option<Mistake> {
        let quote = value.chars().next().filter(|sign| matches!(sign, '\'' | '"'))?;
        let value = value.trim_end();
        if !value.ends_with(quote) || value.len() == 1 {
            return Some(Mistake {
                column: 0,
                sentence: "Values starting with a quote must end with the same quote.",
                hint: "for example, `raw: \"foo\" in bar` should be `raw: '\"foo\" in bar'`",
            });
        }
        value[1..value.len() - 1].contains(quote).then_some(Mistake {
            column: 0,
            sentence: "Values starting with a quote must end with the same quote, and not contain that quote.",
            hint: "for example, `raw: \"foo\" in \"bar\"` should be `raw: '\"foo\" in \"bar\"'`",
        })
    }
}

/// What stands on a line behind the signs of a list and a simple key.
fn value_of(line: &str) -> &str {
    let mut rest = line.trim_start();
    while let Some(item) = rest.strip_prefix('-').filter(|item| item.starts_with(char::is_whitespace)) {
        rest = item.trim_start();
    }
    let key = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c.is_whitespace()));
    match key.filter(|at| *at > 0).and_then(|at| rest[at..].strip_prefix(':')) {
        Some(value) if value.starts_with(char::is_whitespace) => value.trim_start(),
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{compose, read};

    /// The place and sentence of a file's error.
    fn told(text: &str) -> String {
        let told = compose(text).unwrap_err().to_string();
        told.replace(": YAML parsing failed: ", " ")
    }

    #[test]
    fn what_is_wrong_is_said_in_the_librarys_words_at_its_place() {
        for (text, expected) in [
            ("a: &\n", "1:5 While scanning an anchor did not find expected alphabetic or numeric character."),
            ("a: * x\n", "1:5 While scanning an alias did not find expected alphabetic or numeric character."),
            ("a: *x\n", "1:4 Found undefined alias."),
            ("a: @x\n", "1:4 While scanning for the next token found character that cannot start any token."),
            ("a: `\n", "1:4 While scanning for the next token found character that cannot start any token."),
            ("a: %x\n", "1:4 While scanning for the next token found character that cannot start any token."),
            ("a: \"\\q\"\n", "1:5 While parsing a quoted scalar found unknown escape character."),
            ("a: \"b\\n\\u12\"\n", "1:10 While parsing a quoted scalar did not find expected hexdecimal number."),
            ("a: \"x\n\n", "3:1 While scanning a quoted scalar found unexpected end of stream."),
            ("a: 'b\n---\nc'\n", "2:1 While scanning a quoted scalar found unexpected document indicator."),
            ("a: |x\n", "1:5 While scanning a block scalar did not find expected comment or line break."),
            ("a: |10\n y\n", "1:6 While scanning a block scalar did not find expected comment or line break."),
            (
                "a: >2- # b\n   y\na: > b\n",
                "3:6 While scanning a block scalar did not find expected comment or line break.",
            ),
            ("a: |0\n y\n", "1:5 While scanning a block scalar found an indentation indicator equal to 0."),
            ("a: ]\n", "1:4 While parsing a block node did not find expected node content."),
            ("a: ,\n", "1:4 While parsing a block node did not find expected node content."),
            ("a: [a,,b]\n", "1:7 While parsing a flow node did not find expected node content."),
            ("a: [b\n", "2:1 While parsing a flow sequence did not find expected ',' or ']'."),
            ("a: {b\n", "2:1 While parsing a flow mapping did not find expected ',' or '}'."),
            ("a: ['x' y]\n", "1:9 While parsing a flow sequence did not find expected ',' or ']'."),
            ("x: [1, 2]]\n", "1:10 While parsing a block mapping did not find expected key."),
            ("{ }}\n", "1:4 Did not find expected <document start>."),
            ("[a]]\n", "1:4 Did not find expected <document start>."),
            ("a\nb: c\n", "2:2 Mapping values are not allowed in this context."),
            ("a: - b\n", "1:4 Block sequence entries are not allowed in this context."),
            ("a: ? b\n", "1:4 Mapping keys are not allowed in this context."),
            ("a: 1\nb\nc: d\n", "3:1 While scanning a simple key could not find expected ':'."),
            ("- a: 1\n b: 2\n", "2:2 While parsing a block collection did not find expected '-' indicator."),
            ("a:\n - b\n- c\n", "3:1 While parsing a block mapping did not find expected key."),
            ("a: 'x\n  y: z' w\n", "2:9 While parsing a block mapping did not find expected key."),
            ("a: !x y\n", "1:4 Could not determine a constructor for the tag '!x'."),
            ("a: !!nope y\n", "1:4 Could not determine a constructor for the tag 'tag:yaml.org,2002:nope'."),
            ("a: !x!y z\n", "1:4 While parsing a node found undefined tag handle."),
            ("a: [{{ b }}]\n", "1:6 While constructing a mapping found unhashable key."),
            ("---\na: 1\n---\nb: 2\n", "3:1 Expected a single document in the stream but found another document."),
            ("a: 1\n...\nb\n", "3:1 Did not find expected <document start>."),
        ] {
            assert_eq!(told(text), expected, "{text:?}");
        }
    }

    #[test]
    fn common_mistakes_are_guessed_from_the_line() {
        let (tabs, template) = ("Tabs are usually", "This may be an issue with missing quotes around a template");
        let (colon, quote) =
            ("Colons in unquoted values", "Values starting with a quote must end with the same quote.");
        let inner = "Values starting with a quote must end with the same quote, and not contain that quote.";
        for (text, at, beginning) in [
            ("a: b\n\tc: d\n", "2:1", tabs),
            ("a: {{ b }}\tc\n", "1:11", tabs),
            ("a: |\n\tx\n", "2:1", tabs),
            ("a: {{ b }}\n", "1:4", template),
            ("- - {{ b }}\n", "1:5", template),
            ("a: {{ b }} c: d\n", "1:4", template),
            ("{{ a }}: b\n", "1:1", template),
            ("a: b: c\n", "1:5", colon),
            ("- é a: b :c: d\n", "1:12", colon),
            ("x: 1\n- a:\n", "2:4", colon),
            ("a-b: {{ b }}\n", "1:4", colon),
            ("a: {b: {{ c }}}\n", "1:6", colon),
            ("a:\n  <<: 1\n", "2:5", colon),
            ("x: {a: 1}}\n", "1:6", colon),
            ("a: \"b\" c\n", "1:4", quote),
            ("'a' b\n", "1:1", quote),
            ("a: 'it's'\n", "1:4", inner),
        ] {
            assert!(told(text).starts_with(&format!("{at} {beginning}")), "{text:?}: {}", told(text));
        }
    }

    #[test]
    fn the_librarys_own_form_has_every_place() {
        for (text, expected) in [
            ("a: b: c", "mapping values are not allowed in this context\n  in \"<unicode string>\", line 1, column 5"),
            (
                "[1",
                "while parsing a flow sequence\n  in \"<unicode string>\", line 1, column 1\n\
                 did not find expected ',' or ']'\n  in \"<unicode string>\", line 2, column 1",
            ),
            (
                "a: @x",
                "while scanning for the next token\nfound character that cannot start any token\n  \
                 in \"<unicode string>\", line 1, column 4",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }
}
