//! From the parser's events to [`Node`]s, with an explicit stack: no document can exhaust ours.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::{ALIAS_NODES_MAX, DEPTH_MAX, Key, Kind, Node, Tag, YamlError, YamlWarning, scalar};
use crate::input::source::{Position, shown};
use crate::input::vaulted;
use crate::template::Sealed;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `None` if there is nothing but comments.
    pub root: Option<Node>,
    pub warnings: Vec<YamlWarning>,
}

impl Document {
    /// As it stands in the file `source`, whose text is `text`: what is encrypted knows its place, and where the text is
    /// JSON, which has no tags, dicts that stand for `!vault` and `!unsafe` are read as these.
    pub(crate) fn of_file(mut self, source: &Arc<str>, text: &str) -> Document {
        if let Some(root) = &mut self.root {
            if vaulted::is_marked_json(text) {
                vaulted::read_marks(root);
            }
            vaulted::name_places(root, source);
        }
        self
    }
}

/// Reads the one document of `text`.
///
/// # Errors
/// Text that is not YAML, a second document, an unknown tag, a key that is not a scalar, nesting beyond [`DEPTH_MAX`],
/// aliases that add more than [`ALIAS_NODES_MAX`] nodes.
pub fn compose(text: &str) -> Result<Document, YamlError> {
    let mut source = Source::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    loop {
        let refused = match source.compose() {
            Ok(document) => return document,
            Err(error) => error,
        };
        if refused.info() != TOO_FAR_LEFT || !source.shift_closer(refused.marker()) {
            return Err(source.not_yaml(&refused));
        }
    }
}

/// Text as the parser takes it. A bracket may close a list or dict in any column, and PyYAML reads that; the parser wants it to be
/// indented, so the lines that begin with one are shifted to the right when the parser stumbles over them.
struct Source<'a> {
    text: Cow<'a, str>,
    shifted: BTreeSet<usize>,
}

/// What the parser says of anything in a list or dict in brackets that is not indented.
const TOO_FAR_LEFT: &str = "invalid indentation";

/// Further than anything is nested that somebody reads.
const SHIFT_COLUMNS: usize = 256;

/// Lines that are shifted in one file, at most: the file is read again for each.
const SHIFTED_MAX: usize = 256;

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Source<'a> {
        Source { text: text.into(), shifted: BTreeSet::new() }
    }

    /// What the text means, or why that is an error; outside, what the parser stumbled over.
    fn compose(&self) -> Result<Result<Document, YamlError>, ScanError> {
        let mut composer = Composer::default();
        let lines: Vec<&str> = self.text.lines().collect();
        let mut parser = Parser::new_from_str(&self.text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event?;
            let at = match &event {
                Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                    self.block_header(&lines, &span.start)
                }
                _ => self.position(&span.start),
            };
            if let Err(error) = composer.take(event, at) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(Document { root: composer.root, warnings: composer.warnings }))
    }

    /// Whether there is a closing bracket at the mark that might do further to the right.
    fn shift_closer(&mut self, mark: &Marker) -> bool {
        let before = self.text.split_inclusive('\n').take(mark.line().saturating_sub(1));
        let at: usize = before.map(str::len).sum();
        let is_closer = self.text[at..].trim_start_matches(' ').starts_with([']', '}']);
        if !is_closer || self.shifted.len() >= SHIFTED_MAX || !self.shifted.insert(mark.line()) {
            return false;
        }
        self.text.to_mut().insert_str(at, &" ".repeat(SHIFT_COLUMNS));
        true
    }

    fn position(&self, mark: &Marker) -> Position {
        let shift = if self.shifted.contains(&mark.line()) { SHIFT_COLUMNS } else { 0 };
        Position::new(mark.line(), mark.col().saturating_sub(shift) + 1)
    }

    /// Where the `|` or `>` stands of a block whose text begins at the mark: there are only blank lines between.
    fn block_header(&self, lines: &[&str], mark: &Marker) -> Position {
        let before = lines.iter().enumerate().take(mark.line()).rev();
        let header = before.map(|(number, line)| (number, header_column(line))).find(|(_, column)| column.is_some());
        match header {
            // Before it there may be a tag, with which the node begins.
            Some((number, Some(column))) => Position::new(number + 1, column).min(self.position(mark)),
            _ => self.position(mark),
        }
    }

    fn not_yaml(&self, error: &ScanError) -> YamlError {
        let tabs = error.info().contains("tab").then_some("indent with spaces; YAML does not allow tabs there");
        let quotes = error.info().contains("mapping values").then_some("quote text that contains `: `");
        let at = self.position(error.marker());
        YamlError { at, what: format!("not YAML: {}", error.info()), hint: tabs.or(quotes) }
    }
}

