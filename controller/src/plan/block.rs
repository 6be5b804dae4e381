//! Blocks that have a `rescue` or an `always`. A play's list of tasks is flat; what belongs to which block stands at the
//! tasks. A block without either only hands down its keywords, and is gone when the plan is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BlockId;

/// A block with a `rescue` or an `always`, or both. In the play's list its tasks stand together: first those of the
/// block itself, then those of `rescue`, then those of `always`, blocks inside it among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Where the block itself stands, if it is inside another one.
    pub parent: Option<Within>,
    /// As written, if it has one. May be a template.
    pub name: Option<String>,
}

/// A place inside a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Within {
    pub block: BlockId,
    pub section: Section,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Section {
    Tasks,
    /// Run by a host on which one of the block's tasks failed.
    Rescue,
    /// Run in any case, also after a failure in `rescue`.
    Always,
}
