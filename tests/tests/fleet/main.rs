//! The fleet-level tests, in one program: it is linked once, and its tests run beside each other.

mod bad_input;
mod first_command;
mod identity;
mod real_thing;
