//! `copy`: a file or a directory of the controller, of this host, or a text, put where it belongs.
//!
//! The controller sends what it read as `_blob` (one file) or `_tree` (a directory), beside the arguments the user
//! wrote; `template` arrives here the same way. All of it is one call, and nothing is fetched that is there already.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rustle_protocol::result::Diff;
use rustle_protocol::{ModuleResult, Value};

use crate::accounts::Users;
use crate::arguments;
use crate::files::attributes::{FileAttributes, Wanted};
use crate::files::checksum::Algorithm;
use crate::files::node::{self, Kind, Node};
use crate::files::place::{Placed, Placement, Source, place};
use crate::files::tree::{self, Entry, What, has_slash};
use crate::files::validate::Told;
use crate::files::{directory, json};
use crate::module::{ArgError, BlobRef, Doing, Mode, Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct CopyArgs {
        /// Where to put it. With a slash at the end, or if it is a directory, the file keeps its name in there.
        dest: PathBuf,
        /// The file or directory to copy, of the controller or, with `remote_src`, of this host. A directory with a
        /// slash at its end stands for its content.
        src: Option<PathBuf>,
        /// The content itself. A list or dict becomes JSON.
        content: Option<Value>,
        /// Keep a copy of a file that is replaced.
        backup: bool = false,
        /// Replace a file that differs; if not, only put one where none is.
        force | "thirsty": bool = true,
        /// The mode of directories that are made.
        directory_mode: Option<Mode>,
        /// If the destination is a link, write to what it leads to.
        follow: bool = false,
        /// Follow links in the source; if not, copy them as links. `true`, but `false` with `remote_src`.
        local_follow: Option<bool>,
        /// `src` is on this host.
        remote_src: bool = false,
        /// The SHA-1 that the content must have.
        checksum: Option<String>,
        /// A command that must accept the file (`%s`) before it is put in place.
        validate: Option<String>,
        /// Decrypt a source that is in a vault. Done by the controller.
        decrypt: bool = true,
        /// The file the controller read.
        _blob: Option<BlobRef>,
        /// What the file is called at the controller.
        _original_basename: Option<String>,
        /// Where at the controller the file or directory is.
        _source: Option<String>,
        /// The directory the controller read: a list of `{path, mode}` with `blob`, `dir: true` or `link`.
        _tree: Option<Value>;
        flatten attributes: FileAttributes
    }
}

impl CopyArgs {
    /// Whether there is content and no file that it was made of: a template has a name to take in a directory.
    fn has_nameless_content(&self) -> bool {
        self.content.is_some() && self._original_basename.is_none()
    }
}

pub(super) struct Copy;

impl Module for Copy {
    type Args = CopyArgs;

    const NAME: &'static str = "ansible.builtin.copy";
    const SUMMARY: &'static str = "Puts a file, a directory or a text in place.";
    const SUPPORTS_DIFF: bool = true;
    const LISTS_DIFFS: bool = true;
    const IDEMPOTENT: bool = true;

    fn check_args(args: &CopyArgs) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        if args.content.is_some() && (args.src.is_some() || args._blob.is_some() || args._tree.is_some()) {
            return rule("src and content are mutually exclusive");
        }
        if args.content.is_none() && args.src.is_none() && args._blob.is_none() && args._tree.is_none() {
            return rule("src (or content) is required");
        }
        if args.has_nameless_content() && has_slash(&args.dest) {
            return rule("can not use content with a dir as dest");
        }
        if args.validate.as_ref().is_some_and(|command| !command.contains("%s")) {
            return rule(&format!("validate must contain %s: {}", args.validate.as_deref().unwrap_or_default()));
        }
        Ok(())
    }

    fn run(&self, args: CopyArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        // The controller has decrypted what it sent.
        let _ = args.decrypt;
        let users = Users::new(cx.cancel);
        let job = Job { wanted: resolve(&args, &users)?, args: &args, users: &users, cx };
        if let Some(content) = &args.content {
            return job.copy_file(Source::Bytes(text_of(content)));
        }
        if let Some(blob) = &args._blob {
            return job.copy_file(Source::Blob(blob.clone()));
        }
        if let Some(entries) = &args._tree {
            return job.copy_sent_tree(tree::from_value(entries)?);
        }
        let src = args.src.as_deref().filter(|_| args.remote_src).ok_or_else(|| {
            ModuleError::new("src is a file of the controller, and the controller did not send it: set remote_src")
        })?;
        let node =
            Node::open(src, true)?.ok_or_else(|| ModuleError::new(format!("Source {} not found", src.display())))?;
        match node.kind() {
            Kind::Directory => job.copy_directory(src),
            Kind::File => job.copy_file(Source::File(node)),
            Kind::Link | Kind::Other => Err(ModuleError::new(format!("Source {} is not a file", src.display()))),
        }
    }
}

