//! `lineinfile`: a line is in a text file, or is not.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::files::attributes::FileAttributes;
use crate::files::directory;
use crate::files::pattern::{Flags, Pattern, Template};
use crate::files::text::{Rewrite, TextFile, trimmed};
use crate::module::{ArgError, Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

choices! {
    /// Whether the line shall be there.
    pub(crate) enum State { Absent = "absent", Present = "present" }
}

arguments! {
    pub(crate) struct LineInFileArgs {
        /// The file.
        path | "dest" | "destfile" | "name": PathBuf,
        /// Whether the line shall be there.
        state: State = State::Present,
        /// The line to replace, or those to remove: what this regular expression matches.
        regexp | "regex": Option<String>,
        /// The line to replace, or those to remove: what contains this text.
        search_string: Option<String>,
        /// The line.
        line | "value": Option<String>,
        /// Put the groups that `regexp` matched into the line (`\1`), and add no line if it matches nothing.
        backrefs: bool = false,
        /// Add the line after the last line that this matches, or at the end: `EOF`.
        insertafter: Option<String>,
        /// Add the line before the last line that this matches, or at the beginning: `BOF`.
        insertbefore: Option<String>,
        /// Make the file if it is not there.
        create: bool = false,
        /// Take the first line that matches instead of the last.
        firstmatch: bool = false,
        /// Keep a copy of the file as it was.
        backup: bool = false,
        /// A command that must accept the file (`%s`) before it is put in place.
        validate: Option<String>;
        flatten attributes: FileAttributes
    }
}

pub(super) struct LineInFile;

impl Module for LineInFile {
    type Args = LineInFileArgs;

    const NAME: &'static str = "ansible.builtin.lineinfile";
    const SUMMARY: &'static str = "Makes sure that a line is in a text file, or is not.";
    const SUPPORTS_DIFF: bool = true;
    const LISTS_DIFFS: bool = true;
    const IDEMPOTENT: bool = true;

    const EXCLUSIVE: &'static [&'static [&'static str]] =
        &[&["insertbefore", "insertafter"], &["regexp", "search_string"], &["backrefs", "search_string"]];

    fn check_args(args: &LineInFileArgs) -> Result<(), ArgError> {
        let rule = |text: &str| Err(ArgError::Rule(text.to_owned()));
        match args.state {
            State::Present if args.backrefs && args.regexp.is_none() => rule("regexp is required with backrefs=true"),
            State::Present if args.line.is_none() => rule("line is required with state=present"),
            State::Absent if args.line.is_none() && args.regexp.is_none() && args.search_string.is_none() => {
                rule("one of line, search_string, or regexp is required with state=absent")
            }
            _ => Ok(()),
        }
    }

    fn run(&self, args: LineInFileArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let file = TextFile::open(&args.path)?;
        let rewrite = Rewrite {
            attributes: &args.attributes,
            backup: args.backup,
            validate: args.validate.as_deref(),
            shows_parts: true,
        };
        if args.state == State::Absent {
            if !file.exists() {
                return Ok(ModuleResult::ok().with("msg", "file not present"));
            }
            let (content, found) = removed(&file, &Matcher::new(&args)?)?;
            let done = rewrite.write(file, &content, cx)?;
            let backup = done.backup.clone();
            let result = done.into_result(&format!("{found} line(s) removed")).with("found", found);
            return Ok(with_backup(result, backup));
        }
        if !file.exists() {
            if !args.create {
                let why = format!("Destination {} does not exist !", args.path.display());
                return Err(ModuleError::new(why).with("rc", 257));
            }
            if let Some(parent) = args.path.parent() {
                directory::make(parent, &Default::default(), cx.check)?;
            }
        }
        let (content, what) = present(&file, &Matcher::new(&args)?, &args)?;
        let done = rewrite.write(file, &content, cx)?;
        let backup = done.backup.clone();
        let mut result = with_backup(done.into_result(what), backup);
        result.warnings.extend(matching_all(&args));
        Ok(result)
    }
}

/// A warning of what matches every line, in Ansible's words.
fn matching_all(args: &LineInFileArgs) -> Option<String> {
    const BUT: &str = "which will match every line in the file. This may have unintended consequences, such as replacing \
                       the last line in the file rather than appending.";
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    if is_empty(&args.regexp) {
        let advice = "If this is desired, use '^' to match every line in the file and avoid this warning.";
        return Some(format!("The regular expression is an empty string, {BUT} {advice}"));
    }
    is_empty(&args.search_string).then(|| format!("The search string is an empty string, {BUT}"))
}

/// `backup` is always there, as in Ansible: empty if none was made.
fn with_backup(result: ModuleResult, backup: Option<PathBuf>) -> ModuleResult {
    result.with("backup", backup.map(|path| path.display().to_string()).unwrap_or_default())
}

/// Tells the lines that the task is about.
enum Matcher {
    Regexp(Pattern),
    Contains(Vec<u8>),
    Line(Vec<u8>),
}

impl Matcher {
    fn new(args: &LineInFileArgs) -> Result<Matcher, ModuleError> {
        Ok(match (&args.regexp, &args.search_string, &args.line) {
            (Some(regexp), ..) => Matcher::Regexp(Pattern::bytes(regexp, Flags::default())?),
            (None, Some(text), _) => Matcher::Contains(text.clone().into_bytes()),
            (None, None, line) => Matcher::Line(line.clone().unwrap_or_default().into_bytes()),
        })
    }

    fn matches(&self, line: &[u8]) -> Result<bool, ModuleError> {
        match self {
            Matcher::Regexp(pattern) => pattern.is_match(line),
            Matcher::Contains(text) => Ok(contains(line, text)),
            Matcher::Line(wanted) => Ok(trimmed(line) == wanted),
        }
    }
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|window| window == text)
}

/// What is left without the lines that match, and how many those were.
fn removed(file: &TextFile, matcher: &Matcher) -> Result<(Vec<u8>, usize), ModuleError> {
    let (mut content, mut found) = (Vec::with_capacity(file.content.len()), 0);
    for line in file.lines() {
        if matcher.matches(line)? {
            found += 1;
        } else {
            content.extend_from_slice(line);
        }
    }
    Ok((content, found))
}

/// The content with the line in it, and Ansible's word for how it came there.
fn present(file: &TextFile, matcher: &Matcher, args: &LineInFileArgs) -> Result<(Vec<u8>, &'static str), ModuleError> {
    let lines = file.lines();
    let anchor = Anchor::of(args)?;
    let line = args.line.as_deref().unwrap_or_default();
    let position = match position(&lines, args.firstmatch, |line| matcher.matches(line))? {
        Some(at) => Some(at),
        // The line itself may be there although nothing matches, and then nothing is to do.
        None => lines.iter().position(|there| trimmed(there) == line.as_bytes()).filter(|_| !args.backrefs),
    };
    if let Some(at) = position {
        let mut new = match matcher {
            Matcher::Regexp(pattern) if args.backrefs => expanded(pattern, lines[at], line)?,
            _ => line.as_bytes().to_vec(),
        };
        if !new.ends_with(b"\n") {
            new.push(b'\n');
        }
        return Ok((joined(&[&lines[..at], &[&new], &lines[at + 1..]]), "line replaced"));
    }
    if args.backrefs {
        return Ok((file.content.clone(), ""));
    }
    let at = anchor.find(&lines, args.firstmatch)?;
    let (before, after) = lines.split_at(at);
    let end: &[u8] = if before.last().is_some_and(|last| !last.ends_with(b"\n")) { b"\n" } else { b"" };
    Ok((joined(&[before, &[end, line.as_bytes(), b"\n"], after]), "line added"))
}

/// The first line or, unless `first`, the last one that matches.
fn position(
    lines: &[&[u8]],
    first: bool,
    matches: impl Fn(&[u8]) -> Result<bool, ModuleError>,
) -> Result<Option<usize>, ModuleError> {
    let mut found = None;
    for (at, line) in lines.iter().enumerate() {
        if matches(line)? {
            found = Some(at);
            if first {
                break;
            }
        }
    }
    Ok(found)
}

fn expanded(pattern: &Pattern, matched: &[u8], line: &str) -> Result<Vec<u8>, ModuleError> {
    let mut new = Vec::new();
    if let Some(captures) = pattern.captures(matched)? {
        Template::parse(line, pattern)?.expand(&captures, &mut new);
    }
    Ok(new)
}

/// Where a new line goes.
enum Anchor {
    Begin,
    End,
    /// So many lines behind the one that matches; at the end if none does.
    Line(Pattern, usize),
}

impl Anchor {
    fn of(args: &LineInFileArgs) -> Result<Anchor, ModuleError> {
        let (anchor, behind) = match (args.insertbefore.as_deref(), args.insertafter.as_deref()) {
            (Some("BOF"), _) | (_, Some("BOF")) => return Ok(Anchor::Begin),
            (None, None | Some("EOF")) | (Some("EOF"), _) => return Ok(Anchor::End),
            (Some(anchor), _) => (anchor, 0),
            (None, Some(anchor)) => (anchor, 1),
        };
        Ok(Anchor::Line(Pattern::bytes(anchor, Flags::default())?, behind))
    }

    fn find(&self, lines: &[&[u8]], first: bool) -> Result<usize, ModuleError> {
        Ok(match self {
            Anchor::Begin => 0,
            Anchor::End => lines.len(),
            Anchor::Line(pattern, behind) => {
                let found = position(lines, first, |line| pattern.is_match(line))?;
                found.map_or(lines.len(), |at| at + behind)
            }
        })
    }
}

fn joined(parts: &[&[&[u8]]]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.iter()).flat_map(|line| line.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use rustle_protocol::Value;
    use serde_json::json;
    use std::fs;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    fn file(content: impl AsRef<[u8]>) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        Fixture { _dir: dir, path }
    }

    /// Runs with `args`, runs again to see that nothing changes, and gives back the content.
    fn after(content: &str, mut args: serde_json::Value) -> String {
        let fixture = file(content);
        args["path"] = json!(fixture.path);
        let first = run(&LineInFile, args.clone());
        assert!(!first.failed, "{first:?}");
        let once = fs::read_to_string(&fixture.path).unwrap();
        assert_eq!(first.changed, once != content);
        let second = run(&LineInFile, args);
        assert!(!second.changed, "{second:?}");
        once
    }

    #[test]
    fn the_last_matching_line_is_replaced_or_the_first_if_asked() {
        assert_eq!(after("a=1\nb=2\na=3\n", json!({"regexp": "^b=", "line": "b=9"})), "a=1\nb=9\na=3\n");
        let args = json!({"regexp": "^a=", "line": "a=9"});
        assert_eq!(after("a=1\nb=2\na=3\n", args), "a=1\nb=2\na=9\n");
        let args = json!({"regexp": "^a=", "line": "a=9", "firstmatch": true});
        assert_eq!(after("a=1\nb=2\na=3\n", args), "a=9\nb=2\na=3\n");
        assert_eq!(after("one\ntwo\n", json!({"search_string": "ne", "line": "1"})).lines().next(), Some("1"));
    }

    #[test]
    fn a_new_line_goes_to_the_end_or_to_its_anchor() {
        assert_eq!(after("a\nb", json!({"line": "c"})), "a\nb\nc\n");
        assert_eq!(after("", json!({"line": "c"})), "c\n");
        assert_eq!(after("a\nb\n", json!({"line": "c", "insertbefore": "BOF"})), "c\na\nb\n");
        assert_eq!(after("a\nb\na\nb\n", json!({"line": "c", "insertafter": "^a"})), "a\nb\na\nc\nb\n");
        assert_eq!(
            after("a\nb\na\nb\n", json!({"line": "c", "insertbefore": "^b", "firstmatch": true})),
            "a\nc\nb\na\nb\n"
        );
        assert_eq!(after("a\nb\n", json!({"line": "c", "insertafter": "^none"})), "a\nb\nc\n");
    }

    #[test]
    fn a_line_that_is_there_is_enough_even_if_the_expression_matches_nothing() {
        assert_eq!(
            after("x\nline\ny\n", json!({"regexp": "^foo", "line": "line", "insertafter": "^y"})),
            "x\nline\ny\n"
        );
        assert_eq!(after("a\nb", json!({"regexp": "^b", "line": "b"})), "a\nb\n", "the end of the last line is mended");
    }

    #[test]
    fn groups_go_into_the_line_and_no_match_adds_nothing() {
        let args = json!({"regexp": r"^(\w+)=\d$", "line": r"\1=\g<1>x", "backrefs": true});
        assert_eq!(after("k=1\n", args.clone()), "k=kx\n");
        assert_eq!(after("other\n", args), "other\n");
    }

    #[test]
    fn lines_are_removed_by_expression_text_or_themselves() {
        assert_eq!(after("a\nb\na\n", json!({"line": "a", "state": "absent"})), "b\n");
        assert_eq!(after("a1\nb\na2\n", json!({"regexp": "^a", "state": "absent"})), "b\n");
        assert_eq!(after("a1\nb\na2\n", json!({"search_string": "a2", "state": "absent"})), "a1\nb\n");
        let fixture = file("a\na\n");
        let result = run(&LineInFile, json!({"path": &fixture.path, "line": "a", "state": "absent"}));
        assert_eq!((result.msg(), result.get("found").unwrap().as_i64()), ("2 line(s) removed", Some(2)));
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let fixture = file(b"\xff\xfe\nkey=\xe9\n");
        run(&LineInFile, json!({"path": &fixture.path, "regexp": "^new=", "line": "new=1"}));
        assert_eq!(fs::read(&fixture.path).unwrap(), b"\xff\xfe\nkey=\xe9\nnew=1\n");
    }

    #[test]
    fn check_mode_shows_the_line_and_writes_nothing() {
        let fixture = file("a\n");
        let result = check(&LineInFile, json!({"path": &fixture.path, "line": "b", "backup": true}));
        assert!(result.changed);
        assert_eq!((result.diff[0].after.as_str(), result.msg()), (Some("a\nb\n"), "line added"));
        assert_eq!(fs::read(&fixture.path).unwrap(), b"a\n");
        assert_eq!(fs::read_dir(fixture.path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_made_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none/file");
        let result = run(&LineInFile, json!({"path": &path, "line": "a"}));
        assert_eq!(result.msg(), format!("Destination {} does not exist !", path.display()));
        assert_eq!(result.get("rc").unwrap().as_i64(), Some(257));
        assert_eq!(run(&LineInFile, json!({"path": &path, "line": "a", "state": "absent"})).msg(), "file not present");
        let args = json!({"path": &path, "line": "a", "create": true, "mode": "0600"});
        assert!(check(&LineInFile, args.clone()).changed && !dir.path().join("none").exists());
        let result = run(&LineInFile, args.clone());
        assert_eq!(result.msg(), "line added and ownership, perms or SE linux context changed");
        assert!(!run(&LineInFile, args).changed);
    }

    #[test]
    fn the_file_a_link_leads_to_is_changed_and_the_link_stays() {
        let fixture = file("a\n");
        let link = fixture.path.with_file_name("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert!(run(&LineInFile, json!({"path": &link, "line": "b"})).changed);
        assert!(link.is_symlink());
        assert_eq!(fs::read(&fixture.path).unwrap(), b"a\nb\n");
    }

    #[test]
    fn a_backup_and_a_failed_validation_are_told() {
        let fixture = file("a\n");
        let result = run(&LineInFile, json!({"path": &fixture.path, "line": "b", "backup": true}));
        assert_eq!(fs::read(result.get("backup").and_then(Value::as_str).unwrap()).unwrap(), b"a\n");
        let result = run(&LineInFile, json!({"path": &fixture.path, "line": "c", "validate": "false %s"}));
        assert_eq!(result.msg(), "failed to validate: rc:1 error:");
        assert_eq!(fs::read(&fixture.path).unwrap(), b"a\nb\n");
    }

    #[test]
    fn arguments_that_do_not_go_together_are_refused() {
        for (args, why) in [
            (json!({"path": "/f", "regexp": "x"}), "line is required with state=present"),
            (json!({"path": "/f", "line": "x", "backrefs": true}), "regexp is required with backrefs=true"),
            (
                json!({"path": "/f", "state": "absent"}),
                "one of line, search_string, or regexp is required with state=absent",
            ),
            (
                json!({"path": "/f", "line": "x", "insertafter": "a", "insertbefore": "b"}),
                "parameters are mutually exclusive: insertbefore|insertafter",
            ),
        ] {
            assert_eq!(run(&LineInFile, args).msg(), why);
        }
        let fixture = file("");
        let result = run(&LineInFile, json!({"path": &fixture.path, "regexp": "a(", "line": "a"}));
        assert!(result.msg().ends_with("missing ), unterminated subpattern at position 1"), "{result:?}");
    }
}
