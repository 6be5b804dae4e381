//! `file`, `fileglob`, `first_found` and `unvault`: what is in files and which files there are.

use std::path::Path;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use rustle_agent::encoding::Encoding;

use super::Call;
use super::options::flag;
use crate::template::convert::{failed, from_data, to_data};
use crate::template::filters::params::items;
use crate::template::filters::paths::expand_user;
use crate::template::filters::python_type;
use crate::template::python;
use crate::vault::is_encrypted;

/// A file larger than this has no place in a variable.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The folder of a task's own files, as a loop tells it to `first_found`: no option that an author would give.
pub(crate) const FOLDER: &str = "__folder";

/// A file's text, decrypted if it is encrypted.
pub(super) fn read_file(path: &Path, call: &Call<'_>) -> Result<String, Error> {
    let text = String::from_utf8(read_bytes(path, call)?);
    text.map_err(|_| failed(format!("{}: stream did not contain valid UTF-8", path.display())))
}

/// A file's text in an encoding that Python has a name for.
pub(super) fn read_encoded(path: &Path, encoding: &str, call: &Call<'_>) -> Result<String, Error> {
    let bytes = read_bytes(path, call)?;
    let (encoding, has_mark) = match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "utf-8-sig" => (Encoding::Utf8, true),
        _ => (Encoding::named(encoding).map_err(failed)?, false),
    };
    if encoding == Encoding::Utf8 {
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| failed(format!("{}: stream did not contain valid UTF-8", path.display())))?;
        return Ok(text.strip_prefix('\u{feff}').filter(|_| has_mark).map(str::to_owned).unwrap_or(text));
    }
    encoding.decode(&bytes).map_err(failed)
}

fn read_bytes(path: &Path, call: &Call<'_>) -> Result<Vec<u8>, Error> {
    let refused = |why: String| failed(format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| {
        let (words, path) = (error.to_string(), path.display());
        let words = words.split(" (os error").next().unwrap_or_default();
        let number = error.raw_os_error().unwrap_or_default();
        failed(format!("An error occurred while trying to read the file '{path}': [Errno {number}] {words}: '{path}'"))
    };
    let size = std::fs::metadata(path).map_err(unread)?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("{size} bytes are more than the {FILE_BYTES_MAX} a lookup may read")));
    }
    let bytes = std::fs::read(path).map_err(unread)?;
    match std::str::from_utf8(&bytes).ok().filter(|text| is_encrypted(text)) {
        None => Ok(bytes),
        Some(text) => {
            let vault = call.scope.as_ref().and_then(|scope| scope.vault()).cloned().unwrap_or_default();
            vault.decrypt(text).map_err(|error| refused(error.to_string()))
        }
    }
}

pub(super) fn file(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: &Value| {
        let inaccessible = |why: &str| failed(format!("Unable to access the file {}: {why}", python::repr(name)));
        let path = call
            .find(name, "files")?
            .ok_or_else(|| inaccessible("File not found. Use -vvvvv to see paths searched."))?;
        let mut text = read_file(&path, call).map_err(|error| match error.detail() {
            Some(why) if why.starts_with("An error occurred") => inaccessible(why),
            _ => error,
        })?;
        if call.flag("rstrip", true) {
            text.truncate(text.trim_end().len());
        }
        Ok(Value::from(if call.flag("lstrip", false) { text.trim_start() } else { &text }))
    };
    call.terms.iter().map(read).collect()
}

pub(super) fn fileglob(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for pattern in &call.terms {
        let Some(pattern) = pattern.as_str() else {
            let kind = python_type(pattern);
            return Err(failed(format!("expected str, bytes or os.PathLike object, not {kind}")));
        };
        for directory in call.directories() {
            let found =
                [directory.join("files"), directory].iter().map(|at| glob_files(at, pattern)).find(Value::is_true);
            if let Some(found) = found {
                out.extend(found.try_iter()?);
                break;
            }
        }
    }
    Ok(out)
}

/// Python's pattern as `globset` writes it: braces are no alternatives, and `^` does not turn a class round.
fn as_globset(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        // The first sign of a class may be a bracket.
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == ']').map(|(at, _)| at);
        match (c, end) {
            ('[', Some(end)) => {
                let class = &rest[..end];
                match class.strip_prefix('^') {
                    Some(others) => out.extend(["[", others, "^]"]),
                    None => out.extend(["[", class, "]"]),
                }
                rest = &rest[end + 1..];
            }
            ('{' | '}' | '\\' | '[', _) => out.extend(['[', c, ']']),
            _ => out.push(c),
        }
    }
    out
}

