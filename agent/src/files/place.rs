//! Placing one file: compare what is there with what shall be, and replace it only if they differ.
//!
//! Comparing costs a look at the size and, if that is equal, one reading of the file there. The new content is touched
//! only when it is needed: a blob is not even asked for.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustle_protocol::Value;
use rustle_protocol::result::Diff;

use super::attributes::{Changes, Current, Wanted};
use super::backup;
use super::checksum::Algorithm;
use super::diff::{self, DIFF_BYTES_MAX};
use super::mode::PERMISSIONS;
use super::node::{Kind, Node};
use super::replace::Replacement;
use super::validate::{self, Told};
use crate::module::{BlobRef, Doing, Mode, ModuleContext, ModuleError};

/// Content up to this size gets an MD5 as well; the hash is for people who compare, not for us.
const MD5_BYTES_MAX: u64 = 1024 * 1024;

/// A blob from this size on is moved out of the store, where that can be: it is not read and written a second time, and
/// does not take its place on the disk twice. A smaller one stays for the next use.
const MOVED_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Where a file's content comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Bytes(Vec<u8>),
    /// Held by the controller until it is asked for.
    Blob(BlobRef),
    /// A file of this host.
    File(Node),
}

impl Source {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Blob(blob) => blob.id.size,
            Source::File(node) => node.size(),
        }
    }

    /// The SHA-1 that Ansible calls `checksum`. A blob's is known and not computed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn sha1(&self) -> Result<Cow<'_, str>, ModuleError> {
        Ok(match self {
            Source::Bytes(bytes) => Algorithm::Sha1.of_bytes(bytes).into(),
            Source::Blob(blob) => blob.sha1.as_str().into(),
            Source::File(node) => sha1_of(node)?.into(),
        })
    }

    fn write_to(&self, new: &mut Replacement, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
        let (mut file, expected) = match self {
            Source::Bytes(bytes) => return new.write(bytes),
            Source::Blob(blob) => {
                if blob.id.size >= MOVED_BYTES_MIN && new.take_over(|path| cx.blobs.take(blob.id, path))? {
                    return Ok(());
                }
                (cx.blobs.open(blob.id)?, Some(blob.id.size))
            }
            Source::File(node) => (node.read()?, None),
        };
        let copied = new.copy_from(&mut file, cx.cancel)?;
        match expected.filter(|size| *size != copied) {
            Some(size) => Err(ModuleError::new(format!("the controller's file has {copied} bytes instead of {size}"))),
            None => Ok(()),
        }
    }

    /// The content as a diff shows it.
    fn shown(&self, cx: &ModuleContext<'_>) -> Result<Value, ModuleError> {
        if self.size() > DIFF_BYTES_MAX {
            return Ok(diff::described("long", self.size(), &self.sha1()?));
        }
        match self {
            Source::Bytes(bytes) => Ok(diff::shown(bytes)),
            Source::Blob(blob) => shown_file(cx.blobs.open(blob.id)?).doing(|| "read the controller's file".to_owned()),
            Source::File(node) => shown_node(node),
        }
    }
}

fn sha1_of(node: &Node) -> Result<String, ModuleError> {
    Algorithm::Sha1.of(node.read()?).doing(|| format!("read {}", node.path().display()))
}

fn shown_node(node: &Node) -> Result<Value, ModuleError> {
    if node.size() > DIFF_BYTES_MAX {
        return Ok(diff::described("long", node.size(), &sha1_of(node)?));
    }
    shown_file(node.read()?).doing(|| format!("read {}", node.path().display()))
}

fn shown_file(file: impl Read) -> std::io::Result<Value> {
    let mut content = Vec::new();
    file.take(DIFF_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok(diff::shown(&content))
}

/// How a file is placed.
#[derive(Clone, Debug)]
pub(crate) struct Placement<'a> {
    /// `Preserve` has been resolved.
    pub(crate) wanted: Wanted,
    /// The mode of a file that is not there yet and has none in `wanted`; else what the umask leaves.
    pub(crate) fresh_mode: Option<u32>,
    pub(crate) backup: bool,
    /// Replace a file that differs.
    pub(crate) force: bool,
    /// The command that must accept the file, and how it is told that it does not.
    pub(crate) validate: Option<(&'a str, Told)>,
    pub(crate) unsafe_writes: bool,
}

/// What was done, or would be in check mode.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) content_changed: bool,
    pub(crate) attributes_changed: bool,
    /// There was a file, and `force` did not allow to replace it.
    pub(crate) kept: bool,
    pub(crate) backup: Option<PathBuf>,
    /// Of what was written, if it was not too long.
    pub(crate) md5: Option<String>,
    pub(crate) diff: Vec<Diff>,
}

impl Placed {
    pub(crate) fn changed(&self) -> bool {
        self.content_changed || self.attributes_changed
    }
}

