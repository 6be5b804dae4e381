//! Ansible's playbooks. A file becomes a tree of plays, blocks and tasks with their places; the tree is unfolded into the
//! plan, in which every task carries what the levels around it have handed down.

mod apply_role;
mod around;
mod call;
mod collections;
mod defaults;
mod document;
mod error;
mod import;
mod includes;
mod keywords;
mod library;
mod load;
mod lower;
mod module_defaults;
mod names;
mod play;
mod play_node;
mod printed;
mod prompt;
mod reserved;
mod role;
mod role_files;
mod role_path;
mod tree;
mod unfold;

pub use defaults::PlayDefaults;
pub use error::PlaybookError;
pub use library::{Surroundings, vars_of_file, vars_of_text};
pub use load::{Playbook, PlaybookRequest, load, without_playbook};
pub use names::is_reserved;
pub use printed::Printed;
pub use printed::schema as printed_plan_schema;
pub use prompt::{Ask, Prompts, Question};
pub use reserved::sentence as reserved_name;
pub use role_path::SearchPaths;

#[cfg(test)]
mod tests;
