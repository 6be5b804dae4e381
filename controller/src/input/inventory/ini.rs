//! Ansible's INI: hosts with variables under `[group]`, `[group:children]`, `[group:vars]`.

use std::path::Path;
use std::sync::Arc;

use super::build::Builder;
use super::{GroupId, InventoryError, literal};
use crate::input::authored::whole_path;
use crate::input::playbook::{is_reserved, reserved_name};
use crate::input::source::{Place, Position, shown};
use crate::origin::Origin;
use crate::template::Authored;
use crate::vars::{VarMap, Variable};

/// Adds what `text` says.
pub(super) fn read(text: &str, source: &Arc<str>, builder: &mut Builder) -> Result<(), InventoryError> {
    let section = Section::Hosts(GroupId::UNGROUPED);
    let mut reader = Reader { source, file: whole_path(source), builder, section, expected: Vec::new() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        reader.line(Line { number: at + 1, whole: line, text: line.trim() })?;
    }
    reader.finish()
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    whole: &'a str,
    text: &'a str,
}

impl Line<'_> {
    /// The position of a piece of this line.
    fn position(&self, piece: &str) -> Position {
        let offset = (piece.as_ptr() as usize).saturating_sub(self.whole.as_ptr() as usize).min(self.whole.len());
        let before = self.whole.get(..offset).unwrap_or(self.whole);
        Position::new(self.number, before.chars().count() + 1)
    }
}

#[derive(Clone)]
enum Section {
    Hosts(GroupId),
    Children(GroupId),
    /// The variables of a group that may be defined further down.
    Vars(String),
}

struct Reader<'a> {
    source: &'a Arc<str>,
    file: Arc<Path>,
    builder: &'a mut Builder,
    section: Section,
    /// Groups that are used before they are defined.
    expected: Vec<Expected>,
}

struct Expected {
    group: String,
    place: Place,
    used_as: Use,
}

enum Use {
    Child { parent: GroupId },
    Vars(VarMap),
}

