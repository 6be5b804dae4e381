//! Fragments in a directory, put together to one text: `assemble`, on the host or on the controller.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::files::pattern::{Flags, Pattern};
use crate::module::{Doing, ModuleError};
use crate::regex_complaint::complaint;

/// Largest text assembled: it is held in memory.
const ASSEMBLED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Which files of a directory belong together, and how.
#[derive(Debug)]
pub struct Fragments {
    pub dir: PathBuf,
    /// What stands between two, on a line of its own.
    pub delimiter: Option<String>,
    /// Python's: only files whose name it finds.
    pub regexp: Option<String>,
    /// Leave out files whose name begins with a dot.
    pub ignore_hidden: bool,
}

impl Fragments {
    /// The files' content, as `read` finds it, in the order of their names. Asks `is_cancelled` before each of them.
    ///
    /// # Errors
    /// The directory or a file cannot be read, the expression is none, it is too much, or it was cancelled.
    pub fn assembled(
        &self,
        read: impl Fn(&Path) -> Result<Vec<u8>, ModuleError>,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Vec<u8>, ModuleError> {
        let dir = self.dir.display();
        if !self.dir.is_dir() {
            let why = if self.dir.exists() { "is not a directory" } else { "does not exist" };
            return Err(ModuleError::new(format!("Source ({dir}) {why}")));
        }
        let regexp = self.regexp.as_deref().map(pattern).transpose()?;
        let entries = std::fs::read_dir(&self.dir).doing(|| format!("list {dir}"))?;
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()
            .doing(|| format!("list {dir}"))?;
        names.sort();
        let mut content = Vec::new();
        // Of the fragment before: whether there was one, and whether its last line has an end.
        let (mut is_first, mut is_ended) = (true, true);
        for name in names {
            if is_cancelled() {
                return Err(ModuleError::new(format!("assembling {dir} was cancelled")));
            }
            let is_hidden = self.ignore_hidden && name.as_bytes().starts_with(b".");
            let is_left_out =
                regexp.as_ref().map(|regexp| regexp.is_match(name.as_bytes())).transpose()? == Some(false);
            let path = self.dir.join(&name);
            let Some(size) = path.metadata().ok().filter(|fragment| fragment.is_file()).map(|fragment| fragment.len())
            else {
                continue;
            };
            if is_hidden || is_left_out {
                continue;
            }
            if content.len() as u64 + size > ASSEMBLED_BYTES_MAX {
                return Err(ModuleError::new(format!("what {dir} has is over 256 MiB together: it is not assembled")));
            }
            // An empty fragment has no line that ends: it leaves one behind, as in Ansible.
            if !is_ended {
                content.push(b'\n');
            }
            if let Some(delimiter) = self.delimiter.as_deref().filter(|text| !is_first && !text.is_empty()) {
                put_on_own_line(&mut content, delimiter);
            }
            let fragment = read(&path)?;
            (is_first, is_ended) = (false, fragment.last() == Some(&b'\n'));
            content.extend(fragment);
        }
        Ok(content)
    }
}

fn pattern(text: &str) -> Result<Pattern, ModuleError> {
    match complaint(text) {
        Some(why) => Err(ModuleError::new(format!("Invalid Regexp ({why}) in \"{text}\""))),
        None => Pattern::bytes(text, Flags::default()),
    }
}

/// The delimiter, with the end of line that it needs.
fn put_on_own_line(content: &mut Vec<u8>, delimiter: &str) {
    content.extend_from_slice(&unescaped(delimiter));
    if content.last() != Some(&b'\n') {
        content.push(b'\n');
    }
}

/// With what escapes of Python's stand for in bytes: `\n`, `\x41`, `\101`. Others stay as they are.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&sign, tail)) = rest.split_first() else {
            out.push(byte);
            break;
        };
        let digits = |radix: u32, max: usize, from: &[u8]| {
            let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
            let text: String = from.iter().take(max).take_while(is_digit).map(|byte| char::from(*byte)).collect();
            (u32::from_str_radix(&text, radix).unwrap_or_default() as u8, text.len())
        };
        let (value, used) = match sign {
            b'\\' | b'\'' | b'"' => (sign, 1),
            b'a' => (7, 1),
            b'b' => (8, 1),
            b'f' => (12, 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'v' => (11, 1),
            b'0'..=b'7' => digits(8, 3, rest),
            b'x' if digits(16, 2, tail).1 == 2 => (digits(16, 2, tail).0, 3),
            _ => (b'\\', 0),
        };
        out.push(value);
        rest = &rest[used..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn a_delimiter_has_pythons_escapes() {
        for (text, expected) in [
            (r"a\nb\tc", &b"a\nb\tc"[..]),
            (r"\x41\101\0", b"AA\0"),
            (r"\\n\q\x4", br"\n\q\x4"),
            ("é\\", "é\\".as_bytes()),
        ] {
            assert_eq!(unescaped(text), expected, "{text}");
        }
    }
}
