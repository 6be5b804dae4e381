//! Death at one write: a program that is killed by the very thread that writes, so that no moment has to be met from outside.

use std::ffi::OsString;

use crate::preload::Preload;

/// When a program dies.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// Of the write: it does not reach the file.
    Before,
    /// It is in the file, and nothing else has been done.
    After,
    BeforeTheNext,
    AfterTheNext,
}

/// The write that a program does not outlive: the first one into a file whose path ends like this that has this text in it.
pub struct DeadlyWrite {
    library: Preload,
    to: &'static str,
    text: &'static str,
    moment: Moment,
}

impl DeadlyWrite {
    pub fn new(to: &'static str, text: &'static str, moment: Moment) -> DeadlyWrite {
        DeadlyWrite { library: Preload::compile(include_bytes!("deadly_write.c")), to, text, moment }
    }

    /// What a program is started with to die of it.
    pub fn environment(&self) -> [(&'static str, OsString); 4] {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
            Moment::BeforeTheNext => "before-next",
            Moment::AfterTheNext => "after-next",
        };
        [
            self.library.environment(),
            ("DEADLY_WRITE_TO", self.to.into()),
            ("DEADLY_WRITE_TEXT", self.text.into()),
            ("DEADLY_WRITE_MOMENT", moment.into()),
        ]
    }
}
