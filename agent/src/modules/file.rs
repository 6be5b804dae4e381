//! `file`: what is at a path — file, directory, link, nothing — and its owner, mode and times.
//!
//! With `recurse` the links in the directory are changed themselves and not followed, as by `chown -R`: whoever may
//! write into the directory must not decide which other files of the host change hands.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustle_protocol::result::Diff;
use rustle_protocol::{Map, ModuleResult, Value};

use crate::accounts::Users;
use crate::files::attributes::{Changes, Current, FileAttributes, Wanted};
use crate::files::node::{self, Kind, Node};
use crate::files::times::{Time, Times};
use crate::files::{directory, walk};
use crate::module::args::Choice;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::process::errno_text;
use crate::{arguments, choices};

/// Names shown in the diff of a directory that goes.
const SHOWN_CONTENT_MAX: usize = 1000;

/// How many links may lead to one another, as the kernel has it.
const LINKS_MAX: usize = 40;

choices! {
    /// What shall be at the path.
    pub(crate) enum State {
        Absent = "absent",
        Directory = "directory",
        File = "file",
        Hard = "hard",
        Link = "link",
        Touch = "touch",
    }
}

arguments! {
    pub(crate) struct FileArgs {
        /// The path.
        path | "dest" | "name": PathBuf,
        /// What shall be there. Left out: what is there, else a directory with `recurse`, else a file.
        state: Option<State>,
        /// What a link leads to: for a symbolic link, the text of the link.
        src: Option<PathBuf>,
        /// Make a link to what is not there; replace a file or an empty directory by a link.
        force: bool = false,
        /// If the path is a link, change what it leads to.
        follow: bool = true,
        /// Change everything in the directory too.
        recurse: bool = false,
        /// `preserve`, `now` or a time; `now` for `touch`.
        access_time: Option<String>,
        /// How `access_time` is written.
        access_time_format: String = "%Y%m%d%H%M.%S".into(),
        /// `preserve`, `now` or a time; `now` for `touch`.
        modification_time: Option<String>,
        /// How `modification_time` is written.
        modification_time_format: String = "%Y%m%d%H%M.%S".into();
        flatten attributes: FileAttributes
    }
}

pub(super) struct File;

impl Module for File {
    type Args = FileArgs;

    const NAME: &'static str = "ansible.builtin.file";
    const SUMMARY: &'static str = "Makes, changes or removes a file, directory or link.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn check_args(args: &FileArgs) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        if args.recurse && !matches!(args.state, None | Some(State::Directory)) {
            return rule("recurse option requires state to be 'directory'");
        }
        match args.state {
            Some(State::Absent | State::Directory | State::File | State::Touch) if args.src.is_some() => {
                rule("src option requires state to be 'link' or 'hard'")
            }
            _ => Ok(()),
        }
    }

    fn run(&self, args: FileArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let users = Users::new(cx.cancel);
        let named = |error: ModuleError| error.with("path", args.path.display().to_string());
        let wanted = args.attributes.resolve(&users).map_err(named)?;
        let mut path = without_slash(&args.path);
        let mut there = Node::open(&path, false)?;
        let state = args.state.unwrap_or(match there.as_ref().map(|node| (node.kind(), node.state())) {
            Some((Kind::Directory, _)) => State::Directory,
            Some((Kind::Link, _)) => State::Link,
            Some((_, "hard")) => State::Hard,
            None if args.recurse => State::Directory,
            _ => State::File,
        });
        if args.recurse && state != State::Directory {
            return Err(named(ModuleError::new("recurse option requires state to be 'directory'")));
        }
        if args.src.is_some() && !matches!(state, State::Link | State::Hard) {
            return Err(named(ModuleError::new("src option requires state to be 'link' or 'hard'")));
        }
        let mut shown = args.path.clone();
        if let Some(name) = args.src.as_deref().and_then(Path::file_name)
            && state == State::Hard
            && path.is_dir()
        {
            path.push(name);
            there = Node::open(&path, false)?;
            shown.clone_from(&path);
        }
        let is_link = there.as_ref().is_some_and(|node| node.kind() == Kind::Link);
        if is_link && args.follow && matches!(state, State::Directory | State::File) {
            path = led_to(&path);
            there = Node::open(&path, true)?;
            shown.clone_from(&path);
        }
        let unless_given = if state == State::Touch { Time::Now } else { Time::Preserve };
        let time = |text: &Option<String>, format: &str| Time::parse(text.as_deref(), format, unless_given);
        let times = Times {
            access: time(&args.access_time, &args.access_time_format)?,
            modification: time(&args.modification_time, &args.modification_time_format)?,
        };
        let mut task = Task {
            args: &args,
            report: Report::new(&shown, there.as_ref().map_or("absent", Node::state)),
            path,
            wanted,
            times,
            cx,
        };
        task.run(state, there)?;
        task.report.into_result(&users, cx)
    }
}

