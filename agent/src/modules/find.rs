//! `find`: the files below some directories that are as the task describes them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Stat, lstat};
use rustle_protocol::{Map, ModuleResult, Value};

use crate::accounts::Users;
use crate::encoding::Encoding;
use crate::files::checksum::Algorithm;
use crate::files::mode::{PERMISSIONS, applied};
use crate::files::node::{Kind, field, kind_of, stat_fields};
use crate::files::pattern::{Flags, Pattern};
use crate::fnmatch::fnmatch;
use crate::module::{ArgError, Mode, Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

/// Files returned at most: a result travels in one frame of 16 MiB.
const FOUND_MAX: usize = 20_000;
/// How deep directories may nest, if links are followed: a circle of them ends here.
const DEPTH_MAX: usize = 128;
/// Largest file read whole for `read_whole_file`.
const WHOLE_BYTES_MAX: u64 = 256 * 1024 * 1024;

choices! {
    /// What is looked for.
    pub(crate) enum FileType { Any = "any", Directory = "directory", File = "file", Link = "link" }
}

choices! {
    /// Which time is the age.
    pub(crate) enum AgeStamp { Access = "atime", Change = "ctime", Modification = "mtime" }
}

arguments! {
    pub(crate) struct FindArgs {
        /// The directories to look in.
        paths | "name" | "path": Vec<PathBuf>,
        /// The name must match one of these: globs, or regular expressions with `use_regex`.
        patterns | "pattern": Vec<String> = Vec::new(),
        /// The name must match none of these.
        excludes | "exclude": Vec<String> = Vec::new(),
        /// A line of the file must begin with what this regular expression matches.
        contains: Option<String>,
        /// How the files' text is written: UTF-8, UTF-16, UTF-32, ASCII or Latin-1. Left out: bytes as they are.
        encoding: Option<String>,
        /// Let `contains` match anywhere in the whole file.
        read_whole_file: bool = false,
        /// What to look for.
        file_type: FileType = FileType::File,
        /// At least this old, or at most if negative: a number of `s`, `m`, `h`, `d` or `w`.
        age: Option<String>,
        /// Which time is the age.
        age_stamp: AgeStamp = AgeStamp::Modification,
        /// At least this large, or at most if negative: a number of `b`, `k`, `m`, `g` or `t`.
        size: Option<String>,
        /// The mode the file has.
        mode: Option<Mode>,
        /// The file has exactly that mode; if not, any of its bits.
        exact_mode: bool = true,
        /// Look in directories below too.
        recurse: bool = false,
        /// How many levels down `recurse` goes; 1 is the directory itself.
        depth: Option<usize>,
        /// Names that begin with a dot count too.
        hidden: bool = false,
        /// Go into directories that links lead to.
        follow: bool = false,
        /// Return a checksum of each file.
        get_checksum: bool = false,
        /// How the checksum is made.
        checksum_algorithm | "checksum" | "checksum_algo": Algorithm = Algorithm::Sha1,
        /// The patterns are regular expressions that match from the beginning of the name.
        use_regex: bool = false,
        /// Stop after so many.
        limit: Option<usize>,
    }
}

pub(super) struct Find;

impl Module for Find {
    type Args = FindArgs;

    const NAME: &'static str = "ansible.builtin.find";
    const SUMMARY: &'static str = "Finds files by name, age, size, mode and content.";
    const IDEMPOTENT: bool = true;

    fn check_args(args: &FindArgs) -> Result<(), ArgError> {
        match args.limit {
            Some(0) => Err(ArgError::Rule("limit cannot be 0 (use None for unlimited)".to_owned())),
            _ => Ok(()),
        }
    }

    fn run(&self, args: FindArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let users = Users::new(cx.cancel);
        let mut search = Search { filter: Filter::new(&args)?, args: &args, users, cx, found: Found::default() };
        for path in &args.paths {
            if path.is_dir() {
                search.directory(path, 1)?;
            } else {
                search.skip(path, format!("'{}' is not a directory", path.display()));
            }
        }
        Ok(search.into_result())
    }
}

#[derive(Default)]
struct Found {
    files: Vec<Value>,
    examined: usize,
    skipped: Map,
    warnings: Vec<String>,
    limited: bool,
}

struct Search<'a> {
    args: &'a FindArgs,
    filter: Filter,
    users: Users,
    cx: &'a ModuleContext<'a>,
    found: Found,
}

