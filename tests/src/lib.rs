//! What the fleet-level tests stand on: the real programs, fleets of real agents on loopback, runs of the real command
//! line. Nothing in here stands in for anything.
//!
//! A failure of the harness is a panic with the whole story: nobody but a test is there to take an error.

mod ansible;
mod clock;
mod cpu;
mod deadly_write;
mod fleet;
pub mod fuzz_targets;
mod netns;
mod plan;
mod preload;
mod programs;
mod proxy;
mod run;
pub mod schema;
mod wait;

pub use ansible::ansible_python;
pub use clock::Clock;
pub use cpu::children_cpu;
pub use deadly_write::{DeadlyWrite, Moment};
pub use fleet::{Fleet, FleetBuilder};
pub use netns::Space;
pub use plan::{changed_when_false, named, play, plays, shell, task};
pub use programs::{agent_program, exec_program};
pub use proxy::{Counts, Proxy, Weather};
pub use run::{Ended, Run, Running};
pub use wait::{eventually, processes_with};

/// Whether this test process may change roots and owners.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test is left out, and why. Always false.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub fn not_tested(why: &str) -> bool {
    eprintln!("NOT TESTED: {why}");
    false
}
