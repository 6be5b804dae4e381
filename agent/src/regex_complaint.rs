//! What Python says of a pattern that is no regular expression: its grammar is read as Python's `re` reads it, only to
//! find the first thing that is wrong.

/// Python's sentence about what is wrong with `pattern`; none where Python would take it.
pub fn complaint(pattern: &str) -> Option<String> {
    let mut reader = Reader { signs: pattern.chars().collect(), ..Reader::default() };
    let why = reader.whole().err().filter(|_| !reader.is_too_deep)?;
    let Some(at) = why.at else { return Some(why.what) };
    let before = reader.signs.get(..at).unwrap_or(&reader.signs);
    let place = if reader.signs.contains(&'\n') {
        let line = before.iter().filter(|sign| **sign == '\n').count() + 1;
        let column = before.iter().rev().take_while(|sign| **sign != '\n').count() + 1;
        format!(" (line {line}, column {column})")
    } else {
        String::new()
    };
    Some(format!("{} at position {at}{place}", why.what))
}

/// What is wrong, and where, counted in characters.
struct Wrong {
    what: String,
    at: Option<usize>,
}

fn wrong<T>(what: impl Into<String>, at: usize) -> Result<T, Wrong> {
    Err(Wrong { what: what.into(), at: Some(at) })
}

/// How many characters something matches: at least, and at most.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Width {
    min: u64,
    max: u64,
}

impl Width {
    const NONE: Width = Width { min: 0, max: 0 };
    const ONE: Width = Width { min: 1, max: 1 };

    fn then(self, next: Width) -> Width {
        Width { min: self.min.saturating_add(next.min), max: self.max.saturating_add(next.max) }
    }

    fn or(self, other: Width) -> Width {
        Width { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn times(self, min: u64, max: u64) -> Width {
        Width { min: self.min.saturating_mul(min), max: self.max.saturating_mul(max) }
    }
}

/// What stands before a sign that repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing, or a place (`^`), which cannot be repeated.
    Nothing,
    Repeated,
    Item,
}

/// A group that captures.
struct Group {
    name: Option<String>,
    /// None while it is open.
    width: Option<Width>,
}

/// Letters that mean something behind a backslash.
const ESCAPES: &str = "abfnrtvxuUNdDsSwWAbBZ";

/// Letters that are flags.
const FLAGS: &str = "aiLmsux";

/// Deeper groups are not looked into: the engine has a limit of its own.
const DEPTH_MAX: usize = 200;

#[derive(Default)]
struct Reader {
    signs: Vec<char>,
    at: usize,
    groups: Vec<Group>,
    /// Numbers of groups that conditions name, and where.
    conditions: Vec<(usize, usize)>,
    depth: usize,
    is_too_deep: bool,
    /// Blanks and comments mean nothing (`x`).
    is_verbose: bool,
    /// A look-behind has no width of its own.
    has_wide_look_behind: bool,
}

impl Reader {
    fn whole(&mut self) -> Result<(), Wrong> {
        self.alternatives(true)?;
        if self.peek().is_some() {
            return wrong("unbalanced parenthesis", self.at);
        }
        if let Some((number, at)) = self.conditions.iter().find(|(number, _)| *number > self.groups.len()) {
            return wrong(format!("invalid group reference {number}"), *at);
        }
        if self.has_wide_look_behind {
            return Err(Wrong { what: "look-behind requires fixed-width pattern".to_owned(), at: None });
        }
        Ok(())
    }

    fn peek(&self) -> Option<char> {
        self.signs.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let sign = self.peek()?;
        self.at += 1;
        Some(sign)
    }

