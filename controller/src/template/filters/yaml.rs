//! YAML as PyYAML writes it, `to_yaml` and `to_nice_yaml`, and as Ansible reads it, `from_yaml`.

mod canonical;
mod styled;

use std::sync::LazyLock;

use minijinja::value::Value as Jinja;
use minijinja::{Environment, Error, State};
use regex::Regex;
use rustle_protocol::value::Value;

use self::styled::Wanted;
use super::json::data;
use super::params::{Args, Filter, Params, add_filters, filtered};
use crate::input::yaml;
use crate::template::Authored;
use crate::template::convert::{failed, from_data, to_kept};
use crate::template::python;
use crate::template::sealed::as_closed;
use crate::vars::Scope;

pub(super) fn register(env: &mut Environment<'static>) {
    const NAMES: &[&str] = &[
        "indent",
        "sort_keys",
        "width",
        "default_flow_style",
        "default_style",
        "explicit_start",
        "explicit_end",
        "canonical",
        "version",
        "line_break",
        "allow_unicode",
    ];
    for (name, layout) in [("to_yaml", (2, Flow::Leaves)), ("to_nice_yaml", (4, Flow::Never))] {
        let call = move |state: &mut State<'_, '_>, value: &Jinja, args: Args| {
            filtered(name, NAMES, value, args, |value, params| dump(state, value, params, layout))
        };
        env.add_filter(name, call);
        env.add_filter(format!("ansible.builtin.{name}"), call);
    }
    add_filters(
        env,
        &[
            // What is no text is given back.
            Filter("from_yaml", &[], |value, _| match value.as_str() {
                Some(text) => parsed(text).map(from_data),
                None => Ok(value.clone()),
            }),
            Filter("from_yaml_all", &[], |value, _| {
                if value.is_none() {
                    return Ok(Jinja::from(Vec::<Jinja>::new()));
                }
                let Some(text) = value.as_str() else { return Ok(value.clone()) };
                let data: Result<Vec<_>, _> = documents(text).iter().map(|document| parsed(document)).collect();
                Ok(Jinja::from(data?.into_iter().map(from_data).collect::<Vec<_>>()))
            }),
        ],
    );
}

/// The data that is to be written. What is encrypted stays so, as a dict of nothing but [`SEALED`], where it can stand as a
/// block of its own.
fn writable(state: &State<'_, '_>, value: &Jinja, has_blocks: bool) -> Result<Value, Error> {
    let Some(scope) = Scope::of_state(state).filter(|_| has_blocks) else { return data(value) };
    let kept = to_kept(value, &|value| match as_closed(value) {
        Some(closed) => Some(closed.sealed().clone()),
        None => scope.templar().sealed(value),
    })?;
    Ok(marked(kept.ok_or_else(|| failed("`omit` is no data"))?))
}

/// The key of a dict that stands for an encrypted text.
const SEALED: &str = "\u{1}vault";

fn marked(kept: Authored) -> Value {
    match kept {
        Authored::Sealed(sealed) => Value::Map([(SEALED.to_owned(), Value::from(&**sealed.text()))].into()),
        Authored::List(items) => items.into_iter().map(marked).collect(),
        Authored::Map(map) => Value::Map(map.into_iter().map(|(name, item)| (name, marked(item))).collect()),
        Authored::Data(value) | Authored::Unsafe(value) => value,
        Authored::Template(template) => template.source().into(),
    }
}

/// The data of one document; what is not there is `None`.
fn parsed(text: &str) -> Result<Value, Error> {
    let document = yaml::read(text).map_err(failed)?;
    document.root.map_or(Ok(Value::Null), |root| root.to_value()).map_err(|error| failed(error.to_string()))
}

/// The documents of a stream: they begin at lines of `---`.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        let begins =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r']));
        if begins && documents.iter().any(|document| !document.trim().is_empty()) {
            documents.push(String::new());
        }
        documents.last_mut().expect("there is always one").push_str(line);
    }
    documents
}

/// Which lists and dicts are written in brackets. Empty ones always are.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Never,
    /// Those that hold no list or dict.
    Leaves,
    Always,
}

struct Writer {
    out: String,
    column: usize,
    indent: usize,
    width: usize,
    sort_keys: bool,
    flow: Flow,
    /// The style of all scalars; the plainest that fits where none is asked for.
    style: Option<Wanted>,
    /// How many brackets are open.
    flow_level: usize,
    /// The key of dicts that stand for an encrypted text, if there are any.
    sealed: Option<&'static str>,
    /// Texts of several lines are literal blocks, at the price of what such a block cannot hold.
    shows_lines: bool,
}

