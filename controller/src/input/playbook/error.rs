//! Why a playbook cannot be used: what is wrong, where it stands, and the line itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::input::source::{Place, shown};
use crate::input::yaml::YamlError;

/// Something in a playbook, a role or a file of variables that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    #[error("{}: cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Content(Box<Complaint>),
}

/// What is wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Complaint {
    pub place: Place,
    pub what: String,
    /// The line it stands on, as it is written.
    pub line: Option<String>,
    pub hint: Option<String>,
    /// Something is not there, or is something else altogether: what Ansible says of it where a task includes it.
    pub absence: Option<String>,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        let (Some(line), Some(at)) = (&self.line, self.place.at) else { return Ok(()) };
        let number = at.line.to_string();
        let before = at.column.saturating_sub(1) as usize;
        write!(f, "\n  {number} | {line}\n  {:width$} | {:before$}^", "", "", width = number.len())
    }
}

impl PlaybookError {
    pub(super) fn read(path: &Path, source: io::Error) -> PlaybookError {
        PlaybookError::Read { path: path.to_owned(), source }
    }

    /// About a file as a whole.
    pub(super) fn whole(path: &Path, what: impl Into<String>) -> PlaybookError {
        let place = Place::whole(path.display().to_string());
        PlaybookError::Content(Box::new(Complaint { place, what: what.into(), line: None, hint: None, absence: None }))
    }

    /// It is about something that is not there; `said` is what Ansible says of that where a task includes it.
    pub(super) fn absence(mut self, said: impl Into<String>) -> PlaybookError {
        if let PlaybookError::Content(complaint) = &mut self {
            complaint.absence = Some(said.into());
        }
        self
    }

    /// See [`absence`](Self::absence).
    pub(super) fn absent(&self) -> Option<&str> {
        match self {
            PlaybookError::Read { .. } => None,
            PlaybookError::Content(complaint) => complaint.absence.as_deref(),
        }
    }

    /// Whether what was read is no playbook: it breaks the rules of YAML or those of plays and tasks.
    pub(super) fn is_broken_text(&self) -> bool {
        matches!(self, PlaybookError::Content(complaint) if complaint.absence.is_none())
    }

    pub(super) fn hint(mut self, hint: Option<impl Into<String>>) -> PlaybookError {
        if let PlaybookError::Content(complaint) = &mut self {
            complaint.hint = hint.map(Into::into);
        }
        self
    }

    /// What the operator can do next.
    pub fn advice(&self) -> Option<&str> {
        match self {
            PlaybookError::Read { .. } => Some("check the path and that you may read it"),
            PlaybookError::Content(complaint) => complaint.hint.as_deref(),
        }
    }
}

/// A complaint about `text`, which is what the file `source` holds.
pub(super) fn complaint(place: Place, text: &str, what: impl Into<String>) -> PlaybookError {
    let line = place.at.and_then(|at| text.lines().nth(at.line.saturating_sub(1) as usize));
    let line = line.map(|line| shown_line(line.trim_end()));
    PlaybookError::Content(Box::new(Complaint { place, what: what.into(), line, hint: None, absence: None }))
}

/// What the reader of YAML did not like about `text`.
pub(super) fn yaml_complaint(source: &std::sync::Arc<str>, text: &str, error: YamlError) -> PlaybookError {
    complaint(Place::at(source, error.at), text, error.what).hint(error.hint)
}

/// Escaped as all outside text is, and kept as long as the mark below it needs.
fn shown_line(line: &str) -> String {
    match line.chars().count() {
        0..=160 => line.chars().map(|c| if c == '\t' { ' ' } else { c }).map(visible).collect(),
        _ => shown(line),
    }
}

fn visible(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::source::Position;

    #[test]
    fn the_line_is_shown_with_a_mark_below_the_column() {
        let place = Place::at(&"site.yml".into(), Position::new(2, 5));
        let error = complaint(place, "- hosts: all\n    tagz: x\n", "`tagz` means nothing");
        assert_eq!(error.to_string(), "site.yml:2:5: `tagz` means nothing\n  2 |     tagz: x\n    |     ^");
    }
}