/// The column, from 1, of the `|` or `>` that begins a block on the next line: what may follow it are its own signs and a comment.
fn header_column(line: &str) -> Option<usize> {
    let begins_block = |(at, _): &(usize, char)| {
        let (before, behind) =
            (&line[..*at], line[at + 1..].trim_start_matches(['+', '-', '1', '2', '3', '4', '5', '6', '7', '8', '9']));
        let comment = behind.trim_start();
        (before.is_empty() || before.ends_with([' ', '\t']))
            && (comment.is_empty() || comment.len() < behind.len() && comment.starts_with('#'))
    };
    let (at, _) = line.char_indices().filter(|(_, c)| matches!(c, '|' | '>')).find(begins_block)?;
    Some(line[..at].chars().count() + 1)
}

/// A node and how many nodes it is with all below it.
type Counted = (Node, usize);

#[derive(Default)]
struct Composer {
    open: Vec<Frame>,
    /// Complete anchored nodes by the parser's number for them.
    anchors: HashMap<usize, Counted>,
    alias_nodes: usize,
    documents: usize,
    root: Option<Node>,
    warnings: Vec<YamlWarning>,
}

/// A list or map that is not closed yet.
struct Frame {
    at: Position,
    anchor: usize,
    tag: Option<Tag>,
    nodes: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

impl Composer {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => self.begin_document(at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let key_wanted = self.wants_key();
                let (kind, tag) = if key_wanted {
                    (Kind::Scalar(Value::String(text.into_owned())), None)
                } else {
                    resolve(&text, style, tag.as_deref(), at)?
                };
                self.add((Node { at, tag, kind }, 1), anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(at, anchor, tag.as_deref(), FrameKind::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), FrameKind::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin_document(&mut self, at: Position) -> Result<(), YamlError> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(error(at, "a second document begins here; only one is allowed in a file"));
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Frame { kind: FrameKind::Map { key: None, .. }, .. }))
    }