impl Search<'_> {
    /// Looks at what is in `dir`, `depth` levels down: first at all of it, then into its directories.
    fn directory(&mut self, dir: &Path, depth: usize) -> Result<(), ModuleError> {
        if depth > DEPTH_MAX {
            self.skip(dir, format!("'{}' is nested too deep, or a link leads in a circle", dir.display()));
            return Ok(());
        }
        if self.cx.cancel.is_cancelled() {
            return Err(ModuleError::new(format!("cancelled while in {}", dir.display())));
        }
        let listed = std::fs::read_dir(dir).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
        });
        let mut names = match listed {
            Ok(names) => names,
            Err(error) => {
                self.skip(dir, error.to_string());
                return Ok(());
            }
        };
        names.sort();
        // All of a folder counts, however soon the search ends.
        self.found.examined += names.len();
        if self.args.depth.is_some_and(|most| depth > most) {
            return Ok(());
        }
        let mut below = Vec::new();
        for name in names {
            let path = dir.join(&name);
            // Gone since it was listed is as good as never there.
            let Ok(there) = lstat(&path) else { continue };
            self.consider(&path, &there)?;
            if self.found.limited {
                return Ok(());
            }
            let leads_on = match kind_of(&there) {
                Kind::Directory => true,
                Kind::Link => self.args.follow && path.is_dir(),
                Kind::File | Kind::Other => false,
            };
            below.extend(leads_on.then_some(path));
        }
        if !self.args.recurse {
            return Ok(());
        }
        for path in below {
            self.directory(&path, depth + 1)?;
            if self.found.limited {
                break;
            }
        }
        Ok(())
    }

    fn consider(&mut self, path: &Path, there: &Stat) -> Result<(), ModuleError> {
        if !self.filter.accepts(path, there, self.args)? {
            return Ok(());
        }
        if self.found.files.len() == FOUND_MAX {
            return Err(ModuleError::new(format!(
                "more than {FOUND_MAX} files match: narrow the search, or set limit"
            )));
        }
        let mut fields = Map::from([("path".to_owned(), Value::from(plain(path).display().to_string()))]);
        fields.extend(stat_fields(there, &self.users));
        if self.args.get_checksum && kind_of(there) == Kind::File {
            let checksum = self.args.checksum_algorithm.of_file(path).ok();
            fields.insert("checksum".to_owned(), checksum.into());
        }
        self.found.files.push(fields.into());
        self.found.limited = self.args.limit.is_some_and(|limit| self.found.files.len() >= limit);
        Ok(())
    }

    fn skip(&mut self, path: &Path, why: String) {
        let path = path.display();
        self.found.warnings.push(format!("Skipped '{path}' path due to this access issue: {why}"));
        self.found.skipped.insert(path.to_string(), why.into());
    }

    fn into_result(self) -> ModuleResult {
        let found = self.found;
        let msg = match (found.skipped.is_empty(), found.limited) {
            (false, _) => "Not all paths examined, check warnings for details",
            (true, true) => "Limit of matches reached",
            (true, false) => "All paths examined",
        };
        let mut result = ModuleResult::ok()
            .with("msg", msg)
            .with("matched", found.files.len())
            .with("examined", found.examined)
            .with("files", found.files)
            .with("skipped_paths", found.skipped);
        result.warnings = found.warnings;
        result
    }
}

/// What a file's name must be like.
enum NamePattern {
    Glob(String),
    /// Matches from the beginning.
    Expression(Pattern),
}

