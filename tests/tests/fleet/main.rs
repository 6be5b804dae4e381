//! The fleet-level tests, in one program: it is linked once, and its tests run beside each other.

mod first_command;
mod real_thing;
