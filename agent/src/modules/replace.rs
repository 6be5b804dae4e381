//! `replace`: every match of a regular expression in a file becomes another text.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::encoding::Encoding;
use crate::files::attributes::FileAttributes;
use crate::files::pattern::{BadTemplate, Flags, Pattern, Template};
use crate::files::text::{Rewrite, TextFile};
use crate::module::{Module, ModuleContext, ModuleError};

arguments! {
    pub(crate) struct ReplaceArgs {
        /// The file.
        path | "dest" | "destfile" | "name": PathBuf,
        /// What to replace: a regular expression over the whole text, in which `^` and `$` are the ends of lines.
        regexp: String,
        /// What to put there; `\1` and `\g<name>` stand for groups. Nothing, if it is left out.
        replace: String = String::new(),
        /// Replace only behind what this matches first.
        after: Option<String>,
        /// Replace only in front of what this matches.
        before: Option<String>,
        /// How the file's text is written: UTF-8, UTF-16, UTF-32, ASCII or Latin-1. What is not UTF-8 is left alone in it.
        encoding: String = "utf-8".into(),
        /// Keep a copy of the file as it was.
        backup: bool = false,
        /// A command that must accept the file (`%s`) before it is put in place.
        validate: Option<String>;
        flatten attributes: FileAttributes
    }
}

pub(super) struct Replace;

impl Module for Replace {
    type Args = ReplaceArgs;

    const NAME: &'static str = "ansible.builtin.replace";
    const SUMMARY: &'static str = "Replaces every match of a regular expression in a file.";
    const SUPPORTS_DIFF: bool = true;
    /// A replacement may match again.
    const IDEMPOTENT: bool = false;

    fn run(&self, args: ReplaceArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let encoding = Encoding::named(&args.encoding).map_err(ModuleError::broke_off)?;
        let expressions = expressions(&args);
        // Of what cannot be read and could not be worked on anyway the second is told.
        let file = match TextFile::open_in(&args.path, encoding) {
            Ok(file) => file,
            Err(error) => return Err(expressions.err().unwrap_or(error)),
        };
        if !file.exists() {
            let why = format!("Path {} does not exist !", args.path.display());
            return Err(ModuleError::new(why).with("rc", 257));
        }
        let section = match section(&file.content, &args)? {
            Section::Found(range) => range,
            Section::None(pattern) => {
                let msg = format!("Pattern for before/after params did not match the given file: {pattern}");
                return Ok(ModuleResult::ok().with("msg", msg).with("rc", 0));
            }
        };
        let (pattern, template) = expressions?;
        let (middle, count) = pattern.substitute(&file.content[section.clone()], &template)?;
        let content = [&file.content[..section.start], &middle, &file.content[section.end..]].concat();
        let rewrite = Rewrite {
            attributes: &args.attributes,
            backup: args.backup,
            validate: args.validate.as_deref(),
            shows_parts: false,
        };
        let done = rewrite.write(file, &content, cx)?;
        let backup = done.backup.clone();
        let mut result = done.into_result(&format!("{count} replacements made")).with("rc", 0);
        if let Some(path) = backup {
            result.set("backup_file", path.display().to_string());
        }
        Ok(result)
    }
}

/// What is looked for, and what is put in its place.
fn expressions(args: &ReplaceArgs) -> Result<(Pattern, Template), ModuleError> {
    let pattern = Pattern::text(&args.regexp, Flags { multiline: true, dotall: false })?;
    let template = Template::parse(&args.replace, &pattern).map_err(|bad| match bad {
        BadTemplate::Syntax(why) => ModuleError::new(format!("Unable to process replace due to error: {why}")),
        other => other.into(),
    })?;
    Ok((pattern, template))
}

enum Section {
    Found(std::ops::Range<usize>),
    /// Nothing matched this.
    None(String),
}

