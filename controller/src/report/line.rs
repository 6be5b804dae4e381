//! A line of output: safe text in Ansible's colours, before anybody knows whether there is a terminal.
//!
//! A [`Line`] can only be made through [`sanitize`], so no reporter can forget to.

use std::ffi::OsString;

use unicode_width::UnicodeWidthStr;

use super::palette::Palette;
use super::sanitize;

/// What a text is about, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Colour {
    /// Rescued ones, too.
    Ok,
    Changed,
    Error,
    Unreachable,
    Skipped,
    Included,
    Retry,
    /// Ignored failures, too.
    Warning,
    DiffAdded,
    DiffRemoved,
    /// The places of a diff.
    DiffPlace,
}

/// Where a line goes: results to standard output, talk about the run to standard error, as in Ansible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Out,
    Err,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub stream: Stream,
    spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    text: String,
    colour: Option<Colour>,
}

impl Line {
    /// A line of standard output without colour.
    pub fn new(text: &str) -> Line {
        Line { stream: Stream::Out, spans: Vec::new() }.with(text, None)
    }

    pub fn coloured(text: &str, colour: Colour) -> Line {
        Line { stream: Stream::Out, spans: Vec::new() }.with(text, Some(colour))
    }

    /// An empty line.
    pub fn blank() -> Line {
        Line { stream: Stream::Out, spans: Vec::new() }
    }

    /// The same line with `text` after what it has.
    #[must_use]
    pub fn with(mut self, text: &str, colour: Option<Colour>) -> Line {
        self.spans.push(Span { text: sanitize::line(text).into_owned(), colour });
        self
    }

    /// The same line for standard error.
    #[must_use]
    pub fn to_err(mut self) -> Line {
        self.stream = Stream::Err;
        self
    }

    pub fn is_blank(&self) -> bool {
        self.spans.iter().all(|span| span.text.is_empty())
    }

    /// Appends the line, without its end, to `to`: in colours, if there is a palette.
    pub fn render(&self, palette: Option<&Palette>, to: &mut String) {
        for Span { text, colour } in &self.spans {
            match (palette, colour) {
                (Some(palette), Some(colour)) if !text.is_empty() => {
                    to.extend(["\x1b[", palette.code(*colour), "m", text, "\x1b[0m"]);
                }
                _ => to.push_str(text),
            }
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        self.render(None, &mut text);
        text
    }
}

/// Columns of a text on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The text, or as much of it as `columns` hold with an ellipsis at its end.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if width(&kept) + 1 > columns {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// Whether to colour what goes to a stream: on a terminal, unless `NO_COLOR` is set to anything or the terminal is dumb.
pub fn colours_wanted(is_terminal: bool, env: impl Fn(&str) -> Option<OsString>) -> bool {
    let no_color = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env("TERM").is_some_and(|term| term == "dumb");
    is_terminal && !no_color && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let wanted = |tty, vars: &[(&str, &str)]| {
            let vars: Vec<_> = vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
            colours_wanted(tty, move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        assert!(wanted(true, &[]));
        assert!(wanted(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!wanted(false, &[]));
        assert!(!wanted(true, &[("NO_COLOR", "1")]));
        assert!(!wanted(true, &[("TERM", "dumb")]));
    }

    #[test]
    fn a_line_is_safe_whatever_it_is_made_of() {
        let line = Line::coloured("a\x1b[0mb", Colour::Error).with("\nc", None);
        let mut text = String::new();
        line.render(Some(&Palette::default()), &mut text);
        assert_eq!(text, "\x1b[0;31ma\\u001b[0mb\x1b[0m\\nc");
    }

    #[test]
    fn a_cut_text_fits() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("日本語", 4), "日…");
    }
}
