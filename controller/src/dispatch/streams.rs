//! The call streams of one connection. One is kept for the next segment: to end a stream and to begin another costs as
//! many packets as a small call itself.

use std::sync::{Mutex, PoisonError};

use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustle_protocol::frame::{FrameReader, FrameWriter};

/// Both directions of a stream that carries calls.
#[derive(Debug)]
pub(super) struct CallStream {
    pub(super) writer: FrameWriter<SendStream>,
    pub(super) reader: FrameReader<RecvStream>,
}

#[derive(Debug)]
pub(super) struct CallStreams {
    connection: Connection,
    /// One is enough: a host mostly has one segment at a time, and what is kept counts against its streams.
    idle: Mutex<Option<CallStream>>,
}

impl CallStreams {
    pub(super) fn of(connection: Connection) -> CallStreams {
        CallStreams { connection, idle: Mutex::default() }
    }

    /// The stream that was kept, or a new one.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn take(&self) -> Result<CallStream, ConnectionError> {
        let kept = self.lock().take();
        if let Some(stream) = kept {
            return Ok(stream);
        }
        let (send, recv) = self.connection.open_bi().await?;
        Ok(CallStream { writer: FrameWriter::new(send), reader: FrameReader::new(recv) })
    }

    /// Keeps a stream on which every call has succeeded: after a failure the agent runs nothing more that comes on it. The
    /// one kept before, if there is one, is ended, as every stream is when it is dropped.
    pub(super) fn keep(&self, stream: CallStream) {
        // What an agent says beyond the last result must not be taken for the next one.
        if stream.reader.is_drained() {
            *self.lock() = Some(stream);
        }
    }

    /// Ends the stream that is kept: no more calls come.
    pub(super) fn end(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<CallStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
