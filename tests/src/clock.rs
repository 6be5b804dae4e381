//! A wall clock that can be moved while programs run under it. The kernel has one for all, so a library stands before the
//! C library of those programs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use crate::preload::Preload;

/// Right until it is moved. Programs see that at once.
pub struct Clock {
    library: Preload,
}

impl Clock {
    #[expect(clippy::new_without_default, reason = "it starts a compiler")]
    pub fn new() -> Clock {
        let clock = Clock { library: Preload::compile(include_bytes!("clock.c")) };
        fs::write(clock.shift(), 0_i64.to_ne_bytes()).expect("a folder of our own");
        clock
    }

    /// From now on the clock is this far ahead, or behind.
    pub fn shift_by(&self, seconds: i64) {
        // In place: programs have the file in their memory.
        let mut file = File::options().write(true).open(self.shift()).expect("it was made with the clock");
        file.write_all(&seconds.to_ne_bytes()).expect("a file of our own");
    }

    /// What a program is started with to have this clock.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [self.library.environment(), ("CLOCK_SHIFT", self.shift().into())]
    }

    fn shift(&self) -> PathBuf {
        self.library.file("shift")
    }
}
