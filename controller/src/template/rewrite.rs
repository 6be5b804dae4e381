//! What Ansible's authors may write and the engine reads otherwise, rewritten before a template is compiled.
//!
//! `foo.bar.baz | default(1)` reaches its filter when `foo` or `foo.bar` is undefined: Ansible's undefined values may be walked further (`foo.bar.baz` of an undefined `foo` is undefined) and still fail
//! wherever they are used. The engine has one or the other. So in templates that name a filter or test which accepts
//! undefined values, every operand of `.name` and `[key]` is wrapped in a filter that makes an undefined one walkable;
//! the result of the last step is again an ordinary undefined value, which fails wherever it is used.
//!
//! In templates that change lists or dicts (`x.append(1)`) those that are made there, and those that variables have, are
//! made such that they can change, and operators become filters that do what Python does. Macros and raw text become what the engine makes the same of.
//!
//! Backslashes in the string literals of a play's `{{ }}` stand for themselves: they are doubled.

use std::borrow::Cow;

use super::embedded;

mod operators;
mod statements;

pub(super) use operators::{CYCLED, FILTER as OPERATE, ITERATED, SLICED};
pub(super) use statements::{CAPTURE, CAPTURED, LEFT_OUT, MACRO};

/// The filter around each operand.
pub(super) const FILTER: &str = "_walkable";

/// Makes a list or dict that nobody else has one that can change.
pub(super) const CHANGEABLE: &str = "_changeable";

/// What a variable is in a template that changes lists or dicts: the same one each time that it is read.
pub(super) const CHANGING: &str = "_changing";

/// What accepts undefined values: filters, tests and macros. `d` stands alone, being too short to search for as text.
const TOLERANT: &[&str] = &["default", "defined", "undefined", "mandatory", "macro"];

/// The delimiters of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delimiters {
    pub(super) block: (String, String),
    pub(super) variable: (String, String),
    pub(super) comment: (String, String),
    /// What a line begins with that is a statement as a whole.
    pub(super) line: Option<String>,
    /// What the rest of a line is a comment after.
    pub(super) line_comment: Option<String>,
}

impl Default for Delimiters {
    fn default() -> Delimiters {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        Delimiters {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
            line: None,
            line_comment: None,
        }
    }
}

/// What a backslash in a printed string literal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literals {
    Escaped,
    Raw,
}

/// A rewritten text, and what was put where.
pub(super) struct Rewritten<'a> {
    pub(super) text: Cow<'a, str>,
    /// Offset in the original text and length of what was inserted there, in order.
    insertions: Vec<(usize, usize)>,
}

impl Rewritten<'_> {
    /// The offset in the original text that belongs to an offset in [`Rewritten::text`].
    pub(super) fn original(&self, offset: usize) -> usize {
        let mut inserted = 0;
        for &(at, len) in &self.insertions {
            if at + inserted >= offset {
                break;
            }
            inserted += len.min(offset - at - inserted);
        }
        offset - inserted
    }
}

/// What is put into a text: where, and instead of how many bytes there.
struct Mark {
    at: usize,
    text: String,
    instead_of: usize,
}

type Marks = Vec<Mark>;

fn insert(marks: &mut Marks, at: usize, text: impl Into<String>) {
    marks.push(Mark { at, text: text.into(), instead_of: 0 });
}

pub(super) fn rewrite<'a>(source: &'a str, delimiters: &Delimiters, literals: Literals) -> Rewritten<'a> {
    // Places behind what changes here are not those of the author's text: seldom, and errors alone tell them.
    let translated = statements::translated(source, delimiters);
    let unfolded = with_terms_unfolded(translated.as_deref().unwrap_or(source), delimiters);
    match unfolded.or(translated) {
        Some(changed) => {
            let Rewritten { text, insertions } = rewrite_unfolded(&changed, delimiters, literals);
            Rewritten { text: Cow::Owned(text.into_owned()), insertions }
        }
        None => rewrite_unfolded(source, delimiters, literals),
    }
}

/// The text with other words in these places, which follow each other.
fn edited(source: &str, edits: &[(std::ops::Range<usize>, String)]) -> String {
    let (mut out, mut last) = (String::with_capacity(source.len()), 0);
    for (place, text) in edits {
        out.push_str(&source[last..place.start]);
        out.push_str(text);
        last = place.end;
    }
    out.push_str(&source[last..]);
    out
}

