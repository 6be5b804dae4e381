//! The template engine as Ansible's authors know it: strict about undefined values, Python's words in the output.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{StringInput, Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};

use super::convert::{Omit, is_omit, to_data, undefined};
use super::rewrite::{Delimiters, Literals, rewrite};
use super::sealed::{is_of_closed, refuse_closed};
use super::{filters, missed, python};
use crate::vars::Scope;

/// How a template is evaluated. The engine keeps compiled templates by name; ours are named by mode and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Text; a single printed value keeps its type.
    Text,
    /// Exactly one `{{ }}`: nothing is turned into text.
    Expression,
    /// A bare expression.
    Condition,
    /// A template file, or one that it includes: always text. What follows is the file's name, a NUL, and its text.
    File,
}

impl Mode {
    const MARK: char = '\u{1}';

    fn letter(self) -> char {
        match self {
            Mode::Text => 'T',
            Mode::Expression => 'E',
            Mode::Condition => 'C',
            Mode::File => 'F',
        }
    }

    /// The mode and text of one of our names; `None` for the name of a file to include.
    pub(super) fn split(key: &str) -> Option<(Mode, &str)> {
        let rest = key.strip_prefix(Mode::MARK)?;
        let mode = match rest.as_bytes().first()? {
            b'T' => Mode::Text,
            b'E' => Mode::Expression,
            b'C' => Mode::Condition,
            b'F' => Mode::File,
            _ => return None,
        };
        Some((mode, &rest[1..]))
    }
}

pub(super) fn template_key(mode: Mode, source: &str) -> String {
    let mut key = String::with_capacity(source.len() + 2);
    key.push(Mode::MARK);
    key.push(mode.letter());
    key.push_str(source);
    key
}

pub(super) fn file_key(name: &str, source: &str) -> String {
    template_key(Mode::File, &format!("{name}\0{source}"))
}

/// How string literals are read. As in Ansible: in the strings of a play what is printed needs no doubled backslashes,
/// so that `regex_replace('(a)', '\1')` works; in conditions and files backslashes are Jinja's.
pub(super) fn literals(key: &str) -> Literals {
    match Mode::split(key) {
        Some((Mode::Text | Mode::Expression, _)) => Literals::Raw,
        _ => Literals::Escaped,
    }
}

/// What is put before a condition to make a template of it.
pub(super) const CONDITION_PREFIX: &str = "{{ ";

/// The text that is compiled for a key, before it is rewritten.
pub(super) fn key_source(key: &str) -> Option<std::borrow::Cow<'_, str>> {
    let (mode, source) = Mode::split(key)?;
    Some(match mode {
        Mode::Text | Mode::Expression => source.into(),
        Mode::Condition => format!("{CONDITION_PREFIX}{source} }}}}").into(),
        Mode::File => source.split_once('\0').map_or(source, |(_, text)| text).into(),
    })
}

/// An engine with everything Ansible's templates may use.
pub(super) fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // Without it an undefined value does not know its name. It costs nothing until an error is made.
    env.set_debug(true);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_formatter(emit);
    env.set_unknown_method_callback(filters::methods::call);
    env.add_global("omit", Jinja::from_object(Omit));
    filters::register(&mut env);
    env
}

/// Strings in plays and inventories: Ansible trims the newline after a block. The last one is put back afterwards, so
/// that what an `include` brings has none.
pub(super) fn string_syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).build().expect("the standard delimiters are distinct")
}

/// Gives the engine the text of our keys, and of files found in `directories`, the first that has them. What a file is
/// included as is its text, so that one that is written during a run is never an older one.
pub(super) fn set_loader(env: &mut Environment<'static>, directories: Vec<PathBuf>, delimiters: Delimiters) {
    let directories = Arc::new(directories);
    let joined = Arc::clone(&directories);
    // The only names of ours are those we make: a name in `include` may come from data, and data is never a template.
    env.set_path_join_callback(move |name, _| {
        let name = name.trim_start_matches(|c: char| c.is_control() || c == '/');
        match read_sibling(&joined, name) {
            Ok(Some(text)) => file_key(name, &text).into(),
            // The loader says why.
            Ok(None) | Err(_) => name.into(),
        }
    });
    env.set_loader(move |name| match key_source(name) {
        Some(source) => Ok(Some(rewrite(&source, &delimiters, literals(name)).text.into_owned())),
        None => read_sibling(&directories, name).map(|_| None),
    });
}

