//! Text from hosts, made safe to show.
//!
//! A program on a host can write anything: sequences that recolour, clear or retitle the terminal, that put text on the
//! clipboard (OSC 52), or that make letters appear in another order than they stand. Every such character becomes a
//! visible escape, `\u001b`, spelled as JSON spells it: a result shown as JSON still parses, and parses to the very
//! bytes the host sent. The record (report file, JSON lines) thus stays exact while even `cat` on it is harmless.

use std::borrow::Cow;
use std::fmt::Write;

/// The text on one line: line ends become `\n`, and whatever could act on a terminal or mislead a reader an escape.
/// A tab stays.
pub fn line(text: &str) -> Cow<'_, str> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            c if is_hostile(c) => push_escape(&mut safe, c),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// The text as lines, each safe on its own. The end of the last line may be missing.
pub fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(line)
}

/// Whether nothing in the text is hostile but for tabs. Most text is ASCII, and told by a look at its bytes.
pub(super) fn is_harmless(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    text.bytes().all(plain) || !text.contains(|c| is_hostile(c) && c != '\t')
}

/// Whether a terminal might obey the character, or a reader be misled by it: all control characters (C0 with tab and
/// line feed, DEL, C1), direction overrides and marks, and what takes no room at all.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}')
}

/// The character as JSON escapes it, in UTF-16 units.
pub(super) fn push_escape(to: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        write!(to, "\\u{unit:04x}").expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["", "hello\tworld", "naïve Straße 日本語 العربية עברית 👩‍🚒", "a\\nb"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn an_osc_52_clipboard_write_is_shown_and_not_done() {
        assert_eq!(line("\x1b]52;c;cm0gLXJmIC8K\x07"), r"\u001b]52;c;cm0gLXJmIC8K\u0007");
    }

    #[test]
    fn csi_in_seven_and_eight_bits_is_shown() {
        assert_eq!(line("\x1b[2J\x1b[31mred"), r"\u001b[2J\u001b[31mred");
        assert_eq!(line("\u{9b}2J\u{85}\u{7f}"), r"\u009b2J\u0085\u007f");
    }

    #[test]
    fn direction_overrides_are_shown() {
        assert_eq!(line("user\u{202e}txt.exe\u{2066}"), r"user\u202etxt.exe\u2066");
    }

    #[test]
    fn tag_characters_are_shown_as_json_would_escape_them() {
        assert_eq!(line("\u{e0041}"), r"\udb40\udc41");
        assert_eq!(serde_json::from_str::<String>("\"\\udb40\\udc41\"").unwrap(), "\u{e0041}");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(line("a\r\nb\nc"), r"a\r\nb\nc");
        assert_eq!(lines("a\nb\x07\n").collect::<Vec<_>>(), ["a", r"b\u0007"]);
    }

    proptest! {
        #[test]
        fn nothing_hostile_ever_passes(text in any::<String>()) {
            prop_assert!(!line(&text).contains(|c| is_hostile(c) && c != '\t'));
        }
    }
}