/// The text with the templates in literals among the terms of lookups made expressions; none where there are none.
fn with_terms_unfolded(source: &str, delimiters: &Delimiters) -> Option<String> {
    if !LOOKUPS.iter().any(|name| source.contains(name)) {
        return None;
    }
    let mut replaced: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    for (_, region) in regions(source, delimiters) {
        terms(source, region, &mut replaced);
    }
    (!replaced.is_empty()).then(|| edited(source, &replaced))
}

const LOOKUPS: &[&str] = &["lookup", "query", "q"];

/// An open bracket, as seen from a lookup around it.
#[derive(Clone, Copy)]
enum Bracket {
    /// The lookup's own, and how many arguments have ended in it.
    Lookup {
        arguments: usize,
        named: bool,
    },
    /// A list or dict among its terms.
    Term,
    Other,
}

/// Literals among the terms of lookups, which stand for themselves there, and what their templates mean.
fn terms(source: &str, region: std::ops::Range<usize>, replaced: &mut Vec<(std::ops::Range<usize>, String)>) {
    let mut tokens = Tokens { source, at: region.start, end: region.end, after_dot: false };
    let mut open: Vec<Bracket> = Vec::new();
    let (mut before, mut previous) = (Token::Other(' '), Token::Other(' '));
    while let Some((begin, token)) = tokens.next() {
        let starts = matches!(previous, Token::Open(_) | Token::Other(',' | ':'));
        let is_term = match open.last() {
            Some(Bracket::Lookup { arguments, named }) => *arguments > 0 && !named && starts,
            Some(Bracket::Term) => starts,
            Some(Bracket::Other) | None => false,
        };
        match token {
            Token::Open('(') if matches!(previous, Token::Name(name) if LOOKUPS.contains(&name)) => {
                let is_call = !matches!(before, Token::Dot | Token::Other('|'));
                open.push(if is_call { Bracket::Lookup { arguments: 0, named: false } } else { Bracket::Other });
            }
            Token::Open(_) => open.push(if is_term { Bracket::Term } else { Bracket::Other }),
            Token::Close => drop(open.pop()),
            Token::Other(',') => {
                if let Some(Bracket::Lookup { arguments, named }) = open.last_mut() {
                    *arguments += 1;
                    *named = false;
                }
            }
            Token::Other('=') => {
                if let Some(Bracket::Lookup { named, .. }) = open.last_mut() {
                    *named = true;
                }
            }
            Token::Literal if is_term && source[tokens.at..].trim_start().starts_with([',', ')', ']', '}']) => {
                let literal = begin..tokens.at;
                let expression = source[literal.clone()]
                    .chars()
                    .next()
                    .and_then(|quote| embedded::expression(&source[literal.clone()], quote));
                replaced.extend(expression.map(|expression| (literal, expression)));
            }
            _ => {}
        }
        (before, previous) = (previous, token);
    }
}

fn rewrite_unfolded<'a>(source: &'a str, delimiters: &Delimiters, literals: Literals) -> Rewritten<'a> {
    let walkable = mentions_tolerant(source);
    let raw = literals == Literals::Raw && source.contains('\\');
    let mut marks = Marks::new();
    let changed = mentions_change(source);
    for (kind, region) in regions(source, delimiters) {
        if matches!(kind, Kind::Raw | Kind::LineComment) {
            continue;
        }
        if walkable {
            operands(source, region.clone(), &mut marks);
        }
        if changed {
            changeable(source, region.clone(), &mut marks);
        }
        // After what closes inside an operand.
        operators::operators(source, kind, region.clone(), changed, &mut marks);
        if raw && kind == Kind::Variable {
            double_backslashes(source, region, &mut marks);
        }
    }
    if marks.is_empty() {
        return Rewritten { text: Cow::Borrowed(source), insertions: Vec::new() };
    }
    // Stable: at one place, what closes an inner operand stands before what opens the next; what replaces text is last.
    marks.sort_by_key(|mark| (mark.at, mark.instead_of));
    let mut text = String::with_capacity(source.len() + marks.len() * 6);
    let mut last = 0;
    let mut insertions = Vec::with_capacity(marks.len());
    for mark in marks {
        text.push_str(&source[last..mark.at]);
        text.push_str(&mark.text);
        insertions.push((mark.at, mark.text.len().saturating_sub(mark.instead_of)));
        last = mark.at + mark.instead_of;
    }
    text.push_str(&source[last..]);
    Rewritten { text: Cow::Owned(text), insertions }
}

