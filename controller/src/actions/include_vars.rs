//! `include_vars`: variables of files, from now on the host's. What an author wrote in them stays a template.

use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use indexmap::IndexMap;
use rustle_agent::arguments;
use rustle_agent::module::{ArgError, ModuleError};
use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use super::LocalAction;
use crate::engine::{ExecutionContext, NO_REASON};
use crate::plan::VarsFile;
use crate::template::Authored;
use crate::vars::Learnt;

arguments! {
    pub(super) struct IncludeVarsArgs {
        /// A file of variables, looked for as a role's or the playbook's.
        file | "_raw_params": Option<String>,
        /// A folder of such files.
        dir: Option<String>,
        /// A dict to put them in.
        name: Option<String>,
        /// How many levels of folders; 0 for all.
        depth: Option<u32>,
        /// A regular expression for the names of the folder's files.
        files_matching: Option<String>,
        /// Names of files of the folder that are left out, in a list or with spaces between them: regular expressions for the
        /// end of the name.
        ignore_files: Option<Value>,
        /// What the names of files end in.
        extensions: Option<Value>,
        /// Leave files out that end otherwise; else they are an error.
        ignore_unknown_extensions: bool = false,
        /// `merge` puts dicts into those that are there, `replace` takes their place.
        hash_behaviour: Option<String>,
    }
}

/// Arguments about a file, and those about a folder: a task gives the ones or the others.
const OF_FILES: [&str; 2] = ["file", "_raw_params"];
const OF_FOLDERS: [&str; 6] =
    ["dir", "depth", "files_matching", "ignore_files", "extensions", "ignore_unknown_extensions"];

/// Files of one folder. More is a folder that was named by mistake.
const FILES_MAX: usize = 10_000;

pub(super) struct IncludeVars;

impl LocalAction for IncludeVars {
    type Args = IncludeVarsArgs;

    const NAME: &'static str = "ansible.builtin.include_vars";
    const SUMMARY: &'static str = "Reads variables from files while a play runs.";

    fn check(args: &Map) -> Result<(), ArgError> {
        let has_any = |names: &[&str]| names.iter().any(|name| args.contains_key(*name));
        if has_any(&OF_FILES) && has_any(&OF_FOLDERS) {
            let what = "Task failed: You are mixing file only and dir only arguments, these are incompatible";
            return Err(ArgError::Rule(what.to_owned()));
        }
        Ok(())
    }

    fn run(&self, args: IncludeVarsArgs, _raw: Map, cx: &ExecutionContext<'_>) -> Result<ModuleResult, ModuleError> {
        let merges = match args.hash_behaviour.as_deref() {
            Some("merge") => true,
            Some("replace") | None => false,
            Some(other) => {
                return Err(ModuleError::new(format!("hash_behaviour must be one of: replace, merge, got: {other}")));
            }
        };
        let mut taken = Taken { files: Vec::new(), vars: IndexMap::new(), is_secret: false };
        let taken_all = match &args.dir {
            Some(dir) => Selection::of(&args)?.take(&folder(dir, cx), &mut taken, cx),
            None => file(args.file.as_deref(), cx).and_then(|path| taken.take(&path, cx)),
        };
        let files: Value = taken.files.iter().map(|file| Value::from(file.display().to_string())).collect();
        let name = args.name.filter(|name| !name.is_empty());
        if let Err(message) = taken_all {
            // As in Ansible none of it is taken, and the reason is in `message` alone.
            let nothing: Map = name.into_iter().map(|name| (name, Value::Map(Map::new()))).collect();
            let failed = ModuleError::new(NO_REASON).with("message", message);
            return Err(failed.with("ansible_facts", nothing).with("ansible_included_var_files", files));
        }
        let mut vars = taken.vars;
        if let Some(name) = name {
            vars = IndexMap::from_iter([(name, Authored::Map(vars))]);
        }
        if merges {
            vars = vars.into_iter().map(|(name, value)| (name.clone(), over_known(&name, value, cx))).collect();
        }
        let shown: Map = vars.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
        cx.teach(Learnt::Included(vars.into_iter().collect()));
        let mut result =
            ModuleResult::ok().with("ansible_facts", Value::Map(shown)).with("ansible_included_var_files", files);
        if taken.is_secret {
            result.set("_ansible_no_log", true);
        }
        Ok(result)
    }
}

/// The value as its file has it. Of a file that is encrypted as a whole nobody sees it: the result is not shown.
fn shown(value: &Authored) -> Value {
    match value {
        Authored::Sealed(sealed) => sealed.known().map_or_else(|| value.source(), |(_, value)| value.source()),
        other => other.source(),
    }
}

/// What was read so far.
struct Taken {
    files: Vec<PathBuf>,
    vars: IndexMap<String, Authored>,
    /// One of them was encrypted: what they hold is not shown.
    is_secret: bool,
}

impl Taken {
    fn take(&mut self, path: &Path, cx: &ExecutionContext<'_>) -> Result<(), String> {
        let reader = cx.fragments.ok_or("no files of variables can be read here")?;
        let VarsFile { vars, is_secret } = reader.variables(path)?;
        self.is_secret |= is_secret;
        self.files.push(path.to_owned());
        // Of two files the later counts, whatever is said of dicts that are there already.
        self.vars.extend(vars);
        Ok(())
    }
}

/// Which files of a folder are meant.
struct Selection {
    depth: u32,
    matching: Option<Regex>,
    ignored: Vec<Regex>,
    extensions: Vec<String>,
    ignore_unknown: bool,
}

