//! Everything that comes from files: inventories, plans. What leaves here is typed and checked.

pub mod inventory;
pub mod json;
mod key_value;
pub mod source;
pub mod yaml;