fn double_backslashes(source: &str, region: std::ops::Range<usize>, marks: &mut Marks) {
    let mut tokens = Tokens { source, at: region.start, end: region.end, after_dot: false };
    while let Some((begin, token)) = tokens.next() {
        let text = &source[begin..tokens.at];
        if token != Token::Literal || !text.contains('\\') {
            continue;
        }
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let escaped = bytes[at] == b'\\';
            if escaped {
                insert(marks, begin + at, "\\");
                // What follows is text, too: a backslash, or a quote that ends nothing.
                if bytes.get(at + 1).is_some_and(|next| *next == b'\\' || *next == bytes[0]) {
                    insert(marks, begin + at + 1, "\\");
                }
            }
            at += 1 + usize::from(escaped);
        }
    }
}

/// Methods that change the list or dict they are called on.
const CHANGES: &[&str] = &[
    ".append(",
    ".extend(",
    ".insert(",
    ".pop(",
    ".remove(",
    ".update(",
    ".setdefault(",
    ".popitem(",
    ".sort(",
    ".reverse(",
    ".clear(",
];

fn mentions_change(source: &str) -> bool {
    CHANGES.iter().any(|method| source.contains(method))
}

/// The engine's own lists and dicts cannot change, so those that the template makes are made of others.
fn changeable(source: &str, region: std::ops::Range<usize>, marks: &mut Marks) {
    let mut tokens = Tokens { source, at: region.start, end: region.end, after_dot: false };
    let mut open: Vec<bool> = Vec::new();
    let mut previous = Token::Other(' ');
    while let Some((begin, token)) = tokens.next() {
        match token {
            Token::Open(bracket) => {
                let indexes = match previous {
                    Token::Name(name) => !KEYWORDS.contains(&name),
                    Token::Literal | Token::Close => true,
                    _ => false,
                };
                let made = bracket == '{' || (bracket == '[' && !indexes);
                if made {
                    insert(marks, begin, "(");
                }
                open.push(made);
            }
            Token::Close if open.pop() == Some(true) => insert(marks, tokens.at, format!("|{CHANGEABLE})")),
            _ => {}
        }
        previous = token;
    }
}

/// Whether a template has something that accepts undefined values.
pub(super) fn mentions_tolerant(source: &str) -> bool {
    TOLERANT.iter().any(|name| source.contains(name))
        || source.split('|').skip(1).any(|rest| {
            rest.trim_start().strip_prefix('d').is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        })
}

/// The parts of a template that hold expressions, from after a start delimiter to before its end.
fn regions(source: &str, delimiters: &Delimiters) -> Vec<(Kind, std::ops::Range<usize>)> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((start, kind)) = next_start(source, at, delimiters) {
        at = match kind {
            Kind::Comment => {
                let end = &delimiters.comment.1;
                source[start..].find(&**end).map_or(source.len(), |len| start + len + end.len())
            }
            Kind::LineComment => {
                let end = source[start..].find('\n').map_or(source.len(), |len| start + len);
                out.push((kind, start..end));
                end
            }
            Kind::Variable => {
                let begin = start + delimiters.variable.0.len();
                let end = expression_end(source, begin, |rest| rest.trim_start().starts_with(&delimiters.variable.1));
                out.push((kind, begin..end));
                end
            }
            Kind::Line => {
                let begin = start + delimiters.line.as_ref().map_or(0, String::len);
                let end = expression_end(source, begin, |rest| {
                    let rest = rest.trim_start_matches([' ', '\t', '\r']);
                    rest.is_empty() || rest.starts_with('\n')
                });
                out.push((kind, begin..end));
                end
            }
            Kind::Block | Kind::Raw => {
                let begin = start + delimiters.block.0.len();
                let end = expression_end(source, begin, |rest| rest.trim_start().starts_with(&delimiters.block.1));
                let statement = source[begin..end].trim_matches(['-', '+', ' ', '\t', '\n', '\r']);
                if statement == "raw" {
                    out.push((Kind::Raw, begin..end));
                    source[end..].find("endraw").map_or(source.len(), |len| end + len)
                } else {
                    out.push((kind, begin..end));
                    end
                }
            }
        };
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Block,
    /// The statement that text without templates begins with.
    Raw,
    /// A line that is a statement.
    Line,
    Variable,
    Comment,
    LineComment,
}

