//! `rustle.builtin.program`: a custom module from the controller's `--module-path`. Plans do not name it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustle_protocol::ModuleResult;
use rustle_protocol::value::Map;

use crate::module::{BlobRef, Doing, Module, ModuleContext, ModuleError};
use crate::{arguments, script_module, workdir};

arguments! {
    pub(crate) struct ProgramArgs {
        /// The program.
        _blob: BlobRef,
        /// Its file name.
        _original_basename: String,
        /// The task's arguments.
        args: Map,
    }
}

pub(super) struct Program;

impl Module for Program {
    type Args = ProgramArgs;

    const NAME: &'static str = "rustle.builtin.program";
    const SUMMARY: &'static str = "Runs a custom module that the controller sent.";
    const SUPPORTS_CHECK: bool = false;
    const IDEMPOTENT: bool = false;

    fn run(&self, args: ProgramArgs, cx: &ModuleContext<'_>) -> Result<ModuleResult, ModuleError> {
        let dir = workdir::private()?;
        let name = Path::new(&args._original_basename).file_name().unwrap_or("module".as_ref());
        let path = dir.path().join(name);
        let mut source = cx.blobs.open(args._blob.id)?;
        write_program(&mut source, &path).doing(|| format!("write {}", path.display()))?;
        Ok(script_module::run(&path, &args.args, cx))
    }
}

fn write_program(source: &mut File, path: &Path) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o700).open(path)?;
    io::copy(source, &mut file)?;
    Ok(())
}
