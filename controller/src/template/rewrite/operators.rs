//! Operators with Python's meaning: each becomes a call of [`FILTER`], for the engine's own compare and add what Python
//! refuses.
//!
//! `a < b + 1 <= c` becomes `(a)|_operate('a < *', (b)|_operate('b + *', 1), '<= c', c)`: operators of one precedence
//! are one call, so that long chains do not nest. The text before each operand says what stands there, for the sentence
//! that a refusal is told in: a variable's name, `[` for a literal, `*` for anything else.
//!
//! Of an expression that cannot be read nothing is rewritten: the engine says what is wrong with it.

use std::fmt;
use std::ops::Range;

use super::{CHANGEABLE, CHANGING, Kind, Mark, Marks, Token, Tokens, insert};
use crate::template::sealed::asks;

/// Python's operators, on the first operand.
pub(in crate::template) const FILTER: &str = "_operate";

/// What a loop goes through.
pub(in crate::template) const ITERATED: &str = "_iterated";

/// What `[a:b:c]` becomes.
pub(in crate::template) const SLICED: &str = "_sliced";

/// What a loop's `cycle()` becomes.
pub(in crate::template) const CYCLED: &str = "_cycled";

/// The binary operators from the loosest to the tightest.
const LEVELS: [&[&str]; 5] = [COMPARISONS, &["+", "-"], &["~"], &["*", "/", "//", "%"], &["**"]];
const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">=", "in", "not in"];

/// These have one meaning in Python and here, but of what cannot be opened.
const SAME: &[&str] = &["==", "!="];

/// Longest first, where one begins with another.
const SYMBOLS: &[&str] =
    &["**", "//", "<=", ">=", "==", "!=", "<", ">", "+", "-", "~", "*", "/", "%", "|", "=", ",", ":"];

/// Words of expressions that are no operand.
const WORDS: &[&str] = &["and", "or", "not", "in", "is", "if", "else"];

/// Words that end the arguments of a test.
const ENDS_TEST: &[&str] = &["and", "or", "else", "is"];

/// Filters that mostly hand on what they get.
const HANDS_ON: &[&str] = &["default", "d"];

/// How deep brackets, signs and `not` may nest: less than the engine allows.
const DEPTH_MAX: usize = 60;

/// Marks the operators of one expression or statement, and of a template that changes lists or dicts the variables and
/// what others are set to.
pub(super) fn operators(source: &str, kind: Kind, region: Range<usize>, changes: bool, marks: &mut Marks) {
    let (mut start, mut end) = (region.start, region.end);
    // Signs beside the delimiters are about white space.
    if source[start..end].starts_with(['-', '+']) {
        start += 1;
    }
    if source[start..end].ends_with(['-', '+']) {
        end -= 1;
    }
    let tokens = Tokens { source, at: start, end, after_dot: false };
    let mut reader = Reader { tokens, ahead: None, last_end: start, depth: 0, changes, marks: Marks::new() };
    if reader.region(kind).is_some() {
        marks.append(&mut reader.marks);
    }
}

/// What an operand is, as far as it can be seen.
#[derive(Clone, Copy, PartialEq)]
enum Operand<'a> {
    /// A variable, or what is found in it.
    Path(&'a str),
    /// A list, dict or tuple, written there.
    Literal,
    Other,
}

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operand::Path(name) => name,
            Operand::Literal => "[",
            Operand::Other => "*",
        })
    }
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    ahead: Option<(usize, Token<'a>)>,
    /// Where the last token taken ends.
    last_end: usize,
    depth: usize,
    /// Whether a name that comes now is a variable of a template that changes lists or dicts.
    changes: bool,
    marks: Marks,
}

/// Every method gives nothing where the text is no expression.
impl<'a> Reader<'a> {
    fn peek(&mut self) -> Option<(usize, Token<'a>)> {
        if self.ahead.is_none() {
            self.ahead = self.tokens.next();
        }
        self.ahead
    }

