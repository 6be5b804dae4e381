//! One blob stream: a header, then the blob's bytes, written and hashed on a thread of their own so that a slow disk
//! holds up nothing but the sender.

use std::sync::Arc;

use bytes::Bytes;
use quinn::RecvStream;
use rustle_protocol::frame::FrameReader;
use rustle_protocol::message::{BlobHeader, close};
use tokio::sync::mpsc;
use tracing::debug;

use super::connection::Session;

/// Chunks between the network and the disk. With [`CHUNK_BYTES`] this is what a blob may take of memory: 1 MiB.
const CHUNKS_MAX: usize = 16;
/// The most that is taken from the stream at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Stores one blob.
pub(super) async fn serve(session: Arc<Session>, recv: RecvStream) {
    let mut reader = FrameReader::new(recv);
    let header = match reader.next::<BlobHeader>().await {
        Ok(Some(header)) => header,
        Ok(None) => return,
        Err(error) => {
            debug!(%error, "blob stream");
            return;
        }
    };
    let (mut recv, rest) = reader.into_parts();
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let writer = tokio::task::spawn_blocking({
        let session = Arc::clone(&session);
        move || store(&session, header, received)
    });
    if !rest.is_empty() {
        let _ = chunks.send(rest.freeze()).await;
    }
    let complete = loop {
        match recv.read_chunk(CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => {
                if chunks.send(chunk.bytes).await.is_err() {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(error) => {
                debug!(%error, "blob stream broke off");
                break false;
            }
        }
    };
    if !complete {
        let _ = recv.stop(close::CANCEL.into());
    }
    drop(chunks);
    if let Ok(Err(error)) = writer.await {
        debug!(error, "blob not stored");
    }
}

/// Runs on its own thread. The end of the chunks is the end of the blob; what is missing shows in its length.
fn store(session: &Session, header: BlobHeader, mut chunks: mpsc::Receiver<Bytes>) -> Result<(), String> {
    let mut receiving = session.shared.blobs.receive(header.blob, session.number(), header.offset)?;
    while let Some(chunk) = chunks.blocking_recv() {
        receiving.write(&chunk)?;
    }
    receiving.finish()
}
