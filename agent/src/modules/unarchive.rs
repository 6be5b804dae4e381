//! `unarchive`: what is in a tar or zip archive is beneath a directory.
//!
//! No program is run. The archive is read once to see what is missing or differs and whether all of it may be unpacked
//! — nothing is written if not — and a second time only if something has to be. Refused are absolute names, `..`,
//! links that lead out, devices, names that come twice, and archives that become far too large. Setuid and setgid are
//! taken away: `mode` can give them.

mod source;
mod strip;

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode as RawMode, OFlags, openat};
use rustle_protocol::ModuleResult;

use self::strip::{strip_of, stripped};
use crate::accounts::Users;
use crate::arguments;
use crate::files::archive::{self, Format, Member, MemberKind};
use crate::files::attributes::{Current, FileAttributes, Wanted};
use crate::files::beneath::{Beneath, leads_out, stays_inside};
use crate::files::mode::{applied, umask};
use crate::files::node::{self, Kind, Node};
use crate::files::times::{Time, Times};
use crate::files::tree::is_inside;
use crate::fnmatch::fnmatch;
use crate::module::{ArgError, BlobRef, Doing, Mode, Module, ModuleContext, ModuleError};
use crate::process::await_starts;

/// Read, compared and written at a time.
const BUFFER_BYTES: usize = 128 * 1024;

arguments! {
    pub(crate) struct UnarchiveArgs {
        /// The archive: of the controller or, with `remote_src`, of this host, or the URL of one.
        src: Option<PathBuf>,
        /// The directory to unpack into. It must be there.
        dest: PathBuf,
        /// `src` is on this host.
        remote_src: bool = false,
        /// The opposite of `remote_src`, as it was called once.
        copy: bool = true,
        /// Do nothing if this is there.
        creates: Option<PathBuf>,
        /// Leave out what matches one of these globs, and what is below it.
        exclude: Vec<String> = Vec::new(),
        /// Unpack only what matches one of these globs, and what is below it.
        include: Vec<String> = Vec::new(),
        /// Options of tar: `--strip-components` alone is known.
        extra_opts: Vec<String> = Vec::new(),
        /// Keep files that are newer than those in the archive.
        keep_newer: bool = false,
        /// Return the names in the archive.
        list_files: bool = false,
        /// Whether the certificate of the server of a `src` that is a URL has to be valid.
        validate_certs: bool = true,
        /// Decrypt an archive that is in a vault. Done by the controller.
        decrypt: bool = true,
        /// How much to read at once; the agent knows.
        io_buffer_size: usize = 65536,
        /// The archive the controller read.
        _blob: Option<BlobRef>,
        /// What the archive is called at the controller.
        _original_basename: Option<String>;
        flatten attributes: FileAttributes
    }
}

pub(super) struct Unarchive;

impl Module for Unarchive {
    type Args = UnarchiveArgs;

