//! Why an inventory cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::input::source::{Place, Position};
use crate::input::yaml::YamlError;
use crate::vault::VaultError;

/// An inventory that cannot be used. Nothing was contacted.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("{}: cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// Something in a source is wrong.
    #[error("{place}: {what}")]
    Content { place: Place, what: String, hint: Option<String> },
    /// A group would contain itself.
    #[error("{place}: group `{}` would contain itself: {}", .chain[0], .chain.join(" > "))]
    Loop { place: Place, chain: Vec<String> },
    /// Something in a source is encrypted, and no password of the run opens it.
    #[error("{place}: {why}")]
    Sealed { place: Place, why: VaultError },
    #[error("{}: {what}", .path.display())]
    Script { path: PathBuf, what: String, hint: Option<String> },
}

impl InventoryError {
    pub(super) fn content(place: Place, what: impl Into<String>) -> InventoryError {
        InventoryError::Content { place, what: what.into(), hint: None }
    }

    pub(super) fn hinted(place: Place, what: impl Into<String>, hint: impl Into<String>) -> InventoryError {
        InventoryError::Content { place, what: what.into(), hint: Some(hint.into()) }
    }

    pub(super) fn sealed(place: Place, why: VaultError) -> InventoryError {
        InventoryError::Sealed { place, why }
    }

    pub(super) fn yaml(source: &Arc<str>, error: YamlError) -> InventoryError {
        InventoryError::Content {
            place: Place::at(source, error.at),
            what: error.what,
            hint: error.hint.map(str::to_owned),
        }
    }

    pub(super) fn json(source: &Arc<str>, at: Position, what: String) -> InventoryError {
        InventoryError::content(Place::at(source, at), what)
    }

    /// All that is known of it, as a warning says it.
    pub(super) fn on_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// What the operator can do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            InventoryError::Read { .. } => Some("check the path given with -i and that you may read it"),
            InventoryError::Content { hint, .. } | InventoryError::Script { hint, .. } => hint.as_deref(),
            InventoryError::Sealed { why, .. } => Some(why.hint()),
            InventoryError::Loop { .. } => Some("take one of these groups out of the other's children"),
        }
    }
}
