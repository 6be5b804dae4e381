//! From the parser's events to [`Node`]s, with an explicit stack: no document can exhaust ours.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::problem::{Opened, Problem, Refusal};
use super::{ALIAS_NODES_MAX, DEPTH_MAX, Key, Kind, Node, Tag, YamlError, YamlWarning, moment, scalar};
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
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    composed(text).map_err(|refusal| match refusal {
        Refusal::Problem(problem) => problem.told(text),
        Refusal::Own(error) => error,
    })
}

/// As [`compose`], for text that stands in no file.
///
/// # Errors
/// As [`compose`], as the YAML library says it.
pub fn read(text: &str) -> Result<Document, String> {
    composed(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|refusal| match refusal {
        Refusal::Problem(problem) => problem.to_string(),
        Refusal::Own(error) => error.to_string(),
    })
}

fn composed(text: &str) -> Result<Document, Refusal> {
    let mut source = Source::new(text);
    loop {
        let stumble = match source.compose() {
            Ok(document) => return document,
            Err(stumble) => stumble,
        };
        if !source.repair(&stumble) {
            let at = source.position(stumble.refused.marker());
            return Err(Refusal::Problem(Problem::of_parser(&stumble.refused, at, &stumble.open, text)));
        }
    }
}

/// What the parser refused, and the lists and dicts that were open then.
struct Stumble {
    refused: ScanError,
    open: Vec<Opened>,
}

/// Text as the parser takes it. Between brackets and between quotes a line may begin in any column, between quotes also with tabs,
/// and PyYAML reads that; the parser wants it to be indented, so such lines are shifted to the right when it stumbles over them. It
/// also takes tabs behind a key's colon and at the beginning of a line between brackets: they become spaces where the parser stumbles.
struct Source<'a> {
    text: Cow<'a, str>,
    shifted: BTreeSet<usize>,
}

/// What the parser says of a line in a list or dict in brackets that is not indented, and of a tab that begins one between quotes.
const TOO_FAR_LEFT: [&str; 3] =
    ["invalid indentation", "invalid indentation in flow construct", "tab cannot be used as indentation"];

/// What it says of text in quotes with a line that is not indented, at the place of the first quote.
const QUOTED_TOO_FAR_LEFT: &str = "invalid indentation in quoted scalar";

/// What it says of text without quotes of which a further line begins with a tab, at the place of the first.
const TAB_BELOW_PLAIN: &str = "while scanning a plain scalar, found a tab";

/// What it says of a tab behind a key's colon.
const TAB_BEHIND_COLON: &str = "':' must be followed by a valid YAML whitespace";

/// Further than anything is nested that somebody reads.
const SHIFT_COLUMNS: usize = 256;

/// Lines that are shifted in one file, at most: the file is read again for each.
const SHIFTED_MAX: usize = 256;

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Source<'a> {
        Source { text: text.into(), shifted: BTreeSet::new() }
    }

    /// What the text means, or why that is an error; outside, what the parser stumbled over.
    fn compose(&self) -> Result<Result<Document, Refusal>, Stumble> {
        let mut composer = Composer::default();
        let lines: Vec<&str> = self.text.lines().collect();
        let mut parser = Parser::new_from_str(&self.text);
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                Err(refused) => return Err(Stumble { refused, open: composer.opened() }),
            };
            composer.in_brackets = begins_brackets(&lines, &span.start);
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

    /// Changes what the parser refused into what it takes. Whether that could be done.
    fn repair(&mut self, stumble: &Stumble) -> bool {
        let (line, column) = (stumble.refused.marker().line(), stumble.refused.marker().col());
        match stumble.refused.info() {
            TAB_BELOW_PLAIN => {
                let below =
                    self.text.lines().skip(line).position(|below| below.trim_start_matches(' ').starts_with('\t'));
                let tabbed = below.map(|below| line + 1 + below);
                tabbed.is_some_and(|line| self.is_in_brackets(line, &stumble.open) && self.space_out(line, 0))
            }
            _ if self.is_in_brackets(line, &stumble.open) && self.space_out(line, 0) => true,
            info if TOO_FAR_LEFT.contains(&info) => self.shift_line(line),
            QUOTED_TOO_FAR_LEFT => {
                let further = further_lines(&self.text[self.start_of(line)..], column);
                let shifted: Vec<bool> = (1..=further).map(|below| self.shift_line(line + below)).collect();
                shifted.contains(&true)
            }
            TAB_BEHIND_COLON => self.space_out(line, column),
            _ => false,
        }
    }

    /// Whether a line stands between brackets: of those that have just been opened nothing is known yet but what stands around.
    fn is_in_brackets(&self, line: usize, open: &[Opened]) -> bool {
        let (before, behind) = self.text.split_at(self.start_of(line));
        open.last().is_some_and(|opened| opened.in_brackets)
            || before.trim_end().ends_with(['[', '{', ','])
            || behind.trim_start().starts_with([']', '}', ','])
    }

    /// Writes spaces for the tabs among the blanks around a column, from 0.
    fn space_out(&mut self, line: usize, column: usize) -> bool {
        let start = self.start_of(line);
        let text = &self.text[start..];
        let text = &text[..text.find('\n').unwrap_or(text.len())];
        let at = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
        let is_blank = |c: char| matches!(c, ' ' | '\t');
        let begin = text[..at].trim_end_matches(is_blank).len();
        let end = text.len() - text[at..].trim_start_matches(is_blank).len();
        if !text[begin..end].contains('\t') {
            return false;
        }
        self.text.to_mut().replace_range(start + begin..start + end, &" ".repeat(end - begin));
        true
    }

    /// A line is shifted once; a second time would not help.
    fn shift_line(&mut self, line: usize) -> bool {
        if self.shifted.len() >= SHIFTED_MAX || !self.shifted.insert(line) {
            return false;
        }
        let at = self.start_of(line);
        self.text.to_mut().insert_str(at, &" ".repeat(SHIFT_COLUMNS));
        true
    }

    /// Where a line, from 1, begins: in bytes.
    fn start_of(&self, line: usize) -> usize {
        self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
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
}

