//! Before and after of what a module changes.

use std::path::Path;

use rustle_protocol::result::Diff;
use rustle_protocol::{Map, Value};

use super::checksum::Algorithm;

/// Content over this is not shown but described, as in Ansible: a diff is for reading.
pub(crate) const DIFF_BYTES_MAX: u64 = 104_448;

/// The diff of a file's content. `None` is a file that is not there.
pub(crate) fn of_content(path: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> Diff {
    Diff {
        before: before.map_or_else(|| Value::from(""), shown),
        after: after.map_or_else(|| Value::from(""), shown),
        before_header: Some(path.display().to_string()),
        after_header: Some(path.display().to_string()),
    }
}

/// Text as it is; of anything else, its size and checksum.
pub(crate) fn shown(content: &[u8]) -> Value {
    match std::str::from_utf8(content) {
        Ok(text) if content.len() as u64 <= DIFF_BYTES_MAX && !content.contains(&0) => Value::from(text),
        Ok(text) if !text.contains('\0') => described("long", content.len() as u64, &Algorithm::Sha1.of_bytes(content)),
        _ => described("binary", content.len() as u64, &Algorithm::Sha1.of_bytes(content)),
    }
}

/// A line in the place of content that is not shown.
pub(crate) fn described(kind: &str, size: u64, sha1: &str) -> Value {
    Value::from(format!("({kind} file, {size} bytes, SHA-1 {sha1})\n"))
}

/// The diff of attributes, if any differ.
pub(crate) fn of_attributes(path: &Path, before: Map, after: Map) -> Option<Diff> {
    (before != after).then(|| Diff { before: Value::Map(before), after: Value::Map(after), ..attributes_of(path) })
}

/// The diff of attributes with nothing in it.
pub(crate) fn attributes_of(path: &Path) -> Diff {
    let header = Some(format!("{} (file attributes)", path.display()));
    Diff { before_header: header.clone(), after_header: header, ..Diff::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_and_binary_described() {
        assert_eq!(shown(b"a\n").as_str(), Some("a\n"));
        let binary = shown(b"\xff\x00");
        assert!(binary.as_str().unwrap().starts_with("(binary file, 2 bytes, SHA-1 "), "{binary}");
        let long = shown(&vec![b'a'; DIFF_BYTES_MAX as usize + 1]);
        assert!(long.as_str().unwrap().starts_with("(long file, 104449 bytes"), "{long}");
    }
}
