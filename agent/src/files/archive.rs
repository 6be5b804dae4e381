//! Reading archives: tar, plain or compressed, and zip, member by member.
//!
//! An archive is input from outside. What it may make the host read is bounded here ([`Budget`]); where its members
//! may go is decided by who extracts them.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use chrono::{Local, TimeZone};

use super::mode::PERMISSIONS;
use crate::module::{Doing, ModuleError};

/// Members of one archive.
const MEMBERS_MAX: usize = 500_000;
/// Bytes an archive may become, whatever it is: 64 GiB.
const TOTAL_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes any archive may become, however small it is; beyond, it must have a [`RATIO_MAX`]th of that itself.
const SMALL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How much larger a large archive may become. Deflate ends at 1032, which nothing but zeros comes near.
const RATIO_MAX: u64 = 1000;
/// Memory for an xz dictionary; `xz -9` needs 65 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Longest link target: the kernel's limit for a path.
const LINK_BYTES_MAX: u64 = 4096;

/// What a file is packed as, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Tar,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Zip,
}

impl Format {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(file: &mut File) -> io::Result<Option<Format>> {
        let mut start = Vec::with_capacity(512);
        file.rewind()?;
        Read::by_ref(file).take(512).read_to_end(&mut start)?;
        file.rewind()?;
        Ok(match start.as_slice() {
            [0x1f, 0x8b, ..] => Some(Format::Gzip),
            [b'B', b'Z', b'h', ..] => Some(Format::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Format::Zip),
            header if header.get(257..262) == Some(b"ustar") => Some(Format::Tar),
            _ => None,
        })
    }

    /// Ansible's name for what takes care of it.
    pub(crate) fn handler(self) -> &'static str {
        match self {
            Format::Tar => "TarArchive",
            Format::Gzip => "TgzArchive",
            Format::Bzip2 => "TarBzipArchive",
            Format::Xz => "TarXzArchive",
            Format::Zstd => "TarZstdArchive",
            Format::Zip => "ZipArchive",
        }
    }
}

/// One thing in an archive.
pub(crate) struct Member<'a> {
    /// As the archive has it.
    pub(crate) name: PathBuf,
    pub(crate) kind: MemberKind,
    /// Permission bits, where the archive has them.
    pub(crate) mode: Option<u32>,
    /// Seconds since 1970.
    pub(crate) mtime: Option<i64>,
    pub(crate) owner: Option<Owner>,
    pub(crate) size: u64,
    pub(crate) content: &'a mut dyn Read,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Link(PathBuf),
    HardLink(PathBuf),
    /// A device or fifo.
    Special,
}

/// Who owned a member where it was packed: names, if there are any, count before numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Calls `visit` with every member, in the archive's order.
///
/// # Errors
/// The archive is damaged, encrypted or too large, or `visit` fails.
pub(crate) fn for_each(
    file: &mut File,
    format: Format,
    visit: &mut dyn FnMut(Member<'_>) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    let reading = || "read the archive".to_owned();
    file.rewind().doing(reading)?;
    let budget = Budget::for_archive(file.metadata().doing(reading)?.len());
    if format == Format::Zip {
        return for_each_in_zip(file, &budget, visit);
    }
    let file = io::BufReader::with_capacity(64 * 1024, file);
    let plain: Box<dyn Read + '_> = match format {
        Format::Tar | Format::Zip => Box::new(file),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file).doing(reading)?),
        Format::Xz => {
            let concatenated = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, concatenated);
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream.doing(reading)?))
        }
    };
    for_each_in_tar(Budgeted { from: plain, budget: &budget }, visit)
}

