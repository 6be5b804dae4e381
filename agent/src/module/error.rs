//! A module's failure: the task failed on this host, and here is what to tell.

use std::fmt;

use rustle_protocol::{ModuleResult, Value};

/// A failed result on its way out of a module. What it says goes to the operator: what was being done, to which path,
/// and why it did not work.
#[derive(Debug)]
pub struct ModuleError(Box<ModuleResult>);

impl ModuleError {
    pub fn new(msg: impl Into<String>) -> ModuleError {
        ModuleError(Box::new(ModuleResult::failed(msg)))
    }

    /// What ends a module of Ansible's unforeseen, so that the whole sentence is what the task returns.
    pub(crate) fn broke_off(why: impl fmt::Display) -> ModuleError {
        ModuleError::new(format!("Task failed: Module failed: {why}"))
    }

    /// Return `name` too: `rc`, `path`, `stderr`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> ModuleError {
        self.0.set(name, value);
        self
    }

    /// What it came from is told behind what it says, and is no part of what the task returns.
    #[must_use]
    pub(crate) fn caused_by(self, cause: impl Into<String>) -> ModuleError {
        ModuleError(Box::new(self.0.with_cause(cause)))
    }

    pub fn into_result(self) -> ModuleResult {
        *self.0
    }
}

/// The result, failed whatever it was.
impl From<ModuleResult> for ModuleError {
    fn from(mut result: ModuleResult) -> ModuleError {
        result.failed = true;
        ModuleError(Box::new(result))
    }
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.msg())
    }
}

impl std::error::Error for ModuleError {}

/// Adds what was being done to an error of the system.
pub trait Doing<T> {
    /// `what` completes "failed to ...": `read /etc/hosts`.
    ///
    /// # Errors
    /// The error that was there, as a [`ModuleError`].
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, ModuleError>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, ModuleError> {
        self.map_err(|error| ModuleError::new(format!("failed to {}: {error}", what())))
    }
}
