//! One blob stream: a header, then the blob's bytes, written and hashed on a thread of their own so that a slow disk
//! holds up nothing but the sender.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quinn::RecvStream;
use rustle_protocol::frame::FrameReader;
use rustle_protocol::message::{BlobHeader, close};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::connection::Session;

/// Chunks between the network and the disk. With [`CHUNK_BYTES`] this is what a blob may take of memory: 1 MiB.
const CHUNKS_MAX: usize = 8;
/// What is gathered before it goes to the disk. A packet has 1.4 KB: handed over one by one, each would wake the thread,
/// and BLAKE3 is several times as fast over 16 KiB and more in one piece.
const CHUNK_BYTES: usize = 128 * 1024;
/// For how long a chunk waits to be filled. What a slow line brings must be seen to come: see
/// [`TAKE_OVER_AFTER`](crate::blobs::TAKE_OVER_AFTER).
const GATHER_MAX: Duration = Duration::from_secs(1);

/// Stores one blob.
pub(super) async fn serve(session: Arc<Session>, recv: RecvStream) {
    let mut reader = FrameReader::within(recv, session.budget.clone());
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
    // Written chunks come back to be filled again: memory that is given back and asked for anew costs a page fault every 4 KiB.
    let (written, mut to_fill) = mpsc::channel(CHUNKS_MAX);
    let writer = tokio::task::spawn_blocking({
        let session = Arc::clone(&session);
        move || store(&session, header, received, &written)
    });
    let mut gathered = rest;
    let complete = loop {
        let read = gather(&mut recv, &mut gathered).await;
        // Also what came before a break: a later try goes on behind it.
        let is_taken = gathered.is_empty() || {
            let empty = to_fill.try_recv().unwrap_or_default();
            chunks.send(std::mem::replace(&mut gathered, empty)).await.is_ok()
        };
        match read {
            Ok(true) if is_taken => {}
            Ok(ended) => break !ended && is_taken,
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

/// Reads until there is a chunk, or what came within [`GATHER_MAX`]. False at the end of the stream.
async fn gather(recv: &mut RecvStream, gathered: &mut BytesMut) -> std::io::Result<bool> {
    gathered.reserve(CHUNK_BYTES);
    while gathered.len() < CHUNK_BYTES {
        let Ok(read) = timeout(GATHER_MAX, recv.read_buf(gathered)).await else { break };
        if read? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs on its own thread. The end of the chunks is the end of the blob; what is missing shows in its length.
fn store(
    session: &Session,
    header: BlobHeader,
    mut chunks: mpsc::Receiver<BytesMut>,
    written: &mpsc::Sender<BytesMut>,
) -> Result<(), String> {
    let mut receiving = session.shared.blobs.receive(header.blob, session.number(), header.offset)?;
    while let Some(mut chunk) = chunks.blocking_recv() {
        receiving.write(&chunk)?;
        chunk.clear();
        // Nobody wants it any more once all is gathered.
        let _ = written.try_send(chunk);
    }
    receiving.finish()
}