fn without_slash(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    match text.trim_end_matches('/') {
        "" => path.to_owned(),
        trimmed if text.len() != trimmed.len() => path.components().collect(),
        _ => path.to_owned(),
    }
}

fn absent(path: &Path) -> ModuleError {
    let path = path.display().to_string();
    ModuleError::new(format!("file ({path}) is absent, cannot continue")).with("path", path).with("state", "absent")
}

/// A file that could not be made, or whose name is none, as Ansible tells it.
fn untouched(error: &std::io::Error, path: &Path) -> ModuleError {
    let path = path.display().to_string();
    ModuleError::new("Error, could not touch target.").caused_by(errno_text(error, &path)).with("path", path)
}

/// Where the link at `path` leads at last, be it nowhere yet: what a link names is made there and not in its place.
fn led_to(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    let (whole, rest) = path
        .ancestors()
        .find_map(|above| Some((std::fs::canonicalize(above).ok()?, path.strip_prefix(above).ok()?)))
        .unwrap_or_else(|| (PathBuf::new(), &path));
    if rest.as_os_str().is_empty() { whole } else { whole.join(rest) }
}

/// What comes out of the task: Ansible's result and its diff of dicts.
struct Report {
    path: PathBuf,
    changed: bool,
    before: Map,
    after: Map,
    /// `path` or `dest`, as each state calls it.
    called: &'static str,
    src: Option<PathBuf>,
    /// Return `src`, and if there is none, null.
    tells_src: bool,
    absent: bool,
    warnings: Vec<String>,
}

impl Report {
    fn new(path: &Path, state: &'static str) -> Report {
        let start = || Map::from([("path".to_owned(), Value::from(path.display().to_string()))]);
        let mut before = start();
        before.insert("state".into(), state.into());
        Report {
            path: path.to_owned(),
            changed: false,
            before,
            after: start(),
            called: "path",
            src: None,
            tells_src: false,
            absent: false,
            warnings: Vec::new(),
        }
    }

    fn becomes(&mut self, state: &'static str) {
        self.changed = true;
        self.after.insert("state".into(), state.into());
    }

    fn differs(&mut self, name: &str, before: impl Into<Value>, after: impl Into<Value>) {
        self.changed = true;
        self.before.insert(name.to_owned(), before.into());
        self.after.insert(name.to_owned(), after.into());
    }

    fn attributes(&mut self, changes: Changes) {
        self.changed |= !changes.is_empty();
        self.before.extend(changes.before);
        self.after.extend(changes.after);
    }

    fn into_result(mut self, users: &Users, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let mut result = ModuleResult::changed(self.changed).with(self.called, self.path.display().to_string());
        if self.tells_src {
            result.set("src", self.src.map(|src| src.display().to_string()));
        }
        if self.absent {
            result.set("state", "absent");
        }
        node::describe(&mut result, &self.path, users)?;
        result.warnings = self.warnings;
        if !self.after.contains_key("state") {
            self.before.shift_remove("state");
        }
        if cx.diff && self.changed && self.before != self.after {
            let diff = Diff { before: self.before.into(), after: self.after.into(), ..Diff::default() };
            result.diff.push(diff);
        }
        Ok(result)
    }
}

/// One call.
struct Task<'a> {
    args: &'a FileArgs,
    path: PathBuf,
    wanted: Wanted,
    times: Times,
    cx: &'a ModuleContext<'a>,
    report: Report,
}

