//! What the file modules share: looking at a path, owners and modes, replacing a file at one stroke, Python's regular
//! expressions over bytes, diffs.
//!
//! Everything that changes a host takes `check`, or is called only outside of it.

pub(crate) mod archive;
pub(crate) mod attributes;
pub(crate) mod backup;
pub(crate) mod beneath;
pub(crate) mod checksum;
pub(crate) mod diff;
pub(crate) mod directory;
pub(crate) mod flags;
pub(crate) mod json;
pub(crate) mod mime;
pub(crate) mod mode;
pub(crate) mod node;
pub(crate) mod pattern;
pub(crate) mod place;
pub(crate) mod replace;
pub(crate) mod text;
pub(crate) mod times;
pub(crate) mod tree;
pub(crate) mod validate;
pub(crate) mod walk;
