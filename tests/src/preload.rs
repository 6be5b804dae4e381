//! A small library in C that stands before the C library of programs, for what the kernel has no other way to bring about.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A library, and a folder for what it reads.
pub(crate) struct Preload {
    dir: TempDir,
}

impl Preload {
    /// Compiles it; every build of this project needs a C compiler.
    pub(crate) fn compile(source: &[u8]) -> Preload {
        let preload = Preload { dir: tempfile::tempdir().expect("there is room for temporary files") };
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-xc", "-", "-o"]).arg(preload.library()).stdin(Stdio::piped());
        let mut compiler = compiler.spawn().expect("a C compiler");
        let mut input = compiler.stdin.take().expect("it is piped");
        input.write_all(source).expect("the compiler reads");
        drop(input);
        assert!(compiler.wait().expect("it is our child").success(), "it does not compile");
        preload
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program is started with to have it.
    pub(crate) fn environment(&self) -> (&'static str, OsString) {
        ("LD_PRELOAD", self.library().into())
    }

    fn library(&self) -> PathBuf {
        self.file("preload.so")
    }
}
