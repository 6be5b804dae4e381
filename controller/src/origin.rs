//! Where an author wrote something.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::source::Position;

/// A place in a file that an author wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The whole path.
    pub file: Arc<Path>,
    /// From 1. None is for the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// From 1, counting characters. None is for the line as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
    /// What is written there, if that is no file: then `file` says in words what it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<Arc<str>>,
}

impl Origin {
    pub(crate) fn at(file: &Arc<Path>, at: Position) -> Origin {
        Origin { file: Arc::clone(file), line: Some(at.line), column: Some(at.column), text: None }
    }

    pub(crate) fn line(file: &Arc<Path>, line: u32) -> Origin {
        Origin { file: Arc::clone(file), line: Some(line), column: None, text: None }
    }

    pub(crate) fn whole(file: &Path) -> Origin {
        Origin { file: file.into(), line: None, column: None, text: None }
    }

    /// What is written in no file, but in the `place` of this name.
    pub(crate) fn in_no_file(place: &str, text: &str) -> Origin {
        Origin { text: Some(text.into()), ..Origin::whole(Path::new(place)) }
    }

    /// Nobody knows where it comes from: a value that was made, or that a host has sent.
    pub(crate) fn unknown(text: &str) -> Origin {
        Origin::in_no_file("<unknown>", text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        [self.line, self.column].into_iter().flatten().try_for_each(|number| write!(f, ":{number}"))
    }
}