fn next_start(source: &str, at: usize, delimiters: &Delimiters) -> Option<(usize, Kind)> {
    let starts = [
        (&delimiters.variable.0, Kind::Variable),
        (&delimiters.block.0, Kind::Block),
        (&delimiters.comment.0, Kind::Comment),
    ];
    let starts = starts.into_iter().filter_map(|(start, kind)| Some((at + source[at..].find(&**start)?, kind)));
    let comment = delimiters.line_comment.as_deref();
    let comment = comment.and_then(|prefix| Some((at + source[at..].find(prefix)?, Kind::LineComment)));
    // Where one begins with the other, a comment is found first.
    starts.chain(comment).chain(next_line(source, at, delimiters)).min_by_key(|&(found, _)| found)
}

/// The next line that is a statement.
fn next_line(source: &str, at: usize, delimiters: &Delimiters) -> Option<(usize, Kind)> {
    let prefix = delimiters.line.as_deref()?;
    let is_first = |found: &usize| {
        let line = source[..*found].rfind('\n').map_or(0, |newline| newline + 1);
        source[line..*found].trim().is_empty()
    };
    source[at..].match_indices(prefix).map(|(found, _)| at + found).find(is_first).map(|found| (found, Kind::Line))
}

/// Where the expression that begins at `begin` ends: at its end delimiter outside strings and brackets.
fn expression_end(source: &str, begin: usize, is_end: impl Fn(&str) -> bool) -> usize {
    let mut depth = 0usize;
    let mut tokens = Tokens { source, at: begin, end: source.len(), after_dot: false };
    loop {
        if depth == 0 && is_end(&source[tokens.at..]) {
            return tokens.at;
        }
        match tokens.next() {
            None => return source.len(),
            Some((_, Token::Open(_))) => depth += 1,
            Some((_, Token::Close)) => depth = depth.saturating_sub(1),
            Some(_) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    Literal,
    Dot,
    Open(char),
    Close,
    Other(char),
}

struct Tokens<'a> {
    source: &'a str,
    at: usize,
    end: usize,
    after_dot: bool,
}

impl<'a> Iterator for Tokens<'a> {
    /// The token and where it begins; it ends at `self.at`.
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<(usize, Token<'a>)> {
        let rest = &self.source[self.at..self.end];
        let trimmed = rest.trim_start();
        let begin = self.end - trimmed.len();
        let first = trimmed.chars().next()?;
        let len_while = |accept: &dyn Fn(char) -> bool| trimmed.find(|c| !accept(c)).unwrap_or(trimmed.len());
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let (len, token) = match first {
            '\'' | '"' => (string_len(trimmed, first), Token::Literal),
            '0'..='9' if self.after_dot => (len_while(&|c| c.is_ascii_digit()), Token::Name("")),
            '0'..='9' => (number_len(trimmed), Token::Literal),
            c if word(c) => {
                let len = len_while(&word);
                (len, Token::Name(&trimmed[..len]))
            }
            '.' => (1, Token::Dot),
            '(' | '[' | '{' => (1, Token::Open(first)),
            ')' | ']' | '}' => (1, Token::Close),
            other => (other.len_utf8(), Token::Other(other)),
        };
        self.after_dot = token == Token::Dot;
        self.at = begin + len;
        Some((begin, token))
    }
}

/// The length of the number at the beginning of `text`.
fn number_len(text: &str) -> usize {
    let len_of = |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
    let len = len_of(text);
    let has_exponent = text[..len].ends_with(['e', 'E']) && !text.starts_with("0x");
    match text[len..].strip_prefix(['-', '+']) {
        Some(exponent) if has_exponent => len + 1 + len_of(exponent),
        _ => len,
    }
}

/// The length of the string literal at the beginning of `text`.
pub(super) fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Words that end an operand instead of being one.
const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "do",
    "recursive",
    "with",
    "include",
    "import",
    "from",
    "as",
    "call",
    "filter",
    "macro",
    "block",
    "extends",
    "endif",
    "endfor",
];

