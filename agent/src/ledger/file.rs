//! The ledger's file: appended to by one write for each record, written anew beside itself and put in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::index::Place;
use super::record::HEADER;

/// The file's name in the ledger's folder.
pub const FILE_NAME: &str = "calls";

/// One writer's hold on the file.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    file: File,
    /// Where the next record goes.
    end: u64,
}

impl LedgerFile {
    /// Opens the file in `dir`, or makes it. Returns the records' bytes, which begin at [`HEADER`]'s end. A file of another
    /// format is put aside; its new name is the third.
    pub(super) fn open(dir: &Path) -> io::Result<(LedgerFile, Vec<u8>, Option<PathBuf>)> {
        let path = dir.join(FILE_NAME);
        let mut file = options().open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut aside = None;
        // A header that a crash has cut short is a file in which nothing stands yet.
        if !bytes.starts_with(HEADER) && !HEADER.starts_with(&bytes) {
            let other = dir.join(format!("{FILE_NAME}.other"));
            fs::rename(&path, &other)?;
            aside = Some(other);
            file = options().open(&path)?;
            bytes.clear();
        }
        let file = LedgerFile { path, file, end: HEADER.len() as u64 };
        if !bytes.starts_with(HEADER) {
            file.file.write_all_at(HEADER, 0)?;
            bytes.clear();
        } else {
            bytes.drain(..HEADER.len());
        }
        Ok((file, bytes, aside))
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Drops what stands behind `bytes` bytes of records.
    pub(super) fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.end = HEADER.len() as u64 + bytes;
        self.file.set_len(self.end)
    }

    /// # Errors
    /// Nothing of it counts: what may have been written is cut off, or overwritten by the next record.
    pub(super) fn append(&mut self, record: &[u8]) -> io::Result<Place> {
        if let Err(error) = self.file.write_all_at(record, self.end) {
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        let place = Place { offset: self.end, bytes: record.len() as u64 };
        self.end += place.bytes;
        Ok(place)
    }

    pub(super) fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let size = usize::try_from(place.bytes).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// A file that is not there yet for anybody else, with nothing in it.
    pub(super) fn begin_anew(&self) -> io::Result<LedgerFile> {
        let path = self.path.with_extension("new");
        let file = options().truncate(true).open(&path)?;
        file.write_all_at(HEADER, 0)?;
        Ok(LedgerFile { path, file, end: HEADER.len() as u64 })
    }

    /// Takes this one's place. If it is to outlive a power cut, its content is on disk before its name is.
    pub(super) fn replace_with(&mut self, new: LedgerFile, sync: bool) -> io::Result<()> {
        if sync {
            new.file.sync_data()?;
        }
        fs::rename(&new.path, &self.path)?;
        if sync && let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        (self.file, self.end) = (new.file, new.end);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn swap(&mut self, other: &mut File) {
        std::mem::swap(&mut self.file, other);
    }

    /// Another hold on the same file, for a thread that waits for the disk.
    pub(super) fn to_sync(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600).custom_flags(NOFOLLOW);
    options
}

/// A link that somebody laid there is not followed.
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
