//! Why a plan cannot be run, before anything was contacted.

use std::io;
use std::path::PathBuf;

use super::inventory::{InventoryError, PatternError};
use super::source::Place;

/// A plan that cannot be used. Nothing was contacted.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{}: cannot be read", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{place}: larger than {bytes_max} bytes")]
    TooLarge { place: Place, bytes_max: u64 },
    /// Not JSON, or JSON of another shape.
    #[error("{place}: {what}")]
    Json { place: Place, what: String, hint: Option<String> },
    /// The plan contradicts itself, or asks for what cannot be done.
    #[error("{}: invalid plan: {what}", .source_name)]
    InvalidPlan { source_name: String, what: String, hint: Option<String> },
    /// The plan names hosts that the inventory does not have.
    #[error("{plan} names {}, which {inventory} does not have", listed(.hosts))]
    UnknownHosts { plan: String, inventory: String, hosts: Vec<String>, nearest: Option<String> },
    #[error("{place}")]
    Pattern { place: String, source: PatternError },
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl InputError {
    /// What the operator can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            InputError::Read { .. } => {
                Some("check the path and that you may read it; `-` reads the plan from stdin".into())
            }
            InputError::TooLarge { .. } => Some("cut the plan into several".into()),
            InputError::Json { hint, .. } | InputError::InvalidPlan { hint, .. } => hint.clone(),
            InputError::UnknownHosts { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            InputError::UnknownHosts { .. } => {
                Some("plan and inventory must name hosts alike; see `rustle-exec inventory --graph`".into())
            }
            InputError::Pattern { source, .. } => source.hint(),
            InputError::Inventory(error) => error.hint().map(str::to_owned),
        }
    }
}

/// Some names, and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let kind = if names.len() == 1 { "host" } else { "hosts" };
    match names.len().saturating_sub(SHOWN) {
        0 => format!("{kind} {shown}"),
        more => format!("{kind} {shown} and {more} more"),
    }
}
