//! What Python says of text that is no JSON.

/// How deep lists and dicts are followed: those that nest deeper are the reader's error.
const DEPTH_MAX: usize = 512;

/// Python's sentence about the first thing wrong in `text`; none where nothing is.
pub(super) fn complaint(text: &str) -> Option<String> {
    let signs: Vec<char> = text.chars().collect();
    let mut reader = Reader { signs: &signs, at: 0, depth: 0 };
    let (what, at) = reader.document().err()?;
    let line_start = signs[..at].iter().rposition(|sign| *sign == '\n').map_or(0, |newline| newline + 1);
    let line = signs[..at].iter().filter(|sign| **sign == '\n').count() + 1;
    Some(format!("{what}: line {line} column {} (char {at})", at - line_start + 1))
}

struct Reader<'a> {
    signs: &'a [char],
    at: usize,
    depth: usize,
}

type Read = Result<(), (&'static str, usize)>;

const VALUE: &str = "Expecting value";
const NAME: &str = "Expecting property name enclosed in double quotes";

impl Reader<'_> {
    fn document(&mut self) -> Read {
        self.blanks();
        self.value()?;
        self.blanks();
        if self.at < self.signs.len() { Err(("Extra data", self.at)) } else { Ok(()) }
    }

    fn sign(&self) -> Option<char> {
        self.signs.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.sign().is_some_and(|sign| matches!(sign, ' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Read {
        match self.sign() {
            Some('"') => self.string(),
            Some('{') => self.nested(Reader::object),
            Some('[') => self.nested(Reader::array),
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read) -> Read {
        self.depth += 1;
        let result = if self.depth > DEPTH_MAX { Err((VALUE, self.at)) } else { read(self) };
        self.depth -= 1;
        result
    }

    fn word(&mut self) -> Read {
        let rest = &self.signs[self.at..];
        let words = ["null", "true", "false", "NaN", "Infinity"];
        let found = words
            .into_iter()
            .find(|word| rest.len() >= word.len() && word.chars().zip(rest).all(|(expected, sign)| expected == *sign));
        let word = found.ok_or((VALUE, self.at))?;
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Read {
        let begin = self.at;
        if self.sign() == Some('-') {
            self.at += 1;
        }
        match self.sign() {
            Some('0') => self.at += 1,
            Some('1'..='9') => self.digits(),
            Some('I') if self.at > begin => return self.word(),
            _ => return Err((VALUE, begin)),
        }
        let is_digit = |sign: Option<&char>| sign.is_some_and(char::is_ascii_digit);
        if self.sign() == Some('.') && is_digit(self.signs.get(self.at + 1)) {
            self.at += 1;
            self.digits();
        }
        if matches!(self.sign(), Some('e' | 'E')) {
            let signed = usize::from(matches!(self.signs.get(self.at + 1), Some('+' | '-')));
            if is_digit(self.signs.get(self.at + 1 + signed)) {
                self.at += 1 + signed;
                self.digits();
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.sign().is_some_and(|sign| sign.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Read {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.sign() {
                None => return Err(("Unterminated string starting at", begin)),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => self.escape(begin)?,
                Some('\0'..='\u{1f}') => return Err(("Invalid control character at", self.at)),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self, begin: usize) -> Read {
        let Some(escape) = self.signs.get(self.at + 1) else { return Err(("Unterminated string starting at", begin)) };
        match escape {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => self.at += 2,
            'u' => {
                let digits = self.signs.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(char::is_ascii_hexdigit)) {
                    return Err(("Invalid \\uXXXX escape", self.at + 1));
                }
                self.at += 6;
            }
            _ => return Err(("Invalid \\escape", self.at)),
        }
        Ok(())
    }

    fn array(&mut self) -> Read {
        self.at += 1;
        self.blanks();
        if self.sign() == Some(']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value()?;
            self.blanks();
            match self.sign() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(("Expecting ',' delimiter", self.at)),
            }
            self.blanks();
        }
    }

    fn object(&mut self) -> Read {
        self.at += 1;
        self.blanks();
        if self.sign() == Some('}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.sign() != Some('"') {
                return Err((NAME, self.at));
            }
            self.string()?;
            self.blanks();
            if self.sign() != Some(':') {
                return Err(("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.blanks();
            self.value()?;
            self.blanks();
            match self.sign() {
                Some(',') => self.at += 1,
                Some('}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(("Expecting ',' delimiter", self.at)),
            }
            self.blanks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn each_mistake_has_its_sentence_and_place() {
        for (text, expected) in [
            ("", "Expecting value: line 1 column 1 (char 0)"),
            ("nan", "Expecting value: line 1 column 1 (char 0)"),
            ("é[1,\n ]", "Expecting value: line 1 column 1 (char 0)"),
            ("[1,\n ]", "Expecting value: line 2 column 2 (char 5)"),
            ("{bad", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
            ("{\"a\" 1}", "Expecting ':' delimiter: line 1 column 6 (char 5)"),
            ("{\"a\": 1 \"b\"}", "Expecting ',' delimiter: line 1 column 9 (char 8)"),
            ("[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"),
            ("{} x", "Extra data: line 1 column 4 (char 3)"),
            ("\"a", "Unterminated string starting at: line 1 column 1 (char 0)"),
            ("\"a\nb\"", "Invalid control character at: line 1 column 3 (char 2)"),
            ("\"\\q\"", "Invalid \\escape: line 1 column 2 (char 1)"),
            ("\"\\u12\"", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"),
            ("01", "Extra data: line 1 column 2 (char 1)"),
        ] {
            assert_eq!(complaint(text).as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(complaint(" [1.5e3, {\"a\": [null, -Infinity]}] "), None);
        assert!(complaint(&"[".repeat(100_000)).is_some());
    }
}