    const NAME: &'static str = "ansible.builtin.unarchive";
    const SUMMARY: &'static str = "Unpacks a tar or zip archive.";
    const IDEMPOTENT: bool = true;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["include", "exclude"]];

    fn check_args(args: &UnarchiveArgs) -> Result<(), ArgError> {
        if args.src.is_none() && args._blob.is_none() {
            return Err(ArgError::Missing(vec!["src".into()]));
        }
        strip_of(&args.extra_opts).map(drop).map_err(ArgError::Rule)
    }

    fn run(&self, args: UnarchiveArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        // Named for those who write them: the controller has acted on them, or the agent knows better.
        let _ = (args.decrypt, args.io_buffer_size);
        if let Some(creates) = args.creates.as_ref().filter(|path| path.exists()) {
            return Ok(ModuleResult::skipped(format!("skipped, since {} exists", creates.display())));
        }
        if !args.dest.is_dir() {
            return Err(ModuleError::new(format!("dest '{}' must be an existing dir", args.dest.display())));
        }
        let users = Users::new(cx.cancel);
        let src = args.src.as_deref().map(|src| src.display().to_string()).or(args._original_basename.clone());
        let src = src.unwrap_or_default();
        let mut file = source::open(&args, cx)?;
        let format = Format::of(&mut file).doing(|| format!("read {src}"))?.ok_or_else(|| {
            ModuleError::new(format!(
                "Failed to find handler for \"{src}\": it is neither tar (gz, bz2, xz, zst) nor zip"
            ))
        })?;
        let strip = strip_of(&args.extra_opts).map_err(ModuleError::new)?;
        if strip > 0 && format == Format::Zip {
            return Err(ModuleError::new(format!("extra_opts are tar's, and {src} is a zip archive")));
        }
        let mut job = Job {
            strip,
            filter: Filter::new(&args),
            wanted: args.attributes.resolve(&users)?,
            beneath: Beneath::open(&args.dest)?,
            args: &args,
            users: &users,
            cx,
            verdicts: Vec::new(),
            names: Vec::new(),
        };
        job.inspect(&mut file, format).map_err(|error| named(error, &src))?;
        let changed = job.verdicts.iter().any(|verdict| matches!(verdict, Verdict::Attributes | Verdict::Content));
        if changed && !cx.check {
            job.unpack(&mut file, format).map_err(|error| named(error, &src))?;
            // Somebody may run what was unpacked next.
            await_starts();
        }
        let mut result = ModuleResult::changed(changed)
            .with("dest", args.dest.display().to_string())
            .with("src", src)
            .with("handler", format.handler());
        if args.list_files {
            result.set("files", std::mem::take(&mut job.names));
        }
        node::describe(&mut result, &args.dest, &users)?;
        Ok(result)
    }
}

fn named(error: ModuleError, src: &str) -> ModuleError {
    let why = format!("failed to unpack {src}: {error}");
    let mut result = error.into_result();
    result.set("msg", why);
    result.into()
}

/// What is to be done with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Not asked for.
    Skip,
    Same,
    /// Only owner or mode differ.
    Attributes,
    Content,
}

/// One call.
struct Job<'a> {
    args: &'a UnarchiveArgs,
    wanted: Wanted,
    users: &'a Users,
    cx: &'a ModuleContext<'a>,
    beneath: Beneath,
    filter: Filter,
    /// How many parts are taken off the beginning of every name.
    strip: usize,
    /// One for each member, in the archive's order.
    verdicts: Vec<Verdict>,
    /// As the archive has them, if they are to be listed.
    names: Vec<String>,
}

