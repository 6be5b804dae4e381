//! Python's regular expressions over bytes: what `re` would match and substitute, so do these.
//!
//! The engine is `fancy-regex`; where its syntax differs from Python's the pattern is rewritten first. A pattern that
//! takes too long ends in an error, not in a task that hangs.

use fancy_regex::{BytesMode, Captures, Regex, RegexBuilder};

use crate::module::ModuleError;
use crate::regex_complaint::complaint;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

/// Python's `re.MULTILINE` and `re.DOTALL`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) multiline: bool,
    pub(crate) dotall: bool,
}

impl Pattern {
    /// For bytes: classes are ASCII's and `.` is any byte.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn bytes(text: &str, flags: Flags) -> Result<Pattern, ModuleError> {
        refused(text)?;
        Pattern::compile_bytes(text, flags)
    }

    /// For text: classes are Unicode's. Bytes that are no text are matched by nothing.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn text(text: &str, flags: Flags) -> Result<Pattern, ModuleError> {
        refused(text)?;
        Pattern::compile(text, flags, BytesMode::UnicodeBytes)
    }

    /// As [`Pattern::bytes`], to match from the beginning alone: `re.match`.
    pub(crate) fn bytes_at_start(text: &str, flags: Flags) -> Result<Pattern, ModuleError> {
        refused(text)?;
        Pattern::compile_bytes(&at_start(text), flags)
    }

    /// As [`Pattern::text`], to match from the beginning alone: `re.match`.
    pub(crate) fn text_at_start(text: &str, flags: Flags) -> Result<Pattern, ModuleError> {
        refused(text)?;
        Pattern::compile(&at_start(text), flags, BytesMode::UnicodeBytes)
    }

    fn compile_bytes(text: &str, flags: Flags) -> Result<Pattern, ModuleError> {
        let pattern = Pattern::compile(text, flags, BytesMode::Ascii);
        // A class with letters beyond ASCII cannot be had in bytes; as text it means what its author meant.
        let as_text = || Pattern::compile(text, flags, BytesMode::UnicodeBytes);
        pattern.or_else(|error| if text.is_ascii() { Err(error) } else { as_text() })
    }

    fn compile(text: &str, flags: Flags, mode: BytesMode) -> Result<Pattern, ModuleError> {
        let compiled = RegexBuilder::new(&translate(text, flags.multiline))
            .bytes_mode(mode)
            .multi_line(flags.multiline)
            .dot_matches_new_line(flags.dotall)
            .build();
        match compiled {
            Ok(regex) => Ok(Pattern { text: text.to_owned(), regex }),
            Err(error) => Err(ModuleError::new(format!("the regular expression `{text}` is not valid: {error}"))),
        }
    }

    /// Whether the pattern matches anywhere in `haystack`, as `re.search`.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) fn is_match(&self, haystack: &[u8]) -> Result<bool, ModuleError> {
        self.regex.is_match(haystack).map_err(|error| self.failed(&error))
    }

    /// The first match, with its groups.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) fn captures<'t>(&self, haystack: &'t [u8]) -> Result<Option<Captures<'t, [u8]>>, ModuleError> {
        self.captures_from(haystack, 0)
    }

    fn captures_from<'t>(&self, haystack: &'t [u8], start: usize) -> Result<Option<Captures<'t, [u8]>>, ModuleError> {
        self.regex.captures_from_pos(haystack, start).map_err(|error| self.failed(&error))
    }

    /// Replaces every match, as `re.subn`. Gives back the text and how many were replaced.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) fn substitute(&self, haystack: &[u8], replacement: &Template) -> Result<(Vec<u8>, usize), ModuleError> {
        let (mut out, mut copied, mut count) = (Vec::with_capacity(haystack.len()), 0, 0);
        let mut start = 0;
        while start <= haystack.len() {
            let Some(captures) = self.captures_from(haystack, start)? else { break };
            let Some(whole) = captures.get(0) else { break };
            out.extend_from_slice(&haystack[copied..whole.start()]);
            replacement.expand(&captures, &mut out);
            count += 1;
            copied = whole.end();
            start = if whole.end() > whole.start() { whole.end() } else { next_char(haystack, whole.end()) };
        }
        out.extend_from_slice(&haystack[copied..]);
        Ok((out, count))
    }

    fn failed(&self, error: &fancy_regex::Error) -> ModuleError {
        ModuleError::new(format!("the regular expression `{}` could not be matched: {error}", self.text))
    }
}

