//! `tempfile`: a new file or directory with a name nobody else has.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustle_protocol::ModuleResult;

use crate::accounts::Users;
use crate::files::node;
use crate::module::{ArgError, Doing, Module, ModuleContext, ModuleError};
use crate::{arguments, choices};

choices! {
    /// What is made.
    pub(crate) enum State { File = "file", Directory = "directory" }
}

arguments! {
    pub(crate) struct TempfileArgs {
        /// What to make.
        state: State = State::File,
        /// Where; the system's directory for temporary files if left out.
        path: Option<PathBuf>,
        /// How the name begins.
        prefix: String = "ansible.".into(),
        /// How the name ends.
        suffix: String = String::new(),
    }
}

pub(super) struct Tempfile;

impl Module for Tempfile {
    type Args = TempfileArgs;

    const NAME: &'static str = "ansible.builtin.tempfile";
    const SUMMARY: &'static str = "Makes a file or directory with a name of its own.";
    const SUPPORTS_CHECK: bool = false;
    const IDEMPOTENT: bool = false;

    fn check_args(args: &TempfileArgs) -> Result<(), ArgError> {
        let parts = [("prefix", &args.prefix), ("suffix", &args.suffix)];
        match parts.into_iter().find(|(_, part)| part.contains(['/', '\0'])) {
            Some((name, part)) => {
                Err(ArgError::Rule(format!("{name} must be a valid file name component, got '{part}'")))
            }
            None => Ok(()),
        }
    }

    fn run(&self, args: TempfileArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let dir = args.path.unwrap_or_else(std::env::temp_dir);
        let mut builder = ::tempfile::Builder::new();
        builder.prefix(&args.prefix).suffix(&args.suffix);
        let path = match args.state {
            State::File => builder.tempfile_in(&dir).and_then(|file| Ok(file.keep()?.1)),
            State::Directory => {
                builder.permissions(Permissions::from_mode(0o700)).tempdir_in(&dir).map(::tempfile::TempDir::keep)
            }
        };
        let path = path.doing(|| format!("make a temporary {} in {}", kind(args.state), dir.display()))?;
        let mut result = ModuleResult::changed(true).with("path", path.display().to_string());
        node::describe(&mut result, &path, &Users::new(cx.cancel))?;
        Ok(result)
    }
}

fn kind(state: State) -> &'static str {
    crate::module::args::Choice::spelling(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::testing::{check, run};
    use serde_json::json;

    #[test]
    fn files_and_directories_are_made_for_the_owner_alone() {
        let dir = ::tempfile::tempdir().unwrap();
        for (state, mode) in [("file", "0600"), ("directory", "0700")] {
            let result = run(&Tempfile, json!({"path": dir.path(), "state": state, "suffix": ".x", "prefix": "p"}));
            let path = PathBuf::from(result.get("path").unwrap().as_str().unwrap());
            assert!(path.exists() && result.changed);
            assert_eq!(result.get("mode").unwrap().as_str(), Some(mode));
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with('p') && name.ends_with(".x"), "{name}");
        }
    }

    #[test]
    fn check_mode_is_skipped_and_a_missing_directory_named() {
        assert!(check(&Tempfile, json!({})).skipped);
        assert!(run(&Tempfile, json!({"path": "/no/such/dir"})).msg().contains("/no/such/dir"));
    }
}