impl Job<'_> {
    /// First reading: what differs, and whether everything may be unpacked.
    fn inspect(&mut self, file: &mut File, format: Format) -> Result<(), ModuleError> {
        let mut seen = HashSet::new();
        archive::for_each(file, format, &mut |mut member| {
            self.stop_if_cancelled()?;
            self.strip_target(&mut member);
            if self.args.list_files
                && let Some(name) = self.listed(&member.name)
            {
                self.names.push(name);
            }
            self.filter.note(&member.name);
            let verdict = match self.name_of(&member.name)? {
                Some(name) => {
                    let verdict = self.verdict(&mut member, &name)?;
                    if member.kind != MemberKind::Directory && !seen.insert(name.clone()) {
                        return Err(ModuleError::new(format!("it has {} twice", name.display())));
                    }
                    verdict
                }
                None => Verdict::Skip,
            };
            self.verdicts.push(verdict);
            Ok(())
        })?;
        match self.filter.unmatched() {
            Some(include) => Err(ModuleError::new(format!("{include}: Not found in archive"))),
            None => Ok(()),
        }
    }

    /// The member's place, relative to the destination; `None` if it is not asked for or is the destination itself.
    fn name_of(&self, name: &Path) -> Result<Option<PathBuf>, ModuleError> {
        if !is_inside(name) {
            let why = format!("its member {} has a name that leads out", name.display());
            return Err(ModuleError::new(why));
        }
        let plain: PathBuf = name.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if plain.as_os_str().is_empty() || !self.filter.accepts(&plain) {
            return Ok(None);
        }
        Ok(if self.strip == 0 { Some(plain) } else { stripped(name, self.strip) })
    }

    fn listed(&self, name: &Path) -> Option<String> {
        let name = if self.strip == 0 { Some(name.to_owned()) } else { stripped(name, self.strip) };
        name.map(|name| name.display().to_string())
    }

    /// A hard link leads to another member, by the name it has in the archive.
    fn strip_target(&self, member: &mut Member<'_>) {
        if let MemberKind::HardLink(target) = &mut member.kind
            && self.strip > 0
        {
            *target = stripped(target, self.strip).unwrap_or_default();
        }
    }

    fn verdict(&self, member: &mut Member<'_>, name: &Path) -> Result<Verdict, ModuleError> {
        let shown = self.beneath.shown(name);
        if let MemberKind::Link(target) = &member.kind
            && !stays_inside(name.parent().unwrap_or(Path::new("")), target, &self.args.dest)
        {
            return Err(leads_out(&shown, target));
        }
        if let MemberKind::HardLink(target) = &member.kind
            && !is_inside(target)
        {
            return Err(leads_out(&shown, target));
        }
        if member.kind == MemberKind::Special {
            return Err(ModuleError::new(format!("{} is a device or fifo: it is not made", shown.display())));
        }
        let Some(node) = self.beneath.node(name)? else { return Ok(Verdict::Content) };
        if node.is_dir() != (member.kind == MemberKind::Directory) && node.kind() != Kind::Link {
            let is = if node.is_dir() { "is a directory" } else { "is no directory" };
            return Err(ModuleError::new(format!("{} is there and {is}, unlike in the archive", shown.display())));
        }
        let is_same = match &member.kind {
            MemberKind::Directory if node.kind() == Kind::Link => {
                return match self.beneath.directory(name)? {
                    Some(_) => Ok(Verdict::Same),
                    None => Err(ModuleError::new(format!("{} is there and is a link to nowhere", shown.display()))),
                };
            }
            MemberKind::Directory => true,
            MemberKind::Link(target) => node.kind() == Kind::Link && node.link_target()? == *target,
            MemberKind::HardLink(target) => {
                let other = self.beneath.node(target)?;
                other.is_some_and(|other| {
                    (other.stat().st_ino, other.stat().st_dev) == (node.stat().st_ino, node.stat().st_dev)
                })
            }
            MemberKind::File if self.is_newer(&node, member) => return Ok(Verdict::Same),
            MemberKind::File => {
                node.kind() == Kind::File && node.size() == member.size && has_content(&node, &mut *member.content)?
            }
            MemberKind::Special => false,
        };
        if !is_same {
            return Ok(Verdict::Content);
        }
        let changes = self.expected(member)?.changes(&Current::of(node.stat()))?;
        Ok(if changes.is_empty() { Verdict::Same } else { Verdict::Attributes })
    }

    fn is_newer(&self, node: &Node, member: &Member<'_>) -> bool {
        self.args.keep_newer
            && node.kind() == Kind::File
            && member.mtime.is_some_and(|mtime| node::field::<_, i64>(node.stat().st_mtime) >= mtime)
    }

    /// Owner and mode: the task's or, where it says nothing, the archive's. Only root gives files to others.
    fn expected(&self, member: &Member<'_>) -> Result<Wanted, ModuleError> {
        let mut wanted = self.wanted.clone();
        let is_root = rustix::process::geteuid().is_root();
        if matches!(member.kind, MemberKind::HardLink(_)) {
            // The file has what it got under its first name.
            return Ok(Wanted { mode: None, ..wanted });
        }
        if let Some(owner) = member.owner.as_ref().filter(|_| is_root) {
            let named = |name: &str| Some(name).filter(|name| !name.is_empty()).map(str::to_owned);
            wanted.uid =
                wanted.uid.or_else(|| named(&owner.user).and_then(|name| self.users.uid(&name))).or(Some(owner.uid));
            wanted.gid =
                wanted.gid.or_else(|| named(&owner.group).and_then(|name| self.users.gid(&name))).or(Some(owner.gid));
        }
        let is_dir = member.kind == MemberKind::Directory;
        let masked = |mode: u32| {
            let mode = mode & if is_dir { 0o1777 } else { 0o777 };
            if is_root { mode } else { mode & !umask() }
        };
        wanted.mode = match (&self.wanted.mode, member.mode.map(masked)) {
            (Some(mode @ Mode::Symbolic(_)), Some(base)) => Some(Mode::Octal(applied(mode, base, is_dir)?)),
            (Some(mode), _) => Some(mode.clone()),
            (None, base) => base.map(Mode::Octal),
        };
        Ok(wanted)
    }

    /// Second reading: makes what the first one found missing or different. Directories get their modes when all is in
    /// them.
    fn unpack(&mut self, file: &mut File, format: Format) -> Result<(), ModuleError> {
        let verdicts = std::mem::take(&mut self.verdicts);
        let mut verdicts = verdicts.into_iter();
        let mut directories = Vec::new();
        archive::for_each(file, format, &mut |mut member| {
            self.stop_if_cancelled()?;
            self.strip_target(&mut member);
            let mut verdict = verdicts.next().unwrap_or(Verdict::Skip);
            let Some(name) = self.name_of(&member.name)? else { return Ok(()) };
            if matches!(member.kind, MemberKind::HardLink(_)) {
                // The file it is another name of may have been replaced since it was looked at.
                verdict = self.verdict(&mut member, &name)?;
            }
            if matches!(verdict, Verdict::Skip | Verdict::Same) {
                return Ok(());
            }
            let expected = self.expected(&member)?;
            if member.kind == MemberKind::Directory {
                self.beneath.make_directory(&name)?;
                let mtime = member.mtime.filter(|_| verdict == Verdict::Content);
                directories.push((name, expected, mtime));
                return Ok(());
            }
            if verdict == Verdict::Content {
                self.make(&mut member, &name, &expected)?;
            }
            self.give(&name, &expected)
        })?;
        for (name, expected, mtime) in directories.into_iter().rev() {
            self.give(&name, &expected)?;
            if let (Some(mtime), Some(mut node)) = (mtime, self.beneath.node(&name)?) {
                let times = Times { access: Time::Preserve, modification: Time::At(mtime) };
                times.apply(&mut node, false)?;
            }
        }
        Ok(())
    }

    fn make(&self, member: &mut Member<'_>, name: &Path, expected: &Wanted) -> Result<(), ModuleError> {
        match &member.kind {
            MemberKind::Link(target) => self.beneath.link(name, target),
            MemberKind::HardLink(target) => self.beneath.hard_link(name, target),
            MemberKind::File => self.beneath.replace(name, |dir, temp| self.write(member, name, expected, dir, temp)),
            MemberKind::Directory | MemberKind::Special => Ok(()),
        }
    }

    fn write(
        &self,
        member: &mut Member<'_>,
        name: &Path,
        expected: &Wanted,
        dir: &OwnedFd,
        temp: &Path,
    ) -> Result<(), ModuleError> {
        let shown = self.beneath.shown(name);
        let writing = || format!("write {}", shown.display());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = openat(dir, temp, flags, RawMode::from_raw_mode(0o600)).doing(writing)?.into();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.stop_if_cancelled()?;
            match member.content.read(&mut buffer).doing(|| "read the archive".to_owned())? {
                0 => break,
                count => file.write_all(&buffer[..count]).doing(writing)?,
            }
        }
        let Some(mut node) = Node::open_at(dir.as_fd(), temp, &shown, false)? else { return Ok(()) };
        expected.apply_fresh(&mut node)?;
        if let Some(mtime) = member.mtime {
            Times { access: Time::Preserve, modification: Time::At(mtime) }.apply(&mut node, false)?;
        }
        Ok(())
    }

    fn give(&self, name: &Path, expected: &Wanted) -> Result<(), ModuleError> {
        match self.beneath.node(name)? {
            Some(mut node) => expected.apply(&mut node, false).map(drop),
            None => Ok(()),
        }
    }

    fn stop_if_cancelled(&self) -> Result<(), ModuleError> {
        if self.cx.cancel.is_cancelled() {
            return Err(ModuleError::new("the task was cancelled"));
        }
        Ok(())
    }
}