/// Whether a bracket that opens a list or dict stands there.
fn begins_brackets(lines: &[&str], mark: &Marker) -> bool {
    let line = lines.get(mark.line().saturating_sub(1)).copied().unwrap_or_default();
    matches!(line.chars().nth(mark.col()), Some('[' | '{'))
}

/// How many lines more a text in quotes has, of which the first is in `column`, from 0, of the first line of `text`.
fn further_lines(text: &str, column: usize) -> usize {
    let mut rest = text.chars().skip(column);
    let quote = rest.next();
    let mut rest = rest.peekable();
    let mut lines = 0;
    while let Some(sign) = rest.next() {
        let is_escape = match quote {
            Some('"') => sign == '\\',
            _ => sign == '\'' && rest.peek() == Some(&'\''),
        };
        if is_escape {
            lines += usize::from(rest.next() == Some('\n'));
        } else if Some(sign) == quote {
            break;
        }
        lines += usize::from(sign == '\n');
    }
    lines
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
    /// Whether what comes next is written in brackets.
    in_brackets: bool,
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
    in_brackets: bool,
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
    fn opened(&self) -> Vec<Opened> {
        let opened = |frame: &Frame| Opened {
            at: frame.at,
            is_list: matches!(frame.kind, FrameKind::List(_)),
            in_brackets: frame.in_brackets,
        };
        self.open.iter().map(opened).collect()
    }

    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Refusal> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(is_marked) => self.begin_document(at, is_marked),
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

    fn begin_document(&mut self, at: Position, is_marked: bool) -> Result<(), Refusal> {
        self.documents += 1;
        match (self.documents, is_marked) {
            (0 | 1, _) => Ok(()),
            (_, false) => Err(problem("did not find expected <document start>", at)),
            (_, true) => {
                let first = self.root.as_ref().map_or(at, |root| root.at);
                let doing = "expected a single document in the stream";
                Err(Refusal::Problem(Problem::during(doing, first, "but found another document", at)))
            }
        }
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
    ) -> Result<(), Refusal> {
        if self.wants_key() {
            return Err(unhashable(at, self.open.last().map_or(at, |frame| frame.at)));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(error(at, format!("nested deeper than {DEPTH_MAX} levels")).into());
        }
        let tag = match tag {
            Some(tag) if tag.is_yaml_core_schema() => None,
            other => match own_tag(other, at)? {
                Some(Own::Vault) => {
                    return Err(error(at, "`!vault` is for text that ansible-vault has encrypted").into());
                }
                Some(Own::Unsafe) => Some(Tag::Unsafe),
                None => None,
            },
        };
        self.open.push(Frame { at, in_brackets: self.in_brackets, anchor, tag, nodes: 1, kind });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let Frame { at, anchor, tag, nodes, kind, .. } = frame;
        let kind = match kind {
            FrameKind::List(items) => Kind::List(items),
            FrameKind::Map { entries, .. } => Kind::Map(self.unique(at, entries)?),
        };
        self.add((Node { at, tag, kind }, nodes), anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Refusal> {
        let (node, nodes) =
            self.anchors.get(&anchor).ok_or_else(|| error(at, "an alias to a node that contains the alias"))?;
        self.alias_nodes += nodes;
        if self.alias_nodes > ALIAS_NODES_MAX {
            return Err(error(at, format!("aliases expand to more than {ALIAS_NODES_MAX} nodes")).into());
        }
        let copy = (node.clone(), *nodes);
        if self.open.len() + depth(&copy.0) > DEPTH_MAX {
            return Err(error(at, format!("nested deeper than {DEPTH_MAX} levels")).into());
        }
        self.add(copy, 0)
    }

    /// Puts a complete node where the document is just now.
    fn add(&mut self, (node, nodes): Counted, anchor: usize) -> Result<(), Refusal> {
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
                None => *key = Some(key_of(node, frame.at)?),
            },
        }
        Ok(())
    }

    /// Applies merge keys (`<<`); of a key written twice the last value stands, at the first one's place.
    fn unique(&mut self, at: Position, entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Refusal> {
        let mut merged: IndexMap<String, (Key, Node)> = IndexMap::with_capacity(entries.len());
        let mut own = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            if key.text == "<<" {
                merge(&mut merged, node, at)?;
            } else {
                own.push((key, node));
            }
        }
        let mut seen = HashSet::new();
        for (key, node) in own {
            if !seen.insert(key.text.clone()) {
                let what = format!("Found duplicate mapping key '{}'. Using last defined value only.", key.text);
                self.warnings.push(YamlWarning { at: key.at, what });
            }
            merged.insert(key.text.clone(), (key, node));
        }
        Ok(merged.into_values().collect())
    }
}