    fn takes(&mut self, sign: char) -> bool {
        let is_it = self.peek() == Some(sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn skip_while(&mut self, is_wanted: impl Fn(char) -> bool, max: usize) -> String {
        let found: String = self.signs[self.at..].iter().take(max).take_while(|sign| is_wanted(**sign)).collect();
        self.at += found.chars().count();
        found
    }

    fn alternatives(&mut self, is_outermost: bool) -> Result<Width, Wrong> {
        let mut width = self.sequence(is_outermost)?;
        while self.takes('|') {
            width = width.or(self.sequence(false)?);
        }
        Ok(width)
    }

    /// In the outermost sequence flags for the whole pattern may stand, before all else.
    fn sequence(&mut self, is_outermost: bool) -> Result<Width, Wrong> {
        let (mut whole, mut last, mut before) = (Width::NONE, Width::NONE, Before::Nothing);
        let mut is_begun = !is_outermost;
        while let Some(sign) = self.peek().filter(|sign| !matches!(sign, '|' | ')')) {
            if self.skips_blank(sign) {
                continue;
            }
            let start = self.at;
            if let Some((min, max)) = self.repetition()? {
                match before {
                    Before::Nothing => return wrong("nothing to repeat", start),
                    Before::Repeated => return wrong("multiple repeat", start),
                    Before::Item => {}
                }
                (last, before) = (last.times(min, max), Before::Repeated);
                let _ = self.takes('?') || self.takes('+');
                is_begun = true;
                continue;
            }
            let Some((width, kind)) = self.item(is_begun)? else { continue };
            (whole, last, before) = (whole.then(last), width, kind);
            is_begun = true;
        }
        Ok(whole.then(last))
    }

    fn skips_blank(&mut self, sign: char) -> bool {
        if !self.is_verbose {
            return false;
        }
        if sign == '#' {
            self.skip_while(|sign| sign != '\n', usize::MAX);
        } else if sign.is_ascii_whitespace() {
            self.at += 1;
        } else {
            return false;
        }
        true
    }

    /// How often what stands before is repeated; nothing is read if nothing is. Braces that hold no numbers are text.
    fn repetition(&mut self) -> Result<Option<(u64, u64)>, Wrong> {
        let start = self.at;
        let Some(sign) = self.next() else { return Ok(None) };
        match sign {
            '*' => return Ok(Some((0, u64::MAX))),
            '+' => return Ok(Some((1, u64::MAX))),
            '?' => return Ok(Some((0, 1))),
            '{' if self.peek() != Some('}') => {}
            _ => {
                self.at = start;
                return Ok(None);
            }
        }
        let min = self.skip_while(|sign| sign.is_ascii_digit(), usize::MAX);
        let max = if self.takes(',') { self.skip_while(|sign| sign.is_ascii_digit(), usize::MAX) } else { min.clone() };
        if !self.takes('}') {
            self.at = start;
            return Ok(None);
        }
        let number = |text: &str, default| if text.is_empty() { default } else { text.parse().unwrap_or(u64::MAX) };
        let (min, max) = (number(&min, 0), number(&max, u64::MAX));
        if max < min {
            return wrong("min repeat greater than max repeat", start + 1);
        }
        Ok(Some((min, max)))
    }

    /// One thing that can be repeated or stand alone; none for a comment or flags.
    fn item(&mut self, is_begun: bool) -> Result<Option<(Width, Before)>, Wrong> {
        let start = self.at;
        let width = match self.next() {
            Some('^' | '$') => return Ok(Some((Width::NONE, Before::Nothing))),
            Some('\\') => return self.escape(start).map(Some),
            Some('[') => self.set(start)?,
            Some('(') => return self.group(start, is_begun),
            _ => Width::ONE,
        };
        Ok(Some((width, Before::Item)))
    }

    fn escape(&mut self, start: usize) -> Result<(Width, Before), Wrong> {
        let Some(sign) = self.next() else { return wrong("bad escape (end of pattern)", start) };
        let width = match sign {
            'A' | 'b' | 'B' | 'Z' => return Ok((Width::NONE, Before::Nothing)),
            'x' | 'u' | 'U' | '0' => self.number_escape(sign, start)?,
            '1'..='9' => self.reference(sign, start)?,
            letter if letter.is_ascii_alphabetic() && !ESCAPES.contains(letter) => {
                return wrong(format!("bad escape \\{letter}"), start);
            }
            _ => Width::ONE,
        };
        Ok((width, Before::Item))
    }

    /// `\x41`, `\u0041`, `\U00000041` and `\0`.
    fn number_escape(&mut self, sign: char, start: usize) -> Result<Width, Wrong> {
        let digits = match sign {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => {
                self.skip_while(|sign| sign.is_digit(8), 2);
                return Ok(Width::ONE);
            }
        };
        let found = self.skip_while(|sign| sign.is_ascii_hexdigit(), digits);
        match found.len() == digits {
            true => Ok(Width::ONE),
            false => wrong(format!("incomplete escape \\{sign}{found}"), start),
        }
    }

    /// A group's number, or a character's in octal digits.
    fn reference(&mut self, first: char, start: usize) -> Result<Width, Wrong> {
        let mut digits = String::from(first);
        digits += &self.skip_while(|sign| sign.is_ascii_digit(), 1);
        let is_octal = digits.len() == 2 && digits.chars().all(|digit| digit.is_digit(8));
        if is_octal && self.peek().is_some_and(|sign| sign.is_digit(8)) {
            digits.extend(self.next());
            return match u32::from_str_radix(&digits, 8) {
                Ok(0..=0o377) => Ok(Width::ONE),
                _ => wrong(format!("octal escape value \\{digits} outside of range 0-0o377"), start),
            };
        }
        let number: usize = digits.parse().unwrap_or_default();
        match self.groups.get(number - 1).map(|group| group.width) {
            None => wrong(format!("invalid group reference {number}"), start + 1),
            Some(None) => wrong("cannot refer to an open group", start),
            Some(Some(width)) => Ok(width),
        }
    }

    fn set(&mut self, start: usize) -> Result<Width, Wrong> {
        self.takes('^');
        let mut is_first = true;
        loop {
            let from = self.at;
            let Some(low) = self.next() else { return wrong("unterminated character set", start) };
            if low == ']' && !is_first {
                return Ok(Width::ONE);
            }
            is_first = false;
            let low = self.member(low, from)?;
            if !self.takes('-') {
                continue;
            }
            let to = self.at;
            let Some(high) = self.next() else { return wrong("unterminated character set", start) };
            if high == ']' {
                return Ok(Width::ONE);
            }
            let high = self.member(high, to)?;
            if !matches!((low, high), (Some(low), Some(high)) if low <= high) {
                let range: String = self.signs[from..self.at].iter().collect();
                return wrong(format!("bad character range {range}"), from);
            }
        }
    }

    /// A character of a set; none if it is a whole class.
    fn member(&mut self, sign: char, start: usize) -> Result<Option<u32>, Wrong> {
        if sign != '\\' {
            return Ok(Some(sign.into()));
        }
        let Some(sign) = self.next() else { return wrong("bad escape (end of pattern)", start) };
        let value = match sign {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => return Ok(None),
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' | 'u' | 'U' => {
                self.number_escape(sign, start)?;
                let digits: String = self.signs[start + 2..self.at].iter().collect();
                u32::from_str_radix(&digits, 16).unwrap_or(u32::MAX)
            }
            '0'..='7' => {
                let digits = format!("{sign}{}", self.skip_while(|sign| sign.is_digit(8), 2));
                match u32::from_str_radix(&digits, 8) {
                    Ok(value @ 0..=0o377) => value,
                    _ => return wrong(format!("octal escape value \\{digits} outside of range 0-0o377"), start),
                }
            }
            'N' => 0,
            other if other.is_ascii_alphanumeric() => return wrong(format!("bad escape \\{other}"), start),
            other => other.into(),
        };
        Ok(Some(value))
    }

    fn group(&mut self, start: usize, is_begun: bool) -> Result<Option<(Width, Before)>, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.is_too_deep = true;
            return wrong("too many groups in each other", start);
        }
        let was_verbose = self.is_verbose;
        let found = match self.takes('?') {
            false => Opened::Captures(None),
            true => self.extension(start, is_begun)?,
        };
        let width = match found {
            Opened::Nothing => {
                self.depth -= 1;
                return Ok(None);
            }
            Opened::Reference(width) => width,
            Opened::Plain => self.closed(start)?,
            Opened::Looks { behind } => {
                let width = self.closed(start)?;
                self.has_wide_look_behind |= behind && width.min != width.max;
                Width::NONE
            }
            Opened::Captures(name) => {
                let index = self.groups.len();
                self.groups.push(Group { name, width: None });
                let width = self.closed(start)?;
                self.groups[index].width = Some(width);
                width
            }
            Opened::Either => {
                let yes = self.sequence(false)?;
                let no = if self.takes('|') { self.sequence(false)? } else { Width::NONE };
                if self.peek() == Some('|') {
                    return wrong("conditional backref with more than two branches", self.at);
                }
                self.close(start)?;
                yes.or(no)
            }
        };
        (self.depth, self.is_verbose) = (self.depth - 1, was_verbose);
        Ok(Some((width, Before::Item)))
    }