/// What Python refuses is refused, whether or not the engine would make something of it.
fn refused(text: &str) -> Result<(), ModuleError> {
    complaint(text).map_or(Ok(()), |why| Err(ModuleError::broke_off(why)))
}

fn at_start(text: &str) -> String {
    format!(r"\A(?:{text})")
}

/// The byte after the character at `at`.
fn next_char(haystack: &[u8], at: usize) -> usize {
    let rest = haystack.get(at + 1..).unwrap_or_default();
    at + 1 + rest.iter().take_while(|byte| **byte & 0xC0 == 0x80).count()
}

/// Rewrites what Python and the engine read differently.
fn translate(pattern: &str, multiline: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let multiline = multiline || sets_multiline(pattern);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // The very end; `\Z` would be before trailing newlines here.
                Some('Z') if !in_class => out.push_str(r"\z"),
                // Only quoted here; word boundaries to the engine.
                Some(quoted @ ('<' | '>')) => out.push(quoted),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                // A bracket in the first place is one of the characters.
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str(r"\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Nested classes and set operations are the engine's own.
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            // Before the last newline, or at the end.
            '$' if !in_class && !multiline => out.push_str(r"(?=\n?\z)"),
            _ => out.push(c),
        }
    }
    out
}

/// Whether the pattern itself begins with a flag group that has `m`.
fn sets_multiline(pattern: &str) -> bool {
    let flags = pattern.strip_prefix("(?").and_then(|rest| rest.split_once(')')).map(|(flags, _)| flags);
    flags.is_some_and(|flags| flags.chars().all(|c| c.is_ascii_alphabetic()) && flags.contains('m'))
}

/// A replacement text: `\1`, `\g<1>` and `\g<name>` stand for groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
    Named(String),
}

/// Why a text is no replacement, in Python's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadTemplate {
    /// It is not written as one: `bad escape \q at position 0`.
    Syntax(String),
    /// The pattern has no group of this name.
    UnknownName(String),
}

impl std::fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadTemplate::Syntax(why) => f.write_str(why),
            BadTemplate::UnknownName(name) => write!(f, "unknown group name '{name}'"),
        }
    }
}

impl From<BadTemplate> for ModuleError {
    fn from(bad: BadTemplate) -> ModuleError {
        ModuleError::broke_off(bad)
    }
}

impl Template {
    /// # Errors
    /// An escape that Python does not know, or a group that `pattern` has not.
    pub(crate) fn parse(text: &str, pattern: &Pattern) -> Result<Template, BadTemplate> {
        let mut reader = TemplateReader { signs: text.chars().collect(), at: 0, pattern };
        let (mut parts, mut literal) = (Vec::new(), String::new());
        while let Some(sign) = reader.next() {
            if sign != '\\' {
                literal.push(sign);
                continue;
            }
            if let Some(group) = reader.escape(&mut literal)? {
                parts.push(Part::Text(std::mem::take(&mut literal).into_bytes()));
                parts.push(group);
            }
        }
        parts.push(Part::Text(literal.into_bytes()));
        Ok(Template(parts))
    }

    /// Appends the replacement for one match. A group that took no part in it is empty.
    pub(crate) fn expand(&self, captures: &Captures<'_, [u8]>, out: &mut Vec<u8>) {
        for part in &self.0 {
            let group = match part {
                Part::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Part::Group(number) => captures.get(*number),
                Part::Named(name) => captures.name(name),
            };
            out.extend_from_slice(group.map_or(&[], |group| group.as_bytes()));
        }
    }
}

struct TemplateReader<'a> {
    signs: Vec<char>,
    at: usize,
    pattern: &'a Pattern,
}

fn bad<T>(what: impl std::fmt::Display, at: usize) -> Result<T, BadTemplate> {
    Err(BadTemplate::Syntax(format!("{what} at position {at}")))
}

