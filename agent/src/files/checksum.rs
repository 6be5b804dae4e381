//! Checksums of files, in hex, read through a buffer and never whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Digest;

use crate::choices;

/// Bytes read at a time: large enough that the hash, not the system call, takes the time, and small enough for the stack.
const BUFFER_BYTES: usize = 16 * 1024;

choices! {
    /// How a checksum is made.
    pub(crate) enum Algorithm {
        Md5 = "md5",
        Sha1 = "sha1",
        Sha224 = "sha224",
        Sha256 = "sha256",
        Sha384 = "sha384",
        Sha512 = "sha512",
    }
}

impl Algorithm {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_file(self, path: &Path) -> io::Result<String> {
        self.of(File::open(path)?)
    }

    pub(crate) fn of(self, source: impl Read) -> io::Result<String> {
        match self {
            Algorithm::Md5 => digest::<md5::Md5>(source),
            Algorithm::Sha1 => digest::<sha1::Sha1>(source),
            Algorithm::Sha224 => digest::<sha2::Sha224>(source),
            Algorithm::Sha256 => digest::<sha2::Sha256>(source),
            Algorithm::Sha384 => digest::<sha2::Sha384>(source),
            Algorithm::Sha512 => digest::<sha2::Sha512>(source),
        }
    }

    pub(crate) fn of_bytes(self, bytes: &[u8]) -> String {
        self.of(bytes).expect("reading from memory does not fail")
    }
}

fn digest<D: Digest>(mut source: impl Read) -> io::Result<String> {
    let mut hash = D::new();
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_gives_its_published_value() {
        let expected = [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (algorithm, sum) in expected {
            assert_eq!(algorithm.of_bytes(b"abc"), sum);
        }
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = vec![7; BUFFER_BYTES + 1];
        std::fs::write(file.path(), &content).unwrap();
        assert_eq!(Algorithm::Sha1.of_file(file.path()).unwrap(), Algorithm::Sha1.of_bytes(&content));
    }
}
