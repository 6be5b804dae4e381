//! What a module is given besides its arguments.

use std::fs::File;
use std::path::Path;

use rustle_protocol::message::{BlobId, OutputStream};

use super::{CancelToken, ModuleError};

/// The surroundings of one call. A module reaches for nothing else: no globals, no environment of its own.
#[derive(Clone, Copy)]
pub struct ModuleContext<'a> {
    /// Change nothing; say what would change.
    pub check: bool,
    /// Return before and after of what changes.
    pub diff: bool,
    /// As `-v` repeated.
    pub verbosity: u8,
    /// Added to the environment of every process the module starts.
    pub environment: &'a [(String, String)],
    /// Takes output as it is written.
    pub output: &'a dyn OutputSink,
    /// Gives the files the controller sent.
    pub blobs: &'a dyn BlobSource,
    pub cancel: &'a CancelToken,
}

impl ModuleContext<'_> {
    /// A variable of the environment that the task's processes have: the task's own, else the agent's.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = self.environment.iter().rev().find(|(other, _)| other == name);
        own.map_or_else(|| std::env::var(name).ok(), |(_, value)| Some(value.clone()))
    }
}

/// Takes output while a module runs. May block: that is the back-pressure.
pub trait OutputSink: Sync {
    fn write(&self, stream: OutputStream, bytes: &[u8]);
}

/// Gives blobs by their hash. Waits until the blob is there and verified.
pub trait BlobSource: Sync {
    /// The blob, open for reading at its beginning.
    ///
    /// # Errors
    /// It could not be had, or could not be stored here: a full disk, say.
    fn open(&self, blob: BlobId) -> Result<File, ModuleError>;

    /// Moves the blob out of the store to `path`, where nothing may be yet, and gives it open for reading and writing. `None`
    /// if that cannot be, for another file system or another call that reads it: then it is to be copied.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn take(&self, _blob: BlobId, _path: &Path) -> Result<Option<File>, ModuleError> {
        Ok(None)
    }
}

/// Drops output.
#[derive(Debug)]
pub struct NoOutput;

impl OutputSink for NoOutput {
    fn write(&self, _stream: OutputStream, _bytes: &[u8]) {}
}

/// Has no blobs.
#[derive(Debug)]
pub struct NoBlobs;

impl BlobSource for NoBlobs {
    fn open(&self, _blob: BlobId) -> Result<File, ModuleError> {
        Err(ModuleError::new("the controller sent no files with this call"))
    }
}

impl std::fmt::Debug for ModuleContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleContext").field("check", &self.check).field("diff", &self.diff).finish_non_exhaustive()
    }
}
