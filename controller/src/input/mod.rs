//! Everything that comes from files: inventories, plans. What leaves here is typed and checked.

pub mod inventory;
pub mod json;
pub mod source;
pub mod yaml;
