//! Shell words, as Python's `shlex` splits and quotes them: no expansion, no comments, no operators.

/// Why a line cannot be split. The sentences are the ones Ansible's users know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("No closing quotation")]
    Quotation,
    #[error("No escaped character")]
    Escape,
}

/// Splits `line` into words: single quotes keep everything, double quotes keep all but `\"` and `\\`.
///
/// # Errors
/// A quotation that does not end, a backslash at the end.
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(SplitError::Quotation)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(SplitError::Escape)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), SplitError> {
    loop {
        match chars.next().ok_or(SplitError::Quotation)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(SplitError::Escape)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// The first word of `line`, and what follows it as it stands there.
///
/// # Errors
/// As [`split`].
pub fn split_first(line: &str) -> Result<(String, &str), SplitError> {
    let line = line.trim_start();
    let blanks = line.match_indices([' ', '\t', '\r', '\n']).map(|(at, _)| at).chain([line.len()]);
    let mut error = SplitError::Quotation;
    for end in blanks {
        // The first blank that is not within quotes or behind a backslash is the first that ends a whole word.
        match split(&line[..end]) {
            Ok(words) => return Ok((words.into_iter().next().unwrap_or_default(), line[end..].trim_start())),
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// `word` so that a shell reads it back as one word.
pub fn quote(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

/// The words quoted and joined by blanks: a line for messages and shells.
pub fn join<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every expectation is what Python's `shlex.split` answers.
    #[test]
    fn words_are_split_as_python_does() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  a  b\tc\nd ", &["a", "b", "c", "d"]),
            ("echo 'a b' \"c d\"", &["echo", "a b", "c d"]),
            (r#"a"b'c"'d"e'"#, &[r#"ab'cd"e"#]),
            (r#""a\"b\\c\d$""#, &[r#"a"b\c\d$"#]),
            (r"a\ b \\ \'", &["a b", r"\", "'"]),
            ("'' \"\" x", &["", "", "x"]),
            ("a # b", &["a", "#", "b"]),
            ("a|b && c;d", &["a|b", "&&", "c;d"]),
            ("'a\\'", &["a\\"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), *words, "{line}");
        }
    }

    #[test]
    fn the_first_word_leaves_the_rest_untouched() {
        assert_eq!(split_first(" 'a b'c\\ d  \"x\" $Y"), Ok(("a bc d".into(), "\"x\" $Y")));
        assert_eq!(split_first("one"), Ok(("one".into(), "")));
        assert_eq!(split_first("'one two"), Err(SplitError::Quotation));
    }

    #[test]
    fn an_unfinished_line_is_an_error() {
        assert_eq!(split("echo 'x"), Err(SplitError::Quotation));
        assert_eq!(split("echo \"x"), Err(SplitError::Quotation));
        assert_eq!(split("echo \\"), Err(SplitError::Escape));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec(".*", 0..6)) {
            prop_assert_eq!(split(&join(&words)).unwrap(), words);
        }
    }
}
