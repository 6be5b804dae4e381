//! Files waited for.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustle_protocol::ModuleResult;

use super::{Found, Look, Search};
use crate::accounts::Accounts;

/// Searched of a file: more is not read into memory for a pattern.
const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A dangling link is not there, as in Ansible.
pub(super) fn exists(path: &Path) -> bool {
    std::fs::metadata(path).is_ok()
}

pub(super) fn look(path: &Path, search: Option<&Search>) -> Look {
    let Some(search) = search else {
        return if exists(path) { Look::Done(Found::default()) } else { Look::NotYet };
    };
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SEARCH_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => search.find(&text).map_or(Look::NotYet, Look::Done),
        // What cannot be read now may be read later, as in Ansible.
        Err(_) => Look::NotYet,
    }
}

/// What Ansible tells of a path besides: its kind as `state`, owner, mode, size.
pub(super) fn add_attributes(path: &Path, result: &mut ModuleResult) {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return };
    let accounts = Accounts::read(Path::new("/")).unwrap_or_default();
    let owner = accounts.user_by_uid(meta.uid()).map_or_else(|| meta.uid().to_string(), |user| user.name.clone());
    let group = accounts.group_by_gid(meta.gid()).map_or_else(|| meta.gid().to_string(), |group| group.name.clone());
    result.set("state", kind(&meta));
    result.set("uid", meta.uid());
    result.set("gid", meta.gid());
    result.set("owner", owner);
    result.set("group", group);
    result.set("mode", format!("{:04o}", meta.mode() & 0o7777));
    result.set("size", meta.len());
}

fn kind(meta: &Metadata) -> &'static str {
    let file_type = meta.file_type();
    match () {
        () if file_type.is_symlink() => "link",
        () if file_type.is_dir() => "directory",
        () if file_type.is_file() && meta.nlink() > 1 => "hard",
        () if file_type.is_fifo() => "fifo",
        () if file_type.is_socket() => "socket",
        () if file_type.is_block_device() => "block",
        () if file_type.is_char_device() => "char",
        () => "file",
    }
}
