//! Runs modules in tests, as the agent does, without an agent.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;

use rustle_protocol::message::BlobId;
use rustle_protocol::{Map, ModuleResult, Value};

use super::{AnyModule, BlobRef, BlobSource, CancelToken, ModuleContext, ModuleError, NoBlobs, NoOutput};

/// Runs `module` with `args`, a JSON object, and asks for its diff.
pub(crate) fn run(module: &dyn AnyModule, args: serde_json::Value) -> ModuleResult {
    run_with(module, args, false, &NoBlobs)
}

/// As [`run`], in check mode.
pub(crate) fn check(module: &dyn AnyModule, args: serde_json::Value) -> ModuleResult {
    run_with(module, args, true, &NoBlobs)
}

/// As [`run`], with the controller's files.
pub(crate) fn run_with(
    module: &dyn AnyModule,
    args: impl Into<Value>,
    check: bool,
    blobs: &dyn BlobSource,
) -> ModuleResult {
    let Value::Map(args) = args.into() else { panic!("arguments are a map") };
    let cancel = CancelToken::new().unwrap();
    let cx =
        ModuleContext { check, diff: true, verbosity: 0, environment: &[], output: &NoOutput, blobs, cancel: &cancel };
    module.run(args, &cx)
}

/// Adds `value` to `args` under `name`.
pub(crate) fn with(args: serde_json::Value, name: &str, value: Value) -> Value {
    let Value::Map(mut map) = Value::from(args) else { panic!("arguments are a map") };
    map.insert(name.to_owned(), value);
    Value::Map(map)
}

/// Files the controller sent, held in memory; counts how often one was asked for.
#[derive(Debug, Default)]
pub(crate) struct TestBlobs {
    blobs: HashMap<BlobId, Vec<u8>>,
    pub(crate) opened: std::sync::atomic::AtomicUsize,
}

impl TestBlobs {
    /// Holds `content`; what comes back is the argument the controller would send.
    pub(crate) fn add(&mut self, content: &[u8]) -> BlobRef {
        let id = BlobId { hash: *blake3::hash(content).as_bytes(), size: content.len() as u64 };
        self.blobs.insert(id, content.to_vec());
        BlobRef { id, sha1: crate::files::checksum::Algorithm::Sha1.of_bytes(content) }
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl BlobSource for TestBlobs {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.blobs[&blob]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        Ok(file)
    }
}

/// A list of maps, for arguments.
pub(crate) fn list(items: impl IntoIterator<Item = Vec<(&'static str, Value)>>) -> Value {
    let map = |item: Vec<(&str, Value)>| item.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map>();
    items.into_iter().map(|item| Value::Map(map(item))).collect()
}
