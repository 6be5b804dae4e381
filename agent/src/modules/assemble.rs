//! `assemble`: the files of a directory, in the order of their names, as one file.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::arguments;
use crate::files::attributes::FileAttributes;
use crate::files::checksum::Algorithm;
use crate::files::node;
use crate::files::pattern::{Flags, Pattern};
use crate::files::place::{Placement, Source, place};
use crate::files::users::Users;
use crate::module::{Doing, Module, ModuleContext, ModuleError};

/// Largest file assembled: it is held in memory.
const ASSEMBLED_BYTES_MAX: u64 = 256 * 1024 * 1024;

arguments! {
    pub(crate) struct AssembleArgs {
        /// The directory of fragments.
        src: PathBuf,
        /// The file to make of them.
        dest: PathBuf,
        /// What to put between two fragments.
        delimiter: Option<String>,
        /// Take only fragments whose name this regular expression matches.
        regexp: Option<String>,
        /// Leave out fragments whose name begins with a dot.
        ignore_hidden: bool = false,
        /// The fragments are on this host. Those of the controller are assembled there.
        remote_src: bool = true,
        /// Decrypt fragments that are in a vault. Done by the controller.
        decrypt: bool = true,
        /// Keep a copy of a file that is replaced.
        backup: bool = false,
        /// A command that must accept the file (`%s`) before it is put in place.
        validate: Option<String>;
        flatten attributes: FileAttributes
    }
}

pub(super) struct Assemble;

impl Module for Assemble {
    type Args = AssembleArgs;

    const NAME: &'static str = "ansible.builtin.assemble";
    const SUMMARY: &'static str = "Makes one file of many.";
    const SUPPORTS_DIFF: bool = true;
    const IDEMPOTENT: bool = true;

    fn run(&self, args: AssembleArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        // The controller has decrypted what it sent; here is nothing of a vault.
        let _ = args.decrypt;
        if !args.remote_src {
            return Err(ModuleError::new(
                "src is a directory of the controller: the agent assembles its own host's only",
            ));
        }
        let users = Users::new(cx.cancel);
        let content = assembled(&args, cx)?;
        let (checksum, md5) = (Algorithm::Sha1.of_bytes(&content), Algorithm::Md5.of_bytes(&content));
        let how = Placement {
            wanted: args.attributes.resolve(&users)?,
            fresh_mode: None,
            backup: args.backup,
            force: true,
            validate: args.validate.as_deref(),
            unsafe_writes: args.attributes.unsafe_writes,
        };
        let placed = place(&Source::Bytes(content), &args.dest, &how, cx)?;
        let mut result = ModuleResult::changed(placed.changed())
            .with("msg", "OK")
            .with("src", args.src.display().to_string())
            .with("dest", args.dest.display().to_string())
            .with("checksum", checksum)
            .with("md5sum", md5)
            .with_diff(placed.diff);
        if let Some(backup) = placed.backup {
            result.set("backup_file", backup.display().to_string());
        }
        node::describe(&mut result, &args.dest, &users)?;
        Ok(result)
    }
}

fn assembled(args: &AssembleArgs, cx: &ModuleContext<'_>) -> Result<Vec<u8>, ModuleError> {
    let src = args.src.display();
    if !args.src.is_dir() {
        let why = if args.src.exists() { "is not a directory" } else { "does not exist" };
        return Err(ModuleError::new(format!("Source ({src}) {why}")));
    }
    let regexp = args.regexp.as_deref().map(|text| Pattern::bytes(text, Flags::default())).transpose()?;
    let entries = std::fs::read_dir(&args.src).doing(|| format!("list {src}"))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .doing(|| format!("list {src}"))?;
    names.sort();
    let (mut content, mut is_first) = (Vec::new(), true);
    for name in names {
        if cx.cancel.is_cancelled() {
            return Err(ModuleError::new(format!("assembling {src} was cancelled")));
        }
        let is_hidden = args.ignore_hidden && name.as_bytes().starts_with(b".");
        let is_left_out = regexp.as_ref().map(|regexp| regexp.is_match(name.as_bytes())).transpose()? == Some(false);
        let path = args.src.join(&name);
        let Some(size) = path.metadata().ok().filter(|fragment| fragment.is_file()).map(|fragment| fragment.len())
        else {
            continue;
        };
        if is_hidden || is_left_out {
            continue;
        }
        if content.len() as u64 + size > ASSEMBLED_BYTES_MAX {
            return Err(ModuleError::new(format!("what {src} has is over 256 MiB together: it is not assembled")));
        }
        if !is_first {
            separate(&mut content, args.delimiter.as_deref());
        }
        is_first = false;
        content.extend(std::fs::read(&path).doing(|| format!("read {}", path.display()))?);
    }
    Ok(content)
}

/// Ends the line of the fragment before, and puts the delimiter on one of its own.
fn separate(content: &mut Vec<u8>, delimiter: Option<&str>) {
    let end_line = |content: &mut Vec<u8>| {
        if content.last().is_some_and(|byte| *byte != b'\n') {
            content.push(b'\n');
        }
    };
    end_line(content);
    if let Some(delimiter) = delimiter.filter(|text| !text.is_empty()) {
        content.extend_from_slice(delimiter.replace("\\n", "\n").replace("\\t", "\t").as_bytes());
        end_line(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;
    use std::fs;

    #[test]
    fn fragments_become_one_file_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let (src, dest) = (dir.path().join("parts"), dir.path().join("whole"));
        fs::create_dir_all(src.join("sub")).unwrap();
        for (name, content) in [("2", &b"b\xff"[..]), ("1", b"a\n"), ("3.off", b"c\n"), (".hidden", b"d\n")] {
            fs::write(src.join(name), content).unwrap();
        }
        let args = json!({"src": &src, "dest": &dest, "regexp": r"^[^.]+$", "delimiter": "--", "mode": "0600"});
        assert!(check(&Assemble, args.clone()).changed && !dest.exists());
        let result = run(&Assemble, args.clone());
        assert_eq!((result.changed, fs::read(&dest).unwrap()), (true, b"a\n--\nb\xff".to_vec()), "{result:?}");
        assert_eq!((result.msg(), result.get("mode").unwrap().as_str()), ("OK", Some("0600")));
        assert!(!run(&Assemble, args).changed);
        run(&Assemble, json!({"src": &src, "dest": &dest, "ignore_hidden": true}));
        assert_eq!(fs::read(&dest).unwrap(), b"a\nb\xff\nc\n");
    }

    #[test]
    fn a_source_that_is_no_directory_is_told() {
        let result = run(&Assemble, json!({"src": "/no/such", "dest": "/tmp/x"}));
        assert_eq!(result.msg(), "Source (/no/such) does not exist");
    }
}
