//! The files a run sends to hosts, by content: hashed once, however many hosts take them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use rustle_agent::module::BlobRef;
use rustle_protocol::message::BlobId;
use sha1::{Digest, Sha1};

use super::chunks::Chunks;

/// Content up to this size is held in memory; larger files are read again for each host.
pub const HELD_BYTES_MAX: u64 = 1024 * 1024;

/// Read at once while hashing.
const READ_BYTES: usize = 256 * 1024;

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub enum BlobContent {
    Held(Bytes),
    File(PathBuf),
}

/// All blobs of a run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    index: Arc<Mutex<Index>>,
    chunks: Chunks,
}

#[derive(Debug, Default)]
struct Index {
    content: HashMap<BlobId, BlobContent>,
    files: HashMap<FileState, Arc<Mutex<Option<BlobRef>>>>,
}

/// A file, and what would change if its content did.
type FileState = (PathBuf, u64, Option<SystemTime>);

impl Blobs {
    /// Registers text or bytes made here, a rendered template say.
    pub fn add_bytes(&self, bytes: Bytes) -> BlobRef {
        let id = BlobId { hash: *blake3::hash(&bytes).as_bytes(), size: bytes.len() as u64 };
        let blob = BlobRef { id, sha1: hex(&Sha1::digest(&bytes)) };
        self.lock().content.entry(id).or_insert(BlobContent::Held(bytes));
        blob
    }

    /// Registers a file. It is read once, unless its size or modification time has changed since. Blocks while it is
    /// read, by this call or by another.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_file(&self, path: &Path) -> io::Result<BlobRef> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let key = (path.to_owned(), meta.len(), meta.modified().ok());
        let known = Arc::clone(self.lock().files.entry(key).or_default());
        // The hosts of a play ask for it all at once: one reads, and the others wait for what it finds.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = &*known {
            return Ok(blob.clone());
        }
        let (blob, content) = read(file, path, meta.len())?;
        self.lock().content.entry(blob.id).or_insert(content);
        Ok(known.insert(blob).clone())
    }

    /// What is read of files lately.
    pub(super) fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    pub fn get(&self, id: &BlobId) -> Option<BlobContent> {
        self.lock().content.get(id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(mut file: File, path: &Path, size: u64) -> io::Result<(BlobRef, BlobContent)> {
    if size <= HELD_BYTES_MAX {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let id = BlobId { hash: *blake3::hash(&bytes).as_bytes(), size: bytes.len() as u64 };
        let sha1 = hex(&Sha1::digest(&bytes));
        return Ok((BlobRef { id, sha1 }, BlobContent::Held(bytes.into())));
    }
    let (mut blake3, mut sha1) = (blake3::Hasher::new(), Sha1::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => {
                blake3.update(&buffer[..n]);
                sha1.update(&buffer[..n]);
            }
        }
    }
    let id = BlobId { hash: *blake3.finalize().as_bytes(), size: blake3.count() };
    Ok((BlobRef { id, sha1: hex(&sha1.finalize()) }, BlobContent::File(path.to_owned())))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_the_same_blob_wherever_it_comes_from() {
        let blobs = Blobs::default();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello").unwrap();
        let (held, read) = (blobs.add_bytes(Bytes::from_static(b"hello")), blobs.add_file(file.path()).unwrap());
        assert_eq!(held, read);
        assert_eq!(held.sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
    }

    #[test]
    fn a_large_file_is_not_held_in_memory() {
        let blobs = Blobs::default();
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = vec![7; HELD_BYTES_MAX as usize + 1];
        std::fs::write(file.path(), &content).unwrap();
        let blob = blobs.add_file(file.path()).unwrap();
        assert!(matches!(blobs.get(&blob.id), Some(BlobContent::File(_))));
        assert_eq!(blob.id.hash, *blake3::hash(&content).as_bytes());
    }
}
