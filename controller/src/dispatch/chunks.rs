//! Pieces of large files on their way to hosts. Hosts that are sent one file at about the same pace share what was read:
//! it is read once, and what waits to be acknowledged by any of them is in memory once.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustle_protocol::message::BlobId;
use tokio::sync::OnceCell;

/// What is read at once, in bytes.
pub(super) const CHUNK_BYTES: u64 = 256 * 1024;

/// Chunks that are kept for whoever comes next: 8 MiB, which is also what one host may have on its way to it.
const CHUNKS_KEPT: usize = 32;

/// The chunks that were asked for last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks(Arc<Mutex<VecDeque<Chunk>>>);

#[derive(Debug)]
struct Chunk {
    blob: BlobId,
    /// From the beginning of the blob, in chunks.
    number: u64,
    bytes: Arc<OnceCell<Bytes>>,
}

impl Chunks {
    /// The bytes from `offset` to the end of the chunk it lies in; none at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn read(&self, blob: BlobId, file: &Arc<File>, offset: u64) -> io::Result<Bytes> {
        let number = offset / CHUNK_BYTES;
        let cell = self.cell(blob, number);
        let bytes = cell.get_or_try_init(|| read(Arc::clone(file), number * CHUNK_BYTES)).await?;
        let skipped = usize::try_from(offset % CHUNK_BYTES).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.slice(skipped..))
    }

    fn cell(&self, blob: BlobId, number: u64) -> Arc<OnceCell<Bytes>> {
        let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = chunks.iter().find(|chunk| chunk.number == number && chunk.blob == blob);
        if let Some(chunk) = known {
            return Arc::clone(&chunk.bytes);
        }
        if chunks.len() == CHUNKS_KEPT {
            chunks.pop_front();
        }
        let bytes = Arc::default();
        chunks.push_back(Chunk { blob, number, bytes: Arc::clone(&bytes) });
        bytes
    }
}

async fn read(file: Arc<File>, offset: u64) -> io::Result<Bytes> {
    let reading = move || {
        let mut bytes = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(reading).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> Arc<File> {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), content).unwrap();
        Arc::new(named.reopen().unwrap())
    }

    fn blob(content: &[u8]) -> BlobId {
        BlobId { hash: *blake3::hash(content).as_bytes(), size: content.len() as u64 }
    }

    async fn read_from(chunks: &Chunks, content: &[u8], file: &Arc<File>, mut offset: u64) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = chunks.read(blob(content), file, offset).await.unwrap();
            if bytes.is_empty() {
                return all;
            }
            offset += bytes.len() as u64;
            all.extend_from_slice(&bytes);
        }
    }

    #[tokio::test]
    async fn a_file_is_read_from_any_place_to_its_end() {
        let content: Vec<u8> = (0..3 * CHUNK_BYTES + 17).map(|n| (n % 251) as u8).collect();
        let (chunks, file) = (Chunks::default(), file(&content));
        for offset in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 16] {
            assert!(read_from(&chunks, &content, &file, offset).await == content[offset as usize..], "from {offset}");
        }
        let exact = vec![7; CHUNK_BYTES as usize];
        assert!(read_from(&chunks, &exact, &self::file(&exact), 0).await == exact);
    }

    #[tokio::test]
    async fn hosts_at_the_same_place_share_what_was_read() {
        let (chunks, file, id) = (Chunks::default(), file(b"content"), blob(b"content"));
        let (one, other) = (chunks.read(id, &file, 0).await.unwrap(), chunks.read(id, &file, 0).await.unwrap());
        assert_eq!(one.as_ptr(), other.as_ptr());
        for number in 1..=CHUNKS_KEPT as u64 {
            chunks.read(id, &file, number * CHUNK_BYTES).await.unwrap();
        }
        assert_ne!(one.as_ptr(), chunks.read(id, &file, 0).await.unwrap().as_ptr(), "only the last ones are kept");
    }
}