/// Whether a file has this content. Both are read until they differ.
fn has_content(node: &Node, content: &mut dyn Read) -> Result<bool, ModuleError> {
    let mut file = node.read()?;
    let (mut theirs, mut ours) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let count = content.read(&mut theirs).doing(|| "read the archive".to_owned())?;
        if count == 0 {
            return Ok(true);
        }
        match file.read_exact(&mut ours[..count]) {
            Ok(()) if ours[..count] == theirs[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error).doing(|| format!("read {}", node.path().display())),
        }
    }
}

/// `include` and `exclude`.
struct Filter {
    include: Vec<String>,
    exclude: Vec<String>,
    /// Which of `include` some member has matched.
    matched: Vec<bool>,
}

impl Filter {
    fn new(args: &UnarchiveArgs) -> Filter {
        let plain = |globs: &[String]| -> Vec<String> {
            let plain = globs.iter().map(|text| text.trim_start_matches("./").trim_end_matches('/').to_owned());
            plain.filter(|text| !text.is_empty()).collect()
        };
        let include = plain(&args.include);
        Filter { matched: vec![false; include.len()], include, exclude: plain(&args.exclude) }
    }

    /// Remembers what of `include` stands for a member: one that stands for none is a mistake, as for tar and unzip.
    fn note(&mut self, name: &Path) {
        let plain: PathBuf = name.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        for (glob, matched) in self.include.iter().zip(&mut self.matched).filter(|(_, matched)| !**matched) {
            let glob = std::slice::from_ref(glob);
            *matched = plain.ancestors().any(|path| matches_any(glob, path));
        }
    }