/// Blanks per level that PyYAML takes seriously; others mean 2.
const INDENT_RANGE: std::ops::Range<i64> = 2..10;

fn dump(state: &State<'_, '_>, value: &Jinja, params: &Params, (indent, flow): (i64, Flow)) -> Result<Jinja, Error> {
    let indent = params.int("indent", indent)?;
    let indent = if INDENT_RANGE.contains(&indent) { indent } else { 2 };
    let width = params.int("width", 80)?;
    let style = Wanted::of(&params.text("default_style", ""));
    let flow = match params.get("default_flow_style") {
        // What has a style is in no brackets.
        None if style.is_some() => Flow::Never,
        Some(given) if given.is_none() && style.is_some() => Flow::Never,
        Some(style) if style.is_none() => Flow::Leaves,
        Some(style) if style.is_true() => Flow::Always,
        Some(_) => Flow::Never,
        None => flow,
    };
    let mut writer = Writer {
        out: String::new(),
        column: 0,
        indent: usize::try_from(indent).unwrap_or(2),
        width: usize::try_from(width).ok().filter(|width| *width > 2 * indent as usize).unwrap_or(80),
        sort_keys: params.flag("sort_keys", true),
        flow,
        style,
        flow_level: 0,
        sealed: Some(SEALED),
        shows_lines: false,
    };
    let is_canonical = params.flag("canonical", false);
    let value = writable(state, value, !is_canonical && flow != Flow::Always && style.is_none())?;
    let version = version(params)?;
    if let Some((major, minor)) = version {
        writer.put(&format!("%YAML {major}.{minor}\n"));
    }
    if is_canonical {
        writer.put("---\n");
        writer.canonical(&value, 0);
    } else {
        if version.is_some() || params.flag("explicit_start", false) {
            writer.put("---");
            // What begins with a bracket or a word stands beside it.
            writer.put(if is_scalar(&value) || is_empty(&value) || !writer.is_block(&value) { " " } else { "\n" });
        }
        writer.node(&value, None, Place::Root);
    }
    writer.put("\n");
    if params.flag("explicit_end", false) {
        writer.put("...\n");
    }
    Ok(Jinja::from(writer.out))
}

/// The version that a document names: a major and a minor number.
fn version(params: &Params) -> Result<Option<(i64, i64)>, Error> {
    let Some(version) = params.get("version").filter(|version| !version.is_none()) else { return Ok(None) };
    let part = |at| version.get_item_by_index(at).ok().and_then(|part| part.as_i64());
    let (Some(major), Some(minor)) = (part(0), part(1)) else {
        return Err(failed("'version' must be a list of two numbers"));
    };
    if major != 1 || !(1..=2).contains(&minor) {
        Err(failed("incompatible %YAML directive"))
    } else {
        Ok(Some((major, minor)))
    }
}

/// A value as PyYAML writes it by itself: blocks, two blanks a level, keys as they come. A dict of nothing but the key
/// `sealed` stands for an encrypted text, and is written as `!vault`.
pub(in crate::template) fn block_text(value: &Value, sealed: &'static str) -> String {
    Writer { sealed: Some(sealed), ..Writer::of_blocks() }.written(value)
}

