//! `script`: a file of the controller's, run here.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;

use super::raw::run_line;
use crate::arguments;
use crate::module::{ArgError, BlobRef, Doing, Module, ModuleContext, ModuleError};
use crate::process::{without_starts, words};
use crate::workdir;

arguments! {
    pub(crate) struct ScriptArgs {
        /// The script's path on the controller and its arguments, as the task gives them in free form.
        _raw_params | "free_form": Option<String>,
        /// The script's path on the controller and its arguments.
        cmd: Option<String>,
        /// Where to run.
        chdir: Option<PathBuf>,
        /// Do nothing if this path exists.
        creates: Option<PathBuf>,
        /// Do nothing unless this path exists.
        removes: Option<PathBuf>,
        /// The program that reads the script, with its options.
        executable: Option<String>,
        /// Decrypt a vaulted script: the controller's business.
        decrypt: bool = true,
        /// The script itself.
        _blob: Option<BlobRef>,
        /// Its name on the controller.
        _original_basename: String = "script".into(),
    }
}

pub(super) struct Script;

impl Module for Script {
    type Args = ScriptArgs;

    const NAME: &'static str = "ansible.builtin.script";
    const SUMMARY: &'static str = "Runs a script that lies on the controller.";
    const IDEMPOTENT: bool = false;

    const EXCLUSIVE: &'static [&'static [&'static str]] = &[&["_raw_params", "cmd"]];

    fn check_args(args: &ScriptArgs) -> Result<(), ArgError> {
        match (&args._raw_params, &args.cmd) {
            (None, None) => Err(ArgError::Rule("one of the following is required: _raw_params, cmd".into())),
            _ => Ok(()),
        }
    }

    fn run(&self, args: ScriptArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        if let Some(chdir) = args.chdir.as_deref().filter(|dir| !dir.is_absolute()) {
            let why = format!("chdir {} must be an absolute path for a Unix-aware remote node", chdir.display());
            return Err(ModuleError::new(why));
        }
        if let Some(path) = args.creates.as_deref().filter(|path| path.exists()) {
            return Ok(ModuleResult::skipped(format!("{} exists, matching creates option", path.display())));
        }
        if let Some(path) = args.removes.as_deref().filter(|path| !path.exists()) {
            return Ok(ModuleResult::skipped(format!("{} does not exist, matching removes option", path.display())));
        }
        if cx.check {
            // With one of these Ansible takes it for known what the script does.
            let is_known = args.creates.is_some() || args.removes.is_some();
            return Ok(match is_known {
                true => ModuleResult::changed(true),
                false => ModuleResult::skipped("Check mode is not supported for this task."),
            });
        }
        let blob = args._blob.ok_or_else(|| ModuleError::new("the controller did not send the script"))?;
        // The script comes in clear text: vaults are opened where their passwords are.
        let _ = args.decrypt;
        let dir = workdir::private()?;
        let path = dir.path().join(safe_name(&args._original_basename));
        store(&blob, &path, cx)?;
        let line = args._raw_params.or(args.cmd).unwrap_or_default();
        let (_, arguments) = words::split_first(&line).doing(|| format!("read the command line `{line}`"))?;
        let program =
            [args.executable.as_deref().unwrap_or_default(), &words::quote(&path.to_string_lossy()), arguments];
        let program: Vec<&str> = program.into_iter().filter(|part| !part.is_empty()).collect();
        if let Some(chdir) = args.chdir.as_deref().filter(|dir| !dir.is_dir()) {
            return Err(ModuleError::new(format!("chdir: {} is not a directory", chdir.display())).with("rc", 2));
        }
        run_line(Path::new("/bin/sh"), &program.join(" "), args.chdir.as_deref(), cx)
    }
}

/// The last part of the name the controller gave, if it is one.
fn safe_name(name: &str) -> &str {
    match Path::new(name).file_name().and_then(std::ffi::OsStr::to_str) {
        Some(name) if !name.contains('\0') && name.len() <= 200 => name,
        _ => "script",
    }
}

fn store(blob: &BlobRef, path: &Path, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let what = || format!("store the script in {}", path.display());
    let mut from = cx.blobs.open(blob.id)?;
    without_starts(|| {
        let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(path)?;
        // The umask may have taken away the right to execute.
        to.set_permissions(PermissionsExt::from_mode(0o700))?;
        std::io::copy(&mut from, &mut to)
    })
    .map(drop)
    .doing(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::AnyModule;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use rustle_protocol::message::BlobId;
    use serde_json::json;

    const SCRIPT: &[u8] =
        b"#!/bin/sh\necho \"${0##*/}\" $(stat -c %a $0 ${0%/*}); for a; do echo \"<$a>\"; done; exit ${RC:-0}\n";

    fn run(surroundings: &Surroundings, args: serde_json::Value) -> ModuleResult {
        let mut args = Value::from(args).as_map().unwrap().clone();
        let blob = BlobRef { id: BlobId { hash: [7; 32], size: SCRIPT.len() as u64 }, sha1: "x".into() };
        args.insert("_blob".into(), blob.to_value());
        args.insert("_original_basename".into(), "../../demo.sh".into());
        AnyModule::run(&Script, args, &surroundings.context())
    }

    #[test]
    fn a_script_runs_from_a_private_file_with_its_arguments_read_by_a_shell() {
        let surroundings = Surroundings::new().with_blob(SCRIPT).with_env("V", "v");
        let result = run(&surroundings, json!({"_raw_params": "'files/a demo.sh' \"a b\" $V 'c  d'"}));
        assert_eq!(result.get("stdout"), Some(&Value::from("demo.sh 700 700\n<a b>\n<v>\n<c  d>\n")), "{result:?}");
        assert!(result.changed && !result.failed);
    }

    #[test]
    fn another_program_can_read_it_in_another_directory() {
        let surroundings = Surroundings::new().with_blob(b"pwd\necho $-\n");
        let result = run(&surroundings, json!({"cmd": "x.sh", "executable": "/bin/sh -e", "chdir": "/"}));
        let stdout = result.get("stdout").unwrap().as_str().unwrap();
        assert!(stdout.starts_with("/\n") && stdout.contains('e'), "{result:?}");
    }

    #[test]
    fn failure_is_told_as_ansible_does() {
        let result = run(&Surroundings::new().with_blob(SCRIPT).with_env("RC", "4"), json!({"cmd": "x"}));
        assert!(result.failed && result.changed);
        assert_eq!((result.get("rc"), result.msg()), (Some(&Value::Int(4)), "non-zero return code"));
    }

    #[test]
    fn creates_removes_and_check_mode_skip_it() {
        let run = |surroundings, args| run(&surroundings, args);
        let result = run(Surroundings::new(), json!({"cmd": "x", "creates": "/proc"}));
        assert_eq!((result.skipped, result.msg()), (true, "/proc exists, matching creates option"));
        let result = run(Surroundings::new(), json!({"cmd": "x", "removes": "/nonexistent"}));
        assert_eq!((result.skipped, result.msg()), (true, "/nonexistent does not exist, matching removes option"));
        assert!(run(Surroundings::checking(), json!({"cmd": "x"})).skipped);
        let result = run(Surroundings::checking(), json!({"cmd": "x", "creates": "/nonexistent"}));
        assert_eq!((result.changed, result.skipped), (true, false));
    }

    #[test]
    fn a_directory_to_run_in_is_told_in_full() {
        let result = run(&Surroundings::new().with_blob(SCRIPT), json!({"cmd": "x", "chdir": "tmp"}));
        assert_eq!(result.msg(), "chdir tmp must be an absolute path for a Unix-aware remote node");
    }
}
