//! The type of a variable's value in an INI inventory: Ansible takes it for a Python literal and, if it is none, for
//! text. `5` is an int, `'5'` text, `[1, 2]` a list, `True` a bool, but `true` and `yes` are text.
//!
//! Tuples and sets become lists. Complex numbers and whole numbers beyond 64 bits stay text.

use rustle_protocol::Value;
use rustle_protocol::value::{DEPTH_MAX, Map};

/// The value that `text` stands for.
pub(super) fn parse(text: &str) -> Value {
    let trimmed = text.trim_start_matches([' ', '\t']);
    if !could_be_literal(trimmed) {
        return Value::String(text.to_owned());
    }
    let mut parser = Parser { rest: trimmed };
    parser.whole().unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Most values are plain words, and their first letters say so.
fn could_be_literal(text: &str) -> bool {
    let quoted = |t: &str| t.starts_with(['\'', '"']);
    match text.bytes().next() {
        None => false,
        Some(b) if b.is_ascii_digit() || b"'\"[({+-.".contains(&b) => true,
        Some(b'T' | b'F' | b'N' | b's') => true,
        Some(b'r' | b'R' | b'b' | b'B' | b'u' | b'U') => quoted(&text[1..]) || text.get(2..).is_some_and(quoted),
        Some(_) => false,
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// The literal, if nothing but space and a comment follows.
    fn whole(&mut self) -> Option<Value> {
        let first = self.value(0)?;
        let value = if self.eat(",") { self.bare_tuple(first)? } else { first };
        self.ends().then_some(value)
    }

    fn ends(&mut self) -> bool {
        self.space();
        self.rest.is_empty() || self.rest.starts_with('#')
    }

    /// `80, 443` behind its first comma.
    fn bare_tuple(&mut self, first: Value) -> Option<Value> {
        let mut items = vec![first];
        while !self.ends() {
            items.push(self.value(0)?);
            if !self.eat(",") {
                break;
            }
        }
        Some(Value::List(items))
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.space();
        match self.rest.bytes().next()? {
            b'[' => self.items("[", "]", depth).map(|(items, _)| Value::List(items)),
            b'(' => self.parenthesis(depth),
            b'{' => self.braces(depth),
            b'+' | b'-' | b'.' | b'0'..=b'9' => self.number(),
            _ => self.string().or_else(|| self.word()),
        }
    }

    /// Items up to `close`, and whether a comma stood among them.
    fn items(&mut self, open: &str, close: &str, depth: usize) -> Option<(Vec<Value>, bool)> {
        self.eat(open);
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.eat(close) {
            if !items.is_empty() && !self.eat(",") {
                return None;
            }
            if !items.is_empty() {
                comma = true;
                if self.eat(close) {
                    break;
                }
            }
            items.push(self.value(depth + 1)?);
        }
        Some((items, comma))
    }

    fn parenthesis(&mut self, depth: usize) -> Option<Value> {
        let (mut items, comma) = self.items("(", ")", depth)?;
        if items.len() == 1 && !comma { items.pop() } else { Some(Value::List(items)) }
    }

    fn braces(&mut self, depth: usize) -> Option<Value> {
        let start = self.rest;
        self.eat("{");
        if self.eat("}") {
            return Some(Value::Map(Map::new()));
        }
        let key = self.value(depth + 1)?;
        if !self.eat(":") {
            self.rest = start;
            return self.items("{", "}", depth).map(|(items, _)| Value::List(unique(items)));
        }
        let mut map = Map::new();
        map.insert(key_text(key)?, self.value(depth + 1)?);
        while !self.eat("}") {
            if !self.eat(",") {
                return None;
            }
            if self.eat("}") {
                break;
            }
            let key = self.value(depth + 1)?;
            if !self.eat(":") {
                return None;
            }
            map.insert(key_text(key)?, self.value(depth + 1)?);
        }
        Some(Value::Map(map))
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            "set" => {
                self.rest = rest.strip_prefix("()")?;
                return Some(Value::List(Vec::new()));
            }
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let negative = match self.rest.as_bytes() {
            [b'-', ..] => Some(true),
            [b'+', ..] => Some(false),
            _ => None,
        };
        if negative.is_some() {
            self.rest = self.rest[1..].trim_start_matches([' ', '\t']);
        }
        let negative = negative.unwrap_or(false);
        let mut after_exponent = false;
        let end = self
            .rest
            .find(|c: char| {
                let sign_of_exponent = after_exponent && matches!(c, '+' | '-');
                after_exponent = matches!(c, 'e' | 'E') && !self.rest.starts_with("0x") && !self.rest.starts_with("0X");
                !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || sign_of_exponent)
            })
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        int(digits, negative).or_else(|| float(digits).map(|n| Value::Float(if negative { -n } else { n })))
    }

    /// Strings side by side are one string.
    fn string(&mut self) -> Option<Value> {
        let mut text = self.one_string()?;
        loop {
            self.space();
            let before = self.rest;
            match self.one_string() {
                Some(more) => text.push_str(&more),
                None => {
                    self.rest = before;
                    return Some(Value::String(text));
                }
            }
        }
    }

    fn one_string(&mut self) -> Option<String> {
        let prefix_end = self.rest.find(['\'', '"']).filter(|end| *end <= 2)?;
        let prefix = self.rest[..prefix_end].to_ascii_lowercase();
        let raw = match prefix.as_str() {
            "" | "u" | "b" => false,
            "r" | "rb" | "br" => true,
            _ => return None,
        };
        let body = &self.rest[prefix_end..];
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|q| body.starts_with(q))?;
        let (text, rest) =
            if raw { raw_body(&body[quote.len()..], quote)? } else { body_of(&body[quote.len()..], quote)? };
        if prefix.contains('b') && !text.is_ascii() {
            return None;
        }
        self.rest = rest;
        Some(text)
    }
}

