//! Arguments written as one string: `path=/x state=directory`, and options among the words of a command line.

use std::borrow::Cow;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

/// Options that stand among a command's words and are no words of it.
const COMMAND_OPTIONS: [&str; 8] =
    ["chdir", "creates", "executable", "removes", "stdin", "stdin_add_newline", "strip_empty_ends", "warn"];

/// `key=value` words of `text`, and the words that are no such thing.
///
/// # Errors
/// A quote or a template that is not closed.
pub(crate) fn split_pairs(text: &str) -> Result<(Map, Vec<&str>), String> {
    let mut pairs = Map::new();
    let mut others = Vec::new();
    for word in words(text)? {
        match pair(word) {
            Some((key, value)) => {
                pairs.insert(key, Value::String(value));
            }
            None => others.push(word),
        }
    }
    Ok((pairs, others))
}

/// A command line without the options among its words, and those options. Lines that end in a backslash are joined. All
/// else stays as it was, and without options the blanks around it too.
///
/// # Errors
/// A quote or a template that is not closed.
pub(super) fn split_command(line: &str) -> Result<(String, Map), String> {
    let mut options = Map::new();
    let mut rest = String::with_capacity(line.len());
    let mut done = 0;
    for word in words(line)? {
        let mut start = word.as_ptr() as usize - line.as_ptr() as usize;
        let mut word = word;
        if let Some(next) = word.strip_prefix("\\\n").filter(|_| line[..start].ends_with([' ', '\t'])) {
            rest.push_str(&line[done..start]);
            start += word.len() - next.len();
            (done, word) = (start, next);
        }
        let Some((key, value)) = pair(word).filter(|(key, _)| COMMAND_OPTIONS.contains(&key.as_str())) else {
            continue;
        };
        options.insert(key, Value::String(value));
        rest.push_str(&line[done..start]);
        rest.truncate(rest.trim_end_matches(' ').len());
        // The end of its line goes with it, and the blanks behind it.
        let end = start + word.len();
        let behind = line[end..].strip_prefix('\n').unwrap_or(line[end..].trim_start_matches(' '));
        done = line.len() - behind.len();
        if !rest.is_empty() && !rest.ends_with('\n') && !behind.is_empty() {
            rest.push(' ');
        }
    }
    rest.push_str(&line[done..]);
    let rest = if options.is_empty() { rest } else { rest.trim_start().trim_end_matches(' ').to_owned() };
    Ok((rest, options))
}

/// Key and value of a word; quotes around the whole value are taken off, `\=` is no separator.
fn pair(word: &str) -> Option<(String, String)> {
    let word = &*decoded(word);
    let bytes = word.as_bytes();
    let at = (0..bytes.len()).find(|at| bytes[*at] == b'=' && (*at == 0 || bytes[at - 1] != b'\\'))?;
    let (key, value) = (&word[..at], &word[at + 1..]);
    // A key may be made of templates: `set_fact: "{{ name }}=value"`.
    let is_template = key.starts_with("{{") && key.ends_with("}}");
    let legal = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let legal = legal || is_template;
    legal.then(|| (key.to_owned(), unquoted(value).to_owned()))
}

/// Python's escapes in a word of arguments, as Ansible reads them: `\n`, `\b`, `\\`, `\x41`, `\u00e9`. Others stay.
fn decoded(word: &str) -> Cow<'_, str> {
    if !word.contains('\\') {
        return word.into();
    }
    let (mut out, mut rest) = (String::with_capacity(word.len()), word);
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (decoded, length) = escape(after).unwrap_or(('\\', 0));
        out.push(decoded);
        rest = &after[length..];
    }
    out.push_str(rest);
    out.into()
}

/// What stands behind a backslash, and how long it is.
fn escape(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let digits = match first {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => {
            let from = r#"\'"abfnrtv"#.find(first)?;
            let to = ['\\', '\'', '"', '\x07', '\x08', '\x0c', '\n', '\r', '\t', '\x0b'];
            return Some((to[from], 1));
        }
    };
    let digits = text.get(1..=digits)?;
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    Some((char::from_u32(code)?, 1 + digits.len()))
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).filter(|inner| !inner.ends_with('\\')).unwrap_or(text)
}

/// Splits at blanks outside of quotes and templates; quotes stay.
fn words(text: &str) -> Result<Vec<&str>, String> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(closer) = template_closer(&bytes[at..]) {
            start = start.or(Some(at));
            let inside = at + 2;
            let end = match closer {
                "#}" => text[inside..].find(closer),
                _ => template_end(&text[inside..], closer),
            };
            let end = end.ok_or_else(|| unclosed(text, at))?;
            at = inside + end + 2;
            continue;
        }
        match (bytes[at], quote) {
            (b'\\', _) if at + 1 < bytes.len() && bytes[at + 1].is_ascii() => {
                start = start.or(Some(at));
                at += 1;
            }
            (byte, Some((open, _))) if byte == open => quote = None,
            (_, Some(_)) => {}
            (byte @ (b'"' | b'\''), None) => {
                start = start.or(Some(at));
                quote = Some((byte, at));
            }
            (b' ' | b'\t' | b'\n' | b'\r', None) => words.extend(start.take().map(|start| &text[start..at])),
            (_, None) => start = start.or(Some(at)),
        }
        at += 1;
    }
    if let Some((_, opened)) = quote {
        return Err(unclosed(text, opened));
    }
    words.extend(start.map(|start| &text[start..]));
    Ok(words)
}