/// A value as Ansible shows results as YAML: blocks, `indent` blanks a level, sorted, and texts of several lines as such.
pub(in crate::template) fn result_text(value: &Value, indent: usize) -> String {
    Writer { indent, sort_keys: true, shows_lines: true, ..Writer::of_blocks() }.written(value)
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    /// After `key:`.
    MapValue,
    /// After `- `.
    ListItem,
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::List(_) | Value::Map(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

impl Writer {
    fn of_blocks() -> Writer {
        Writer {
            out: String::new(),
            column: 0,
            indent: 2,
            width: 80,
            sort_keys: false,
            flow: Flow::Never,
            style: None,
            flow_level: 0,
            sealed: None,
            shows_lines: false,
        }
    }

    /// The document of this value.
    fn written(mut self, value: &Value) -> String {
        self.node(value, None, Place::Root);
        self.put("\n");
        self.out
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column = match text.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => self.column + text.chars().count(),
        };
    }

    fn line(&mut self, indent: usize) {
        self.put("\n");
        self.put(&" ".repeat(indent));
    }

    /// `parent` is the indentation of the surrounding block, none outside all.
    fn node(&mut self, value: &Value, parent: Option<usize>, place: Place) {
        if let Some(cipher) =
            self.sealed.and_then(|key| value.as_map().filter(|map| map.len() == 1)?.get(key)?.as_str())
        {
            self.put(if place == Place::Root { "" } else { " " });
            return self.cipher(cipher, parent.map_or(self.indent, |parent| parent + self.indent));
        }
        match value {
            Value::List(items) if !items.is_empty() && self.is_block(value) => self.list(items, parent, place),
            Value::Map(map) if !map.is_empty() && self.is_block(value) => self.map(map, parent, place),
            _ => {
                if place != Place::Root {
                    self.put(" ");
                }
                let indent = parent.map_or(self.indent, |parent| parent + self.indent);
                self.inline(value, indent);
            }
        }
    }

    fn cipher(&mut self, text: &str, indent: usize) {
        self.put(if text.ends_with('\n') { "!vault |" } else { "!vault |-" });
        for line in text.lines() {
            self.line(indent);
            self.put(line);
        }
    }

    fn is_block(&self, value: &Value) -> bool {
        match self.flow {
            Flow::Never => true,
            Flow::Always => false,
            Flow::Leaves => match value {
                Value::List(items) => !items.iter().all(is_scalar),
                Value::Map(map) => !map.values().all(is_scalar),
                _ => false,
            },
        }
    }

    fn list(&mut self, items: &[Value], parent: Option<usize>, place: Place) {
        // A list under a key stands below the key, not to its right.
        let indent = match (place, parent) {
            (_, None) => 0,
            (Place::MapValue, Some(parent)) => parent,
            (_, Some(parent)) => parent + self.indent,
        };
        for (index, item) in items.iter().enumerate() {
            if index > 0 || place == Place::MapValue {
                self.line(indent);
            } else if place == Place::ListItem {
                self.put(&" ".repeat(self.indent - 1));
            }
            self.put("-");
            self.node(item, Some(indent), Place::ListItem);
        }
    }

    fn map(&mut self, map: &rustle_protocol::value::Map, parent: Option<usize>, place: Place) {
        let indent = parent.map_or(0, |parent| parent + self.indent);
        for (index, (key, item)) in self.entries(map).into_iter().enumerate() {
            if index > 0 || place == Place::MapValue {
                self.line(indent);
            } else if place == Place::ListItem {
                self.put(&" ".repeat(self.indent - 1));
            }
            self.text(key, indent, true);
            self.put(":");
            self.node(item, Some(indent), Place::MapValue);
        }
    }

    fn entries<'m>(&self, map: &'m rustle_protocol::value::Map) -> Vec<(&'m String, &'m Value)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.sort_keys {
            entries.sort_by_key(|(key, _)| *key);
        }
        entries
    }

    fn inline(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
                let text = word(value);
                match self.style {
                    Some(style) => self.styled(style, &text, false, indent, false),
                    None => self.put(&text),
                }
            }
            Value::String(text) => self.text(text, indent, false),
            Value::Bytes(bytes) => self.text(&String::from_utf8_lossy(bytes), indent, false),
            Value::List(items) => {
                self.put("[");
                self.flow_level += 1;
                for (index, item) in items.iter().enumerate() {
                    self.flow_break(index, indent);
                    self.flow_item(item, indent);
                }
                self.flow_level -= 1;
                self.put("]");
            }
            Value::Map(map) => {
                self.put("{");
                self.flow_level += 1;
                for (index, (key, item)) in self.entries(map).into_iter().enumerate() {
                    self.flow_break(index, indent);
                    self.text_in_flow(key, indent, true);
                    self.put(": ");
                    self.flow_item(item, indent);
                }
                self.flow_level -= 1;
                self.put("}");
            }
        }
    }

    fn flow_item(&mut self, item: &Value, indent: usize) {
        match item {
            Value::String(text) => self.text_in_flow(text, indent + self.indent, false),
            other => self.inline(other, indent + self.indent),
        }
    }

    fn flow_break(&mut self, index: usize, indent: usize) {
        if index > 0 {
            self.put(",");
            if self.column > self.width {
                self.line(indent);
            } else {
                self.put(" ");
            }
        }
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        self.scalar(text, indent, key, false);
    }

    fn text_in_flow(&mut self, text: &str, indent: usize, key: bool) {
        self.scalar(text, indent, key, true);
    }

    fn scalar(&mut self, text: &str, indent: usize, key: bool, flow: bool) {
        if let Some(style) = self.style {
            return self.styled(style, text, true, indent, key);
        }
        if self.shows_lines && !key && text.contains('\n') {
            return self.literal(&printable(text), indent);
        }
        match style_of(text, flow) {
            Style::Plain => self.folded(text, indent, !key),
            Style::Single => {
                self.put("'");
                self.folded(&text.replace('\'', "''"), indent, !key);
                self.put("'");
            }
            Style::Double => self.double_quoted(text),
        }
    }

    /// Text with breaks at single blanks once the line is full, and line breaks doubled.
    fn folded(&mut self, text: &str, indent: usize, split: bool) {
        let mut rest = text;
        let mut begun = false;
        while !rest.is_empty() {
            if let Some(len) = run(rest, '\n') {
                // One break of a folded text is a blank: each of ours takes one more.
                self.put(&"\n".repeat(len + 1));
                self.put(&" ".repeat(indent));
                rest = &rest[len..];
            } else if let Some(len) = run(rest, ' ') {
                let last = rest.len() == len;
                if len == 1 && split && self.column > self.width && begun && !last {
                    self.line(indent);
                } else {
                    self.put(&rest[..len]);
                }
                rest = &rest[len..];
            } else {
                let len = rest.find([' ', '\n']).unwrap_or(rest.len());
                self.put(&rest[..len]);
                rest = &rest[len..];
            }
            begun = true;
        }
    }

    fn double_quoted(&mut self, text: &str) {
        self.put(&format!("\"{}\"", escaped(text)));
    }
}