fn unique(items: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

fn key_text(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::List(_) | Value::Map(_) => None,
        other => Some(other.to_json()),
    }
}

/// Python's rule for `_`: between digits only.
fn without_underscores(digits: &str) -> Option<String> {
    let misplaced = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    (!misplaced).then(|| digits.replace('_', ""))
}

fn int(digits: &str, negative: bool) -> Option<Value> {
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.get(..2) {
        Some("0x") => (16, lower[2..].strip_prefix('_').unwrap_or(&lower[2..])),
        Some("0o") => (8, lower[2..].strip_prefix('_').unwrap_or(&lower[2..])),
        Some("0b") => (2, lower[2..].strip_prefix('_').unwrap_or(&lower[2..])),
        _ => (10, lower.as_str()),
    };
    let body = without_underscores(body)?;
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let leading_zero = radix == 10 && body.len() > 1 && body.starts_with('0') && body.bytes().any(|b| b != b'0');
    if leading_zero {
        return None;
    }
    let magnitude = i128::from_str_radix(&body, radix).ok()?;
    let n = if negative { -magnitude } else { magnitude };
    i64::try_from(n).map(Value::Int).ok().or_else(|| u64::try_from(n).map(Value::UInt).ok())
}

fn float(digits: &str) -> Option<f64> {
    let plain = without_underscores(digits)?;
    let shaped = plain.contains(['.', 'e', 'E']) && plain.bytes().any(|b| b.is_ascii_digit());
    let legal = plain.bytes().all(|b| b.is_ascii_digit() || b"eE.+-".contains(&b));
    if shaped && legal { plain.parse().ok() } else { None }
}

fn raw_body<'a>(body: &'a str, quote: &str) -> Option<(String, &'a str)> {
    let end = body.find(quote)?;
    Some((body[..end].to_owned(), &body[end + quote.len()..]))
}

