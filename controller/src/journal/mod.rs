//! The journal of a run: everything that happened, on disk before anything that follows from it is done, so that a run
//! whose controller died goes on where it stood.
//!
//! A run has a folder of its own: its journal, a lock that says who works on it, and, if it was read from a pipe, a copy
//! of its plan. From the outside in: [`Runs`] finds folders, a [`Lease`] makes one process the only one that writes, a
//! [`Journal`] writes [`Record`]s, [`Records`] reads them back and says what of a damaged file can be trusted, and
//! [`Past`] tells what of them still counts for a run that goes on.

mod disk;
mod frame;
mod lease;
mod log;
mod past;
mod print;
mod reader;
mod record;
mod runs;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use disk::Disk;
pub use frame::{FrameError, MAGIC, RECORD_BYTES_MAX};
pub use lease::{Held, Holder, Lease, LeaseError};
pub use log::{Durability, Journal, RecordError, Trouble};
pub use past::{Past, PastStep};
pub use reader::{Damage, JournalError, Records, last_record, repair};
pub use record::{
    EventRecord, Growth, Header, IncludeRecord, Inputs, ItemRecord, PlanPrint, PlayPrint, Record, Seq, TaskPrint,
};
pub use runs::{FindError, RUNS_KEPT_MAX, RunFolder, Runs, StateError};