    fn closed(&mut self, start: usize) -> Result<Width, Wrong> {
        let width = self.alternatives(false)?;
        self.close(start)?;
        Ok(width)
    }

    fn close(&mut self, start: usize) -> Result<(), Wrong> {
        if self.takes(')') { Ok(()) } else { wrong("missing ), unterminated subpattern", start) }
    }

    /// What stands behind `(?`.
    fn extension(&mut self, start: usize, is_begun: bool) -> Result<Opened, Wrong> {
        let Some(sign) = self.next() else { return wrong("unexpected end of pattern", self.at) };
        match sign {
            'P' => self.named(start),
            ':' | '>' => Ok(Opened::Plain),
            '#' => {
                self.skip_while(|sign| sign != ')', usize::MAX);
                if self.takes(')') { Ok(Opened::Nothing) } else { wrong("missing ), unterminated comment", start) }
            }
            '=' | '!' => Ok(Opened::Looks { behind: false }),
            '<' => match self.next() {
                Some('=' | '!') => Ok(Opened::Looks { behind: true }),
                Some(other) => wrong(format!("unknown extension ?<{other}"), start + 1),
                None => wrong("unexpected end of pattern", self.at),
            },
            '(' => self.condition(),
            sign if FLAGS.contains(sign) || sign == '-' => self.flags(sign, start, is_begun),
            other => wrong(format!("unknown extension ?{other}"), start + 1),
        }
    }

