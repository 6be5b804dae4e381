//! `blockinfile`: lines between two marker lines, kept as the task has them.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::files::attributes::FileAttributes;
use crate::files::directory;
use crate::files::pattern::{Flags, Pattern};
use crate::files::text::{Rewrite, TextFile, trimmed};
use crate::module::{Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

choices! {
    /// Whether the block shall be there.
    pub(crate) enum State { Present = "present", Absent = "absent" }
}

arguments! {
    pub(crate) struct BlockInFileArgs {
        /// The file.
        path | "dest" | "destfile" | "name": PathBuf,
        /// Whether the block shall be there.
        state: State = State::Present,
        /// The lines between the markers. An empty block is one that shall not be there.
        block | "content": String = String::new(),
        /// The marker line; `{mark}` becomes `marker_begin` or `marker_end`.
        marker: String = "# {mark} ANSIBLE MANAGED BLOCK".into(),
        /// What stands for `{mark}` at the beginning.
        marker_begin: String = "BEGIN".into(),
        /// What stands for `{mark}` at the end.
        marker_end: String = "END".into(),
        /// Put a new block after the last line that this matches, or at the end: `EOF`.
        insertafter: Option<String>,
        /// Put a new block before the last line that this matches, or at the beginning: `BOF`.
        insertbefore: Option<String>,
        /// Make the file if it is not there.
        create: bool = false,
        /// Have an empty line after a block.
        append_newline: bool = false,
        /// Have an empty line before a block.
        prepend_newline: bool = false,
        /// Keep a copy of the file as it was.
        backup: bool = false,
        /// A command that must accept the file (`%s`) before it is put in place.
        validate: Option<String>;
        flatten attributes: FileAttributes
    }
}

pub(super) struct BlockInFile;

impl Module for BlockInFile {
    type Args = BlockInFileArgs;

    const NAME: &'static str = "ansible.builtin.blockinfile";
    const SUMMARY: &'static str = "Keeps lines between two markers in a text file.";
    const SUPPORTS_DIFF: bool = true;
    const LISTS_DIFFS: bool = true;
    const IDEMPOTENT: bool = true;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["insertbefore", "insertafter"]];

    fn run(&self, args: BlockInFileArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let file = TextFile::open(&args.path)?;
        if !file.exists() && !args.create {
            let why = format!("Path {} does not exist !", args.path.display());
            return Err(ModuleError::new(why).with("rc", 257));
        }
        let present = args.state == State::Present && !args.block.is_empty();
        let lines = file.lines();
        let content = if present { with_block(&lines, &args)? } else { without_block(&lines, &args) };
        if !file.exists() && !present {
            return Ok(ModuleResult::ok().with("msg", format!("File {} not present", args.path.display())));
        }
        if let Some(parent) = args.path.parent().filter(|_| !file.exists()) {
            directory::make(parent, &Default::default(), cx.check)?;
        }
        let what = match (present, file.exists()) {
            (true, true) => "Block inserted",
            (true, false) => "File created",
            (false, _) => "Block removed",
        };
        let rewrite = Rewrite {
            attributes: &args.attributes,
            backup: args.backup,
            validate: args.validate.as_deref(),
            shows_parts: true,
        };
        let done = rewrite.write(file, &content, cx)?;
        let backup = done.backup.clone();
        let mut result = done.into_result(what);
        if let Some(path) = backup {
            result.set("backup_file", path.display().to_string());
        }
        Ok(result)
    }
}

/// The marker lines, without their ends.
fn markers(args: &BlockInFileArgs) -> (String, String) {
    let marker = |mark: &str| args.marker.replace("{mark}", mark);
    (marker(&args.marker_begin), marker(&args.marker_end))
}

/// The lines of the block that is there, both markers included: the last one, if there are several.
fn found(lines: &[&[u8]], args: &BlockInFileArgs) -> Option<std::ops::Range<usize>> {
    let (begin, end) = markers(args);
    let last = |marker: &str| lines.iter().rposition(|line| trimmed(line) == marker.as_bytes());
    match (last(&begin)?, last(&end)?) {
        (begin, end) if begin <= end => Some(begin..end + 1),
        // A block that ends before it begins: what lies between the two goes.
        (begin, end) => Some(end..begin + 1),
    }
}

fn without_block(lines: &[&[u8]], args: &BlockInFileArgs) -> Vec<u8> {
    match found(lines, args) {
        Some(block) => [&lines[..block.start], &lines[block.end..]].concat().concat(),
        None => lines.concat(),
    }
}

fn with_block(lines: &[&[u8]], args: &BlockInFileArgs) -> Result<Vec<u8>, ModuleError> {
    // Looked for in any case: a pattern that is none is told although the block is there.
    let insertion = insertion(lines, args)?;
    let (before, after) = match found(lines, args) {
        Some(block) => (&lines[..block.start], &lines[block.end..]),
        None => lines.split_at(insertion),
    };
    let (begin, end) = markers(args);
    let mut content = before.concat();
    if content.last().is_some_and(|byte| *byte != b'\n') {
        content.push(b'\n');
    }
    let blank = |line: &[u8]| trimmed(line).is_empty();
    if args.prepend_newline && before.last().is_some_and(|line| !blank(line)) {
        content.push(b'\n');
    }
    let end_of_block = if args.block.ends_with('\n') { "" } else { "\n" };
    content.extend_from_slice(format!("{begin}\n{}{end_of_block}{end}\n", args.block).as_bytes());
    if args.append_newline && after.first().is_some_and(|line| !blank(line)) {
        content.push(b'\n');
    }
    content.extend(after.concat());
    Ok(content)
}

