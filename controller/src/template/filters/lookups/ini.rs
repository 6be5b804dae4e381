//! `ini`: settings out of files, as Python's `configparser` reads them.

use indexmap::IndexMap;
use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use super::tables::Term;
use crate::template::convert::failed;
use crate::template::filters::{params::items, regex};
use crate::template::python;

/// Settings that others refer to, one from the other.
const STEPS_MAX: usize = 10;

/// A value that others were put into.
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The section of a file that has none.
const PROPERTIES: &str = "java_properties";

pub(super) fn ini(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const NAMES: &[&str] = &["section", "file", "type", "re", "default", "encoding", "case_sensitive"];
    let mut found = Vec::new();
    for term in &call.terms {
        let term = Term::new(term, NAMES, call)?;
        let kind = term.text("type", "ini");
        let has_sections = match kind.as_str() {
            "ini" => true,
            "properties" => false,
            _ => return Err(failed(format!("Invalid value '{kind}' for config 'type' for 'ini' lookup plugin."))),
        };
        let section = match term.option("section") {
            _ if !has_sections => Value::from(PROPERTIES),
            None => Value::from("global"),
            Some(section) => section.clone(),
        };
        let path = term.file("ansible.ini", "Invalid filename None.")?;
        let mut text = term.read(&path)?;
        if !has_sections {
            text.insert_str(0, &format!("[{PROPERTIES}]\n"));
        }
        let reader = Reader {
            file: term.text("file", "ansible.ini"),
            is_case_sensitive: term.flag("case_sensitive", false),
            takes_bare_keys: ["allow_no_value", "allow_none"].iter().any(|name| call.flag(name, false)),
        };
        let file = reader.read(&text)?;
        let name = section.as_str().unwrap_or_default();
        let missing = || failed(format!("No section {} in '{}'.", python::repr(&section), reader.file));
        let settings = file.settings(name).ok_or_else(missing)?;
        let interpolates = call.flag("interpolation", true);
        let value_of = |key: &str, value: &Option<String>| match value {
            Some(raw) if interpolates => reader.interpolated(raw, key, name, &settings).map(Some),
            raw => Ok(raw.clone()),
        };
        if term.flag("re", false) {
            let values: Vec<_> =
                settings.iter().map(|(key, value)| Ok((key, value_of(key, value)?))).collect::<Result<_, Error>>()?;
            for (key, value) in values {
                if regex::begins(&term.key, key)? {
                    found.extend(value.map(Value::from));
                }
            }
            continue;
        }
        let key = reader.key(&term.key);
        match (settings.get(&key), term.option("default")) {
            (Some(value), _) => found.extend(value_of(&key, value)?.map(Value::from)),
            (None, Some(default)) if default.as_str().is_none() && default.try_iter().is_ok() => {
                found.extend(items(default)?);
            }
            (None, default) => found.push(default.cloned().unwrap_or_else(|| Value::from(""))),
        }
    }
    Ok(found)
}

/// Keys with their values; a key alone has none.
type Settings = IndexMap<String, Option<String>>;

struct Reader {
    file: String,
    is_case_sensitive: bool,
    takes_bare_keys: bool,
}

#[derive(Default)]
struct File {
    defaults: Settings,
    sections: IndexMap<String, Settings>,
}

impl File {
    /// The settings of `[DEFAULT]`, as this section has them, and then its others.
    fn settings(&self, section: &str) -> Option<Settings> {
        let own = if section == "DEFAULT" { &self.defaults } else { self.sections.get(section)? };
        let mut settings = self.defaults.clone();
        settings.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
        Some(settings)
    }

    fn section(&mut self, name: &str) -> &mut Settings {
        match name {
            "DEFAULT" => &mut self.defaults,
            name => self.sections.entry(name.to_owned()).or_default(),
        }
    }
}

impl Reader {
    fn key(&self, key: &str) -> String {
        if self.is_case_sensitive { key.to_owned() } else { key.to_lowercase() }
    }