    /// `(?P<name>` or `(?P=name)`.
    fn named(&mut self, start: usize) -> Result<Opened, Wrong> {
        let Some(kind) = self.next() else { return wrong("unexpected end of pattern", self.at) };
        if kind != '<' && kind != '=' {
            return wrong(format!("unknown extension ?P{kind}"), start + 1);
        }
        let at = self.at;
        let name = self.name(if kind == '<' { '>' } else { ')' })?;
        if !is_identifier(&name) {
            return wrong(format!("bad character in group name {}", quoted(&name)), at);
        }
        let known = self.groups.iter().position(|group| group.name.as_deref() == Some(&*name));
        match (kind, known) {
            ('<', None) => Ok(Opened::Captures(Some(name))),
            ('<', Some(known)) => {
                let (new, old) = (self.groups.len() + 1, known + 1);
                let quoted = quoted(&name);
                wrong(format!("redefinition of group name {quoted} as group {new}; was group {old}"), at)
            }
            (_, None) => wrong(format!("unknown group name {}", quoted(&name)), at),
            (_, Some(known)) => match self.groups[known].width {
                Some(width) => Ok(Opened::Reference(width)),
                None => wrong("cannot refer to an open group", at),
            },
        }
    }

    fn name(&mut self, end: char) -> Result<String, Wrong> {
        let at = self.at;
        let name = self.skip_while(|sign| sign != end, usize::MAX);
        let is_ended = self.takes(end);
        match () {
            () if name.is_empty() => wrong("missing group name", at),
            () if !is_ended => wrong(format!("missing {end}, unterminated name"), at),
            () => Ok(name),
        }
    }

    /// `(?(1)`: what comes depends on whether a group has matched.
    fn condition(&mut self) -> Result<Opened, Wrong> {
        let at = self.at;
        let name = self.name(')')?;
        if is_identifier(&name) {
            let is_known = self.groups.iter().any(|group| group.name.as_deref() == Some(&*name));
            return if is_known {
                Ok(Opened::Either)
            } else {
                wrong(format!("unknown group name {}", quoted(&name)), at)
            };
        }
        match name.parse::<usize>() {
            Ok(0) => wrong("bad group number", at),
            // It may name one that comes later.
            Ok(number) => {
                self.conditions.push((number, at));
                Ok(Opened::Either)
            }
            Err(_) => wrong(format!("bad character in group name {}", quoted(&name)), at),
        }
    }