impl Reader<'_> {
    fn line(&mut self, line: Line<'_>) -> Result<(), InventoryError> {
        if line.text.is_empty() || line.text.starts_with(['#', ';']) {
            return Ok(());
        }
        if let Some(header) = header(line.text) {
            return self.begin_section(header, line);
        }
        if line.text.starts_with('[') && line.text.ends_with(']') && !line.text.contains(char::is_whitespace) {
            return Err(self.error(line, line.text, "not a section: `[group]`, `[group:children]` or `[group:vars]`"));
        }
        if line.text.starts_with('[') && !line.text.contains(']') {
            return Err(self.error(line, line.text, "the section's `[` is not closed by a `]`"));
        }
        match self.section.clone() {
            Section::Hosts(group) => self.host(line, group),
            Section::Children(parent) => self.child(line, parent),
            Section::Vars(group) => self.variable(line, group),
        }
    }

    fn begin_section(&mut self, (name, kind): (&str, Option<&str>), line: Line<'_>) -> Result<(), InventoryError> {
        let place = self.place(line, name);
        self.section = match kind {
            None | Some("hosts") => Section::Hosts(self.builder.named_group(name, &place)?),
            Some("children") => Section::Children(self.builder.named_group(name, &place)?),
            Some("vars") => Section::Vars(name.to_owned()),
            Some(other) => {
                let what = format!("`{}` is not a kind of section; there are `children` and `vars`", shown(other));
                return Err(self.error(line, other, what));
            }
        };
        Ok(())
    }

    fn host(&mut self, line: Line<'_>, group: GroupId) -> Result<(), InventoryError> {
        let words = words(line.text).map_err(|(at, what)| self.error(line, at, what))?;
        let Some(((name, at), assignments)) = words.split_first() else { return Ok(()) };
        if name.ends_with(':') {
            return Err(InventoryError::hinted(
                self.place(line, at),
                format!("`{}` ends with `:`, which stands before a port", shown(name)),
                "if this file is YAML, give it the extension .yml",
            ));
        }
        let vars: VarMap = assignments
            .iter()
            .map(|(word, at)| match word.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), self.variable_at(line, value))),
                None => Err(InventoryError::hinted(
                    self.place(line, at),
                    format!("expected key=value after the host's name, not `{}`", shown(word)),
                    "write no space around `=`, and quote values that contain spaces",
                )),
            })
            .collect::<Result<_, _>>()?;
        let vars = Arc::new(vars);
        let place = self.place(line, at);
        self.warn_of_reserved(&vars, &place);
        for host in self.builder.hosts(name, group, &place)? {
            self.builder.set_host_vars(host, &vars);
        }
        Ok(())
    }

    /// What `value` in that line means.
    fn variable_at(&self, line: Line<'_>, value: &str) -> Variable {
        let authored =
            Authored::written_at(literal::parse(value), || Origin::line(&self.file, line.position(line.text).line));
        Variable::Authored(Arc::new(authored))
    }

    fn warn_of_reserved(&mut self, vars: &VarMap, place: &Place) {
        for name in vars.keys().filter(|name| is_reserved(name)) {
            self.builder.warn(place, reserved_name(name));
        }
    }

    fn child(&mut self, line: Line<'_>, parent: GroupId) -> Result<(), InventoryError> {
        let name = line.text.split('#').next().unwrap_or("").trim();
        let place = self.place(line, line.text);
        if name.contains(char::is_whitespace) {
            let what = format!("expected one group's name, not `{}`", shown(name));
            return Err(InventoryError::content(place, what));
        }
        if self.builder.has_group(name) {
            let child = self.builder.named_group(name, &place)?;
            return self.builder.add_child(parent, child, &place);
        }
        self.expected.push(Expected { group: name.to_owned(), place, used_as: Use::Child { parent } });
        Ok(())
    }

    fn variable(&mut self, line: Line<'_>, group: String) -> Result<(), InventoryError> {
        let Some((key, value)) = line.text.split_once('=') else {
            return Err(self.error(line, line.text, format!("expected key=value, not `{}`", shown(line.text))));
        };
        let vars = VarMap::from_iter([(key.trim().to_owned(), self.variable_at(line, value.trim()))]);
        let place = self.place(line, line.text);
        self.warn_of_reserved(&vars, &place);
        if self.builder.has_group(&group) {
            let group = self.builder.named_group(&group, &place)?;
            self.builder.set_group_vars(group, vars);
        } else {
            self.expected.push(Expected { group, place, used_as: Use::Vars(vars) });
        }
        Ok(())
    }

    fn finish(self) -> Result<(), InventoryError> {
        for Expected { group, place, used_as } in self.expected {
            if !self.builder.has_group(&group) {
                let nearest = super::patterns::nearest_to(&group, self.builder.group_names().map(|(_, name)| &**name));
                let hint = match nearest {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("define it with a section [{group}]"),
                };
                let what = format!("group `{}` is not defined", shown(&group));
                return Err(InventoryError::hinted(place, what, hint));
            }
            let id = self.builder.named_group(&group, &place)?;
            match used_as {
                Use::Child { parent } => self.builder.add_child(parent, id, &place)?,
                Use::Vars(vars) => self.builder.set_group_vars(id, vars),
            }
        }
        Ok(())
    }

    fn place(&self, line: Line<'_>, piece: &str) -> Place {
        Place::at(self.source, line.position(piece))
    }

    fn error(&self, line: Line<'_>, piece: &str, what: impl Into<String>) -> InventoryError {
        InventoryError::content(self.place(line, piece), what)
    }
}

/// Name and kind of a section's head: `[web:vars]  # comment`.
fn header(line: &str) -> Option<(&str, Option<&str>)> {
    let (inner, after) = line.strip_prefix('[')?.split_once(']')?;
    let after = after.trim_start();
    if inner.is_empty() || inner.contains(char::is_whitespace) || !(after.is_empty() || after.starts_with('#')) {
        return None;
    }
    match inner.split_once(':') {
        None => Some((inner, None)),
        Some((name, kind)) if !name.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            Some((name, Some(kind)))
        }
        Some(_) => None,
    }
}

/// A word and the piece of the line that it began at.
type Word<'a> = (String, &'a str);

/// Splits a line as a shell would; `#` outside quotes begins a comment, also inside a word.
fn words(line: &str) -> Result<Vec<Word<'_>>, (&str, String)> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut word: Option<Word<'_>> = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let here = rest;
        rest = &rest[c.len_utf8()..];
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if c == '#' {
            break;
        }
        let (text, _) = word.get_or_insert_with(|| (String::new(), here));
        match c {
            '\'' | '"' => rest = quoted(c, rest, text).ok_or_else(|| (here, format!("a {c} is not closed")))?,
            '\\' => {
                let next = rest.chars().next().ok_or_else(|| (here, "nothing follows the `\\`".to_owned()))?;
                text.push(next);
                rest = &rest[next.len_utf8()..];
            }
            other => text.push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Takes text up to the closing quote; in double quotes `\` protects `"` and itself.
fn quoted<'a>(quote: char, mut rest: &'a str, text: &mut String) -> Option<&'a str> {
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            c if c == quote => return Some(rest),
            '\\' if quote == '"' && rest.starts_with(['"', '\\']) => {
                text.push_str(&rest[..1]);
                rest = &rest[1..];
            }
            c => text.push(c),
        }
    }
}
