//! The surroundings of a call, for tests: records what a module lets out.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustle_protocol::message::{BlobId, OutputStream};

use crate::module::{BlobSource, CancelReason, CancelToken, Doing, ModuleContext, ModuleError, OutputSink};

pub(crate) struct Surroundings {
    pub(crate) cancel: CancelToken,
    pub(crate) check: bool,
    pub(crate) diff: bool,
    environment: Vec<(String, String)>,
    cancel_at_output: Option<CancelReason>,
    keeps: bool,
    blob: Vec<u8>,
    seen: Mutex<Vec<(OutputStream, Vec<u8>)>>,
    counted: AtomicU64,
}

impl Surroundings {
    pub(crate) fn new() -> Surroundings {
        Surroundings {
            cancel: CancelToken::new().unwrap(),
            check: false,
            diff: false,
            environment: Vec::new(),
            cancel_at_output: None,
            keeps: true,
            blob: Vec::new(),
            seen: Mutex::default(),
            counted: AtomicU64::new(0),
        }
    }

    pub(crate) fn checking() -> Surroundings {
        Surroundings { check: true, diff: true, ..Surroundings::new() }
    }

    /// Counts output instead of keeping it.
    pub(crate) fn counting() -> Surroundings {
        Surroundings { keeps: false, ..Surroundings::new() }
    }

    pub(crate) fn cancelling_at_output(self, reason: CancelReason) -> Surroundings {
        Surroundings { cancel_at_output: Some(reason), ..self }
    }

    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Surroundings {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whatever blob is asked for.
    pub(crate) fn with_blob(self, blob: &[u8]) -> Surroundings {
        Surroundings { blob: blob.to_vec(), ..self }
    }

    pub(crate) fn context(&self) -> ModuleContext<'_> {
        ModuleContext {
            check: self.check,
            diff: self.diff,
            verbosity: 0,
            environment: &self.environment,
            output: self,
            blobs: self,
            cancel: &self.cancel,
        }
    }

    pub(crate) fn seen(&self, of: OutputStream) -> Vec<u8> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(stream, _)| *stream == of).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }
}

impl BlobSource for Surroundings {
    fn open(&self, _blob: BlobId) -> Result<File, ModuleError> {
        let mut file = tempfile::tempfile().doing(|| "make a file".to_owned())?;
        file.write_all(&self.blob).and_then(|()| file.rewind()).doing(|| "write a file".to_owned())?;
        Ok(file)
    }
}

impl OutputSink for Surroundings {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        self.counted.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if self.keeps {
            self.seen.lock().unwrap().push((stream, bytes.to_vec()));
        }
        if let Some(reason) = self.cancel_at_output {
            self.cancel.cancel(reason);
        }
    }
}