/// Takes the entries of a merge key's value, a map or a list of maps of which the earlier wins.
fn merge(into: &mut IndexMap<String, (Key, Node)>, node: Node, map_at: Position) -> Result<(), Refusal> {
    let refused = |what: &str, node: &Node| {
        let found = format!("expected {what} for merging, but found {}", kind_id(node));
        Err(Refusal::Problem(Problem::during("while constructing a mapping", map_at, found, node.at)))
    };
    match node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                into.insert(key.text.clone(), (key, value));
            }
            Ok(())
        }
        Kind::List(items) => items.into_iter().rev().try_for_each(|item| match item.kind {
            Kind::Map(_) => merge(into, item, map_at),
            Kind::List(_) | Kind::Scalar(_) | Kind::Sealed(_) => refused("a mapping", &item),
        }),
        Kind::Scalar(_) | Kind::Sealed(_) => refused("a mapping or list of mappings", &node),
    }
}

/// The library's word for a node's kind.
fn kind_id(node: &Node) -> &'static str {
    match node.kind {
        Kind::Scalar(_) | Kind::Sealed(_) => "scalar",
        Kind::List(_) => "sequence",
        Kind::Map(_) => "mapping",
    }
}

fn key_of(node: Node, map_at: Position) -> Result<Key, Refusal> {
    match node.kind {
        Kind::Scalar(Value::String(text)) => Ok(Key { at: node.at, text }),
        Kind::Scalar(value) => Ok(Key { at: node.at, text: value.to_string() }),
        Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => Err(unhashable(node.at, map_at)),
    }
}

fn unhashable(at: Position, map_at: Position) -> Refusal {
    Refusal::Problem(Problem::during("while constructing a mapping", map_at, "found unhashable key", at))
}

fn problem(what: impl Into<Cow<'static, str>>, at: Position) -> Refusal {
    Refusal::Problem(Problem::new(what, at))
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
) -> Result<(Kind, Option<Tag>), Refusal> {
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
fn core_value(text: &str, suffix: &str, at: Position) -> Result<Value, Refusal> {
    let value = match suffix {
        "str" => Some(Value::String(text.to_owned())),
        "null" => Some(Value::Null),
        "bool" => scalar::as_bool(text).map(Value::Bool),
        "int" => scalar::as_int(text),
        "float" => scalar::as_float(text).or_else(|| text.parse().ok()).map(Value::Float),
        "binary" => decode_base64(text).map(Value::from_output),
        "timestamp" => Some(Value::String(moment::text(text).unwrap_or_else(|| text.to_owned()))),
        _ => return Err(no_constructor(&format!("tag:yaml.org,2002:{suffix}"), at)),
    };
    value
        .ok_or_else(|| error(at, format!("`{}` is not of the type that the tag `!!{suffix}` says", shown(text))).into())
}

fn no_constructor(tag: &str, at: Position) -> Refusal {
    problem(format!("could not determine a constructor for the tag '{}'", shown(tag)), at)
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

fn own_tag(tag: Option<&saphyr_parser::Tag>, at: Position) -> Result<Option<Own>, Refusal> {
    let Some(tag) = tag else { return Ok(None) };
    match tag.suffix.trim_start_matches('!') {
        "vault" | "vault-encrypted" => Ok(Some(Own::Vault)),
        "unsafe" => Ok(Some(Own::Unsafe)),
        "" => Ok(None),
        other => Err(no_constructor(&format!("!{other}"), at)),
    }
}

fn error(at: Position, what: impl Into<String>) -> YamlError {
    YamlError { at, what: what.into(), hint: None }
}
