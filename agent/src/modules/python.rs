//! `rustle.builtin.python`: a custom Python module with the code it imports. Plans do not name it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use rustle_protocol::value::Map;
use rustle_protocol::{ModuleResult, Value};

use crate::module::{BlobRef, Doing, Module, ModuleContext, ModuleError};
use crate::process::Program;
use crate::{arguments, python, script_module, workdir};

arguments! {
    pub(crate) struct PythonArgs {
        /// The archive: the module, and what it imports of `ansible.module_utils` and of collections.
        _blob: BlobRef,
        /// The module's name for Python.
        _module: String,
        /// The interpreter and its options; found out if empty.
        _interpreter: Vec<String> = Vec::new(),
        /// The task's arguments and Ansible's internal ones.
        args: Map,
    }
}

pub(super) struct Python;

impl Module for Python {
    type Args = PythonArgs;

    const NAME: &'static str = "rustle.builtin.python";
    const SUMMARY: &'static str = "Runs a custom Python module that the controller sent.";
    const IDEMPOTENT: bool = false;

    fn run(&self, args: PythonArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let discovered = if args._interpreter.is_empty() { Some(script_module::discovered_python(cx)?) } else { None };
        let dir = workdir::private()?;
        let archive = dir.path().join("module.zip");
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&archive)
            .doing(|| format!("create {}", archive.display()))?;
        std::io::copy(&mut cx.blobs.open(args._blob.id)?, &mut file)
            .doing(|| format!("write {}", archive.display()))?;
        let bootstrap = dir.path().join("run.py");
        std::fs::write(&bootstrap, python::BOOTSTRAP).doing(|| format!("write {}", bootstrap.display()))?;
        let mut module_args = args.args;
        module_args.insert("_ansible_tmpdir".into(), dir.path().display().to_string().into());
        let request = Map::from([
            ("archive".to_owned(), archive.display().to_string().into()),
            ("module".to_owned(), args._module.as_str().into()),
            ("args".to_owned(), Value::Map(module_args)),
        ]);
        let mut interpreter = args._interpreter.into_iter().chain(discovered.clone());
        let program = Program::new(interpreter.next().unwrap_or_default())
            .args(interpreter)
            .arg(bootstrap)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Value::Map(request).to_json());
        let mut result = script_module::run_program(&program, cx)?;
        if let Some(interpreter) = discovered {
            script_module::tell_discovered(&mut result, &interpreter);
        }
        Ok(result)
    }
}