impl NamePattern {
    fn new(text: &str, is_expression: bool) -> Result<NamePattern, ModuleError> {
        if !is_expression {
            return Ok(NamePattern::Glob(text.to_owned()));
        }
        let flags = Flags { multiline: false, dotall: true };
        Pattern::text_at_start(text, flags).map(NamePattern::Expression)
    }

    fn matches(&self, name: &str) -> Result<bool, ModuleError> {
        match self {
            NamePattern::Glob(glob) => Ok(fnmatch(glob, name)),
            NamePattern::Expression(pattern) => pattern.is_match(name.as_bytes()),
        }
    }
}

/// What a file must be like, read once.
struct Filter {
    patterns: Vec<NamePattern>,
    excludes: Vec<NamePattern>,
    contains: Option<Pattern>,
    encoding: Option<Encoding>,
    /// Seconds; at most if negative.
    age: Option<i64>,
    /// Bytes; at most if negative.
    size: Option<i64>,
    now: i64,
}

impl Filter {
    fn new(args: &FindArgs) -> Result<Filter, ModuleError> {
        let names = |texts: &[String]| -> Result<Vec<NamePattern>, ModuleError> {
            texts.iter().map(|text| NamePattern::new(text, args.use_regex)).collect()
        };
        let encoding = args.encoding.as_deref().map(Encoding::named).transpose().map_err(ModuleError::new)?;
        let contains = |text: &String| {
            let compile = match (encoding, args.read_whole_file) {
                (Some(_), true) => Pattern::text,
                (Some(_), false) => Pattern::text_at_start,
                (None, true) => Pattern::bytes,
                (None, false) => Pattern::bytes_at_start,
            };
            compile(text, Flags::default())
        };
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];
        let age = args
            .age
            .as_deref()
            .map(|age| number(age, &units).ok_or_else(|| ModuleError::new("failed to process age").with("age", age)));
        let units = [('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)];
        let size = args.size.as_deref().map(|size| {
            number(size, &units).ok_or_else(|| ModuleError::new("failed to process size").with("size", size))
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Filter {
            patterns: names(&args.patterns)?,
            excludes: names(&args.excludes)?,
            contains: args.contains.as_ref().map(contains).transpose()?,
            encoding,
            age: age.transpose()?,
            size: size.transpose()?,
            now: i64::try_from(now).unwrap_or(i64::MAX),
        })
    }

    fn accepts(&self, path: &Path, there: &Stat, args: &FindArgs) -> Result<bool, ModuleError> {
        let kind = kind_of(there);
        let is_wanted = match args.file_type {
            FileType::Any => true,
            FileType::Directory => kind == Kind::Directory,
            FileType::File => kind == Kind::File,
            FileType::Link => kind == Kind::Link,
        };
        if !is_wanted || !self.accepts_name(path, args)? || !self.accepts_age(there, args) {
            return Ok(false);
        }
        if !accepts_mode(there, args)? {
            return Ok(false);
        }
        if kind != Kind::File {
            return Ok(true);
        }
        let size = there.st_size;
        if !self.size.is_none_or(|wanted| if wanted < 0 { size <= -wanted } else { size >= wanted }) {
            return Ok(false);
        }
        self.accepts_content(path, args)
    }

    fn accepts_name(&self, path: &Path, args: &FindArgs) -> Result<bool, ModuleError> {
        let name = path.file_name().unwrap_or_default();
        if !args.hidden && name.as_bytes().starts_with(b".") {
            return Ok(false);
        }
        let name = name.to_string_lossy();
        let any = |patterns: &[NamePattern]| -> Result<bool, ModuleError> {
            for pattern in patterns {
                if pattern.matches(&name)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        Ok((self.patterns.is_empty() || any(&self.patterns)?) && !any(&self.excludes)?)
    }

    fn accepts_age(&self, there: &Stat, args: &FindArgs) -> bool {
        let Some(age) = self.age else { return true };
        let time: i64 = match args.age_stamp {
            AgeStamp::Access => field(there.st_atime),
            AgeStamp::Change => field(there.st_ctime),
            AgeStamp::Modification => field(there.st_mtime),
        };
        let old = self.now.saturating_sub(time);
        if age >= 0 { old >= age } else { old <= -age }
    }

    /// A file that cannot be read, or is no text in the encoding, contains nothing.
    fn accepts_content(&self, path: &Path, args: &FindArgs) -> Result<bool, ModuleError> {
        let Some(pattern) = &self.contains else { return Ok(true) };
        let Ok(mut file) = self.content(path) else { return Ok(false) };
        if args.read_whole_file {
            let mut content = Vec::new();
            return match file.read_to_end(&mut content) {
                Ok(_) => pattern.is_match(&content),
                Err(_) => Ok(false),
            };
        }
        let mut line = Vec::new();
        while matches!(file.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            if pattern.is_match(&line)? {
                return Ok(true);
            }
            line.clear();
        }
        Ok(false)
    }

    /// The text of a file: in UTF-8, or with no encoding given, as it is.
    fn content(&self, path: &Path) -> io::Result<Box<dyn BufRead>> {
        let mut file = BufReader::new(File::open(path)?.take(WHOLE_BYTES_MAX));
        let Some(encoding) = self.encoding else { return Ok(Box::new(file)) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = encoding.decode(&bytes).map_err(io::Error::other)?;
        Ok(Box::new(Cursor::new(text.into_bytes())))
    }
}

fn accepts_mode(there: &Stat, args: &FindArgs) -> Result<bool, ModuleError> {
    let Some(mode) = &args.mode else { return Ok(true) };
    let has = there.st_mode & PERMISSIONS;
    let wanted = applied(mode, 0, kind_of(there) == Kind::Directory)?;
    Ok(if args.exact_mode { has == wanted } else { has & wanted != 0 })
}

/// `-5m` with the units' factors.
fn number(text: &str, units: &[(char, i64)]) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, factor) = match units.iter().find(|(unit, _)| text.ends_with(*unit)) {
        Some((unit, factor)) => (text.strip_suffix(*unit)?, *factor),
        None => (text.as_str(), 1),
    };
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// Without steps that lead nowhere: `./a` is `a`.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|step| *step != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::run;
    use serde_json::json;
    use std::fs;

    #[test]
    fn content_may_be_text_in_another_encoding() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("latin"), b"x\n\xe9t\xe9\n").unwrap();
        fs::write(dir.path().join("utf-8"), "\u{e9}t\u{e9}\n").unwrap();
        let found = |more: serde_json::Value| {
            let mut args = json!({"paths": dir.path(), "contains": "\u{e9}t\\w$"});
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let result = run(&Find, args);
            let files = result.get("files").unwrap().as_list().unwrap().iter();
            files.map(|file| file.as_map().unwrap()["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let latin = vec![dir.path().join("latin").display().to_string()];
        assert_eq!(found(json!({"encoding": "latin-1"})), latin);
        assert_eq!(
            found(json!({"encoding": "iso-8859-1", "contains": "\u{e9}t\u{e9}", "read_whole_file": true})),
            latin
        );
        assert_eq!(found(json!({"encoding": "utf-8"})).len(), 1);
        assert!(run(&Find, json!({"paths": dir.path(), "encoding": "martian"})).msg().contains("unknown encoding"));
    }

    fn fixture() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir(dir.path().join(".hidden")).unwrap();
        for (name, content) in [
            ("one.conf", "foo=1\n"),
            ("two.txt", " foo\n"),
            (".dot", ""),
            ("a/f2", "12"),
            ("a/b/f3", ""),
            (".hidden/f4", ""),
        ] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        dir
    }

    /// The paths found, relative to the fixture.
    fn found(dir: &tempfile::TempDir, mut args: serde_json::Value) -> Vec<String> {
        args["paths"] = json!(dir.path());
        let result = run(&Find, args);
        assert!(!result.failed, "{result:?}");
        let files = result.get("files").unwrap().as_list().unwrap();
        let path = |file: &Value| file.as_map().unwrap()["path"].as_str().unwrap().to_owned();
        let base = format!("{}/", dir.path().display());
        files.iter().map(|file| path(file).strip_prefix(&base).unwrap().to_owned()).collect()
    }

    #[test]
    fn names_are_globs_or_expressions() {
        let dir = fixture();
        assert_eq!(found(&dir, json!({})), ["one.conf", "two.txt"]);
        assert_eq!(found(&dir, json!({"patterns": "*.conf,x*"})), ["one.conf"]);
        assert_eq!(found(&dir, json!({"patterns": "[!o]*", "hidden": true})), [".dot", "two.txt"]);
        assert_eq!(
            found(&dir, json!({"patterns": ["^.*\\.(conf|txt)$"], "use_regex": true, "excludes": "two"})),
            ["one.conf"]
        );
    }

    #[test]
    fn recursion_goes_as_deep_as_asked() {
        let dir = fixture();
        let all = found(&dir, json!({"recurse": true, "patterns": "f?"}));
        assert_eq!(all, [".hidden/f4", "a/f2", "a/b/f3"]);
        assert_eq!(found(&dir, json!({"recurse": true, "depth": 2, "patterns": "f[0-3]"})), ["a/f2"]);
        let followed = found(&dir, json!({"recurse": true, "follow": true, "patterns": "f2"}));
        assert_eq!(followed, ["a/f2", "link/f2"]);
    }

    #[test]
    fn types_sizes_ages_and_modes_are_told_apart() {
        let dir = fixture();
        assert_eq!(found(&dir, json!({"file_type": "directory"})), ["a"]);
        assert_eq!(found(&dir, json!({"file_type": "link"})), ["link"]);
        assert_eq!(found(&dir, json!({"size": "6b"})), ["one.conf"]);
        assert_eq!(found(&dir, json!({"size": "-5"})), ["two.txt"]);
        assert!(found(&dir, json!({"age": "1h"})).is_empty());
        assert_eq!(found(&dir, json!({"age": "-1h"})).len(), 2);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        fs::set_permissions(dir.path().join("two.txt"), mode).unwrap();
        assert_eq!(found(&dir, json!({"mode": "u=rw,g=r"})), ["two.txt"]);
        assert_eq!(run(&Find, json!({"paths": dir.path(), "size": "1x"})).msg(), "failed to process size");
    }

    #[test]
    fn content_is_looked_at_by_line_or_as_a_whole() {
        let dir = fixture();
        assert_eq!(found(&dir, json!({"contains": "foo"})), ["one.conf"]);
        assert_eq!(found(&dir, json!({"contains": "foo", "read_whole_file": true})), ["one.conf", "two.txt"]);
    }

    #[test]
    fn a_limit_ends_the_search_and_a_path_that_is_no_directory_is_skipped() {
        let dir = fixture();
        let result = run(&Find, json!({"paths": dir.path(), "limit": 1, "get_checksum": true}));
        assert_eq!((result.msg(), result.get("matched").unwrap().as_i64()), ("Limit of matches reached", Some(1)));
        assert!(result.get("files").unwrap().as_list().unwrap()[0].as_map().unwrap()["checksum"].as_str().is_some());
        let result = run(&Find, json!({"paths": "/no/such/dir"}));
        assert_eq!(result.msg(), "Not all paths examined, check warnings for details");
        assert_eq!(
            result.warnings,
            ["Skipped '/no/such/dir' path due to this access issue: '/no/such/dir' is not a directory"]
        );
    }

    #[test]
    fn what_is_found_is_named_without_steps_that_lead_nowhere() {
        for (path, shown) in [("./a", "a"), ("a/./b", "a/b"), ("../a", "../a"), ("/a/b", "/a/b")] {
            assert_eq!(plain(Path::new(path)), Path::new(shown));
        }
    }

    #[test]
    fn names_that_are_no_text_are_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"x\xff.log")), "").unwrap();
        assert_eq!(found(&dir, json!({"patterns": "*.log"})), ["x\u{fffd}.log"]);
    }
}
