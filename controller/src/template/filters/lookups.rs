//! `lookup()`: files, variables and commands of the controller, as data.
//!
//! Only authored text is evaluated, so only an author's text gets here; and what a lookup gives is data like any
//! other result, whatever it looks like.

mod password;
mod sequence;
mod tables;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use self::password::password;
use self::sequence::sequence;
use self::tables::{csvfile, ini};
use super::params::{Params, REST, entries, items, named};
use super::random;
use crate::template::convert::{failed, undefined};
use crate::template::{TemplateError, TemplateFileOptions, python};
use crate::vars::{Scope, VarMap, Variable};

/// How the results are given.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// `lookup`: one result alone, several texts joined by commas.
    Joined,
    /// `query`.
    List,
}

struct Call<'a> {
    terms: Vec<Value>,
    params: &'a Params,
    scope: Option<Scope>,
}

type Run = fn(&Call<'_>) -> Result<Vec<Value>, Error>;

/// Name, names of options (the last three are everybody's), and what it does.
const LOOKUPS: &[(&str, &[&str], Run)] = &[
    ("config", &["on_missing", "plugin_type", "plugin_name", "show_origin", "wantlist", "errors", REST], config),
    ("csvfile", &["col", "keycol", "default", "delimiter", "file", "encoding", "wantlist", "errors", REST], csvfile),
    ("dict", &["wantlist", "errors", REST], dict),
    ("env", &["default", "wantlist", "errors", REST], env),
    ("file", &["lstrip", "rstrip", "wantlist", "errors", REST], file),
    ("fileglob", &["wantlist", "errors", REST], fileglob),
    ("first_found", &["files", "paths", "skip", "wantlist", "errors", REST], first_found),
    ("indexed_items", &["wantlist", "errors", REST], indexed_items),
    (
        "ini",
        &[
            "section",
            "file",
            "type",
            "re",
            "default",
            "encoding",
            "case_sensitive",
            "allow_no_value",
            "allow_none",
            "interpolation",
            "wantlist",
            "errors",
            REST,
        ],
        ini,
    ),
    ("inventory_hostnames", &["wantlist", "errors", REST], inventory_hostnames),
    ("items", &["wantlist", "errors", REST], flat_items),
    ("lines", &["wantlist", "errors", REST], lines),
    ("list", &["wantlist", "errors", REST], |call| Ok(call.terms.clone())),
    ("nested", &["wantlist", "errors", REST], nested),
    ("password", &["length", "chars", "encrypt", "ident", "seed", "wantlist", "errors", REST], password),
    ("pipe", &["wantlist", "errors", REST], pipe),
    ("random_choice", &["wantlist", "errors", REST], random_choice),
    ("sequence", &["start", "end", "count", "stride", "format", "wantlist", "errors", REST], sequence),
    ("subelements", &["wantlist", "errors", REST], subelements),
    (
        "template",
        &[
            "template_vars",
            "variable_start_string",
            "variable_end_string",
            "trim_blocks",
            "lstrip_blocks",
            "comment_start_string",
            "comment_end_string",
            "convert_data",
            "jinja2_native",
            "wantlist",
            "errors",
            REST,
        ],
        template,
    ),
    ("together", &["wantlist", "errors", REST], together),
    ("unvault", &["wantlist", "errors", REST], unvault),
    ("varnames", &["wantlist", "errors", REST], varnames),
    ("vars", &["default", "wantlist", "errors", REST], vars),
];

pub(super) fn lookup(state: &State<'_, '_>, args: &[Value], form: Form) -> Result<Value, Error> {
    let (name, args) = args.split_first().ok_or_else(|| failed("lookup needs the name of a lookup"))?;
    let name = python::text(name);
    let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(&name);
    let known = LOOKUPS.iter().find(|(known, ..)| *known == short);
    let &(short, names, run) = known.ok_or_else(|| failed(format!("The lookup plugin '{name}' was not found.")))?;
    let params = Params::bind(short, names, args)?;
    let call = Call { terms: params.rest.clone(), params: &params, scope: Scope::of_state(state) };
    let form = if params.flag("wantlist", false) { Form::List } else { form };
    match run(&call).map_err(|error| named("lookup", short, error)) {
        Ok(results) => Ok(give(results, form)),
        Err(error) if matches!(params.text("errors", "strict").as_str(), "ignore" | "warn") => {
            if params.text("errors", "") == "warn" {
                tracing::warn!("An error occurred while running the lookup plugin '{short}': {error}");
            }
            Ok(if form == Form::List { Value::from(Vec::<Value>::new()) } else { Value::from(()) })
        }
        Err(error) => Err(error),
    }
}

fn give(results: Vec<Value>, form: Form) -> Value {
    match (form, results.len()) {
        (Form::List, _) => Value::from(results),
        (Form::Joined, 0) => Value::from(results),
        (Form::Joined, 1) => results.into_iter().next().unwrap_or_default(),
        (Form::Joined, _) if results.iter().all(|result| result.as_str().is_some()) => {
            Value::from(results.iter().map(python::text).collect::<Vec<_>>().join(","))
        }
        (Form::Joined, _) => Value::from(results),
    }
}

impl Call<'_> {
    fn texts(&self) -> Vec<String> {
        self.terms.iter().map(python::text).collect()
    }

    fn scope(&self) -> Result<&Scope, Error> {
        self.scope.as_ref().ok_or_else(|| failed("there are no variables here"))
    }

    /// Where relative paths are looked for: the play's search path, its directory, and the current one.
    fn directories(&self) -> Vec<PathBuf> {
        let text = |name: &str| self.scope.as_ref().and_then(|scope| scope.lookup(name)).filter(|v| !v.is_undefined());
        let search = text("ansible_search_path").and_then(|paths| items(&paths).ok()).unwrap_or_default();
        let mut directories: Vec<PathBuf> = search.iter().map(|path| PathBuf::from(python::text(path))).collect();
        directories.extend(text("playbook_dir").map(|path| PathBuf::from(python::text(&path))));
        directories.push(PathBuf::from("."));
        directories
    }

    /// The first file of that name, in `kind` below each directory or in it.
    fn find(&self, name: &str, kind: &str) -> Option<PathBuf> {
        let name = super::paths::expand_user(name);
        let below = |directory: PathBuf| [directory.join(kind).join(&name), directory.join(&name)];
        self.directories().into_iter().flat_map(below).find(|path| path.exists())
    }
}