/// Where a new block goes: by the anchor, and at the end if there is none or it matches nothing.
fn insertion(lines: &[&[u8]], args: &BlockInFileArgs) -> Result<usize, ModuleError> {
    let (anchor, behind) = match (args.insertbefore.as_deref(), args.insertafter.as_deref()) {
        (Some("BOF"), _) | (_, Some("BOF")) => return Ok(0),
        (None, None | Some("EOF")) | (Some("EOF"), _) => return Ok(lines.len()),
        (Some(anchor), _) => (anchor, 0),
        (None, Some(anchor)) => (anchor, 1),
    };
    let anchor = Pattern::bytes(anchor, Flags::default())?;
    for (at, line) in lines.iter().enumerate().rev() {
        if anchor.is_match(line)? {
            return Ok(at + behind);
        }
    }
    Ok(lines.len())
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

    /// Runs with `args`, runs again to see that nothing changes, and gives back the content.
    fn after(content: &str, mut args: serde_json::Value) -> String {
        let (_dir, path) = file(content);
        args["path"] = json!(path);
        let first = run(&BlockInFile, args.clone());
        assert!(!first.failed, "{first:?}");
        let once = fs::read_to_string(&path).unwrap();
        assert_eq!(first.changed, once != content);
        assert!(!run(&BlockInFile, args).changed);
        once
    }

    const BLOCK: &str = "# BEGIN ANSIBLE MANAGED BLOCK\nq\n# END ANSIBLE MANAGED BLOCK\n";

    #[test]
    fn a_block_is_added_at_its_place() {
        assert_eq!(after("a\nb", json!({"block": "q"})), format!("a\nb\n{BLOCK}"));
        assert_eq!(after("a\nb\n", json!({"block": "q\n", "insertafter": "^a"})), format!("a\n{BLOCK}b\n"));
        assert_eq!(after("a\nb\n", json!({"block": "q", "insertbefore": "BOF"})), format!("{BLOCK}a\nb\n"));
        assert_eq!(after("a\nb\n", json!({"block": "q", "insertbefore": "^none"})), format!("a\nb\n{BLOCK}"));
    }

    #[test]
    fn a_block_that_is_there_is_changed_where_it_is() {
        let before = "a\n# BEGIN ANSIBLE MANAGED BLOCK\nold\nlines\n# END ANSIBLE MANAGED BLOCK\nb\n";
        assert_eq!(after(before, json!({"block": "q", "insertafter": "EOF"})), format!("a\n{BLOCK}b\n"));
    }

    #[test]
    fn an_absent_or_empty_block_goes_with_its_markers() {
        let before = format!("a\n{BLOCK}b\n");
        assert_eq!(after(&before, json!({"block": "q", "state": "absent"})), "a\nb\n");
        assert_eq!(after(&before, json!({"block": ""})), "a\nb\n");
    }

    #[test]
    fn a_lonely_marker_is_no_block() {
        let begin = "# BEGIN ANSIBLE MANAGED BLOCK\nx\n";
        let (_dir, path) = file(begin);
        run(&BlockInFile, json!({"path": &path, "block": "q"}));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{begin}{BLOCK}"));
    }

    #[test]
    fn markers_and_empty_lines_are_as_asked() {
        let args = json!({"block": "q", "marker": "; {mark} x", "marker_begin": "B", "marker_end": "E", "insertafter": "^a",
                          "append_newline": true, "prepend_newline": true});
        assert_eq!(after("a\nb\n", args.clone()), "a\n\n; B x\nq\n; E x\n\nb\n");
        let mut args = args;
        args["insertafter"] = json!("EOF");
        assert_eq!(after("", args), "; B x\nq\n; E x\n");
    }

    #[test]
    fn check_mode_and_messages() {
        let (dir, path) = file(b"\xff\n");
        let result = check(&BlockInFile, json!({"path": &path, "block": "q"}));
        assert!(result.changed && result.msg() == "Block inserted");
        assert_eq!(fs::read(&path).unwrap(), b"\xff\n");
        run(&BlockInFile, json!({"path": &path, "block": "q"}));
        assert!(fs::read(&path).unwrap().starts_with(b"\xff\n# BEGIN"), "bytes that are no text stay");
        let none = dir.path().join("none");
        let result = run(&BlockInFile, json!({"path": &none, "block": "q"}));
        assert_eq!(result.msg(), format!("Path {} does not exist !", none.display()));
        let result = run(&BlockInFile, json!({"path": &none, "block": "q", "create": true}));
        assert_eq!((result.msg(), fs::read_to_string(&none).unwrap().as_str()), ("File created", BLOCK));
        let below = dir.path().join("a/b/none");
        assert!(check(&BlockInFile, json!({"path": &below, "block": "q", "create": true})).changed);
        assert!(!dir.path().join("a").exists());
        run(&BlockInFile, json!({"path": &below, "block": "q", "create": true}));
        assert_eq!(fs::read_to_string(&below).unwrap(), BLOCK, "what is above it is made, too");
    }

    #[test]
    fn a_backup_is_kept() {
        let (_dir, path) = file("a\n");
        let result = run(&BlockInFile, json!({"path": &path, "block": "q", "backup": true}));
        assert_eq!(fs::read(result.get("backup_file").unwrap().as_str().unwrap()).unwrap(), b"a\n");
    }
}