/// The text up to `quote` with its escapes resolved, and what follows.
fn body_of<'a>(body: &'a str, quote: &str) -> Option<(String, &'a str)> {
    let mut text = String::new();
    let mut rest = body;
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            return Some((text, after));
        }
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = escape(rest, &mut text)?;
        } else {
            text.push(c);
        }
    }
}

fn escape<'a>(rest: &'a str, text: &mut String) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let hex = |count: usize, text: &mut String| {
        let digits = after.get(..count)?;
        let legal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        text.push(char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| legal)?)?);
        Some(&after[count..])
    };
    match c {
        'n' => text.push('\n'),
        't' => text.push('\t'),
        'r' => text.push('\r'),
        'a' => text.push('\u{7}'),
        'b' => text.push('\u{8}'),
        'f' => text.push('\u{c}'),
        'v' => text.push('\u{b}'),
        '\\' | '\'' | '"' => text.push(c),
        'x' => return hex(2, text),
        'u' => return hex(4, text),
        'U' => return hex(8, text),
        'N' => return None,
        '0'..='7' => {
            let end = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            text.push(char::from_u32(u32::from_str_radix(&rest[..end], 8).ok()?)?);
            return Some(&rest[end..]);
        }
        other => {
            text.push('\\');
            text.push(other);
        }
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each pair as `ansible-inventory` of ansible-core 2.19 shows it.
    #[test]
    fn values_have_the_types_ansible_gives_them() {
        for (text, json) in [
            ("0x10", "16"),
            ("1_000", "1000"),
            ("017", r#""017""#),
            ("0o17", "15"),
            ("00", "0"),
            ("(1, 2)", "[1,2]"),
            ("{1,2}", "[1,2]"),
            ("80,443, 8080", "[80,443,8080]"),
            ("1,", "[1]"),
            ("1,2,,", r#""1,2,,""#),
            ("1,a", r#""1,a""#),
            ("a,b", r#""a,b""#),
            ("b'x'", r#""x""#),
            ("'a' 'b'", r#""ab""#),
            ("...", r#""...""#),
            ("-5", "-5"),
            ("- 5", "-5"),
            ("- -5", r#""- -5""#),
            ("+5", "5"),
            ("1e3", "1000.0"),
            ("5 # foo", "5"),
            ("hello # foo", r#""hello # foo""#),
            ("[1, # x", r#""[1, # x""#),
            (r#""a\nb""#, r#""a\nb""#),
            (r"r'x\n'", r#""x\\n""#),
            (r#""\x41\u00e9""#, r#""Aé""#),
            ("None", "null"),
            ("True", "true"),
            ("true", r#""true""#),
            ("yes", r#""yes""#),
            ("{'a': {'b': True}, 1: 2}", r#"{"a":{"b":true},"1":2}"#),
            (r#"{"a": "b"}"#, r#"{"a":"b"}"#),
            ("[1,2,]", "[1,2]"),
            ("(1)", "1"),
            ("()", "[]"),
            ("set()", "[]"),
            ("'''x'''", r#""x""#),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1_0.5", "10.5"),
            (r#""""#, r#""""#),
            ("", r#""""#),
            ("[a]", r#""[a]""#),
            ("1 2", r#""1 2""#),
            ("{{ x }}", r#""{{ x }}""#),
            ("u'x'", r#""x""#),
            ("10.0.0.1", r#""10.0.0.1""#),
            ("1.2.3", r#""1.2.3""#),
            ("Tuesday", r#""Tuesday""#),
            ("server1", r#""server1""#),
        ] {
            assert_eq!(parse(text), serde_json::from_str(json).unwrap(), "{text}");
        }
    }

    #[test]
    fn nesting_without_end_is_text() {
        let text = "[".repeat(100_000);
        assert_eq!(parse(&text), Value::String(text));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\](){}'\"a-f0-9xrub.,:+\\-_\\\\ #\u{e9}]{0,30}") {
            parse(&text);
        }
    }
}