fn dict(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in &call.terms {
        out.extend(entries(term)?.into_iter().map(|(key, value)| Value::from_pairs([("key", key), ("value", value)])));
    }
    Ok(out)
}

fn env(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: String| {
        let default = || call.params.get("default").cloned().unwrap_or_else(|| Value::from(""));
        std::env::var(&name).map_or_else(|_| default(), Value::from)
    };
    Ok(call.texts().into_iter().map(read).collect())
}

/// A file larger than this has no place in a variable.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn read_file(path: &Path) -> Result<String, Error> {
    let refused = |why: String| failed(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("{size} bytes are more than the {FILE_BYTES_MAX} a lookup may read")));
    }
    std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))
}

fn file(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: String| {
        let path = call.find(&name, "files").ok_or_else(|| {
            failed(format!("Unable to access the file '{name}': File not found. Use -vvvvv to see paths searched."))
        })?;
        let mut text = read_file(&path)?;
        if call.params.flag("rstrip", true) {
            text.truncate(text.trim_end().len());
        }
        Ok(Value::from(if call.params.flag("lstrip", false) { text.trim_start() } else { &text }))
    };
    call.texts().into_iter().map(read).collect()
}

fn fileglob(call: &Call<'_>) -> Result<Vec<Value>, Error> {
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
pub(super) fn glob_files(base: &Path, pattern: &str) -> Value {
    let path = base.join(super::paths::expand_user(pattern));
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

fn first_found(call: &Call<'_>) -> Result<Vec<Value>, Error> {
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
    let mut add = |files: Vec<String>, paths: Vec<String>| {
        if paths.is_empty() {
            candidates.extend(files);
        } else {
            candidates.extend(paths.iter().flat_map(|path| files.iter().map(move |file| format!("{path}/{file}"))));
        }
    };
    add(names(call.params.get("files"))?, names(call.params.get("paths"))?);
    for term in &call.terms {
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

fn flat_items(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for term in &call.terms {
        match term.kind() {
            ValueKind::Seq | ValueKind::Iterable => out.extend(items(term)?),
            _ => out.push(term.clone()),
        }
    }
    Ok(out)
}

fn indexed_items(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let pair = |(index, item)| Value::from(vec![Value::from(index), item]);
    Ok(flat_items(call)?.into_iter().enumerate().map(pair).collect())
}

fn nested(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    if call.terms.is_empty() {
        return Err(failed("with_nested requires at least one element in the nested list"));
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for term in &call.terms {
        let list = if term.kind() == ValueKind::Seq { items(term)? } else { vec![term.clone()] };
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat()))
            .collect();
    }
    Ok(rows.into_iter().map(Value::from).collect())
}

fn together(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    if call.terms.is_empty() {
        return Err(failed("with_together requires at least one element in each list"));
    }
    let lists: Vec<Vec<Value>> = call.terms.iter().map(items).collect::<Result<_, _>>()?;
    let rows = lists.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |list: &Vec<Value>, row: usize| list.get(row).cloned().unwrap_or_else(|| Value::from(()));
    Ok((0..rows).map(|row| lists.iter().map(|list| cell(list, row)).collect::<Vec<_>>().into()).collect())
}

fn subelements(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let [elements, key, flags @ ..] = &call.terms[..] else {
        return Err(failed("subelements lookup expects a list of two or three items,"));
    };
    let skip = flags.first().and_then(|flags| flags.get_attr("skip_missing").ok()).is_some_and(|flag| flag.is_true());
    let elements = match elements.kind() {
        ValueKind::Map => entries(elements)?.into_iter().map(|(_, item)| item).collect(),
        _ => items(elements)?,
    };
    let key = python::text(key);
    let mut out = Vec::new();
    for element in elements {
        let list = element.get_attr(&key)?;
        if list.is_undefined() {
            if skip {
                continue;
            }
            let item = python::repr(&element);
            return Err(failed(format!("could not find '{key}' key in iterated item '{item}'")));
        }
        let rest = entries(&element)?.into_iter().filter(|(name, _)| name.as_str() != Some(&key));
        let rest = Value::from_pairs(rest);
        out.extend(items(&list)?.into_iter().map(|item| Value::from(vec![rest.clone(), item])));
    }
    Ok(out)
}

fn run_shell(lookup: &str, command: &str) -> Result<String, Error> {
    let output = Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| failed(format!("{command}: {error}")))?;
    if !output.status.success() {
        let code = output.status.code().map_or_else(|| "no code".to_owned(), |code| code.to_string());
        return Err(failed(format!("lookup_plugin.{lookup}({command}) returned {code}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn pipe(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    call.texts().iter().map(|command| Ok(Value::from(run_shell("pipe", command)?.trim_end()))).collect()
}

fn lines(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for command in call.texts() {
        out.extend(run_shell("lines", &command)?.lines().map(|line| Value::from(line.trim_end())));
    }
    Ok(out)
}

fn random_choice(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let count = call.terms.len() as u64;
    if count == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![call.terms[random::generator(None).below(count) as usize].clone()])
}

fn template(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let given = call.params.get("template_vars").map(entries).transpose()?.unwrap_or_default();
    let mut vars = VarMap::new();
    for (name, value) in given {
        vars.insert(python::text(&name), Variable::data(super::json::data(&value)?));
    }
    let scope = &call.scope()?.with(vars);
    let defaults = TemplateFileOptions::default();
    let render = |name: String| {
        let path = call
            .find(&name, "templates")
            .ok_or_else(|| failed(format!("the template file {name} could not be found for the lookup")))?;
        let options = TemplateFileOptions {
            variable_start_string: call.params.text("variable_start_string", &defaults.variable_start_string),
            variable_end_string: call.params.text("variable_end_string", &defaults.variable_end_string),
            trim_blocks: call.params.flag("trim_blocks", true),
            lstrip_blocks: call.params.flag("lstrip_blocks", false),
            comment_start_string: call.params.text("comment_start_string", &defaults.comment_start_string),
            comment_end_string: call.params.text("comment_end_string", &defaults.comment_end_string),
            search_directories: path.parent().map(Path::to_path_buf).into_iter().collect(),
            ..defaults.clone()
        };
        let text = scope.templar().render_file(&read_file(&path)?, &name, &options, scope)?;
        Ok(Value::from(text))
    };
    call.texts().into_iter().map(render).collect()
}

/// A file as it is. Encrypted ones are refused until there is somebody who has their secret.
fn unvault(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: String| {
        let path =
            call.find(&name, "files").ok_or_else(|| failed(format!("Unable to find file matching \"{name}\" ")))?;
        let text = read_file(&path)?;
        if text.starts_with("$ANSIBLE_VAULT") {
            return Err(failed(format!(
                "{} is encrypted, and the vault cannot be read by lookups yet",
                path.display()
            )));
        }
        Ok(Value::from(text))
    };
    call.texts().into_iter().map(read).collect()
}

/// Hosts of patterns over the play's `groups`: `web:&eu:!old`, names and groups with wildcards.
fn inventory_hostnames(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let groups = call.scope()?.lookup("groups").ok_or_else(|| failed("there is no inventory here"))?;
    let all = groups.get_attr("all").and_then(|all| items(&all))?;
    let members = |pattern: &str| -> Result<Vec<Value>, Error> {
        let glob = globset::Glob::new(pattern).map_err(|error| failed(error.to_string()))?.compile_matcher();
        let mut found: Vec<Value> = Vec::new();
        for (group, hosts) in entries(&groups)? {
            if glob.is_match(python::text(&group)) {
                found.extend(items(&hosts)?);
            }
        }
        found.extend(all.iter().filter(|host| glob.is_match(python::text(host))).cloned());
        Ok(found)
    };
    let mut chosen: Vec<Value> = Vec::new();
    // As in a play's `hosts`: what is added comes first, then what must hold too, then what is taken away.
    let texts = call.texts();
    let mut patterns: Vec<&str> = texts.iter().flat_map(|text| text.split([':', ','])).map(str::trim).collect();
    patterns.sort_by_key(|pattern| match pattern.chars().next() {
        Some('&') => 1,
        Some('!') => 2,
        _ => 0,
    });
    for pattern in patterns.into_iter().filter(|pattern| !pattern.is_empty()) {
        match pattern.chars().next() {
            Some('&') => {
                let kept = members(&pattern[1..])?;
                chosen.retain(|host| kept.contains(host));
            }
            Some('!') => {
                let gone = members(&pattern[1..])?;
                chosen.retain(|host| !gone.contains(host));
            }
            _ => {
                for host in members(pattern)? {
                    if !chosen.contains(&host) {
                        chosen.push(host);
                    }
                }
            }
        }
    }
    Ok(chosen)
}

/// Ansible's settings that playbooks ask for: name, variable of the environment, default, and what it is.
const SETTINGS: &[(&str, &str, &str, Setting)] = &[
    ("DEFAULT_BECOME", "ANSIBLE_BECOME", "False", Setting::Flag),
    ("DEFAULT_BECOME_METHOD", "ANSIBLE_BECOME_METHOD", "sudo", Setting::Text),
    ("DEFAULT_BECOME_USER", "ANSIBLE_BECOME_USER", "root", Setting::Text),
    ("DEFAULT_FORKS", "ANSIBLE_FORKS", "5", Setting::Number),
    ("DEFAULT_GATHERING", "ANSIBLE_GATHERING", "implicit", Setting::Text),
    ("DEFAULT_HASH_BEHAVIOUR", "ANSIBLE_HASH_BEHAVIOUR", "replace", Setting::Text),
    (
        "DEFAULT_ROLES_PATH",
        "ANSIBLE_ROLES_PATH",
        "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles",
        Setting::Paths,
    ),
    (
        "COLLECTIONS_PATHS",
        "ANSIBLE_COLLECTIONS_PATH",
        "~/.ansible/collections:/usr/share/ansible/collections",
        Setting::Paths,
    ),
    ("DEFAULT_STRATEGY", "ANSIBLE_STRATEGY", "linear", Setting::Text),
    ("DEFAULT_TIMEOUT", "ANSIBLE_TIMEOUT", "10", Setting::Number),
];

#[derive(Clone, Copy)]
enum Setting {
    Flag,
    Number,
    Paths,
    Text,
}

fn config(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    for name in call.texts() {
        let Some((_, variable, default, kind)) = SETTINGS.iter().find(|(known, ..)| *known == name) else {
            match call.params.text("on_missing", "error").as_str() {
                "skip" => {}
                "warn" => tracing::warn!("No config definition exists for '{name}'."),
                _ => return Err(failed(format!("No config definition exists for '{name}'."))),
            }
            continue;
        };
        let text = std::env::var(variable).unwrap_or_else(|_| (*default).to_owned());
        out.push(match kind {
            Setting::Flag => Value::from(super::values::truth(&Value::from(text)).unwrap_or(false)),
            Setting::Number => {
                Value::from(text.parse::<i64>().map_err(|_| failed(format!("{variable} is no number")))?)
            }
            Setting::Paths => text.split(':').map(super::paths::expand_user).map(Value::from).collect(),
            Setting::Text => Value::from(text),
        });
    }
    Ok(out)
}

fn varnames(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let names = call.scope()?.names();
    let mut out = Vec::new();
    for pattern in call.texts() {
        let regex = regex::Regex::new(&pattern).map_err(|error| failed(format!("'{pattern}': {error}")))?;
        out.extend(names.iter().filter(|name| regex.is_match(name)).map(|name| Value::from(name.as_str())));
    }
    Ok(out)
}

fn vars(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let scope = call.scope()?;
    let read = |name: String| match scope.lookup(&name).filter(|value| !value.is_undefined()) {
        Some(value) if value.kind() == ValueKind::Invalid => Err(undefined(&value)),
        Some(value) => Ok(value),
        None => call.params.get("default").cloned().ok_or_else(|| match scope.cause(&name) {
            Some(cause) => cause.into(),
            None => TemplateError::Undefined { message: format!("No variable named '{name}' was found."), name }.into(),
        }),
    };
    call.texts().into_iter().map(read).collect()
}