fn template_closer(rest: &[u8]) -> Option<&'static str> {
    match rest {
        [b'{', b'{', ..] => Some("}}"),
        [b'{', b'%', ..] => Some("%}"),
        [b'{', b'#', ..] => Some("#}"),
        _ => None,
    }
}

/// Where `closer` is, after what stands in quotes; anywhere, if the quotes do not add up.
fn template_end(text: &str, closer: &str) -> Option<usize> {
    let mut quote = None;
    let mut rest = text.char_indices();
    while let Some((at, sign)) = rest.next() {
        match quote {
            None if text[at..].starts_with(closer) => return Some(at),
            None if matches!(sign, '\'' | '"') => quote = Some(sign),
            Some(_) if sign == '\\' => drop(rest.next()),
            Some(open) if sign == open => quote = None,
            _ => {}
        }
    }
    text.find(closer)
}

fn unclosed(text: &str, at: usize) -> String {
    format!("`{}` is not closed", super::source::shown(&text[at..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> String {
        let (pairs, others) = split_pairs(text).unwrap();
        format!("{} {others:?}", Value::Map(pairs))
    }

    fn command(line: &str) -> String {
        let (line, options) = split_command(line).unwrap();
        format!("{line:?} {}", Value::Map(options))
    }

    #[test]
    fn pairs_are_split_at_blanks_outside_of_quotes_and_templates() {
        assert_eq!(pairs("path=/x state=directory"), r#"{"path":"/x","state":"directory"} []"#);
        assert_eq!(pairs("a=\"x y\" b='z'  c={{ d | e }} f"), r#"{"a":"x y","b":"z","c":"{{ d | e }}"} ["f"]"#);
        assert_eq!(pairs("a={{ '{{' }}.b{{ \"}}\" }} c"), r#"{"a":"{{ '{{' }}.b{{ \"}}\" }}"} ["c"]"#);
        assert_eq!(
            pairs("a={{ b.c | d('it\\'s }}') }} {# isn't #} e"),
            r#"{"a":"{{ b.c | d('it's }}') }}"} ["{# isn't #}", "e"]"#
        );
        assert_eq!(pairs("a=b=c\nd=\"{{ '=' }}\""), r#"{"a":"b=c","d":"{{ '=' }}"} []"#);
        assert_eq!(pairs("content=\"it's\""), r#"{"content":"it's"} []"#);
        assert_eq!(pairs("a="), r#"{"a":""} []"#);
    }

    #[test]
    fn escapes_of_python_are_decoded_in_values() {
        assert_eq!(
            pairs(r"a='\\b(.+)\\b' b=\t. c=\x41\u00e9\U0001F600"),
            r#"{"a":"\\b(.+)\\b","b":"\t.","c":"Aé😀"} []"#
        );
        assert_eq!(
            pairs(r"a='\b' b=\d+\. c=\x4 d=\"),
            "{\"a\":\"\\b\",\"b\":\"\\\\d+\\\\.\",\"c\":\"\\\\x4\",\"d\":\"\\\\\"} []"
        );
        assert_eq!(pairs(r#"a="say \"x\"""#), r#"{"a":"say \"x\""} []"#);
    }

    #[test]
    fn options_are_taken_off_a_command_line_and_nothing_else_changes() {
        assert_eq!(command("ls chdir=/tmp"), r#""ls" {"chdir":"/tmp"}"#);
        assert_eq!(command("chdir=/tmp  ls  -l"), r#""ls  -l" {"chdir":"/tmp"}"#);
        assert_eq!(command("make  creates='/a b' all X=1"), r#""make all X=1" {"creates":"/a b"}"#);
        assert_eq!(command("echo  'a  chdir=/tmp'  \"b\""), r#""echo  'a  chdir=/tmp'  \"b\"" {}"#);
        assert_eq!(command("echo {{ x if y else 'chdir=1' }}"), r#""echo {{ x if y else 'chdir=1' }}" {}"#);
        assert_eq!(command("a\nb\nchdir=/tmp\nc"), r#""a\nb\nc" {"chdir":"/tmp"}"#);
        assert_eq!(command("awk '{print $1}' f removes=f"), r#""awk '{print $1}' f" {"removes":"f"}"#);
        assert_eq!(command("a \\\n'b' \\\n  c \\\nchdir=/x\nd\\\n"), r#""a 'b'   c d\\\n" {"chdir":"/x"}"#);
        assert_eq!(command("echo it\\'s"), r#""echo it\\'s" {}"#);
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        assert_eq!(split_command("echo it's").unwrap_err(), "`'s` is not closed");
        assert_eq!(split_pairs("a={{ b").unwrap_err(), "`{{ b` is not closed");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\\n\u{e9}]{0,60}") {
            let _ = split_pairs(&text);
            let _ = split_command(&text);
        }

        #[test]
        fn a_line_without_equals_signs_stays_as_it_is(line in "[ -<>-~\\n\u{e9}]{0,60}") {
            let line = line.replace("\\\n", "");
            prop_assume!(!line.contains("\\\n"));
            if let Ok((rest, options)) = split_command(&line) {
                prop_assert_eq!(rest, line);
                prop_assert!(options.is_empty());
            }
        }

        #[test]
        fn lines_without_equals_signs_lose_nothing_but_the_backslashes_they_are_joined_at(
            line in "([ a\"'{}\\\\\n]|\\\\\n){0,40}",
        ) {
            if let Ok((rest, options)) = split_command(&line) {
                prop_assert_eq!(rest.replace("\\\n", ""), line.replace("\\\n", ""));
                prop_assert!(options.is_empty());
            }
        }
    }
}