    fn unmatched(&self) -> Option<&str> {
        let at = self.matched.iter().position(|matched| !matched)?;
        self.include.get(at).map(String::as_str)
    }

    fn accepts(&self, name: &Path) -> bool {
        if self.include.is_empty() && self.exclude.is_empty() {
            return true;
        }
        // A directory that matches stands for all that is below it.
        let mut included = self.include.is_empty();
        for path in name.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            included |= matches_any(&self.include, path);
            // As tar has it, an excluded name may begin at any of its directories.
            let mut parts = path.components();
            loop {
                if matches_any(&self.exclude, parts.as_path()) {
                    return false;
                }
                if parts.next().is_none() || parts.as_path().as_os_str().is_empty() {
                    break;
                }
            }
        }
        included
    }
}

fn matches_any(globs: &[String], path: &Path) -> bool {
    let path = path.to_string_lossy();
    globs.iter().any(|glob| fnmatch(glob, &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{TestBlobs, check, run, run_with, with};
    use rustle_protocol::Value;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use tar::EntryType;

    struct Fixture {
        dir: ::tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = ::tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("out")).unwrap();
            Fixture { dir }
        }

        fn out(&self, name: &str) -> PathBuf {
            self.dir.path().join("out").join(name)
        }

        fn archive(&self, bytes: &[u8]) -> PathBuf {
            let path = self.dir.path().join("archive");
            fs::write(&path, bytes).unwrap();
            path
        }

        /// Arguments to unpack `bytes`, with `more`.
        fn args(&self, bytes: &[u8], more: serde_json::Value) -> serde_json::Value {
            let mut args = json!({"src": self.archive(bytes), "dest": self.out(""), "remote_src": true});
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            args
        }
    }

    /// A member of a test archive: type, name, mode, content or link target.
    type Item<'a> = (EntryType, &'a str, u32, &'a str);

    fn tar_of(items: &[Item<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, mode, content) in items {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_mtime(1_500_000_000);
            header.set_uid(rustix::process::geteuid().as_raw().into());
            header.set_gid(rustix::process::getegid().as_raw().into());
            // Written as it is: the builder would refuse the names that we must refuse.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if is_link {
                header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let content = if is_link { "" } else { content };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn usual() -> Vec<u8> {
        tar_of(&[
            (EntryType::Directory, "./", 0o700, ""),
            (EntryType::Regular, "./one", 0o640, "1\n"),
            (EntryType::Directory, "./sub/", 0o750, ""),
            (EntryType::Regular, "./sub/two", 0o755, "2\n"),
            (EntryType::Symlink, "./sub/link", 0o777, "../one"),
            (EntryType::Link, "./hard", 0o640, "./one"),
        ])
    }

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_tar_is_unpacked_once_with_modes_times_and_links() {
        let fixture = Fixture::new();
        let args = fixture.args(&usual(), json!({"list_files": true}));
        let checked = check(&Unarchive, args.clone());
        assert!(checked.changed && !fixture.out("one").exists(), "{checked:?}");
        let first = run(&Unarchive, args.clone());
        assert!(first.changed && !first.failed, "{first:?}");
        assert_eq!(fs::read(fixture.out("sub/two")).unwrap(), b"2\n");
        assert_eq!((mode_of(&fixture.out("one")), mode_of(&fixture.out("sub"))), (0o640, 0o750));
        assert_eq!(fs::read_link(fixture.out("sub/link")).unwrap(), Path::new("../one"));
        assert_eq!(fs::metadata(fixture.out("one")).unwrap().mtime(), 1_500_000_000);
        assert_eq!(fs::metadata(fixture.out("one")).unwrap().nlink(), 2);
        assert_eq!(first.get("files").unwrap().as_list().unwrap().len(), 6);
        assert_eq!(first.get("handler").unwrap().as_str(), Some("TarArchive"));
        let second = run(&Unarchive, args);
        assert!(!second.changed && !second.failed, "{second:?}");
    }

    #[test]
    fn every_compression_is_told_by_its_first_bytes() {
        let plain = tar_of(&[(EntryType::Regular, "one", 0o644, "1")]);
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let archives = [
            ("TgzArchive", gzipped(&plain)),
            ("TarBzipArchive", bz.finish().unwrap()),
            ("TarXzArchive", xz.finish().unwrap()),
            ("TarZstdArchive", zstd::stream::encode_all(&plain[..], 1).unwrap()),
            ("ZipArchive", zip_of(&[("one", 0o644, "1")])),
        ];
        for (handler, bytes) in archives {
            let fixture = Fixture::new();
            let result = run(&Unarchive, fixture.args(&bytes, json!({})));
            assert_eq!(result.get("handler").and_then(Value::as_str), Some(handler), "{result:?}");
            assert_eq!(fs::read(fixture.out("one")).unwrap(), b"1");
            assert!(!run(&Unarchive, fixture.args(&bytes, json!({}))).changed);
        }
    }

    fn zip_of(items: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, mode, content) in items {
            let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_changed_file_is_put_right_and_others_are_left_alone() {
        let fixture = Fixture::new();
        let args = fixture.args(&gzipped(&usual()), json!({}));
        run(&Unarchive, args.clone());
        let untouched = fs::metadata(fixture.out("sub/two")).unwrap().ino();
        fs::write(fixture.out("one"), "x\n").unwrap();
        fs::set_permissions(fixture.out("sub/two"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(run(&Unarchive, args.clone()).changed);
        assert_eq!(fs::read(fixture.out("one")).unwrap(), b"1\n");
        assert_eq!(
            (mode_of(&fixture.out("sub/two")), fs::metadata(fixture.out("sub/two")).unwrap().ino()),
            (0o755, untouched)
        );
        assert_eq!(fs::metadata(fixture.out("hard")).unwrap().ino(), fs::metadata(fixture.out("one")).unwrap().ino());
        assert!(!run(&Unarchive, args).changed);
    }

    #[test]
    fn what_leads_out_is_refused_before_anything_is_written() {
        let good: Item<'_> = (EntryType::Regular, "good", 0o644, "x");
        for (bad, why) in [
            ((EntryType::Regular, "/etc/x", 0o644, "x"), "leads out"),
            ((EntryType::Regular, "../x", 0o644, "x"), "leads out"),
            ((EntryType::Regular, "a/../../x", 0o644, "x"), "leads out"),
            ((EntryType::Symlink, "link", 0o777, "/etc/passwd"), "leads out"),
            ((EntryType::Symlink, "a/link", 0o777, "../../x"), "leads out"),
            ((EntryType::Link, "hard", 0o644, "/etc/passwd"), "leads out"),
            ((EntryType::Link, "hard", 0o644, "../x"), "leads out"),
            ((EntryType::Char, "null", 0o666, ""), "is a device or fifo"),
            ((EntryType::Fifo, "fifo", 0o666, ""), "is a device or fifo"),
            ((EntryType::Regular, "good", 0o644, "again"), "twice"),
        ] {
            let fixture = Fixture::new();
            let result = run(&Unarchive, fixture.args(&tar_of(&[good, bad]), json!({})));
            assert!(result.failed && result.msg().contains(why), "{bad:?}: {result:?}");
            assert!(!fixture.out("good").exists(), "{bad:?}");
        }
        let fixture = Fixture::new();
        let result = run(&Unarchive, fixture.args(&zip_of(&[("../x", 0o644, "x")]), json!({})));
        assert!(result.failed && result.msg().contains("leads out"), "{result:?}");
    }

    #[test]
    fn a_link_in_the_archive_is_no_way_out_for_what_follows() {
        let fixture = Fixture::new();
        let bytes = tar_of(&[
            (EntryType::Symlink, "here", 0o777, "."),
            (EntryType::Symlink, "here/up", 0o777, "../secret"),
            (EntryType::Regular, "here/up/file", 0o644, "x"),
        ]);
        let result = run(&Unarchive, fixture.args(&bytes, json!({})));
        assert!(result.failed && result.msg().contains("leads out"), "{result:?}");
        assert!(!fixture.out("../secret").exists());
    }

    #[test]
    fn a_link_that_was_there_already_is_no_way_out_either() {
        let fixture = Fixture::new();
        let outside = fixture.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, fixture.out("a")).unwrap();
        let bytes = tar_of(&[(EntryType::Regular, "a/file", 0o644, "x")]);
        let result = run(&Unarchive, fixture.args(&bytes, json!({})));
        assert!(result.failed && result.msg().contains("leads out of"), "{result:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn setuid_is_taken_away_unless_the_task_asks_for_it() {
        let fixture = Fixture::new();
        let bytes = tar_of(&[(EntryType::Regular, "tool", 0o6755, "x")]);
        run(&Unarchive, fixture.args(&bytes, json!({})));
        assert_eq!(mode_of(&fixture.out("tool")), 0o755);
        assert!(!run(&Unarchive, fixture.args(&bytes, json!({}))).changed);
        run(&Unarchive, fixture.args(&bytes, json!({"mode": "u=rwxs,g=rx"})));
        assert_eq!(mode_of(&fixture.out("tool")), 0o4755);
    }

    #[test]
    fn only_what_is_asked_for_is_unpacked() {
        let fixture = Fixture::new();
        assert!(run(&Unarchive, fixture.args(&usual(), json!({"exclude": ["./sub", "ha*"]}))).changed);
        assert!(fixture.out("one").exists() && !fixture.out("sub").exists() && !fixture.out("hard").exists());
        let fixture = Fixture::new();
        assert!(run(&Unarchive, fixture.args(&usual(), json!({"include": "sub/"}))).changed);
        let result = run(&Unarchive, fixture.args(&usual(), json!({"include": ["sub/", "none"]})));
        assert!(result.failed && result.msg().ends_with("none: Not found in archive"), "{result:?}");
        assert!(fixture.out("sub/two").exists() && !fixture.out("one").exists());
    }

    #[test]
    fn newer_files_are_kept_if_asked() {
        let fixture = Fixture::new();
        fs::write(fixture.out("one"), "mine").unwrap();
        let bytes = tar_of(&[(EntryType::Regular, "one", 0o644, "theirs")]);
        assert!(!run(&Unarchive, fixture.args(&bytes, json!({"keep_newer": true}))).changed);
        assert_eq!(fs::read(fixture.out("one")).unwrap(), b"mine");
        assert!(run(&Unarchive, fixture.args(&bytes, json!({}))).changed);
        assert_eq!(fs::read(fixture.out("one")).unwrap(), b"theirs");
    }

    #[test]
    fn an_archive_of_the_controller_comes_as_a_blob() {
        let fixture = Fixture::new();
        let mut blobs = TestBlobs::default();
        let blob = blobs.add(&gzipped(&usual())).to_value();
        let args =
            || with(json!({"dest": fixture.out(""), "_original_basename": "bundle.tar.gz"}), "_blob", blob.clone());
        let result = run_with(&Unarchive, args(), false, &blobs);
        assert_eq!((result.changed, result.get("src").unwrap().as_str()), (true, Some("bundle.tar.gz")));
        assert!(!run_with(&Unarchive, args(), false, &blobs).changed);
    }

    #[test]
    fn the_first_parts_of_names_can_be_left_out() {
        let fixture = Fixture::new();
        let bytes = tar_of(&[
            (EntryType::Directory, "app-1.2", 0o755, ""),
            (EntryType::Regular, "app-1.2/run", 0o755, "run"),
            (EntryType::Link, "app-1.2/again", 0o755, "app-1.2/run"),
            (EntryType::Regular, "app-1.2/lib/a", 0o644, "a"),
            (EntryType::Regular, "outside", 0o644, "none"),
        ]);
        let args = || fixture.args(&bytes, json!({"extra_opts": ["--strip-components=1"], "list_files": true}));
        let result = run(&Unarchive, args());
        assert!(result.changed && !result.failed, "{result:?}");
        assert_eq!(result.get("files"), Some(&Value::from(json!(["run", "again", "lib/a"]))));
        assert_eq!(fs::read_to_string(fixture.out("run")).unwrap(), "run");
        assert_eq!(fs::metadata(fixture.out("run")).unwrap().ino(), fs::metadata(fixture.out("again")).unwrap().ino());
        assert_eq!(fs::read_to_string(fixture.out("lib/a")).unwrap(), "a");
        assert!(!fixture.out("app-1.2").exists() && !fixture.out("outside").exists());
        assert!(!run(&Unarchive, args()).changed);
        assert!(
            run(
                &Unarchive,
                fixture
                    .args(&tar_of(&[(EntryType::Regular, "../../out", 0o644, "")]), json!({"extra_opts": "--strip=1"}))
            )
            .failed
        );
    }

    #[test]
    fn an_archive_can_be_fetched_from_a_server() {
        use crate::http::tests::{answer, serve};
        let fixture = Fixture::new();
        let archive = String::from_utf8(tar_of(&[(EntryType::Regular, "one", 0o644, "1")])).unwrap();
        let server = serve(move |head, _| match head.starts_with("GET /one.tar ") {
            true => answer("200 OK", "", &archive),
            false => answer("404 Not Found", "", "nothing"),
        });
        let args = |name: &str| json!({"src": format!("{server}/{name}"), "dest": fixture.out(""), "remote_src": true});
        assert!(check(&Unarchive, args("one.tar")).changed);
        assert!(!fixture.out("one").exists());
        assert!(run(&Unarchive, args("one.tar")).changed);
        assert_eq!(fs::read_to_string(fixture.out("one")).unwrap(), "1");
        assert!(!run(&Unarchive, args("one.tar")).changed);
        let said = format!("Failure downloading {server}/none, HTTP Error 404: Not Found");
        assert_eq!(run(&Unarchive, args("none")).msg(), said);
    }

    #[test]
    fn what_cannot_be_unpacked_is_told() {
        let fixture = Fixture::new();
        let none = fixture.out("none");
        let mut args = fixture.args(b"hello", json!({}));
        let result = run(&Unarchive, args.clone());
        assert!(result.msg().starts_with("Failed to find handler for \""), "{result:?}");
        args["dest"] = json!(none);
        assert_eq!(run(&Unarchive, args.clone()).msg(), format!("dest '{}' must be an existing dir", none.display()));
        let result = run(&Unarchive, json!({"src": &none, "dest": fixture.out(""), "remote_src": true}));
        assert_eq!(result.msg(), format!("Source '{}' does not exist", none.display()));
        let result = run(&Unarchive, fixture.args(b"", json!({"extra_opts": "--no-recursion"})));
        assert!(result.msg().starts_with("extra_opts: `--no-recursion` is not supported"), "{result:?}");
        let result = run(&Unarchive, fixture.args(b"", json!({"creates": fixture.out("")})));
        assert!(result.skipped && result.msg().starts_with("skipped, since"), "{result:?}");
        let mut cut = gzipped(&usual());
        cut.truncate(cut.len() / 2);
        let result = run(&Unarchive, fixture.args(&cut, json!({})));
        assert!(result.failed && result.msg().starts_with("failed to unpack"), "{result:?}");
    }

    #[test]
    fn a_file_is_not_put_in_the_place_of_a_directory() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.out("one")).unwrap();
        let result = run(&Unarchive, fixture.args(&usual(), json!({})));
        assert!(result.failed && result.msg().contains("is there and is a directory"), "{result:?}");
    }
}
