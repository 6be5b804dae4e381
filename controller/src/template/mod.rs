//! Turns what a plan's author wrote into values for one host.
//!
//! Only an [`Authored`] text is ever evaluated. It can be made from text an author wrote and from nothing else, and
//! evaluating it gives a plain [`rustle_protocol::value::Value`], which no function here accepts as a template. So a
//! fact, a result or a file's content stays data, however it looks.

mod authored;
mod convert;
mod deferred;
mod embedded;
mod engine;
mod error;
mod explain;
mod expression;
mod file;
mod filters;
mod managed;
pub(crate) mod missed;
mod notation;
mod plugged;
#[cfg(test)]
mod provenance;
mod python;
mod rewrite;
mod sealed;
mod templar;
mod untrusted;
mod written;

pub use authored::{Authored, Template, needs_rendering};
pub use error::{Syntactic, TemplateError};
pub use expression::Expression;
pub use file::TemplateFileOptions;
pub use sealed::Sealed;
pub use templar::{Conditionals, Templar};
pub use untrusted::Untrusted;

pub(crate) use convert::View;
pub(crate) use deferred::settle;
pub(crate) use filters::FILES_FOLDER;
pub(crate) use managed::file_vars;
pub(crate) use sealed::unreadable;

/// The name that Python has for a value's type.
pub(crate) fn python_type(value: &rustle_protocol::Value) -> &'static str {
    filters::python_type(&View::of_data(&std::sync::Arc::new(value.clone())))
}

/// A value as Python's `repr` gives it.
pub(crate) fn python_repr(value: &rustle_protocol::Value) -> String {
    python::repr(&View::of_data(&std::sync::Arc::new(value.clone())))
}

/// A value as PyYAML writes it by itself; a dict of nothing but the key `sealed` as an encrypted text.
pub(crate) fn yaml_block(value: &rustle_protocol::Value, sealed: &'static str) -> String {
    filters::yaml_block(value, sealed)
}

/// A value as Ansible shows a result as YAML, with so many blanks a level.
pub(crate) fn yaml_result(value: &rustle_protocol::Value, indent: usize) -> String {
    filters::yaml_result(value, indent)
}

/// A value as Python prints it: text as it is, everything else as its `repr`.
pub(crate) fn python_text(value: &rustle_protocol::Value) -> String {
    python::text(&View::of_data(&std::sync::Arc::new(value.clone())))
}
