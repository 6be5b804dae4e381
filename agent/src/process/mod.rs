//! Programs that modules start: run to their end on the module's own thread, watched by one `poll` loop, and ended with
//! everything they started when the call is cancelled or out of time.
//!
//! Nothing here forks by hand and nothing adds a hook between fork and exec, so the standard library starts programs by
//! `posix_spawn`, whose cost does not grow with the agent's memory.

mod capture;
mod group;
pub mod leftovers;
mod program;
mod reaper;
mod supervise;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tool;
pub mod words;

pub(crate) use capture::Capture;
pub use capture::{Output, STDOUT_BYTES_MAX};
pub(crate) use group::Group;
pub use program::{Ended, Program, ProgramError, find_program};
pub(crate) use program::{errno_text, stopped_words};
pub(crate) use reaper::{Supervised, await_starts, has_ended, start, without_starts};
pub use reaper::{become_subreaper, reap_orphans};
pub use supervise::{KILL_GRACE, OUTPUT_GRACE};