/// Marks the operands of every `.name` and `[key]` in one expression.
fn operands(source: &str, region: std::ops::Range<usize>, marks: &mut Marks) {
    let mut tokens = Tokens { source, at: region.start, end: region.end, after_dot: false };
    // Where the current operand begins, for each open bracket and outermost.
    let mut levels: Vec<Option<usize>> = vec![None];
    let mut previous = Token::Other(' ');
    let mut assigns =
        matches!(tokens.by_ref().find(|(_, t)| !matches!(t, Token::Other('-' | '+'))), Some((_, Token::Name("set"))));
    if !assigns {
        tokens.at = region.start;
    }
    for (begin, token) in tokens {
        let operand = *levels.last().expect("the outermost level stays");
        let wrap = |start: usize, marks: &mut Marks| {
            if !assigns {
                insert(marks, start, "(");
                insert(marks, begin, format!("|{FILTER})"));
            }
        };
        let after_filter_mark = matches!(previous, Token::Other('|') | Token::Name("is"));
        match token {
            Token::Name("not") if previous == Token::Name("is") => continue,
            Token::Name(_) if after_filter_mark => set_last(&mut levels, None),
            Token::Name(_) if previous == Token::Dot => {}
            Token::Name(name) if KEYWORDS.contains(&name) => set_last(&mut levels, None),
            Token::Name(_) | Token::Literal => set_last(&mut levels, Some(begin)),
            Token::Dot => {
                if let Some(start) = operand {
                    wrap(start, marks);
                }
            }
            Token::Open(bracket) => {
                match operand {
                    Some(start) if bracket == '[' => wrap(start, marks),
                    Some(_) => {}
                    // Arguments of a filter or test belong to it; any other bracket opens an operand.
                    None if bracket == '(' && matches!(previous, Token::Name(name) if !KEYWORDS.contains(&name)) => {}
                    None => set_last(&mut levels, Some(begin)),
                }
                levels.push(None);
            }
            Token::Close if levels.len() > 1 => {
                levels.pop();
            }
            Token::Other('=') => {
                assigns = false;
                set_last(&mut levels, None);
            }
            _ => set_last(&mut levels, None),
        }
        previous = token;
    }
}

