//! What is kept of a program's output: the beginning and the end, so that a recap of a thousand hosts needs no gigabytes.

use rustle_protocol::Value;

/// Output kept per program and stream, in bytes. What is more is cut out of the middle, where it tells least.
pub const STDOUT_BYTES_MAX: usize = 256 * 1024;

/// Room for the marker line within the bound: the sentence and a 20-digit number.
const MARKER_BYTES_MAX: usize = 64;

/// Keeps the first and the last half of what may be kept of what is pushed into it, and counts the rest.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Vec<u8>,
    /// At most twice `half`, so that cutting it costs a copy of each byte once.
    tail: Vec<u8>,
    cut: u64,
    half: usize,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture::of(STDOUT_BYTES_MAX)
    }
}

impl Capture {
    /// Keeps `bytes_max` at most.
    pub(crate) fn of(bytes_max: usize) -> Capture {
        Capture { head: Vec::new(), tail: Vec::new(), cut: 0, half: bytes_max.saturating_sub(MARKER_BYTES_MAX) / 2 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 2 * self.half {
            self.cut_tail(self.tail.len() - self.half);
        }
    }

    fn cut_tail(&mut self, bytes: usize) {
        self.tail.drain(..bytes);
        self.cut += bytes as u64;
    }

    pub(crate) fn finish(mut self) -> Output {
        if self.tail.len() > self.half {
            self.cut_tail(self.tail.len() - self.half);
        }
        if self.cut == 0 {
            self.head.append(&mut self.tail);
            return Output { bytes: self.head, cut: 0 };
        }
        // Text stays text: a character that the cut goes through is cut out whole.
        let half_a_char = trailing_partial_char(&self.head);
        self.head.truncate(self.head.len() - half_a_char);
        self.cut += half_a_char as u64;
        let continuation = self.tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        self.cut_tail(continuation);
        let mut bytes = self.head;
        bytes.extend_from_slice(format!("\n[... {} bytes cut ...]\n", self.cut).as_bytes());
        bytes.append(&mut self.tail);
        Output { bytes, cut: self.cut }
    }
}

/// How many bytes at the end begin a UTF-8 character without finishing it.
fn trailing_partial_char(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|back| bytes[bytes.len() - back] & 0xC0 != 0x80)
        .filter(|back| {
            let width = match bytes[bytes.len() - back] {
                0xC0..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF7 => 4,
                _ => 1,
            };
            *back < width
        })
        .unwrap_or(0)
}

/// What was kept of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// At most as much as was to be kept, with a marker line where something was cut.
    pub bytes: Vec<u8>,
    /// Bytes cut out of the middle.
    pub cut: u64,
}

impl Output {
    /// As a result holds it: text, or bytes if it is not UTF-8.
    pub fn into_value(self) -> Value {
        Value::from_output(self.bytes)
    }

    /// For sentences and parsers: U+FFFD for what is not UTF-8.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Without the line ends at the end, as Ansible returns output.
    #[must_use]
    pub fn stripped(mut self) -> Output {
        while self.bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            self.bytes.pop();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captured(chunks: &[Vec<u8>]) -> Output {
        let mut capture = Capture::default();
        chunks.iter().for_each(|chunk| capture.push(chunk));
        capture.finish()
    }

    #[test]
    fn short_output_is_kept_as_it_is() {
        let output = captured(&[b"one\n".to_vec(), b"\xFF two".to_vec()]);
        assert_eq!((output.bytes.as_slice(), output.cut), (&b"one\n\xFF two"[..], 0));
    }

    #[test]
    fn long_output_keeps_both_ends_and_says_what_is_missing() {
        let output = captured(&[b"begin".to_vec(), vec![b'.'; 1_000_000], b"end".to_vec()]);
        let text = output.text();
        assert!(text.starts_with("begin..") && text.ends_with("..end"));
        assert!(text.contains(&format!("\n[... {} bytes cut ...]\n", output.cut)));
        assert!(output.bytes.len() <= STDOUT_BYTES_MAX);
    }

    #[test]
    fn a_cut_through_a_character_leaves_text() {
        for shift in 0..4 {
            let mut text = "x".repeat(shift);
            text.push_str(&"\u{1F980}".repeat(200_000));
            let output = captured(&[text.into_bytes()]);
            assert!(output.cut > 0 && matches!(output.into_value(), Value::String(_)), "shift {shift}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn nothing_is_lost_uncounted(sizes in prop::collection::vec(0..200_000usize, 1..12)) {
            let chunks: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'a'; *size]).collect();
            let output = captured(&chunks);
            let kept = output.bytes.iter().filter(|byte| **byte == b'a').count();
            prop_assert_eq!(kept as u64 + output.cut, sizes.iter().sum::<usize>() as u64);
            prop_assert!(output.bytes.len() <= STDOUT_BYTES_MAX);
        }
    }
}
