//! A wall clock that can be moved while programs run under it. The kernel has one for all, so a library stands before the
//! C library of those programs.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Right until it is moved. Programs see that at once.
pub struct Clock {
    dir: TempDir,
}

impl Clock {
    /// Compiles the library; every build of this project needs a C compiler.
    #[expect(clippy::new_without_default, reason = "it starts a compiler")]
    pub fn new() -> Clock {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let clock = Clock { dir };
        fs::write(clock.shift(), 0_i64.to_ne_bytes()).expect("a folder of our own");
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-xc", "-", "-o"]).arg(clock.preloaded()).stdin(Stdio::piped());
        let mut compiler = compiler.spawn().expect("a C compiler");
        let mut source = compiler.stdin.take().expect("it is piped");
        source.write_all(include_bytes!("clock.c")).expect("the compiler reads");
        drop(source);
        assert!(compiler.wait().expect("it is our child").success(), "clock.c does not compile");
        clock
    }

    /// From now on the clock is this far ahead, or behind.
    pub fn shift_by(&self, seconds: i64) {
        // In place: programs have the file in their memory.
        let mut file = File::options().write(true).open(self.shift()).expect("it was made with the clock");
        file.write_all(&seconds.to_ne_bytes()).expect("a file of our own");
    }

    /// What a program is started with to have this clock.
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("LD_PRELOAD", self.preloaded()), ("CLOCK_SHIFT", self.shift())]
    }

    fn preloaded(&self) -> PathBuf {
        self.dir.path().join("clock.so")
    }

    fn shift(&self) -> PathBuf {
        self.dir.path().join("shift")
    }
}