fn read_sibling(directories: &[PathBuf], name: &str) -> Result<Option<String>, Error> {
    if name.split('/').any(|step| step == "..") {
        return Ok(None);
    }
    let candidates = directories.iter().map(|directory| directory.join(name));
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else { return Ok(None) };
    read_text(&path).map(|text| Some(with_newlines(&text, "\n")))
}

/// Each line with the end that is asked for.
pub(super) fn with_newlines(source: &str, newline: &str) -> String {
    let unix = source.replace("\r\n", "\n").replace('\r', "\n");
    if newline == "\n" { unix } else { unix.replace('\n', newline) }
}

fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("{}: {error}", path.display())))
}

/// What a template has printed so far.
#[derive(Default)]
pub(super) struct Printed {
    /// Values other than `None`, which is nothing beside another value.
    pub(super) count: usize,
    /// The first of these, or `None` where nothing else was printed.
    pub(super) first: Option<Jinja>,
    /// What was printed before a part began whose output is a value of its own.
    before: Option<Box<Printed>>,
}

impl Printed {
    /// Whether a single value, and no text, is all that was printed.
    pub(super) fn is_value(&self, output: &str) -> bool {
        self.count <= 1
            && self.first.as_ref().is_some_and(|first| match first.as_str() {
                Some(_) => false,
                None if first.is_none() || is_omit(first) => output.is_empty(),
                None => python::text(first) == output,
            })
    }

    /// A part begins whose output is a value and not printed yet.
    pub(super) fn begin(state: &mut State<'_, '_>) {
        let printed = state.get_or_insert_extension_with(Printed::default);
        let before = Some(Box::new(std::mem::take(printed)));
        printed.before = before;
    }

    /// The part is over: what it printed.
    pub(super) fn end(state: &mut State<'_, '_>) -> Printed {
        let printed = state.get_or_insert_extension_with(Printed::default);
        let before = printed.before.take();
        std::mem::replace(printed, before.map(|before| *before).unwrap_or_default())
    }

    /// The value of a part with this output: the single value that it printed, none for nothing at all, or else text.
    pub(super) fn value(self, output: &Jinja) -> Jinja {
        let text = output.as_str().unwrap_or_default();
        if self.is_value(text) || (self.first.is_none() && text.is_empty()) {
            return self.first.unwrap_or(Jinja::from(()));
        }
        output.clone()
    }

    fn add(&mut self, value: &Jinja) {
        if value.is_none() {
            self.first.get_or_insert_with(|| value.clone());
            return;
        }
        self.count += 1;
        if self.count == 1 {
            self.first = Some(value.clone());
        }
    }
}

/// What a template gives as text, and what it printed.
pub(super) fn printed(env: &Environment<'_>, key: &str, scope: &Scope) -> Result<(String, Printed), Error> {
    missed::begin();
    let template = env.get_template(key)?;
    let mut captured = template.render_captured(scope.context())?;
    let printed = captured.with_state_mut(|state| state.get_extension_mut::<Printed>().map(std::mem::take));
    Ok((captured.into_output(), printed.unwrap_or_default()))
}

fn emit(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Jinja) -> Result<(), Error> {
    // An inline `if` without `else` gives an undefined value that prints nothing.
    if value.is_undefined() && StringInput::new(state, value).is_err() {
        return Err(undefined(value));
    }
    refuse_closed(value)?;
    let mode = Mode::split(state.name()).map(|(mode, _)| mode);
    if mode.is_some() {
        state.get_or_insert_extension_with(Printed::default).add(value);
    }
    if matches!(mode, Some(Mode::Expression | Mode::Condition)) || value.is_none() || is_omit(value) {
        return Ok(());
    }
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => {
            refuse_undefined(value)?;
            out.write_str(&python::text(value))
        }
    }
    .map_err(Error::from)
}

/// A list or dict with something undefined in it is no text, nor is one with something that cannot be opened.
pub(super) fn refuse_undefined(value: &Jinja) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    match to_data(value) {
        Err(error) if error.kind() == ErrorKind::UndefinedError || is_of_closed(&error) => Err(error),
        // What is no data can be printed all the same.
        _ => Ok(()),
    }
}