/// The part of the text that is looked at.
fn section(content: &[u8], args: &ReplaceArgs) -> Result<Section, ModuleError> {
    let pattern = match (args.after.as_deref(), args.before.as_deref()) {
        (None, None) => return Ok(Section::Found(0..content.len())),
        (Some(after), Some(before)) => format!("{after}(?P<subsection>.*?){before}"),
        (Some(after), None) => format!("{after}(?P<subsection>.*)"),
        (None, Some(before)) => format!("(?P<subsection>.*){before}"),
    };
    let compiled = Pattern::text(&pattern, Flags { multiline: false, dotall: true })?;
    let captures = compiled.captures(content)?;
    let found = captures.as_ref().and_then(|captures| captures.name("subsection"));
    Ok(found.map_or(Section::None(pattern), |found| Section::Found(found.range())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;
    use std::fs;

    fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    fn after(content: &str, mut args: serde_json::Value) -> (String, ModuleResult) {
        let (_dir, path) = file(content);
        args["path"] = json!(path);
        let result = run(&Replace, args);
        (fs::read_to_string(&path).unwrap(), result)
    }

    #[test]
    fn every_match_is_replaced_and_counted() {
        let (text, result) = after("one\ntwo one\n", json!({"regexp": "^(o)ne$", "replace": r"\1NE"}));
        assert_eq!((text.as_str(), result.msg()), ("oNE\ntwo one\n", "1 replacements made"));
        let (text, result) = after("one one\n", json!({"regexp": "one"}));
        assert_eq!((text.as_str(), result.msg()), (" \n", "2 replacements made"));
        let (_, result) = after("one\n", json!({"regexp": "none"}));
        assert_eq!((result.changed, result.msg(), result.get("rc").unwrap().as_i64()), (false, "", Some(0)));
    }

    #[test]
    fn a_wrong_replacement_is_told_though_the_file_could_not_be_changed() {
        let result = run(&Replace, json!({"path": "/dev/null", "regexp": "a", "replace": "\\D"}));
        assert!(result.msg().starts_with("Unable to process replace due to error: bad escape"), "{}", result.msg());
        assert!(run(&Replace, json!({"path": "/dev/null", "regexp": "a"})).msg().contains("no regular file"));
    }

    #[test]
    fn only_the_part_between_after_and_before_is_looked_at() {
        let text = "x\n[a]\nx\n[b]\nx\n";
        let section = json!({"regexp": "x", "replace": "y", "after": r"\[a\]", "before": r"\[b\]"});
        assert_eq!(after(text, section).0, "x\n[a]\ny\n[b]\nx\n");
        assert_eq!(after(text, json!({"regexp": "x", "replace": "y", "after": r"\[b\]"})).0, "x\n[a]\nx\n[b]\ny\n");
        assert_eq!(after(text, json!({"regexp": "x", "replace": "y", "before": r"\[a\]"})).0, "y\n[a]\nx\n[b]\nx\n");
        let (_, result) = after(text, json!({"regexp": "x", "after": "nope"}));
        assert_eq!(
            result.msg(),
            "Pattern for before/after params did not match the given file: nope(?P<subsection>.*)"
        );
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let (_dir, path) = file(b"\xff one \xfe\n");
        run(&Replace, json!({"path": &path, "regexp": "one", "replace": "1"}));
        assert_eq!(fs::read(&path).unwrap(), b"\xff 1 \xfe\n");
    }

    #[test]
    fn text_in_another_encoding_stays_in_it() {
        let (_dir, path) = file(b"\xe9t\xe9\n");
        let args =
            |name: &str, new: &str| json!({"path": &path, "regexp": "t\u{e9}", "replace": new, "encoding": name});
        let result = check(&Replace, args("latin-1", "\u{e0}"));
        assert_eq!(result.diff[0].after.as_str(), Some("\u{e9}\u{e0}\n"));
        assert!(run(&Replace, args("latin-1", "\u{6f22}")).msg().contains("codec can't encode"));
        assert!(run(&Replace, args("ascii", "")).failed && run(&Replace, args("martian", "")).failed);
        assert!(run(&Replace, args("latin-1", "\u{e0}")).changed);
        assert_eq!(fs::read(&path).unwrap(), b"\xe9\xe0\n");
    }

    #[test]
    fn check_mode_shows_what_would_be_and_a_backup_keeps_what_was() {
        let (_dir, path) = file("one\n");
        let args = json!({"path": &path, "regexp": "one", "replace": "1", "backup": true});
        let result = check(&Replace, args.clone());
        assert!(result.changed && fs::read(&path).unwrap() == b"one\n");
        assert_eq!(result.diff[0].after.as_str(), Some("1\n"));
        let result = run(&Replace, args);
        assert_eq!(fs::read(result.get("backup_file").unwrap().as_str().unwrap()).unwrap(), b"one\n");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let result = run(&Replace, json!({"path": "/no/such/file", "regexp": "a"}));
        assert_eq!((result.msg(), result.failed), ("Path /no/such/file does not exist !", true));
    }
}
