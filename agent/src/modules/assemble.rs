//! `assemble`: the files of a directory, in the order of their names, as one file.

use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::accounts::Users;
use crate::arguments;
use crate::files::attributes::FileAttributes;
use crate::files::checksum::Algorithm;
use crate::files::node;
use crate::files::place::{Placement, Source, place};
use crate::files::validate::Told;
use crate::fragments::Fragments;
use crate::module::{BlobRef, Doing, Module, ModuleContext, ModuleError};

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
        validate: Option<String>,
        /// What the controller has assembled of its own fragments.
        _blob: Option<BlobRef>;
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
        let users = Users::new(cx.cancel);
        let (source, md5) = source(&args, cx)?;
        let checksum = source.sha1()?.into_owned();
        // What comes from the controller is put in place as by `copy`, and told so.
        let told = if args._blob.is_some() { Told::InFull } else { Told::Shortly };
        let how = Placement {
            wanted: args.attributes.resolve(&users)?,
            fresh_mode: None,
            backup: args.backup,
            force: true,
            validate: args.validate.as_deref().map(|command| (command, told)),
            unsafe_writes: args.attributes.unsafe_writes,
        };
        let placed = place(&source, &args.dest, &how, cx)?;
        let mut result = ModuleResult::changed(placed.changed())
            .with("msg", "OK")
            .with("src", args.src.display().to_string())
            .with("dest", args.dest.display().to_string())
            .with("checksum", checksum)
            .with("md5sum", md5.or(placed.md5))
            .with_diff(placed.diff);
        if let Some(backup) = placed.backup {
            result.set("backup_file", backup.display().to_string());
        }
        node::describe(&mut result, &args.dest, &users)?;
        Ok(result)
    }
}

/// What to put in place, and its MD5 where it is at hand.
fn source(args: &AssembleArgs, cx: &ModuleContext<'_>) -> Result<(Source, Option<String>), ModuleError> {
    if let Some(blob) = &args._blob {
        return Ok((Source::Blob(blob.clone()), None));
    }
    if !args.remote_src {
        return Err(ModuleError::new("src is a directory of the controller, and the controller did not send it"));
    }
    let fragments = Fragments {
        dir: args.src.clone(),
        delimiter: args.delimiter.clone(),
        regexp: args.regexp.clone(),
        ignore_hidden: args.ignore_hidden,
    };
    let content = fragments.assembled(
        |path| std::fs::read(path).doing(|| format!("read {}", path.display())),
        || cx.cancel.is_cancelled(),
    )?;
    let md5 = Algorithm::Md5.of_bytes(&content);
    Ok((Source::Bytes(content), Some(md5)))
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
        fs::write(src.join("1b"), "").unwrap();
        run(&Assemble, json!({"src": &src, "dest": &dest, "ignore_hidden": true}));
        assert!(fs::read(&dest).unwrap().starts_with(b"a\n\nb"), "an empty fragment leaves a line behind");
    }

    #[test]
    fn a_command_that_refuses_is_told_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1"), "x").unwrap();
        let dest = dir.path().join("whole");
        let result = run(&Assemble, json!({"src": dir.path(), "dest": &dest, "validate": "grep -q y %s"}));
        assert_eq!((result.msg(), dest.exists()), ("failed to validate: rc:1 error:", false));
    }

    #[test]
    fn a_source_that_is_no_directory_is_told() {
        let result = run(&Assemble, json!({"src": "/no/such", "dest": "/tmp/x"}));
        assert_eq!(result.msg(), "Source (/no/such) does not exist");
    }
}
