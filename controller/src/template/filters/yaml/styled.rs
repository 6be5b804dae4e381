//! Scalars in a style that is asked for, `to_yaml(default_style='|')`: quoted, or as a block of lines of their own.

use super::{Writer, is_special};

/// A style that all scalars are to have, where YAML allows it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Single,
    Double,
    /// `|`: lines as they are.
    Literal,
    /// `>`: lines broken where they are long.
    Folded,
}

impl Wanted {
    pub(super) fn of(mark: &str) -> Option<Wanted> {
        Some(match mark {
            "'" => Wanted::Single,
            "\"" => Wanted::Double,
            "|" => Wanted::Literal,
            ">" => Wanted::Folded,
            _ => return None,
        })
    }
}

impl Writer {
    /// Writes a scalar; what is no text has a mark before it, since quoted it would be read as text. What can have a
    /// style nowhere else is in double quotes.
    pub(super) fn styled(&mut self, wanted: Wanted, text: &str, is_text: bool, indent: usize, key: bool) {
        if !is_text {
            self.put("! ");
        }
        let has_breaks = text.contains('\n');
        let is_odd_key = key && has_breaks;
        let is_odd = text.contains(" \n") || text.chars().any(is_special);
        let as_block = !key && self.flow_level == 0 && !is_odd && !text.ends_with(' ') && !text.is_empty();
        match wanted {
            Wanted::Literal if as_block => self.literal(text, indent),
            Wanted::Folded if as_block => self.folded_block(text, indent),
            Wanted::Single if !(is_odd || is_odd_key || text.contains("\n ")) => {
                self.put("'");
                self.folded(&text.replace('\'', "''"), indent, !key);
                self.put("'");
            }
            _ => self.double_quoted(text),
        }
    }

    /// `|` or `>` with what is to be known of the text's ends.
    fn block_start(&mut self, mark: &str, text: &str) {
        self.put(mark);
        if text.starts_with([' ', '\n']) {
            self.put(&self.indent.to_string());
        }
        self.put(match text.strip_suffix('\n') {
            None => "-",
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => "+",
            Some(_) => "",
        });
    }

    pub(super) fn literal(&mut self, text: &str, indent: usize) {
        self.block_start("|", text);
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.block_line(line, indent);
        }
    }

    fn block_line(&mut self, line: &str, indent: usize) {
        self.put("\n");
        if !line.is_empty() {
            self.put(&" ".repeat(indent));
            self.put(line);
        }
    }

    fn folded_block(&mut self, text: &str, indent: usize) {
        self.block_start(">", text);
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n').peekable();
        while let Some(line) = lines.next() {
            self.put("\n");
            if line.is_empty() {
                continue;
            }
            self.put(&" ".repeat(indent));
            self.broken(line, indent);
            // One more break where the next text would be taken for the same line.
            let following = lines.clone().find(|line| !line.is_empty());
            if !line.starts_with(' ') && following.is_some_and(|next| !next.starts_with(' ')) {
                self.put("\n");
            }
        }
    }

    /// A line, broken at single blanks where it is full.
    fn broken(&mut self, line: &str, indent: usize) {
        let mut rest = line;
        while let Some(at) = rest.find(' ') {
            self.put(&rest[..at]);
            rest = &rest[at..];
            let len = rest.len() - rest.trim_start_matches(' ').len();
            if len == 1 && self.column > self.width && rest.len() > 1 {
                self.line(indent);
            } else {
                self.put(&rest[..len]);
            }
            rest = &rest[len..];
        }
        self.put(rest);
    }
}
