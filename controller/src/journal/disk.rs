//! Where a journal's bytes go: a file, or in tests something that fails as disks do.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// What a journal needs of a file.
pub trait Disk: Send {
    /// Puts bytes at the end.
    ///
    /// # Errors
    /// Some of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything that was appended outlasts a loss of power.
    ///
    /// # Errors
    /// Nothing is known of what was appended since the last success.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    /// The file has the length it had, or this one.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}
