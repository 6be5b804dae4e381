//! Bytes to messages and back: the only place that names `bincode`.
//!
//! Decoding is total: any bytes give a message or an error, never a panic, and never an allocation beyond
//! [`FRAME_BYTES_MAX`].

use bincode::config::{Configuration, Limit, LittleEndian, Varint};

/// The largest message, in bytes. Arguments and results must fit; files travel as blobs and never pass through here.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a message could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("message cannot be encoded: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    #[error("message cannot be decoded: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    #[error("message has {0} bytes beyond its end")]
    Trailing(usize),
    #[error("message of {size} bytes is over the limit of {limit} bytes")]
    TooLarge { size: usize, limit: usize },
}

fn config() -> Configuration<LittleEndian, Varint, Limit<FRAME_BYTES_MAX>> {
    bincode::config::standard().with_limit::<FRAME_BYTES_MAX>()
}

/// # Errors
/// A value nested too deep, or a message over [`FRAME_BYTES_MAX`].
pub fn encode<T: bincode::Encode>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::encode_to_vec(message, config())?;
    match bytes.len() {
        size if size > FRAME_BYTES_MAX => Err(CodecError::TooLarge { size, limit: FRAME_BYTES_MAX }),
        _ => Ok(bytes),
    }
}

/// # Errors
/// Anything that is not exactly one message.
pub fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, read) = bincode::decode_from_slice(bytes, config())?;
    match bytes.len() - read {
        0 => Ok(message),
        rest => Err(CodecError::Trailing(rest)),
    }
}
