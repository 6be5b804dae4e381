//! `file`, `fileglob`, `first_found` and `unvault`: what is in files and which files there are.

use std::path::Path;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use crate::template::convert::{failed, from_data, to_data};
use crate::template::filters::params::items;
use crate::template::filters::paths::expand_user;
use crate::template::python;
use crate::vault::is_encrypted;

/// A file larger than this has no place in a variable.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file's text, decrypted if it is encrypted.
pub(super) fn read_file(path: &Path, call: &Call<'_>) -> Result<String, Error> {
    let refused = |why: String| failed(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("{size} bytes are more than the {FILE_BYTES_MAX} a lookup may read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    if !is_encrypted(&text) {
        return Ok(text);
    }
    let vault = call.scope.as_ref().and_then(|scope| scope.vault()).cloned().unwrap_or_default();
    let plain = vault.decrypt(&text).map_err(|error| refused(error.to_string()))?;
    String::from_utf8(plain).map_err(|_| refused("its decrypted content is no text".to_owned()))
}

pub(super) fn file(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: String| {
        let path = call.find(&name, "files").ok_or_else(|| {
            failed(format!("Unable to access the file '{name}': File not found. Use -vvvvv to see paths searched."))
        })?;
        let mut text = read_file(&path, call)?;
        if call.params.flag("rstrip", true) {
            text.truncate(text.trim_end().len());
        }
        Ok(Value::from(if call.params.flag("lstrip", false) { text.trim_start() } else { &text }))
    };
    call.texts().into_iter().map(read).collect()
}

pub(super) fn fileglob(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for pattern in call.texts() {
        for directory in call.directories() {
            let found =
                [directory.join("files"), directory].iter().map(|at| glob_files(at, &pattern)).find(Value::is_true);
            if let Some(found) = found {
                out.extend(found.try_iter()?);
                break;
            }
        }
    }
    Ok(out)
}

/// Files whose names match, sorted; the pattern's directory part is taken as it is.
pub(in crate::template::filters) fn glob_files(base: &Path, pattern: &str) -> Value {
    let path = base.join(expand_user(pattern));
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Value::from(Vec::<Value>::new());
    };
    let Ok(glob) = globset::GlobBuilder::new(name).literal_separator(true).build().map(|glob| glob.compile_matcher())
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
    let mut candidates = Vec::new();
    let mut skip = call.params.flag("skip", false);
    let names = |value: Option<&Value>| -> Result<Vec<String>, Error> {
        match value {
            None => Ok(Vec::new()),
            Some(value) if value.as_str().is_some() => {
                Ok(python::text(value).split([',', ';', ':']).map(|name| name.trim().to_owned()).collect())
            }
            Some(value) => Ok(items(value)?.iter().map(python::text).collect()),
        }
    };
    let defined = |value: &Value| Ok::<_, Error>(to_data(value)?.map(from_data));
    let mut add = |files: Vec<String>, paths: Vec<String>| {
        if paths.is_empty() {
            candidates.extend(files);
        } else {
            candidates.extend(paths.iter().flat_map(|path| files.iter().map(move |file| format!("{path}/{file}"))));
        }
    };
    let param = |name: &str| names(call.params.get(name).map(&defined).transpose()?.flatten().as_ref());
    add(param("files")?, param("paths")?);
    for term in call.terms.iter().map(defined).filter_map(Result::transpose) {
        let term = &term?;
        let terms = if term.kind() == ValueKind::Seq { items(term)? } else { vec![term.clone()] };
        for term in terms {
            if term.kind() == ValueKind::Map {
                let field = |name: &str| term.get_attr(name).ok().filter(|value| !value.is_undefined());
                skip |= field("skip").is_some_and(|value| value.is_true());
                add(names(field("files").as_ref())?, names(field("paths").as_ref())?);
            } else {
                add(vec![python::text(&term)], Vec::new());
            }
        }
    }
    let found =
        candidates.iter().find_map(|name| ["files", "templates", "vars"].iter().find_map(|kind| call.find(name, kind)));
    match found {
        Some(path) => Ok(vec![Value::from(path.to_string_lossy().into_owned())]),
        None if skip => Ok(Vec::new()),
        None => Err(failed("No file was found when using first_found.")),
    }
}

/// A file as it is, decrypted if it is encrypted.
pub(super) fn unvault(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: String| {
        let path =
            call.find(&name, "files").ok_or_else(|| failed(format!("Unable to find file matching \"{name}\"")))?;
        read_file(&path, call).map(Value::from)
    };
    call.texts().into_iter().map(read).collect()
}
