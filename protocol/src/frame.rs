//! Frames on a stream: a four-byte little-endian length, then that many bytes of one message.
//!
//! A frame over [`FRAME_BYTES_MAX`] is refused before anything is allocated for it, and memory for a frame grows only
//! as its bytes arrive.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::codec::{self, CodecError, FRAME_BYTES_MAX};

/// Read at once from a stream.
const READ_BYTES: usize = 16 * 1024;

/// Most bytes of large frames that have begun and not ended, over all streams of a connection. Room for two of the largest:
/// one that stalls does not keep the others out.
pub const UNFINISHED_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// What all readers of a connection share, so that its streams together do not fill memory with frames that never end. A
/// frame over `READ_BYTES` takes its whole size before more of it is read, and waits if that is not there: what has been
/// let in can always be finished, so no two wait for each other.
#[derive(Clone, Debug)]
pub struct FrameBudget(Arc<Semaphore>);

impl Default for FrameBudget {
    fn default() -> FrameBudget {
        FrameBudget(Arc::new(Semaphore::new(UNFINISHED_BYTES_MAX)))
    }
}

impl FrameBudget {
    /// Cancel-safe: nothing is taken before all of it is.
    async fn take(&self, size: usize) -> OwnedSemaphorePermit {
        let size = u32::try_from(size).expect("FRAME_BYTES_MAX fits in u32");
        Arc::clone(&self.0).acquire_many_owned(size).await.expect("nobody closes it")
    }
}

/// Why no message came, or none could be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("stream failed: {0}")]
    Stream(#[from] std::io::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("stream ended in the middle of a message")]
    Truncated,
}

/// Appends one frame to `out`.
///
/// # Errors
/// As [`codec::encode`].
pub fn push<T: bincode::Encode>(out: &mut Vec<u8>, message: &T) -> Result<(), CodecError> {
    let body = codec::encode(message)?;
    let len = u32::try_from(body.len()).expect("FRAME_BYTES_MAX fits in u32");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Writes messages to a stream.
#[derive(Debug)]
pub struct FrameWriter<W> {
    stream: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub fn new(stream: W) -> Self {
        FrameWriter { stream, buffer: Vec::new() }
    }

    /// # Errors
    /// The message cannot be encoded (the stream is untouched), or the stream failed.
    /// # Cancel safety
    /// Not cancel-safe: dropped midway, half a frame may have been sent.
    pub async fn send<T: bincode::Encode>(&mut self, message: &T) -> Result<(), FrameError> {
        self.buffer.clear();
        push(&mut self.buffer, message)?;
        self.stream.write_all(&self.buffer).await?;
        Ok(())
    }

    pub fn get_mut(&mut self) -> &mut W {
        &mut self.stream
    }

    pub fn into_inner(self) -> W {
        self.stream
    }
}

/// Cuts what arrives into messages, wherever it arrives from.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: BytesMut,
    last_bytes: usize,
}

impl FrameBuffer {
    /// Takes what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, or `None` if it is not all there.
    ///
    /// # Errors
    /// A frame over the limit, which is told by its first four bytes, or bytes that are no message.
    pub fn take<T: bincode::Decode<()>>(&mut self) -> Result<Option<T>, CodecError> {
        let Some(size) = self.frame_size()? else { return Ok(None) };
        if self.bytes.len() < 4 + size {
            return Ok(None);
        }
        self.bytes.advance(4);
        let body = self.bytes.split_to(size);
        self.last_bytes = size;
        if size > READ_BYTES && self.bytes.is_empty() {
            // Else what is left of the buffer would keep the memory of the whole frame until the next one.
            self.bytes = BytesMut::new();
        }
        Ok(Some(codec::decode(&body)?))
    }

    fn frame_size(&self) -> Result<Option<usize>, CodecError> {
        let Some(header) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        match u32::from_le_bytes(*header) as usize {
            size if size > FRAME_BYTES_MAX => Err(CodecError::TooLarge { size, limit: FRAME_BYTES_MAX }),
            size => Ok(Some(size)),
        }
    }
}

