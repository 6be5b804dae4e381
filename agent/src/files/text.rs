//! Changing a text file: what `lineinfile`, `blockinfile` and `replace` have in common around what each does to the
//! text. A file is bytes to them: what is not UTF-8 comes out as it went in.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;
use rustle_protocol::result::Diff;

use super::attributes::{Changes, Current, FileAttributes};
use super::node::{Kind, Node};
use super::replace::Replacement;
use super::validate::{self, Told};
use super::{backup, diff};
use crate::accounts::Users;
use crate::encoding::Encoding;
use crate::module::{Doing, ModuleContext, ModuleError};

/// Largest file whose text is changed: it is held in memory, twice.
const TEXT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A file to be changed, read whole. Links have been followed.
#[derive(Debug)]
pub(crate) struct TextFile {
    path: PathBuf,
    /// As the task names it.
    named: PathBuf,
    node: Option<Node>,
    encoding: Encoding,
    /// In UTF-8, or in any ASCII-like encoding that nobody needs to know.
    pub(crate) content: Vec<u8>,
}

impl TextFile {
    /// # Errors
    /// A directory is in its place, or it cannot be read. That it is not there is no error.
    pub(crate) fn open(path: &Path) -> Result<TextFile, ModuleError> {
        TextFile::open_in(path, Encoding::Utf8)
    }

    /// A file whose text is written in `encoding`. What is UTF-8 is not looked at.
    ///
    /// # Errors
    /// As [`TextFile::open`], and what is no text in this encoding.
    pub(crate) fn open_in(path: &Path, encoding: Encoding) -> Result<TextFile, ModuleError> {
        let named = path.to_owned();
        let path = real_path(path);
        let node = Node::open(&path, true)?;
        let mut content = Vec::new();
        if let Some(node) = &node {
            if node.is_dir() {
                return Err(ModuleError::new(format!("Path {} is a directory !", path.display())).with("rc", 256));
            }
            if node.kind() != Kind::File || node.size() > TEXT_BYTES_MAX {
                let why = if node.kind() == Kind::File { "is over 256 MiB" } else { "is no regular file" };
                return Err(ModuleError::new(format!("{} {why}: its text is not changed", path.display())));
            }
            // In one piece: of a file whose size it does not know the library reads 32 bytes first.
            content.reserve_exact(usize::try_from(node.size()).unwrap_or_default());
            let read = node.read()?.take(TEXT_BYTES_MAX).read_to_end(&mut content);
            read.doing(|| format!("read {}", path.display()))?;
        }
        if encoding != Encoding::Utf8 {
            content = encoding.decode(&content).doing(|| format!("read {}", path.display()))?.into_bytes();
        }
        Ok(TextFile { path, named, node, encoding, content })
    }

    /// `content` as it is written into this file.
    fn encoded<'c>(&self, content: &'c [u8]) -> Result<Cow<'c, [u8]>, ModuleError> {
        if self.encoding == Encoding::Utf8 {
            return Ok(content.into());
        }
        let text = std::str::from_utf8(content).map_err(|error| error.to_string());
        let bytes = text.and_then(|text| self.encoding.encode(text));
        bytes.map(Cow::from).doing(|| format!("write {}", self.path.display()))
    }

    pub(crate) fn exists(&self) -> bool {
        self.node.is_some()
    }

    /// The lines, each with its end.
    pub(crate) fn lines(&self) -> Vec<&[u8]> {
        self.content.split_inclusive(|&byte| byte == b'\n').collect()
    }
}

/// The line without its end.
pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &line[..end]
}

/// Where a link leads, or would lead if its target were there.
fn real_path(path: &Path) -> PathBuf {
    let Ok(target) = std::fs::read_link(path) else { return path.to_owned() };
    std::fs::canonicalize(path).unwrap_or_else(|_| path.parent().unwrap_or(Path::new("/")).join(target))
}

/// How a changed text is written back.
pub(crate) struct Rewrite<'a> {
    pub(crate) attributes: &'a FileAttributes,
    pub(crate) backup: bool,
    pub(crate) validate: Option<&'a str>,
    /// Show content and attributes as two diffs, each with its name; else the content alone.
    pub(crate) shows_parts: bool,
}

/// What was done, or would be in check mode.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) content_changed: bool,
    pub(crate) attributes_changed: bool,
    pub(crate) backup: Option<PathBuf>,
    diff: Vec<Diff>,
}