impl Task<'_> {
    fn run(&mut self, state: State, there: Option<Node>) -> Result<(), ModuleError> {
        match state {
            State::Absent => self.absent(there),
            State::Directory => self.directory(),
            State::File => self.file(),
            State::Touch => self.touch(),
            State::Link => self.link(there),
            State::Hard => self.hard(there),
        }
    }

    fn failed(&self, msg: impl Into<String>) -> ModuleError {
        ModuleError::new(msg).with("path", self.path.display().to_string())
    }

    /// What the path names or, with `follow`, what a link there leads to.
    fn node(&self) -> Result<Option<Node>, ModuleError> {
        Node::open(&self.path, self.args.follow)
    }

    fn attributes_of(&mut self, node: &mut Node) -> Result<(), ModuleError> {
        let changes = self.wanted.apply(node, self.cx.check)?;
        self.report.attributes(changes);
        for (name, before, after) in self.times.apply(node, self.cx.check)? {
            self.report.differs(name, before, after);
        }
        Ok(())
    }

    fn absent(&mut self, there: Option<Node>) -> Result<(), ModuleError> {
        self.report.absent = true;
        let Some(node) = there else { return Ok(()) };
        if self.path.parent().is_none() {
            return Err(self.failed("the root directory is not removed"));
        }
        self.report.becomes("absent");
        if self.cx.diff && node.is_dir() {
            let content = content_of(&node, self.cx)?;
            self.report.before.insert("path_content".into(), content);
        }
        if self.cx.check {
            return Ok(());
        }
        let removed =
            if node.is_dir() { std::fs::remove_dir_all(&self.path) } else { std::fs::remove_file(&self.path) };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.doing(|| format!("remove {}", self.path.display())),
        }
    }

    /// A slash behind the name asks for a directory, and there is none.
    fn is_no_directory(&self, node: &Node) -> bool {
        !node.is_dir() && self.args.path.as_os_str().as_encoded_bytes().ends_with(b"/")
    }

    fn file(&mut self) -> Result<(), ModuleError> {
        let mut node = match self.node()? {
            Some(node) if self.is_no_directory(&node) => return Err(absent(&self.args.path)),
            Some(node) => node,
            None => return Err(absent(&self.path)),
        };
        if !matches!(node.kind(), Kind::File | Kind::Other) {
            let why = format!("file ({}) is {}, cannot continue", self.path.display(), node.state());
            return Err(self.failed(why).with("state", node.state()));
        }
        self.attributes_of(&mut node)
    }

    fn directory(&mut self) -> Result<(), ModuleError> {
        let there = self.node()?;
        if let Some(node) = there.as_ref().filter(|node| !node.is_dir()) {
            return Err(self.failed(format!("{} already exists as a {}", self.path.display(), node.state())));
        }
        if let Some(mut node) = there {
            self.attributes_of(&mut node)?;
            return if self.args.recurse { self.recurse(&node) } else { Ok(()) };
        }
        self.report.becomes("directory");
        if !self.cx.check {
            let changes = self.wanted.changes(&Current::fresh(Kind::Directory))?;
            self.report.attributes(changes);
        }
        directory::make(&self.path, &self.wanted, self.cx.check).map_err(|error| {
            let why = match std::fs::symlink_metadata(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotADirectory => {
                    errno_text(&error, &self.path.display().to_string())
                }
                _ => error.to_string(),
            };
            self.failed(format!("There was an issue creating {} as requested: {why}", self.path.display()))
        })?;
        match self.node()? {
            Some(mut node) => self.times.apply(&mut node, self.cx.check).map(drop),
            None => Ok(()),
        }
    }

    fn recurse(&mut self, dir: &Node) -> Result<(), ModuleError> {
        let (wanted, times, check) = (&self.wanted, self.times, self.cx.check);
        let mut changed = false;
        walk::below(dir, self.cx.cancel, &mut |node| {
            changed |= !wanted.apply(node, check)?.is_empty();
            changed |= !times.apply(node, check)?.is_empty();
            Ok(())
        })?;
        self.report.changed |= changed;
        Ok(())
    }

    fn touch(&mut self) -> Result<(), ModuleError> {
        self.report.called = "dest";
        if let Some(mut node) = self.node()? {
            if self.is_no_directory(&node) {
                return Err(untouched(&Errno::ISDIR.into(), &self.args.path));
            }
            self.attributes_of(&mut node)?;
            if self.report.changed {
                self.report.becomes("touch");
            }
            return Ok(());
        }
        if self.path.is_symlink() {
            return self.touch_nothing();
        }
        self.report.changed = true;
        if self.cx.check {
            return Ok(());
        }
        self.report.becomes("touch");
        // As it was given: with a slash behind it, it is no file's name.
        let path = &self.args.path;
        std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|error| untouched(&error, path))?;
        match self.node()? {
            Some(mut node) => self.attributes_of(&mut node),
            None => Err(self.failed(format!("{} was gone as soon as it was made", self.path.display()))),
        }
    }

    /// What a link leads to and is not there has no times, and is not made.
    fn touch_nothing(&mut self) -> Result<(), ModuleError> {
        if matches!(self.times, Times { access: Time::Preserve, modification: Time::Preserve }) {
            return self.attributes_of_link();
        }
        let target = led_to(&self.path).display().to_string();
        let why = format!("[Errno 2] No such file or directory: b'{target}'");
        let msg = format!("Error while updating modification or access time: {why}");
        Err(ModuleError::new(msg).with("path", target))
    }

    fn link(&mut self, there: Option<Node>) -> Result<(), ModuleError> {
        self.report.called = "dest";
        let old = match &there {
            Some(node) if node.kind() == Kind::Link => Some(node.link_target()?),
            _ => None,
        };
        let src = match self.args.src.clone().or_else(|| old.clone()) {
            Some(src) => src,
            None => return Err(ModuleError::new("src is required for creating new symlinks")),
        };
        self.report.src =
            self.args.src.clone().or_else(|| old.clone().filter(|_| self.args.follow && self.path.exists()));
        self.report.tells_src = true;
        let base = match &there {
            Some(node) if node.is_dir() => self.path.as_path(),
            _ => self.path.parent().unwrap_or(Path::new("/")),
        };
        let target = base.join(&src);
        if self.args.src.is_some() && !self.args.force && !target.exists() {
            return Err(self
                .failed(format!(
                    "src file does not exist, use 'force=yes' if you really want to create the link: {}",
                    target.display()
                ))
                .with("src", src.display().to_string()));
        }
        if old.as_ref() != Some(&src) {
            self.make_link(there, old, &src)?;
        }
        self.attributes_of_link()
    }

    fn make_link(&mut self, there: Option<Node>, old: Option<PathBuf>, src: &Path) -> Result<(), ModuleError> {
        if let Some(old) = old {
            self.report.differs("src", old.display().to_string(), src.display().to_string());
        } else {
            if let Some(node) = &there {
                self.may_become_link(node, "symlink")?;
            }
            self.report.becomes("link");
        }
        if self.cx.check {
            return Ok(());
        }
        if there.is_some_and(|node| node.is_dir()) {
            std::fs::remove_dir(&self.path).doing(|| format!("remove the directory {}", self.path.display()))?;
        }
        directory::link(&self.path, src)
    }

    fn may_become_link(&self, node: &Node, kind: &str) -> Result<(), ModuleError> {
        let path = self.path.display();
        if !self.args.force {
            return Err(self.failed(format!("refusing to convert from {} to {kind} for {path}", node.state())));
        }
        let is_empty = || std::fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
        if node.is_dir() && !is_empty() {
            return Err(self.failed(format!("the directory {path} is not empty, refusing to convert it")));
        }
        Ok(())
    }

    /// With `follow`, of what the link leads to.
    fn attributes_of_link(&mut self) -> Result<(), ModuleError> {
        if self.cx.check && self.report.changed {
            return Ok(());
        }
        match self.node()? {
            Some(mut node) => self.attributes_of(&mut node),
            None => {
                // Ansible says it of every such link, whether attributes are asked for or not.
                let why = "Cannot set fs attributes on a non-existent symlink target. follow should be set to False to avoid this.";
                self.report.warnings.push(why.to_owned());
                Ok(())
            }
        }
    }

    fn hard(&mut self, there: Option<Node>) -> Result<(), ModuleError> {
        self.report.called = "dest";
        self.report.tells_src = true;
        let Some(src) = self.args.src.clone() else {
            let mut node = there.ok_or_else(|| ModuleError::new("src is required for creating new hardlinks"))?;
            return self.attributes_of(&mut node);
        };
        self.report.src = Some(src.clone());
        let failed = |msg: String| {
            ModuleError::new(msg).with("dest", self.path.display().to_string()).with("src", src.display().to_string())
        };
        let Some(source) = Node::open(&src, true)? else { return Err(failed("src does not exist".into())) };
        let same =
            |node: &Node| (node.stat().st_ino, node.stat().st_dev) == (source.stat().st_ino, source.stat().st_dev);
        if !there.as_ref().is_some_and(same) {
            match there.as_ref().map(|node| (node.kind(), node.state())) {
                Some((Kind::Directory, _)) => {
                    return Err(failed("Cannot link, a directory exists at destination".into()));
                }
                Some((_, "hard")) if !self.args.force => {
                    return Err(failed("Cannot link, different hard link exists at destination".into()));
                }
                Some((Kind::File | Kind::Other, state)) if !self.args.force => {
                    return Err(failed(format!("Cannot link, {state} exists at destination")));
                }
                _ => {}
            }
            self.report.becomes(State::Hard.spelling());
            if let Some(node) = there.filter(|node| node.kind() == Kind::Link) {
                self.report.differs("src", node.link_target()?.display().to_string(), src.display().to_string());
            }
            if !self.cx.check {
                directory::hard_link(&self.path, &led_to(&src))
                    .map_err(|error| self.failed(format!("Error while linking: {error}")))?;
            }
        }
        match self.node()? {
            Some(mut node) if !(self.cx.check && self.report.changed) => self.attributes_of(&mut node),
            _ => Ok(()),
        }
    }
}