    fn read(&self, text: &str) -> Result<File, Error> {
        let mut file = File::default();
        let mut wrong = String::new();
        let (mut section, mut key): (Option<String>, Option<String>) = (None, None);
        let mut indent = 0;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let value = line.trim();
            let current = section.as_ref().zip(key.as_ref());
            if value.is_empty() || value.starts_with(['#', ';']) {
                if let (true, Some((section, key))) = (value.is_empty(), current) {
                    go_on(file.section(section), key, "");
                }
                continue;
            }
            let column = line.len() - line.trim_start().len();
            if let Some((section, key)) = current.filter(|_| column > indent) {
                go_on(file.section(section), key, value);
                continue;
            }
            indent = column;
            if let Some(name) = header(value) {
                if file.sections.contains_key(name) {
                    let place = format!("While reading from '<???>' [line {number:>2}]");
                    return Err(failed(format!("{place}: section '{name}' already exists")));
                }
                file.section(name);
                (section, key) = (Some(name.to_owned()), None);
                continue;
            }
            let Some(section) = &section else {
                let line = python::repr(&Value::from(line));
                return Err(failed(format!(
                    "File contains no section headers.\nfile: '<???>', line: {number}\n{line}"
                )));
            };
            let (name, setting) = match value.split_once(['=', ':']) {
                Some((name, setting)) => (name.trim_end(), Some(setting.trim().to_owned())),
                None => (value, None),
            };
            if name.is_empty() || (setting.is_none() && !self.takes_bare_keys) {
                wrong.push_str(&format!("\n\t[line {number:>2}]: {}", python::repr(&Value::from(line))));
                continue;
            }
            let name = self.key(name);
            if file.section(section).insert(name.clone(), setting).is_some() {
                return Err(failed(format!(
                    "Duplicate option in '{}': While reading from '<???>' [line {number:>2}]: option '{name}' in section \
                     '{section}' already exists",
                    self.file
                )));
            }
            key = Some(name);
        }
        if !wrong.is_empty() {
            return Err(failed(format!("Source contains parsing errors: '<???>'{wrong}")));
        }
        let all = file.sections.values_mut().chain([&mut file.defaults]);
        all.flat_map(|settings| settings.values_mut())
            .flatten()
            .for_each(|value| value.truncate(value.trim_end().len()));
        Ok(file)
    }

    /// The value with what its `%(key)s` refer to, and `%%` for `%`.
    fn interpolated(&self, raw: &str, key: &str, section: &str, settings: &Settings) -> Result<String, Error> {
        let mut out = String::new();
        self.interpolate(raw, Asked { key, section, raw }, settings, 1, &mut out)?;
        Ok(out)
    }

    fn interpolate(
        &self,
        text: &str,
        asked: Asked<'_>,
        settings: &Settings,
        step: usize,
        out: &mut String,
    ) -> Result<(), Error> {
        let Asked { key, section, raw } = asked;
        let raw = || python::repr(&Value::from(raw));
        if step > STEPS_MAX {
            return Err(failed(format!(
                "Recursion limit exceeded in value substitution: option '{key}' in section '{section}' contains an \
                 interpolation key which cannot be substituted in {STEPS_MAX} steps. Raw value: {}",
                raw()
            )));
        }
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(behind) = rest.strip_prefix("%%") {
                out.push('%');
                rest = behind;
                continue;
            }
            let shown = || python::repr(&Value::from(rest));
            let Some(reference) = rest.strip_prefix("%(") else {
                return Err(failed(format!("'%' must be followed by '%' or '(', found: {}", shown())));
            };
            let Some((name, behind)) = reference.split_once(")s").filter(|(name, _)| !name.contains(')')) else {
                return Err(failed(format!("bad interpolation variable reference {}", shown())));
            };
            let name = self.key(name);
            let Some(value) = settings.get(&name) else {
                return Err(failed(format!(
                    "Bad value substitution: option '{key}' in section '{section}' contains an interpolation key \
                     '{name}' which is not a valid option name. Raw value: {}",
                    raw()
                )));
            };
            let value = value.as_deref().unwrap_or_default();
            match value.contains('%') {
                true => self.interpolate(value, asked, settings, step + 1, out)?,
                false => out.push_str(value),
            }
            if out.len() > VALUE_BYTES_MAX {
                return Err(failed(format!("the value of '{key}' is longer than {VALUE_BYTES_MAX} bytes")));
            }
            rest = behind;
        }
        out.push_str(rest);
        Ok(())
    }
}

/// Whose value is put together.
#[derive(Clone, Copy)]
struct Asked<'a> {
    key: &'a str,
    section: &'a str,
    raw: &'a str,
}

fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.rsplit_once(']')?;
    Some(name).filter(|name| !name.is_empty())
}

fn go_on(settings: &mut Settings, key: &str, line: &str) {
    if let Some(Some(value)) = settings.get_mut(key) {
        value.push('\n');
        value.push_str(line);
    }
}
