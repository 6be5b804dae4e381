//! The fleet-level tests, in one program: it is linked once, and its tests run beside each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod background;
mod bad_input;
mod become_password;
mod become_user;
mod cables;
mod clocks;
mod crashes;
mod documented;
mod engine_api;
mod faults;
mod first_command;
mod identity;
mod included;
mod ledger_writes;
mod modules;
mod network;
mod options;
mod plans;
mod playbooks;
mod real_thing;
mod resume;
mod scheduling;
mod soak;
mod storm;
mod survives;
mod vault_edit;
mod waiting;