/// A text of several lines without what no literal block can hold: blanks at the ends of lines, tabs, control characters.
fn printable(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line: String = tabs_expanded(line).chars().filter(|c| !is_special(*c)).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// With blanks up to the next eighth column for each tab.
fn tabs_expanded(line: &str) -> String {
    line.chars().fold(String::new(), |mut out, c| {
        match c {
            '\t' => out.push_str(&" ".repeat(8 - out.chars().count() % 8)),
            c => out.push(c),
        }
        out
    })
}

/// The text as it stands between double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{a0}' => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if is_special(c) && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02X}", c as u32)),
            c if is_special(c) => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// A value that is no text, list or dict.
fn word(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => float(*number),
        _ => "null".to_owned(),
    }
}

fn run(text: &str, c: char) -> Option<usize> {
    let len = text.len() - text.trim_start_matches(c).len();
    (len > 0).then_some(len)
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    // 1e+20 would be read as text.
    let text = python::float(number);
    if text.contains('e') && !text.contains('.') { text.replace('e', ".0e") } else { text }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
}

fn is_special(c: char) -> bool {
    !(c == '\n'
        || (' '..='~').contains(&c)
        || c == '\u{85}'
        || ('\u{a0}'..='\u{d7ff}').contains(&c)
        || ('\u{e000}'..='\u{fffd}').contains(&c)
        || c > '\u{ffff}')
        || c == '\u{feff}'
}

/// The plainest style that reads back as this text.
fn style_of(text: &str, flow: bool) -> Style {
    let space_before_break = text.contains(" \n");
    if text.chars().any(is_special) || space_before_break {
        return Style::Double;
    }
    let plain = !text.is_empty()
        && !text.contains('\n')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !is_indicated(text, flow)
        && !reads_as_other(text);
    if plain { Style::Plain } else { Style::Single }
}

/// Whether a character in it means something to YAML where it stands.
fn is_indicated(text: &str, flow: bool) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let chars: Vec<char> = text.chars().collect();
    chars.iter().enumerate().any(|(at, &c)| {
        let followed_by_space = chars.get(at + 1).is_none_or(|next| next.is_whitespace());
        let preceded_by_space = at == 0 || chars[at - 1].is_whitespace();
        match c {
            '#' if at == 0 => true,
            ',' | '[' | ']' | '{' | '}' => at == 0 || flow,
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => at == 0,
            '?' => (at == 0 && followed_by_space) || flow,
            ':' => flow || followed_by_space,
            '-' => at == 0 && followed_by_space,
            '#' => preceded_by_space,
            _ => false,
        }
    })
}

/// Whether YAML 1.1 reads the text as another type.
fn reads_as_other(text: &str) -> bool {
    static OTHER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^(?:
            ~|null|Null|NULL|
            yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|
            [-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+|
            [-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|
            [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|
            <<|=|
            [0-9]{4}-[0-9]{2}-[0-9]{2}|
            [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[\x20\t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[\x20\t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?
            )$",
        )
        .expect("the pattern is well formed")
    });
    OTHER.is_match(text)
}