/// Reads messages from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: FrameBuffer,
    budget: FrameBudget,
    /// The share of the large frame that has begun.
    share: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader with a budget of its own: of a connection's only stream.
    pub fn new(stream: R) -> Self {
        FrameReader::within(stream, FrameBudget::default())
    }

    /// A reader that shares `budget` with the other streams of its connection.
    pub fn within(stream: R, budget: FrameBudget) -> Self {
        FrameReader { stream, buffer: FrameBuffer::default(), budget, share: None }
    }

    /// The next message, or `None` at a clean end of the stream.
    ///
    /// # Errors
    /// A frame over the limit, a frame cut short, bytes that are no message, a failed stream.
    /// # Cancel safety
    /// Cancel-safe: what has been read of a frame is kept for the next call.
    pub async fn next<T: bincode::Decode<()>>(&mut self) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(message) = self.buffer.take()? {
                self.share = None;
                return Ok(Some(message));
            }
            if let Some(size) = self.buffer.frame_size()?.filter(|size| *size > READ_BYTES && self.share.is_none()) {
                self.share = Some(self.budget.take(size).await);
            }
            let bytes = &mut self.buffer.bytes;
            bytes.reserve(READ_BYTES);
            if self.stream.read_buf(bytes).await? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }

    /// Whether nothing has been read beyond the last message.
    pub fn is_drained(&self) -> bool {
        self.buffer.bytes.is_empty()
    }

    /// Size of the last message in bytes, for those who keep messages and bound what they keep.
    pub fn last_bytes(&self) -> usize {
        self.buffer.last_bytes
    }

    /// The stream and what was read from it beyond the last message: a blob's bytes follow its header so.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.stream, self.buffer.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use futures_like::block_on;

    /// The frames' futures never wait on a slice, so one poll is enough.
    mod futures_like {
        use std::future::Future;
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(Waker::noop()))
        }

        pub(super) fn block_on<F: Future>(future: F) -> F::Output {
            match poll(pin!(future)) {
                Poll::Ready(output) => output,
                Poll::Pending => panic!("a slice is always ready"),
            }
        }
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Value>, FrameError> {
        let mut reader = FrameReader::new(bytes);
        let mut values = Vec::new();
        while let Some(value) = block_on(reader.next())? {
            values.push(value);
        }
        Ok(values)
    }

    #[test]
    fn messages_come_back_in_order() {
        let mut bytes = Vec::new();
        for n in 0..3 {
            push(&mut bytes, &Value::Int(n)).unwrap();
        }
        assert_eq!(read_all(&bytes).unwrap(), [Value::Int(0), Value::Int(1), Value::Int(2)]);
    }

    #[tokio::test]
    async fn large_frames_of_a_connection_wait_while_others_have_begun_and_not_ended() {
        let large = |byte: u8| {
            let mut frame = Vec::new();
            push(&mut frame, &Value::Bytes(vec![byte; FRAME_BYTES_MAX - 64])).unwrap();
            frame
        };
        let budget = FrameBudget::default();
        let stream = || {
            let (there, here) = tokio::io::duplex(2 * FRAME_BYTES_MAX);
            (there, FrameReader::within(here, budget.clone()))
        };
        let (mut stalled, mut first) = stream();
        let (mut whole, mut second) = stream();
        let (mut late, mut third) = stream();
        let frame = large(1);
        stalled.write_all(&frame[..frame.len() - 1]).await.unwrap();
        whole.write_all(&large(2)[..100]).await.unwrap();
        late.write_all(&large(3)).await.unwrap();
        for reader in [&mut first, &mut second, &mut third] {
            // Each reads what there is, and waits for its stream or for its share.
            let next = std::pin::pin!(reader.next::<Value>());
            assert!(matches!(futures_like::poll(next), std::task::Poll::Pending));
        }
        assert!(third.buffer.bytes.len() <= 2 * READ_BYTES, "nothing of the third frame is read beyond its header");
        let (mut small, mut fourth) = stream();
        let mut bytes = Vec::new();
        push(&mut bytes, &Value::Int(4)).unwrap();
        small.write_all(&bytes).await.unwrap();
        assert_eq!(fourth.next::<Value>().await.unwrap(), Some(Value::Int(4)), "small frames wait for nobody");
        stalled.write_all(&frame[frame.len() - 1..]).await.unwrap();
        assert!(first.next::<Value>().await.unwrap().is_some());
        assert!(third.next::<Value>().await.unwrap().is_some(), "what has ended makes room");
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_length_alone() {
        let error = read_all(&u32::MAX.to_le_bytes()).unwrap_err();
        assert!(matches!(error, FrameError::Codec(CodecError::TooLarge { .. })), "{error}");
    }

    #[test]
    fn a_frame_cut_short_is_an_error_at_every_length() {
        let mut bytes = Vec::new();
        push(&mut bytes, &Value::from("some text")).unwrap();
        for cut in 1..bytes.len() {
            assert!(matches!(read_all(&bytes[..cut]), Err(FrameError::Truncated)), "cut at {cut}");
        }
    }
}
