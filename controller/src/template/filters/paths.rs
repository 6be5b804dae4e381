//! Filters on paths: by text alone, but for those that ask the controller's file system.

use std::path::Path;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error};
use rustle_agent::accounts::Accounts;

use super::operators::class;
use super::params::{Filter, Params, add_filters, items};
use super::python_type;
use crate::template::convert::failed;
use crate::template::python;

pub(super) fn register(env: &mut Environment<'static>) {
    add_filters(
        env,
        &[
            Filter("basename", &[], |value, _| Ok(Value::from(split(path_text(value)?).1))),
            Filter("dirname", &[], |value, _| Ok(Value::from(split(path_text(value)?).0))),
            Filter("splitext", &[], splitext),
            Filter("relpath", &["start"], relpath),
            Filter("path_join", &[], path_join),
            Filter("normpath", &[], |value, _| Ok(Value::from(normalize(&python::text(value))))),
            Filter("commonpath", &[], commonpath),
            Filter("expanduser", &[], |value, _| Ok(Value::from(expand_user(&python::text(value))))),
            Filter("expandvars", &[], |value, _| Ok(Value::from(expand_vars(&python::text(value))))),
            Filter("realpath", &[], realpath),
            Filter("fileglob", &[], |value, _| Ok(super::lookups::glob_files(Path::new("."), &python::text(value)))),
            Filter("win_basename", &[], |value, _| Ok(Value::from(win_split(&python::text(value)).1))),
            Filter("win_dirname", &[], |value, _| Ok(Value::from(win_split(&python::text(value)).0))),
            Filter("win_splitdrive", &[], win_splitdrive),
        ],
    );
}

/// Head and tail at the last slash; the head without trailing slashes unless it is only slashes.
fn path_text(value: &Value) -> Result<&str, Error> {
    value.as_str().ok_or_else(|| {
        let kind = python_type(value);
        failed(format!("expected str, bytes or os.PathLike object, not {kind}"))
    })
}

fn split(path: &str) -> (String, String) {
    let (head, tail) = path.rfind('/').map_or(("", path), |at| path.split_at(at + 1));
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }.to_owned(), tail.to_owned())
}

fn splitext(value: &Value, _: &Params) -> Result<Value, Error> {
    let path = python::text(value);
    let name_start = path.rfind('/').map_or(0, |at| at + 1);
    // Dots a name begins with begin no extension.
    let stem_start = name_start + path[name_start..].len() - path[name_start..].trim_start_matches('.').len();
    let at = path[stem_start..].rfind('.').map_or(path.len(), |dot| stem_start + dot);
    Ok(Value::from(vec![path[..at].to_owned(), path[at..].to_owned()]))
}

/// As `os.path.normpath`: no empty or `.` steps, `..` taken together with the step before.
pub(super) fn normalize(path: &str) -> String {
    let leading = match path {
        _ if path.starts_with("//") && !path.starts_with("///") => "//",
        _ if path.starts_with('/') => "/",
        _ => "",
    };
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/').filter(|step| !step.is_empty() && *step != ".") {
        match steps.last() {
            Some(&last) if step == ".." && last != ".." => {
                steps.pop();
            }
            None if step == ".." && !leading.is_empty() => {}
            _ => steps.push(step),
        }
    }
    let joined = format!("{leading}{}", steps.join("/"));
    if joined.is_empty() { ".".to_owned() } else { joined }
}

fn absolute(path: &str) -> Result<String, Error> {
    if path.starts_with('/') {
        return Ok(normalize(path));
    }
    let here = std::env::current_dir().map_err(|error| failed(format!("the current directory: {error}")))?;
    Ok(normalize(&format!("{}/{path}", here.display())))
}