    fn peek_token(&mut self) -> Option<Token<'a>> {
        self.peek().map(|(_, token)| token)
    }

    fn take(&mut self) -> Option<(usize, Token<'a>)> {
        let taken = self.peek()?;
        self.ahead = None;
        self.last_end = self.tokens.at;
        Some(taken)
    }

    /// The symbol that begins with the next token, and where it begins.
    fn peek_symbol(&mut self) -> Option<(usize, &'static str)> {
        let (begin, token) = self.peek()?;
        if !matches!(token, Token::Other(_)) {
            return None;
        }
        let rest = &self.tokens.source[begin..self.tokens.end];
        SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).map(|symbol| (begin, *symbol))
    }

    fn take_symbol(&mut self, (begin, symbol): (usize, &str)) {
        self.ahead = None;
        self.tokens.at = begin + symbol.len();
        self.last_end = self.tokens.at;
    }

    fn accept_symbol(&mut self, accepted: &[&str]) -> Option<&'static str> {
        let found = self.peek_symbol().filter(|(_, symbol)| accepted.contains(symbol))?;
        self.take_symbol(found);
        Some(found.1)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let is_next = self.peek_token() == Some(Token::Name(word));
        if is_next {
            self.take();
        }
        is_next
    }

    fn region(&mut self, kind: Kind) -> Option<()> {
        if kind != Kind::Variable {
            match self.take()?.1 {
                Token::Name("for") => {
                    self.skip_targets()?;
                    self.iterated()?;
                }
                Token::Name("set") if self.changes => return self.assignment(),
                Token::Name("if" | "elif" | "do") => {}
                // Their names are mostly those of parameters, blocks and files.
                _ => self.changes = false,
            }
        }
        while self.peek().is_some() {
            // `for a in b if c`: the condition is no part of what comes before.
            if self.accept_symbol(&[",", "="]).is_none() && !self.accept_word("if") {
                self.expression()?;
            }
        }
        Some(())
    }

    /// What is set, and what to: that can change, too.
    fn assignment(&mut self) -> Option<()> {
        while self.accept_symbol(&["="]).is_none() {
            self.take()?;
        }
        while let Some((start, _)) = self.peek() {
            self.expression()?;
            insert(&mut self.marks, start, "(");
            insert(&mut self.marks, self.last_end, format!("|{CHANGEABLE})"));
            self.accept_symbol(&[","]);
        }
        Some(())
    }

    /// The names that a loop sets.
    fn skip_targets(&mut self) -> Option<()> {
        while self.take()?.1 != Token::Name("in") {}
        Some(())
    }

    /// What a loop goes through: with what Python says of a value that cannot be gone through.
    fn iterated(&mut self) -> Option<()> {
        let (start, _) = self.peek()?;
        self.alternatives()?;
        // `1, 2` is a tuple.
        while self.accept_symbol(&[","]).is_some() {
            self.alternatives()?;
        }
        insert(&mut self.marks, start, "(");
        insert(&mut self.marks, self.last_end, format!(")|{ITERATED}"));
        Some(())
    }

    fn expression(&mut self) -> Option<Operand<'a>> {
        let mut operand = self.alternatives()?;
        while self.accept_word("if") {
            self.alternatives()?;
            if self.accept_word("else") {
                let other = self.nested(Reader::expression)?;
                operand = if operand == other { operand } else { Operand::Other };
            }
        }
        Some(operand)
    }

    /// Operands between `or` and `and`, which have no other precedence here.
    fn alternatives(&mut self) -> Option<Operand<'a>> {
        let first = self.negated()?;
        let mut is_one = true;
        while self.accept_word("or") || self.accept_word("and") {
            self.negated()?;
            is_one = false;
        }
        Some(if is_one { first } else { Operand::Other })
    }

    fn negated(&mut self) -> Option<Operand<'a>> {
        if self.accept_word("not") {
            self.nested(Reader::negated)?;
            return Some(Operand::Other);
        }
        self.operation(0)
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let inner = if self.depth > DEPTH_MAX { None } else { read(self) };
        self.depth -= 1;
        inner
    }

    /// Operands between the operators of one level.
    fn operation(&mut self, level: usize) -> Option<Operand<'a>> {
        if level == LEVELS.len() {
            return self.operand(true);
        }
        let (start, _) = self.peek()?;
        let first = self.operation(level + 1)?;
        let mut found = Marks::new();
        let mut differs = false;
        let mut all_literal = first == Operand::Literal;
        while let Some((at, operator)) = self.accept_operator(level) {
            let instead_of = self.last_end - at;
            let right = self.operation(level + 1)?;
            let text = if found.is_empty() {
                format!(")|{FILTER}('{first} {operator} {right}',")
            } else {
                format!(",'{operator} {right}',")
            };
            found.push(Mark { at, text, instead_of });
            differs |= !SAME.contains(&operator) || asks(self.tokens.source);
            all_literal &= right == Operand::Literal;
        }
        let is_one = found.is_empty();
        if differs {
            insert(&mut self.marks, start, "(");
            self.marks.append(&mut found);
            insert(&mut self.marks, self.last_end, ")");
        }
        Some(if is_one || all_literal { first } else { Operand::Other })
    }

    fn accept_operator(&mut self, level: usize) -> Option<(usize, &'static str)> {
        let (begin, token) = self.peek()?;
        match token {
            Token::Name("in") if level == 0 => {
                self.take();
                Some((begin, "in"))
            }
            Token::Name("not") if level == 0 => {
                self.take();
                self.accept_word("in").then_some((begin, "not in"))
            }
            _ => self.accept_symbol(LEVELS[level]).map(|symbol| (begin, symbol)),
        }
    }

    /// An operand with its sign, and what is asked of it.
    fn operand(&mut self, with_filters: bool) -> Option<Operand<'a>> {
        let (begin, _) = self.peek()?;
        let mut operand = match self.accept_symbol(&["-", "+"]) {
            Some(sign) => {
                let (inner, token) = self.peek()?;
                let is_number =
                    token == Token::Literal && self.tokens.source[inner..].starts_with(|c: char| c.is_ascii_digit());
                let operand = self.nested(|reader| reader.operand(false))?;
                // A negative number is a number.
                if !(is_number && sign == "-") {
                    self.marks.push(Mark { at: begin, text: "(".to_owned(), instead_of: 1 });
                    insert(&mut self.marks, self.last_end, format!(")|{FILTER}('{sign} {operand}')"));
                }
                Operand::Other
            }
            None => {
                let primary = self.primary()?;
                self.postfix(begin, primary)?
            }
        };
        if !with_filters {
            return Some(operand);
        }
        loop {
            if self.accept_symbol(&["|"]).is_some() {
                let filter = self.dotted_name()?;
                if matches!(self.peek_token(), Some(Token::Open('('))) {
                    self.bracket()?;
                }
                if !HANDS_ON.contains(&filter) {
                    operand = Operand::Other;
                }
            } else if self.accept_word("is") {
                self.test()?;
                operand = Operand::Other;
            } else {
                return Some(operand);
            }
        }
    }

    /// The first part of a name with dots.
    fn dotted_name(&mut self) -> Option<&'a str> {
        let (_, Token::Name(name)) = self.take()? else { return None };
        while self.peek_token() == Some(Token::Dot) {
            self.take();
            self.take()?;
        }
        Some(name)
    }

    fn test(&mut self) -> Option<()> {
        self.accept_word("not");
        self.dotted_name()?;
        match self.peek_token() {
            Some(Token::Open('(')) => self.bracket().map(drop),
            Some(Token::Name(word)) if ENDS_TEST.contains(&word) => Some(()),
            Some(Token::Literal | Token::Open(_) | Token::Name(_)) => {
                self.nested(|reader| reader.operand(false)).map(drop)
            }
            _ => Some(()),
        }
    }

    fn primary(&mut self) -> Option<Operand<'a>> {
        match self.peek_token()? {
            Token::Name(word) if WORDS.contains(&word) => None,
            Token::Name(name) => {
                let (begin, _) = self.take()?;
                self.variable(begin);
                Some(Operand::Path(name))
            }
            Token::Literal => {
                while self.peek_token() == Some(Token::Literal) {
                    self.take();
                }
                Some(Operand::Other)
            }
            Token::Open(_) => self.bracket(),
            _ => None,
        }
    }

    /// The name that was just taken, unless it is that of a function or an argument.
    fn variable(&mut self, begin: usize) {
        let end = self.last_end;
        let is_called = self.peek_token() == Some(Token::Open('('));
        let is_argument = matches!(self.peek_symbol(), Some((_, "=")));
        if self.changes && !is_called && !is_argument {
            insert(&mut self.marks, begin, "(");
            insert(&mut self.marks, end, format!("|{CHANGING})"));
        }
    }

    /// What is taken from the operand that begins at `start`.
    fn postfix(&mut self, start: usize, mut operand: Operand<'a>) -> Option<Operand<'a>> {
        loop {
            match self.peek_token() {
                Some(Token::Dot) => {
                    let (dot, _) = self.take()?;
                    let (_, Token::Name(name)) = self.take()? else { return None };
                    if name == "cycle" && self.peek_token() == Some(Token::Open('(')) {
                        let instead_of = self.last_end - dot;
                        self.bracket()?;
                        insert(&mut self.marks, start, "((");
                        self.marks.push(Mark { at: dot, text: format!(")|{CYCLED}"), instead_of });
                        insert(&mut self.marks, self.last_end, ")");
                        operand = Operand::Other;
                    }
                }
                Some(Token::Open('[')) => self.index(start)?,
                Some(Token::Open('(')) => {
                    self.bracket()?;
                    operand = Operand::Other;
                }
                _ => return Some(operand),
            }
        }
    }

    /// An index, or a slice of what begins at `start`.
    fn index(&mut self, start: usize) -> Option<()> {
        self.nested(|reader| {
            let (open, _) = reader.take()?;
            let mut colons = Marks::new();
            let mut is_part_empty = true;
            let or_none = |is_empty: bool, end: &str| format!("{}{end}", if is_empty { "none" } else { "" });
            loop {
                if reader.peek_token()? == Token::Close {
                    break;
                }
                match reader.peek_symbol() {
                    Some(colon @ (at, ":")) => {
                        reader.take_symbol(colon);
                        colons.push(Mark { at, text: or_none(is_part_empty, ","), instead_of: 1 });
                        is_part_empty = true;
                    }
                    Some(comma @ (_, ",")) => {
                        reader.take_symbol(comma);
                        is_part_empty = false;
                    }
                    _ => {
                        reader.expression()?;
                        is_part_empty = false;
                    }
                }
            }
            let (close, _) = reader.take()?;
            if matches!(colons.len(), 1 | 2) {
                insert(&mut reader.marks, start, "((");
                reader.marks.push(Mark { at: open, text: format!(")|{SLICED}("), instead_of: 1 });
                reader.marks.append(&mut colons);
                reader.marks.push(Mark { at: close, text: or_none(is_part_empty, "))"), instead_of: 1 });
            }
            Some(())
        })
    }

    /// A bracket with all that stands in it: items, arguments, an index.
    fn bracket(&mut self) -> Option<Operand<'a>> {
        self.nested(|reader| {
            let (_, Token::Open(bracket)) = reader.take()? else { return None };
            let mut inner = Operand::Literal;
            let mut is_group = bracket == '(';
            loop {
                match reader.peek_token()? {
                    Token::Close => break,
                    Token::Other(',') => {
                        reader.take();
                        is_group = false;
                    }
                    _ if reader.accept_symbol(&[":", "=", "*", "**"]).is_some() => {}
                    _ => inner = reader.expression()?,
                }
            }
            reader.take();
            Some(if is_group { inner } else { Operand::Literal })
        })
    }
}