/// Makes `dest` a file with the source's content. A link there is replaced, not followed.
///
/// # Errors
/// The directory is missing, a directory or device is in the way, validation fails, the disk is full: what was there is
/// as it was.
pub(crate) fn place(
    source: &Source,
    dest: &Path,
    how: &Placement<'_>,
    cx: &ModuleContext<'_>,
) -> Result<Placed, ModuleError> {
    let old = Node::open(dest, false)?;
    if let Some(node) = &old {
        refuse_if_no_file(node)?;
        if !how.force {
            return Ok(Placed { kept: true, ..Placed::default() });
        }
        if is_same(node, source)? {
            return only_attributes(old, dest, how, cx);
        }
    }
    let parent = dest.parent().unwrap_or(Path::new("/"));
    // What an earlier task would have made is not there in check mode. Ansible looks no further than at the file itself
    // then, unless the content is this host's.
    let may_come = cx.check && !matches!(source, Source::File(_));
    if old.is_none() && !may_come && !parent.as_os_str().is_empty() && !parent.is_dir() {
        return Err(ModuleError::new(format!("Destination directory {} does not exist", parent.display())));
    }
    let mut placed = Placed { content_changed: true, ..Placed::default() };
    if cx.diff {
        placed.diff.push(content_diff(dest, old.as_ref(), source, cx)?);
    }
    let mut changes = planned(old.as_ref(), how)?;
    if !cx.check {
        put(source, dest, old.as_ref(), &mut changes, how, cx, &mut placed)?;
    }
    if let Some(node) = &old
        && node.kind() == Kind::File
    {
        placed.attributes_changed = !changes.is_empty();
        placed.diff.extend(diff::of_attributes(dest, changes.before, changes.after).filter(|_| cx.diff));
    }
    Ok(placed)
}

fn put(
    source: &Source,
    dest: &Path,
    old: Option<&Node>,
    changes: &mut Changes,
    how: &Placement<'_>,
    cx: &ModuleContext<'_>,
    placed: &mut Placed,
) -> Result<(), ModuleError> {
    let mut new = Replacement::beside(dest)?;
    source.write_to(&mut new, cx)?;
    if let Some((command, told)) = how.validate {
        validate::accepted(command, new.path(), told, cx)?;
    }
    if source.size() <= MD5_BYTES_MAX {
        placed.md5 = Some(Algorithm::Md5.of_file(new.path()).doing(|| format!("read {}", new.path().display()))?);
    }
    if let Some(node) = old.filter(|node| how.backup && node.kind() == Kind::File) {
        placed.backup = Some(backup::make(node)?);
    }
    new.commit(old, changes, how.unsafe_writes)?;
    if how.wanted.has_rest()
        && let Some(node) = Node::open(dest, false)?
    {
        how.wanted.apply_rest(&node, false, changes)?;
    }
    Ok(())
}

fn refuse_if_no_file(node: &Node) -> Result<(), ModuleError> {
    match node.kind() {
        Kind::File | Kind::Link => Ok(()),
        Kind::Directory => {
            Err(ModuleError::new(format!("{} is a directory: it is not replaced by a file", node.path().display())))
        }
        Kind::Other => Err(ModuleError::new(format!(
            "{} is a device, fifo or socket: it is not replaced by a file",
            node.path().display()
        ))),
    }
}

fn is_same(node: &Node, source: &Source) -> Result<bool, ModuleError> {
    Ok(node.kind() == Kind::File && node.size() == source.size() && sha1_of(node)? == source.sha1()?)
}

fn only_attributes(
    old: Option<Node>,
    dest: &Path,
    how: &Placement<'_>,
    cx: &ModuleContext<'_>,
) -> Result<Placed, ModuleError> {
    let mut placed = Placed::default();
    if let Some(mut node) = old {
        let changes = how.wanted.apply(&mut node, cx.check)?;
        placed.attributes_changed = !changes.is_empty();
        placed.diff.extend(diff::of_attributes(dest, changes.before, changes.after).filter(|_| cx.diff));
    }
    Ok(placed)
}

fn planned(old: Option<&Node>, how: &Placement<'_>) -> Result<Changes, ModuleError> {
    match old.filter(|node| node.kind() == Kind::File) {
        Some(node) => how.wanted.changes(&Current::of(node.stat())),
        None => {
            let mut wanted = how.wanted.clone();
            wanted.mode = wanted.mode.or(how.fresh_mode.map(|mode| Mode::Octal(mode & PERMISSIONS)));
            wanted.changes(&Current::fresh(Kind::File))
        }
    }
}

fn content_diff(dest: &Path, old: Option<&Node>, source: &Source, cx: &ModuleContext<'_>) -> Result<Diff, ModuleError> {
    let mut shown = diff::of_content(dest, None, None);
    if old.is_none() {
        shown.before_header = None;
    }
    if let Some(node) = old {
        shown.before = match node.kind() {
            Kind::Link => Value::from(format!("(link to {})\n", node.link_target()?.display())),
            _ => shown_node(node)?,
        };
    }
    shown.after = source.shown(cx)?;
    Ok(shown)
}