fn relpath(value: &Value, params: &Params) -> Result<Value, Error> {
    let (path, start) = (absolute(&python::text(value))?, absolute(&params.text("start", "."))?);
    let steps = |path: &str| path.split('/').filter(|step| !step.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (steps(&path), steps(&start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - common);
    let relative = up.chain(path[common..].iter().cloned()).collect::<Vec<_>>().join("/");
    Ok(Value::from(if relative.is_empty() { ".".to_owned() } else { relative }))
}

fn path_part(value: &Value) -> Result<String, Error> {
    let text = value.as_str().map(str::to_owned);
    let given = python_type(value);
    text.ok_or_else(|| failed(format!("expected str, bytes or os.PathLike object, not {given}")))
}

fn path_join(value: &Value, _: &Params) -> Result<Value, Error> {
    let parts: Vec<String> = match value.as_str() {
        Some(text) => vec![text.to_owned()],
        None if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) => {
            items(value)?.iter().map(path_part).collect::<Result<_, _>>()?
        }
        None => {
            let given = python_type(value);
            return Err(failed(format!("|path_join expects string or sequence, got <class '{given}'> instead.")));
        }
    };
    let mut out = String::new();
    for part in parts {
        if part.starts_with('/') {
            out = part;
        } else {
            if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(&part);
        }
    }
    Ok(Value::from(out))
}

fn commonpath(value: &Value, _: &Params) -> Result<Value, Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let class = match class(value) {
            name @ "_AnsibleLazyTemplateDict" => format!("ansible._internal._templating._lazy_containers.{name}"),
            name => name.to_owned(),
        };
        return Err(failed(format!("|commonpath expects sequence, got <class '{class}'> instead.")));
    }
    let paths: Vec<String> = items(value)?.iter().map(python::text).collect();
    let first = paths.first().ok_or_else(|| failed("commonpath() arg is an empty sequence"))?;
    if paths.iter().any(|path| path.starts_with('/') != first.starts_with('/')) {
        return Err(failed("Can't mix absolute and relative paths"));
    }
    let steps =
        |path: &str| path.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect::<Vec<_>>();
    let common = paths.iter().map(|path| steps(path)).reduce(|common, path| {
        common.into_iter().zip(path).take_while(|(a, b)| a == b).map(|(step, _)| step).collect()
    });
    let root = if first.starts_with('/') { "/" } else { "" };
    Ok(Value::from(format!("{root}{}", common.unwrap_or_default().join("/"))))
}

/// `~` and `~name` by the environment and /etc/passwd; unchanged where there is no such user.
pub(super) fn expand_user(path: &str) -> String {
    let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
    let (user, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let home = if user.is_empty() { std::env::var("HOME").ok() } else { home_of(user) };
    home.map_or_else(|| path.to_owned(), |home| format!("{}{tail}", home.trim_end_matches('/')))
}

fn home_of(user: &str) -> Option<String> {
    Accounts::read(Path::new("/")).ok()?.user(user).map(|user| user.home.clone())
}

fn expand_vars(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let braced =
            rest[1..].strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(name, _)| (name, name.len() + 3));
        let bare_len = rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len() - 1);
        let (name, len) = braced.unwrap_or((&rest[1..=bare_len], bare_len + 1));
        match std::env::var(name) {
            Ok(value) => out.push_str(&value),
            Err(_) => out.push_str(&rest[..len]),
        }
        rest = &rest[len..];
    }
    out + rest
}

fn realpath(value: &Value, _: &Params) -> Result<Value, Error> {
    let path = absolute(&python::text(value))?;
    let real = std::fs::canonicalize(&path).map_or(path, |real| real.to_string_lossy().into_owned());
    Ok(Value::from(real))
}

fn win_drive(path: &str) -> (&str, &str) {
    match path.as_bytes() {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => path.split_at(2),
        _ => ("", path),
    }
}

fn win_split(path: &str) -> (String, String) {
    let (drive, rest) = win_drive(path);
    let (head, tail) = rest.rfind(['\\', '/']).map_or(("", rest), |at| rest.split_at(at + 1));
    let trimmed = head.trim_end_matches(['\\', '/']);
    (format!("{drive}{}", if trimmed.is_empty() { head } else { trimmed }), tail.to_owned())
}

fn win_splitdrive(value: &Value, _: &Params) -> Result<Value, Error> {
    let path = python::text(value);
    let (drive, rest) = win_drive(&path);
    Ok([drive, rest].into_iter().map(Value::from).collect())
}