impl TemplateReader<'_> {
    fn next(&mut self) -> Option<char> {
        let sign = self.signs.get(self.at).copied()?;
        self.at += 1;
        Some(sign)
    }

    /// Up to `max` digits below `radix`.
    fn digits(&mut self, radix: u32, max: usize) -> String {
        let rest = self.signs[self.at..].iter().take(max);
        let digits: String = rest.take_while(|sign| sign.is_digit(radix)).collect();
        self.at += digits.len();
        digits
    }

    /// What follows a backslash: a group, or text for `literal`.
    fn escape(&mut self, literal: &mut String) -> Result<Option<Part>, BadTemplate> {
        let start = self.at - 1;
        let Some(sign) = self.next() else { return bad("bad escape (end of pattern)", start) };
        let known = match sign {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'f' => '\x0c',
            'v' => '\x0b',
            'a' => '\x07',
            'b' => '\x08',
            '\\' => '\\',
            'g' => return self.named().map(Some),
            '0'..='9' => return self.numbered(sign, start, literal),
            letter if letter.is_ascii_alphabetic() => return bad(format_args!("bad escape \\{letter}"), start),
            other => {
                literal.push('\\');
                other
            }
        };
        literal.push(known);
        Ok(None)
    }

    /// `\0`, `\101`, which are characters, or `\1` and `\12`, which are groups.
    fn numbered(&mut self, first: char, start: usize, literal: &mut String) -> Result<Option<Part>, BadTemplate> {
        let rest = &self.signs[self.at..];
        let is_octal = |count| rest.len() >= count && rest[..count].iter().all(|sign| sign.is_digit(8));
        if first == '0' || (first.is_digit(8) && is_octal(2)) {
            let digits = format!("{first}{}", self.digits(8, 2));
            let Ok(value @ 0..=0o377) = u32::from_str_radix(&digits, 8) else {
                return bad(format_args!("octal escape value \\{digits} outside of range 0-0o377"), start);
            };
            literal.extend(char::from_u32(value));
            return Ok(None);
        }
        let number = format!("{first}{}", self.digits(10, 1)).parse().unwrap_or_default();
        self.group(number, start + 1).map(Some)
    }

    /// `\g<name>` or `\g<1>`.
    fn named(&mut self) -> Result<Part, BadTemplate> {
        if self.signs.get(self.at) != Some(&'<') {
            return bad("missing <", self.at);
        }
        self.at += 1;
        let start = self.at;
        let name: String = self.signs[start..].iter().take_while(|sign| **sign != '>').collect();
        let end = start + name.chars().count();
        if name.is_empty() {
            return bad("missing group name", start);
        }
        if end >= self.signs.len() {
            return bad("missing >, unterminated name", start);
        }
        self.at = end + 1;
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.group(name.parse().unwrap_or(usize::MAX), start);
        }
        let is_plain = name.chars().all(|sign| sign.is_alphanumeric() || sign == '_');
        if !is_plain || name.starts_with(|sign: char| sign.is_numeric()) {
            return bad(format_args!("bad character in group name '{name}'"), start);
        }
        match self.pattern.regex.capture_names().any(|known| known == Some(name.as_str())) {
            true => Ok(Part::Named(name)),
            false => Err(BadTemplate::UnknownName(name)),
        }
    }

    fn group(&self, number: usize, at: usize) -> Result<Part, BadTemplate> {
        match number < self.pattern.regex.captures_len() {
            true => Ok(Part::Group(number)),
            false => bad(format_args!("invalid group reference {number}"), at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, haystack: &[u8]) -> bool {
        Pattern::bytes(pattern, Flags::default()).unwrap().is_match(haystack).unwrap()
    }

    fn substituted(pattern: &str, replacement: &str, haystack: &str) -> (String, usize) {
        let pattern = Pattern::text(pattern, Flags { multiline: true, dotall: false }).unwrap();
        let template = Template::parse(replacement, &pattern).unwrap();
        let (out, count) = pattern.substitute(haystack.as_bytes(), &template).unwrap();
        (String::from_utf8(out).unwrap(), count)
    }

    #[test]
    fn the_end_is_before_the_last_newline_too() {
        assert!(matches("b$", b"a\nb\n") && matches("b$", b"b"));
        assert!(!matches("a$", b"a\nb\n") && !matches(r"b\Z", b"b\n") && matches(r"b\Z", b"b"));
        assert!(!matches("b$", b"b\n\n"));
        assert!(matches("(?m)a$", b"a\nb\n"));
    }

    #[test]
    fn bytes_that_are_no_text_match_and_are_matched() {
        assert!(matches("^key=.$", b"key=\xff\n"));
        assert!(matches("caf\u{e9}", "un caf\u{e9}".as_bytes()));
        assert!(matches("[\u{e9}\u{e8}]", "\u{e8}".as_bytes()));
    }

    #[test]
    fn classes_and_quoting_are_pythons() {
        for (pattern, haystack) in [
            ("^[[]x", "[x"),
            ("[]a]+$", "a]"),
            ("[^]]b", "ab"),
            (r"\<VirtualHost\>", "<VirtualHost>"),
            ("[a&&b]", "&"),
            ("[~]", "~"),
            (r"^\s*#?\s*Port\b", "  # Port 22"),
            (r"(?i)^permitrootlogin\s", "PermitRootLogin yes"),
            (r"^(?!#)", "x"),
            (r"(?P<q>['\x22])x(?P=q)", "'x'"),
            (r"\/etc\/\-\_\%\@\,\ ", "/etc/-_%@, "),
            ("a{2}b", "aab"),
            ("^{{ x }}$", "{{ x }}"),
            ("a{b", "a{b"),
            (r"\$\{HOME\}", "${HOME}"),
            ("x{,2}y", "xxy"),
        ] {
            assert!(matches(pattern, haystack.as_bytes()), "{pattern} on {haystack}");
        }
    }

    #[test]
    fn groups_are_put_in_by_number_and_name() {
        assert_eq!(substituted(r"^(\w+)=(?P<v>\w+)$", r"\2=\g<1>;\g<v>", "a=b\nc=d\n").0, "b=a;b\nd=c;d\n");
        assert_eq!(substituted("(a)|(b)", r"[\1\2]", "ab"), ("[a][b]".to_owned(), 2));
        assert_eq!(substituted("a", r"\n\t\\\.", "a").0, "\n\t\\\\.");
    }

    #[test]
    fn empty_matches_are_replaced_as_python_does() {
        assert_eq!(substituted("x*", "-", "abxd"), ("-a-b--d-".to_owned(), 5));
        assert_eq!(substituted("^", "# ", "a\n\u{e9}\n").0, "# a\n# \u{e9}\n# ");
    }

    #[test]
    fn mistakes_are_told_with_the_pattern() {
        let error = Pattern::bytes("a(", Flags::default()).unwrap_err().to_string();
        assert_eq!(error, "Task failed: Module failed: missing ), unterminated subpattern at position 1");
        let pattern = Pattern::bytes("(?P<n>a)", Flags::default()).unwrap();
        for (text, expected) in [
            (r"a\q", r"bad escape \q at position 1"),
            (r"\3", "invalid group reference 3 at position 1"),
            (r"\g<2>", "invalid group reference 2 at position 3"),
            (r"\g<", "missing group name at position 3"),
            (r"\gx", "missing < at position 2"),
            (r"\g<n", "missing >, unterminated name at position 3"),
            (r"\g<m>", "unknown group name 'm'"),
            (r"\777", r"octal escape value \777 outside of range 0-0o377 at position 0"),
            ("\\", "bad escape (end of pattern) at position 0"),
        ] {
            assert_eq!(Template::parse(text, &pattern).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(substituted("(?P<n>a)", r"\101\g<n>\g<1>\1", "a").0, "Aaaa");
    }

    #[test]
    fn a_pattern_that_takes_for_ever_is_an_error() {
        let pattern = Pattern::bytes(r"^(a|a|b?)*(?=c)\1$", Flags::default()).unwrap();
        assert!(pattern.is_match(&[b'a'; 200]).unwrap_err().to_string().contains("could not be matched"));
    }
}