    fn begin(
        &mut self,
        at: Position,
        anchor: usize,
        tag: Option<&saphyr_parser::Tag>,
        kind: FrameKind,
    ) -> Result<(), YamlError> {
        if self.wants_key() {
            return Err(YamlError {
                at,
                what: "a list or map as a key, which is not allowed".into(),
                hint: Some("quote the value if it begins with `{{`: \"{{ name }}\""),
            });
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(error(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let tag = match tag {
            Some(tag) if tag.is_yaml_core_schema() => None,
            other => match own_tag(other, at)? {
                Some(Own::Vault) => return Err(error(at, "`!vault` is for text that ansible-vault has encrypted")),
                Some(Own::Unsafe) => Some(Tag::Unsafe),
                None => None,
            },
        };
        self.open.push(Frame { at, anchor, tag, nodes: 1, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let Frame { at, anchor, tag, nodes, kind } = frame;
        let kind = match kind {
            FrameKind::List(items) => Kind::List(items),
            FrameKind::Map { entries, .. } => Kind::Map(self.unique(entries)?),
        };
        self.add((Node { at, tag, kind }, nodes), anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), YamlError> {
        let (node, nodes) =
            self.anchors.get(&anchor).ok_or_else(|| error(at, "an alias to a node that contains the alias"))?;
        self.alias_nodes += nodes;
        if self.alias_nodes > ALIAS_NODES_MAX {
            return Err(error(at, format!("aliases expand to more than {ALIAS_NODES_MAX} nodes")));
        }
        let copy = (node.clone(), *nodes);
        if self.open.len() + depth(&copy.0) > DEPTH_MAX {
            return Err(error(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.add(copy, 0)
    }

    /// Puts a complete node where the document is just now.
    fn add(&mut self, (node, nodes): Counted, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        match &mut frame.kind {
            FrameKind::List(items) => items.push(node),
            FrameKind::Map { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(key_of(node)?),
            },
        }
        Ok(())
    }

    /// Applies merge keys (`<<`); of a key written twice the last value stands, at the first one's place.
    fn unique(&mut self, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, YamlError> {
        let mut merged: IndexMap<String, (Key, Node)> = IndexMap::with_capacity(entries.len());
        let mut own = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            if key.text == "<<" {
                merge(&mut merged, node)?;
            } else {
                own.push((key, node));
            }
        }
        let mut seen: IndexMap<String, Position> = IndexMap::new();
        for (key, node) in own {
            if let Some(first) = seen.insert(key.text.clone(), key.at) {
                let what = format!("`{}` is written twice, first at {first}; the last one counts", key.text);
                self.warnings.push(YamlWarning { at: key.at, what });
            }
            merged.insert(key.text.clone(), (key, node));
        }
        Ok(merged.into_values().collect())
    }
}

/// Takes the entries of a merge key's value, a map or a list of maps of which the earlier wins.
fn merge(into: &mut IndexMap<String, (Key, Node)>, node: Node) -> Result<(), YamlError> {
    let at = node.at;
    match node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                into.insert(key.text.clone(), (key, value));
            }
            Ok(())
        }
        Kind::List(items) => items.into_iter().rev().try_for_each(|item| match item.kind {
            Kind::Map(_) => merge(into, item),
            Kind::List(_) | Kind::Scalar(_) | Kind::Sealed(_) => {
                Err(error(item.at, "a merge key (`<<`) takes maps only"))
            }
        }),
        Kind::Scalar(_) | Kind::Sealed(_) => Err(error(at, "a merge key (`<<`) takes a map or a list of maps")),
    }
}

fn key_of(node: Node) -> Result<Key, YamlError> {
    match node.kind {
        Kind::Scalar(Value::String(text)) => Ok(Key { at: node.at, text }),
        Kind::Scalar(value) => Ok(Key { at: node.at, text: value.to_string() }),
        Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => {
            Err(error(node.at, "a list or map as a key, which is not allowed"))
        }
    }
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(_) | Kind::Sealed(_) => 0,
        Kind::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Map(entries) => 1 + entries.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
    }
}

fn resolve(
    text: &str,
    style: ScalarStyle,
    tag: Option<&saphyr_parser::Tag>,
    at: Position,
) -> Result<(Kind, Option<Tag>), YamlError> {
    let as_text = || Kind::Scalar(Value::String(text.to_owned()));
    let kind = match tag {
        Some(tag) if tag.is_yaml_core_schema() => Kind::Scalar(core_value(text, &tag.suffix, at)?),
        // `!` alone means: not resolved, text.
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => as_text(),
        Some(tag) => match own_tag(Some(tag), at)? {
            // Where its file is, whoever read the file knows.
            Some(Own::Vault) => Kind::Sealed(Sealed::new(text, at.to_string())),
            // Nothing but text is unsafe, and plain scalars are what they are.
            Some(Own::Unsafe) if style == ScalarStyle::Plain => {
                return Ok((Kind::Scalar(scalar::plain(text)), Some(Tag::Unsafe)));
            }
            Some(Own::Unsafe) => return Ok((as_text(), Some(Tag::Unsafe))),
            None => as_text(),
        },
        None if style == ScalarStyle::Plain => Kind::Scalar(scalar::plain(text)),
        None => as_text(),
    };
    Ok((kind, None))
}

/// `!!int` and its like.
fn core_value(text: &str, suffix: &str, at: Position) -> Result<Value, YamlError> {
    let value = match suffix {
        "str" => Some(Value::String(text.to_owned())),
        "null" => Some(Value::Null),
        "bool" => scalar::as_bool(text).map(Value::Bool),
        "int" => scalar::as_int(text),
        "float" => scalar::as_float(text).or_else(|| text.parse().ok()).map(Value::Float),
        "binary" => decode_base64(text).map(Value::from_output),
        "timestamp" => Some(Value::String(text.to_owned())),
        _ => return Err(error(at, format!("unknown tag `!!{suffix}`"))),
    };
    value.ok_or_else(|| error(at, format!("`{}` is not of the type that the tag `!!{suffix}` says", shown(text))))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let compact: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(compact).ok()
}

/// Ansible's own tags.
enum Own {
    Vault,
    Unsafe,
}

fn own_tag(tag: Option<&saphyr_parser::Tag>, at: Position) -> Result<Option<Own>, YamlError> {
    let Some(tag) = tag else { return Ok(None) };
    match tag.suffix.trim_start_matches('!') {
        "vault" | "vault-encrypted" => Ok(Some(Own::Vault)),
        "unsafe" => Ok(Some(Own::Unsafe)),
        "" => Ok(None),
        other => Err(YamlError {
            at,
            what: format!("unknown tag `!{}`", shown(other)),
            hint: Some("known are !vault and !unsafe; quote the text if it only begins with `!`"),
        }),
    }
}

fn error(at: Position, what: impl Into<String>) -> YamlError {
    YamlError { at, what: what.into(), hint: None }
}
