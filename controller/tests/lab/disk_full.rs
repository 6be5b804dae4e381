//! A full disk on the host: the old file stays, nothing is left behind, and the message says what is full.

use std::fs;

use crate::support::{Kept, is_root, text};

/// The small disk, in KiB, and a file that is too large for it.
const DISK_KIB: usize = 64;
const FILE_BYTES: usize = 1024 * 1024;

fn mount_small_disk(lab: &Kept, at: &str) {
    let output = lab.shell("lab1", &format!("mkdir -p {at} && mount -t tmpfs -o size={DISK_KIB}k tmpfs {at}"));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_copy_that_does_not_fit_leaves_the_old_file_as_it_was() {
    if !is_root() {
        return;
    }
    let lab = Kept::up(&["--hosts", "1", "--overlay"]);
    mount_small_disk(&lab, "/small");
    assert!(lab.shell("lab1", "echo old > /small/file").status.success());
    let large = tempfile::NamedTempFile::new().unwrap();
    fs::write(large.path(), vec![b'x'; FILE_BYTES]).unwrap();
    let copied = lab.adhoc("lab1", "copy", &format!("src={} dest=/small/file", large.path().display()));
    assert_eq!(copied.status.code(), Some(2), "{}", text(&copied));
    assert!(text(&copied).contains("No space left on device") && text(&copied).contains("/small"), "{}", text(&copied));
    let after = lab.shell("lab1", "test $(cat /small/file) = old && test $(ls -A /small) = file");
    assert!(after.status.success(), "the old file has changed, or something was left beside it");
}

#[test]
fn a_full_blob_cache_fails_the_task_and_says_so() {
    if !is_root() {
        return;
    }
    let lab = Kept::up(&["--hosts", "1", "--overlay"]);
    let cache = format!("{}/hosts/lab1/state/blobs", lab.dir.canonicalize().unwrap().display());
    mount_small_disk(&lab, &cache);
    let large = tempfile::NamedTempFile::new().unwrap();
    fs::write(large.path(), vec![b'x'; FILE_BYTES]).unwrap();
    let copied = lab.adhoc("lab1", "copy", &format!("src={} dest=/root/never", large.path().display()));
    assert_eq!(copied.status.code(), Some(2), "{}", text(&copied));
    let said = text(&copied);
    assert!(said.contains("No space left on device") && said.contains("state/blobs"), "{said}");
    assert!(lab.shell("lab1", "test ! -e /root/never").status.success());
    // What fits still arrives; of several such files the last one stands, and older ones give way.
    for byte in *b"abc" {
        fs::write(large.path(), vec![byte; 40 * 1024]).unwrap();
        let copied = lab.adhoc("lab1", "copy", &format!("src={} dest=/root/small", large.path().display()));
        assert!(copied.status.success(), "{}", text(&copied));
    }
}