impl Selection {
    fn of(args: &IncludeVarsArgs) -> Result<Selection, ModuleError> {
        let regex = |text: &str| Regex::new(text).map_err(|error| ModuleError::new(format!("`{text}`: {error}")));
        let list = |value: &Option<Value>| value.as_ref().map(|value| super::names(value).unwrap_or_default());
        let ignored = match &args.ignore_files {
            Some(Value::String(names)) => names.split_whitespace().map(str::to_owned).collect(),
            given => list(given).unwrap_or_default(),
        };
        Ok(Selection {
            depth: args.depth.unwrap_or(0),
            matching: args.files_matching.as_deref().map(regex).transpose()?,
            ignored: ignored.iter().map(|name| regex(&format!("{name}$"))).collect::<Result<_, _>>()?,
            extensions: match &args.extensions {
                // An empty one is that of a name without any.
                Some(Value::List(endings)) => endings.iter().map(rustle_agent::module::shown).collect(),
                given => list(given).unwrap_or_else(|| ["yaml", "yml", "json"].map(str::to_owned).into()),
            },
            ignore_unknown: args.ignore_unknown_extensions,
        })
    }

    fn take(&self, folder: &Path, taken: &mut Taken, cx: &ExecutionContext<'_>) -> Result<(), String> {
        if !folder.exists() {
            return Err(format!("{} directory does not exist", folder.display()));
        }
        if !folder.is_dir() {
            return Err(format!("{} is not a directory", folder.display()));
        }
        let mut files = Vec::new();
        self.walk(folder, 1, &mut files)?;
        // What a role has read by itself already.
        let main = cx.role.map(|role| role.path.join("vars/main.yml"));
        for path in files.into_iter().filter(|path| Some(path) != main.as_ref()) {
            let ending = path.extension().unwrap_or_default();
            if self.extensions.iter().any(|known| ending == known.as_str()) {
                taken.take(&path, cx)?;
            } else if !self.ignore_unknown {
                let known = self.extensions.join(", ");
                return Err(format!("{} does not have a valid extension: {known}", path.display()));
            }
        }
        Ok(())
    }

    /// The files of a folder by name, then those of the folders in it.
    fn walk(&self, folder: &Path, level: u32, files: &mut Vec<PathBuf>) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        paths.sort();
        let (folders, here): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
        files.extend(here.into_iter().filter(|path| self.wants(path)));
        if files.len() > FILES_MAX {
            return Err(format!("{} holds more than {FILES_MAX} files", folder.display()));
        }
        for folder in folders.iter().filter(|_| self.depth == 0 || level < self.depth) {
            self.walk(folder, level + 1, files)?;
        }
        Ok(())
    }

    fn wants(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // An expression that gives up fits nothing.
        let fits = |regex: &Regex| regex.is_match(&name).unwrap_or(false);
        self.matching.as_ref().is_none_or(fits) && !self.ignored.iter().any(fits)
    }
}

/// What Ansible says of a file that has no name.
const NO_FILE: &str = "Could not find file on the Ansible Controller.\nIf you are using a module and expect the file to exist \
                       on the remote, see the remote_src option";

fn file(name: Option<&str>, cx: &ExecutionContext<'_>) -> Result<PathBuf, String> {
    let name = name.filter(|name| !name.is_empty()).ok_or(NO_FILE)?;
    cx.files.find(name, "vars").map_err(|error| error.to_string())
}

/// In a role the role's `vars/`; else beside the file that the task is in.
fn folder(dir: &str, cx: &ExecutionContext<'_>) -> PathBuf {
    match cx.role {
        Some(role) if Path::new(dir).starts_with("vars") => role.path.join(dir),
        Some(role) => role.path.join("vars").join(dir),
        None => cx.files.folders().first().map_or(cx.files.base(), PathBuf::as_path).join(dir),
    }
}

/// A dict put into the one that the host has under this name.
fn over_known(name: &str, value: Authored, cx: &ExecutionContext<'_>) -> Authored {
    match cx.scope.get(name) {
        // It was rendered: data from now on, which hosts may have had a part in.
        Ok(known @ Value::Map(_)) => merged(Authored::Unsafe(known), value),
        _ => value,
    }
}

fn merged(before: Authored, value: Authored) -> Authored {
    match (before.into_entries(), value.into_entries()) {
        (Ok(mut before), Ok(value)) => {
            for (name, value) in value {
                let value = match before.swap_remove(&name) {
                    Some(known) => merged(known, value),
                    None => value,
                };
                before.insert(name, value);
            }
            Authored::Map(before)
        }
        (_, Ok(value)) => Authored::Map(value),
        (_, Err(value)) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    #[test]
    fn dicts_are_put_into_each_other_and_templates_stay_what_they_are() {
        let map = |entries: Vec<(&str, Authored)>| {
            Authored::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let template = Authored::Template(Template::new("{{ x }}"));
        let known = Authored::from_value(Value::Map(
            [("d".to_owned(), Value::Map([("a".to_owned(), 1.into())].into()))].into(),
        ));
        let both = merged(known, map(vec![("d", map(vec![("b", template.clone())])), ("e", template.clone())]));
        let inner = map(vec![("a", Authored::Data(1.into())), ("b", template.clone())]);
        assert_eq!(both, map(vec![("d", inner), ("e", template)]));
    }
}