fn for_each_in_tar(
    plain: impl Read,
    visit: &mut dyn FnMut(Member<'_>) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    let reading = || "read the archive".to_owned();
    let mut archive = tar::Archive::new(plain);
    for (nth, entry) in archive.entries().doing(reading)?.enumerate() {
        counted(nth)?;
        let mut entry = entry.doing(reading)?;
        let header = entry.header();
        let target = entry.link_name_bytes().map(|bytes| path_of(bytes.into_owned())).unwrap_or_default();
        let kind = match header.entry_type() {
            kind if kind.is_dir() => MemberKind::Directory,
            kind if kind.is_symlink() => MemberKind::Link(target),
            kind if kind.is_hard_link() => MemberKind::HardLink(target),
            kind if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() => MemberKind::File,
            kind if kind.is_pax_global_extensions() => continue,
            _ => MemberKind::Special,
        };
        let name = path_of(entry.path_bytes().into_owned());
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let number = |n: io::Result<u64>| n.ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
        let owner = Owner {
            user: text(header.username_bytes()),
            group: text(header.groupname_bytes()),
            uid: number(header.uid()),
            gid: number(header.gid()),
        };
        let member = Member {
            mode: header.mode().ok().map(|mode| mode & PERMISSIONS),
            mtime: header.mtime().ok().and_then(|mtime| i64::try_from(mtime).ok()),
            owner: Some(owner),
            size: entry.size(),
            name,
            kind,
            content: &mut entry,
        };
        visit(member)?;
    }
    Ok(())
}

fn for_each_in_zip(
    file: &mut File,
    budget: &Budget,
    visit: &mut dyn FnMut(Member<'_>) -> Result<(), ModuleError>,
) -> Result<(), ModuleError> {
    let reading = || "read the archive".to_owned();
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).doing(reading)?;
    for nth in 0..archive.len() {
        counted(nth)?;
        let mut entry = archive.by_index(nth).doing(reading)?;
        let name = path_of(entry.name_raw().to_vec());
        let kind = if entry.is_dir() {
            MemberKind::Directory
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            entry.by_ref().take(LINK_BYTES_MAX).read_to_end(&mut target).doing(reading)?;
            MemberKind::Link(path_of(target))
        } else {
            MemberKind::File
        };
        let member = Member {
            mode: entry.unix_mode().map(|mode| mode & PERMISSIONS),
            mtime: entry.last_modified().and_then(time_of),
            owner: None,
            size: entry.size(),
            name,
            kind,
            content: &mut Budgeted { from: &mut entry, budget },
        };
        visit(member)?;
    }
    Ok(())
}

fn counted(nth: usize) -> Result<(), ModuleError> {
    if nth < MEMBERS_MAX {
        return Ok(());
    }
    Err(ModuleError::new(format!("the archive has more than {MEMBERS_MAX} members: it is not unpacked")))
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// A zip's times are local and have no zone.
fn time_of(time: zip::DateTime) -> Option<i64> {
    let (year, month, day) = (i32::from(time.year()), u32::from(time.month()), u32::from(time.day()));
    let (hour, minute, second) = (u32::from(time.hour()), u32::from(time.minute()), u32::from(time.second()));
    Local.with_ymd_and_hms(year, month, day, hour, minute, second).earliest().map(|time| time.timestamp())
}

/// How much an archive may still become.
struct Budget(Cell<u64>);

impl Budget {
    fn for_archive(size: u64) -> Budget {
        let most = size.saturating_mul(RATIO_MAX).clamp(SMALL_BYTES_MAX, TOTAL_BYTES_MAX);
        Budget(Cell::new(most))
    }
}

/// Reads until the budget is spent, and then fails instead of ending.
struct Budgeted<'a, R> {
    from: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Budgeted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        let left = self.budget.0.get().checked_sub(count as u64);
        let left = left.ok_or_else(|| io::Error::other("it becomes far larger than any honest archive of its size"))?;
        self.budget.0.set(left);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_cut_off_by_its_budget() {
        let budget = Budget(Cell::new(10));
        let mut out = Vec::new();
        let error = Budgeted { from: io::repeat(0), budget: &budget }.read_to_end(&mut out).unwrap_err();
        assert!(error.to_string().contains("far larger"), "{error}");
    }

    #[test]
    fn small_archives_have_room_and_large_ones_a_ratio() {
        assert_eq!(Budget::for_archive(10).0.get(), SMALL_BYTES_MAX);
        assert_eq!(Budget::for_archive(2 * 1024 * 1024).0.get(), 2 * 1024 * 1024 * RATIO_MAX);
        assert_eq!(Budget::for_archive(u64::MAX).0.get(), TOTAL_BYTES_MAX);
    }

    #[test]
    fn what_is_no_archive_is_not_taken_for_one() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"hello").unwrap();
        assert_eq!(Format::of(&mut file).unwrap(), None);
    }
}