/// Owner, group and so on; `preserve` is resolved file by file.
fn resolve(args: &CopyArgs, users: &Users) -> Result<Wanted, ModuleError> {
    let mut attributes = args.attributes.clone();
    attributes.mode = attributes.mode.filter(|mode| *mode != Mode::Preserve);
    attributes.resolve(users)
}

fn text_of(content: &Value) -> Vec<u8> {
    match content {
        Value::String(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        Value::Bool(true) => b"True".to_vec(),
        Value::Bool(false) => b"False".to_vec(),
        other => json::dumps(other).into_bytes(),
    }
}

/// One call.
struct Job<'a> {
    args: &'a CopyArgs,
    /// Without the mode `preserve`.
    wanted: Wanted,
    users: &'a Users,
    cx: &'a ModuleContext<'a>,
}

impl Job<'_> {
    fn copy_file(&self, source: Source) -> Result<ModuleResult, ModuleError> {
        let checksum = source.sha1()?.into_owned();
        self.verify(&checksum)?;
        let (dest, made) = self.destination()?;
        let mode = match &source {
            Source::File(node) => Some(node.stat().st_mode),
            Source::Bytes(_) | Source::Blob(_) => None,
        };
        let md5 = match &source {
            Source::File(node) => Some(md5_of(node)?),
            Source::Bytes(_) | Source::Blob(_) => None,
        };
        let placed = if made > 0 && self.cx.check {
            Placed { content_changed: true, ..Placed::default() }
        } else {
            place(&source, &dest, &self.placement(mode, None)?, self.cx)
                .map_err(|error| error.with("checksum", checksum.as_str()))?
        };
        let is_here = self.args.src.is_some();
        let is_put = is_here || (placed.content_changed && !self.cx.check);
        let told = if is_put { in_its_directory(&dest) } else { shown(&dest) };
        let mut result = ModuleResult::changed(placed.changed() || made > 0).with("dest", told);
        if placed.kept {
            if is_here {
                result.set("msg", "file already exists");
                node::describe(&mut result, &dest, self.users)?;
            }
            if let Some(src) = self.args._source.clone().or_else(|| self.source_name()) {
                result.set("src", src);
            }
            return Ok(result);
        }
        result.set("checksum", checksum);
        if placed.content_changed || is_here {
            if let Some(src) = self.source_name() {
                result.set("src", src);
            }
        } else {
            result.set("path", shown(&dest));
        }
        if let Some(md5) = placed.md5.clone().or(md5) {
            result.set("md5sum", md5);
        }
        if let Some(backup) = &placed.backup {
            result.set("backup_file", shown(backup));
        }
        if !self.cx.check || !placed.content_changed {
            node::describe(&mut result, &dest, self.users)?;
        }
        Ok(result.with_diff(self.diff(placed, &dest)))
    }

    /// As Ansible shows it: the content against its source or, if only attributes change, these with the file's path.
    fn diff(&self, placed: Placed, dest: &Path) -> Option<Diff> {
        let mut diff = placed.diff.into_iter().next()?;
        if placed.content_changed {
            diff.after_header = self.args._source.clone().or(diff.after_header);
            return Some(diff);
        }
        for side in [&mut diff.before, &mut diff.after] {
            if let Value::Map(attributes) = side {
                attributes.insert("path".to_owned(), shown(dest).into());
            }
        }
        Some(Diff { before: diff.before, after: diff.after, ..Diff::default() })
    }

    fn verify(&self, checksum: &str) -> Result<(), ModuleError> {
        match &self.args.checksum {
            Some(expected) if !expected.eq_ignore_ascii_case(checksum) => {
                Err(ModuleError::new("Copied file does not match the expected checksum. Transfer failed.")
                    .with("checksum", checksum)
                    .with("expected_checksum", expected.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// The path of the file itself, and how many directories had to be made for it.
    fn destination(&self) -> Result<(PathBuf, usize), ModuleError> {
        let dest = &self.args.dest;
        if has_slash(dest) || dest.is_dir() {
            if self.args.has_nameless_content() {
                return Err(ModuleError::new("can not use content with a dir as dest"));
            }
            let made = directory::make(dest, &self.wanted_of_directory(None), self.cx.check)?;
            return Ok((self.followed(dest.join(self.basename()?))?, made.len()));
        }
        Ok((self.followed(dest.clone())?, 0))
    }

    fn followed(&self, dest: PathBuf) -> Result<PathBuf, ModuleError> {
        if self.args.follow && dest.is_symlink() {
            return std::fs::canonicalize(&dest).doing(|| format!("follow the link {}", dest.display()));
        }
        Ok(dest)
    }

    /// The file's own name, for a destination that is a directory.
    fn basename(&self) -> Result<PathBuf, ModuleError> {
        let given = self.args._original_basename.as_deref().map(Path::new);
        let name = given.or(self.args.src.as_deref()).and_then(Path::file_name);
        name.map(PathBuf::from).ok_or_else(|| {
            ModuleError::new(format!("dest {} is a directory, and the file has no name", self.args.dest.display()))
        })
    }

    fn source_name(&self) -> Option<String> {
        self.args.src.as_deref().map(shown).or_else(|| self.args._original_basename.clone())
    }

    /// `mode` is the source's; `fresh` that of a file not there yet.
    fn placement(&self, mode: Option<u32>, fresh: Option<u32>) -> Result<Placement<'_>, ModuleError> {
        let mut wanted = self.wanted.clone();
        if self.args.attributes.mode == Some(Mode::Preserve) {
            let mode = mode.ok_or_else(|| ModuleError::new("mode: preserve needs a src that has a mode"))?;
            wanted.mode = Some(Mode::Octal(mode & crate::files::mode::PERMISSIONS));
        }
        Ok(Placement {
            wanted,
            fresh_mode: fresh,
            backup: self.args.backup,
            force: self.args.force,
            validate: self.args.validate.as_deref().map(|command| (command, Told::InFull)),
            unsafe_writes: self.args.attributes.unsafe_writes,
        })
    }

    fn wanted_of_directory(&self, fallback: Option<u32>) -> Wanted {
        let mode = self.args.directory_mode.clone().filter(|mode| *mode != Mode::Preserve);
        Wanted { mode: mode.or(fallback.map(Mode::Octal)), ..self.wanted.clone() }
    }

    /// What the controller sent. A directory with one file in it is told as that file.
    fn copy_sent_tree(&self, entries: Vec<Entry>) -> Result<ModuleResult, ModuleError> {
        let dest = &self.args.dest;
        let mut files = entries.iter().filter(|entry| matches!(entry.what, What::File(_)));
        let only = files.next().filter(|_| files.next().is_none()).map(|entry| dest.join(&entry.path));
        let only = only.zip(entries.iter().find_map(|entry| match &entry.what {
            What::File(source) => Some(source.sha1().map(Cow::into_owned)),
            What::Directory | What::Link(_) => None,
        }));
        let (changed, diffs) = self.copy_tree(entries, dest)?;
        let mut result = ModuleResult::changed(changed);
        match only {
            Some((path, checksum)) => {
                result.set("dest", shown(&path));
                result.set("checksum", checksum?);
                node::describe(&mut result, &path, self.users)?;
            }
            None => result.set("dest", format!("{}/", shown(dest).trim_end_matches('/'))),
        }
        if let Some(src) = self.args._source.clone().or_else(|| self.source_name()) {
            result.set("src", src);
        }
        Ok(result.with_diff(diffs))
    }

    fn copy_directory(&self, src: &Path) -> Result<ModuleResult, ModuleError> {
        let entries = tree::from_directory(src, self.args.local_follow.unwrap_or(false), self.cx.cancel)?;
        let whole = src.file_name().filter(|_| !has_slash(src)).map(|name| self.args.dest.join(name));
        // Ansible tells the directory that is in `dest` only if `dest` was there before.
        let told = whole.clone().filter(|_| self.args.dest.is_dir()).unwrap_or_else(|| self.args.dest.clone());
        let (changed, diffs) = self.copy_tree(entries, &whole.unwrap_or_else(|| self.args.dest.clone()))?;
        let mut result = ModuleResult::changed(changed)
            .with("dest", shown(&told))
            .with("src", shown(src))
            .with("checksum", Value::Null)
            .with("md5sum", Value::Null);
        node::describe(&mut result, &told, self.users)?;
        Ok(result.with_diff(diffs))
    }

    /// Whether anything changed, and what.
    fn copy_tree(&self, entries: Vec<Entry>, dest: &Path) -> Result<(bool, Vec<Diff>), ModuleError> {
        let mut changed = !directory::make(dest, &self.wanted_of_directory(None), self.cx.check)?.is_empty();
        let mut diffs = Vec::new();
        for entry in entries {
            if self.cx.cancel.is_cancelled() {
                return Err(ModuleError::new(format!("copying to {} was cancelled", dest.display())));
            }
            let path = dest.join(&entry.path);
            changed |= self.copy_entry(&entry, &path, &mut diffs)?;
        }
        Ok((changed, diffs))
    }

    fn copy_entry(&self, entry: &Entry, path: &Path, diffs: &mut Vec<Diff>) -> Result<bool, ModuleError> {
        match &entry.what {
            What::Directory => self.copy_one_directory(entry, path),
            What::Link(target) => self.copy_link(target, path),
            What::File(_) if self.cx.check && path.parent().is_some_and(|dir| !dir.is_dir()) => Ok(true),
            What::File(source) => {
                // A tree of this host keeps its modes; the controller's get what the umask leaves.
                let fresh = self.args.remote_src.then_some(entry.mode);
                let placed = place(source, path, &self.placement(Some(entry.mode), fresh)?, self.cx)?;
                let changed = placed.changed();
                diffs.extend(placed.diff);
                Ok(changed)
            }
        }
    }

    fn copy_one_directory(&self, entry: &Entry, path: &Path) -> Result<bool, ModuleError> {
        let keeps = self.args.remote_src || self.args.attributes.mode == Some(Mode::Preserve);
        let wanted = self.wanted_of_directory(keeps.then_some(entry.mode));
        if !directory::make(path, &wanted, self.cx.check)?.is_empty() {
            return Ok(true);
        }
        let owner = Wanted { mode: None, ..self.wanted.clone() };
        let Some(mut node) = Node::open(path, true)? else { return Ok(false) };
        Ok(!owner.apply(&mut node, self.cx.check)?.is_empty())
    }

    fn copy_link(&self, target: &Path, path: &Path) -> Result<bool, ModuleError> {
        let old = Node::open(path, false)?;
        if let Some(node) = &old {
            if node.is_dir() {
                let why = format!("{} is a directory: it is not replaced by a link", path.display());
                return Err(ModuleError::new(why));
            }
            if !self.args.force {
                return Ok(false);
            }
        }
        let is_right = match &old {
            Some(node) => node.kind() == Kind::Link && node.link_target()? == target,
            None => false,
        };
        if !is_right && !self.cx.check {
            directory::link(path, target)?;
        }
        let owner = Wanted { mode: None, ..self.wanted.clone() };
        let is_owned = match Node::open(path, false)?.filter(|node| node.kind() == Kind::Link) {
            Some(mut link) => owner.apply(&mut link, self.cx.check)?.is_empty(),
            None => true,
        };
        Ok(!is_right || !is_owned)
    }
}

fn md5_of(node: &Node) -> Result<String, ModuleError> {
    Algorithm::Md5.of(node.read()?).doing(|| format!("read {}", node.path().display()))
}

/// As Ansible names a file that it has put in place: a bare name with the directory that it is in.
fn in_its_directory(path: &Path) -> String {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => format!("./{}", path.display()),
        _ => shown(path),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{TestBlobs, check, list, run, run_with, with};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn content_is_written_once_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        let args = json!({"content": "hello\n", "dest": &dest, "mode": "0640"});
        let first = run(&Copy, args.clone());
        assert!(first.changed && !first.failed, "{first:?}");
        assert_eq!(fs::read(&dest).unwrap(), b"hello\n");
        assert_eq!(mode_of(&dest), 0o640);
        for (name, value) in [
            ("checksum", "f572d396fae9206628714fb2ce00f72e94f2258f"),
            ("md5sum", "b1946ac92492d2347c6235b4d2611184"),
            ("mode", "0640"),
            ("state", "file"),
            ("dest", dest.to_str().unwrap()),
        ] {
            assert_eq!(first.get(name).and_then(Value::as_str), Some(value), "{name}");
        }
        assert_eq!((first.get("size").unwrap().as_i64(), first.diff[0].after.as_str()), (Some(6), Some("hello\n")));
        let second = run(&Copy, args);
        assert!(!second.changed && second.diff.is_empty(), "{second:?}");
        assert_eq!(second.get("checksum"), first.get("checksum"));
        assert_eq!(names_in(dir.path()), ["file"], "no temporary file is left");
    }

    #[test]
    fn check_mode_shows_the_difference_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        fs::write(&dest, "old\n").unwrap();
        let result = check(&Copy, json!({"content": "new\n", "dest": &dest, "backup": true}));
        assert!(result.changed);
        assert_eq!((result.diff[0].before.as_str(), result.diff[0].after.as_str()), (Some("old\n"), Some("new\n")));
        assert_eq!((fs::read(&dest).unwrap().as_slice(), names_in(dir.path()).len()), (&b"old\n"[..], 1));
    }

    #[test]
    fn check_mode_asks_for_no_folder_that_an_earlier_task_would_have_made() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("none/file");
        let args = json!({"content": "x", "dest": &dest});
        assert!(check(&Copy, args.clone()).changed);
        assert!(run(&Copy, args).msg().starts_with("Destination directory "));
        assert!(names_in(dir.path()).is_empty());
    }

    #[test]
    fn a_blob_is_not_fetched_when_the_file_is_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("motd");
        let mut blobs = TestBlobs::default();
        let blob = blobs.add(b"\xff\x00binary");
        let args = || with(json!({"dest": &dest}), "_blob", blob.to_value());
        let first = run_with(&Copy, args(), false, &blobs);
        assert!(first.changed, "{first:?}");
        assert_eq!(fs::read(&dest).unwrap(), b"\xff\x00binary");
        assert_eq!(first.get("checksum").unwrap().as_str(), Some(blob.sha1.as_str()));
        assert!(first.diff[0].after.as_str().unwrap().starts_with("(binary file, 8 bytes"));
        let opened = blobs.opened();
        assert!(!run_with(&Copy, args(), false, &blobs).changed);
        assert_eq!(blobs.opened(), opened, "nothing was fetched for an equal file");
    }

    #[test]
    fn a_destination_that_is_a_directory_keeps_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut blobs = TestBlobs::default();
        let blob = blobs.add(b"x").to_value();
        let new = format!("{}/new/sub/", dir.path().display());
        for dest in [dir.path().to_str().unwrap(), &new] {
            let args = with(json!({"dest": dest, "_original_basename": "motd.txt"}), "_blob", blob.clone());
            let result = run_with(&Copy, args, false, &blobs);
            let file = Path::new(dest).join("motd.txt");
            assert_eq!(result.get("dest").unwrap().as_str(), file.to_str(), "{result:?}");
            assert_eq!(fs::read(file).unwrap(), b"x");
        }
        let result = run(&Copy, json!({"content": "x", "dest": dir.path()}));
        assert_eq!(result.msg(), "can not use content with a dir as dest");
        let rendered = json!({"content": "y", "dest": dir.path().join("other/"), "_original_basename": "motd.j2"});
        assert!(run(&Copy, rendered).changed);
        assert_eq!(fs::read(dir.path().join("other/motd.j2")).unwrap(), b"y");
    }

    #[test]
    fn a_missing_parent_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let result = run(&Copy, json!({"content": "x", "dest": dir.path().join("none/file")}));
        assert!(result.failed);
        assert_eq!(result.msg(), format!("Destination directory {}/none does not exist", dir.path().display()));
    }

    #[test]
    fn the_old_content_is_kept_in_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        fs::write(&dest, b"old \xff").unwrap();
        let result = run(&Copy, json!({"content": "new", "dest": &dest, "backup": true}));
        let backup = result.get("backup_file").unwrap().as_str().unwrap();
        assert_eq!(fs::read(backup).unwrap(), b"old \xff");
        assert!(backup.starts_with(&format!("{}.", dest.display())));
    }

    #[test]
    fn without_force_a_file_that_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        fs::write(&dest, "mine").unwrap();
        assert!(!run(&Copy, json!({"content": "new", "dest": &dest, "force": false})).changed);
        assert_eq!(fs::read(&dest).unwrap(), b"mine");
    }

    #[test]
    fn a_link_is_replaced_unless_it_is_to_be_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        assert!(run(&Copy, json!({"content": "followed", "dest": &link, "follow": true})).changed);
        assert!(link.is_symlink() && fs::read(&file).unwrap() == b"followed");
        assert!(run(&Copy, json!({"content": "replaced", "dest": &link})).changed);
        assert!(!link.is_symlink() && fs::read(&file).unwrap() == b"followed");
    }

    #[test]
    fn a_validator_decides_before_the_file_is_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        fs::write(&dest, "good").unwrap();
        let args = |content: &str| json!({"content": content, "dest": &dest, "validate": "grep -q good %s"});
        let result = run(&Copy, args("bad"));
        assert_eq!((result.msg(), result.get("exit_status").unwrap().as_i64()), ("failed to validate", Some(1)));
        assert_eq!(fs::read(&dest).unwrap(), b"good");
        assert!(run(&Copy, args("good too")).changed);
        assert_eq!(names_in(dir.path()), ["file"]);
        let result = run(&Copy, json!({"content": "x", "dest": &dest, "validate": "true"}));
        assert_eq!(result.msg(), "validate must contain %s: true");
    }

    #[test]
    fn an_unknown_owner_or_mode_fails_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        let result = run(&Copy, json!({"content": "x", "dest": &dest, "owner": "no-such-user"}));
        assert_eq!(result.msg(), "chown failed: failed to look up user no-such-user");
        let result = run(&Copy, json!({"content": "x", "dest": &dest, "mode": "u=q"}));
        assert_eq!(result.msg(), "mode must be in octal or symbolic form");
        assert!(!dest.exists());
    }

    #[test]
    fn a_dict_becomes_the_json_that_ansible_writes() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("file");
        run(&Copy, json!({"content": {"a": [1, true, null], "b": "é"}, "dest": &dest}));
        assert_eq!(fs::read_to_string(&dest).unwrap(), r#"{"a": [1, true, null], "b": "\u00e9"}"#);
    }

    #[test]
    fn a_file_of_this_host_is_copied_with_its_mode_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (src, dest) = (dir.path().join("src"), dir.path().join("dest"));
        fs::write(&src, b"\xfe").unwrap();
        fs::set_permissions(&src, fs::Permissions::from_mode(0o751)).unwrap();
        let result = run(&Copy, json!({"src": &src, "dest": &dest, "remote_src": true, "mode": "preserve"}));
        assert_eq!((fs::read(&dest).unwrap(), mode_of(&dest)), (b"\xfe".to_vec(), 0o751), "{result:?}");
        let result = run(&Copy, json!({"src": "/no/such", "dest": &dest, "remote_src": true}));
        assert_eq!(result.msg(), "Source /no/such not found");
        let args = json!({"src": &src, "dest": dir.path().join("other"), "remote_src": true, "checksum": "abc"});
        let result = run(&Copy, args);
        assert_eq!(result.msg(), "Copied file does not match the expected checksum. Transfer failed.");
    }

    #[test]
    fn a_directory_of_this_host_is_copied_whole_or_its_content_only() {
        let dir = tempfile::tempdir().unwrap();
        let src = dir.path().join("src");
        fs::create_dir_all(src.join("sub")).unwrap();
        fs::write(src.join("sub/two"), "2").unwrap();
        symlink("sub/two", src.join("link")).unwrap();
        let (whole, content) = (dir.path().join("whole"), dir.path().join("content"));
        let args = json!({"src": &src, "dest": &whole, "remote_src": true, "local_follow": false});
        assert!(check(&Copy, args.clone()).changed && !whole.exists());
        assert!(run(&Copy, args.clone()).changed);
        assert_eq!(fs::read(whole.join("src/sub/two")).unwrap(), b"2");
        assert_eq!(fs::read_link(whole.join("src/link")).unwrap(), Path::new("sub/two"));
        assert!(!run(&Copy, args).changed);
        let args = json!({"src": format!("{}/", src.display()), "dest": &content, "remote_src": true});
        let mut follows = args.clone();
        run(&Copy, args);
        assert!(content.join("link").is_symlink(), "links of this host stay links, unless told otherwise");
        follows["local_follow"] = json!(true);
        run(&Copy, follows);
        assert!(fs::symlink_metadata(content.join("link")).unwrap().is_file(), "a followed link is a file");
    }

    #[test]
    fn a_tree_of_the_controller_is_one_call() {
        let dir = tempfile::tempdir().unwrap();
        let mut blobs = TestBlobs::default();
        let blob = blobs.add(b"one").to_value();
        let tree = list([
            vec![("path", "d".into()), ("mode", 0o700.into()), ("dir", true.into())],
            vec![("path", "d/one".into()), ("mode", 0o755.into()), ("blob", blob.clone())],
            vec![("path", "link".into()), ("mode", 0o777.into()), ("link", "d/one".into())],
        ]);
        let args =
            || with(json!({"dest": dir.path(), "mode": "preserve", "directory_mode": "0711"}), "_tree", tree.clone());
        let result = run_with(&Copy, args(), false, &blobs);
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!((mode_of(&dir.path().join("d")), mode_of(&dir.path().join("d/one"))), (0o711, 0o755));
        assert_eq!(fs::read_link(dir.path().join("link")).unwrap(), Path::new("d/one"));
        assert!(!run_with(&Copy, args(), false, &blobs).changed);
        let result = run_with(&Copy, args(), false, &blobs);
        let one = dir.path().join("d/one");
        assert_eq!(result.get("dest").unwrap().as_str(), one.to_str(), "the only file stands for the tree");
        let two = list(
            ["d/one", "d/two"].map(|path| vec![("path", path.into()), ("mode", 0o644.into()), ("blob", blob.clone())]),
        );
        let result =
            run_with(&Copy, with(json!({"dest": dir.path(), "_source": "/of/here"}), "_tree", two), false, &blobs);
        assert_eq!(result.get("dest").unwrap().as_str(), Some(format!("{}/", dir.path().display()).as_str()));
        assert_eq!(result.get("src").unwrap().as_str(), Some("/of/here"));
        let out = list([vec![("path", "../out".into()), ("mode", 0o644.into()), ("blob", blob)]]);
        let result = run_with(&Copy, with(json!({"dest": dir.path()}), "_tree", out), false, &blobs);
        assert!(result.failed && result.msg().contains("leads out of it"), "{result:?}");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let result = run(&Copy, json!({"content": "x", "dest": &fifo}));
        assert!(result.failed && result.msg().contains("is a device, fifo or socket"), "{result:?}");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let Ok(limited) = limited_file_system(dir.path()) else {
            return eprintln!("skipped: a file system of limited size needs root");
        };
        let dest = limited.path().join("file");
        fs::write(&dest, "old").unwrap();
        let result = run(&Copy, json!({"content": "x".repeat(1 << 20), "dest": &dest}));
        assert!(result.failed && result.msg().contains("No space left on device"), "{result:?}");
        assert!(result.msg().contains("the file there is as it was"));
        assert_eq!((fs::read(&dest).unwrap(), names_in(limited.path())), (b"old".to_vec(), vec!["file".to_owned()]));
    }

    /// A small tmpfs, unmounted when dropped.
    struct Limited(PathBuf);

    impl Limited {
        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Limited {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }

    fn limited_file_system(dir: &Path) -> rustix::io::Result<Limited> {
        let at = dir.join("limited");
        fs::create_dir(&at).unwrap();
        rustix::mount::mount("tmpfs", &at, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"size=64k"))?;
        Ok(Limited(at))
    }
}