fn set_last(levels: &mut [Option<usize>], operand: Option<usize>) {
    if let Some(last) = levels.last_mut() {
        *last = operand;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> String {
        rewrite(source, &Delimiters::default(), Literals::Escaped).text.replace(FILTER, "w")
    }

    #[test]
    fn operands_of_attributes_become_walkable_where_undefined_is_accepted() {
        for (source, expected) in [
            ("{{ a.b }}", "{{ a.b }}"),
            ("{{ a | default(1) }}", "{{ a | default(1) }}"),
            ("{{ a.b | d(1) }}", "{{ (a|w).b | d(1) }}"),
            ("{{ a.b.c is defined }}", "{{ ((a|w).b|w).c is defined }}"),
            ("{{ a['x'].c | default(d.e) }}", "{{ ((a|w)['x']|w).c | default((d|w).e) }}"),
            ("{{ a.0.b is not defined }}", "{{ ((a|w).0|w).b is not defined }}"),
            ("{{ (a | f(x.y)).b | default(1.5) }}", "{{ ((a | f((x|w).y))|w).b | default(1.5) }}"),
            ("{{ a.get('x.y') | default('}} b.c') }}", "{{ (a|w).get('x.y') | default('}} b.c') }}"),
            ("{{ a | ansible.builtin.default(1) }}", "{{ a | ansible.builtin.default(1) }}"),
            ("{% set n.x = a.b | default(1) %}", "{% set n.x = (a|w).b | default(1) %}"),
            ("{% raw -%}{{ a.b | default }}{% endraw %}", "{% raw -%}{{ a.b | default }}{% endraw %}"),
            ("a.b default {# c.d #}", "a.b default {# c.d #}"),
        ] {
            assert_eq!(rewritten(source), expected, "{source}");
        }
    }

    #[test]
    fn operators_become_filters() {
        for (source, expected) in [
            ("{{ a.b[0] < 5 }}", "{{ (a.b[0] )|_operate('a < *', 5) }}"),
            ("{{ a+b-1 }}", "{{ (a)|_operate('a + b',b,'- *',1) }}"),
            ("{{- 1 < (a)<= [2] -}}", "{{- (1 )|_operate('* < a', (a),'<= [', [2]) -}}"),
            (
                "{{ a * b + c(d ~ e) }}",
                "{{ ((a )|_operate('a * b', b) )|_operate('* + *', c((d )|_operate('d ~ e', e))) }}",
            ),
            ("{{ a == b and not c != d }}", "{{ a == b and not c != d }}"),
            ("{{ a not in b == c }}", "{{ (a )|_operate('a not in b', b ,'== c', c) }}"),
            ("{{ -1 + -a.b|abs }}", "{{ (-1 )|_operate('* + *', (a.b)|_operate('- a')|abs) }}"),
            ("{{ a is divisibleby 3 < b }}", "{{ (a is divisibleby 3 )|_operate('* < b', b) }}"),
            ("{{ f(*a, **b) | g(x=1+2) }}", "{{ f(*a, **b) | g(x=(1)|_operate('* + *',2)) }}"),
            ("{{ 1e+3 - 'a-b' 'c' }}", "{{ (1e+3 )|_operate('* - *', 'a-b' 'c') }}"),
            ("{% for a in b, c %}", "{% for a in (b, c)|_iterated %}"),
            (
                "{{ a[1:] + b[:c - 1:2] }}",
                "{{ (((a)|_sliced(1,none)) )|_operate('a + b', ((b)|_sliced(none,(c )|_operate('c - *', 1),2))) }}",
            ),
            ("{{ a[0][b:][::-1].c }}", "{{ ((((a[0])|_sliced(b,none)))|_sliced(none,none,-1)).c }}"),
            ("{{ {1: a[2]}[1] ~ loop.cycle('x') }}", "{{ ({1: a[2]}[1] )|_operate('[ ~ *', ((loop)|_cycled('x'))) }}"),
            (
                "{% for a, b in c + d if a > b %}",
                "{% for a, b in ((c )|_operate('c + d', d))|_iterated if (a )|_operate('a > b', b) %}",
            ),
            ("{% set a = b|d(1) % 2 -%}", "{% set a = (b|d(1) )|_operate('b % *', 2) -%}"),
            ("{{ a < }}{{ [a + 1 }}", "{{ a < }}{{ [a + 1 }}"),
        ] {
            assert_eq!(rewritten(source), expected, "{source}");
        }
    }

    #[test]
    fn templates_in_the_terms_of_lookups_become_expressions() {
        for (source, expected) in [
            ("{{ lookup('f', '{{ a }}/b') }}", "{{ lookup('f', (((a)|_printed )|_operate('* ~ *', '/b'))) }}"),
            ("{{ q('f', ['{{ a }}', {'{{ k }}': \"{{ b }}\"}], 1) }}", "{{ q('f', [(a), {'{{ k }}': (b)}], 1) }}"),
            ("{{ query('{{ a }}', x='{{ b }}') }}", "{{ query('{{ a }}', x='{{ b }}') }}"),
            (
                "{{ lookup('f', '{{ a }}' ~ b, g('{{ a }}')) }}",
                "{{ lookup('f', ('{{ a }}' )|_operate('* ~ b', b), g('{{ a }}')) }}",
            ),
            (
                "{{ x.lookup('f', '{{ a }}') }} lookup('f', '{{ a }}')",
                "{{ x.lookup('f', '{{ a }}') }} lookup('f', '{{ a }}')",
            ),
        ] {
            assert_eq!(rewritten(source), expected, "{source}");
        }
    }

    #[test]
    fn what_templates_that_change_something_have_can_change() {
        for (source, expected) in [
            ("{% set x = [] %}", "{% set x = [] %}"),
            (
                "{% set x = [a[0]] %}{{ x.append({'a': 1}) }}",
                "{% set x = (([(a|_changing)[0]]|_changeable)|_changeable) %}{{ (x|_changing).append(({'a': 1}|_changeable)) }}",
            ),
            (
                "{% for a, b in c if d %}{% set e = f(g, h=i.j) %}{% set k.l = m is n %}{% do a.append(1) %}{% endfor %}",
                "{% for a, b in ((c|_changing))|_iterated if (d|_changing) %}\
                 {% set e = (f((g|_changing), h=(i|_changing).j)|_changeable) %}\
                 {% set k.l = ((m|_changing) is n|_changeable) %}{% do (a|_changing).append(1) %}{% endfor %}",
            ),
        ] {
            assert_eq!(rewritten(source), expected, "{source}");
        }
    }

    #[test]
    fn backslashes_in_printed_literals_stand_for_themselves() {
        for (source, expected) in [
            (r"{{ x | f('\1') }}", r"{{ x | f('\\1') }}"),
            (r"{{ 'a\'b' }} \ {% if '\1' %}", r"{{ 'a\\\'b' }} \ {% if '\1' %}"),
            (r"{{ '\\' }}", r"{{ '\\\\' }}"),
        ] {
            assert_eq!(rewrite(source, &Delimiters::default(), Literals::Raw).text, expected);
        }
    }

    #[test]
    fn offsets_lead_back_to_the_original_text() {
        let source = "{{ a.b.c | default(x.y) }}";
        let walkable = rewrite(source, &Delimiters::default(), Literals::Raw);
        let found = walkable.text.find("default").unwrap();
        assert_eq!(walkable.original(found), source.find("default").unwrap());
        assert_eq!(walkable.original(0), 0);
        assert_eq!(walkable.original(walkable.text.len()), source.len());
    }
}
