//! What the template that is being rendered on this thread last found undefined in a list or dict.
//!
//! The engine's undefined values know where a template read them: in `m[k]`, say. They know neither what `k` was nor that there
//! was a template under that key.

use std::cell::RefCell;

use minijinja::Value;

use super::error::TemplateError;
use super::python;

#[derive(Clone, Default)]
pub(crate) struct Missed {
    /// Why the last entry was undefined whose template was.
    entry: Option<TemplateError>,
    /// The type of a container, and a key that it did not have.
    key: Option<(&'static str, Value)>,
}

thread_local! {
    static MISSED: RefCell<Missed> = RefCell::new(Missed::default());
}

/// A template begins to be rendered on this thread: it has read nothing yet. Gives what the one around it has missed.
pub(crate) fn begin() -> Missed {
    MISSED.take()
}

/// That template is over.
pub(crate) fn end(before: Missed) {
    MISSED.set(before);
}

/// An entry was read that is undefined for this reason.
pub(crate) fn note_entry(cause: &TemplateError) {
    MISSED.with_borrow_mut(|missed| missed.entry = Some(cause.clone()));
}

/// A list or dict was asked for a key that it does not have.
pub(super) fn note(kind: &'static str, key: &Value) {
    MISSED.with_borrow_mut(|missed| missed.key = Some((kind, key.clone())));
}

/// Why the last undefined entry is undefined that the template has read.
pub(super) fn entry() -> Option<TemplateError> {
    MISSED.with_borrow(|missed| missed.entry.clone())
}

/// The last key that was not there, in Ansible's words, of a container that the template knows by this name.
pub(super) fn key(name: &str) -> Option<TemplateError> {
    let (kind, key) = MISSED.with_borrow(|missed| missed.key.clone())?;
    let message = format!("object of type '{kind}' has no attribute {}", python::repr(&key));
    Some(TemplateError::Undefined { name: name.to_owned(), message })
}