/// What is in a directory, for the diff: Ansible's two lists, cut where nobody reads on.
fn content_of(dir: &Node, cx: &ModuleContext<'_>) -> Result<Value, ModuleError> {
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    walk::below(dir, cx.cancel, &mut |node| {
        let list = if node.is_dir() { &mut directories } else { &mut files };
        if list.len() < SHOWN_CONTENT_MAX {
            list.push(node.path().display().to_string());
        }
        Ok(())
    })?;
    directories.sort();
    files.sort();
    Ok(Map::from([("directories".to_owned(), directories.into()), ("files".to_owned(), files.into())]).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn text<'a>(result: &'a ModuleResult, name: &str) -> &'a str {
        result.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_is_made_with_its_parents_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d/e");
        let args = json!({"path": &path, "state": "directory", "mode": "0750"});
        let checked = check(&File, args.clone());
        assert!(checked.changed && !dir.path().join("d").exists(), "{checked:?}");
        let first = run(&File, args.clone());
        assert!(first.changed);
        assert_eq!((text(&first, "state"), text(&first, "mode"), mode_of(&path)), ("directory", "0750", 0o750));
        let (before, after) = (first.diff[0].before.as_map().unwrap(), first.diff[0].after.as_map().unwrap());
        assert_eq!((before["state"].as_str(), after["state"].as_str()), (Some("absent"), Some("directory")));
        let second = run(&File, args);
        assert!(!second.changed && second.diff.is_empty());
    }

    #[test]
    fn a_mode_that_differs_is_told_before_and_after() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let result = check(&File, json!({"path": dir.path(), "mode": "u=rwx,go=rx"}));
        let diff = &result.diff[0];
        assert_eq!(diff.before.as_map().unwrap()["mode"].as_str(), Some("0700"));
        assert_eq!(diff.after.as_map().unwrap()["mode"].as_str(), Some("0755"));
        assert_eq!(mode_of(dir.path()), 0o700, "check mode changes nothing");
    }

    #[test]
    fn touch_makes_a_file_and_changes_times_unless_told_to_keep_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        assert!(check(&File, json!({"path": &path, "state": "touch"})).changed && !path.exists());
        let result = run(&File, json!({"path": &path, "state": "touch", "mode": "0600"}));
        assert_eq!((text(&result, "dest"), mode_of(&path)), (path.to_str().unwrap(), 0o600));
        assert!(run(&File, json!({"path": &path, "state": "touch"})).changed);
        let keep = json!({"path": &path, "state": "touch", "access_time": "preserve", "modification_time": "preserve"});
        assert!(!run(&File, keep).changed);
        let args = json!({"path": &path, "state": "file", "modification_time": "202001010000.00"});
        assert!(run(&File, args.clone()).changed);
        assert!(!run(&File, args).changed);
        assert_eq!(fs::metadata(&path).unwrap().mtime() % 60, 0);
        let result = run(&File, json!({"path": dir.path().join("none/t"), "state": "touch"}));
        assert_eq!(result.msg(), "Error, could not touch target.");
    }

    #[test]
    fn touch_makes_nothing_where_a_link_leads_or_a_slash_stands() {
        let dir = tempfile::tempdir().unwrap();
        let (link, none) = (dir.path().join("l"), dir.path().join("none"));
        symlink(&none, &link).unwrap();
        let result = run(&File, json!({"path": &link, "state": "touch"}));
        assert!(result.failed && text(&result, "path").ends_with("none"), "{result:?}");
        let keep = json!({"path": &link, "state": "touch", "access_time": "preserve", "modification_time": "preserve"});
        assert!(!run(&File, keep).changed);
        assert!(run(&File, json!({"path": format!("{}/", none.display()), "state": "touch"})).failed);
        assert!(!none.exists());
    }

    #[test]
    fn what_a_link_leads_to_is_told_if_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("l");
        symlink("f", &link).unwrap();
        assert!(run(&File, json!({"path": &link})).get("src").unwrap().is_null());
        fs::write(dir.path().join("f"), "").unwrap();
        assert_eq!(text(&run(&File, json!({"path": &link})), "src"), "f");
    }

    #[test]
    fn a_hard_link_goes_into_a_directory_and_to_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, into) = (dir.path().join("f"), dir.path().join("l"), dir.path().join("into"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&into).unwrap();
        symlink("f", &link).unwrap();
        let args = json!({"path": &into, "src": &link, "state": "hard"});
        let result = run(&File, args.clone());
        assert_eq!((result.changed, text(&result, "dest")), (true, into.join("l").to_str().unwrap()), "{result:?}");
        assert_eq!(fs::symlink_metadata(into.join("l")).unwrap().ino(), fs::metadata(&file).unwrap().ino());
        assert!(!run(&File, args).changed);
        fs::remove_file(&file).unwrap();
        let result = run(&File, json!({"path": dir.path().join("new"), "src": &link, "state": "hard"}));
        assert_eq!(result.msg(), "src does not exist");
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made_by_state_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none");
        let result = run(&File, json!({"path": &path}));
        assert_eq!(result.msg(), format!("file ({}) is absent, cannot continue", path.display()));
        assert_eq!((text(&result, "state"), result.failed), ("absent", true));
    }

    #[test]
    fn absent_removes_files_directories_and_links_but_not_what_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, link) = (dir.path().join("tree"), dir.path().join("link"));
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/file"), "").unwrap();
        symlink(&tree, &link).unwrap();
        assert!(run(&File, json!({"path": &link, "state": "absent"})).changed);
        assert!(!link.is_symlink() && tree.exists());
        let checked = check(&File, json!({"path": &tree, "state": "absent"}));
        let content = checked.diff[0].before.as_map().unwrap()["path_content"].as_map().unwrap();
        assert_eq!(content["files"].as_list().unwrap().len(), 1);
        assert!(checked.changed && tree.exists());
        let result = run(&File, json!({"path": format!("{}/", tree.display()), "state": "absent"}));
        assert!(result.changed && !tree.exists());
        assert_eq!(text(&result, "state"), "absent");
        assert!(!run(&File, json!({"path": &tree, "state": "absent"})).changed);
        assert_eq!(check(&File, json!({"path": "/", "state": "absent"})).msg(), "the root directory is not removed");
    }

    #[test]
    fn a_link_is_made_changed_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (dir.path().join("l"), dir.path().join("t"));
        fs::write(&target, "").unwrap();
        let args = json!({"path": &path, "src": &target, "state": "link"});
        assert!(check(&File, args.clone()).changed && !path.is_symlink());
        let result = run(&File, args.clone());
        assert_eq!((text(&result, "state"), text(&result, "src")), ("link", target.to_str().unwrap()));
        assert!(!run(&File, args).changed);
        assert!(run(&File, json!({"path": &path, "src": "t", "state": "link"})).changed, "a relative text differs");
        let args = json!({"path": &path, "src": "none", "state": "link"});
        let result = run(&File, args.clone());
        assert!(result.msg().starts_with("src file does not exist, use 'force=yes'"), "{result:?}");
        let result = run(&File, json!({"path": &path, "src": "none", "state": "link", "force": true, "mode": "0600"}));
        assert!(result.changed && result.warnings.len() == 1, "{result:?}");
    }

    #[test]
    fn files_and_full_directories_do_not_become_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, full) = (dir.path().join("file"), dir.path().join("full"));
        fs::write(&file, "").unwrap();
        fs::create_dir_all(full.join("sub")).unwrap();
        let result = run(&File, json!({"path": &file, "src": &full, "state": "link"}));
        assert_eq!(result.msg(), format!("refusing to convert from file to symlink for {}", file.display()));
        let result = run(&File, json!({"path": &full, "src": &file, "state": "link", "force": true}));
        assert_eq!(result.msg(), format!("the directory {} is not empty, refusing to convert it", full.display()));
        assert!(run(&File, json!({"path": &file, "src": &full, "state": "link", "force": true})).changed);
        assert!(file.is_symlink());
    }

    #[test]
    fn a_hard_link_is_another_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, src) = (dir.path().join("h"), dir.path().join("t"));
        fs::write(&src, "x").unwrap();
        let args = json!({"path": &path, "src": &src, "state": "hard"});
        let result = run(&File, args.clone());
        assert_eq!((result.changed, text(&result, "state")), (true, "hard"));
        assert!(!run(&File, args).changed);
        let result = run(&File, json!({"path": &path, "src": dir.path().join("none"), "state": "hard"}));
        assert_eq!(result.msg(), "src does not exist");
        fs::write(dir.path().join("other"), "").unwrap();
        let result = run(&File, json!({"path": dir.path().join("other"), "src": &src, "state": "hard"}));
        assert_eq!(result.msg(), "Cannot link, file exists at destination");
    }

    #[test]
    fn recurse_changes_all_that_is_below_and_nothing_that_links_lead_to() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = outside.path().join("other");
        fs::write(&other, "").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(dir.path().join("s")).unwrap();
        fs::write(dir.path().join("s/b"), "").unwrap();
        symlink(&other, dir.path().join("s/link")).unwrap();
        let args = json!({"path": dir.path(), "state": "directory", "recurse": true, "mode": "u=rwX,g=rX,o="});
        assert!(run(&File, args.clone()).changed);
        assert_eq!((mode_of(&dir.path().join("s")), mode_of(&dir.path().join("s/b"))), (0o750, 0o640));
        assert_eq!(mode_of(&other), 0o644);
        assert!(!run(&File, args).changed);
    }

    #[test]
    fn a_link_is_followed_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        symlink("file", &link).unwrap();
        assert!(!run(&File, json!({"path": &link, "mode": "0600", "follow": false})).changed);
        assert!(run(&File, json!({"path": &link, "mode": "0600"})).changed);
        assert_eq!(mode_of(&file), 0o600);
    }

    #[test]
    fn a_directory_is_made_where_a_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("there/below", &link).unwrap();
        let result = run(&File, json!({"path": &link, "state": "directory"}));
        let made = dir.path().canonicalize().unwrap().join("there/below");
        assert_eq!((text(&result, "path"), made.is_dir()), (made.to_str().unwrap(), true), "{result:?}");
        let result = run(&File, json!({"path": &link, "state": "directory", "follow": false}));
        assert_eq!(result.msg(), format!("{} already exists as a link", link.display()));
    }

    #[test]
    fn a_failure_tells_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "four").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o1644)).unwrap();
        let result = run(&File, json!({"path": &file, "state": "directory"}));
        assert_eq!((text(&result, "mode"), text(&result, "state")), ("01644", "file"), "{result:?}");
        assert_eq!(result.get("size").and_then(Value::as_i64), Some(4));
    }

    #[test]
    fn a_path_under_two_names_is_the_one_of_the_alias_and_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let result = run(&File, json!({"path": dir.path().join("none"), "dest": &file}));
        assert_eq!(text(&result, "path"), file.to_str().unwrap(), "{result:?}");
        assert_eq!(result.warnings, ["Both option path and its alias dest are set."]);
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let result = run(&File, json!({"path": &file, "state": "directory"}));
        assert_eq!(result.msg(), format!("{} already exists as a file", file.display()));
        let result = run(&File, json!({"path": file.join("below"), "state": "directory"}));
        assert!(result.failed && result.msg().contains("[Errno 20] Not a directory"), "{result:?}");
        let result = run(&File, json!({"path": &file, "recurse": true}));
        assert_eq!(result.msg(), "recurse option requires state to be 'directory'");
        let result = run(&File, json!({"path": &file, "group": "no-such-group"}));
        assert_eq!(result.msg(), "chgrp failed: failed to look up group no-such-group");
    }
}
