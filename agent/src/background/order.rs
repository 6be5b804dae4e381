//! What a job is told, over its standard input: one message, then the bytes of its blob.

use std::fs::File;
use std::io::{Read, Seek, Write};

use bincode::{Decode, Encode};
use rustle_protocol::frame::{self, FrameBuffer};
use rustle_protocol::message::BlobId;
use rustle_protocol::value::WireMap;

use crate::module::{BlobSource, ModuleError};

/// Both sides are one build, so this may change with every version.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) directory: String,
    pub(super) module: String,
    pub(super) args: WireMap,
    pub(super) check: bool,
    pub(super) diff: bool,
    pub(super) verbosity: u8,
    pub(super) environment: Vec<(String, String)>,
    pub(super) limit_seconds: u32,
    pub(super) blob: Option<BlobId>,
}

impl Order {
    /// # Errors
    /// The arguments are larger than a message may be.
    pub(super) fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, self).map_err(std::io::Error::other)?;
        // The frame's own length, for a reader that must not read beyond it.
        Ok([&u64::try_from(bytes.len()).map_err(std::io::Error::other)?.to_le_bytes(), bytes.as_slice()].concat())
    }

    /// # Errors
    /// It broke off, or is no order.
    pub(super) fn read(from: &mut impl Read) -> std::io::Result<Order> {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let mut frame = FrameBuffer::default();
        let mut bytes = Vec::new();
        from.take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
        frame.feed(&bytes);
        frame.take().map_err(std::io::Error::other)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

/// The blob that came with the order, in a file without a name.
pub(super) struct OwnBlob(Option<(BlobId, File)>);

impl OwnBlob {
    /// # Errors
    /// It broke off, or cannot be kept.
    pub(super) fn receive(wanted: Option<BlobId>, from: &mut impl Read) -> std::io::Result<OwnBlob> {
        let Some(id) = wanted else { return Ok(OwnBlob(None)) };
        let mut file = tempfile::tempfile()?;
        let size = std::io::copy(from, &mut file)?;
        if size != id.size {
            return Err(std::io::Error::other(format!("a file has {size} bytes and not {}", id.size)));
        }
        file.flush()?;
        Ok(OwnBlob(Some((id, file))))
    }
}

impl BlobSource for OwnBlob {
    fn open(&self, blob: BlobId) -> Result<File, ModuleError> {
        let failed = |error: std::io::Error| ModuleError::new(format!("cannot read a received file: {error}"));
        match &self.0 {
            Some((id, file)) if *id == blob => {
                let mut file = file.try_clone().map_err(failed)?;
                file.rewind().map_err(failed)?;
                Ok(file)
            }
            _ => Err(ModuleError::new("a job is sent no files while it runs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_and_its_blob_arrive_whole_and_a_torn_one_not_at_all() {
        let blob = BlobId { hash: [7; 32], size: 5 };
        let order = Order {
            id: "j1.2".into(),
            directory: "/x".into(),
            module: "ping".into(),
            args: WireMap::default(),
            check: false,
            diff: true,
            verbosity: 2,
            environment: vec![("A".into(), "b".into())],
            limit_seconds: 10,
            blob: Some(blob),
        };
        let mut bytes = order.to_bytes().unwrap();
        bytes.extend(b"hello");
        let mut whole = bytes.as_slice();
        assert_eq!(Order::read(&mut whole).unwrap(), order);
        let own = OwnBlob::receive(order.blob, &mut whole).unwrap();
        for _ in 0..2 {
            assert_eq!(std::io::read_to_string(own.open(blob).unwrap()).unwrap(), "hello");
        }
        assert!(own.open(BlobId { size: 4, ..blob }).is_err());
        assert!(OwnBlob::receive(Some(blob), &mut &b"hell"[..]).is_err());
        for cut in 0..bytes.len() - 5 {
            assert!(Order::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
    }
}
