//! The same in Ansible and here: everything in `tests/differential/` is given to ansible-core and to `rustle-exec`, and
//! both must do the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod case;
mod generated;
mod hosts;
mod playbooks;
mod printed;
mod templates;
mod told;
