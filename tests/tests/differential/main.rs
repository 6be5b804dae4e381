//! The same in Ansible and here: everything in `tests/differential/` is given to ansible-core and to `rustle-exec`, and
//! both must do the same.

mod templates;