/// Files whose names match, sorted; the pattern's directory part is taken as it is.
pub(in crate::template::filters) fn glob_files(base: &Path, pattern: &str) -> Value {
    let path = base.join(expand_user(pattern));
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Value::from(Vec::<Value>::new());
    };
    let Ok(glob) =
        globset::GlobBuilder::new(&as_globset(name)).literal_separator(true).build().map(|glob| glob.compile_matcher())
    else {
        return Value::from(Vec::<Value>::new());
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    // A leading dot must be asked for.
    let wanted = |name: &str| {
        glob.is_match(name) && (pattern.contains("/.") || pattern.starts_with('.') || !name.starts_with('.'))
    };
    let mut found: Vec<String> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(wanted) && entry.path().is_file())
        .map(|entry| entry.path().to_string_lossy().into_owned())
        .collect();
    found.sort();
    Value::from(found)
}

pub(super) fn first_found(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let option = |name: &str| call.option(name).cloned();
    let paths = listed(call, "paths", &[',', ':', ';'], option)?;
    let mut search = Search { call, names: Vec::new(), paths, skip: call.flag("skip", false) };
    match &call.terms[..] {
        [] => search.add_files(&listed(call, "files", &[',', ';'], option)?),
        terms => terms.iter().try_for_each(|term| search.add(term))?,
    }
    // A loop knows where its task looks for files; text that asks anywhere else does not.
    let folder = call.option(FOLDER).map(python::text);
    match search.names.iter().find_map(|name| call.find_named(name, folder.as_deref())) {
        Some(path) => Ok(vec![Value::from(path.to_string_lossy().into_owned())]),
        None if search.skip => Ok(Vec::new()),
        None => Err(failed("No file was found when using first_found.")),
    }
}

/// What `first_found` looks for.
struct Search<'c> {
    call: &'c Call<'c>,
    names: Vec<String>,
    /// Where. What the last dict says of it counts, for the names behind it, too; and so it is with `skip`.
    paths: Vec<String>,
    skip: bool,
}

impl Search<'_> {
    /// What is undefined is no name, and no error.
    fn add(&mut self, term: &Value) -> Result<(), Error> {
        let Some(term) = to_data(term)?.map(from_data) else { return Ok(()) };
        match term.kind() {
            ValueKind::String => self.add_files(&parts(&python::text(&term), &[',', ';'])),
            ValueKind::Map => {
                let field = |name: &str| {
                    let value = term.get_attr(name).ok();
                    value.filter(|value| !value.is_undefined() && !value.is_none())
                };
                self.skip = field("skip").as_ref().is_some_and(flag);
                self.paths = listed(self.call, "paths", &[',', ':', ';'], field)?;
                self.add_files(&listed(self.call, "files", &[',', ';'], field)?);
            }
            ValueKind::Seq | ValueKind::Iterable => items(&term)?.iter().try_for_each(|term| self.add(term))?,
            _ => {
                let kind = python_type(&term);
                // The bracket is Ansible's.
                return Err(failed(format!(
                    "Invalid term supplied. A string, dict or list is required, not '{kind}')."
                )));
            }
        }
        Ok(())
    }

    /// Each of the files, in each of the paths if there are any.
    fn add_files(&mut self, files: &[String]) {
        match &self.paths[..] {
            [] => self.names.extend_from_slice(files),
            paths => self.names.extend(paths.iter().flat_map(|path| {
                let path = Path::new(path);
                files.iter().map(|file| path.join(file).to_string_lossy().into_owned())
            })),
        }
    }
}

/// The names that an option has, of which each may be several.
fn listed(
    call: &Call<'_>,
    name: &str,
    separators: &[char],
    option: impl Fn(&str) -> Option<Value>,
) -> Result<Vec<String>, Error> {
    let Some(value) = option(name) else { return Ok(Vec::new()) };
    let Some(value) = to_data(&value)?.map(from_data) else { return Ok(Vec::new()) };
    let list = call.list_of(name, &value)?;
    Ok(list.iter().flat_map(|item| parts(&python::text(item), separators)).collect())
}

fn parts(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators).map(|name| name.trim().to_owned()).collect()
}

/// A file as it is, decrypted if it is encrypted.
pub(super) fn unvault(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: &Value| {
        let missing = || failed(format!("Unable to find file matching \"{}\"", python::text(name)));
        let path = call.find(name, "files")?.ok_or_else(missing)?;
        read_file(&path, call).map(Value::from)
    };
    call.terms.iter().map(read).collect()
}
