//! What Python says of a pattern that is no regular expression.

/// Python's sentence about the first common mistake in `pattern`; none where it shows none.
pub(super) fn complaint(pattern: &str) -> Option<String> {
    let signs: Vec<char> = pattern.chars().collect();
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    // Whether something stands before that can be repeated, and whether it is repeated already.
    let (mut repeatable, mut repeated) = (false, false);
    while let Some(sign) = signs.get(at) {
        match sign {
            '\\' => {
                let Some(escape) = signs.get(at + 1) else { return Some(said("bad escape (end of pattern)", at)) };
                if escape.is_ascii_alphabetic() && !"abfnrtvxuUNdDsSwWAbBZ".contains(*escape) {
                    return Some(said(&format!("bad escape \\{escape}"), at));
                }
                (repeatable, repeated) = (true, false);
                at += 2;
                continue;
            }
            '[' => {
                let Some(end) = end_of_set(&signs, at) else { return Some(said("unterminated character set", at)) };
                (repeatable, repeated) = (true, false);
                at = end;
            }
            '(' => {
                open.push(at);
                (repeatable, repeated) = (false, false);
                if signs.get(at + 1) == Some(&'?') {
                    // What kind of group it is, is no quantifier.
                    at += 1;
                }
            }
            ')' => {
                if open.pop().is_none() {
                    return Some(said("unbalanced parenthesis", at));
                }
                (repeatable, repeated) = (true, false);
            }
            '|' | '^' => (repeatable, repeated) = (*sign == '^', false),
            '*' | '+' | '?' => {
                if repeated && matches!(sign, '?' | '+') {
                    repeated = true;
                    repeatable = false;
                } else if !repeatable {
                    let what = if repeated { "multiple repeat" } else { "nothing to repeat" };
                    return Some(said(what, at));
                } else {
                    (repeatable, repeated) = (false, true);
                }
            }
            _ => (repeatable, repeated) = (true, false),
        }
        at += 1;
    }
    open.last().map(|at| said("missing ), unterminated subpattern", *at))
}

fn said(what: &str, at: usize) -> String {
    format!("{what} at position {at}")
}

/// Where the `]` of the set stands that begins at `begin`.
fn end_of_set(signs: &[char], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    if signs.get(at) == Some(&'^') {
        at += 1;
    }
    // A `]` that comes first is one of the set.
    if signs.get(at) == Some(&']') {
        at += 1;
    }
    loop {
        match signs.get(at)? {
            ']' => return Some(at),
            '\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn common_mistakes_have_pythons_sentences() {
        for (pattern, expected) in [
            ("(", "missing ), unterminated subpattern at position 0"),
            ("a(?:b", "missing ), unterminated subpattern at position 1"),
            ("a)b", "unbalanced parenthesis at position 1"),
            ("[b", "unterminated character set at position 0"),
            ("a[]b", "unterminated character set at position 1"),
            ("*", "nothing to repeat at position 0"),
            ("(+a)", "nothing to repeat at position 1"),
            ("a|?", "nothing to repeat at position 2"),
            ("a**", "multiple repeat at position 2"),
            ("a\\", "bad escape (end of pattern) at position 1"),
            ("\\q", "bad escape \\q at position 0"),
        ] {
            assert_eq!(complaint(pattern).as_deref(), Some(expected), "{pattern}");
        }
        for fine in ["a*?", "a*+", "(?P<x>a)+?", "[]a]*", "[^]]", "(?i)a", "a{2}?", "\\(", "(?<!a)b", "^*a"] {
            assert_eq!(complaint(fine), None, "{fine}");
        }
    }
}