    /// `(?i)`, for all of the pattern, or `(?i-s:`, for the group.
    fn flags(&mut self, first: char, start: usize, is_begun: bool) -> Result<Opened, Wrong> {
        let (mut sign, mut is_off, mut is_verbose) = (first, false, self.is_verbose);
        let mut is_flag_due = false;
        loop {
            match sign {
                ')' if !is_off => break,
                ':' if !is_flag_due => break,
                '-' if !is_off => (is_off, is_flag_due) = (true, true),
                sign if FLAGS.contains(sign) => {
                    is_flag_due = false;
                    if sign == 'x' {
                        is_verbose = !is_off;
                    }
                }
                sign => {
                    let what = if sign.is_ascii_alphabetic() { "unknown flag" } else { due(is_off, is_flag_due) };
                    return wrong(what, self.at - 1);
                }
            }
            let Some(next) = self.next() else { return wrong(due(is_off, is_flag_due), self.at) };
            sign = next;
        }
        if sign == ')' && is_begun {
            return wrong("global flags not at the start of the expression", start);
        }
        self.is_verbose = is_verbose;
        Ok(if sign == ')' { Opened::Nothing } else { Opened::Plain })
    }
}

/// What a parenthesis opens.
enum Opened {
    /// Flags or a comment, which have ended.
    Nothing,
    /// What a group has matched, named and ended.
    Reference(Width),
    Plain,
    Captures(Option<String>),
    Looks {
        behind: bool,
    },
    /// One thing or another.
    Either,
}

/// What must come among flags.
fn due(is_off: bool, is_flag: bool) -> &'static str {
    match (is_off, is_flag) {
        (true, true) => "missing flag",
        (true, false) => "missing :",
        (false, _) => "missing -, : or )",
    }
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|sign| sign.is_alphanumeric() || sign == '_') && !name.starts_with(|sign: char| sign.is_numeric())
}

fn quoted(name: &str) -> String {
    format!("'{name}'")
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn mistakes_have_pythons_sentences() {
        for (pattern, expected) in [
            ("(", "missing ), unterminated subpattern at position 0"),
            ("a(?:b", "missing ), unterminated subpattern at position 1"),
            ("a)b", "unbalanced parenthesis at position 1"),
            ("a\nb)", "unbalanced parenthesis at position 3 (line 2, column 2)"),
            ("[b", "unterminated character set at position 0"),
            ("a[]b", "unterminated character set at position 1"),
            ("[z-a]", "bad character range z-a at position 1"),
            (r"[\w-a]", r"bad character range \w-a at position 1"),
            ("*", "nothing to repeat at position 0"),
            ("(+a)", "nothing to repeat at position 1"),
            ("a|?", "nothing to repeat at position 2"),
            ("a**", "multiple repeat at position 2"),
            ("a{2,1}", "min repeat greater than max repeat at position 2"),
            ("a\\", "bad escape (end of pattern) at position 1"),
            ("\\q", "bad escape \\q at position 0"),
            (r"\x4", r"incomplete escape \x4 at position 0"),
            (r"(a)\2", "invalid group reference 2 at position 4"),
            (r"(a\1)", "cannot refer to an open group at position 2"),
            ("(?P<n", "missing >, unterminated name at position 4"),
            ("(?P<1>a)", "bad character in group name '1' at position 4"),
            ("(?P<a>x)(?P<a>y)", "redefinition of group name 'a' as group 2; was group 1 at position 12"),
            ("(?P=a)", "unknown group name 'a' at position 4"),
            ("(?z)", "unknown extension ?z at position 1"),
            ("x(?i)", "global flags not at the start of the expression at position 1"),
            ("(?#", "missing ), unterminated comment at position 0"),
            ("(?<=a+)b", "look-behind requires fixed-width pattern"),
        ] {
            assert_eq!(complaint(pattern).as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn what_python_takes_is_fine() {
        for fine in [
            "a*?",
            "a*+",
            "(?P<x>a)+?",
            "[]a]*",
            "[^]]",
            "(?i)a",
            "a{2}?",
            "\\(",
            "(?<!a)b",
            "a{b",
            "a{}",
            "x{,2}",
            r"(a)\1",
            r"\101",
            "(?x)a # (\n b",
            "(?i:a)b",
            "(?s-i:.)",
            "(a)?(?(1)b|c)",
            "(?<=ab|cd)e",
            "(?>a)",
            "[a-]",
            "(?P<a>x)(?P=a)",
            "(?i)(?m)a",
            "é+",
        ] {
            assert_eq!(complaint(fine), None, "{fine}");
        }
    }
}