impl Rewritten {
    /// The result with Ansible's message: `what`, if the content changed, then the attributes.
    pub(crate) fn into_result(self, what: &str) -> ModuleResult {
        const ATTRIBUTES: &str = "ownership, perms or SE linux context changed";
        let msg = match (self.content_changed, self.attributes_changed) {
            (true, true) => format!("{what} and {ATTRIBUTES}"),
            (true, false) => what.to_owned(),
            (false, true) => ATTRIBUTES.to_owned(),
            (false, false) => String::new(),
        };
        ModuleResult::changed(self.content_changed || self.attributes_changed).with("msg", msg).with_diff(self.diff)
    }
}

impl Rewrite<'_> {
    /// Makes `content` the file's content, if it is not, and gives the file its attributes.
    ///
    /// # Errors
    /// An unknown owner, a failed validation, a full disk: the file is as it was.
    pub(crate) fn write(
        &self,
        file: TextFile,
        content: &[u8],
        cx: &ModuleContext<'_>,
    ) -> Result<Rewritten, ModuleError> {
        let mut done = Rewritten { content_changed: !file.exists() || file.content != content, ..Rewritten::default() };
        if cx.diff && done.content_changed {
            let before = file.exists().then_some(file.content.as_slice());
            let mut shown = diff::of_content(&file.path, before, Some(content));
            if self.shows_parts {
                let header = format!("{} (content)", file.named.display());
                (shown.before_header, shown.after_header) = (Some(header.clone()), Some(header));
            }
            done.diff.push(shown);
        }
        let named = file.named.clone();
        let changes = if done.content_changed {
            self.put(&file, content, cx, &mut done)?
        } else {
            self.only_attributes(file.node, cx)?
        };
        done.attributes_changed = !changes.is_empty();
        if cx.diff && self.shows_parts {
            // One of nothing stands for attributes that do not change, as in Ansible's list.
            let unchanged = || diff::attributes_of(&named);
            let differ = diff::of_attributes(&named, changes.before, changes.after);
            done.diff.extend(differ.or_else(|| done.content_changed.then(unchanged)));
        }
        Ok(done)
    }

    fn only_attributes(&self, node: Option<Node>, cx: &ModuleContext<'_>) -> Result<Changes, ModuleError> {
        let wanted = self.attributes.resolve(&Users::new(cx.cancel))?;
        node.map_or(Ok(Changes::default()), |mut node| wanted.apply(&mut node, cx.check))
    }

    fn put(
        &self,
        file: &TextFile,
        content: &[u8],
        cx: &ModuleContext<'_>,
        done: &mut Rewritten,
    ) -> Result<Changes, ModuleError> {
        let wanted = self.attributes.resolve(&Users::new(cx.cancel))?;
        let current = file.node.as_ref().map_or(Current::fresh(Kind::File), |node| Current::of(node.stat()));
        let mut changes = wanted.changes(&current)?;
        if cx.check {
            // What a file not yet there would have is not a change of anything.
            return Ok(if file.exists() { changes } else { Changes::default() });
        }
        let mut new = Replacement::beside(&file.path)?;
        new.write(&file.encoded(content)?)?;
        if let Some(command) = self.validate {
            validate::accepted(command, new.path(), Told::Shortly, cx)?;
        }
        if self.backup
            && let Some(node) = &file.node
        {
            done.backup = Some(backup::make(node)?);
        }
        new.commit(file.node.as_ref(), &changes, self.attributes.unsafe_writes)?;
        if wanted.has_rest()
            && let Some(node) = Node::open(&file.path, true)?
        {
            wanted.apply_rest(&node, false, &mut changes)?;
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_ends_and_lose_them_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"a\r\n\xff\nlast").unwrap();
        let file = TextFile::open(&path).unwrap();
        assert_eq!(file.lines(), [&b"a\r\n"[..], b"\xff\n", b"last"]);
        assert_eq!(file.lines().into_iter().map(trimmed).collect::<Vec<_>>(), [&b"a"[..], b"\xff", b"last"]);
    }

    #[test]
    fn a_directory_is_refused_with_ansibles_words() {
        let dir = tempfile::tempdir().unwrap();
        let error = TextFile::open(dir.path()).unwrap_err().into_result();
        assert_eq!(error.msg(), format!("Path {} is a directory !", dir.path().display()));
        assert_eq!(error.get("rc").unwrap().as_i64(), Some(256));
    }
}
